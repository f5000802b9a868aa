"""Which sources of an exposure are stars, and which of those a PSF is measured on."""

import numpy as np
from astropy.stats import mad_std

_MAX_STARS = 250
# Half-light radii of stars agree to some percent: the densest window of this width in
# ln(radius) holds stars, even where there are more galaxies, which are of all sizes.
# Of windows nearly as dense as the densest it is the one of the smallest sources.
_WINDOW, _AS_DENSE = 0.1, 0.75
# How far from the sequence of stars a source may be to have a say in it, in ln(radius),
# and how many sources it takes to follow it with the flux, linearly over the field and
# by a second order; with fewer than so many bright ones it is not tried.
_NEAR = 0.12
_MIN_SEQUENCE = 30
_N_FOR_TERMS = 18, 24, 36
# The light of a Moffat profile of index 2.5 below a threshold goes with this power of
# the threshold over the star's flux.
_LOSS_POWER = -0.6
_SLOPES = np.linspace(-0.3, 0, 7)  # of ln(radius) with that power
_N_STEPS = 5
# Where the sequence ends, in its own widths, and in ln(radius).
_WIDTHS_ABOVE, _WIDTHS_BELOW = 2.5, 2.0
_LEAST, _MOST = 0.06, 0.25


def mark_stars(sources, *, saturation_peak, max_elongation=1.6):
    """Find the sources that are stars: unsaturated, round, on the sequence of points.

    The sequence is followed over the field, where the PSF varies, and with the flux:
    faint stars lose their wings below the threshold and look smaller.

    Parameters
    ----------
    sources : astropy.table.Table
        From `gmadet_nb.imaging.photometry.find_sources`.
    saturation_peak : float
        Peaks above it are left out [adu above the background].
    max_elongation : float

    Returns
    -------
    is_star : (n,) bool array
    """
    radius, flux = np.asarray(sources["half_light_radius"]), np.asarray(sources["flux"])
    good = (
        np.asarray(sources["usable"])
        & (np.asarray(sources["elongation"]) < max_elongation)
        & (np.asarray(sources["peak"]) < saturation_peak)
        & np.isfinite(radius)
        & (radius > 0.5)
        & (flux > 0)
    )
    if good.sum() < 3:
        return np.zeros(len(sources), dtype=bool)
    log_radius = np.log(radius[good])
    bright = np.argsort(flux[good])[::-1][: max(10, good.sum() // 2)]
    if len(bright) < _MIN_SEQUENCE:
        good[good] = _near_mode(log_radius, bright)
        return good
    left = log_radius - _sequence(log_radius, _terms(sources[good]), bright)
    low, high = _limits(left[bright])
    good[good] = (left > low) & (left < high)
    return good


def _near_mode(log_radius, bright):
    """Say which of few sources have about the radius that the bright ones share."""
    values = np.sort(log_radius[bright])
    width = _WIDTHS_BELOW * mad_std(values)
    # The mode: the densest half of the densest half, until few are left.
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = int(np.argmin(values[half - 1 :] - values[: len(values) - half + 1]))
        values = values[start : start + half]
    return np.abs(log_radius - np.median(values)) < np.clip(width, _LEAST, _MOST)


def _limits(left):
    """Return between which departures from their sequence sources are stars."""
    # Galaxies and pairs are larger than stars: what is smaller tells the width.
    below = -left[(left <= 0) & (left > -_MOST)]
    above = _WIDTHS_ABOVE * 1.4826 * np.median(below) if len(below) else _LEAST
    below = _WIDTHS_BELOW * mad_std(left)
    return -np.clip(below, _LEAST, _MOST), np.clip(above, _LEAST, _MOST)


def _terms(sources):
    """Return what the sequence may depend on, (n, 7): place, its square, and flux."""
    x, y = (np.asarray(sources[name], dtype=float) for name in ("x", "y"))
    x, y = ((place - place.mean()) / max(np.ptp(place) / 2, 1) for place in (x, y))
    flux = np.asarray(sources["flux"], dtype=float)
    lost = (flux / np.median(flux)) ** _LOSS_POWER
    return np.stack([np.ones_like(x), lost, x, y, x**2, x * y, y**2], axis=1)


def _sequence(log_radius, terms, bright):
    """Return ln(radius) that a star of each source's place and flux would have."""
    slope, middle = _densest(log_radius[bright], terms[bright, 1])
    sequence = middle + slope * terms[:, 1]
    for _ in range(_N_STEPS):
        near = bright[np.abs(log_radius[bright] - sequence[bright]) < _NEAR]
        n_terms = 1 + np.dot([1, 2, 3], len(near) >= np.array(_N_FOR_TERMS))
        used = terms[:, :n_terms]
        sequence = used @ np.linalg.lstsq(used[near], log_radius[near], rcond=None)[0]
    return sequence


def _densest(log_radius, lost):
    """Return slope and middle of the window that holds most sources."""
    found = []
    for slope in _SLOPES:
        values = np.sort(log_radius - slope * lost)
        ends = np.searchsorted(values, values + _WINDOW, side="right")
        counts = ends - np.arange(len(values))
        first = int(np.flatnonzero(counts >= _AS_DENSE * counts.max())[0])
        found.append((counts.max(), slope, np.median(values[first : ends[first]])))
    return max(found)[1:]


def choose_stars(sources, *, min_separation=2.0):
    """Pick the stars to measure a PSF on: those that stand alone, brightest first.

    Parameters
    ----------
    sources : astropy.table.Table
        With ``is_star`` from `mark_stars`.
    min_separation : float
        To the nearest source of a tenth of the star's flux or more [FWHM].

    Returns
    -------
    stars : astropy.table.Table
    """
    stars = sources[sources["is_star"]]
    if len(stars) == 0:
        return stars
    fwhm = 2 * float(np.median(stars["half_light_radius"]))
    alone = [_is_alone(star, sources, min_separation * fwhm) for star in stars]
    chosen = stars[np.array(alone, dtype=bool)]
    return chosen[np.argsort(np.asarray(chosen["flux"]))[::-1]][:_MAX_STARS]


def _is_alone(star, sources, radius):
    near = np.hypot(sources["x"] - star["x"], sources["y"] - star["y"]) < radius
    return np.count_nonzero(near & (sources["flux"] > 0.1 * star["flux"])) <= 1
