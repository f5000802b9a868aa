"""What saturated stars would have shown, and what they leave in a difference.

Their cores are filled with the PSF. The mask keeps the filled pixels out of every
measurement; they are filled for what comes after: a filter spreads a flat core over
tens of pixels, and the core of the same star in the other image, cut at another height,
does not cancel it. Their wings are brighter than any that a PSF or a kernel is measured
on: the mask grows over what is left of them.
"""

import numpy as np
from scipy.ndimage import center_of_mass, find_objects, label

from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.quality import grow

# The PSF's wings are good to this share: without it the innermost pixels decide alone.
_MODEL_ERROR = 0.05
_FEWEST_PIXELS = 20
# Width of the ring around a core that its star is fitted on [FWHM].
_RING = 0.75
# A core that lacks less of its light than this is better left: the PSF is not so good.
_LEAST_MISSING = 0.25
_N_STEPS = 4
_STEP = 0.05  # of the slopes [pixel]
_MOST = 2000  # cores: a frame with more is no image of stars
# The mean of a ring that is still a halo, in the noise of a pixel and in its own.
_HALO, _HALO_SIGMA = 0.3, 3.0
_CLIP = 5.0  # a source on the ring counts for no more [sigma]


def fill_saturated(data, mask, psf, noise):
    """Fill saturated cores with the PSF that fits the light around them.

    Flux and place of each star are fitted by Gauss-Newton steps on the usable pixels
    of its stamp.

    Parameters
    ----------
    data : (ny, nx) float32 array
        Above the background [adu], finite everywhere.
    mask : (ny, nx) uint8 array
        Bits of `gmadet_nb.files.images.MASK_BITS`.
    psf : PSF
    noise : float
        Standard deviation of a sky pixel [adu].

    Returns
    -------
    filled : (ny, nx) float32 array
        A copy; a core that no star fits, or that reaches over most of the stamp, is as
        it was.
    """
    blobs, n_blobs = label((mask & MASK_BITS["saturated"]) > 0, np.ones((3, 3)))
    numbers = [
        i + 1
        for i, box in enumerate(find_objects(blobs))
        if max(side.stop - side.start for side in box) <= psf.radius
    ]
    filled = data.copy()
    if not numbers or n_blobs > _MOST:
        return filled
    y, x = np.array(center_of_mass(blobs > 0, blobs, numbers)).T
    rows, columns, inside = _boxes(data.shape, x, y, psf.radius)
    # Farther out neighbours count, and wings that no star was bright enough to show.
    near = grow(blobs > 0, max(2, round(_RING * psf.fwhm)))
    good = inside & near[rows, columns] & ((mask[rows, columns] & UNUSABLE) == 0)
    pixels = data[rows, columns]
    light = np.where(good, pixels, 0)
    middle = np.rint(x), np.rint(y)
    place, flux, model = _fit(psf, light, good, (x, y), middle, noise)
    size = np.hypot(place[0] - x, place[1] - y)
    fits = (good.sum((1, 2)) >= _FEWEST_PIXELS) & (size < psf.radius / 2)
    flux = np.clip(flux, 0, None)  # a hot pixel has no light around it
    core = inside & (blobs[rows, columns] == np.array(numbers)[:, None, None])
    wanted = flux[:, None, None] * model
    shown, should = ((core * light).sum((1, 2)) for light in (pixels, wanted))
    # A core that shows more than its star is a hot pixel.
    fits &= np.abs(should - shown) > _LEAST_MISSING * np.abs(shown)
    core &= fits[:, None, None]
    filled[rows[core], columns[core]] = wanted[core]
    return filled


def _boxes(shape, x, y, radius):
    """Return the rows and columns of stamps, and which of their pixels are there."""
    at = np.arange(-radius, radius + 1)
    rows = np.rint(y).astype(int)[:, None, None] + at[:, None]
    columns = np.rint(x).astype(int)[:, None, None] + at
    rows, columns = np.broadcast_arrays(rows, columns)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1), inside


