"""A `PSF` as a model of photutils, for whoever measures with that package."""

import numpy as np
from astropy.nddata import NDData
from photutils.psf import GriddedPSFModel, ImagePSF

_GRID = 5  # places along an axis


def to_photutils(psf):
    """Turn a PSF into photutils' own model.

    photutils interpolates a PSF that varies between stamps at fixed places, linearly;
    the grid of 5 x 5 follows a polynomial of degree 2 to some 0.1 % of its peak.

    Parameters
    ----------
    psf : PSF

    Returns
    -------
    model : photutils.psf.ImagePSF or photutils.psf.GriddedPSFModel
        The first where the PSF is constant over the field. ``flux`` is 1 within
        ``psf.flux_radius``; ``x_0`` and ``y_0`` are pixels, 0-based.
    """
    step = psf.oversampling
    if psf.degree == 0:
        return ImagePSF(psf.oversampled(0, 0), oversampling=step)
    ny, nx = psf.shape
    places = [
        (x, y)
        for y in np.linspace(0, ny - 1, _GRID)
        for x in np.linspace(0, nx - 1, _GRID)
    ]
    stamps = np.array([psf.oversampled(*place) for place in places])
    about = {"grid_xypos": places, "oversampling": step}
    return GriddedPSFModel(NDData(stamps, meta=about))
