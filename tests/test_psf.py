import numpy as np
import pytest
from astropy.table import Table, vstack
from scipy.signal import fftconvolve
from star_fields import (
    expose,
    known_psf,
    measure,
    moffat,
    scatter_stars,
    true_fwhm,
)

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.photometry import fit_background
from gmadet_nb.imaging.psf import polynomial_terms, read_psf, write_psf
from gmadet_nb.imaging.psf_fit import fit_psf

SHAPE = (160, 270)  # (ny, nx), not square
NOISE = np.sqrt(200 / 2 + (5 / 2) ** 2)  # of the sky of `star_fields.expose` [adu]
PHASES = [(80.0, 70.0), (80.5, 70.25), (81.37, 70.81), (79.51, 69.49)]


@pytest.fixture
def fit(make_image, rng):
    def fit(psf, stars, *, degree=0, mask=None):
        data = expose(psf, stars, rng=rng)
        mask = np.zeros(psf.shape, np.uint8) if mask is None else mask
        return measure(make_image(data=data, mask=mask), NOISE, degree=degree)

    return fit


@pytest.fixture(scope="module", params=[(2.2, 25), (3.2, 30), (6.0, 42)])
def measured(request):
    from gmadet_nb.files.images import Image

    fwhm, cell = request.param
    draw = np.random.default_rng(7)
    truth = moffat(SHAPE, fwhm)
    image = Image(
        data=expose(truth, scatter_stars(SHAPE, draw, cell=cell), rng=draw),
        mask=np.zeros(SHAPE, np.uint8),
        gain=2.0,
        read_noise=5.0,
        saturation=60000.0,
        zero_point=25.0,
        exposure_id="stars",
    )
    return truth, measure(image, NOISE)[2]


def centroid(stamp, x, y):
    radius = len(stamp) // 2
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return round(x) + (columns * stamp).sum(), round(y) + (rows * stamp).sum()


def cut_like(psf, truth, x, y):
    star = expose(truth, {"x": [x], "y": [y], "flux": [1.0]}, sky=0.0)
    row, column = round(y), round(x)
    return star[
        row - psf.radius : row + psf.radius + 1,
        column - psf.radius : column + psf.radius + 1,
    ]


def test_fwhm_is_that_of_the_stars_pixels_included(measured):
    truth, psf = measured

    assert psf.fwhm == pytest.approx(true_fwhm(truth, 0, 0), rel=0.02)


@pytest.mark.parametrize(("x", "y"), PHASES)
def test_stamp_is_centred_on_the_source_at_every_phase(measured, x, y):
    _, psf = measured

    assert psf(x, y).sum() == pytest.approx(1)
    assert psf(x, y).shape == (2 * psf.radius + 1,) * 2
    assert centroid(psf(x, y), x, y) == pytest.approx((x, y), abs=0.02)
    assert centroid(psf.centered(x, y), 0, 0) == pytest.approx((0, 0), abs=0.02)


@pytest.mark.parametrize(("x", "y"), PHASES)
def test_flux_of_a_star_is_its_light_within_the_flux_radius(measured, x, y):
    truth, psf = measured
    stamp = psf(x, y)
    flux = np.sum(stamp * cut_like(psf, truth, x, y)) / np.sum(stamp**2)

    # Of a Moffat of beta 3, (1 + s^2)^-2 lies beyond s = R / alpha.
    inside = 1 - (1 + (psf.flux_radius / truth.at(x, y)[0]) ** 2) ** -2
    assert inside > 0.99
    # Some 30 stars whose pixels are believed to 1 %, and wings whose level is known
    # to a fifth of the sky's sigma: 100 to 1000 pixels of 2 adu in 2e4 to 2e5 adu.
    assert flux == pytest.approx(inside, rel=0.01)


@pytest.mark.parametrize(("x", "y"), PHASES)
def test_star_leaves_little_behind_its_stamp(measured, x, y):
    truth, psf = measured
    star, stamp = cut_like(psf, truth, x, y), psf(x, y)
    left = star - stamp * np.sum(stamp * star) / np.sum(stamp**2)

    # Half of this would be the peak's error of a FWHM that is wrong by 2 %.
    assert np.abs(left).max() < 0.04 * star.max()


