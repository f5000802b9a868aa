"""Train a network on a split and save it with all that its use needs."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadParameterError, StageError
from gmadet_nb.learning.augmentation import augment
from gmadet_nb.learning.dataset import check_trainable
from gmadet_nb.learning.networks import (
    INPUT_PLANES,
    NoiseScaling,
    build_network,
    keras,
    network_core,
)
from gmadet_nb.learning.weights import balance, row_weights
from gmadet_nb.progress import Ticker

LEARNING_RATE = 1e-3
TUNING_RATE = 3e-4  # of networks that start from trained ones
MEMORY_LIMIT = 2**30  # [byte] of scaled cutouts; above it they are read batch by batch
SCALE_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train.

    Attributes
    ----------
    network : str
        See `gmadet_nb.learning.networks.build_network`.
    epochs, batch_size, patience : int
        At most so many passes; candidates a step; passes without a better
        validation loss before it stops.
    dropout : float
        Share of units left out.
    seed : int
        Of the weights, the order and the views of the cutouts.
    all_gpus : bool
        Share each batch among all GPUs of this machine.
    max_shift : int
        Furthest that a cutout is shifted at a pass [pixel].
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Keras's policy in training; weights are float32 in each, and so is all that
        scores.
    """

    network: str
    epochs: int
    batch_size: int
    dropout: float
    patience: int
    seed: int
    max_shift: int = 0
    precision: str = "float32"
    all_gpus: bool = False

    def __post_init__(self):
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise BadParameterError(
                    f"{name} must be 1 or more, got {getattr(self, name)}."
                )


class _Batches(keras.utils.PyDataset):
    """Scaled cutouts in batches: turned, mirrored, shifted anew at each pass.

    The scaling does not depend on how a cutout is turned, so that it is done
    once and not at every pass, where all of them fit in memory.
    """

    def __init__(self, rows, store, *, batch_size, rng=None, max_shift=0):
        super().__init__()
        self._ids = list(rows["candidate_id"])
        self._real = np.asarray(rows["label"] == "real", np.float32)[:, None]
        self._weights = balance(self._real[:, 0], row_weights(rows)).astype(np.float32)
        self._store, self._batch_size, self._rng = store, batch_size, rng
        self._max_shift = max_shift
        self._order = np.arange(len(self._ids))
        self._scaling = NoiseScaling(dtype="float32")
        n_bytes = len(rows) * store.size**2 * len(INPUT_PLANES) * 4
        self._pixels = self._read(self._order) if n_bytes <= MEMORY_LIMIT else None
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self._ids) // self._batch_size)

    def __getitem__(self, index):
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        pixels = self._read(rows) if self._pixels is None else self._pixels[rows]
        if self._rng is not None:
            pixels = augment(pixels, rng=self._rng, max_shift=self._max_shift)
        return pixels, self._real[rows], self._weights[rows]

    def on_epoch_end(self):
        """Draw a new order."""
        if self._rng is not None:
            self._order = self._rng.permutation(len(self._ids))

    def _read(self, rows):
        """Read and scale some cutouts."""
        ids = [self._ids[i] for i in rows]
        parts = [
            np.asarray(self._scaling(self._store.read(ids[i : i + SCALE_BATCH])))
            for i in range(0, len(ids), SCALE_BATCH)
        ]
        return np.concatenate(parts)


class _Progress(keras.callbacks.Callback):
    """One tick an epoch."""

    def __init__(self, epochs):
        super().__init__()
        self._epochs = epochs

    def on_train_begin(self, logs=None):
        """Start to count."""
        self._ticker = Ticker(self._epochs, "epochs")

    def on_epoch_end(self, epoch, logs=None):
        """Show the losses."""
        note = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._ticker.tick(note=note)

    def on_train_end(self, logs=None):
        """Stop to count."""
        self._ticker.close()


