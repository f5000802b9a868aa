"""Candidates on a difference image, found by a matched filter."""

import numpy as np
from astropy.nddata import overlap_slices
from scipy.spatial import cKDTree

from gmadet_nb.imaging.convolve import convolve
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.windows import window_max

# Above this S/N of the reference's pixels the residuals of a star are no noise.
_BRIGHT_SNR = 50.0


def significance(difference, psf):
    """Return the matched-filter S/N of a point source at every pixel.

    With weights w = 1 / noise^2, 0 on masked pixels, the flux of a PSF P at a
    pixel is sum(P w d) / sum(P^2 w), known to 1 / sqrt(sum(P^2 w)).

    Parameters
    ----------
    difference : Difference
    psf : PSF
        Of the science exposure; taken at the middle of the field.

    Returns
    -------
    snr : (ny, nx) float32 array
        0 where less than half of the PSF's weight is on usable pixels.
    """
    stamp = psf.centered(*_middle(difference.data.shape))[::-1, ::-1]
    usable = difference.usable
    enough = convolve(usable, stamp**2) > 0.5 * np.sum(stamp**2)
    weight = np.where(usable, 1 / difference.noise**2, 0).astype(np.float32)
    scale = np.median(weight[weight > 0]) if (weight > 0).any() else np.float32(1)
    weight /= scale
    norm = np.where(enough, convolve(weight, stamp**2), 1)
    weight *= np.nan_to_num(difference.data)
    snr = convolve(weight, stamp)
    snr *= enough
    snr *= np.sqrt(scale) / np.sqrt(norm, out=norm)
    return snr


def measure_noise_factor(snr, difference):
    """Measure how much wider than 1 the significance image of the sky is.

    The pixels of a difference may each have the noise expected of them and still
    not be independent; a flux, a sum over pixels, then has a larger error.

    Parameters
    ----------
    snr : (ny, nx) array
        From `significance`.
    difference : Difference

    Returns
    -------
    factor : float
        1 at least; robust width of ``snr`` away from the cores of bright stars.
    """
    sky = difference.usable & (snr != 0)
    sky &= ~(difference.reference > _BRIGHT_SNR * difference.noise)
    return max(1.0, robust_width(snr[sky])) if sky.any() else 1.0


def _middle(shape):
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2


def find_candidates(snr, *, detection_threshold, fwhm):
    """Return the places of the positive peaks of a significance image.

    Parameters
    ----------
    snr : (ny, nx) array
    detection_threshold : float
        [sigma]
    fwhm : float
        Peaks nearer than this to a higher one are left out [pixel].

    Returns
    -------
    x, y : (n,) int arrays
        [pixel], in order of falling S/N.
    """
    highest = window_max(snr, max(1, round(fwhm / 2)))
    y, x = np.nonzero((snr >= detection_threshold) & (snr == highest))
    order = np.lexsort((x, y, -snr[y, x]))
    y, x = y[order], x[order]
    if len(x) < 2:
        return x, y
    # Highest first: each takes its surroundings.
    tree = cKDTree(np.column_stack([x, y]))
    free = np.ones(len(x), dtype=bool)
    for i, near in enumerate(tree.query_ball_point(tree.data, fwhm)):
        if free[i]:
            free[[j for j in near if j > i]] = False
    return x[free], y[free]


def true_snr(difference, psf, x, y, flux):
    """Return the S/N that a source of known flux has on a difference.

    Parameters
    ----------
    difference : Difference
    psf : PSF
    x, y : float
        True position [pixel].
    flux : float
        True flux [adu].

    Returns
    -------
    snr : float
        Of a matched filter in the noise under the source. The noise image was made
        with the source in it, so that its own photons are counted.
    usable : bool
        Whether no pixel within one FWHM is masked, or off the image.
    """
    column, row = round(x), round(y)
    ny, nx = difference.data.shape
    if not (0 <= row < ny and 0 <= column < nx):
        return np.nan, False
    on_image, on_stamp = overlap_slices(
        (ny, nx), (2 * psf.radius + 1,) * 2, (row, column)
    )
    noise = difference.noise[on_image].astype(float)
    good = difference.usable[on_image]
    model = psf(x, y)[on_stamp]
    norm = np.sum(np.where(good, model**2 / noise**2, 0))
    fwhm = psf.fwhm_at(x, y)
    stamp_y, stamp_x = np.mgrid[on_image]
    inner = np.hypot(stamp_x - x, stamp_y - y) <= fwhm
    inside = fwhm <= x <= nx - 1 - fwhm and fwhm <= y <= ny - 1 - fwhm
    return float(flux * np.sqrt(norm) / difference.noise_factor), bool(
        good[inner].all() and inside
    )
