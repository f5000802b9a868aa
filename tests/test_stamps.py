import numpy as np
import pytest
from fake_run import make_run
from papermill import execute_notebook
from papermill.exceptions import PapermillExecutionError

from gmadet_nb.campaign.cli import main
from gmadet_nb.campaign.plan import default_notebooks, open_campaign
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import labeling
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.label_exchange import write_folders
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labels import read_labels
from gmadet_nb.learning.stamp_run import make_stamp_run
from gmadet_nb.learning.stamps import read_stamps


@pytest.fixture
def survey(rng):
    """Return the arrays of a survey's alerts: three planes, scores, no labels."""
    return {
        "triplets": rng.normal(size=(5, 9, 9, 3)).astype(np.float32),
        "candid": np.array([-3, 10, 11, 12, 13]),
        "objectid": np.array(["a", "b", "a", "c", "c"]),
        "magpsf": np.array([18.5, 19, 20, np.nan, 17], np.float32),
        "fid": np.array([1, 2, 2, 1, 1]),
        "drb": np.array([0.1, 0.9, 0.8, np.nan, 0.5]),
        "rb": np.zeros(5),
    }


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def test_stamps_of_a_survey_become_a_run_to_label(tmp_path, survey):
    path = save(tmp_path / "alerts.npz", survey)
    assert main(["stamps", str(path), str(tmp_path / "run")]) == 0
    assert main(["stamps", str(path), str(tmp_path / "run")]) == 2

    run = RunDir(tmp_path / "run")
    store = CutoutStore(run.cutouts_path)
    ids = ["-3", "10", "11", "12", "13"]
    np.testing.assert_array_equal(store.read(ids), survey["triplets"])
    assert open_campaign(run.root).parameters["06_label"]["seed"] == 1
    session, captions = labeling.open_session(
        run, labeler="anna", order="score", page_size=4, seed=1
    )
    # Highest score first, without one last.
    assert session.ids == ["10", "11", "13", "-3", "12"]
    assert captions["10"] == "19.0 mag\nscore 0.90"
    assert captions["12"] == ""
    # Stamps of one object stay together when candidates are split.
    known = run.read_table("candidates")["candidate_id", "exposure_id"]
    stored = dict(zip(store.candidate_ids, store.exposure_ids, strict=True))
    assert dict(known.iterrows()) == stored
    assert stored["-3"] == stored["11"] == "a"


def test_cube_of_gmadet_keeps_labels_and_its_one_plane(tmp_path, rng):
    arrays = {
        "cube": rng.normal(size=(3, 7, 7, 1)),
        "labels": np.array([1, 0, 0]),
        "mags": np.array([18.0, 19.0, 20.0]),
        "errmags": np.full(3, 0.1),
        "filters": np.array(["r", "r", "Clear"]),
        "candids": np.array(["a", "b", "c"]),
        "fwhms": np.array([2.5, 2.6, 2.7]),
    }
    stamps = read_stamps(save(tmp_path / "cube.npz", arrays))

    np.testing.assert_array_equal(
        stamps.pixels[..., 2], arrays["cube"][..., 0].astype(np.float32)
    )
    assert np.isnan(stamps.pixels[..., :2]).all()
    assert list(stamps.table["label"]) == ["real", "bogus", "bogus"]
    assert list(stamps.table["fwhm"]) == [2.5, 2.6, 2.7]
    assert set(stamps.table["exposure_id"]) == {"cube"}

    run = RunDir(tmp_path / "run")
    make_stamp_run(run, stamps, source="cube.npz")
    auto = labeling.automatic_labels(run.read_table("crossmatch"))
    assert auto == {"a": "real", "b": "bogus", "c": "bogus"}
    assert not run.has_table("scores")
    with pytest.raises(BadInputError, match=r"must be new, and .* has cutouts\.h5"):
        make_stamp_run(run, stamps, source="cube.npz")
    run.cutouts_path.unlink()
    with pytest.raises(BadInputError, match=r"must be new, and .* has params\.yaml"):
        make_stamp_run(run, stamps, source="cube.npz")


def test_campaign_and_notebook_from_images_leave_a_run_of_stamps_alone(
    tmp_path, survey, capsys
):
    path = save(tmp_path / "alerts.npz", survey)
    folder = tmp_path / "run"
    assert main(["stamps", str(path), str(folder)]) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    (tmp_path / "x.yaml").write_text(f"run_dir: {folder}\n")
    assert main(["run", str(tmp_path / "x.yaml"), "--force"]) == 2
    assert "holds stamps from elsewhere" in capsys.readouterr().err
    with pytest.raises(PapermillExecutionError, match="holds stamps from elsewhere"):
        execute_notebook(
            default_notebooks() / "01_images.ipynb",
            tmp_path / "out.ipynb",
            parameters={"run_dir": str(folder)},
            progress_bar=False,
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "name", ["01_images", "02_simulate", "03_detect", "04_cutouts"]
)
def test_notebook_that_works_on_images_opens_no_run_of_stamps(name):
    text = (default_notebooks() / f"{name}.ipynb").read_text()
    assert text.count("RunDir(run_dir)") == 1
    assert "RunDir(run_dir).for_exposures()" in text