def test_variation_over_the_field_is_recovered_with_x_and_y_apart(fit, rng):
    truth = moffat(SHAPE, 3.2, tilt_x=0.12, tilt_y=-0.04)
    _, _, psf, stars = fit(truth, scatter_stars(SHAPE, rng, cell=27), degree=1)

    # A width that is a straight line in x needs stamps of a higher degree.
    assert 1 <= psf.degree <= 3
    assert psf.n_stars == len(stars) > 18
    # 2 % as in a constant field, and the second order that straight lines in x lack:
    # 0.12 squared.
    for x, y in ((30, 80), (240, 80), (135, 30), (135, 130), (240, 130)):
        assert psf.fwhm_at(x, y) == pytest.approx(true_fwhm(truth, x, y), rel=0.035)
    # From x = 30 to 240 the width grows by 0.12 * 2 * 210 / 270 = 19 %.
    assert psf.fwhm_at(240, 80) / psf.fwhm_at(30, 80) == pytest.approx(1.19, abs=0.04)
    assert psf.fwhm_at(135, 130) < psf.fwhm_at(135, 30)
    assert centroid(psf(240.3, 130.4), 240.3, 130.4) == pytest.approx(
        (240.3, 130.4), abs=0.03
    )


def test_elongated_stars_keep_their_direction(fit, rng):
    truth = moffat(SHAPE, 3.2, e1=0.08)  # e1 > 0: longer along x
    _, _, psf, _ = fit(truth, scatter_stars(SHAPE, rng, cell=30))
    stamp, star = psf(80, 70), cut_like(psf, truth, 80, 70)
    middle = psf.radius

    for at in ((middle, middle + 2), (middle + 2, middle)):
        assert stamp[at] / stamp.max() == pytest.approx(
            star[at] / star.max(), abs=0.015
        )
    assert stamp[middle, middle + 2] > 1.15 * stamp[middle + 2, middle]


@pytest.mark.parametrize(("n", "degree"), [(40, 2), (25, 1), (12, 0)])
def test_few_stars_lower_the_degree(make_image, rng, n, degree):
    truth = moffat(SHAPE, 3.0)
    stars = scatter_stars(SHAPE, rng, cell=25, flux=(1e5, 2e5), border=5)[:n]
    data = expose(truth, stars, rng=rng)
    image = make_image(data=data, mask=np.zeros(SHAPE, np.uint8))
    background, _ = fit_background(image)
    stars["half_light_radius"] = 1.7

    psf, kept = fit_psf(image, background, stars, degree=2)

    # 6 stars for each of the 1, 3 or 6 terms; a star or two may not be kept.
    assert len(kept) >= n - 2
    assert psf.degree == degree
    assert len(psf.coefficients) == (degree + 1) * (degree + 2) // 2


def test_psf_comes_back_from_its_file(tmp_path, fit, rng):
    truth = moffat(SHAPE, 3.0, tilt_x=0.1)
    _, _, psf, _ = fit(truth, scatter_stars(SHAPE, rng, cell=27), degree=1)
    write_psf(tmp_path / "a.fits", psf)
    back = read_psf(tmp_path / "a.fits")

    for name in ("shape", "degree", "n_stars", "signed", "flux_radius"):
        assert getattr(back, name) == getattr(psf, name)
    np.testing.assert_allclose(back(200.3, 30.8), psf(200.3, 30.8), rtol=0, atol=1e-6)
    assert back.fwhm_at(20, 140) == pytest.approx(psf.fwhm_at(20, 140), rel=1e-3)


@pytest.mark.parametrize("content", [None, b"no FITS", "image"])
def test_file_that_holds_no_psf_is_refused(tmp_path, make_image, content):
    from gmadet_nb.files.images import write_image

    path = tmp_path / "a.fits"
    if content == "image":
        write_image(path, make_image())
    elif content:
        path.write_bytes(content)
    with pytest.raises(BadInputError, match="must be a PSF written by 01_images"):
        read_psf(path)


def test_neighbours_in_the_wings_do_not_widen_the_psf(fit, rng):
    truth = moffat(SHAPE, 3.2)
    stars = scatter_stars(SHAPE, rng, cell=32)
    angle = rng.uniform(0, 2 * np.pi, len(stars))
    near = Table(
        {
            "x": stars["x"] + 2.2 * 3.2 * np.cos(angle),
            "y": stars["y"] + 2.2 * 3.2 * np.sin(angle),
            "flux": 0.08 * stars["flux"],
        }
    )
    _, _, psf, _ = fit(truth, vstack([stars, near]))
    stamp, star = psf(80, 70), cut_like(psf, truth, 80, 70)

    assert psf.fwhm == pytest.approx(true_fwhm(truth, 0, 0), rel=0.02)
    # Together the neighbours are 8 % of the light; the wings of a common profile
    # keep out all but a fifth of it.
    assert np.sum(stamp * star) / np.sum(stamp**2) == pytest.approx(1, abs=0.016)


