"""04: injected sources to candidates, and candidates to cutouts."""

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack

from gmadet_nb.campaign.steps.known import add_columns, label_known
from gmadet_nb.campaign.steps.products import open_science, read_difference, row_of
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.imaging import detect, match
from gmadet_nb.imaging import psf as psf_tools
from gmadet_nb.imaging.moving import find_moving
from gmadet_nb.learning import cutouts
from gmadet_nb.progress import progress


def match_exposure(exposure_id, *, run_dir, workflow, match_radius):
    """Match the injected sources of one exposure to its candidates.

    Returns
    -------
    crossmatch : astropy.table.Table
        See `gmadet_nb.imaging.match.match_sources`; with ``exposure_id``, and of
        each source ``mag``, ``source_flux``, ``source_snr``, ``near_galaxy``,
        ``difference_snr`` (what it truly has on this difference) and ``usable``
        (no masked pixel within one FWHM, in either image).
    """
    run = RunDir(run_dir)
    candidates = run.read_table("candidates")
    candidates = candidates[candidates["exposure_id"] == exposure_id]
    sources = _injected_sources(run, exposure_id, workflow)
    psf = psf_tools.read_psf(run.psf_path(exposure_id))
    matches = match.match_sources(
        sources, candidates, match_radius=match_radius, fwhm=psf.fwhm
    )
    n_rest = len(matches) - len(sources)
    matches.add_column(
        np.full(len(matches), exposure_id, dtype=f"U{len(exposure_id)}"),
        name="exposure_id",
        index=0,
    )
    for name, column in (
        ("mag", "mag"),
        ("source_flux", "flux"),
        ("source_snr", "snr"),
    ):
        values = np.asarray(sources[column], dtype=float)
        matches[name] = np.append(values, np.full(n_rest, np.nan))
    matches["mag"].unit, matches["source_flux"].unit = u.mag, u.adu
    near = np.asarray(sources["near_galaxy"], dtype=bool)
    matches["near_galaxy"] = np.append(near, np.zeros(n_rest, bool))
    truth = _true_snrs(run, exposure_id, sources)
    matches["difference_snr"] = np.append(truth[0], np.full(n_rest, np.nan))
    matches["usable"] = np.append(truth[1], np.zeros(n_rest, bool))
    return matches


def _injected_sources(run, exposure_id, workflow):
    """Return the injected sources of an exposure: none in the apply workflow."""
    if workflow == "train":
        sources = run.read_table("simulated_objects")
        return sources[(sources["exposure_id"] == exposure_id) & sources["injected"]]
    numbers = {name: np.zeros(0) for name in ("x", "y", "mag", "flux", "snr")}
    return Table(
        {"source_id": np.zeros(0, "U1"), **numbers, "near_galaxy": np.zeros(0, bool)}
    )


def _true_snrs(run, exposure_id, sources):
    if len(sources) == 0:
        return np.zeros(0), np.zeros(0, bool)
    path = run.difference_path(exposure_id)
    if not path.is_file():  # no difference could be made: all its sources are missed
        return np.full(len(sources), np.nan), np.zeros(len(sources), bool)
    difference = read_difference(path)
    pairs = [
        detect.true_snr(
            difference,
            difference.psf,
            float(row["x"]),
            float(row["y"]),
            float(row["flux"]),
        )
        for row in sources
    ]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool)


def crossmatch_table(
    tables, candidates, exposures, subtractions, *, label_unmatched_as_bogus, known=None
):
    """Stack the matches of all exposures and label what needs no person.

    Where nothing was injected (a new night, in the apply workflow) no candidate
    is called bogus: there is nothing to train. Nor is any without a reference,
    since most are stars then. A subtraction that is not good teaches nothing: its
    candidates get no label at all.

    Parameters
    ----------
    tables : list of astropy.table.Table
        From `match_exposure`.
    candidates, exposures, subtractions : astropy.table.Table
        As in the run folder.
    label_unmatched_as_bogus : bool
    known : astropy.table.Table, optional
        From `gmadet_nb.sky.known.match_known` and with what else is known of each
        candidate, by row of ``candidates``. A candidate
        on a variable, a minor planet or a transient that is no injected source is
        ``known``, of origin ``catalog``, whatever else it would be; on an object of
        another kind but a star or a galaxy it trains nothing.

    Returns
    -------
    crossmatch : astropy.table.Table
        With the columns of ``known``, "" and NaN where there is no candidate.
    """
    stacked = vstack(tables, metadata_conflicts="silent")
    injected = np.any(np.asarray(stacked["source_id"]) != "")
    subtracted = np.all(np.asarray(subtractions["method"]) != "none")
    unmatched = stacked["candidate_id"][np.asarray(stacked["match"]) == "unmatched"]
    moving = find_moving(
        candidates[np.isin(candidates["candidate_id"], unmatched)], exposures
    )
    labeled = match.label_automatically(
        stacked,
        candidates,
        exposures,
        unmatched_as_bogus=bool(label_unmatched_as_bogus and injected and subtracted),
        moving=moving,
    )
    if known is not None:
        labeled = add_columns(labeled, candidates, known)
        if subtracted:
            labeled = label_known(labeled)
    poor = subtractions["exposure_id"][~np.asarray(subtractions["good"], bool)]
    of_poor = np.isin(np.asarray(labeled["exposure_id"]), np.asarray(poor))
    labeled["auto_label"][of_poor] = ""
    labeled["auto_origin"][of_poor] = ""
    return labeled


