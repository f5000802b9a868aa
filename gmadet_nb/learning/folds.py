"""Folds over exposures: who is judged by which of K models."""

import logging
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning.places import (
    cell_places,
    seen_in_training,
    seen_places,
    sky_places,
    with_places,
)

logger = logging.getLogger(__name__)

N_DRAWS = 300  # random assignments tried for the best balanced one
FOLDED = ("training", "validation", "calibration")


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Candidates in K folds.

    Attributes
    ----------
    rows : astropy.table.Table
        Those of the split that take part: used, of training, validation and
        calibration. With ``fold`` (0 to K - 1), ``place_in_training`` (the model
        that judges it has seen its place on the sky or the detector) and ``border``
        (its cutout shares pixels with another fold's; only in a split by cell).
    n_folds : int
        K.
    unit : str
        "exposure", or "cell" where folds are bands of the sky.
    note : str
        What is not as asked for, in words; "" if all is.
    """

    rows: Table
    n_folds: int
    unit: str
    note: str

    def held_out(self, k):
        """Return which rows the model of fold k has not seen: (n,) bool array."""
        return np.asarray(self.rows["fold"] == k)

    def trained_on(self, k):
        """Return which rows the model of fold k trains on: (n,) bool array.

        Not those that share pixels with another fold.
        """
        return ~self.held_out(k) & ~np.asarray(self.rows["border"], bool)


def make_folds(split, candidates, *, n_folds, margin, pixel_scale, rng):
    """Divide the candidates that train or calibrate into folds of whole exposures.

    Of many random assignments the one is taken whose folds are most alike in
    their numbers of real and of bogus candidates. A split by cell has bands of
    the sky instead of exposures.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`.
    candidates : astropy.table.Table
        ``candidate_id``, ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec`` [deg].
    n_folds : int
        K, 2 or more; with fewer exposures each of them is a fold.
    margin : float
        Side of a cutout [pixel].
    pixel_scale : float
        [arcsec/pixel]
    rng : numpy.random.Generator
        Draws the assignments.

    Returns
    -------
    Folds
    """
    if n_folds < 2:
        raise BadParameterError(f"n_folds must be 2 or more, got {n_folds}.")
    inside = np.asarray(split["used"], bool) & np.isin(split["part"], FOLDED)
    rows = split["candidate_id", "exposure_id", "label", "label_origin", "part"]
    rows = rows[inside]
    n_exposures = len(set(rows["exposure_id"]))
    if not n_exposures:
        raise BadInputError("Folds need candidates to train on, got none.")
    table = with_places(rows, candidates)
    sky = sky_places(table, pixel_scale=pixel_scale)
    by_cell = split.meta.get("unit") == "cell" or n_exposures == 1
    note = ""
    if by_cell:
        sky = cell_places(table, sky)
        note = f"{n_folds} folds of bands of the sky: there are too few exposures."
        rows["fold"] = _bands(sky, n_folds, rng=rng)
    else:
        if n_exposures < n_folds:
            note = f"{n_exposures} folds, not {n_folds}: one for each exposure."
            n_folds = n_exposures
        groups = np.unique(rows["exposure_id"], return_inverse=True)[1]
        real = np.asarray(rows["label"] == "real")
        rows["fold"] = assign_folds(groups, real, n_folds=n_folds, rng=rng)
    # The diagonal, as the sky may be turned against the detector.
    reach = np.sqrt(2) * (margin + 1) if by_cell else 0
    rows["border"] = _near_other_fold(sky, rows["fold"], reach=reach)
    unit = "cell" if by_cell else "exposure"
    folds = Folds(rows=rows, n_folds=n_folds, unit=unit, note=note)
    seen = np.zeros(len(rows), bool)
    for k in range(n_folds):
        seen |= seen_in_training(
            table, sky, judged=folds.held_out(k), trained=folds.trained_on(k)
        )
    rows["place_in_training"] = seen
    if note:
        logger.info(note)
    return folds


def add_folds(split, folds):
    """Return the split with what `read_folds` needs to make the folds again.

    Returns
    -------
    astropy.table.Table
        The same rows with ``fold`` (-1 outside the folds) and ``border``; of
        those in a fold ``place_in_training`` speaks of the model that judges them.
    """
    where = rows_of(split["candidate_id"], folds.rows["candidate_id"], absent=-1)
    inside, table = where >= 0, split.copy()
    for name, outside in (("fold", -1), ("border", False)):
        table[name] = np.full(len(split), outside)
    for name in ("fold", "border", "place_in_training"):
        table[name][inside] = np.asarray(folds.rows[name])[where[inside]]
    table.meta["fold_unit"], table.meta["fold_note"] = folds.unit, folds.note
    return table


def read_folds(split):
    """Make the folds again of a split with `add_folds`.

    Raises
    ------
    BadInputError
        If the split has none.
    """
    if "fold" not in split.colnames:
        raise BadInputError("The split must have folds and has none. Run 07_dataset.")
    rows = split[np.asarray(split["fold"]) >= 0]
    n_folds = len(np.unique(rows["fold"]))
    if n_folds < 2:
        raise BadInputError(
            f"The split must have 2 folds or more, got {n_folds}. Run 07_dataset again."
        )
    unit, note = (split.meta.get(f"fold_{name}", "") for name in ("unit", "note"))
    return Folds(rows=rows, n_folds=n_folds, unit=unit, note=note)


def count_folds(folds):
    """Count the candidates of each fold.

    Returns
    -------
    astropy.table.Table
        One row a fold: ``fold``, ``n_exposures``, ``n_real``, ``n_bogus``,
        ``n_place_in_training``, ``n_border``.
    """
    rows = []
    for k in range(folds.n_folds):
        here = folds.rows[folds.held_out(k)]
        n_real = int((here["label"] == "real").sum())
        seen, border = (
            int(np.sum(here[name])) for name in ("place_in_training", "border")
        )
        n_exposures = len(set(here["exposure_id"]))
        rows.append((k, n_exposures, n_real, len(here) - n_real, seen, border))
    names = ("fold", "n_exposures", "n_real", "n_bogus")
    return Table(rows=rows, names=(*names, "n_place_in_training", "n_border"))


def assign_folds(groups, is_real, *, n_folds, rng):
    """Give whole groups to folds whose numbers of real and of bogus are most alike.

    Parameters
    ----------
    groups : (n,) int array
        From 0; as many or more as folds.
    is_real : (n,) bool array
        The labels.
    n_folds : int
        K.
    rng : numpy.random.Generator
        Draws the orders in which groups are given out.

    Returns
    -------
    (n,) int array
        0 to K - 1; no fold is empty.
    """
    n_groups = int(np.max(groups)) + 1
    counts = np.stack(
        [np.bincount(groups, np.equal(is_real, kind), n_groups) for kind in (1, 0)]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    best, best_cost = None, np.inf
    for _ in range(N_DRAWS):
        fold, load = np.zeros(n_groups, int), np.zeros((2, n_folds))
        for i, group in enumerate(rng.permutation(n_groups)):
            # The first ones each open a fold; then the emptiest takes the next.
            fold[group] = i if i < n_folds else np.argmin(load.sum(axis=0))
            load[:, fold[group]] += shares[:, group]
        cost = np.sum((load - 1 / n_folds) ** 2)
        if cost < best_cost:
            best, best_cost = fold, cost
    return best[groups]


def _bands(places, n_folds, *, rng):
    """Cut the sky into bands of as many candidates each, in a random direction."""
    angle = rng.uniform(0, np.pi)
    along = places @ [np.cos(angle), np.sin(angle)]
    rank = np.argsort(np.argsort(along, kind="stable"), kind="stable")
    return rank * n_folds // len(places)


def _near_other_fold(sky, fold, *, reach):
    """Say of each place whether another fold has one within a reach [pixel]."""
    near = np.zeros(len(sky), bool)
    for k in np.unique(fold) if reach else ():
        out = np.asarray(fold == k)
        near[~out] |= seen_places(sky[~out], sky[out], radius=reach, square=True)
    return near
