"""What surrounds a candidate: the field, its neighbours, its place at other times."""

import threading
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from gmadet_nb.learning.cutouts import cut

_WIDER = 4  # times the side of a cutout
_SAME_PLACE = 1.5  # [FWHM]
_MOST = 5  # neighbours that are named


class Context:
    """Looks up the surroundings of candidates of one run, one after the other.

    Parameters
    ----------
    candidates : astropy.table.Table
    exposures : astropy.table.Table
        ``exposure_id``, ``mjd`` [d], ``pixel_scale`` [arcsec/pixel].
    read_planes : callable
        ``read_planes(exposure_id)`` gives science, reference and difference of an
        exposure, three (ny, nx) arrays [adu].
    size : int
        Side of a cutout [pixel]; the surroundings are four times as wide.
    """

    def __init__(self, candidates, exposures, read_planes, *, size):
        self._table, self._size = candidates, _WIDER * size
        self._row = {str(key): i for i, key in enumerate(candidates["candidate_id"])}
        self._exposures = {str(row["exposure_id"]): row for row in exposures}
        # A frame is some megabytes: that of the last candidate, and of the one before.
        self._read = lru_cache(maxsize=2)(read_planes)
        self._lock = threading.Lock()
        self._sky = _unit_vectors(candidates)
        known = np.isfinite(self._sky).all(axis=1)
        self._known = np.flatnonzero(known)
        self._tree = cKDTree(self._sky[known]) if known.any() else None

    def pixels(self, candidate_id):
        """Return the wider cutout, (size, size, 3) [adu], NaN off the image."""
        row = self._table[self._row[candidate_id]]
        with self._lock:
            planes = self._read(str(row["exposure_id"]))
        return cut(planes, [row["x"]], [row["y"]], size=self._size)[0][0]

    def describe(self, candidate_id):
        """Return the numbers, the neighbours and the history of a candidate.

        Returns
        -------
        dict
            ``id`` and ``exposure_id`` of the candidate; ``lines``, text about it;
            ``link``, a page of the sky there, "" where its place is not known;
            ``history``, one dict a detection at the same place of the sky, in order of
            time: ``mjd`` [d], ``flux``, ``flux_err`` [adu], ``exposure_id``;
            ``neighbours``, the nearest other candidates of the exposure:
            ``candidate_id``, ``distance`` [pixel].
        """
        row = self._table[self._row[candidate_id]]
        return {
            "id": candidate_id,
            "exposure_id": str(row["exposure_id"]),
            "lines": _lines(row),
            "link": _link(row),
            "history": self._history(candidate_id),
            "neighbours": self._neighbours(row),
        }

    def _history(self, candidate_id):
        i = self._row[candidate_id]
        row = self._table[i]
        if self._tree is None or not np.isfinite(self._sky[i]).all():
            return []
        exposure = self._exposures.get(str(row["exposure_id"]))
        scale = float(exposure["pixel_scale"]) if exposure is not None else np.nan
        reach = np.radians(_SAME_PLACE * float(row["psf_fwhm"]) * scale / 3600)
        if not np.isfinite(reach):
            return []
        found = []
        for j in self._known[self._tree.query_ball_point(self._sky[i], reach)]:
            other = self._table[j]
            if not np.isfinite([other["flux"], other["flux_err"]]).all():
                continue
            name = str(other["exposure_id"])
            mjd = self._exposures[name]["mjd"] if name in self._exposures else np.nan
            found.append(
                {
                    "mjd": _number(mjd),
                    "flux": float(other["flux"]),
                    "flux_err": float(other["flux_err"]),
                    "exposure_id": name,
                }
            )
        return sorted(found, key=lambda one: (one["mjd"] or 0, one["exposure_id"]))

    def _neighbours(self, row):
        table = self._table
        same = np.asarray(table["exposure_id"]) == row["exposure_id"]
        same &= np.asarray(table["candidate_id"]) != row["candidate_id"]
        other = table[same]
        distance = np.hypot(other["x"] - row["x"], other["y"] - row["y"])
        distance = np.asarray(distance, dtype=float)
        near = np.argsort(distance)[:_MOST]
        return [
            {
                "candidate_id": str(other["candidate_id"][k]),
                "distance": round(float(distance[k]), 1),
            }
            for k in near
            if distance[k] < self._size / 2
        ]


def _lines(row):
    """Return what the table says of a candidate, in short lines."""
    lines = [f"x {row['x']:.1f}, y {row['y']:.1f} of {row['exposure_id']}"]
    words = {
        "psf_chi2": "chi2 of the PSF",
        "elongation": "elongation",
        "peak_to_flux": "peak over flux",
        "reference_snr": "S/N of the reference there",
        "reference_distance": "pixels to its nearest source",
    }
    known = [
        f"{text} {float(row[name]):.3g}"
        for name, text in words.items()
        if name in row.colnames and np.isfinite(float(row[name]))
    ]
    return lines + known


def _link(row):
    """Return the address of the sky at a candidate's place."""
    if "ra" not in row.colnames or not np.isfinite(float(row["ra"])):
        return ""
    place = f"{float(row['ra']):.6f}%20{float(row['dec']):+.6f}"
    return f"https://aladin.cds.unistra.fr/AladinLite/?target={place}&fov=0.05"


def _unit_vectors(candidates):
    """Return the directions of candidates on the sky, (n, 3); NaN where not known."""
    if "ra" not in candidates.colnames:
        return np.full((len(candidates), 3), np.nan)
    ra, dec = (np.radians(np.asarray(candidates[n], float)) for n in ("ra", "dec"))
    cos = np.cos(dec)
    return np.column_stack([cos * np.cos(ra), cos * np.sin(ra), np.sin(dec)])


def _number(value):
    """Return a number that JSON can hold; None for NaN."""
    value = float(value)
    return value if np.isfinite(value) else None
