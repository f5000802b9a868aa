"""The reference, matched in shape and scale, off the science exposure.

Alard & Lupton (1998, ApJ 503, 325): the kernel that turns the reference's PSF
into the science exposure's is a sum of basis functions, found by linear least
squares together with the background. The basis here is cubic B-splines on a
square grid: single pixels where the kernel is narrow, wider splines where it
is broad, so that the number of unknowns does not grow with the seeing.
"""

from dataclasses import dataclass

import numpy as np
import sep
from scipy.interpolate import BSpline
from scipy.ndimage import binary_dilation, convolve1d
from scipy.signal import oaconvolve

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.psf import polynomial_terms

_BACKGROUND_DEGREE = 2
_MAX_FIT_PIXELS = 60_000
_N_SIDE = 11  # basis functions along an axis
# A PSF is never matched better than this share of the light: without the term
# the few brightest stars would decide the fit alone.
_MODEL_ERROR = 0.02
# A pixel is left out of the fit if it is off by its noise and by this share of its
# light: the cores of bright stars must stay in where a first kernel is too weak.
_OUTLIER_SHARE = 0.3
_BRIGHT_SNR = 50.0
# Noise widths between which a difference may teach.
GOOD_WIDTH = (0.7, 1.5)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference image and what went into it, on the science exposure's pixels.

    Attributes
    ----------
    data : (ny, nx) float32 array
        Science minus matched reference minus background [adu].
    noise : (ny, nx) float32 array
        Expected standard deviation of each pixel [adu].
    mask : (ny, nx) uint8 array
        Bits of `gmadet_nb.files.images.MASK_BITS`, of both images.
    reference : (ny, nx) float32 array
        The matched reference, its background near 0 [adu].
    kernel_sum : float
        Flux of a star in the science exposure over that in the reference.
    kernel_sum_scatter : float
        Its standard deviation over the field.
    noise_width : float
        Robust width of data / noise away from bright stars: 1 is right.
    star_width : float
        The same in the cores of bright stars.
    noise_factor : float
        How much larger than that of independent pixels the error of a flux is: a
        reference's noise is correlated by its resampling and the kernel, and what
        is left of faint stars is, too. See `gmadet_nb.imaging.detect`.
    """

    data: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    reference: np.ndarray
    kernel_sum: float
    kernel_sum_scatter: float
    noise_width: float
    star_width: float
    noise_factor: float = 1.0

    @property
    def usable(self):
        """(ny, nx) bool array: True where a pixel may be used."""
        return (self.mask & UNUSABLE) == 0


def kernel_half_width(science_fwhm, reference_fwhm):
    """Return half the side of the kernel that the two widths ask for [pixel]."""
    broader = np.sqrt(max(science_fwhm**2 - reference_fwhm**2, 0.0))
    # Room for what is left of the misalignment, and for wings.
    return int(np.clip(np.ceil(1.3 * broader + 0.5 * science_fwhm + 1), 4, 40))


def subtract(
    science, variance, reference, *, science_fwhm, reference_fwhm, stars, degree
):
    """Subtract a reference whose PSF is made that of the science exposure.

    Parameters
    ----------
    science : Image
    variance : (ny, nx) array
        Of the science exposure's pixels [adu^2].
    reference : tuple of three (ny, nx) arrays
        Data [adu], variance [adu^2] and mask on the science exposure's pixels.
    science_fwhm, reference_fwhm : float
        [pixel]
    stars : astropy.table.Table
        ``x``, ``y`` [pixel] and ``flux`` of the science exposure's sources: the
        kernel is fitted around the brightest, and on sky.
    degree : int
        Of the kernel's variation over the field.

    Returns
    -------
    difference : Difference

    Raises
    ------
    BadImageError
        If too few pixels are usable in both, or the kernel takes no light.
    """
    reference_data, reference_variance, reference_mask = reference
    fit = _KernelFit(
        science, variance, reference_data, reference_mask, science_fwhm, reference_fwhm
    )
    fit.choose_pixels(stars, 2.0 * science_fwhm + 1)
    fit.solve(degree)
    matched, background = fit.matched_reference(), fit.background()
    kernel = fit.kernel_at_middle()
    if not kernel.sum() > 0:
        raise BadImageError(
            "The reference must show the science exposure's stars, and the kernel "
            f"between them takes no light (its sum is {kernel.sum():.3g})."
        )
    noise2 = variance + oaconvolve(reference_variance, kernel**2, mode="same")
    mask = _join_masks(science.mask, reference_mask, kernel)
    data = np.nan_to_num(science.data) - matched - background
    noise = np.sqrt(np.clip(noise2, 1e-12, None)).astype(np.float32)
    data = data - _smooth_residual(data, noise, mask, science_fwhm)
    sky, cores = _where_to_judge(matched, noise, mask, science_fwhm)
    data = data.astype(np.float32)
    data[~np.isfinite(science.data)] = np.nan
    sums = fit.kernel_sums()
    return Difference(
        data=data,
        noise=noise,
        mask=mask,
        reference=matched.astype(np.float32),
        kernel_sum=float(np.mean(sums)),
        kernel_sum_scatter=float(np.std(sums)),
        noise_width=robust_width((data / noise)[sky]),
        star_width=robust_width((data / noise)[cores]),
    )


def no_reference(science, variance, background):
    """Return a `Difference` from nothing: the exposure less its background."""
    data = (science.data - background).astype(np.float32)
    noise = np.sqrt(variance).astype(np.float32)
    usable = science.usable
    return Difference(
        data=data,
        noise=noise,
        mask=science.mask,
        reference=np.full(data.shape, np.nan, dtype=np.float32),
        kernel_sum=np.nan,
        kernel_sum_scatter=np.nan,
        noise_width=robust_width((data / noise)[usable & (data < 3 * noise)]),
        star_width=np.nan,
    )


def judge(difference):
    """Say whether a difference may teach, and why not.

    Returns
    -------
    good : bool
    reason : str
        Empty where it may.
    """
    low, high = GOOD_WIDTH
    if not low <= difference.noise_width <= high:
        return False, (
            f"noise of the difference over the expected noise must be {low} to {high}, "
            f"got {difference.noise_width:.2f}"
        )
    return True, ""


def _join_masks(science_mask, reference_mask, kernel):
    """Carry the reference's bad pixels to all that the kernel spreads them to."""
    weight = np.abs(kernel) / np.abs(kernel).sum()
    mask = science_mask.copy()
    for name in ("bad", "saturated", "edge"):
        bad = (reference_mask & MASK_BITS[name]) > 0
        if bad.any():
            spread = oaconvolve(bad.astype(np.float32), weight, mode="same")
            mask[spread > 0.05] |= MASK_BITS[name]
    return mask


