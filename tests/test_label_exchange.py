from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from fake_run import make_run

from gmadet_nb.campaign.cli import main
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.label_csv import read_csv, write_csv
from gmadet_nb.learning.label_exchange import read_folders, write_folders
from gmadet_nb.learning.label_import import take_labels
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labeling import label_table
from gmadet_nb.learning.labels import read_labels

IDS = [f"night_00_c{i:05d}" for i in range(4)]
MORE = "night_00_c00004"
AUTOMATIC = "night_01_c00000"  # injected, hence real
KINDS = "taken", "moved", "automatic", "there", "back", "unknown"
WORDS = dict(zip(IDS, ("real", "bogus", "real", "unsure"), strict=True))


@pytest.fixture
def run(tmp_path):
    """Make a small run in which anna has labelled four candidates."""
    run = make_run(tmp_path / "run")
    log = LabelLog(run.label_path("anna"))
    for key, word in WORDS.items():
        log.record(key, word)
    return run


@pytest.fixture
def write(run):
    """Return a function that writes the run's labels as folders."""

    def write(folder):
        human = read_labels(run.labels_dir)
        return write_folders(
            folder,
            label_table(run.read_table("crossmatch"), human),
            run.read_table("candidates"),
            CutoutStore(run.cutouts_path),
            human,
        )

    return write


def test_folders_hold_each_candidate_with_all_three_planes(run, write, tmp_path):
    store, candidates = CutoutStore(run.cutouts_path), run.read_table("candidates")

    # Injected ones are real by themselves, 12 of them.
    assert write(tmp_path / "out") == {"real": 10, "bogus": 1, "unsure": 1}
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
    with pytest.raises(BadInputError, match="must not hold the candidate already"):
        write(tmp_path / "out")


def in_force(folder):
    """Return who said what of which candidate, and when."""
    columns = "candidate_id", "label", "labeler", "time"
    return [tuple(map(str, row)) for row in read_labels(folder)[columns].iterrows()]


def test_round_trip_by_folders_loses_nothing_and_adds_nothing(run, write, tmp_path):
    LabelLog(run.label_path("bert")).record(MORE, "real")
    write(tmp_path / "out")
    back = read_folders(tmp_path / "out")

    known = run.read_table("candidates")["candidate_id"]
    taken = take_labels(
        tmp_path / "labels", back, known, labeler="x", origin="the folder"
    )
    # Automatic labels are in the folders and do not become a person's.
    assert taken == counts(taken=5, automatic=7)
    assert in_force(tmp_path / "labels") == in_force(run.labels_dir)


def test_round_trip_by_csv_loses_nothing(run, tmp_path):
    LabelLog(run.label_path("bert")).record(MORE, "real")
    assert write_csv(tmp_path / "a.csv", run.labels_dir) == 5
    take_labels(
        tmp_path / "labels",
        read_csv(tmp_path / "a.csv"),
        [*IDS, MORE],
        labeler="x",
        origin="a.csv",
    )

    assert in_force(tmp_path / "labels") == in_force(run.labels_dir)


def test_csv_of_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfcandidate_id,label\r\nx,real\r\n")
    assert read_csv(tmp_path / "a.csv") == [said_of("x", "real")]


def said_of(candidate_id, label, *, labeler="", time=None, moved=False):
    return dict(
        candidate_id=candidate_id, label=label, labeler=labeler, time=time, moved=moved
    )


def counts(**some):
    return dict.fromkeys(KINDS, 0) | some


@pytest.mark.parametrize("name", ["../../evil", "s\u00f8k", "a b", ".x"])
def test_name_that_is_no_part_of_a_file_name_is_refused_before_anything_is_written(
    run, write, tmp_path, name
):
    for table in ("candidates", "crossmatch"):
        rows = run.read_table(table)
        ids = rows["candidate_id"].astype("U30")
        ids[ids == IDS[3]] = name
        rows["candidate_id"] = ids
        run.write_table(table, rows)
    with pytest.raises(BadInputError, match="candidate_id must be letters"):
        write(tmp_path / "deep" / "out")

    assert not (tmp_path / "deep").exists()


