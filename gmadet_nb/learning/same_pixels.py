"""Cutouts to leave out: the same bit by bit under two names, or nothing to judge."""

import hashlib
import logging

import numpy as np

from gmadet_nb.learning.labels import HUMAN
from gmadet_nb.learning.unscored import why_unscored

logger = logging.getLogger(__name__)

READ_BATCH = 512


def find_same(candidate_ids, store):
    """Find cutouts whose difference is, pixel by pixel, that of another one.

    A difference of one value alone (0 behind a mask or beyond the edge, or nothing
    measured at all) says nothing and is held against none.

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
    n_constant : int
        How many were not compared.
    blank : (k,) int array
        Rows with nothing to judge, which get no score either.
    """
    rows, n_constant, blank = {}, 0, []
    for start in range(0, len(candidate_ids), READ_BATCH):
        pixels = store.read(candidate_ids[start : start + READ_BATCH])[..., -1]
        blank.extend(start + np.flatnonzero(why_unscored(pixels) != ""))
        for i, cutout in enumerate(pixels, start=start):
            measured = cutout[np.isfinite(cutout)]
            if (measured == measured[:1]).all():
                n_constant += 1
                continue
            digest = hashlib.sha256(cutout.tobytes()).digest()
            rows.setdefault(digest, []).append(i)
    groups = [np.array(some) for some in rows.values() if len(some) > 1]
    return groups, n_constant, np.array(blank, int)


def in_words(counts):
    """Say what was left out: a str, of the counts of `keep_one_of_each`."""
    words = {
        "n_repeated": "the same as another",
        "n_contradicting": "the same under two labels",
        "n_blank": "nothing to judge",
        "n_constant": "of one value, not compared",
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
        ``n_repeated``, ``n_contradicting``, ``n_blank``: rows left out;
        ``n_constant``: not compared.
    """
    groups, n_constant, blank = find_same(labels["candidate_id"], store)
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
        "n_constant": n_constant,
    }
    if not stays.all():
        logger.info(
            "Cutouts left out, as the same as another or blank: %s.", in_words(counts)
        )
    return labels[stays], counts
