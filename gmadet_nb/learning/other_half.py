"""Train on one half of the S/N range, judge the other: what holds beyond its range."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import evaluate

_MIN_EACH = 10  # of real and of bogus in a half


def auc_of_other_half(fit, is_real, snr, groups):
    """Train on one half of the S/N range and judge the other.

    What tells real from bogus at one brightness should tell them apart at another.
    Each group is judged by what the others were fitted to, so that nothing is seen.

    Parameters
    ----------
    fit : callable
        ``fit(rows)``, an (n,) bool array, trains on these and returns a function from
        another such array to the scores of those rows.
    is_real : (n,) bool array
    snr : (n,) array
    groups : (n,) array
        The folds.

    Returns
    -------
    astropy.table.Table
        One row a half: ``judged`` ("faint" or "bright"), ``n_real``, ``n_bogus``,
        ``same``, ``other``: the area under the ROC curve after training on the half
        that is judged, and on the other one; NaN with fewer than 10 of a kind.
    """
    real, snr = np.asarray(is_real, bool), np.asarray(snr, float)
    known = np.isfinite(snr) & (snr > 0)
    middle = np.median(snr[known & real]) if (known & real).any() else np.nan
    halves = {"faint": known & (snr < middle), "bright": known & (snr >= middle)}
    least = min((half & k).sum() for half in halves.values() for k in (real, ~real))
    rows = []
    for judged, trained in (("faint", "bright"), ("bright", "faint")):
        here = halves[judged]
        areas = [np.nan, np.nan]
        if least >= _MIN_EACH:
            areas = [
                _auc_across(fit, real, groups, here, halves[name])
                for name in (judged, trained)
            ]
        rows.append(
            (judged, int((here & real).sum()), int((here & ~real).sum()), *areas)
        )
    names = ("judged", "n_real", "n_bogus", "same", "other")
    return Table(rows=rows, names=names, dtype=(str, int, int, float, float))


def _auc_across(fit, real, groups, judged, trained):
    """Return the area under the ROC curve, each group judged by the others."""
    scores = np.full(len(real), np.nan)
    for group in np.unique(np.asarray(groups)[judged]):
        out = np.asarray(groups) == group
        rows = trained & ~out
        if 0 < real[rows].sum() < rows.sum():
            scores[judged & out] = fit(rows)(judged & out)
    return evaluate.auc(real, scores)
