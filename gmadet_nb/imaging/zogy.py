"""The proper image subtraction of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27).

Science N and reference R, with PSFs P and noises s, are filtered so that stars cancel
and the noise of what is left is white, their equations 13 and 14 in units of the
science exposure:

    D = (F_r P_r N - P_n R) / sqrt(s_n^2 F_r^2 |P_r|^2 + s_r^2 |P_n|^2) / F_D

in Fourier space, F_r being the counts of a star in R over those in N.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from gmadet_nb.imaging.psf import polynomial_terms

# Side of the tiles on which the PSFs count as constant, where they vary [pixel].
_TILE = 256
_POLISH_SNR = 10.0
_POLISH_MODEL_ERROR = 0.02


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What ZOGY convolves the two images with at one place.

    Attributes
    ----------
    science, reference : (m, m // 2 + 1) complex arrays
        Transforms of the two kernels on a square of m pixels, centers at (0, 0).
    blur : (m, m // 2 + 1) array
        What the noise of the reference has been reduced to by its resampling.
    side : int
        m [pixel].
    """

    science: np.ndarray
    reference: np.ndarray
    blur: np.ndarray
    side: int

    def kernel(self, name, half):
        """Return one of the kernels around its center, (2 half + 1,) squared."""
        kernel = fft.irfft2(getattr(self, name), s=(self.side, self.side))
        at = np.arange(-half, half + 1)
        return kernel[np.ix_(at, at)]


def make_filters(psfs, place, noises, flux_ratio, blur, side):
    """Make the filters at one place.

    Parameters
    ----------
    psfs : tuple of two PSF
        Of the science exposure and of the reference on its pixels.
    place : tuple of float
        (x, y) [pixel].
    noises : tuple of float
        Standard deviations of a sky pixel in each [adu].
    flux_ratio : float
        Counts of a star in the reference over those in the science exposure.
    blur : (m, m) array
        What the noise of the reference was convolved with, when it was resampled.
    side : int
        Of the square that is transformed [pixel].

    Returns
    -------
    filters : Filters
    """
    science, reference = (_transform(psf.centered(*place), side) for psf in psfs)
    sigma_n, sigma_r = noises
    power = (sigma_n * flux_ratio * np.abs(reference)) ** 2
    correlated = np.abs(_transform(blur, side))
    power += (sigma_r * np.abs(science) * correlated) ** 2
    # Where neither passes any light there is nothing to weigh.
    root = np.sqrt(np.maximum(power, 1e-8 * power.max()))
    scale = np.hypot(sigma_n * flux_ratio, sigma_r) / flux_ratio
    return Filters(
        science=(flux_ratio * reference / root * scale).astype(np.complex64),
        reference=(science / root * scale).astype(np.complex64),
        blur=correlated.astype(np.float32),
        side=side,
    )


