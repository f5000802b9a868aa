"""Counts to grey levels, the same for every picture of a cutout."""

import numpy as np

from gmadet_nb.files.images import MASK_BITS, UNUSABLE

# Three values of a byte: the brightest grey, and two that are no grey.
WHITE = 253
GAP = 254  # between two pictures
NO_MEASUREMENT = 255

_SOFTENING = 3.0  # [sigma]: linear below, logarithmic above
#: Stretches by name: the brightest level, in units of what the middle third reaches.
STRETCHES = {"middle": 1.0, "faint": 0.25, "bright": 4.0}


def robust_sigma(values):
    """Return the width of ``values`` [their unit] from the median deviation.

    1.4826 times the median of the distance to the median, which is sigma for a
    Gaussian and is not moved by a source that covers less than half the pixels.
    NaN are left out; 0.0 where nothing is left.
    """
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size == 0:
        return 0.0
    return float(1.4826 * np.median(np.abs(finite - np.median(finite))))


def hide_masked(plane, mask):
    """Return a plane with NaN where it is masked, but for streaks: they are to be seen.

    Parameters
    ----------
    plane : (ny, nx) array
    mask : (ny, nx) uint8 array
        Bits of `gmadet_nb.files.images.MASK_BITS`.

    Returns
    -------
    shown : (ny, nx) array
    """
    return np.where(mask & (UNUSABLE & ~MASK_BITS["streak"]), np.nan, plane)


def stretch_triplets(pixels, stretch="middle"):
    """Turn cutouts into grey levels from 0 to `WHITE`, NaN into `NO_MEASUREMENT`.

    Science and reference share one stretch, so that a source is as bright in
    one as in the other: asinh of the counts above the plane's own median, from
    -2 sigma to the brightest pixel of both. The difference has a symmetric one
    around zero, so that middle grey is "no change". Only the middle third sets
    the upper end: a bright star beside a faint candidate must not hide it.

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Science, reference and difference [adu], NaN where not measured.
    stretch : str
        One of `STRETCHES`: "faint" shows what is faint, "bright" what is bright.

    Returns
    -------
    (n, size, size, 3) uint8 array
    """
    reach = STRETCHES[stretch]
    pixels = np.asarray(pixels, dtype=float)
    grey = np.full(pixels.shape, NO_MEASUREMENT, dtype=np.uint8)
    for cutout, levels in zip(pixels, grey, strict=True):
        sky = cutout[..., :2]
        background = np.array([_median(sky[..., plane]) for plane in range(2)])
        levels[..., :2] = _levels(sky - background, reach, symmetric=False)
        levels[..., 2] = _levels(cutout[..., 2], reach, symmetric=True)
    return grey


def _median(values):
    finite = values[np.isfinite(values)]
    return np.median(finite) if finite.size else 0.0


def _levels(values, reach, *, symmetric):
    levels = np.full(values.shape, NO_MEASUREMENT, dtype=np.uint8)
    finite = np.isfinite(values)
    if not finite.any():
        return levels
    # A plane without noise (all equal, as in a test) still gets a scale.
    sigma = robust_sigma(values) or float(np.abs(values[finite]).max()) / 6 or 1.0
    soft = np.arcsinh(values[finite] / (_SOFTENING * sigma))
    # Not below 6 sigma: an empty cutout must look like noise, not like a source.
    top = max(reach * _reach(values) / sigma, 6.0 * min(reach, 1))
    top = np.arcsinh(top / _SOFTENING)
    if symmetric:
        scaled = 0.5 + 0.5 * soft / top
    else:
        bottom = np.arcsinh(-2 / _SOFTENING)
        scaled = (soft - bottom) / (top - bottom)
    levels[finite] = np.round(WHITE * np.clip(scaled, 0, 1)).astype(np.uint8)
    return levels


def _reach(values):
    """Return the largest count, up or down, in the middle third; 0 if none is known."""
    size = len(values)
    middle = slice(size // 3, size - size // 3)
    found = np.abs(values[middle, middle])
    found = found[np.isfinite(found)]
    return float(found.max()) if found.size else 0.0
