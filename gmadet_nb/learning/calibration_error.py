"""How far scores are from what they say, with intervals."""

import numpy as np

from gmadet_nb.learning import evaluate
from gmadet_nb.learning.completeness import finite_pairs
from gmadet_nb.learning.part_metrics import select
from gmadet_nb.learning.score_table import with_scores

#: What the figures of the folds are worth, in words.
FITTED = "the calibration was fitted to these: no proof"

_N_BINS = 10
_DRAWS = 1  # tells these draws from the others of a seed
_N_TRUTHS = 100  # errors that are tried
# The shape of an error is known by the one found alone: with 97.5 % of the draws
# inside, the truth is inside in 93 to 99 % of trials (300 and 3000 candidates).
_TAIL = 0.0125
_PLACES = {"headline": "new places", "all": "all places"}


def expected_calibration_error(is_real, scores, *, n_bins=_N_BINS):
    """Return how far scores are from the share of real, mean over candidates.

    In bins of equal width in score; NaN for no candidates. Chance alone makes it
    about 0.8 sqrt(p (1 - p) / n) in a bin of n.
    """
    n, mean_score, share = _bins(is_real, scores, n_bins)
    if not n.sum():
        return np.nan
    return float(n @ np.abs(mean_score - share) / n.sum())


def error_with_interval(is_real, scores, *, rng, n_draws=2000):
    """Return the expected calibration error without what chance adds, and an interval.

    Chance drives the share of real ones in a bin off the mean score, always outward:
    scores that are right have an error, too. Here errors e are tried, each spread
    over the bins as the one found is, candidates are drawn for each, and e counts as
    possible if the error found is among the drawn ones, their ends left out. The
    value is the e whose draws have the error found as their mean, or 0.

    Parameters
    ----------
    is_real, scores : (n,) arrays
        Scores of NaN are left out.
    rng : numpy.random.Generator
        Draws candidates and labels.
    n_draws : int
        How often, for each e.

    Returns
    -------
    dict
        ``value``, ``low``, ``high`` (95 %), ``raw``, as
        `expected_calibration_error` gives it, and ``n``; NaN for no candidates.
    """
    n, mean_score, share = _bins(is_real, scores, _N_BINS)
    total = int(n.sum())
    raw = expected_calibration_error(is_real, scores)
    if not total:
        nan = np.nan
        return {"value": nan, "low": nan, "high": nan, "raw": nan, "n": 0}
    n, mean_score, share = n[n > 0], mean_score[n > 0], share[n > 0]
    chance = np.sqrt(n @ np.maximum(mean_score * (1 - mean_score), 1 / n)) / total
    reach = raw + 5 * chance
    # Without any error found, its shape is that of labels that are wrong by chance.
    shape = share - mean_score if raw else 0.5 - mean_score
    unit = np.maximum(n @ np.abs(shape), 1e-9) / total
    steps = np.linspace(0, reach / unit, _N_TRUTHS)[:, None] * shape
    p = np.clip(mean_score + steps, 0, 1)
    truth = np.abs(p - mean_score) @ n / total
    fill = rng.multinomial(total, n / total, size=(n_draws, 1))
    drawn = np.abs(rng.binomial(fill, p) - fill * mean_score).sum(axis=2) / total
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL], axis=0)
    mean = np.maximum.accumulate(drawn.mean(axis=0))
    # The next one outside: the end is between two of those tried.
    first = max(int(np.argmax(high >= raw)) - 1, 0)
    last = min(int(np.max(np.flatnonzero(low <= raw), initial=0)) + 1, _N_TRUTHS - 1)
    return {
        "value": float(np.interp(raw, mean, truth)) if raw > mean[0] else 0.0,
        "low": float(truth[first]),
        "high": float(truth[last]),
        "raw": raw,
        "n": total,
    }


def with_interval(figure, is_real, scores, *, rng, n_draws=500):
    """Return a figure and its 95 % interval by bootstrap over the candidates.

    Parameters
    ----------
    figure : callable
        ``figure(is_real, scores)`` gives a float that is a mean over candidates:
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
    low, high = (float(end) for end in np.quantile(draws, [0.025, 0.975]))
    return {"value": figure(real, scores), "low": low, "high": high, "n": n}


def measure(split, scores, *, seed):
    """Return calibration error and Brier score, with intervals, of each part.

    Only those of the test part prove anything: the calibration was fitted to all
    others, and their labels.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``part``, ``place_in_training``, ``used``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``: out of fold but for the test part.
    seed : int
        Of the draws, the same for each part and selection: the same candidates and
        scores give the same figures wherever they are measured.

    Returns
    -------
    dict
        part ("out_of_fold", "test") -> selection ("headline", without places seen in
        training, and "all") -> ``ece``, as `error_with_interval` gives it, ``brier``,
        as `with_interval` does, and ``note``: `FITTED`, or "" for the test
        part.
    """
    table = with_scores(split[np.asarray(split["used"], bool)], scores)
    figures = {}
    for part, selections in select(table).items():
        figures[part] = {}
        for selection, rows in selections.items():
            real = np.asarray(rows["label"] == "real")
            values = np.asarray(rows["score"], float)
            rng = np.random.default_rng([seed, _DRAWS])
            figures[part][selection] = {
                "ece": error_with_interval(real, values, rng=rng),
                "brier": with_interval(evaluate.brier, real, values, rng=rng),
                "note": "" if part == "test" else FITTED,
            }
    return figures


def describe(found):
    """Say calibration error and Brier score in words, the test part first.

    Parameters
    ----------
    found : dict
        From `measure`; an empty one says nothing.

    Returns
    -------
    list of str
        One line a part and selection.
    """
    return [
        _line(figures, name=f"{part.replace('_', ' ')}, {_PLACES[selection]}")
        for part in sorted(found, reverse=True)
        for selection, figures in found[part].items()
    ]


def _line(figures, *, name):
    ece, brier = figures["ece"], figures["brier"]
    if not ece["n"]:
        return f"{name}: no candidates"
    text = (
        f"{name}, {ece['n']} candidates: expected calibration error "
        f"{ece['value']:.4f} ({ece['low']:.4f} to {ece['high']:.4f}; "
        f"{ece['raw']:.4f} with what chance adds), Brier score "
        f"{brier['value']:.4f} ({brier['low']:.4f} to {brier['high']:.4f})"
    )
    return f"{text}; {figures['note']}" if figures["note"] else text


def _bins(is_real, scores, n_bins):
    """Return number, mean score and share of real in bins of score; 0 where empty."""
    scores, real = finite_pairs(scores, is_real)
    which = np.minimum((scores * n_bins).astype(int), n_bins - 1)
    n = np.bincount(which, minlength=n_bins)
    sums = [np.bincount(which, values, minlength=n_bins) for values in (scores, real)]
    return n, *(total / np.maximum(n, 1) for total in sums)
