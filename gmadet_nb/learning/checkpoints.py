"""Networks of folds kept on disk, so that a training that was cut off goes on."""

import hashlib
import json
import logging
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning import augmentation, networks, train, weights
from gmadet_nb.learning.saving import CHECKPOINTS, installed_versions, training_hash

# What numpy and zipfile raise at bytes that are not as they were written.
_BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,  # NotImplementedError too: flags of encryption, methods unknown
    zipfile.BadZipFile,
    zlib.error,
)

logger = logging.getLogger(__name__)

_KEY, _HISTORY, _WEIGHT = "key", "history", "weight_"


class Checkpoints:
    """The networks of the folds that are trained, each in a file of its own.

    A file counts only where all that made it is the same: the cutouts and labels,
    the folds, the settings, the code of the networks and the versions below it.

    Parameters
    ----------
    model_dir : str or pathlib.Path
        The run's ``model/``; they are kept in a folder of it until
        `gmadet_nb.learning.saving.finish_card` removes it.
    split, store, training
        As for `gmadet_nb.learning.fused.fit_fused`.
    start : str
        What names the weights that the networks start from; "" for drawn ones.
    """

    def __init__(self, model_dir, *, split, store, training, start=""):
        self.folder = Path(model_dir) / CHECKPOINTS
        self._training, self._size = training, store.size
        self._name = "anew" if not start else "tuned"
        self._made_of = {
            "training_hash": training_hash(split, store),
            "folds": _hash(_fold_lines(split)),
            "training": asdict(training),
            "start": start,
            "code": _hash(
                Path(module.__file__).read_bytes()
                for module in (networks, train, augmentation, weights)
            ),
            "versions": installed_versions(),
        }

    def save(self, k, model, history):
        """Keep the network of fold ``k`` and its history."""
        weights = {
            f"{_WEIGHT}{i:03d}": value for i, value in enumerate(model.get_weights())
        }
        columns = {name: history[name].tolist() for name in history.colnames}
        texts = {_KEY: self._key(k), _HISTORY: json.dumps(columns)}
        with atomic_path(self._path(k)) as temporary:
            np.savez(temporary, **weights, **texts)

    def load(self, k):
        """Return the network of fold ``k`` and its history, or None.

        Returns
        -------
        (keras.Model, astropy.table.Table) or None
            None where there is none, it is of another training, or broken.
        """
        path = self._path(k)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                if str(found[_KEY]) != self._key(k):
                    return None
                names = sorted(name for name in found.files if name.startswith(_WEIGHT))
                weights = [found[name] for name in names]
                history = Table(json.loads(str(found[_HISTORY])))
            model = networks.build_network(
                self._training.network,
                size=self._size,
                dropout=self._training.dropout,
                number=k,
            )
            model.set_weights(weights)
        except _BROKEN as error:
            logger.warning(
                "'%s' is broken (%s): its fold is trained again.", path, error
            )
            return None
        return model, history

    def _path(self, k):
        return self.folder / f"{self._name}_{k}.npz"

    def _key(self, k):
        return json.dumps(self._made_of | {"fold": k}, sort_keys=True)


def _fold_lines(split):
    """Yield what tells who trains for which fold, whatever the order of the rows."""
    rows = split["candidate_id", "fold", "border"].copy()
    rows.sort("candidate_id")
    for row in rows.iterrows():
        yield ("\t".join(map(str, row)) + "\n").encode()


def _hash(parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
