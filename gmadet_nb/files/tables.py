"""Columns of tables as plain arrays, and rows found by their key."""

import numpy as np


def as_floats(column):
    """Return a column as (n,) floats without unit, NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def rows_of(keys, names, *, absent=None):
    """Return where each key stands among names, as an (n,) int array.

    Tables are joined by key and never by order.

    Parameters
    ----------
    keys, names : sequences of str
        Such as two columns ``candidate_id``; the names are different.
    absent : int, optional
        For a key that is not among them.

    Raises
    ------
    KeyError
        If a key is not among the names, and nothing stands for that.
    """
    row = {str(name): i for i, name in enumerate(names)}
    if absent is None:
        return np.array([row[str(key)] for key in keys], int)
    return np.array([row.get(str(key), absent) for key in keys], int)
