from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from star_fields import known_psf

from gmadet_nb.campaign.demo.optics import add_stamp
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.self_check import recover_sources
from gmadet_nb.imaging.simulate import inject_sources

SHAPE = (420, 500)
SKY = 100.0  # variance of a pixel [adu^2]


def grid_of_sources(rng, flux):
    y, x = 25.0 + 20.0 * np.mgrid[:19, :23].reshape(2, -1)
    n = len(x)
    return Table(
        {
            "source_id": [f"s{i}" for i in range(n)],
            "x": x + rng.uniform(-0.5, 0.5, n),
            "y": y + rng.uniform(-0.5, 0.5, n),
            "flux": np.full(n, flux),
            "snr": np.full(n, 50.0),
        }
    )


@pytest.fixture
def inject(make_image, rng):
    def inject(*, gain=2.0, flux=2e4, fwhm=3.0):
        psf = known_psf(SHAPE, fwhm)
        before = make_image(shape=SHAPE, gain=gain, noise=10.0)
        after, sources = inject_sources(
            before, grid_of_sources(rng, flux), psf, rng=rng
        )
        return before, after, psf, sources

    return inject


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_injected_sources_come_back_within_their_errors(inject, gain):
    recovered = recover_sources(*inject(gain=gain), sky_variance=SKY)

    assert len(recovered) == 19 * 23
    for name in ("flux", "x", "y"):
        pull = np.asarray(recovered[f"pull_{name}"])
        # 437 of them: the mean to 1 / sqrt(437), the width to 1.17 / sqrt(874).
        assert np.mean(pull) == pytest.approx(0, abs=5 / np.sqrt(437))
        assert robust_width(pull) == pytest.approx(1, abs=5 * 0.04)


def test_bright_sources_come_back_where_they_were_put_at_any_phase(inject):
    recovered = recover_sources(*inject(gain=4.0, flux=4e5), sky_variance=SKY)
    # 1.6 million electrons: a place is known to 3 / 2.35 / 1265 = 0.001 pixel.
    for name in ("dx", "dy"):
        assert np.abs(np.asarray(recovered[name])).max() < 0.01
    assert np.median(recovered["flux_ratio"]) == pytest.approx(1, abs=1e-3)


def test_error_of_the_injection_shows(inject):
    before, after, psf, sources = inject(gain=4.0)
    moved = sources.copy()
    moved["x"] = moved["x"] + 0.1
    recovered = recover_sources(before, after, psf, moved, sky_variance=SKY)

    assert np.median(recovered["dx"]) == pytest.approx(-0.1, abs=0.01)


def test_photons_that_were_not_drawn_show_in_the_pulls(inject):
    before, after, psf, sources = inject(gain=2.0)
    clean = before.data.astype(float).copy()
    for row in sources:
        stamp = row["flux"] * psf(row["x"], row["y"])
        add_stamp(clean, stamp, row["x"], row["y"])
    recovered = recover_sources(
        before, replace(after, data=clean), psf, sources, sky_variance=SKY
    )

    assert robust_width(np.asarray(recovered["pull_flux"])) < 0.1


def test_sources_that_are_cut_or_masked_are_left_out(inject):
    before, after, psf, sources = inject()
    sources["x"][0] = 2.0
    mask = after.mask.copy()
    mask[round(sources["y"][5]), round(sources["x"][5])] |= 1
    recovered = recover_sources(
        before, replace(after, mask=mask), psf, sources, sky_variance=SKY
    )

    assert len(recovered) == len(sources) - 2
    assert not {"s0", "s5"} & set(recovered["source_id"])
