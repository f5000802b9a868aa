"""What simple cuts reach on the same candidates: a model must earn its place."""

import numpy as np
from astropy.table import Table

from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.learning import evaluate, score_table
from gmadet_nb.learning.crossfit import choosing_rows

BANDS = {"snr_5_10": (5.0, 10.0), "snr_above_10": (10.0, np.inf)}
MODEL = "fused"
_NAMES = {
    "score": MODEL,
    "network_score": "networks alone",
    "trees_score": "trees alone",
}
_ALONE = ("networks alone", "trees alone")


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


def verdict(rows):
    """Say which of the judges of `compare` does best on the test part.

    Intervals of one candidate set: where two overlap, chance may have put one before
    the other.

    Parameters
    ----------
    rows : list of dict
        The rows of `compare`, or those of a card.

    Returns
    -------
    list of str
        A sentence on what the model is made of, and one on the cuts.
    """
    model = next((row for row in rows if row["judge"] == MODEL), None)
    if model is None or not known(model["tpr"]):
        return ["What is best cannot be told: no real test candidate at a new place."]
    others = [row for row in rows if row["judge"] != MODEL and known(row["tpr"])]
    cuts = [row for row in others if row["judge"] not in _ALONE]
    parts = [row for row in others if row["judge"] in _ALONE]
    # A model of one part is that part.
    parts = parts if len(parts) > 1 else []
    found = []
    for of, some in (("what it is made of", parts), ("cuts on one number", cuts)):
        if some:
            best = max(some, key=lambda row: row["tpr"])
            found.append(f"Against {of}: {_against(model, best)}.")
    return found or ["There is nothing simpler to hold the model against."]


def in_words(rows):
    """Return the rows of `compare` as a person reads them, intervals in brackets.

    Parameters
    ----------
    rows : list of dict
        The rows of `compare`, or those of a card.

    Returns
    -------
    astropy.table.Table
        Texts: ``judge``, ``AUC``, ``FPR``, ``TPR``, and the TPR in `BANDS`.
    """
    columns = {"FPR": "fpr", "TPR": "tpr"}
    columns |= {"TPR, S/N 5 to 10": "snr_5_10", "TPR, S/N above 10": "snr_above_10"}
    texts = {"judge": [row["judge"] for row in rows]}
    texts["AUC"] = [f"{row['auc']:.3f}" if known(row["auc"]) else "" for row in rows]
    for head, name in columns.items():
        texts[head] = [_rate_in_words(row, name) for row in rows]
    return Table({name: np.array(values, dtype=str) for name, values in texts.items()})


def known(value):
    """Say whether a number is one: NaN, and null in a card, are not."""
    return value is not None and bool(np.isfinite(value))


def _rate_in_words(row, name):
    if not known(row[name]):
        return ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f} ({low:.2f} to {high:.2f})"


def _against(model, best):
    """Say how the model's TPR stands against that of the best of some others."""
    text = f"of the real test candidates the model keeps {model['tpr']:.1%}, the best "
    text += f"of these ({best['judge']}) {best['tpr']:.1%}"
    if best["tpr"] == model["tpr"]:
        return f"{text}: as many"
    overlap = max(best["tpr_low"], model["tpr_low"]) <= min(
        best["tpr_high"], model["tpr_high"]
    )
    if overlap:
        return f"{text}; the intervals overlap, so that this may be chance"
    if model["tpr"] > best["tpr"]:
        return f"{text}: the model is clearly better"
    return f"{text}: the model is clearly worse, and not worth its trouble"


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
