"""Find out whether a model judges by a shortcut, not by what makes a source real.

Injected sources and bogus candidates may differ in brightness, in their place within
the cutout or in what lies around them; a model that judges by these looks good on its
own test part and fails in the sky.
"""

import numpy as np
from astropy.table import Table
from scipy import stats

from gmadet_nb.learning import evaluate
from gmadet_nb.learning.changed import warn_of_changed

_MIN_EACH = 10  # of real and of bogus in a bin of S/N
_N_BINS = 8
# What makes a warning.
_LOST_AUC, _BRIGHT_CORRELATION, _COVERED = 0.05, 0.5, 0.9


def auc_at_fixed_snr(is_real, scores, snr):
    """Return the area under the ROC curve within narrow ranges of S/N.

    Where brightness alone carries the score, real and bogus of one brightness cannot be
    told apart, and this area falls to that of chance.

    Parameters
    ----------
    is_real : (n,) bool array
    scores, snr : (n,) arrays

    Returns
    -------
    astropy.table.Table
        ``snr_low``, ``snr_high``, ``n_real``, ``n_bogus``, ``auc`` (NaN where there are
        fewer than 10 of a kind).
    """
    real, scores = np.asarray(is_real, bool), np.asarray(scores, float)
    snr = np.asarray(snr, float)
    good = np.isfinite(scores) & np.isfinite(snr) & (snr > 0)
    real, scores, snr = real[good], scores[good], snr[good]
    names = ("snr_low", "snr_high", "n_real", "n_bogus", "auc")
    if not len(snr):
        return Table(names=names, dtype=(float, float, int, int, float))
    edges = np.unique(np.quantile(snr, np.linspace(0, 1, _N_BINS + 1)))
    which = np.clip(np.searchsorted(edges, snr, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for i in range(max(len(edges) - 1, 0)):
        here = which == i
        n_real, n_bogus = int(real[here].sum()), int((~real[here]).sum())
        area = np.nan
        if min(n_real, n_bogus) >= _MIN_EACH:
            area = evaluate.auc(real[here], scores[here])
        rows.append((edges[i], edges[i + 1], n_real, n_bogus, area))
    return Table(rows=rows or None, names=names, dtype=(float, float, int, int, float))


def score_against_brightness(is_real, scores, snr):
    """Return how the score follows the S/N at a fixed label.

    Returns
    -------
    dict
        "real" and "bogus": Spearman's rank correlation of score and S/N; NaN where
        there are fewer than 10. That real ones score higher when they are brighter is
        as it should be; for bogus ones it is a shortcut.
    """
    real = np.asarray(is_real, bool)
    scores, snr = np.asarray(scores, float), np.asarray(snr, float)
    good = np.isfinite(scores) & np.isfinite(snr)
    found = {}
    for name, kind in (("real", real), ("bogus", ~real)):
        some = good & kind
        varied = some.sum() >= _MIN_EACH and np.ptp(scores[some]) and np.ptp(snr[some])
        found[name] = (
            float(stats.spearmanr(scores[some], snr[some]).statistic)
            if varied
            else np.nan
        )
    return found


def snr_coverage(is_real, snr, *, wanted):
    """Return which share of the candidates that are scored trained with real ones.

    Parameters
    ----------
    is_real : (n,) bool array
        Labels of the training part.
    snr : (n,) array
        Its S/N.
    wanted : (m,) array
        S/N of the candidates that the model scores.

    Returns
    -------
    float
        Share of ``wanted`` between the 1st and the 99th percentile of the real ones'.
    """
    known = np.asarray(snr, float)[np.asarray(is_real, bool)]
    known, wanted = known[np.isfinite(known)], np.asarray(wanted, float)
    wanted = wanted[np.isfinite(wanted)]
    if not len(known) or not len(wanted):
        return np.nan
    low, high = np.percentile(known, [1, 99])
    return float(np.mean((wanted >= low) & (wanted <= high)))


def warnings(*, overall_auc, by_snr, correlation, kept, higher, coverage):
    """Say in words which shortcuts there are, and what to do about each.

    Parameters
    ----------
    overall_auc : float
    by_snr : astropy.table.Table
        From `auc_at_fixed_snr`.
    correlation : dict
        From `score_against_brightness`.
    kept : dict
        "as_is", "blank", "shifted": share of real ones that are kept so.
    higher : dict
        From `gmadet_nb.learning.changed.higher_as_is`.
    coverage : float
        From `snr_coverage`.

    Returns
    -------
    list of str
    """
    words = []
    inside = np.asarray(by_snr["auc"], float)
    if np.isfinite(inside).any():
        lost = overall_auc - np.nanmean(inside)
        if lost > _LOST_AUC:
            words.append(
                "Brightness carries part of the score: at one S/N real and bogus are "
                f"told apart less well, by {lost:.2f} in the area under the ROC curve. "
                "Inject over the S/N range of the bogus (snr_range in 02_simulate)."
            )
    if correlation["bogus"] > _BRIGHT_CORRELATION:
        words.append(
            "Bright bogus candidates score higher than faint ones (rank correlation "
            f"{correlation['bogus']:.2f}): label bright bogus in 06_label."
        )
    words += warn_of_changed(kept, higher)
    if coverage < _COVERED:
        words.append(
            f"Only {coverage:.0%} of the candidates have an S/N at which real ones "
            "trained. Widen snr_range in 02_simulate."
        )
    return words
