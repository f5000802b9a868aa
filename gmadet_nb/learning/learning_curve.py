"""How many candidates are enough: the TPR on a fixed test part against their number."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import evaluate
from gmadet_nb.progress import Ticker

FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)
_MIN_EACH = 10
# A gain below this is not worth a night of labelling.
_WORTH = 0.005


def learning_curve(fit, rows, test, *, target_fpr, rng, fractions=FRACTIONS):
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

    Returns
    -------
    astropy.table.Table
        ``varied`` ("real" or "bogus"), ``n_real``, ``n_bogus``, ``tpr``, ``low``,
        ``high`` (95%).
    """
    real = np.asarray(rows["label"] == "real")
    test_real = np.asarray(test["label"] == "real")
    order = {
        "real": rng.permutation(np.flatnonzero(real)),
        "bogus": rng.permutation(np.flatnonzero(~real)),
    }
    found = []
    steps = [(kind, share) for kind in ("real", "bogus") for share in fractions]
    ticker = Ticker(len(steps), "trainings")
    for kind, share in steps:
        kept = dict(order)
        kept[kind] = order[kind][: round(share * len(order[kind]))]
        if min(map(len, kept.values())) >= _MIN_EACH:
            some = np.sort(np.concatenate(list(kept.values())))
            scores = fit(rows[some])(test)
            rate = _tpr_at(test_real, scores, target_fpr)
            counts = len(kept["real"]), len(kept["bogus"])
            found.append((kind, *counts, rate["value"], rate["low"], rate["high"]))
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
        One sentence for real, one for bogus.
    """
    words = []
    for kind in ("real", "bogus"):
        some = curve[curve["varied"] == kind]
        n, missed = np.asarray(some[f"n_{kind}"], float), 1 - np.asarray(some["tpr"])
        if len(some) < 3:
            words.append(f"Too few {kind} candidates to say what more would gain.")
            continue
        # Half a source of the test part: ln(0) has no place on a line.
        power, start = np.polyfit(np.log(n), np.log(np.maximum(missed, 1e-3)), 1)
        now = np.exp(start + power * np.log(n[-1]))
        gain = now * (1 - 2.0 ** min(power, 0.0))
        more = f"{n[-1]:.0f} more {kind} candidates"
        if gain < _WORTH:
            words.append(f"{more} would gain next to nothing ({gain:.1%}).")
        else:
            words.append(f"{more} would gain about {gain:.1%} of the real ones.")
    return words


def _tpr_at(is_real, scores, target_fpr):
    """Return the TPR at the threshold that keeps so many of these bogus."""
    scores = np.asarray(scores, float)
    bogus = scores[~is_real & np.isfinite(scores)]
    threshold = evaluate.choose_threshold(bogus, target_fpr).value
    return evaluate.rates_at(is_real, scores, threshold)["tpr"]
