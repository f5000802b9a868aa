"""Scores of a classifier that are kept, and what they were made of."""

import ast
from dataclasses import asdict
from pathlib import Path

from astropy.table import Table

from benchmarks import published
from gmadet_nb.campaign.source_code import digest
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning import (
    augmentation,
    calibration,
    crossfit,
    features,
    fused,
    fusion,
    networks,
    train,
    trees,
    weights,
)
from gmadet_nb.learning.saving import training_hash

_SPLIT = ("candidate_id", "label", "part", "fold", "border", "used")
_OF_NETWORKS = (networks, train, augmentation, weights)
_CODE = {
    "ours": (*_OF_NETWORKS, fused, fusion, crossfit, calibration, trees, features),
    "published": (*_OF_NETWORKS, published),
}


def made_of(split, kind, *, settings, target_fpr):
    """Return what scores hang on: the split, the settings and the code.

    Parameters
    ----------
    split : benchmarks.classifier_work.Split
        Who is in which part and fold, the cutouts, and the numbers of candidates.
    kind : str
        "ours", the name of a network, or that with "_as_published".
    settings : gmadet_nb.learning.train.Training
    target_fpr : float
        What the card of ours has a threshold for.

    Returns
    -------
    dict
        Hashes, by what they are of; remarks in the code do not count.
    """
    rows = [list(map(str, row)) for row in split.table[_SPLIT].iterrows()]
    group = "published" if kind.endswith("_as_published") else kind
    sources = [
        ast.dump(ast.parse(Path(module.__file__).read_text(encoding="utf-8")))
        for module in _CODE.get(group, _OF_NETWORKS)
    ]
    found = {
        "split": digest(sorted(rows)),
        "cutouts": hash_of_cutouts(split),
        "settings": digest(asdict(settings)),
        "code": digest(sources),
    }
    return found | ({"target_fpr": target_fpr} if kind == "ours" else {})


def hash_of_cutouts(split):
    """Return a hash of the pixels and the numbers of candidates."""
    numbers = features.candidate_features(split.numbers).tobytes().hex()
    return digest([training_hash(split.table, split.store), numbers])


def read(path, made_of):
    """Return scores that were kept; None, and a word, where they are of other things.

    Parameters
    ----------
    path : pathlib.Path
    made_of : dict
        What they should be made of, to be found in ``meta["made_of"]``.

    Returns
    -------
    astropy.table.Table or None
    """
    if not path.is_file():
        return None
    table = Table.read(path)
    kept = table.meta.get("made_of", {})
    other = [name for name in made_of if kept.get(name) != made_of[name]]
    if other:
        words = f"not the same {', '.join(other)}; training anew."
        print(f"{path.name}: {words}", flush=True)
        return None
    return table


def write(path, table):
    """Keep scores."""
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
