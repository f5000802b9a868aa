"""Score cutouts with a saved model, through ONNX Runtime."""

import json
import logging
from pathlib import Path

import numpy as np
from astropy.table import Table, join

from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.cutouts import PLANES
from gmadet_nb.progress import Ticker

logger = logging.getLogger(__name__)

CARD, KERAS, ONNX = "model.json", "model.keras", "model.onnx"
FORMAT_VERSION = 1
N_THREADS = 2
# gmadet's columns, in its order.
INFER_RESULTS = (
    "filename RA Dec originalFile Xpos Ypos mag magerr FWHM FWHMPSF "
    "cand_ID label0 label1"
)


class Scorer:
    """A model that gives each cutout its score, P(real).

    Make it with `load_model`.

    Attributes
    ----------
    size : int
        Side of the cutouts that it was made for [pixel].
    card : dict
        The model card.
    """

    def __init__(self, predict, *, size, card):
        self.predict, self.size, self.card = predict, size, card

    @classmethod
    def from_file(cls, path, *, size, card=None):
        """Load an ONNX file."""
        session = open_session(path)
        name = session.get_inputs()[0].name

        def predict(pixels):
            """Return P(real) as (n,) float32."""
            return session.run(None, {name: np.asarray(pixels, np.float32)})[0][:, 0]

        return cls(predict, size=size, card=card or {})

    @property
    def threshold(self):
        """Threshold on the score, from the card."""
        return self.card["threshold"]

    def score(self, pixels):
        """Score cutouts.

        Parameters
        ----------
        pixels : (n, size, size, 3) array
            Science, reference, difference [adu]; NaN where nothing is measured.

        Returns
        -------
        (n,) float32 array
            P(real), 0 to 1; NaN where the difference has no finite pixel: there
            is nothing to judge.

        Raises
        ------
        BadInputError
            If the cutouts are not of the size that the model was made for.
        """
        pixels = np.asarray(pixels, np.float32)
        check_size(self, pixels.shape[1:])
        if not len(pixels):
            return np.empty(0, np.float32)
        scores = np.array(self.predict(pixels), np.float32)
        scores[~np.isfinite(pixels[..., -1]).any(axis=(1, 2))] = np.nan
        return scores


def open_session(path):
    """Open an ONNX file in ONNX Runtime, on the CPU.

    Raises
    ------
    BadInputError
        If it cannot be read.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise BadInputError(
            "Scoring needs onnxruntime: python -m pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = N_THREADS
    options.log_severity_level = 3
    # Its errors have no base of their own.
    errors = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except errors as error:
        raise BadInputError(
            f"'{path}' cannot be loaded: {error}. Run 08_train again."
        ) from error


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
        It holds ``model.json``, ``model.onnx`` and ``model.keras``.
    engine : {"onnx", "keras"}
        "onnx" starts in a moment and is faster; "keras" needs TensorFlow.

    Returns
    -------
    Scorer

    Raises
    ------
    BadInputError
        If a file is missing or broken, or the model takes something else than
        science, reference and difference.
    """
    folder = Path(folder)
    card = read_card(folder)
    size = card["input"]["size"]
    path = folder / {"onnx": ONNX, "keras": KERAS}[engine]
    if not path.is_file():
        raise BadInputError(f"There is no {path.name} in '{folder}'. Run 08_train.")
    if engine == "onnx":
        return Scorer.from_file(path, size=size, card=card)
    # The import registers the layers that the file names.
    from gmadet_nb.learning.networks import keras

    model = keras.saving.load_model(path, safe_mode=True, compile=False)

    def predict(pixels):
        """Return P(real) as (n,) float32."""
        return np.asarray(model(pixels, training=False))[:, 0]

    return Scorer(predict, size=size, card=card)


