import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from gmadet_nb.imaging.kinds import KINDS, count_kinds, kinds_of, pick_examples
from gmadet_nb.imaging.measure import FLAG_BITS
from gmadet_nb.views.plots_kinds import kinds_on_image, kinds_sheet

SHAPE = (80, 120)
STREAK = Table({"x1": [5.0], "y1": [5.0], "x2": [100.0], "y2": [70.0]})


def found(*flags, snr=None):
    n = len(flags)
    return Table(
        {
            "x": np.linspace(20, 100, n),
            "y": np.linspace(20, 60, n),
            "snr": np.arange(n) + 5.0 if snr is None else snr,
            "flags": [sum(FLAG_BITS[name] for name in names) for names in flags],
        }
    )


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ((), "clean"),
        (("dipole",), "dipole"),
        (("repeats",), "repeats"),
        (("repeats", "dipole", "edge"), "repeats"),
        (("saturated_near", "masked_core"), "near saturated"),
        (("edge",), "masked or edge"),
        (("fit_failed", "dipole"), "masked or edge"),
    ],
)
def test_kind_is_that_of_the_flag_that_explains_most(names, kind):
    assert kinds_of(found(names))[0] == kind


def test_every_flag_has_a_kind_of_its_own():
    for name in FLAG_BITS:
        assert kinds_of(found((name,)))[0] in set(KINDS) - {"clean", "negative"}


def test_counts_name_the_kinds_that_there_are():
    assert count_kinds(found((), ("repeats",), ("repeats", "edge"))) == (
        "1 clean, 2 repeats"
    )
    assert count_kinds(found()) == ""


def test_examples_are_the_strongest_of_each_kind():
    candidates = found((), (), (), ("dipole",), snr=[5.0, 30.0, 12.0, 7.0])
    negatives = found((), (), snr=[-6.0, -40.0])
    examples = pick_examples(candidates, negatives, n=2)

    assert examples["kind"].tolist() == ["clean"] * 2 + ["dipole"] + ["negative"] * 2
    assert examples["snr"].tolist() == [30, 12, 7, -40, -6]


def test_night_without_detections_has_no_examples():
    examples = pick_examples(found(), Table(), n=2)

    assert len(examples) == 0
    assert examples.colnames == ["kind", "x", "y", "snr"]


def test_image_shows_each_kind_with_a_marker_of_its_own(rng):
    candidates = found((), ("dipole",), ("repeats",), ("dipole",))
    ax = Figure().subplots()
    kinds_on_image(rng.normal(0, 5, SHAPE), candidates, found(()), STREAK, ax=ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]

    assert labels == [
        "clean: 1",
        "dipole: 2",
        "repeats: 1",
        "negative: 1",
        "streaks: 1",
    ]
    shapes = {str(points.get_paths()[0].vertices.tolist()) for points in ax.collections}
    assert len(shapes) == len(ax.collections)


def test_empty_image_is_drawn_without_a_legend(rng):
    ax = Figure().subplots()
    kinds_on_image(rng.normal(0, 5, SHAPE), found(), Table(), Table(), ax=ax)

    assert ax.get_legend() is None


def test_sheet_names_each_example(rng):
    planes = [rng.normal(0, 5, SHAPE) for _ in range(3)]
    examples = pick_examples(found((), ("dipole",)), Table(), n=1)
    fig = kinds_sheet(planes, examples, size=16)
    texts = [text.get_text() for text in fig.axes[0].texts]

    assert "clean\nS/N 5.0" in texts
    assert "dipole\nS/N 6.0" in texts
