import numpy as np
import pytest

from gmadet_nb.learning.other_half import auc_of_other_half

N = 1200


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
    table = auc_of_other_half(fit_sign(shape, real), real, snr, groups)
    assert list(table["judged"]) == ["faint", "bright"]
    # Two Gaussians one apart, each 0.3 wide: Phi(1 / 0.42) = 0.991.
    for name in ("same", "other"):
        assert table[name] == pytest.approx(0.991, abs=0.01)
    assert table["n_real"].sum() == real.sum()


def test_what_turns_round_with_brightness_fails_on_the_other_half(sky):
    real, snr, groups, rng = sky
    turned = np.where(snr < 20, 1, -1) * (real - 0.5) + 0.2 * rng.standard_normal(N)
    table = auc_of_other_half(fit_sign(turned, real), real, snr, groups)
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

    auc_of_other_half(fit, real, snr, groups)


def test_too_few_of_a_kind_are_not_halved():
    table = auc_of_other_half(None, np.zeros(50, bool), np.full(50, 9.0), np.zeros(50))
    assert np.isnan(table["same"]).all()
    assert len(auc_of_other_half(None, [], [], [])) == 2
