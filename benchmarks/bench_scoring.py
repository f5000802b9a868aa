"""Cutouts a second from the store to the table of scores, beside Keras's own predict.

    python -m benchmarks.bench_scoring [NETWORK]

Five networks and five sets of trees on made-up candidates of 32 x 32 pixels. The
weights are drawn, which costs as much as learned ones. What is timed starts with the
opening of the store and ends with the table. Both take turns, and medians are printed:
by the clock, and by what the work would take on as many cores if they did nothing else.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from benchmarks.tables import report, row
from gmadet_nb.cores import available_cores
from gmadet_nb.learning import infer
from gmadet_nb.learning.cutouts import CutoutStore, create_store
from gmadet_nb.learning.features import COLUMNS, candidate_features
from gmadet_nb.learning.fusion import choose_fusion
from gmadet_nb.learning.networks import build_network, join_networks
from gmadet_nb.learning.saving import export_network
from gmadet_nb.learning.scorer import NETWORK, TREE_JUDGE, Scorer, onnx_network
from gmadet_nb.learning.trees import Trees, fit_trees, save_trees

SIZE, N_MODELS, BATCH = 32, 5, 512
N, N_TRAINED, N_REPEATS = 8192, 4000, 7


def make_candidates(rng, n=N):
    """Draw numbers of n candidates."""
    numbers = {name: rng.gamma(2.0, 2.0, n) for name in COLUMNS[:-1]}
    table = Table(numbers | {"flags": np.zeros(n, np.int32)})
    table["candidate_id"] = [f"c{i:06d}" for i in range(n)]
    return table


def write_store(path, ids, rng):
    """Write cutouts of noise."""
    with create_store(path, size=SIZE) as writer:
        for i in range(0, N, BATCH):
            pixels = rng.normal(300, 7, (len(ids[i : i + BATCH]), SIZE, SIZE, 3))
            writer.append(ids[i : i + BATCH], f"e{i}", pixels)


def make_scorer(folder, name, candidates, rng):
    """Make a model of drawn weights; return it and its networks for Keras."""
    models = [
        build_network(name, size=SIZE, dropout=0.3, number=k) for k in range(N_MODELS)
    ]
    networks = join_networks(models)
    export_network(networks, folder / "model.onnx")
    features = candidate_features(candidates)[:N_TRAINED]
    real = features[:, 0] + rng.normal(0, 3, N_TRAINED) > 4
    fitted = [fit_trees(features, real, seed=k) for k in range(N_MODELS)]
    save_trees(folder / "trees.onnx", fitted, features[:100])
    logits = rng.normal(0, 1, (N_TRAINED, 2)) + 2 * real[:, None] - 1
    fold = np.arange(N_TRAINED) % N_MODELS
    fusion = choose_fusion(logits, real, fold, judges=[NETWORK, TREE_JUDGE])
    trees = Trees(folder / "trees.onnx")
    predict = onnx_network(folder / "model.onnx")
    return Scorer(predict, trees=trees, fusion=fusion, size=SIZE, card={}), networks


def seconds(work):
    """Return the seconds by the clock and those of the processor."""
    start, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - processor


def measure(path, scorer, networks, candidates):
    """Return the seconds of each way, many times."""

    def read():
        with CutoutStore(path) as store:
            return np.concatenate([pixels for _, pixels in store.iterate(BATCH)])

    def score():
        with CutoutStore(path) as store:
            infer.score_store(store, scorer, candidates=candidates, batch_size=BATCH)

    ways = {
        "store to table": score,
        "reading alone": read,
        "Keras predict, with reading": lambda: networks.predict(
            read(), batch_size=BATCH, verbose=0
        ),
    }
    found = {name: [] for name in ways}
    for _ in range(N_REPEATS):
        for name, work in ways.items():
            found[name].append(seconds(work))
    return found


def main(arguments):
    """Measure one network."""
    name = arguments[0] if arguments else "small"
    rng = np.random.default_rng(1)
    candidates, cores = make_candidates(rng), available_cores()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_store(folder / "cutouts.h5", list(candidates["candidate_id"]), rng)
        scorer, networks = make_scorer(folder, name, candidates, rng)
        found = measure(folder / "cutouts.h5", scorer, networks, candidates)
    rows = []
    for way, times in found.items():
        clock, processor = (statistics.median(one) for one in zip(*times, strict=True))
        rows.append(row(f"{name}, {way}: by the clock", N / clock, "cutouts/s"))
        free = cores * N / processor
        rows.append(row(f"{name}, {way}: {cores} free cores", free, "cutouts/s"))
    rows[1]["goal"] = "5000"
    report(f"scoring_{name}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