def _transform(stamp, side):
    """Transform a stamp whose middle goes to (0, 0)."""
    radius = stamp.shape[0] // 2
    cut = min(radius, side // 2 - 1)
    stamp = stamp[radius - cut : radius + cut + 1, radius - cut : radius + cut + 1]
    at = np.arange(-cut, cut + 1)
    padded = np.zeros((side, side))
    padded[np.ix_(at, at)] = stamp / stamp.sum()
    return fft.rfft2(padded)


def subtract_tiles(images, variances, psfs, noises, flux_ratio, blur):
    """Filter and subtract in tiles, each with the PSFs at its middle.

    Parameters
    ----------
    images, variances : tuple of two (ny, nx) float32 arrays
        Science and reference above their backgrounds [adu], finite everywhere, and
        the variances of their pixels [adu^2].
    psfs, noises, flux_ratio, blur
        See `make_filters`.

    Returns
    -------
    science, reference, variance : (ny, nx) float32 arrays
        The two filtered images [adu of the science exposure]; the variance of their
        difference [adu^2].
    """
    shape = images[0].shape
    border = int(np.ceil(4 * max(psf.fwhm for psf in psfs)))
    step = _TILE if any(psf.degree for psf in psfs) else 2 * _TILE
    side = fft.next_fast_len(step + 2 * border, real=True)
    padded = [
        np.pad(plane, ((border, side), (border, side)), mode="edge")
        for plane in (*images, *variances)
    ]
    out = [np.empty(shape, dtype=np.float32) for _ in range(3)]
    for top in range(0, shape[0], step):
        for left in range(0, shape[1], step):
            height, width = min(step, shape[0] - top), min(step, shape[1] - left)
            place = left + (width - 1) / 2, top + (height - 1) / 2
            filters = make_filters(psfs, place, noises, flux_ratio, blur, side)
            tiles = [plane[top : top + side, left : left + side] for plane in padded]
            inner = slice(border, border + height), slice(border, border + width)
            for whole, part in zip(out, _filter_tile(tiles, filters), strict=True):
                whole[top : top + height, left : left + width] = part[inner]
    return out


def _filter_tile(tiles, filters):
    square = (filters.side, filters.side)
    made, variance = [], 0
    for i, name in enumerate(("science", "reference")):
        passed = getattr(filters, name)
        made.append(fft.irfft2(fft.rfft2(tiles[i]) * passed, s=square))
        of_noise = passed if name == "science" else passed * filters.blur
        spread = fft.rfft2(fft.irfft2(of_noise, s=square) ** 2)
        variance = variance + fft.rfft2(tiles[2 + i]) * spread
    return *made, fft.irfft2(variance, s=square)


def _planes(reference):
    """Return what a wrong scale, place, width or shape of a star would leave."""
    slope_y, slope_x = np.gradient(reference)
    bend_yy, bend_xy = np.gradient(slope_y)
    bend_xx = np.gradient(slope_x, axis=1)
    return (
        *(reference, slope_x, slope_y),
        *(bend_xx + bend_yy, bend_xx - bend_yy, bend_xy),
    )


def polish(difference, reference, noise, usable):
    """Take off what a slightly wrong flux scale, place or shape of stars leaves.

    The difference is fitted, around stars, by the matched reference, its slopes and
    its second derivatives, each times a plane over the field.

    Parameters
    ----------
    difference, reference, noise : (ny, nx) float32 arrays
        [adu]
    usable : (ny, nx) bool array

    Returns
    -------
    correction : (ny, nx) float32 array
        What to take off the difference [adu].
    """
    shape = difference.shape
    at = np.flatnonzero(usable & (reference > _POLISH_SNR * noise))
    n_terms = 3  # of a plane over the field
    if len(at) < 30 * n_terms:
        return np.zeros(shape, dtype=np.float32)
    planes = _planes(reference)
    y, x = np.divmod(at, shape[1])
    terms = polynomial_terms(x, y, shape, 1)
    design = np.concatenate([terms * plane.ravel()[at] for plane in planes])
    error = np.hypot(noise.ravel()[at], _POLISH_MODEL_ERROR * reference.ravel()[at])
    values, keep = difference.ravel()[at] / error, np.ones(len(at), dtype=bool)
    design = design / error
    for _ in range(3):
        some = design[:, keep]
        normal = some @ some.T
        normal += np.eye(len(normal)) * 1e-9 * np.trace(normal)
        solution = np.linalg.solve(normal, some @ values[keep])
        left = np.abs(values - solution @ design)
        keep = left < max(5.0, 4 * np.median(left))
    if not np.median(left) < np.median(np.abs(values)):
        return np.zeros(shape, dtype=np.float32)
    parts = solution.reshape(len(planes), n_terms).astype(np.float32)
    v = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    u = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    correction = np.zeros(shape, dtype=np.float32)
    for plane, (constant, by_y, by_x) in zip(planes, parts, strict=True):
        correction += plane * ((constant + by_y * v) + by_x * u)
    return correction
