"""The pixels of the stars that a PSF is fitted to, and what is known of each star."""

import numpy as np
from astropy.stats import mad_std

# A model's error, as a share of the star's light in a pixel: no star is so bright
# that it decides alone.
MODEL_ERROR = 0.01
# How well the background is known where a star stands, in sigma of a pixel.
_LEVEL_ERROR = 0.2
# Residuals of this many sigma have half the say of small ones.
_ROBUST = 3.0
# Stars this many robust widths worse than the others do not fit.
_REJECT = 4.0


class StarStamps:
    """Square cutouts around stars; positions, fluxes and levels are refined in place.

    Attributes
    ----------
    pixels, usable : (n, m, m) arrays
        Counts above the background [adu], and which of them count.
    x, y, flux, level : (n,) arrays
        [pixel], [adu]
    good : (n,) bool array
        Stars that have a say.
    """

    def __init__(self, image, background, stars, radius):
        self.radius, self.gain = radius, image.gain
        self.x, self.y = np.array(stars["x"], float), np.array(stars["y"], float)
        self.flux, self.level = np.array(stars["flux"], float), np.zeros(len(stars))
        self.columns = np.rint(self.x).astype(int)[:, None] + _side(radius)
        self.rows = np.rint(self.y).astype(int)[:, None] + _side(radius)
        at = self._inside(image.data.shape)
        self.pixels = np.nan_to_num(image.data[at] - background[at]).astype(np.float32)
        self.usable &= image.usable[at]
        self.good = np.ones(len(stars), dtype=bool)
        self.residual = np.zeros(len(stars))
        self.others = np.zeros_like(self.pixels)

    def _inside(self, shape):
        """Return an index of the pixels, those off the image moved to its edge."""
        rows, columns = self.rows[:, :, None], self.columns[:, None, :]
        self.usable = (rows >= 0) & (rows < shape[0])
        self.usable = self.usable & (columns >= 0) & (columns < shape[1])
        return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)

    def __len__(self):
        return len(self.x)

    def offsets(self):
        """Return the offsets of the pixels from the stars, along x and y [pixel]."""
        dx = self.columns[:, None, :] - self.x[:, None, None]
        dy = self.rows[:, :, None] - self.y[:, None, None]
        return dx.astype(np.float32), dy.astype(np.float32)

    def start_fluxes(self, profile, *, within):
        """Scale a first profile to the pixels in the stars' cores."""
        dx, dy = self.offsets()
        core = np.where(self.usable & (dx**2 + dy**2 < within**2), profile, 0)
        light = (core * self.pixels).sum(axis=(1, 2))
        self.flux = (light / np.maximum((core**2).sum(axis=(1, 2)), 1e-12)).astype(
            float
        )
        self.good &= self.flux > 0

    def left(self, profile):
        """Return what a profile of flux 1, (n, m, m), leaves of the pixels [adu]."""
        scale = self.flux[:, None, None].astype(np.float32)
        return (
            self.pixels
            - self.others
            - self.level[:, None, None].astype(np.float32)
            - scale * profile
        )

    def measure_sky(self, profile, *, beyond):
        """Set the scatter of the pixels that lie farther out than ``beyond``."""
        dx, dy = self.offsets()
        far = self.usable & (dx**2 + dy**2 > beyond**2) & self.good[:, None, None]
        values = self.left(profile)[far]
        self.sky = max(float(mad_std(values)) if values.size else 0.0, 1e-6)

    def weights(self, profile, *, model_error=MODEL_ERROR):
        """Return the inverse variance of each pixel, outliers having less say."""
        light = self.flux[:, None, None].astype(np.float32) * np.clip(profile, 0, None)
        variance = self.sky**2 + light / np.float32(self.gain)
        variance += (model_error * light) ** 2
        # Light taken off as a neighbour's is known to a tenth.
        variance += (0.1 * self.others) ** 2
        excess = self.left(profile) ** 2 / (_ROBUST**2 * variance)
        return np.where(self.usable, 1 / (variance * (1 + excess)), 0)

    def level_prior(self):
        """Return the inverse variance of a star's level about 0."""
        return 1 / (_LEVEL_ERROR * self.sky) ** 2

    def move(self, steps):
        """Change flux, x, y and level of each star by ``steps`` (n, 4)."""
        self.flux += steps[:, 0]
        self.x += np.clip(steps[:, 1], -0.3, 0.3)
        self.y += np.clip(steps[:, 2], -0.3, 0.3)
        self.level += steps[:, 3]
        self.good &= np.isfinite(self.flux) & (self.flux > 0)

    def judge(self, profile, *, within):
        """Drop the stars that fit worse than the others in their cores."""
        dx, dy = self.offsets()
        core = self.usable & (dx**2 + dy**2 < within**2)
        count = np.maximum(core.sum(axis=(1, 2)), 1)
        left = np.where(core, self.left(profile), 0)
        light = self.flux[:, None, None] * np.clip(profile, 0, None)
        variance = self.sky**2 + light / self.gain + (MODEL_ERROR * light) ** 2
        chi = np.sqrt((left**2 / variance).sum(axis=(1, 2)) / count)
        rms = np.sqrt((left**2).sum(axis=(1, 2)) / count)
        self.residual = rms / np.maximum(self.flux, 1e-9)
        self.good &= count > 0.7 * np.pi * within**2
        if self.good.sum() > 5:
            middle = np.median(chi[self.good])
            spread = max(mad_std(chi[self.good]), 0.1 * middle)
            self.good &= chi < middle + _REJECT * spread


def _side(radius):
    return np.arange(-radius, radius + 1)


def solve_stars(stamps, slopes, left, weights):
    """Return the best change of flux, x, y and level of each star.

    Parameters
    ----------
    stamps : StarStamps
    slopes : tuple of (n, m, m) arrays
        Profile of flux 1 and its derivatives by x and y.
    left, weights : (n, m, m) arrays

    Returns
    -------
    steps : (n, 4) array
    """
    normal, target = normal_of_stars(stamps, slopes, left, weights)
    return np.linalg.solve(normal, target[..., None])[..., 0]


def normal_of_stars(stamps, slopes, left, weights, more=()):
    """Return the normal equations of each star: flux, x, y, level, and ``more``."""
    scale = stamps.flux[:, None, None].astype(np.float32)
    profile, by_x, by_y, *rest = slopes
    one = np.ones_like(profile)
    design = [profile, scale * by_x, scale * by_y, one, *(scale * r for r in rest)]
    design += list(more)
    design = np.stack([d.reshape(len(d), -1) for d in design], axis=1)
    weighted = design * weights.reshape(len(design), 1, -1)
    normal = (weighted @ design.transpose(0, 2, 1)).astype(float)
    target = (weighted @ left.reshape(len(left), -1, 1))[..., 0].astype(float)
    prior = stamps.level_prior()
    normal[:, 3, 3] += prior
    target[:, 3] -= prior * stamps.level
    # A star without pixels stays where it is.
    diagonal = np.einsum("nii->ni", normal)
    diagonal += 1e-6 * diagonal + 1e-12
    return normal, target
