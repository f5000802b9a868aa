"""Peak memory of scoring and of training, against the size of the store.

    python -m benchmarks.bench_memory

Each figure is the highest resident memory of a process of its own, libraries and all.
Made-up candidates of 32 x 32 pixels, 12 kB each.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table

from benchmarks.tables import report, row

SIZE, BATCH = 32, 512
NUMBERS = (8_000, 40_000, 160_000)
WORKS = ("hash", "score", "train")
MIB = 2**20


def write_store(path, n):
    """Write n cutouts of noise, every second one with a source in its difference."""
    from gmadet_nb.learning.cutouts import create_store

    rng = np.random.default_rng(1)
    with create_store(path, size=SIZE) as writer:
        for start in range(0, n, BATCH):
            ids = [f"c{i:07d}" for i in range(start, min(start + BATCH, n))]
            pixels = rng.normal(0, 7, (len(ids), SIZE, SIZE, 3)).astype(np.float32)
            pixels[::2, SIZE // 2 - 1 : SIZE // 2 + 2, SIZE // 2, 2] += 60
            writer.append(ids, "e", pixels)


def make_split(ids):
    """Return a split of all cutouts, a tenth of them to judge."""
    real = np.arange(len(ids)) % 2 == 0
    part = np.where(np.arange(len(ids)) % 10 == 0, "validation", "training")
    table = Table({"candidate_id": ids, "label": np.where(real, "real", "bogus")})
    table["part"], table["used"], table["exposure_id"] = part, True, "e"
    table["place_in_training"] = False
    return table


def work_on(path, work):
    """Do one kind of work on a store."""
    from gmadet_nb.learning import saving, train
    from gmadet_nb.learning.cutouts import CutoutStore

    with CutoutStore(path) as store:
        split = make_split(list(store.candidate_ids))
        if work == "hash":
            saving.training_hash(split, store)
        elif work == "train":
            train.train_network(split, store, _one_epoch())
        else:
            _score(store, path.parent)


def _one_epoch():
    """Return how the network is trained."""
    from gmadet_nb.learning import train

    return train.Training(
        network="small", epochs=1, batch_size=BATCH, dropout=0.3, patience=1, seed=1
    )


def _score(store, folder):
    """Score all cutouts by networks of drawn weights and trees."""
    from benchmarks.bench_scoring import make_candidates, make_scorer
    from gmadet_nb.learning import infer

    rng = np.random.default_rng(1)
    candidates = make_candidates(rng, len(store))
    candidates["candidate_id"] = list(store.candidate_ids)
    scorer, _ = make_scorer(folder, "small", candidates, rng)
    infer.score_store(store, scorer, candidates=candidates, batch_size=BATCH)


def peak_of(path, work):
    """Return the highest resident memory [byte] of a process that works on a store."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", work, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments):
    """Measure all, or, in a process of its own, one."""
    if arguments:
        work, path = arguments
        work_on(Path(path), work)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps(usage.ru_maxrss * 1024))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in NUMBERS:
            path = Path(folder) / f"{n}.h5"
            write_store(path, n)
            for work in WORKS:
                peak = peak_of(path, work) / MIB
                text = f"{work}: {n} cutouts, {n * SIZE**2 * 12 / MIB:.0f} MiB"
                rows.append(row(text, peak, "MiB"))
                print(f"{text}: {peak:.0f} MiB", flush=True)
            path.unlink()
    report("memory", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
