"""The benchmarks call the package as it is; no number of theirs is a test here."""

import importlib
import time
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from star_fields import true_psf

from benchmarks import (
    bench_chain,
    bench_suspects,
    classifier_figures,
    classifier_kept,
    classifier_page,
    classifier_verdict,
    classifier_work,
)
from benchmarks.field import make_pair, turn
from benchmarks.judge import Made, judge_rows
from benchmarks.made_up import make_run
from benchmarks.physics import SECTIONS
from benchmarks.watch import LineWatch
from gmadet_nb.campaign.steps.products import read_planes
from gmadet_nb.learning import labeling, networks
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.label_context import Context


@pytest.fixture(scope="module")
def pair():
    return make_pair(1, side=700, rotation=1.0, shift=5.0)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_can_be_measured(section):
    assert callable(importlib.import_module(f"benchmarks.bench_{section}").measure)


def test_chain_of_a_small_pair_finds_its_transients(pair, tmp_path):
    candidates, row = bench_chain.find(bench_chain.make_run(tmp_path, pair))
    bright = pair.transients[pair.transients["snr"] > 15]
    places = np.column_stack([candidates["x"], candidates["y"]])
    there = np.column_stack([bright["x"], bright["y"]])
    distance = np.hypot(*(there[:, None] - places[None]).transpose(2, 0, 1))

    assert row["good"], row["reason"]
    # One may lie on a bad column.
    assert (distance.min(axis=1) < 1.0).sum() >= len(bright) - 1


def test_wcs_of_the_turned_reference_is_the_true_one(pair):
    x, y = np.array([10.0, 500.0]), np.array([600.0, 30.0])

    sky = pair.science.wcs.pixel_to_world_values(x, y)
    there = pair.reference.wcs.world_to_pixel_values(*sky)

    turned = turn({"x": x, "y": y}, 700, rotation=1.0, shift=5.0)
    assert there == pytest.approx(np.array([turned["x"], turned["y"]]), abs=1e-6)


def test_noise_alone_is_judged_to_be_noise(pair, rng):
    data = rng.normal(size=pair.science.data.shape).astype(np.float32)
    psf = true_psf(pair.science_psf)
    made = Made(data, np.ones_like(data), pair.science.mask, psf)

    values = {row["figure"]: row["value"] for row in judge_rows("a", made, pair)}

    # 200,000 pixels of sky know the width to 0.2 %.
    assert values["a: width in the sky"] == pytest.approx(1, abs=0.01)
    assert values["a: transients found"] == 0
    # Of 400,000 pixels 0.1 are above 5 sigma by chance.
    assert values["a: false detections, no cosmic ray"] <= 2


def test_made_up_run_is_what_06_label_reads(tmp_path):
    run = make_run(tmp_path, n_candidates=60, n_exposures=3, size=16)
    session, captions = labeling.open_session(
        run, labeler="anna", order="unlabeled", page_size=12, seed=1
    )
    exposures = run.read_table("exposures")
    planes = read_planes("night_02", run, exposures, "train")
    around = Context(
        run.read_table("candidates"), exposures, lambda name: planes, size=16
    )
    with CutoutStore(run.cutouts_path) as store:
        first = store.read(["night_00_c00004"])[0]

    assert len(session) == len(captions) == 60
    # Every tenth is injected, and has a label.
    assert session.counts()["real"] == 6
    # The frames are those that the cutouts are from.
    wider = around.pixels("night_02_c00004")
    assert wider[24:40, 24:40] == pytest.approx(first)
    fluxes = [one["flux"] for one in around.describe("night_02_c00004")["history"]]
    assert np.array(fluxes[1:]) / fluxes[0] == pytest.approx([1.1, 1.2])


def test_lines_are_seen_when_they_come(tmp_path):
    path = tmp_path / "log"
    path.write_text("old\n")
    watch = LineWatch(path)
    watch.start()
    for text in ("a\n", "b\nc\n"):
        with open(path, "a") as file:
            file.write(text)
        # Far longer than it sleeps between two looks.
        time.sleep(0.3)
    times = watch.stop()

    assert len(times) == 3
    assert times[0] < times[1] == times[2]


