import json

import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning import calibration, calibration_error, evaluate

N = 20_000
FITS = {
    "temperature": calibration.fit_temperature,
    "isotonic": calibration.fit_isotonic,
}


def draw(rng, *, n=N, stretch=1.0, shift=0.0, bend=False):
    """Draw labels from true logits, and the logits of a model that distorts them."""
    true = rng.normal(-0.5, 2.5, n)
    real = rng.random(n) < calibration.probability(true)
    told = np.where(true > 0, 3 * true, true / 3) if bend else true
    return stretch * told + shift, real, true


def test_temperature_and_shift_are_found(rng):
    logits, real, true = draw(rng, stretch=2.0, shift=2.0)
    found = calibration.fit_temperature(logits, real)

    # Each is known to about 1 / sqrt(n p (1 - p)) = 0.02 of a logit.
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.shift == pytest.approx(2.0, abs=0.2)
    np.testing.assert_allclose(found.apply(logits), true, atol=0.5)


# A straight line cannot unbend.
@pytest.mark.parametrize(
    ("kind", "bend"),
    [("temperature", False), ("isotonic", False), ("isotonic", True)],
)
def test_calibrated_scores_mean_what_they_say(rng, kind, bend):
    logits, real, _ = draw(rng, stretch=2.0, bend=bend)
    found = FITS[kind](logits[::2], real[::2])
    scores = calibration.probability(found.apply(logits[1::2]))

    # Chance alone: 10 bins of 1000, each known to 0.016 at most.
    error = calibration_error.expected_calibration_error(real[1::2], scores)
    assert error < 0.016
    raw = calibration.probability(logits[1::2])
    assert error < 0.5 * calibration_error.expected_calibration_error(real[1::2], raw)


@pytest.mark.parametrize("kind", calibration.KINDS)
def test_the_order_of_candidates_is_kept(rng, kind):
    logits, real, _ = draw(rng, n=500)
    found = FITS[kind](logits, real)
    rising = np.linspace(-25, 25, 5001)
    assert (np.diff(found.apply(rising)) > 0).all()


def test_a_bent_model_gets_steps_and_a_straight_one_a_line(rng):
    groups = np.arange(N) % 5
    bent, real, _ = draw(rng, bend=True)
    assert calibration.choose_calibration(bent, real, groups)[0].kind == "isotonic"
    straight, real, _ = draw(rng, stretch=2.0)
    chosen, losses = calibration.choose_calibration(straight, real, groups)
    assert chosen.kind == "temperature"
    assert set(losses) == set(calibration.KINDS)


def test_losses_are_those_of_groups_that_were_not_fitted(rng):
    # Group 1 has its labels turned round: fitted to group 0 it must look bad.
    logits, real, _ = draw(rng, n=2000)
    groups = np.arange(2000) % 2
    turned = np.where(groups == 1, ~real, real)
    alike = calibration.choose_calibration(logits, real, groups)[1]
    opposed = calibration.choose_calibration(logits, turned, groups)[1]
    assert opposed["temperature"] > 2 * alike["temperature"]


def test_classes_that_a_threshold_parts_have_a_finite_slope():
    logits = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    for fit in FITS.values():
        found = fit(logits, logits > 0).apply(logits)
        assert np.isfinite(found).all()
        assert (np.sign(found) == np.sign(logits)).all()


def test_a_model_against_the_labels_is_not_turned_round(rng):
    logits, real, _ = draw(rng, n=1000)
    found = calibration.fit_temperature(-logits, real)
    assert found.temperature > 0


def test_a_candidate_without_a_logit_stays_without(rng):
    logits, real, _ = draw(rng, n=1000)
    logits[0] = np.nan
    for fit in FITS.values():
        found = fit(logits, real).apply(logits)
        assert np.flatnonzero(np.isnan(found)).tolist() == [0]


def test_a_calibration_survives_a_model_card(rng):
    logits, real, _ = draw(rng, n=500)
    found = calibration.fit_isotonic(logits, real)
    again = calibration.Calibration(**json.loads(json.dumps(found.as_dict())))
    np.testing.assert_array_equal(again.apply(logits), found.apply(logits))


def test_one_class_and_one_group_are_refused(rng):
    logits, real, _ = draw(rng, n=100)
    with pytest.raises(BadInputError, match="100 real and 0 bogus"):
        calibration.fit_temperature(logits, np.ones(100, bool))
    with pytest.raises(BadInputError, match="two or more groups, got 1"):
        calibration.choose_calibration(logits, real, np.zeros(100))


def test_logit_and_probability_are_inverse():
    logits = np.linspace(-20, 20, 41)
    # 1 - P has 16 digits: at a logit of 20, P - 1 is known to 1e-16 / 2e-9.
    np.testing.assert_allclose(
        calibration.logit(calibration.probability(logits)), logits, atol=1e-7
    )
    assert np.isfinite(calibration.logit([0.0, 1.0])).all()


def test_calibration_error_of_a_constant_offset_is_the_offset(rng):
    share = rng.uniform(0, 0.8, N)
    real = rng.random(N) < share
    error = calibration_error.expected_calibration_error(real, share + 0.15)
    # Each of 10 bins of 2000 is known to 0.011.
    assert error == pytest.approx(0.15, abs=0.011)


