"""Rates of 10_check_inference: at the threshold, and by what they may depend on."""

from itertools import pairwise

import numpy as np
from astropy.table import Table

from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning import evaluate
from gmadet_nb.learning.curves import confusion, over_thresholds, purity

#: Quantity -> its name in words, and the edges of its bins; None: from the data.
QUANTITIES = {
    "mag": ("magnitude [mag]", None),
    "snr": ("S/N", (0, 5, 7, 10, 20, 50, np.inf)),
    "fwhm_ratio": ("FWHM / FWHM of the PSF", (0, 0.6, 0.85, 1.15, 1.5, 2, np.inf)),
    "reference_distance": (
        "distance to a reference source [FWHM]",
        (0, 0.5, 1, 2, 4, 8, np.inf),
    ),
    "galaxy_distance": (
        "distance to a galaxy [FWHM]",
        (0, 0.5, 1, 2, 4, 8, np.inf),
    ),
    "exposure_id": ("exposure", None),
}
_N_MAG_BINS = 6
_LEAST = 10  # of real and of bogus at new places, below which all places count
_NAMES = ("quantity", "bin", "n_real", "tpr", "tpr_low", "tpr_high")
_NAMES += ("n_bogus", "fpr", "fpr_low", "fpr_high")
_DTYPE = (str, str, int, float, float, float, int, float, float, float)


def judged_rows(checked):
    """Return the labelled candidates that a model has judged without having seen them.

    Parameters
    ----------
    checked : astropy.table.Table
        As `gmadet_nb.learning.check_input.join_checked` gives it.
    """
    some = (np.asarray(checked["label"]) != "") & np.asarray(checked["used"], bool)
    return checked[some & ~np.asarray(checked["seen"], bool)]


def rows_for_rates(judged):
    """Leave out the bogus of the folds: they chose the threshold.

    Their false-positive rate is what was asked for, whatever the model is worth. No
    real candidate chose the threshold: those of all parts stay.

    Parameters
    ----------
    judged : astropy.table.Table
        From `judged_rows`.
    """
    real, test = judged["label"] == "real", judged["part"] == "test"
    return judged[np.asarray(real, bool) | np.asarray(test, bool)]


def at_new_places(rows):
    """Leave out candidates whose place the model has seen, where enough are left.

    Returns
    -------
    rows : astropy.table.Table
    what : str
        Which they are, in words.
    """
    if not len(rows):
        return rows, "as nothing is labelled"
    new = ~np.asarray(rows["place_in_training"], bool)
    real = np.asarray(rows["label"] == "real")
    if min((new & real).sum(), (new & ~real).sum()) >= _LEAST:
        return rows[new], "at places that the model had not seen"
    return rows, "at all places, as too few are at new ones"


def at_threshold(rows, *, threshold, bogus_per_real):
    """Return what the threshold does to some labelled candidates.

    Parameters
    ----------
    rows : astropy.table.Table
        ``label``, ``score``.
    threshold : float
        On the score.
    bogus_per_real : float
        Bogus candidates for each real one in the stream.

    Returns
    -------
    dict
        ``confusion`` (real, bogus by kept, refused), ``tpr``, ``fpr``, ``purity``,
        each with its interval, ``f1`` and ``mcc``.
    """
    real, scores = _labels_and_scores(rows)
    counts = confusion(real, scores >= threshold)
    rates = evaluate.rates_at(real, scores, threshold)
    # The curve of two scores, 1 above the threshold and 0 below: one row each.
    verdicts = over_thresholds(real, (scores >= threshold).astype(float))
    kept = verdicts[np.asarray(verdicts["threshold"]) == 1]
    return {
        "confusion": counts.tolist(),
        **rates,
        "purity": purity(**rates, bogus_per_real=bogus_per_real),
        "f1": float(kept["f1"][0]) if len(kept) else np.nan,
        "mcc": float(kept["mcc"][0]) if len(kept) else np.nan,
    }


