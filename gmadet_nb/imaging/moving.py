"""Candidates that move along a line from exposure to exposure: minor planets."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import KDTree

from gmadet_nb.files.tables import as_floats
from gmadet_nb.imaging.measure import FLAG_BITS

logger = logging.getLogger(__name__)

_MIN_EXPOSURES = 3  # and half of those that see the field
_LEAST_SHIFT = 1.0  # [FWHM] between two exposures: less is a place, not a path
_OFF_PATH = 1.0  # [FWHM]
_FLUX_FACTOR = 2.0
# Minor planets of the main belt stay below 1 arcsec a minute; what is much faster is
# near the Earth, and a trail on any exposure that shows it.
_FASTEST = 2.0 * 1440  # [arcsec/d]
# Shifted by some PSFs, an exposure is as crowded as before, and nothing in it is on
# the path that it was on.
_N_SCRAMBLED, _SHIFT = 10, (5.0, 15.0)  # [FWHM]
_CHANCE = 0.1  # share of what is found that chance may explain
# Only what looks like a point can be mistaken for a transient.
_MAX_CHI2, _MIN_WIDTH, _MAX_WIDTH, _MIN_SNR = 3.0, 0.6, 1.7, 4.5
_SPOILT = sum(
    FLAG_BITS[name]
    for name in ("masked_core", "saturated_near", "edge", "fit_failed", "repeats")
)


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Point-like candidates of exposures in the order of time."""

    ids: np.ndarray  # (n,) str
    sky: np.ndarray  # (n, 2) [arcsec]
    width: np.ndarray  # (n,) FWHM of the PSF [arcsec]
    log_flux: np.ndarray  # (n,)
    exposure: np.ndarray  # (n,) int, number of the exposure
    times: np.ndarray  # (n_exposures,) [d]

    def of(self, number):
        """Return which points are of an exposure."""
        return np.flatnonzero(self.exposure == number)