def read_card(folder):
    """Read and check a model card; return it as a dict.

    Raises
    ------
    BadInputError
        If there is none, it is not whole, or the model takes other planes.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise BadInputError(
            f"There is no {CARD} in '{folder}'. Set model to the model folder of a run "
            "that went through 08_train, or run 08_train here."
        )
    try:
        card = json.loads(path.read_text())
        planes, threshold = tuple(card["input"]["planes"]), card["threshold"]
        int(card["input"]["size"]), float(threshold)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"'{path}' is no whole model card ({error!r}). Run 08_train again."
        ) from error
    if planes != PLANES:
        raise BadInputError(
            f"The model in '{folder}' takes the planes {planes}, cutouts have {PLANES}."
        )
    return card


def score_store(store, scorer, *, batch_size):
    """Score every cutout of a store, batch by batch.

    Parameters
    ----------
    store : CutoutStore
    scorer : Scorer
    batch_size : int
        Cutouts in memory at a time.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``score``, in the order of the store.
        A score is NaN where the difference has no finite pixel.
    """
    check_size(scorer, (store.size, store.size, len(PLANES)))
    scores = np.full(len(store), np.nan, np.float32)
    ticker, start = Ticker(len(store), "cutouts scored"), 0
    for ids, pixels in store.iterate(batch_size):
        scores[start : start + len(ids)] = scorer.score(pixels)
        start += len(ids)
        ticker.tick(len(ids))
    ticker.close()
    n_unscored = int(np.isnan(scores).sum())
    if n_unscored:
        logger.warning(
            "%d of %d cutouts have no finite pixel in the difference: no score.",
            n_unscored,
            len(store),
        )
    columns = [store.candidate_ids, store.exposure_ids, scores]
    names = ("candidate_id", "exposure_id", "score")
    return Table(columns, names=names, dtype=(str, str, np.float32))


def keep_above(scores, threshold):
    """Add the threshold and what it keeps; candidates without a score are not kept.

    Parameters
    ----------
    scores : astropy.table.Table
        From `score_store`; not changed.
    threshold : float
        On the score.

    Returns
    -------
    astropy.table.Table
        The same rows with ``threshold`` and ``kept``.
    """
    table = scores.copy()
    table["threshold"] = float(threshold)
    # As float64: a threshold rounded to float32 could lie on the other side.
    table["kept"] = np.asarray(table["score"], float) >= threshold
    return table


def check_scores(scores):
    """Raise if there are candidates and hardly any could be scored.

    Parameters
    ----------
    scores : astropy.table.Table
        With ``score``.
    """
    n_scored = int(np.isfinite(np.asarray(scores["score"], float)).sum())
    if len(scores) and n_scored < 0.5 * len(scores):
        raise StageError(
            f"At least half of the candidates must have pixels to judge, only "
            f"{n_scored} of {len(scores)} have. Look at the differences of 03_detect."
        )


def write_infer_results(path, scores, candidates, exposures):
    """Write gmadet's ``infer_results.dat``.

    Positions count from 1, as gmadet's do; ``label1`` is the score, ``label0``
    1 minus it (both nan without a score).

    Parameters
    ----------
    path : str or pathlib.Path
    scores : astropy.table.Table
        ``candidate_id``, ``score``.
    candidates, exposures : astropy.table.Table
        The run's tables.

    Returns
    -------
    astropy.table.Table
        What was written.
    """
    columns = ["candidate_id", "exposure_id", "x", "y", "ra", "dec", "mag", "mag_err"]
    rows = join(
        scores["candidate_id", "score"],
        candidates[[*columns, "fwhm", "psf_fwhm"]],
        keys="candidate_id",
        metadata_conflicts="silent",
    )
    rows = join(
        rows,
        exposures["exposure_id", "path"],
        keys="exposure_id",
        metadata_conflicts="silent",
    )
    if len(rows) != len(scores):
        raise BadInputError(
            f"Every scored candidate must be in the candidates table and its exposure "
            f"in the exposures table; {len(scores) - len(rows)} of {len(scores)} are "
            "not. Run 03_detect and 04_cutouts again."
        )
    rows.sort("candidate_id")
    real = np.asarray(rows["score"], float)
    values = [
        rows["candidate_id"],
        rows["ra"],
        rows["dec"],
        rows["path"],
        np.asarray(rows["x"]) + 1,
        np.asarray(rows["y"]) + 1,
        *(
            rows[name]
            for name in ("mag", "mag_err", "fwhm", "psf_fwhm", "candidate_id")
        ),
        1 - real,
        real,
    ]
    table = Table(values, names=INFER_RESULTS.split())
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.commented_header")
    return table
