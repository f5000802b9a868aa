from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from scipy.ndimage import uniform_filter
from star_fields import known_psf, plain_difference

from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.detect import (
    find_candidates,
    measure_noise_factor,
    significance,
    true_snr,
)
from gmadet_nb.imaging.measure import FLAG_BITS, measure_candidates
from gmadet_nb.imaging.photometry import robust_width

SHAPE = (150, 210)  # (ny, nx), not square
SIGMA = 10.0  # of an empty pixel [adu]
NO_SOURCES = Table({"x": [], "y": []})


@pytest.fixture(scope="module")
def psf():
    return known_psf(SHAPE, 3.0)


@pytest.fixture
def make_difference(psf, rng):
    """Return a factory of differences with sources of known place and flux."""

    def make(x=(), y=(), flux=(), *, noise=SIGMA, draw=True, gain=2.0):
        light = np.zeros(SHAPE)
        radius = psf.radius
        for one_x, one_y, one_flux in zip(x, y, flux, strict=True):
            padded = np.pad(light, radius)
            row, column = round(one_y), round(one_x)
            padded[row : row + 2 * radius + 1, column : column + 2 * radius + 1] += (
                one_flux * psf(one_x, one_y)
            )
            light = padded[radius:-radius, radius:-radius]
        sigma = np.sqrt(noise**2 + np.clip(light, 0, None) / gain)
        data = light + draw * sigma * rng.standard_normal(SHAPE)
        return plain_difference(data, sigma, psf)

    return make


@pytest.fixture
def detect(make_image, psf):
    def detect(difference, *, threshold=5.0, reference_sources=NO_SOURCES, **fields):
        snr = significance(difference, psf)
        x, y = find_candidates(snr, detection_threshold=threshold, fwhm=psf.fwhm)
        return measure_candidates(
            difference,
            make_image(data=difference.data, mask=difference.mask, **fields),
            psf,
            x,
            y,
            reference_sources=reference_sources,
        )

    return detect


def flux_of(snr, psf):
    """Return the flux of a source of a given S/N in empty sky [adu]."""
    return snr * SIGMA / np.sqrt(np.sum(psf(80.0, 60.0) ** 2))


def position_error(psf, flux):
    """Return the error that the Cramér-Rao bound leaves to x [pixel]."""
    radius, h = psf.radius + 2, 0.05

    def stamp(x):
        out = np.zeros((2 * radius + 1, 2 * radius + 1))
        out[2:-2, 2:-2] = psf(x, 60.0)
        return out

    slope = (stamp(80 + h) - stamp(80 - h)) / (2 * h)
    return SIGMA / (flux * np.sqrt(np.sum(slope**2)))


@pytest.fixture(scope="module")
def injected():
    # Apart by more than the stamps are wide.
    draw = np.random.default_rng(3)
    y, x = np.mgrid[:5, :7].reshape(2, -1) * 28.0 + 16.0
    n = len(x)
    return (
        x + draw.uniform(-2, 2, n),
        y + draw.uniform(-2, 2, n),
        np.exp(draw.uniform(np.log(8), np.log(50), n)),
    )


@pytest.fixture
def found(injected, psf, make_difference, detect):
    x, y, snr = injected
    flux = flux_of(snr, psf)
    rows = []
    for _ in range(4):
        # A large gain: the source's own photons are left out of the bound.
        candidates = detect(make_difference(x, y, flux, gain=1e6))
        distance = np.hypot(
            np.asarray(candidates["x"]) - x[:, None],
            np.asarray(candidates["y"]) - y[:, None],
        )
        assert distance.min(axis=1).max() < 1.5, "a source was not found"
        rows.append(candidates[distance.argmin(axis=1)])
    return x, y, flux, rows


def all_of(rows, name):
    return np.stack([np.asarray(row[name]) for row in rows])


# 4 x 35 pulls: their width is known to 1 / sqrt(280) = 6 %.
PULL_ERROR = 4 * 0.06


def test_positions_scatter_as_their_noise_says(found, psf):
    x, y, flux, rows = found
    error = np.array([position_error(psf, f) for f in flux])

    for name, true in (("x", x), ("y", y)):
        pulls = (all_of(rows, name) - true) / error
        assert pulls.std() == pytest.approx(1, abs=PULL_ERROR)
        assert pulls.mean() == pytest.approx(0, abs=4 / np.sqrt(140))


