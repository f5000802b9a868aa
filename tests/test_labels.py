import json
import threading

import numpy as np
import pytest

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.label_order import Known
from gmadet_nb.learning.label_session import LabelSession
from gmadet_nb.learning.labels import read_labels, read_lines

IDS = [f"e_c{i:05d}" for i in range(10)]


@pytest.fixture
def log(tmp_path):
    return LabelLog(tmp_path / "labels" / "ann.jsonl")


def in_force(folder):
    table = read_labels(folder)
    return dict(zip(table["candidate_id"], table["label"], strict=True))


def test_each_record_is_one_line_with_all_its_keys(log):
    log.record("e_c00001", "real", {"score": 0.3})
    log.record("e_c00001", None)

    lines = [json.loads(text) for text in log.path.read_text().splitlines()]
    assert [line["label"] for line in lines] == ["real", None]
    assert lines[0]["shown"] == {"score": 0.3}
    keys = {"candidate_id", "label", "labeler", "time", "shown", "origin"}
    assert set(lines[0]) == keys
    assert lines[0]["time"].endswith("+00:00")


def test_the_last_label_wins_and_none_takes_it_back(log):
    for label in ("real", "bogus", "unsure"):
        log.record("a", label)
    log.record("b", "real")
    log.record("b", None)

    assert in_force(log.path.parent) == {"a": "unsure"}
    assert log.labels() == {"a": "unsure"}


@pytest.mark.parametrize("n_bytes", [1, 20, 60])
def test_a_half_written_line_is_left_out_and_never_joined(log, n_bytes):
    log.record("a", "real")
    log.record("b", "bogus")
    before = log.path.read_bytes()
    log.path.write_bytes(before[:-n_bytes])  # the machine went down here

    # One byte short, only the end of the line is missing: the record is whole.
    kept = {"a": "real", "b": "bogus"} if n_bytes == 1 else {"a": "real"}
    assert in_force(log.path.parent) == kept

    LabelLog(log.path).record("c", "real")
    assert in_force(log.path.parent) == kept | {"c": "real"}
    assert log.path.read_bytes().startswith(before[:-n_bytes])  # never rewritten


def test_lines_that_are_no_labels_are_left_out(log):
    log.record("a", "real")
    with open(log.path, "ab") as file:
        file.write(b'\x00\x00\n[1, 2]\n{"candidate_id": "b"}\n\xff\xfe\n')
        file.write(b'{"candidate_id": "b", "label": "perhaps", "time": "2026-01-01"}\n')
    log.record("c", "bogus")

    assert in_force(log.path.parent) == {"a": "real", "c": "bogus"}
    assert len(read_lines(log.path)) == 2


def test_of_two_labelers_the_later_counts_and_disagreement_shows(tmp_path):
    ann, bob = (LabelLog(tmp_path / f"{name}.jsonl") for name in ("ann", "bob"))
    ann.record("a", "real")
    bob.record("a", "bogus")
    bob.record("b", "bogus")
    ann.record("b", "bogus")
    ann.record("c", "real")
    bob.record("c", "bogus")
    bob.record("c", None)  # takes back bob's own word, not ann's

    table = read_labels(tmp_path)
    assert list(table["candidate_id"]) == ["a", "b", "c"]
    assert list(table["label"]) == ["bogus", "bogus", "real"]
    assert list(table["labeler"]) == ["bob", "ann", "ann"]
    assert list(table["agreed"]) == [False, True, True]
    assert list(table["n_labelers"]) == [2, 2, 1]


def test_no_labels_are_an_empty_table_with_its_columns(tmp_path):
    table = read_labels(tmp_path / "none")

    assert len(table) == 0
    assert {"candidate_id", "label", "labeler", "time"} <= set(table.colnames)


def test_many_threads_write_whole_lines(log):
    def work(k):
        for i in range(40):
            log.record(f"{k}_{i}", "real")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert len(read_lines(log.path)) == len(log.path.read_text().splitlines()) == 160


def test_bad_labels_and_names_are_refused(log, tmp_path):
    with pytest.raises(BadInputError, match="'true'"):
        log.record("a", "true")
    with pytest.raises(BadInputError, match="candidate_id"):
        log.record("", "real")
    with pytest.raises(BadInputError, match="labeler's name"):
        LabelLog(tmp_path / "x.jsonl", labeler="../ann")
    assert not log.path.exists()


def test_orders(log):
    log.record(IDS[0], "real")
    auto = {IDS[1]: "real", IDS[2]: "ambiguous"}

    def order(name, **more):
        rng = more.pop("rng", None)
        known = Known(auto_labels=auto, **more)
        return LabelSession(IDS, log, order=name, known=known, rng=rng).ids

    assert order("unlabeled") == [*IDS[2:], IDS[1], IDS[0]]
    scores = {IDS[4]: 0.2, IDS[7]: 0.9, IDS[5]: np.nan}
    assert order("score", scores=scores)[:2] == [IDS[7], IDS[4]]
    # What one has labelled oneself is no suspect any more.
    assert order("suspects", suspects=[IDS[9], IDS[0]])[:2] == [IDS[9], IDS[2]]
    some = {"suspects": [IDS[9], IDS[0], IDS[3]]}
    assert order("auto", **some) == order("suspects", **some)
    assert order("auto") == order("unlabeled")
    assert order("unlabeled", others={IDS[2]})[-2:] == [IDS[2], IDS[0]]
    first, again = (order("random", rng=np.random.default_rng(5)) for _ in range(2))
    assert first == again != IDS
    assert sorted(first) == IDS
    with pytest.raises(BadParameterError, match="'best'"):
        order("best")
    with pytest.raises(BadParameterError, match="rng"):
        order("random")


def test_pages_hold_everyone_once(log):
    session = LabelSession(IDS, log, page_size=4)

    assert session.n_pages == 3
    assert [key for page in range(3) for key in session.page_ids(page)] == session.ids
    assert session.page_ids(3) == session.page_ids(-1) == []
    assert LabelSession([], log).n_pages == 0


def test_flip_and_undo_go_to_the_log_and_survive_a_restart(log):
    session = LabelSession(IDS, log, known=Known(auto_labels={IDS[0]: "real"}))
    assert session.label_of(IDS[0]) == "real"
    assert session.flip(IDS[0]) == "bogus"
    assert session.flip(IDS[1]) == "real"
    session.set_label(IDS[2], "unsure")
    assert session.undo() == [IDS[2]]
    assert session.flip(IDS[2]) == "real"

    again = LabelSession(
        IDS, LabelLog(log.path), known=Known(auto_labels={IDS[0]: "real"})
    )
    assert [again.human_label_of(key) for key in IDS[:3]] == ["bogus", "real", "real"]
    counts = {
        "real": 2,
        "bogus": 1,
        "unsure": 0,
        "unlabeled": 7,
        "human": 3,
        "total": 10,
    }
    assert again.counts() == session.counts() == counts
    assert len(read_lines(log.path)) == 5


def test_undo_goes_back_to_the_start_and_then_stops(log):
    session = LabelSession(IDS, log, known=Known(auto_labels={IDS[0]: "bogus"}))
    session.flip(IDS[0])
    session.flip(IDS[0])

    assert [session.undo() for _ in range(3)] == [[IDS[0]], [IDS[0]], []]
    assert session.label_of(IDS[0]) == "bogus"
    assert session.human_label_of(IDS[0]) is None
    assert log.labels() == {}


def test_a_candidate_that_is_not_shown_cannot_be_labelled(log):
    with pytest.raises(BadInputError, match="not in this session"):
        LabelSession(IDS, log).set_label("other", "real")
