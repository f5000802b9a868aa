import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning import check_stages
from gmadet_nb.views import plots_rates

DETECTED, FILTERED, KEPT = check_stages.STAGES


@pytest.fixture
def make_night():
    """Return a crossmatch and a ranked list; the classifier loses half a magnitude."""

    def make(n=600, *, lost_bright=0.0):
        rng = np.random.default_rng(5)
        mag = rng.uniform(16, 22, n)
        snr = 5 * 10 ** (-0.4 * (mag - 20))
        noisy = mag + rng.normal(0, 0.2, n)
        found = noisy < 20
        ids = np.array([f"c{i}" for i in range(n)])
        table = Table({"source_id": [f"s{i}" for i in range(n)]})
        table["exposure_id"], table["near_galaxy"] = "e1", False
        table["candidate_id"] = np.where(found, ids, "")
        table["match"] = np.where(found, "matched", "missed")
        table["mag"], table["difference_snr"] = mag, snr
        ranked = Table({"candidate_id": ids[found]})
        ranked["fwhm_ok"] = np.arange(found.sum()) % 50 != 0
        kept = (noisy < 19.5) & (rng.random(n) >= lost_bright)
        ranked["kept"] = kept[found] & ranked["fwhm_ok"]
        ranked["label"], ranked["used"], ranked["seen"] = "real", True, False
        return table, ranked

    return make


def test_each_stage_holds_what_the_one_before_has_left(make_night):
    crossmatch, ranked = make_night()
    sources = check_stages.follow_injected(crossmatch, ranked[::-1])
    assert len(sources) == len(crossmatch)
    assert not (sources[FILTERED] & ~sources[DETECTED]).any()
    assert not (sources[KEPT] & ~sources[FILTERED]).any()
    assert sources[KEPT].sum() == ranked["kept"].sum()
    table = check_stages.stage_table(sources)
    for axis in ("mag", "snr"):
        for stage in check_stages.STAGES:
            some = table[(table["axis"] == axis) & (table["stage"] == stage)]
            assert some["n_injected"].sum() == len(sources)
            assert some["n_recovered"].sum() == sources[stage].sum()


def test_depth_that_the_classifier_costs_is_measured_and_warned_of(make_night):
    fits = check_stages.stage_fits(check_stages.follow_injected(*make_night()))
    # 0.2 mag of scatter and 100 sources a magnitude: 0.2 / sqrt(20) = 0.045 each.
    assert fits["m50"][0] == pytest.approx(20, abs=0.15)
    assert fits["m50"][2] == pytest.approx(19.5, abs=0.15)
    assert fits["snr50"][0] == pytest.approx(5, rel=0.15)
    said, warned = check_stages.describe_stages(fits)
    assert [text.split(" are ")[2][:16] for text in said] == [
        "not past the fil",
        "not past the cla",
    ]
    assert len(warned) == 1
    assert "thrown away" in warned[0]
    assert "raise target_fpr" in warned[0]


def test_bright_sources_that_are_lost_are_warned_of(make_night):
    followed = check_stages.follow_injected(*make_night(lost_bright=0.2))
    _, warned = check_stages.describe_stages(check_stages.stage_fits(followed))
    assert any("bright injected sources" in text for text in warned)
    followed = check_stages.follow_injected(*make_night())
    _, warned = check_stages.describe_stages(check_stages.stage_fits(followed))
    assert not any("bright injected sources" in text for text in warned)


@pytest.mark.parametrize("n", [1, 3, 600])
def test_a_classifier_that_keeps_nothing_is_warned_of(make_night, n):
    crossmatch, ranked = make_night()
    ranked["kept"] = False
    found = np.flatnonzero(crossmatch["match"] == "matched")[:n]
    crossmatch = crossmatch[found] if n < 600 else crossmatch
    fits = check_stages.stage_fits(check_stages.follow_injected(crossmatch, ranked))
    said, warned = check_stages.describe_stages(fits)
    assert any("None of" in text for text in warned)
    assert "the depth that this costs is not tested" in said[-1]
    assert not check_stages.depth_is_tested(fits)


def test_a_classifier_that_keeps_a_few_faint_ones_is_warned_of(make_night):
    crossmatch, ranked = make_night()
    ranked["kept"] = np.arange(len(ranked)) < 3
    crossmatch["difference_snr"] = 6.0
    fits = check_stages.stage_fits(check_stages.follow_injected(crossmatch, ranked))
    assert fits["n_bright_left"][0] == 0
    _, warned = check_stages.describe_stages(fits)
    assert any("throws away" in text for text in warned)


def test_a_loss_that_chance_explains_is_no_warning(make_night):
    crossmatch, ranked = make_night()
    ranked["fwhm_ok"] = True
    ranked["kept"] = np.arange(len(ranked)) != 0  # 1 of some 400 detected
    fits = check_stages.stage_fits(check_stages.follow_injected(crossmatch, ranked))
    assert check_stages.describe_stages(fits)[1] == []
    assert check_stages.depth_is_tested(fits)


def test_no_source_is_judged_by_a_model_that_trained_on_it(make_night):
    crossmatch, ranked = make_night()
    ranked["seen"][:7] = True
    ranked["label"][:2] = ""  # without a label they trained no model
    left = check_stages.follow_injected(crossmatch, ranked)
    assert len(left) == len(crossmatch) - 5


def test_stages_of_a_night_without_injected_sources_say_so(make_night):
    crossmatch, ranked = make_night()
    crossmatch["source_id"] = ""
    followed = check_stages.follow_injected(crossmatch, ranked)
    fits = check_stages.stage_fits(followed)
    figure, axes = plt.subplots(1, 2)
    plots_rates.stages(check_stages.stage_table(followed), fits, axes=axes)
    assert [ax.texts[0].get_text() for ax in axes] == ["no injected sources"] * 2
    assert check_stages.describe_stages(fits) == ([], [])
    plt.close(figure)


def test_stages_are_drawn_with_the_place_of_their_half(make_night):
    followed = check_stages.follow_injected(*make_night())
    fits = check_stages.stage_fits(followed)
    figure, axes = plt.subplots(1, 2)
    plots_rates.stages(check_stages.stage_table(followed), fits, axes=axes)
    labels = axes[1].get_legend_handles_labels()[1]
    assert labels[0] == f"detected, half at S/N {fits['snr50'][0]:.1f}"
    plt.close(figure)
