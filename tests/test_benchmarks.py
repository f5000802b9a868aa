"""The benchmarks call the package as it is; no number of theirs is a test here."""

import importlib

import numpy as np
import pytest

from benchmarks import bench_chain
from benchmarks.field import make_pair
from benchmarks.physics import SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_can_be_measured(section):
    assert callable(importlib.import_module(f"benchmarks.bench_{section}").measure)


def test_chain_of_a_small_pair_finds_its_transients(tmp_path):
    pair = make_pair(1, side=700, rotation=1.0, shift=5.0)
    candidates, row = bench_chain.find(bench_chain.make_run(tmp_path, pair))
    bright = pair.transients[pair.transients["snr"] > 15]
    places = np.column_stack([candidates["x"], candidates["y"]])
    there = np.column_stack([bright["x"], bright["y"]])
    distance = np.hypot(*(there[:, None] - places[None]).transpose(2, 0, 1))

    assert row["good"], row["reason"]
    # One may lie on a bad column.
    assert (distance.min(axis=1) < 1.0).sum() >= len(bright) - 1