def test_run_without_labels_writes_no_folder(run, write, tmp_path):
    run.write_table("crossmatch", run.read_table("crossmatch")[:0])
    assert write(tmp_path / "out") == {"real": 0, "bogus": 0, "unsure": 0}


def test_cutouts_of_gmadet_itself_are_read(tmp_path):
    for folder, number in (("true", 3), ("false", 4)):
        hdu = fits.PrimaryHDU(np.zeros((32, 32), np.float32))
        hdu.header["CANDID"] = number
        (tmp_path / folder).mkdir()
        hdu.writeto(tmp_path / folder / f"candidate_{number}.fits")

    assert read_folders(tmp_path) == [said_of("3", "real"), said_of("4", "bogus")]


def test_labels_that_come_twice_are_taken_once(tmp_path):
    came = [said_of(IDS[0], "bogus"), said_of(IDS[1], "bogus"), said_of("o", "real")]
    for n_taken in (2, 0):
        taken = take_labels(tmp_path, came, IDS, labeler="bert", origin="a.csv")
        assert taken == counts(taken=n_taken, there=2 - n_taken, unknown=1)

    assert LabelLog(tmp_path / "bert.jsonl").labels() == {
        IDS[0]: "bogus",
        IDS[1]: "bogus",
    }


def test_what_was_said_later_stays(tmp_path):
    log = LabelLog(tmp_path / "ann.jsonl")
    log.record(IDS[0], "real")
    old = datetime(2020, 1, 1, tzinfo=UTC)
    came = [said_of(IDS[0], "bogus", labeler="ann", time=old)]

    taken = take_labels(tmp_path, came, IDS, labeler="x", origin="a.csv")
    assert taken == counts(there=1)
    # Another's old label does not overrule it either.
    came[0]["labeler"] = "bert"
    taken = take_labels(tmp_path, came, IDS, labeler="x", origin="a.csv")
    assert taken == counts(taken=1)
    assert list(read_labels(tmp_path)["label"]) == ["real"]


def test_labeler_that_is_no_file_name_is_refused_before_anything_is_written(tmp_path):
    came = [said_of(IDS[0], "real"), said_of(IDS[1], "real", labeler="../x")]
    with pytest.raises(BadInputError, match="A labeler's name must be"):
        take_labels(tmp_path / "l", came, IDS, labeler="ann", origin="a.csv")

    assert not (tmp_path / "l").exists()


def test_what_is_no_set_of_labels_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="in true/ and false/, and holds none"):
        read_folders(tmp_path)
    (tmp_path / "a.csv").write_text("candidate,label\nx,real\n")
    with pytest.raises(BadInputError, match="it lacks candidate_id"):
        read_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("candidate_id,label\nx,true\n")
    with pytest.raises(BadInputError, match=r"line 2: label must be one of .*'true'"):
        read_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("candidate_id,label,time\nx,real,noon\n")
    with pytest.raises(BadInputError, match="line 2: time must be ISO 8601"):
        read_csv(tmp_path / "a.csv")
    with pytest.raises(BadInputError, match=r"There is no file .*missing\.csv"):
        read_csv(tmp_path / "missing.csv")
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


