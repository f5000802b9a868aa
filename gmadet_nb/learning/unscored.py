"""Cutouts that nothing can judge, and why: no score comes from what is not there."""

import numpy as np

NOTHING = "nothing measured"
CORE = "core not measured"
CONSTANT = "constant difference"
CORE_SIDE = 5  # [pixel] about the candidate: what sources of an FWHM of 2 or more fill
# A point is a flux, an x and a y: only a fourth pixel tells it from anything else.
MIN_IN_CORE = 4


def why_unscored(difference):
    """Say why differences cannot be judged.

    Judged are those of more than one value, of which 4 pixels or more of the 5 x 5
    around the candidate are finite: a candidate on the corner of an image still has 9.

    Parameters
    ----------
    difference : (n, size, size) array
        Of the cutouts [adu]; NaN where nothing is measured.

    Returns
    -------
    (n,) str array
        "" where a cutout can be judged; else `NOTHING`: no pixel is finite; `CORE`:
        too few are in the middle; `CONSTANT`: all that are finite have one value.
    """
    n, size = difference.shape[:2]
    first = max(size // 2 - CORE_SIDE // 2, 0)
    core = slice(first, size // 2 + CORE_SIDE // 2 + 1)
    # One plane alone, its pixels together: twice as fast as all three between them.
    pixels = np.ascontiguousarray(difference).reshape(n, size * size)
    finite = np.isfinite(pixels)
    in_core = finite.reshape(n, size, size)[:, core, core].sum(axis=(1, 2))
    level = pixels[np.arange(n), finite.argmax(axis=1)]
    varied = (finite & (pixels != level[:, None])).any(axis=1)
    conditions = [~finite.any(axis=1), in_core < MIN_IN_CORE, ~varied]
    return np.select(conditions, [NOTHING, CORE, CONSTANT], default="")


def count_unscored(reasons):
    """Count the reasons for no score: a dict, reason -> n, those that occur."""
    names, counts = np.unique(np.asarray(reasons).astype(str), return_counts=True)
    return {str(k): int(n) for k, n in zip(names, counts, strict=True) if k}
