"""Convolution in tiles: no more memory than a tile's, however large the image."""

import numpy as np
from scipy import fft

_TILE = 512  # [pixel]


def convolve(plane, kernel, *, edge="zero"):
    """Convolve an image with a kernel.

    Parameters
    ----------
    plane : (ny, nx) float32 array
    kernel : (k, k) array
        k odd; its middle is the center.
    edge : str
        What lies off the image: ``zero``, or ``nearest`` for the nearest pixel.

    Returns
    -------
    convolved : (ny, nx) float32 array
    """
    return convolve_varying(plane, kernel[None], [(1.0, 1.0)], edge=edge)


def convolve_varying(plane, kernels, terms, *, edge="nearest"):
    """Convolve an image with kernels, each times a term over the field, and add up.

    Parameters
    ----------
    plane : (ny, nx) float32 array
    kernels : (n, k, k) array
    terms : list of n tuples of two
        Factors along y, (ny,), and along x, (nx,), whose product is the term; numbers
        where it is constant.
    edge : str
        See `convolve`.

    Returns
    -------
    convolved : (ny, nx) float32 array
    """
    (ny, nx), half = plane.shape, kernels.shape[-1] // 2
    side = fft.next_fast_len(min(_TILE, max(ny, nx)) + 2 * half, real=True)
    step = side - 2 * half
    passed = [_transform(kernel, side) for kernel in kernels]
    terms = [
        (np.broadcast_to(y, ny)[:, None], np.broadcast_to(x, nx)) for y, x in terms
    ]
    made = np.zeros((ny, nx), dtype=np.float32)
    for top in range(0, ny, step):
        for left in range(0, nx, step):
            light = fft.rfft2(_block(plane, top - half, left - half, side, edge))
            out = slice(top, top + step), slice(left, left + step)
            height, width = made[out].shape
            for one, (along_y, along_x) in zip(passed, terms, strict=True):
                part = fft.irfft2(light * one, s=(side, side))
                part = part[half : half + height, half : half + width]
                made[out] += part * (along_y[out[0]] * along_x[out[1]])
    return made


def _transform(kernel, side):
    """Transform a kernel whose middle goes to (0, 0)."""
    half = kernel.shape[0] // 2
    at = np.arange(-half, half + 1)
    padded = np.zeros((side, side), dtype=np.float32)
    padded[np.ix_(at, at)] = kernel
    return fft.rfft2(padded)


def _block(plane, top, left, side, edge):
    """Cut a square out; off the image it is 0, or the nearest pixel."""
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    ny, nx = plane.shape
    block = plane[np.ix_(np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1))].astype(
        np.float32
    )
    if edge == "zero":
        block[(rows < 0) | (rows >= ny)] = 0
        block[:, (columns < 0) | (columns >= nx)] = 0
    return block
