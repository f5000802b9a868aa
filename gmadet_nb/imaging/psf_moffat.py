"""Moffat profiles whose width and ellipticity are polynomials in the position.

They are the smooth part of a PSF: few numbers that all stars share, and wings that
stay sane where noise and neighbours leave free pixels undetermined.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import leggauss

from gmadet_nb.imaging.psf import polynomial_terms, shared_terms

# Gauss-Legendre nodes and weights on a pixel: exact to the fifth order.
_NODES, _SHARES = (part.astype(np.float32) / 2 for part in leggauss(3))
_BETA_RANGE = (1.3, 12.0)
_MAX_ELLIPTICITY = 0.7
_MIN_SCALE = 0.3  # [pixel]


@dataclass(frozen=True, kw_only=True)
class Moffat:
    """A profile (1 + r^2)^-beta with an elliptical r that varies over the field.

    r^2 = ((1 - e1) dx^2 - 2 e2 dx dy + (1 + e1) dy^2) / s^2, where the scale s
    [pixel], e1 and e2 are polynomials.

    Attributes
    ----------
    forms : (3, n_terms) float array
        Coefficients of s, e1 and e2.
    beta : float
    degree : int
    shape : tuple of int
        (ny, nx) of the exposure.
    """

    forms: np.ndarray
    beta: float
    degree: int
    shape: tuple[int, int]

    def form_at(self, x, y):
        """Return s, e1, e2 at (x, y), each (n,)."""
        scale, e1, e2 = self.forms @ self.terms(x, y)
        long = np.maximum(np.hypot(e1, e2) / _MAX_ELLIPTICITY, 1)
        return np.maximum(scale, _MIN_SCALE), e1 / long, e2 / long

    def fwhm_at(self, x, y):
        """Return the full width at half maximum before the pixels [pixel]."""
        scale, e1, e2 = self.form_at(x, y)
        radius = scale * np.sqrt(2 ** (1 / self.beta) - 1)
        return 2 * radius / (1 - e1**2 - e2**2) ** 0.25

    def terms(self, x, y):
        """Return the polynomial's terms at (x, y), (n_terms, n)."""
        return polynomial_terms(x, y, self.shape, self.degree)

    def with_degree(self, degree):
        """Return the profile with terms of a higher degree at 0, or left out."""
        if degree == self.degree:
            return self
        terms = (degree + 1) * (degree + 2) // 2
        forms = np.zeros((3, terms))
        if degree > self.degree:
            forms[:, shared_terms(self.degree, degree)] = self.forms
        else:
            forms[:] = self.forms[:, shared_terms(degree, self.degree)]
        return replace(self, forms=forms, degree=degree)

    def norm_at(self, x, y, radius):
        """Return the value at the center of a profile of flux 1 within ``radius``."""
        scale, e1, e2 = self.form_at(x, y)
        round_part = np.sqrt(1 - e1**2 - e2**2)
        peak = (self.beta - 1) / np.pi / scale**2 * round_part
        beyond = (1 + (radius / scale) ** 2 * round_part) ** (1 - self.beta)
        return peak / (1 - beyond)

    def integrate(self, x, y, dx, dy):
        """Return the mean over each pixel around stars at (x, y).

        Parameters
        ----------
        x, y : (n,) arrays
            Positions of the stars [pixel].
        dx, dy : (n, 1, m) and (n, m, 1) arrays
            Offsets of the pixels from them [pixel].

        Returns
        -------
        profile : (n, m, m) array
        """
        return _sum_over_nodes(self, x, y, dx, dy, slopes=False)[0]

    def slopes(self, x, y, dx, dy):
        """Return the profile and its derivatives by x, y, s, e1, e2 and beta."""
        sums = _sum_over_nodes(self, x, y, dx, dy, slopes=True)
        value, log, by_xx, by_yy, by_xy, by_x, by_y = sums
        scale, e1, e2 = (f[:, None, None] for f in self.form_at(x, y))
        narrow = (1 / scale**2).astype(value.dtype)
        e1, e2 = e1.astype(value.dtype), e2.astype(value.dtype)
        by_scale = -2 * ((1 - e1) * by_xx - 2 * e2 * by_xy + (1 + e1) * by_yy)
        return (
            value,
            -2 * narrow * ((1 - e1) * by_x - e2 * by_y),
            -2 * narrow * ((1 + e1) * by_y - e2 * by_x),
            (narrow / scale).astype(value.dtype) * by_scale,
            narrow * (by_yy - by_xx),
            -2 * narrow * by_xy,
            -log,
        )


def _sum_over_nodes(moffat, x, y, dx, dy, *, slopes):
    """Sum the profile, and where asked its slopes' parts, over the pixels' nodes."""
    scale, e1, e2 = (
        np.asarray(f, dtype=np.float32)[:, None, None] for f in moffat.form_at(x, y)
    )
    beta, narrow = np.float32(moffat.beta), 1 / scale**2
    dx, dy = np.asarray(dx, np.float32), np.asarray(dy, np.float32)
    shape = np.broadcast_shapes(dx.shape, dy.shape)
    sums = [np.zeros(shape, np.float32) for _ in range(7 if slopes else 1)]
    for node_y, share_y in zip(_NODES, _SHARES, strict=True):
        for node_x, share_x in zip(_NODES, _SHARES, strict=True):
            u, v, share = dx + node_x, dy + node_y, share_x * share_y
            r2 = ((narrow * (1 - e1)) * u - (2 * narrow * e2) * v) * u
            r2 += (narrow * (1 + e1)) * v**2
            log = np.log1p(r2)
            value = share * np.exp(-beta * log)
            sums[0] += value
            if slopes:
                sums[1] += value * log
                inner = value / (1 + r2)
                inner_u, inner_v = inner * u, inner * v
                sums[2] += inner_u * u
                sums[3] += inner_v * v
                sums[4] += inner_u * v
                sums[5] += inner_u
                sums[6] += inner_v
    return sums[:2] + [-beta * part for part in sums[2:]]


def start_moffat(fwhm, shape):
    """Return a round profile of constant width and middling wings."""
    beta = 3.0
    # The pixels widen a profile by about a twelfth of their area in each axis.
    bare = np.sqrt(max(fwhm**2 - 0.46, 0.5 * fwhm**2))
    scale = bare / (2 * np.sqrt(2 ** (1 / beta) - 1))
    forms = np.array([[scale], [0.0], [0.0]])
    return Moffat(forms=forms, beta=beta, degree=0, shape=shape)


def step_moffat(moffat, changes, beta_change):
    """Return a profile with its forms and beta moved, within sane limits."""
    forms = moffat.forms + changes
    # No reading of the widths at a time more than some tens of per cent wrong.
    most = 0.4 * moffat.forms[0, 0]
    forms[0, 0] = moffat.forms[0, 0] + np.clip(changes[0, 0], -most, most)
    beta = float(np.clip(moffat.beta + np.clip(beta_change, -1, 1), *_BETA_RANGE))
    return replace(moffat, forms=forms, beta=beta)