def test_one_galaxy_among_the_stars_does_not_widen_the_psf(make_image, rng):
    truth, wide = moffat(SHAPE, 3.0), moffat(SHAPE, 5.0)
    stars = scatter_stars(SHAPE, rng, cell=30, flux=(5e4, 1e5))
    data = expose(truth, stars[1:], rng=rng)
    data += expose(wide, stars[:1], sky=0.0)
    image = make_image(data=data, mask=np.zeros(SHAPE, np.uint8))
    background, _ = fit_background(image)
    stars["half_light_radius"] = 1.7
    psf, kept = fit_psf(image, background, stars, degree=0)

    assert psf.fwhm == pytest.approx(true_fwhm(truth, 0, 0), rel=0.02)
    assert np.hypot(kept["x"] - stars["x"][0], kept["y"] - stars["y"][0]).min() > 5


def test_masked_pixels_have_no_say(fit, rng):
    truth = moffat(SHAPE, 3.2)
    stars = scatter_stars(SHAPE, rng, cell=30)
    mask = np.where(rng.uniform(size=SHAPE) < 0.01, MASK_BITS["bad"], 0)
    _, _, psf, _ = fit(truth, stars, mask=mask.astype(np.uint8))

    assert psf.fwhm == pytest.approx(true_fwhm(truth, 0, 0), rel=0.02)


@pytest.mark.parametrize("n", [0, 2])
def test_fewer_than_three_stars_are_refused(make_image, n):
    stars = Table({"x": [50.0, 90.0], "y": [50.0, 60.0], "flux": [1e4, 1e4]})[:n]
    stars["half_light_radius"] = 1.7

    with pytest.raises(BadImageError, match=rf"at least 3 stars.*got {n}"):
        fit_psf(make_image(noise=5.0), np.full((120, 160), 100.0), stars, degree=0)


def test_polynomial_takes_x_along_the_columns():
    # Terms of degree 1 are 1, v (y) and u (x), from -1 to 1 over the detector.
    np.testing.assert_allclose(polynomial_terms(0, 0, SHAPE, 1), [1, -1, -1])
    np.testing.assert_allclose(polynomial_terms(269, 0, SHAPE, 1), [1, -1, 1])
    np.testing.assert_allclose(polynomial_terms(0, 159, SHAPE, 1), [1, 1, -1])


@pytest.mark.parametrize("place", [(80.0, 60.0), (81.3, 60.4), (79.5, 58.7)])
def test_psf_of_a_convolved_image_is_the_convolved_psf(place):
    psf = known_psf((120, 160), 3.0)
    # Not symmetric, and negative in part, as the kernels of a subtraction are.
    kernel = np.array([[0.0, 0.2, 0.0], [-0.1, 0.6, 0.5], [0.0, -0.3, 0.1]])
    made = psf.filtered(lambda x, y: kernel)
    expected = fftconvolve(psf(*place), kernel, mode="same")

    assert made.signed
    # Whole pixels are whole steps of the stamps: only their rims differ.
    inner = slice(3, -3)
    assert made(*place)[inner, inner] == pytest.approx(
        (expected / expected.sum())[inner, inner], abs=1e-3 * psf(*place).max()
    )


def test_kernel_that_varies_gives_a_psf_that_varies():
    shape = (120, 160)
    psf = known_psf(shape, 3.0)

    def kernel(x, y):
        # Light goes 1 pixel to the right at the right edge, to the left at the left.
        share = 2 * x / (shape[1] - 1) - 1
        return np.array([[(1 - share) / 2, 0, (1 + share) / 2]])[[0, 0, 0]] * [
            [0],
            [1],
            [0],
        ]

    made = psf.filtered(kernel, 1)
    assert made.degree == 1
    for x, shift in ((0.0, -1.0), (79.5, 0.0), (159.0, 1.0)):
        stamp = made(x, 60.0)
        columns = np.arange(len(stamp)) - len(stamp) // 2 + round(x) - x
        # The wings that leave the stamp take some thousandths of the light with them.
        assert (stamp * columns).sum() == pytest.approx(shift, abs=0.03)


def test_psf_of_a_convolved_image_survives_its_file(tmp_path):
    made = known_psf((120, 160), 3.0).filtered(
        lambda x, y: np.array([[0, 0, 0], [-0.6, 1, 0.6], [0, 0, 0.0]])
    )
    write_psf(tmp_path / "a.fits", made)
    back = read_psf(tmp_path / "a.fits")

    assert back.signed
    assert (back(40.3, 50.2) < 0).any()
    # Single precision.
    assert back(40.3, 50.2) == pytest.approx(made(40.3, 50.2), abs=1e-6)
