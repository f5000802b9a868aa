"""Train on one half of the S/N range, judge the other: what holds beyond its range."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import evaluate

_MIN_EACH = 10  # of real and of bogus in a half
_LOST_AUC = 0.05
_LOST_TPR = 0.05
_FPR_TIMES = 1.5  # the wanted rate; nearer to it a threshold is as good as asked for
_RATES = ("value", "low", "high")
_COLUMNS = ("same", "other")
_COLUMNS += tuple(
    f"{name}_{of}" for name in ("tpr_same", "tpr", "fpr") for of in _RATES
)
_COLUMNS += ("fpr_allowed",)
_STEP = "Inject and label over the whole range (snr_range in 02_simulate)."


def judge_other_half(fit, is_real, snr, groups, *, target_fpr):
    """Train on one half of the S/N range and judge the other.

    What tells real from bogus at one brightness should tell them apart at another, and
    a threshold that keeps the wanted share of bogus there should keep no more here.
    Each group is judged by what the others were fitted to, so that nothing is seen; of
    the half that trains as well, and its bogus choose the threshold.

    Parameters
    ----------
    fit : callable
        ``fit(rows)``, an (n,) bool array, trains on these and returns a function from
        another such array to the scores of those rows.
    is_real : (n,) bool array
    snr : (n,) array
    groups : (n,) array
        The folds.
    target_fpr : float
        False-positive rate that the threshold is chosen for.

    Returns
    -------
    astropy.table.Table
        One row a half: ``judged`` ("faint" or "bright"), ``n_real``, ``n_bogus``;
        ``same``, ``other``: the area under the ROC curve after training on the half
        that is judged, and on the other one; ``tpr_value``, ``fpr_value`` with
        ``_low``, ``_high``: rates at the threshold of the other half;
        ``tpr_same_value``, ...: at that of its own; ``fpr_allowed``: the false-positive
        rate that the threshold may have where it was chosen (95 %). NaN with fewer than
        10 of a kind. ``meta["target_fpr"]``.
    """
    real, snr = np.asarray(is_real, bool), np.asarray(snr, float)
    known = np.isfinite(snr) & (snr > 0)
    middle = np.median(snr[known & real]) if (known & real).any() else np.nan
    halves = {"faint": known & (snr < middle), "bright": known & (snr >= middle)}
    least = min((half & k).sum() for half in halves.values() for k in (real, ~real))
    scores = {}
    if least >= _MIN_EACH:
        scores = {
            name: _scores_across(fit, real, groups, known, half)
            for name, half in halves.items()
        }
    rows = []
    for judged, trained in (("faint", "bright"), ("bright", "faint")):
        here, there = halves[judged], halves[trained]
        figures = [np.nan] * len(_COLUMNS)
        if scores:
            both = scores[judged], scores[trained]
            figures = _figures(real, *both, here, there, target_fpr=target_fpr)
        rows.append((judged, (here & real).sum(), (here & ~real).sum(), *figures))
    names = ("judged", "n_real", "n_bogus", *_COLUMNS)
    types = (str, int, int, *[float] * len(_COLUMNS))
    return Table(rows=rows, names=names, dtype=types, meta={"target_fpr": target_fpr})


def warn_of_halves(halves):
    """Say in words where a model or a threshold does not hold on the other half.

    Rates are warned of where their 95 % intervals say so: a false-positive rate above
    1.5 times the wanted one and above what its choice allowed, a true-positive rate
    that has lost 0.05. A threshold that the highest of a few bogus sets keeps little
    for no other reason: with fewer than 3 / target_fpr the latter is not looked at.

    Parameters
    ----------
    halves : astropy.table.Table
        From `judge_other_half`.

    Returns
    -------
    list of str
    """
    words, target = [], halves.meta["target_fpr"]
    enough = min(halves["n_bogus"]) >= 3 / target
    for row in halves:
        other = "bright" if row["judged"] == "faint" else "faint"
        if row["same"] - row["other"] > _LOST_AUC:
            words.append(
                f"What is learned on the {other} half of the S/N range tells the "
                f"{row['judged']} ones apart less well (area under the ROC curve "
                f"{row['other']:.3f} against {row['same']:.3f}): trust no score at an "
                f"S/N that was not trained. {_STEP}"
            )
        if row["fpr_low"] > max(_FPR_TIMES * target, row["fpr_allowed"]):
            words.append(
                f"A threshold for {target:.1%} of the {other} bogus keeps "
                f"{_in_words(row, 'fpr')} of the {row['judged']} ones, which did not "
                "train: trust no false-positive rate at an S/N that was not trained. "
                f"{_STEP}"
            )
        lost = row["tpr_same_value"] - row["tpr_value"]
        if enough and lost > _LOST_TPR and row["tpr_high"] < row["tpr_same_low"]:
            words.append(
                f"A threshold for the {other} half of the S/N range keeps "
                f"{_in_words(row, 'tpr')} of the real {row['judged']} ones, and "
                f"{_in_words(row, 'tpr_same')} are kept where they trained: real "
                f"ones are lost at an S/N that was not trained. {_STEP}"
            )
    return words


def _scores_across(fit, real, groups, judged, trained):
    """Return the scores of all, each group judged by the others; NaN elsewhere."""
    scores = np.full(len(real), np.nan)
    for group in np.unique(np.asarray(groups)[judged]):
        out = np.asarray(groups) == group
        rows = trained & ~out
        if 0 < real[rows].sum() < rows.sum():
            scores[judged & out] = fit(rows)(judged & out)
    return scores


def _figures(real, own, carried, here, there, *, target_fpr):
    """Return `_COLUMNS` of one half by scores of its own training and the other's."""
    here = here & np.isfinite(own) & np.isfinite(carried)
    bogus = [carried[there & ~real], own[here & ~real]]
    if not all(np.isfinite(scores).any() for scores in bogus):
        return [np.nan] * len(_COLUMNS)
    figures = [evaluate.auc(real[here], scores[here]) for scores in (own, carried)]
    threshold, at_home = (evaluate.choose_threshold(b, target_fpr) for b in bogus)
    found = evaluate.rates_at(real[here], carried[here], threshold.value)
    home = evaluate.rates_at(real[here], own[here], at_home.value)
    for one in (home["tpr"], found["tpr"], found["fpr"]):
        figures += [one[name] for name in _RATES]
    return [*figures, threshold.high]


def _in_words(row, name):
    """Say a share with its interval."""
    value, low, high = (row[f"{name}_{of}"] for of in _RATES)
    return f"{value:.1%} ({low:.1%} to {high:.1%})"