@pytest.mark.parametrize("command", [["labels", "export"], ["label"]])
def test_folder_that_is_no_run_is_refused(command, tmp_path, capsys):
    path = str(tmp_path / "a.csv")
    more = [path] if "export" in command else ["--no-browser"]

    assert main([*command, str(tmp_path / "none"), *more]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


def test_command_carries_labels_from_run_to_run(run, tmp_path, capsys):
    other = make_run(tmp_path / "other")
    for each in (run, other):
        each.params_path.write_text("")
    for path in ("a.csv", "folder"):
        assert main(["labels", "export", str(run.root), str(tmp_path / path)]) == 0
    source, target = str(tmp_path / "a.csv"), str(other.root)
    assert main(["labels", "import", target, source]) == 0

    assert "4 labels taken" in capsys.readouterr().out
    # They are anna's, as the file says.
    assert LabelLog(other.label_path("anna")).labels() == WORDS
    assert main(["labels", "import", target, str(tmp_path / "folder")]) == 0
    said = capsys.readouterr().out
    assert "0 labels taken" in said
    assert "left out: 4 said already, 8 automatic" in said


@pytest.fixture
def disputed(run):
    """Let bert label two of anna's candidates later, one of them otherwise."""
    log = LabelLog(run.label_path("bert"))
    for key, word in ((IDS[0], "bogus"), (IDS[1], "bogus"), (MORE, "real")):
        log.record(key, word)
    run.params_path.write_text("")
    return run


def test_export_of_one_labeler_holds_all_of_her_labels_and_no_others(
    disputed, tmp_path, capsys
):
    path = tmp_path / "a.csv"
    assert call("export", disputed, path, "--labeler", "anna") == 0
    assert f"4 labels of anna written to {path}" in capsys.readouterr().out
    said = read_csv(path)
    assert {each["candidate_id"]: each["label"] for each in said} == WORDS
    assert {each["labeler"] for each in said} == {"anna"}
    assert call("export", disputed, tmp_path / "out", "--labeler", "anna") == 0
    said = read_folders(tmp_path / "out")
    assert {each["candidate_id"]: each["label"] for each in said} == WORDS
    assert call("export", disputed, tmp_path / "b.csv", "--labeler", "carl") == 2
    assert "no labels of carl, only of anna, bert" in capsys.readouterr().err
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize("name", ["a.csv", "out"])
def test_export_of_all_says_that_the_label_in_force_alone_goes_out(
    disputed, tmp_path, capsys, name
):
    assert call("export", disputed, tmp_path / name) == 0
    said = capsys.readouterr().out
    assert "Of each candidate only the label in force goes out" in said
    assert "on 1 of them 2 labelers disagree (anna, bert)" in said
    disputed.label_path("bert").unlink()
    assert call("export", disputed, tmp_path / f"again_{name}") == 0
    assert "disagree" not in capsys.readouterr().out


@pytest.fixture
def folder(run, write, tmp_path):
    """Write the run's labels, and move one of anna's and one that nobody gave."""
    write(tmp_path / "out")
    for name in (IDS[2], AUTOMATIC):
        path = tmp_path / "out" / "true" / f"candidate_{name}.fits"
        path.rename(tmp_path / "out" / "false" / path.name)
    run.params_path.write_text("")
    return tmp_path / "out"


def call(command, run, path, *more):
    return main(["labels", command, str(run.root), str(path), *more])


def test_file_that_was_moved_is_an_act_of_who_moved_it(run, folder, capsys):
    began = datetime.now(UTC)
    assert call("import", run, folder, "--labeler", "bert") == 0

    said = capsys.readouterr().out
    assert "2 labels taken (2 of files that were moved)" in said
    assert "left out: 3 said already, 7 automatic" in said
    moved = {IDS[2]: "bogus", AUTOMATIC: "bogus"}
    assert LabelLog(run.label_path("bert")).labels() == moved
    assert LabelLog(run.label_path("anna")).labels() == WORDS
    # What was moved later than it was labelled is in force.
    now = {row["candidate_id"]: row for row in read_labels(run.labels_dir)}
    assert now[IDS[2]]["label"] == "bogus"
    assert datetime.fromisoformat(now[IDS[2]]["time"]) >= began


def test_folders_that_come_twice_are_taken_once_whatever_was_said_since(run, folder):
    assert call("import", run, folder, "--labeler", "bert") == 0
    log = LabelLog(run.label_path("bert"))
    log.record(IDS[2], "unsure")
    before = run.label_path("bert").read_bytes()
    assert call("import", run, folder, "--labeler", "bert") == 0

    assert run.label_path("bert").read_bytes() == before


def test_what_the_mover_had_said_before_it_was_written_is_said_again(run, folder):
    log = LabelLog(run.label_path("bert"))
    log.record(IDS[2], "bogus", time=datetime(2020, 1, 1, tzinfo=UTC))
    assert list(read_labels(run.labels_dir)["label"]) == list(WORDS.values())
    assert call("import", run, folder, "--labeler", "bert") == 0

    labels = {row["candidate_id"]: row["label"] for row in read_labels(run.labels_dir)}
    assert labels[IDS[2]] == "bogus"


def move(folder, name, source, target):
    path = folder / source / f"candidate_{name}.fits"
    path.rename(folder / target / path.name)


@pytest.mark.parametrize("name", [IDS[2], AUTOMATIC])
def test_file_that_is_moved_back_takes_the_move_back_as_often_as_it_goes(
    run, folder, capsys, name
):
    bert = "--labeler", "bert"
    for _ in range(2):
        assert call("import", run, folder, *bert) == 0
        assert labels_of(run)[name] == ("bogus", "bert")
        move(folder, name, "false", "true")
        capsys.readouterr()
        assert call("import", run, folder, *bert) == 0
        assert "1 labels taken (1 of files that were moved)" in capsys.readouterr().out
        assert labels_of(run)[name] == ("real", "bert")
        before = run.label_path("bert").read_bytes()
        assert call("import", run, folder, *bert) == 0
        assert run.label_path("bert").read_bytes() == before
        move(folder, name, "true", "false")


def labels_of(run):
    """Return who says what of which candidate, of the labels in force."""
    return {row["candidate_id"]: (row["label"], row["labeler"]) for row in labels(run)}


def labels(run):
    return read_labels(run.labels_dir)


def test_file_in_its_old_place_leaves_the_move_of_another_and_says_so(
    run, folder, capsys
):
    assert call("import", run, folder, "--labeler", "bert") == 0
    move(folder, IDS[2], "false", "true")
    move(folder, AUTOMATIC, "false", "true")
    capsys.readouterr()
    # Carl's own copy of the folder may bear the same name: nothing was moved in it.
    for more in (["--labeler", "carl"], []):
        assert call("import", run, folder, *more) == 0
        said = capsys.readouterr().out
        assert "0 labels taken" in said
        assert "2 where they were, and otherwise by an earlier move (name who" in said
    assert labels_of(run)[IDS[2]] == ("bogus", "bert")


def test_file_written_after_a_move_came_in_is_no_move_back(
    run, folder, write, tmp_path
):
    assert call("import", run, folder, "--labeler", "bert") == 0
    LabelLog(run.label_path("anna")).record(IDS[2], "real")
    folder.rename(tmp_path / "before")
    write(folder)
    before = run.label_path("bert").read_bytes()
    assert call("import", run, folder, "--labeler", "bert") == 0
    assert run.label_path("bert").read_bytes() == before


def test_who_moved_files_is_asked_before_anything_is_taken(run, folder, capsys):
    assert call("import", run, folder) == 2

    assert "2 cutouts lie in another folder" in capsys.readouterr().err
    assert [path.stem for path in run.labels_dir.iterdir()] == ["anna"]


def test_labeler_who_is_none_of_the_file_s_is_refused(run, tmp_path, capsys):
    write_csv(tmp_path / "a.csv", run.labels_dir)
    with pytest.raises(BadParameterError, match=r"\(anna\), and --labeler says bert"):
        read_csv(tmp_path / "a.csv", labeler="bert")
    assert len(read_csv(tmp_path / "a.csv", labeler="anna")) == 4
    (tmp_path / "b.csv").write_text("candidate_id,label,labeler\nx,real,\n")
    assert len(read_csv(tmp_path / "b.csv", labeler="bert")) == 1


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        ("candidate_id,label", "x,real", "x,bogus"),
        ("candidate_id,label,labeler", "x,real,ann", "x,bogus,"),
        ("candidate_id,label,time", "x,real,2026-01-31", "x,unsure,2026-01-31T00:00Z"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(tmp_path, columns, first, second):
    path = tmp_path / "a.csv"
    path.write_text(f"{columns}\n{first}\nz,real\n{second}\n")
    with pytest.raises(BadInputError, match=r"'x' is real in line 2 and .* in line 4"):
        read_csv(path, labeler="ann" if "labeler" in columns else "")
    # To say the same twice is no contradiction.
    path.write_text(f"{columns}\n{first}\n{first}\n")
    assert len(read_csv(path)) == 2


def test_of_lines_of_other_people_or_times_the_later_counts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("candidate_id,label,labeler\nx,real,ann\nx,bogus,bert\n")
    assert len(read_csv(path)) == 2
    path.write_text("candidate_id,label,time\nx,real,2026-02-01\nx,bogus,2026-01-31\n")
    for n_taken in (2, 0):
        taken = take_labels(
            tmp_path / "l", read_csv(path), ["x"], labeler="ann", origin="a.csv"
        )
        assert taken == counts(taken=n_taken, there=2 - n_taken)
        assert list(read_labels(tmp_path / "l")["label"]) == ["real"]


def test_words_as_people_write_them_are_read(tmp_path):
    rows = "x, Real\n y ,BOGUS \nz,unsure\n"
    (tmp_path / "a.csv").write_text(f"Candidate_ID, Label\n{rows}")
    wanted = [said_of("x", "real"), said_of("y", "bogus"), said_of("z", "unsure")]
    assert read_csv(tmp_path / "a.csv") == wanted
    (tmp_path / "b.csv").write_text("candidate_id,label\nx,1\ny,0\nz,unsure\n")
    assert read_csv(tmp_path / "b.csv") == wanted
    (tmp_path / "c.csv").write_text("candidate_id,label\nx,1\ny,bogus\n")
    with pytest.raises(BadInputError, match="in words or as 1 and 0, and has both"):
        read_csv(tmp_path / "c.csv")


def test_import_of_nothing_says_why_and_fails_where_there_was_something(
    run, tmp_path, capsys
):
    run.params_path.write_text("")
    (tmp_path / "a.csv").write_text("candidate_id,label\nx,real\ny,bogus\n")
    assert call("import", run, tmp_path / "a.csv") == 1
    wanted = f"None of the 2 labels was taken: 2 of candidates that {run.root} does not"
    assert wanted in capsys.readouterr().err
    (tmp_path / "a.csv").write_text("candidate_id,label\n")
    assert call("import", run, tmp_path / "a.csv") == 0
    assert "which holds none" in capsys.readouterr().out
    assert call("import", run, tmp_path / "b.csv") == 1
    assert "There is no file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["import", "export"])
def test_name_that_is_no_labeler_s_is_a_wrong_call(run, tmp_path, capsys, way):
    run.params_path.write_text("")
    (tmp_path / "a.csv").write_text(f"candidate_id,label\n{IDS[0]},real\n")
    with pytest.raises(SystemExit, match="2"):
        call(way, run, tmp_path / "a.csv", "--labeler", "a b")
    assert "A labeler must be letters" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["import", "export"])
def test_name_that_is_neither_a_csv_nor_a_folder_s_is_refused(
    run, tmp_path, capsys, way
):
    run.params_path.write_text("")
    assert call(way, run, tmp_path / "l.txt") == 2
    assert "l.txt' is neither" in capsys.readouterr().err
    assert not (tmp_path / "l.txt").exists()
    (tmp_path / "v.1").mkdir()
    call(way, run, tmp_path / "v.1")
    assert "is neither" not in capsys.readouterr().err
