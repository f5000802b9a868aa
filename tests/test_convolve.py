import numpy as np
import pytest
from scipy.ndimage import convolve as plain_convolve

from gmadet_nb.imaging import convolve as tiles


@pytest.fixture
def plane(rng):
    return rng.normal(size=(70, 110)).astype(np.float32)


@pytest.fixture
def kernel(rng):
    return rng.normal(size=(7, 7))


@pytest.mark.parametrize("tile", [16, 512])
@pytest.mark.parametrize(
    ("edge", "mode"), [("zero", "constant"), ("nearest", "nearest")]
)
def test_tiles_join_without_a_seam(plane, kernel, monkeypatch, tile, edge, mode):
    monkeypatch.setattr(tiles, "_TILE", tile)

    made = tiles.convolve(plane, kernel, edge=edge)

    # Single precision: 49 products of order 1 are right to some 1e-6 each.
    assert made == pytest.approx(plain_convolve(plane, kernel, mode=mode), abs=5e-5)


def test_a_kernel_that_varies_is_the_sum_of_its_terms(plane, kernel):
    along_y, along_x = np.linspace(-1, 1, 70), np.linspace(0, 2, 110)
    kernels = np.array([kernel, kernel.T])

    made = tiles.convolve_varying(plane, kernels, [(1.0, 1.0), (along_y, along_x)])

    first, second = (plain_convolve(plane, k, mode="nearest") for k in kernels)
    expected = first + second * along_y[:, None] * along_x
    assert made == pytest.approx(expected, abs=1e-4)


def test_an_even_light_times_the_kernels_sum_is_even(plane):
    kernel = np.full((5, 5), 0.04)

    made = tiles.convolve(np.full_like(plane, 3.0), kernel, edge="nearest")

    assert made == pytest.approx(np.full(plane.shape, 3.0), rel=1e-6)
