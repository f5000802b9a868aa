"""Save a trained model with its card: all that its use needs, and its proof."""

import contextlib
import hashlib
import io
import shutil
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from gmadet_nb.errors import StageError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning import card_rows
from gmadet_nb.learning.features import FEATURES
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.likeness import describe_exposures
from gmadet_nb.learning.model_files import (
    CARD,
    CHECKPOINTS,
    FILES,
    KERAS,
    ONNX,
    TREES,
    hash_files,
)
from gmadet_nb.learning.networks import INPUT_PLANES, NoiseScaling
from gmadet_nb.learning.scorer import (
    FORMAT_VERSION,
    NETWORK,
    TREE_JUDGE,
    onnx_network,
)
from gmadet_nb.learning.train import LEARNING_RATE, TUNING_RATE
from gmadet_nb.learning.trees import SETTINGS, save_trees
from gmadet_nb.learning.weights import row_weights

ONNX_TOLERANCE = 1e-5
# Of the two TensorFlows one is installed.
DISTRIBUTIONS = (
    "gmadet_nb",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "onnxruntime",
    "scikit-learn",
    "numpy",
)
HASH_BATCH = 512


def training_hash(split, store):
    """Return a hash of all that was trained on: names, labels, weights and pixels."""
    digest = hashlib.sha256()
    rows = split[np.asarray(split["used"], bool)]
    rows = rows[np.isin(rows["part"], FOLDED)]
    rows.sort("candidate_id")
    for start in range(0, len(rows), HASH_BATCH):
        some = rows[start : start + HASH_BATCH]
        for row in some["candidate_id", "label", "part"].iterrows():
            digest.update("\t".join(map(str, row)).encode() + b"\n")
        digest.update(row_weights(some).tobytes())
        digest.update(store.read(some["candidate_id"]).tobytes())
    return digest.hexdigest()


def save_model(folder, fused, *, store, split, training):
    """Save a model as Keras and as ONNX, its history and its card, and test them.

    The card is written last: a folder without one holds no model. Its threshold
    is None until `finish_card` writes it.

    Parameters
    ----------
    folder : pathlib.Path
        The run's ``model/``.
    fused : gmadet_nb.learning.fused.Fused
        What was trained.
    store, split, training
        What it was trained with.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    StageError
        If an ONNX model differs from the model it is of by more than 1e-5.
    """
    for name in (CARD, TREES):  # trees of an earlier model are none of this one
        (folder / name).unlink(missing_ok=True)
    with atomic_path(folder / KERAS) as temporary:
        fused.network.save(temporary)
    with atomic_path(folder / ONNX) as temporary:
        export_network(fused.network, temporary)
    with atomic_path(folder / "history.csv") as temporary:
        fused.history.write(temporary, format="ascii.csv")
    differences = {NETWORK: _network_difference(folder, fused.network, store)}
    if fused.trees:
        differences[TREE_JUDGE] = save_trees(
            folder / TREES, fused.trees, fused.features
        )
    best = fused.history[np.asarray(fused.history["best"], bool)]
    judges = fused.fusion.judges
    rate = TUNING_RATE if fused.initial else LEARNING_RATE
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "network": training.network,
        "n_parameters": int(fused.network.count_params()),
        "input": {
            "name": "cutouts",
            "planes": list(INPUT_PLANES),
            "size": store.size,
            "unit": "adu",
            "shape": ["n", store.size, store.size, len(INPUT_PLANES)],
            "features": FEATURES if TREE_JUDGE in judges else {},
        },
        "normalization": "inside the model: " + " ".join(NoiseScaling.__doc__.split()),
        "output": "P(real), 0 to 1",
        "training": asdict(training) | {"learning_rate": rate},
        "seeds": {"split": split.meta.get("seed"), "training": training.seed},
        "initial_model": fused.initial,
        "trees": SETTINGS if TREE_JUDGE in judges else None,
        "folds": card_rows.describe_folds(fused.folds),
        "fusion": fused.fusion.as_dict(),
        "epochs_run": [int(n) for n in np.bincount(fused.history["fold"])],
        "best_epoch": [int(epoch) for epoch in best["epoch"]],
        "training_hash": training_hash(split, store),
        "labels_by_origin": card_rows.labels_by_origin(split),
        "weights_by_origin": card_rows.weights_by_origin(split),
        "parts": card_rows.describe_parts(split),
        "onnx_difference": differences,
        "versions": installed_versions(),
        "target_fpr": None,
        "threshold": None,
        "threshold_how": None,
        "metrics": None,
    }


