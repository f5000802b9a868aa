from dataclasses import replace

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


def on_pixels(model, psf, x, y):
    rows, columns = np.indices(psf(x, y).shape)
    model.flux, model.x_0, model.y_0 = 1.0, x, y
    return model(columns + round(x) - psf.radius, rows + round(y) - psf.radius)


@pytest.mark.parametrize(("x", "y"), [(60.0, 70.0), (60.3, 70.45), (60.5, 70.5)])
def test_photutils_sees_the_same_constant_psf(x, y):
    psf = known_psf(SHAPE, 3.0)
    model = to_photutils(psf)

    assert isinstance(model, ImagePSF)
    # Both are cubic splines of the same stamp; ours brings each phase to flux 1.
    values = on_pixels(model, psf, x, y)
    assert values == pytest.approx(psf(x, y), abs=5e-4 * psf(x, y).max())
    assert values.sum() == pytest.approx(1.0, rel=5e-4)


@pytest.mark.parametrize(("x", "y"), [(10.0, 20.0), (130.3, 77.2), (240.6, 180.4)])
def test_photutils_follows_a_psf_that_varies(varying, x, y):
    model = to_photutils(varying)

    assert isinstance(model, GriddedPSFModel)
    # What is linear between places is exact for a PSF that varies linearly.
    values = on_pixels(model, varying, x, y)
    assert values == pytest.approx(varying(x, y), abs=5e-4 * varying(x, y).max())


def test_photutils_follows_a_curved_psf_and_stops_at_its_field(varying):
    base, _, slope = varying.coefficients
    none = 0 * base
    # 1, y, y^2, x, x y, x^2: wider toward the left and right edges.
    curved = replace(
        varying,
        coefficients=np.array([base, none, none, none, none, slope]),
        degree=2,
        field=(40.0, 220.0, 0.0, 199.0),
    )
    model = to_photutils(curved)

    # Nine places over 180 of 259 pixels: steps of 0.17 in u, of which an eighth of the
    # square times twice the slope of 0.12 of the peak is 0.001 of it.
    for x in (10.0, 51.3, 96.6, 140.2, 208.7, 250.0):
        assert on_pixels(model, curved, x, 90.4) == pytest.approx(
            curved(x, 90.4), abs=2e-3 * curved(x, 90.4).max()
        )


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

    # No noise: only the 0.05 % by which the models differ.
    assert np.asarray(found["flux_fit"]) == pytest.approx([1000, 5000], rel=1e-3)
    assert np.asarray(found["x_fit"]) == pytest.approx([60.3, 200.7], abs=1e-3)
    assert np.asarray(found["y_fit"]) == pytest.approx([70.8, 120.2], abs=1e-3)
