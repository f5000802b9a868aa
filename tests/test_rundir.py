import json
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import TABLES, RunDir, atomic_path, start_from_project


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "runs/night")


def write_half_and_fail(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("the disk is full")


def test_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "scores.ecsv"
    path.write_text("old")

    with pytest.raises(RuntimeError, match="disk is full"):
        write_half_and_fail(path)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_first_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="disk is full"):
        write_half_and_fail(tmp_path / "new/scores.ecsv")

    assert list((tmp_path / "new").iterdir()) == []


def test_old_file_is_whole_until_the_new_one_is(tmp_path):
    path = tmp_path / "scores.ecsv"
    path.write_text("old")

    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_temporary_keeps_the_ending_that_tells_the_format(tmp_path):
    with atomic_path(tmp_path / "image.fits") as temporary:
        assert temporary.suffix == ".fits"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_table_that_cannot_be_written_leaves_the_old_one(run):
    run.write_table("scores", Table({"score": [0.5]}))

    with pytest.raises(TypeError, match="could not convert"):
        run.write_table("scores", Table({"score": [{1, 2}, object()]}))

    assert run.read_table("scores")["score"][0] == 0.5
    assert [path.name for path in run.root.iterdir()] == ["scores.ecsv"]


@pytest.mark.parametrize(
    "name", ["../night2", "a/b", "..", ".hidden", "", "a\\b", "a b", "é", "a\n"]
)
@pytest.mark.parametrize(
    "path_of", ["psf_path", "simulated_path", "difference_path", "label_path"]
)
def test_name_that_could_leave_the_run_folder_is_refused(run, path_of, name):
    with pytest.raises(BadInputError, match="letters, digits and"):
        getattr(run, path_of)(name)


def test_figure_name_is_checked_too(run):
    fig = plt.figure()
    with pytest.raises(BadInputError, match="figure name"):
        run.save_figure(fig, "../01_fwhm")
    run.save_figure(fig, "01_fwhm")
    plt.close(fig)

    assert [path.name for path in run.figures_dir.iterdir()] == ["01_fwhm.png"]


def test_usual_names_are_taken(run):
    assert run.psf_path("SN2024-a_r+60s.1").name == "SN2024-a_r+60s.1.fits"
    assert run.label_path("m.muster").name == "m.muster.jsonl"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_missing_table_names_the_notebook_that_writes_it(run, name):
    with pytest.raises(BadInputError, match=f"Run {TABLES[name]}"):
        run.read_table(name)
    assert not run.has_table(name)


def test_unknown_table_is_refused_with_the_known_ones(run):
    with pytest.raises(BadInputError, match=r"candidates.*'candidate'"):
        run.table_path("candidate")


def test_table_comes_back_with_units_types_and_empty_text(run):
    table = Table(
        {
            "source_id": ["a", "", "b"],
            "n": [1, 2, 3],
            "usable": [True, False, True],
            "flux": np.array([1.5, np.nan, np.inf]) * u.adu,
            "gain": np.array([1.0, 2.0, 4.0]) * u.electron / u.adu,
            "scale": np.array([0.3, 0.3, 1 / 3]) * u.arcsec / u.pix,
        }
    )
    run.write_table("crossmatch", table)
    back = run.read_table("crossmatch")

    assert back.colnames == table.colnames
    assert not back.has_masked_columns
    assert list(np.asarray(back["source_id"])) == ["a", "", "b"]
    for name in ("n", "usable", "flux", "gain", "scale"):
        np.testing.assert_array_equal(back[name], table[name])
        assert back[name].unit == table[name].unit
        assert back[name].dtype.kind == table[name].dtype.kind


def test_column_of_nothing_but_empty_text_comes_back(run):
    run.write_table("crossmatch", Table({"auto_label": ["", ""], "match": ["a", "b"]}))

    assert list(np.asarray(run.read_table("crossmatch")["auto_label"])) == ["", ""]


def test_empty_table_comes_back_with_its_columns(run):
    table = Table({"candidate_id": np.zeros(0, "U12"), "x": np.zeros(0) * u.pix})
    run.write_table("candidates", table)
    back = run.read_table("candidates")

    assert len(back) == 0
    assert back.colnames == ["candidate_id", "x"]
    assert back["candidate_id"].dtype.kind == "U"
    assert back["x"].unit == u.pix


@pytest.mark.parametrize(
    "text", ["two\nlines", 'a "quote"', "a, b; c", "# no comment", "0"]
)
def test_reason_of_any_text_comes_back(run, text):
    run.write_table("exposures", Table({"reason": [text, "", "x"], "n": [1, 2, 3]}))

    assert list(np.asarray(run.read_table("exposures")["reason"])) == [text, "", "x"]


def test_json_holds_null_where_there_is_no_number(run):
    run.write_json(
        run.metrics_path,
        {
            "auc": np.float32(0.5),
            "fpr": float("nan"),
            "bins": np.array([1.0, np.nan, np.inf]),
            "n": np.int64(3),
            "good": np.bool_(True),
            "path": Path("a/b"),
            1: (1, 2),
        },
    )
    text = run.metrics_path.read_text()

    # Strict: NaN and Infinity are no JSON, and other readers refuse them.
    strict = json.loads(text, parse_constant=pytest.fail)
    assert strict == {
        "auc": 0.5,
        "fpr": None,
        "bins": [1.0, None, None],
        "n": 3,
        "good": True,
        "path": "a/b",
        "1": [1, 2],
    }
    assert run.read_json(run.metrics_path) == strict


def test_missing_and_broken_json_are_refused_with_what_to_do(run):
    with pytest.raises(BadInputError, match="Run the notebook that writes it"):
        run.read_json(run.metrics_path)
    run.root.mkdir(parents=True)
    run.metrics_path.write_text('{"auc": ')
    with pytest.raises(BadInputError, match="Remove it and run again"):
        run.read_json(run.metrics_path)


def test_all_files_of_a_run_are_in_its_folder(run):
    names = [name for name in dir(RunDir) if name.endswith(("_path", "_dir"))]
    paths = [getattr(run, name) for name in names]
    paths = [path for path in paths if isinstance(path, Path)]

    assert len(set(paths)) == len(paths) > 8
    assert all(path.parent == run.root for path in paths)


def test_notebook_folder_is_left_for_the_project(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/sub").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks/sub")
    start_from_project()
    assert Path.cwd() == tmp_path / "notebooks/sub"

    monkeypatch.chdir(tmp_path / "notebooks")
    start_from_project()
    start_from_project()
    assert Path.cwd() == tmp_path
