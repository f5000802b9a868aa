"""The leak-safe split: who trains, who chooses the threshold, who judges."""

import logging

import numpy as np
from scipy.spatial import KDTree

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.places import (
    cell_places,
    detector_places,
    near_other_part,
    on_unknown_place,
    psf_widths,
    seen_in_training,
    sky_places,
    with_places,
)

logger = logging.getLogger(__name__)

N_DRAWS = 300  # random assignments tried for the best balanced one
LEAST_JUDGES = 10  # of a class in validation, if need be at places that train
MIN_EXPOSURES = 3  # with fewer, exposures are cut into cells
_PLACELESS = (
    "No place is known of any candidate: what is of one exposure stays together, and "
    "a source or a bad pixel that comes back in another one is not found out."
)


def split_by_exposure(
    labels,
    candidates,
    *,
    calibration_fraction,
    test_fraction,
    validation_fraction,
    bogus_fraction,
    margin,
    pixel_scale,
    rng,
):
    """Divide the labelled candidates so that no part can leak into another.

    Whole exposures go to training, calibration or test; of many random
    assignments the one is taken whose shares of real and of bogus candidates
    come nearest to those wanted. With fewer than three exposures the sky is
    cut into cells instead, and whole bands of them go to calibration and test;
    their candidates nearer than ``margin`` to another part are left out. The
    validation part is taken from training, of each class alike: candidates within one
    FWHM of which, on the sky or on the detector, nothing else trains in any fold. Only
    training and validation are thinned.

    Parameters
    ----------
    labels : astropy.table.Table
        From `gather_labels`.
    candidates : astropy.table.Table
        ``candidate_id``, ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec``
        [deg].
    calibration_fraction, test_fraction : float
        Shares of all candidates; 0 leaves the part empty.
    validation_fraction : float
        Share of the training part that only decides when to stop; less of a class
        that hardly ever stands alone.
    bogus_fraction : float
        Share of bogus wanted in the training part, 0 keeps all. Bogus are left
        out at random until it is reached; real ones never are.
    margin : float
        Side of a cutout [pixel]: nearer ones share pixels.
    pixel_scale : float
        [arcsec/pixel]
    rng : numpy.random.Generator
        Draws the assignment and the thinning.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``label``, ``label_origin``, ``part``,
        ``place_in_training`` (calibration and test: within one FWHM, on the sky
        or on the detector, of a training or validation candidate, test also of a
        calibration one, or not known to be elsewhere on the sky) and ``used``.
        ``meta["unit"]``: "exposure" or "cell". ``meta["note"]``: which places could
        not be compared, in words; "" if all could.
    """
    _check_fractions(
        calibration_fraction=calibration_fraction,
        test_fraction=test_fraction,
        held_out=calibration_fraction + test_fraction,
        validation_fraction=validation_fraction,
        bogus_fraction=bogus_fraction,
    )
    if not len(labels):
        raise BadInputError(
            "A data set needs labelled candidates, got none. Inject sources in "
            "02_simulate, label candidates in 06_label, or set "
            "label_unmatched_as_bogus in 04_cutouts."
        )
    table = with_places(labels, candidates)
    is_real = np.asarray(table["label"] == "real")
    sky = sky_places(table, pixel_scale=pixel_scale)
    exposures, exposure = np.unique(table["exposure_id"], return_inverse=True)
    unit = "exposure" if len(exposures) >= MIN_EXPOSURES else "cell"
    if unit == "cell":
        sky = cell_places(table, sky)
        exposure = _cells(sky, margin)
    wanted = {"calibration": calibration_fraction, "test": test_fraction}
    bands = sky if unit == "cell" else None
    part = _assign(exposure, is_real, wanted, rng=rng, bands=bands)
    used = np.ones(len(table), bool)
    if unit == "cell":
        # The sky may be turned against the detector: the diagonal is safe, and a
        # pixel more for the rounding of positions.
        used &= ~near_other_part(sky, part, margin=np.sqrt(2) * (margin + 1))
    judges, words = _draw_validation(
        part, is_real, _stands_alone(part, table, sky), validation_fraction, rng=rng
    )
    part[judges] = "validation"
    for name in ("training", "validation"):
        used[_thinned(part == name, is_real, bogus_fraction, rng=rng)] = False
    split = table["candidate_id", "exposure_id", "label", "label_origin"]
    split["part"] = part
    trained = used & np.isin(part, ("training", "validation"))
    split["place_in_training"] = False
    for name in ("calibration", "test"):
        split["place_in_training"] |= seen_in_training(
            table, sky, judged=part == name, trained=trained
        )
        # Cross-fitting trains on calibration, too: test must be new to both.
        trained |= used & (part == name)
    split["used"] = used
    split.meta["unit"] = unit
    trained &= part != "test"
    split.meta["note"] = (
        _PLACELESS
        if table.meta["placeless"]
        else _note(on_unknown_place(table), trained)
    )
    split.meta["note"] = " ".join([split.meta["note"], *words]).strip()
    if split.meta["note"]:
        logger.info(split.meta["note"])
    return split


