"""Look for what a split must not have: the same on two sides."""

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.places import detector_places, near_other_part, with_places
from gmadet_nb.learning.same_pixels import find_same

_N_NAMED = 6  # candidates that a message names


def check_leaks(split, candidates=None, *, margin=0.0, store=None):
    """Raise if the same exposure, or the same pixels, are on two sides.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`, with folds or without.
    candidates : astropy.table.Table, optional
        With ``x``, ``y``: needed where the split is by cell.
    margin : float
        Side of a cutout [pixel].
    store : gmadet_nb.learning.cutouts.CutoutStore, optional
        Their cutouts, to be held against each other pixel by pixel.

    Returns
    -------
    dict
        What was looked for and how often it was found: all 0.

    Raises
    ------
    BadInputError
        If a candidate is named twice, an exposure is in two of training (with
        validation), calibration and test or in two folds, a cutout is the same as
        one on another side or in another fold, or, in a split by cell, cutouts of two
        sides share pixels.
    """
    rows = split[np.asarray(split["used"], bool)]
    side = np.where(rows["part"] == "validation", "training", rows["part"])
    n_twice = len(rows) - len(set(rows["candidate_id"]))
    pairs = set(zip(map(str, rows["exposure_id"]), map(str, side), strict=True))
    n_exposures, n_shared = len(pairs) - len({pair[0] for pair in pairs}), 0
    if split.meta.get("unit") == "cell":
        n_exposures = 0
        if candidates is None:
            raise BadInputError("A split by cell needs the candidates to be checked.")
        table = with_places(rows, candidates)
        for exposure_id in np.unique(table["exposure_id"]):
            here = np.asarray(table["exposure_id"] == exposure_id)
            xy = detector_places(table[here])
            near = near_other_part(xy, side[here], margin=margin, square=True)
            n_shared += int(near.sum())
    same = _same_pixels(rows, side, store)
    found = {
        "candidates named twice": n_twice,
        "exposures on two sides": n_exposures,
        "exposures in two folds": _shared_by_folds(rows),
        "cutouts the same as one on another side": len(same),
        "cutouts that share pixels with another side": n_shared,
    }
    if any(found.values()):
        words = ", ".join(f"{name}: {n}" for name, n in found.items() if n)
        if same:
            words += f"; the same are {', '.join(same[:_N_NAMED])}"
        raise BadInputError(f"The split leaks ({words}). Run 07_dataset again.")
    return found


def _shared_by_folds(rows):
    """Count exposures in more than one fold; none where folds are bands of the sky."""
    if rows.meta.get("fold_unit", "cell") == "cell":
        return 0
    folded = rows[np.asarray(rows["fold"]) >= 0]
    pairs = set(zip(folded["exposure_id"], folded["fold"], strict=True))
    return len(pairs) - len(set(folded["exposure_id"]))


def _same_pixels(rows, side, store):
    """Return the ids of cutouts that are the same as one of another side or fold."""
    if store is None:
        return []
    side = np.asarray(side).astype(object)
    if "fold" in rows.colnames:  # each fold is judged by a model of all the others
        folded = np.asarray(rows["fold"]) >= 0
        side[folded] = np.asarray(rows["fold"])[folded]
    groups, *_ = find_same(rows["candidate_id"], store)
    on_two = [group for group in groups if len(set(side[group])) > 1]
    return [str(rows["candidate_id"][i]) for group in on_two for i in group]
