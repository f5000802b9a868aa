"""Candidates on a difference image: found by a matched filter, measured by its PSF."""

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.ndimage import maximum_filter
from scipy.signal import oaconvolve
from scipy.spatial import cKDTree

from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.photometry import flux_to_mag, robust_width

FLAG_BITS = {
    "masked_core": 1,  # a masked pixel within one FWHM
    "saturated_near": 2,  # a saturated pixel under the stamp
    "edge": 4,  # the stamp reaches over the edge
    "fit_failed": 8,  # the fit moved off: position and flux are the peak's
}
_N_FIT_STEPS = 4
# Above this S/N of the reference's pixels the residuals of a star are no noise.
_BRIGHT_SNR = 50.0
_MAX_SHIFT = 1.5  # of the fit from the peak [pixel]
_MEASURED = (
    *("x", "y", "flux", "flux_err", "fwhm", "psf_fwhm", "elongation", "psf_chi2"),
    *("peak_to_flux", "n_negative", "reference_snr", "flags"),
)


def significance(difference, psf):
    """Return the matched-filter S/N of a point source at every pixel.

    With weights w = 1 / noise^2, 0 on masked pixels, the flux of a PSF P at a
    pixel is sum(P w d) / sum(P^2 w), known to 1 / sqrt(sum(P^2 w)).

    Parameters
    ----------
    difference : Difference
    psf : PSF
        Of the science exposure; taken at the middle of the field.

    Returns
    -------
    snr : (ny, nx) float32 array
        0 where less than half of the PSF's weight is on usable pixels.
    """
    stamp = psf.centered(*_middle(difference.data.shape)).astype(np.float32)
    weight = np.where(difference.usable, 1 / difference.noise**2, 0).astype(np.float32)
    scale = np.median(weight[weight > 0]) if (weight > 0).any() else np.float32(1)
    weight /= scale
    light = oaconvolve(
        weight * np.nan_to_num(difference.data), stamp[::-1, ::-1], mode="same"
    )
    norm = oaconvolve(weight, stamp[::-1, ::-1] ** 2, mode="same")
    covered = oaconvolve(
        difference.usable.astype(np.float32), stamp[::-1, ::-1] ** 2, mode="same"
    )
    enough = covered > 0.5 * np.sum(stamp**2)
    snr = np.zeros(difference.data.shape, dtype=np.float32)
    snr[enough] = light[enough] / np.sqrt(norm[enough]) * np.sqrt(scale)
    return snr


def measure_noise_factor(snr, difference):
    """Measure how much wider than 1 the significance image of the sky is.

    The pixels of a difference may each have the noise expected of them and still
    not be independent; a flux, a sum over pixels, then has a larger error.

    Parameters
    ----------
    snr : (ny, nx) array
        From `significance`.
    difference : Difference

    Returns
    -------
    factor : float
        1 at least; robust width of ``snr`` away from the cores of bright stars.
    """
    sky = difference.usable & (snr != 0)
    sky &= ~(difference.reference > _BRIGHT_SNR * difference.noise)
    return max(1.0, robust_width(snr[sky])) if sky.any() else 1.0


def _middle(shape):
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2


def find_candidates(snr, *, detection_threshold, fwhm):
    """Return the places of the positive peaks of a significance image.

    Parameters
    ----------
    snr : (ny, nx) array
    detection_threshold : float
        [sigma]
    fwhm : float
        Peaks nearer than this to a higher one are left out [pixel].

    Returns
    -------
    x, y : (n,) int arrays
        [pixel], in order of falling S/N.
    """
    size = 2 * max(1, round(fwhm / 2)) + 1
    peaks = (snr >= detection_threshold) & (snr == maximum_filter(snr, size=size))
    y, x = np.nonzero(peaks)
    order = np.lexsort((x, y, -snr[y, x]))
    y, x = y[order], x[order]
    if len(x) < 2:
        return x, y
    # Highest first: each takes its surroundings.
    tree = cKDTree(np.column_stack([x, y]))
    free = np.ones(len(x), dtype=bool)
    for i, near in enumerate(tree.query_ball_point(tree.data, fwhm)):
        if free[i]:
            free[[j for j in near if j > i]] = False
    return x[free], y[free]


