"""Figures of merit of each part of a split, each with its interval, and in words."""

from itertools import pairwise

import numpy as np
from astropy.table import join

from gmadet_nb.errors import StageError
from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning.evaluate import auc, brier, rates_at
from gmadet_nb.learning.score_table import with_scores

# Cross-fitting gives all but the test part a score of a model that has not seen it.
PARTS = {
    "out_of_fold": ("training", "validation", "calibration"),
    "test": ("test",),
}
# The bogus of the folds chose the threshold.
RATES = {"out_of_fold": ("tpr",), "test": ("tpr", "fpr")}
#: What the figures of the folds are worth, in words.
CHOSEN = "threshold and calibration were chosen by these: no FPR, no Brier score"


def metrics(split, scores, threshold, *, candidates=None, snr_bins=(), mag_bins=()):
    """Say how good the scores are where the model has not seen the candidate.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``part``, ``place_in_training``, ``used``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``: out of fold but for the test part, as
        `gmadet_nb.learning.crossfit.with_out_of_fold` puts them.
    threshold : float
        On the score.
    candidates : astropy.table.Table, optional
        With ``snr`` and ``mag`` for the bins.
    snr_bins, mag_bins : sequences of float
        Edges, rising.

    Returns
    -------
    dict
        part ("out_of_fold", "test") -> selection -> figures. "headline" leaves
        out candidates whose place on the sky or on the detector the model that
        judges them has seen, "all" has them. Figures: n_real, n_bogus,
        n_unscored, tpr and fpr (each with value, low, high, k, n), auc, brier,
        by_snr and by_mag (lists with low, high, tpr, fpr), note. Out of fold there
        are no fpr and no brier, and the note says why: their bogus chose the
        threshold, which no real one did, and the calibration was fitted to them.
    """
    table = with_scores(split[np.asarray(split["used"], bool)], scores)
    columns = {"snr": snr_bins, "mag": mag_bins}
    if candidates is not None:
        wanted = candidates["candidate_id", *columns]
        table = join(
            table,
            wanted,
            keys="candidate_id",
            join_type="left",
            metadata_conflicts="silent",
        )
    report = {}
    for part, selections in select(table).items():
        report[part] = {}
        for selection, some in selections.items():
            figures = _figures(some, threshold, part=part)
            for name, edges in columns.items():
                if candidates is not None and len(edges) > 1:
                    figures[f"by_{name}"] = _in_bins(
                        some, name, edges, threshold, part=part
                    )
            report[part][selection] = figures
    return report


def select(table):
    """Return the rows of each part, without places seen in training and with them.

    Parameters
    ----------
    table : astropy.table.Table
        ``part``, ``place_in_training``.

    Returns
    -------
    dict
        part ("out_of_fold", "test") -> selection ("headline", "all") -> rows.
    """
    found = {}
    for part, names in PARTS.items():
        rows = table[np.isin(table["part"], names)]
        seen = np.asarray(rows["place_in_training"], bool)
        found[part] = {"headline": rows[~seen], "all": rows}
    return found


def describe(figures, *, name):
    """Say TPR and FPR of one selection of `metrics` in one line, with intervals."""
    words = []
    for rate_name, kind in (("tpr", "real"), ("fpr", "bogus")):
        if rate_name not in figures:
            words.append(figures["note"])
            continue
        found = figures[rate_name]
        if found["n"]:
            words.append(
                f"{rate_name.upper()} {found['value']:.3f} "
                f"({found['low']:.3f} to {found['high']:.3f}, {found['k']} of "
                f"{found['n']} {kind})"
            )
        else:
            words.append(f"{rate_name.upper()} not known (no {kind})")
    return f"{name}: {', '.join(words)}"


def confirm(figures, *, target_fpr):
    """Say whether the test part bears out the wanted false-positive rate.

    Parameters
    ----------
    figures : dict
        Of one selection of the test part, from `metrics`.
    target_fpr : float
        What the threshold was chosen for.

    Returns
    -------
    str
    """
    found = figures["fpr"]
    if not found["n"]:
        return f"Whether {target_fpr:.1%} of bogus pass cannot be told: no bogus."
    between = (
        f"{found['value']:.2%} of {found['n']} bogus pass, so that the rate is between "
        f"{found['low']:.2%} and {found['high']:.2%} (95 %)"
    )
    if found["low"] > target_fpr:
        return (
            f"More bogus pass than the {target_fpr:.1%} asked for: {between}. The "
            "test exposures differ from those that chose the threshold, or there were "
            "too few bogus to choose it."
        )
    if found["high"] < target_fpr:
        return (
            f"Fewer bogus pass than the {target_fpr:.1%} asked for: {between}. The "
            "threshold is on the safe side, and loses some real ones by it."
        )
    return f"The {target_fpr:.1%} asked for is borne out: {between}."


def check_better_than_chance(figures):
    """Raise if the scores of a selection of `metrics` order no better than chance.

    Where a class is missing there is nothing to check.
    """
    area = figures["auc"]
    if np.isfinite(area) and area <= 0.5:
        raise StageError(
            f"The model must do better than chance on candidates that it has not seen; "
            f"its area under the ROC curve is {area:.3f}. Look at the labels in "
            "06_label, and at the training losses."
        )


def _figures(rows, threshold, *, part):
    """Return the figures of one selection of rows of a part."""
    real, scores = np.asarray(rows["label"]) == "real", np.asarray(rows["score"])
    rates = rates_at(real, scores, threshold)
    figures = {
        "n_real": int(real.sum()),
        "n_bogus": int((~real).sum()),
        "n_unscored": int((~np.isfinite(scores)).sum()),
        **{name: rates[name] for name in RATES[part]},
        "auc": auc(real, scores),
    }
    if part != "test":
        return figures | {"note": CHOSEN}
    return figures | {"brier": brier(real, scores), "note": ""}


def _in_bins(rows, name, edges, threshold, *, part):
    """Return the rates of a part in bins of a column."""
    values = as_floats(rows[name])
    result = []
    for low, high in pairwise(edges):
        some = rows[(values >= low) & (values < high)]
        real = np.asarray(some["label"]) == "real"
        found = rates_at(real, np.asarray(some["score"]), threshold)
        kept = {rate_name: found[rate_name] for rate_name in RATES[part]}
        result.append({"low": low, "high": high, **kept})
    return result
