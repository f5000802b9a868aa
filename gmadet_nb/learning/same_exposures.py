"""Exposures that a model to start from was trained on: it must not be judged there."""

import hashlib

import numpy as np

from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.folds import FOLDED

READ_BATCH = 512


def why_left_aside(split, store, initial):
    """Say why a model to start from cannot be judged on this split.

    Exposures are the same where their names are, or where a candidate of theirs has
    the same difference pixel by pixel, whatever they are called.

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
    by_name = set(exposures) & initial.exposures
    by_pixels = set()
    if initial.differences:
        rows = np.flatnonzero(split["used"])
        hashes = hash_differences(split["candidate_id"][rows], store)
        by_pixels = {
            str(exposures[row])
            for row, digest in zip(rows, hashes, strict=True)
            if digest in initial.differences
        }
    same = by_name | by_pixels
    if not same:
        return ""
    return (
        f"The initial model '{initial.folder}' was trained on {len(same)} of the "
        f"{len(set(exposures))} exposures of this run ({len(by_name)} by their names, "
        f"{len(by_pixels)} by their pixels), the first is {min(same)!r}: it has seen "
        "the candidates that would judge it. It was left aside, and the networks were "
        "trained anew. Where the names are the same by chance, give the exposures "
        "others."
    )


def trained_differences(folder, split):
    """Return hashes of the differences that a run has trained on.

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
        return set(hash_differences(split["candidate_id"][some], store)) - {b""}


def hash_differences(candidate_ids, store):
    """Return a hash of the difference of each cutout; b"" for one of one value."""
    hashes = []
    for start in range(0, len(candidate_ids), READ_BATCH):
        pixels = store.read(candidate_ids[start : start + READ_BATCH])[..., -1]
        for cutout in pixels:
            measured = cutout[np.isfinite(cutout)]
            constant = (measured == measured[:1]).all()
            hashes.append(
                b"" if constant else hashlib.sha256(cutout.tobytes()).digest()
            )
    return hashes
