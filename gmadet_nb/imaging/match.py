"""Injected sources to candidates, image by image, in units of the FWHM."""

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack
from scipy.spatial import cKDTree

# A candidate that recurs on the sky in at least this many other exposures, and not
# on the same detector pixel, may well be a true variable or transient.
_MIN_RECURRENCES = 2
# A pair whose fluxes differ by more than this factor, and by 5 sigma, is no pair: a
# cosmic ray or the edge of a bleeding star lies in the place.
_FLUX_FACTOR = 2.0
# Light of a difference over the reference's at the same place, below which a
# recurrent candidate is what a bright star leaves behind.
_RESIDUAL_SHARE = 0.1


def match_sources(sources, candidates, *, match_radius, fwhm):
    """Match the injected sources of one exposure to its candidates.

    A pair counts when each is the nearest of the other within the radius. More
    than one candidate within the radius of a source, or more than one source
    within that of a candidate, makes the pair ambiguous: which is which cannot
    be told. A pair whose fluxes cannot agree is ``unlike``: something else lies in
    the place, and the source was not found.

    Parameters
    ----------
    sources : astropy.table.Table
        ``source_id``, ``x``, ``y`` [pixel], ``flux`` [adu]; of one exposure.
    candidates : astropy.table.Table
        ``candidate_id``, ``x``, ``y`` [pixel], ``flux``, ``flux_err`` [adu]; of the
        same exposure.
    match_radius : float
        [FWHM]
    fwhm : float
        [pixel]

    Returns
    -------
    matches : astropy.table.Table
        One row a source, in order, then one a candidate left over:
        ``source_id``, ``candidate_id`` (empty where there is none),
        ``separation`` [pixel], ``separation_fwhm``, ``n_plausible`` (partners
        within the radius) and ``match``: ``matched``, ``ambiguous``, ``unlike``,
        ``missed`` or ``unmatched``.
    """
    radius = match_radius * fwhm
    n_sources, n_candidates = len(sources), len(candidates)
    partner = np.full(n_sources, -1)
    separation = np.full(n_sources, np.nan)
    n_plausible = np.zeros(n_sources, dtype=int)
    taken = np.zeros(n_candidates, dtype=int)
    if n_sources and n_candidates:
        here = cKDTree(_positions(sources))
        there = cKDTree(_positions(candidates))
        near = here.query_ball_tree(there, radius)
        n_plausible = np.array([len(found) for found in near])
        for found in near:
            taken[found] += 1
        distance, nearest = there.query(here.data)
        mutual = here.query(there.data)[1][nearest] == np.arange(n_sources)
        found = mutual & (distance <= radius)
        partner[found], separation[found] = nearest[found], distance[found]
    crowded = n_plausible > 1
    crowded[partner >= 0] |= taken[partner[partner >= 0]] > 1
    match = np.where(partner < 0, "missed", np.where(crowded, "ambiguous", "matched"))
    match[_other_light(sources, candidates, partner)] = "unlike"
    ids = np.append(np.asarray(candidates["candidate_id"], dtype=str), "")
    matched = Table(
        {
            "source_id": np.asarray(sources["source_id"], dtype=str),
            "candidate_id": ids[partner],
            "separation": separation * u.pix,
            "separation_fwhm": separation / fwhm,
            "n_plausible": n_plausible,
            "match": match.astype("U9"),
        }
    )
    left = np.setdiff1d(np.arange(n_candidates), partner)
    # A second candidate within the radius of a source is no bogus one either.
    rest = Table(
        {
            "source_id": np.full(len(left), "", dtype="U1"),
            "candidate_id": ids[left],
            "separation": np.full(len(left), np.nan) * u.pix,
            "separation_fwhm": np.full(len(left), np.nan),
            "n_plausible": taken[left],
            "match": np.where(taken[left] > 0, "ambiguous", "unmatched").astype("U9"),
        }
    )
    return vstack([matched, rest], metadata_conflicts="silent")


def _other_light(sources, candidates, partner):
    """Say which pairs differ in flux as only something else in the place explains."""
    other = np.zeros(len(sources), dtype=bool)
    i = np.flatnonzero(partner >= 0)
    true = np.asarray(sources["flux"], dtype=float)[i]
    found = np.asarray(candidates["flux"], dtype=float)[partner[i]]
    error = np.asarray(candidates["flux_err"], dtype=float)[partner[i]]
    unlike = (found > _FLUX_FACTOR * true) | (found < true / _FLUX_FACTOR)
    other[i] = unlike & (np.abs(found - true) > 5 * error)
    return other