def test_perfect_scores_have_no_calibration_error():
    real = np.array([True, False, True])
    assert calibration_error.expected_calibration_error(real, real.astype(float)) == 0
    assert np.isnan(calibration_error.expected_calibration_error([], []))


@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_interval_of_a_calibration_error_holds_the_true_one(n, temperature, rng):
    def share(scores):
        return calibration.probability(calibration.logit(scores) * temperature)

    # Scores from 0 to 1 alike: the mean of |score - share|, whose sign does not
    # change within a bin of ten.
    grid = (np.arange(100_000) + 0.5) / 100_000
    truth = np.abs(grid - share(grid)).mean()
    n_trials, found = 120, []
    for _ in range(n_trials):
        scores = rng.random(n)
        real = rng.random(n) < share(scores)
        found.append(
            calibration_error.error_with_interval(real, scores, rng=rng, n_draws=200)
        )
    value, low, high, raw = (
        np.array([one[name] for one in found])
        for name in ("value", "low", "high", "raw")
    )
    inside = (low <= truth + 1e-9) & (truth <= high)
    # 95 % of 120 are 114; three standard deviations of a binomial are 7.
    assert inside.sum() >= 107
    assert np.all((low <= value) & (value <= high))
    # What chance adds to the raw one: 0.8 sqrt(p (1 - p) / n) in each bin of n / 10,
    # with pi / 8 for the mean root over p, 0.99 / sqrt(n).
    if temperature == 1:
        assert raw.mean() == pytest.approx(0.99 / np.sqrt(n), rel=0.1)
    # A floor at 0 leaves the mean of half a bell: less than half of that.
    assert abs(value.mean() - truth) < 0.5 / np.sqrt(n)
    # A mean of n labels, p (1 - p) being 1/6 over p, is known to 0.41 / sqrt(n): 2.5 of
    # them to either side.
    assert np.mean(high - low) < 2.1 / np.sqrt(n)


def test_scores_that_are_all_right_leave_room_for_a_few_errors(rng):
    real = np.arange(300) % 2 == 0
    found = calibration_error.error_with_interval(real, real.astype(float), rng=rng)
    assert (found["value"], found["low"], found["raw"]) == (0, 0, 0)
    # Three of n would have been seen in 95 % of cases, 4.4 in 98.75 %.
    assert 2 / 300 < found["high"] < 8 / 300
    nothing = calibration_error.error_with_interval([], [], rng=rng)
    assert nothing["n"] == 0
    assert np.isnan(nothing["high"])


def test_only_the_test_part_is_proof_of_a_calibration(rng):
    split = Table({"candidate_id": [f"c{i}" for i in range(400)]})
    split["label"] = np.where(rng.random(400) < 0.5, "real", "bogus")
    split["part"] = np.where(np.arange(400) < 200, "training", "test")
    split["place_in_training"] = np.arange(400) % 4 == 0
    split["used"] = True
    scores = split["candidate_id",]
    scores["score"] = 0.5
    found = calibration_error.measure(split, scores, seed=1)
    counts = {
        (part, selection): (figures["ece"]["n"], figures["note"])
        for part, selections in found.items()
        for selection, figures in selections.items()
    }
    assert counts == {
        ("out_of_fold", "headline"): (150, calibration_error.FITTED),
        ("out_of_fold", "all"): (200, calibration_error.FITTED),
        ("test", "headline"): (150, ""),
        ("test", "all"): (200, ""),
    }
    words = calibration_error.describe(found)
    assert words[0].startswith("test, new places, 150 candidates")
    assert [text.endswith(calibration_error.FITTED) for text in words] == [0, 0, 1, 1]
    assert calibration_error.describe({}) == []
    split["place_in_training"] = True
    words = calibration_error.describe(calibration_error.measure(split, scores, seed=1))
    assert words[0] == "test, new places: no candidates"


def test_an_interval_holds_the_figure_and_shrinks_with_the_candidates(rng):
    share = rng.random(4000)
    real = rng.random(4000) < share
    few, many = (
        calibration_error.with_interval(
            evaluate.brier, real[:n], share[:n], rng=np.random.default_rng(1)
        )
        for n in (100, 4000)
    )
    for found in (few, many):
        assert found["low"] < found["value"] < found["high"]
    # As the square root of 40, each width known to 10 % from 500 draws.
    ratio = (few["high"] - few["low"]) / (many["high"] - many["low"])
    assert ratio == pytest.approx(np.sqrt(40), rel=0.35)
    nothing = calibration_error.with_interval(evaluate.brier, [], [], rng=rng)
    assert nothing["n"] == 0
    assert np.isnan(nothing["value"])


def test_one_part_has_the_same_figures_whatever_is_measured_beside_it(rng):
    split = Table({"candidate_id": [f"c{i}" for i in range(300)]})
    split["label"] = np.where(rng.random(300) < 0.5, "real", "bogus")
    split["part"] = np.where(np.arange(300) < 200, "training", "test")
    split["place_in_training"], split["used"] = False, True
    scores = split["candidate_id",]
    scores["score"] = rng.random(300)
    whole = calibration_error.measure(split, scores, seed=1)
    alone = calibration_error.measure(split[200:], scores, seed=1)
    assert alone["test"] == whole["test"]
