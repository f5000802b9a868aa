"""The numbers of a candidate: a fit of the PSF, and the shape of its light."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.spatial import cKDTree

from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.photometry import flux_to_mag

FLAG_BITS = {
    "masked_core": 1,  # a masked pixel within one FWHM
    "saturated_near": 2,  # a saturated pixel under the stamp
    "edge": 4,  # the stamp reaches over the edge
    "fit_failed": 8,  # the fit moved off: position and flux are the peak's
    "dipole": 16,  # a negative peak beside it, at least half as strong
    "repeats": 32,  # at this pixel in other exposures too, of other places on the sky
}
_N_FIT_STEPS = 5
_MAX_SHIFT = 1.5  # of the fit from the peak [pixel]
_REACH_IN_FWHM = 2.6  # half the side of a stamp
_CHUNK = 2_000_000  # pixels of stamps in memory at a time
_DIPOLE_REACH = 1.5  # [FWHM]
_DIPOLE_RATIO = 0.5


@dataclass(frozen=True, kw_only=True)
class _Stamps:
    """The pixels around n candidates, k on a side, those off the image without weight.

    ``dx`` and ``dy`` are the offsets from the candidate's place [pixel].
    """

    rows: np.ndarray
    columns: np.ndarray
    data: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    reference: np.ndarray
    usable: np.ndarray
    inside: np.ndarray

    @property
    def weight(self):
        return np.where(self.usable, 1 / self.noise**2, 0)


def measure_candidates(
    difference, science, psf, x, y, *, reference_sources, snr=None, sign=1
):
    """Measure candidates by a fit of the PSF and by the shape of their light.

    Parameters
    ----------
    difference : Difference
    science : Image
    psf : PSF
        Of the difference.
    x, y : (n,) int arrays
        Places of the peaks [pixel].
    reference_sources : astropy.table.Table
        ``x``, ``y`` of the sources of the matched reference.
    snr : (ny, nx) array, optional
        The significance image, for ``dipole``.
    sign : int
        -1 measures light that is missing; its fluxes are negative.

    Returns
    -------
    candidates : astropy.table.Table
        One row a place, in order: ``candidate_id`` (exposure and pixel of the
        peak: the same in a search with another threshold), ``exposure_id``, ``x``,
        ``y``, ``x_err``, ``y_err``, ``ra``, ``dec``, ``flux``, ``flux_err``, ``snr``,
        ``mag``, ``mag_err``, ``filter``, ``fwhm``, ``psf_fwhm``, ``elongation``,
        ``psf_chi2`` (reduced, in the core), ``peak_to_flux`` (brightest pixel over the
        flux), ``n_negative`` (pixels below -2 sigma in the core), ``dipole`` (the
        strongest peak of the other sign beside it, over its own), ``reference_snr``,
        ``reference_distance``, ``flags``, ``edge``.
    """
    x, y = np.asarray(x, dtype=int), np.asarray(y, dtype=int)
    reach = int(min(psf.radius, max(4, np.ceil(_REACH_IN_FWHM * psf.fwhm))))
    n_chunk = max(1, _CHUNK // (2 * reach + 1) ** 2)
    parts = [
        _measure(difference, psf, x[at], y[at], reach, sign)
        for at in np.array_split(np.arange(len(x)), -(-len(x) // n_chunk) or 1)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["dipole"] = _dipole(snr, x, y, psf.fwhm, sign)
    clear = np.nan_to_num(found["dipole"]) >= _DIPOLE_RATIO
    found["flags"] |= np.where(clear, FLAG_BITS["dipole"], 0)
    return _as_table(found, science, x, y, reference_sources, sign)


def _as_table(found, science, x, y, reference_sources, sign):
    n = len(x)
    flux, flux_err = sign * found["flux"], found["flux_err"]
    sky = np.full((2, n), np.nan)
    if science.wcs is not None and n:
        sky = np.array(science.wcs.pixel_to_world_values(found["x"], found["y"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        mag_err = np.where(found["flux"] > 0, 1.0857 * flux_err / found["flux"], np.nan)
    distance = _distance_to(reference_sources, found["x"], found["y"])
    return Table(
        {
            "candidate_id": _names(science.exposure_id, x, y, sign),
            "exposure_id": _constant(science.exposure_id, n),
            "x": found["x"] * u.pix,
            "y": found["y"] * u.pix,
            "x_err": found["x_err"] * u.pix,
            "y_err": found["y_err"] * u.pix,
            "ra": sky[0] * u.deg,
            "dec": sky[1] * u.deg,
            "flux": flux * u.adu,
            "flux_err": flux_err * u.adu,
            "snr": flux / flux_err,
            "mag": flux_to_mag(found["flux"], science.zero_point) * u.mag,
            "mag_err": mag_err * u.mag,
            "filter": _constant(science.filter, n),
            "fwhm": found["fwhm"] * u.pix,
            "psf_fwhm": found["psf_fwhm"] * u.pix,
            "elongation": found["elongation"],
            "psf_chi2": found["psf_chi2"],
            "peak_to_flux": found["peak_to_flux"],
            "n_negative": found["n_negative"],
            "dipole": found["dipole"],
            "reference_snr": found["reference_snr"],
            "reference_distance": distance * u.pix,
            "flags": found["flags"],
            "edge": (found["flags"] & FLAG_BITS["edge"]) > 0,
        }
    )


def _names(exposure_id, x, y, sign):
    """Name candidates by their pixel: labels must find them in a new search."""
    kind = "x" if sign > 0 else "neg_x"
    names = [f"{exposure_id}_{kind}{i:04d}y{j:04d}" for i, j in zip(x, y, strict=True)]
    return np.array(names, dtype=str) if names else np.array([], dtype="U1")


def _constant(text, n):
    return np.full(n, text, dtype=f"U{max(1, len(text))}")


def _distance_to(sources, x, y):
    """Return the distance to the nearest source [pixel], inf where there is none."""
    if len(sources) == 0 or len(x) == 0:
        return np.full(len(x), np.inf)
    tree = cKDTree(np.column_stack([sources["x"], sources["y"]]))
    return tree.query(np.column_stack([x, y]))[0]


def _dipole(snr, x, y, fwhm, sign):
    """Return the strongest peak of the other sign beside each place, over its own."""
    if snr is None:
        return np.full(len(x), np.nan)
    reach = max(1, round(_DIPOLE_REACH * fwhm))
    at = np.arange(-reach, reach + 1)
    rows = np.clip(y[:, None] + at, 0, snr.shape[0] - 1)
    columns = np.clip(x[:, None] + at, 0, snr.shape[1] - 1)
    around = sign * snr[rows[:, :, None], columns[:, None, :]]
    lowest = around.min(axis=(1, 2))
    return np.clip(-lowest / np.maximum(sign * snr[y, x], 1e-9), 0, None)


def _cut(difference, x, y, reach, sign):
    """Cut the stamps out; a pixel off the image repeats the nearest, without weight."""
    ny, nx = difference.data.shape
    at = np.arange(-reach, reach + 1)
    rows, columns = y[:, None] + at, x[:, None] + at
    inside = ((rows >= 0) & (rows < ny))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < nx))[:, None, :]
    box = (
        np.clip(rows, 0, ny - 1)[:, :, None],
        np.clip(columns, 0, nx - 1)[:, None, :],
    )
    mask = difference.mask[box]
    return _Stamps(
        rows=rows,
        columns=columns,
        data=sign * np.nan_to_num(difference.data[box]).astype(float),
        noise=difference.noise[box].astype(float),
        mask=mask,
        reference=difference.reference[box].astype(float),
        usable=((mask & UNUSABLE) == 0) & inside,
        inside=inside,
    )


def _measure(difference, psf, x, y, reach, sign):
    """Measure all numbers of some candidates, vectorized over them."""
    stamps = _cut(difference, x, y, reach, sign)
    weight = stamps.weight
    place, errors, failed = _fit_positions(psf, stamps, x, y)
    model = _models(psf, *place, stamps, x, y)
    dx = stamps.columns[:, None, :] - place[0][:, None, None]
    dy = stamps.rows[:, :, None] - place[1][:, None, None]
    norm = np.maximum((weight * model**2).sum((1, 2)), 1e-30)
    flux = (weight * model * stamps.data).sum((1, 2)) / norm
    widths = np.array([psf.fwhm_at(*one) for one in zip(*place, strict=True)])
    distance = np.hypot(dx, dy)
    core = (distance <= 1.5 * widths[:, None, None]) & stamps.usable
    left = weight * (stamps.data - flux[:, None, None] * model) ** 2
    size, elongation = _shape(stamps.data, stamps.usable, dx, dy, widths)
    # Moments weigh wings: the PSF's own set the scale, so that a point source has
    # the FWHM of the PSF.
    point, _ = _shape(model, stamps.usable, dx, dy, widths)
    inner = (distance <= widths[:, None, None]) & stamps.inside
    peak = np.where(core, stamps.data, -np.inf).max((1, 2))
    factor = difference.noise_factor
    with np.errstate(invalid="ignore", divide="ignore"):
        reference = (weight * model * stamps.reference).sum((1, 2)) / np.sqrt(norm)
        peak_to_flux = np.where((flux > 0) & np.isfinite(peak), peak / flux, np.nan)
        fwhm = widths * size / point
    flags = FLAG_BITS["masked_core"] * (inner & ~stamps.usable).any((1, 2))
    near = ((stamps.mask & MASK_BITS["saturated"]) > 0) & stamps.inside
    flags = flags | FLAG_BITS["saturated_near"] * near.any((1, 2))
    flags = flags | FLAG_BITS["edge"] * ~stamps.inside.all((1, 2))
    flags = flags | FLAG_BITS["fit_failed"] * failed
    return {
        "x": place[0],
        "y": place[1],
        "x_err": errors[0] * factor,
        "y_err": errors[1] * factor,
        "flux": flux,
        "flux_err": factor / np.sqrt(norm),
        "fwhm": fwhm,
        "psf_fwhm": widths,
        "elongation": elongation,
        "psf_chi2": np.where(core, left, 0).sum((1, 2))
        / np.maximum(core.sum((1, 2)) - 3, 1),
        "peak_to_flux": peak_to_flux,
        "n_negative": ((stamps.data < -2 * stamps.noise) & core)
        .sum((1, 2))
        .astype(np.int32),
        "reference_snr": reference / factor,
        "flags": flags.astype(np.int32),
    }


def _models(psf, x, y, stamps, middle_x, middle_y):
    """Evaluate the PSF of sources at (x, y) on the pixels of their stamps."""
    cut = psf.radius - (stamps.data.shape[1] - 1) // 2
    whole = psf.evaluate_many(x, y, origin=(middle_x, middle_y))
    return whole[:, cut : whole.shape[1] - cut, cut : whole.shape[2] - cut]


def _fit_positions(psf, stamps, column, row):
    """Fit position and flux by Gauss-Newton steps from the peak pixel.

    Returns
    -------
    place, errors : tuple of two (n,) arrays
        x and y, and their standard deviations [pixel].
    failed : (n,) bool array
        The fit moved off or found no light: the place is the peak's.
    """
    x, y = column.astype(float), row.astype(float)
    weight = stamps.weight
    failed = np.zeros(len(x), dtype=bool)
    errors = np.full((2, len(x)), np.nan)
    for _ in range(_N_FIT_STEPS if len(x) else 0):
        model = _models(psf, x, y, stamps, column, row)
        slopes = _slopes(psf, x, y, stamps, column, row)
        design = np.stack([model, *slopes], axis=1).reshape(len(x), 3, -1)
        weighted = design * weight.reshape(len(x), 1, -1)
        normal = weighted @ design.transpose(0, 2, 1)
        diagonal = np.einsum("nii->ni", normal)
        diagonal += 1e-6 * diagonal + 1e-30
        toward = weighted @ stamps.data.reshape(len(x), -1, 1)
        flux, by_x, by_y = np.linalg.solve(normal, toward)[..., 0].T
        lost = ~(flux > 0)
        scale = np.where(lost, 1, flux)
        step_x, step_y = (np.clip(s / scale, -0.5, 0.5) for s in (by_x, by_y))
        failed |= lost | (np.abs(x + step_x - column) > _MAX_SHIFT)
        failed |= np.abs(y + step_y - row) > _MAX_SHIFT
        x = np.where(failed, column, x + step_x)
        y = np.where(failed, row, y + step_y)
        spread = np.einsum("nii->ni", np.linalg.inv(normal))[:, 1:].T
        errors = np.sqrt(np.clip(spread, 0, None)) / scale
    errors[:, failed] = np.nan
    return (x, y), errors, failed


def _slopes(psf, x, y, stamps, column, row, *, h=0.25):
    """Return how the PSF on the stamps changes with x and with y, a pixel."""
    return [
        (
            _models(psf, x + dx, y + dy, stamps, column, row)
            - _models(psf, x - dx, y - dy, stamps, column, row)
        )
        / (2 * h)
        for dx, dy in ((h, 0), (0, h))
    ]


def _shape(data, usable, dx, dy, psf_fwhm):
    """Return width and elongation by moments under a Gaussian window.

    For a Gaussian source of variance s^2 under a window of variance w^2 the
    windowed variance is 1 / (1/s^2 + 1/w^2); it is inverted for s^2.
    """
    window2 = (1.5 * psf_fwhm / 2.3548) ** 2
    light = np.where(usable, data, 0)
    light = light * np.exp(-(dx**2 + dy**2) / (2 * window2[:, None, None]))
    total = light.sum((1, 2))
    safe = np.where(total > 0, total, np.nan)
    xx, yy = ((light * d**2).sum((1, 2)) / safe for d in (dx, dy))
    xy = (light * dx * dy).sum((1, 2)) / safe
    middle, split = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    # A pixel is the least that a source can cover; the window is the most.
    moments = np.clip([middle + split, middle - split], 1 / 12, 0.95 * window2)
    major2, minor2 = 1 / (1 / moments - 1 / window2)
    return np.sqrt((major2 + minor2) / 2), np.sqrt(major2 / minor2)
