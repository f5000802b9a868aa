"""Tables of 10_check_inference: what the model kept, and what it should have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning import calibration_error, evaluate
from gmadet_nb.learning.crossfit import check_model, with_out_of_fold
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.labels import join_labels, read_labels

WORKFLOWS = ("train", "apply", "stamps")
_SPLIT = {
    "candidate_id": "str",
    "exposure_id": "str",
    "label": "str",
    "label_origin": "str",
    "part": "str",
    "place_in_training": "bool",
    "used": "bool",
}
_TRUTH = {
    "transient_id": "str",
    "exposure_id": "str",
    "x": "float",
    "y": "float",
    "mag": "float",
    "snr": "float",
    "on_galaxy": "bool",
}


@dataclass(frozen=True, kw_only=True)
class CheckInput:
    """What 10_check_inference reads; a table that a workflow has not is empty.

    The scores of candidates that trained are those of the model that had not seen
    them, where the model is the run's own. Which folds another one has not seen is not
    known: then ``split`` has none, and what this run would train on counts as seen.

    Attributes
    ----------
    workflow : str
        "train", "apply" or "stamps".
    candidates, scores, crossmatch, split : astropy.table.Table
        As in the run folder.
    card : dict
        The model's card.
    own : bool
        Whether the model is that of this run.
    """

    workflow: str
    candidates: Table
    scores: Table
    crossmatch: Table
    split: Table
    card: dict
    own: bool


def read_check_input(run, *, workflow, model):
    """Read what 10_check_inference needs.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir
        The run.
    workflow : {"train", "apply", "stamps"}
        In "apply" nothing is labelled: ``split`` is empty.
    model : str
        Folder of the model's card; "" for this run's own.

    Returns
    -------
    CheckInput

    Raises
    ------
    BadInputError
        If the out-of-fold scores are of another training than the run's model.
    """
    if workflow not in WORKFLOWS:
        raise BadParameterError(
            f"workflow must be one of {WORKFLOWS}, got {workflow!r}."
        )
    folder = Path(model) if model else run.model_dir
    own = folder.resolve() == run.model_dir.resolve()
    card, scores = run.read_json(folder / "model.json"), run.read_table("scores")
    split = _empty(_SPLIT) if workflow == "apply" else run.read_table("split")
    if workflow != "apply" and own:
        out_of_fold = run.read_table("out_of_fold")
        check_model(out_of_fold, card)
        scores = with_out_of_fold(scores, out_of_fold)
    elif "fold" in split.colnames:
        split["fold"] = -1
    return CheckInput(
        workflow=workflow,
        candidates=run.read_table("candidates"),
        scores=scores,
        crossmatch=run.read_table("crossmatch"),
        split=split,
        card=card,
        own=own,
    )


def join_checked(check):
    """Return one row a candidate with all that the check figures need.

    Joined by ``candidate_id``, never by order.

    Returns
    -------
    astropy.table.Table
        The candidates' columns and ``score`` (NaN where there is none),
        ``fwhm_ratio`` (FWHM over that of the PSF), ``injected`` (matched to one
        source), ``mag_injected`` [mag], ``label``, ``label_origin``, ``part`` ("" where
        not labelled), ``place_in_training``, ``used``, and ``seen``: judged by a model
        that trained on its exposure. Who has an out-of-fold score has not been seen.
    """
    table = evaluate.with_scores(check.candidates, check.scores)
    ids = np.asarray(table["candidate_id"]).astype(str)
    table["fwhm_ratio"] = np.asarray(table["fwhm"], float) / np.asarray(
        table["psf_fwhm"], float
    )
    matched = check.crossmatch[np.asarray(check.crossmatch["match"]) == "matched"]
    mags = dict(zip(matched["candidate_id"], matched["mag"], strict=True))
    table["injected"] = np.array([key in mags for key in ids], dtype=bool)
    table["mag_injected"] = np.array([mags.get(key, np.nan) for key in ids], float)
    table["mag_injected"].unit = "mag"
    rows = {str(row["candidate_id"]): row for row in check.split}
    for name in ("label", "label_origin", "part"):
        values = [str(rows[key][name]) if key in rows else "" for key in ids]
        table[name] = np.array(values, dtype=str)
    for name in ("place_in_training", "used"):
        table[name] = np.array([key in rows and bool(rows[key][name]) for key in ids])
        table[name] = table[name].astype(bool)
    part = np.asarray(table["part"])
    exposure = np.asarray(table["exposure_id"]).astype(str)
    trained_on = set(exposure[np.isin(part, FOLDED)])
    seen = np.array([key in trained_on for key in exposure], dtype=bool)
    table["seen"] = seen & ~_out_of_fold(check.scores, ids)
    return table


def rank_candidates(checked, *, threshold, fwhm_ratio_min, fwhm_ratio_max):
    """Sort candidates by score, the best first, and flag the ones kept.

    Kept are those with a score at or above the threshold whose FWHM over that of
    the PSF is within the limits; a FWHM that could not be measured cuts nothing.

    Parameters
    ----------
    checked : astropy.table.Table
        As `join_checked` gives it.

    Returns
    -------
    astropy.table.Table
        The same rows with ``above_threshold``, ``fwhm_ok``, ``kept`` and ``rank``
        (from 1). Those without a score come last.
    """
    if not fwhm_ratio_min < fwhm_ratio_max:
        raise BadParameterError(
            "fwhm_ratio_min must be below fwhm_ratio_max, got "
            f"{fwhm_ratio_min} and {fwhm_ratio_max}."
        )
    # Of equal scores the brighter one first: saturated scores are many.
    snr = np.nan_to_num(np.asarray(checked["snr"], float), nan=-np.inf)
    score = np.nan_to_num(np.asarray(checked["score"], float), nan=-np.inf)
    ranked = checked[np.lexsort((-snr, -score))]
    ratio = np.asarray(ranked["fwhm_ratio"], float)
    inside = (ratio >= fwhm_ratio_min) & (ratio <= fwhm_ratio_max)
    ranked["above_threshold"] = np.asarray(ranked["score"], float) >= threshold
    ranked["fwhm_ok"] = inside | ~np.isfinite(ratio)
    ranked["kept"] = ranked["above_threshold"] & ranked["fwhm_ok"]
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    return ranked


def worst(checked, label, *, n):
    """Return up to ``n`` candidate ids whose score is farthest from their label.

    Parameters
    ----------
    checked : astropy.table.Table
        ``candidate_id``, ``label``, ``score``.
    label : {"real", "bogus"}
        Which labels to look at: of the real ones the lowest scores come first, of
        the bogus ones the highest.
    """
    score = np.asarray(checked["score"], float)
    rows = np.flatnonzero((np.asarray(checked["label"]) == label) & np.isfinite(score))
    order = np.argsort(score[rows] if label == "real" else -score[rows], kind="stable")
    return [str(key) for key in checked["candidate_id"][rows[order[:n]]]]


def headline(metrics):
    """Return the main figures of ``metrics.json`` as a table to show."""
    rows = [
        ("candidates", str(metrics["n_candidates"])),
        ("kept", str(metrics["n_kept"])),
        ("threshold", f"{metrics['threshold']:.3f}"),
    ]
    for selection, words in (("headline", "new places"), ("all", "all")):
        figures = metrics["parts"].get("test", {}).get(selection)
        for name in ("tpr", "fpr") if figures else ():
            found = figures[name]
            value = "unknown"
            if found["n"]:
                value = f"{found['value']:.3f}"
                value += f" ({found['low']:.3f} to {found['high']:.3f})"
            rows.append((f"test part, {words}: {name}", f"{value}, n {found['n']}"))
    if metrics["truth"]["n_occurrences"]:
        truth = metrics["truth"]
        text = f"{truth['n_detected']} detected, {truth['n_kept']} kept"
        rows.append((f"{truth['n_occurrences']} known transients", text))
    return Table(rows=rows, names=("figure", "value"))


def count_kept(ranked):
    """Return how many candidates are left after each cut: a table to show."""
    steps = {
        "candidates": np.ones(len(ranked), dtype=bool),
        "with a score": np.isfinite(np.asarray(ranked["score"], float)),
        "at or above the threshold": np.asarray(ranked["above_threshold"], bool),
        "and FWHM ratio within its limits": np.asarray(ranked["kept"], bool),
    }
    return Table(
        [list(steps), [int(rows.sum()) for rows in steps.values()]], names=("step", "n")
    )


def read_truth(path):
    """Read a table of known transients, or an empty one where ``path`` is ""."""
    if not path:
        return _empty(_TRUTH)
    try:
        truth = Table.read(path, format="ascii.ecsv")
    except FileNotFoundError:
        raise BadParameterError(
            f"truth must name a table of known transients, and {path!r} is not there."
        ) from None
    missing = [name for name in _TRUTH if name not in truth.colnames]
    if missing:
        raise BadInputError(
            f"{path!r} must have the columns {', '.join(_TRUTH)}, and lacks "
            f"{', '.join(missing)}."
        )
    return truth


def find_truth(truth, ranked, exposures):
    """Find each known transient among the ranked candidates of its exposure.

    Parameters
    ----------
    truth : astropy.table.Table
        A row a transient and exposure: ``transient_id``, ``exposure_id``, ``x``,
        ``y`` [pixel].
    ranked : astropy.table.Table
        As `rank_candidates` gives it.
    exposures : astropy.table.Table
        ``exposure_id``, ``fwhm`` [pixel], ``used``: one that was set aside is left out.

    Returns
    -------
    astropy.table.Table
        The rows of ``truth`` on used exposures with ``candidate_id`` (the nearest
        within one FWHM, "" if none), ``detected``, ``kept`` and ``rank`` (0 if not
        detected).
    """
    fwhm = {
        str(row["exposure_id"]): float(row["fwhm"]) for row in exposures if row["used"]
    }
    used = [str(key) in fwhm for key in truth["exposure_id"]]
    found = truth[np.array(used, dtype=bool)]
    exposure = np.asarray(ranked["exposure_id"]).astype(str)
    x, y = np.asarray(ranked["x"], float), np.asarray(ranked["y"], float)
    nearest = []
    for row in found:
        here = np.flatnonzero(exposure == str(row["exposure_id"]))
        distance = np.hypot(x[here] - row["x"], y[here] - row["y"])
        near = len(here) > 0 and distance.min() <= fwhm[str(row["exposure_id"])]
        nearest.append(int(here[np.argmin(distance)]) if near else -1)
    nearest = np.array(nearest, dtype=int)
    ids = np.append(np.asarray(ranked["candidate_id"]).astype(str), "")
    found["candidate_id"] = ids[nearest]
    found["detected"] = nearest >= 0
    found["kept"] = np.append(np.asarray(ranked["kept"], bool), False)[nearest]
    found["rank"] = np.append(np.asarray(ranked["rank"], int), 0)[nearest]
    return found


def summarize_check(check, ranked, found, *, threshold, snr_bins, mag_bins):
    """Return what 10_check_inference writes to ``metrics.json``.

    ``parts`` is as `gmadet_nb.learning.evaluate.metrics` gives it, without
    "out_of_fold" for a model from elsewhere and empty in the workflow "apply";
    ``truth`` counts the known transients.
    """
    parts = {}
    if len(check.split):
        parts = evaluate.metrics(
            check.split,
            check.scores,
            threshold,
            candidates=check.candidates,
            snr_bins=snr_bins,
            mag_bins=mag_bins,
        )
    if not check.own:
        parts.pop("out_of_fold", None)
    detected = np.asarray(found["detected"], bool)
    return {
        "workflow": check.workflow,
        "threshold": threshold,
        "n_candidates": len(ranked),
        "n_above_threshold": int(np.sum(ranked["above_threshold"])),
        "n_kept": int(np.sum(ranked["kept"])),
        "parts": parts,
        "truth": {
            "n_transients": len(set(found["transient_id"])),
            "n_occurrences": len(found),
            "n_detected": int(detected.sum()),
            "n_kept": int(np.sum(found["kept"])),
            "ranks": sorted(int(rank) for rank in found["rank"][detected]),
        },
    }


def calibration(check, *, rng):
    """Return calibration error and Brier score of each part; nothing without labels.

    Parameters
    ----------
    check : CheckInput
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        As `gmadet_nb.learning.calibration_error.measure` gives it; without
        "out_of_fold" for a model from elsewhere.
    """
    if not len(check.split):
        return {}
    found = calibration_error.measure(check.split, check.scores, rng=rng)
    return {part: found[part] for part in found if check.own or part != "out_of_fold"}


def write_list(run, check, ranked, suspects):
    """Write the list that the workflow ends with: suspects, or ranked candidates.

    The latter with what people say of them; no figure of such a night hangs on that.
    """
    if check.workflow == "apply":
        run.write_table("ranked", join_labels(ranked, read_labels(run.labels_dir)))
    else:
        run.write_table("suspects", suspects)


def _out_of_fold(scores, ids):
    """Say of each candidate whether its score is of a model that had not seen it."""
    if "out_of_fold" not in scores.colnames:
        return np.zeros(len(ids), dtype=bool)
    known = dict(zip(scores["candidate_id"], scores["out_of_fold"], strict=True))
    return np.array([bool(known.get(key, False)) for key in ids], dtype=bool)


def _empty(columns):
    return Table(names=list(columns), dtype=list(columns.values()))
