import numpy as np
import pytest
from star_fields import expose, moffat, scatter_stars

from gmadet_nb.campaign.demo.detector import draw_cosmic_rays
from gmadet_nb.files.images import MASK_BITS, UNUSABLE, make_mask
from gmadet_nb.imaging.photometry import measure_noise
from gmadet_nb.imaging.prepare import clean_cosmic_rays, subtract_background

SHAPE = (192, 256)
SKY = 200.0


@pytest.fixture
def stars(rng):
    return scatter_stars(SHAPE, rng, cell=48)


@pytest.fixture
def clean(stars, rng):
    return expose(moffat(SHAPE, 3.0), stars, sky=SKY, rng=rng)


@pytest.fixture
def rays(rng):
    # Each pixel of one holds at least 200 adu where it is brightest: 17 sigma.
    return draw_cosmic_rays(SHAPE, 25, rng=rng)


def image_of(make_image, data):
    return make_image(shape=SHAPE, data=data, mask=make_mask(data, 60000.0))


def test_cosmic_rays_are_marked_and_filled_and_stars_are_left(
    make_image, clean, rays, stars
):
    image = image_of(make_image, clean + rays.astype(np.float32))
    cleaned, n_pixels = clean_cosmic_rays(image)
    marked = (cleaned.mask & MASK_BITS["cosmic_ray"]) > 0
    sigma = np.sqrt(SKY / 2 + 6.25)

    # What stands 10 sigma above sky and star; a few hide on the flank of a star.
    plain = (rays > 10 * sigma) & (rays > clean - SKY)
    inner = np.zeros(SHAPE, dtype=bool)
    inner[3:-3, 3:-3] = True  # its filters of 5 and 7 pixels leave out the rim
    plain &= inner
    assert marked[plain].mean() > 0.95
    assert n_pixels == marked.sum()
    # Filled from pixels around: as near to the truth as the noise, not the charge.
    assert np.median(np.abs(cleaned.data - clean)[marked & plain]) < 3 * sigma
    y, x = np.rint(stars["y"]).astype(int), np.rint(stars["x"]).astype(int)
    assert not marked[y, x][rays[y, x] == 0].any()
    np.testing.assert_array_equal(cleaned.data[~marked], image.data[~marked])


def test_filled_pixel_holds_no_measurement(make_image, clean):
    hit = clean.copy()
    hit[100, 100] += 5000
    cleaned, _ = clean_cosmic_rays(image_of(make_image, hit))
    assert cleaned.mask[100, 100] & UNUSABLE


def test_pixels_that_were_bad_stay_bad_and_as_they_are(make_image, clean):
    clean[50:60, 70] = np.nan
    cleaned, _ = clean_cosmic_rays(image_of(make_image, clean))
    assert np.isnan(cleaned.data[50:60, 70]).all()
    assert (cleaned.mask[50:60, 70] == MASK_BITS["bad"]).all()


def test_background_is_taken_off_and_the_saturation_with_it(make_image, clean):
    slope = np.linspace(0, 300, SHAPE[1], dtype=np.float32)
    image = image_of(make_image, clean + slope)
    flat = subtract_background(image, box=32)
    sigma = np.sqrt((SKY + 150) / 2 + 6.25)
    columns = np.median(flat.data, axis=0)
    # The medians of halves of the field: wings of stars lift them by below 1 sigma.
    assert np.abs(columns.reshape(8, -1).mean(axis=1)).max() < sigma
    assert flat.saturation == pytest.approx(60000 - SKY - 150, abs=sigma)


def test_noise_survives_the_loss_of_the_background(make_image, clean):
    image = image_of(make_image, clean)
    before = measure_noise(image)
    after = measure_noise(subtract_background(image, box=64))
    # Photons no longer explain it, so it is measured: to 5 / sqrt(2 n) of its value,
    # n some 20,000 pixels, and the robust estimate is 1.6 times less efficient.
    assert after.model == "measured"
    assert after.sky_variance == pytest.approx(before.sky_variance, rel=0.08)
