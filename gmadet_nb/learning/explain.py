"""Which pixels a score hangs on: occlusion, through the whole model."""

import numpy as np

_EPSILON = 1e-6


def occlusion_map(predict, cutout, *, patch=5, stride=2):
    """Cover one patch after the other and see how the score falls.

    It asks the model as it is saved, with its scaling: no layer of it is named.

    Parameters
    ----------
    predict : callable
        Raw cutouts, (n, size, size, 3) [adu], to P(real), (n,).
    cutout : (size, size, 3) array
    patch : int
        Side of what is covered [pixel].
    stride : int
        Steps of the patch [pixel].

    Returns
    -------
    (size, size) float array
        How much of the logit of the score goes when a pixel is covered, a mean over the
        patches that cover it: above 0 it speaks for real, below 0 for bogus.

    Notes
    -----
    Zeiler & Fergus 2014, ECCV. A covered pixel takes the median of its plane.
    """
    cutout = np.asarray(cutout, np.float32)
    size = cutout.shape[0]
    starts = np.unique(np.append(np.arange(0, size - patch + 1, stride), size - patch))
    starts = starts[starts >= 0]
    corners = [(y, x) for y in starts for x in starts]
    covered = np.repeat(cutout[None], len(corners) + 1, axis=0)
    level = _levels(cutout)
    for one, (y, x) in zip(covered[1:], corners, strict=True):
        box = one[y : y + patch, x : x + patch]
        box[...] = np.where(np.isfinite(box), level, box)
    logit = _logit(predict(covered))
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for fall, (y, x) in zip(logit[0] - logit[1:], corners, strict=True):
        total[y : y + patch, x : x + patch] += fall
        count[y : y + patch, x : x + patch] += 1
    return total / np.maximum(count, 1)


def _levels(cutout):
    """Return the median of each plane, 0 where nothing is measured."""
    planes = np.moveaxis(cutout, -1, 0)
    return np.array(
        [np.median(p[np.isfinite(p)]) if np.isfinite(p).any() else 0 for p in planes],
        dtype=np.float32,
    )


def _logit(scores):
    scores = np.clip(np.asarray(scores, float), _EPSILON, 1 - _EPSILON)
    return np.log(scores / (1 - scores))