def measure_candidates(difference, science, psf, x, y, *, reference_sources):
    """Measure candidates by a fit of the PSF and by the shape of their light.

    Parameters
    ----------
    difference : Difference
    science : Image
    psf : PSF
        Of the science exposure.
    x, y : (n,) int arrays
        Places of the peaks [pixel].
    reference_sources : astropy.table.Table
        ``x``, ``y`` of the sources of the matched reference.

    Returns
    -------
    candidates : astropy.table.Table
        One row a place, in order: ``candidate_id`` (exposure and pixel of the
        peak: the same in a search with another threshold), ``exposure_id``, ``x``,
        ``y``, ``ra``, ``dec``, ``flux``, ``flux_err``, ``snr``, ``mag``,
        ``mag_err``, ``filter``, ``fwhm``, ``psf_fwhm``, ``elongation``,
        ``psf_chi2`` (reduced, in the core), ``peak_to_flux`` (brightest pixel
        over the flux), ``n_negative`` (pixels below -2 sigma in the core),
        ``reference_snr``, ``reference_distance``, ``flags``, ``edge``.
    """
    rows = [
        _measure_one(difference, psf, int(column), int(row))
        for column, row in zip(x, y, strict=True)
    ]
    columns = {name: np.array([row[name] for row in rows], float) for name in _MEASURED}
    n = len(rows)
    flux, flux_err = columns["flux"], columns["flux_err"]
    distance = _distance_to(reference_sources, columns["x"], columns["y"])
    sky = np.full((2, n), np.nan)
    if science.wcs is not None and n:
        sky = np.array(science.wcs.pixel_to_world_values(columns["x"], columns["y"]))
    flags = columns["flags"].astype(np.int32)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag_err = np.where(flux > 0, 1.0857 * flux_err / flux, np.nan)
    return Table(
        {
            "candidate_id": _names(science.exposure_id, x, y),
            "exposure_id": _constant(science.exposure_id, n),
            "x": columns["x"] * u.pix,
            "y": columns["y"] * u.pix,
            "ra": sky[0] * u.deg,
            "dec": sky[1] * u.deg,
            "flux": flux * u.adu,
            "flux_err": flux_err * u.adu,
            "snr": flux / flux_err,
            "mag": flux_to_mag(flux, science.zero_point) * u.mag,
            "mag_err": mag_err * u.mag,
            "filter": _constant(science.filter, n),
            "fwhm": columns["fwhm"] * u.pix,
            "psf_fwhm": columns["psf_fwhm"] * u.pix,
            "elongation": columns["elongation"],
            "psf_chi2": columns["psf_chi2"],
            "peak_to_flux": columns["peak_to_flux"],
            "n_negative": columns["n_negative"].astype(np.int32),
            "reference_snr": columns["reference_snr"],
            "reference_distance": distance * u.pix,
            "flags": flags,
            "edge": (flags & FLAG_BITS["edge"]) > 0,
        }
    )


def _names(exposure_id, x, y):
    """Name candidates by their pixel: labels must find them in a new search."""
    names = [f"{exposure_id}_x{i:04d}y{j:04d}" for i, j in zip(x, y, strict=True)]
    return np.array(names, dtype=str) if names else np.array([], dtype="U1")


def _constant(text, n):
    return np.full(n, text, dtype=f"U{max(1, len(text))}")


def _distance_to(sources, x, y):
    """Return the distance to the nearest source [pixel], inf where there is none."""
    if len(sources) == 0 or len(x) == 0:
        return np.full(len(x), np.inf)
    tree = cKDTree(np.column_stack([sources["x"], sources["y"]]))
    return tree.query(np.column_stack([x, y]))[0]


