"""Candidates that move along a line from exposure to exposure: minor planets."""

from itertools import combinations

import numpy as np

from gmadet_nb.files.tables import as_floats
from gmadet_nb.imaging.measure import FLAG_BITS

_MIN_EXPOSURES = 3  # and half of those that see the field
_LEAST_SHIFT = 1.0  # [FWHM] between two exposures: less is a place, not a path
_OFF_PATH = 1.0  # [FWHM]
_FLUX_FACTOR = 2.0
# Only what looks like a point can be mistaken for a transient.
_MAX_CHI2, _MIN_WIDTH, _MAX_WIDTH, _MIN_SNR = 3.0, 0.6, 1.7, 4.5
_SPOILT = sum(
    FLAG_BITS[name]
    for name in ("masked_core", "saturated_near", "edge", "fit_failed", "repeats")
)


def find_moving(candidates, exposures):
    """List candidates that move at constant speed along a great circle.

    Three or more point-like ones of like brightness, in half of the exposures or
    more, each within one FWHM of the line through the first and the last.
    Exposures without a time or a WCS are left out. Five exposures with 15 point-like
    candidates each in a million pixels have a fifth of a path by chance.

    Parameters
    ----------
    candidates : astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``ra``, ``dec`` [deg], ``snr``, ``flux``,
        ``psf_chi2``, ``fwhm``, ``psf_fwhm`` [pixel], ``flags``.
    exposures : astropy.table.Table
        ``exposure_id``, ``mjd`` [d], ``pixel_scale`` [arcsec/pixel].

    Returns
    -------
    candidate_ids : list of str
    """
    rows = candidates[_point_like(candidates)]
    times = {str(e): float(t) for e, t in exposures["exposure_id", "mjd"].iterrows()}
    scales = dict(exposures["exposure_id", "pixel_scale"].iterrows())
    exposure = np.asarray(rows["exposure_id"]).astype(str)
    time = np.array([times[name] for name in exposure])
    known = np.isfinite(time)
    rows, exposure, time = rows[known], exposure[known], time[known]
    names = sorted(set(exposure), key=times.get)
    needed = max(_MIN_EXPOSURES, -(-len(set(candidates["exposure_id"])) // 2))
    if len(names) < needed:
        return []
    sky = _on_plane(rows)  # [arcsec]
    width = np.array([float(scales[name]) for name in exposure])
    width = width * as_floats(rows["psf_fwhm"])
    flux = as_floats(rows["flux"])
    members = {name: np.flatnonzero(exposure == name) for name in names}
    found = set()
    for first, last in combinations(names, 2):
        if times[last] <= times[first] or _between(names, first, last) < needed:
            continue
        for i in members[first]:
            for j in members[last]:
                path = _on_path(i, j, sky, time, width, flux)
                if len(set(exposure[path])) >= needed:
                    found.update(path)
    return [str(rows["candidate_id"][i]) for i in sorted(found)]


def _between(names, first, last):
    return names.index(last) - names.index(first) + 1


def _point_like(candidates):
    """Say which candidates could be mistaken for a transient."""
    names = ("ra", "dec", "snr", "psf_chi2", "fwhm", "psf_fwhm")
    value = {name: as_floats(candidates[name]) for name in names}
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = value["fwhm"] / value["psf_fwhm"]
    return (
        np.isfinite(value["ra"] + value["dec"])
        & (value["psf_chi2"] < _MAX_CHI2)
        & (ratio > _MIN_WIDTH)
        & (ratio < _MAX_WIDTH)
        & (value["snr"] > _MIN_SNR)
        & ((np.asarray(candidates["flags"]) & _SPOILT) == 0)
    )


def _on_plane(rows):
    """Return places on the sky around their middle, as an (n, 2) array [arcsec]."""
    ra, dec = (np.radians(as_floats(rows[name])) for name in ("ra", "dec"))
    if not len(ra):
        return np.zeros((0, 2))
    turn = (ra - ra[0] + np.pi) % (2 * np.pi) - np.pi
    flat = np.stack([turn * np.cos(dec.mean()), dec - dec.mean()], axis=1)
    return np.degrees(flat) * 3600


def _on_path(i, j, sky, time, width, flux):
    """Return the candidates on the way from one to another, these two among them."""
    shift = sky[j] - sky[i]
    if np.hypot(*shift) < _LEAST_SHIFT * width[i]:
        return np.zeros(0, int)
    way = sky[i] + np.outer((time - time[i]) / (time[j] - time[i]), shift)
    near = np.hypot(*(sky - way).T) < _OFF_PATH * width
    alike = np.abs(np.log(flux / flux[i])) < np.log(_FLUX_FACTOR)
    return np.flatnonzero(near & alike & (time >= time[i]) & (time <= time[j]))
