"""How good a difference is: its noise in the sky, and what stars leave in it."""

from dataclasses import dataclass

import numpy as np

from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.windows import window_max

# A pixel of a star is bright where its S/N is above this.
BRIGHT_SNR = 50.0
_RESIDUAL_SIGMA = 5.0
# Noise widths between which a difference may teach.
GOOD_WIDTH = (0.7, 1.5)
# Above this share the bright stars' pixels are residuals rather than sky: undersampled
# stars of 2 pixels FWHM leave 0.2 to 0.7, well-sampled ones 0.05 to 0.2.
MAX_STAR_SHARE = 0.8
# Errors of fluxes this many times those of independent pixels are those of residuals.
MAX_NOISE_FACTOR = 4.0
# Share of the pixels that the width of the noise is measured on, at least.
_LEAST_SKY = 0.05
# Fewer bright pixels tell nothing of the match.
FEW_PIXELS = 200


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures of one difference.

    Attributes
    ----------
    noise_width : float
        Robust width of data / noise away from bright stars: 1 is right.
    star_width : float
        The same in the cores of bright stars.
    star_share : float
        Share of the pixels of these cores that are off by more than 5 sigma.
    dipole_share : float
        Share of the bright stars that leave both a positive and a negative residual.
    n_core_pixels : int
        Pixels of the cores.
    """

    noise_width: float
    star_width: float
    star_share: float
    dipole_share: float
    n_core_pixels: int


def measure_quality(data, noise, mask, matched, stars, fwhm):
    """Measure how good a difference is.

    Parameters
    ----------
    data, noise, matched : (ny, nx) arrays
        Difference, its expected noise and the matched reference [adu].
    mask : (ny, nx) uint8 array
    stars : astropy.table.Table
        ``x``, ``y`` [pixel].
    fwhm : float
        Of the difference's PSF [pixel].

    Returns
    -------
    quality : Quality
    """
    usable = (mask & UNUSABLE) == 0
    cores = matched > BRIGHT_SNR * noise
    sky = usable & ~grow(cores | ~usable, max(1, round(2 * fwhm)))
    cores &= usable
    # In a crowded field nothing is far from a star: take what is not in a core.
    for reach in (max(1, round(fwhm / 2)), 0):
        if sky.mean() < _LEAST_SKY:
            sky = usable & ~grow(cores, reach)
    sigmas = data / noise
    n_core = int(cores.sum())
    off = np.abs(sigmas[cores]) > _RESIDUAL_SIGMA
    return Quality(
        noise_width=robust_width(sigmas[sky]),
        star_width=robust_width(sigmas[cores]),
        star_share=float(off.mean()) if n_core else np.nan,
        dipole_share=_dipole_share(sigmas, cores, stars, fwhm),
        n_core_pixels=n_core,
    )


def grow(pixels, radius):
    """Return a mask with all pixels that lie in a square around one that is set.

    Parameters
    ----------
    pixels : (ny, nx) bool array
    radius : int
        Half the side of the square [pixel].

    Returns
    -------
    grown : (ny, nx) bool array
    """
    return window_max(pixels, radius)


def _dipole_share(sigmas, cores, stars, fwhm):
    """Count the stars with two pixels or more of either sign within one FWHM."""
    reach = max(1, round(fwhm))
    dipoles = []
    for x, y in zip(stars["x"], stars["y"], strict=True):
        row, column = round(float(y)), round(float(x))
        box = (
            slice(max(0, row - reach), row + reach + 1),
            slice(max(0, column - reach), column + reach + 1),
        )
        inside = cores[box]
        if not inside.any():
            continue
        values = sigmas[box][inside]
        sides = [np.count_nonzero(s * values > _RESIDUAL_SIGMA) for s in (1, -1)]
        dipoles.append(min(sides) >= 2)
    return float(np.mean(dipoles)) if dipoles else np.nan


def judge(difference):
    """Say whether a difference may teach, and why not.

    Parameters
    ----------
    difference : gmadet_nb.imaging.subtract.Difference

    Returns
    -------
    good : bool
    reason : str
        Empty where it may.
    """
    low, high = GOOD_WIDTH
    quality = difference.quality
    if not low <= quality.noise_width <= high:
        return False, (
            f"noise of the difference over the expected noise must be {low} to {high}, "
            f"got {quality.noise_width:.2f}"
        )
    if difference.noise_factor > MAX_NOISE_FACTOR:
        return False, (
            "the error of a flux may be at most "
            f"{MAX_NOISE_FACTOR:g} times that of independent pixels, got "
            f"{difference.noise_factor:.1f}: residuals of stars are all over it"
        )
    few = quality.n_core_pixels < FEW_PIXELS
    if difference.method != "none" and not few and quality.star_share > MAX_STAR_SHARE:
        return False, (
            f"of the pixels of bright stars at most {100 * MAX_STAR_SHARE:.0f}% may be "
            f"off by more than 5 sigma, got {100 * quality.star_share:.0f}%: the PSFs "
            "or the places of the stars do not match"
        )
    return True, ""
