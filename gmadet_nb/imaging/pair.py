"""Two images on the same pixels, made ready for a subtraction."""

from dataclasses import dataclass

import numpy as np
import sep

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.align import fill_holes, noise_blur
from gmadet_nb.imaging.photometry import clipped_median
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.quality import grow
from gmadet_nb.imaging.saturated import fill_saturated

# A bad pixel spoils what takes more than this share of its weight from it: one that was
# filled from its neighbours is off by little, a saturated one by more than it shows.
_SPREAD = {"bad": 0.02, "edge": 0.02, "cosmic_ray": 0.02, "saturated": 0.002}


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a method makes of a pair.

    Attributes
    ----------
    data, noise, matched : (ny, nx) float32 arrays
        Difference, standard deviation of its pixels, matched reference [adu].
    mask : (ny, nx) uint8 array
    psf : PSF
        Of the difference.
    method, convolved : str
        See `gmadet_nb.imaging.subtract.Difference`.
    n_stars : int
        Stars that decided how the images were matched.
    sums : array
        Flux of a star in the science exposure over that in the reference, at some
        places.
    """

    data: np.ndarray
    noise: np.ndarray
    matched: np.ndarray
    mask: np.ndarray
    psf: PSF
    method: str
    convolved: str
    n_stars: int
    sums: np.ndarray


class Pair:
    """Two images made ready: finite everywhere, their backgrounds off, masks apart.

    Of each pair of attributes the first is the science exposure's.

    Parameters
    ----------
    science : Image
    variance : (ny, nx) array
        Of the science exposure's pixels [adu^2].
    reference : gmadet_nb.sky.references.Reference
        On the science exposure's pixels.
    psf : PSF
        Of the science exposure.
    stars : astropy.table.Table
        ``x``, ``y`` [pixel] and ``flux`` [adu] of its stars.

    Raises
    ------
    BadImageError
        If fewer than 2000 pixels are usable in both.
    """

    def __init__(self, science, variance, reference, psf, stars):
        self.image, self.psf, self.stars = science, psf, stars
        self.reference_psf = reference.psf
        self.widths = psf.fwhm, reference.fwhm
        self.masks = science.mask, reference.mask
        self.usable = ((science.mask | reference.mask) & UNUSABLE) == 0
        if self.usable.sum() < 2000:
            raise BadImageError(
                "A subtraction must have at least 2000 pixels that are usable in both "
                f"images, got {self.usable.sum()}: they hardly overlap, or are masked."
            )
        self.data = tuple(
            _flatten(image.data, image.mask, max(self.widths))
            for image in (science, reference)
        )
        self.variance = variance, reference.variance
        # Scatter of a star's place in the mean of the images of the reference [pixel].
        self.registration = float(reference.alignment_rms / reference.n_images**0.5)
        # What interpolation did to the noise of the reference.
        self.blur = noise_blur(reference.correlation)
        self.noise = tuple(
            float(np.sqrt(np.median(v[self.usable]))) for v in self.variance
        )

    @property
    def saturated(self):
        """(ny, nx) bool array: True where either image is saturated."""
        return ((self.masks[0] | self.masks[1]) & MASK_BITS["saturated"]) > 0

    def filled(self):
        """Return the two images with the cores of saturated stars filled."""
        return tuple(
            data if psf is None else fill_saturated(data, mask, psf, noise)
            for data, mask, psf, noise in zip(
                self.data,
                self.masks,
                (self.psf, self.reference_psf),
                self.noise,
                strict=True,
            )
        )


def _flatten(data, mask, fwhm):
    """Fill the holes of an image and take its smooth background off."""
    filled = fill_holes(data)
    box = int(min(max(64, 10 * fwhm), *data.shape))
    bad = (mask & UNUSABLE) > 0
    return filled - sep.Background(filled, mask=bad, bw=box, bh=box, fw=3, fh=3).back()


def flux_ratio(pair):
    """Return the counts of a star in the reference over those in the exposure.

    Raises
    ------
    BadImageError
        If they share no star that is usable in both.
    """
    psfs = pair.psf, pair.reference_psf
    reach = int(np.ceil(1.5 * max(pair.widths)))
    stars = pair.stars[np.argsort(np.asarray(pair.stars["flux"]))[::-1][:200]]
    x, y = np.asarray(stars["x"], float), np.asarray(stars["y"], float)
    ny, nx = pair.usable.shape
    inside = (
        (x > reach + 1) & (x < nx - reach - 2) & (y > reach + 1) & (y < ny - reach - 2)
    )
    x, y = x[inside], y[inside]
    at = np.arange(-reach, reach + 1)
    rows, columns = (
        np.rint(y).astype(int)[:, None] + at,
        np.rint(x).astype(int)[:, None] + at,
    )
    box = rows[:, :, None], columns[:, None, :]
    good = pair.usable[box].all(axis=(1, 2))
    fluxes = []
    for data, psf in zip(pair.data, psfs, strict=True):
        stamps = psf.evaluate_many(x, y)
        cut = psf.radius - min(reach, psf.radius)
        stamps = stamps[:, cut : stamps.shape[1] - cut, cut : stamps.shape[1] - cut]
        trim = reach - min(reach, psf.radius)
        pixels = data[box][:, trim : 2 * reach + 1 - trim, trim : 2 * reach + 1 - trim]
        fluxes.append((pixels * stamps).sum((1, 2)) / (stamps**2).sum((1, 2)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (fluxes[1] / fluxes[0])[good & (fluxes[0] > 0)]
    ratio = clipped_median(ratio[ratio > 0])
    if not ratio > 0:
        raise BadImageError(
            "The two images must share stars that are usable in both, and none of "
            f"{len(stars)} is."
        )
    return ratio


def join_masks(masks, kernels):
    """Carry the bad pixels of both images to all that their kernels spread them to.

    Parameters
    ----------
    masks : tuple of two (ny, nx) uint8 arrays
    kernels : tuple of two (k, k) arrays
        What each image is convolved with.

    Returns
    -------
    mask : (ny, nx) uint8 array
    """
    joined = masks[0].copy()
    for mask, kernel in zip(masks, kernels, strict=True):
        weight = np.abs(kernel) / np.abs(kernel).sum()
        for name, share in _SPREAD.items():
            bad = (mask & MASK_BITS[name]) > 0
            reach = _reach(weight, share)
            if reach and bad.any():
                joined[grow(bad, reach)] |= MASK_BITS[name]
            joined[bad] |= MASK_BITS[name]
    return joined


def _reach(weight, share):
    """Return how far from its middle a kernel has more than a share of its weight."""
    y, x = np.nonzero(weight > share)
    half = weight.shape[0] // 2
    return int(max(np.abs(y - half).max(), np.abs(x - half).max())) if len(x) else 0
