"""What saturated stars would have shown, and what they leave in a difference.

Their cores are filled with the PSF. The mask keeps the filled pixels out of every
measurement; they are filled for what comes after: a filter spreads a flat core over
tens of pixels, and the core of the same star in the other image, cut at another height,
does not cancel it. Their wings are brighter than any that a PSF or a kernel is measured
on: the mask grows over what is left of them.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import center_of_mass, find_objects, label

from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.windows import window_max

# The PSF's wings are good to this share: without it the innermost pixels decide alone.
_MODEL_ERROR = 0.05
_FEWEST_PIXELS = 20
# Width of the ring around a core that its star is fitted on [FWHM].
_RING = 0.75
# A core that lacks less of its light than this is better left: the PSF is not so good.
_LEAST_MISSING = 0.25
# Reduced chi2 of a ring that is a star's, errors of 5 % of the model in it: a galaxy's
# has far more.
_WORST_FIT = 9.0
_CHUNK = 50  # cores that are fitted together
_N_STEPS = 4
_STEP = 0.05  # of the slopes [pixel]
_MOST = 2000  # cores: a frame with more is no image of stars
# The mean of a ring that is still a halo, in the noise of a pixel and in its own.
_HALO, _HALO_SIGMA = 0.3, 3.0
_N_QUIET = 3  # rings without a halo end it
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
        A copy; a core that no star fits, that reaches over most of the stamp, or whose
        ring is another's too, is as it was.
    """
    blobs, n_blobs = label((mask & MASK_BITS["saturated"]) > 0, np.ones((3, 3)))
    sizes = {
        i + 1: max(side.stop - side.start for side in box)
        for i, box in enumerate(find_objects(blobs))
    }
    numbers = [n for n in sorted(sizes, key=sizes.get) if sizes[n] <= psf.radius]
    filled = data.copy()
    if not numbers or n_blobs > _MOST:
        return filled
    # Farther out neighbours count, and wings that no star was bright enough to show.
    ring = max(2, round(_RING * psf.fwhm))
    rings = _own_rings(blobs, ring, n_blobs)
    rings[(mask & UNUSABLE) > 0] = 0
    centers = dict(zip(numbers, center_of_mass(blobs > 0, blobs, numbers), strict=True))
    for start in range(0, len(numbers), _CHUNK):
        some = numbers[start : start + _CHUNK]
        y, x = np.array([centers[n] for n in some]).T
        reach = min(psf.radius, sizes[some[-1]] // 2 + ring + 2)
        rows, columns, inside = _boxes(data.shape, x, y, reach)
        own = np.array(some)[:, None, None]
        good = inside & (rings[rows, columns] == own)
        core = inside & (blobs[rows, columns] == own)
        wanted, fits = _stars(psf, data[rows, columns], good, core, (x, y), noise)
        core &= fits[:, None, None]
        filled[rows[core], columns[core]] = wanted[core]
    return filled


def _own_rings(blobs, ring, n_blobs):
    """Return whose ring a pixel is in: 0 for no core's, or for that of two."""
    highest = window_max(blobs, ring)
    turned = np.where(blobs > 0, n_blobs + 1 - blobs, 0)
    lowest = n_blobs + 1 - window_max(turned, ring)
    return np.where(highest == lowest, highest, 0)


def _stars(psf, pixels, good, core, place, noise):
    """Fit stars to the rings of cores; return them, and which of them fill theirs."""
    light = np.where(good, pixels, 0)
    middle = np.rint(place[0]), np.rint(place[1])
    (x, y), flux, model, chi2 = _fit(psf, light, good, place, middle, noise)
    moved = np.hypot(x - place[0], y - place[1])
    flux = np.clip(flux, 0, None)  # a hot pixel has no light around it
    wanted = flux[:, None, None] * model
    shown, should = ((core * values).sum((1, 2)) for values in (pixels, wanted))
    fits = (good.sum((1, 2)) >= _FEWEST_PIXELS) & (moved < psf.radius / 2)
    fits &= chi2 < _WORST_FIT
    return wanted, fits & (np.abs(should - shown) > _LEAST_MISSING * np.abs(shown))


def _boxes(shape, x, y, radius):
    """Return the rows and columns of stamps, and which of their pixels are there."""
    at = np.arange(-radius, radius + 1)
    rows = np.rint(y).astype(int)[:, None, None] + at[:, None]
    columns = np.rint(x).astype(int)[:, None, None] + at
    rows, columns = np.broadcast_arrays(rows, columns)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1), inside


def _fit(psf, light, good, place, middle, noise):
    """Fit flux and place of stars; return these, the PSFs there and reduced chi2."""
    cut = psf.radius - light.shape[1] // 2
    inner = slice(cut, 2 * psf.radius + 1 - cut)

    def evaluate(x, y):
        return psf.evaluate_many(x, y, origin=middle)[:, inner, inner]

    x, y = place
    model = evaluate(x, y)
    flux = _flux(model, light, good, 1.0)
    for _ in range(_N_STEPS):
        slope_x = evaluate(x + _STEP, y) - model
        slope_y = evaluate(x, y + _STEP) - model
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
        model = evaluate(x, y)
        weight = good / (noise**2 + (_MODEL_ERROR * f * model) ** 2)
        flux = _flux(model, light, good, weight)
    left = weight * (light - flux[:, None, None] * model) ** 2
    chi2 = left.sum((1, 2)) / np.maximum(good.sum((1, 2)) - 3, 1)
    return (x, y), flux, model, chi2


def _flux(model, light, good, weight):
    norm = np.maximum((weight * good * model**2).sum((1, 2)), 1e-30)
    return (weight * good * model * light).sum((1, 2)) / norm


def mask_halos(sigmas, mask, saturated, reach):
    """Grow the mask over what saturated stars leave around their cores.

    From each core outwards, ring by ring of one pixel, as long as the ring's mean is
    off 0 or half of the ring is masked already, and beyond a gap of two such rings: at
    the end of a kernel's reach a halo begins anew.

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
    """Return the first of the rings that no halo lies beyond."""
    n_all = np.bincount(ring.ravel())
    n = np.bincount(ring[usable], minlength=len(n_all))
    total = np.bincount(ring[usable], sigmas[usable], minlength=len(n_all))
    mean = np.abs(total) / np.maximum(n, 1)
    halo = (mean > _HALO) & (mean * np.sqrt(n) > _HALO_SIGMA) | (n < n_all / 2)
    quiet = np.append(~halo, np.ones(_N_QUIET, dtype=bool))
    return int(np.argmax(sliding_window_view(quiet, _N_QUIET).all(axis=1)))
