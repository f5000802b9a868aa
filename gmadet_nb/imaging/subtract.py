"""The reference off the science exposure, by one of two methods.

``zogy`` filters both images by each other's PSF; ``kernel`` fits the kernel between
them around the stars. Either way the difference is in counts of the science exposure,
its noise is white where the noise of both images is, and it knows its own PSF.
"""

from dataclasses import dataclass, replace

import numpy as np
import sep

from gmadet_nb.errors import BadImageError, BadParameterError
from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging import zogy
from gmadet_nb.imaging.detect import measure_noise_factor, significance
from gmadet_nb.imaging.kernel_match import match_by_kernel
from gmadet_nb.imaging.pair import Made, Pair, flux_ratio, join_masks
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.quality import FEW_PIXELS, Quality, measure_quality
from gmadet_nb.imaging.saturated import mask_halos

METHODS = ("auto", "zogy", "kernel")
# Side of the square that ZOGY's kernels are made on [pixel].
_KERNEL_SIDE = 128
# `auto` takes what ZOGY makes, unless the noise or the stars say that a PSF is wrong.
_ZOGY_WIDTH = (0.95, 1.06)
_ZOGY_STAR_SHARE = 0.10
_ZOGY_NOISE_FACTOR = 1.3
_CLEARLY = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference image and what went into it, on the science exposure's pixels.

    Attributes
    ----------
    data : (ny, nx) float32 array
        Science minus matched reference minus background [adu].
    noise : (ny, nx) float32 array
        Expected standard deviation of each pixel [adu].
    mask : (ny, nx) uint8 array
        Bits of `gmadet_nb.files.images.MASK_BITS`, of both images.
    reference : (ny, nx) float32 array
        The matched reference, its background near 0 [adu].
    psf : PSF
        Of a point source on the difference: flux 1 is a flux of 1 adu in the science
        exposure.
    quality : Quality
    method : str
        ``zogy``, ``kernel`` or ``none``.
    convolved : str
        Which image was filtered: ``reference``, ``science``, ``both`` or ``none``.
    n_stars : int
        Stars that decided how the images were matched.
    kernel_sum : float
        Flux of a star in the science exposure over that in the reference.
    kernel_sum_scatter : float
        Its standard deviation over the field.
    noise_factor : float
        How much larger than that of independent pixels the error of a flux is: what
        is left of faint stars is no white noise. See `gmadet_nb.imaging.detect`.
    """

    data: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    reference: np.ndarray
    psf: PSF
    quality: Quality
    method: str
    convolved: str
    n_stars: int
    kernel_sum: float
    kernel_sum_scatter: float
    noise_factor: float = 1.0

    @property
    def usable(self):
        """(ny, nx) bool array: True where a pixel may be used."""
        return (self.mask & UNUSABLE) == 0


def subtract(science, variance, reference, *, psf, stars, method, degree):
    """Subtract a reference from a science exposure.

    Parameters
    ----------
    science : Image
    variance : (ny, nx) array
        Of the science exposure's pixels [adu^2].
    reference : gmadet_nb.sky.references.Reference
        On the science exposure's pixels; with its PSF, but for ``kernel``.
    psf : PSF
        Of the science exposure.
    stars : astropy.table.Table
        ``x``, ``y`` [pixel] and ``flux`` of the science exposure's stars.
    method : str
        ``zogy``, ``kernel``, or ``auto``: ZOGY where its noise and its stars come out
        as they should, else the better of the two.
    degree : int
        Of the kernel's variation over the field.

    Returns
    -------
    difference : Difference

    Raises
    ------
    BadParameterError
        If there is no such method.
    BadImageError
        If too few pixels are usable in both, or the kernel takes no light.
    """
    if method not in METHODS:
        raise BadParameterError(
            f"method must be one of {', '.join(METHODS)}, got {method!r}."
        )
    pair = Pair(science, variance, reference, psf, stars)
    if method == "kernel":
        return _finish(pair, match_by_kernel(pair, degree))
    if reference.psf is None:
        if method == "auto":
            return _finish(pair, match_by_kernel(pair, degree))
        raise BadImageError(
            "zogy must have the PSF of the reference, and there are too few stars to "
            "measure it on. Set subtraction to 'kernel'."
        )
    proper = _finish(pair, _by_zogy(pair))
    if method == "zogy" or _is_fine(proper):
        return proper
    try:
        matched = _finish(pair, match_by_kernel(pair, degree))
    except BadImageError:
        return proper
    # The figures of stars scatter, and a kernel in a night of ZOGY leaves residuals of
    # its own kind, of which a classifier has seen few.
    margin = _CLEARLY if _noise_is_fine(proper) else 0.0
    return matched if _fault(matched) < _fault(proper) - margin else proper


def _is_fine(difference):
    # NaN: no bright star.
    stars_vanish = not difference.quality.star_share > _ZOGY_STAR_SHARE
    return stars_vanish and _noise_is_fine(difference)


def _noise_is_fine(difference):
    low, high = _ZOGY_WIDTH
    faint_stars_vanish = difference.noise_factor <= _ZOGY_NOISE_FACTOR
    return low <= difference.quality.noise_width <= high and faint_stars_vanish


def _fault(difference):
    """Say how far a difference is from noise alone."""
    quality = difference.quality
    of_sky = abs(np.log(quality.noise_width)) + np.log(difference.noise_factor)
    if not np.isfinite(of_sky):  # no sky to tell by
        return np.inf
    return of_sky + (quality.star_share if quality.n_core_pixels >= FEW_PIXELS else 0)


def no_reference(science, variance, background, psf):
    """Return a `Difference` from nothing: the exposure less its background."""
    data = (science.data - background).astype(np.float32)
    noise = np.sqrt(variance).astype(np.float32)
    sky = science.usable & (data < 3 * noise)
    return Difference(
        data=data,
        noise=noise,
        mask=science.mask,
        reference=np.full(data.shape, np.nan, dtype=np.float32),
        psf=psf,
        quality=Quality(
            noise_width=robust_width((data / noise)[sky]),
            star_width=np.nan,
            star_share=np.nan,
            dipole_share=np.nan,
            n_core_pixels=0,
        ),
        method="none",
        convolved="none",
        n_stars=0,
        kernel_sum=np.nan,
        kernel_sum_scatter=np.nan,
    )


def _by_zogy(pair):
    """Subtract by ZOGY, then mend the flux scale and the place of the reference."""
    ratio = flux_ratio(pair)
    psfs = pair.psf, pair.reference_psf
    science, matched, noise2 = zogy.subtract_tiles(
        pair.filled(), pair.variance, psfs, pair.noise, ratio, pair.blur
    )
    noise = np.sqrt(np.clip(noise2, 1e-12, None), out=noise2)

    def filters(x, y):
        return zogy.make_filters(
            psfs, (x, y), pair.noise, ratio, pair.blur, _KERNEL_SIDE
        )

    half = min(pair.psf.radius, _KERNEL_SIDE // 2 - 1)
    middle = filters(*_middle(matched.shape))
    mask = join_masks(
        pair.masks, (middle.kernel("science", half), middle.kernel("reference", half))
    )
    data = science
    data -= matched
    data -= zogy.polish(data, matched, noise, (mask & UNUSABLE) == 0)
    return Made(
        data=data,
        noise=noise,
        mask=mask,
        matched=matched,
        psf=pair.psf.filtered(
            lambda x, y: filters(x, y).kernel("science", half), pair.psf.degree
        ),
        method="zogy",
        convolved="both",
        n_stars=len(pair.stars),
        sums=np.array([1 / ratio]),
    )


def _finish(pair, made):
    """Add the noise of the places, take off the background, measure the quality."""
    data, noise, matched = made.data, made.noise, made.matched
    if pair.registration > 0:
        # Zackay et al. (2016), section 3.3: a star that is off by s leaves s times its
        # slope.
        slope_y, slope_x = np.gradient(matched)
        noise = np.sqrt(noise**2 + pair.registration**2 * (slope_x**2 + slope_y**2))
    data = data - _smooth_residual(data, noise, made.mask, pair.psf.fwhm)
    reach = pair.psf.radius + round(3 * pair.psf.fwhm)
    mask = mask_halos(data / noise, made.mask, pair.saturated, reach)
    quality = measure_quality(data, noise, mask, matched, pair.stars, pair.psf.fwhm)
    data[~np.isfinite(pair.image.data)] = np.nan
    difference = Difference(
        data=data,
        noise=noise,
        mask=mask,
        reference=matched,
        psf=made.psf,
        quality=quality,
        method=made.method,
        convolved=made.convolved,
        n_stars=made.n_stars,
        kernel_sum=float(np.mean(made.sums)),
        kernel_sum_scatter=float(np.std(made.sums)),
    )
    snr = significance(difference, difference.psf)
    return replace(difference, noise_factor=measure_noise_factor(snr, difference))


def _middle(shape):
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2


def _smooth_residual(data, noise, mask, fwhm):
    """Fit what is left of the background on scales far above the PSF."""
    bad = ((mask & UNUSABLE) > 0) | (np.abs(data) > 5 * noise)
    box = int(min(max(64, 10 * fwhm), *data.shape))
    if bad.mean() > 0.9:
        return np.zeros_like(data)
    clean = np.ascontiguousarray(np.where(bad, 0, data), dtype=np.float32)
    return sep.Background(clean, mask=bad, bw=box, bh=box, fw=3, fh=3).back()