def _positions(table):
    return np.column_stack([np.asarray(table["x"]), np.asarray(table["y"])]).astype(
        float
    )


def label_automatically(
    crossmatch, candidates, exposures, *, unmatched_as_bogus, moving=()
):
    """Give the labels that follow from the injection alone.

    Matched candidates are real. Ambiguous ones train nothing. The unmatched are
    bogus if ``unmatched_as_bogus``, but for those that recur at one place of
    the sky and not of the detector, and are no faint share of a star's light:
    a true variable or transient does that, so a person decides. So it is with those
    that move like a minor planet.

    Parameters
    ----------
    crossmatch : astropy.table.Table
        Rows of `match_sources`, of all exposures.
    candidates : astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``x``, ``y``, ``ra``, ``dec``, ``snr``,
        ``reference_snr``, ``psf_fwhm``.
    exposures : astropy.table.Table
        ``pixel_scale`` [arcsec/pixel] by ``exposure_id``.
    unmatched_as_bogus : bool
    moving : sequence of str
        Candidates from `gmadet_nb.imaging.moving.find_moving`.

    Returns
    -------
    crossmatch : astropy.table.Table
        The rows with ``auto_label`` and ``auto_origin``.
    """
    labels = np.full(len(crossmatch), "", dtype="U9")
    origins = np.full(len(crossmatch), "", dtype="U9")
    match = np.asarray(crossmatch["match"])
    has_candidate = np.asarray(crossmatch["candidate_id"]) != ""
    labels[match == "matched"], origins[match == "matched"] = "real", "injected"
    ambiguous = np.isin(match, ["ambiguous", "unlike"]) & has_candidate
    labels[ambiguous] = "ambiguous"
    if unmatched_as_bogus:
        recurrent_ids = set(find_recurrent(candidates, exposures))
        unmatched = match == "unmatched"
        recurrent = unmatched & np.isin(
            np.asarray(crossmatch["candidate_id"]), sorted(recurrent_ids)
        )
        labels[unmatched], origins[unmatched] = "bogus", "unmatched"
        labels[recurrent], origins[recurrent] = "recurrent", "recurrent"
        moves = unmatched & np.isin(np.asarray(crossmatch["candidate_id"]), moving)
        labels[moves], origins[moves] = "recurrent", "moving"
    labeled = crossmatch.copy()
    labeled["auto_label"], labeled["auto_origin"] = labels, origins
    return labeled


def find_recurrent(candidates, exposures):
    """List the candidates that recur on the sky as a true source would.

    Returns
    -------
    candidate_ids : list of str
    """
    known = np.isfinite(candidates["ra"]) & np.isfinite(candidates["dec"])
    rows = candidates[known]
    if len(rows) == 0:
        return []
    scale = {row["exposure_id"]: float(row["pixel_scale"]) for row in exposures}
    radius = np.array(
        [
            np.radians(scale[row["exposure_id"]] * float(row["psf_fwhm"]) / 3600)
            for row in rows["exposure_id", "psf_fwhm"]
        ]
    )
    # On the unit sphere no angle wraps; small chords are angles in radian.
    ra, dec = np.radians(rows["ra"]), np.radians(rows["dec"])
    sky = cKDTree(
        np.column_stack(
            [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]
        )
    )
    exposure, places = np.asarray(rows["exposure_id"]), _positions(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.asarray(rows["snr"]) / np.asarray(rows["reference_snr"])
    # Nothing, or noise, in the reference: whatever is there is new.
    own_light = ~(share < _RESIDUAL_SHARE) | (np.asarray(rows["reference_snr"]) < 3)
    found = []
    for i, near in enumerate(sky.query_ball_point(sky.data, radius)):
        moved = [
            exposure[j]
            for j in near
            if exposure[j] != exposure[i] and np.hypot(*(places[j] - places[i])) > 2
        ]
        if own_light[i] and len(set(moved)) >= _MIN_RECURRENCES:
            found.append(str(rows["candidate_id"][i]))
    return found
