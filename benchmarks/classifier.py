"""Compare classifiers on the same splits, and print the tables.

    python -m benchmarks.classifier [SET ...] [--seeds N] [--methods NAME ...] [--kept]

Each split holds out whole exposures; the threshold is chosen without them, and the
rates are read on them, at places that training has not seen. What is printed is the
median over the seeds. What a classifier says is kept in ``runs/bench_classifier`` and
not trained again while split, settings and code are the same; with ``--kept`` nothing
is trained, and what is there is printed. A part of the sets, seeds or methods goes to a
file of its own.
"""

import argparse
import os
import statistics
import sys

SEEDS = (1, 2, 3)
FIGURES = {
    "tpr_bright": ("TPR at S/N above 10", "%"),
    "tpr_faint": ("TPR at S/N 5 to 10", "%"),
    "tpr": ("TPR at all S/N", "%"),
    "tpr_at": ("TPR at the same FPR of the test part, all places", "%"),
    "tpr_own": ("TPR that its own random split shows", "%"),
    "fpr": ("FPR found", "%"),
    "auc": ("area under the ROC curve", ""),
    "ece": ("expected calibration error, less chance", ""),
    "ece_raw": ("expected calibration error, raw", ""),
    "n_bogus": ("bogus that chose the threshold", ""),
    "seconds": ("training", "s"),
}
# Of ours, at the false-positive rate asked for: see the README.
GOALS = {
    ("demo", "tpr_bright"): "98.5 or more",
    ("demo", "tpr_faint"): "95 or more",
    ("tres1", "tpr_bright"): "98.5 or more",
    ("tres1", "tpr_faint"): "90 or more",
    ("saao_kb13475", "tpr_bright"): "99 or more",
    ("saao_kb13475", "tpr_faint"): "97 or more",
}
# Training, of one network and of all folds, on the some 8,000 candidates of the demo.
SECONDS_GOALS = {"one": "180 or less", "all": "600 or less"}
OURS = "fused"
ENOUGH_BOGUS = 1000  # a threshold chosen by fewer is not steady


def goal_of(name, method, key, found, target_fpr):
    """Return the goal of a figure in words, or None."""
    if method != OURS:
        return None
    n_bogus = statistics.median(one["n_all_bogus"]["value"] for one in found)
    if key == "fpr" and n_bogus >= ENOUGH_BOGUS:
        return f"{50 * target_fpr:g} to {150 * target_fpr:g}"
    if key == "seconds" and name == "demo":
        return SECONDS_GOALS["all"]
    return "0.02 or less" if key == "ece" else GOALS.get((name, key))


def pooled_fpr(found):
    """Return the FPR over the test parts of all seeds together, as a percentage."""
    n_kept = sum(one["fpr"]["value"] * one["fpr"]["n"] for one in found)
    n = sum(one["fpr"]["n"] for one in found)
    return 100 * n_kept / n if n else float("nan"), n


def median_rows(name, method, found, *, target_fpr):
    """Return the rows of a method: medians over the seeds, of the intervals, too."""
    from benchmarks import classifier_work, tables

    rows = []
    for key, (text, unit) in FIGURES.items():
        some = [one[key] for one in found if key in one]
        values = [one["value"] for one in some if one["value"] == one["value"]]
        if not values:
            continue
        factor = 100 if unit == "%" else 1
        goal = goal_of(name, method, key, found, target_fpr)
        made = tables.row(
            f"{name}: {method}: {text}", factor * statistics.median(values), unit, goal
        )
        made["n_seeds"] = len(values)
        if "low" in some[0]:
            ends = [
                factor * statistics.median(one[end] for one in some)
                for end in ("low", "high")
            ]
            made |= {"low": ends[0], "high": ends[1], "n": some[0]["n"]}
        rows.append(made)
    if found:
        value, n = pooled_fpr(found)
        goal = goal_of(name, method, "fpr", found, target_fpr)
        text = f"{name}: {method}: FPR found, all seeds together, of {n} bogus"
        rows.append(tables.row(text, value, "%", goal))
    if found and method == OURS:
        n_folds = classifier_work.N_FOLDS
        one = statistics.median(some["seconds"]["value"] for some in found) / n_folds
        goal = SECONDS_GOALS["one"] if name == "demo" else None
        text = f"{name}: {method}: training, a {n_folds}th: one network and its trees"
        rows.append(tables.row(text, one, "s", goal))
    return rows


