"""The kernel that turns the PSF of one image into that of another.

Alard & Lupton (1998, ApJ 503, 325): the kernel is a sum of basis functions, found by
linear least squares together with the background. The basis here is cubic B-splines on
a square grid: single pixels where the kernel is narrow, wider splines where it is
broad, so that the number of unknowns does not grow with the seeing.
"""

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import binary_dilation

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging.convolve import convolve_varying
from gmadet_nb.imaging.kernel_solve import Design, solve_ridge
from gmadet_nb.imaging.photometry import pixel_noise, robust_width
from gmadet_nb.imaging.psf import polynomial_terms

_BACKGROUND_DEGREE = 2
_MAX_FIT_PIXELS = 40_000
_N_SIDE = 11  # basis functions along an axis
# A PSF is never matched better than this share of the light: without the term
# the few brightest stars would decide the fit alone.
_MODEL_ERROR = 0.02
# A pixel is left out of the fit if it is off by its noise and by this share of its
# light: the cores of bright stars must stay in where a first kernel is too weak.
_OUTLIER_SHARE = 0.3
_N_PASSES = 3
# In units of a column of the fit, in the middle of the kernel, and at its edge beside.
_RIDGE, _OUTER_RIDGE = 1e-4, 50


def kernel_half_width(target_fwhm, source_fwhm):
    """Return half the side of the kernel that the two widths ask for [pixel]."""
    broader = np.sqrt(max(target_fwhm**2 - source_fwhm**2, 0.0))
    # Room for what is left of the misalignment, and for wings.
    return int(np.clip(np.ceil(1.3 * broader + 0.5 * target_fwhm + 1), 4, 40))


