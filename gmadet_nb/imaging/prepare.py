"""What may be done to an exposure before anything is measured on it: only if asked."""

from dataclasses import replace

import numpy as np

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.photometry import fit_background, measure_noise

# Laplacian over noise of a cosmic ray, and its contrast to a star's fine structure:
# the values of van Dokkum (2001), which leave the cores of well-sampled stars alone.
_SIGMA_CLIP = 4.5
_CONTRAST = 5.0


def clean_cosmic_rays(image):
    """Find cosmic rays, fill them from their surroundings, and mark them in the mask.

    Parameters
    ----------
    image : Image

    Returns
    -------
    image : Image
        With the bit ``cosmic_ray`` in its mask: such a pixel holds no measurement.
    n_pixels : int
        Pixels that were filled.

    Raises
    ------
    BadImageError
        If astroscrappy is not installed.

    Notes
    -----
    Source: L.A.Cosmic, van Dokkum 2001, PASP 113, 1420, by astroscrappy. A star whose
    FWHM is below 2 pixels looks like a cosmic ray to it.
    """
    try:
        import astroscrappy
    except ImportError as error:
        raise BadImageError(
            "clean_cosmic_rays needs the package astroscrappy, which is not installed: "
            "pip install astroscrappy."
        ) from error
    variance = measure_noise(image).variance(image.data)
    data = np.where(image.usable, np.nan_to_num(image.data), np.nanmedian(image.data))
    hit, filled = astroscrappy.detect_cosmics(
        np.ascontiguousarray(data, dtype=np.float32),
        inmask=~image.usable,
        invar=variance,
        sigclip=_SIGMA_CLIP,
        objlim=_CONTRAST,
        gain=1.0,  # all in adu, since the variance is
        satlevel=float(min(image.saturation, np.finfo(np.float32).max)),
        cleantype="medmask",
    )
    hit &= image.usable
    mask = image.mask | np.where(hit, MASK_BITS["cosmic_ray"], 0).astype(np.uint8)
    cleaned = np.where(hit, filled, image.data).astype(np.float32)
    return replace(image, data=cleaned, mask=mask), int(hit.sum())


def subtract_background(image, *, box):
    """Take the smooth background off an exposure.

    Parameters
    ----------
    image : Image
    box : int
        Side of the boxes that the background is measured in [pixel].

    Returns
    -------
    image : Image
        Its sky is near 0; its saturation is lower by the background's median.
    """
    background, _ = fit_background(image, box=box)
    level = float(np.median(background))
    return replace(
        image,
        data=(image.data - background).astype(np.float32),
        saturation=image.saturation - level,
    )
