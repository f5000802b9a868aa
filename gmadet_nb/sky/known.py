"""Which candidates lie on a known object, at the time when it is there."""

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.spatial import cKDTree

from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.sky.catalogs import OTHER_KINDS

# Of several objects at one place the one that says most names the candidate: whatever
# is neither a star nor a galaxy, then a star.
_RANK = {kind: rank for rank, kind in enumerate(OTHER_KINDS, start=1)}


def match_known(candidates, exposures, known, *, match_radius, mjd_tolerance):
    """Find the known object that each candidate lies on.

    Within ``match_radius`` times the FWHM, or the radius of the object where that is
    larger. An object that has a time is there in exposures that were under way then,
    give or take the tolerance. Nothing is dropped.

    Parameters
    ----------
    candidates : astropy.table.Table
        ``exposure_id``, ``ra``, ``dec`` [deg], ``psf_fwhm`` [pixel].
    exposures : astropy.table.Table
        ``exposure_id``, ``mjd`` [d] of the start, ``exptime`` [s], ``pixel_scale``
        [arcsec/pixel].
    known : astropy.table.Table
        From `gmadet_nb.sky.catalogs.read_known`.
    match_radius : float
        [FWHM]
    mjd_tolerance : float
        [min]

    Returns
    -------
    astropy.table.Table
        One row a candidate, in order: ``known_kind``, ``known_name`` ("" where there
        is none) and ``known_separation`` [arcsec], NaN where there is none.
    """
    here = rows_of(candidates["exposure_id"], exposures["exposure_id"])
    reach = match_radius * as_floats(candidates["psf_fwhm"])
    reach *= as_floats(exposures["pixel_scale"])[here]
    i, j, apart = _pairs(candidates, known, reach)
    times = _times(exposures, mjd_tolerance)[here[i]]
    mjd = as_floats(known["mjd"])[j]
    there = np.isnan(mjd) | ((mjd >= times[:, 0]) & (mjd <= times[:, 1]))
    i, j, apart = i[there], j[there], apart[there]
    rank = np.array([_RANK.get(str(kind), 0) for kind in known["kind"][j]], int)
    order = np.lexsort((apart, rank, i))
    row, first = np.unique(i[order], return_index=True)
    best = order[first]
    found = Table()
    for name in ("kind", "name"):
        texts = np.full(len(candidates), "", dtype=known[name].dtype)
        texts[row] = known[name][j[best]]
        found[f"known_{name}"] = texts
    separation = np.full(len(candidates), np.nan)
    separation[row] = apart[best]
    found["known_separation"] = separation * u.arcsec
    return found


def describe_known(found, candidates, exposures, known):
    """Say in words what became of the known objects.

    Parameters
    ----------
    found : astropy.table.Table
        From `match_known`.
    candidates, exposures, known : astropy.table.Table
        As there.

    Returns
    -------
    list of str
    """
    if not (len(known) or any(known.meta.values())):
        return ["No known objects are given: candidates on them may pass for bogus."]
    n_field = int(np.sum(_in_field(known, exposures)))
    n_on = int(np.sum(found["known_kind"] != ""))
    words = [
        f"{n_field} of {len(known)} known objects lie in the field, and {n_on} of "
        f"{len(found)} candidates on one of them."
    ]
    dropped = {
        "n_no_place": "known objects have no position and are left out.",
        "n_no_time": "known minor planets have no mjd and are left out.",
    }
    words += [f"{known.meta[name]} {text}" for name, text in dropped.items()]
    words += [
        f"{np.isnan(as_floats(candidates['ra'])).sum()} candidates have no position on "
        "the sky: none of them can be known.",
        f"{np.isnan(as_floats(exposures['mjd'])).sum()} exposures have no time: what "
        "moves is not known on them.",
    ]
    return [text for text in words if not text.startswith("0 ") or text is words[0]]


def _pairs(candidates, known, reach):
    """Return candidate, object and separation [arcsec] of all that are near enough."""
    placed = np.flatnonzero(
        np.isfinite(as_floats(candidates["ra"]) + as_floats(candidates["dec"]) + reach)
    )
    none = np.zeros(0, int)
    if not len(placed) or not len(known):
        return none, none, np.zeros(0)
    size = np.nan_to_num(as_floats(known["radius"]))
    tree, sky = cKDTree(on_sphere(known)), on_sphere(candidates[placed])
    farthest = np.maximum(reach[placed], size.max())
    near = tree.query_ball_point(sky, _chord(farthest))
    i = np.repeat(np.arange(len(placed)), [len(some) for some in near])
    j = np.array([k for some in near for k in some], int)
    apart = _arcsec(np.linalg.norm(sky[i] - tree.data[j], axis=1))
    inside = apart <= np.maximum(reach[placed][i], size[j])
    return placed[i[inside]], j[inside], apart[inside]


def on_sphere(table):
    """Return ``ra`` and ``dec`` [deg] as (n, 3) points of the unit sphere."""
    ra, dec = (np.radians(as_floats(table[name])) for name in ("ra", "dec"))
    return np.column_stack(
        [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]
    )


def _chord(arcsec):
    return 2 * np.sin(np.radians(arcsec / 3600) / 2)


def _arcsec(chord):
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1))) * 3600


def _times(exposures, tolerance):
    """Return from when to when each exposure was under way, (n, 2) [d]."""
    start = as_floats(exposures["mjd"])
    end = start + np.nan_to_num(as_floats(exposures["exptime"])) / 86400
    return np.column_stack([start - tolerance / 1440, end + tolerance / 1440])


def _in_field(known, exposures):
    """Say which objects are within half a diagonal of the middle of an exposure."""
    inside = np.zeros(len(known), bool)
    places = on_sphere(known)
    for row, middle in zip(exposures, on_sphere(exposures), strict=True):
        half = np.hypot(row["nx"], row["ny"]) / 2 * row["pixel_scale"]
        # A comparison with NaN is False: an exposure without a WCS holds nothing.
        inside |= np.linalg.norm(places - middle, axis=1) <= _chord(half)
    return inside
