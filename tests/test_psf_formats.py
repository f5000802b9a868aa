import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from photutils.psf import GriddedPSFModel, ImagePSF
from psfex_files import gauss, write_psfex
from star_fields import expose, known_psf, moffat, scatter_stars, true_fwhm

from gmadet_nb.errors import BadImageError
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_photutils import to_photutils
from gmadet_nb.imaging.psf_psfex import read_psfex

SHAPE = (200, 260)  # (ny, nx), not square


@pytest.fixture
def varying():
    """Return a PSF that is broader on the right, and rounder at the bottom."""
    wide = known_psf(SHAPE, 3.4).coefficients[0]
    narrow = known_psf(SHAPE, 3.0).coefficients[0]
    side = min(len(wide), len(narrow))
    wide, narrow = (
        one[
            (len(one) - side) // 2 : (len(one) + side) // 2,
            (len(one) - side) // 2 : (len(one) + side) // 2,
        ]
        for one in (wide, narrow)
    )
    # 1, y, x in the order of the package's own terms.
    terms = [(wide + narrow) / 2, 0 * wide, (wide - narrow) / 2]
    return PSF(
        coefficients=np.array(terms), oversampling=3, degree=1, shape=SHAPE, n_stars=9
    )


def test_psfex_model_has_its_width_and_flux_where_it_says(tmp_path):
    # Wider by a fifth from the left edge to the right: sigma 1.5 +- 0.15 at the edges.
    base, slope = gauss(1.5), (gauss(1.65) - gauss(1.35))
    path = write_psfex(
        tmp_path / "a.psf", SHAPE, np.array([base, slope, 0 * base]), degree=1
    )
    psf = read_psfex(path, SHAPE)

    assert (psf.degree, psf.n_stars, psf.shape) == (1, 50, SHAPE)
    for x, sigma in ((0.0, 1.35), (129.5, 1.5), (259.0, 1.65)):
        assert psf(x, 100.3).sum() == pytest.approx(1)
        # Halfway between two Gaussians is nearly the one of the width between; and
        # PSFEx's steps are read by cubic splines.
        assert psf.fwhm_at(x, 99.5) == pytest.approx(2.3548 * sigma, rel=0.015)


def test_psfex_model_without_variation_is_constant(tmp_path):
    path = write_psfex(tmp_path / "a.psf", SHAPE, gauss(1.5)[None], degree=0, axes=())
    psf = read_psfex(path, SHAPE)

    assert psf.degree == 0
    y, x = np.indices(psf(40.3, 50.8).shape) - psf.radius
    # The light's center is where the source is, to the rounding of a cubic spline.
    stamp = psf(40.3, 50.8)
    assert (stamp * x).sum() == pytest.approx(0.3, abs=2e-3)
    assert (stamp * y).sum() == pytest.approx(-0.2, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"POLNAME1": "MAG_AUTO"}, "vary with X_IMAGE and Y_IMAGE alone, got MAG_AUTO"),
        ({"POLDEG1": 2}, "must hold 6 stamps for its degree 2 in steps above 0, got 3"),
        ({"PSF_SAMP": 0.0}, "in steps of 0.0"),
    ],
)
def test_psfex_model_of_another_kind_is_refused(tmp_path, change, message):
    stamps = np.array([gauss(1.5)] * 3)
    path = write_psfex(tmp_path / "a.psf", SHAPE, stamps, degree=1, **change)
    with pytest.raises(BadImageError, match=message):
        read_psfex(path, SHAPE)


def test_file_that_is_no_psfex_model_is_refused(tmp_path):
    path = tmp_path / "a.psf"
    path.write_text("no FITS at all")
    with pytest.raises(BadImageError, match=r"must be a PSF model of PSFEx \(.psf\)"):
        read_psfex(path, SHAPE)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path, overwrite=True)
    with pytest.raises(BadImageError, match="set psf_source to 'image'"):
        read_psfex(path, SHAPE)


def test_psfex_itself_is_read(tmp_path, make_image, rng):
    if not (shutil.which("psfex") and shutil.which("source-extractor")):
        pytest.skip("psfex and source-extractor are not installed")
    from benchmarks.rivals import fit_psfex

    shape = (500, 500)
    optics = moffat(shape, 3.0)
    stars = scatter_stars(shape, rng, cell=50)
    image = make_image(data=expose(optics, stars, rng=rng), mask=np.zeros(shape, "u1"))
    path = tmp_path / "a.psf"
    fit_psfex(image, stars, 1, keep=path)
    psf = read_psfex(path, shape)

    # PSFEx's own error of some 0.05 pixel, as `make bench` prints it.
    assert psf.fwhm_at(250, 250) == pytest.approx(true_fwhm(optics, 250, 250), abs=0.15)


def test_photutils_sees_the_same_constant_psf():
    psf = known_psf(SHAPE, 3.0)
    model = to_photutils(psf)

    assert isinstance(model, ImagePSF)
    for x, y in ((60.0, 70.0), (60.3, 70.45)):
        stamp = psf(x, y)
        rows, columns = np.indices(stamp.shape)
        model.flux, model.x_0, model.y_0 = 2.0, x, y
        values = model(columns + round(x) - psf.radius, rows + round(y) - psf.radius)
        # Both are cubic splines of the same stamp.
        assert values == pytest.approx(2 * stamp, abs=2e-3 * stamp.max())
        assert values.sum() == pytest.approx(2.0, rel=2e-3)


def test_photutils_follows_a_psf_that_varies(varying):
    model = to_photutils(varying)

    assert isinstance(model, GriddedPSFModel)
    for x, y in ((10.0, 20.0), (130.3, 77.2), (240.6, 180.4)):
        stamp = varying(x, y)
        rows, columns = np.indices(stamp.shape)
        model.flux, model.x_0, model.y_0 = 1.0, x, y
        values = model(
            columns + round(x) - varying.radius, rows + round(y) - varying.radius
        )
        # Linear between 5 x 5 places: exact for a PSF that varies linearly.
        assert values == pytest.approx(stamp, abs=3e-3 * stamp.max())


def test_flux_that_photutils_fits_is_that_of_the_source(varying):
    from photutils.psf import PSFPhotometry

    data = np.zeros(SHAPE)
    for x, y, flux in ((60.3, 70.8, 1000.0), (200.7, 120.2, 5000.0)):
        radius = varying.radius
        row, column = round(y), round(x)
        data[
            row - radius : row + radius + 1, column - radius : column + radius + 1
        ] += flux * varying(x, y)
    start = Table({"x": [60.0, 201.0], "y": [71.0, 120.0]})
    fit = PSFPhotometry(to_photutils(varying), (11, 11), aperture_radius=5)
    found = fit(data, init_params=start)

    assert np.asarray(found["flux_fit"]) == pytest.approx([1000, 5000], rel=5e-3)
    assert np.asarray(found["x_fit"]) == pytest.approx([60.3, 200.7], abs=5e-3)
    assert np.asarray(found["y_fit"]) == pytest.approx([70.8, 120.2], abs=5e-3)
