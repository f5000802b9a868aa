"""How much each candidate counts in training."""

import numpy as np

from gmadet_nb.learning.labels import HUMAN


def weigh_origins(split, *, human_weight, unmatched_weight, catalog_weight):
    """Return the split with ``weight``: what its label is worth, by who gave it.

    Parameters
    ----------
    split : astropy.table.Table
        With ``label_origin``.
    human_weight : float
        Of a label that a person gave, to one of an injection.
    unmatched_weight : float
        Of a candidate that is bogus only because no injection explains it.
    catalog_weight : float
        Of a candidate that is real because it lies on a known object.

    Returns
    -------
    astropy.table.Table
    """
    table = split.copy()
    origins = np.asarray(table["label_origin"]).astype(str)
    weights = np.ones(len(table))
    weights[np.char.startswith(origins, HUMAN)] = human_weight
    weights[origins == "unmatched"] = unmatched_weight
    weights[origins == "catalog"] = catalog_weight
    table["weight"] = weights
    return table


def row_weights(rows):
    """Return the column ``weight`` of rows, (n,); ones where there is none."""
    if "weight" in rows.colnames:
        return np.asarray(rows["weight"], float)
    return np.ones(len(rows))


def balance(is_real, weights):
    """Return weights of mean 1 with which real and bogus count the same.

    Parameters
    ----------
    is_real : (n,) bool array
        The labels.
    weights : (n,) array
        How much each counts; their ratios stay within each class.

    Returns
    -------
    (n,) float array
    """
    real, weights = np.asarray(is_real, bool), np.asarray(weights, float)
    classes = [kind for kind in (real, ~real) if kind.any()]
    balanced = np.empty(len(real))
    for kind in classes:
        share = len(real) / len(classes)
        balanced[kind] = weights[kind] * (share / weights[kind].sum())
    return balanced
