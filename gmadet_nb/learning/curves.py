"""Figures of merit over all thresholds, and the purity of a real stream."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.completeness import finite_pairs


def count_above(is_real, scores):
    """Count the real and the bogus ones at or above each different score.

    Parameters
    ----------
    is_real : (n,) bool array
        The labels.
    scores : (n,) array
        P(real); rows of NaN are left out.

    Returns
    -------
    threshold : (m,) array
        The different scores, falling.
    n_real, n_bogus : (m,) float arrays
    """
    scores, real = finite_pairs(scores, is_real)
    order = np.argsort(-scores, kind="stable")
    scores, real = scores[order], real[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    if not len(scores):
        last = np.empty(0, dtype=int)
    return scores[last], np.cumsum(real)[last], np.cumsum(1 - real)[last]


def over_thresholds(is_real, scores):
    """Return what is kept, and how well, at every threshold that changes something.

    Parameters
    ----------
    is_real : (n,) bool array
        The labels.
    scores : (n,) array
        P(real); rows of NaN are left out.

    Returns
    -------
    astropy.table.Table
        One row a different score, falling: ``threshold``, ``n_real``, ``n_bogus``
        (kept), ``recall`` (the TPR), ``precision`` among these candidates, ``f1``, and
        ``mcc``, Matthews' correlation coefficient (0 where one class is missing).

    Notes
    -----
    Matthews 1975, Biochimica et Biophysica Acta 405, 442.
    """
    threshold, tp, fp = count_above(is_real, scores)
    # The lowest threshold keeps all.
    n_real, n_bogus = (kept[-1] if len(kept) else 0 for kept in (tp, fp))
    fn, tn = n_real - tp, n_bogus - fp
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = tp / n_real, tp / (tp + fp)
        f1 = 2 * tp / (2 * tp + fp + fn)
        below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        mcc = np.where(below > 0, (tp * tn - fp * fn) / below, 0.0)
    names = ("threshold", "n_real", "n_bogus", "recall", "precision", "f1", "mcc")
    columns = [threshold, tp.astype(int), fp.astype(int), recall, precision, f1, mcc]
    return Table(columns, names=names)


def precision_at(curve, *, bogus_per_real):
    """Return the precision at every threshold, in a stream of another mixture.

    Parameters
    ----------
    curve : astropy.table.Table
        From `over_thresholds`.
    bogus_per_real : float
        Bogus candidates for each real one in the stream.

    Returns
    -------
    (n,) array
        NaN where a class is missing.
    """
    rates = []
    for name in ("n_real", "n_bogus"):
        kept = np.asarray(curve[name], float)
        rates.append(kept / kept[-1] if len(kept) and kept[-1] else np.nan * kept)
    with np.errstate(divide="ignore", invalid="ignore"):
        return rates[0] / (rates[0] + bogus_per_real * rates[1])


def confusion(is_real, kept):
    """Count candidates by label and verdict.

    Returns
    -------
    (2, 2) int array
        Rows: real, bogus. Columns: kept, refused.
    """
    real, kept = np.asarray(is_real, bool), np.asarray(kept, bool)
    return np.array(
        [[(row & column).sum() for column in (kept, ~kept)] for row in (real, ~real)]
    )


def purity(tpr, fpr, *, bogus_per_real):
    """Return the share of real ones among what is kept of a stream.

    The stream is another mixture than the training set: its ratio is stated.

    Parameters
    ----------
    tpr, fpr : dict
        From `gmadet_nb.learning.completeness.rate`.
    bogus_per_real : float
        Bogus candidates for each real one in the stream.

    Returns
    -------
    dict
        ``value``, and ``low`` and ``high``: with both rates at the worse and at the
        better ends of their 95% intervals, which is wider than 95%.
    """
    if not bogus_per_real > 0:
        raise BadParameterError(
            f"bogus_per_real must be above 0, got {bogus_per_real}."
        )

    def share(true, false):
        kept = true + bogus_per_real * false
        return float(true / kept) if kept > 0 else np.nan

    return {
        "value": share(tpr["value"], fpr["value"]),
        "low": share(tpr["low"], fpr["high"]),
        "high": share(tpr["high"], fpr["low"]),
        "bogus_per_real": float(bogus_per_real),
    }
