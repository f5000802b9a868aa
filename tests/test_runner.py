import fcntl
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import fake_chain
import pytest

from gmadet_nb.campaign import kernels
from gmadet_nb.campaign.checks import check_paths
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.runner import campaign_status, run_campaign
from gmadet_nb.campaign.stages import WORKFLOWS, producers, select_stages
from gmadet_nb.errors import BadInputError, BadParameterError, StageError
from gmadet_nb.learning.model_files import hash_files

MADE_OF_STAMPS = "# Made of the stamps of 'a.npz'.\nworkflow: stamps\ncutout_size: 63\n"
OF_STAMPS_FIRST_VERSION = MADE_OF_STAMPS.replace("workflow: stamps\n", "")


class Chain:
    """A folder with fake notebooks, one image and a campaign file."""

    def __init__(self, folder):
        self.folder, self.notebooks = folder, folder / "notebooks"
        self.params = folder / "x.yaml"
        self.run = folder / "run"
        self.lines = []

    def open(self, *assignments):
        return open_campaign(
            self.params, assignments=assignments, notebooks=self.notebooks
        )

    def start(self, *assignments, **choices):
        self.lines.clear()
        campaign = self.open(*assignments)
        return run_campaign(campaign, echo=self.lines.append, **choices)

    def reasons(self, *assignments):
        statuses = campaign_status(self.open(*assignments))
        return {status.name: status.reason for status in statuses}

    def replace_cell(self, stage, *cells):
        fake_chain.write_notebook(self.notebooks, stage, *cells)

    def manifest(self):
        return json.loads((self.run / "manifest.json").read_text())["stages"]


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_chain.write_chain(tmp_path / "notebooks")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.fits").write_text("an image")
    (tmp_path / "x.yaml").write_text("detection_threshold: 4\n")
    return Chain(tmp_path)


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fake_chain.write_chain(folder / "notebooks")
        (folder / "images").mkdir()
        (folder / "images/a.fits").write_text("an image")
        (folder / "x.yaml").write_text("detection_threshold: 4\n")
        chain = Chain(folder)
        chain.ran = chain.start()
        chain.first_lines = list(chain.lines)
    return chain


@pytest.fixture
def finished(finished_folder, monkeypatch):
    """Return a chain that has run; the tests that take it leave it as it is."""
    monkeypatch.chdir(finished_folder.folder)
    return finished_folder


# The stage table


def test_the_two_workflows_have_their_stages():
    assert [stage.name[:2] for stage in WORKFLOWS["train"]] == [
        f"{number:02d}" for number in range(1, 11)
    ]
    assert [stage.name[:2] for stage in WORKFLOWS["apply"]] == [
        "01",
        "03",
        "04",
        "09",
        "10",
    ]


@pytest.mark.parametrize("workflow", ["train", "apply"])
def test_what_a_stage_reads_is_written_before_it_or_by_a_person(workflow):
    written = {"labels/"}
    for stage in WORKFLOWS[workflow]:
        assert set(stage.reads) <= written
        written |= set(stage.writes)


@pytest.mark.parametrize("name", ["03", "detect", "03_detect"])
def test_a_stage_is_known_by_number_and_by_name(name):
    stages = select_stages(WORKFLOWS["train"], first=name, last="04")
    assert [stage.name for stage in stages] == ["03_detect", "04_cutouts"]


def test_an_unknown_stage_is_refused_with_the_nearest():
    with pytest.raises(BadParameterError, match="The nearest is 03_detect"):
        select_stages(WORKFLOWS["train"], first="03_detekt")
    with pytest.raises(BadParameterError, match="02_simulate' is no stage of this"):
        select_stages(WORKFLOWS["apply"], last="02_simulate")
    with pytest.raises(BadParameterError, match="--to must not stand before --from"):
        select_stages(WORKFLOWS["train"], first="04", last="02")


