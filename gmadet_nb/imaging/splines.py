"""Cubic B-splines on a regular grid, as matrices that act on rows and columns.

A surface is the sum of its coefficients times basis functions, one a grid point.
Its values on a grid of rows and columns are ``rows @ coefficients @ columns.T``,
which is linear in the coefficients: the same matrices serve to evaluate a surface
and to fit one.
"""

import numpy as np
from scipy.ndimage import convolve1d

# Values of the basis function at its own grid point and its neighbours.
_AT_KNOTS = np.array([1, 4, 1]) / 6


def spline_matrix(places, n_points):
    """Return the weights of each coefficient at some places.

    Parameters
    ----------
    places : (..., m) float array
        In steps of the grid, 0 at its first point; beyond it the last coefficient
        goes on.
    n_points : int
        Points of the grid.

    Returns
    -------
    weights : (..., m, n_points) float array
    """
    places = np.asarray(places, dtype=float)
    first = np.floor(places)
    s = places - first
    weights = np.zeros((*places.shape, n_points))
    flat = weights.reshape(-1, n_points)
    row = np.arange(len(flat))
    parts = (
        (1 - s) ** 3 / 6,
        (4 - 6 * s**2 + 3 * s**3) / 6,
        (1 + 3 * s + 3 * s**2 - 3 * s**3) / 6,
        s**3 / 6,
    )
    for step, part in enumerate(parts):
        column = np.clip(first + step - 1, 0, n_points - 1).astype(int)
        flat[row, column.ravel()] += part.ravel()
    return weights


def spline_slopes(places, n_points):
    """Return the same weights for the slope, per step of the grid."""
    places = np.asarray(places, dtype=float)
    # Even steps of half a point: exact for a cubic but for its third order, 1/24.
    half = 0.25
    ahead, behind = places + half, places - half
    return (spline_matrix(ahead, n_points) - spline_matrix(behind, n_points)) / (
        2 * half
    )


def at_grid_points(coefficients):
    """Return the values of surfaces (..., k, k) at their own grid points."""
    values = convolve1d(coefficients, _AT_KNOTS, axis=-1, mode="mirror")
    return convolve1d(values, _AT_KNOTS, axis=-2, mode="mirror")
