"""Cross-fitting: every candidate judged by a model that has not seen its exposure."""

from dataclasses import replace

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import evaluate
from gmadet_nb.learning.calibration import probability


def out_of_fold(folds, fit):
    """Judge each candidate by the model that has not seen its fold.

    Parameters
    ----------
    folds : Folds
        From `make_folds`.
    fit : callable
        ``fit(rows, k)`` trains on some of ``folds.rows`` and returns a function
        that gives the logits of any such rows, an (n,) array.

    Returns
    -------
    logits : (n,) float array
        One for each of ``folds.rows``, in order.
    models : list
        What ``fit`` returned, K of them.
    """
    logits, models = np.full(len(folds.rows), np.nan), []
    for k in range(folds.n_folds):
        out = folds.held_out(k)
        models.append(fit(folds.rows[folds.trained_on(k)], k))
        logits[out] = models[-1](folds.rows[out])
    return logits, models


def mean_and_scatter(logits):
    """Return what K models say together, and how much they differ.

    Parameters
    ----------
    logits : (n, K) array
        Calibrated logits of the same candidates.

    Returns
    -------
    mean : (n,) array
        Mean logit.
    scatter : (n,) array
        Standard deviation of the K probabilities; 0 for one model.
    """
    logits = np.asarray(logits, float)
    p = probability(logits)
    scatter = p.std(axis=1, ddof=1) if logits.shape[1] > 1 else np.zeros(len(logits))
    return logits.mean(axis=1), scatter


def fold_threshold(folds, scores, *, target_fpr):
    """Choose the threshold from out-of-fold scores of bogus candidates.

    Those whose place another fold has, too, are left out, unless fewer than
    3 / target_fpr remain: with none of that many above it, the rate is shown.

    Parameters
    ----------
    folds : Folds
        From `make_folds`.
    scores : (n,) array
        Out-of-fold scores of ``folds.rows``, 0 to 1.
    target_fpr : float
        Wanted false-positive rate.

    Returns
    -------
    evaluate.Threshold
        With the Clopper-Pearson interval of the rate.
    """
    bogus = np.asarray(folds.rows["label"] == "bogus") & np.isfinite(scores)
    new = bogus & ~np.asarray(folds.rows["place_in_training"], bool)
    what = "out-of-fold scores, all places"
    if new.sum() >= 3 / target_fpr:
        bogus, what = new, "out-of-fold scores, places that the model had not seen"
    threshold = evaluate.choose_threshold(np.asarray(scores)[bogus], target_fpr)
    return replace(threshold, how=f"{what}: {threshold.how}")


def fold_suspects(folds, scores):
    """Rank the labels that models doubt which have not seen them.

    Parameters
    ----------
    folds : Folds
        From `make_folds`.
    scores : (n,) array
        Out-of-fold probabilities of ``folds.rows``.

    Returns
    -------
    astropy.table.Table
        As `gmadet_nb.learning.evaluate.suspects` gives it.
    """
    table = Table([folds.rows["candidate_id"], scores], names=["candidate_id", "score"])
    return evaluate.suspects(folds.rows, table)
