"""The fit of a PSF to the stars of an exposure.

Shape and fluxes are found in turn: what the stars show beyond the model, each
scaled to flux 1 and brought to the common grid, is fitted by a polynomial in the
position, pixel by pixel, and added to the model.
"""

import warnings

import numpy as np
from astropy.stats import mad_std
from scipy.ndimage import map_coordinates, spline_filter

from gmadet_nb.errors import BadImageError
from gmadet_nb.imaging.psf import PSF, polynomial_terms, shared_terms

N_ITERATIONS = 5
# Stars needed for each free number of a polynomial: fewer give wild corners.
_STARS_PER_TERM = 6
# Radius of the stamp in FWHM: a Moffat profile of index 3 holds 98.7% within it.
_RADIUS_IN_FWHM = 2.6
# A trend goes on beyond the outermost stars, by this share of their field.
_FIELD_MARGIN = 0.1


def fit_psf(image, background, stars, *, degree):
    """Fit the PSF of an exposure to its stars.

    Parameters
    ----------
    image : Image
    background : (ny, nx) array
        [adu]
    stars : astropy.table.Table
        ``x``, ``y`` [pixel], ``flux`` [adu], ``half_light_radius`` [pixel].
    degree : int
        Wanted degree of the variation over the field; lowered where the stars
        are too few for it.

    Returns
    -------
    psf : PSF
    stars : astropy.table.Table
        Those that were kept, with ``x``, ``y``, ``flux`` of the fit and
        ``residual``, the rms of the residuals over the flux.

    Raises
    ------
    BadImageError
        If fewer than 3 stars fit.
    """
    fwhm = 2 * float(np.median(stars["half_light_radius"])) if len(stars) else 0.0
    radius = int(np.clip(np.ceil(_RADIUS_IN_FWHM * fwhm), 7, 45))
    oversampling = int(np.clip(np.ceil(6 / max(fwhm, 1)), 1, 3))
    stars = _inside(stars, image.data.shape, radius)
    if len(stars) < 3:
        raise BadImageError(
            f"Image {image.exposure_id!r} must have at least 3 stars to measure its "
            f"PSF on (alone, round, unsaturated), got {len(stars)}."
        )
    fit = _StarFit(image, background, stars, radius, oversampling, fwhm)
    for _ in range(N_ITERATIONS):
        fit.update_stamps(degree)
        fit.update_stars()
    psf = PSF(
        coefficients=fit.coefficients,
        oversampling=oversampling,
        degree=fit.degree,
        shape=image.data.shape,
        n_stars=int(fit.good.sum()),
        field=fit.field(),
    )
    kept = stars[fit.good]
    kept["x"], kept["y"] = fit.x[fit.good], fit.y[fit.good]
    kept["flux"], kept["residual"] = fit.flux[fit.good], fit.residual[fit.good]
    return psf, kept


def _inside(stars, shape, radius):
    x, y = np.asarray(stars["x"]), np.asarray(stars["y"])
    inside = (x > radius + 1) & (x < shape[1] - radius - 2)
    inside &= (y > radius + 1) & (y < shape[0] - radius - 2)
    return stars[inside]


