import numpy as np
import pytest
from astropy.table import Table, vstack
from matplotlib.figure import Figure

from gmadet_nb.views import plots, plots_checks, plots_recovery
from gmadet_nb.views.stretch import (
    NO_MEASUREMENT,
    WHITE,
    robust_sigma,
    stretch_triplets,
)


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture
def axes():
    return Figure().subplots(1, 3)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def stairs(ax):
    return {patch.get_label(): patch.get_data() for patch in ax.patches}


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


class Psf:
    """Wider to the right, as many pixels as 3 plus a hundredth of x."""

    def __call__(self, x, y):
        grid = np.arange(-7, 8)
        stamp = np.exp(-(grid**2) / 8)[:, None] * np.exp(-(grid**2) / 8)
        return stamp / stamp.sum()

    def fwhm_at(self, x, y):
        return 3 + x / 100


def test_image_has_row_0_at_the_bottom_and_its_own_size(ax):
    data = np.random.default_rng(0).normal(100, 5, (20, 50))
    data[3, 4] = np.nan
    assert plots.show_image(data, ax=ax, title="night", vmin=90) is ax
    image = ax.images[0]
    assert image.origin == "lower"
    assert image.get_extent() == [-0.5, 49.5, -0.5, 19.5]
    assert image.get_clim()[0] == 90
    assert tuple(image.cmap.get_bad()[:3]) == plots.NO_MEASUREMENT_COLOR
    assert ax.get_xlabel() == "x [pixel]"


def test_image_without_any_measurement_can_be_shown(ax):
    plots.show_image(np.full((5, 5), np.nan), ax=ax)
    assert ax.images[0].get_clim() == (0, 1)


def test_before_and_after_share_a_stretch_and_mark_the_sources(axes):
    before = np.random.default_rng(0).normal(100, 5, (30, 40))
    sources = Table({"x": [5.0, 30.0], "y": [7.0, 20.0]})
    plots.before_after(before, before + 50, sources, axes=axes[:2])
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim()
    np.testing.assert_array_equal(
        axes[1].collections[0].get_offsets(), [[5, 7], [30, 20]]
    )


def test_triplet_shares_a_stretch_and_the_difference_is_symmetric(axes):
    rng = np.random.default_rng(0)
    science, difference = rng.normal(500, 5, (30, 40)), rng.normal(0, 3, (30, 40))
    plots.triplet(science, science - 500, difference, axes=axes, x=10, y=20)
    limits = [ax.images[0].get_clim() for ax in axes]
    assert limits[0] == limits[1]
    assert limits[2][0] == -limits[2][1]
    # 5 sigma of 3 adu, known to 1 / sqrt(2 * 1200) times 1.7 for the median.
    assert limits[2][1] == pytest.approx(15, rel=0.15)


def test_noise_histogram_counts_unmasked_pixels_and_says_their_width(ax):
    rng = np.random.default_rng(0)
    difference = rng.normal(0, 6, (100, 100))
    mask = np.zeros((100, 100), dtype=np.uint8)
    mask[:, :50] = 1
    plots.noise_histogram(difference, np.full((100, 100), 3.0), mask, ax=ax)
    (label, (density, edges, _)), *_ = stairs(ax).items()
    assert np.sum(density * np.diff(edges)) == pytest.approx(5000)
    width = float(label.rsplit(" ", 1)[1])
    # From 5000 pixels the median deviation is known to 1.17 / sqrt(5000) = 1.7 %.
    assert width == pytest.approx(2.0, rel=0.07)