def _measure_one(difference, psf, column, row):
    stamp_x, stamp_y, data, noise, mask, edge = _cut(difference, psf, column, row)
    usable = (mask & UNUSABLE) == 0
    weight = np.where(usable, 1 / noise**2, 0)
    x, y, failed = _fit_position(psf, data, weight, column, row, stamp_x, stamp_y)
    model = _model_on(psf, x, y, stamp_x, stamp_y)
    norm = np.sum(weight * model**2)
    flux = np.sum(weight * model * data) / norm
    distance = np.hypot(stamp_x - x, stamp_y - y)
    psf_fwhm = psf.fwhm_at(x, y)
    core = (distance <= 1.5 * psf_fwhm) & usable
    chi2 = np.sum((weight * (data - flux * model) ** 2)[core])
    width, elongation = _shape(data, usable, stamp_x, stamp_y, x, y, psf_fwhm)
    # Moments weigh wings: the PSF's own set the scale, so that a point source has
    # the FWHM of the PSF.
    point, _ = _shape(model, usable, stamp_x, stamp_y, x, y, psf_fwhm)
    inner = distance <= psf_fwhm
    reference = _reference_snr(difference, model, weight, stamp_x, stamp_y, norm)
    near = (mask & MASK_BITS["saturated"]) > 0
    flags = (
        FLAG_BITS["masked_core"] * bool((inner & ~usable).any())
        | FLAG_BITS["saturated_near"] * bool(near.any())
        | FLAG_BITS["edge"] * edge
        | FLAG_BITS["fit_failed"] * failed
    )
    return {
        "x": x,
        "y": y,
        "flux": flux,
        "flux_err": difference.noise_factor / np.sqrt(norm),
        "fwhm": psf_fwhm * width / point,
        "psf_fwhm": psf_fwhm,
        "elongation": elongation,
        "psf_chi2": chi2 / max(core.sum() - 3, 1),
        "peak_to_flux": np.max(data[core], initial=-np.inf) / flux
        if core.any() and flux > 0
        else np.nan,
        "n_negative": np.count_nonzero((data < -2 * noise) & core),
        "reference_snr": reference,
        "flags": flags,
    }


def _cut(difference, psf, column, row):
    """Return the stamp around a pixel, cut at the edge, and whether it was cut."""
    radius = psf.radius
    ny, nx = difference.data.shape
    top, bottom = max(0, row - radius), min(ny, row + radius + 1)
    left, right = max(0, column - radius), min(nx, column + radius + 1)
    box = slice(top, bottom), slice(left, right)
    stamp_y, stamp_x = np.mgrid[box]
    edge = (bottom - top, right - left) != (2 * radius + 1, 2 * radius + 1)
    data = np.nan_to_num(difference.data[box]).astype(float)
    noise = difference.noise[box].astype(float)
    return stamp_x, stamp_y, data, noise, difference.mask[box], edge


def _model_on(psf, x, y, stamp_x, stamp_y):
    """Evaluate the PSF of a source at (x, y) on the pixels of a stamp."""
    stamp = psf(x, y)
    radius = psf.radius
    rows = stamp_y[:, 0] - round(y) + radius
    columns = stamp_x[0] - round(x) + radius
    model = np.zeros(stamp_x.shape)
    on_rows = (rows >= 0) & (rows < len(stamp))
    on_columns = (columns >= 0) & (columns < len(stamp))
    model[np.ix_(on_rows, on_columns)] = stamp[
        np.ix_(rows[on_rows], columns[on_columns])
    ]
    return model


