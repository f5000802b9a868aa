import numpy as np
import pytest

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning import evaluate


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
