"""Cross-fitting: every candidate judged by a model that has not seen its exposure."""

from dataclasses import replace

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning import evaluate
from gmadet_nb.learning.calibration import probability

_OF_MODEL = ("training_hash", "created")  # of the card


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
    some = choosing_rows(folds.rows, target_fpr=target_fpr)
    new = not (some & np.asarray(folds.rows["place_in_training"], bool)).any()
    what = "places that the model had not seen" if new else "all places"
    threshold = evaluate.choose_threshold(np.asarray(scores)[some], target_fpr)
    return replace(threshold, how=f"out-of-fold scores, {what}: {threshold.how}")


def choosing_rows(rows, *, target_fpr):
    """Say which bogus candidates choose a threshold: those at new places, if enough.

    Parameters
    ----------
    rows : astropy.table.Table
        ``label``, ``place_in_training``.
    target_fpr : float
        Wanted false-positive rate; 3 / target_fpr are enough to show it.

    Returns
    -------
    (n,) bool array
    """
    bogus = np.asarray(rows["label"] == "bogus")
    new = bogus & ~np.asarray(rows["place_in_training"], bool)
    return new if new.sum() >= 3 / target_fpr else bogus


def with_out_of_fold(scores, out_of_fold):
    """Put the out-of-fold scores in the place of those of models that know the labels.

    Parameters
    ----------
    scores, out_of_fold : astropy.table.Table
        ``candidate_id``, ``score`` and, where both have them, ``network_score`` and
        ``trees_score``.

    Returns
    -------
    astropy.table.Table
        The rows of ``scores`` with ``out_of_fold``, True where it is so.
    """
    table = scores.copy()
    keys = [str(key) for key in table["candidate_id"]]
    for name in ("score", "network_score", "trees_score"):
        if name in table.colnames and name in out_of_fold.colnames:
            known = dict(
                zip(out_of_fold["candidate_id"], out_of_fold[name], strict=True)
            )
            values = zip(keys, np.asarray(table[name], float), strict=True)
            table[name] = [known.get(key, value) for key, value in values]
            table[name] = table[name].astype(float)
    inside = set(out_of_fold["candidate_id"])
    table["out_of_fold"] = np.array([key in inside for key in keys], bool)
    return table


def name_model(out_of_fold, card):
    """Return out-of-fold scores whose ``meta`` says which model they belong to."""
    table = out_of_fold.copy()
    table.meta |= {name: card[name] for name in _OF_MODEL}
    return table


def check_model(out_of_fold, card):
    """Raise if out-of-fold scores are not those of the model with this card.

    Parameters
    ----------
    out_of_fold : astropy.table.Table
        From `name_model`.
    card : dict
        The model's card.

    Raises
    ------
    BadInputError
        If they were written with another model, or by an earlier version.
    """
    differ = [
        name for name in _OF_MODEL if out_of_fold.meta.get(name) != card.get(name)
    ]
    if differ:
        raise BadInputError(
            "out_of_fold.ecsv must be of the model that judges, and its "
            f"{' and '.join(differ)} are not those of the card. Run 08_train again."
        )
