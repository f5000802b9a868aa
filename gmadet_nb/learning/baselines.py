"""What simple cuts reach on the same candidates: a model must earn its place."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning import evaluate
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
        Name to (n,) array; what is not in the table is left out.
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
    return found


def compare(split, scores, candidates, *, target_fpr):
    """Compare cuts, trees, networks and the model at the same false-positive rate.

    Each gets its threshold from the folded candidates, for which ``scores`` are
    out of fold, and is judged on the test part, at places that training has not
    seen.

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
    rows = {str(key): i for i, key in enumerate(candidates["candidate_id"])}
    numbers = candidates[[rows[str(key)] for key in used["candidate_id"]]]
    judged = dict(cuts(numbers))
    for column in ("trees_score", "network_score", "score"):
        if column in scores.colnames:
            known = dict(zip(scores["candidate_id"], scores[column], strict=True))
            found = [known.get(key, np.nan) for key in used["candidate_id"]]
            judged[_NAMES[column]] = np.array(found, float)
    real = np.asarray(used["label"] == "real")
    test = np.asarray(used["part"] == "test")
    clean = test & ~np.asarray(used["place_in_training"], bool)
    bogus = choosing_rows(used, target_fpr=target_fpr) & ~test
    snr = as_floats(numbers["snr"])
    found = []
    for name, values in judged.items():
        values = np.where(np.isfinite(values), values, -np.inf)
        threshold = lowest_threshold(values[bogus], target_fpr)
        figures = _figures(real, values, snr, clean, threshold=threshold)
        found.append({"judge": name} | figures)
    return Table(rows=found)


def lowest_threshold(bogus, target_fpr):
    """Return a threshold that keeps no more bogus than wanted.

    As `gmadet_nb.learning.evaluate.choose_threshold`, of values of any range.
    """
    if not len(bogus):
        raise BadInputError(
            "A cut must be chosen from bogus candidates outside the test part, got "
            "none. Label some in 06_label."
        )
    falling = np.sort(bogus)[::-1]
    refused = falling[int(np.floor(target_fpr * len(bogus)))]
    above = falling[falling > refused]
    middle = (above[-1] + refused) / 2 if len(above) else refused
    return max(middle, np.nextafter(refused, np.inf))


def _figures(real, values, snr, some, *, threshold):
    """Return the area and the rates of one judge on some rows."""
    figures = {"auc": evaluate.auc(real[some], np.maximum(values[some], -1e30))}
    both = evaluate.rates_at(real[some], values[some], threshold)
    rates = {"fpr": both["fpr"], "tpr": both["tpr"]}
    for name, (low, high) in BANDS.items():
        band = some & (snr >= low) & (snr < high)
        rates[name] = evaluate.rates_at(real[band], values[band], threshold)["tpr"]
    for name, found in rates.items():
        figures[name] = found["value"]
        figures |= {f"{name}_{end}": found[end] for end in ("low", "high")}
    return figures