def test_exposures_set_aside_have_another_marker(ax):
    table = Table(
        {
            "exposure_id": ["a", "b", "c"],
            "fwhm": [3.0, 9.0, np.nan],
            "used": [True, False, False],
        }
    )
    plots.fwhm_per_exposure(table, ax=ax)
    used, aside = ax.collections
    np.testing.assert_array_equal(used.get_offsets(), [[3, 0]])
    np.testing.assert_array_equal(aside.get_offsets(), [[9, 1]])
    assert texts(ax) == ["not measured"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_fwhm_map_is_not_transposed(ax):
    plots.fwhm_map(Psf(), (100, 300), ax=ax)
    values = ax.images[0].get_array()
    assert values[0, 0] == pytest.approx(3.12)  # the first of 12 points: x 12
    assert values[0, -1] == pytest.approx(5.87)
    assert values[-1, 0] == values[0, 0]
    assert ax.images[0].get_extent() == [-0.5, 299.5, -0.5, 99.5]


def test_psf_grid_has_the_top_of_the_image_on_top():
    axes = Figure().subplots(3, 3)
    plots.psf_grid(Psf(), (90, 300), axes=axes)
    assert axes[0, 0].get_title() == "x 50, y 75 [pixel]"
    assert axes[2, 2].get_title() == "x 250, y 15 [pixel]"


def matched(n=50):
    ids = [f"s{i}" for i in range(n)]
    sources = Table({"source_id": ids, "x": np.arange(n) * 1.0, "y": np.zeros(n)})
    sources["mag"], sources["flux"] = 18.0, 1000.0
    candidates = Table({"candidate_id": [f"c{i}" for i in range(n)][::-1]})
    candidates["x"] = np.arange(n)[::-1] + 0.5
    candidates["y"], candidates["flux"], candidates["flux_err"] = 0.25, 1100.0, 100.0
    candidates["snr"], candidates["psf_fwhm"] = 11.0, 3.0
    crossmatch = Table({"source_id": ids, "candidate_id": [f"c{i}" for i in range(n)]})
    crossmatch["match"] = ["matched"] * (n - 1) + ["missed"]
    return crossmatch, candidates, sources


def test_recovered_positions_are_joined_by_id_not_by_order(axes):
    plots_recovery.recovered_position(*matched(), axes=axes)
    np.testing.assert_allclose(
        axes[0].collections[0].get_offsets(), np.tile([0.5, 0.25], (49, 1))
    )
    np.testing.assert_allclose(
        axes[1].collections[0].get_offsets(), np.tile([18.0, 1.1], (49, 1))
    )


def test_recovered_position_without_a_match_says_none(axes):
    crossmatch, candidates, sources = matched()
    plots_recovery.recovered_position(crossmatch[:0], candidates, sources, axes=axes)
    assert [texts(ax) for ax in axes] == [["none"]] * 3


def test_cutout_sheet_shows_each_plane_of_each_cutout():
    pixels = np.random.default_rng(0).normal(0, 1, (7, 9, 9, 3))
    fig = plots.cutout_sheet(
        pixels, [f"c{i}" for i in range(7)], n_columns=5, title="t"
    )
    images = fig.axes[0].images
    assert len(images) == 21
    grey = stretch_triplets(pixels)
    np.testing.assert_array_equal(images[5].get_array(), grey[1, ..., 2])
    assert {f"c{i}" for i in range(7)} <= set(texts(fig.axes[0]))
    assert fig._repr_png_().startswith(b"\x89PNG")


def test_cutout_sheet_of_nothing_says_none():
    fig = plots.cutout_sheet(np.empty((0, 9, 9, 3)), [], title="t")
    assert texts(fig.axes[0]) == ["none"]


def test_cutout_sheet_refuses_captions_that_do_not_match():
    with pytest.raises(ValueError, match="one caption a cutout, got 1 for 2"):
        plots.cutout_sheet(np.zeros((2, 9, 9, 3)), ["a"])


def test_stretch_is_common_to_science_and_reference_and_keeps_nan():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 1, (1, 11, 11, 3))
    pixels[0, 5, 5, 0] = 100.0
    pixels[0, 5, 5, 1] = 50.0
    pixels[0, 5, 5, 2] = 50.0
    pixels[0, 0, 0, :] = np.nan
    grey = stretch_triplets(pixels)[0]
    assert grey[5, 5, 0] == WHITE
    assert grey[5, 5, 1] < WHITE
    assert grey[5, 5, 2] == WHITE
    assert (grey[0, 0] == NO_MEASUREMENT).all()
    # No change is middle grey; the noise of one sigma is below a tenth of the range.
    assert np.median(grey[..., 2]) == pytest.approx(WHITE / 2, abs=WHITE / 20)


