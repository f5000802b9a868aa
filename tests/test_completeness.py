import numpy as np
import pytest
from scipy import stats

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning import completeness


def test_the_interval_is_that_of_clopper_and_pearson():
    # By its definition: at each end, the chance of what was seen or more extreme is
    # 2.5 %.
    low, high = completeness.binomial_interval(7, 50)
    assert stats.binom.sf(6, 50, low) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom.cdf(7, 50, high) == pytest.approx(0.025, rel=1e-6)
    assert completeness.binomial_interval(0, 300)[1] == pytest.approx(
        1 - 0.025 ** (1 / 300), rel=1e-6
    )
    low, high = completeness.binomial_interval([0, 5, 0], [5, 5, 0])
    assert (low[0], high[1]) == (0, 1)
    assert (low[2], high[2]) == (0, 1)
    with pytest.raises(BadInputError, match="between 0 and trials"):
        completeness.binomial_interval(3, 2)


def test_completeness_counts_each_source_in_its_bin():
    mags = [14.0, 14.5, 15.0, 16.0, 99.0, np.nan]
    found = [True, False, True, True, True, True]
    table = completeness.completeness(mags, found, [14, 15, 16, 17, 18])

    assert list(table["n_injected"]) == [2, 1, 1, 0]
    assert list(table["n_recovered"]) == [1, 1, 1, 0]
    np.testing.assert_array_equal(table["completeness"], [0.5, 1, 1, np.nan])
    assert (table["low"] <= np.nan_to_num(table["completeness"], nan=0.5)).all()
    with pytest.raises(BadParameterError, match="rise"):
        completeness.completeness(mags, found, [15, 14])


def test_m50_comes_out_where_it_was_put(rng):
    mags = rng.uniform(15, 23, 3000)
    found = rng.random(3000) < 0.97 * stats.norm.sf((mags - 19.6) / 0.5)
    fit = completeness.fit_m50(mags, found)

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
    fit = completeness.fit_m50(mags, found)

    assert np.isnan(fit.m50)
    assert why in fit.reason
