import numpy as np
import pytest
from astropy.table import Table, vstack
from matplotlib.figure import Figure

from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.kinds import (
    KINDS,
    count_kinds,
    kinds_of,
    pick_examples,
    pick_exposure,
)
from gmadet_nb.imaging.measure import FLAG_BITS
from gmadet_nb.views.plots_kinds import kinds_on_image, kinds_sheet
from gmadet_nb.views.stretch import hide_masked

SHAPE = (80, 120)


def streak(kind="streak", snr=9.0, exposure="a"):
    return Table(
        {
            "exposure_id": [exposure],
            "x1": [5.0],
            "y1": [5.0],
            "x2": [101.0],
            "y2": [69.0],
            "angle": [np.degrees(np.arctan2(64, 96))],
            "reach": [2.0],
            "snr": [snr],
            "kind": [kind],
        }
    )


def found(*flags, snr=None, exposure="a"):
    n = len(flags)
    return Table(
        {
            "exposure_id": np.full(n, exposure),
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
    examples = pick_examples(candidates, negatives, streak(), shown="a", n=2)

    assert examples["kind"].tolist() == [
        *["clean"] * 2,
        "dipole",
        *["negative"] * 2,
        "streak",
    ]
    assert examples["snr"].tolist() == [30, 12, 7, -40, -6, 9]
    # The middle of the streak.
    assert (examples["x"][-1], examples["y"][-1]) == (53, 37)


def test_residuals_of_one_star_are_one_example():
    candidates = found((), (), (), snr=[5.0, 30.0, 12.0])
    candidates["x"], candidates["y"] = [50.0, 54.0, 90.0], [40.0, 43.0, 40.0]
    examples = pick_examples(candidates, Table(), Table(), shown="a", n=3)

    assert examples["snr"].tolist() == [30, 12]


def test_kind_that_the_exposure_lacks_is_shown_of_another():
    night = vstack(
        [
            found((), snr=[6.0]),
            found((), ("repeats",), snr=[60.0, 8.0], exposure="b"),
            found(("repeats",), ("repeats",), snr=[20.0, 7.0], exposure="c"),
        ]
    )
    lines = streak("detector", exposure="b")
    examples = pick_examples(night, Table(), lines, shown="a", n=2)

    assert examples["kind"].tolist() == ["clean", "repeats", "repeats", "detector line"]
    assert examples["exposure_id"].tolist() == ["a", "c", "c", "b"]


def test_night_without_detections_has_no_examples():
    examples = pick_examples(found(), Table(), Table(), shown="a", n=2)

    assert len(examples) == 0
    assert examples.colnames == ["kind", "exposure_id", "x", "y", "snr"]


def test_exposure_with_the_brightest_trail_is_shown():
    subtractions = Table({"exposure_id": list("abc"), "noise_width": [np.nan, 1, 1.0]})
    faint, line = streak(exposure="b"), streak("detector", snr=99.0, exposure="c")

    assert pick_exposure(subtractions, vstack([line, faint])) == "b"
    assert pick_exposure(subtractions, line) == "c"
    assert pick_exposure(subtractions, Table()) == "b"


def test_masked_pixels_are_hidden_but_for_streaks():
    mask = np.zeros((2, 3), np.uint8)
    mask[0] = [MASK_BITS["bad"], MASK_BITS["streak"], MASK_BITS["injected"]]
    mask[1] = [MASK_BITS["saturated"], 0, MASK_BITS["streak"] | MASK_BITS["edge"]]
    hidden = np.isnan(hide_masked(np.ones((2, 3)), mask))

    assert hidden.tolist() == [[True, False, False], [True, False, True]]


def test_image_shows_each_kind_with_a_marker_of_its_own(rng):
    candidates = found((), ("dipole",), ("repeats",), ("dipole",))
    ax = Figure().subplots()
    streaks = vstack([streak(), streak("detector"), streak()])
    kinds_on_image(rng.normal(0, 5, SHAPE), candidates, found(()), streaks, ax=ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]

    assert labels == [
        "clean: 1",
        "dipole: 2",
        "repeats: 1",
        "negative: 1",
        "streak: 2",
        "detector line: 1",
    ]
    shapes = {str(points.get_paths()[0].vertices.tolist()) for points in ax.collections}
    assert len(shapes) == len(ax.collections)
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_streak_is_seen_between_two_lines(rng):
    ax = Figure().subplots()
    kinds_on_image(rng.normal(0, 5, SHAPE), found(), Table(), streak(), ax=ax)
    x, y = (np.array([line.get_data()[i] for line in ax.lines]) for i in (0, 1))

    np.testing.assert_allclose(x.mean(0), [5, 101])
    np.testing.assert_allclose(y.mean(0), [5, 69])
    # Its reach of 2 pixels on either side, at right angles to it.
    np.testing.assert_allclose(np.hypot(x[1] - x[0], y[1] - y[0]), 4)
    along = (x[1] - x[0]) * 96 + (y[1] - y[0]) * 64
    np.testing.assert_allclose(along, 0, atol=1e-9)


def test_empty_image_is_drawn_without_a_legend(rng):
    ax = Figure().subplots()
    kinds_on_image(rng.normal(0, 5, SHAPE), found(), Table(), Table(), ax=ax)

    assert ax.get_legend() is None


def test_sheet_names_each_example(rng):
    night = vstack([found(()), found((), ("dipole",), exposure="b")])
    examples = pick_examples(night, Table(), Table(), shown="a", n=1)
    fig = kinds_sheet(rng.normal(0, 5, (2, 16, 16, 3)), examples, shown="a")
    texts = [text.get_text() for text in fig.axes[0].texts]

    assert "clean\nS/N 5.0" in texts
    assert "dipole\nS/N 6.0\nb" in texts