def test_labels_are_nobodys_product_and_suspects_make_no_circle():
    stages = {stage.name: stage for stage in WORKFLOWS["train"]}
    assert "labels/" in stages["07_dataset"].reads
    assert "suspects.ecsv" not in stages["06_label"].reads
    assert "06_label" not in producers(stages["07_dataset"], WORKFLOWS["train"])


# What is checked before a kernel starts


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("images_dir=nowhere", "images_dir must be a folder of FITS files.*nowhere"),
        ("telescope=generik", "no telescope 'generik'.*generic"),
        ("reference=stak", "reference must be.*'stak' is no file.*mean 'stack'"),
        ("reference=no/such.fits", "'no/such.fits' is no file"),
        ("model=nowhere", "model must be a folder, and 'nowhere' is none"),
        ("model=images", r"a whole model folder\. There is no model\.json in 'images'"),
        ("truth=nowhere.ecsv", "truth must be a table"),
        ('known_objects=["nowhere.csv"]', "must name tables, and 'nowhere.csv' is no"),
        ("known_objects=nowhere.csv", "must be a list, such as .*variables.csv"),
        ("workflow=aply", "workflow must be one of train, apply.*mean 'apply'"),
        ("n_sources=0", "--set: n_sources must be 1 or more, got 0"),
        ("workflow=apply", "model must name the model folder of an earlier run"),
    ],
)
def test_what_is_absent_is_refused_before_a_kernel_starts(chain, assignment, message):
    with pytest.raises(BadParameterError, match=message):
        chain.start(assignment)
    assert not chain.run.exists()


def test_question_that_is_not_answered_is_asked_before_a_kernel_starts(chain):
    asked = "# gain: ?  # [electron/adu] no exposure states it\n"
    chain.params.write_text(f"detection_threshold: 4\n{asked}")
    with pytest.raises(BadParameterError, match=r"the line '# gain: \?' .* delete the"):
        chain.start()
    assert not chain.run.exists()
    assert chain.start("gain=1.5")


@pytest.mark.parametrize("workflow", ["train", "apply"])
def test_a_model_of_cutouts_of_another_size_is_refused(chain, workflow):
    (chain.folder / "model").mkdir()
    card = chain.folder / "model/model.json"
    choices = (f"workflow={workflow}", "model=model")
    card.write_text("{}")
    with pytest.raises(BadParameterError, match="must state the size"):
        chain.start(*choices)
    card.write_text('{"input": {"size": 48}}')
    with pytest.raises(
        BadParameterError, match=r"of 48 pixels, and cutout_size is 32.*to 48"
    ):
        chain.start(*choices)
    assert not chain.run.exists()
    campaign = chain.open(*choices, "cutout_size=48")
    check_paths(campaign, campaign.stages)


