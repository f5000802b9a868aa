"""Candidates that stay with the detector while the sky moves: hot pixels."""

import numpy as np
from scipy.spatial import cKDTree

from gmadet_nb.imaging.measure import FLAG_BITS

_SAME_PIXEL = 1.0  # [pixel]
_OTHER_PLACE = 1.5  # [FWHM]
# Other exposures that must show it: two coincide by chance.
_LEAST_OTHERS = 2


def mark_repeats(candidates, pixel_scales):
    """Find the candidates that others of the night share their detector pixel with.

    Only exposures that were pointed elsewhere count, at least 1.5 FWHM away on the
    sky: without dithering a variable star repeats, too. Without a WCS nothing can be
    told.

    Parameters
    ----------
    candidates : astropy.table.Table
        Of all exposures: ``exposure_id``, ``x``, ``y``, ``ra``, ``dec``, ``psf_fwhm``,
        ``flags``.
    pixel_scales : dict
        By ``exposure_id`` [arcsec/pixel].

    Returns
    -------
    candidates : astropy.table.Table
        With ``n_same_pixel``, the other exposures that show something at this pixel
        and another place on the sky; flagged ``repeats`` where these are two or more.
    """
    marked = candidates.copy()
    marked["n_same_pixel"] = np.zeros(len(candidates), dtype=np.int32)
    if len(candidates) < 2:
        return marked
    xy = np.column_stack([candidates["x"], candidates["y"]]).astype(float)
    pairs = cKDTree(xy).query_pairs(_SAME_PIXEL, output_type="ndarray")
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    exposure = np.asarray(candidates["exposure_id"])
    i, j = pairs[exposure[pairs[:, 0]] != exposure[pairs[:, 1]]].T
    ra, dec = (np.radians(np.asarray(candidates[c], float)) for c in ("ra", "dec"))
    turn = (ra[j] - ra[i] + np.pi) % (2 * np.pi) - np.pi
    apart = np.hypot(turn * np.cos(dec[i]), dec[j] - dec[i])
    scale = np.array([float(pixel_scales[name]) for name in exposure[i]])
    fwhm = np.asarray(candidates["psf_fwhm"], float)[i]
    moved = np.degrees(apart) * 3600 > _OTHER_PLACE * fwhm * scale
    shown = np.unique(np.column_stack([i[moved], _number(exposure)[j[moved]]]), axis=0)
    counts = np.bincount(shown[:, 0], minlength=len(candidates))
    marked["n_same_pixel"] = counts.astype(np.int32)
    marked["flags"] |= np.where(counts >= _LEAST_OTHERS, FLAG_BITS["repeats"], 0)
    return marked


def _number(names):
    return np.unique(names, return_inverse=True)[1]
