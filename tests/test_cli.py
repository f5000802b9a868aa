import fake_chain
import pytest

from gmadet_nb.campaign import cli
from gmadet_nb.errors import GmadetError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_chain.write_chain(tmp_path / "notebooks")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.fits").write_text("an image")
    (tmp_path / "x.yaml").write_text("seed: 2\n")
    return tmp_path


@pytest.fixture
def no_report(monkeypatch):
    """Write an empty report: the fake tables have no columns."""

    def write_report(campaign, *, stale):
        campaign.run.report_path.write_text("")
        return campaign.run.report_path

    monkeypatch.setattr("gmadet_nb.campaign.report.write_report", write_report)


@pytest.fixture
def run(folder, capsys):
    """Return a function that gives the exit code and the lines of both streams."""

    def call(*arguments):
        code = cli.main([*arguments, "--notebooks", "notebooks"])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return call


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeed: 2\n", "x.yaml: unknown parameter 'seeed'. The nearest known name"),
        ("seed: two\n", "x.yaml: seed must be int, got 'two' (str)."),
        ("detection_threshold: 0\n", "x.yaml: detection_threshold must be > 0, got"),
        ("images_dir: nowhere\n", "x.yaml: images_dir must be a folder of FITS files"),
        ("seed: 1\nseed: 2\n", "is no valid YAML: found duplicate key"),
    ],
)
def test_a_wrong_campaign_is_one_line_and_exit_code_2(run, folder, text, message):
    (folder / "x.yaml").write_text(text)
    code, _, errors = run("run", "x.yaml")
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith("gmadet-nb: ")
    assert message in errors[0]
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "absent.yaml"),
        ("run", "x.yaml", "--set", "seed"),
        ("run", "x.yaml", "--set", "seed=1.5"),
        ("run", "x.yaml", "--from", "11_none"),
        ("status", "nowhere.yaml"),
    ],
)
def test_a_wrong_call_has_exit_code_2(run, arguments):
    code, _, errors = run(*arguments)
    assert code == 2
    assert len(errors) == 1


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run"], ["run", "x", "--x"]])
def test_an_unknown_call_has_exit_code_2(arguments):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


@pytest.mark.usefixtures("no_report")
def test_a_run_ends_with_its_report_and_a_second_one_does_nothing(run, folder):
    code, lines, errors = run("run", "x.yaml", "--to", "01", "--set", "min_stars=9")
    assert (code, errors) == (0, [])
    assert lines[0] == "x.yaml (train) in run"
    assert lines[-1] == "Report: run/report.html"
    assert (folder / "run/report.html").is_file()

    code, lines, _ = run("run", "x.yaml", "--to", "01", "--set", "min_stars=9")
    assert code == 0
    assert lines[1:] == [
        "01_images is up to date",
        "Everything is up to date in run.",
        "Report: run/report.html",
    ]

    code, lines, _ = run("status", "x.yaml")
    assert code == 0
    assert "01_images" in lines[1]
    assert "out of date: min_stars changed from 9 to 8" in lines[1]
    code, lines, _ = run("status", "run")
    assert lines[1].split()[:4] == ["01_images", "up", "to", "date"]
    assert "out of date: it has not finished here yet" in lines[2]


def test_a_failing_cell_has_exit_code_1_and_no_traceback(run, folder):
    fake_chain.write_notebook(folder / "notebooks", "01_images", "1 / 0")
    code, _, errors = run("run", "x.yaml")
    assert code == 1
    assert errors[0] == (
        "gmadet-nb: 01_images stopped in cell [3] (1 / 0): "
        "ZeroDivisionError: division by zero"
    )
    assert "run/notebooks/01_images.failed.ipynb" in errors[1]
    assert "Traceback" not in "".join(errors)


def test_a_stage_whose_inputs_are_not_there_has_exit_code_1(run):
    code, _, errors = run("run", "x.yaml", "--from", "03")
    assert code == 1
    assert errors[0].startswith("gmadet-nb: 03_detect needs 01_images")


def test_the_report_of_no_run_is_refused(folder, capsys):
    assert cli.main(["report", "images"]) == 2
    assert "images is no run folder" in capsys.readouterr().err


def test_an_error_of_the_package_is_one_line(monkeypatch, folder, capsys):
    def fail(folder):
        raise GmadetError("the sky has fallen.")

    monkeypatch.setattr("gmadet_nb.campaign.demo.make_demo", fail)
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == "gmadet-nb: the sky has fallen.\n"


def test_new_looks_at_a_folder_and_writes_a_campaign(folder, capsys, monkeypatch):
    seen = {}

    def new_campaign(name, images, *, params_dir):
        seen.update(name=name, images=images, params_dir=str(params_dir))
        return "what it understood"

    monkeypatch.setattr("gmadet_nb.campaign.new.new_campaign", new_campaign)
    assert cli.main(["new", "mine", "images"]) == 0
    assert capsys.readouterr().out == "what it understood\n"
    assert seen == {"name": "mine", "images": "images", "params_dir": "params"}


@pytest.mark.usefixtures("no_report")
def test_without_a_name_every_run_in_runs_is_reported_on(run):
    code, _, errors = run("status")
    assert code == 2
    assert "no run folder in runs/" in errors[0]
    assert run("run", "x.yaml", "--set", "run_dir=runs/one")[0] == 0
    assert run("run", "x.yaml", "--set", "run_dir=runs/two")[0] == 0

    code, lines, _ = run("status")
    assert code == 0
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head.split(" in ")[-1] for head in heads] == ["runs/one", "runs/two"]


@pytest.mark.usefixtures("no_report")
def test_status_says_what_a_value_of_set_would_make_out_of_date(run):
    run("run", "x.yaml", "--to", "02")
    _, lines, _ = run("status", "x.yaml", "--set", "n_sources=7")
    assert lines[1].split()[:2] == ["01_images", "up"]
    assert "n_sources changed from 100 to 7" in lines[2]
    _, lines, _ = run("status", "run", "--set", "min_stars=9")
    assert "min_stars changed from 8 to 9" in lines[1]
    _, lines, _ = run("status", "run")
    assert lines[1].split()[:2] == ["01_images", "up"]


@pytest.mark.usefixtures("no_report")
def test_a_value_of_set_holds_for_one_call_where_the_run_is_the_campaign(run, folder):
    assert run("run", "x.yaml", "--to", "01", "--set", "min_stars=9")[0] == 0
    before = (folder / "run/params.yaml").read_text()
    assert "min_stars: 9 " in before
    _, lines, _ = run("run", "run", "--to", "01", "--set", "min_stars=7")
    assert lines[1] == "01_images runs: min_stars changed from 9 to 7"
    _, lines, _ = run("status", "run")
    assert "min_stars changed from 7 to 9" in lines[1]
    after = (folder / "run/params.yaml").read_text()
    assert after.split("\n")[1:] == before.split("\n")[1:]


@pytest.mark.usefixtures("no_report")
def test_a_run_of_some_stages_says_what_is_out_of_date_behind_them(run):
    _, lines, _ = run("run", "x.yaml")
    assert not any("Out of date" in line for line in lines)
    changed = ("--set", "n_sources=7", "--set", "cutout_size=40")
    _, lines, _ = run("run", "x.yaml", *changed, "--to", "02_simulate")
    said = [line for line in lines if line.startswith("Out of date now")]
    assert len(said) == 1
    assert "04_cutouts" in said[0]
    assert "02_simulate" not in said[0]
