"""The numbers of a candidate against those of light whose shape is known exactly."""

import numpy as np
import pytest
from astropy.table import Table
from star_fields import plain_difference

from gmadet_nb.imaging.detect import significance
from gmadet_nb.imaging.measure import FLAG_BITS, measure_candidates
from gmadet_nb.imaging.psf import PSF

SHAPE = (90, 130)  # (ny, nx), not square
SIGMA = 10.0  # of every pixel [adu]
FWHM = 3.0
WIDTH = FWHM / 2.3548  # of the PSF, a Gaussian [pixel]
NO_SOURCES = Table({"x": [], "y": []})
# A sum over pixels replaces an integral over a Gaussian of 1 pixel to exp(-2 pi^2).
SAMPLING = 1e-3


def gaussian(x, y, flux, *, major=WIDTH, minor=WIDTH, angle=0.0, shape=SHAPE):
    """Return the light of an elliptical Gaussian [adu]."""
    rows, columns = np.indices(shape)
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    light = np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))
    return flux * light / (2 * np.pi * major * minor)


@pytest.fixture(scope="module")
def psf():
    side = 3 * (2 * 12 + 1)
    middle = (side - 1) / 2
    wide = {"major": 3 * WIDTH, "minor": 3 * WIDTH, "shape": (side, side)}
    return PSF(
        coefficients=gaussian(middle, middle, 9.0, **wide)[None],
        oversampling=3,
        degree=0,
        shape=SHAPE,
        n_stars=1,
    )


@pytest.fixture
def measure(psf, make_image):
    """Return a function that measures what is at given pixels of some light."""

    def measure(light, x, y, *, with_snr=False):
        difference = plain_difference(light, np.full(SHAPE, SIGMA), psf)
        return measure_candidates(
            difference,
            make_image(data=difference.data, mask=difference.mask),
            psf,
            np.atleast_1d(x),
            np.atleast_1d(y),
            reference_sources=NO_SOURCES,
            snr=significance(difference, psf) if with_snr else None,
        )

    return measure


@pytest.mark.parametrize("place", [(60.0, 40.0), (60.3, 39.6), (59.5, 40.5)])
def test_point_source_without_noise_has_its_own_numbers(measure, psf, place):
    (one,) = measure(gaussian(*place, 1e4), 60, 40)

    assert (one["x"], one["y"]) == pytest.approx(place, abs=2e-3)
    assert one["flux"] == pytest.approx(1e4, rel=SAMPLING)
    # The error of a flux in white noise: sigma over the root of the sum of P^2.
    assert one["flux_err"] == pytest.approx(
        2 * np.sqrt(np.pi) * WIDTH * SIGMA, rel=0.01
    )
    # The light of the brightest pixel, wherever between pixels the source is.
    highest = gaussian(*place, 1.0).max()
    assert one["peak_to_flux"] == pytest.approx(highest, rel=2 * SAMPLING)
    assert one["fwhm"] == pytest.approx(FWHM, rel=0.01)
    assert one["elongation"] == pytest.approx(1, abs=0.01)
    assert one["psf_chi2"] < 0.01
    assert one["n_negative"] == 0


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3, 1.8])
def test_fwhm_is_that_of_the_source(measure, factor):
    size = {"major": factor * WIDTH, "minor": factor * WIDTH}
    (one,) = measure(gaussian(60.2, 40.3, 1e4, **size), 60, 40)

    assert one["psf_fwhm"] == pytest.approx(FWHM, rel=0.01)
    assert one["fwhm"] == pytest.approx(factor * FWHM, rel=0.01)


@pytest.mark.parametrize("ratio", [1.2, 1.6])
@pytest.mark.parametrize("angle", [0.0, np.pi / 6, np.pi / 2, 2.3])
def test_elongation_is_the_ratio_of_the_axes_at_any_angle(measure, ratio, angle):
    size = {"major": ratio * WIDTH, "minor": WIDTH, "angle": angle}
    (one,) = measure(gaussian(60.2, 40.3, 1e4, **size), 60, 40)

    assert one["elongation"] == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_chi2_of_point_sources_is_the_square_of_the_noise_over_the_expected(
    measure, rng, factor
):
    y, x = 15 + 20 * np.mgrid[:4, :6].reshape(2, -1)
    light = sum(gaussian(*place, 5e3) for place in zip(x, y, strict=True))
    found = [
        measure(light + factor * SIGMA * rng.standard_normal(SHAPE), x, y)["psf_chi2"]
        for _ in range(4)
    ]

    # 96 of some 60 pixels each: a mean to sqrt(2 / 60 / 96) = 2 %.
    assert np.mean(found) == pytest.approx(factor**2, rel=5 * 0.02)


def test_chi2_of_a_wrong_shape_grows_with_the_square_of_the_flux(measure):
    wide = {"major": 1.5 * WIDTH, "minor": 1.5 * WIDTH}
    (faint,) = measure(gaussian(60.0, 40.0, 1e4, **wide), 60, 40)
    (bright,) = measure(gaussian(60.0, 40.0, 3e4, **wide), 60, 40)

    assert faint["psf_chi2"] > 10
    assert bright["psf_chi2"] == pytest.approx(9 * faint["psf_chi2"], rel=1e-3)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_negative_pixels_are_those_below_2_sigma_in_the_core(measure, n):
    light = gaussian(60.0, 40.0, 1e4)
    # On a row 3 pixels above: within 1.5 FWHM of the middle.
    light[43, 58 : 58 + n] = -2.5 * SIGMA
    light[37, 58:63] = -1.5 * SIGMA  # within the noise
    light[46, 58:63] = -50 * SIGMA  # 6 pixels away: beside it
    (one,) = measure(light, 60, 40)

    assert one["n_negative"] == n


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.0])
def test_dipole_is_the_missing_light_over_its_own(measure, ratio):
    apart = 4.0  # [pixel]
    light = gaussian(60.0, 40.0, 1e4) - gaussian(60.0 + apart, 40.0, 1e4 * ratio)
    (one,) = measure(light, 60, 40, with_snr=True)

    # A matched filter spreads each to the other's place by exp(-d^2 / 4 w^2); the two
    # push each other's peaks outward, by less than a pixel.
    share = np.exp(-(apart**2) / (4 * WIDTH**2))
    expected = (ratio - share) / (1 - ratio * share)
    assert one["dipole"] == pytest.approx(expected, abs=0.06)
    assert bool(one["flags"] & FLAG_BITS["dipole"]) == (ratio > 0.5)
