from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from star_fields import expose, moffat, scatter_stars

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.photometry import (
    clipped_median,
    find_sources,
    fit_background,
    flux_to_mag,
    limiting_mag,
    mag_to_flux,
    measure_noise,
    pixel_noise,
    robust_width,
)

SHAPE = (180, 240)
# The median absolute deviation of n white values is known to 1.17 / sqrt(n); the
# Laplacian ties neighbours together, which leaves about a third of them independent.
# Half of 180 x 240 pixels serve.
NOISE_ERROR = 1.17 / np.sqrt(180 * 240 / 2 / 3)


def everywhere(data):
    return np.ones(data.shape, dtype=bool)


@pytest.mark.parametrize("sigma", [0.3, 7.0, 400.0])
def test_white_noise_is_measured(rng, sigma):
    data = (1000 + sigma * rng.standard_normal(SHAPE)).astype(np.float32)
    noise, level = pixel_noise(data, everywhere(data))

    assert noise == pytest.approx(sigma, rel=5 * NOISE_ERROR)
    # The median of the darker half: the choice is by means of 225 pixels, which
    # scatter by sigma / 15.
    assert level == pytest.approx(1000, abs=sigma / 5)


def test_smooth_light_of_a_crowded_field_is_no_noise(rng):
    # Stars at every fourth pixel: the scatter about the background is theirs.
    stars = np.zeros(SHAPE)
    stars.ravel()[rng.integers(0, stars.size, stars.size // 16)] = 600.0
    crowd = gaussian_filter(stars, 3.0)
    data = (200 + crowd + 5 * rng.standard_normal(SHAPE)).astype(np.float32)
    noise, _ = pixel_noise(data, everywhere(data))

    assert data.std() > 1.3 * 5
    # A Gaussian of 3 pixels leaves 36 (1 / 3)^4 / 4 of its height squared: nothing.
    assert noise == pytest.approx(5, rel=5 * NOISE_ERROR)


def test_gradient_is_no_noise(rng):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    data = (100 + 3 * x + 1.5 * y + 5 * rng.standard_normal(SHAPE)).astype(np.float32)

    noise, _ = pixel_noise(data, everywhere(data))
    assert noise == pytest.approx(5, rel=5 * NOISE_ERROR)


def test_masked_pixels_do_not_pass_for_dark_ones(rng):
    # A haze over the lower third, noisier than the sky and half of it masked.
    data = 300 + 5 * rng.standard_normal(SHAPE)
    data[:60] += 100 + 20 * rng.standard_normal((60, SHAPE[1]))
    usable = everywhere(data)
    usable[:60, (np.arange(SHAPE[1]) // 8) % 2 == 0] = False
    noise, level = pixel_noise(data.astype(np.float32), usable)

    assert noise == pytest.approx(5, rel=5 * NOISE_ERROR)
    assert level == pytest.approx(300, abs=1)


def test_noise_of_too_few_pixels_is_unknown():
    data = np.zeros((20, 20), np.float32)
    noise, level = pixel_noise(data, np.zeros((20, 20), dtype=bool))

    assert np.isnan(noise)
    assert np.isnan(level)


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_photon_noise_is_confirmed_where_gain_and_read_noise_hold(
    make_image, rng, gain
):
    electrons = rng.poisson(400.0 * gain, SHAPE) + rng.normal(0, 6.0, SHAPE)
    image = make_image(
        data=(electrons / gain).astype(np.float32),
        mask=np.zeros(SHAPE, np.uint8),
        gain=gain,
        read_noise=6.0,
    )
    noise = measure_noise(image)

    assert noise.model == "photons"
    # The level is that of the darker half, low by some sigma / 15 of 400.
    assert noise.sky_variance == pytest.approx(400 / gain + (6 / gain) ** 2, rel=0.01)


@pytest.mark.parametrize(("pedestal", "gain"), [(1000.0, 2.0), (0.0, 8.0)])
def test_pedestal_or_wrong_gain_is_noticed(make_image, rng, pedestal, gain):
    electrons = rng.poisson(800.0, SHAPE)
    image = make_image(
        data=(electrons / 2.0 + pedestal).astype(np.float32),
        mask=np.zeros(SHAPE, np.uint8),
        gain=gain,
        read_noise=0.0,
    )
    noise = measure_noise(image)

    assert noise.model == "measured"
    assert noise.sky_variance == pytest.approx(800 / 4, rel=2 * 5 * NOISE_ERROR)


def test_variance_of_starlight_follows_the_gain(make_image, rng):
    sky = rng.poisson(400.0 * 2.5, SHAPE) / 2.5
    image = make_image(
        data=sky.astype(np.float32),
        mask=np.zeros(SHAPE, np.uint8),
        gain=2.5,
        read_noise=0.0,
    )
    bright = image.data.copy()
    bright[90, 120] = 20400
    variance = measure_noise(image).variance(bright)

    assert variance[90, 120] == pytest.approx((400 + 20000) / 2.5, rel=0.01)
    # Means of some 50 pixels under the Gaussian scatter by 13 / 7 adu of 400.
    assert np.median(variance[:60]) == pytest.approx(400 / 2.5, rel=0.02)


def test_pixel_without_a_value_has_the_variance_of_the_sky(make_image, rng):
    data = rng.poisson(400.0, SHAPE).astype(np.float32)
    image = make_image(
        data=data, mask=np.zeros(SHAPE, np.uint8), gain=1.0, read_noise=0.0
    )
    holed = data.copy()
    holed[50, 60] = np.nan

    assert measure_noise(image).variance(holed)[50, 60] == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize("zero_point", [0.0, 25.0, 30.0])
def test_magnitude_and_flux_are_inverse(zero_point):
    mag = np.array([12.0, 18.5, 23.0])
    flux = mag_to_flux(mag, zero_point)

    np.testing.assert_allclose(flux_to_mag(flux, zero_point), mag, rtol=0, atol=1e-12)
    assert mag_to_flux(zero_point, zero_point) == 1.0
    # Pogson: five magnitudes are a factor of 100.
    assert mag_to_flux(15.0, zero_point) / mag_to_flux(20.0, zero_point) == (
        pytest.approx(100)
    )


def test_flux_that_is_not_positive_has_no_magnitude():
    assert np.isnan(flux_to_mag([-1.0, 0.0, np.nan], 25.0)).all()


def test_background_follows_a_gradient_under_stars(make_image, rng):
    psf = moffat(SHAPE, 3.0)
    stars = scatter_stars(SHAPE, rng, cell=30, flux=(1e3, 3e4))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slope = 0.2 * x - 0.1 * y
    image = make_image(
        data=expose(psf, stars, rng=rng) + slope.astype(np.float32),
        mask=np.zeros(SHAPE, np.uint8),
    )
    background, rms = fit_background(image)

    # A mesh of 64 x 64 with stars clipped at 3 sigma: faint wings lift it by a share
    # of the noise, sqrt(200 / 2 + 25 / 4) = 10.3 adu.
    inner = (slice(32, -32), slice(32, -32))
    assert np.abs((background - 200 - slope)[inner]).max() < 0.4 * 10.3
    assert rms == pytest.approx(10.3, rel=0.15)


def test_constant_image_is_refused(make_image):
    with pytest.raises(BadImageError, match=r"more than one value.*100 adu"):
        fit_background(make_image())
    with pytest.raises(BadImageError, match="must have noise"):
        measure_noise(make_image())


def test_image_that_is_saturated_throughout_is_refused(make_image):
    image = make_image(noise=5.0)
    image.mask[:] = MASK_BITS["saturated"]

    with pytest.raises(BadImageError, match=r"10% usable.*60000"):
        fit_background(image)
    with pytest.raises(BadImageError, match="must have noise"):
        measure_noise(image)


def test_limiting_magnitude_is_that_of_a_five_sigma_source(rng):
    psf = moffat((61, 61), 3.0)
    stamp = expose(psf, {"x": [30.0], "y": [30.0], "flux": [1.0]}, sky=0.0)
    stamp /= stamp.sum()
    flux = mag_to_flux(limiting_mag(7.0, stamp, 25.0), 25.0)
    data = flux * stamp + 7.0 * rng.standard_normal((2000, 61, 61))
    measured = (data * stamp).sum(axis=(1, 2)) / np.sum(stamp**2)

    # From 2000 draws the scatter is known to 1 / sqrt(4000) = 1.6 %.
    assert measured.mean() / measured.std() == pytest.approx(5, rel=5 * 0.016)


def test_sources_are_found_where_they_are(make_image, rng):
    stars = scatter_stars(SHAPE, rng, cell=30, border=10)
    image = make_image(
        data=expose(moffat(SHAPE, 3.0), stars, rng=rng),
        mask=np.zeros(SHAPE, np.uint8),
    )
    background, _ = fit_background(image)
    found = find_sources(image, background, 10.3)

    distance = np.hypot(
        found["x"] - np.asarray(stars["x"])[:, None],
        found["y"] - np.asarray(stars["y"])[:, None],
    )
    # Centroid errors are about FWHM / (2 S/N), with S/N > 150.
    assert distance.min(axis=1).max() < 0.05
    assert found["usable"].all()
    # Isophotes lose wings: two thirds of a Moffat at least.
    flux = np.asarray(found["flux"])[distance.argmin(axis=1)]
    assert np.all((flux > 0.67 * stars["flux"]) & (flux < 1.02 * stars["flux"]))
    # Half of the light of a Moffat of beta 3 is within 0.63 FWHM of its peak.
    nearest = distance.argmin(axis=1)
    assert np.median(found["half_light_radius"][nearest]) == pytest.approx(
        0.6 * 3.15, rel=0.12
    )
    assert np.median(found["elongation"][nearest]) < 1.05


def test_source_on_a_masked_pixel_is_not_usable(make_image, rng):
    stars = scatter_stars(SHAPE, rng, cell=60, border=10)
    image = make_image(
        data=expose(moffat(SHAPE, 3.0), stars, rng=rng),
        mask=np.zeros(SHAPE, np.uint8),
    )
    star = stars[np.argmax(stars["flux"])]
    image.mask[round(star["y"]) + 1, round(star["x"])] = MASK_BITS["saturated"]
    background, _ = fit_background(image)
    found = find_sources(image, background, 10.3)
    near = np.hypot(found["x"] - star["x"], found["y"] - star["y"]) < 2

    assert not found["usable"][near].any()
    assert near.sum() == 1
    assert found["usable"].sum() == len(found) - 1


def test_no_source_is_an_empty_table_with_all_columns(make_image):
    image = make_image(shape=SHAPE, noise=5.0)
    found = find_sources(image, np.float32(100), 5.0, detection_threshold=50.0)

    assert len(found) == 0
    assert {"x", "y", "flux", "peak", "fwhm", "usable"} <= set(found.colnames)


def test_image_is_not_changed_by_measuring_it(make_image):
    image = make_image(shape=SHAPE, noise=5.0)
    before = replace(image, data=image.data.copy(), mask=image.mask.copy())
    background, _ = fit_background(image)
    measure_noise(image)
    find_sources(image, background, 5.0)

    np.testing.assert_array_equal(image.data, before.data)
    np.testing.assert_array_equal(image.mask, before.mask)


def test_outliers_do_not_widen_a_robust_width(rng):
    values = rng.standard_normal(10_000)
    values[:200] = 1e6
    values[200] = np.nan

    # 2 % of outliers shift the median deviation by 3 %; 1.17 / 100 is its error.
    assert robust_width(values) == pytest.approx(1.03, abs=0.05)
    assert clipped_median(values) == pytest.approx(0, abs=0.06)
    assert np.isnan(robust_width([np.nan]))
    assert np.isnan(clipped_median([]))