class KernelFit:
    """The least-squares problem of one pair of images.

    Parameters
    ----------
    target, target_variance, target_mask : (ny, nx) arrays
        Image whose PSF is to be met [adu, adu^2]; finite everywhere.
    source, source_mask : (ny, nx) arrays
        Image that is convolved [adu]; finite everywhere.
    target_fwhm, source_fwhm : float
        [pixel]

    Raises
    ------
    BadImageError
        If too few pixels are usable in both.
    """

    def __init__(self, target, target_variance, target_mask, source, source_mask, fwhm):
        self.shape = target.shape
        self.variance, self.target = target_variance, target
        target_fwhm, source_fwhm = fwhm
        self.half = kernel_half_width(target_fwhm, source_fwhm)
        self.radius = int(2.0 * target_fwhm + 1)
        self.profiles = spline_profiles(self.half)
        bad = (source_mask & UNUSABLE) > 0
        core = binary_dilation(bad, iterations=max(1, self.half // 2))
        self.usable = ((target_mask & UNUSABLE) == 0) & ~core
        border = min(self.half, min(self.shape) // 4)
        self.usable[:border], self.usable[-border:] = False, False
        self.usable[:, :border], self.usable[:, -border:] = False, False
        if self.usable.sum() < 2000:
            raise BadImageError(
                "A subtraction must have at least 2000 pixels that are usable in both "
                f"images, got {self.usable.sum()}: they hardly overlap, or are masked."
            )
        self.offset = np.float32(np.median(source[~bad]))
        self.source = source - self.offset
        noise, _ = pixel_noise(source, ~bad)
        self.source_noise = 0.0 if np.isnan(noise) else noise

    def solve(self, stars, degree):
        """Find the kernel and the background around stars, outliers left out.

        Parameters
        ----------
        stars : astropy.table.Table
            ``x``, ``y`` [pixel], ``flux`` [adu].
        degree : int
            Of the kernel's variation over the field.
        """
        pixels, basis = self._basis_pixels(stars)
        y, x = np.divmod(pixels, self.shape[1])
        varying = polynomial_terms(x, y, self.shape, degree).astype(np.float32)
        level = polynomial_terms(x, y, self.shape, _BACKGROUND_DEGREE)
        design = Design(basis=basis, varying=varying, level=level.astype(np.float32))
        target = self.target.ravel()[pixels]
        bright = np.clip(target - np.median(target), 0, None)
        error2 = self.variance.ravel()[pixels] + (_MODEL_ERROR * bright) ** 2
        weight = (1 / np.sqrt(error2)).astype(np.float32)
        ridge = self._ridge(design)
        keep = np.ones(len(target), dtype=bool)
        for _ in range(_N_PASSES):
            kept = np.where(keep, weight, np.float32(0))
            normal = design.normal(kept)
            wanted = design.project(target * kept**2)
            noise = self._noise_of(varying * kept, len(normal))
            solution = solve_ridge(normal, wanted, noise, ridge)
            left = (target - design.predict(solution)) * weight
            limit = 5 * max(robust_width(left), 1e-6)
            keep = np.abs(left) < limit + _OUTLIER_SHARE * bright * weight
        self.degree, self.n_stars = degree, self._n_stars
        shape = len(varying), len(basis)
        self.coefficients = solution[: design.n_kernel].reshape(shape)
        self.level = solution[design.n_kernel :]

    def _ridge(self, design):
        """Return the ridge of each unknown: outwards a kernel has less and less light.

        A single pixel there is hardly known, and what it takes up of the noise leaves
        a ghost beside each bright star.
        """
        at = np.linspace(-1, 1, len(self.profiles))
        outwards = np.hypot(at[:, None], at[None, :]).ravel()
        of_kernel = np.tile(1 + _OUTER_RIDGE * outwards**4, len(design.varying))
        return _RIDGE * np.append(of_kernel, np.ones(len(design.level)))

    def _noise_of(self, varying, n):
        """Return what the source image's noise adds to the normal equations.

        Noise in what is fitted draws a kernel to 0 (errors in variables): its share
        is known, and is taken off.
        """
        one = self.profiles @ self.profiles.T
        overlap = self.source_noise**2 * np.kron(one, one)
        places = (varying @ varying.T).astype(float)
        noise = np.zeros((n, n))
        size = len(places) * len(overlap)
        noise[:size, :size] = np.kron(places, overlap)
        return noise

    def _basis_pixels(self, stars):
        """Convolve the source image with each basis function around stars, and on sky.

        Returns
        -------
        pixels : (n,) int array
            Index into the raveled image.
        values : (n_basis, n) float32 array
        """
        y, x = np.ogrid[-self.radius : self.radius + 1, -self.radius : self.radius + 1]
        disk = x**2 + y**2 <= self.radius**2
        n_stars = int(_MAX_FIT_PIXELS / disk.sum())
        chosen = _spread(stars, self.shape, n_stars)
        places = np.rint([chosen["y"], chosen["x"]]).astype(int).T
        reach = self.radius + self.half
        inside = (places >= reach) & (places < np.array(self.shape) - reach)
        places = places[inside.all(axis=1)]
        self._n_stars = len(places)
        places = np.concatenate([places, _sky_places(self.shape, reach)])
        taken = np.zeros(self.shape, dtype=bool)
        pixels, values = [], []
        for row, column in places:
            box = (
                slice(row - self.radius, row + self.radius + 1),
                slice(column - self.radius, column + self.radius + 1),
            )
            new = disk & self.usable[box] & ~taken[box]
            taken[box] |= disk
            if not new.any():
                continue
            stamp = self.source[
                row - reach : row + reach + 1, column - reach : column + reach + 1
            ]
            inner_y, inner_x = np.nonzero(new)
            pixels.append((row - self.radius + inner_y) * self.shape[1])
            pixels[-1] += column - self.radius + inner_x
            values.append(self._convolve_stamp(stamp)[:, inner_y, inner_x])
        if not pixels:
            raise BadImageError(
                "A kernel must have stars or sky away from the edge to be fitted on, "
                f"and an image of {self.shape} pixels has none for this kernel."
            )
        return np.concatenate(pixels), np.concatenate(values, axis=1)

    def _convolve_stamp(self, stamp):
        """Convolve one stamp with each basis function; the rim is lost."""
        flipped = self.profiles[:, ::-1]
        windows = np.lib.stride_tricks.sliding_window_view
        rows = windows(stamp, flipped.shape[1], axis=0) @ flipped.T
        both = windows(rows, flipped.shape[1], axis=1) @ flipped.T
        n = len(flipped)
        return both.transpose(2, 3, 0, 1).reshape(n * n, *both.shape[:2])

    def kernels(self):
        """Return the (n_terms, k, k) kernels of the polynomial's terms."""
        n = len(self.profiles)
        return np.einsum(
            "tij,ia,jb->tab",
            self.coefficients.reshape(-1, n, n),
            self.profiles,
            self.profiles,
        )

    def kernel_at(self, x, y):
        """Return the (k, k) kernel at a place."""
        terms = polynomial_terms(x, y, self.shape, self.degree)
        return np.tensordot(terms, self.kernels(), axes=1)

    def kernel_sums(self):
        """Return the kernel's sum on a grid of 5 x 5 places."""
        x, y = np.meshgrid(
            np.linspace(0, self.shape[1] - 1, 5), np.linspace(0, self.shape[0] - 1, 5)
        )
        terms = polynomial_terms(x.ravel(), y.ravel(), self.shape, self.degree)
        return self.kernels().sum(axis=(1, 2)) @ terms

    def sum_map(self):
        """Return the kernel's sum at each pixel."""
        return self._surface(self.kernels().sum(axis=(1, 2)), self.degree)

    def convolve(self, source):
        """Convolve an image like the source with the kernel that varies over it.

        Parameters
        ----------
        source : (ny, nx) float32 array
            The source image, or what it would have shown [adu].

        Returns
        -------
        matched : (ny, nx) float32 array
        """
        terms = self._factors(self.degree)
        return convolve_varying(source - self.offset, self.kernels(), terms)

    def release(self):
        """Let go of the images: what was fitted stays."""
        self.target = self.variance = self.source = self.usable = None

    def background(self):
        """Return the fitted background [adu]."""
        return self._surface(self.level, _BACKGROUND_DEGREE)

    def _factors(self, degree):
        """Return each term of a polynomial as factors along y and along x."""
        ny, nx = self.shape
        # At the far edge a coordinate is 1, so that its powers drop out.
        by_x = polynomial_terms(np.arange(nx), ny - 1, self.shape, degree)
        by_y = polynomial_terms(nx - 1, np.arange(ny), self.shape, degree)
        return list(zip(by_y.astype(np.float32), by_x.astype(np.float32), strict=True))

    def _surface(self, coefficients, degree):
        """Return a polynomial over the image."""
        by_y, by_x = (
            np.array(along) for along in zip(*self._factors(degree), strict=True)
        )
        return (np.float32(coefficients)[:, None] * by_y).T @ by_x


def spline_profiles(half):
    """Return the basis along one axis: (n, 2 half + 1), each of sum 1."""
    offsets = np.arange(-half, half + 1, dtype=float)
    spacing = 2 * half / (_N_SIDE - 1)
    if spacing <= 1:
        return np.eye(2 * half + 1, dtype=np.float32)
    spacing = half / (_N_SIDE // 2 + 1)
    centers = spacing * np.arange(-(_N_SIDE // 2), _N_SIDE // 2 + 1)
    spline = BSpline.basis_element(spacing * np.arange(-2, 3), extrapolate=False)
    profiles = np.nan_to_num(spline(offsets[None, :] - centers[:, None]))
    return (profiles / profiles.sum(axis=1, keepdims=True)).astype(np.float32)


def _spread(stars, shape, n):
    """Pick the brightest stars of each cell of the field in turn, ``n`` at most."""
    order = np.argsort(np.asarray(stars["flux"]))[::-1]
    column = np.clip(np.asarray(stars["x"]) * 5 // shape[1], 0, 4)
    row = np.clip(np.asarray(stars["y"]) * 5 // shape[0], 0, 4)
    cell = (row * 5 + column)[order]
    turn = np.empty(len(order), dtype=int)
    for name in np.unique(cell):
        turn[cell == name] = np.arange(np.count_nonzero(cell == name))
    return stars[order[np.argsort(turn, kind="stable")]][: max(n, 25)]


def _sky_places(shape, reach):
    """Return a grid of 5 x 5 places, so that the background is known between stars."""
    axes = [np.linspace(reach, n - 1 - reach, 5).astype(int) for n in shape]
    return np.array([(y, x) for y in axes[0] for x in axes[1]]).reshape(-1, 2)
