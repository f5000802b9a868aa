"""Explanation maps of single candidates: which pixels the networks hang on."""

import numpy as np

from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.check_shortcuts import networks_count
from gmadet_nb.learning.explain import occlusion_map
from gmadet_nb.learning.scorer import network_logits


def explain(scorer, store, groups, *, scores, split, n):
    """Make a map for the first few candidates of each group.

    Of the networks alone and before their calibration: the trees see no pixels, so
    that their share would be the same in every map, and isotonic steps would hide what
    changes little. A candidate that trained is explained by the network that has not
    seen it. Where the trees alone count there is nothing to explain.

    Parameters
    ----------
    scorer : gmadet_nb.learning.scorer.Scorer
    store : gmadet_nb.learning.cutouts.CutoutStore
    groups : dict
        Name -> candidate ids.
    scores : astropy.table.Table
        ``candidate_id`` and ``score``, ``network_score``, ``trees_score``, for the
        captions; what is not there is left out.
    split : astropy.table.Table
        ``candidate_id``, ``fold``; empty where nothing trained.
    n : int
        Of each group, at most.

    Returns
    -------
    list of (name, pixels, maps, captions)
        As `gmadet_nb.views.plots_trust.explanations` takes them; a group without a
        candidate is left out.
    """
    if not networks_count(scorer):
        return []
    row_of = {str(row["candidate_id"]): row for row in scores}
    fold_of = {}
    if "fold" in split.colnames:
        fold_of = {str(row["candidate_id"]): int(row["fold"]) for row in split}
    found = []
    for name, some in groups.items():
        ids = [str(key) for key in some][:n]
        if not ids:
            continue
        pixels = store.read(ids)
        maps = [
            occlusion_map(_network(scorer, fold_of.get(key, -1)), one)
            for key, one in zip(ids, pixels, strict=True)
        ]
        captions = [_caption(row_of[key]) for key in ids]
        found.append((name, pixels, np.stack(maps), captions))
    return found


def why_none(scorer):
    """Say why there is no map, for the figure that then is empty."""
    if networks_count(scorer):
        return "no candidate to explain"
    return "the trees alone count here, and they see no pixels"


def _network(scorer, fold):
    """Return a function from cutouts to P(real) of one network, or of all at -1."""

    def predict(pixels):
        logits = network_logits(scorer.predict(pixels))
        return probability(logits[:, fold] if fold >= 0 else logits.mean(axis=1))

    return predict


def _caption(row):
    """Say what each judge gave a candidate."""
    names = {"score": "score", "network_score": "network", "trees_score": "trees"}
    return "\n".join(
        f"{text} {row[name]:.2f}"
        for name, text in names.items()
        if name in row.colnames
    )
