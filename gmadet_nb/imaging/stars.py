"""Which sources of an exposure are stars, and which of those a PSF is measured on."""

import numpy as np
from astropy.stats import mad_std

_MAX_STARS = 250


def mark_stars(sources, *, saturation_peak, max_elongation=1.6):
    """Find the sources that are stars: unsaturated, round, on the sequence of points.

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
    radius = np.asarray(sources["half_light_radius"])
    good = (
        np.asarray(sources["usable"])
        & (np.asarray(sources["elongation"]) < max_elongation)
        & (np.asarray(sources["peak"]) < saturation_peak)
        & np.isfinite(radius)
        & (radius > 0.5)
    )
    if good.sum() < 3:
        return np.zeros(len(sources), dtype=bool)
    order = np.argsort(np.where(good, sources["flux"], -np.inf))[::-1]
    bright = order[: max(10, good.sum() // 2)]
    log_radius = np.log(radius[bright][good[bright]])
    middle = _half_sample_mode(np.sort(log_radius))
    width = min(2 * max(mad_std(log_radius), 0.03), 0.25)
    good[good] = np.abs(np.log(radius[good]) - middle) < width
    return good


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


def _half_sample_mode(values):
    """Return the mode of sorted values: halve the densest half until few are left."""
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = int(np.argmin(values[half - 1 :] - values[: len(values) - half + 1]))
        values = values[start : start + half]
    return float(np.median(values))
