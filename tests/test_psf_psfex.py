import shutil

import numpy as np
import pytest
from astropy.io import fits
from psfex_files import sampled, seen_moffat, write_psfex
from star_fields import expose, measure, moffat, scatter_stars, true_fwhm

from gmadet_nb.errors import BadImageError
from gmadet_nb.imaging.psf_psfex import psfex_path, read_psfex

SHAPE = (160, 270)  # (ny, nx), not square
NOISE = np.sqrt(200 / 2 + (5 / 2) ** 2)  # of the sky of `star_fields.expose` [adu]
NARROW, WIDE = 3.0, 3.6  # FWHM before the pixels [pixel]
PLACES = [(80.0, 70.0), (80.5, 20.25), (131.37, 100.81), (99.51, 149.49), (190.2, 30.7)]


def weighted(step, weights):
    """Return stamps of narrow stars, some of whose light is that of wide ones."""
    narrow, wide = sampled(NARROW, step), sampled(WIDE, step)
    stamps = [weight * (wide - narrow) for weight in weights]
    stamps[0] = stamps[0] + narrow
    return stamps


def true_stamp(psf, x, y, share):
    """Return a star at (x, y) with a share of a wide one, flux 1 in the radius."""
    offsets = np.arange(-psf.radius, psf.radius + 1)
    dx, dy = round(x) + offsets - x, (round(y) + offsets - y)[:, None]
    narrow, wide = (seen_moffat(fwhm, dx, dy) for fwhm in (NARROW, WIDE))
    within = np.hypot(dx, dy) < psf.flux_radius
    stamp = np.where(within, (1 - share) * narrow + share * wide, 0)
    return stamp / stamp.sum()


@pytest.mark.parametrize("step", [0.5, 0.65, 0.8])
@pytest.mark.parametrize(("x", "y"), PLACES)
def test_stamp_at_a_place_is_that_of_the_file(tmp_path, step, x, y):
    # PSFEx's order of the terms: 1, u, u^2, v, u v, v^2.
    weights = [0.4, 0.3, 0.5, -0.2, 0.6, -0.3]
    stamps = weighted(step, weights)
    psf = read_psfex(
        write_psfex(tmp_path / "a.psf", stamps, step=step, degree=2), SHAPE
    )

    # Pixels count from 1 there: the middle of its stars is x 135, y 80.
    u, v = (x + 1 - 135) / 120, (y + 1 - 80) / 150
    share = np.dot(weights, [1, u, u**2, v, u * v, v**2])
    truth = true_stamp(psf, x, y, share)
    # PSFEx makes some 4.7 cells of a FWHM; cubic splines over 4 are good to 0.3 %.
    np.testing.assert_allclose(psf(x, y), truth, rtol=0, atol=3e-3 * truth.max())
    assert psf(x, y).sum() == pytest.approx(1)


def test_place_in_the_file_counts_from_one(tmp_path):
    # Over 120 pixels a narrow star turns into one that is much wider.
    stamps = [sampled(3.0, 0.7), sampled(6.0, 0.7) - sampled(3.0, 0.7)]
    stamps.append(0 * stamps[0])
    path = write_psfex(tmp_path / "a.psf", stamps, step=0.7, degree=1, POLZERO1=75.0)
    psf = read_psfex(path, SHAPE)

    # At x 74, the 75th pixel, it is the narrow one; a pixel off would take a share of
    # 1/120 from the wide one, which lowers the peak by 0.6 %.
    peak = seen_moffat(3.0, 0.0, 0.0) / seen_moffat(3.0, *grid(psf)).sum()
    assert psf(74, 70).max() == pytest.approx(peak, rel=2e-3)


def grid(psf):
    at = np.arange(-psf.radius, psf.radius + 1)
    return at, at[:, None]


def test_flux_of_one_is_the_light_within_the_flux_radius(tmp_path):
    path = write_psfex(tmp_path / "a.psf", [sampled(3.0, 0.6, 41)], step=0.6, degree=0)
    psf = read_psfex(path, SHAPE)
    star, stamp = seen_moffat(3.0, *grid(psf)), psf.centered(80, 70)

    assert psf.radius == 12  # of 20 cells
    # Of a Moffat of beta 3, (1 + s^2)^-2 lies beyond s = R / alpha.
    alpha = 3.0 / 2 / np.sqrt(2 ** (1 / 3) - 1)
    inside = 1 - (1 + (psf.flux_radius / alpha) ** 2) ** -2
    # Splines that are off by 0.3 % of the peak tilt the fit by less than that.
    assert np.sum(stamp * star) / np.sum(stamp**2) == pytest.approx(inside, abs=2e-3)


@pytest.mark.parametrize("fwhm", [2.6, 3.2, 5.0])
def test_fwhm_is_that_of_the_stars_pixels_included(tmp_path, fwhm):
    path = write_psfex(tmp_path / "a.psf", [sampled(fwhm, 0.7)], step=0.7, degree=0)

    truth = true_fwhm(moffat(SHAPE, fwhm), 0, 0)
    assert read_psfex(path, SHAPE).fwhm == pytest.approx(truth, rel=0.005)


