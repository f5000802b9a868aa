from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from scipy.ndimage import gaussian_filter
from star_fields import expose, moffat, scatter_stars, true_psf

from gmadet_nb.campaign.demo import optics
from gmadet_nb.errors import BadImageError, BadParameterError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.kernel import kernel_half_width
from gmadet_nb.imaging.quality import judge
from gmadet_nb.imaging.subtract import no_reference, subtract

SHAPE = (160, 190)  # (ny, nx), not square
SKY, GAIN, READ_NOISE = 200.0, 2.0, 5.0
WIDE = 3.4  # FWHM of the science exposure, before the pixels [pixel]


@pytest.fixture
def stars(rng):
    return scatter_stars(SHAPE, rng, cell=19, flux=(3e3, 1e5))


def photon_variance(expected):
    return (expected / GAIN + (READ_NOISE / GAIN) ** 2).astype(np.float32)


@pytest.fixture
def pair(stars, rng, make_image):
    """Return a factory of science and reference with noise of their own."""

    def make(
        science_fwhm=WIDE,
        reference_fwhm=WIDE,
        *,
        shift=0.0,
        scale=1.0,
        pedestal=0.0,
        transients=None,
        **optics,
    ):
        here = moffat(SHAPE, science_fwhm, **optics)
        there = moffat(SHAPE, reference_fwhm)
        light = Table(stars)
        light["flux"] = scale * stars["flux"]
        if transients is not None:
            light = Table(
                {
                    name: np.append(light[name], transients[name])
                    for name in ("x", "y", "flux")
                }
            )
        old = Table(stars)
        old["x"] = stars["x"] + shift
        truth = expose(here, light, sky=SKY)
        image = make_image(
            data=expose(here, light, sky=SKY, rng=rng),
            mask=np.zeros(SHAPE, np.uint8),
            read_noise=READ_NOISE,
        )
        reference = (
            expose(there, old, sky=SKY, rng=rng) + np.float32(pedestal),
            photon_variance(expose(there, old, sky=SKY)),
            np.zeros(SHAPE, np.uint8),
        )
        return (
            image,
            photon_variance(truth),
            reference,
            (true_psf(here), true_psf(there)),
        )

    return make


def run(pair, stars, *, method="kernel", degree=0, alignment_rms=0.0):
    image, variance, (data, reference_variance, mask), psfs = pair
    reference = SimpleNamespace(
        data=data,
        variance=reference_variance,
        mask=mask,
        psf=psfs[1],
        fwhm=psfs[1].fwhm,
        correlation=0.0,
        alignment_rms=alignment_rms,
        n_images=1,
    )
    return subtract(
        image,
        variance,
        reference,
        psf=psfs[0],
        stars=stars,
        method=method,
        degree=degree,
    )


def pulls_in(difference, inner=15):
    inside = (slice(inner, -inner), slice(inner, -inner))
    return (difference.data / difference.noise)[inside]


# A robust width of some 10000 pixels is known to 1.17 / 100. The kernel's hundred
# numbers follow the noise of the pixels that they are fitted on, and the convolved
# noise is correlated: 5 % for both.
WIDTH_ERROR = 0.05


# The kernel ends where 1 % of a Moffat's light is still outside, and the noise of the
# reference takes about as much again off the slope of a least-squares fit.
KERNEL_ERROR = 0.02


@pytest.mark.parametrize(
    ("science_fwhm", "reference_fwhm", "shift"),
    [(WIDE, WIDE, 0.0), (WIDE, 2.4, 0.0), (2.4, WIDE, 0.0), (4.5, 2.4, 0.2)],
    ids=["equal", "sharper reference", "broader reference", "sharper and shifted"],
)
@pytest.mark.parametrize("method", ["kernel", "zogy"])
def test_what_did_not_change_subtracts_to_its_noise(
    pair, stars, science_fwhm, reference_fwhm, shift, method
):
    made = pair(science_fwhm, reference_fwhm, shift=shift)
    difference = run(made, stars, method=method)

    assert difference.quality.noise_width == pytest.approx(1, abs=WIDTH_ERROR)
    assert pulls_in(difference).std() < 1.25
    # Cores are 50 to 200 sigma: 3 sigma are some 3 % of their light, what the fit
    # blurs away of a reference that is as noisy as the exposure.
    assert difference.quality.star_width < 3
    assert difference.kernel_sum == pytest.approx(1, abs=KERNEL_ERROR)
    assert judge(difference) == (True, "")


