"""Draw stars and galaxies through a Moffat PSF that varies over the field.

Fluxes are in adu, in all of a pixel or all of a source.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.signal import fftconvolve

# Gauss-Legendre nodes and weights on a pixel: exact to degree 5, which leaves
# less than 0.1 % of the flux for a full width of 2 pixels and more.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
NODES, WEIGHTS = NODES / 2, WEIGHTS / 2
MAX_RADIUS = 160  # of a star's stamp [pixel]
CHUNK = 2_000_000  # pixels of stamps in memory at a time


@dataclass(frozen=True, kw_only=True)
class MoffatField:
    """A Moffat PSF whose width and ellipticity vary over the field.

    Attributes
    ----------
    fwhm : float
        Full width at half maximum at the center, before the pixels [pixel].
    beta : float
        Exponent of the Moffat profile.
    shape : tuple of int
        The detector's (ny, nx).
    bowl, tilt_x, tilt_y : float
        Relative growth of the FWHM from the center to the corner, and from the
        center to the right and to the upper edge.
    e1, e2 : float
        Ellipticity (a - b) / (a + b) of the whole frame, along the axes and
        along the diagonals.
    astigmatism : float
        Radial ellipticity at the corner.
    trail_x, trail_y : float
        Vector over which the telescope moved in the exposure [pixel].
    """

    fwhm: float
    beta: float
    shape: tuple[int, int]
    bowl: float = 0.0
    tilt_x: float = 0.0
    tilt_y: float = 0.0
    e1: float = 0.0
    e2: float = 0.0
    astigmatism: float = 0.0
    trail_x: float = 0.0
    trail_y: float = 0.0

    def at(self, x, y):
        """Return alpha [pixel] and the form (xx, xy, yy) of the PSF at (x, y).

        The profile is (1 + (xx dx^2 + 2 xy dx dy + yy dy^2) / alpha^2)^-beta
        with xx yy - xy^2 = 1, so that ellipticity changes no flux.
        """
        ny, nx = self.shape
        u = (np.asarray(x, float) - (nx - 1) / 2) / (nx / 2)
        v = (np.asarray(y, float) - (ny - 1) / 2) / (ny / 2)
        r2 = (u**2 + v**2) / 2
        fwhm = self.fwhm * (1 + self.bowl * r2 + self.tilt_x * u + self.tilt_y * v)
        alpha = fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        e1 = self.e1 + self.astigmatism * (u**2 - v**2) / 2
        e2 = self.e2 + self.astigmatism * u * v
        e = np.hypot(e1, e2)
        # Axis ratio q = (1 - e) / (1 + e); the form has eigenvalues q and 1 / q.
        mean, half = (1 + e**2) / (1 - e**2), 2 / (1 - e**2)
        return alpha, (mean - half * e1, -half * e2, mean + half * e1)


def draw_stamps(psf, x, y, *, radius):
    """Integrate the PSF at each (x, y) over the pixels around it.

    Returns
    -------
    stamps : (n, 2 radius + 1, 2 radius + 1) float32 array
        Share of the flux in each pixel; the middle is the pixel nearest to
        (x, y). The flux outside the stamp is not put back.
    """
    x, y = np.atleast_1d(x).astype(float), np.atleast_1d(y).astype(float)
    alpha, form = psf.at(x, y)
    xx, xy, yy = (np.float32(f / alpha**2)[:, None, None] for f in form)
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    dx = offsets[None, None, :] - np.float32(x - np.rint(x))[:, None, None]
    dy = offsets[None, :, None] - np.float32(y - np.rint(y))[:, None, None]
    stamps = np.zeros((len(x), offsets.size, offsets.size), np.float32)
    beta = np.float32(psf.beta)
    for node_y, weight_y in zip(NODES, WEIGHTS, strict=True):
        sub_y = dy + np.float32(node_y)
        for node_x, weight_x in zip(NODES, WEIGHTS, strict=True):
            sub_x = dx + np.float32(node_x)
            r2 = (xx * sub_x + 2 * xy * sub_y) * sub_x + yy * sub_y**2
            stamps += np.float32(weight_x * weight_y) * np.exp(-beta * np.log1p(r2))
    peak = (psf.beta - 1) / (np.pi * alpha**2)
    stamps *= np.float32(peak)[:, None, None]
    if psf.trail_x or psf.trail_y:
        kernel = _trail_kernel(psf.trail_x, psf.trail_y)
        stamps = fftconvolve(stamps, kernel[None], mode="same", axes=(1, 2))
    return stamps


def _trail_kernel(trail_x, trail_y):
    """Return the line from -trail/2 to trail/2 on pixels, of sum 1."""
    radius = int(np.ceil(np.hypot(trail_x, trail_y) / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 200):
        x, y = radius + t * trail_x, radius + t * trail_y
        i, j = int(y), int(x)
        fy, fx = y - i, x - j
        kernel[i : i + 2, j : j + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / kernel.sum()


def add_stars(expected, x, y, flux, psf, *, faintest=0.1):
    """Add stars to an array of expected counts, in place.

    Parameters
    ----------
    expected : (ny, nx) float array
        Expected counts [adu]; changed.
    x, y : (n,) arrays
        Positions [pixel, 0-based], on the array or off it.
    flux : float or (n,) array
        Total flux [adu].
    psf : MoffatField
        Profile of the stars.
    faintest : float
        Stamps end where a star falls below this [adu per pixel].
    """
    x, y, flux = np.broadcast_arrays(*np.atleast_1d(x, y, flux))
    alpha, _ = psf.at(x, y)
    peak = np.maximum(flux, 1e-6) * (psf.beta - 1) / (np.pi * alpha**2)
    # Beyond 5 alpha lies less than 0.2 % of the flux (beta 3).
    reach = alpha * np.maximum(5, (peak / faintest) ** (1 / (2 * psf.beta)))
    reach = reach + np.hypot(psf.trail_x, psf.trail_y) / 2
    radii = np.minimum(8 * np.ceil(reach / 8), MAX_RADIUS).astype(int)
    for radius in np.unique(radii):
        rows = np.flatnonzero(radii == radius)
        n_chunk = max(1, CHUNK // (2 * radius + 1) ** 2)
        for start in range(0, len(rows), n_chunk):
            chunk = rows[start : start + n_chunk]
            stamps = draw_stamps(psf, x[chunk], y[chunk], radius=radius)
            for row, stamp in zip(chunk, stamps, strict=True):
                add_stamp(expected, flux[row] * stamp, x[row], y[row])


def add_stamp(array, stamp, x, y):
    """Add a stamp, centered on the pixel nearest to (x, y), to an array in place."""
    on_array, on_stamp = overlap(array.shape, stamp.shape[0] // 2, x, y)
    array[on_array] += stamp[on_stamp]


def overlap(shape, radius, x, y):
    """Return the slices of the array and of the stamp that cover each other."""
    on_array, on_stamp = [], []
    for size, middle in zip(shape, (round(float(y)), round(float(x))), strict=True):
        start, stop = max(middle - radius, 0), min(middle + radius + 1, size)
        stop = max(start, stop)  # off the array: both slices are empty
        on_array.append(slice(start, stop))
        on_stamp.append(slice(start - middle + radius, stop - middle + radius))
    return tuple(on_array), tuple(on_stamp)


def gaussian_mixture(profile, *, widths, reach):
    """Write a round profile as a sum of Gaussians, by non-negative least squares.

    Parameters
    ----------
    profile : callable
        Surface brightness at the radius r.
    widths : (n,) array
        Standard deviations to choose from, in the unit of r.
    reach : float
        Radius up to which the profile is fitted.

    Returns
    -------
    weights, widths : (m,) arrays
        Share of the flux, of sum 1, and width of the Gaussians in use.
    """
    r = np.geomspace(reach / 300, reach, 300)
    area = r  # a ring's area per step of log r grows as r^2; errors weigh its root
    basis = np.exp(-(r[:, None] ** 2) / (2 * widths**2)) / (2 * np.pi * widths**2)
    weights, _ = nnls(basis * area[:, None], profile(r) * area)
    used = weights > 1e-3 * weights.sum()
    return weights[used] / weights[used].sum(), widths[used]


def galaxy_mixture(sersic_index):
    """Return the Gaussians of a Sersic profile, in half-light radii."""
    # Ciotti & Bertin 1999, eq. 18, to first order: good to 0.2 % for n of 1 to 4.
    b = 2 * sersic_index - 1 / 3 + 0.0099 / sersic_index
    return gaussian_mixture(
        lambda r: np.exp(-b * r ** (1 / sersic_index)),
        widths=np.geomspace(0.04, 2.5, 11),
        reach=5.0,
    )


def add_galaxies(expected, galaxies, psf):
    """Add elliptical galaxies, convolved with the PSF, in place.

    Galaxy and PSF are sums of Gaussians, so that the convolution adds their
    covariances; a pixel adds 1/12 and a trail its length squared over 12.

    Parameters
    ----------
    expected : (ny, nx) float array
        Expected counts [adu]; changed.
    galaxies : astropy.table.Table
        ``x``, ``y`` [pixel], ``flux`` [adu], ``radius`` (half-light, along the
        major axis) [pixel], ``axis_ratio``, ``angle`` [deg, from +x to +y] and
        ``sersic_index``.
    psf : MoffatField
        Profile of a point.
    """
    shares, widths = gaussian_mixture(
        lambda r: (1 + r**2) ** -psf.beta, widths=np.geomspace(0.3, 5, 9), reach=12.0
    )
    profiles = {n: galaxy_mixture(n) for n in set(galaxies["sersic_index"])}
    trail = np.outer(*2 * [[psf.trail_x, psf.trail_y]]) / 12
    for galaxy in galaxies:
        alpha, (xx, xy, yy) = psf.at(galaxy["x"], galaxy["y"])
        point = np.array([[yy, -xy], [-xy, xx]])  # inverse of a form of determinant 1
        weights, scales = profiles[galaxy["sersic_index"]]
        angle = np.radians(galaxy["angle"])
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        body = turn @ np.diag([1, galaxy["axis_ratio"] ** 2]) @ turn.T
        body = body * galaxy["radius"] ** 2
        covariances = (
            (scales**2)[:, None, None, None] * body
            + (alpha * widths[:, None, None]) ** 2 * point
            + np.eye(2) / 12
            + trail
        )
        stamp = _gaussian_stamp(
            np.outer(weights, shares).ravel() * galaxy["flux"],
            covariances.reshape(-1, 2, 2),
            x=galaxy["x"],
            y=galaxy["y"],
            radius=int(6 * galaxy["radius"] + 4 * alpha),
        )
        add_stamp(expected, stamp, galaxy["x"], galaxy["y"])


def _gaussian_stamp(fluxes, covariances, *, x, y, radius):
    """Return the sum of Gaussians around the pixel nearest to (x, y)."""
    offsets = np.arange(-radius, radius + 1)
    dx = (offsets - (x - np.rint(x)))[None, None, :].astype(np.float32)
    dy = (offsets - (y - np.rint(y)))[None, :, None].astype(np.float32)
    determinant = np.linalg.det(covariances)
    inverse = np.linalg.inv(covariances).astype(np.float32)
    xx, xy, yy = (inverse[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    r2 = (xx * dx + 2 * xy * dy) * dx + yy * dy**2
    peaks = (fluxes / (2 * np.pi * np.sqrt(determinant))).astype(np.float32)
    return np.einsum("n,nij->ij", peaks, np.exp(-0.5 * r2))
