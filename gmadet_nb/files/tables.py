"""Columns of tables as plain arrays."""

import numpy as np


def as_floats(column):
    """Return a column as (n,) floats without unit, NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