@pytest.mark.parametrize("scale", [0.7, 2.5])
@pytest.mark.parametrize("pedestal", [0.0, -500.0])
def test_flux_scale_and_pedestal_are_found(pair, stars, scale, pedestal):
    difference = run(pair(scale=scale, pedestal=pedestal), stars)

    assert difference.kernel_sum == pytest.approx(scale, rel=KERNEL_ERROR)
    assert difference.quality.noise_width == pytest.approx(1, abs=WIDTH_ERROR)
    # The reference comes on the scale of the science exposure, on a sky of 0.
    assert np.median(difference.reference) == pytest.approx(0, abs=20)
    assert abs(np.median(difference.data)) < 0.2 * np.median(difference.noise)


@pytest.mark.parametrize("method", ["kernel", "zogy"])
@pytest.mark.parametrize("reference_fwhm", [2.4, WIDE, 4.4])
def test_flux_of_a_transient_survives(pair, stars, reference_fwhm, method):
    x, y = np.array([47.5, 133.3, 95.0, 38.2]), np.array([38.1, 47.6, 76.4, 114.0])
    new = {"x": x, "y": y, "flux": np.full(4, 1e4)}
    made = pair(reference_fwhm=reference_fwhm, transients=new)
    difference = run(made, stars, method=method)
    found = []
    for i in range(4):
        model = np.zeros(SHAPE)
        optics.add_stamp(model, difference.psf(x[i], y[i]), x[i], y[i])
        near = model > 1e-4
        weight = (model / difference.noise**2)[near]
        found.append(
            (weight * difference.data[near]).sum() / (weight * model[near]).sum()
        )

    # S/N is about 100, so the mean of four is known to 0.5 %.
    assert np.mean(found) == pytest.approx(1e4, rel=0.02)


def test_scaled_counts_give_a_scaled_difference(pair, stars):
    image, variance, reference, psfs = pair(reference_fwhm=2.6)
    one = run((image, variance, reference, psfs), stars)
    scaled_image = replace(image, data=4 * image.data)
    scaled = (4 * reference[0], 16 * reference[1], reference[2])
    other = run((scaled_image, 16 * variance, scaled, psfs), stars)

    # In float32 sums over 1e4 pixels are good to some 1e-4 of the brightest.
    np.testing.assert_allclose(other.data / 4, one.data, rtol=0, atol=0.5)
    np.testing.assert_allclose(other.noise / 4, one.noise, rtol=1e-3)
    assert other.kernel_sum == pytest.approx(one.kernel_sum, rel=1e-3)


def test_masked_pixels_of_both_images_spoil_their_surroundings(pair, stars):
    image, variance, reference, psfs = pair(reference_fwhm=2.4)
    reference[0][59:62, 119:122] = 6e4
    reference[2][59:62, 119:122] = MASK_BITS["saturated"]
    image.mask[100, 40] = MASK_BITS["bad"]
    image.data[100, 40] = np.nan
    difference = run((image, variance, reference, psfs), stars)

    assert difference.mask[60, 120] & MASK_BITS["saturated"]
    assert difference.mask[60, 122] & MASK_BITS["saturated"]  # by the kernel
    assert not difference.usable[60, 120]
    assert difference.usable[60, 140]
    assert difference.mask[100, 40] & MASK_BITS["bad"]
    # The science exposure is not convolved: its neighbours are as good as before.
    assert difference.usable[100, 41]
    assert np.isnan(difference.data[100, 40])
    assert np.isfinite(difference.data).sum() == difference.data.size - 1
    assert difference.quality.noise_width == pytest.approx(1, abs=WIDTH_ERROR)


def test_injected_bit_of_the_science_exposure_stays(pair, stars):
    image, variance, reference, psfs = pair()
    image.mask[80:83, 90:93] = MASK_BITS["injected"]
    difference = run((image, variance, reference, psfs), stars)

    assert np.all(difference.mask[80:83, 90:93] == MASK_BITS["injected"])
    assert difference.usable[81, 91]


def test_kernel_of_degree_1_follows_a_psf_that_varies(pair, stars):
    made = pair(4.0, 2.6, tilt_x=0.15, tilt_y=-0.1)
    constant, varying = run(made, stars, degree=0), run(made, stars, degree=1)

    assert varying.quality.star_width < 1.6
    assert varying.quality.star_width < 0.8 * constant.quality.star_width
    assert varying.quality.noise_width == pytest.approx(1, abs=WIDTH_ERROR)
    # The flux does not vary, only its shape.
    assert varying.kernel_sum == pytest.approx(1, abs=KERNEL_ERROR)
    assert varying.kernel_sum_scatter < 0.03


