"""A saved model: networks on pixels and trees on numbers, fused to one score."""

from pathlib import Path

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.calibration import logit, probability
from gmadet_nb.learning.crossfit import mean_and_scatter
from gmadet_nb.learning.cutouts import PLANES
from gmadet_nb.learning.fusion import Fusion
from gmadet_nb.learning.model_files import (
    CARD,
    KERAS,
    ONNX,
    TREES,
    check_file,
    load_card,
)
from gmadet_nb.learning.onnx_session import open_session, run_session
from gmadet_nb.learning.trees import Trees
from gmadet_nb.learning.unscored import why_unscored

FORMAT_VERSION = 2
NETWORK, TREE_JUDGE = "network", "trees"
# A float32 probability near 1 is known to 6e-8: a logit of 15 is all that it tells.
MAX_NETWORK_LOGIT = 15.0


class Scorer:
    """A model that gives each candidate its score, P(real).

    Make it with `load_model`.

    Attributes
    ----------
    predict : callable
        Cutouts to the probabilities of the K networks, (n, K), not calibrated.
    trees : gmadet_nb.learning.trees.Trees or None
        Not there where candidates without their numbers were trained on.
    fusion : gmadet_nb.learning.fusion.Fusion
        Makes one score of both.
    size : int
        Side of the cutouts that it was made for [pixel].
    card : dict
        The model card.
    """

    def __init__(self, predict, *, trees, fusion, size, card):
        self.predict, self.trees, self.fusion = predict, trees, fusion
        self.size, self.card = size, card

    @property
    def threshold(self):
        """Threshold on the score, from the card."""
        return self.card["threshold"]

    @property
    def needs_features(self):
        """Say whether the candidates' numbers are needed beside the cutouts."""
        return self.trees is not None

    def score(self, pixels, features=None):
        """Return the scores alone of what `judge` returns: (n,) float32 array."""
        return self.judge(pixels, features)["score"]

    def judge(self, pixels, features=None):
        """Score candidates.

        Each of the K pairs of network and trees gives a calibrated logit; the score
        is the probability of their mean.

        Parameters
        ----------
        pixels : (n, size, size, 3) array
            Science, reference, difference [adu]; NaN where nothing is measured.
        features : (n, n_features) float32 array, optional
            From `gmadet_nb.learning.features.candidate_features`.

        Returns
        -------
        dict of (n,) float32 arrays
            ``score``, P(real), 0 to 1; ``score_scatter``, the standard deviation
            of the K; and ``network_score`` and ``trees_score``, what each says
            alone. NaN where there is nothing to judge; ``unscored``, an (n,) str
            array, says why, as `gmadet_nb.learning.unscored.why_unscored` does.

        Raises
        ------
        BadInputError
            If the cutouts are not of the size that the model was made for, or the
            numbers are missing.
        """
        pixels = np.asarray(pixels, np.float32)
        check_size(self, pixels.shape[1:])
        if self.needs_features and np.shape(features)[:1] != (len(pixels),):
            raise BadInputError(
                "This model judges by the numbers of the candidates, too: give one "
                f"row for each of the {len(pixels)} cutouts."
            )
        if not len(pixels):
            return self.judge_nothing()
        logits = [network_logits(self.predict(pixels))]
        if self.needs_features:
            logits.append(self.trees.logits(features))
        found = judge_logits(self.fusion, np.stack(logits, axis=2))
        why = why_unscored(pixels[..., -1])
        for values in found.values():
            values[why != ""] = np.nan
        return found | {"unscored": why}

    def judge_nothing(self):
        """Return what `judge` returns for no candidate."""
        found = judge_logits(self.fusion, np.empty((0, 1, len(self.fusion.judges))))
        return found | {"unscored": np.array([], dtype=str)}


def network_logits(probabilities):
    """Return the logits of a network's float32 probabilities, within 15 of 0."""
    return np.clip(logit(probabilities), -MAX_NETWORK_LOGIT, MAX_NETWORK_LOGIT)


