"""What is left of an exposure's own stars when their PSF is taken off."""

from dataclasses import dataclass

import numpy as np

_REACH_IN_FWHM = 2.0  # half the side of a stamp
_N_PARTS = 3  # of the field, along each axis
_MIN_STARS = 4  # two for each half


@dataclass(frozen=True, kw_only=True)
class PsfResiduals:
    """Stars less their PSF.

    Attributes
    ----------
    stacks : (3, 3, k, k) array
        Median over the stars of each ninth of the field, row 0 at the bottom, in
        units of each star's peak; NaN where there is none.
    n_stars : (3, 3) int array
    stack_rms : (3, 3) array
        Root mean square over a stack.
    stack_noise : (3, 3) array
        What it would be if the PSF were right: the same over half the difference of
        the stacks of every other star; NaN below 4 stars.
    rms : (n,) array
        Root mean square over a star's stamp, in units of its peak; photon noise is in
        it, so that faint stars have more.
    """

    stacks: np.ndarray
    n_stars: np.ndarray
    stack_rms: np.ndarray
    stack_noise: np.ndarray
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
    x, y, left = _stars_less_psf(image, psf, stars)
    row, column = (
        np.clip((place * _N_PARTS / size).astype(int), 0, _N_PARTS - 1)
        for place, size in zip((y, x), image.data.shape, strict=True)
    )
    shape = (_N_PARTS, _N_PARTS)
    stacks = np.full((*shape, *left.shape[1:]), np.nan)
    counts, noise = np.zeros(shape, dtype=int), np.full(shape, np.nan)
    for i, j in np.ndindex(shape):
        here = left[(row == i) & (column == j)]
        counts[i, j] = len(here)
        if len(here):
            stacks[i, j] = np.median(here, axis=0)
        if len(here) >= _MIN_STARS:
            # What the PSF lacks is in both halves alike.
            halves = [np.median(here[start::2], axis=0) for start in (0, 1)]
            noise[i, j] = _rms((halves[0] - halves[1]) / 2)
    return PsfResiduals(
        stacks=stacks,
        n_stars=counts,
        stack_rms=_rms(stacks),
        stack_noise=noise,
        rms=_rms(left),
    )


def _stars_less_psf(image, psf, stars):
    """Return x, y and what is left, (n, k, k), of the stars on whole usable stamps."""
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
    left = [
        _left(stamp, model)
        for stamp, model in zip(image.data[box][good], models[good], strict=True)
    ]
    return x[good], y[good], np.reshape(left, (-1, len(at), len(at)))


def _left(stamp, model):
    """Return a stamp less the PSF and the level that fit it, over the star's peak."""
    design = np.stack([model.ravel(), np.ones(model.size)], axis=1)
    (flux, level), *_ = np.linalg.lstsq(design, stamp.ravel().astype(float), rcond=None)
    return (stamp - flux * model - level) / (flux * model.max())


def _rms(stamps):
    return np.sqrt(np.mean(stamps**2, axis=(-2, -1)))
