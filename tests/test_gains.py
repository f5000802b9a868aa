import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import shift

from gmadet_nb.campaign.steps import gains
from gmadet_nb.imaging.photometry import measure_noise, robust_width
from gmadet_nb.imaging.photon_transfer import difference_noise, fit_photon_transfer

GAIN, READ_NOISE = 1.3, 9.0
LEVELS = np.linspace(1500, 2700, 8)
SHAPE = (360, 440)


@pytest.fixture
def night(make_image, tmp_path):
    """Return a factory of the exposures table of a night under a sky that brightens.

    ``flat_error`` is the scatter of the pixels' sensitivity, the same in all
    exposures; ``moved`` the shift by which each was resampled [pixel].
    """

    def make(
        *, stated=GAIN, source="GAIN", pedestal=0.0, flat_error=0.0, moved=0.0, seed=3
    ):
        flat = 1 + flat_error * np.random.default_rng(seed).standard_normal(SHAPE)
        rows = []
        for i, level in enumerate(LEVELS):
            rng = np.random.default_rng([seed, i])
            electrons = rng.poisson(level * GAIN * flat)
            electrons = electrons + rng.normal(0, READ_NOISE, SHAPE)
            data = electrons / GAIN + pedestal
            if moved:
                data = shift(data, (moved, moved), order=1, mode="nearest")
            fields = {"gain": stated, "read_noise": READ_NOISE}
            image = make_image(
                data=data.astype(np.float32), mask=np.zeros(SHAPE, np.uint8), **fields
            )
            path = tmp_path / f"a{i}.fits"
            fits.writeto(path, image.data, overwrite=True)
            noise = measure_noise(image)
            rows.append(
                fields
                | {"exposure_id": f"a{i}", "path": str(path), "extension": "auto"}
                | {"prepared": "", "saturation": np.inf, "zero_point": 25.0}
                | {"filter": "r", "used": True, "gain_source": source}
                | {"sky_level": noise.level, "pixel_noise": noise.measured}
                | {"noise": np.sqrt(noise.sky_variance), "limiting_mag": 20.0}
                | {"noise_model": noise.model}
            )
        return Table(rows=rows)

    return make


def check(exposures):
    return gains.check_gains(exposures, gains.photon_transfers(exposures))


# The variance of 79,000 pixels of the darker half is known to some 1.1% by the median
# of the Laplacian: over a range of 0.55 of the mean level, the slope of 8 exposures to
# 1.1% / (0.55 * 0.33 * sqrt(8)) = 2.2%.
SLOPE_ERROR = 0.022


@pytest.mark.parametrize("pedestal", [0.0, 1000.0])
def test_gain_is_measured_whatever_the_pedestal(night, pedestal):
    [(stated, line)] = gains.photon_transfers(night(pedestal=pedestal))

    assert stated == GAIN
    assert line.gain == pytest.approx(GAIN, rel=4 * SLOPE_ERROR)
    assert line.gain_err < 2 * SLOPE_ERROR * GAIN


def test_slope_of_exact_variances_is_exact():
    line = fit_photon_transfer(LEVELS, (LEVELS - 300) / 2.0 + 25)

    assert line.gain == pytest.approx(2.0)
    assert line.offset == pytest.approx(25 - 150)
    assert line.n_exposures == len(LEVELS)


