import numpy as np
import pytest
from astropy.table import Table
from photutils.psf import GriddedPSFModel, ImagePSF
from star_fields import known_psf

from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_photutils import to_photutils

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
