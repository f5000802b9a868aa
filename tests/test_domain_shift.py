import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm

from gmadet_nb.learning.domain_shift import compare_samples, describe_shift


def test_shift_is_measured_by_its_size_and_not_by_its_significance():
    rng = np.random.default_rng(2)
    injected = Table({"snr": rng.normal(0, 1, 5000), "fwhm": rng.normal(0, 1, 5000)})
    sky = Table({"snr": rng.normal(0.1, 1, 5000), "fwhm": rng.normal(1, 1, 5000)})
    table = compare_samples(injected, sky, ["snr", "fwhm"])

    # A tenth of the scatter is significant with 5,000 and does not matter.
    assert table["p"][0] < 1e-3
    # P(a > b) of two normal distributions d apart is Phi(-d / sqrt 2); the standard
    # error of delta is about sqrt(4 / (3 n)).
    for row, distance in zip(table, (0.1, 1.0), strict=True):
        wanted = 2 * norm.cdf(-distance / np.sqrt(2)) - 1
        assert row["delta"] == pytest.approx(wanted, abs=4 * np.sqrt(4 / 15000))
    [words] = describe_shift(table, first="Injected", second="sky's")
    assert "Injected have lower fwhm" in words
    assert "Look at the PSF in 01_images" in words


def test_too_few_or_missing_values_say_nothing():
    some = Table({"snr": np.append(np.arange(19.0), np.nan)})
    many = Table({"snr": np.arange(100.0)})
    table = compare_samples(some, many, ["snr", "fwhm"])

    assert list(table["n_first"]) == [19, 0]
    assert np.isnan(table["delta"]).all()
    assert describe_shift(table, first="a", second="b") == []
