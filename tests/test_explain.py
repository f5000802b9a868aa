import numpy as np
import pytest

from gmadet_nb.learning.explain import occlusion_map


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("size", [20, 21])
def test_map_shows_the_pixels_that_the_score_hangs_on(size):
    cutout = np.random.default_rng(1).normal(0, 1, (size, size, 3)).astype(np.float32)
    cutout[8, 12, 2] = 50
    cutout[14, 5, 0] = 80

    def predict(pixels):
        # For real by one pixel of the difference, against it by one of science.
        return sigmoid((pixels[:, 8, 12, 2] - pixels[:, 14, 5, 0] / 4) / 10)

    found = occlusion_map(predict, cutout, patch=3, stride=1)
    assert found.shape == (size, size)
    assert np.unravel_index(found.argmax(), found.shape) == (8, 12)
    assert np.unravel_index(found.argmin(), found.shape) == (14, 5)
    # The logit is linear: each pixel's share is what goes when it is covered.
    assert found[8, 12] == pytest.approx(5, abs=0.3)
    assert found[14, 5] == pytest.approx(-2, abs=0.3)
    # A patch of 3 reaches 2 pixels far.
    assert np.abs(found[:6]).max() < 1e-5


def test_pixels_that_are_not_measured_stay_so():
    cutout = np.ones((11, 11, 3), np.float32)
    cutout[:, :4] = np.nan

    def predict(pixels):
        assert np.isnan(pixels[:, :, :4]).all()
        assert np.isfinite(pixels[:, :, 4:]).all()
        return np.full(len(pixels), 0.5)

    assert np.all(occlusion_map(predict, cutout) == 0)