def test_noise_of_the_reference_counts_by_the_square_of_the_kernel(pair, stars):
    image, variance, reference, psfs = pair()
    deep = (reference[0], np.zeros(SHAPE, np.float32), reference[2])
    alone = run((image, variance, deep, psfs), stars)
    both = run((image, variance, reference, psfs), stars)

    np.testing.assert_allclose(alone.noise, np.sqrt(variance), rtol=1e-5)
    # Two equal images: between once the variance, where the kernel smooths all of
    # the reference's noise away, and twice, where it is a single pixel.
    ratio = np.median(both.noise**2 / variance)
    assert 1 < ratio < 2.2


def blank(reference, good):
    mask = np.where(good, 0, MASK_BITS["edge"]).astype(np.uint8)
    return reference[0], reference[1], mask


@pytest.mark.parametrize("width", [0, 12])
def test_images_that_hardly_overlap_are_refused(pair, stars, width):
    image, variance, reference, psfs = pair()
    good = np.broadcast_to(np.arange(SHAPE[1]) < width, SHAPE)
    with pytest.raises(BadImageError, match=r"at least 2000 pixels.*hardly overlap"):
        run((image, variance, blank(reference, good), psfs), stars)


def test_half_an_overlap_is_subtracted(pair, stars):
    image, variance, reference, psfs = pair(reference_fwhm=2.6)
    good = np.broadcast_to(np.arange(SHAPE[1]) < 110, SHAPE)
    difference = run((image, variance, blank(reference, good), psfs), stars)

    assert difference.quality.noise_width == pytest.approx(1, abs=WIDTH_ERROR)
    assert not difference.usable[:, 110:].any()
    assert difference.usable[20:-20, 20:95].all()


def test_reference_without_the_stars_is_refused(pair, stars):
    image, variance, reference, psfs = pair()
    upside_down = (2 * SKY - reference[0], reference[1], reference[2])
    with pytest.raises(BadImageError, match="takes no light"):
        run((image, variance, upside_down, psfs), stars)


@pytest.mark.parametrize(
    ("width", "good"), [(0.6, False), (0.75, True), (1.0, True), (1.6, False)]
)
def test_verdict_is_by_the_noise_that_was_expected(pair, stars, width, good):
    made = run(pair(), stars)
    difference = replace(made, quality=replace(made.quality, noise_width=width))
    verdict, reason = judge(difference)

    assert verdict is good
    assert (reason == "") is good
    if not good:
        assert f"got {width:.2f}" in reason


def test_unmeasured_noise_is_no_good_difference(pair, stars):
    made = run(pair(), stars)
    difference = replace(made, quality=replace(made.quality, noise_width=np.nan))

    assert judge(difference)[0] is False


def test_variance_that_is_half_too_small_shows(pair, stars):
    image, variance, reference, psfs = pair()
    made = (image, variance / 4, (reference[0], reference[1] / 4, reference[2]), psfs)

    assert run(made, stars).quality.noise_width == pytest.approx(2, abs=2 * WIDTH_ERROR)


def test_without_a_reference_the_background_is_all_that_goes(make_image, rng):
    data = (SKY + 10 * rng.standard_normal(SHAPE)).astype(np.float32)
    data[5, 6] = np.nan
    mask = np.where(np.isnan(data), MASK_BITS["bad"], 0).astype(np.uint8)
    image = make_image(data=data, mask=mask)
    variance = np.full(SHAPE, 100.0, np.float32)
    difference = no_reference(
        image, variance, np.full(SHAPE, SKY, np.float32), true_psf(moffat(SHAPE, WIDE))
    )

    np.testing.assert_array_equal(difference.data, data - np.float32(SKY))
    assert np.all(difference.noise == 10)
    assert np.isnan(difference.reference).all()
    assert difference.quality.noise_width == pytest.approx(1, abs=0.03)
    assert judge(difference)[0] is True


def test_kernel_grows_with_what_it_has_to_do():
    sizes = [kernel_half_width(fwhm, 2.0) for fwhm in (1.5, 3.0, 6.0, 12.0)]

    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
    # A Gaussian's kernel has the FWHM sqrt(12^2 - 2^2) = 11.8, all within 1.3 of it.
    assert sizes[-1] > 1.3 * 11.8
    assert kernel_half_width(500.0, 2.0) == 40


def test_large_scale_residual_goes_and_a_source_stays(pair, stars):
    image, variance, reference, psfs = pair()
    y, _ = np.indices(SHAPE)
    ripple = 15 * np.cos(2 * np.pi * y / 320).astype(np.float32)
    bent = replace(image, data=image.data + ripple)
    difference = run((bent, variance, reference, psfs), stars)
    smooth = gaussian_filter(difference.data, 8)[20:-20, 20:-20]

    assert np.abs(smooth).max() < 4


