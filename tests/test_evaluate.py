import numpy as np
import pytest
from astropy.table import Table
from scipy import stats

from gmadet_nb.errors import BadInputError, BadParameterError, StageError
from gmadet_nb.learning import evaluate


def test_the_interval_is_that_of_clopper_and_pearson():
    # By its definition: at each end, the chance of what was seen or more extreme is
    # 2.5 %.
    low, high = evaluate.binomial_interval(7, 50)
    assert stats.binom.sf(6, 50, low) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom.cdf(7, 50, high) == pytest.approx(0.025, rel=1e-6)
    assert evaluate.binomial_interval(0, 300)[1] == pytest.approx(
        1 - 0.025 ** (1 / 300), rel=1e-6
    )
    low, high = evaluate.binomial_interval([0, 5, 0], [5, 5, 0])
    assert (low[0], high[1]) == (0, 1)
    assert (low[2], high[2]) == (0, 1)
    with pytest.raises(BadInputError, match="between 0 and trials"):
        evaluate.binomial_interval(3, 2)


def test_completeness_counts_each_source_in_its_bin():
    mags = [14.0, 14.5, 15.0, 16.0, 99.0, np.nan]
    found = [True, False, True, True, True, True]
    table = evaluate.completeness(mags, found, [14, 15, 16, 17, 18])

    assert list(table["n_injected"]) == [2, 1, 1, 0]
    assert list(table["n_recovered"]) == [1, 1, 1, 0]
    np.testing.assert_array_equal(table["completeness"], [0.5, 1, 1, np.nan])
    assert (table["low"] <= np.nan_to_num(table["completeness"], nan=0.5)).all()
    with pytest.raises(BadParameterError, match="rise"):
        evaluate.completeness(mags, found, [15, 14])


def test_m50_comes_out_where_it_was_put(rng):
    mags = rng.uniform(15, 23, 3000)
    found = rng.random(3000) < 0.97 * stats.norm.sf((mags - 19.6) / 0.5)
    fit = evaluate.fit_m50(mags, found)

    # Some 3000 * 2 / 8 sources lie where the curve falls: 0.5 / sqrt(750) = 0.02.
    assert fit.m50_err == pytest.approx(0.02, rel=0.7)
    assert fit.m50 == pytest.approx(19.6, abs=4 * fit.m50_err)
    assert fit.width == pytest.approx(0.5, abs=4 * fit.width_err)
    # 3000 * 4.6 / 8 sources on the plateau: sqrt(.97 * .03 / 1700) = 0.004.
    assert fit.plateau == pytest.approx(0.97, abs=4 * 0.005)
    assert fit.reason == ""


@pytest.mark.parametrize(
    ("mags", "found", "why"),
    [
        (np.linspace(15, 20, 50), np.ones(50, bool), "0 missed"),
        (np.linspace(15, 20, 50), np.zeros(50, bool), "0 found"),
        (np.full(50, 18.0), np.arange(50) % 2 == 0, "the same"),
        ([], [], "0 found"),
    ],
)
def test_no_m50_is_nan_with_its_reason(mags, found, why):
    fit = evaluate.fit_m50(mags, found)

    assert np.isnan(fit.m50)
    assert why in fit.reason


def test_roc_is_whole_and_its_area_is_the_chance_of_the_right_order(rng):
    real = rng.random(300) < 0.3
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * real, 0.2), 0, 1), 2)  # with ties
    curve = evaluate.roc(real, scores)

    assert (curve["fpr"][0], curve["tpr"][0]) == (0, 0)
    assert (curve["fpr"][-1], curve["tpr"][-1]) == (1, 1)
    assert (np.diff(curve["threshold"]) < 0).all()
    for row in curve[1::7]:
        at = evaluate.rates_at(real, scores, row["threshold"])
        assert at["tpr"]["value"] == pytest.approx(row["tpr"])
        assert at["fpr"]["value"] == pytest.approx(row["fpr"])
    pairs = scores[real][:, None] - scores[~real]
    right = (pairs > 0).mean() + 0.5 * (pairs == 0).mean()
    assert evaluate.auc(real, scores) == pytest.approx(right, abs=1e-12)


