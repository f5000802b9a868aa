"""The table of scores, joined to candidates by name."""

import numpy as np


def scores_of(candidate_ids, scores, column="score"):
    """Return the scores of some candidates, in their order; NaN where there is none.

    Parameters
    ----------
    candidate_ids : (n,) sequence of str
    scores : astropy.table.Table
        ``candidate_id`` and the column.
    column : str

    Returns
    -------
    (n,) float array
    """
    known = dict(zip(scores["candidate_id"], scores[column], strict=True))
    return np.array([known.get(key, np.nan) for key in candidate_ids], float)


def with_scores(split, scores):
    """Return the rows of ``split`` in their order with ``score``; NaN where none."""
    table = split.copy()
    table["score"] = scores_of(table["candidate_id"], scores)
    return table
