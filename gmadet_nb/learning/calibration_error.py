"""How far scores are from what they say, with intervals."""

import numpy as np

from gmadet_nb.learning import evaluate
from gmadet_nb.learning.completeness import finite_pairs


def expected_calibration_error(is_real, scores, *, n_bins=10):
    """Return how far scores are from the share of real, mean over candidates.

    In bins of equal width in score; NaN for no candidates. Chance alone makes it
    about 0.8 sqrt(p (1 - p) / n) in a bin of n.
    """
    scores, real = finite_pairs(scores, is_real)
    if not len(scores):
        return np.nan
    which = np.minimum((scores * n_bins).astype(int), n_bins - 1)
    excess = np.bincount(which, scores - real, minlength=n_bins)
    return float(np.abs(excess).sum() / len(scores))


def with_interval(figure, is_real, scores, *, rng, n_draws=500):
    """Return a figure and its 95 % interval by bootstrap over the candidates.

    The draws are shifted so that their mean is the figure: drawing anew adds to a
    calibration error what chance had added to it before.

    Parameters
    ----------
    figure : callable
        ``figure(is_real, scores)`` gives a float: `expected_calibration_error` or
        `gmadet_nb.learning.evaluate.brier`.
    is_real, scores : (n,) arrays
        Scores of NaN are left out.
    rng : numpy.random.Generator
        Draws the candidates.
    n_draws : int
        How often.

    Returns
    -------
    dict
        ``value``, ``low``, ``high``, ``n``; NaN for no candidates.
    """
    scores, real = finite_pairs(scores, is_real)
    n = len(scores)
    if not n:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "n": 0}
    rows = rng.integers(n, size=(n_draws, n))
    draws = [figure(real[some], scores[some]) for some in rows]
    value = figure(real, scores)
    low, high = np.quantile(draws, [0.025, 0.975]) - np.mean(draws) + value
    return {"value": value, "low": float(max(low, 0)), "high": float(high), "n": n}


def measure(split, scores, *, rng):
    """Return calibration error and Brier score, with intervals, of each part.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``part``, ``used``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``: out of fold but for the test part.
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        part ("out_of_fold", "test") -> ``ece`` and ``brier``, each as
        `with_interval` gives it.
    """
    table = evaluate.with_scores(split[np.asarray(split["used"], bool)], scores)
    figures = {}
    for part, names in evaluate.PARTS.items():
        rows = table[np.isin(table["part"], names)]
        real, values = np.asarray(rows["label"] == "real"), np.asarray(rows["score"])
        figures[part] = {
            "ece": with_interval(expected_calibration_error, real, values, rng=rng),
            "brier": with_interval(evaluate.brier, real, values, rng=rng),
        }
    return figures


def describe(figures, *, name):
    """Say calibration error and Brier score of a part in one line."""
    words = [
        f"{title} {found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"
        for title, found in (
            ("expected calibration error", figures["ece"]),
            ("Brier score", figures["brier"]),
        )
    ]
    return f"{name}, {figures['ece']['n']} candidates: {', '.join(words)}"
