"""What the scores of a classifier are worth on the test part."""

import numpy as np

from benchmarks.classifier_work import CUTS, OURS
from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning import evaluate
from gmadet_nb.learning.baselines import by_rank
from gmadet_nb.learning.calibration import (
    cross_entropy,
    fit_temperature,
    logit,
    probability,
)
from gmadet_nb.learning.calibration_error import error_with_interval
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.crossfit import choosing_rows

BANDS = {"tpr_bright": (10.0, np.inf), "tpr_faint": (5.0, 10.0), "tpr": (0.0, np.inf)}


def measure(split, method, scores, *, target_fpr):
    """Choose the threshold on one part and return the figures on the test part.

    Ours, and cuts, which learn nothing, choose it from all folds, with out-of-fold
    scores; a network trained once from the calibration part. What is at a place that
    training has seen is left out, where enough bogus remain without.

    Parameters
    ----------
    split : benchmarks.classifier_work.Split
    method : str
    scores : (n,) array
        One for each of ``split.rows``.
    target_fpr : float

    Returns
    -------
    dict
        Figure to ``value``, ``low``, ``high``, ``n``.
    """
    rows, snr = split.rows, as_floats(split.numbers["snr"])
    real = np.asarray(rows["label"] == "real")
    chooses = np.asarray(rows["part"] == "calibration")
    if method in OURS or method in CUTS:
        chooses = np.asarray(rows["part"] != "test")
    bogus = np.zeros(len(rows), bool)
    bogus[chooses] = choosing_rows(rows[chooses], target_fpr=target_fpr)
    test = np.asarray(rows["part"] == "test")
    test &= ~np.asarray(rows["place_in_training"], bool)
    if method in CUTS:
        scores = by_rank(scores)
    kept = scores >= evaluate.choose_threshold(scores[bogus], target_fpr).value
    found = {}
    for name, (low, high) in BANDS.items():
        some = test & real & (snr > low) & (snr <= high)
        found[name] = rate(int(kept[some].sum()), int(some.sum()))
    found["fpr"] = rate(int(kept[test & ~real].sum()), int((test & ~real).sum()))
    found["tpr_at"] = _tpr_at(real, scores, split.rows, target_fpr=target_fpr)
    found["auc"] = {"value": evaluate.auc(real[test], scores[test])}
    found["n_bogus"] = {"value": int(bogus.sum())}
    found["n_all_bogus"] = {"value": int((chooses & ~real).sum())}
    if method not in CUTS:
        found |= _calibration_error(
            real, scores, test=test, chooses=None if method in OURS else chooses
        )
    return found


def _tpr_at(real, scores, rows, *, target_fpr):
    """Return the TPR at the wanted FPR of the test part itself, at all its places.

    No method gains here by a threshold that came out low: what is compared is how
    they order candidates.
    """
    test = np.asarray(rows["part"] == "test")
    value = evaluate.choose_threshold(scores[test & ~real], target_fpr).value
    kept = scores[test & real] >= value
    return rate(int(kept.sum()), len(kept))


def figures_on(split, some, scores):
    """Return figures of scores on some rows, to compare: the threshold is theirs, too.

    Parameters
    ----------
    split : benchmarks.classifier_work.Split
    some : (n,) bool array
        Of ``split.rows``.
    scores : (m,) array
        Of these rows.
    """
    real = np.asarray(split.rows["label"] == "real")[some]
    snr = as_floats(split.numbers["snr"])[some]
    kept = scores >= evaluate.choose_threshold(scores[~real], 0.01).value
    fit = fit_temperature(logit(scores), real)
    found = {
        "log_loss": cross_entropy(real, fit.apply(logit(scores))),
        "auc": evaluate.auc(real, scores),
    }
    for name in ("tpr_bright", "tpr_faint"):
        low, high = BANDS[name]
        found[name] = 100 * kept[real & (snr > low) & (snr <= high)].mean()
    return found


def _calibration_error(real, scores, *, test, chooses):
    """Return the errors on the test part; others get a temperature first.

    What chance adds to the error of so many candidates is taken off ``ece`` and is
    still in ``ece_raw``.
    """
    if chooses is not None:
        fit = fit_temperature(logit(scores[chooses]), real[chooses])
        scores = probability(fit.apply(logit(scores)))
    rng = np.random.default_rng(0)
    found = error_with_interval(real[test], scores[test], rng=rng)
    return {"ece": found, "ece_raw": {"value": found["raw"]}}