@pytest.mark.parametrize(("science_fwhm", "reference_fwhm"), [(3.2, 2.8), (2.8, 3.2)])
def test_bright_stars_hold_the_scale_on_a_noisy_and_empty_sky(
    make_image, rng, science_fwhm, reference_fwhm
):
    # Two short exposures: ten stars, and on the rest of the field noise in both.
    few = scatter_stars(SHAPE, rng, cell=50, flux=(1e4, 1e5))
    here, there = moffat(SHAPE, science_fwhm), moffat(SHAPE, reference_fwhm)
    truth, old = (expose(psf, few, sky=1000.0) for psf in (here, there))
    image = make_image(
        data=expose(here, few, sky=1000.0, rng=rng), mask=np.zeros(SHAPE, np.uint8)
    )
    reference = (
        expose(there, few, sky=1000.0, rng=rng),
        photon_variance(old),
        np.zeros(SHAPE, np.uint8),
    )
    psfs = true_psf(here), true_psf(there)
    difference = run((image, photon_variance(truth), reference, psfs), few)

    # The noise of the reference takes some 5 % off the slope of a least-squares fit;
    # a fit that leaves out the stars' cores as outliers loses far more.
    assert difference.kernel_sum == pytest.approx(1, abs=0.1)
    assert difference.quality.noise_width == pytest.approx(1, abs=2 * WIDTH_ERROR)


def test_scatter_of_the_places_is_noise_on_the_slopes_of_stars(pair, stars):
    made = pair()
    exact, scattered = (run(made, stars, alignment_rms=rms) for rms in (0.0, 0.1))
    more = np.sqrt(scattered.noise**2 - exact.noise**2)
    slope = np.hypot(*np.gradient(exact.reference))

    np.testing.assert_allclose(more, 0.1 * slope, atol=0.02 * slope.max())
    np.testing.assert_array_equal(scattered.data, exact.data)


@pytest.mark.parametrize("method", ["kernel", "zogy"])
def test_difference_knows_its_own_psf(pair, stars, method):
    new = {"x": np.array([95.3]), "y": np.array([76.6]), "flux": np.array([6e4])}
    made = pair(2.6, 3.6, transients=new)
    difference = run(made, stars, method=method)
    model = np.zeros(SHAPE)
    optics.add_stamp(model, difference.psf(95.3, 76.6), 95.3, 76.6)
    core = model > 0.1 * model.max()
    left = difference.data - 6e4 * model

    # Where the source holds 600 adu and more a pixel, its PSF explains it to 3 %.
    assert np.abs(left[core]).max() < 0.03 * 6e4 * model.max()
    assert difference.convolved == {"kernel": "science", "zogy": "both"}[method]


def test_auto_takes_the_kernel_where_a_psf_is_wrong(pair, stars):
    image, variance, reference, psfs = pair(3.4, 2.6)
    wrong = psfs[0], true_psf(moffat(SHAPE, 4.4))
    assert (
        run((image, variance, reference, psfs), stars, method="auto").method == "zogy"
    )
    made = run((image, variance, reference, wrong), stars, method="auto")
    assert made.method == "kernel"
    # It thinks that the reference is the broader one, and still the errors of fluxes
    # are nearly those of the noise.
    proper = run((image, variance, reference, wrong), stars, method="zogy")
    assert made.noise_factor < 1.1
    assert proper.noise_factor > 2


def test_unknown_method_is_refused(pair, stars):
    with pytest.raises(
        BadParameterError, match="one of auto, zogy, kernel, got 'sfft'"
    ):
        run(pair(), stars, method="sfft")


@pytest.mark.parametrize("method", ["zogy", "kernel"])
def test_faint_light_that_nobody_modelled_widens_the_error_of_fluxes(
    pair, stars, rng, method
):
    image, variance, reference, psfs = pair()
    clean = run((image, variance, reference, psfs), stars, method=method)
    # As strong as half the noise of a pixel, and smooth over a PSF.
    light = gaussian_filter(rng.standard_normal(SHAPE), WIDE / 2.3548)
    light *= 0.5 * np.sqrt(variance.min()) / light.std()
    faint = replace(image, data=image.data + light.astype(np.float32))
    crowded = run((faint, variance, reference, psfs), stars, method=method)

    # Some 600 independent places of a PSF: the width is known to 1 / sqrt(1200).
    assert clean.noise_factor == pytest.approx(1, abs=4 * 0.03)
    # A PSF gathers light that is smooth over 4 pi s^2 = 26 pixels, and of the noise of
    # two images the root of 2: sqrt(1 + 26 * 0.25 / 2 / 2) = 1.6, since a half of it
    # is lost where the light changes within the PSF.
    assert crowded.noise_factor == pytest.approx(1.6, abs=0.3)
