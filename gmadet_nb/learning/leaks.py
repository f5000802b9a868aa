"""Look for what a split must not have: the same on two sides."""

import hashlib

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.places import detector_places, near_other_part, with_places

READ_BATCH = 512


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
        one on another side, or, in a split by cell, cutouts of two sides share
        pixels.
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
    found = {
        "candidates named twice": n_twice,
        "exposures on two sides": n_exposures,
        "exposures in two folds": _shared_by_folds(rows),
        "cutouts the same as one on another side": _same_pixels(rows, side, store),
        "cutouts that share pixels with another side": n_shared,
    }
    if any(found.values()):
        words = ", ".join(f"{name}: {n}" for name, n in found.items() if n)
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
    """Count cutouts whose difference is, pixel by pixel, that of another side."""
    sides = {}
    for start in range(0, len(rows) if store else 0, READ_BATCH):
        some = slice(start, start + READ_BATCH)
        pixels = store.read(rows["candidate_id"][some])[..., -1]
        for cutout, where in zip(pixels, side[some], strict=True):
            if np.isfinite(cutout).any():  # where nothing is measured all are alike
                digest = hashlib.sha256(cutout.tobytes()).digest()
                sides.setdefault(digest, []).append(str(where))
    return sum(len(found) for found in sides.values() if len(set(found)) > 1)
