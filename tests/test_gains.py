import logging

import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.campaign.steps.gains import check_gains, photon_transfers
from gmadet_nb.imaging.photometry import measure_noise
from gmadet_nb.imaging.photon_transfer import fit_photon_transfer

GAIN, READ_NOISE = 1.3, 9.0
LEVELS = np.linspace(1500, 2700, 8)
SHAPE = (200, 240)


@pytest.fixture
def night(make_image):
    """Return a factory of the exposures table of a night under a sky that brightens."""

    def make(*, stated=GAIN, source="GAIN", pedestal=0.0, levels=LEVELS):
        rows = []
        for i, level in enumerate(levels):
            rng = np.random.default_rng([3, i])
            electrons = rng.poisson(level * GAIN, SHAPE)
            electrons = electrons + rng.normal(0, READ_NOISE, SHAPE)
            image = make_image(
                data=(electrons / GAIN + pedestal).astype(np.float32),
                mask=np.zeros(SHAPE, np.uint8),
                gain=stated,
                read_noise=READ_NOISE,
            )
            noise = measure_noise(image)
            rows.append(
                {
                    "exposure_id": f"a{i}",
                    "used": True,
                    "gain": stated,
                    "gain_source": source,
                    "read_noise": READ_NOISE,
                    "sky_level": noise.level,
                    "pixel_noise": noise.measured,
                    "noise": np.sqrt(noise.sky_variance),
                    "noise_model": noise.model,
                    "limiting_mag": 20.0,
                }
            )
        return Table(rows=rows)

    return make


# The variance of 24,000 pixels of the darker half is known to some 2% by the median
# of the Laplacian: over a range of 0.55 of the mean level, the slope of 8 exposures to
# 2% / (0.55 * 0.33 * sqrt(8)) = 4%.
SLOPE_ERROR = 0.04


@pytest.mark.parametrize("pedestal", [0.0, 1000.0])
def test_gain_is_measured_whatever_the_pedestal(night, pedestal):
    exposures = night(pedestal=pedestal)
    [(stated, line)] = photon_transfers(exposures)

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
        checked = check_gains(exposures)

    assert np.asarray(checked["gain"]) == pytest.approx(GAIN, rel=4 * SLOPE_ERROR)
    assert set(checked["gain_source"]) == {"measured on 8 exposures, not GAIN"}
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
    exposures = night(stated=stated, source=source)
    checked = check_gains(exposures)

    assert set(checked["gain"]) == {stated}
    assert set(checked["gain_source"]) == {source}
