import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.errors import StageError
from gmadet_nb.learning import completeness, part_metrics


@pytest.fixture
def judged():
    n = 40
    split = Table(
        {
            "candidate_id": [f"c{i}" for i in range(n)],
            "label": ["real", "bogus"] * (n // 2),
            "label_origin": ["injected", "human:ann"] * (n // 2),
            "part": ["training"] * 10 + ["calibration"] * 10 + ["test"] * 20,
            "place_in_training": [False] * 36 + [True] * 4,
            "used": [True] * 38 + [False] * 2,
        }
    )
    scores = Table(
        {
            "candidate_id": [f"c{i}" for i in reversed(range(n))],
            "score": [0.1 if i % 2 else 0.9 for i in reversed(range(n))],
        }
    )
    return split, scores


def test_the_headline_leaves_out_places_seen_in_training(judged):
    split, scores = judged
    scores["score"][scores["candidate_id"] == "c20"] = np.nan  # real, no score
    scores["score"][scores["candidate_id"] == "c37"] = 0.95  # bogus at a seen place
    candidates = Table({"candidate_id": split["candidate_id"]})
    candidates["snr"], candidates["mag"] = np.arange(40.0), 18.0
    found = part_metrics.metrics(
        split, scores, 0.5, candidates=candidates, snr_bins=[0, 30, 40]
    )

    test = found["test"]
    assert (test["headline"]["n_real"], test["headline"]["n_bogus"]) == (8, 8)
    assert (test["all"]["n_real"], test["all"]["n_bogus"]) == (9, 9)
    assert test["headline"]["tpr"]["k"] == 7  # the one without a score is not kept
    assert test["headline"]["n_unscored"] == 1
    assert test["headline"]["fpr"]["k"] == 0
    assert test["all"]["fpr"]["k"] == 1
    assert [row["tpr"]["n"] for row in test["all"]["by_snr"]] == [5, 4]
    assert found["out_of_fold"]["all"]["n_real"] == 10
    bins = test["all"]["by_snr"] + test["headline"]["by_snr"]
    assert all("fpr" in row for row in bins)
    assert "7 of 8 real" in part_metrics.describe(test["headline"], name="Test")


def test_what_chose_the_threshold_proves_no_false_positive_rate(judged):
    split, scores = judged
    candidates = Table({"candidate_id": split["candidate_id"]})
    candidates["snr"], candidates["mag"] = np.arange(40.0), 18.0
    found = part_metrics.metrics(
        split, scores, 0.5, candidates=candidates, snr_bins=[0, 30, 40]
    )
    for figures in found["out_of_fold"].values():
        assert not {"fpr", "brier"} & set(figures)
        assert figures["note"] == part_metrics.CHOSEN
        assert [set(row) for row in figures["by_snr"]] == [{"low", "high", "tpr"}] * 2
        text = part_metrics.describe(figures, name="Folds")
        assert "TPR 1.000" in text
        assert text.endswith(part_metrics.CHOSEN)
    for figures in found["test"].values():
        assert {"fpr", "brier"} <= set(figures)
        assert figures["note"] == ""


def test_a_model_no_better_than_chance_stops_the_run():
    part_metrics.check_better_than_chance({"auc": np.nan})
    part_metrics.check_better_than_chance({"auc": 0.7})
    with pytest.raises(StageError, match=r"0\.400"):
        part_metrics.check_better_than_chance({"auc": 0.4})


@pytest.mark.parametrize(
    ("n_kept", "n", "said"),
    [
        # 95 % intervals of Clopper and Pearson: 0.2 to 4.9, 2.7 to 10.0, 0 to 0.7 %.
        (2, 146, "The 1.0% asked for is borne out: 1.37% of 146 bogus pass"),
        (8, 146, "More bogus pass than the 1.0% asked for"),
        (0, 500, "Fewer bogus pass than the 1.0% asked for"),
        (0, 0, "cannot be told"),
    ],
)
def test_the_rate_found_is_held_against_the_one_asked_for(n_kept, n, said):
    figures = {"fpr": completeness.rate(n_kept, n)}
    assert said in part_metrics.confirm(figures, target_fpr=0.01)