def write_cutouts(run_dir, candidates, *, workflow, size):
    """Cut all candidates out of their images into the cutout store.

    Parameters
    ----------
    run_dir : str
    candidates : astropy.table.Table
    workflow : str
        See `detect_on_exposure`.
    size : int
        Side of a cutout [pixel].

    Returns
    -------
    edge : (n,) bool array
        By row of ``candidates``: the cutout reaches over the edge and is padded.
    """
    run = RunDir(run_dir)
    exposures = run.read_table("exposures")
    edge = np.zeros(len(candidates), dtype=bool)
    names = np.asarray(candidates["exposure_id"])
    with cutouts.create_store(run.cutouts_path, size=size) as writer:
        for exposure_id in progress(list(dict.fromkeys(names)), label="cutouts"):
            rows = np.flatnonzero(names == exposure_id)
            science = open_science(run, row_of(exposures, exposure_id), workflow)
            difference = read_difference(run.difference_path(exposure_id))
            # Where the reference does not reach, its splines go on as they like.
            hole = (difference.mask & (MASK_BITS["edge"] | MASK_BITS["bad"])) > 0
            planes = (
                science.data,
                np.where(hole, np.nan, difference.reference),
                np.where(hole, np.nan, difference.data),
            )
            pixels, edge[rows] = cutouts.cut(
                planes, candidates["x"][rows], candidates["y"][rows], size=size
            )
            writer.append(candidates["candidate_id"][rows], exposure_id, pixels)
    return edge


def mark_edge(crossmatch, candidates, reaches_over):
    """Add to the crossmatch which cutouts reach over the edge of their image.

    Returns
    -------
    crossmatch : astropy.table.Table
        The rows with ``edge``; False where there is no candidate.
    """
    at_edge = np.asarray(candidates["candidate_id"])[reaches_over]
    marked = crossmatch.copy()
    marked["edge"] = np.isin(np.asarray(crossmatch["candidate_id"]), at_edge)
    return marked


def count_labels(crossmatch):
    """Count the rows by how they matched and by their automatic label."""
    pairs = list(zip(crossmatch["match"], crossmatch["auto_label"], strict=True))
    kinds = sorted(set(pairs))
    return Table(
        {
            "match": [kind[0] for kind in kinds],
            "automatic label": [kind[1] or "none yet" for kind in kinds],
            "n": [pairs.count(kind) for kind in kinds],
        }
    )


def draw_labeled(crossmatch, candidates, *, n, rng):
    """Draw candidates at random, with a caption each: label and S/N.

    Returns
    -------
    shown : astropy.table.Table
        ``candidate_id``, ``caption``; real ones first.
    """
    label = {
        row["candidate_id"]: row["auto_label"] or "no label"
        for row in crossmatch
        if row["candidate_id"]
    }
    rows = rng.choice(len(candidates), size=min(n, len(candidates)), replace=False)
    ids = [str(candidates["candidate_id"][i]) for i in rows]
    captions = [
        f"{label.get(key, 'no label')}, S/N {candidates['snr'][i]:.1f}"
        for key, i in zip(ids, rows, strict=True)
    ]
    order = np.argsort([not caption.startswith("real") for caption in captions])
    return Table({"candidate_id": ids, "caption": captions})[order]


def check_matches(crossmatch):
    """Raise if sources were injected and none of them was found.

    Raises
    ------
    BadInputError
    """
    n_sources = np.count_nonzero(np.asarray(crossmatch["source_id"]) != "")
    n_matched = np.count_nonzero(np.asarray(crossmatch["match"]) == "matched")
    if n_sources and not n_matched:
        raise BadInputError(
            f"At least one of {n_sources} injected sources must be found again, and "
            "none was. They may all be too faint ('snr_range', 'mag_range', "
            "'zero_point'), or the subtraction failed: look at 03_detect."
        )
