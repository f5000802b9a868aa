import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm
from star_fields import expose, moffat, scatter_stars

from gmadet_nb.imaging.quality import (
    BRIGHT_SNR,
    GOOD_WIDTH,
    MAX_NOISE_FACTOR,
    MAX_STAR_SHARE,
    Quality,
    grow,
    judge,
    measure_quality,
)

SHAPE = (200, 240)  # (ny, nx), not square
NOISE, FWHM = 10.0, 3.0
# 40,000 pixels of sky give the width to 1.2 / sqrt(2 * 40,000) = 0.4 %.
WIDTH_ERROR = 0.004


@pytest.fixture
def stars(rng):
    return scatter_stars(SHAPE, rng, cell=40, flux=(5e4, 1e5))


@pytest.fixture
def light(stars):
    """Return the matched reference without its background."""
    return expose(moffat(SHAPE, FWHM), stars, sky=0.0)


@pytest.fixture
def measure(rng, stars, light):
    """Return a function that judges noise with something added to it."""

    def measure(extra=0.0, *, noise=NOISE, mask=None, stars=stars, matched=light):
        data = rng.normal(0, NOISE, SHAPE) + extra
        mask = np.zeros(SHAPE, np.uint8) if mask is None else mask
        expected = np.full(SHAPE, noise, np.float32)
        return measure_quality(data, expected, mask, matched, stars, FWHM)

    return measure


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_width_is_the_noise_over_what_was_expected(measure, factor):
    quality = measure(noise=NOISE / factor)

    assert quality.noise_width == pytest.approx(factor, rel=5 * WIDTH_ERROR)


def test_perfect_subtraction_leaves_no_pixel_beyond_5_sigma(measure):
    quality = measure()

    assert quality.n_core_pixels > 500
    # Of noise alone 6e-7 of the pixels are.
    assert quality.star_share == 0
    assert quality.dipole_share == 0
    # Some 1,000 pixels of the cores give their width to 4 %.
    assert quality.star_width == pytest.approx(1, abs=5 * 0.04)


def test_star_share_is_that_of_the_pixels_that_are_off(measure, light):
    left = np.zeros(SHAPE)
    cores = light > 50 * NOISE
    rows, columns = np.nonzero(cores)
    left[rows[::4], columns[::4]] = 100 * NOISE
    quality = measure(left)

    share = len(rows[::4]) / len(rows)
    assert quality.n_core_pixels == len(rows)
    assert quality.star_share == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("scale", [0.97, 1.05])
def test_star_share_is_what_a_wrong_flux_scale_leaves(measure, light, scale):
    quality = measure((1 - scale) * light)
    off = (1 - scale) * light[light > BRIGHT_SNR * NOISE] / NOISE
    expected = norm.sf(5 - off) + norm.cdf(-5 - off)

    assert 0.05 < expected.mean() < 0.95  # else it would show nothing
    error = np.sqrt(np.sum(expected * (1 - expected))) / len(off)
    assert quality.star_share == pytest.approx(expected.mean(), abs=5 * error)


@pytest.mark.parametrize("gap", [4, 6])
def test_width_of_a_crowded_field_is_that_between_its_cores(measure, gap):
    # Stripes of light, none of the sky between them farther than one FWHM from them.
    # A core grows by 2 pixels: of a gap of 4 that leaves nothing, of 6 a third.
    matched = np.where(np.arange(SHAPE[1]) % (4 + gap) < 4, 100 * NOISE, 0)
    matched = np.broadcast_to(matched, SHAPE)
    quality = measure(np.where(matched > 0, 50 * NOISE, 0), matched=matched)

    # A fifth of the pixels are left at least.
    assert quality.noise_width == pytest.approx(1, rel=5 * WIDTH_ERROR * 5**0.5)


def test_shifted_star_leaves_a_dipole(measure, stars, light):
    moved = stars.copy()
    moved["x"] = stars["x"] + 0.5
    left = expose(moffat(SHAPE, FWHM), moved, sky=0.0) - light
    quality = measure(left)

    assert quality.dipole_share == 1
    # Light that is only too bright is no dipole.
    assert measure(0.05 * light).dipole_share == 0


def test_dipole_share_is_that_of_the_stars_that_are_off(measure, stars, light):
    moved = stars.copy()
    moved["x"] = stars["x"] + 0.5
    left = expose(moffat(SHAPE, FWHM), moved, sky=0.0) - light
    left[:, :80] = 0  # the border of two cells of `scatter_stars`
    there = np.mean(stars["x"] > 80)

    assert 0 < there < 1
    assert measure(left).dipole_share == pytest.approx(there)


def test_masked_pixels_count_nowhere(measure, light):
    left = np.where(light > 50 * NOISE, 1e5, 0)
    left[:30] = 1e5
    mask = np.where(left > 0, 1, 0).astype(np.uint8)
    quality = measure(left, mask=mask)

    assert quality.noise_width == pytest.approx(1, rel=5 * WIDTH_ERROR)
    assert quality.n_core_pixels == 0
    assert np.isnan(quality.star_share)


def test_field_without_bright_stars_has_no_share(measure):
    none = Table({"x": [], "y": []})
    quality = measure(stars=none, matched=np.zeros(SHAPE, np.float32))

    assert np.isnan(quality.star_share)
    assert np.isnan(quality.dipole_share)
    assert quality.noise_width == pytest.approx(1, rel=5 * WIDTH_ERROR)


GOOD = Quality(
    noise_width=1.0, star_width=1.0, star_share=0.1, dipole_share=0.0, n_core_pixels=900
)


@pytest.mark.parametrize(
    ("changes", "fields", "reason"),
    [
        ({}, {}, ""),
        ({"noise_width": 1.6}, {}, "must be 0.7 to 1.5, got 1.60"),
        ({"noise_width": 0.5}, {}, "must be 0.7 to 1.5, got 0.50"),
        ({}, {"noise_factor": 5.2}, "at most 4 times .* got 5.2"),
        ({"star_share": 0.9}, {}, "at most 80% .* got 90%"),
        # Too few pixels of bright stars to tell; and without a reference stars stay.
        ({"star_share": 0.9, "n_core_pixels": 50}, {}, ""),
        ({"star_share": 0.9}, {"method": "none"}, ""),
    ],
)
def test_verdict_names_what_is_wrong(changes, fields, reason):
    difference = {"method": "zogy", "noise_factor": 1.0} | fields
    good, text = judge(SimpleNamespace(quality=replace(GOOD, **changes), **difference))

    assert good is (reason == "")
    assert re.search(reason, text) if reason else text == ""


@pytest.mark.parametrize("width", GOOD_WIDTH)
def test_difference_at_the_limits_may_teach(width):
    quality = replace(GOOD, noise_width=width, star_share=MAX_STAR_SHARE)
    difference = {"method": "zogy", "noise_factor": MAX_NOISE_FACTOR}

    assert judge(SimpleNamespace(quality=quality, **difference)) == (True, "")


def test_a_pixel_grows_to_a_square():
    pixels = np.zeros((7, 9), bool)
    pixels[3, 4] = True
    grown = grow(pixels, 2)

    assert grown.sum() == 25
    assert grown[1:6, 2:7].all()
    np.testing.assert_array_equal(grow(pixels, 0), pixels)