def test_fluxes_scatter_as_their_noise_says(found):
    _, _, flux, rows = found
    pulls = (all_of(rows, "flux") - flux) / all_of(rows, "flux_err")

    assert pulls.std() == pytest.approx(1, abs=PULL_ERROR)
    # A fit of the position can only gain flux: by half a sigma^2 / flux an axis.
    assert pulls.mean() == pytest.approx(0.05, abs=4 / np.sqrt(140))
    np.testing.assert_allclose(
        all_of(rows, "snr"), all_of(rows, "flux") / all_of(rows, "flux_err")
    )


def test_point_source_looks_like_the_psf(found, psf):
    rows = found[3]
    bright = all_of(rows, "snr") > 20

    # Some 60 pixels in each core: chi2 scatters by sqrt(2 / 60) = 0.18 about 1.
    assert np.mean(all_of(rows, "psf_chi2")) == pytest.approx(1, abs=0.1)
    assert np.all(all_of(rows, "psf_chi2") < 1 + 5 * 0.2)
    ratio = (all_of(rows, "fwhm") / all_of(rows, "psf_fwhm"))[bright]
    # A width is known to about one part in S/N.
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.all(np.abs(ratio - 1) < 5 / 20)
    # Noise makes a round source a little long.
    assert np.median(all_of(rows, "elongation")[bright]) == pytest.approx(
        1.05, abs=0.06
    )
    peak = psf(80.0, 60.0).max()
    assert np.median(all_of(rows, "peak_to_flux")[bright]) == pytest.approx(
        peak, rel=0.2
    )
    assert not all_of(rows, "flags").any()
    np.testing.assert_allclose(all_of(rows, "psf_fwhm"), psf.fwhm, rtol=1e-6)


def test_errors_count_the_photons_of_the_source(psf, make_difference, detect):
    flux = flux_of(200.0, psf)
    (one,) = detect(make_difference([80.3], [60.2], [flux], gain=0.5), threshold=20)
    (other,) = detect(make_difference([80.3], [60.2], [flux], gain=1e6), threshold=20)

    assert one["flux_err"] > 1.3 * other["flux_err"]
    assert one["flux"] == pytest.approx(flux, abs=5 * one["flux_err"])


def test_hot_pixel_is_sharper_than_the_psf(psf, make_difference, detect):
    difference = make_difference()
    difference.data[70, 100] += 60 * SIGMA
    (hot,) = detect(difference, threshold=8)

    # All of its light is in one pixel, where a star has a tenth.
    assert hot["peak_to_flux"] > 3 * psf(80.0, 60.0).max()
    assert hot["psf_chi2"] > 10
    assert hot["fwhm"] < 0.6 * hot["psf_fwhm"]
    assert (round(hot["x"]), round(hot["y"])) == (100, 70)


def test_dipole_has_negative_pixels(psf, make_difference, detect):
    flux = flux_of(60.0, psf)
    dipole = make_difference([80.0, 83.0], [60.0, 60.0], [flux, -flux])
    single = make_difference([80.0], [60.0], [flux])
    (half,), (whole,) = detect(dipole, threshold=15), detect(single, threshold=15)

    # Of some 60 pixels of noise 2.3 % are below -2 sigma.
    assert half["n_negative"] > 8
    assert whole["n_negative"] <= 5


def test_streak_is_long(psf, make_difference, detect):
    n = 7
    x, y = 80 + np.arange(n), 60 + 0.5 * np.arange(n)
    streak = make_difference(x, y, np.full(n, flux_of(20.0, psf)))
    candidates = detect(streak, threshold=20)

    assert candidates["elongation"].max() > 1.6


def test_x_is_along_the_columns(psf, make_difference, detect):
    (one,) = detect(make_difference([190.0], [20.0], [flux_of(50.0, psf)]), threshold=9)

    assert (round(one["x"]), round(one["y"])) == (190, 20)


def test_none_found_is_an_empty_table_with_all_columns(psf, make_difference, detect):
    nothing = detect(make_difference(draw=False))
    something = detect(make_difference([80.0], [60.0], [flux_of(50.0, psf)]))

    assert len(nothing) == 0
    assert nothing.colnames == something.colnames
    for name in something.colnames:
        assert nothing[name].unit == something[name].unit
        assert nothing[name].dtype.kind == something[name].dtype.kind


