"""Oversampled stamps, each pixel a polynomial in the position, fitted to stars."""

import numpy as np
from scipy.ndimage import spline_filter

from gmadet_nb.imaging.psf import polynomial_terms, shared_terms
from gmadet_nb.imaging.splines import at_grid_points, spline_matrix, spline_slopes

# How far the stamps may go from the Moffat profile before the data must insist, as a
# share of that profile: the constant part, and each term that varies.
_PRIOR = (0.2, 0.02)
# Prior of pixels where the profile is next to nothing, as a share of its peak.
_PRIOR_FLOOR = 1e-5
_N_STEPS = 25  # of conjugate gradients
# Relative error of the FWHM that calls for a higher degree of the stamps.
_WIDTH_ERROR = 1e-3
_MORE_DEGREES = 2
_MAX_DEGREE = 4


class StampModel:
    """A PSF as spline coefficients of its stamps, while it is fitted.

    Attributes
    ----------
    splines : (n_terms, k, k) float array
        Coefficients of cubic B-splines.
    base : (n_terms, k, k) float array
        Those of the smooth profile.
    degree, free_degree : int
        Of the polynomial, and of what may depart from the smooth profile.
    """

    def __init__(self, base, *, oversampling, radius, degree, free_degree, shape):
        self.base, self.splines = base, base.copy()
        self.oversampling, self.radius, self.shape = oversampling, radius, shape
        self.degree, self.free_degree = degree, free_degree
        self.k = base.shape[1]

    @classmethod
    def of_moffat(cls, moffat, field, fwhm, radius):
        """Sample a Moffat profile over the field."""
        oversampling = int(np.clip(np.ceil(6 / fwhm), 1, 3))
        degree = stamp_degree(moffat, field, radius)
        x, y = _grid(field, degree)
        half = radius * oversampling + oversampling // 2
        offsets = np.arange(-half, half + 1) / oversampling
        dx, dy = offsets[None, None, :], offsets[None, :, None]
        one = np.ones((len(x), 1, 1))
        values = moffat.integrate(x, y, dx * one, dy * one).astype(float)
        values *= moffat.norm_at(x, y, radius)[:, None, None]
        terms = polynomial_terms(x, y, moffat.shape, degree)
        base = np.tensordot(np.linalg.pinv(terms.T), values, axes=1)
        made = cls(
            to_splines(base),
            oversampling=oversampling,
            radius=radius,
            degree=degree,
            free_degree=moffat.degree,
            shape=moffat.shape,
        )
        made.normalize()
        made.base = made.splines.copy()
        return made

    def stamps(self):
        """Return the values of the stamps at their grid points."""
        return at_grid_points(self.splines)

    def places(self, stamps):
        """Return the places of each star's rows and columns on the grid."""
        middle, step = self.k // 2, self.oversampling
        rows = middle + (stamps.rows - stamps.y[:, None]) * step
        columns = middle + (stamps.columns - stamps.x[:, None]) * step
        return rows, columns

    def on_stars(self, stamps):
        """Return the profile of each star on its pixels, and its two slopes."""
        rows, columns = self.places(stamps)
        of_star = self._of_stars(stamps, self.splines, self.degree)
        at_rows = spline_matrix(rows, self.k).astype(np.float32)
        at_columns = _turned(spline_matrix(columns, self.k))
        row_slopes = spline_slopes(rows, self.k).astype(np.float32)
        column_slopes = _turned(spline_slopes(columns, self.k))
        across = of_star @ at_columns
        step = -self.oversampling
        by_x = step * (at_rows @ (of_star @ column_slopes))
        return at_rows @ across, by_x, step * (row_slopes @ across)

    def _of_stars(self, stamps, splines, degree):
        terms = polynomial_terms(stamps.x, stamps.y, self.shape, degree)
        flat = terms.T.astype(np.float32) @ splines.reshape(len(terms), -1).astype(
            np.float32
        )
        return flat.reshape(-1, self.k, self.k)

    def improve(self, stamps, profile, weights):
        """Add what the stars show beyond the stamps, by regularised least squares."""
        fit = _FreeFit(self, stamps, weights)
        free = shared_terms(self.free_degree, self.degree)
        found = fit.solve(stamps.left(profile), (self.splines - self.base)[free])
        self.splines[free] += found

    def normalize(self):
        """End the stamps at their radius, and bring the flux within it to 1."""
        inside = share_within(self.k, self.radius, self.oversampling)
        self.splines = self.splines * inside
        self.base = self.base * inside
        sums = self.splines.sum(axis=(1, 2))
        middle = self.splines[0] / sums[0]
        self.splines[1:] -= sums[1:, None, None] * middle
        self.splines /= sums[0] / self.oversampling**2


