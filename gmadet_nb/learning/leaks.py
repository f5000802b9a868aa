"""Look for what a split must not have: the same on two sides."""

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.places import (
    cell_places,
    detector_places,
    near_other_part,
    seen_in_training,
    seen_places,
    sky_places,
    with_places,
)
from gmadet_nb.learning.same_pixels import find_same

_N_NAMED = 6  # candidates that a message names


def check_leaks(split, candidates=None, *, margin=0.0, pixel_scale=None, store=None):
    """Raise if an exposure, a place or the same pixels are on two sides.

    Sides are training (with validation), calibration and test, and the folds. All is
    looked for anew in the tables, whatever the split says of it.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`, with folds or without.
    candidates : astropy.table.Table, optional
        With ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec`` [deg]: needed where the
        split is by cell.
    margin : float
        Side of a cutout [pixel].
    pixel_scale : float, optional
        [arcsec/pixel]; with candidates it is needed for places to be looked for.
    store : gmadet_nb.learning.cutouts.CutoutStore, optional
        Their cutouts, to be held against each other pixel by pixel.

    Returns
    -------
    dict
        What was looked for and how often it was found: all 0. What could not be looked
        for is not in it.

    Raises
    ------
    BadInputError
        If a candidate is named twice, an exposure is on two sides, a cutout is the same
        as one on another side, a candidate of the headline figures stands within one
        FWHM, on the sky or on the detector, of one that trained the model that judges
        it, or, in a split by cell, cutouts of two sides share pixels.
    """
    rows = split[np.asarray(split["used"], bool)]
    side = np.where(rows["part"] == "validation", "training", rows["part"])
    found = {"candidates named twice": len(rows) - len(set(rows["candidate_id"]))}
    found |= _exposures_on_two_sides(rows, side)
    by_cell = "cell" in (split.meta.get("unit"), split.meta.get("fold_unit"))
    if by_cell and candidates is None:
        raise BadInputError("A split by cell needs the candidates to be checked.")
    same = []
    if store is not None:
        same = _same_pixels(rows, side, store)
        found["cutouts the same as one on another side"] = len(same)
    if by_cell:
        table = with_places(rows, candidates)
        shared = _shared_pixels(table, side, margin)
        found["cutouts that share pixels with another side"] = shared
    if candidates is not None and pixel_scale is not None:
        found |= _places_on_two_sides(split, candidates, pixel_scale)
    if any(found.values()):
        words = ", ".join(f"{name}: {n}" for name, n in found.items() if n)
        if same:
            words += f"; the same are {', '.join(same[:_N_NAMED])}"
        raise BadInputError(f"The split leaks ({words}). Run 07_dataset again.")
    return found


def _exposures_on_two_sides(rows, side):
    """Count exposures on two sides, where whole exposures make them."""
    found = {}
    if rows.meta.get("unit") != "cell":
        found["exposures on two sides"] = _n_shared(rows["exposure_id"], side)
    if rows.meta.get("fold_unit", "cell") != "cell":
        folded = rows[np.asarray(rows["fold"]) >= 0]
        n = _n_shared(folded["exposure_id"], folded["fold"])
        found["exposures in two folds"] = n
    return found


def _n_shared(exposure_ids, side):
    """Count how often an exposure is on one more side than one."""
    pairs = set(zip(map(str, exposure_ids), map(str, side), strict=True))
    return len(pairs) - len({pair[0] for pair in pairs})


def _shared_pixels(table, side, margin):
    """Count cutouts that share pixels with one of another part, or of another fold."""
    n = 0
    for exposure_id in np.unique(table["exposure_id"]):
        here = np.asarray(table["exposure_id"] == exposure_id)
        xy, some = detector_places(table[here]), table[here]
        near = np.zeros(len(some), bool)
        if table.meta.get("unit") == "cell":
            near |= near_other_part(xy, side[here], margin=margin, square=True)
        for judged, trained in _by_fold(some):
            near[judged] |= seen_places(
                xy[judged], xy[trained], radius=margin, square=True
            )
        n += int(near.sum())
    return n


def _places_on_two_sides(split, candidates, pixel_scale):
    """Count headline candidates at places of others that trained their model."""
    used = np.asarray(split["used"], bool)
    folded = used & np.isin(split["part"], FOLDED)
    test = used & np.asarray(split["part"] == "test")
    inside = split[folded]
    # Of each the same rows as when they were divided: the same plane of the sky.
    looked = {
        "headline test candidates at a place that trained": _n_at_trained_places(
            with_places(split, candidates),
            [(test, folded)],
            pixel_scale=pixel_scale,
            by_cell=split.meta.get("unit") == "cell",
        ),
        "headline folded candidates at a place that trained": _n_at_trained_places(
            with_places(inside, candidates),
            _by_fold(inside),
            pixel_scale=pixel_scale,
            by_cell=split.meta.get("fold_unit") == "cell",
        ),
    }
    return {name: n for name, n in looked.items() if n is not None}


def _n_at_trained_places(table, sides, *, pixel_scale, by_cell):
    """Count, over (judged, trained) rows, who stands where one trained.

    None where no place is known, or nobody is of the headline figures.
    """
    new = ~np.asarray(table["place_in_training"], bool)
    sides = [(judged & new, trained) for judged, trained in sides]
    if table.meta["placeless"] or not any(judged.any() for judged, _ in sides):
        return None
    sky = sky_places(table, pixel_scale=pixel_scale)
    sky = cell_places(table, sky) if by_cell else sky
    return sum(
        int(seen_in_training(table, sky, judged=judged, trained=trained).sum())
        for judged, trained in sides
    )


def _by_fold(rows):
    """Return, for each fold, who is judged by its model and who trains it."""
    if "fold" not in rows.colnames:
        return []
    fold, border = np.asarray(rows["fold"]), np.asarray(rows["border"], bool)
    numbers = np.unique(fold[fold >= 0])
    return [(fold == k, (fold >= 0) & (fold != k) & ~border) for k in numbers]


def _same_pixels(rows, side, store):
    """Return the ids of cutouts that are the same as one of another side or fold."""
    side = np.asarray(side).astype(object)
    if "fold" in rows.colnames:  # each fold is judged by a model of all the others
        folded = np.asarray(rows["fold"]) >= 0
        side[folded] = np.asarray(rows["fold"])[folded]
    groups, _ = find_same(rows["candidate_id"], store)
    on_two = [group for group in groups if len(set(side[group])) > 1]
    return [str(rows["candidate_id"][i]) for group in on_two for i in group]
