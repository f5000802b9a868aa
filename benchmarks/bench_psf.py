"""The PSF that varies over the field, against the truth and beside PSFEx."""

import time

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter

from benchmarks import rivals
from benchmarks.field import make_pair
from benchmarks.measured import measure_image
from benchmarks.tables import row
from gmadet_nb.campaign.demo import optics
from gmadet_nb.imaging.psf_fit import fit_psf

_WIDE = 60  # [pixel]: radius that holds all light to 1e-5
_FINE = 0.05  # [pixel]


def places(side):
    """Return 8 x 8 places over the field, off the middles of pixels."""
    axis = np.linspace(0.1 * side, 0.9 * side, 8)
    return [grid.ravel() for grid in np.meshgrid(axis + 0.3, axis - 0.2)]


def half_width(stamp, step):
    """Return the FWHM of an oversampled stamp by the area above half its peak."""
    fine = np.arange(0, len(stamp) - 1, _FINE / step)
    values = map_coordinates(stamp, np.meshgrid(fine, fine, indexing="ij"), order=3)
    return 2 * np.sqrt((values > values.max() / 2).sum() * _FINE**2 / np.pi)


def true_width(psf, x, y):
    """Return the FWHM of the truth with the pixel's own width in it."""
    alpha, _ = psf.at(x, y)
    offsets = np.arange(-8, 8 + _FINE / 2, _FINE)
    r2 = offsets[:, None] ** 2 + offsets[None, :] ** 2
    seen = uniform_filter((1 + r2 / alpha**2) ** -psf.beta, round(1 / _FINE))
    return 2 * np.sqrt((seen > seen.max() / 2).sum() * _FINE**2 / np.pi)


def fluxes(stamps, truth):
    """Return the flux of true sources of flux 1, by a fit of stamps at their places."""
    return (stamps * truth).sum((1, 2)) / (stamps**2).sum((1, 2))


def psfex_stamps(model, x, y, radius):
    """Evaluate PSFEx's model on pixels, of sum 1 within its own stamp."""
    stamps = []
    at = np.arange(-radius, radius + 1)
    for one_x, one_y in zip(x, y, strict=True):
        fine = model.fine(one_x, one_y)
        middle = (len(fine) - 1) / 2
        rows = middle + (at + round(one_y) - one_y) / model.step
        columns = middle + (at + round(one_x) - one_x) / model.step
        grid = np.meshgrid(rows, columns, indexing="ij")
        stamps.append(map_coordinates(fine, grid, order=3))
        stamps[-1] /= stamps[-1].sum()
    return np.array(stamps)


def measure(seed):
    """Return the rows of one seed."""
    pair = make_pair(seed)
    image, truth = pair.science, pair.science_psf
    measured = measure_image(image)
    stars = measured.stars[:240]
    start = time.process_time()
    psf, _ = fit_psf(image, measured.background, stars, degree=2)
    seconds = time.process_time() - start
    x, y = places(image.data.shape[0])
    true = np.array([true_width(truth, *place) for place in zip(x, y, strict=True)])
    error = np.array([psf.fwhm_at(*p) for p in zip(x, y, strict=True)]) - true
    sources = optics.draw_stamps(truth, x, y, radius=_WIDE)
    cut = slice(_WIDE - psf.radius, _WIDE + psf.radius + 1)
    flux = fluxes(psf.evaluate_many(x, y), sources[:, cut, cut]) / sources.sum((1, 2))
    rows = [
        row("PSF: true FWHM, smallest", true.min(), "px"),
        row("PSF: true FWHM, largest", true.max(), "px"),
        row("PSF: FWHM error, median", np.median(error), "px"),
        row("PSF: FWHM error, rms", error.std(), "px", "<= 0.01"),
        row("PSF: flux bias", 100 * abs(flux.mean() - 1), "%", "< 0.5"),
        row("PSF: flux rms", 100 * flux.std(), "%", "< 0.5"),
        row("PSF: seconds", seconds, "s"),
    ]
    if not (rivals.find("psfex") and rivals.find("sextractor")):
        return [*rows, row("PSFEx (not installed)", np.nan)]
    model, other = rivals.fit_psfex(image, stars, 2)
    widths = [half_width(model.fine(*p), model.step) for p in zip(x, y, strict=True)]
    radius = 14
    cut = slice(_WIDE - radius, _WIDE + radius + 1)
    flux = fluxes(psfex_stamps(model, x, y, radius), sources[:, cut, cut])
    flux /= sources.sum((1, 2))
    return [
        *rows,
        row("PSF: seconds over PSFEx's", seconds / other, "", "<= 1.5"),
        row("PSFEx: FWHM error, median", np.median(widths - true), "px"),
        row("PSFEx: FWHM error, rms", np.std(widths - true), "px"),
        row("PSFEx: flux bias", 100 * abs(flux.mean() - 1), "%"),
        row("PSFEx: flux rms", 100 * flux.std(), "%"),
        row("PSFEx: seconds", other, "s"),
    ]
