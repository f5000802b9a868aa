import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.label_order import Known
from gmadet_nb.learning.label_session import LabelSession
from gmadet_nb.learning.labels import LABELS, read_labels, read_lines

IDS = [f"e_c{i:05d}" for i in range(60)]
AUTO = {IDS[1]: "real", IDS[2]: "bogus", IDS[3]: "ambiguous"}


@pytest.fixture
def make_session(tmp_path):
    """Return a function that opens a session on one labeler's log, again and again."""

    def make(*, ids=IDS, page_size=12, seed=0, labeler="ann", auto=AUTO, **fields):
        return LabelSession(
            ids,
            LabelLog(tmp_path / "labels" / f"{labeler}.jsonl"),
            page_size=page_size,
            rng=np.random.default_rng(seed),
            known=Known(auto_labels=auto),
            **fields,
        )

    return make


class Model:
    """What sessions on one log must do, said as shortly as it can be."""

    def __init__(self):
        self.labels, self.stack, self.late = {}, [], set()

    def slot(self, session, tile):
        candidate, is_again = session.candidate_of(tile), tile.endswith("#again")
        again = is_again and (session, candidate) not in self.late
        return candidate, session if again else None

    def label(self, session, tile, label, press=None):
        candidate = session.candidate_of(tile)
        if "#" in tile and self.labels.get((candidate, None)) is None:
            self.late.add((session, candidate))
        slot = self.slot(session, tile)
        self.stack.append((slot, self.labels.get(slot), press))
        self.labels[slot] = label

    def undo(self, session):
        tiles, press = [], object()
        while self.stack and (not tiles or self.stack[-1][2] == press):
            slot, before, press = self.stack.pop()
            self.labels[slot] = before
            tiles.append(slot[0] + ("#again" if slot[1] is session else ""))
            press = object() if press is None else press
        return tiles

    def shown(self, session):
        return {t: self.labels.get(self.slot(session, t)) for t in session.ids}

    def in_force(self):
        return {
            k: word for (k, again), word in self.labels.items() if word and not again
        }


@pytest.mark.parametrize("seed", range(25))
def test_any_acts_in_two_kernels_crashes_and_restarts_give_the_state_of_the_model(
    make_session, tmp_path, seed
):
    rng, model = np.random.default_rng([7, seed]), Model()
    options = {"repeat_fraction": 0.2, "order": "score"}
    kernels = [make_session(**options), make_session(**options)]
    acts = ["label", "label", "press", "flip", "undo", "restart", "crash"]
    for i in range(150):
        act = rng.choice(acts)
        one = rng.integers(2)
        session = kernels[one]
        tile = session.ids[rng.integers(len(session))]
        if act == "label":
            label = [*LABELS, None][rng.integers(4)]
            session.set_label(tile, label)
            model.label(session, tile, label)
        elif act == "press":
            for tile in rng.choice(session.ids, 4, replace=False):
                session.set_label(tile, "bogus", {"press": f"v-{i}"})
                model.label(session, tile, "bogus", press=i)
        elif act == "flip":
            model.label(session, tile, session.flip(tile))
        elif act == "undo":
            assert session.undo() == model.undo(session)
        else:
            if act == "crash" and session.log.path.exists():
                # The machine goes down within a line that nobody was told is saved.
                with open(session.log.path, "ab") as file:
                    file.write(b'{"candidate_id": "e_c0')
            session = kernels[one] = make_session(**options)
        if session.log.size:
            shown = {t: session.human_label_of(t) for t in session.ids}
            assert shown == model.shown(session)
            counts = session.counts()
            assert sum(counts[word] for word in (*LABELS, "unlabeled")) == len(IDS)
            own = [k for k, word in model.labels.items() if word and k[1] is session]
            assert counts["human"] == len(model.in_force()) + len(own)
    table = read_labels(tmp_path / "labels")
    assert dict(table["candidate_id", "label"].iterrows()) == model.in_force()


def test_undo_goes_on_after_a_restart_to_the_first_act(make_session):
    session = make_session()
    for label in ("real", "bogus", "unsure"):
        session.set_label(IDS[5], label)
    again = make_session()
    assert again.undo() == [IDS[5]]
    assert again.label_of(IDS[5]) == "bogus"
    third = make_session()

    assert [third.undo(), third.undo(), third.undo()] == [[IDS[5]], [IDS[5]], []]
    assert third.label_of(IDS[5]) is None


def test_one_press_is_one_undo_after_a_restart_and_a_crash_in_it(make_session):
    session = make_session()
    session.set_label(IDS[4], "real")
    for tile in IDS[5:8]:
        session.set_label(tile, "bogus", {"press": "v-1"})
    for tile in IDS[8:10]:
        session.set_label(tile, "bogus", {"press": "v-2"})

    assert make_session().undo() == [IDS[9], IDS[8]]
    # The machine goes down when one of three has been taken back.
    session = make_session()
    slot, before, time, _ = session._history[-1]
    session._write(slot, before, {"undo": time})
    again = make_session()
    assert again.undo() == [IDS[6], IDS[5]]
    assert again.undo() == [IDS[4]]
    assert again.undo() == []


def test_acts_of_one_moment_are_undone_last_first(make_session):
    # A file of labels that was read in: all its lines have one time.
    now = datetime(2026, 1, 1, tzinfo=UTC)
    log = make_session().log
    for tile in IDS[:3]:
        log.record(tile, "real", time=now)

    assert [make_session().undo() for _ in range(4)] == [
        [IDS[2]],
        [IDS[1]],
        [IDS[0]],
        [],
    ]