def test_a_bright_neighbour_does_not_hide_a_faint_candidate():
    pixels = np.random.default_rng(0).normal(0, 1, (1, 30, 30, 3))
    pixels[0, 15, 15, [0, 2]] = 12.0
    alone = stretch_triplets(pixels)
    pixels[0, 2, 2] = 1e5
    crowded = stretch_triplets(pixels)
    assert crowded[0, 15, 15, 0] == pytest.approx(int(alone[0, 15, 15, 0]), abs=2)
    assert crowded[0, 15, 15, 2] == WHITE
    assert crowded[0, 2, 2, 0] == WHITE


def test_stretch_ignores_the_background_of_each_plane():
    pixels = np.random.default_rng(0).normal(0, 1, (1, 11, 11, 3))
    lifted = pixels + np.array([1000.0, -300.0, 0.0])
    np.testing.assert_array_equal(stretch_triplets(pixels), stretch_triplets(lifted))


def test_robust_sigma_is_that_of_a_gaussian_and_survives_outliers():
    values = np.random.default_rng(0).normal(3, 2, 20_000)
    values[:1000] = 1e6
    values[1000:1100] = np.nan
    # 5 % of outliers on one side shift it by some 8 %; noise adds 1 %.
    assert robust_sigma(values) == pytest.approx(2, rel=0.1)
    assert robust_sigma([np.nan]) == 0


def completeness(axis="mag"):
    table = Table({"bin_low": [10.0, 12.0, 14.0], "bin_high": [12.0, 14.0, 16.0]})
    table["group"], table["axis"] = "all", axis
    table["completeness"] = [1.0, 0.5, np.nan]
    table["low"], table["high"] = [0.8, 0.3, 0.0], [1.0, 0.7, 1.0]
    return table


@pytest.mark.parametrize(
    ("axis", "middle"), [("mag", [11, 13]), ("snr", [np.sqrt(120), np.sqrt(168)])]
)
def test_completeness_points_have_their_intervals(ax, axis, middle):
    plots_recovery.completeness_curve(completeness(axis), ax=ax)
    points = ax.containers[0]
    np.testing.assert_allclose(points[0].get_xdata(), middle)
    np.testing.assert_allclose(points[0].get_ydata(), [1, 0.5])
    bars = points[2][1].get_segments()
    np.testing.assert_allclose(bars[1][:, 1], [0.3, 0.7])


def test_completeness_draws_the_fit_only_where_there_is_one(ax):
    fit = {"m50": 13.0, "m50_err": 0.1, "width": 0.5, "plateau": 0.9}
    plots_recovery.completeness_curve(completeness(), fit=fit, ax=ax)
    curve = lines(ax)["fit"]
    at = np.interp(13.0, curve.get_xdata(), curve.get_ydata())
    assert at == pytest.approx(0.45, abs=0.01)
    assert lines(ax)["m50 13.00 ± 0.10"].get_xdata()[0] == 13.0
    other = Figure().add_subplot()
    none = fit | {"m50": np.nan, "reason": "too few"}
    plots_recovery.completeness_curve(completeness(), fit=none, ax=other)
    assert texts(other) == ["no m50: too few"]
    assert "fit" not in lines(other)


def test_completeness_of_many_groups_is_lines_and_of_none_says_so(ax):
    table = completeness()
    plots_recovery.completeness_groups(table, ["nobody"], ax=ax)
    assert texts(ax) == ["none to compare"]
    groups = [f"e{i}" for i in range(8)]
    many = vstack([table] * 8)
    many["group"] = np.repeat(groups, 3)
    other = Figure().add_subplot()
    plots_recovery.completeness_groups(many, groups, ax=other)
    assert "8 exposures, a line each" in lines(other)


def test_injected_and_recovered_are_counted_in_the_same_bins(ax):
    rng = np.random.default_rng(0)
    sources = Table({"mag": rng.uniform(14, 20, 200)})
    sources["recovered"] = sources["mag"] < 17
    plots_recovery.injected_and_detected(sources, ax=ax, n_bins=6)
    drawn = stairs(ax)
    n = int(sources["recovered"].sum())
    every, found = drawn["200 injected"], drawn[f"{n} recovered"]
    np.testing.assert_array_equal(every.edges, found.edges)
    expected = np.histogram(sources["mag"], every.edges)[0]
    np.testing.assert_array_equal(every.values, expected)
    assert found.values.sum() == n


