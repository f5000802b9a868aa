import re
from itertools import pairwise

import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning.learning_curve import learning_curve, recommend


def draw(n_real, n_bogus, rng):
    """Draw rows whose kinds lie two scatters apart in each of 30 numbers."""
    label = np.array(["real"] * n_real + ["bogus"] * n_bogus)
    x = rng.normal(0, 1, (len(label), 30))
    x[label == "real"] += 0.55
    return Table({"label": label, "x": x})


def fit_means(rows):
    """Fit Fisher's discriminant with unit scatter: the difference of the means."""
    real = rows["label"] == "real"
    direction = rows["x"][real].mean(axis=0) - rows["x"][~real].mean(axis=0)
    fit_means.seen.append(rows)
    return lambda test: 1 / (1 + np.exp(-(np.asarray(test["x"]) @ direction - 4)))


@pytest.fixture
def curve():
    rng = np.random.default_rng(4)
    fit_means.seen = []
    return learning_curve(
        fit_means, draw(150, 2000, rng), draw(2000, 2000, rng), target_fpr=0.05, rng=rng
    )


def test_more_real_ones_help_where_there_are_few_and_bogus_abound(curve):
    real, bogus = (curve[curve["varied"] == kind] for kind in ("real", "bogus"))
    assert list(real["n_real"]) == [15, 30, 60, 105, 150]
    assert set(real["n_bogus"]) == {2000}
    assert list(bogus["n_bogus"]) == [200, 400, 800, 1400, 2000]
    # Beyond the intervals of both ends.
    assert real["tpr"][-1] > real["high"][0]
    assert abs(bogus["tpr"][-1] - bogus["tpr"][1]) < 0.02
    more_real, more_bogus = recommend(curve)
    assert more_real.startswith("150 more real candidates would gain about")
    assert "2000 more bogus candidates would gain next to nothing" in more_bogus
    best, low, high = map(float, re.findall(r"([0-9.]+)%", more_real))
    assert low <= best <= high


def test_a_step_keeps_what_the_one_before_had(curve):
    rows = [{tuple(x[:2]) for x in seen["x"]} for seen in fit_means.seen[:5]]
    for few, many in pairwise(rows):
        assert few < many


def test_too_few_candidates_make_no_step():
    rng = np.random.default_rng(4)
    fit_means.seen = []
    curve = learning_curve(
        fit_means, draw(20, 300, rng), draw(50, 50, rng), target_fpr=0.05, rng=rng
    )
    # 2, 4 and 8 real ones are left out.
    assert list(curve["n_real"][curve["varied"] == "real"]) == [14, 20]
    assert "Too few real" in recommend(curve)[0]


def test_several_draws_are_averaged_and_all_of_them_are_drawn_once():
    rng = np.random.default_rng(4)
    rows, test = draw(150, 400, rng), draw(500, 500, rng)
    n_seen = []

    def fit(some):
        n_seen.append(len(some))
        return fit_means(some)

    fit_means.seen = []
    curve = learning_curve(fit, rows, test, target_fpr=0.05, rng=rng, n_draws=3)
    assert len(curve) == 10
    # Four steps of three draws and one of all, for real and for bogus.
    assert len(n_seen) == 2 * (4 * 3 + 1)
    assert n_seen[:3] == [15 + 400] * 3
    assert np.all((curve["low"] <= curve["tpr"]) & (curve["tpr"] <= curve["high"]))