def test_undo_reaches_a_candidate_that_is_not_shown(make_session):
    make_session().set_label(IDS[50], "real")
    session = make_session(ids=IDS[:10])

    assert session.undo() == [IDS[50]]
    assert IDS[50] not in session
    assert make_session().label_of(IDS[50]) is None


def test_repeats_are_of_pages_before_the_last_and_change_no_label(make_session):
    session = make_session(repeat_fraction=0.25, auto={})
    again = [t for t in session.ids if "#" in t]
    seen = {t: session.page_of(t) for t in session.ids}

    assert len(again) == len(set(again)) > 0
    for tile in again:
        assert seen[session.candidate_of(tile)] <= seen[tile] - 2
        assert session.label_of(tile) is None
    # The first two pages, of which none can come again, have none.
    assert sorted(t for t in session.ids if "#" not in t) == IDS
    # A quarter of 12 on each page from the third on.
    for page in range(2, session.n_pages - 1):
        assert sum("#" in t for t in session.page_ids(page)) == 3
    first = session.candidate_of(again[0])
    session.set_label(first, "real")
    session.set_label(again[0], "bogus")
    assert session.label_of(first) == "real"
    assert read_lines(session.log.path)[-1]["shown"]["repeat"]
    # In the next session nobody has said anything of what comes again.
    later = make_session(repeat_fraction=0.25, auto={})
    assert later.label_of(first) == "real"
    assert all(later.label_of(tile) is None for tile in later.ids if "#" in tile)


def test_repeat_looks_like_a_tile_that_nobody_has_labelled(make_session):
    session = make_session(repeat_fraction=0.25, auto=dict.fromkeys(IDS, "bogus"))
    again = next(t for t in session.ids if "#" in t)
    session.set_label(session.candidate_of(again), "real")

    assert session.label_of(again) == "bogus"
    before = session.counts()
    session.set_label(again, "real")
    assert session.counts()["human"] == before["human"] + 1


def test_second_showing_counts_as_the_first_where_that_was_left_open(make_session):
    session = make_session(repeat_fraction=0.25, auto={})
    again = next(t for t in session.ids if "#" in t)
    session.set_label(again, "unsure")

    assert session.label_of(again) == "unsure"
    assert make_session().label_of(session.candidate_of(again)) == "unsure"


def test_small_pages_get_their_share_of_repeats_too(make_session):
    session = make_session(page_size=4, repeat_fraction=0.1)
    n_again = sum("#" in t for t in session.ids)
    # Of every page but the first two, up to one that is not due yet.
    assert abs(n_again - 0.1 * 4 * (session.n_pages - 2)) <= 1


def test_session_opens_where_something_is_left_to_label(make_session):
    session = make_session(order="score")
    assert session.first_open_page == 0
    for tile in session.ids[:13]:
        session.set_label(tile, "real")
    assert make_session(order="score").first_open_page == 1
    for tile in session.ids[13:]:
        session.set_label(tile, "real")
    assert make_session(order="score").first_open_page == 0


def test_counts_follow_each_act(make_session):
    session = make_session()
    before = session.counts()
    session.set_label(IDS[1], "bogus")  # real by itself

    after = session.counts()
    assert after["real"] == before["real"] - 1
    assert after["bogus"] == before["bogus"] + 1
    assert after["human"] == 1
    session.undo()
    assert session.counts() == before


WRITER = """
import sys
from gmadet_nb.learning.label_log import LabelLog
path, name = sys.argv[1:]
log = LabelLog(path)
for i in range(150):
    log.record(f"{name}_{i}", "real")
"""


@pytest.mark.parametrize("names", [("ann", "ann"), ("ann", "bob")])
def test_two_kernels_at_once_lose_no_line(tmp_path, names):
    # Two people, or one in two windows.
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / f"{who}.jsonl", kernel]
        )
        for who, kernel in zip(names, "AB", strict=True)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]

    table = read_labels(tmp_path)
    assert set(table["candidate_id"]) == {f"{k}_{i}" for k in "AB" for i in range(150)}
    lines = [
        line for who in set(names) for line in read_lines(tmp_path / f"{who}.jsonl")
    ]
    assert len(lines) == 300


def test_line_that_the_disk_took_a_part_of_is_not_saved(make_session):
    resource = pytest.importorskip("resource", reason="no limit on the size of files")
    session = make_session(auto={})
    session.set_label(IDS[0], "real")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (session.log.size + 40, hard))
    try:
        with pytest.raises(OSError, match="No space left"):
            session.set_label(IDS[1], "bogus")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert session.label_of(IDS[1]) is None
    session.set_label(IDS[2], "real")
    assert session.log.labels() == {IDS[0]: "real", IDS[2]: "real"}


def test_bad_page_size_names_and_fractions_are_refused(make_session, tmp_path):
    with pytest.raises(BadParameterError, match="1 or more, got 0"):
        make_session(page_size=0)
    with pytest.raises(BadInputError, match="must not be named twice"):
        make_session(ids=["a", "a"])
    with pytest.raises(BadParameterError, match="needs an rng"):
        LabelSession(IDS, LabelLog(tmp_path / "a.jsonl"), repeat_fraction=0.1)
