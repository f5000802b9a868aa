import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from gmadet_nb.learning.curves import confusion, over_thresholds
from gmadet_nb.learning.shortcuts import auc_at_fixed_snr
from gmadet_nb.views import plots_trust
from gmadet_nb.views.style import NO_MEASUREMENT_COLOR


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture
def curve():
    rng = np.random.default_rng(1)
    real = rng.random(300) < 0.4
    return over_thresholds(real, np.clip(0.3 * real + 0.7 * rng.random(300), 0, 1))


def test_threshold_stands_where_the_curve_has_it(curve, ax):
    plots_trust.precision_recall(curve, threshold=0.6, bogus_per_real=10, ax=ax)
    kept = curve[curve["threshold"] >= 0.6][-1]

    mark = ax.lines[1].get_xydata()[0]
    assert mark == pytest.approx((kept["recall"], kept["precision"]))
    # In this mixture there are n_bogus / n_real a real one, in the stream 10.
    fpr = kept["n_bogus"] / curve["n_bogus"][-1]
    in_stream = kept["recall"] / (kept["recall"] + 10 * fpr)
    assert ax.lines[3].get_xydata()[0] == pytest.approx((kept["recall"], in_stream))


def test_merits_are_drawn_with_the_threshold(curve, ax):
    plots_trust.merit_by_threshold(curve, threshold=0.6, ax=ax)

    assert ax.lines[0].get_ydata() == pytest.approx(np.asarray(curve["f1"]))
    assert ax.lines[2].get_xdata()[0] == 0.6


def test_confusion_shows_numbers_and_shares(ax):
    real = np.array([True] * 4 + [False] * 100)
    kept = np.array([True] * 3 + [False] + [True] * 1 + [False] * 99)
    plots_trust.confusion_matrix(confusion(real, kept), ax=ax)

    texts = [text.get_text() for text in ax.texts]
    assert texts == ["3\n75.0%", "1\n25.0%", "1\n1.0%", "99\n99.0%"]


def test_learning_curve_has_one_panel_a_kind():
    curve = Table(
        {
            "varied": ["real", "real", "bogus"],
            "n_real": [10, 20, 20],
            "n_bogus": [90, 90, 30],
            "tpr": [0.5, 0.7, 0.6],
            "low": [0.4, 0.6, 0.5],
            "high": [0.6, 0.8, 0.7],
        }
    )
    figure, axes = plt.subplots(1, 2)
    plots_trust.learning_curve(curve, axes=axes)
    assert list(axes[0].lines[0].get_xdata()) == [10, 20]
    assert list(axes[1].lines[0].get_xdata()) == [30]
    plots_trust.learning_curve(curve[:0], axes=axes)
    assert axes[0].texts[-1].get_text() == "too few candidates"
    plt.close(figure)


def test_explanations_are_symmetric_about_nothing():
    pixels = np.random.default_rng(0).normal(0, 1, (2, 9, 9, 3))
    maps = np.zeros((2, 9, 9))
    maps[0, 4, 4], maps[1, 2, 2] = 3.0, -2.0
    figure, axes = plt.subplots(2, 2)
    plots_trust.explanations(pixels, maps, ["a", "b"], axes=axes)

    assert [ax.images[0].get_clim() for ax in axes[1]] == [(-3, 3), (-2, 2)]
    plt.close(figure)


def test_panels_without_data_say_so(ax):
    empty = over_thresholds([], [])
    for draw in (
        lambda: plots_trust.precision_recall(
            empty, threshold=0.5, bogus_per_real=100, ax=ax
        ),
        lambda: plots_trust.merit_by_threshold(empty, threshold=0.5, ax=ax),
        lambda: plots_trust.confusion_matrix(np.zeros((2, 2), int), ax=ax),
        lambda: plots_trust.auc_by_snr(auc_at_fixed_snr([], [], []), ax=ax),
    ):
        draw()
        assert ax.texts[-1].get_text().startswith(("no ", "too few"))


def test_area_is_drawn_where_it_is_known(ax):
    table = Table(
        {
            "snr_low": [4.0, 9.0, 16.0],
            "snr_high": [9.0, 16.0, 25.0],
            "auc": [0.9, np.nan, 0.99],
        }
    )
    plots_trust.auc_by_snr(table, ax=ax)
    assert ax.lines[0].get_xydata() == pytest.approx(np.array([[6, 0.9], [20, 0.99]]))


@pytest.mark.parametrize("why", ["No learning curve was asked for.", "No numbers."])
def test_the_reason_for_no_learning_curve_is_the_one_given(why):
    curve = Table(names=("varied", "tpr"), dtype=(str, float))
    axes = Figure().subplots(1, 2)
    plots_trust.learning_curve(curve, axes=axes, why_not=why)
    said = [ax.texts[0].get_text().replace("\n", " ") for ax in axes]
    assert said == [why, why]


def test_the_mark_at_the_threshold_is_in_the_legend(curve, ax):
    plots_trust.precision_recall(curve, threshold=0.6, bogus_per_real=10, ax=ax)
    assert "at the threshold" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_unmeasured_pixels_of_explained_cutouts_have_their_own_colour():
    pixels = np.random.default_rng(0).normal(0, 1, (1, 9, 9, 3))
    pixels[0, 0, 0] = np.nan
    axes = Figure().subplots(2, 1, squeeze=False)
    plots_trust.explanations(pixels, np.zeros((1, 9, 9)), ["a"], axes=axes)
    image = axes[0, 0].images[0]
    color = image.to_rgba(image.get_array())[0, 0, :3]
    assert color == pytest.approx(NO_MEASUREMENT_COLOR)