def test_source_at_the_edge_is_flagged(psf, make_difference, detect):
    flux = flux_of(50.0, psf)
    x, y = [1.0, 100.0, 100.0], [75.0, 75.0, 148.5]
    candidates = detect(make_difference(x, y, [flux] * 3), threshold=10)
    inside = (candidates["x"] > 20) & (candidates["y"] < 130)

    assert len(candidates) == 3
    np.testing.assert_array_equal(candidates["edge"], ~inside)
    np.testing.assert_array_equal(
        (candidates["flags"] & FLAG_BITS["edge"]) > 0, candidates["edge"]
    )
    # What is left of a source on the edge gives its flux all the same.
    np.testing.assert_allclose(
        candidates["flux"], flux, atol=5 * candidates["flux_err"].max()
    )


def test_masked_pixels_are_never_candidates(make_difference, detect):
    difference = make_difference()
    difference.data[40:44, 60:64] = 1e6
    difference.mask[40:44, 60:64] = MASK_BITS["saturated"]
    difference.data[100, 100] = np.nan
    difference.mask[100, 100] = MASK_BITS["bad"]
    difference.data[:, 150] = 1e5
    difference.mask[:, 150] = MASK_BITS["bad"]

    # Noise alone gives none of 6 sigma on 3e4 pixels (1e-9 each).
    assert len(detect(difference, threshold=6)) == 0


def test_source_beside_masked_pixels_keeps_its_flux_and_says_so(
    psf, make_difference, detect
):
    flux = flux_of(50.0, psf)
    difference = make_difference([80.0, 150.0], [60.0, 90.0], [flux, flux])
    difference.data[60:62, 82] = 1e5
    difference.mask[60:62, 82] = MASK_BITS["bad"]
    difference.data[97, 150] = 6e4
    difference.mask[97, 150] = MASK_BITS["saturated"]
    candidates = detect(difference, threshold=10)
    candidates.sort("x")

    np.testing.assert_allclose(
        candidates["flux"], flux, atol=5 * candidates["flux_err"].max()
    )
    assert list(candidates["flags"]) == [
        FLAG_BITS["masked_core"],
        FLAG_BITS["saturated_near"],
    ]


@pytest.mark.parametrize("threshold", [3.5, 4.0])
def test_pure_noise_gives_the_peaks_that_gaussian_statistics_allow(
    psf, make_difference, threshold
):
    n = 20
    total = 0
    for _ in range(n):
        snr = significance(make_difference(), psf)
        total += len(find_candidates(snr, detection_threshold=threshold, fwhm=3.2)[0])
    # Peaks of a Gaussian field above u (Adler 1981): A L (2 pi)^-1.5 u exp(-u^2 / 2),
    # where L is the curvature of its correlation, that of the stamp with itself.
    stamp = psf(80.0, 60.0)
    slope = np.gradient(stamp, axis=1)
    curvature = np.sum(slope**2) / np.sum(stamp**2)
    expected = (
        (n * SHAPE[0] * SHAPE[1] * curvature / (2 * np.pi) ** 1.5)
        * threshold
        * np.exp(-(threshold**2) / 2)
    )

    # The highest pixel is a little below the peak between pixels.
    assert 0.6 * expected - 3 * expected**0.5 < total < expected + 3 * expected**0.5


def test_significance_of_noise_has_width_one(psf, make_difference):
    snr = significance(make_difference(), psf)

    # 3e4 pixels hold some 2500 independent ones: 1 / sqrt(5000) = 1.4 %.
    assert snr[20:-20, 20:-20].std() == pytest.approx(1, abs=5 * 0.014)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_scaled_counts_give_the_same_significance(psf, make_difference, factor):
    one = make_difference([80.0], [60.0], [flux_of(20.0, psf)])
    scaled = replace(
        one,
        data=(factor * one.data).astype(np.float32),
        noise=(factor * one.noise).astype(np.float32),
    )

    np.testing.assert_allclose(
        significance(scaled, psf), significance(one, psf), atol=1e-2
    )


def test_noisy_half_needs_more_light(psf, make_difference):
    difference = make_difference()
    difference.data[:, 105:] *= 10
    difference.noise[:, 105:] *= 10
    snr = significance(difference, psf)

    assert snr[20:-20, 125:-20].std() == pytest.approx(1, abs=5 * 0.02)


def test_significance_of_a_source_is_its_signal_to_noise(psf, make_difference):
    flux = flux_of(30.0, psf)
    snr = significance(
        make_difference([80.0], [60.0], [flux], draw=False, gain=1e9), psf
    )

    assert snr.max() == pytest.approx(30, rel=1e-3)
    assert np.unravel_index(snr.argmax(), SHAPE) == (60, 80)


def test_image_that_is_masked_throughout_has_no_candidates(make_difference, detect):
    difference = make_difference()
    difference.mask[:] = MASK_BITS["bad"]

    assert len(detect(difference, threshold=4)) == 0