def test_scores_are_split_at_the_limits_of_magnitude(ax):
    scores = np.array([0.99, 0.9, 0.2, 0.1, np.nan])
    mags = np.array([11.0, 15.0, 18.0, 22.0, 15.0])
    plots_checks.scores_by_magnitude(scores, mags, mag_bins=[12, 18, 21], ax=ax)
    drawn = stairs(ax)
    assert list(drawn) == [
        "mag < 12 (1)",
        "mag 12 to 18 (1)",
        "mag 18 to 21 (1)",
        "mag ≥ 21 (1)",
    ]
    assert drawn["mag 18 to 21 (1)"].values[8] == 1  # 0.2 opens the bin 8 of 40


def test_score_histogram_marks_the_threshold(ax):
    scores = np.random.default_rng(0).uniform(0, 1, 500)
    plots_checks.score_histogram(scores, threshold=0.37, ax=ax)
    counts, edges, _ = stairs(ax)["500 candidates"]
    np.testing.assert_array_equal(counts, np.histogram(scores, edges)[0])
    assert lines(ax)["threshold 0.370"].get_xdata()[0] == 0.37
    assert ax.get_yscale() == "log"


def test_injected_and_rest_are_told_apart(ax):
    scores = np.array([0.9, 0.95, 0.1])
    plots_checks.scores_injected_and_rest(
        scores, np.array([True, True, False]), threshold=0.5, ax=ax
    )
    drawn = stairs(ax)
    assert drawn["2 injected"].values.sum() == 2
    assert drawn["1 the rest"].values[4] == 1


def test_fraction_kept_is_that_of_each_magnitude_range(ax):
    scores = np.array([0.9, 0.6, 0.2, 0.9])
    mags = np.array([15.0, 15.0, 15.0, 20.0])
    plots_checks.kept_by_magnitude(
        scores, mags, mag_bins=[18], score_bins=[0.5, 0.7], ax=ax
    )
    kept = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    np.testing.assert_allclose(kept["score ≥ 0.5"], [2 / 3, 1])
    np.testing.assert_allclose(kept["score ≥ 0.7"], [1 / 3, 1])


def test_widths_beyond_the_axis_are_in_the_last_bin(ax):
    ratios = np.append(np.full(300, 1.0), 500.0)
    plots_checks.fwhm_ratio_injected_and_rest(
        ratios,
        np.arange(301) < 300,
        fwhm_ratio_min=0.5,
        fwhm_ratio_max=4.2,
        ax=ax,
    )
    drawn = stairs(ax)
    assert drawn["300 injected"].values.sum() == 300
    assert drawn["1 the rest"].values[-1] == 1
    assert drawn["1 the rest"].edges[-1] > 4.2
    cuts = [line.get_xdata()[0] for line in ax.lines]
    assert cuts == [0.5, 4.2]


def test_roc_marks_the_point_at_the_threshold(ax):
    curve = Table(
        {
            "threshold": [np.inf, 0.9, 0.5, 0.1],
            "fpr": [0, 0, 0.25, 1],
            "tpr": [0, 0.5, 1, 1],
        }
    )
    bad = Table({"threshold": [np.inf], "fpr": [np.nan], "tpr": [np.nan]})
    plots_checks.roc({"a": curve, "empty": bad}, threshold=0.6, target_fpr=0.01, ax=ax)
    point = lines(ax)["at the threshold 0.600"]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0, 0.5)
    assert "empty" not in lines(ax)


def test_known_transients_are_counted_down_the_ranks(ax):
    found = Table({"detected": [True, True, False], "rank": [9, 2, 0]})
    plots_checks.truth_ranks(found, 100, n_kept=5, ax=ax)
    step = lines(ax)["by score"]
    np.testing.assert_array_equal(step.get_xdata(), [0.8, 2, 9, 100])
    np.testing.assert_array_equal(step.get_ydata(), [0, 1, 2, 2])
    assert lines(ax)["5 kept"].get_xdata()[0] == 5.5


