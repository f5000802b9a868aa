"""Exposures that a model to start from was trained on: it must not be judged there."""

import logging

import numpy as np

from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.same_pixels import hash_cutouts

logger = logging.getLogger(__name__)

# References are the same on many nights; these two are of one exposure alone. The
# science plane knows an exposure that was subtracted anew.
_OF_EXPOSURE = ("science", "difference")
_STEP = (
    " Where the names are the same by chance, give the exposures others, or leave the "
    "model in its run folder, so that the pixels decide."
)


def why_left_aside(split, store, initial):
    """Say why a model to start from cannot be judged on this split.

    Exposures are the same where a candidate of theirs has the same science cutout or
    the same difference pixel by pixel, whatever they are called: stamps without
    exposures, or images that are numbered, have the same names by chance. By name they
    are the same only where the cutouts of the model's run are not at hand.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``used``.
    store : gmadet_nb.learning.cutouts.CutoutStore
    initial : gmadet_nb.learning.transfer.Initial or None

    Returns
    -------
    str
        "" where no exposure is the same.
    """
    if initial is None:
        return ""
    exposures = np.asarray(split["exposure_id"]).astype(str)
    used = np.asarray(split["used"], bool)
    named = {str(key) for key in exposures[used]} & initial.exposures
    same, how = named, "name, as the cutouts of its run are not at hand"
    if initial.pixels:
        same = _same_pixels(
            split["candidate_id"][used], exposures[used], store, initial
        )
        how = "pixel"
    if not same:
        _warn_of_names(named, initial)
        return ""
    step = "" if initial.pixels else _STEP
    return (
        f"The initial model '{initial.folder}' was trained on {len(same)} of the "
        f"{len(set(exposures))} exposures of this run (by {how}), the first is "
        f"{min(same)!r}: it has seen the candidates that would judge it. It was left "
        f"aside, and the networks were trained anew.{step}"
    )


def trained_pixels(folder, split):
    """Return hashes of the science cutouts and differences that a run trained on.

    Parameters
    ----------
    folder : gmadet_nb.files.rundir.RunDir
        The run.
    split : astropy.table.Table
        Its split.

    Returns
    -------
    set of bytes
        Empty where its cutouts are not at hand.
    """
    if not folder.cutouts_path.is_file():
        return set()
    some = np.asarray(split["used"], bool) & np.isin(split["part"], FOLDED)
    with CutoutStore(folder.cutouts_path) as store:
        hashes = hash_cutouts(split["candidate_id"][some], store, planes=_OF_EXPOSURE)
    return set().union(*hashes) - {b""}


def _same_pixels(candidate_ids, exposures, store, initial):
    """Return the exposures of which a model has seen pixels: a set of str."""
    return {
        str(exposure)
        for hashes in hash_cutouts(candidate_ids, store, planes=_OF_EXPOSURE)
        for exposure, digest in zip(exposures, hashes, strict=True)
        if digest in initial.pixels
    }


def _warn_of_names(named, initial):
    """Say which exposures count as others, though their names are the same."""
    if named:
        logger.warning(
            "%d exposures of this run are called as some that '%s' was trained on, the "
            "first is %r, and have no pixels of theirs: they count as others. Where "
            "they are the same after all, leave initial_model empty.",
            len(named),
            initial.folder,
            min(named),
        )
