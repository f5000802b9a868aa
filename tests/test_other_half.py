import numpy as np
import pytest

from gmadet_nb.learning.other_half import judge_other_half, warn_of_halves

N = 1200
# 5% of 300 bogus is known to 2.7% to 8% (95%): thresholds z = 1.93 to 1.41 sigma up.
TARGET = 0.05


@pytest.fixture
def sky():
    rng = np.random.default_rng(7)
    real = rng.random(N) < 0.5
    snr = np.exp(rng.uniform(np.log(4), np.log(100), N))
    return real, snr, np.arange(N) % 4, rng


def fit_sign(values, real):
    """Fit whether real ones stand above or below the middle of the others."""

    def fit(rows):
        kinds = [np.median(values[rows & kind]) for kind in (real, ~real)]
        sign = np.sign(kinds[0] - kinds[1])
        return lambda out: sign * values[out]

    return fit


def test_what_tells_them_apart_everywhere_holds_on_the_other_half(sky):
    real, snr, groups, rng = sky
    shape = real + 0.3 * rng.standard_normal(N)
    table = judge_other_half(
        fit_sign(shape, real), real, snr, groups, target_fpr=TARGET
    )
    assert list(table["judged"]) == ["faint", "bright"]
    # Two Gaussians one apart, each 0.3 wide: Phi(1 / 0.42) = 0.991.
    for name in ("same", "other"):
        assert table[name] == pytest.approx(0.991, abs=0.01)
    assert table["n_real"].sum() == real.sum()


def test_what_turns_round_with_brightness_fails_on_the_other_half(sky):
    real, snr, groups, rng = sky
    turned = np.where(snr < 20, 1, -1) * (real - 0.5) + 0.2 * rng.standard_normal(N)
    table = judge_other_half(
        fit_sign(turned, real), real, snr, groups, target_fpr=TARGET
    )
    assert np.all(table["same"] > 0.95)
    assert np.all(table["other"] < 0.05)


def test_no_group_is_judged_by_what_has_seen_it(sky):
    real, snr, groups, _ = sky

    def fit(rows):
        known = set(groups[rows])

        def judge(out):
            assert known.isdisjoint(groups[out])
            return np.zeros(out.sum())

        return judge

    judge_other_half(fit, real, snr, groups, target_fpr=TARGET)


def test_a_threshold_that_holds_at_any_brightness_is_not_warned_of(sky):
    real, snr, groups, rng = sky
    shape = real + 0.3 * rng.standard_normal(N)
    table = judge_other_half(
        fit_sign(shape, real), real, snr, groups, target_fpr=TARGET
    )
    for row in table:
        assert row["fpr_low"] < 0.08
        assert row["fpr_high"] > 0.027
        # Phi(1 / 0.3 - z): 0.92 and 0.97.
        assert row["tpr_high"] > 0.92
        assert row["tpr_low"] < 0.97
    assert warn_of_halves(table) == []


def test_a_false_positive_rate_that_grows_is_said_though_the_areas_stay(sky):
    real, snr, groups, rng = sky
    faint = snr < 20
    # Of the faint all stand higher: told apart as well as ever, by another threshold.
    shape = real + 0.15 * rng.standard_normal(N) + 0.3 * faint
    table = judge_other_half(
        fit_sign(shape, real), real, snr, groups, target_fpr=TARGET
    )
    assert np.all(table["same"] - table["other"] < 0.001)
    row = table[0]
    assert row["judged"] == "faint"
    # Phi(0.3 / 0.15 - z): 0.53 and 0.72.
    assert row["fpr_high"] > 0.53
    assert row["fpr_low"] < 0.72
    [text] = warn_of_halves(table)
    assert text.startswith("A threshold for 5.0% of the bright bogus keeps ")
    assert f"{row['fpr_value']:.1%} ({row['fpr_low']:.1%} to" in text
    assert "of the faint ones, which did not train" in text


def test_real_ones_lost_at_the_threshold_of_the_other_half_are_said(sky):
    real, snr, groups, rng = sky
    faint = snr < 20
    shape = real + 0.15 * rng.standard_normal(N) - 0.8 * faint
    table = judge_other_half(
        fit_sign(shape, real), real, snr, groups, target_fpr=TARGET
    )
    row = table[0]
    # Phi(0.2 / 0.15 - z): 0.28 and 0.47.
    assert row["tpr_high"] > 0.28
    assert row["tpr_low"] < 0.47
    lost = [text for text in warn_of_halves(table) if "real faint ones" in text]
    assert len(lost) == 1
    assert "are lost at an S/N that was not trained" in lost[0]
    assert "Inject and label over the whole range" in lost[0]


def test_the_threshold_is_chosen_by_what_the_model_has_not_seen(sky):
    real, snr, groups, rng = sky
    shape = real + 0.3 * rng.standard_normal(N)

    def by_heart(rows):
        # What has trained is known; the rest is judged by its shape.
        seen = np.where(real, 10.0, -10.0)
        return lambda out: np.where(rows, seen, shape)[out]

    table = judge_other_half(by_heart, real, snr, groups, target_fpr=TARGET)
    for row in table:
        assert row["fpr_low"] < 0.08
        assert row["fpr_high"] > 0.027


def test_a_few_bogus_more_than_wanted_are_chance(sky):
    real, snr, groups, rng = sky
    some = np.flatnonzero(~real)[:40]
    keep = np.sort(np.append(np.flatnonzero(real), some))
    real, snr, groups = real[keep], snr[keep], groups[keep]
    shape = real + 0.3 * rng.standard_normal(len(keep))
    table = judge_other_half(fit_sign(shape, real), real, snr, groups, target_fpr=0.01)
    # None of some 20 may pass, of which nothing below 14% is known.
    assert np.all(table["fpr_allowed"] > 0.1)
    assert warn_of_halves(table) == []


def test_a_threshold_that_one_of_a_few_bogus_sets_says_nothing_of_real_ones(sky):
    real, snr, groups, rng = sky
    shape = real + 0.3 * rng.standard_normal(N)
    outlier = np.flatnonzero(~real & (snr > 30))[0]
    shape[outlier] = 2.0  # above all but Phi(-3.3) of the real ones
    few = np.flatnonzero(~real & (snr > 20))[:40]
    keep = np.unique([*np.flatnonzero(real | (snr < 20)), *few, outlier])
    real, snr, groups, shape = (one[keep] for one in (real, snr, groups, shape))
    table = judge_other_half(fit_sign(shape, real), real, snr, groups, target_fpr=0.01)
    assert table["tpr_high"][0] < 0.1
    assert table["tpr_same_low"][0] > 0.5
    assert warn_of_halves(table) == []


def test_too_few_of_a_kind_are_not_halved():
    nothing = np.zeros(50, bool)
    table = judge_other_half(
        None, nothing, np.full(50, 9.0), np.zeros(50), target_fpr=TARGET
    )
    assert np.isnan(table["same"]).all()
    assert warn_of_halves(table) == []
    assert len(judge_other_half(None, [], [], [], target_fpr=TARGET)) == 2