def judge_logits(fusion, logits):
    """Make scores of the logits of K models.

    Parameters
    ----------
    fusion : gmadet_nb.learning.fusion.Fusion
    logits : (n, K, n_judges) array

    Returns
    -------
    dict
        As `Scorer.judge` returns it, of all without a look at their pixels.
    """
    n, n_models, n_judges = logits.shape
    flat = logits.reshape(-1, n_judges)
    mean, scatter = mean_and_scatter(fusion.apply(flat).reshape(n, n_models))
    found = {"score": probability(mean), "score_scatter": scatter}
    single = fusion.apply_single(flat).reshape(n, n_models, n_judges)
    for i, name in enumerate(fusion.judges):
        found[f"{name}_score"] = probability(single[:, :, i].mean(axis=1))
    return {name: values.astype(np.float32) for name, values in found.items()}


def check_size(scorer, shape):
    """Refuse cutouts that a model was not made for.

    Parameters
    ----------
    scorer : Scorer
    shape : tuple
        (ny, nx, planes) of the cutouts.
    """
    size = scorer.size
    if tuple(shape) != (size, size, len(PLANES)):
        raise BadInputError(
            f"The model was made for cutouts of {size} x {size} pixels in "
            f"{len(PLANES)} planes, these are {' x '.join(map(str, shape))}. Set "
            f"cutout_size to {size} in 04_cutouts or take another model."
        )


def load_model(folder, *, engine="onnx"):
    """Load a model folder.

    Parameters
    ----------
    folder : str or pathlib.Path
        It holds ``model.json``, ``model.onnx``, ``model.keras`` and, where the
        candidates' numbers count, ``trees.onnx``.
    engine : {"onnx", "keras"}
        Of the networks. "onnx" starts in a moment and is faster; "keras" needs
        TensorFlow.

    Returns
    -------
    Scorer

    Raises
    ------
    BadInputError
        If a file is missing, broken or of another model than the card, or the model
        takes something else than science, reference and difference.
    """
    return open_scorer(folder, read_card(folder), engine=engine)


def open_scorer(folder, card, *, engine="onnx"):
    """Open the files of a model folder whose card is at hand, finished or not.

    As `load_model`.
    """
    path = check_file(folder, {"onnx": ONNX, "keras": KERAS}[engine], card)
    fusion = Fusion.from_dict(card["fusion"])
    trees = None
    if TREE_JUDGE in fusion.judges:
        trees = Trees(check_file(folder, TREES, card))
    predict = onnx_network(path) if engine == "onnx" else _keras_network(path)
    size = card["input"]["size"]
    return Scorer(predict, trees=trees, fusion=fusion, size=size, card=card)


def onnx_network(path):
    """Return a function from cutouts to the probabilities of K networks, (n, K)."""
    session = open_session(path)
    return lambda pixels: run_session(session, np.asarray(pixels, np.float32))


def _keras_network(path):
    # The import registers the layers that the file names.
    from gmadet_nb.learning.networks import keras

    model = keras.saving.load_model(path, safe_mode=True, compile=False)
    return lambda pixels: np.asarray(model(pixels, training=False))


def read_card(folder):
    """Read and check a model card; return it as a dict.

    Raises
    ------
    BadInputError
        If there is none, it is not whole, or the model takes other planes.
    """
    card = load_card(
        folder,
        advice="Set model to the model folder of a run that went through 08_train, or "
        "run 08_train here.",
    )
    try:
        planes, threshold = tuple(card["input"]["planes"]), card["threshold"]
        int(card["input"]["size"]), float(threshold), card["fusion"]["judges"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"'{Path(folder) / CARD}' is no whole model card of this version "
            f"({error!r}). Run 08_train again."
        ) from error
    if planes != PLANES:
        raise BadInputError(
            f"The model in '{folder}' takes the planes {planes}, cutouts have {PLANES}."
        )
    return card