def test_folders_that_went_out_come_back_whole(tmp_path):
    run = make_run(tmp_path / "run")
    log = LabelLog(run.label_path("anna"))
    words = {"night_00_c00000": "real", "night_01_c00007": "bogus"}
    for key, word in words.items():
        log.record(key, word)
    candidates, store = run.read_table("candidates"), CutoutStore(run.cutouts_path)
    labels = read_labels(run.labels_dir)
    write_folders(tmp_path / "out", labels, candidates, store, labels)

    back = read_stamps(tmp_path / "out")
    assert dict(back.table["candidate_id", "label"].iterrows()) == words
    np.testing.assert_array_equal(
        back.pixels, store.read(list(back.table["candidate_id"]))
    )
    for name in ("exposure_id", "mag", "fwhm"):
        there = dict(candidates["candidate_id", name].iterrows())
        for row in back.table:
            assert row[name] == there[row["candidate_id"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triplets": np.zeros((5, 9, 8, 3))}, "must have the shape"),
        ({"triplets": np.zeros((5, 9, 9, 2))}, "must have the shape"),
        ({"candid": np.array([1, 1, 2, 3, 4])}, "4 names for 5 stamps"),
        ({"magpsf": np.zeros(4)}, "one row a stamp"),
        ({"labels": np.array([0, 1, 2, 0, 1])}, "0 or 1, got"),
        ({"candid": np.array(["../../x", "b", "c", "d", "e"])}, "must be letters"),
        ({"candid": None}, "must hold candids or candid"),
        (
            {"candid": np.array([1, 2, None, 3, 4], object)},
            "must be an .npz of plain arrays",
        ),
    ],
)
def test_stamps_that_cannot_be_told_apart_or_laid_out_are_refused(
    tmp_path, survey, change, message
):
    arrays = {k: v for k, v in (survey | change).items() if v is not None}
    with pytest.raises(BadInputError, match=message):
        read_stamps(save(tmp_path / "alerts.npz", arrays))


def test_what_is_no_file_of_stamps_is_said(tmp_path):
    with pytest.raises(BadInputError, match="There is no file or folder"):
        read_stamps(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_bytes(b"no archive")
    np.save(tmp_path / "one.npy", np.zeros(3))
    cutouts = make_run(tmp_path / "run").cutouts_path
    for path in (tmp_path / "text.npz", tmp_path / "one.npy", cutouts):
        with pytest.raises(BadInputError, match=r"must be in an \.npz .* is neither"):
            read_stamps(path)
    with pytest.raises(BadInputError, match="holds none"):
        read_stamps(tmp_path)


def save_sources(path, rng, n=90):
    """Save stamps of which those labelled real show a source in their difference."""
    real = np.arange(n) % 2 == 0
    y, x = np.mgrid[-6:7, -6:7]
    psf = np.exp(-(x**2 + y**2) / 4)
    pixels = rng.normal(size=(n, 13, 13, 3))
    pixels[real, :, :, 2] += 20 * psf
    return save(
        path,
        {
            "cube": pixels.astype(np.float32),
            "labels": real.astype(int),
            "candids": np.array([f"s{i}" for i in range(n)]),
            "exposure_ids": np.array([f"field{i // 10}" for i in range(n)]),
        },
    )


def test_stamps_go_from_labels_to_a_trained_model_and_its_doubts(tmp_path, rng):
    path, run = save_sources(tmp_path / "cube.npz", rng), RunDir(tmp_path / "run")
    assert main(["stamps", str(path), str(run.root)]) == 0
    few = ["epochs=2", "batch_size=8", "n_folds=2"]
    sets = [word for each in few for word in ("--set", each)]
    assert main(["run", str(run.root), *sets]) == 0

    split, scores = run.read_table("split"), run.read_table("scores")
    assert "No place is known" in split.meta["note"]
    assert not np.any(split["place_in_training"])
    # What is of one field is on one side.
    sides = {(row["exposure_id"], row["part"] == "test") for row in split}
    assert len(sides) == len(set(split["exposure_id"]))
    assert np.isfinite(scores["score"]).all()
    assert run.has_table("suspects")
    card = run.read_json(run.model_dir / "model.json")
    for name in ("training_hash", "created"):
        assert scores.meta[name] == card[name]
    # Stamps have no numbers of their own: the networks judge alone.
    assert card["fusion"]["judges"] == ["network"]
    assert card["input"]["size"] == 13

    # The same ones as those of another run, which have no labels of their own.
    other, model = RunDir(tmp_path / "other"), f"model={run.model_dir}"
    assert main(["stamps", str(path), str(other.root)]) == 0
    assert main(["run", str(other.root), "--set", model]) == 0
    assert other.has_table("ranked")
    assert not other.has_table("split")
    assert not other.model_dir.exists()
    assert other.of_stamps
    assert 'class="cutout"' in other.report_path.read_text()


def test_what_a_survey_said_is_not_replaced_by_our_scores(tmp_path, survey):
    run = RunDir(tmp_path / "run")
    make_stamp_run(run, read_stamps(save(tmp_path / "a.npz", survey)), source="a.npz")
    assert not run.has_table("scores")
    known = run.read_table("candidates")
    said = dict(known["candidate_id", "survey_score"].iterrows())
    assert said["10"] == pytest.approx(0.9)