@pytest.mark.parametrize("way", ["random", "hard"])
def test_five_percent_of_the_labels_that_train_are_flipped_on_purpose(way):
    n, rng = 1000, np.random.default_rng(3)
    split = Table({"candidate_id": [f"c{i}" for i in range(n)]})
    split["label"] = np.where(np.arange(n) % 2, "real", "bogus")
    split["fold"] = np.arange(n) % 4 - 1  # every fourth row is in no fold
    candidates = split["candidate_id",][::-1]
    candidates["snr"] = np.where(np.arange(n)[::-1] < 300, 6.0, 9.0)
    crossmatch = Table({"candidate_id": ["c990", "c991"], "near_galaxy": [True, False]})
    hard = bench_suspects.hard_rows(split, candidates, crossmatch)
    assert list(np.flatnonzero(hard)) == [*range(300), 990]

    some = hard if way == "hard" else np.ones(n, bool)
    other, flipped = bench_suspects.flip(split, some, rng=rng)
    assert flipped.sum() == 38  # of 750
    assert not flipped[~some | (split["fold"] < 0)].any()
    np.testing.assert_array_equal(other["label"] != split["label"], flipped)


def test_flipped_labels_are_counted_in_the_first_tenth_and_where_labelling_begins():
    n = 100
    split = Table({"candidate_id": [f"c{i:02d}" for i in range(n)]})
    split["label"], split["label_origin"], split["used"] = "real", "injected", True
    scores = split["candidate_id",]
    scores["score"], scores["out_of_fold"] = np.linspace(0.03, 1, n), True
    flipped = np.isin(np.arange(n), [0, 9, 10, 60])
    # The 48 or 49 lowest scores are below 0.5; the ten lowest are the first tenth.
    found = bench_suspects.count(split, flipped, scores)
    assert list(found) == [4, 2, 3, int(np.sum(scores["score"] < 0.5)) - 3]


def make_split(n=4000):
    """Return what stands for a divided set: half of it real, a quarter in test."""
    part = np.array(["training", "calibration", "training", "test"])[np.arange(n) % 4]
    rows = Table(
        {"label": np.where(np.arange(n) % 8 < 4, "real", "bogus"), "part": part}
    )
    rows["place_in_training"] = False
    return SimpleNamespace(rows=rows, numbers=Table({"snr": np.full(n, 20.0)}))


@pytest.mark.parametrize("method", ["fused", "gmadet as published", "S/N cut"])
def test_rates_of_a_classifier_are_read_at_a_threshold_chosen_without_the_test_part(
    method,
):
    split, rng = make_split(), np.random.default_rng(2)
    real = np.asarray(split.rows["label"] == "real")
    test = np.asarray(split.rows["part"] == "test")
    scores = np.where(
        real, rng.uniform(0.5, 1, len(real)), rng.uniform(0, 0.6, len(real))
    )
    # Bogus of the test part alone score higher: a threshold that knew would rise.
    scores[test & ~real] += 0.39

    found = classifier_figures.measure(split, method, scores, target_fpr=0.01)

    # The threshold is near 0.594, so that bogus from 0.204 on pass: two thirds.
    n = int((test & ~real).sum())
    assert found["fpr"]["n"] == n
    assert found["fpr"]["value"] == pytest.approx(
        0.66, abs=4 * (0.66 * 0.34 / n) ** 0.5
    )
    # Real ones from 0.594 on: four fifths.
    assert found["tpr_bright"]["value"] == pytest.approx(0.81, abs=0.08)
    assert np.isnan(found["tpr_faint"]["value"])


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """Train nothing, and list what would have been trained."""
    done = []

    def train(split, method, *, target_fpr):
        done.append(method)
        ids = split.rows["candidate_id"]
        return Table({"candidate_id": ids, "score": np.full(len(ids), len(done) / 10)})

    monkeypatch.setattr(classifier_work, "FOLDER", tmp_path)
    monkeypatch.setattr(classifier_work, "_train_other", train)
    monkeypatch.setattr(classifier_kept, "hash_of_cutouts", lambda split: "these")
    return done


