"""Other views of a cutout that leave its physics as it is."""

import numpy as np


def augment(pixels, *, rng, max_shift=0):
    """Turn, mirror and shift each cutout at random.

    Parameters
    ----------
    pixels : (n, size, size, planes) array
        Scaled cutouts, 0 where nothing is measured; not changed.
    rng : numpy.random.Generator
        Draws one of 8 equally likely views and one shift for each.
    max_shift : int
        Furthest shift along each axis [pixel], by whole pixels: what moves out is
        lost, what comes in is 0.

    Returns
    -------
    (n, size, size, planes) array
        The same values at other places: noise and fluxes stay as they are.
    """
    view = rng.integers(8, size=len(pixels))
    turned = np.empty_like(pixels)
    for i in range(8):
        some = np.rot90(pixels[view == i], k=i % 4, axes=(1, 2))
        turned[view == i] = some[:, :, ::-1] if i >= 4 else some
    return _shift(turned, max_shift, rng=rng) if max_shift else turned


def _shift(pixels, reach, *, rng):
    """Shift each by at most ``reach`` pixels along each axis."""
    margin = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded, shifted = np.pad(pixels, margin), np.empty_like(pixels)
    size = pixels.shape[1]
    for i, (row, column) in enumerate(
        rng.integers(2 * reach + 1, size=(len(pixels), 2))
    ):
        shifted[i] = padded[i, row : row + size, column : column + size]
    return shifted