def test_degree_zero_may_stand_with_or_without_a_polynomial(tmp_path):
    stamps = [sampled(3.0, 0.7)]
    files = [
        write_psfex(
            tmp_path / f"{len(axes)}.psf", stamps, step=0.7, degree=0, axes=axes
        )
        for axes in ((), ("X_IMAGE", "Y_IMAGE"))
    ]
    bare, full = (read_psfex(path, SHAPE) for path in files)

    assert (bare.degree, bare.n_stars, bare.shape) == (0, 77, SHAPE)
    np.testing.assert_allclose(bare(120.3, 70.8), full(120.3, 70.8))


def test_beyond_its_stars_the_psf_is_that_of_their_edge(tmp_path):
    stamps = weighted(0.7, [0.5, 0.6, -0.4])
    psf = read_psfex(write_psfex(tmp_path / "a.psf", stamps, step=0.7, degree=1), SHAPE)

    # Counted from 0, its stars are from 74 to 194, and a tenth of 120 beyond.
    assert psf.field == (62.0, 206.0, 0.0, 159.0)
    np.testing.assert_allclose(psf(20, 70), psf(62, 70))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"POLNAME2": "MAG_AUTO"}, "vary with X_IMAGE and Y_IMAGE alone.*, MAG_AUTO"),
        ({"POLNAME1": "Y_IMAGE", "POLNAME2": "X_IMAGE"}, "alone, got Y_IMAGE, X_IMAGE"),
        ({"POLNGRP": 2}, r"in 2 group\(s\).*PSFVAR_GROUPS to 1,1"),
        ({"POLDEG1": 2}, "must hold 6 stamps for its degree 2 in steps above 0, got 3"),
        ({"PSF_SAMP": 0.0}, "in steps of 0.0"),
        ({"ACCEPTED": 0}, "measured on stars and hold light, got 0 stars"),
        ({"POLSCAL1": 0.0}, r"POLSCAL other than 0, got .*\[0.0, 150.0\]"),
        ({"PSF_SAMP": 0.05}, "reach 3.0 pixels or more .* got 1.5. Raise PSF_SIZE"),
    ],
)
def test_model_of_another_kind_is_refused(tmp_path, changes, message):
    stamps = weighted(0.7, [0.5, 0.6, -0.4])
    path = write_psfex(tmp_path / "a.psf", stamps, step=0.7, degree=1, **changes)
    with pytest.raises(BadImageError, match=message):
        read_psfex(path, SHAPE)


def test_models_of_several_extensions_are_refused(tmp_path):
    path = write_psfex(tmp_path / "a.psf", [sampled(3.0, 0.7)], step=0.7, degree=0)
    with fits.open(path) as hdus:
        fits.append(path, hdus[1].data, hdus[1].header)
    with pytest.raises(BadImageError, match="model of one image, got 2"):
        read_psfex(path, SHAPE)


@pytest.mark.parametrize("content", [b"no FITS at all", b""])
def test_file_that_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "a.psf").write_bytes(content)
    with pytest.raises(BadImageError, match=r"a PSF model of PSFEx \(.psf\).*'image'"):
        read_psfex(tmp_path / "a.psf", SHAPE)


def test_model_is_looked_for_under_the_exposures_name(tmp_path):
    (tmp_path / "a.psf").touch()

    assert psfex_path(tmp_path, "a") == tmp_path / "a.psf"
    assert psfex_path(str(tmp_path / "a.psf"), "any") == tmp_path / "a.psf"
    with pytest.raises(BadImageError, match=r"holds b\.psf, and '.*' has none"):
        psfex_path(tmp_path, "b")


@pytest.mark.parametrize("degree", [0, 2])
def test_psfex_itself_is_read(tmp_path, make_image, degree):
    if not (shutil.which("psfex") and shutil.which("source-extractor")):
        pytest.skip("psfex and source-extractor are not installed")
    from benchmarks.rivals import fit_psfex

    shape, draw = (400, 500), np.random.default_rng(1)
    truth = moffat(shape, 3.2, tilt_x=0.05 if degree else 0.0)
    data = expose(truth, scatter_stars(shape, draw, cell=33), rng=draw)
    image = make_image(data=data, mask=np.zeros(shape, np.uint8))
    path = tmp_path / "a.psf"
    fit_psfex(image, measure(image, NOISE)[3], degree, keep=path)
    psf = read_psfex(path, shape)

    assert psf.degree == degree
    for x, y in ((60.3, 200.2), (250.8, 60.1), (440.4, 340.7)):
        # PSFEx is good to 1 or 2 %; across these places the width grows by 8 %.
        assert psf.fwhm_at(x, y) == pytest.approx(true_fwhm(truth, x, y), rel=0.025)
        star = expose(truth, {"x": [x], "y": [y], "flux": [1.0]}, sky=0.0)
        row, column = round(y) + grid(psf)[1], round(x) + grid(psf)[0]
        stamp = psf(x, y)
        flux = np.sum(stamp * star[row, column]) / np.sum(stamp**2)
        assert flux == pytest.approx(1, abs=0.02)
