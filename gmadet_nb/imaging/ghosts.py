"""Candidates that stand at one and the same offset from bright stars: ghosts.

A telescope that moved while the shutter was open, or light that came round twice, puts
a second, faint image of every star at the same place beside it. One by one such images
look like new stars; together they give themselves away.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

_BRIGHTEST, _FEWEST_STARS = 0.25, 20  # the share of the sources taken as bright
_NEAR, _FAR = 2.0, 8.0  # [FWHM] nearer ones are residuals of the star itself
_SAME = 0.75  # [FWHM] radius within which offsets are the same
# Beyond chance, of some hundred places that are tried.
_SIGMA, _LEAST, _SHARE = 8.0, 12, 0.1


@dataclass(frozen=True, kw_only=True)
class Ghosts:
    """How many candidates share an offset from bright stars.

    Attributes
    ----------
    n : int
        At the most frequent offset.
    expected : float
        By chance, as many pairs are spread evenly.
    dx, dy : float
        The offset, candidate minus star [pixel]; NaN where there is no pair.
    clear : bool
        Beyond chance, and a tenth of all candidates or more.
    """

    n: int
    expected: float
    dx: float
    dy: float
    clear: bool


def find_ghosts(candidates, sources, *, fwhm):
    """Find the offset from bright stars that most candidates share.

    Parameters
    ----------
    candidates : astropy.table.Table
        Of one exposure: ``x``, ``y`` [pixel].
    sources : astropy.table.Table
        Of the exposure: ``x``, ``y`` [pixel], ``flux``.
    fwhm : float
        Of its PSF [pixel].

    Returns
    -------
    Ghosts
    """
    n_bright = max(_FEWEST_STARS, int(_BRIGHTEST * len(sources)))
    bright = sources[np.argsort(-np.asarray(sources["flux"], float))[:n_bright]]
    candidate, offsets = _pairs(_places(candidates), _places(bright), _FAR * fwhm)
    far = np.hypot(*offsets.T) > _NEAR * fwhm
    candidate, offsets = candidate[far], offsets[far]
    if not len(offsets):
        return Ghosts(n=0, expected=0.0, dx=np.nan, dy=np.nan, clear=False)
    near = cKDTree(offsets).query_ball_point(offsets, _SAME * fwhm)
    counts = [len(set(candidate[some])) for some in near]
    most = int(np.argmax(counts))
    expected = len(offsets) * _SAME**2 / (_FAR**2 - _NEAR**2)
    n = counts[most]
    beyond = n >= max(_LEAST, expected + _SIGMA * np.sqrt(expected))
    dx, dy = (float(value) for value in offsets[near[most]].mean(axis=0))
    return Ghosts(
        n=n,
        expected=float(expected),
        dx=dx,
        dy=dy,
        clear=bool(beyond and n >= _SHARE * len(candidates)),
    )


def describe(ghosts, n_candidates):
    """Say in words what `find_ghosts` found."""
    return (
        f"{ghosts.n} of {n_candidates} candidates stand at the same place beside a "
        f"bright star, ({ghosts.dx:+.0f}, {ghosts.dy:+.0f}) pixels off, "
        f"{ghosts.expected:.1f} would by chance: the telescope moved in the exposure, "
        "or light was reflected"
    )


def _places(table):
    return np.column_stack([table["x"], table["y"]]).astype(float)


def _pairs(places, others, reach):
    """Return the rows of places near others, and the offsets: (n,), (n, 2) arrays."""
    near = cKDTree(others).query_ball_point(places, reach)
    row = np.repeat(np.arange(len(places)), [len(some) for some in near])
    other = np.array([j for some in near for j in some], dtype=int)
    return row, places[row] - others[other]
