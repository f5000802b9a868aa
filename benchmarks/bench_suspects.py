"""Labels flipped on purpose: how many of them the list of suspects names first.

    python -m benchmarks.bench_suspects [SET ...]

In each set 5% of the labels that train are flipped, at random or among the hard ones
(at an S/N below 7, or injected on a galaxy), and trees are cross-fitted and calibrated
as 08_train does. What is printed is the share of the flipped labels among the first
tenth of the list of 10_check_inference, over the seeds, and the share that 06_label
shows first, as more likely wrong than right, beside how many labels that nobody flipped
stand there. The intervals take each flip for one of its own, though the seeds draw from
the same candidates.
"""

import sys

import numpy as np
from astropy.table import Table

from benchmarks.classifier_sets import SETS, make_set
from benchmarks.classifier_work import divide
from benchmarks.tables import report, row
from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.check_ranking import suspects
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.crossfit import out_of_fold
from gmadet_nb.learning.features import features_of
from gmadet_nb.learning.folds import read_folds
from gmadet_nb.learning.fusion import choose_fusion
from gmadet_nb.learning.scorer import TREE_JUDGE
from gmadet_nb.learning.trees import fit_trees, tree_logits

SHARE, FIRST, SEEDS = 0.05, 0.1, (1, 2, 3)
HARD_SNR = 7.0
WAYS = ("random", "hard")


def hard_rows(rows, candidates, crossmatch):
    """Say which rows are faint, or injected on a galaxy: (n,) bool array.

    Parameters
    ----------
    rows, candidates : astropy.table.Table
        ``candidate_id``; the candidates have ``snr``.
    crossmatch : astropy.table.Table
        ``candidate_id``, ``near_galaxy``.
    """
    at = rows_of(rows["candidate_id"], candidates["candidate_id"])
    on_galaxy = crossmatch["candidate_id"][np.asarray(crossmatch["near_galaxy"], bool)]
    faint = as_floats(candidates["snr"])[at] < HARD_SNR
    return faint | np.isin(rows["candidate_id"], on_galaxy)


def flip(split, some, *, rng):
    """Flip the labels of 5% of as many rows as train, drawn among some of them.

    Parameters
    ----------
    split : astropy.table.Table
        ``label``, ``fold`` (-1 where a row does not train).
    some : (n,) bool array
        Among which.
    rng : numpy.random.Generator

    Returns
    -------
    split : astropy.table.Table
        The same rows.
    flipped : (n,) bool array
    """
    folded = np.asarray(split["fold"]) >= 0
    drawn = rng.permutation(np.flatnonzero(folded & some))
    flipped = np.zeros(len(split), bool)
    flipped[drawn[: round(SHARE * folded.sum())]] = True
    real, other = np.asarray(split["label"] == "real") != flipped, split.copy()
    other["label"] = np.where(real, "real", "bogus")
    return other, flipped


def judge(split, candidates, *, seed):
    """Return the calibrated scores of trees that have not seen the fold they judge."""
    folds = read_folds(split)
    rows = folds.rows
    features = features_of(rows["candidate_id"], candidates)
    real = np.asarray(rows["label"] == "real")

    def fit(train, k):
        at = rows_of(train["candidate_id"], rows["candidate_id"])
        model = fit_trees(features[at], real[at], seed=seed + k)
        return lambda out: tree_logits(
            model, features[rows_of(out["candidate_id"], rows["candidate_id"])]
        )

    logits = out_of_fold(folds, fit)[0][:, None]
    fusion = choose_fusion(logits, real, rows["fold"], judges=[TREE_JUDGE])
    scores = Table({"candidate_id": rows["candidate_id"]})
    scores["score"] = probability(fusion.apply(logits))
    scores["out_of_fold"] = True
    return scores


def count(split, flipped, scores):
    """Count flipped labels in the list, in its first tenth, and where 06 begins.

    Returns
    -------
    (4,) int array
        Flipped; of these in the first tenth; of these with a doubt above 0.5; and
        labels that nobody flipped with such a doubt.
    """
    table = suspects(split, scores)
    wrong = np.isin(table["candidate_id"], split["candidate_id"][flipped])
    opens = np.asarray(table["doubt"]) > 0.5
    first = wrong[: round(FIRST * len(table))]
    return np.array([w.sum() for w in (wrong, first, wrong & opens, ~wrong & opens)])


def measure(name, run):
    """Return the rows of one set, over all seeds.

    Parameters
    ----------
    name : str
        Of the set.
    run : gmadet_nb.files.rundir.RunDir
        With 01 to 04 done.
    """
    counts = {way: np.zeros(4, int) for way in WAYS}
    crossmatch = run.read_table("crossmatch")
    for seed in SEEDS:
        split = divide(name, run, seed=seed)
        hard = hard_rows(split.table, split.candidates, crossmatch)
        for i, way in enumerate(WAYS):
            some = hard if way == "hard" else np.ones(len(hard), bool)
            rng = np.random.default_rng([seed, i])
            table, flipped = flip(split.table, some, rng=rng)
            scores = judge(table, split.candidates, seed=seed)
            counts[way] += count(table, flipped, scores)
    rows = []
    for way, (n, n_first, n_open, n_other) in counts.items():
        goal = "95" if way == "random" else None
        for words, k, wanted in (
            ("in the first tenth", n_first, goal),
            ("shown first", n_open, None),
        ):
            found = rate(k, n)
            one = row(f"{name}, {way} flips {words}", 100 * found["value"], "%", wanted)
            rows.append(one | {end: 100 * found[end] for end in ("low", "high")})
        words = f"{name}, {way} flips: others shown first"
        rows.append(row(words, n_other / len(SEEDS), "labels"))
    return rows


def main(names):
    """Measure some sets, or all."""
    rows = []
    for name in names or SETS:
        run = make_set(name)
        rows += [] if run is None else measure(name, run)
    report("suspects", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
