import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from gmadet_nb.imaging.windows import window_max


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 40])
def test_the_highest_of_a_square_is_that_of_a_plain_filter(rng, radius):
    plane = rng.normal(size=(31, 50)).astype(np.float32)

    highest = window_max(plane, radius)

    assert highest.dtype == plane.dtype
    assert np.array_equal(highest, maximum_filter(plane, 2 * radius + 1))


def test_one_pixel_that_is_set_sets_the_square_around_it(rng):
    pixels = np.zeros((20, 30), dtype=bool)
    pixels[4, 28] = True

    grown = window_max(pixels, 3)

    assert grown.dtype == bool
    assert np.flatnonzero(grown.any(axis=1)).tolist() == list(range(1, 8))
    assert np.flatnonzero(grown.any(axis=0)).tolist() == [25, 26, 27, 28, 29]
