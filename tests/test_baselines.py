import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning import baselines, crossfit, part_metrics
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.folds import Folds


def make_set(n_bogus, *, n_test=400, seen=None):
    """Return a split, scores and candidates: bogus that train, and a test part."""
    rng = np.random.default_rng(5)
    n = n_bogus + 50 + n_test
    part = np.where(np.arange(n) < n_bogus + 50, "training", "test")
    real = np.where(part == "training", np.arange(n) >= n_bogus, np.arange(n) % 2 == 0)
    split = Table({"candidate_id": [f"c{i}" for i in range(n)], "part": part})
    split["label"] = np.where(real, "real", "bogus")
    split["used"], split["fold"] = True, np.where(part == "test", -1, np.arange(n) % 2)
    split["place_in_training"] = False
    if seen is not None:
        split["place_in_training"][:n_bogus] = np.arange(n_bogus) < seen
    score = np.where(real, rng.uniform(0.3, 1, n), rng.uniform(0, 0.9, n))
    scores = Table({"candidate_id": split["candidate_id"], "score": score})
    scores["network_score"] = scores["trees_score"] = score
    candidates = Table({"candidate_id": split["candidate_id"]})
    candidates["snr"] = np.exp(rng.normal(np.where(real, 3, 2), 0.5))
    for name in ("fwhm", "psf_fwhm", "psf_chi2"):
        candidates[name] = rng.uniform(1, 3, n)
    return split, scores, candidates


def rates_of_card(split, scores, *, target_fpr):
    """Return what the card says of the test part."""
    inside = np.asarray(split["fold"]) >= 0
    folds = Folds(rows=split[inside], n_folds=2, unit="exposure", note="")
    threshold = crossfit.fold_threshold(
        folds, scores["score"][inside], target_fpr=target_fpr
    )
    found = part_metrics.metrics(split, scores, threshold.value)
    return found["test"]["headline"]


@pytest.mark.parametrize(
    ("n_bogus", "seen"),
    [
        (80, None),  # fewer than 1 / target_fpr: none may pass
        (1000, None),
        (400, 150),  # new places: 250, and 300 are needed; those of test do not count
    ],
)
def test_the_model_is_judged_at_the_threshold_of_its_card(n_bogus, seen):
    split, scores, candidates = make_set(n_bogus, seen=seen)
    if seen:  # what comes again scores lower, and lowers the threshold
        scores["score"][:seen] /= 3
    table = baselines.compare(split, scores, candidates, target_fpr=0.01)
    card = rates_of_card(split, scores, target_fpr=0.01)
    row = table[table["judge"] == "fused"][0]
    assert (row["tpr"], row["fpr"]) == (card["tpr"]["value"], card["fpr"]["value"])
    assert row["auc"] == card["auc"]


def test_a_cut_keeps_no_more_bogus_than_wanted_in_any_unit():
    split, scores, candidates = make_set(2000, n_test=4000)
    row = baselines.compare(split, scores, candidates, target_fpr=0.05)[0]
    assert row["judge"] == "S/N cut"
    # 2,000 bogus each in the folds and in the test part: 0.05 +- 0.0049 twice.
    assert row["fpr"] == pytest.approx(0.05, abs=4 * 0.0049 * np.sqrt(2))
    # Real ones are two sigma brighter than bogus, 5 % of which are above 1.645 sigma.
    assert row["tpr"] == pytest.approx(0.64, abs=0.06)
    candidates["snr"] *= 1e6
    again = baselines.compare(split, scores, candidates, target_fpr=0.05)[0]
    assert (again["tpr"], again["auc"]) == (row["tpr"], row["auc"])


def test_a_cut_on_what_was_measured_nowhere_is_left_out():
    split, scores, candidates = make_set(80)
    candidates["snr"], candidates["psf_fwhm"] = np.nan, np.nan
    table = baselines.compare(split, scores, candidates, target_fpr=0.01)
    judges = ["PSF-chi2 cut", "trees alone", "networks alone", "fused"]
    assert list(table["judge"]) == judges


def test_what_was_not_measured_passes_no_cut():
    ranks = baselines.by_rank(np.array([3.0, np.nan, -7.0, 3.0, -np.inf, 90.0]))
    assert list(ranks) == [0.5, -1, 0, 0.5, -1, 1]
    assert list(baselines.by_rank(np.array([np.nan, 2.0, 2.0]))) == [-1, 0, 0]


def test_without_bogus_there_is_no_threshold():
    split, scores, candidates = make_set(0)
    with pytest.raises(BadInputError, match="chosen from bogus candidates, got none"):
        baselines.compare(split, scores, candidates, target_fpr=0.01)


def row(judge, k, n=100):
    found = rate(k, n)
    values = {"tpr": found["value"], "tpr_low": found["low"], "tpr_high": found["high"]}
    return {"judge": judge, "auc": 0.9} | values


def test_the_verdict_names_the_best_rival_and_says_what_chance_explains():
    rows = [row("S/N cut", 10), row("PSF-chi2 cut", 50), row("trees alone", 95)]
    rows += [row("networks alone", 86), row("fused", 93)]
    parts, cuts = baselines.verdict(rows)
    assert "keeps 93.0%, the best of these (trees alone) 95.0%" in parts
    assert "may be chance" in parts
    assert "(PSF-chi2 cut) 50.0%: the model is clearly better" in cuts
    _, cuts = baselines.verdict([*rows[2:], row("S/N cut", 100)])
    assert "clearly" not in cuts
    _, cuts = baselines.verdict([*rows[2:4], row("S/N cut", 100), row("fused", 60)])
    assert "clearly worse" in cuts


def test_a_model_of_networks_alone_is_not_held_against_itself():
    [text] = baselines.verdict([row("networks alone", 8), row("fused", 8)])
    assert "nothing simpler" in text
    unknown = row("fused", 0) | {"tpr": None}  # as a card has NaN
    assert "cannot be told" in baselines.verdict([unknown])[0]


def test_judges_in_words_have_their_intervals_in_brackets():
    split, scores, candidates = make_set(80)
    table = baselines.compare(split, scores, candidates, target_fpr=0.05)
    rows = [dict(each) for each in table]
    rows[-1]["snr_5_10"] = None
    words = baselines.in_words(rows)
    wanted = "{tpr:.3f} ({tpr_low:.2f} to {tpr_high:.2f})".format(**rows[-1])
    assert words["TPR"][-1] == wanted
    assert words["TPR, S/N 5 to 10"][-1] == ""
