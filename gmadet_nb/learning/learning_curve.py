"""How many candidates are enough: the TPR on a fixed test part against their number."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import evaluate
from gmadet_nb.learning.completeness import rate
from gmadet_nb.progress import Ticker

FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)
# A gain below this is not worth a night of labelling.
_WORTH = 0.005


def learning_curve(
    fit, rows, test, *, target_fpr, rng, fractions=FRACTIONS, n_draws=1, min_each=10
):
    """Train on more and more real, and on more and more bogus candidates.

    The test part stays the same, and so does what each step has of the former: a step
    adds candidates and takes none away. One kind grows while the other is whole.

    Parameters
    ----------
    fit : callable
        ``fit(rows)`` trains on labelled rows and returns a function from rows to their
        scores.
    rows, test : astropy.table.Table
        With ``label``: training rows, and those of the fixed test part.
    target_fpr : float
        At which the true-positive rate is read; on the test part itself, for every
        step alike: a curve compares steps, it proves no rate.
    rng : numpy.random.Generator
        Draws the order in which candidates come.
    fractions : sequence of float
        Rising, up to 1.
    n_draws : int
        Orders that are tried; their mean rates count.
    min_each : int
        Real and bogus that a step must have.

    Returns
    -------
    astropy.table.Table
        ``varied`` ("real" or "bogus"), ``n_real``, ``n_bogus``, ``tpr``, ``low``,
        ``high`` (95%).
    """
    real = np.asarray(rows["label"] == "real")
    test_real = np.asarray(test["label"] == "real")
    orders = [
        {
            "real": rng.permutation(np.flatnonzero(real)),
            "bogus": rng.permutation(np.flatnonzero(~real)),
        }
        for _ in range(n_draws)
    ]
    found = []
    steps = [(kind, share) for kind in ("real", "bogus") for share in fractions]
    ticker = Ticker(len(steps), "steps of the learning curve")
    for kind, share in steps:
        n_kept = []
        # All of them are the same in any order.
        for order in orders if share < 1 else orders[:1]:
            kept = dict(order)
            kept[kind] = order[kind][: round(share * len(order[kind]))]
            counts = len(kept["real"]), len(kept["bogus"])
            if min(counts) >= min_each:
                some = np.sort(np.concatenate(list(kept.values())))
                scores = fit(rows[some])(test)
                n_kept.append(_n_kept_at(test_real, scores, target_fpr))
        if n_kept:
            found.append((kind, *counts, *_mean_rate(n_kept, int(test_real.sum()))))
        ticker.tick()
    ticker.close()
    names = ("varied", "n_real", "n_bogus", "tpr", "low", "high")
    types = (str, int, int, float, float, float)
    return Table(rows=found or None, names=names, dtype=types)


def recommend(curve):
    """Say in words whether more real or more bogus candidates would gain anything.

    The share that is missed is taken to fall as a power of the number of candidates;
    what doubling it would gain is read off.

    Parameters
    ----------
    curve : astropy.table.Table
        From `learning_curve`.

    Returns
    -------
    list of str
        One sentence for real, one for bogus, each with what is read off where any one
        step is left out.
    """
    words = []
    for kind in ("real", "bogus"):
        some = curve[curve["varied"] == kind]
        n, missed = np.asarray(some[f"n_{kind}"], float), 1 - np.asarray(some["tpr"])
        if len(some) < 3:
            words.append(f"Too few {kind} candidates to say what more would gain.")
            continue
        gain = _gain_of_doubling(n, missed, n[-1])
        more = f"{n[-1]:.0f} more {kind} candidates"
        span = _span_of_gain(n, missed)
        if gain < _WORTH:
            words.append(f"{more} would gain next to nothing ({gain:.1%}{span}).")
        else:
            words.append(f"{more} would gain about {gain:.1%} of the real ones{span}.")
    return words


def _gain_of_doubling(n, missed, n_now):
    """Return by how much the share that is missed would fall with twice as many."""
    # Half a source of the test part: ln(0) has no place on a line.
    power, start = np.polyfit(np.log(n), np.log(np.maximum(missed, 1e-3)), 1)
    now = np.exp(start + power * np.log(n_now))
    return now * (1 - 2.0 ** min(power, 0.0))


def _span_of_gain(n, missed):
    """Say between what the gain lies when any one step is left out; "" for three."""
    if len(n) < 4:
        return ""
    gains = [
        _gain_of_doubling(np.delete(n, i), np.delete(missed, i), n[-1])
        for i in range(len(n))
    ]
    return f"; {min(gains):.1%} to {max(gains):.1%} without one of the steps"


def _n_kept_at(is_real, scores, target_fpr):
    """Return how many real ones pass where so many of these bogus do."""
    scores = np.asarray(scores, float)
    bogus = scores[~is_real & np.isfinite(scores)]
    threshold = evaluate.choose_threshold(bogus, target_fpr).value
    return int(np.sum(scores[is_real] >= threshold))


def _mean_rate(n_kept, n):
    """Return the mean rate of several draws, and the interval of one such rate."""
    found = rate(round(np.mean(n_kept)), n)
    return np.mean(n_kept) / n if n else np.nan, found["low"], found["high"]