def finish_card(run, card, threshold, metrics, *, compared=None, starts=None):
    """Write the card with its threshold and figures; the model is then complete.

    It also says which telescopes, filters, pixel scales and FWHMs it was trained on,
    and holds a hash of each file of the model. The networks that were kept to go on
    after a break are removed.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir
    card : dict
        From `save_model`.
    threshold : gmadet_nb.learning.evaluate.Threshold
    metrics : dict
        From `gmadet_nb.learning.part_metrics.metrics`.
    compared : astropy.table.Table, optional
        From `gmadet_nb.learning.baselines.compare`.
    starts : astropy.table.Table, optional
        From `gmadet_nb.learning.transfer.fit_best`. What it warns of and the model
        that was tried, whether it was taken or not, go into the card, too.

    Returns
    -------
    dict
        The card as it was written.
    """
    trained_on, begun = None, {} if starts is None else starts.meta
    if run.has_table("exposures"):
        folded = {key for name in FOLDED for key in card["parts"][name]["exposures"]}
        trained_on = describe_exposures(run.read_table("exposures"), names=folded)
    card = card | {
        "trained_on": trained_on,
        "target_fpr": threshold.target_fpr,
        "threshold": threshold.value,
        "threshold_how": threshold.how,
        "threshold_n_bogus": threshold.n_bogus,
        "threshold_n_above": threshold.n_above,
        "metrics": metrics,
        "baselines": _rows(compared),
        "starts": _rows(starts),
        FILES: hash_files(run.model_dir),
        "initial_tried": begun.get("initial_model", ""),
        "warnings": begun.get("warnings", []),
    }
    run.write_json(run.model_dir / CARD, card)
    shutil.rmtree(run.model_dir / CHECKPOINTS, ignore_errors=True)
    return card


def export_network(model, path):
    """Write a model as ONNX, without the exporter's remarks.

    Parameters
    ----------
    model : keras.Model
        From `gmadet_nb.learning.networks.join_networks`.
    path : pathlib.Path
        The file.
    """
    silent = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
    ):
        warnings.simplefilter("ignore")  # tf2onnx on what numpy will rename
        size = model.input_shape[1]
        model(np.zeros((1, size, size, len(INPUT_PLANES)), np.float32))
        model.export(path, format="onnx", verbose=False)


def _network_difference(folder, network, store):
    """Return the largest difference of a probability of the saved networks."""
    pixels = _trial_cutouts(store)
    by_onnx = onnx_network(folder / ONNX)(pixels)
    by_keras = np.asarray(network(pixels, training=False))
    difference = float(np.abs(by_onnx - by_keras).max())
    if not difference <= ONNX_TOLERANCE:
        raise StageError(
            f"The ONNX model must give the scores of the Keras model to "
            f"{ONNX_TOLERANCE}, they differ by {difference}."
        )
    return difference


def _rows(table):
    """Return the rows of a table as dicts; none of none."""
    return [] if table is None else [dict(row) for row in table]


def _trial_cutouts(store):
    """Return cutouts of the store, and bad ones, on which two models must agree."""
    pixels = store.read(store.candidate_ids[:: max(len(store) // 64, 1)][:64])
    bad = np.zeros((3, *pixels.shape[1:]), np.float32)
    bad[1], bad[2, : store.size // 2] = np.nan, np.nan
    return np.concatenate([pixels, bad])


def installed_versions():
    """Return the versions of what makes a model: dict of str, by distribution."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
