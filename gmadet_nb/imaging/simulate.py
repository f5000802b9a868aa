"""Draw point sources and inject them into an exposure."""

from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.nddata import NoOverlapError, overlap_slices
from astropy.table import Table

from gmadet_nb.errors import BadParameterError
from gmadet_nb.files.images import MASK_BITS, make_mask
from gmadet_nb.imaging.photometry import flux_to_mag, mag_to_flux

# A source wider than a star by this ratio of half-light radii is a galaxy.
_GALAXY_RATIO = 1.3
_MAX_TRIES = 200
# Sources stratified around the limit: their share, within how far of it [mag], and the
# signal to noise ratio that it stands for.
_LIMIT_SHARE, _LIMIT_REACH, _LIMIT_SNR = 2 / 3, 1.5, 5.0


def find_galaxies(sources, star_radius):
    """Pick the sources that are wider than stars: where transients live.

    Parameters
    ----------
    sources : astropy.table.Table
        From `gmadet_nb.imaging.photometry.find_sources`.
    star_radius : float
        Half-light radius of a star [pixel].

    Returns
    -------
    galaxies : astropy.table.Table
        The rows of ``sources`` that are galaxies.
    """
    ratio = np.asarray(sources["half_light_radius"]) / star_radius
    wide = (ratio > _GALAXY_RATIO) & (ratio < 8) & sources["usable"]
    # A bright star's halo and a pair of stars are wide too, but long or peaked.
    return sources[wide & (sources["elongation"] < 3)]


def snr_to_flux(snr, variance, psf, gain):
    """Return the flux of a source of a given matched-filter S/N.

    The variance of a flux measured with weights P is
    ``sum P^2 (V + f P / g) / (sum P^2)^2``, so f solves f^2 = snr^2 (A + f B).

    Parameters
    ----------
    snr : float
    variance : (k, k) array
        Variance of the pixels under the stamp, without the source [adu^2].
    psf : (k, k) array
        Of sum 1.
    gain : float
        [electron/adu]

    Returns
    -------
    flux : float
        [adu]
    """
    empty, own = _flux_variance(variance, psf, gain)
    return (snr**2 * own + np.sqrt(snr**4 * own**2 + 4 * snr**2 * empty)) / 2


def flux_to_snr(flux, variance, psf, gain):
    """Return the matched-filter S/N of a source of a given flux [adu]."""
    empty, own = _flux_variance(variance, psf, gain)
    return flux / np.sqrt(empty + flux * own)


def _flux_variance(variance, psf, gain):
    squares = np.sum(psf**2)
    empty = np.sum(psf**2 * variance) / squares**2
    return empty, np.sum(np.clip(psf, 0, None) ** 3) / gain / squares**2


