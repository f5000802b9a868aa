"""The model of one telescope on another: as it is, trained on, and trained anew.

    python -m benchmarks.bench_transfer [SOURCE TARGET]

The source's model has all labels of its set. Of the target some 300 labels are known,
half of them real; what is judged is its test part, at places new to training. Beside
them stands the target's own model of all its labels, where classifier.py kept it. The
TPR is that at the wanted FPR on the test part itself, so that the ways differ by how
they order candidates and not by how many bogus chose their threshold.
"""

import shutil
import sys

import numpy as np

from benchmarks.classifier_sets import FOLDER, TARGET_FPR, make_set
from benchmarks.classifier_work import divide, how
from benchmarks.tables import report, row
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import evaluate, fused, saving, transfer
from gmadet_nb.learning.calibration import cross_entropy, logit
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.features import features_of
from gmadet_nb.learning.scorer import (
    CARD,
    judge_logits,
    load_model,
    network_logits,
)
from gmadet_nb.learning.trees import tree_logits

PAIRS = (("tres1", "demo"), ("demo", "tres1"))
N_LABELS, SEED = 300, 1
WORK = FOLDER.with_name("bench_transfer")


def few(split):
    """Return the rows of the test part and of as many real as bogus labels."""
    rng = np.random.default_rng([SEED, 4])
    chosen = [np.flatnonzero(split["part"] == "test")]
    folded = np.asarray(split["used"], bool) & (split["part"] != "test")
    for kind in ("real", "bogus"):
        there = np.flatnonzero(folded & (split["label"] == kind))
        chosen.append(rng.choice(there, N_LABELS // 2, replace=False))
    return np.sort(np.concatenate(chosen))


def source_model(name, run):
    """Return the model folder of a set, beside its split; train it if there is none."""
    made, split = RunDir(WORK / name), divide(name, run, seed=SEED)
    made.write_table("split", split.table)
    made.write_table("candidates", split.candidates)
    there = FOLDER / "models" / f"{name}_{SEED}"
    if (there / CARD).is_file():
        shutil.copytree(there, made.model_dir, dirs_exist_ok=True)
    elif not (made.model_dir / CARD).is_file():
        with_what = {"store": split.store, "split": split.table, "training": how(SEED)}
        model = fused.fit_fused(candidates=split.candidates, **with_what)
        card = saving.save_model(made.model_dir, model, **with_what)
        saving.finish_card(made, card, model.threshold(TARGET_FPR[name]), {})
    return made.model_dir


def judge(model, pixels, features):
    """Return the scores of a model that is not saved: (n,) array."""
    found = [
        np.asarray(model.network(pixels[i : i + 512], training=False))
        for i in range(0, len(pixels), 512)
    ]
    logits = [network_logits(np.concatenate(found))]
    logits.append(np.stack([tree_logits(one, features) for one in model.trees], axis=1))
    return judge_logits(model.fusion, np.stack(logits, axis=2))["score"]


def measure(source, target):
    """Return rows of what each way reaches on the target."""
    runs = {name: make_set(name) for name in (source, target)}
    if None in runs.values():
        print("No real frames at hand; set REALDATA to their folder.")
        return []
    folder = source_model(source, runs[source])
    split = divide(target, runs[target], seed=SEED, choose=few)
    initial = transfer.read_initial(folder, network="small", size=split.store.size)
    test = split.rows[split.rows["part"] == "test"]
    test = test[~np.asarray(test["place_in_training"], bool)]
    pixels = split.store.read(test["candidate_id"])
    features = features_of(test["candidate_id"], split.candidates)
    scores = {"as it is": load_model(folder).score(pixels, features)}
    sets = (split.table, split.store, split.candidates, how(SEED))
    for name, start in (("trained on", initial), ("trained anew", None)):
        model = fused.fit_fused(*sets, initial=start)
        scores[name] = judge(model, pixels, features)
        print(f"{source} to {target}, {name}: out of fold {model.fusion.losses}")
    own = FOLDER / "models" / f"{target}_{SEED}"
    if (own / CARD).is_file():
        scores["all labels of its own"] = load_model(own).score(pixels, features)
    rows = []
    for name, values in scores.items():
        rows += figures(
            f"{source} to {target}, {name}", test, values, target_fpr=TARGET_FPR[target]
        )
    return rows


def figures(name, test, scores, *, target_fpr):
    """Return the TPR at an FPR and the log loss as rows."""
    real = np.asarray(test["label"] == "real")
    threshold = evaluate.choose_threshold(scores[~real], target_fpr).value
    kept = rate(int((scores[real] >= threshold).sum()), int(real.sum()))
    tpr = row(f"{name}: TPR at {100 * target_fpr:g}% FPR", 100 * kept["value"], "%")
    tpr |= {"low": 100 * kept["low"], "high": 100 * kept["high"], "n": kept["n"]}
    loss = cross_entropy(real, logit(scores))
    return [tpr, row(f"{name}: log loss", loss)]


def main(arguments):
    """Measure one pair of sets, or both ways between the demo and tres1."""
    pairs = (tuple(arguments),) if arguments else PAIRS
    rows = [one for pair in pairs for one in measure(*pair)]
    if rows:
        report("transfer", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
