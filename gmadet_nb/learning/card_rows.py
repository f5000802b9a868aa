"""What a model's card says of the labels, the parts and the folds behind it."""

import numpy as np

from gmadet_nb.learning.dataset import count_parts
from gmadet_nb.learning.weights import row_weights


def describe_folds(folds):
    """Return the counts and the exposures of each fold.

    Parameters
    ----------
    folds : gmadet_nb.learning.folds.Folds

    Returns
    -------
    list of dict
        ``n_real``, ``n_bogus``, ``exposures``.
    """
    found = []
    for k in range(folds.n_folds):
        rows = folds.rows[folds.held_out(k)]
        n_real = int((rows["label"] == "real").sum())
        exposures = sorted({str(key) for key in rows["exposure_id"]})
        counts = {"n_real": n_real, "n_bogus": len(rows) - n_real}
        found.append(counts | {"exposures": exposures})
    return found


def labels_by_origin(split):
    """Count used candidates by where their label is from.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.folds.add_folds`.

    Returns
    -------
    dict
        Origin -> "real", "bogus" -> int.
    """
    rows = split[np.asarray(split["used"], bool)]
    counts = {}
    for row in rows["label", "label_origin"].iterrows():
        label, origin = map(str, row)
        counts.setdefault(origin, {"real": 0, "bogus": 0})[label] += 1
    return counts


def weights_by_origin(split):
    """Return what a label of each origin counts, beside others of its class.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.folds.add_folds`.

    Returns
    -------
    dict
        Origin -> float.
    """
    rows = split[np.asarray(split["used"], bool)]
    weights = zip(rows["label_origin"], row_weights(rows), strict=True)
    return {str(origin): float(weight) for origin, weight in weights}


def describe_parts(split):
    """Return the counts and the exposures of each part.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.folds.add_folds`.

    Returns
    -------
    dict
        Part -> ``n_real``, ``n_bogus``, ``exposures``.
    """
    used = split[np.asarray(split["used"], bool)]
    parts = {}
    for row in count_parts(split):
        here = used[used["part"] == row["part"]]
        parts[str(row["part"])] = {
            "n_real": int(row["n_real"]),
            "n_bogus": int(row["n_bogus"]),
            "exposures": sorted({str(key) for key in here["exposure_id"]}),
        }
    return parts
