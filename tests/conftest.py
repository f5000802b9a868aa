"""What the tests share: random numbers, small images and one run of the demo."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture
def rng():
    return np.random.default_rng(12345)


@pytest.fixture
def make_image():
    """Return a factory of small images; each keyword of `Image` can be set."""
    from gmadet_nb.files.images import Image

    def make(*, shape=(120, 160), background=100.0, noise=0.0, seed=1, **fields):
        draw = np.random.default_rng(seed)
        data = background + noise * draw.standard_normal(shape)
        values = {
            "data": data.astype(np.float32),
            "mask": np.zeros(shape, np.uint8),
            "gain": 2.0,
            "read_noise": 5.0,
            "saturation": 60000.0,
            "zero_point": 25.0,
            "filter": "r",
            "exposure_id": "test_01",
        }
        return Image(**(values | fields))

    return make


@pytest.fixture(scope="module")
def browser():
    """Start Chromium, or skip with the reason where there is none."""
    from benchmarks import lab

    pytest.importorskip("playwright.sync_api", reason="no playwright")
    if not lab.CHROMIUM.exists():
        pytest.skip(f"no browser at {lab.CHROMIUM}")
    with lab.open_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory):
    """Make the demo nights and run both campaigns, once for all tests.

    The attributes are ``folder``, where the chain was started, and ``train``
    and ``apply``, the two run folders.
    """
    from gmadet_nb.campaign.cli import main

    folder = tmp_path_factory.mktemp("demo")
    before = os.getcwd()
    os.chdir(folder)
    try:
        code = main(["demo"])
    finally:
        os.chdir(before)
    assert code == 0, f"gmadet-nb demo ended with exit code {code}"
    return SimpleNamespace(
        folder=folder, train=folder / "runs/demo", apply=folder / "runs/demo_apply"
    )
