import numpy as np
import pytest

from gmadet_nb.learning.unscored import count_unscored, why_unscored


def spoiled(n_finite, *, size=8):
    """Return noise of which so many pixels of the 5 x 5 in the middle are finite."""
    pixels = np.random.default_rng(1).normal(size=(1, size, size))
    core = np.full(25, np.nan)
    core[:n_finite] = np.arange(n_finite)
    first = size // 2 - 2
    pixels[0, first : first + 5, first : first + 5] = core.reshape(5, 5)
    return pixels


@pytest.mark.parametrize("size", [8, 9, 32])
def test_four_finite_pixels_in_the_core_are_enough_and_three_are_not(size):
    assert list(why_unscored(spoiled(4, size=size))) == [""]
    assert list(why_unscored(spoiled(3, size=size))) == ["core not measured"]


def test_a_candidate_on_the_corner_of_an_image_is_judged(rng):
    pixels = rng.normal(size=(1, 32, 32))
    pixels[0, :16] = pixels[0, :, :16] = np.nan
    assert list(why_unscored(pixels)) == [""]


def test_each_cutout_has_its_own_reason_and_the_input_stays(rng):
    pixels = rng.normal(size=(5, 16, 16)).astype(np.float32)
    pixels[0] = np.nan
    pixels[1] = np.inf
    pixels[2] = 300
    pixels[3, :, 3] = np.nan
    before = pixels.copy()
    found = why_unscored(pixels)
    nothing = "nothing measured"
    assert list(found) == [nothing, nothing, "constant difference", "", ""]
    assert count_unscored(found) == {nothing: 2, "constant difference": 1}
    np.testing.assert_array_equal(pixels, before)


def test_one_value_beside_what_is_not_measured_is_constant():
    pixels = np.full((1, 16, 16), 7.0)
    pixels[0, :, :7] = np.nan
    assert list(why_unscored(pixels)) == ["constant difference"]


def test_no_cutouts_have_no_reasons():
    assert len(why_unscored(np.empty((0, 8, 8)))) == 0
    assert count_unscored([]) == {}
