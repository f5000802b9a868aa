import numpy as np
import pytest
from astropy.io import fits
from fake_run import make_run

from gmadet_nb.campaign.cli import main
from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.label_exchange import (
    read_csv,
    read_folders,
    take_labels,
    write_csv,
    write_folders,
)
from gmadet_nb.learning.labels import LabelLog, read_labels

IDS = [f"night_00_c{i:05d}" for i in range(4)]
WORDS = dict(zip(IDS, ("real", "bogus", "real", "unsure"), strict=True))


@pytest.fixture
def run(tmp_path):
    """Make a small run in which anna has labelled four candidates."""
    run = make_run(tmp_path / "run")
    log = LabelLog(run.label_path("anna"))
    for key, word in WORDS.items():
        log.record(key, word)
    return run


def test_folders_hold_each_candidate_with_all_three_planes(run, tmp_path):
    store, candidates = CutoutStore(run.cutouts_path), run.read_table("candidates")
    labels = read_labels(run.labels_dir)
    n = write_folders(tmp_path / "out", labels, candidates, store)

    assert n == {"real": 2, "bogus": 1}
    path = tmp_path / "out" / "false" / f"candidate_{IDS[1]}.fits"
    [pixels] = store.read([IDS[1]])
    with fits.open(path) as hdus:
        header = hdus[0].header
        for plane, name in ((2, 0), (0, "SCIENCE"), (1, "REFERENCE")):
            np.testing.assert_array_equal(hdus[name].data, pixels[..., plane])
    row = candidates[candidates["candidate_id"] == IDS[1]][0]
    assert header["CANDID"] == IDS[1]
    assert header["MAG"] == row["mag"]
    # gmadet's pixels count from 1.
    assert header["XPOS"] == pytest.approx(row["x"] + 1)
    assert header["EDGE"] == "False"


def test_round_trip_by_folders_loses_nothing(run, tmp_path):
    store, candidates = CutoutStore(run.cutouts_path), run.read_table("candidates")
    labels = read_labels(run.labels_dir)
    write_folders(tmp_path / "out", labels, candidates, store)

    back = read_folders(tmp_path / "out")
    assert back == {key: word for key, word in WORDS.items() if word != "unsure"}
    with pytest.raises(BadInputError, match="must not hold the candidate already"):
        write_folders(tmp_path / "out", labels, candidates, store)


def test_round_trip_by_csv_loses_nothing(run, tmp_path):
    assert write_csv(tmp_path / "a.csv", run.labels_dir) == 4
    assert read_csv(tmp_path / "a.csv") == WORDS


def test_cutouts_of_gmadet_itself_are_read(tmp_path):
    for folder, number in (("true", 3), ("false", 4)):
        hdu = fits.PrimaryHDU(np.zeros((32, 32), np.float32))
        hdu.header["CANDID"] = number
        (tmp_path / folder).mkdir()
        hdu.writeto(tmp_path / folder / f"candidate_{number}.fits")

    assert read_folders(tmp_path) == {"3": "real", "4": "bogus"}


def test_labels_that_come_twice_are_taken_once(run):
    log = LabelLog(run.label_path("bert"))
    came = {IDS[0]: "bogus", IDS[1]: "bogus", "other": "real"}

    assert take_labels(log, came, IDS, origin="a.csv") == (2, 1)
    assert take_labels(log, came, IDS, origin="a.csv") == (0, 1)
    assert log.labels() == {IDS[0]: "bogus", IDS[1]: "bogus"}


def test_what_is_no_set_of_labels_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="in true/ and false/, and holds none"):
        read_folders(tmp_path)
    (tmp_path / "a.csv").write_text("candidate,label\nx,real\n")
    with pytest.raises(BadInputError, match="it lacks candidate_id"):
        read_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("candidate_id,label\nx,true\n")
    with pytest.raises(BadInputError, match=r"line 2: label must be one of .*'true'"):
        read_csv(tmp_path / "a.csv")
    for folder in ("true", "false"):
        hdu = fits.PrimaryHDU(np.zeros((8, 8)))
        hdu.header["CANDID"] = 1
        (tmp_path / folder).mkdir()
        hdu.writeto(tmp_path / folder / "a.fits")
    with pytest.raises(BadInputError, match=r"'1' lies in true/ and in false/"):
        read_folders(tmp_path)
    (tmp_path / "true" / "a.fits").write_text("no FITS")
    with pytest.raises(BadInputError, match="with CANDID in its header"):
        read_folders(tmp_path)


def test_command_carries_labels_from_run_to_run(run, tmp_path, capsys):
    other = make_run(tmp_path / "other")
    for path in ("a.csv", "folder"):
        assert main(["labels", "export", str(run.root), str(tmp_path / path)]) == 0
    source, target = str(tmp_path / "a.csv"), str(other.root)
    assert main(["labels", "import", target, source, "--labeler", "bert"]) == 0

    assert "4 labels taken" in capsys.readouterr().out
    assert LabelLog(other.label_path("bert")).labels() == WORDS
    # Injected ones are real by themselves: 12, one of which anna calls bogus and
    # another unsure.
    assert len(list((tmp_path / "folder" / "true").glob("*.fits"))) == 10
    assert main(["labels", "import", target, str(tmp_path / "folder")]) == 0