def _fit(psf, light, good, place, middle, noise):
    """Fit flux and place of all stars together; return these and the PSF there."""
    x, y = place
    model = psf.evaluate_many(x, y, origin=middle)
    flux = _flux(model, light, good, 1.0)
    for _ in range(_N_STEPS):
        slope_x = psf.evaluate_many(x + _STEP, y, origin=middle) - model
        slope_y = psf.evaluate_many(x, y + _STEP, origin=middle) - model
        f = flux[:, None, None]
        weight = good / (noise**2 + (_MODEL_ERROR * f * model) ** 2)
        design = np.stack([model, f * slope_x / _STEP, f * slope_y / _STEP], axis=1)
        left = light - f * model
        normal = np.einsum("nayx,nyx,nbyx->nab", design, weight, design, optimize=True)
        target = np.einsum("nayx,nyx,nyx->na", design, weight, left, optimize=True)
        scale = np.sqrt(np.maximum(np.einsum("naa->na", normal), 1e-30))
        normal = normal / (scale[:, :, None] * scale[:, None, :]) + 1e-6 * np.eye(3)
        step = np.linalg.solve(normal, (target / scale)[:, :, None])[:, :, 0] / scale
        x, y = x + np.clip(step[:, 1], -1, 1), y + np.clip(step[:, 2], -1, 1)
        model = psf.evaluate_many(x, y, origin=middle)
        weight = good / (noise**2 + (_MODEL_ERROR * f * model) ** 2)
        flux = _flux(model, light, good, weight)
    return (x, y), flux, model


def _flux(model, light, good, weight):
    norm = np.maximum((weight * good * model**2).sum((1, 2)), 1e-30)
    return (weight * good * model * light).sum((1, 2)) / norm


def mask_halos(sigmas, mask, saturated, reach):
    """Grow the mask over what saturated stars leave around their cores.

    From each core outwards, ring by ring of one pixel, as long as the ring's mean is
    off 0 or half of the ring is masked already.

    Parameters
    ----------
    sigmas : (ny, nx) array
        Difference over the noise of its pixels.
    mask : (ny, nx) uint8 array
        Of the difference.
    saturated : (ny, nx) bool array
        Saturated pixels of either image.
    reach : int
        No halo is wider, and no larger core is looked at [pixel].

    Returns
    -------
    grown : (ny, nx) uint8 array
        A copy of ``mask`` with the bit ``saturated`` where there is a halo.
    """
    grown = mask.copy()
    blobs, n_blobs = label(saturated, np.ones((3, 3)))
    if n_blobs > _MOST:
        return grown
    for number, box in enumerate(find_objects(blobs), start=1):
        if max(side.stop - side.start for side in box) > reach:
            continue
        y, x = center_of_mass(blobs[box] == number)
        y, x = y + box[0].start, x + box[1].start
        around = tuple(
            slice(max(0, int(middle) - reach), int(middle) + reach + 1)
            for middle in (y, x)
        )
        ny, nx = mask[around].shape
        rows, columns = np.arange(ny) + around[0].start, np.arange(nx) + around[1].start
        ring = np.hypot(rows[:, None] - y, columns - x).astype(int)
        usable = (mask[around] & UNUSABLE) == 0
        edge = _halo_edge(np.clip(sigmas[around], -_CLIP, _CLIP), usable, ring)
        grown[around][ring < min(edge, reach)] |= MASK_BITS["saturated"]
    return grown


def _halo_edge(sigmas, usable, ring):
    """Return the first ring that is no halo."""
    n_all = np.bincount(ring.ravel())
    n = np.bincount(ring[usable], minlength=len(n_all))
    total = np.bincount(ring[usable], sigmas[usable], minlength=len(n_all))
    mean = np.abs(total) / np.maximum(n, 1)
    halo = (mean > _HALO) & (mean * np.sqrt(n) > _HALO_SIGMA) | (n < n_all / 2)
    return int(np.argmin(np.append(halo, False)))
