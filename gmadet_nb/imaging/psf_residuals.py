"""What is left of an exposure's own stars when their PSF is taken off."""

from dataclasses import dataclass

import numpy as np

_REACH_IN_FWHM = 2.0  # half the side of a stamp
_N_PARTS = 3  # of the field, along each axis


@dataclass(frozen=True, kw_only=True)
class PsfResiduals:
    """Stars less their PSF.

    Attributes
    ----------
    stacks : (3, 3, k, k) array
        Median over the stars of each ninth of the field, row 0 at the bottom, in
        units of each star's peak; NaN where there is none.
    n_stars : (3, 3) int array
    rms : (n,) array
        Root mean square over a star's stamp, in units of its peak; photon noise is in
        it, so that faint stars have more.
    """

    stacks: np.ndarray
    n_stars: np.ndarray
    rms: np.ndarray


def measure_residuals(image, psf, stars):
    """Fit flux and level of each star under its PSF, and stack what is left.

    Parameters
    ----------
    image : Image
    psf : PSF
    stars : astropy.table.Table
        ``x``, ``y`` [pixel] of stars that stand alone.

    Returns
    -------
    residuals : PsfResiduals
    """
    ny, nx = image.data.shape
    reach = int(min(psf.radius, np.ceil(_REACH_IN_FWHM * psf.fwhm)))
    x, y = np.asarray(stars["x"], float), np.asarray(stars["y"], float)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    whole = (column >= reach) & (column < nx - reach)
    whole &= (row >= reach) & (row < ny - reach)
    x, y, column, row = (values[whole] for values in (x, y, column, row))
    at = np.arange(-reach, reach + 1)
    box = row[:, None, None] + at[:, None], column[:, None, None] + at
    good = image.usable[box].all(axis=(1, 2))
    cut = slice(psf.radius - reach, psf.radius + reach + 1)
    models = psf.evaluate_many(x, y)[:, cut, cut]
    left = np.array(
        [
            _left(stamp, model)
            for stamp, model in zip(image.data[box][good], models[good], strict=True)
        ]
    ).reshape(-1, 2 * reach + 1, 2 * reach + 1)
    parts = [
        np.clip((place[good] * _N_PARTS / size).astype(int), 0, _N_PARTS - 1)
        for place, size in ((y, ny), (x, nx))
    ]
    stacks = np.full((_N_PARTS, _N_PARTS, *left.shape[1:]), np.nan)
    counts = np.zeros((_N_PARTS, _N_PARTS), dtype=int)
    for i, j in np.ndindex(counts.shape):
        here = (parts[0] == i) & (parts[1] == j)
        counts[i, j] = here.sum()
        if here.any():
            stacks[i, j] = np.median(left[here], axis=0)
    rms = np.sqrt(np.mean(left**2, axis=(1, 2)))
    return PsfResiduals(stacks=stacks, n_stars=counts, rms=rms)


def _left(stamp, model):
    """Return a stamp less the PSF and the level that fit it, over the star's peak."""
    design = np.stack([model.ravel(), np.ones(model.size)], axis=1)
    (flux, level), *_ = np.linalg.lstsq(design, stamp.ravel().astype(float), rcond=None)
    return (stamp - flux * model - level) / (flux * model.max())
