"""A `PSF` as a model of photutils, for whoever measures with that package."""

import numpy as np
from astropy.nddata import NDData
from photutils.psf import GriddedPSFModel, ImagePSF

_PLACES_PER_DEGREE = 4  # along an axis


def to_photutils(psf):
    """Turn a PSF into photutils' own model.

    photutils interpolates a PSF that varies between stamps at fixed places, linearly,
    which leaves an eighth of the step squared times the curvature: the places are the
    denser, the higher the degree, so that it is 0.1 % of the peak or so. Beyond the
    field of the stars, both stay with its edge.

    Parameters
    ----------
    psf : PSF

    Returns
    -------
    model : photutils.psf.ImagePSF or photutils.psf.GriddedPSFModel
        The first where the PSF is constant over the field. ``flux`` is 1 within
        ``psf.flux_radius``; ``x_0`` and ``y_0`` are pixels, 0-based. photutils does
        not bring the pixels of each sub-pixel place to the sum 1, as we do: at a FWHM
        of 2 pixels its fluxes depend on the place by some 0.5 %.
    """
    step = psf.oversampling
    if psf.degree == 0:
        return ImagePSF(psf.oversampled(0, 0), oversampling=step)
    ny, nx = psf.shape
    left, right, low, high = psf.field or (0, nx - 1, 0, ny - 1)
    n = _PLACES_PER_DEGREE * psf.degree + 1
    places = [
        (x, y) for y in np.linspace(low, high, n) for x in np.linspace(left, right, n)
    ]
    stamps = np.array([psf.oversampled(*place) for place in places])
    about = {"grid_xypos": places, "oversampling": step}
    return GriddedPSFModel(NDData(stamps, meta=about))