def test_every_mark_of_a_roc_is_in_its_legend(ax):
    curve = Table({"threshold": [np.inf, 0.5], "fpr": [0, 1], "tpr": [0, 1]})
    plots_checks.roc({"a": curve, "b": curve}, threshold=0.6, target_fpr=0.01, ax=ax)
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    named = {text.get_text() for text in ax.get_legend().get_texts()}
    assert {line.get_label() for line in marks} <= named


def test_a_score_without_any_snr_is_not_called_missing(ax):
    none = np.full(3, np.nan)
    plots_checks.score_against_snr(none, [0.1, 0.2, 0.9], "", threshold=0.5, ax=ax)
    assert texts(ax) == ["no S/N is known"]


def test_widths_beyond_the_axis_are_counted_in_words(ax):
    ratios = np.append(np.full(300, 1.0), [500.0, 600.0])
    plots_checks.fwhm_ratio_by_score(ratios, np.full(302, 0.9), score_bins=[0.5], ax=ax)
    assert "2 above 3" in ax.get_xlabel()


def test_long_names_below_cutouts_are_broken_into_lines():
    names = ["ZTF17aaaaaas_1234567890123456789"] * 2
    fig = plots.cutout_sheet(np.zeros((2, 9, 9, 3)), names)
    shown = [text for text in texts(fig.axes[0]) if text.startswith("ZTF")]
    assert {text.replace("\n", "") for text in shown} == {names[0]}


@pytest.mark.parametrize("name", ["6972523800150150012", "night2_01_x0202y0243"])
def test_captions_side_by_side_do_not_touch(name):
    fig = plots.cutout_sheet(np.zeros((2, 9, 9, 3)), [name] * 2)
    fig.draw_without_rendering()
    left, right = (
        text.get_window_extent()
        for text in fig.axes[0].texts
        if name == text.get_text()
    )
    assert left.x1 < right.x0


NOTHING = np.array([])


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots_recovery.completeness_curve(completeness()[:0], ax=ax),
        lambda ax: plots_recovery.injected_and_detected(
            Table({"mag": NOTHING, "recovered": NOTHING}), ax=ax
        ),
        lambda ax: plots_recovery.fraction_per_exposure(
            Table({"exposure_id": [], "n": [], "fraction": []}), ax=ax
        ),
        lambda ax: plots_checks.scores_by_magnitude(
            NOTHING, NOTHING, mag_bins=[12], ax=ax
        ),
        lambda ax: plots_checks.score_histogram([np.nan], threshold=0.5, ax=ax),
        lambda ax: plots_checks.scores_injected_and_rest(
            NOTHING, NOTHING, threshold=0.5, ax=ax
        ),
        lambda ax: plots_checks.kept_by_magnitude(
            NOTHING, NOTHING, mag_bins=[12], score_bins=[0.5], ax=ax
        ),
        lambda ax: plots_checks.fwhm_ratio_by_score(
            NOTHING, NOTHING, score_bins=[0.5], ax=ax
        ),
        lambda ax: plots_checks.fwhm_ratio_injected_and_rest(
            NOTHING, NOTHING, fwhm_ratio_min=0.5, fwhm_ratio_max=4.2, ax=ax
        ),
        lambda ax: plots_checks.roc({}, threshold=0.5, target_fpr=0.01, ax=ax),
        lambda ax: plots_checks.score_against_snr(
            NOTHING, NOTHING, NOTHING, threshold=0.5, ax=ax
        ),
        lambda ax: plots_checks.truth_ranks(
            Table({"detected": [], "rank": []}), 0, n_kept=0, ax=ax
        ),
        lambda ax: plots.noise_histogram(
            np.zeros((2, 2)), np.ones((2, 2)), np.ones((2, 2)), ax=ax
        ),
    ],
)
def test_a_figure_of_nothing_says_so_and_keeps_its_labels(ax, draw):
    assert draw(ax) is ax
    assert len(texts(ax)) == 1
    assert ax.get_xlabel()
