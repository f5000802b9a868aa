import numpy as np
import pytest
from star_fields import expose, moffat, scatter_stars, true_psf

from gmadet_nb.imaging.psf_residuals import measure_residuals
from gmadet_nb.views.plots_psf import psf_residuals

SHAPE = (210, 300)  # (ny, nx), not square


@pytest.fixture
def field(make_image, rng):
    """Return an image without noise, its stars and its optics."""
    optics = moffat(SHAPE, 3.0)
    stars = scatter_stars(SHAPE, rng, cell=30)
    data = expose(optics, stars)
    return make_image(data=data, mask=np.zeros(SHAPE, np.uint8)), stars, optics


def test_right_psf_leaves_nothing(field):
    image, stars, optics = field
    residuals = measure_residuals(image, true_psf(optics), stars)

    assert residuals.n_stars.sum() == len(residuals.rms) == len(stars)
    # A spline of three cells a pixel is good to some 0.2 % of the peak.
    assert np.abs(residuals.stacks).max() < 0.005
    assert residuals.rms.max() < 0.003


def test_psf_that_is_too_broad_leaves_a_peak_in_a_ring(field):
    image, stars, _ = field
    residuals = measure_residuals(image, true_psf(moffat(SHAPE, 3.6)), stars)
    middle = residuals.stacks.shape[-1] // 2

    assert np.all(residuals.stacks[:, :, middle, middle] > 0.05)
    assert np.all(residuals.stacks.min(axis=(2, 3)) < -0.02)
    assert residuals.rms.min() > 0.01


@pytest.mark.parametrize(("fwhm", "right"), [(3.0, True), (3.2, False)])
def test_wrong_psf_stands_out_of_the_noise_of_its_stacks(make_image, rng, fwhm, right):
    optics = moffat(SHAPE, 3.0)
    stars = scatter_stars(SHAPE, rng, cell=25, flux=(2e4, 4e4))
    data = expose(optics, stars, rng=rng)
    image = make_image(data=data, mask=np.zeros(SHAPE, np.uint8))
    residuals = measure_residuals(image, true_psf(moffat(SHAPE, fwhm)), stars)

    ratio = residuals.stack_rms / residuals.stack_noise
    # Both are root mean squares over 225 pixels, known to 1 / sqrt(2 * 225), 5 %,
    # and 9 ninths are 3 times as sure.
    if right:
        assert np.median(ratio) == pytest.approx(1, abs=0.1)
    else:
        assert ratio.min() > 1.5


def test_stars_count_in_their_own_ninth_of_the_field(field):
    image, stars, optics = field
    corner = stars[(stars["x"] < 100) & (stars["y"] > 140)]
    residuals = measure_residuals(image, true_psf(optics), corner)

    assert residuals.n_stars[2, 0] == len(corner)
    assert residuals.n_stars.sum() == len(corner)
    assert np.isnan(residuals.stacks[0, 2]).all()


def test_masked_and_cut_stars_are_left_out(field):
    image, stars, optics = field
    first = stars[:1].copy()
    first["x"], first["y"] = 1.0, 1.0
    image.mask[round(stars["y"][5]), round(stars["x"][5])] = 1
    for chosen in (first, stars[5:6]):
        residuals = measure_residuals(image, true_psf(optics), chosen)
        assert residuals.n_stars.sum() == 0
        assert len(residuals.rms) == 0


def test_figure_is_laid_out_as_the_field(field):
    from matplotlib.figure import Figure

    image, stars, optics = field
    corner = stars[(stars["x"] < 100) & (stars["y"] > 140)]
    axes = Figure().subplots(3, 3)
    psf_residuals(measure_residuals(image, true_psf(optics), corner), axes=axes)

    first, second = axes[0, 0].get_title().split("\n")
    assert first == f"{len(corner)} stars"
    assert second.startswith("rms 0.")
    assert ", noise 0." in second
    assert [text.get_text() for text in axes[2, 2].texts] == ["no star"]
    assert axes[0, 0].images[0].get_clim() == (-1.0, 1.0)
