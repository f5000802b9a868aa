import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from toy_candidates import make_measured
from toy_cutouts import make_candidates, write_store

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import (
    check_explain,
    check_learning,
    check_populations,
    check_ranking,
    check_rates,
    check_shortcuts,
    check_stages,
    check_trust,
    check_truth,
)
from gmadet_nb.learning.calibration import Calibration
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.features import COLUMNS
from gmadet_nb.learning.fusion import Fusion
from gmadet_nb.learning.scorer import Scorer
from gmadet_nb.learning.train import Training
from gmadet_nb.views import plots_populations, plots_shortcuts, plots_trust

SIZE = 24
AS_IT_IS = Calibration(kind="temperature", temperature=1.0, shift=0.0, knots=[])


def look_at_middle(pixels):
    """Two networks that see how bright the middle of the difference is, [5 adu]."""
    box = slice(SIZE // 2 - 1, SIZE // 2 + 2)
    middle = np.nanmean(pixels[:, box, box, 2], axis=(1, 2)) / 5
    return np.stack([1 / (1 + np.exp(-(middle - cut))) for cut in (2, 3)], axis=1)


@pytest.fixture
def scorer():
    fusion = Fusion(
        judges=["network"],
        use="network",
        calibrations=[AS_IT_IS],
        last=AS_IT_IS,
        losses={},
    )
    card = {"threshold": 0.5}
    return Scorer(look_at_middle, trees=None, fusion=fusion, size=SIZE, card=card)


@pytest.fixture
def night(tmp_path, rng):
    """Return candidates of five exposures, labelled and judged, and their cutouts."""
    table = make_candidates(5, 80, rng=rng)
    write_store(tmp_path / "cutouts.h5", table, size=SIZE, rng=rng)
    measured = make_measured(table["auto_label"] == "real", rng=rng)
    for name in COLUMNS:
        if name != "psf_fwhm":
            table[name] = measured[name]
    table["label"], table["label_origin"] = table["auto_label"], table["auto_origin"]
    test = np.asarray(table["exposure_id"] == "night_4")
    table["part"] = np.where(test, "test", "training")
    table["fold"] = np.where(test, -1, np.arange(len(table)) % 2)
    table["place_in_training"], table["border"] = False, False
    table["used"], table["seen"] = True, False
    table["score"] = np.where(table["label"] == "real", 0.9, 0.1)
    table["fwhm_ratio"] = table["fwhm"] / table["psf_fwhm"]
    table["injected"] = table["label"] == "real"
    table["kept"] = table["above_threshold"] = table["score"] > 0.5
    return table, CutoutStore(tmp_path / "cutouts.h5")


def make_real(night, *, human=0, galaxy_radii=None):
    """Return what the real ones of a training were like, the first of them human."""
    scores = night["candidate_id", "score"]
    split = night.copy()
    split["label_origin"] = split["label_origin"].astype("U12")
    split["label_origin"][np.flatnonzero(night["label"] == "real")[:human]] = "human:an"
    crossmatch = night["candidate_id",]
    crossmatch["near_galaxy"] = np.arange(len(night)) % 2 == 0
    if galaxy_radii is not None:
        crossmatch["galaxy_radii"] = galaxy_radii
    return check_populations.real_table(split, scores, night, crossmatch, threshold=0.5)


def make_found(night, kept):
    """Return known transients at the first real candidates; whether they are kept."""
    rows = np.flatnonzero((night["label"] == "real") & (night["snr"] >= 10))[
        : len(kept)
    ]
    night["above_threshold"][rows] = kept
    found = Table({"candidate_id": night["candidate_id"][rows]})
    found["detected"], found["on_galaxy"] = True, np.arange(len(rows)) % 2 == 0
    return found


def no_truth():
    return Table(
        names=("candidate_id", "detected", "on_galaxy"), dtype=(str, bool, bool)
    )


def no_labels():
    return Table(names=("candidate_id", "label"), dtype=(str, str))


def test_real_ones_are_kept_with_the_model_and_read_again(night, tmp_path):
    real = make_real(night[0], human=3)
    assert len(real) == (night[0]["label"] == "real").sum()
    assert list(real["label_origin"][:4]) == ["human:an"] * 3 + ["injected"]
    assert real["above_threshold"].all()
    for row in real[:5]:
        own = night[0][night[0]["candidate_id"] == row["candidate_id"]][0]
        assert (row["snr"], row["mag"]) == (own["snr"], own["mag"])
        assert row["fwhm_ratio"] == own["fwhm"] / own["psf_fwhm"]
    check_populations.write_real(tmp_path, real)
    again = check_populations.read_real(tmp_path)
    assert again.colnames == real.colnames
    assert np.array_equal(again["near_galaxy"], real["near_galaxy"], equal_nan=True)
    assert len(check_populations.read_real(tmp_path / "none")) == 0


def test_real_ones_of_another_model_or_cut_short_are_refused(night, tmp_path):
    check_populations.write_real(tmp_path, make_real(night[0], human=3))
    path, card = tmp_path / "real.ecsv", tmp_path / "model.json"
    whole = path.read_text()
    path.write_text(whole[:-40])
    with pytest.raises(BadInputError, match=r"real\.ecsv'.*cannot be read"):
        check_populations.read_real(tmp_path)
    card.write_text(json.dumps({"files": {"real.ecsv": "hash of another"}}))
    with pytest.raises(BadInputError, match=r"real\.ecsv' must be the file that"):
        check_populations.read_real(tmp_path)
    path.unlink()
    with pytest.raises(BadInputError, match=r"There is no real\.ecsv"):
        check_populations.read_real(tmp_path)
    card.write_text("{}")  # of an earlier version, which wrote none
    assert len(check_populations.read_real(tmp_path)) == 0


def test_transients_that_fall_behind_the_injected_ones_are_said(night):
    table, _ = night
    real = make_real(table)
    found = make_found(table, [True, False] * 20)  # every one off a galaxy is lost
    counted, words = check_populations.populations(real, found, table, no_labels())
    # Half of them are on a galaxy, where all are kept.
    places = [(row["population"], row["place"]) for row in counted]
    assert ("known transients", "empty sky") in places
    assert any("known transients, empty sky" in text for text in words)
    assert not any("on a galaxy" in text for text in words)
    ax = plt.figure().subplots()
    plots_populations.kept(counted, ax=ax)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[-1] == "known transients, on a galaxy (20)"
    plt.close("all")


def test_sources_that_the_model_has_seen_are_not_counted(night):
    table, _ = night
    table["seen"] = seen = np.asarray(table["exposure_id"] == "night_1")
    fresh = check_ranking.not_seen(table)
    assert list(fresh["candidate_id"]) == list(table["candidate_id"][~seen])
    assert list(fresh["rank"]) == list(range(1, len(fresh) + 1))
    bright = (table["label"] == "real") & (table["snr"] >= check_populations.MIN_SNR)
    truth = table["exposure_id", "x", "y"][bright]
    truth["on_galaxy"] = False
    exposures = Table({"exposure_id": np.unique(table["exposure_id"])})
    exposures["fwhm"], exposures["used"] = 3.0, True

    known = check_truth.truth_not_seen(truth, table)
    found = check_truth.find_truth(known, fresh, exposures)
    real = make_real(table)
    counted, _ = check_populations.populations(real, found, fresh, no_labels())
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    assert by_name["known transients", "all"] == (bright & ~seen).sum()


def test_transients_on_exposures_that_were_seen_are_left_out_found_or_not(night):
    table, _ = night
    table["seen"] = (table["exposure_id"] == "night_1") & (table["label"] == "real")
    truth = Table({"exposure_id": ["night_0", "night_1", "night_2"], "x": [1.0, 2, 3]})
    left = check_truth.truth_not_seen(truth, table)
    assert list(left["x"]) == [1, 3]
    table["seen"] = False
    assert len(check_truth.truth_not_seen(truth, table)) == 3
    assert len(check_truth.truth_not_seen(truth[:0], table)) == 0


def test_faint_sources_and_those_without_origin_are_not_compared(night):
    table, _ = night
    real = make_real(table, human=30)
    counted, words = check_populations.populations(real, no_truth(), table, no_labels())
    assert words == []
    bright = real[real["snr"] >= check_populations.MIN_SNR]
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    human = np.char.startswith(np.asarray(bright["label_origin"]), "human")
    assert by_name["those that a person called real", "all"] == human.sum()
    assert by_name["injected sources", "all"] == (~human).sum()


def test_human_confirmed_sources_are_split_by_the_galaxies_that_were_found(night):
    table, _ = night
    radii = np.where(np.arange(len(table)) % 3 == 0, 0.5, 2.0)
    real = make_real(table, human=60, galaxy_radii=radii)
    counted, _ = check_populations.populations(real, no_truth(), table, no_labels())
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    bright = np.flatnonzero((table["label"] == "real") & (table["snr"] >= 10))
    human = [i for i in bright if table["candidate_id"][i] in real["candidate_id"][:60]]
    name = "those that a person called real"
    assert by_name[name, "on a galaxy"] == sum(i % 3 == 0 for i in human)
    assert by_name[name, "empty sky"] == sum(i % 3 != 0 for i in human)


def make_known(night, kinds):
    """Put the brightest candidates that are not injected on known objects."""
    night["injected"][-len(kinds) :], night["snr"][-len(kinds) :] = False, 50.0
    night["known_kind"] = np.append(np.full(len(night) - len(kinds), ""), kinds)
    night["on_galaxy"] = np.where(np.arange(len(night)) % 2 == 0, 1.0, 0.0)


def test_known_variables_that_fall_behind_the_injected_ones_are_said(night):
    table, _ = night
    real = make_real(table)
    make_known(table, ["variable"] * 60 + ["minor planet"] * 10 + ["star"] * 5)
    variable = np.asarray(table["known_kind"] == "variable")
    table["above_threshold"] = ~(variable & (table["on_galaxy"] == 1))
    table["label"][variable] = ""
    table["label"][np.flatnonzero(variable)[:4]] = "bogus"  # as a person says
    counted, words = check_populations.populations(real, no_truth(), table, no_labels())
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    assert by_name["known variables", "all"] == 56
    assert by_name["known variables", "on a galaxy"] == 28
    assert by_name["known minor planets", "all"] == 10
    assert not any("star" in name for name, _ in by_name)
    assert [text.split(" 0% ")[0] for text in words if "on a galaxy" in text] == [
        "Of known variables, on a galaxy,"
    ]


def test_known_objects_that_a_person_called_bogus_are_none_on_a_new_night(night):
    table, _ = night
    make_known(table, ["variable"] * 20)
    real = make_real(table)
    table["label"] = ""  # without a split
    labels = Table({"candidate_id": table["candidate_id"][-6:]})
    labels["label"] = ["bogus"] * 3 + ["real", "unsure", "real"]
    counted, _ = check_populations.populations(real, no_truth(), table, labels)
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    assert by_name["known variables", "all"] == 17


def test_known_objects_that_trained_are_counted_once(night):
    table, _ = night
    make_known(table, ["variable"] * 20)
    real = make_real(table)
    real["label_origin"] = np.where(
        np.isin(real["candidate_id"], table["candidate_id"][-20:]),
        "catalog",
        "injected",
    )
    n_known = np.sum((real["label_origin"] == "catalog") & (real["snr"] >= 10))
    counted, _ = check_populations.populations(real, no_truth(), table, no_labels())
    names = list(counted["population"])
    assert names.count("known variables") > 0
    assert "known objects of the training" not in names
    elsewhere = table[: len(table) // 2]
    counted, _ = check_populations.populations(real, no_truth(), elsewhere, no_labels())
    by_name = {(row["population"], row["place"]): row["n"] for row in counted}
    assert by_name["known objects of the training", "all"] == n_known


def test_injected_sources_are_held_against_the_best_sample_there_is(night):
    table, _ = night
    sample, name = check_populations.sky_sample(make_real(table, human=25), table)
    assert (len(sample), "others called real" in name) == (25, True)
    table["injected"][:] = False
    sample, name = check_populations.sky_sample(make_real(table), table)
    assert (len(sample), "are kept" in name) == (table["kept"].sum(), True)


def test_brighter_injected_sources_are_a_shift_that_is_said(night):
    table, _ = night
    real = make_real(table)
    sample = table[table["label"] == "real"]
    _, same, words = check_populations.shift(real, sample, name="the sky's")
    assert words == []
    assert np.all(np.abs(same["delta"]) < 1e-9)
    sample["snr"] /= 4
    injected, shift, words = check_populations.shift(real, sample, name="the sky's")
    assert [text.split(" than")[0] for text in words] == [
        "Injected sources have higher S/N"
    ]
    axes = plt.figure().subplots(1, 3)
    names = ("injected", "sky")
    words = check_populations.SHIFT
    plots_populations.shift(injected, sample, shift, words, names=names, axes=axes)
    assert axes[0].get_title() == f"Cliff's delta {shift['delta'][0]:+.2f}"
    plots_populations.shift(injected[:0], sample, shift, words, names=names, axes=axes)
    assert axes[0].texts[-1].get_text() == "none to compare"
    plt.close("all")


def test_a_network_that_looks_at_the_source_takes_no_shortcut(night, scorer):
    table, store = night
    found = check_shortcuts.find_shortcuts(
        table,
        table,
        make_real(table),
        scorer=scorer,
        store=store,
        target_fpr=0.05,
        seed=1,
    )
    n_test = np.sum((table["part"] == "test") & (table["label"] == "real"))
    assert len(found.changed) == n_test
    # The middle of noise is 5 / 3 adu wide; the networks want some 12 adu.
    assert found.kept["blank"] == found.kept["shifted"] == 0
    assert found.kept["as_is"] > 0.5
    # The toy's numbers tell real from bogus by shape, at any S/N.
    assert np.all(found.halves["other"] > 0.85)
    assert found.words == []
    # The toy's scores are the same for all bogus: no rank correlation.
    assert found.untested == ["score of bogus against S/N"]
    assert found.said[-1] == "Not tested: score of bogus against S/N."
    assert "nan" not in "".join(found.said)
    assert f"{found.kept['blank']:.1%} blanked" in "".join(found.said)
    figure, axes = plt.subplots(1, 3)
    plots_shortcuts.changed_scores(found.changed, threshold=0.5, ax=axes[0])
    plots_shortcuts.other_half(found.halves, ax=axes[1])
    plots_shortcuts.coverage(table["snr"], table["snr"], ax=axes[2])
    assert axes[1].lines[1].get_ydata() == pytest.approx(found.halves["other"])
    plt.close(figure)


def test_a_network_that_looks_at_the_science_image_is_found_out(night, scorer):
    table, store = night
    scorer.predict = lambda pixels: look_at_middle(
        pixels[..., [0, 0, 0]] - np.float32(200)
    )
    found = check_shortcuts.find_shortcuts(
        table,
        table,
        make_real(table),
        scorer=scorer,
        store=store,
        target_fpr=0.05,
        seed=1,
    )
    assert found.kept["blank"] == found.kept["as_is"] > 0.5
    assert any("when their difference is blanked" in text for text in found.words)


def test_networks_that_do_not_count_are_neither_warned_of_nor_explained(night, scorer):
    table, store = night
    scorer.predict = lambda pixels: look_at_middle(
        pixels[..., [0, 0, 0]] - np.float32(200)
    )
    scorer.fusion = replace(scorer.fusion, use="trees")
    found = check_shortcuts.find_shortcuts(
        table,
        table,
        make_real(table),
        scorer=scorer,
        store=store,
        target_fpr=0.05,
        seed=1,
    )
    assert found.words == []
    assert "real ones with a blanked difference" in found.untested
    groups = {"some": list(table["candidate_id"][:2])}
    maps = check_explain.explain(
        scorer, store, groups, scores=table["candidate_id", "score"], split=table, n=6
    )
    assert maps == []
    empty = plots_trust.explanation_sheet(maps, why_none=check_explain.why_none(scorer))
    assert "the trees alone count" in empty.axes[0].texts[0].get_text()


def test_the_networks_are_asked_alone(night, scorer):
    table, store = night
    pixels = store.read(table["candidate_id"][:9])
    # A float32 of 0 to 1 is known to 6e-8.
    assert check_shortcuts.network_score(scorer, pixels) == pytest.approx(
        scorer.judge(pixels)["network_score"], abs=1e-6
    )


def test_tests_without_a_finite_result_are_no_good_news(night, scorer):
    table, store = night
    table["score"], table["snr"] = np.nan, np.nan
    some = table[table["part"] != "test"]
    found = check_shortcuts.find_shortcuts(
        some,
        table,
        make_real(table),
        scorer=scorer,
        store=store,
        target_fpr=0.05,
        seed=1,
    )
    assert len(some) > 0
    assert found.words == []
    assert len(found.untested) == check_shortcuts.N_TESTS


def test_nothing_labelled_is_nothing_tested(night, scorer):
    table, store = night
    found = check_shortcuts.find_shortcuts(
        table[:0],
        table,
        make_real(table)[:0],
        scorer=scorer,
        store=store,
        target_fpr=0.05,
        seed=1,
    )
    assert found.words == []
    assert len(found.untested) == check_shortcuts.N_TESTS
    assert len(found.said) == 1
    figure, axes = plt.subplots(1, 3)
    plots_shortcuts.changed_scores(found.changed, threshold=0.5, ax=axes[0])
    plots_shortcuts.other_half(found.halves, ax=axes[1])
    plots_shortcuts.coverage([], table["snr"], ax=axes[2])
    said = [ax.texts[0].get_text() for ax in axes]
    assert said == [
        "no real test candidate",
        "too few real and bogus to halve",
        "the model's folder lists no real ones",
    ]
    plt.close(figure)


def test_maps_are_of_the_network_that_has_not_seen_the_candidate(night, scorer):
    table, store = night

    def predict(pixels):
        seeing = look_at_middle(pixels)[:, 1]
        return np.stack([np.full(len(pixels), 0.5), seeing], axis=1)

    scorer.predict = predict
    ids = [str(key) for key in table["candidate_id"][:2]]  # of the folds 0 and 1
    [(name, pixels, maps, captions)] = check_explain.explain(
        scorer,
        store,
        {"first": ids, "none": []},
        scores=table["candidate_id", "score"],
        split=table,
        n=6,
    )
    assert (name, pixels.shape[0], maps.shape) == ("first", 2, (2, SIZE, SIZE))
    assert captions == [f"score {value:.2f}" for value in table["score"][:2]]
    assert np.all(maps[0] == 0)
    # What is covered in the middle counts, and nothing 5 pixels off.
    assert np.abs(maps[1][8:17, 8:17]).max() > 0.1
    assert np.abs(maps[1][:5]).max() < 1e-5
    figure = plots_trust.explanation_sheet([(name, pixels, maps, captions)])
    assert len(figure.axes) == 5  # and a scale
    empty = plots_trust.explanation_sheet([])
    assert empty.axes[0].texts[0].get_text() == "no candidate to explain"


@pytest.mark.parametrize("of", ["none", "trees"])
def test_learning_curve_of_trees_or_of_none(night, of):
    table, store = night
    training = Training(
        network="small", epochs=1, batch_size=8, dropout=0.1, patience=1, seed=1
    )
    curve, words = check_learning.measure_learning(
        table,
        store,
        table,
        training,
        of=of,
        target_fpr=0.05,
        rng=np.random.default_rng(1),
    )
    if of == "none":
        assert len(curve) == 0
        assert words == ["No learning curve was asked for."]
    else:
        assert set(curve["varied"]) == {"real", "bogus"}
        assert len(words) == 2
        assert curve["tpr"][-1] > 0.8
    card = check_learning.as_dict(curve, words, of=of)
    assert len(card["steps"]) == len(curve)


def test_learning_curve_of_what_there_is_not_is_refused_or_said(night):
    table, store = night
    settings = {"target_fpr": 0.05, "rng": np.random.default_rng(1)}
    with pytest.raises(BadParameterError, match="one of none, trees, network, got 'x'"):
        check_learning.measure_learning(table, store, table, None, of="x", **settings)
    bare = table["candidate_id", "x"]
    _, words = check_learning.measure_learning(
        table, store, bare, None, of="trees", **settings
    )
    assert "the candidates have no numbers" in words[0]
    assert "Set learning_curve_of to network" in words[0]
    real = table[(table["label"] == "real") | (table["part"] != "test")]
    _, words = check_learning.measure_learning(
        real, store, table, None, of="trees", **settings
    )
    assert "not both real and bogus" in words[0]


def test_all_that_was_found_can_be_written_as_json(night, scorer, tmp_path):
    table, store = night
    real = make_real(table)
    rates = check_rates.rates_by_quantity(table, threshold=0.5)
    found = check_shortcuts.find_shortcuts(
        table, table, real, scorer=scorer, store=store, target_fpr=0.05, seed=1
    )
    populations, _ = check_populations.populations(real, no_truth(), table, no_labels())
    sample, name = check_populations.sky_sample(real, table)
    _, shift, _ = check_populations.shift(real, sample, name=name)
    crossmatch = Table({"source_id": [""], "candidate_id": [""], "exposure_id": ["e"]})
    crossmatch["match"], crossmatch["near_galaxy"] = "unmatched", False
    crossmatch["mag"], crossmatch["difference_snr"] = np.nan, np.nan
    table["fwhm_ok"] = True
    followed = check_stages.follow_injected(crossmatch, table)
    content = check_trust.summarize_trust(
        merit=check_rates.at_threshold(table, threshold=0.5, bogus_per_real=100),
        merit_of="at all places",
        rates=rates,
        rates_of="at new places",
        stages=check_stages.stage_table(followed),
        fits=check_stages.stage_fits(followed),
        shortcuts=found,
        populations=populations,
        shift=shift,
        sample_name=name,
        card={"metrics": {"learning_curve": {"words": ["a"]}}},
    )
    path = tmp_path / "metrics.json"
    RunDir(tmp_path).write_json(path, content)
    again = json.loads(path.read_text())
    assert len(again["rates"]["bins"]) == len(rates)
    assert again["rates"]["candidates"] == "at new places"
    assert again["merit"]["candidates"] == "at all places"
    assert again["learning_curve"] == {"words": ["a"]}
    assert again["shortcuts"]["kept_when_changed"]["blank"] == 0


def test_warnings_say_what_they_are_about():
    words = check_trust.gather({"Rates": ["a", "b"], "Shift": []})
    assert words == ["Rates: a", "Rates: b"]


def test_what_is_missing_for_the_coverage_is_said():
    snr, none = [5.0, 9.0], [np.nan, np.nan]
    said = []
    for trained, wanted in (([], snr), (none, snr), (snr, none)):
        ax = Figure().add_subplot()
        plots_shortcuts.coverage(trained, wanted, ax=ax)
        said.append(ax.texts[0].get_text())
    assert "no real ones" in said[0]
    assert said[1:] == [
        "no real one that trained has an S/N",
        "no candidate has an S/N",
    ]


def test_a_few_objects_are_drawn_in_few_bins():
    few, many = Table({"snr": np.arange(9.0)}), Table({"snr": np.arange(900.0)})
    shift = Table({"column": ["snr"], "delta": [0.0]})
    for second, n_bins in ((few, 6), (many, 25)):
        ax = Figure().add_subplot()
        plots_populations.shift(
            many[1:], second[1:], shift, {"snr": "S/N"}, names=("a", "b"), axes=[ax]
        )
        # Twice the root of the 8 that the smaller sample has, 25 at the most.
        assert len(ax.patches[0].get_data().values) == pytest.approx(n_bins, abs=1)
