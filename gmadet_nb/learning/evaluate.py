"""How well scores tell real from bogus: ROC, threshold, rates, reliability."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.completeness import binomial_interval, finite_pairs, rate
from gmadet_nb.learning.curves import count_above


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
    n_steady = int(np.ceil(10 / target_fpr))
    if n < n_needed:
        how += (
            f"; {n_needed} bogus or more are needed to show such a rate, and about "
            f"{n_steady} before the threshold is steady"
        )
    elif n < n_steady:
        how += f"; the threshold is steady only above some {n_steady} bogus"
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
