"""How good a classifier or a search is: numbers only, each with its interval."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from astropy.table import Table, join

from gmadet_nb.errors import BadInputError, BadParameterError, StageError
from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning.completeness import (
    Fit50,
    binomial_interval,
    completeness,
    finite_pairs,
    fit_m50,
    rate,
)
from gmadet_nb.learning.curves import count_above

__all__ = [
    "Fit50",
    "Threshold",
    "auc",
    "binomial_interval",
    "brier",
    "check_better_than_chance",
    "choose_threshold",
    "completeness",
    "describe",
    "fit_m50",
    "metrics",
    "rate",
    "rates_at",
    "reliability",
    "roc",
    "scores_of",
    "select",
    "suspects",
    "with_scores",
]

# Cross-fitting gives all but the test part a score of a model that has not seen it.
PARTS = {
    "out_of_fold": ("training", "validation", "calibration"),
    "test": ("test",),
}
# The bogus of the folds chose the threshold.
RATES = {"out_of_fold": ("tpr",), "test": ("tpr", "fpr")}
#: What the figures of the folds are worth, in words.
CHOSEN = "threshold and calibration were chosen by these: no FPR, no Brier score"
FITTED = "the calibration was fitted to these: no proof"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold on the score, and what it was chosen from.

    Attributes
    ----------
    value : float
        A candidate is kept if its score is this or more.
    target_fpr : float
        False-positive rate wanted.
    n_bogus, n_above : int
        Bogus candidates it was chosen from, and how many of them it keeps.
    low, high : float
        95 % interval of the false-positive rate at the threshold.
    enough : bool
        False where there are too few bogus to show that the rate is met.
    how : str
        All this in words.
    """

    value: float
    target_fpr: float
    n_bogus: int
    n_above: int
    low: float
    high: float
    enough: bool
    how: str


def roc(is_real, scores):
    """Return the whole ROC curve, one point for each different score.

    Parameters
    ----------
    is_real : (n,) bool array
        The labels.
    scores : (n,) array
        P(real); rows of NaN are left out.

    Returns
    -------
    astropy.table.Table
        ``threshold`` (falling, from infinity), ``fpr``, ``tpr`` from (0, 0) to
        (1, 1); NaN for a class that is missing.
    """
    threshold, *above = count_above(is_real, scores)
    # The lowest threshold keeps all; of a missing class no share is known.
    tpr, fpr = (
        kept / kept[-1] if len(kept) and kept[-1] else np.full(len(kept), np.nan)
        for kept in above
    )
    columns = [
        np.append(np.inf, threshold),
        np.append(0.0, fpr),
        np.append(0.0, tpr),
    ]
    return Table(columns, names=("threshold", "fpr", "tpr"))


def auc(is_real, scores):
    """Return the area under the ROC curve; NaN if a class is missing."""
    curve = roc(is_real, scores)
    if len(curve) == 1:
        return np.nan
    return float(np.trapezoid(curve["tpr"], curve["fpr"]))


def choose_threshold(scores_bogus, target_fpr):
    """Choose the lowest threshold that keeps no more bogus than wanted.

    Of n bogus at most floor(target_fpr * n) may score at or above it. It stands
    halfway between the lowest score kept and the highest refused.

    Parameters
    ----------
    scores_bogus : (n,) array
        Scores of bogus candidates that training has not seen; NaN left out.
    target_fpr : float
        Wanted false-positive rate, between 0 and 1.

    Returns
    -------
    Threshold

    Raises
    ------
    BadInputError
        If there is no bogus candidate at all.
    """
    if not 0 < target_fpr < 1:
        raise BadParameterError(f"target_fpr must be in (0, 1), got {target_fpr}.")
    scores = np.asarray(scores_bogus, float)
    scores = np.sort(scores[np.isfinite(scores)])[::-1]
    n = len(scores)
    if n == 0:
        raise BadInputError(
            "A threshold must be chosen from bogus candidates, got none. Label some in "
            "06_label or set label_unmatched_as_bogus in 04_cutouts."
        )
    n_allowed = int(np.floor(target_fpr * n))
    refused = scores[n_allowed]
    kept = scores[:n_allowed][scores[:n_allowed] > refused]
    value = (kept[-1] + refused) / 2 if len(kept) else (1.0 + refused) / 2
    value = float(value if value > refused else np.nextafter(refused, np.inf))
    n_above = int((scores >= value).sum())
    low, high = binomial_interval(n_above, n)
    # With none above, the 95 % one-sided bound on the rate is 3 / n.
    n_needed = int(np.ceil(3 / target_fpr))
    how = (
        f"at most {target_fpr:.2%} of {n} bogus candidates at or above it: {n_above}, "
        f"so that the rate is between {low:.2%} and {high:.2%} (95 %)"
    )
    if n < n_needed:
        how += (
            f"; {n_needed} bogus or more are needed to show such a rate, and about "
            f"{10 * n_needed // 3} before the threshold is steady"
        )
    return Threshold(
        value=value,
        target_fpr=float(target_fpr),
        n_bogus=n,
        n_above=n_above,
        low=low,
        high=high,
        enough=n >= n_needed,
        how=how,
    )