def _smooth_residual(data, noise, mask, fwhm):
    """Fit what is left of the background on scales far above the PSF."""
    bad = ((mask & UNUSABLE) > 0) | (np.abs(data) > 5 * noise)
    box = int(min(max(64, 10 * fwhm), *data.shape))
    if bad.mean() > 0.9:
        return np.zeros_like(data)
    clean = np.ascontiguousarray(np.where(bad, 0, data), dtype=np.float32)
    return sep.Background(clean, mask=bad, bw=box, bh=box, fw=3, fh=3).back()


def _where_to_judge(matched, noise, mask, fwhm):
    """Return where the sky is, away from bright stars, and where their cores are."""
    usable = (mask & UNUSABLE) == 0
    cores = matched > _BRIGHT_SNR * noise
    steps = max(1, round(2 * fwhm))
    near = binary_dilation(cores | ~usable, iterations=steps)
    sky = usable & ~near
    # In a crowded field nothing is far from a star: take what is not in a core.
    if sky.mean() < 0.05:
        sky = usable & ~binary_dilation(cores, iterations=max(1, round(fwhm / 2)))
    return sky, cores & usable


class _KernelFit:
    """The least-squares problem of one pair of images."""

    def __init__(
        self, science, variance, reference, reference_mask, science_fwhm, reference_fwhm
    ):
        self.shape = science.data.shape
        self.variance = variance
        self.science = np.nan_to_num(science.data).astype(np.float32)
        self.half = kernel_half_width(science_fwhm, reference_fwhm)
        self.profiles = _spline_profiles(self.half)
        core = binary_dilation(
            (reference_mask & UNUSABLE) > 0, iterations=max(1, self.half // 2)
        )
        self.usable = science.usable & ~core
        border = min(self.half, min(self.shape) // 4)
        self.usable[:border], self.usable[-border:] = False, False
        self.usable[:, :border], self.usable[:, -border:] = False, False
        if self.usable.sum() < 2000:
            raise BadImageError(
                "A subtraction must have at least 2000 pixels that are usable in both "
                f"images, got {self.usable.sum()}: they hardly overlap, or are masked."
            )
        offset = float(np.median(reference[(reference_mask & UNUSABLE) == 0]))
        self.reference = (reference - offset).astype(np.float32)

    def choose_pixels(self, stars, radius):
        """Choose the pixels around stars, spread over the field, and some of sky."""
        near = np.zeros(self.shape, dtype=bool)
        y, x = np.ogrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]
        disk = x**2 + y**2 <= radius**2
        budget = 0.7 * _MAX_FIT_PIXELS / disk.sum()
        for star in _spread(stars, self.shape, int(budget)):
            row, column = round(float(star["y"])), round(float(star["x"]))
            if 0 <= row < self.shape[0] and 0 <= column < self.shape[1]:
                near[row, column] = True
        near = binary_dilation(near, structure=disk) & self.usable
        step = max(1, int(np.ceil(self.usable.sum() / (0.3 * _MAX_FIT_PIXELS))))
        sky = np.flatnonzero(self.usable & ~near)[::step]
        self.chosen = np.concatenate([np.flatnonzero(near), sky])

    def solve(self, degree):
        """Find the kernel and the background, outliers left out in a second pass."""
        pixels = self._basis_pixels()
        y, x = np.divmod(self.chosen, self.shape[1])
        varying = polynomial_terms(x, y, self.shape, degree).astype(np.float32)
        level = polynomial_terms(x, y, self.shape, _BACKGROUND_DEGREE)
        design = np.concatenate(
            [*(pixels * term for term in varying), level.astype(np.float32)]
        )
        target = self.science.ravel()[self.chosen]
        bright = np.clip(target - np.median(target), 0, None)
        error2 = self.variance.ravel()[self.chosen] + (_MODEL_ERROR * bright) ** 2
        weight = (1 / np.sqrt(error2)).astype(np.float32)
        keep = np.ones(len(target), dtype=bool)
        for _ in range(3):
            solution = _solve_ridge(
                design[:, keep] * weight[keep], (target * weight)[keep]
            )
            left = (target - solution @ design) * weight
            limit = 5 * max(robust_width(left), 1e-6)
            keep = np.abs(left) < limit + _OUTLIER_SHARE * bright * weight
        self.degree = degree
        n_kernel = len(pixels) * len(varying)
        self.coefficients = solution[:n_kernel].reshape(len(varying), len(pixels))
        self.level = solution[n_kernel:]

    def _basis_pixels(self):
        """Convolve the reference with each basis function, at the chosen pixels."""
        rows = [
            convolve1d(self.reference, profile, axis=0, mode="nearest")
            for profile in self.profiles
        ]
        values = np.empty((len(self.profiles) ** 2, len(self.chosen)), dtype=np.float32)
        for i, row in enumerate(rows):
            for j, profile in enumerate(self.profiles):
                both = convolve1d(row, profile, axis=1, mode="nearest")
                values[i * len(rows) + j] = both.ravel()[self.chosen]
        return values

    def kernels(self):
        """Return the (n_terms, k, k) kernels of the polynomial's terms."""
        n = len(self.profiles)
        return np.einsum(
            "tij,ia,jb->tab",
            self.coefficients.reshape(-1, n, n),
            self.profiles,
            self.profiles,
        )

    def kernel_at_middle(self):
        """Return the (k, k) kernel at the middle of the field."""
        middle = polynomial_terms(
            (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2, self.shape, self.degree
        )
        return np.tensordot(middle, self.kernels(), axes=1)

    def kernel_sums(self):
        """Return the kernel's sum on a grid of 5 x 5 places."""
        x, y = np.meshgrid(
            np.linspace(0, self.shape[1] - 1, 5), np.linspace(0, self.shape[0] - 1, 5)
        )
        terms = polynomial_terms(x.ravel(), y.ravel(), self.shape, self.degree)
        return self.kernels().sum(axis=(1, 2)) @ terms

    def matched_reference(self):
        """Convolve the reference with the kernel that varies over the field."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        terms = polynomial_terms(x, y, self.shape, self.degree)
        padded = np.pad(self.reference, self.half, mode="edge")
        matched = np.zeros(self.shape, dtype=np.float32)
        for term, kernel in zip(terms, self.kernels(), strict=True):
            light = oaconvolve(padded, kernel.astype(np.float32), mode="valid")
            matched += (term * light).astype(np.float32)
        return matched

    def background(self):
        """Return the fitted background [adu]."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        terms = polynomial_terms(x, y, self.shape, _BACKGROUND_DEGREE)
        return np.tensordot(self.level, terms, axes=1).astype(np.float32)


def _spline_profiles(half):
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


def _solve_ridge(design, target):
    """Solve least squares with a small ridge, in units of each column's weight."""
    scale = np.sqrt(np.einsum("ij,ij->i", design, design, dtype=float)) + 1e-12
    design = design / scale[:, None].astype(np.float32)
    normal = (design @ design.T).astype(float)
    normal[np.diag_indices_from(normal)] += 1e-4
    return np.linalg.solve(normal, (design @ target).astype(float)) / scale
