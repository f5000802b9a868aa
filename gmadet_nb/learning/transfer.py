"""Start from the model of another run, and say what that gained."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning.checkpoints import Checkpoints
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.features import COLUMNS, features_of
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.fused import fit_fused
from gmadet_nb.learning.model_files import (
    KERAS,
    check_file,
    check_network,
    hash_file,
)
from gmadet_nb.learning.networks import keras
from gmadet_nb.learning.same_exposures import trained_pixels, why_left_aside
from gmadet_nb.learning.scorer import read_card

logger = logging.getLogger(__name__)

ANEW, TUNED = "trained anew", "from the initial model"


@dataclass(frozen=True, kw_only=True)
class Initial:
    """A model of another run, to start from.

    Attributes
    ----------
    folder : str
        Where it is.
    key : str
        A hash of its networks.
    weights : list of list of arrays
        Those of its K networks.
    features : (n, n_features) float32 array
        Numbers of the candidates that it was trained on; none where its run is not
        at hand.
    real : (n,) bool array
        Their labels.
    exposures : set of str
        Those that it was trained on.
    pixels : set of bytes
        Hashes of the science cutouts and differences that it was trained on; none where
        the cutouts of its run are not at hand.
    """

    folder: str
    key: str
    weights: list
    features: np.ndarray
    real: np.ndarray
    exposures: set
    pixels: set


def read_initial(folder, *, network, size):
    """Read a model to start from.

    Its trees are not taken over but fitted again, to its candidates and one's own
    together: these are read from the run folder that it stands in, where they are.

    Parameters
    ----------
    folder : str or pathlib.Path
        Model folder of another run; "" for none.
    network : str
        Name of the network to be trained.
    size : int
        Side of the cutouts [pixel].

    Returns
    -------
    Initial or None
        None for none.

    Raises
    ------
    BadInputError
        If the model is of other planes, of cutouts of another size, of another
        network, or not whole.
    """
    if not folder:
        return None
    card = read_card(folder)
    its_size = card["input"]["size"]
    if its_size != size:
        raise BadInputError(
            f"initial_model must be of cutouts of the same size: '{folder}' was made "
            f"for {its_size} x {its_size} pixels, these are {size} x {size}. Set "
            f"cutout_size to {its_size} in 04_cutouts or take another model."
        )
    check_network(folder, card, network)
    path = check_file(folder, KERAS, card)
    try:
        model = keras.saving.load_model(path, safe_mode=True, compile=False)
        cores = [
            model.get_layer(f"{network}_{k}") for k in range(model.output_shape[1])
        ]
        key = hash_file(path)
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"'{path}' cannot be loaded: {error}. Run 08_train of that run again."
        ) from error
    features, real, pixels = _its_candidates(Path(folder).resolve().parent)
    return Initial(
        folder=str(folder),
        key=key,
        weights=[core.get_weights() for core in cores],
        features=features,
        real=real,
        exposures={
            name for part in FOLDED for name in card["parts"][part]["exposures"]
        },
        pixels=pixels,
    )


def fit_best(split, store, candidates, training, *, initial, model_dir, target_fpr):
    """Train anew and, where there is a model to start from, from it; take the better.

    Both have the same folds. The better one has the lower cross-entropy of
    calibrated scores out of fold. A model that has seen exposures of this run is left
    aside: the candidates that judge it would flatter it.

    Parameters
    ----------
    split, store, candidates, training
        As for `gmadet_nb.learning.fused.fit_fused`.
    initial : Initial or None
        From `read_initial`.
    model_dir : pathlib.Path
        The run's ``model/``, for checkpoints.
    target_fpr : float
        Wanted false-positive rate.

    Returns
    -------
    model : gmadet_nb.learning.fused.Fused
        The better.
    starts : astropy.table.Table
        One row a way: ``start``, ``log_loss`` and, at the target, ``tpr``,
        ``tpr_low``, ``tpr_high``, ``n_real``; out of fold. ``used``, True for one.
        ``meta`` names the ``initial_model`` that was given and holds ``warnings``.
    """
    aside = why_left_aside(split, store, initial)
    meta = {"initial_model": initial.folder if initial else ""}
    meta["warnings"] = [aside] if aside else []
    if aside:
        initial = None
    models = {}
    for name, start in {ANEW: None, TUNED: initial}.items():
        if name == ANEW or initial:
            kept = Checkpoints(
                model_dir,
                split=split,
                store=store,
                training=training,
                start=start.key if start else "",
            )
            models[name] = fit_fused(
                split, store, candidates, training, checkpoints=kept, initial=start
            )
    losses = {name: min_loss(model) for name, model in models.items()}
    best = min(losses, key=losses.get)
    rows = []
    for name, model in models.items():
        value = model.threshold(target_fpr).value
        real = np.asarray(model.folds.rows["label"] == "real")
        tpr = rate(int((model.scores[real] >= value).sum()), int(real.sum()))
        rows.append(
            {"start": name, "log_loss": losses[name], "tpr": tpr["value"]}
            | {"tpr_low": tpr["low"], "tpr_high": tpr["high"], "n_real": tpr["n"]}
            | {"used": name == best}
        )
    return models[best], Table(rows=rows, meta=meta)


def min_loss(model):
    """Return the cross-entropy out of fold of what counts in a model."""
    return model.fusion.losses[model.fusion.use]


def describe(starts, *, target_fpr):
    """Say in words what starting from another model gained.

    Parameters
    ----------
    starts : astropy.table.Table
        From `fit_best`.
    target_fpr : float
        As given to it.

    Returns
    -------
    str
    """
    if starts.meta.get("warnings"):
        return "\n".join(starts.meta["warnings"])
    if len(starts) == 1:
        return "No initial model: the networks were trained anew."
    figures = [
        f"{row['start']}: TPR {row['tpr']:.3f} ({row['tpr_low']:.3f} to "
        f"{row['tpr_high']:.3f}) at an FPR of {target_fpr:g}, log loss "
        f"{row['log_loss']:.4f}"
        for row in starts
    ]
    anew, tuned = starts
    loss, tpr = tuned["log_loss"] - anew["log_loss"], tuned["tpr"] - anew["tpr"]
    words = (
        f"Starting from the initial model changes the TPR by {tpr:+.3f} and the log "
        f"loss by {loss:+.4f}. Taken is what has the lower log loss: "
        f"{starts['start'][starts['used']][0]}."
    )
    return "\n".join(["Out of fold,", *figures, words])


def _its_candidates(folder):
    """Return numbers, labels and hashes of what the run in a folder trained on."""
    run, nothing = RunDir(folder), (np.empty((0, 0), np.float32), np.empty(0, bool))
    if not (run.has_table("split") and run.has_table("candidates")):
        logger.warning(
            "'%s' has no split and candidates: the trees learn from this run's alone.",
            folder,
        )
        return *nothing, set()
    split, candidates = run.read_table("split"), run.read_table("candidates")
    pixels = trained_pixels(run, split)
    if not all(name in candidates.colnames for name in COLUMNS):
        logger.info("The candidates of '%s' have no numbers for the trees.", folder)
        return *nothing, pixels
    rows = split[np.asarray(split["used"], bool)]
    rows = rows[np.isin(rows["part"], FOLDED)]
    real = np.asarray(rows["label"] == "real")
    return features_of(rows["candidate_id"], candidates), real, pixels