def rates_at(is_real, scores, threshold):
    """Return TPR and FPR at a threshold, each with its interval.

    A score of NaN (nothing to look at in the cutout) is below any threshold.

    Returns
    -------
    dict
        ``tpr`` and ``fpr``, each as `rate` gives it.
    """
    real = np.asarray(is_real, bool)
    kept = np.asarray(scores, float) >= threshold
    return {
        "tpr": rate((kept & real).sum(), real.sum()),
        "fpr": rate((kept & ~real).sum(), (~real).sum()),
    }


def reliability(is_real, scores, *, n_bins=10):
    """Compare scores with the share of real candidates, in bins of score.

    Returns
    -------
    astropy.table.Table
        One row a bin of equal width: ``bin_low``, ``bin_high``, ``n``,
        ``mean_score``, ``real_fraction`` (NaN in an empty one), ``low``,
        ``high`` (95 %).
    """
    scores, real = finite_pairs(scores, is_real)
    edges = np.linspace(0, 1, n_bins + 1)
    which = np.clip(np.digitize(scores, edges) - 1, 0, n_bins - 1)
    n = np.bincount(which, minlength=n_bins)
    k = np.bincount(which, real, minlength=n_bins).astype(int)
    total = np.bincount(which, scores, minlength=n_bins)
    some = np.where(n > 0, n, np.nan)
    low, high = binomial_interval(k, n)
    columns = [edges[:-1], edges[1:], n, total / some, k / some, low, high]
    names = ["bin_low", "bin_high", "n", "mean_score", "real_fraction", "low", "high"]
    return Table(columns, names=names)


def brier(is_real, scores):
    """Return the mean squared distance of score and label; NaN for no rows."""
    scores, real = finite_pairs(scores, is_real)
    return float(np.mean((scores - real) ** 2)) if len(scores) else np.nan


def suspects(split, scores):
    """Rank labelled candidates by how much the model doubts their label.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``label_origin``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``label``, ``label_origin``, ``score``, ``doubt``
        (|label - score|, 0 to 1), ``rank`` (from 1, most doubted first).
        Candidates without a score are not in it.
    """
    table = with_scores(split, scores)["candidate_id", "label", "label_origin", "score"]
    table = table[np.isfinite(table["score"])]
    table["doubt"] = np.abs((table["label"] == "real") - table["score"])
    table = table[np.argsort(-np.asarray(table["doubt"]), kind="stable")]
    table["rank"] = np.arange(1, len(table) + 1)
    return table


def scores_of(candidate_ids, scores, column="score"):
    """Return the scores of some candidates, in their order; NaN where there is none.

    Parameters
    ----------
    candidate_ids : (n,) sequence of str
    scores : astropy.table.Table
        ``candidate_id`` and the column.
    column : str

    Returns
    -------
    (n,) float array
    """
    known = dict(zip(scores["candidate_id"], scores[column], strict=True))
    return np.array([known.get(key, np.nan) for key in candidate_ids], float)


def with_scores(split, scores):
    """Return the rows of ``split`` in their order with ``score``; NaN where none."""
    table = split.copy()
    table["score"] = scores_of(table["candidate_id"], scores)
    return table


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