def draw_sources(
    image, psf, variance, *, n_sources, brightness, galaxies, min_separation, rng
):
    """Draw positions and magnitudes of sources to inject.

    Parameters
    ----------
    image : Image
    psf : PSF
    variance : (ny, nx) array
        Of the exposure's pixels [adu^2].
    n_sources : int
    brightness : tuple of (str, float, float)
        ``("mag", bright, faint)``, uniform in magnitude; ``("limit", bright, faint)``,
        two thirds of them within 1.5 mag of what has S/N 5 at its place, the others
        uniform between the ends; or ``("snr", low, high)``, uniform in the logarithm of
        the signal to noise ratio.
    galaxies : tuple of (float, astropy.table.Table)
        Share of the sources to put on galaxies, within one half-light radius,
        and the galaxies. With none at hand the share is 0.
    min_separation : float
        Between two injected sources [FWHM].
    rng : numpy.random.Generator

    Returns
    -------
    sources : astropy.table.Table
        ``source_id``, ``exposure_id``, ``x``, ``y``, ``ra``, ``dec``, ``mag``,
        ``flux``, ``snr``, ``filter``, ``near_galaxy``. Fewer than ``n_sources``
        where no room is left.

    Raises
    ------
    BadParameterError
        If a range or a fraction is no range or fraction.
    """
    kind, low, high = check_brightness(brightness)
    x, y, near_galaxy = _draw_places(
        image, psf, n_sources, galaxies, min_separation * psf.fwhm, rng
    )
    drawn = _draw_uniform(rng, low, high, len(x), logarithmic=kind == "snr")
    near_limit = np.zeros(len(x), dtype=bool)
    if kind == "limit":
        near_limit = rng.random(len(x)) < _LIMIT_SHARE
        offset = rng.uniform(-_LIMIT_REACH, _LIMIT_REACH, len(x))
    flux, snr = np.empty(len(x)), np.empty(len(x))
    for i in range(len(x)):
        stamp = psf(x[i], y[i])
        under = _under_stamp(variance, stamp, x[i], y[i])
        if kind == "snr":
            flux[i] = snr_to_flux(drawn[i], under, stamp, image.gain)
        else:
            flux[i] = mag_to_flux(drawn[i], image.zero_point)
        if near_limit[i]:
            limit = snr_to_flux(_LIMIT_SNR, under, stamp, image.gain)
            mag = flux_to_mag(limit, image.zero_point) + offset[i]
            flux[i] = mag_to_flux(np.clip(mag, low, high), image.zero_point)
        snr[i] = flux_to_snr(flux[i], under, stamp, image.gain)
    sources = Table(
        {
            "source_id": _names(f"{image.exposure_id}_s", len(x)),
            "exposure_id": np.full(len(x), image.exposure_id),
            "x": x * u.pix,
            "y": y * u.pix,
            "ra": np.full(len(x), np.nan) * u.deg,
            "dec": np.full(len(x), np.nan) * u.deg,
            "mag": flux_to_mag(flux, image.zero_point) * u.mag,
            "flux": flux * u.adu,
            "snr": snr,
            "filter": np.full(len(x), image.filter),
            "near_galaxy": near_galaxy,
        }
    )
    if image.wcs is not None and len(x):
        sources["ra"], sources["dec"] = (
            angle * u.deg for angle in image.wcs.pixel_to_world_values(x, y)
        )
    return sources


def _names(prefix, n):
    # A type of its own, so that a table of none can still be stacked.
    return np.array([f"{prefix}{i:04d}" for i in range(n)], dtype=f"U{len(prefix) + 8}")


def check_brightness(brightness):
    """Return ``brightness`` if it can be drawn from.

    Raises
    ------
    BadParameterError
    """
    kind, low, high = brightness
    if (
        kind not in ("mag", "limit", "snr")
        or not low < high
        or (kind == "snr" and low <= 0)
    ):
        raise BadParameterError(
            "mag_range must be [bright, faint] in magnitudes and snr_range "
            f"[low, high] with 0 < low < high, got {kind} [{low}, {high}]."
        )
    return kind, float(low), float(high)


def _draw_uniform(rng, low, high, n, *, logarithmic):
    if logarithmic:
        return np.exp(rng.uniform(np.log(low), np.log(high), n))
    return rng.uniform(low, high, n)


def _under_stamp(variance, stamp, x, y):
    """Cut the variance under a stamp; off the image the rim goes on."""
    radius = stamp.shape[0] // 2
    row, column = round(float(y)), round(float(x))
    rows = np.clip(np.arange(row - radius, row + radius + 1), 0, variance.shape[0] - 1)
    columns = np.clip(
        np.arange(column - radius, column + radius + 1), 0, variance.shape[1] - 1
    )
    return variance[np.ix_(rows, columns)]


def _draw_places(image, psf, n_sources, galaxies, separation, rng):
    """Draw positions on usable pixels, apart from each other."""
    fraction, hosts = galaxies
    if not 0 <= fraction <= 1:
        raise BadParameterError(
            f"near_galaxy_fraction must be between 0 and 1, got {fraction}."
        )
    usable = image.usable
    kinds = np.arange(n_sources) < round(fraction * n_sources)
    places = []
    for wants_host in kinds & (len(hosts) > 0):
        taken = np.array([place[:2] for place in places]).reshape(-1, 2)
        # Galaxies are few: once none is free, plain sky takes the rest.
        for on_galaxy in (True, False) if wants_host else (False,):
            place = _draw_free_place(
                usable, hosts if on_galaxy else None, taken, separation, rng
            )
            if place is not None:
                places.append((*place, on_galaxy))
                break
    x, y, on_galaxy = np.array(places, dtype=float).reshape(-1, 3).T
    return x, y, on_galaxy.astype(bool)


