import numpy as np
import pytest
from astropy.table import Table, vstack
from matplotlib.figure import Figure

from gmadet_nb.learning import evaluate
from gmadet_nb.views import plots_learning


@pytest.fixture
def ax():
    return Figure().add_subplot()


def stairs(ax):
    return {patch.get_label(): patch.get_data() for patch in ax.patches}


def test_every_part_has_a_bar_of_each_kind(ax):
    counts = Table({"part": ["training", "test"], "n_real": [5, 0], "n_bogus": [7, 2]})
    assert plots_learning.parts(counts, ax=ax) is ax
    assert [bar.get_height() for bar in ax.patches] == [5, 0, 7, 2]


def test_the_signal_to_noise_is_counted_by_label(ax):
    labels = ["real"] * 3 + ["bogus"] * 4
    plots_learning.snr_by_label(labels, [4, 8, 100, 5, 5, np.nan, 0], ax=ax)
    found = stairs(ax)
    assert found["3 real"].values.sum() == 3
    assert found["2 bogus"].values.sum() == 2
    assert found["3 real"].edges[-1] >= 100


def test_the_best_epoch_of_each_fold_is_marked():
    table = Table({"epoch": [1, 2, 3], "best": [False, True, False]})
    table["fold"] = [0, 0, 0]
    for name in ("loss", "auc", "val_loss", "val_auc"):
        table[name] = [0.9, 0.5, 0.7]
    axes = Figure().subplots(1, 2)
    other = table.copy()
    other["fold"], other["best"] = 1, [False, False, True]
    plots_learning.history(vstack([table, other]), axes=axes)
    for ax in axes:
        marks = [
            tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 1
        ]
        assert sorted(marks) == [(2,), (2,), (3,), (3,)]
        named = {line.get_label(): line for line in ax.lines}
        assert list(named["validation"].get_ydata()) == [0.9, 0.5, 0.7]
        assert len(ax.lines) == 8


def test_scores_are_counted_by_label_and_the_threshold_drawn(ax):
    plots_learning.scores_by_label(
        ["real", "real", "bogus"], [0.9, 1.0, 0.1], threshold=0.5, ax=ax
    )
    found = stairs(ax)
    assert found["2 real"].values[36:].sum() == 2  # 0.9 to 1
    assert found["1 bogus"].values[4] == 1
    assert {x for line in ax.lines for x in line.get_xdata()} == {0.5}


def test_reliability_leaves_out_empty_bins(ax):
    table = evaluate.reliability([True, False, True], [0.95, 0.05, 0.9], n_bins=10)
    plots_learning.reliability(table, ax=ax)
    (bars,) = ax.containers
    np.testing.assert_allclose(bars.lines[0].get_xdata(), [0.05, 0.925])
    np.testing.assert_allclose(bars.lines[0].get_ydata(), [0, 1])


def test_nothing_to_draw_is_said(ax):
    plots_learning.scores_by_label([], [], threshold=0.5, ax=ax)
    plots_learning.snr_by_label([], [], ax=ax)
    plots_learning.reliability(evaluate.reliability([], []), ax=ax)
    assert len(ax.texts) == 3


def test_epochs_are_whole_numbers():
    table = Table({"epoch": [1, 2], "best": [False, True], "fold": [0, 0]})
    for name in ("loss", "auc", "val_loss", "val_auc"):
        table[name] = [0.9, 0.5]
    for axis in plots_learning.history(table, axes=Figure().subplots(1, 2)):
        ticks = axis.get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))


def test_no_legend_hides_a_point_of_the_reliability(ax):
    plots_learning.reliability(evaluate.reliability([True, False], [0.9, 0.8]), ax=ax)
    assert ax.get_legend() is None
