"""A subtraction by the kernel between two images, its noise made white.

The sharper image is convolved: the reference as a rule, else the science exposure,
whose difference is then brought back to the science exposure's counts.
"""

import numpy as np
from scipy import fft
from scipy.signal import oaconvolve

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging.convolve import convolve
from gmadet_nb.imaging.kernel import KernelFit
from gmadet_nb.imaging.pair import Made, join_masks

# The science exposure is convolved where it is sharper by this ratio of widths.
_SHARPER = 1.03
# A filter that makes the noise white is left out where it would do next to nothing,
# and amplifies no scale by more than this.
_FLAT_ENOUGH, _MOST_GAIN = 1.1, 4.0
_WHITEN_SIDE = 128


def match_by_kernel(pair, degree):
    """Subtract by a kernel that is fitted to the sharper of the two images.

    Parameters
    ----------
    pair : gmadet_nb.imaging.pair.Pair
    degree : int
        Of the kernel's variation over the field.

    Returns
    -------
    made : gmadet_nb.imaging.pair.Made

    Raises
    ------
    BadImageError
        If the kernel takes no light, or there is nothing to fit it on.
    """
    backward = pair.widths[1] > _SHARPER * pair.widths[0]
    fit, data, matched = _fit_and_match(pair, degree, backward)
    sums = fit.kernel_sums()
    x, y = (data.shape[1] - 1) / 2, (data.shape[0] - 1) / 2
    kernel, one = fit.kernel_at(x, y), np.ones((1, 1))
    if backward:
        kernel, one, sums = kernel / sums.mean(), one / sums.mean(), 1 / sums
    kernels = (kernel, one) if backward else (one, kernel)
    of_noise = kernels[0], oaconvolve(kernels[1], pair.blur)
    whiten = _whitening(of_noise, pair.noise)
    mask = join_masks(pair.masks, tuple(oaconvolve(k, whiten) for k in kernels))
    if whiten.size > 1:
        usable = (mask & UNUSABLE) == 0
        data = convolve(np.where(usable, data, 0), whiten)
        matched = convolve(np.where(usable, matched, 0), whiten)

    def science_kernel(x, y):
        here = fit.kernel_at(x, y) if backward else one
        return oaconvolve(here / here.sum(), whiten)

    return Made(
        data=data,
        noise=_noise(pair.variance, [oaconvolve(k, whiten) for k in of_noise]),
        mask=mask,
        matched=matched,
        psf=pair.psf.filtered(science_kernel, degree if backward else 0),
        method="kernel",
        convolved="science" if backward else "reference",
        n_stars=fit.n_stars,
        sums=sums,
    )


def _fit_and_match(pair, degree, backward):
    """Return the fitted kernel, the difference and the matched reference."""
    order = (1, 0) if backward else (0, 1)
    target, source = (pair.data[i] for i in order)
    fit = KernelFit(
        target,
        pair.variance[order[0]],
        pair.masks[order[0]],
        source,
        pair.masks[order[1]],
        tuple(pair.widths[i] for i in order),
    )
    fit.solve(pair.stars, degree)
    lowest = fit.kernel_sums().min()
    if not lowest > 0:
        raise BadImageError(
            "The reference must show the science exposure's stars, and the kernel "
            f"between them takes no light (its sum is {lowest:.3g})."
        )
    # Only now: what a saturated core may have been is no measurement to fit.
    filled = pair.filled()
    target = filled[order[0]]
    matched = fit.convolve(filled[order[1]])
    level = fit.background()
    fit.release()
    if backward:
        scale = fit.sum_map()
        return fit, (matched + level - target) / scale, (target - level) / scale
    data = target - matched
    data -= level
    return fit, data, matched


def _noise(variances, kernels):
    """Return the standard deviation of each pixel of the difference."""
    noise2 = sum(
        convolve(v, kernel**2) for v, kernel in zip(variances, kernels, strict=True)
    )
    np.clip(noise2, 1e-12, None, out=noise2)
    return np.sqrt(noise2, out=noise2)


def _whitening(kernels, noises):
    """Return the filter that makes the noise of a difference white, of sum 1.

    Convolved noise has the power s_n^2 |A|^2 + s_r^2 |B|^2 in Fourier space, A and B
    being the kernels of the two images: the filter is the inverse of its root (Reiss
    & Lupton 2016, the afterburner of Rubin's pipelines).
    """
    power = 0
    for kernel, noise in zip(kernels, noises, strict=True):
        half = kernel.shape[0] // 2
        padded = np.zeros((_WHITEN_SIDE, _WHITEN_SIDE))
        at = np.arange(-half, half + 1)
        padded[np.ix_(at, at)] = kernel
        power = power + noise**2 * np.abs(fft.rfft2(padded)) ** 2
    gain = np.clip(np.sqrt(power[0, 0] / power), 1 / _MOST_GAIN, _MOST_GAIN)
    if gain.max() < _FLAT_ENOUGH * gain.min():
        return np.ones((1, 1))
    whiten = fft.fftshift(fft.irfft2(gain, s=(_WHITEN_SIDE, _WHITEN_SIDE)))
    middle, half = _WHITEN_SIDE // 2, 15
    whiten = whiten[
        middle - half : middle + half + 1, middle - half : middle + half + 1
    ]
    return whiten / whiten.sum()