def describe_merit(found, *, which):
    """Say F1, Matthews' coefficient, and how pure what is kept of a stream would be.

    Parameters
    ----------
    found : dict
        From `at_threshold`.
    which : str
        Which candidates, in words.

    Returns
    -------
    list of str
    """
    if not (found["tpr"]["n"] and found["fpr"]["n"]):
        return ["There are not both real and bogus candidates in the test part."]
    return [
        f"Test candidates {which}: F1 {found['f1']:.3f}, Matthews' coefficient "
        f"{found['mcc']:.3f}.",
        f"In a stream with {found['purity']['bogus_per_real']:g} bogus for each real "
        f"one, {_purity_in_words(found)}.",
    ]


def _purity_in_words(found):
    """Say how pure what is kept would be; with no bogus kept, only a bound is known."""
    share, fpr = found["purity"], found["fpr"]
    if not np.isfinite(share["value"]):
        return "nothing would be kept"
    ends = "both rates at the ends of their intervals"
    if fpr["k"] == 0:
        text = "how much of what is kept would be real cannot be told: "
        text += f"{fpr['k']} of {fpr['n']} bogus passed"
        return text + f" ({share['low']:.0%} or more, {ends})" * (share["low"] >= 0.005)
    return (
        f"what is kept would be {share['value']:.0%} real (between {share['low']:.0%} "
        f"and {share['high']:.0%}, {ends})"
    )


def rates_by_quantity(rows, *, threshold):
    """Return TPR and FPR by magnitude, S/N, width, neighbour, galaxy and exposure.

    Parameters
    ----------
    rows : astropy.table.Table
        From `rows_for_rates`: ``label``, ``score``, ``psf_fwhm`` [pixel] and what
        there is of `QUANTITIES`.
    threshold : float
        On the score.

    Returns
    -------
    astropy.table.Table
        One row a bin that holds something, the last of them "not measured", where
        something of the quantity is:
        ``quantity``, ``bin``, ``n_real``, ``tpr``, ``n_bogus``, ``fpr``, both with
        ``_low`` and ``_high`` (95%, Clopper-Pearson).
    """
    real, scores = _labels_and_scores(rows)
    found = []
    for quantity, (_, edges) in QUANTITIES.items():
        if quantity not in rows.colnames or not _is_measured(rows[quantity]):
            continue
        for name, some in _bins(rows, quantity, edges):
            rates = evaluate.rates_at(real[some], scores[some], threshold)
            values = [
                rate[key]
                for rate in (rates["tpr"], rates["fpr"])
                for key in ("n", "value", "low", "high")
            ]
            found.append((quantity, name, *values))
    table = Table(rows=found or None, names=_NAMES, dtype=_DTYPE)
    for name in ("tpr", "fpr"):
        for end in ("", "_low", "_high"):
            table[name + end].format = ".3f"
    return table


def _labels_and_scores(rows):
    return np.asarray(rows["label"] == "real"), np.asarray(rows["score"], float)


def _is_measured(column):
    """Say whether anything is known of a quantity; of names it is."""
    return column.dtype.kind in "US" or not np.isnan(as_floats(column)).all()


def _bins(rows, quantity, edges):
    """Yield the name of each bin that holds something, and which rows it holds."""
    if quantity == "exposure_id":
        values = np.asarray(rows[quantity]).astype(str)
        for name in sorted(set(values)):
            yield name, values == name
        return
    values = as_floats(rows[quantity])
    if quantity in ("reference_distance", "galaxy_distance"):
        values = values / as_floats(rows["psf_fwhm"])
    if edges is None:
        edges = _quantiles(values)
    # No source or galaxy at all is the farthest one: infinitely far.
    for low, high in pairwise(edges):
        above = (values >= low) | (low == edges[0])
        some = above & ((values < high) | (high == np.inf)) & ~np.isnan(values)
        if some.any():
            yield _bin_name(low, high, edges), some
    if np.isnan(values).any():
        yield "not measured", np.isnan(values)


def _quantiles(values):
    """Return edges, to a tenth, between which about as many values lie."""
    known = values[np.isfinite(values)]
    if not len(known):
        return []
    inner = np.quantile(known, np.linspace(0, 1, _N_MAG_BINS + 1)[1:-1])
    return [-np.inf, *np.unique(np.round(inner, 1)), np.inf]


def _bin_name(low, high, edges):
    if np.isinf(high):
        return f"≥ {low:g}"
    return f"< {high:g}" if low == edges[0] else f"{low:g} to {high:g}"