def test_one_exposure_off_the_line_is_left_out():
    variances = LEVELS / 2.0 * (1 + 0.003 * np.tile([1, -1], len(LEVELS) // 2))
    variances[2] *= 1.5
    line = fit_photon_transfer(LEVELS, variances)

    assert line.n_exposures == len(LEVELS) - 1
    assert line.gain == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("n", [5, 8, 20])
def test_error_of_the_gain_is_that_of_its_scatter(rng, n):
    levels = np.linspace(1500, 2700, n)
    lines = [
        fit_photon_transfer(levels, levels / GAIN * rng.normal(1, 0.01, n))
        for _ in range(1500)
    ]
    lines = [line for line in lines if line is not None]
    pulls = [(line.gain - GAIN) / line.gain_err for line in lines]
    wrong = [line.differs_from(GAIN, confidence=0.999) for line in lines]

    # Student's with few degrees of freedom is wider than a Gaussian in its core, too;
    # what is clipped as an outlier makes the rest look better than it is.
    assert 0.95 < robust_width(np.array(pulls)) < 1.6
    assert np.mean(wrong) < 0.02
    assert len(lines) > 0.85 * 1500


@pytest.mark.parametrize("seed", [22543, 1, 2])
def test_scatter_of_any_kind_gives_a_line_of_five_or_none(seed):
    rng = np.random.default_rng(seed)
    for _ in range(400):
        levels = 1000 * (1 + 0.05 * rng.random(8))
        line = fit_photon_transfer(levels, levels / 2 * rng.normal(1, 0.01, 8))
        assert line is None or line.n_exposures >= 5


@pytest.mark.parametrize(
    ("levels", "variances"),
    [
        (LEVELS[:4], LEVELS[:4] / 2),
        (np.full(8, 900.0), np.linspace(440, 460, 8)),
        (LEVELS, 2000 - LEVELS / 2),
        (np.full(8, np.nan), LEVELS),
    ],
    ids=["four exposures", "one level", "falling", "unknown"],
)
def test_night_that_tells_nothing_gives_no_line(levels, variances):
    assert fit_photon_transfer(levels, variances) is None


def test_wrong_gain_of_the_header_is_replaced_and_said(night, caplog):
    exposures = night(stated=0.78)
    with caplog.at_level(logging.WARNING):
        checked = check(exposures)

    # Differences of neighbours share exposures: 7 of them are worth some 5.
    assert np.asarray(checked["gain"]) == pytest.approx(GAIN, rel=5 * SLOPE_ERROR)
    assert set(checked["gain_source"]) == {"measured on 7 pairs of exposures, not GAIN"}
    assert set(exposures["noise_model"]) == {"measured"}
    assert set(checked["noise_model"]) == {"photons"}
    assert "0.78 electron/adu" in caplog.text
    # Its input stays as it was, and the depth follows the noise.
    assert set(exposures["gain"]) == {0.78}
    deeper = 2.5 * np.log10(np.asarray(exposures["noise"] / checked["noise"]))
    assert np.asarray(checked["limiting_mag"]) == pytest.approx(20 + deeper)


@pytest.mark.parametrize(
    ("stated", "source"), [(GAIN * 1.1, "GAIN"), (0.78, "parameter")]
)
def test_gain_that_is_near_or_given_stands(night, stated, source):
    checked = check(night(stated=stated, source=source))

    assert set(checked["gain"]) == {stated}
    assert set(checked["gain_source"]) == {source}


@pytest.mark.parametrize("moved", [0.5, 0.3, 0.1])
def test_images_that_were_resampled_tell_nothing_of_the_gain(night, moved):
    exposures = night(moved=moved)

    assert set(check(exposures)["gain"]) == {GAIN}
    assert gains.photon_transfers(exposures) == []


@pytest.mark.parametrize("flat_error", [0.01, 0.02])
def test_wrong_flat_field_does_not_pass_for_a_wrong_gain(night, flat_error):
    exposures = night(flat_error=flat_error)
    within = fit_photon_transfer(
        exposures["sky_level"], np.asarray(exposures["pixel_noise"]) ** 2
    )
    checked = check(exposures)

    # Within one exposure it does: its variance grows with the square of the level.
    assert within.gain < GAIN
    assert set(checked["gain"]) == {GAIN}


def test_noise_of_a_difference_is_that_of_one_exposure(make_image, rng):
    first, second = (
        make_image(
            data=(rng.poisson(level * 2.0, SHAPE) / 2).astype(np.float32),
            mask=np.zeros(SHAPE, np.uint8),
        )
        for level in (1000.0, 1200.0)
    )
    level, variance, independent = difference_noise(first, second)

    assert level == pytest.approx(1100, rel=0.01)
    assert variance == pytest.approx(1100 / 2, rel=4 * 0.011)
    assert independent
    first.mask[:] = 1
    assert np.isnan(difference_noise(first, second)[0])
