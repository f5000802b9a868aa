"""What simple cuts reach on the same candidates: a model must earn its place."""

import numpy as np
from astropy.table import Table

from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.learning import evaluate, score_table
from gmadet_nb.learning.crossfit import choosing_rows

BANDS = {"snr_5_10": (5.0, 10.0), "snr_above_10": (10.0, np.inf)}
_NAMES = {
    "score": "fused",
    "network_score": "networks alone",
    "trees_score": "trees alone",
}


def cuts(candidates):
    """Return the quantities that a person would cut on, real ones at the high end.

    Parameters
    ----------
    candidates : astropy.table.Table
        ``snr``, ``fwhm``, ``psf_fwhm``, ``psf_chi2``.

    Returns
    -------
    dict
        Name to (n,) array; what is not in the table, or NaN everywhere as for stamps,
        is left out.
    """
    names = {"snr", "fwhm", "psf_fwhm", "psf_chi2"} & set(candidates.colnames)
    value = {name: as_floats(candidates[name]) for name in names}
    found = {}
    if "snr" in value:
        found["S/N cut"] = value["snr"]
    if "fwhm" in value and "psf_fwhm" in value:
        with np.errstate(divide="ignore", invalid="ignore"):
            found["FWHM-ratio cut"] = -np.abs(np.log(value["fwhm"] / value["psf_fwhm"]))
    if "psf_chi2" in value:
        found["PSF-chi2 cut"] = -value["psf_chi2"]
    return {name: some for name, some in found.items() if np.isfinite(some).any()}


def compare(split, scores, candidates, *, target_fpr):
    """Compare cuts, trees, networks and the model at the same false-positive rate.

    Each gets its threshold as the card's is chosen, from the folded candidates, for
    which ``scores`` are out of fold, and is judged on the test part, at places that
    training has not seen.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``part``, ``used``, ``place_in_training``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``, ``network_score`` and, where there are trees,
        ``trees_score``.
    candidates : astropy.table.Table
        Their numbers.
    target_fpr : float
        Wanted false-positive rate.

    Returns
    -------
    astropy.table.Table
        One row a judge: ``judge``, ``auc``, ``fpr`` and ``tpr``, of all, ``snr_5_10``
        and ``snr_above_10``, each with ``_low`` and ``_high`` (95 %); all of the
        test part.
    """
    used = split[np.asarray(split["used"], bool)]
    ids = used["candidate_id"]
    numbers = candidates[rows_of(ids, candidates["candidate_id"])]
    judged = {name: by_rank(values) for name, values in cuts(numbers).items()}
    for column in ("trees_score", "network_score", "score"):
        if column in scores.colnames:
            judged[_NAMES[column]] = score_table.scores_of(ids, scores, column)
    real = np.asarray(used["label"] == "real")
    test = np.asarray(used["part"] == "test")
    clean = test & ~np.asarray(used["place_in_training"], bool)
    bogus = np.zeros(len(used), bool)
    bogus[~test] = choosing_rows(used[~test], target_fpr=target_fpr)
    snr = as_floats(numbers["snr"])
    found = []
    for name, values in judged.items():
        threshold = evaluate.choose_threshold(values[bogus], target_fpr)
        figures = _figures(real, values, snr, clean, threshold=threshold.value)
        found.append({"judge": name} | figures)
    return Table(rows=found)


def by_rank(values):
    """Return values as their rank, from 0 for the lowest to 1 for the highest.

    Then `gmadet_nb.learning.evaluate.choose_threshold` serves a cut in any unit as it
    serves a score. What is not finite passes no cut: -1, below all.

    Parameters
    ----------
    values : (n,) float array
        Real ones at the high end.

    Returns
    -------
    (n,) float array
    """
    rank, good = np.full(len(values), -1.0), np.isfinite(values)
    levels, which = np.unique(values[good], return_inverse=True)
    rank[good] = which / max(len(levels) - 1, 1)
    return rank


def _figures(real, values, snr, some, *, threshold):
    """Return the area and the rates of one judge on some rows."""
    figures = {"auc": evaluate.auc(real[some], values[some])}
    both = evaluate.rates_at(real[some], values[some], threshold)
    rates = {"fpr": both["fpr"], "tpr": both["tpr"]}
    for name, (low, high) in BANDS.items():
        band = some & (snr >= low) & (snr < high)
        rates[name] = evaluate.rates_at(real[band], values[band], threshold)["tpr"]
    for name, found in rates.items():
        figures[name] = found["value"]
        figures |= {f"{name}_{end}": found[end] for end in ("low", "high")}
    return figures