class _StarFit:
    """The stars' stamps, and the alternation between their shape and their fluxes."""

    def __init__(self, image, background, stars, radius, oversampling, fwhm):
        self.shape, self.radius, self.oversampling = (
            image.data.shape,
            radius,
            oversampling,
        )
        self.x, self.y = np.array(stars["x"], float), np.array(stars["y"], float)
        self.flux, self.level = np.array(stars["flux"], float), np.zeros(len(stars))
        self.corner_x = np.round(self.x).astype(int) - radius
        self.corner_y = np.round(self.y).astype(int) - radius
        side = np.arange(2 * radius + 1)
        rows = self.corner_y[:, None, None] + side[None, :, None]
        columns = self.corner_x[:, None, None] + side[None, None, :]
        self.pixels = np.nan_to_num(
            image.data[rows, columns] - background[rows, columns]
        )
        self.whole = image.usable[rows, columns]
        self.rows, self.columns = rows, columns
        self.good = np.ones(len(stars), dtype=bool)
        self.residual = np.zeros(len(stars))
        self.middle = radius * oversampling
        self.fwhm = fwhm
        offsets = (np.arange(2 * self.middle + 1) - self.middle) / oversampling
        self.grid_y, self.grid_x = np.meshgrid(offsets, offsets, indexing="ij")
        # Start: a round Gaussian; the iterations replace it whole.
        start = np.exp(-(self.grid_x**2 + self.grid_y**2) / (2 * (fwhm / 2.3548) ** 2))
        self.coefficients = (start / start.sum() * oversampling**2)[None]
        self.degree = 0

    def field(self):
        """Return the box that holds the stars in the fit, and a little more [pixel]."""
        box = []
        for places in (self.x[self.good], self.y[self.good]):
            margin = _FIELD_MARGIN * np.ptp(places)
            box += [float(places.min() - margin), float(places.max() + margin)]
        return tuple(box)

    def model(self):
        """Return each star's model of flux 1 on its pixels, and its two slopes."""
        terms = polynomial_terms(self.x, self.y, self.shape, self.degree)
        values, slope_x, slope_y = (np.empty(self.pixels.shape) for _ in range(3))
        half = 0.5 / self.oversampling
        for i, weights in enumerate(terms.T):
            stamp = spline_filter(
                np.tensordot(weights, self.coefficients, axes=1), order=3
            )
            row = self.middle + (self.rows[i] - self.y[i]) * self.oversampling
            column = self.middle + (self.columns[i] - self.x[i]) * self.oversampling
            row, column = np.broadcast_arrays(row, column)

            def at(dy, dx, stamp=stamp, row=row, column=column):
                return map_coordinates(
                    stamp, [row + dy, column + dx], order=3, prefilter=False
                )

            values[i] = at(0, 0)
            slope_y[i] = (at(-0.5, 0) - at(0.5, 0)) / (2 * half)
            slope_x[i] = (at(0, -0.5) - at(0, 0.5)) / (2 * half)
        return values, slope_x, slope_y

    def update_stars(self):
        """Fit flux, shift and level of each star; drop those that do not fit."""
        values, slope_x, slope_y = self.model()
        distance = np.hypot(
            self.columns - self.x[:, None, None], self.rows - self.y[:, None, None]
        )
        for i in range(len(self.x)):
            near = self.whole[i] & (distance[i] < 1.5 * self.fwhm)
            if near.sum() < 12:
                self.good[i] = False
                continue
            columns = (values[i], self.flux[i] * slope_x[i], self.flux[i] * slope_y[i])
            design = np.stack(
                [*(c[near] for c in columns), np.ones(near.sum())], axis=1
            )
            # A neighbour's wing must not lift the level: the level is held near 0.
            ridge = np.diag([0, 0, 0, 0.05 * near.sum()])
            target = self.pixels[i][near]
            solution = np.linalg.lstsq(
                design.T @ design + ridge, design.T @ target, rcond=None
            )[0]
            self.flux[i], self.level[i] = solution[0], solution[3]
            self.x[i] += np.clip(solution[1], -0.3, 0.3)
            self.y[i] += np.clip(solution[2], -0.3, 0.3)
            left = target - design @ solution
            self.residual[i] = left.std() / max(solution[0], 1e-9)
        self.good &= self.flux > 0
        if self.good.sum() > 5:
            spread = self.residual[self.good]
            limit = np.median(spread) + 4 * max(
                mad_std(spread), 0.1 * np.median(spread)
            )
            self.good &= self.residual < limit

    def update_stamps(self, wanted_degree):
        """Add to the stamps what the stars show beyond the model."""
        left = self._residuals_on_grid()
        degree = wanted_degree
        while (
            degree
            and self.good.sum() < _STARS_PER_TERM * (degree + 1) * (degree + 2) / 2
        ):
            degree -= 1
        # Light that only a few stars show at an offset is a neighbour, not the PSF.
        left = _clip_outliers(left)
        terms = polynomial_terms(
            self.x[self.good], self.y[self.good], self.shape, degree
        )
        weights = np.where(np.isfinite(left), self._weights()[:, None], 0)
        step = _fit_each_pixel(terms, np.nan_to_num(left), weights)
        old = np.zeros((len(terms), *self.grid_x.shape))
        old[shared_terms(self.degree, degree)] = self.coefficients
        self.coefficients = _close(old + step.reshape(old.shape), self.oversampling)
        self.degree = degree

    def _weights(self):
        """Weight stars by flux, evened out so that no single one decides."""
        flux = self.flux[self.good]
        return np.minimum(flux, 3 * np.median(flux))

    def _residuals_on_grid(self):
        values, _, _ = self.model()
        scale = self.flux[:, None, None]
        left = (self.pixels - self.level[:, None, None] - scale * values) / scale
        left = np.where(self.whole, left, np.nan)[self.good]
        on_grid = np.empty((len(left), self.grid_x.size), dtype=np.float32)
        for k, i in enumerate(np.flatnonzero(self.good)):
            row = self.y[i] + self.grid_y - self.corner_y[i]
            column = self.x[i] + self.grid_x - self.corner_x[i]
            on_grid[k] = map_coordinates(
                left[k], [row, column], order=1, cval=np.nan
            ).ravel()
        return on_grid


def _clip_outliers(left):
    with warnings.catch_warnings():  # an offset that no star shows is all NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        middle = np.nanmedian(left, axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(left - middle), axis=0)
    clipped = np.where(np.abs(left - middle) > 3 * spread, np.nan, left)
    # One or two stars can tell no outlier.
    return clipped if len(left) > 4 else left


def _fit_each_pixel(terms, values, weights):
    """Fit a polynomial to each column of ``values``, with its own weights."""
    normal = np.einsum("ts,sp,us->ptu", terms, weights, terms, optimize=True)
    target = np.einsum("ts,sp->pt", terms, weights * values, optimize=True)
    trace = np.einsum("ptt->p", normal)[:, None, None] / len(terms)
    normal += np.eye(len(terms)) * (1e-6 * trace + 1e-30)
    return np.linalg.solve(normal, target[..., None])[..., 0].T


def _close(coefficients, oversampling):
    """Bring the stamps to 0 at their rim, and the first to sum 1."""
    k = coefficients.shape[1]
    y, x = np.mgrid[:k, :k] - k // 2
    distance = np.hypot(x, y) / (k // 2)
    rim = (distance > 0.92) & (distance <= 1)
    coefficients = coefficients - np.median(coefficients[:, rim], axis=1)[:, None, None]
    coefficients = coefficients * np.clip((1.0 - distance) / 0.08, 0, 1)
    return coefficients / (coefficients[0].sum() / oversampling**2)