def find_moving(candidates, exposures):
    """List candidates that move at constant speed along a great circle.

    Three or more point-like ones of like brightness, in half of the exposures or
    more, each within one FWHM of the line through the first and the last, and no
    faster than 2 arcsec a minute. How many such paths chance makes is counted with
    each exposure shifted against the others: where that is more than a tenth of what
    is found, a path must have more exposures, and in a field so crowded that even
    all are not enough, nothing is listed. Exposures without a time or a WCS are left
    out.

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
    needed = max(_MIN_EXPOSURES, -(-len(set(candidates["exposure_id"])) // 2))
    points = _read_points(candidates, exposures)
    n_on_path = _best_paths(points, needed)
    every = np.flatnonzero(n_on_path)
    if not len(every):
        return []
    rng = np.random.default_rng(0)  # the same night gives the same answer
    lowest = n_on_path[every].min()
    by_chance = [
        _best_paths(_scrambled(points, rng), lowest) for _ in range(_N_SCRAMBLED)
    ]
    for least in range(lowest, len(points.times) + 1):
        found = np.flatnonzero(n_on_path >= least)
        n_chance = np.sum(np.stack(by_chance) >= least) / _N_SCRAMBLED
        if n_chance <= _CHANCE * len(found):
            break
        found = found[:0]
    logger.info(
        "%d candidates move along a line; %d others do, too, but chance explains them.",
        len(found),
        len(every) - len(found),
    )
    return [str(key) for key in points.ids[found]]


def _read_points(candidates, exposures):
    """Return the point-like candidates of exposures with a time, which may be none."""
    time = dict(exposures["exposure_id", "mjd"].iterrows())
    scale = dict(exposures["exposure_id", "pixel_scale"].iterrows())
    rows = candidates[_point_like(candidates)]
    known = [np.isfinite(float(time[name])) for name in rows["exposure_id"]]
    rows = rows[np.array(known, bool)]
    names = sorted({str(name) for name in rows["exposure_id"]}, key=time.get)
    number = {name: i for i, name in enumerate(names)}
    scales = np.array([float(scale[name]) for name in rows["exposure_id"]])
    return _Points(
        ids=np.asarray(rows["candidate_id"]),
        sky=_on_plane(rows),
        width=scales * as_floats(rows["psf_fwhm"]),
        log_flux=np.log(as_floats(rows["flux"])),
        exposure=np.array([number[str(name)] for name in rows["exposure_id"]], int),
        times=np.array([float(time[name]) for name in names]),
    )


def _point_like(candidates):
    """Say which candidates could be mistaken for a transient."""
    names = ("ra", "dec", "snr", "flux", "psf_chi2", "fwhm", "psf_fwhm")
    value = {name: as_floats(candidates[name]) for name in names}
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = value["fwhm"] / value["psf_fwhm"]
    return (
        np.isfinite(value["ra"] + value["dec"])
        & (value["flux"] > 0)
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


def _scrambled(points, rng):
    """Return the points with each exposure shifted by some FWHM in some direction."""
    n = len(points.times)
    angle, length = rng.uniform(0, 2 * np.pi, n), rng.uniform(*_SHIFT, n)
    shift = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shift = shift[points.exposure] * np.median(points.width)
    return replace(points, sky=points.sky + shift)


def _best_paths(points, needed):
    """Return of each point how many exposures its best path has, 0 if not enough."""
    n, best = len(points.times), np.zeros(len(points.ids), int)
    for first in range(n - needed + 1):
        for last in range(first + needed - 1, n):
            pairs = _pairs(points, points.of(first), points.of(last))
            allowed = last - first + 1 - needed
            for between in range(first + 1, last):
                missed = ~_is_crossed(points, pairs, points.of(between))
                pairs = np.column_stack([pairs[:, :2], pairs[:, 2] + missed])
                pairs = pairs[pairs[:, 2] <= allowed]
            for i, j, _ in pairs:
                path = _on_path(points, i, j)
                n_on_path = len(set(points.exposure[path]))
                if n_on_path >= needed:
                    best[path] = np.maximum(best[path], n_on_path)
    return best


def _pairs(points, first, last):
    """Return who could be one and the same at the ends: (n, 3) ints, the last one 0."""
    nobody = np.zeros((0, 3), int)
    days = np.ptp(points.times[points.exposure[[first[0], last[0]]]])
    if days == 0:
        return nobody
    near = KDTree(points.sky[first]).query_ball_tree(
        KDTree(points.sky[last]), _FASTEST * days
    )
    i = np.repeat(first, [len(some) for some in near])
    j = last[np.array([k for some in near for k in some], int)]
    shift = np.hypot(*(points.sky[j] - points.sky[i]).T)
    moved = shift >= _LEAST_SHIFT * points.width[i]
    moved &= np.abs(points.log_flux[j] - points.log_flux[i]) < np.log(_FLUX_FACTOR)
    return np.stack([i, j, np.zeros(len(i), int)], axis=1)[moved]


def _is_crossed(points, pairs, some):
    """Say of each pair whether some of another exposure may be on the way.

    In boxes of place and brightness, which a tree finds fast: `_on_path` decides.
    """
    if not len(pairs):
        return np.zeros(0, bool)
    way, flux = _way(points, *pairs[:, :2].T, points.exposure[some[0]])
    sides = [*[_OFF_PATH * points.width[some].max()] * 2, np.log(_FLUX_FACTOR)]
    tree = KDTree(np.column_stack([points.sky[some], points.log_flux[some]]) / sides)
    places = np.column_stack([way, flux]) / sides
    return np.isfinite(tree.query(places, p=np.inf, distance_upper_bound=1.0)[0])


def _way(points, i, j, number):
    """Return where a path is at an exposure [arcsec], and how bright at its start."""
    start, end = points.times[points.exposure[i]], points.times[points.exposure[j]]
    share = (points.times[number] - start) / (end - start)
    way = points.sky[i] + share[..., None] * (points.sky[j] - points.sky[i])
    return way, points.log_flux[i]


def _on_path(points, i, j):
    """Return the points on the way from one to another, these two among them."""
    way, log_flux = _way(points, i, j, points.exposure)
    near = np.hypot(*(points.sky - way).T) < _OFF_PATH * points.width
    alike = np.abs(points.log_flux - log_flux) < np.log(_FLUX_FACTOR)
    during = points.exposure >= points.exposure[i]
    during &= points.exposure <= points.exposure[j]
    return np.flatnonzero(near & alike & during)
