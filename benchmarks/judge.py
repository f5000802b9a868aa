"""A difference held against the truth of its pair, the same way for every tool."""

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.tables import row
from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging.detect import find_candidates, significance
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.quality import grow

_THRESHOLD = 5.0
_RIM = 10  # [pixel]
_NEAR = 2.5  # [pixel] of a detection from a transient


class Made:
    """A difference as far as the matched filter needs it."""

    def __init__(self, data, noise, mask, psf, factor=1.0):
        self.data, self.noise, self.mask, self.psf = data, noise, mask, psf
        self.factor = factor
        self.usable = (mask & UNUSABLE) == 0


def judge_rows(name, made, pair):
    """Return the rows that hold a difference against the truth of its pair."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = np.where(made.usable, made.data / made.noise, 0)
    bright = _star_cores(pair)
    sky = made.usable & ~grow(_lit(pair), 8)
    snr = significance(made, made.psf) / made.factor
    width = made.psf.fwhm
    # No tool is right where half of a star lies off the image.
    snr[:_RIM], snr[-_RIM:], snr[:, :_RIM], snr[:, -_RIM:] = 0, 0, 0, 0
    found = find_candidates(snr, detection_threshold=_THRESHOLD, fwhm=width)
    missing = find_candidates(-snr, detection_threshold=_THRESHOLD, fwhm=width)
    n_usable, n_found, false = _against_truth(pair, made, found)
    # The filters ring around a cosmic ray.
    n_missing = int((~grow(pair.rays, 8)[missing[1], missing[0]]).sum())
    off = np.abs(sigmas[bright & made.usable]) > 5
    return [
        row(f"{name}: width in the sky", robust_width(sigmas[sky]), "", "0.97-1.03"),
        row(f"{name}: bright stars' pixels beyond 5 sigma", 100 * off.mean(), "%"),
        row(f"{name}: transients found", n_found),
        row(f"{name}: transients on usable pixels", n_usable),
        row(f"{name}: false detections, no cosmic ray", false),
        row(f"{name}: negative detections, no cosmic ray", n_missing),
    ]


def _against_truth(pair, made, found):
    """Count usable transients, those found, and detections that are nothing real."""
    xy = np.column_stack([pair.transients["x"], pair.transients["y"]])
    column, line = np.rint(xy).astype(int).T
    usable = made.usable[line, column]
    peaks = np.column_stack(found).astype(float)
    if not len(peaks):
        return int(usable.sum()), 0, 0
    distance, _ = cKDTree(peaks).query(xy)
    near = cKDTree(xy).query(peaks)[0] <= _NEAR
    ray = grow(pair.rays, 3)[found[1], found[0]]
    n_found = int((distance[usable] <= _NEAR).sum())
    return int(usable.sum()), n_found, int((~near & ~ray).sum())


def _lit(pair):
    """Mark the pixels of stars, transients and rays."""
    lit = pair.rays.copy()
    ny, nx = lit.shape
    for table in (pair.stars, pair.transients):
        x, y = (np.rint(table[name]).astype(int) for name in ("x", "y"))
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        lit[y[inside], x[inside]] = True
    return lit


def _star_cores(pair):
    """Mark the cores of stars that are bright and not saturated."""
    stars = pair.stars[(pair.stars["flux"] > 5e4) & (pair.stars["flux"] < 4e5)]
    marked = np.zeros(pair.science.data.shape, dtype=bool)
    x, y = (np.rint(stars[name]).astype(int) for name in ("x", "y"))
    inside = (x >= 0) & (x < marked.shape[1]) & (y >= 0) & (y < marked.shape[0])
    marked[y[inside], x[inside]] = True
    return grow(marked, 3)