def make_folded(**changes):
    """Return a division of four candidates."""
    table = Table({"candidate_id": ["a", "b", "c", "d"]})
    table["label"], table["part"] = "real", "training"
    table["fold"], table["border"], table["used"] = 0, False, True
    for name, value in changes.items():
        table[name][1] = value
    return classifier_work.Split(
        name="demo", seed=1, run=None, candidates=table, table=table
    )


def test_scores_are_kept_for_the_same_split_and_trained_anew_for_another(
    trainings, capsys
):
    def ask(split):
        return classifier_work.scores_of(split, "gmadet", target_fpr=0.01)[0]

    assert list(ask(make_folded())) == list(ask(make_folded())) == [0.1] * 4
    assert capsys.readouterr().out == ""
    for i, change in enumerate(({"label": "bogu"}, {"part": "test"}, {"fold": 1})):
        assert list(ask(make_folded(**change))) == [(i + 2) / 10] * 4
        said = "demo_1_gmadet.ecsv: not the same split; training anew."
        assert said in capsys.readouterr().out
    assert trainings == ["gmadet"] * 4


@pytest.mark.parametrize("method", ["gmadet", "gmadet as published"])
def test_scores_of_other_settings_or_other_code_are_not_taken(
    trainings, monkeypatch, capsys, method
):
    def ask():
        classifier_work.scores_of(make_folded(), method, target_fpr=0.01)

    ask()
    monkeypatch.setattr(classifier_work, "EPOCHS", 31)
    ask()
    assert "not the same settings" in capsys.readouterr().out
    monkeypatch.setattr(networks, "__file__", __file__)
    ask()
    assert "not the same code" in capsys.readouterr().out
    ask()
    monkeypatch.setattr(classifier_kept, "hash_of_cutouts", lambda split: "others")
    ask()
    assert "not the same cutouts" in capsys.readouterr().out
    ask()
    assert len(trainings) == 4


def test_verdict_names_the_best_other_and_counts_the_sets_we_are_out_of():
    def figures(value, half=0.01):
        rate = {"value": value, "low": value - half, "high": value + half}
        return dict.fromkeys(classifier_verdict.BANDS, rate)

    found = {
        "here": {
            "fused": [figures(0.98), figures(0.90), figures(0.99)],
            "trees alone": [figures(0.97)],
            "gmadet as published": [figures(0.60), figures(0.70)],
        },
        "there": {
            "fused": [figures(0.95)],
            "trees alone": [figures(0.96)],
            "gmadet as published": [figures(0.945)],
        },
    }
    names = {key: key for key in classifier_verdict.BANDS}

    rows = classifier_verdict.verdict_rows(found, ours="fused", names=names)

    said = {row["figure"]: row["value"] for row in rows}
    here = "here: ours less the best other (trees alone): tpr"
    assert said[here] == pytest.approx(100 * (0.98 - 0.97))
    assert said["there: ours less the best other (trees alone): tpr"] < 0
    # 0.95 is within 0.945 +- 0.01.
    assert said["ours above the interval of gmadet as published: sets of 2"] == 1
    assert not any("otrain" in figure for figure in said)


def test_page_holds_each_classifier_once_with_what_was_measured():
    def row(figure, value, **more):
        return {"figure": figure, "value": value, "unit": "%"} | more

    ends = {"low": 96.0, "high": 99.5, "n_seeds": 3}
    rows = [
        row("tres1: fused: TPR at S/N above 10", 98.7, **ends),
        row("tres1: fused: TPR at S/N 5 to 10", 93.4, n_seeds=3),
        row("tres1: fused: FPR found, all seeds together, of 438 bogus", 1.37),
        row("tres1: fused: training, a 5th: one network and its trees", 40.0),
        row("tres1: ours less the best other (trees alone): TPR at all S/N", 0.3),
    ]
    lines = classifier_page.tables_of(rows)
    assert lines[0] == "## tres1"
    (line,) = [line for line in lines if "fused" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        *("fused", "98.7 (96.0 to 99.5)", "93.4", "1.4", "", "", "", "3"),
    ]
    assert len(lines) == 6
