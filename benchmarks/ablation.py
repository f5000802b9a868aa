"""What each choice in our network is worth: one change at a time.

    python -m benchmarks.ablation [SET ...] [--seeds N] [--variants NAME ...]

A network is trained on the training part and judged on the calibration part, at places
that training has not seen: the test part chooses nothing. What is printed is the median
over the seeds.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np

SEEDS = (1, 2)
SETS = ("demo", "tres1")
FIGURES = {
    "log_loss": "cross-entropy, after a temperature",
    "auc": "area under the ROC curve",
    "tpr_bright": "TPR at S/N above 10 [%]",
    "tpr_faint": "TPR at S/N 5 to 10 [%]",
    "seconds": "training [s]",
    "rate": "scoring [cutouts/s]",
}


class OneChange:
    """A cutout store that gives changed pixels.

    Parameters
    ----------
    store : gmadet_nb.learning.cutouts.CutoutStore
    change : callable
        From ids and their pixels to pixels.
    """

    def __init__(self, store, change):
        self._store, self._change, self.size = store, change, store.size

    def read(self, ids):
        """Read and change cutouts."""
        return self._change(ids, self._store.read(ids))


def difference_only(split):
    """Hide science and reference."""

    def change(ids, pixels):
        pixels = pixels.copy()
        pixels[..., :2] = np.nan
        return pixels

    return OneChange(split.store, change)


def fit_residuals(split):
    """Put what a fit of the PSF leaves of the difference in the place of science."""
    from gmadet_nb.campaign.steps.products import read_difference

    models, table, size = {}, split.candidates, split.store.size
    for exposure_id in np.unique(table["exposure_id"]):
        rows = table[table["exposure_id"] == exposure_id]
        psf = read_difference(split.run.difference_path(exposure_id)).psf
        x, y = (np.asarray(rows[name], float) for name in ("x", "y"))
        middle = np.floor(x + 0.5), np.floor(y + 0.5)
        stamps = psf.evaluate_many(x, y, origin=middle)
        k, half = stamps.shape[1] // 2, size // 2
        n = min(k, half)
        model = np.zeros((len(rows), 2 * half + 1, 2 * half + 1), np.float32)
        inside = slice(half - n, half + n + 1)
        model[:, inside, inside] = stamps[:, k - n : k + n + 1, k - n : k + n + 1]
        model *= np.nan_to_num(np.asarray(rows["flux"], float))[:, None, None]
        models |= zip(rows["candidate_id"], model[:, :size, :size], strict=True)

    def change(ids, pixels):
        pixels = pixels.copy()
        pixels[..., 0] = pixels[..., 2] - np.stack([models[key] for key in ids])
        return pixels

    return OneChange(split.store, change)


def equivariant(x, dropout):
    """Build our network once, and take the mean of its logits over eight views."""
    from gmadet_nb.learning.networks import NETWORKS, keras, ops

    inputs = keras.Input(x.shape[1:])
    core = keras.Model(inputs, NETWORKS["small"][0](inputs, dropout))

    @keras.saving.register_keras_serializable(package="ablation")
    class EightViews(keras.layers.Layer):
        def __init__(self, core, **kwargs):
            super().__init__(**kwargs)
            self.core = core

        def call(self, inputs, training=None):
            turns = [ops.rot90(inputs, k, axes=(1, 2)) for k in range(4)]
            views = turns + [ops.flip(turn, axis=2) for turn in turns]
            scores = self.core(ops.concatenate(views), training=training)
            scores = ops.clip(scores, 1e-7, 1 - 1e-7)
            logits = ops.log(scores) - ops.log1p(-scores)
            return ops.sigmoid(ops.mean(ops.reshape(logits, (8, -1, 1)), axis=0))

    return EightViews(core)(x)


def channels(*blocks, strides=1):
    """Return a builder of our network with other numbers of channels."""
    from gmadet_nb.learning import networks

    def build(x, dropout):
        return networks.small_network(x, dropout, blocks=blocks, strides=strides)

    return build


def _unturned(pixels, *, rng, max_shift):
    return pixels


def taught_by_trees(split, *, share=0.5):
    """Return batches whose targets are half the label, half what trees think of it.

    Five sets of trees each judge the exposures of the training part that they have
    not seen.
    """
    from gmadet_nb.learning import train
    from gmadet_nb.learning.calibration import probability
    from gmadet_nb.learning.features import features_of
    from gmadet_nb.learning.trees import fit_trees, tree_logits

    rows = split.rows[split.rows["part"] == "training"]
    features = features_of(rows["candidate_id"], split.candidates)
    real = np.asarray(rows["label"] == "real")
    _, exposure = np.unique(rows["exposure_id"], return_inverse=True)
    thinks = np.empty(len(rows))
    for k in range(5):
        out = exposure % 5 == k
        trees = fit_trees(features[~out], real[~out], seed=k)
        thinks[out] = probability(tree_logits(trees, features[out]))
    teacher = dict(zip(rows["candidate_id"], thinks, strict=True))

    class Taught(train._Batches):
        def __init__(self, rows, *args, **kwargs):
            super().__init__(rows, *args, **kwargs)
            if self._rng is not None:
                said = np.array([teacher[key] for key in rows["candidate_id"]])
                self._real = (1 - share) * self._real + share * said[:, None]

    return Taught


# Name: what becomes of the network, the store, the training, the views, the batches.
VARIANTS = {
    "as it is": {},
    "twice the channels": {"network": lambda: channels((16,), (32, 32), (64, 64, 96))},
    "first step of 2": {
        "network": lambda: channels((16,), (16, 16), (32, 32, 48), strides=2)
    },
    "difference only": {"store": difference_only},
    "residuals of the PSF fit": {"store": fit_residuals},
    "not turned": {"views": _unturned},
    "shifted by up to 2 pixels": {"training": {"max_shift": 2}},
    "60 epochs": {"training": {"epochs": 60}},
    "taught by trees, too": {"batches": taught_by_trees},
    "mean of eight views": {"network": lambda: equivariant},
}


def measure(split, name):
    """Train a variant and return its figures on the calibration part."""
    from benchmarks.classifier_figures import figures_on
    from benchmarks.classifier_work import how
    from gmadet_nb.learning import networks, train

    change = VARIANTS[name]
    training = replace(how(split.seed), **change.get("training", {}))
    builders = dict(networks.NETWORKS)
    if "network" in change:
        builders["small"] = change["network"](), builders["small"][1]
    store = change["store"](split) if "store" in change else split.store
    views = change.get("views")
    batches = change["batches"](split) if "batches" in change else None
    with (
        patch.object(networks, "NETWORKS", builders),
        patch.object(train, "augment", views) if views else nullcontext(),
        patch.object(train, "_Batches", batches) if batches else nullcontext(),
    ):
        start = time.perf_counter()
        model, _ = train.train_network(split.table, store, training)
        seconds = time.perf_counter() - start
    rows = split.rows
    some = np.asarray(rows["part"] == "calibration")
    some &= ~np.asarray(rows["place_in_training"], bool)
    pixels = store.read(rows["candidate_id"][some])
    model.predict(pixels[:512], batch_size=512, verbose=0)
    start = time.perf_counter()
    scores = model.predict(pixels, batch_size=512, verbose=0)[:, 0]
    found = figures_on(split, some, scores.astype(float))
    rate = len(pixels) / (time.perf_counter() - start)
    return found | {"seconds": seconds, "rate": rate}


def main(arguments):
    """Measure the variants that are asked for."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "2")
    from benchmarks import classifier_sets, classifier_work, tables

    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    chosen = parser.parse_args(arguments)
    rows = []
    for name in chosen.sets:
        run = classifier_sets.make_set(name)
        if run is None:
            print(f"{name}: no real frames at hand; set REALDATA to their folder.")
            continue
        splits = [
            classifier_work.divide(name, run, seed=seed)
            for seed in SEEDS[: chosen.seeds]
        ]
        for variant in chosen.variants:
            found = [measure(split, variant) for split in splits]
            for key, text in FIGURES.items():
                value = statistics.median(one[key] for one in found)
                rows.append(tables.row(f"{name}: {variant}: {text}", value))
            brief = ", ".join(f"{key} {found[0][key]:.4g}" for key in FIGURES)
            print(f"{name}: {variant}: {brief}", flush=True)
    tables.report("ablation", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
