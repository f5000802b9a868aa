"""Cutouts to leave out: the same bit by bit under two names, or nothing to judge."""

import hashlib
import logging

import numpy as np

from gmadet_nb.learning.cutouts import PLANES
from gmadet_nb.learning.labels import HUMAN
from gmadet_nb.learning.unscored import why_unscored

logger = logging.getLogger(__name__)

READ_BATCH = 512


def hash_cutouts(candidate_ids, store, *, planes=("difference",)):
    """Return a hash of planes of each cutout, by which the same are known.

    A plane with nothing to judge, as 0 behind a mask or beyond the edge, says nothing
    and gets none.

    Parameters
    ----------
    candidate_ids : (n,) sequence of str
        Which cutouts.
    store : gmadet_nb.learning.cutouts.CutoutStore
        Where they are.
    planes : sequence of {"science", "reference", "difference"}
        Which planes; they are read together, once.

    Returns
    -------
    list of list of bytes
        For each plane one a cutout; b"" where
        `gmadet_nb.learning.unscored.why_unscored` says why.
    """
    hashes = {plane: [] for plane in planes}
    for start in range(0, len(candidate_ids), READ_BATCH):
        cutouts = store.read(candidate_ids[start : start + READ_BATCH])
        for plane, found in hashes.items():
            pixels = cutouts[..., PLANES.index(plane)]
            found += [
                b"" if why else hashlib.sha256(one.tobytes()).digest()
                for one, why in zip(pixels, why_unscored(pixels), strict=True)
            ]
    return list(hashes.values())


def find_same(candidate_ids, store):
    """Find cutouts whose difference is, pixel by pixel, that of another one.

    One with nothing to judge is held against none.

    Parameters
    ----------
    candidate_ids : (n,) sequence of str
        Which cutouts.
    store : gmadet_nb.learning.cutouts.CutoutStore
        Where they are.

    Returns
    -------
    groups : list of (m,) int arrays
        Rows that are the same, two or more in each group.
    blank : (k,) int array
        Rows with nothing to judge, which get no score either.
    """
    rows = {}
    (hashes,) = hash_cutouts(candidate_ids, store)
    for i, digest in enumerate(hashes):
        rows.setdefault(digest, []).append(i)
    blank = np.array(rows.pop(b"", []), int)
    return [np.array(some) for some in rows.values() if len(some) > 1], blank


def in_words(counts):
    """Say what was left out: a str, of the counts of `keep_one_of_each`."""
    words = {
        "n_repeated": "the same as another",
        "n_contradicting": "the same under two labels",
        "n_blank": "nothing to judge",
    }
    found = [f"{counts[key]} {text}" for key, text in words.items() if counts.get(key)]
    return ", ".join(found) or "none"


def keep_one_of_each(labels, store):
    """Leave out all but one of candidates with the same cutout, and blank ones.

    An alert that a survey has sent twice, or two files that hold the same exposure.
    The first stays, one labelled by a person before others; none where two labels
    contradict each other. Where there is nothing to judge there is nothing to learn.

    Parameters
    ----------
    labels : astropy.table.Table
        From `gmadet_nb.learning.dataset.gather_labels`.
    store : gmadet_nb.learning.cutouts.CutoutStore
        Their cutouts.

    Returns
    -------
    labels : astropy.table.Table
        The rows that stay, in their order.
    counts : dict
        ``n_repeated``, ``n_contradicting``, ``n_blank``: rows left out, each counted
        once.
    """
    groups, blank = find_same(labels["candidate_id"], store)
    label = np.asarray(labels["label"])
    human = np.char.startswith(np.asarray(labels["label_origin"]).astype(str), HUMAN)
    stays = np.ones(len(labels), bool)
    n_contradicting = 0
    for group in groups:
        first = group[human[group]] if human[group].any() else group
        stays[group] = False
        if len(set(label[first])) == 1:
            stays[first[0]] = True
        else:
            n_contradicting += len(group)
    n_repeated = int((~stays).sum()) - n_contradicting
    stays[blank] = False
    counts = {
        "n_repeated": n_repeated,
        "n_contradicting": n_contradicting,
        "n_blank": len(blank),
    }
    if not stays.all():
        logger.info(
            "Cutouts left out, as the same as another or blank: %s.", in_words(counts)
        )
    return labels[stays], counts