def write_model(folder, **card):
    """Write a model folder of which the card says what the runner reads."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "model.keras", "w") as file:
        file.writestr("config.json", "{}")
    (folder / "model.onnx").write_bytes(b"networks")
    whole = {"input": {"size": 32}, "network": "small", "files": hash_files(folder)}
    (folder / "model.json").write_text(json.dumps(whole | card))
    return folder


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("model", "model.onnx", b"another", "must be the file that"),
        ("model", "model.json", b'{"input": {"si', "is no readable JSON"),
        ("model", "model.json", None, "interrupted there.*start it again"),
        ("initial_model", "model.keras", b"another", "must be the file that"),
        ("initial_model", "model.keras", None, "There is no model.keras in"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(chain, name, file, content, message):
    path = write_model(chain.folder / "model") / file
    check_paths(chain.open(f"{name}=model"), WORKFLOWS["train"])
    path.write_bytes(content) if content else path.unlink()
    with pytest.raises(BadParameterError, match=message):
        chain.start(f"{name}=model")
    assert not chain.run.exists()


def test_a_wrong_initial_model_leaves_the_training_as_it_is(chain):
    chain.start()
    write_model(chain.folder / "other", network="vgg6")
    with pytest.raises(BadParameterError, match="Set network to 'vgg6'"):
        chain.start("initial_model=other")
    write_model(chain.folder / "other", files={})
    (chain.folder / "other/model.keras").write_bytes(b"garbage")
    with pytest.raises(BadParameterError, match="is no whole Keras file"):
        chain.start("initial_model=other")
    assert chain.reasons()["08_train"] == ""


def test_a_call_that_fails_leaves_results_that_are_still_whole(chain):
    good = fake_chain.writing_cell("02_simulate")
    chain.start(last="02")
    chain.replace_cell("02_simulate", "assert seed < 9, 'too many'", good)
    assert chain.start(last="02") == ["02_simulate"]
    with pytest.raises(StageError, match="too many"):
        chain.start("seed=9", last="02")
    assert chain.reasons()["02_simulate"] == ""
    assert chain.reasons("seed=9")["02_simulate"] == "seed changed from 1 to 9"
    spoil = "open(run_dir + '/simulated_objects.ecsv', 'w').write('spoilt')"
    chain.replace_cell("02_simulate", spoil, "1 / 0")
    with pytest.raises(StageError, match="ZeroDivisionError"):
        chain.start(last="02")
    chain.replace_cell("02_simulate", "assert seed < 9, 'too many'", good)
    assert chain.reasons()["02_simulate"] == "it has not finished here yet"


@pytest.mark.parametrize("workflow", ["apply", "stamps"])
def test_labelling_has_its_parameters_where_it_is_no_stage(chain, workflow):
    campaign = chain.open(f"workflow={workflow}", "interactive=false")
    label = campaign.parameters["06_label"]
    assert (label["run_dir"], label["interactive"]) == ("run", False)


def test_the_run_of_another_campaign_is_overwritten_by_force_alone(chain):
    chain.start(last="01")
    before = (chain.run / "params.yaml").read_text()
    (chain.folder / "other").mkdir()
    (chain.folder / "other/a.fits").write_text("another image")
    with pytest.raises(
        BadParameterError,
        match=r"holds a run of workflow 'train' on images_dir 'images', which "
        r"workflow 'apply' on images_dir 'other' would overwrite.*run_dir, or --force",
    ):
        chain.start("workflow=apply", "images_dir=other", last="01")
    for assignment in ("workflow=apply", "images_dir=other"):
        with pytest.raises(BadParameterError, match="would overwrite"):
            chain.start(assignment, last="01")
        assert chain.reasons(assignment)
    assert (chain.run / "params.yaml").read_text() == before
    chain.start("images_dir=./images", last="01")  # the same folder
    assert chain.start("images_dir=other", last="01", force=True) == ["01_images"]


@pytest.mark.parametrize("params", [MADE_OF_STAMPS, OF_STAMPS_FIRST_VERSION])
@pytest.mark.parametrize("force", [False, True])
def test_stamps_from_elsewhere_are_not_replaced_even_by_force(chain, params, force):
    chain.run.mkdir()
    (chain.run / "params.yaml").write_text(params)
    (chain.run / "cutouts.h5").write_text("stamps")
    for choices in ({}, {"last": "01"}, {"first": "04"}, {"first": "06"}):
        with pytest.raises(BadParameterError, match=r"run holds stamps .* another run"):
            chain.start(force=force, **choices)
    assert sorted(path.name for path in chain.run.iterdir()) == [
        "cutouts.h5",
        "params.yaml",
    ]
    assert (chain.run / "params.yaml").read_text() == params


@pytest.mark.parametrize("params", [MADE_OF_STAMPS, OF_STAMPS_FIRST_VERSION])
def test_run_of_stamps_is_one_after_it_has_run_too(chain, params):
    chain.run.mkdir()
    (chain.run / "params.yaml").write_text(params)
    for _ in range(2):
        campaign = open_campaign("run", notebooks=chain.notebooks)
        assert campaign.workflow == "stamps"
        assert campaign.parameters["04_cutouts"]["cutout_size"] == 63
        run_campaign(campaign, first="06", last="06", echo=chain.lines.append)
    assert chain.lines[-1] == "06_label is up to date"
    with pytest.raises(BadParameterError, match="holds stamps"):
        chain.start()


def test_stamps_are_scored_by_the_model_of_another_run_without_training(chain):
    chain.run.mkdir()
    (chain.run / "params.yaml").write_text(
        MADE_OF_STAMPS.replace("63", "32") + "n_sources: 7\n"
    )
    for name in ("exposures.ecsv", "candidates.ecsv", "crossmatch.ecsv", "cutouts.h5"):
        (chain.run / name).write_text(name)
    write_model(chain.folder / "model")

    def start(*assignments):
        campaign = open_campaign(
            "run", assignments=assignments, notebooks=chain.notebooks
        )
        return campaign, run_campaign(campaign, echo=chain.lines.append)

    campaign, ran = start("model=model")
    assert ran == ["06_label", "09_infer", "10_check_inference"]
    # To the last notebook they are a list to rank.
    assert campaign.parameters["10_check_inference"]["workflow"] == "apply"
    assert (chain.run / "ranked.ecsv").is_file()
    # It stays a run of stamps, on which an own model can be trained.
    campaign, ran = start()
    assert campaign.workflow == "stamps"
    assert campaign.parameters["10_check_inference"]["workflow"] == "stamps"
    assert ran == [stage.name for stage in WORKFLOWS["stamps"][1:]]
    own = open_campaign(
        "run", assignments=["model=run/model"], notebooks=chain.notebooks
    )
    assert own.stages == WORKFLOWS["stamps"]


def test_workflow_of_stamps_wants_stamps(chain):
    with pytest.raises(BadParameterError, match="gmadet-nb stamps FILE run"):
        chain.start("workflow=stamps")
    chain.start(last="01")
    with pytest.raises(BadParameterError, match="made of stamps, and run is none"):
        chain.start("workflow=stamps", force=True)


def test_a_run_folder_that_was_moved_is_opened_where_it_is(chain):
    chain.start(last="02")
    chain.run.rename(chain.folder / "moved")
    campaign = open_campaign("moved", notebooks=chain.notebooks)
    assert campaign.run.root.name == "moved"
    assert {values["run_dir"] for values in campaign.parameters.values()} == {"moved"}
    reasons = {each.name: each.reason for each in campaign_status(campaign)}
    assert reasons["01_images"] == reasons["02_simulate"] == ""
    run_campaign(campaign, last="03", echo=chain.lines.append)
    assert not chain.run.exists()


def test_a_copy_of_a_run_is_as_up_to_date_as_the_run(chain):
    cell = fake_chain.writing_cell("01_images").replace("one.ecsv", "one.fits")
    chain.replace_cell("01_images", cell)
    chain.start(last="02")
    shutil.copytree(chain.run, chain.folder / "copy", copy_function=shutil.copyfile)
    pixels = chain.folder / "copy/psf/one.fits"
    os.utime(pixels, (1, 1))  # whatever the clock of the file system

    def reasons():
        campaign = open_campaign("copy", notebooks=chain.notebooks)
        return [each.reason for each in campaign_status(campaign)][:2]

    assert reasons() == ["", ""]
    pixels.write_text("02_images")  # as long as it was
    assert reasons() == ["psf/ is no longer what it wrote", "psf/ changed"]


def test_paths_of_stages_left_out_are_not_asked_for(chain):
    campaign = chain.open("workflow=apply")
    check_paths(campaign, select_stages(campaign.stages, last="04"))
    with pytest.raises(BadParameterError, match="model must name the model folder"):
        check_paths(campaign, campaign.stages)


# A run, and what makes a stage run again


def test_all_stages_run_once_in_order_and_leave_their_records(finished):
    assert finished.ran == [stage.name for stage in WORKFLOWS["train"]]
    entries = finished.manifest()
    assert list(entries) == finished.ran
    assert entries["03_detect"]["parameters"] == {
        "workflow": "train",
        "subtraction": "auto",
        "reference": "stack",
        "detection_threshold": 4.0,
    }
    assert entries["03_detect"]["seconds"] > 0
    assert "astropy" in entries["03_detect"]["versions"]
    executed = sorted(path.name for path in (finished.run / "notebooks").iterdir())
    assert executed == [f"{name}.ipynb" for name in finished.ran]
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        "images",
        "notebooks",
        "run",
        "x.yaml",
    ]


def test_what_cells_print_comes_with_the_stage_in_front(finished):
    assert "03_detect | 03_detect has run" in finished.first_lines
    at = finished.first_lines.index("03_detect runs: it has not finished here yet")
    assert re.fullmatch(r"03_detect done in .* s", finished.first_lines[at + 2])


def test_a_second_run_does_nothing(finished):
    assert finished.start() == []
    assert finished.lines[2] == "03_detect is up to date"


def test_the_resolved_parameters_open_the_same_campaign(finished):
    by_folder = open_campaign(finished.run, notebooks=finished.notebooks)
    assert by_folder.parameters == finished.open().parameters
    assert (
        "detection_threshold: 4.0  # S/N" in (finished.run / "params.yaml").read_text()
    )


def test_a_changed_parameter_is_named_and_what_follows_waits(finished):
    reasons = finished.reasons("detection_threshold=5", "compute=serial")
    assert reasons["02_simulate"] == ""
    assert reasons["03_detect"] == "detection_threshold changed from 4.0 to 5.0"
    assert reasons["04_cutouts"] == "03_detect runs before it"
    assert reasons["07_dataset"] == "04_cutouts runs before it"


def test_a_label_makes_the_data_set_out_of_date_but_not_the_labelling(finished):
    path = finished.run / "labels/ann.jsonl"
    path.parent.mkdir()
    path.write_text("{}\n")
    try:
        reasons = finished.reasons()
    finally:
        path.unlink()
        path.parent.rmdir()
    assert reasons["06_label"] == ""
    assert reasons["07_dataset"] == "labels/ changed"


def test_a_label_on_a_new_night_makes_the_ranked_list_out_of_date(chain):
    (chain.folder / "model").mkdir()
    (chain.folder / "model/model.json").write_text('{"input": {"size": 32}}')
    apply = "workflow=apply", "model=model"
    chain.start(*apply)
    (chain.run / "labels").mkdir()
    (chain.run / "labels/ann.jsonl").write_text("{}\n")

    reasons = chain.reasons(*apply)
    assert reasons.pop("10_check_inference") == "labels/ changed"
    assert not any(reasons.values())


def test_new_suspects_do_not_make_the_labelling_out_of_date(finished):
    path = finished.run / "suspects.ecsv"
    before = path.read_text()
    path.write_text("changed")
    try:
        reasons = finished.reasons()
    finally:
        path.write_text(before)
    assert reasons.pop("10_check_inference") == (
        "suspects.ecsv is no longer what it wrote"
    )
    assert set(reasons.values()) == {""}


def test_a_changed_image_makes_the_first_stage_out_of_date(finished):
    path = finished.folder / "images/b.fits"
    path.write_text("another")
    try:
        assert finished.reasons()["01_images"] == "images_dir images changed"
    finally:
        path.unlink()
    assert finished.reasons()["01_images"] == ""


def test_a_changed_table_of_known_objects_makes_the_crossmatch_out_of_date(chain):
    path = chain.params.parent / "known.csv"
    path.write_text("ra,dec\n1,2\n")
    chosen = f'known_objects=["{path.name}"]'
    chain.start(chosen, last="04")
    assert chain.start(chosen, last="04") == []
    path.write_text("ra,dec\n1,3\n")
    assert chain.start(chosen, last="04") == ["04_cutouts"]


def test_a_changed_cell_runs_again_and_a_comment_does_not(finished):
    cell = fake_chain.writing_cell("05_check_simulation")
    finished.replace_cell("05_check_simulation", cell + "\n# a remark")
    try:
        assert finished.reasons()["05_check_simulation"] == ""
        finished.replace_cell("05_check_simulation", cell + "\nx = 1")
        assert finished.reasons()["05_check_simulation"] == "its code changed"
    finally:
        finished.replace_cell("05_check_simulation", cell)


def test_only_what_is_out_of_date_runs_and_the_rest_is_kept(chain):
    chain.start(last="02")
    (chain.run / "simulated_objects.ecsv").unlink()
    assert chain.start(last="02") == ["02_simulate"]
    assert chain.lines[:2] == [
        "01_images is up to date",
        "02_simulate runs: simulated_objects.ecsv is gone",
    ]
    assert chain.start(last="02", force=True) == ["01_images", "02_simulate"]
    assert chain.lines[0] == "01_images runs: forced"


def test_starting_later_leaves_the_stages_before_as_they_are(chain):
    chain.start(last="01")
    assert chain.start("min_stars=9", first="02", last="02") == ["02_simulate"]
    assert chain.lines[0] == (
        "01_images is out of date (min_stars changed from 8 to 9), but left as it is"
    )


def test_a_stage_whose_inputs_are_not_finished_is_refused(chain):
    with pytest.raises(BadInputError, match="02_simulate needs 01_images, which has"):
        chain.start(first="02", last="02")


def test_figures_that_are_no_longer_drawn_are_removed(chain):
    figures = chain.run / "figures"
    figures.mkdir(parents=True)
    for name in ["01_old.png", "02_other.png"]:
        (figures / name).write_text("")
        os.utime(figures / name, (1e9, 1e9))
    chain.start(last="01")
    assert [path.name for path in figures.iterdir()] == ["02_other.png"]


def test_the_executed_copy_has_no_remarks_of_tensorflow_on_itself(chain):
    remark = "I0000 00:00:1795631658.503590 6227 port.cc:153] oneDNN is on."
    head = "WARNING: All log messages before absl::InitializeLog() is called"
    say = f"import sys; print({head!r}, {remark!r}, sep='\\n', file=sys.stderr)"
    both = f"print('mine'); print({remark!r})"
    chain.replace_cell("01_images", say, both, fake_chain.writing_cell("01_images"))
    chain.start(last="01")
    text = (chain.run / "notebooks" / "01_images.ipynb").read_text()
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    first, second = cells[-3:-1]
    assert first["outputs"] == []
    assert [out["text"] for out in second["outputs"]] == [["mine\n"]]


# What goes wrong


def test_a_failing_cell_is_named_and_running_again_goes_on_from_there(chain):
    good = fake_chain.writing_cell("02_simulate")
    chain.replace_cell("02_simulate", good, 'x = 1\nraise ValueError("too\\nfaint")')
    with pytest.raises(
        StageError,
        match=r"02_simulate stopped in cell \[4\] \(x = 1\): ValueError: too faint",
    ):
        chain.start(last="02")
    assert list(chain.manifest()) == ["01_images"]
    executed = sorted(path.name for path in (chain.run / "notebooks").iterdir())
    assert executed == ["01_images.ipynb", "02_simulate.failed.ipynb"]

    chain.replace_cell("02_simulate", good)
    assert chain.start(last="02") == ["02_simulate"]
    executed = sorted(path.name for path in (chain.run / "notebooks").iterdir())
    assert executed == ["01_images.ipynb", "02_simulate.ipynb"]


@pytest.mark.parametrize(
    "leave", ["import sys; sys.exit(0)", "import sys; sys.exit()", "raise SystemExit"]
)
def test_a_cell_that_leaves_early_has_not_finished(chain, leave):
    chain.replace_cell("01_images", leave, fake_chain.writing_cell("01_images"))
    with pytest.raises(StageError, match=r"01_images stopped in cell \[3\]"):
        chain.start(last="01")
    assert not (chain.run / "manifest.json").exists()


def test_a_dead_kernel_is_told(chain):
    chain.replace_cell("01_images", "import os; os._exit(9)")
    with pytest.raises(StageError, match="since its kernel died"):
        chain.start(last="01")


def test_a_stage_that_does_not_write_its_files_has_not_finished(chain):
    chain.replace_cell("01_images", "x = 1")
    with pytest.raises(StageError, match=r"01_images must write exposures\.ecsv, psf/"):
        chain.start(last="01")


def test_a_second_runner_on_the_same_folder_is_refused(chain):
    chain.run.mkdir()
    with (chain.run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        with pytest.raises(BadInputError, match=r"another runner \(process 4711\)"):
            chain.start(last="01")


def start_process(chain):
    """Start a run whose second stage waits, and return once that stage is at work."""
    chain.replace_cell(
        "02_simulate",
        fake_chain.writing_cell("02_simulate"),
        "import os, time\nfrom pathlib import Path\n"
        "Path('kernel.pid').write_text(str(os.getpid()))\ntime.sleep(120)",
    )
    command = "import sys; from gmadet_nb.campaign.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "run", "x.yaml", "--notebooks", "notebooks"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pid = chain.folder / "kernel.pid"
    wait_until(
        lambda: (pid.is_file() and pid.read_text()) or process.poll() is not None
    )
    if process.poll() is not None:
        pytest.fail(f"the run ended early: {process.communicate()[0]}")
    return process, int(pid.read_text())


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def is_locked(run):
    with (run / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_has_not_finished_its_stage_and_goes_on_from_there(chain, number):
    process, kernel = start_process(chain)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert not is_alive(kernel)
        assert "Traceback" not in output
        assert output.endswith("SIGTERM; the same command goes on from here.\n")
    else:
        # The kernel still holds the lock, until it notices that it is alone.
        if is_alive(kernel):
            with pytest.raises(BadInputError, match="in use by another runner"):
                chain.start(last="01")
        wait_until(lambda: not (is_alive(kernel) or is_locked(chain.run)))
    assert list(chain.folder.glob("kernel-*")) == []
    assert list(chain.manifest()) == ["01_images"]
    with pytest.raises(BadInputError, match="03_detect needs 02_simulate"):
        chain.start(first="03", last="03")

    chain.replace_cell("02_simulate", fake_chain.writing_cell("02_simulate"))
    assert chain.start(last="02") == ["02_simulate"]
    notebooks = sorted(path.name for path in (chain.run / "notebooks").iterdir())
    assert notebooks == ["01_images.ipynb", "02_simulate.ipynb"]


def test_logging_goes_on_in_a_process_that_outlives_its_run(chain, monkeypatch):
    def ends(*arguments, **choices):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(kernels, "run_notebook", ends)
    with pytest.raises(SystemExit, match="143"):
        chain.start(last="01")
    assert logging.getLogger("gmadet_nb").isEnabledFor(logging.ERROR)


def test_what_waits_for_a_kernel_is_silent_once_a_signal_ends_the_run(chain):
    # As nbclient does: what awaits a reply of the kernel fails beside the runner.
    code = """
import asyncio, os, signal, sys
from gmadet_nb.campaign import cli, kernels

async def dies():
    raise RuntimeError("Kernel died")

async def runs():
    task = asyncio.ensure_future(dies())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

def run_notebook(*arguments, **choices):
    asyncio.new_event_loop().run_until_complete(runs())

kernels.run_notebook = run_notebook
sys.exit(cli.main(["run", "x.yaml", "--notebooks", "notebooks"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 143
    assert done.stderr.splitlines() == [
        "gmadet-nb: ended by SIGTERM; the same command goes on from here."
    ]
