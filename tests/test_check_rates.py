import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table, vstack
from matplotlib.figure import Figure

from gmadet_nb.learning import check_rates, rate_warnings
from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.views import plots_rates
from gmadet_nb.views.notices import Notice

TARGET = 0.01


@pytest.fixture
def judged():
    """Return 600 labelled candidates whose scores are right but for faint bogus."""
    rng = np.random.default_rng(2)
    n = 600
    real = np.arange(n) % 3 == 0
    table = Table({"label": np.where(real, "real", "bogus")})
    table["snr"] = np.where(np.arange(n) % 2 == 0, 4.5, 30.0)
    table["mag"] = rng.uniform(15, 20, n)
    table["fwhm_ratio"], table["psf_fwhm"] = 1.0, 3.0
    table["reference_distance"] = np.where(np.arange(n) % 4 == 0, 3.0, 60.0)
    table["galaxy_distance"] = table["reference_distance"]
    table["exposure_id"] = np.where(np.arange(n) < 300, "e1", "e2")
    table["score"] = np.where(real, 0.9, 0.1)
    table["score"][~real & (table["snr"] < 5)] = 0.9
    table["place_in_training"] = np.arange(n) % 5 == 0
    table["used"], table["seen"] = True, False
    table["part"] = np.where(np.arange(n) < 450, "training", "test")
    return table


def rows_of(table, quantity):
    return table[table["quantity"] == quantity]


def test_each_bin_has_its_rates_with_binomial_intervals(judged):
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    assert list(dict.fromkeys(table["quantity"])) == list(check_rates.QUANTITIES)
    faint, bright = rows_of(table, "snr")
    assert (faint["bin"], bright["bin"]) == ("< 5", "20 to 50")
    assert (faint["n_real"], faint["n_bogus"]) == (100, 200)
    assert (faint["tpr"], faint["fpr"], bright["fpr"]) == (1, 1, 0)
    assert (bright["fpr_low"], bright["fpr_high"]) == binomial_interval(0, 200)
    for quantity in check_rates.QUANTITIES:
        some = rows_of(table, quantity)
        assert (some["n_real"].sum(), some["n_bogus"].sum()) == (200, 400)
    # 3 pixels at a FWHM of 3 pixels are one FWHM.
    for name in ("reference_distance", "galaxy_distance"):
        assert list(rows_of(table, name)["bin"]) == ["1 to 2", "≥ 8"]


def test_bogus_that_pass_in_one_bin_are_said(judged):
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    words = rate_warnings.warn_of_rates(table, target_fpr=TARGET)
    [of_snr] = [text for text in words if "S/N" in text]
    assert "is < 5, 200 of 200 bogus pass" in of_snr

    judged["score"] = np.where(judged["label"] == "real", 0.9, 0.1)
    # 3 of 400 are below 1%.
    judged["score"][[1, 2, 4]] = 0.9
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    assert rate_warnings.warn_of_rates(table, target_fpr=TARGET) == []


def test_bogus_that_chose_the_threshold_do_not_test_it(judged):
    judged["score"] = np.where(judged["label"] == "real", 0.9, 0.1)
    bogus = judged["label"] == "bogus"
    judged["score"][bogus & (judged["part"] == "training")] = 0.9
    rows = check_rates.rows_for_rates(judged)
    table = check_rates.rates_by_quantity(rows, threshold=0.5)
    some = rows_of(table, "exposure_id")
    assert list(some["n_real"]) == [100, 100]  # of all parts
    assert list(some["n_bogus"]) == [0, 100]  # of the test part, in e2
    assert some["fpr"][1] == 0
    assert rate_warnings.warn_of_rates(table, target_fpr=TARGET) == []


@pytest.mark.parametrize("name", ["mag", "snr", "fwhm_ratio", "reference_distance"])
def test_what_was_not_measured_has_a_bin_of_its_own(judged, name):
    judged[name][1:31:3] = np.nan  # 10 bogus
    judged[name][0] = np.nan  # and one real
    judged["score"][1:31:3] = 0.9
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    some = rows_of(table, name)
    assert (some["n_real"].sum(), some["n_bogus"].sum()) == (200, 400)
    last = some[-1]
    assert (last["bin"], last["n_real"], last["n_bogus"]) == ("not measured", 1, 10)
    words = rate_warnings.warn_of_rates(table, target_fpr=TARGET)
    assert any("is not measured, 10 of 10 bogus pass" in text for text in words)


def test_a_quantity_of_which_nothing_is_measured_is_left_out(judged):
    judged["galaxy_distance"] = np.nan
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    names = [name for name in check_rates.QUANTITIES if name != "galaxy_distance"]
    assert list(dict.fromkeys(table["quantity"])) == names


def test_without_any_reference_source_it_is_far(judged):
    judged["reference_distance"] = np.inf
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    some = rows_of(table, "reference_distance")
    assert list(some["bin"]) == ["≥ 8"]
    assert some["n_bogus"][0] == 400


def test_only_labelled_used_candidates_that_were_not_seen_are_judged(judged):
    judged["label"][0] = ""
    judged["used"][1] = False
    judged["seen"][2] = True
    assert len(check_rates.judged_rows(judged)) == 597


def test_places_seen_count_only_where_too_few_are_new(judged):
    rows, what = check_rates.at_new_places(judged)
    assert len(rows) == 480
    assert "had not seen" in what
    judged["place_in_training"] = True
    rows, what = check_rates.at_new_places(judged)
    assert len(rows) == 600
    assert "all places" in what