def _draw_free_place(usable, hosts, taken, separation, rng):
    """Draw one position away from those taken, or None where none is found."""
    ny, nx = usable.shape
    for _ in range(_MAX_TRIES):
        if hosts is None:
            x, y = rng.uniform(-0.5, nx - 0.5), rng.uniform(-0.5, ny - 0.5)
        else:
            host = hosts[rng.integers(len(hosts))]
            # Uniform over the disk of one half-light radius.
            distance = host["half_light_radius"] * np.sqrt(rng.uniform())
            angle = rng.uniform(0, 2 * np.pi)
            x = host["x"] + distance * np.cos(angle)
            y = host["y"] + distance * np.sin(angle)
        row, column = round(y), round(x)
        if not (0 <= row < ny and 0 <= column < nx and usable[row, column]):
            continue
        if np.all(np.hypot(taken[:, 0] - x, taken[:, 1] - y) >= separation):
            return x, y
    return None


def inject_sources(image, sources, psf, *, rng):
    """Add point sources, each with its own photon noise, to a copy of an image.

    The pixels already hold the sky's noise, so only the source's is drawn: for
    a flux f [adu] and a gain g [electron/adu], Poisson(f g) / g, which has
    mean f and variance f / g. A pixel fills up to the saturation and no further.

    Parameters
    ----------
    image : Image
        Exposure to inject into. It is not changed.
    sources : astropy.table.Table
        One row a source: ``x``, ``y`` [pixel, 0-based] and ``flux`` [adu].
    psf : callable
        ``psf(x, y)`` gives the PSF of a source at (x, y): a (k, k) array, k
        odd, of sum 1, whose middle is the pixel nearest to (x, y).
    rng : numpy.random.Generator
        Draws the photon noise.

    Returns
    -------
    image : Image
        The exposure with the sources in it; its mask and header say so.
    sources : astropy.table.Table
        The same rows in the same order, with ``injected``, False where no
        pixel of the stamp is on the image, and ``saturated``, True where the
        source filled a pixel.
    """
    data, mask, sources = image.data.copy(), image.mask.copy(), sources.copy()
    sources["injected"] = np.zeros(len(sources), dtype=bool)
    sources["saturated"] = np.zeros(len(sources), dtype=bool)
    for row in sources:
        stamp = psf(float(row["x"]), float(row["y"]))
        nearest = round(float(row["y"])), round(float(row["x"]))
        try:
            on_image, on_stamp = overlap_slices(data.shape, stamp.shape, nearest)
        except NoOverlapError:
            continue
        light = _draw_light(float(row["flux"]) * stamp, image.gain, rng)[on_stamp]
        before = data[on_image]
        # What was above the saturation already stays as it was.
        ceiling = np.maximum(before, image.saturation)
        after = np.minimum(before + light, ceiling).astype(data.dtype)
        filled = (before < image.saturation) & (before + light >= image.saturation)
        row["saturated"] = bool(filled.any())
        row["injected"] = True
        data[on_image] = after
        bright = stamp[on_stamp] > 0.01 * stamp.max()
        mask[on_image][bright] |= MASK_BITS["injected"]
    mask |= make_mask(data, image.saturation)
    header = image.header.copy()
    header["SIMULATD"] = (True, "point sources were injected")
    header["NSIMUL"] = (int(sources["injected"].sum()), "number of injected sources")
    return replace(image, data=data, mask=mask, header=header), sources


def _draw_light(flux, gain, rng):
    """Draw what a detector counts of ``flux`` [adu] a pixel."""
    electrons = flux * gain
    # A measured PSF dips below 0 in its wings: that part has a mean, and no noise.
    counts = rng.poisson(np.clip(electrons, 0, None)) + np.clip(electrons, None, 0)
    return counts / gain