def test_highest_peak_takes_its_surroundings():
    snr = np.zeros(SHAPE, np.float32)
    snr[60, 80], snr[60, 82], snr[60, 90] = 10, 8, 9
    x, y = find_candidates(snr, detection_threshold=5, fwhm=3.2)

    assert list(zip(x, y, strict=True)) == [(80, 60), (90, 60)]


def test_places_are_those_of_the_wcs_and_names_are_unique(
    psf, make_difference, detect, injected
):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [1.0, 1.0]
    wcs.wcs.crval, wcs.wcs.cdelt = [10.0, 0.0], [-1e-4, 2e-4]
    x, y, snr = injected
    difference = make_difference(x, y, flux_of(snr, psf))
    candidates = detect(difference, wcs=wcs, zero_point=27.0, filter="i")

    np.testing.assert_allclose(candidates["ra"], 10 - 1e-4 * candidates["x"], atol=1e-6)
    np.testing.assert_allclose(candidates["dec"], 2e-4 * candidates["y"], atol=1e-6)
    np.testing.assert_allclose(
        candidates["mag"], 27 - 2.5 * np.log10(candidates["flux"])
    )
    np.testing.assert_allclose(
        candidates["mag_err"], 2.5 / np.log(10) / candidates["snr"], rtol=1e-4
    )
    assert len(set(candidates["candidate_id"])) == len(candidates)
    assert set(candidates["filter"]) == {"i"}


def test_a_candidate_keeps_its_name_in_a_search_with_another_threshold(
    psf, make_difference, detect, injected
):
    x, y, snr = injected
    difference = make_difference(x, y, flux_of(snr, psf))
    everything = detect(difference, threshold=4.0)
    bright = detect(difference, threshold=20.0)

    assert 0 < len(bright) < len(everything)
    place = {row["candidate_id"]: (row["x"], row["y"]) for row in everything}
    assert [place[row["candidate_id"]] for row in bright] == [
        (row["x"], row["y"]) for row in bright
    ]


def test_light_of_the_reference_is_measured_in_place(psf, make_difference, detect):
    flux = flux_of(20.0, psf)
    difference = make_difference([80.0, 150.0], [60.0, 90.0], [flux, flux], gain=1e6)
    star = make_difference([150.0], [90.0], [5 * flux], draw=False)
    difference.reference[:] = star.data
    near = Table({"x": [150.0, 100.0], "y": [93.0, 60.0]})
    candidates = detect(difference, threshold=8, reference_sources=near)
    candidates.sort("x")

    assert candidates["reference_snr"][0] == pytest.approx(0, abs=0.1)
    assert candidates["reference_snr"][1] == pytest.approx(100, rel=0.1)
    np.testing.assert_allclose(candidates["reference_distance"], [20, 3], atol=0.5)


def test_without_a_reference_its_light_is_unknown(psf, make_difference, detect):
    difference = make_difference([80.0], [60.0], [flux_of(30.0, psf)])
    difference.reference[:] = np.nan
    (one,) = detect(difference, threshold=8)

    assert np.isnan(one["reference_snr"])
    assert np.isinf(one["reference_distance"])


def test_true_snr_is_that_of_the_flux_in_its_place(psf, make_difference):
    flux = flux_of(30.0, psf)
    difference = make_difference(gain=1e9)

    snr, usable = true_snr(difference, psf, 80.0, 60.0, flux)
    assert snr == pytest.approx(30, rel=1e-3)
    assert usable
    assert true_snr(difference, psf, 80.3, 60.4, 2 * flux)[0] == pytest.approx(
        60, rel=0.03
    )
    assert not true_snr(difference, psf, 1.0, 60.0, flux)[1]
    assert np.isnan(true_snr(difference, psf, -5.0, 60.0, flux)[0])
    difference.mask[62, 80] = MASK_BITS["bad"]
    masked_snr, masked_usable = true_snr(difference, psf, 80.0, 60.0, flux)
    assert masked_snr < snr
    assert not masked_usable