def _stands_alone(part, table, sky):
    """Say of each row whether nothing else that trains in any fold is at its place."""
    fwhm, trains = psf_widths(table), np.isin(part, ("training", "calibration"))
    alone = trains.copy()
    for places in (sky, detector_places(table)) if trains.sum() > 1 else ():
        # The nearest is the row itself.
        found = KDTree(places[trains]).query(places[trains], k=[2])[0][:, 0]
        alone[trains] &= found > fwhm[trains]
    return alone


def _draw_validation(part, is_real, alone, fraction, *, rng):
    """Return the rows of training that judge each pass, and what to say of them.

    Of each class the share that is wanted, of those that stand alone and at most half
    of them; others fill up to ten, since a class that is missing cannot judge.
    """
    judges, words = np.zeros(len(part), bool), []
    for name, kind in (("real", is_real), ("bogus", ~is_real)):
        mine = (part == "training") & kind
        n = round(fraction * mine.sum())
        first = rng.permutation(np.flatnonzero(mine & alone))
        first = first[: min(n, len(first) // 2)]
        n_more = max(min(n, LEAST_JUDGES) - len(first), 0)
        others = rng.permutation(np.flatnonzero(mine & ~alone))[:n_more]
        judges[first] = judges[others] = True
        if len(others):
            words.append(
                f"{len(others)} of the {len(first) + len(others)} {name} ones that "
                "judge each pass stand where others train: too few stand alone."
            )
    return judges, words


def _note(unknown, trained):
    """Say in words what follows from places that are not known; "" for none."""
    if not unknown.any():
        return ""
    missing = (
        f"Positions on the sky are missing for {unknown.sum()} of {len(unknown)} "
        "candidates: "
    )
    if not unknown[trained].any():
        return missing + "they count as seen in training. Give their exposures a WCS."
    return missing + (
        "whether training has seen a place cannot be told, so that all count as seen, "
        "and the headline figures are those of no candidate. Give the exposures a WCS."
    )


def _check_fractions(**fractions):
    for name, value in fractions.items():
        if not 0 <= value < 1:
            raise BadParameterError(f"{name} must be in [0, 1), got {value}.")


def _cells(places, side):
    """Return the number of the square cell that holds each place."""
    if not len(places):
        return np.zeros(0, int)
    index = np.floor((places - places.min(axis=0)) / side).astype(int)
    return np.unique(index, axis=0, return_inverse=True)[1].ravel()


def _assign(groups, is_real, wanted, *, rng, bands=None):
    """Give whole groups to parts so that the shares come near those wanted.

    What is wanted for no part goes to "training". A part that is wanted gets at
    least one group, and training keeps at least one. With ``bands``, the places
    of the rows, a part is a band across the sky in a random direction, on the
    far sides of training: it has one border, and loses least to the margin.
    """
    n_groups = int(groups.max()) + 1 if len(groups) else 0
    part = np.full(len(groups), "training", dtype="U11")
    wanted = {name: share for name, share in wanted.items() if share > 0}
    if n_groups <= len(wanted):
        return part
    counts = np.stack(
        [np.bincount(groups, is_real == kind, minlength=n_groups) for kind in (1, 0)]
    )
    counts = counts[counts.sum(axis=1) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    best, best_cost = None, np.inf
    for _ in range(N_DRAWS):
        order, chosen = rng.permutation(n_groups), {}
        if bands is not None:
            angle = rng.uniform(0, 2 * np.pi)
            along = bands @ [np.cos(angle), np.sin(angle)]
            order = np.argsort(np.bincount(groups, along) / np.bincount(groups))
        for i, (name, share) in enumerate(wanted.items()):
            spare = len(order) - (len(wanted) - i)
            chosen[name] = _take(order, shares, share, at_most=spare)
            order = order[len(chosen[name]) :][::-1]  # the next one from the other end
        cost = sum(
            np.sum((shares[:, chosen[name]].sum(axis=1) - share) ** 2)
            for name, share in wanted.items()
        )
        if cost < best_cost:
            best, best_cost = chosen, cost
    for name, members in best.items():
        part[np.isin(groups, members)] = name
    return part


def _take(order, shares, share, *, at_most):
    """Return the first groups of an order whose mean share comes nearest to wanted."""
    reached = np.cumsum(shares[:, order].mean(axis=0))
    n = int(np.argmin(np.abs(reached[: max(at_most, 1)] - share))) + 1
    return order[:n]


def _thinned(mine, is_real, bogus_fraction, *, rng):
    """Return the rows of bogus to leave out of a part, drawn at random."""
    bogus = np.flatnonzero(mine & ~is_real)
    if bogus_fraction == 0:
        return bogus[:0]
    n_real = int((mine & is_real).sum())
    n_keep = round(bogus_fraction / (1 - bogus_fraction) * n_real)
    n_drop = max(len(bogus) - n_keep, 0)
    return rng.permutation(bogus)[:n_drop]
