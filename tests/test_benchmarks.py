"""The benchmarks call the package as it is; no number of theirs is a test here."""

import importlib

import numpy as np
import pytest
from star_fields import true_psf

from benchmarks import bench_chain
from benchmarks.field import make_pair, turn
from benchmarks.judge import Made, judge_rows
from benchmarks.physics import SECTIONS


@pytest.fixture(scope="module")
def pair():
    return make_pair(1, side=700, rotation=1.0, shift=5.0)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_can_be_measured(section):
    assert callable(importlib.import_module(f"benchmarks.bench_{section}").measure)


def test_chain_of_a_small_pair_finds_its_transients(pair, tmp_path):
    candidates, row = bench_chain.find(bench_chain.make_run(tmp_path, pair))
    bright = pair.transients[pair.transients["snr"] > 15]
    places = np.column_stack([candidates["x"], candidates["y"]])
    there = np.column_stack([bright["x"], bright["y"]])
    distance = np.hypot(*(there[:, None] - places[None]).transpose(2, 0, 1))

    assert row["good"], row["reason"]
    # One may lie on a bad column.
    assert (distance.min(axis=1) < 1.0).sum() >= len(bright) - 1


def test_wcs_of_the_turned_reference_is_the_true_one(pair):
    x, y = np.array([10.0, 500.0]), np.array([600.0, 30.0])

    sky = pair.science.wcs.pixel_to_world_values(x, y)
    there = pair.reference.wcs.world_to_pixel_values(*sky)

    turned = turn({"x": x, "y": y}, 700, rotation=1.0, shift=5.0)
    assert there == pytest.approx(np.array([turned["x"], turned["y"]]), abs=1e-6)


def test_noise_alone_is_judged_to_be_noise(pair, rng):
    data = rng.normal(size=pair.science.data.shape).astype(np.float32)
    psf = true_psf(pair.science_psf)
    made = Made(data, np.ones_like(data), pair.science.mask, psf)

    values = {row["figure"]: row["value"] for row in judge_rows("a", made, pair)}

    # 200,000 pixels of sky know the width to 0.2 %.
    assert values["a: width in the sky"] == pytest.approx(1, abs=0.01)
    assert values["a: transients found"] == 0
    # Of 400,000 pixels 0.1 are above 5 sigma by chance.
    assert values["a: false detections, no cosmic ray"] <= 2
