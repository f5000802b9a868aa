"""The whole way on the demo nights: run once a session, looked at by each test."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gmadet_nb.campaign import cli
from gmadet_nb.campaign.html import says_nothing
from gmadet_nb.campaign.plan import default_notebooks, open_campaign
from gmadet_nb.campaign.runner import campaign_status
from gmadet_nb.campaign.stages import WORKFLOWS
from gmadet_nb.campaign.steps.products import open_context
from gmadet_nb.campaign.summary import summary
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning.cutouts import CutoutStore


@pytest.fixture
def demo(demo_run, monkeypatch):
    monkeypatch.chdir(demo_run.folder)
    return demo_run


@pytest.fixture(params=["train", "apply"])
def workflow(request):
    return request.param


@pytest.fixture
def run(demo, workflow):
    return RunDir(getattr(demo, workflow))


def test_every_stage_writes_its_files(run, workflow):
    entries = run.read_json(run.manifest_path)["stages"]
    assert list(entries) == [stage.name for stage in WORKFLOWS[workflow]]
    for stage in WORKFLOWS[workflow]:
        for name in stage.writes:
            assert (run.root / name).exists()


def test_every_cell_of_every_executed_notebook_has_completed(run, workflow):
    for stage in WORKFLOWS[workflow]:
        notebook = run.read_json(run.notebooks_dir / f"{stage.name}.ipynb")
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert cell["metadata"]["papermill"]["status"] == "completed"


def test_nothing_half_written_is_left(run):
    left = [path for path in run.root.rglob(".*") if path.name != ".lock"]
    assert left == []
    assert list(run.notebooks_dir.glob("*.failed.ipynb")) == []


def test_every_figure_in_which_something_is_drawn_is_in_the_report(run, workflow):
    report = run.report_path.read_text()
    figures = sorted(run.figures_dir.glob("*.png"))
    drawn = [path for path in figures if not says_nothing(path.read_bytes())]
    assert report.count("<figure>") == len(drawn) > 0
    assert ("Left out, as there was nothing to draw" in report) == (drawn != figures)
    assert "<script" not in report


def test_a_second_demo_does_nothing_but_say_so(demo, capsys):
    assert cli.main(["demo"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Everything is up to date: nothing to do.",
        "Report: runs/demo/report.html",
        "Report: runs/demo_apply/report.html",
    ]


def test_the_ruined_exposure_is_set_aside_with_its_reason(demo):
    exposures = RunDir(demo.train).read_table("exposures")
    aside = exposures[~exposures["used"]]
    assert len(aside) == 1
    assert "elongation" in aside["reason"][0]


def test_the_keys_of_the_tables_are_unique_and_fit_together(run):
    candidates = run.read_table("candidates")["candidate_id"].tolist()
    assert len(set(candidates)) == len(candidates)
    scored = run.read_table("scores")["candidate_id"].tolist()
    assert sorted(scored) == sorted(candidates)
    exposures = set(run.read_table("exposures")["exposure_id"])
    assert set(run.read_table("candidates")["exposure_id"]) <= exposures


def test_surroundings_of_a_candidate_have_its_cutout_in_the_middle(run):
    store = CutoutStore(run.cutouts_path)
    context = open_context(run, store.size)
    key = store.candidate_ids[0]
    wider, middle = context.pixels(key), slice(48, 80)
    assert wider.shape == (128, 128, 3)
    np.testing.assert_array_equal(wider[middle, middle], store.read([key])[0])


def test_most_hidden_transients_stand_at_the_top_of_the_list(demo):
    run = RunDir(demo.apply)
    truth = run.read_json(run.metrics_path)["truth"]
    assert truth["n_detected"] >= 0.8 * truth["n_occurrences"]
    # A random order would put the median at half of some thousand candidates.
    n_candidates = len(run.read_table("ranked"))
    assert np.median(truth["ranks"]) < 0.1 * n_candidates


def test_the_summary_holds_what_a_user_asks_for(demo):
    params = default_notebooks().parent / "params"
    text = "\n".join(summary(open_campaign(params / "demo.yaml")))
    for words in (
        r"exposures used +5 of 6",
        r"sources injected +\d+",
        r"recovered fraction +\d+\.\d %",
        r"m50 ",
        r"candidates +\d+",
        r"labeled cutouts +\d+ real, \d+ bogus",
        r"TPR at FPR 1 % +\d+\.\d % +\(.* to .* at 95 %",
        r"10_check_inference \d+\.\d",
        r"runs/demo/report\.html",
    ):
        assert re.search(words, text), words
    text = "\n".join(summary(open_campaign(params / "demo_apply.yaml")))
    assert re.search(r"after the filter +\d+ of \d+", text)
    assert re.search(r"hidden transients +\d+ of \d+ kept", text)
    assert re.search(r"at ranks \d+(, \d+)+", text)


def test_a_changed_parameter_makes_what_follows_out_of_date(demo):
    params = default_notebooks().parent / "params/demo.yaml"
    campaign = open_campaign(params, assignments=["detection_threshold=5"])
    reasons = {status.name: status.reason for status in campaign_status(campaign)}
    assert reasons["02_simulate"] == ""
    assert reasons["03_detect"] == "detection_threshold changed from 4.0 to 5.0"
    assert all(reasons[name] for name in reasons if name > "03_detect")


def test_papermill_alone_runs_a_notebook_with_the_campaign_file(demo, tmp_path):
    for name in ("candidates", "crossmatch", "exposures"):
        shutil.copy(demo.train / f"{name}.ecsv", tmp_path)
    shutil.copy(demo.train / "cutouts.h5", tmp_path)
    notebooks = default_notebooks()
    command = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    command += [notebooks / "07_dataset.ipynb", tmp_path / "out.ipynb"]
    command += ["-f", notebooks.parent / "params/demo.yaml"]
    command += ["-p", "run_dir", tmp_path, "-p", "test_fraction", "0.3"]
    done = subprocess.run(map(str, command), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    split = RunDir(tmp_path).read_table("split")
    assert set(split["label"]) == {"real", "bogus"}
    assert "0.3" in json.dumps(json.loads((tmp_path / "out.ipynb").read_text()))
