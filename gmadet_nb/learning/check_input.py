"""What 10_check_inference reads, and all of it joined to the candidates by name."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.crossfit import check_model, with_out_of_fold
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.labels import read_labels
from gmadet_nb.learning.likeness import differences
from gmadet_nb.learning.own_run import warnings_of_model
from gmadet_nb.learning.score_table import check_scored_by, scores_of, with_scores

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


@dataclass(frozen=True, kw_only=True)
class CheckInput:
    """What 10_check_inference reads; a table that a workflow has not is empty.

    The scores of candidates that trained are those of the model that had not seen
    them, where the model is the run's own. Which folds another one has not seen is not
    known: then ``split`` has none, and what this run would train on counts as seen.

    Attributes
    ----------
    workflow : str
        "train", "apply" or "stamps"; "apply" for stamps that only another run's model
        has judged.
    candidates, scores, crossmatch, split : astropy.table.Table
        As in the run folder.
    human_labels : astropy.table.Table
        From `gmadet_nb.learning.labels.read_labels` in "apply"; empty where ``split``
        has what people say.
    card : dict
        The model's card.
    own : bool
        Whether the model is that of this run.
    warnings : list of str
        What is not known of the scores, what the model's training and its own run
        warned of, and how the exposures differ from those that it was trained on.
    """

    workflow: str
    candidates: Table
    scores: Table
    crossmatch: Table
    split: Table
    human_labels: Table
    card: dict
    own: bool
    warnings: list


def read_check_input(run, *, workflow, model):
    """Read what 10_check_inference needs.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir
        The run.
    workflow : {"train", "apply", "stamps"}
        In "apply" nothing is labelled: ``split`` is empty. Stamps without a split
        that another run's model judges are such a night, too.
    model : str
        Folder of the model's card; "" for this run's own.

    Returns
    -------
    CheckInput

    Raises
    ------
    BadInputError
        If the scores are of another model than this one, or the out-of-fold scores
        of another training than the run's own.
    """
    if workflow not in WORKFLOWS:
        raise BadParameterError(
            f"workflow must be one of {WORKFLOWS}, got {workflow!r}."
        )
    folder = Path(model) if model else run.model_dir
    own = folder.resolve() == run.model_dir.resolve()
    card, scores = run.read_json(folder / "model.json"), run.read_table("scores")
    if not own and run.of_stamps and not run.has_table("split"):
        workflow = "apply"
    split = Table(names=list(_SPLIT), dtype=list(_SPLIT.values()))
    if workflow != "apply":
        split = run.read_table("split")
    if workflow != "apply" and own:
        out_of_fold = run.read_table("out_of_fold")
        check_model(out_of_fold, card)
        scores = with_out_of_fold(scores, out_of_fold)
    elif "fold" in split.colnames:
        split["fold"] = -1
    warnings = check_scored_by(scores, card)
    warnings += warnings_of_model(card, folder, own=own)
    if run.has_table("exposures"):
        exposures = run.read_table("exposures")
        warnings += differences(card.get("trained_on"), exposures)
    human_labels = read_labels(run.labels_dir)
    return CheckInput(
        workflow=workflow,
        candidates=run.read_table("candidates"),
        scores=scores,
        crossmatch=run.read_table("crossmatch"),
        split=split,
        human_labels=human_labels if workflow == "apply" else human_labels[:0],
        card=card,
        own=own,
        warnings=warnings,
    )


def join_checked(check):
    """Return one row a candidate with all that the check figures need.

    Joined by ``candidate_id``, never by order.

    Returns
    -------
    astropy.table.Table
        The candidates' columns and ``score`` (NaN where there is none), its
        ``score_scatter`` where the model gave one,
        ``fwhm_ratio`` (FWHM over that of the PSF), ``injected`` (matched to one
        source), ``mag_injected`` [mag], ``label``, ``label_origin``, ``part`` ("" where
        not labelled), ``place_in_training``, ``used``, and ``seen``: judged by a model
        that trained on its exposure. Who has an out-of-fold score has not been seen.
    """
    table = with_scores(check.candidates, check.scores)
    ids = np.asarray(table["candidate_id"]).astype(str)
    if "score_scatter" in check.scores.colnames:
        table["score_scatter"] = scores_of(ids, check.scores, "score_scatter")
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


def _out_of_fold(scores, ids):
    """Say of each candidate whether its score is of a model that had not seen it."""
    if "out_of_fold" not in scores.colnames:
        return np.zeros(len(ids), dtype=bool)
    known = dict(zip(scores["candidate_id"], scores["out_of_fold"], strict=True))
    return np.array([bool(known.get(key, False)) for key in ids], dtype=bool)