def train_network(split, store, training, *, number=0, start=None):
    """Train a network on the training part; the validation part says when to stop.

    Adam with a learning rate that falls along a half cosine, binary
    cross-entropy, classes weighted to count the same and candidates as
    their ``weight`` says, quarter turns and mirrors. The network of the epoch with
    the lowest validation loss is kept, of those in the second half of the wanted
    epochs.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`.
    store : CutoutStore
        Their cutouts.
    training : Training
        How.
    number : int
        Of the network among several; its seed is that of ``training`` and this.
    start : list of arrays, optional
        Weights to start from, of a network of the same name; all of them are
        trained on, at a lower learning rate.

    Returns
    -------
    model : keras.Model
        Raw cutouts [adu] to P(real).
    history : astropy.table.Table
        One row an epoch: ``fold`` (the number), ``epoch`` (from 1), ``loss``,
        ``auc``, ``val_loss``, ``val_auc`` (NaN without a validation part), ``best``.
    """
    check_trainable(split)
    _check_shift(training.max_shift, store.size)
    keras.utils.set_random_seed(training.seed + number)
    rows = split[np.asarray(split["used"], bool)]
    parts = {name: rows[rows["part"] == name] for name in ("training", "validation")}
    batches = _Batches(
        parts["training"],
        store,
        batch_size=training.batch_size,
        rng=np.random.default_rng([training.seed, 0, number]),
        max_shift=training.max_shift,
    )
    # A validation part of one class says little, but more than none at all.
    judge = None
    if len(parts["validation"]):
        judge = _Batches(parts["validation"], store, batch_size=SCALE_BATCH)
    with _devices(training.all_gpus):
        model, core = _build(training, store.size, number)
        _compile(
            core,
            rate=LEARNING_RATE if start is None else TUNING_RATE,
            n_steps=training.epochs * len(batches),
        )
    if start is not None:
        core.set_weights(start)
    monitor = "loss" if judge is None else "val_loss"
    # A few hundred candidates make a noisy loss: a lucky early epoch would win over
    # the settled ones, whose learning rate has fallen.
    settled = training.epochs // 2
    stopping = keras.callbacks.EarlyStopping(
        monitor=monitor,
        mode="min",
        patience=training.patience,
        restore_best_weights=True,
        start_from_epoch=settled,
    )
    fitted = core.fit(
        batches,
        validation_data=judge,
        epochs=training.epochs,
        callbacks=[
            stopping,
            keras.callbacks.TerminateOnNaN(),
            _Progress(training.epochs),
        ],
        verbose=0,
    )
    if training.precision != "float32" or training.all_gpus:
        trained = core.get_weights()
        model, core = _build(replace(training, precision="float32"), store.size, number)
        core.set_weights(trained)
    return model, _history_table(fitted.history, monitor, settled, number=number)


def _check_shift(max_shift, size):
    """Raise if a shift could take the candidate out of its cutout."""
    if 2 * max_shift >= size // 2:
        raise BadParameterError(
            f"max_shift must be below a quarter of the cutout's {size} pixels, got "
            f"{max_shift}. Set 2 or less: candidates stand in the middle to a pixel."
        )


def _devices(all_gpus):
    """Return where networks are trained: as Keras finds it, or on all GPUs."""
    if not all_gpus:
        return nullcontext()
    import tensorflow

    return tensorflow.distribute.MirroredStrategy().scope()


def _build(training, size, number):
    """Return a network, and its part behind the scaling, in the wanted precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.precision)
    try:
        model = build_network(
            training.network, size=size, dropout=training.dropout, number=number
        )
    finally:
        keras.config.set_dtype_policy(before)
    return model, network_core(model)


def _compile(core, *, rate, n_steps):
    """Set Adam with a learning rate that falls along a half cosine, and the loss."""
    schedule = keras.optimizers.schedules.CosineDecay(rate, n_steps, alpha=0.01)
    core.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="binary_crossentropy",
        weighted_metrics=[keras.metrics.AUC(name="auc")],
    )


def _history_table(history, monitor, settled, *, number):
    """Return the history as a table with its best epoch, of the later ones, marked."""
    n = len(history["loss"])
    table = Table({"fold": np.full(n, number), "epoch": np.arange(1, n + 1)})
    for name in ("loss", "auc", "val_loss", "val_auc"):
        table[name] = np.array(history.get(name, [np.nan] * n), float)
    if not np.isfinite(table[monitor]).all():
        raise StageError(
            "The loss must stay finite in training and did not. Use more candidates "
            "or another network."
        )
    table["best"] = np.arange(n) == settled + int(np.argmin(table[monitor][settled:]))
    return table
