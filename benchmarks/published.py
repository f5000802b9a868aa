"""The networks of gmadet, O'TRAIN and braai as they were published.

In gmadet_nb they get our scaling and all three planes; here they get what their authors
gave them, so that a user sees what each repair is worth.
"""

import numpy as np

from gmadet_nb.learning.augmentation import augment
from gmadet_nb.learning.networks import NETWORKS, keras
from gmadet_nb.learning.weights import balance

# Planes, scaling, epochs, batch, turned and mirrored, the best pass or the last.
RECIPES = {
    "gmadet": ((2,), "raw", 10, 1024, False, False),
    "otrain": ((2,), "asinh", 20, 128, False, True),
    "vgg6": ((0, 1, 2), "l2", 30, 64, True, True),
}
# Keras's own, which they had: ours forgets faster.
_MOMENTUM = 0.99
_DROPOUT = 0.3
_VALIDATION = 0.15


def scale(pixels, how):
    """Scale cutouts, (n, size, size, planes), as the authors did; NaN become 0."""
    pixels = np.nan_to_num(pixels, posinf=0.0, neginf=0.0)
    if how == "asinh":
        return np.arcsinh(pixels)
    if how == "l2":
        norm = np.sqrt((pixels.astype(float) ** 2).sum(axis=(1, 2), keepdims=True))
        return (pixels / np.maximum(norm, 1e-12)).astype(np.float32)
    return pixels


def train_published(name, rows, store, *, seed):
    """Train a network its authors' way and return what scores rows.

    A random share of the rows, by cutout and not by exposure, judges each pass, and
    says, where the authors looked, which one to take.

    Parameters
    ----------
    name : str
        One of `RECIPES`.
    rows : astropy.table.Table
        ``candidate_id``, ``label``: all that may train.
    store : CutoutStore
    seed : int

    Returns
    -------
    score : callable
        From rows to P(real), (n,).
    judges : list of str
        ``candidate_id`` of those that judged.
    """
    planes, how, epochs, batch, turned, take_best = RECIPES[name]
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)

    def read(some):
        return scale(store.read(some["candidate_id"])[..., planes], how)

    shape = (store.size, store.size, len(planes))
    inputs = keras.Input(shape)
    model = keras.Model(inputs, NETWORKS[name][0](inputs, _DROPOUT))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    model.compile(optimizer="adam", loss="binary_crossentropy")
    order = rng.permutation(len(rows))
    n_judge = round(_VALIDATION * len(rows))
    judge, learn = rows[order[:n_judge]], rows[order[n_judge:]]
    pixels, labels = read(learn), np.asarray(learn["label"] == "real", np.float32)
    weights = balance(labels, np.ones(len(learn)))
    judged = read(judge), np.asarray(judge["label"] == "real", np.float32)
    best, best_weights = np.inf, model.get_weights()
    for _ in range(epochs):
        seen = augment(pixels, rng=rng) if turned else pixels
        history = model.fit(
            seen,
            labels,
            sample_weight=weights,
            batch_size=batch,
            validation_data=judged,
            verbose=0,
        )
        loss = history.history["val_loss"][-1]
        if loss < best:
            best, best_weights = loss, model.get_weights()
    if take_best:
        model.set_weights(best_weights)
    judges = list(map(str, judge["candidate_id"]))
    return lambda some: model.predict(read(some), verbose=0)[:, 0], judges
