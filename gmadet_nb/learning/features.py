"""The candidate's own numbers, as one matrix: what the trees judge by."""

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.imaging.measure import FLAG_BITS

FAR = 20.0  # [FWHM] a reference source beyond it says nothing of the candidate
_FLAGS = ("masked_core", "saturated_near", "edge", "fit_failed")
# Name: what it is. The order is that of the columns.
FEATURES = {
    "snr": "signal over noise",
    "psf_chi2": "reduced chi2 of the PSF fit in the core",
    "relative_misfit": "(psf_chi2 - 1) / snr^2: the share of its light that misfits",
    "peak_over_flux": "brightest pixel over the flux, times the PSF's FWHM squared",
    "elongation": "long over short axis",
    "fwhm_ratio": "FWHM over that of the PSF",
    "negative_share": "pixels below -2 sigma in the core over the FWHM squared",
    "dipole": "strongest peak of the other sign beside it, over its own",
    "position_error": "error of the position over the FWHM, times snr",
    "error_asymmetry": "the larger of the errors of x and y over the smaller",
    "reference_snr": "signal over noise of the reference at the place",
    "snr_over_reference": "snr over that of the reference, which counts as 1 or more",
    "reference_distance": "to the nearest reference source [FWHM], 20 at most",
} | {name: "1 where it is flagged so, 0 where not" for name in _FLAGS}
COLUMNS = (
    "snr",
    "psf_chi2",
    "peak_to_flux",
    "elongation",
    "fwhm",
    "psf_fwhm",
    "n_negative",
    "dipole",
    "x_err",
    "y_err",
    "reference_snr",
    "reference_distance",
    "flags",
)


def features_of(candidate_ids, candidates):
    """Return `candidate_features` of some candidates, in the order of their names."""
    rows = rows_of(candidate_ids, candidates["candidate_id"])
    return candidate_features(candidates)[rows]


def candidate_features(candidates):
    """Return the numbers of each candidate that tell real from bogus.

    Widths, distances and counts of pixels are in units of the PSF's FWHM, and no
    flux, position, time or name is among them: nothing tells the exposure, so that
    what is learned on one holds on another. How often a detector pixel shows
    something (``n_same_pixel``) is left out for the same reason: it grows with
    the number of exposures.

    Parameters
    ----------
    candidates : astropy.table.Table
        Of 03_detect, with `COLUMNS`.

    Returns
    -------
    (n, len(FEATURES)) float32 array
        One row a candidate, in order; the columns are those of `FEATURES`. NaN
        where something could not be measured.

    Raises
    ------
    BadInputError
        If a column is missing.
    """
    missing = [name for name in COLUMNS if name not in candidates.colnames]
    if missing:
        raise BadInputError(
            f"The candidates must have the columns {', '.join(COLUMNS)}; "
            f"{', '.join(missing)} not there. Run 03_detect again."
        )
    value = {name: as_floats(candidates[name]) for name in COLUMNS[:-1]}
    flags = np.ma.filled(np.ma.asarray(candidates["flags"], int), 0)
    width, snr = value["psf_fwhm"], value["snr"]
    errors = np.stack([value["x_err"], value["y_err"]])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = {
            "relative_misfit": (value["psf_chi2"] - 1) / snr**2,
            "peak_over_flux": value["peak_to_flux"] * width**2,
            "fwhm_ratio": value["fwhm"] / width,
            "negative_share": value["n_negative"] / width**2,
            "position_error": np.hypot(*errors) / width * snr,
            "error_asymmetry": errors.max(axis=0) / errors.min(axis=0),
            "snr_over_reference": snr / np.maximum(value["reference_snr"], 1),
            "reference_distance": np.minimum(value["reference_distance"] / width, FAR),
        }
        found |= {name: (flags & FLAG_BITS[name]) > 0 for name in _FLAGS}
        found = value | found
        matrix = np.stack([found[name] for name in FEATURES], axis=1)
        matrix = matrix.astype(np.float32)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix
