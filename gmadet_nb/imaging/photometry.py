"""Background, noise, stars, magnitudes: what one exposure says of itself."""

from dataclasses import dataclass

import numpy as np
import sep
from astropy.stats import mad_std, sigma_clipped_stats
from astropy.table import Table
from scipy.ndimage import gaussian_filter, uniform_filter

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS

# Kernel whose sum and first moments are zero: neighbouring pixels of any smooth
# light cancel, white noise of unit variance comes out with variance 36
# (Immerkaer 1996, Computer Vision and Image Understanding 64, 300).
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
# Within this ratio of the photons' noise, the measured noise confirms them.
_NOISE_AGREES = (0.88, 1.12)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How noisy the pixels of one exposure are.

    The variance of a pixel of value d is ``sky_variance + (d - level) / gain``
    for d above ``level`` and ``sky_variance`` below.

    Attributes
    ----------
    level : float
        Value of an empty pixel [adu].
    sky_variance : float
        Variance of an empty pixel [adu^2].
    gain : float
        Detected electrons per count [electron/adu].
    model : str
        ``photons`` where gain and read noise explain the scatter between
        neighbouring pixels, ``measured`` where that scatter was taken instead.
    measured : float
        That scatter, of empty pixels [adu].
    """

    level: float
    sky_variance: float
    gain: float
    model: str
    measured: float

    def variance(self, data):
        """Return the variance of each pixel of ``data``, (ny, nx) [adu^2].

        Faint pixels count by their neighbours, so that one that happens to be
        low is not taken for a quiet one; pixels of stars count by themselves.
        """
        signal = np.nan_to_num(data - self.level)
        smooth = gaussian_filter(signal, 2)
        signal = np.where(signal > 5 * np.sqrt(self.sky_variance), signal, smooth)
        return (self.sky_variance + np.clip(signal, 0, None) / self.gain).astype(
            np.float32
        )


def mag_to_flux(mag, zero_point):
    """Turn magnitudes into fluxes [adu]."""
    return 10 ** (-0.4 * (np.asarray(mag, dtype=float) - zero_point))


def flux_to_mag(flux, zero_point):
    """Turn fluxes [adu] into magnitudes; NaN where the flux is not positive."""
    flux = np.asarray(flux, dtype=float)
    safe = np.where(flux > 0, flux, np.nan)
    return zero_point - 2.5 * np.log10(safe)


def fit_background(image, *, box=64):
    """Fit the smooth background of an exposure, stars left out.

    Parameters
    ----------
    image : Image
    box : int
        Side of the boxes that are averaged [pixel].

    Returns
    -------
    background : (ny, nx) float32 array
        [adu]
    rms : float
        Median scatter about it, unresolved stars included [adu].

    Raises
    ------
    BadImageError
        If no pixel is usable, or all have one value.
    """
    usable = image.usable
    if usable.mean() < 0.1:
        raise BadImageError(
            f"Image {image.exposure_id!r} must have at least 10% usable pixels, got "
            f"{100 * usable.mean():.1f}%: {_share(image, 'bad')} have no value, "
            f"{_share(image, 'saturated')} are at its saturation, "
            f"{image.saturation:g} adu, or beside it. Check 'saturation'."
        )
    data = np.ascontiguousarray(np.nan_to_num(image.data), dtype=np.float32)
    if np.ptp(data[usable]) == 0:
        raise BadImageError(
            f"Image {image.exposure_id!r} must hold more than one value, and every "
            f"usable pixel is {data[usable][0]:g} adu."
        )
    box = int(min(box, *data.shape))
    background = sep.Background(data, mask=~usable, bw=box, bh=box, fw=3, fh=3)
    return background.back(dtype=np.float32), float(background.globalrms)


def _share(image, name):
    """Return the share of the pixels with a bit in the mask, as text."""
    return f"{100 * np.mean((image.mask & MASK_BITS[name]) > 0):.1f}%"


def pixel_noise(data, usable):
    """Measure the white noise of the emptier half of an image.

    Light that is smooth over three pixels cancels, so unresolved stars do not
    count as noise, as they do in the scatter about a background.

    Parameters
    ----------
    data : (ny, nx) array
        [adu]
    usable : (ny, nx) bool array

    Returns
    -------
    noise : float
        Standard deviation of one pixel [adu]; NaN where there are too few.
    level : float
        Median value of the pixels it was measured on [adu].
    """
    filled = np.where(usable, np.nan_to_num(data), 0).astype(np.float32)
    second = sum(
        weight * filled[dy : dy - 2 or None, dx : dx - 2 or None]
        for (dy, dx), weight in np.ndenumerate(_LAPLACIAN)
    )
    whole = np.ones_like(second, dtype=bool)
    for dy in range(3):
        for dx in range(3):
            whole &= usable[dy : dy - 2 or None, dx : dx - 2 or None]
    center = filled[1:-1, 1:-1]
    if whole.sum() < 100:
        return np.nan, np.nan
    # Chosen by the surroundings: a choice by the pixel itself would cut its noise.
    # Per usable pixel: those left out would pass for dark ones.
    share = np.maximum(uniform_filter(usable.astype(np.float32), 15), 1e-3)
    around = (uniform_filter(filled, 15) / share)[1:-1, 1:-1]
    dark = whole & (around <= np.median(around[whole]))
    return float(mad_std(second[dark]) / 6), float(np.median(center[dark]))


def measure_noise(image):
    """Find the noise of an exposure: from its photons, or as it is measured.

    The gain and the read noise give sqrt(d / gain + (read_noise / gain)^2). A
    pedestal left in the counts, a wrong gain or a resampling shows as a
    disagreement with the scatter between neighbouring pixels; then the scatter
    is taken, and the gain serves only for the light above the sky.

    Parameters
    ----------
    image : Image

    Returns
    -------
    noise : Noise
    """
    measured, level = pixel_noise(image.data, image.usable)
    if not measured > 0:
        raise BadImageError(
            f"Image {image.exposure_id!r} must have noise between its pixels, and none "
            "can be measured. It may be constant, averaged until nothing is left, or a "
            "strip of a few pixels."
        )
    return choose_noise(measured, level, gain=image.gain, read_noise=image.read_noise)


def choose_noise(measured, level, *, gain, read_noise):
    """Take the photons' noise where the measured one confirms it, else the measured.

    Parameters
    ----------
    measured : float
        Scatter between neighbouring empty pixels [adu].
    level : float
        Of these pixels [adu].
    gain : float
        [electron/adu]
    read_noise : float
        [electron]

    Returns
    -------
    noise : Noise
    """
    photons = (max(level, 0) / gain + (read_noise / gain) ** 2) ** 0.5
    agrees = _NOISE_AGREES[0] * photons < measured < _NOISE_AGREES[1] * photons
    return Noise(
        level=level,
        sky_variance=(photons if agrees else measured) ** 2,
        gain=gain,
        model="photons" if agrees else "measured",
        measured=measured,
    )


def find_sources(image, background, noise, *, detection_threshold=5.0, min_pixels=5):
    """Find and measure the sources of an exposure with SExtractor's algorithm.

    Parameters
    ----------
    image : Image
    background : (ny, nx) float32 array
        [adu]
    noise : float
        Standard deviation of an empty pixel [adu].
    detection_threshold : float
        [sigma] of one pixel.
    min_pixels : int
        Connected pixels above it.

    Returns
    -------
    sources : astropy.table.Table
        ``x``, ``y`` [pixel], ``flux``, ``peak`` [adu], ``fwhm`` [pixel] (of the
        Gaussian with these second moments), ``elongation``, ``half_light_radius``
        [pixel], ``usable`` (no masked pixel within it).
    """
    sep.set_extract_pixstack(2_000_000)
    # A crowd before bright nebulosity is one object of thousands of stars.
    sep.set_sub_object_limit(65_536)
    data = np.ascontiguousarray(np.nan_to_num(image.data) - background)
    bad = ~image.usable
    found = sep.extract(data, detection_threshold * noise, mask=bad, minarea=min_pixels)
    found = found[(found["b"] > 0) & np.isfinite(found["a"] + found["flux"])]
    radius, _ = sep.flux_radius(
        data,
        found["x"],
        found["y"],
        np.clip(6 * found["a"], 3, 60),
        0.5,
        normflux=found["flux"],
        mask=bad,
    )
    saturated, _, _ = sep.sum_circle(
        bad.astype(np.float32), found["x"], found["y"], np.clip(2 * found["a"], 2, 30)
    )
    # Centroids under a Gaussian window: isophotes of undersampled stars are off.
    sigma = np.clip(2 * np.nan_to_num(radius, nan=1.5) / 2.3548, 0.6, 20)
    x, y, flags = sep.winpos(data, found["x"], found["y"], sigma, mask=bad)
    lost = (flags != 0) | ~(np.hypot(x - found["x"], y - found["y"]) < found["a"])
    x, y = np.where(lost, found["x"], x), np.where(lost, found["y"], y)
    return Table(
        {
            "x": x,
            "y": y,
            "flux": found["flux"].astype(float),
            "peak": found["peak"].astype(float),
            "fwhm": 2.3548 * np.sqrt((found["a"] ** 2 + found["b"] ** 2) / 2),
            "elongation": found["a"] / found["b"],
            "half_light_radius": radius,
            "usable": saturated == 0,
        }
    )


def limiting_mag(noise, psf_stamp, zero_point, *, snr=5.0):
    """Return the magnitude of a point source of a given S/N in empty sky.

    With a matched filter the noise of a flux is sigma / sqrt(sum P^2).
    """
    flux = snr * noise / np.sqrt(np.sum(psf_stamp**2))
    return float(flux_to_mag(flux, zero_point))


def robust_width(values):
    """Return the standard deviation of the bulk of ``values``, by the median."""
    values = np.asarray(values)[np.isfinite(values)]
    return float(mad_std(values)) if values.size else np.nan


def clipped_median(values):
    """Return the median after clipping at 3 sigma, NaN for none."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    return float(sigma_clipped_stats(values)[1]) if values.size else np.nan
