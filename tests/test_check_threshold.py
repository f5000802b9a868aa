import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning import check_threshold


@pytest.fixture
def good():
    """Return a test part of 75 real and 25 bogus that scores tell apart wholly."""
    real = np.arange(100) < 75
    score = np.where(real, np.linspace(0.6, 0.99, 100), np.linspace(0.1, 0.5, 100))
    return Table({"label": np.where(real, "real", "bogus"), "score": score})


def warn(rows, value, *, n_bogus=1000):
    card = {"threshold": value, "target_fpr": 0.01}
    card |= {"threshold_n_bogus": n_bogus, "threshold_n_above": 1}
    return check_threshold.warn_of_threshold(rows, card)


def test_a_threshold_that_loses_what_another_would_keep_is_said(good):
    cut = float(np.sort(good["score"][good["label"] == "real"])[-6])
    lost, rests = warn(good, cut, n_bogus=100)
    assert "loses 92% of the real ones of the test part (69 of 75)" in lost
    assert "another one would keep 100% of them" in lost
    assert "let none of its 25 bogus pass" in lost
    assert "too few bogus chose it" in lost
    assert "rests on 100 bogus, of which it keeps 1" in rests
    assert "300 or more" in rests
    [alone] = warn(good, cut)
    assert "some may be real" in alone


def test_a_threshold_that_keeps_most_and_rests_on_enough_is_not_warned_of(good):
    assert warn(good, 0.55) == []
    # 40 of 75 lost: the 95 % interval of what is kept reaches over a half.
    cut = float(np.sort(good["score"][good["label"] == "real"])[-35])
    assert warn(good, cut) == []


def test_a_model_that_tells_nothing_is_not_blamed_on_its_threshold(good):
    rng = np.random.default_rng(1)
    good["score"] = rng.random(100)
    [lost] = warn(good, 0.99)
    assert "no other would keep many more" in lost


def test_nothing_is_said_of_a_new_night_or_of_what_a_card_does_not_know(good):
    assert warn(good[:0], 0.99, n_bogus=100) == []
    assert warn(good, 0.55, n_bogus=None) == []