def test_a_missing_class_gives_nan_not_an_error():
    assert np.isnan(evaluate.auc([True] * 5, np.arange(5)))
    assert np.isnan(evaluate.auc([], []))
    assert np.isnan(evaluate.brier([], []))
    assert evaluate.rates_at([True], [0.5], 0.1)["fpr"]["n"] == 0


@pytest.mark.parametrize("n", [10, 99, 100, 1000, 1234])
def test_the_threshold_keeps_no_more_bogus_than_wanted_and_as_many_as_it_may(rng, n):
    scores = rng.random(n) ** 3
    found = evaluate.choose_threshold(scores, 0.01)

    assert (scores >= found.value).sum() == found.n_above == n // 100
    assert found.enough == (n >= 300)
    assert found.low <= found.n_above / n <= found.high
    assert ("needed" in found.how) == (n < 300)


def test_equal_scores_are_all_refused_rather_than_all_kept():
    found = evaluate.choose_threshold(np.ones(200), 0.01)
    assert found.n_above == 0
    assert found.value > 1
    with pytest.raises(BadInputError, match="got none"):
        evaluate.choose_threshold([np.nan], 0.01)
    with pytest.raises(BadParameterError, match="target_fpr"):
        evaluate.choose_threshold([0.5], 0)


def test_calibrated_scores_lie_on_the_diagonal(rng):
    scores = rng.random(20000)
    real = rng.random(20000) < scores
    table = evaluate.reliability(real, scores, n_bins=10)

    assert table["n"].sum() == 20000
    # Ten intervals of 95 %: at least seven hold, but for one case in 1000.
    inside = (table["low"] <= table["mean_score"]) & (
        table["mean_score"] <= table["high"]
    )
    assert inside.sum() >= 7
    # The mean of p (1 - p) over p is 1/6; its error sqrt(var / n) < 0.002.
    assert evaluate.brier(real, scores) == pytest.approx(1 / 6, abs=5 * 0.002)


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
    found = evaluate.metrics(
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
    assert "7 of 8 real" in evaluate.describe(test["headline"], name="Test")


def test_what_chose_the_threshold_proves_no_false_positive_rate(judged):
    split, scores = judged
    candidates = Table({"candidate_id": split["candidate_id"]})
    candidates["snr"], candidates["mag"] = np.arange(40.0), 18.0
    found = evaluate.metrics(
        split, scores, 0.5, candidates=candidates, snr_bins=[0, 30, 40]
    )
    for figures in found["out_of_fold"].values():
        assert not {"fpr", "brier"} & set(figures)
        assert figures["note"] == evaluate.CHOSEN
        assert [set(row) for row in figures["by_snr"]] == [{"low", "high", "tpr"}] * 2
        text = evaluate.describe(figures, name="Folds")
        assert "TPR 1.000" in text
        assert text.endswith(evaluate.CHOSEN)
    for figures in found["test"].values():
        assert {"fpr", "brier"} <= set(figures)
        assert figures["note"] == ""


def test_suspects_are_those_whose_label_the_score_contradicts(judged):
    split, scores = judged
    scores["score"][scores["candidate_id"] == "c3"] = 0.99  # labelled bogus
    scores["score"][scores["candidate_id"] == "c8"] = 0.05  # labelled real
    scores["score"][scores["candidate_id"] == "c9"] = np.nan
    table = evaluate.suspects(split, scores)

    assert list(table["candidate_id"][:2]) == ["c3", "c8"]
    np.testing.assert_allclose(table["doubt"][:2], [0.99, 0.95])
    assert list(table["rank"]) == list(range(1, 40))


def test_a_model_no_better_than_chance_stops_the_run():
    evaluate.check_better_than_chance({"auc": np.nan})
    evaluate.check_better_than_chance({"auc": 0.7})
    with pytest.raises(StageError, match=r"0\.400"):
        evaluate.check_better_than_chance({"auc": 0.4})
