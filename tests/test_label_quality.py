import json

import numpy as np
import pytest

from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.label_quality import (
    cohen_kappa,
    compare_labelers,
    describe_files,
    describe_labelers,
    find_disagreements,
    labels_by_labeler,
)


@pytest.fixture
def label(tmp_path):
    """Return a function that records one label of one labeler."""

    def record(labeler, candidate_id, word, **shown):
        LabelLog(tmp_path / f"{labeler}.jsonl").record(candidate_id, word, shown)

    return record


def test_kappa_is_that_of_the_textbook():
    # Cohen's table of 100: 45 and 25 agree, 15 and 15 do not; p_e = 0.36 + 0.16.
    first = ["real"] * 60 + ["bogus"] * 40
    second = ["real"] * 45 + ["bogus"] * 15 + ["real"] * 15 + ["bogus"] * 25
    kappa, low, high = cohen_kappa(first, second)

    assert kappa == pytest.approx((0.70 - 0.52) / 0.48)
    error = np.sqrt(0.7 * 0.3 / 100) / 0.48
    assert (low, high) == pytest.approx(
        (kappa - 1.96 * error, kappa + 1.96 * error), rel=1e-4
    )


def test_labelers_who_guess_agree_by_chance_alone(rng):
    words = np.array(["real", "bogus"])
    first, second = words[rng.integers(2, size=(2, 4000))]
    kappa, low, high = cohen_kappa(first, second)

    # Known to 1 / sqrt(4000) = 0.016.
    assert abs(kappa) < 4 * 0.016
    assert low < kappa < high
    assert cohen_kappa(first, first)[0] == 1


def test_kappa_of_nothing_is_unknown():
    assert np.isnan(cohen_kappa([], [])).all()
    assert np.isnan(cohen_kappa(["real"] * 3, ["real"] * 3)).all()


def test_who_disagrees_with_whom_is_a_table(label, tmp_path):
    for i in range(10):
        label("ann", f"c{i}", "real")
        label("bob", f"c{i}", "real" if i < 8 else "bogus")
    label("ann", "c20", "unsure")
    label("eve", "c21", "bogus")
    pairs = compare_labelers(tmp_path)
    row = pairs[(pairs["first"] == "ann") & (pairs["second"] == "bob")][0]

    assert len(pairs) == 3
    assert (row["n_both"], row["agreed"]) == (10, 0.8)
    assert row["agreed_low"] < 0.8 < row["agreed_high"]
    assert row["kappa"] == pytest.approx(0)  # ann has only ever said one word
    table = find_disagreements(tmp_path)
    assert table["candidate_id"].tolist() == ["c8", "c9"]
    assert table["by bob"].tolist() == ["bogus", "bogus"]
    assert table["by eve"].tolist() == ["", ""]


def test_no_labels_are_empty_tables(tmp_path):
    assert labels_by_labeler(tmp_path / "none") == {}
    assert len(compare_labelers(tmp_path)) == 0
    assert len(find_disagreements(tmp_path)) == 0
    assert len(describe_labelers(tmp_path, {})) == 0


def test_second_look_tells_how_far_a_labeler_agrees_with_himself(label, tmp_path):
    for i in range(8):
        label("ann", f"c{i}", "real")
    for i, word in enumerate(["real", "real", "real", "bogus"]):
        label("ann", f"c{i}", word, repeat=True)
    label("ann", "c7", None)
    auto = {"c0": "bogus", "c1": "real", "c2": "ambiguous", "c7": "bogus"}
    [row] = describe_labelers(tmp_path, auto)

    # c7 was taken back; c0 was bogus by itself.
    assert (row["n_labels"], row["n_changed"], row["n_again"]) == (7, 1, 4)
    assert row["same"] == 0.75
    assert row["same_low"] < 0.75 < row["same_high"]


def test_pace_leaves_pauses_out(tmp_path):
    seconds = [0, 2, 4, 6, 600, 602, 606]
    lines = [
        {
            "candidate_id": f"c{s}",
            "label": "real",
            "time": f"2026-01-01T00:{s // 60:02d}:{s % 60:02d}+00:00",
        }
        for s in seconds
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "ann.jsonl").write_text(text)
    [row] = describe_labelers(tmp_path, {})

    # Three steps of 2 s, one of 2 s and one of 4 s.
    assert row["pace"] == pytest.approx((3 * 2 + 2 + 4) / 5)


def test_every_file_of_labels_is_named_with_its_number(tmp_path):
    [text] = describe_files(tmp_path)
    assert "No person has labelled anything" in text
    for labeler, n in (("anna", 3), ("bert", 1)):
        log = LabelLog(tmp_path / f"{labeler}.jsonl")
        for k in range(n):
            log.record(f"c{k}", "real")
    anna, bert = describe_files(tmp_path)
    assert anna.endswith("anna.jsonl: 3 in force")
    assert bert.endswith("bert.jsonl: 1 in force")