def test_correlated_noise_widens_the_errors_of_fluxes(psf, make_difference, rng):
    independent = make_difference()
    # A running mean of 3 x 3 has a third of the pixel noise; scaled back by 3 every
    # pixel has the noise expected of it, and a sum over many pixels 3 times more.
    smooth = 3 * uniform_filter(SIGMA * rng.standard_normal(SHAPE), 3, mode="wrap")
    correlated = replace(independent, data=smooth.astype(np.float32))
    one, more = (
        measure_noise_factor(significance(each, psf), each)
        for each in (independent, correlated)
    )
    # White: the map has unit width, known from about 31500 / 20 independent places
    # to 3 %. Correlated: the matched filter passes |P| at the frequencies where the
    # mean of 3 x 3 still has most of its 3.
    spectrum = np.abs(np.fft.fft2(psf.centered(0, 0), SHAPE)) ** 2
    box = np.zeros(SHAPE)
    box[:3, :3] = 1 / 3
    expected = np.sqrt(
        np.sum(spectrum * np.abs(np.fft.fft2(box)) ** 2) / np.sum(spectrum)
    )

    assert one == pytest.approx(1, abs=0.15)
    assert more == pytest.approx(expected, rel=0.15)


def test_a_wider_map_gives_larger_errors_and_a_smaller_true_snr(
    psf, make_difference, detect, injected
):
    x, y, snr = injected
    difference = make_difference(x, y, flux_of(snr, psf))
    plain = detect(difference)
    wide = detect(replace(difference, noise_factor=2.0))

    np.testing.assert_allclose(wide["flux_err"], 2 * plain["flux_err"])
    np.testing.assert_allclose(wide["snr"], plain["snr"] / 2)
    there = true_snr(difference, psf, x[0], y[0], 100.0)[0]
    assert true_snr(replace(difference, noise_factor=2.0), psf, x[0], y[0], 100.0)[
        0
    ] == pytest.approx(there / 2)


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_errors_of_place_and_flux_are_those_that_are_made(
    make_difference, make_image, psf, gain
):
    rng = np.random.default_rng(5)
    y, x = 15.0 + 20.0 * np.mgrid[:7, :10].reshape(2, -1)
    pulls = []
    for _ in range(6):
        at = x + rng.uniform(-0.5, 0.5, 70), y + rng.uniform(-0.5, 0.5, 70)
        flux = np.full(70, flux_of(40.0, psf))
        difference = make_difference(*at, flux, gain=gain)
        found = measure_candidates(
            difference,
            make_image(data=difference.data, mask=difference.mask),
            psf,
            *(np.rint(place).astype(int) for place in at),
            reference_sources=NO_SOURCES,
        )
        pulls.append(
            [
                (found["flux"] - flux) / found["flux_err"],
                (found["x"] - at[0]) / found["x_err"],
                (found["y"] - at[1]) / found["y_err"],
            ]
        )
    pulls = np.concatenate(pulls, axis=1)

    # 420 of each: a robust width to 1.17 / sqrt(840), a mean to 1 / sqrt(420).
    for values in pulls:
        assert robust_width(values) == pytest.approx(1, abs=5 * 0.04)
        assert np.mean(values) == pytest.approx(0, abs=5 * 0.05)


def test_shifted_star_is_a_dipole(make_difference, make_image, psf):
    flux = flux_of(60.0, psf)
    difference = make_difference([50.0, 52.5, 120.0], [60.0] * 3, [flux, -flux, flux])
    snr = significance(difference, psf)
    found = measure_candidates(
        difference,
        make_image(data=difference.data, mask=difference.mask),
        psf,
        np.array([50, 120]),
        np.array([60, 60]),
        reference_sources=NO_SOURCES,
        snr=snr,
    )

    assert found["dipole"][0] > 0.5
    assert found["flags"][0] & FLAG_BITS["dipole"]
    # Noise beside a source of S/N 60 reaches some -3 sigma.
    assert found["dipole"][1] < 0.1
    assert not found["flags"][1] & FLAG_BITS["dipole"]


def test_missing_light_is_measured_as_such(make_difference, make_image, psf):
    flux = flux_of(50.0, psf)
    difference = make_difference([50.3], [60.2], [-flux])
    snr = significance(difference, psf)
    x, y = find_candidates(-snr, detection_threshold=5.0, fwhm=psf.fwhm)
    found = measure_candidates(
        difference,
        make_image(data=difference.data, mask=difference.mask),
        psf,
        x,
        y,
        reference_sources=NO_SOURCES,
        snr=snr,
        sign=-1,
    )

    assert len(find_candidates(snr, detection_threshold=5.0, fwhm=psf.fwhm)[0]) == 0
    assert len(found) == 1
    # S/N 50: the flux to 2 %, the place to 3 / 2.35 / 50 = 0.03 pixel.
    assert found["flux"][0] == pytest.approx(-flux, rel=5 * 0.02)
    assert found["x"][0] == pytest.approx(50.3, abs=5 * 0.03)
    assert found["candidate_id"][0] == "test_01_neg_x0050y0060"
