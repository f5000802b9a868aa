import json

import numpy as np
import pytest
from astropy.table import Table
from fake_run import make_run

from gmadet_nb.campaign.summary import key_figures
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning import (
    check_input,
    check_ranking,
    check_simulation,
    check_summary,
    check_truth,
    crossfit,
    labeling,
    own_run,
)
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.surroundings import add_known


def make_sources(n=400, m50=20.0, seed=0):
    """Injected sources of two exposures, found with an S/N above 5, as a crossmatch."""
    rng = np.random.default_rng(seed)
    mag = rng.uniform(16, 22, n)
    snr = 5 * 10 ** (-0.4 * (mag - m50))
    found = snr * (1 + rng.normal(0, 0.2, n)) > 5
    table = Table({"source_id": [f"s{i}" for i in range(n)]})
    table["exposure_id"] = np.where(np.arange(n) < n // 2, "e1", "e2")
    table["candidate_id"] = np.where(found, [f"c{i}" for i in range(n)], "")
    table["match"] = np.where(found, "matched", "missed")
    table["mag"], table["difference_snr"] = mag, snr
    table["usable"], table["near_galaxy"] = True, rng.random(n) < 0.3
    return table


def test_recovered_leaves_out_candidates_and_counts_ambiguous_ones():
    table = make_sources(3)
    table["source_id"] = ["s1", "", "s2"]
    table["match"] = ["ambiguous", "unmatched", "missed"]
    sources = check_simulation.recovered(table)
    assert list(sources["source_id"]) == ["s1", "s2"]
    assert list(sources["recovered"]) == [True, False]


def test_completeness_has_a_row_per_group_axis_and_bin():
    sources = check_simulation.recovered(make_sources())
    table = check_simulation.completeness_table(sources, n_mag_bins=6)
    groups = ["all", "near a galaxy", "not near a galaxy", "e1", "e2"]
    assert list(dict.fromkeys(table["group"])) == groups
    assert len(table) == 5 * 2 * 6
    for group in ("e1", "e2"):
        rows = table[(table["group"] == group) & (table["axis"] == "mag")]
        assert rows["n_injected"].sum() == 200
    every = table[table["group"] == "all"]
    for axis in ("mag", "snr"):
        assert every[every["axis"] == axis]["n_injected"].sum() == 400


def test_m50_is_where_half_is_found():
    sources = check_simulation.recovered(make_sources())
    fits = check_simulation.fit_table(sources)
    every = fits[fits["group"] == "all"][0]
    # The S/N scatters by 20 %, which is 0.22 mag; 400 sources over 6 mag leave
    # some 15 in that width, so m50 is known to 0.22 / sqrt(15) = 0.06 mag.
    assert every["m50"] == pytest.approx(20.0, abs=0.25)
    assert every["snr50"] == pytest.approx(5.0, rel=0.25)


def test_bright_recovered_counts_usable_bright_sources_of_each_exposure():
    table = make_sources(6)
    table["difference_snr"] = [20.0, 20, 20, 10, 20, 20]
    table["usable"] = [True, True, False, True, True, True]
    table["match"] = ["matched", "missed", "missed", "missed", "ambiguous", "matched"]
    bright = check_simulation.bright_recovered(
        check_simulation.recovered(table), min_snr=15
    )
    assert list(bright["exposure_id"]) == ["e1", "e2"]
    assert list(bright["n"]) == [2, 2]
    assert list(bright["fraction"]) == [0.5, 1.0]
    assert check_simulation.median_fraction(bright) == 0.75


def test_bright_recovered_of_an_exposure_without_one_is_nan_and_not_counted():
    table = make_sources(4)
    table["difference_snr"] = [20.0, 20, 3, 3]
    table["match"] = "matched"
    bright = check_simulation.bright_recovered(
        check_simulation.recovered(table), min_snr=15
    )
    assert np.isnan(bright["fraction"][1])
    assert check_simulation.median_fraction(bright) == 1.0


def test_a_simulation_without_sources_is_refused():
    with pytest.raises(BadInputError, match="There must be injected sources"):
        check_simulation.completeness_table(
            check_simulation.recovered(make_sources(4)[:0]), n_mag_bins=5
        )


CARD = {"threshold": 0.5, "training_hash": "ab12", "created": "2024-01-01T00:00:00"}
CARD["trained_on"] = {
    "telescopes": [],
    "filters": [],
    "pixel_scale": None,
    "fwhm": [0.1, 30.0],
    "n_exposures": 2,
}


@pytest.fixture
def run(tmp_path):
    """Give a run of two exposures: night_00 trained, night_01 is the test."""
    run = make_run(tmp_path / "run")
    candidates, crossmatch = run.read_table("candidates"), run.read_table("crossmatch")
    # In another order than the candidates, so that only a join by key is right.
    score = np.linspace(0.99, 0.01, len(candidates))
    scores = candidates["candidate_id", "exposure_id"]
    scores["score"] = score
    run.write_table("scores", crossfit.name_model(scores[::-1], CARD))
    split = crossmatch[crossmatch["auto_label"] != ""][
        "candidate_id", "exposure_id", "auto_label", "auto_origin"
    ]
    split.rename_columns(["auto_label", "auto_origin"], ["label", "label_origin"])
    split["part"] = np.where(split["exposure_id"] == "night_00", "training", "test")
    split["place_in_training"], split["used"] = False, True
    run.write_table("split", split[::-1])
    none = scores["candidate_id", "score"][:0]
    run.write_table("out_of_fold", crossfit.name_model(none, CARD))
    run.model_dir.mkdir()
    run.write_json(run.model_dir / "model.json", CARD)
    return run


def rank(run, workflow="train", **cuts):
    check = check_input.read_check_input(run, workflow=workflow, model="")
    checked = check_input.join_checked(check)
    limits = {"threshold": 0.5, "fwhm_ratio_min": 0.5, "fwhm_ratio_max": 4.2} | cuts
    return check, checked, check_ranking.rank_candidates(checked, **limits)


def test_candidates_keep_their_own_score_magnitude_and_label(run):
    _, checked, _ = rank(run)
    crossmatch, scores = run.read_table("crossmatch"), run.read_table("scores")
    for row in checked:
        key = row["candidate_id"]
        match = crossmatch[crossmatch["candidate_id"] == key][0]
        assert row["score"] == scores[scores["candidate_id"] == key]["score"][0]
        assert row["injected"] == (match["match"] == "matched")
        np.testing.assert_equal(row["mag_injected"], match["mag"])
        assert row["label"] == match["auto_label"]


def test_unlabelled_candidates_of_a_training_exposure_count_as_seen(run):
    _, checked, _ = rank(run)
    np.testing.assert_array_equal(checked["seen"], checked["exposure_id"] == "night_00")


def test_who_has_an_out_of_fold_score_is_judged_by_it_and_counts_as_not_seen(run):
    split = run.read_table("split")
    trained = split["candidate_id"][split["part"] == "training"]
    out_of_fold = Table({"candidate_id": trained})
    out_of_fold["score"] = np.linspace(0.2, 0.8, len(trained))
    run.write_table("out_of_fold", crossfit.name_model(out_of_fold, CARD))
    check, checked, _ = rank(run)

    known = dict(out_of_fold.iterrows())
    mine = np.isin(checked["candidate_id"], trained)
    assert not checked["seen"][mine].any()
    assert [known[key] for key in checked["candidate_id"][mine]] == list(
        checked["score"][mine]
    )
    doubted = check_ranking.suspects(check.split, check.scores)
    some = doubted[np.isin(doubted["candidate_id"], trained)]
    assert [known[key] for key in some["candidate_id"]] == list(some["score"])


def train_anew(run, card):
    """Write a card, and out-of-fold scores of 0.25 of that model."""
    split = run.read_table("split")
    out_of_fold = split[split["part"] == "training"]["candidate_id",]
    out_of_fold["score"] = 0.25
    run.write_table("out_of_fold", crossfit.name_model(out_of_fold, card))
    run.write_json(run.model_dir / "model.json", card)


def test_scores_of_another_model_stay_its_own(run, tmp_path):
    train_anew(run, CARD)
    split = run.read_table("split")
    split["fold"] = np.where(split["part"] == "test", -1, 1)
    run.write_table("split", split)
    other = tmp_path / "other" / "model"
    other.mkdir(parents=True)
    run.write_json(other / "model.json", CARD | {"threshold": 0.7})
    check = check_input.read_check_input(run, workflow="train", model=str(other))
    assert check.card["threshold"] == 0.7
    assert list(check.scores["score"]) == list(run.read_table("scores")["score"])
    # Which of its models had not seen a candidate is not known.
    assert set(check.split["fold"]) == {-1}
    checked = check_input.join_checked(check)
    np.testing.assert_array_equal(checked["seen"], checked["exposure_id"] == "night_00")
    assert set(check_summary.calibration(check, seed=1)) == {"test"}
    none = {name: [] for name in ("transient_id", "detected", "kept", "rank")}
    ranked = check_ranking.rank_candidates(
        checked, threshold=0.7, fwhm_ratio_min=0.5, fwhm_ratio_max=4.2
    )
    metrics = check_summary.summarize_check(
        check, ranked, Table(none), threshold=0.7, snr_bins=[], mag_bins=[]
    )
    assert set(metrics["parts"]) == {"test"}


def test_what_a_model_s_own_run_warned_of_goes_with_it(run, tmp_path):
    other = tmp_path / "other" / "model"
    other.mkdir(parents=True)
    run.write_json(other / "model.json", CARD | {"warnings": ["It was left aside."]})

    def warnings():
        check = check_input.read_check_input(run, workflow="apply", model=str(other))
        return check.warnings

    trained, unknown = warnings()
    assert trained == "In training: It was left aside."
    assert "own run warned of is not known" in unknown
    metrics = {"model": own_run.name_of(CARD), "warnings": ["Rates: Too many pass."]}
    metrics["warnings"].append("Model: It is not known which exposures trained it.")
    run.write_json(other.parent / "metrics.json", metrics)
    assert warnings() == [trained, "Its own run warned: Rates: Too many pass."]
    of_another = metrics | {"model": own_run.name_of(CARD | {"created": "later"})}
    run.write_json(other.parent / "metrics.json", of_another)
    assert not any("Too many pass" in text for text in warnings())
    # Of its own run the notebook that is running says it.
    own = check_input.read_check_input(run, workflow="train", model="")
    assert not any("own run" in text for text in own.warnings)


@pytest.mark.parametrize("model", ["", "by name"])
def test_the_own_model_by_any_name_has_its_out_of_fold_scores(run, model):
    train_anew(run, CARD)
    folder = f"{run.root}/../{run.root.name}/model" if model else ""
    check = check_input.read_check_input(run, workflow="train", model=folder)
    assert (np.asarray(check.scores["score"]) == 0.25).sum() == np.sum(
        check.scores["out_of_fold"]
    )
    assert np.sum(check.scores["out_of_fold"]) > 0


@pytest.mark.parametrize("name", ["training_hash", "created"])
def test_out_of_fold_scores_of_an_earlier_training_are_refused(run, name):
    train_anew(run, CARD)
    run.write_json(run.model_dir / "model.json", CARD | {name: "another"})
    with pytest.raises(
        BadInputError, match=f"{name} are not those of the card. Run 08"
    ):
        check_input.read_check_input(run, workflow="train", model="")


@pytest.mark.parametrize("workflow", ["train", "apply"])
@pytest.mark.parametrize("name", ["training_hash", "created"])
def test_scores_that_another_model_gave_are_refused(run, workflow, name):
    scored = run.read_table("scores")
    run.write_table("scores", crossfit.name_model(scored, CARD | {name: "another"}))
    with pytest.raises(
        BadInputError, match=r"(?s)ab12.*2024-01-01.*another.*Run 09_infer again"
    ):
        check_input.read_check_input(run, workflow=workflow, model="")


def test_scores_that_do_not_say_whose_they_are_are_taken_with_a_warning(run):
    check, _, _ = rank(run)
    assert check.warnings == []
    scored = run.read_table("scores")
    scored.meta.clear()
    run.write_table("scores", scored)
    check, _, _ = rank(run)
    assert list(check.scores["score"]) == list(scored["score"])
    [words] = check.warnings
    assert "does not say which model" in words
    assert "Run 09_infer again" in words


def test_exposures_unlike_those_that_trained_the_model_are_named(run):
    card = CARD | {"trained_on": CARD["trained_on"] | {"fwhm": [31.0, 40.0]}}
    run.write_json(run.model_dir / "model.json", card)
    (words,) = rank(run)[0].warnings
    assert "fwhm is" in words
    assert "was 31 to 40 in training" in words


def test_calibration_is_of_both_parts_and_of_none_without_labels(run):
    check, _, _ = rank(run)
    found = check_summary.calibration(check, seed=1)
    assert set(found) == {"out_of_fold", "test"}
    used = check.split[check.split["used"]]
    assert found["test"]["all"]["ece"]["n"] == (used["part"] == "test").sum()
    apply = check_input.read_check_input(run, workflow="apply", model="")
    assert check_summary.calibration(apply, seed=1) == {}


def test_ranks_follow_the_score_and_the_cuts_flag(run):
    _, _, ranked = rank(run)
    assert (np.diff(ranked["score"]) <= 0).all()
    assert list(ranked["rank"]) == list(range(1, 25))
    np.testing.assert_array_equal(ranked["kept"], ranked["score"] >= 0.5)
    _, _, none = rank(run, fwhm_ratio_min=1.5)
    assert none["kept"].sum() == 0
    assert list(check_ranking.count_kept(none)["n"]) == [24, 24, 12, 0, 0, 0]


def test_every_number_of_kept_ones_is_a_step_of_one_table(run):
    _, _, ranked = rank(run)
    steps = dict(check_ranking.count_kept(ranked).iterrows())
    fresh = check_ranking.not_seen(ranked)
    sky = check_ranking.of_the_sky(fresh)
    assert list(steps.values())[-3:] == [
        np.sum(ranked["kept"]),
        np.sum(fresh["kept"]),
        np.sum(sky["kept"]),
    ]
    assert list(sky["rank"]) == list(range(1, len(sky) + 1))
    assert not sky["injected"].any()
    ranked["seen"] = ranked["injected"] = False
    assert len(check_ranking.count_kept(ranked)) == 4


def test_no_score_ranks_last_and_an_unmeasured_width_cuts_nothing(run):
    _, checked, _ = rank(run)
    checked["score"][0], checked["fwhm_ratio"][1] = np.nan, np.nan
    ranked = check_ranking.rank_candidates(
        checked, threshold=0.5, fwhm_ratio_min=0.5, fwhm_ratio_max=4.2
    )
    assert ranked["candidate_id"][-1] == checked["candidate_id"][0]
    assert not ranked["kept"][-1]
    assert ranked["kept"][0]
    with pytest.raises(BadParameterError, match="must be below fwhm_ratio_max"):
        check_ranking.rank_candidates(
            checked, threshold=0.5, fwhm_ratio_min=5, fwhm_ratio_max=4.2
        )


def make_truth(ranked, exposures):
    """Hide one transient beside the first of each exposure, one far from any."""
    rows = []
    for exposure_id in exposures["exposure_id"]:
        first = ranked[ranked["exposure_id"] == exposure_id][0]
        rows.append(("t1", exposure_id, first["x"] + 2.0, first["y"], 19.0, 9.0, True))
        rows.append(("t2", exposure_id, -50.0, -50.0, 19.0, 9.0, False))
    names = "transient_id exposure_id x y mag snr on_galaxy"
    return Table(rows=rows, names=names.split())


def test_known_transients_are_found_in_their_own_exposure_within_one_fwhm(run):
    check, _, ranked = rank(run)
    exposures = run.read_table("exposures")
    found = check_truth.find_truth(make_truth(ranked, exposures), ranked, exposures)
    assert list(found["detected"]) == [True, False, True, False]
    assert found["rank"][0] == 1
    assert found["rank"][1] == 0
    first = ranked[ranked["exposure_id"] == "night_01"][0]
    assert found["candidate_id"][2] == first["candidate_id"]

    metrics = check_summary.summarize_check(
        check, ranked, found, threshold=0.5, snr_bins=[], mag_bins=[]
    )
    expected = [1, int(first["rank"])]
    assert metrics["truth"] == {
        "n_transients": 2,
        "n_occurrences": 4,
        "n_detected": 2,
        "n_kept": sum(ranked["kept"][number - 1] for number in expected),
        "ranks": expected,
    }


def test_known_transients_on_an_exposure_set_aside_are_left_out(run):
    _, _, ranked = rank(run)
    exposures = run.read_table("exposures")
    truth = make_truth(ranked, exposures)
    exposures["used"] = [False, True]
    found = check_truth.find_truth(truth, ranked, exposures)
    assert set(found["exposure_id"]) == {"night_01"}


def test_ranked_list_of_a_new_night_has_what_people_say_and_the_summary_counts_it(run):
    run.table_path("split").unlink()
    check, checked, ranked = rank(run, workflow="apply")
    first, second, *_ = checked["candidate_id"]
    LabelLog(run.label_path("anna")).record(first, "real")
    LabelLog(run.label_path("bert")).record(second, "unsure")
    LabelLog(run.label_path("bert")).record(first, "bogus")
    check_summary.write_list(run, check, ranked, [])

    rows = {row["candidate_id"]: row for row in run.read_table("ranked")}
    assert rows[first]["label"] == "bogus"  # the later act
    assert rows[second]["label_origin"] == "human:bert"
    assert sum(row["label"] != "" for row in rows.values()) == 2
    assert not any(checked["label"])  # no rate changes
    # What counts real ones by their catalogue knows what people say.
    assert len(check.human_labels) == 0
    again, _, _ = rank(run, workflow="apply")
    assert dict(again.human_labels["candidate_id", "label"].iterrows()) == {
        first: "bogus",
        second: "unsure",
    }
    figures = {figure.name: figure.value for figure in key_figures(run)}
    assert figures["labeled by eye"] == "1 bogus, 1 unsure"


def test_labels_of_a_run_with_a_split_are_those_of_the_split(run):
    key = run.read_table("candidates")["candidate_id"][0]
    LabelLog(run.label_path("anna")).record(key, "bogus")
    check, _, _ = rank(run, workflow="train")
    assert len(check.human_labels) == 0


@pytest.mark.parametrize("workflow", ["stamps", "train"])
def test_stamps_that_another_run_s_model_judges_are_a_night_to_rank(
    run, tmp_path, workflow
):
    run.params_path.write_text("workflow: stamps\n")
    folder = tmp_path / "other" / "model"
    folder.mkdir(parents=True)
    run.write_json(folder / "model.json", CARD)

    def read(model=folder):
        return check_input.read_check_input(run, workflow=workflow, model=str(model))

    assert read().workflow == workflow  # labelled and split once
    run.table_path("split").unlink()
    check = read()
    assert check.workflow == "apply"
    assert len(check.split) == 0
    with pytest.raises(BadInputError, match="split"):
        read(run.model_dir)
    run.params_path.write_text("workflow: train\n")
    with pytest.raises(BadInputError, match="split"):
        read()


def test_apply_writes_the_ranked_list_and_needs_no_split(run):
    run.table_path("split").unlink()
    check, checked, ranked = rank(run, workflow="apply")
    assert not checked["seen"].any()
    suspects = Table({"candidate_id": ["x"]})
    check_summary.write_list(run, check, ranked, suspects)
    written = run.read_table("ranked")
    assert written.colnames[:2] == ["rank", "candidate_id"]
    assert not {"part", "used", "seen", "mag_injected"} & set(written.colnames)
    assert [name for name in written.colnames if not written[name].description] == []
    known = add_known(ranked, run.read_table("crossmatch"))
    check_summary.write_list(run, check, known, suspects)
    written = run.read_table("ranked")
    assert {"known_name", "known_separation"} <= set(written.colnames)
    assert [name for name in written.colnames if not written[name].description] == []
    assert not run.has_table("suspects")
    found = check_truth.find_truth(
        check_truth.read_truth(""), ranked, run.read_table("exposures")
    )
    metrics = check_summary.summarize_check(
        check, ranked, found, threshold=0.5, snr_bins=[4, 10], mag_bins=[12, 20]
    )
    assert metrics["parts"] == {}
    assert metrics["truth"]["ranks"] == []
    run.write_json(run.metrics_path, metrics)
    assert json.loads(run.metrics_path.read_text())["n_candidates"] == 24
    assert len(check_summary.headline(metrics)) == 4


def test_worst_real_ones_have_the_lowest_scores(run):
    _, checked, _ = rank(run)
    worst = check_ranking.worst(checked, "real", n=2)
    real = checked[checked["label"] == "real"]
    order = np.argsort(real["score"])[:2]
    assert worst == list(real["candidate_id"][order])
    assert check_ranking.worst(checked, "bogus", n=2) == []


def test_suspects_are_those_whose_label_the_score_contradicts():
    n = 40
    split = Table({"candidate_id": [f"c{i}" for i in range(n)]})
    split["label"] = ["real", "bogus"] * (n // 2)
    split["label_origin"], split["used"] = ["injected", "human:ann"] * (n // 2), True
    scores = split["candidate_id",][::-1]
    scores["score"] = [0.1 if i % 2 else 0.9 for i in reversed(range(n))]
    scores["score"][scores["candidate_id"] == "c3"] = 0.99  # labelled bogus
    scores["score"][scores["candidate_id"] == "c8"] = 0.05  # labelled real
    scores["score"][scores["candidate_id"] == "c9"] = np.nan
    table = check_ranking.suspects(split, scores)

    assert list(table["candidate_id"][:2]) == ["c3", "c8"]
    np.testing.assert_allclose(table["doubt"][:2], [0.99, 0.95])
    assert list(table["rank"]) == list(range(1, 40))


def test_only_labels_judged_out_of_fold_are_doubted():
    split = Table({"candidate_id": ["trained", "left out", "test", "new"]})
    split["label"], split["label_origin"] = "real", "injected"
    split["used"] = [True, False, True, True]
    scores = Table({"candidate_id": ["test", "left out", "trained"]})
    scores["score"] = [0.1, 0.2, 0.3]
    # A model of another run has seen none of them.
    table = check_ranking.suspects(split, scores)
    assert list(table["candidate_id"]) == ["test", "trained"]
    scores["out_of_fold"] = [False, False, True]
    table = check_ranking.suspects(split, scores)
    assert list(table["candidate_id"]) == ["trained"]


def test_a_truth_table_that_is_absent_is_named(tmp_path):
    with pytest.raises(BadParameterError, match="is not there"):
        check_truth.read_truth(str(tmp_path / "none.ecsv"))


def test_a_person_goes_before_the_automatic_label(run):
    crossmatch = run.read_table("crossmatch")
    ids = list(crossmatch["candidate_id"])
    human = Table(
        {
            "candidate_id": [ids[0], ids[-1]],
            "label": ["bogus", "unsure"],
            "labeler": ["anna", "anna"],
        }
    )
    labels = labeling.label_table(crossmatch, human)
    state = {row["candidate_id"]: (row["label"], row["origin"]) for row in labels}
    assert state[ids[0]] == ("bogus", "human:anna")
    assert state[ids[1]] == ("real", "injected")
    assert state[ids[-1]] == ("unsure", "human:anna")
    assert state[ids[-2]] == ("", "")
    counts = labeling.count_labels(labels)
    assert counts["n"].sum() == 24
    assert counts["n"][0] == 11  # 12 injected, one of which a person overruled
    rng = np.random.default_rng(0)
    assert labeling.draw_sample(labels, ["unsure"], 5, rng=rng) == [ids[-1]]


def test_session_opens_without_scores_and_suspects(run):
    run.table_path("scores").unlink()
    session, captions = labeling.open_session(
        run, labeler="anna", order="suspects", page_size=4, seed=1
    )
    assert session.log.path == run.label_path("anna")
    assert len(session) == 24
    assert captions["night_00_c00000"] == "S/N 10 · 19.0 mag\nwidth 1.0"


def test_session_opens_with_labels_more_likely_wrong_than_right(run):
    ids = list(run.read_table("candidates")["candidate_id"])
    suspects = Table({"candidate_id": [ids[20], ids[7], ids[11]]})
    suspects["doubt"] = [0.9, 0.51, 0.49]
    run.write_table("suspects", suspects)

    def open_session(order):
        choices = {"labeler": "anna", "order": order, "page_size": 4, "seed": 1}
        return labeling.open_session(run, **choices)[0].ids

    assert open_session("auto")[:2] == [ids[20], ids[7]]
    rest = [key for key in open_session("unlabeled") if key not in (ids[20], ids[7])]
    assert open_session("auto")[2:] == rest
    assert open_session("suspects")[:3] == [ids[20], ids[7], ids[11]]
    LabelLog(run.label_path("anna")).record(ids[20], "bogus")
    assert open_session("auto")[0] == ids[7]


def test_session_shows_scores_where_there_are_any(run):
    _, captions = labeling.open_session(
        run, labeler="anna", order="score", page_size=4, seed=1
    )
    assert captions["night_00_c00000"] == "S/N 10 · 19.0 mag\nwidth 1.0 · score 0.99"


def test_login_name_becomes_a_file_name(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "NIGHT\\anna b")
    assert labeling.labeler_name("") == "NIGHT_anna_b"
    assert labeling.labeler_name("bert") == "bert"


def test_the_scatter_of_the_models_goes_on_to_the_list(run):
    scores = run.read_table("scores")
    scores["score_scatter"] = 0.1 * scores["score"]
    run.write_table("scores", scores)
    run.table_path("split").unlink()
    check, _, ranked = rank(run, workflow="apply")
    check_summary.write_list(run, check, ranked, [])
    written = run.read_table("ranked")
    np.testing.assert_allclose(written["score_scatter"], 0.1 * written["score"])


def test_bogus_that_pass_are_counted_by_those_that_are_refused():
    ranked = Table({"score": np.append(np.linspace(0, 1, 1000), np.nan)})
    ranked["above_threshold"] = ranked["score"] >= 0.9495
    ranked["kept"] = ranked["above_threshold"]
    n_refused = int(1000 - ranked["kept"].sum())
    card = {"target_fpr": 0.01}
    found = check_summary.expect_false(ranked, card)
    # 99 refused stand for one that passes.
    assert found["value"] == pytest.approx(n_refused / 99)
    assert (found["low"], found["high"]) == (None, None)
    card["metrics"] = {"test": {"all": {"fpr": rate(0, 30)}}}
    found = check_summary.expect_false(ranked, card)
    assert found["low"] == 0
    # 0 of 30 allows 11.6 %, more than are kept: no more than these can be bogus.
    assert found["high"] == ranked["kept"].sum()
    assert "0 of 30 bogus passed, 0 to 51" in found["words"]


def test_bogus_are_counted_among_those_that_the_width_has_not_cut_yet():
    ranked = Table({"score": np.linspace(0, 1, 1000)})
    ranked["above_threshold"] = ranked["score"] >= 0.977
    ranked["kept"] = ranked["score"] >= 0.995
    n_above = int(ranked["above_threshold"].sum())
    assert ranked["kept"].sum() == 5
    # 977 refused stand for 9.9 that pass, more than are kept.
    words = check_summary.expect_false(ranked, {"target_fpr": 0.01})["words"]
    assert words.startswith(f"about 10 of the {n_above} at or above the threshold")
