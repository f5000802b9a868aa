"""Save a trained model with its card: all that its use needs, and its proof."""

import contextlib
import hashlib
import io
import warnings
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning import evaluate
from gmadet_nb.learning.dataset import count_parts
from gmadet_nb.learning.infer import CARD, FORMAT_VERSION, KERAS, ONNX, Scorer
from gmadet_nb.learning.networks import INPUT_PLANES, NoiseScaling
from gmadet_nb.learning.train import LEARNING_RATE

ONNX_TOLERANCE = 1e-5
# Of the two TensorFlows one is installed.
DISTRIBUTIONS = (
    "gmadet_nb",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "onnxruntime",
    "numpy",
)
HASH_BATCH = 512


def training_hash(split, store):
    """Return a hash of all that was trained on: names, labels, parts and pixels."""
    digest = hashlib.sha256()
    rows = split[np.asarray(split["used"], bool)]
    rows = rows[np.isin(rows["part"], ("training", "validation"))]
    rows.sort("candidate_id")
    for start in range(0, len(rows), HASH_BATCH):
        some = rows[start : start + HASH_BATCH]
        for row in some["candidate_id", "label", "part"].iterrows():
            digest.update("\t".join(map(str, row)).encode() + b"\n")
        digest.update(store.read(some["candidate_id"]).tobytes())
    return digest.hexdigest()


def save_model(folder, model, history, *, store, split, training):
    """Save a model as Keras and as ONNX, its history and its card, and test them.

    The card is written last: a folder without one holds no model. Its threshold
    is None until `finish_card` writes it.

    Parameters
    ----------
    folder : pathlib.Path
        The run's ``model/``.
    model, history
        From `gmadet_nb.learning.train.train_network`.
    store, split, training
        What it was trained with.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    StageError
        If the ONNX model differs from the Keras model by more than 1e-5.
    """
    (folder / CARD).unlink(missing_ok=True)
    with atomic_path(folder / KERAS) as temporary:
        model.save(temporary)
    with atomic_path(folder / ONNX) as temporary:
        _export(model, temporary)
    with atomic_path(folder / "history.csv") as temporary:
        history.write(temporary, format="ascii.csv")
    pixels = _trial_cutouts(store)
    by_onnx = Scorer.from_file(folder / ONNX, size=store.size).predict(pixels)
    by_keras = np.asarray(model(pixels, training=False))[:, 0]
    difference = float(np.abs(by_onnx - by_keras).max())
    if not difference <= ONNX_TOLERANCE:
        raise StageError(
            f"The ONNX model must give the scores of the Keras model to "
            f"{ONNX_TOLERANCE}, they differ by {difference}."
        )
    best = history[np.flatnonzero(history["best"])[0]]
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "network": training.network,
        "n_parameters": int(model.count_params()),
        "input": {
            "name": "cutouts",
            "planes": list(INPUT_PLANES),
            "size": store.size,
            "unit": "adu",
            "shape": ["n", store.size, store.size, len(INPUT_PLANES)],
        },
        "normalization": "inside the model: " + " ".join(NoiseScaling.__doc__.split()),
        "output": "P(real), 0 to 1",
        "training": asdict(training) | {"learning_rate": LEARNING_RATE},
        "epochs_run": len(history),
        "best_epoch": int(best["epoch"]),
        "training_hash": training_hash(split, store),
        "labels_by_origin": _labels_by_origin(split),
        "parts": _parts(split),
        "onnx_difference": difference,
        "versions": {name: version(name) for name in DISTRIBUTIONS if _installed(name)},
        "target_fpr": None,
        "threshold": None,
        "threshold_how": None,
        "metrics": None,
    }


def threshold_for(split, scores, *, target_fpr):
    """Choose the threshold from the calibration part's bogus candidates.

    Those whose place training has seen are left out, unless fewer than
    1 / target_fpr remain. Without any in the calibration part the validation
    part stands in, which has steered the training: ``how`` says so.

    Parameters
    ----------
    split, scores : astropy.table.Table
        The split, and ``candidate_id`` with ``score``.
    target_fpr : float
        Wanted false-positive rate.

    Returns
    -------
    evaluate.Threshold
    """
    rows = evaluate.with_scores(split[np.asarray(split["used"], bool)], scores)
    rows = rows[(rows["label"] == "bogus") & np.isfinite(rows["score"])]
    calibration = rows[rows["part"] == "calibration"]
    new_places = calibration[~np.asarray(calibration["place_in_training"], bool)]
    if len(new_places) >= 1 / target_fpr:
        chosen, what = new_places, "calibration part, at places new to the training"
    elif len(calibration):
        chosen, what = calibration, "calibration part, at all places"
    else:
        chosen, what = rows[rows["part"] == "validation"], "validation part (no other)"
    if not len(chosen):
        raise BadInputError(
            "A threshold must be chosen from bogus candidates outside the training "
            "part, got none. Raise calibration_fraction in 07_dataset or label more."
        )
    threshold = evaluate.choose_threshold(np.asarray(chosen["score"]), target_fpr)
    return replace(threshold, how=f"{what}: {threshold.how}")


def finish_card(run, card, threshold, metrics):
    """Write the card with its threshold and figures; the model is then complete.

    Returns
    -------
    dict
        The card as it was written.
    """
    card = card | {
        "target_fpr": threshold.target_fpr,
        "threshold": threshold.value,
        "threshold_how": threshold.how,
        "threshold_n_bogus": threshold.n_bogus,
        "metrics": metrics,
    }
    run.write_json(run.model_dir / CARD, card)
    return card


def _export(model, path):
    """Write a model as ONNX, without the exporter's remarks."""
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


def _trial_cutouts(store):
    """Return cutouts of the store, and bad ones, on which two models must agree."""
    pixels = store.read(store.candidate_ids[:: max(len(store) // 64, 1)][:64])
    bad = np.zeros((3, *pixels.shape[1:]), np.float32)
    bad[1], bad[2, : store.size // 2] = np.nan, np.nan
    return np.concatenate([pixels, bad])


def _labels_by_origin(split):
    """Count used candidates by where their label is from."""
    rows = split[np.asarray(split["used"], bool)]
    counts = {}
    for row in rows["label", "label_origin"].iterrows():
        label, origin = map(str, row)
        counts.setdefault(origin, {"real": 0, "bogus": 0})[label] += 1
    return counts


def _parts(split):
    """Return the counts and the exposures of each part."""
    used = split[np.asarray(split["used"], bool)]
    parts = {}
    for row in count_parts(split):
        here = used[used["part"] == row["part"]]
        parts[str(row["part"])] = {
            "n_real": int(row["n_real"]),
            "n_bogus": int(row["n_bogus"]),
            "exposures": sorted({str(key) for key in here["exposure_id"]}),
        }
    return parts


def _installed(name):
    """Say whether a distribution is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
