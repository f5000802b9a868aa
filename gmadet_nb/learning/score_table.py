"""The table of scores: of which model it is, and joined to candidates by name."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.crossfit import name_model


def check_scored_by(scores, card):
    """Raise if scores are those of another model than the one with this card.

    Parameters
    ----------
    scores : astropy.table.Table
        From `gmadet_nb.learning.crossfit.name_model`.
    card : dict
        The card of the model that judges.

    Returns
    -------
    list of str
        A warning where the scores do not say whose they are: those of earlier
        versions.

    Raises
    ------
    BadInputError
        If they are of another model, or of another training.
    """
    wanted = name_model(Table(), card).meta
    found = {name: scores.meta.get(name) for name in wanted}
    if found == wanted:
        return []
    if set(found.values()) == {None}:
        return [
            "scores.ecsv does not say which model scored: an earlier version wrote it. "
            "If it was another than the one of the card, all that is said here of the "
            "model is wrong. Run 09_infer again."
        ]
    raise BadInputError(
        f"scores.ecsv must be of the model that judges, {_in_words(wanted)}, and is of "
        f"another, {_in_words(found)}. Run 09_infer again, with the same model."
    )


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


def _in_words(model):
    """Say which model it is."""
    trained_on = str(model["training_hash"])[:12]
    return f"trained on {trained_on} and made {model['created']}"