def test_figures_at_the_threshold_agree_with_each_other(judged):
    found = check_rates.at_threshold(judged, threshold=0.5, bogus_per_real=10)
    (tp, fn), (fp, tn) = found["confusion"]
    assert (tp, fn, fp, tn) == (200, 0, 200, 200)
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    # phi of a 2 x 2 table: ad - bc over the root of the four sums.
    phi = (tp * tn - fp * fn) / np.sqrt(200 * 400 * 400 * 200)
    assert found["mcc"] == pytest.approx(phi)
    # All real and half of 10 bogus are kept: 1 of 6.
    assert found["purity"]["value"] == pytest.approx(1 / 6)
    of_score, of_stream = check_rates.describe_merit(found, which="at new places")
    assert "at new places: F1 0.667" in of_score
    assert "10 bogus for each real one, what is kept would be 17% real" in of_stream


def test_bins_that_stand_out_by_chance_are_counted(judged):
    judged["score"] = np.where(judged["label"] == "real", 0.9, 0.1)
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    assert rate_warnings.within_chance(table, target_fpr=TARGET).startswith(
        f"In none of {len(table)} bins"
    )
    low, _ = binomial_interval(2, 24)
    assert low > TARGET > binomial_interval(2, 24, confidence=0.999)[0]
    table["n_bogus"][0], table["fpr"][0], table["fpr_low"][0] = 24, 2 / 24, low
    assert rate_warnings.warn_of_rates(table, target_fpr=TARGET) == []
    text = rate_warnings.within_chance(table, target_fpr=TARGET)
    assert text.startswith(
        f"1 bar stands wholly above the dotted line, of {len(table)}"
    )


@pytest.mark.parametrize("kind", ["real", "bogus", "none"])
def test_a_class_that_is_missing_is_said_and_drawn(judged, kind):
    rows = judged[judged["label"] == kind]
    found = check_rates.at_threshold(rows, threshold=0.5, bogus_per_real=10)
    [text] = check_rates.describe_merit(found, which="")
    assert "not both real and bogus" in text
    table = check_rates.rates_by_quantity(rows, threshold=0.5)
    names = {name: text for name, (text, _) in check_rates.QUANTITIES.items()}
    figure, axes = plt.subplots(2, len(names))
    plots_rates.rates(table, names, target_fpr=TARGET, axes=axes)
    said = [ax.texts[0].get_text() for ax in axes[:, 1] if ax.texts]
    missing = {"real": ["no bogus"], "bogus": ["no real"]}
    assert said == missing.get(kind, ["no real", "no bogus"])
    plt.close(figure)


def test_rates_are_drawn_where_they_are(judged):
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    figure, axes = plt.subplots(2, 1, squeeze=False)
    plots_rates.rates(table, {"snr": "S/N"}, target_fpr=TARGET, axes=axes)
    points = axes[1, 0].containers[0].lines[0]
    assert list(points.get_ydata()) == [1, 0]
    assert axes[0, 0].get_xticklabels()[0].get_text() == "< 5 (100)"
    plt.close(figure)


def test_notice_shows_warnings_as_text_and_not_as_markup():
    notice = Notice(words=["a < b"], good="All is well.", tested=True)
    assert "a &lt; b" in notice._repr_html_()
    assert repr(notice) == "WARNING: a < b"
    assert repr(Notice(words=[], good="All is well.", tested=True)) == "All is well."


def test_what_was_not_tested_is_not_called_good():
    notice = Notice(words=[], good="All is well.", tested=False)
    assert repr(notice).startswith("Not tested")
    assert "All is well" not in notice._repr_html_()


def rates_by_exposure(n):
    """Return rates of some exposures of one real each, every fourth one kept."""
    table = Table({"bin": [f"e{i}" for i in range(n)]})
    table["quantity"], table["n_real"], table["n_bogus"] = "exposure_id", 1, 0
    table["tpr"] = (np.arange(n) % 4 == 0).astype(float)
    table["tpr_low"], table["tpr_high"] = 0.0, 1.0
    for name in ("fpr", "fpr_low", "fpr_high"):
        table[name] = np.nan
    return table


def draw_exposures(table):
    axes = Figure().subplots(2, 1, squeeze=False)
    words = {"exposure_id": "exposure"}
    plots_rates.rates(table, words, target_fpr=TARGET, axes=axes)
    return axes[0, 0]


def test_many_exposures_are_counted_together():
    ax = draw_exposures(rates_by_exposure(384))
    assert list(ax.containers[0].lines[0].get_ydata()) == [0.25] * 12
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names[0] == "no. 1 to 32 (32)"
    assert names[-1] == "no. 353 to 384 (32)"


def test_bins_without_a_candidate_are_left_out():
    table = rates_by_exposure(5)
    table["n_real"] = [0, 30, 0, 4, 0]
    ax = draw_exposures(table)
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["e1 (30)", "e3 (4)"]


def test_what_no_candidate_has_is_said_to_be_not_measured(judged):
    judged.remove_column("reference_distance")
    table = check_rates.rates_by_quantity(judged, threshold=0.5)
    axes = Figure().subplots(2, 1, squeeze=False)
    words = {"reference_distance": "distance"}
    plots_rates.rates(table, words, target_fpr=TARGET, axes=axes)
    assert [ax.texts[0].get_text() for ax in axes[:, 0]] == ["not measured"] * 2


def test_purity_that_no_bogus_tells_is_not_told(judged):
    few = judged[judged["label"] == "real"]
    bogus = judged[judged["label"] == "bogus"][:25]
    bogus["score"] = 0.1
    found = check_rates.at_threshold(
        vstack([few, bogus]), threshold=0.5, bogus_per_real=100
    )
    text = check_rates.describe_merit(found, which="")[1]
    assert "cannot be told: 0 of 25 bogus passed" in text
    assert "100%" not in text
