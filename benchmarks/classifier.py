"""Compare classifiers on the same splits, and print the tables.

    python -m benchmarks.classifier [SET ...] [--seeds N] [--methods NAME ...]

Each split holds out whole exposures; the threshold is chosen on the calibration part,
and the rates are read on the test part at places that training has not seen. What is
printed is the median over the seeds. Results of each set, seed and method are kept in
``benchmarks/results/classifier`` and not measured again.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

SEEDS = (1, 2, 3)
KEPT = Path("benchmarks/results/classifier")
FIGURES = {
    "tpr_bright": ("TPR at S/N above 10", "%"),
    "tpr_faint": ("TPR at S/N 5 to 10", "%"),
    "fpr": ("FPR found", "%"),
    "auc": ("area under the ROC curve", ""),
    "ece": ("expected calibration error", ""),
    "seconds": ("training", "s"),
}


def measure_kept(name, seed, method, work):
    """Return the figures of one method, from the file where it was measured before."""
    path = KEPT / f"{name}_{seed}_{method}.json"
    if path.is_file():
        return json.loads(path.read_text())
    # It brings numpy, which asks for its threads once: see `main`.
    from gmadet_nb.files.rundir import atomic_path

    found = work.measure(method)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{name}, seed {seed}, {method}: {found}", flush=True)
    return found


def median_rows(name, method, found, tables):
    """Return the rows of a method: medians over the seeds."""
    rows = []
    for key, (text, unit) in FIGURES.items():
        values = [one[key]["value"] for one in found if one[key]["value"] is not None]
        if values:
            factor = 100 if unit == "%" else 1
            value = factor * statistics.median(values)
            rows.append(tables.row(f"{name}: {method}: {text}", value, unit))
    return rows


def main(arguments):
    """Measure the sets and methods that are asked for."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "2")
    from benchmarks import classifier_sets, classifier_work, tables

    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=classifier_sets.SETS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--methods", nargs="+", default=classifier_work.METHODS)
    chosen = parser.parse_args(arguments)
    rows = []
    for name in chosen.sets:
        run = classifier_sets.make_set(name)
        if run is None:
            print(f"{name}: no real frames at hand; set REALDATA to their folder.")
            continue
        target = classifier_sets.TARGET_FPR[name]
        found = {method: [] for method in chosen.methods}
        for seed in SEEDS[: chosen.seeds]:
            work = classifier_work.Work(name, run, seed=seed, target_fpr=target)
            for method in chosen.methods:
                found[method].append(measure_kept(name, seed, method, work))
        for method in chosen.methods:
            rows += median_rows(name, method, found[method], tables)
    tables.report("classifier", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