def measure_set(name, run, *, seeds, methods, kept):
    """Return the figures of each method on a set, one dict a seed.

    With ``kept`` there are fewer where nothing is kept.
    """
    from benchmarks import classifier_figures, classifier_sets, classifier_work

    target = classifier_sets.TARGET_FPR[name]
    found = {method: [] for method in methods}
    for seed in seeds:
        split = classifier_work.divide(name, run, seed=seed)
        for method in methods:
            said = classifier_work.scores_of(
                split, method, target_fpr=target, may_train=not kept
            )
            if said is None:
                continue
            scores, known = said
            one = classifier_figures.measure(split, method, scores, target_fpr=target)
            one["seconds"] = {"value": float(known["seconds"])}
            if "tpr_own" in known:
                one["tpr_own"] = known["tpr_own"]
            found[method].append(one)
            brief = ", ".join(
                f"{key} {one[key]['value']:.4g}" for key in FIGURES if key in one
            )
            print(f"{name}, seed {seed}, {method}: {brief}", flush=True)
    return found


def sky_rows(seeds):
    """Return what our models keep of transients of the demo's sky."""
    from benchmarks import classifier_sets, classifier_sky, tables

    folders = [classifier_sets.FOLDER / "models" / f"demo_{seed}" for seed in seeds]
    folders = [folder for folder in folders if (folder / "model.json").is_file()]
    if not folders:
        return []
    found = classifier_sky.find_transients()
    goals = {"empty sky": "99 or more", "on a galaxy": "93 or more"}
    kept = [classifier_sky.keep_transients(found, folder) for folder in folders]
    rows = []
    for place, goal in goals.items():
        low, value, high = (
            100 * statistics.median(one[place][key] for one in kept)
            for key in ("low", "value", "high")
        )
        text = f"demo: transients kept, S/N above 10, {place}"
        row = tables.row(f"{text}, of {kept[0][place]['n']}", value, "%", goal)
        rows.append(row | {"low": low, "high": high, "n_seeds": len(kept)})
    return rows


def main(arguments):
    """Measure the sets and methods that are asked for."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "2")
    # They bring numpy, which asks for its threads once.
    from benchmarks import (
        classifier_sets,
        classifier_verdict,
        classifier_work,
        tables,
    )

    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=classifier_sets.SETS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--methods", nargs="+", default=classifier_work.METHODS)
    parser.add_argument("--kept", action="store_true")
    chosen = parser.parse_args(arguments)
    seeds, rows, found = SEEDS[: chosen.seeds], [], {}
    for name in chosen.sets:
        run = classifier_sets.make_set(name)
        if run is None:
            print(f"{name}: no real frames at hand; set REALDATA to their folder.")
            continue
        found[name] = measure_set(
            name, run, seeds=seeds, methods=chosen.methods, kept=chosen.kept
        )
        for method in chosen.methods:
            rows += median_rows(
                name,
                method,
                found[name][method],
                target_fpr=classifier_sets.TARGET_FPR[name],
            )
        if name == "demo" and OURS in chosen.methods:
            rows += sky_rows(seeds)
    called = {key: text for key, (text, _) in FIGURES.items()}
    rows += classifier_verdict.verdict_rows(found, ours=OURS, names=called)
    whole = vars(chosen) | {"kept": False} == vars(parser.parse_args([]))
    tables.report("classifier" if whole else "classifier_part", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