def _fit_position(psf, data, weight, column, row, stamp_x, stamp_y):
    """Fit position and flux by Gauss-Newton steps from the peak pixel."""
    x, y = float(column), float(row)
    for step in range(_N_FIT_STEPS):
        model = _model_on(psf, x, y, stamp_x, stamp_y)
        if step % 2 == 0:  # they change slowly, and cost four models
            slope_x, slope_y = _slopes(psf, x, y, stamp_x, stamp_y)
        design = np.stack([model, slope_x, slope_y]).reshape(3, -1)
        normal = (design * weight.ravel()) @ design.T
        normal[np.diag_indices(3)] *= 1 + 1e-6
        try:
            flux, shift_x, shift_y = np.linalg.solve(
                normal, design @ (weight * data).ravel()
            )
        except np.linalg.LinAlgError:
            return float(column), float(row), True
        if not flux > 0:
            return float(column), float(row), True
        x += np.clip(shift_x / flux, -0.5, 0.5)
        y += np.clip(shift_y / flux, -0.5, 0.5)
        if max(abs(x - column), abs(y - row)) > _MAX_SHIFT:
            return float(column), float(row), True
    return x, y, False


def _slopes(psf, x, y, stamp_x, stamp_y, *, h=0.25):
    """Return how the PSF on a stamp changes with x and with y, a pixel."""
    return (
        (
            _model_on(psf, x + dx, y + dy, stamp_x, stamp_y)
            - _model_on(psf, x - dx, y - dy, stamp_x, stamp_y)
        )
        / (2 * h)
        for dx, dy in ((h, 0), (0, h))
    )


def _shape(data, usable, stamp_x, stamp_y, x, y, psf_fwhm):
    """Return width and elongation by moments under a Gaussian window.

    For a Gaussian source of variance s^2 under a window of variance w^2 the
    windowed variance is 1 / (1/s^2 + 1/w^2); it is inverted for s^2.
    """
    window2 = (1.5 * psf_fwhm / 2.3548) ** 2
    dx, dy = stamp_x - x, stamp_y - y
    light = np.where(usable, data, 0) * np.exp(-(dx**2 + dy**2) / (2 * window2))
    total = light.sum()
    if not total > 0:
        return np.nan, np.nan
    xx, yy = (light * dx**2).sum() / total, (light * dy**2).sum() / total
    xy = (light * dx * dy).sum() / total
    middle, split = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # A pixel is the least that a source can cover; the window is the most.
    moments = np.clip([middle + split, middle - split], 1 / 12, 0.95 * window2)
    major2, minor2 = 1 / (1 / moments - 1 / window2)
    return np.sqrt((major2 + minor2) / 2), np.sqrt(major2 / minor2)


def _reference_snr(difference, model, weight, stamp_x, stamp_y, norm):
    """Return the S/N of the reference's light there, in the difference's noise."""
    box = (
        slice(stamp_y[0, 0], stamp_y[-1, 0] + 1),
        slice(stamp_x[0, 0], stamp_x[0, -1] + 1),
    )
    reference = difference.reference[box]
    if not np.isfinite(reference).all() or not norm > 0:
        return np.nan
    light = np.sum(weight * model * reference)
    return light / np.sqrt(norm) / difference.noise_factor


def true_snr(difference, psf, x, y, flux):
    """Return the S/N that a source of known flux has on a difference.

    Parameters
    ----------
    difference : Difference
    psf : PSF
    x, y : float
        True position [pixel].
    flux : float
        True flux [adu].

    Returns
    -------
    snr : float
        Of a matched filter in the noise under the source. The noise image was made
        with the source in it, so that its own photons are counted.
    usable : bool
        Whether no pixel within one FWHM is masked, or off the image.
    """
    column, row = round(x), round(y)
    ny, nx = difference.data.shape
    if not (0 <= row < ny and 0 <= column < nx):
        return np.nan, False
    stamp_x, stamp_y, _, noise, mask, _ = _cut(difference, psf, column, row)
    good = (mask & UNUSABLE) == 0
    model = _model_on(psf, x, y, stamp_x, stamp_y)
    norm = np.sum(np.where(good, model**2 / noise**2, 0))
    fwhm = psf.fwhm_at(x, y)
    inner = np.hypot(stamp_x - x, stamp_y - y) <= fwhm
    inside = fwhm <= x <= nx - 1 - fwhm and fwhm <= y <= ny - 1 - fwhm
    return float(flux * np.sqrt(norm) / difference.noise_factor), bool(
        good[inner].all() and inside
    )