def share_within(k, radius, oversampling):
    """Return the share of each pixel of a (k, k) stamp within a radius [pixel]."""
    y, x = (np.mgrid[:k, :k] - k // 2) / oversampling
    return np.clip(radius - np.hypot(x, y), 0, 1)


class _FreeFit:
    """Least squares for what the stamps lack, through the splines that read them."""

    def __init__(self, model, stamps, weights):
        keep = stamps.good
        rows, columns = (m[keep] for m in model.places(stamps))
        self.keep, self.k = keep, model.k
        self.rows = spline_matrix(rows, model.k).astype(np.float32)
        self.columns = spline_matrix(columns, model.k).astype(np.float32)
        self.flux = stamps.flux[keep][:, None, None].astype(np.float32)
        self.weights = weights[keep].astype(np.float32)
        self.terms = polynomial_terms(
            stamps.x[keep], stamps.y[keep], model.shape, model.free_degree
        ).astype(np.float32)
        shape = np.abs(model.base[0])
        width = shape + _PRIOR_FLOOR * shape.max()
        shares = np.where(np.arange(len(self.terms)) == 0, *_PRIOR)
        self.precision = (1 / (shares[:, None, None] * width) ** 2).astype(np.float32)

    def forward(self, splines):
        """Return the counts on the stars' pixels."""
        n = len(self.terms)
        of_star = (self.terms.T @ splines.reshape(n, -1)).reshape(-1, self.k, self.k)
        return self.flux * ((self.rows @ of_star) @ self.columns.transpose(0, 2, 1))

    def backward(self, counts):
        """Return the transpose of `forward`."""
        of_star = (self.rows.transpose(0, 2, 1) @ (self.flux * counts)) @ self.columns
        flat = self.terms @ of_star.reshape(len(of_star), -1)
        return flat.reshape(-1, self.k, self.k)

    def diagonal(self):
        """Return the normal matrix's diagonal, neighbours left out."""
        rows, columns = self.rows**2, self.columns**2
        each = (rows.transpose(0, 2, 1) @ (self.flux**2 * self.weights)) @ columns
        flat = self.terms**2 @ each.reshape(len(each), -1)
        return flat.reshape(-1, self.k, self.k) + self.precision

    def solve(self, left, present):
        """Return the change of the splines that explains ``left`` best."""
        target = self.backward(self.weights * left[self.keep])
        remaining = target - self.precision * present.astype(np.float32)
        scale = 1 / self.diagonal()
        found = np.zeros_like(remaining)
        along = step = scale * remaining
        power = np.vdot(remaining, step)
        for _ in range(_N_STEPS):
            image = self.backward(self.weights * self.forward(along))
            image += self.precision * along
            length = power / np.vdot(along, image)
            found = found + length * along
            remaining = remaining - length * image
            step = scale * remaining
            before, power = power, np.vdot(remaining, step)
            along = step + (power / before) * along
        return found


def stamp_degree(moffat, field, radius):
    """Return the least degree of the stamps that follows the profile's width."""
    if moffat.degree == 0:
        return 0
    highest = max(min(moffat.degree + _MORE_DEGREES, _MAX_DEGREE), moffat.degree)
    x, y = _grid(field, highest)
    half = moffat.fwhm_at(x, y) / 2
    scale = half / np.sqrt(2 ** (1 / moffat.beta) - 1)
    norm = moffat.norm_at(x, y, radius)
    at = (1 + (half[None, :] / scale[:, None]) ** 2) ** -moffat.beta * norm[:, None]
    for degree in range(moffat.degree, highest):
        terms = polynomial_terms(x, y, moffat.shape, degree).T
        follow = terms @ np.linalg.pinv(terms)
        ratio = np.diagonal(follow @ at) / (follow @ norm)
        slope = 2 * moffat.beta * (1 - 2 ** (-1 / moffat.beta))
        error = np.sqrt(np.mean((2 * ratio - 1) ** 2)) / slope
        if error < _WIDTH_ERROR:
            return degree
    return highest


def _grid(field, degree):
    """Return places that determine a polynomial over the field."""
    side = 1 if degree == 0 else degree + 4
    left, right, low, high = field
    # As often near the edge as a polynomial needs it (Chebyshev's points).
    nodes = -np.cos(np.pi * (np.arange(side) + 0.5) / side)
    x, y = np.meshgrid(
        left + (right - left) * (nodes + 1) / 2, low + (high - low) * (nodes + 1) / 2
    )
    return x.ravel(), y.ravel()


def to_splines(values):
    """Return the spline coefficients of surfaces (n, k, k)."""
    return np.array([spline_filter(v, order=3) for v in values])


def _turned(matrix):
    return matrix.astype(np.float32).transpose(0, 2, 1)
