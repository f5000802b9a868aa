"""The reference onto the science exposure: by WCS, by star patterns, refined on stars.

The science image is never resampled: an `Alignment` says where in the reference
a science pixel lies, and `resample` fetches the reference's values from there.
"""

from dataclasses import dataclass

import astroalign
import numpy as np
from scipy.ndimage import (
    distance_transform_edt,
    find_objects,
    label,
    map_coordinates,
)
from scipy.spatial import cKDTree
from scipy.stats import chi2

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.psf import polynomial_terms, shared_terms
from gmadet_nb.imaging.quality import grow

_BASE_DEGREE = 3  # enough for a TAN, SIP or TPV distortion to some 0.01 pixel
_MIN_MATCHES = 5
# Scatter of matched stars, an axis [pixel]: those that meet by chance within 1 pixel
# have 0.39 to 0.50, those of the worst real frames 0.25.
_WORST_RMS, _CHANCE_RMS = 0.35, 0.5
_N_BRIGHTEST = 300
_MIN_STARS = 15
_RIM = 2.0  # [pixel] at the edge of a reference that is not trusted


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where in the reference a science pixel lies.

    Attributes
    ----------
    x_coefficients, y_coefficients : (n_terms,) float array
        Of the polynomials that give the reference's x and y [pixel].
    degree : int
    shape : tuple of int
        (ny, nx) of the science exposure.
    rms : float
        Scatter of the matched stars, per axis [science pixel].
    n_stars : int
        Matched stars.
    method : str
        ``wcs``, ``pattern`` or ``offset``: where the first guess came from.
    """

    x_coefficients: np.ndarray
    y_coefficients: np.ndarray
    degree: int
    shape: tuple[int, int]
    rms: float
    n_stars: int
    method: str

    def __call__(self, x, y):
        """Return the position in the reference of science positions (x, y) [pixel]."""
        terms = polynomial_terms(x, y, self.shape, self.degree)
        return (
            np.tensordot(self.x_coefficients, terms, axes=1),
            np.tensordot(self.y_coefficients, terms, axes=1),
        )

    def over_grid(self, dx=0.0, dy=0.0):
        """Return the (ny, nx) positions of all science pixels, shifted by (dx, dy).

        The polynomial's powers of x are summed along one row and those of y along one
        column: many times faster than all terms at all pixels.
        """
        ny, nx = self.shape
        # At the far edge a coordinate is 1, so that its powers drop out.
        by_x = polynomial_terms(np.arange(nx) + dx, ny - 1, self.shape, self.degree)
        by_y = polynomial_terms(nx - 1, np.arange(ny) + dy, self.shape, self.degree)
        return tuple(
            (c[:, None] * by_y).T @ by_x
            for c in (self.x_coefficients, self.y_coefficients)
        )

    def find_source_pixels(self, x, y):
        """Return the science positions of reference positions (x, y) [pixel].

        By Newton's steps with the slope at the middle, which distortions hardly change.
        """
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        middle = (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2
        slope = _slope(lambda xy: np.column_stack(self(*xy.T)), self.shape).T
        place = np.tile(np.array(middle)[:, None], len(x))
        for _ in range(10):
            left = np.array([x, y]) - np.array(self(*place))
            place = place + np.linalg.solve(slope, left)
        return place

    @property
    def area_ratio(self):
        """Area of a science pixel in reference pixels, at the middle."""
        x, y = (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2
        (x0, y0), (x1, y1), (x2, y2) = self(x, y), self(x + 1, y), self(x, y + 1)
        return float(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)))


def find_alignment(science, reference, *, shape, science_wcs=None, reference_wcs=None):
    """Find where a reference lies under a science exposure.

    Tried in turn: the two WCS with a common shift from the stars, the patterns
    of the brightest stars, a shift alone. The first on which enough stars meet
    is refined by a polynomial on the matched stars.

    Parameters
    ----------
    science, reference : astropy.table.Table
        Sources of each: ``x``, ``y`` [pixel], ``flux`` [adu], ``is_star``.
    shape : tuple of int
        (ny, nx) of the science exposure.
    science_wcs, reference_wcs : astropy.wcs.WCS or None

    Returns
    -------
    alignment : Alignment

    Raises
    ------
    BadImageError
        If no way makes enough stars meet: another field, or too few stars.
    """
    here, there = _brightest(science), _brightest(reference)
    if min(len(here), len(there)) < _MIN_MATCHES:
        raise BadImageError(
            f"An alignment must have at least {_MIN_MATCHES} stars in both images, got "
            f"{len(here)} in the science exposure and {len(there)} in the reference."
        )
    for method, guess in _guesses(here, there, shape, science_wcs, reference_wcs):
        alignment = _refine(guess, here, there, shape, method)
        if alignment is not None:
            return alignment
    raise BadImageError(
        "The reference must show the same stars as the exposure, and neither their "
        "WCS nor the patterns of their stars agree. Check that it is of this field."
    )


def _brightest(sources):
    # Hot pixels move with the detector: only stars tell where the sky is, and those
    # that a PSF was fitted to tell it best.
    for kind in ("psf_star", "is_star"):
        stars = sources[sources[kind]] if kind in sources.colnames else ()
        if len(stars) >= _MIN_STARS:
            sources = stars
            break
    order = np.argsort(np.asarray(sources["flux"]))[::-1][:_N_BRIGHTEST]
    return np.column_stack([sources["x"], sources["y"]]).astype(float)[order]


def _guesses(here, there, shape, science_wcs, reference_wcs):
    """Yield (method, function from science to reference pixels)."""
    if science_wcs is not None and reference_wcs is not None:

        def by_wcs(xy):
            sky = science_wcs.pixel_to_world_values(xy[:, 0], xy[:, 1])
            return np.column_stack(reference_wcs.world_to_pixel_values(*sky))

        mapped = by_wcs(here)
        if np.isfinite(mapped).all():
            yield "wcs", _shifted(by_wcs, mapped, there)
    for n in (50, 100):
        if n > 50 and max(len(here), len(there)) <= 50:
            break  # these were all of them
        try:
            pattern, _ = astroalign.find_transform(here[:n], there[:n])
        except (astroalign.MaxIterError, TypeError, ValueError):
            continue
        yield "pattern", pattern
    yield "offset", _shifted(lambda xy: xy, here, there, radius=max(shape) / 4)


def _shifted(guess, mapped, there, *, radius=60.0):
    """Add to a guess the shift on which most pairs of stars agree."""
    near = cKDTree(mapped[:100]).query_ball_tree(cKDTree(there[:100]), radius)
    pairs = [there[j] - mapped[i] for i, found in enumerate(near) for j in found]
    if not pairs:
        return guess
    pairs = np.array(pairs)
    votes = [len(v) for v in cKDTree(pairs).query_ball_point(pairs, 1.5)]
    best = pairs[int(np.argmax(votes))]
    shift = np.median(pairs[np.hypot(*(pairs - best).T) < 1.5], axis=0)
    return lambda xy: guess(xy) + shift


def _refine(guess, here, there, shape, method):
    """Fit a polynomial to the stars that meet under ``guess``, or return None."""
    base = _fit_base(guess, shape)
    scale = np.sqrt(abs(np.linalg.det(_slope(guess, shape))))
    tree = cKDTree(there)
    coefficients, degree = base, _BASE_DEGREE
    for radius in (4.0, 2.0, 1.0, 1.0):
        mapped = (coefficients @ polynomial_terms(*here.T, shape, degree)).T
        matched = _mutual_nearest(mapped, there, tree, radius * max(scale, 1))
        if len(matched) < max(_MIN_MATCHES, 0.15 * min(len(here), len(there))):
            return None
        i, j = matched.T
        left = there[j] - mapped[i]
        # A distortion that a WCS was fitted by may be wrong to the third order.
        order = 0 if len(i) < 8 else 1 if len(i) < 40 else 2 if len(i) < 80 else 3
        terms = polynomial_terms(*here[i].T, shape, order)
        step, kept = _fit_clipped(terms, left)
        coefficients = coefficients.copy()
        coefficients[:, shared_terms(order, degree)] += step
    final = there[j] - (coefficients @ polynomial_terms(*here.T, shape, degree)).T[i]
    scatter = float(np.sqrt(np.mean(final[kept] ** 2)))
    if scatter > _worst_rms(int(kept.sum()), method) * max(scale, 1):
        return None
    return Alignment(
        x_coefficients=coefficients[0],
        y_coefficients=coefficients[1],
        degree=degree,
        shape=tuple(shape),
        rms=scatter / max(scale, 1e-9),
        n_stars=int(kept.sum()),
        method=method,
    )


def _worst_rms(n, method):
    """Return the scatter that n matched stars may have, an axis [pixel].

    Without a WCS so many places are tried that a few stars scatter less by chance than
    many would: what one of 10,000 tries has is no alignment.
    """
    if method == "wcs":
        return _WORST_RMS
    lucky = chi2.ppf(1e-4, 2 * (n - 1)) / (2 * n)
    return min(_WORST_RMS, _CHANCE_RMS * np.sqrt(lucky))


def _fit_base(guess, shape):
    """Write a guess as a polynomial over the detector."""
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 9), np.linspace(0, shape[0] - 1, 9))
    mapped = guess(np.column_stack([x.ravel(), y.ravel()]))
    terms = polynomial_terms(x.ravel(), y.ravel(), shape, _BASE_DEGREE)
    return np.linalg.lstsq(terms.T, mapped, rcond=None)[0].T


def _slope(guess, shape):
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    middle, right, up = guess(np.array([[x, y], [x + 1, y], [x, y + 1]]))
    return np.array([right - middle, up - middle])


def _mutual_nearest(mapped, there, tree, radius):
    distance, nearest = tree.query(mapped, distance_upper_bound=radius)
    back = cKDTree(mapped).query(there, distance_upper_bound=radius)[1]
    i = np.flatnonzero(np.isfinite(distance))
    i = i[back[nearest[i]] == i]
    return np.column_stack([i, nearest[i]])


def _fit_clipped(terms, left):
    """Fit ``left`` (n, 2) by ``terms`` (n_terms, n), outliers left out."""
    kept = np.ones(len(left), dtype=bool)
    for _ in range(3):
        step = np.linalg.lstsq(terms[:, kept].T, left[kept], rcond=None)[0].T
        size = np.hypot(*(left - (step @ terms).T).T)
        kept = size <= 3 * max(np.median(size), 0.02)
    return step, kept


def resample(data, mask, alignment):
    """Fetch an image's pixels at the places where a science exposure has its own.

    Values are interpolated by cubic splines, saturated ones too, since a hole
    would ring; the mask is carried beside them. Flux is kept: each value is
    times the area of the new pixel in old ones.

    Parameters
    ----------
    data : (ny, nx) float array
        NaN where there is no measurement.
    mask : (ny, nx) uint8 array
    alignment : Alignment

    Returns
    -------
    data : (ny, nx) float32 array
        On the science grid; finite everywhere.
    mask : (ny, nx) uint8 array
        ``edge`` where the image does not reach; the bits of every old pixel
        that the new one draws on.
    """
    filled = fill_holes(data)
    # Finer pixels are averaged over the coarser one, or most of their light is lost.
    n = max(1, int(np.ceil(np.sqrt(alignment.area_ratio) - 0.1)))
    inner = (np.arange(n) + 0.5) / n - 0.5
    values = np.zeros(alignment.shape, dtype=np.float32)
    carried = np.zeros(alignment.shape, dtype=np.uint8)
    for dy, dx in np.stack(np.meshgrid(inner, inner), axis=-1).reshape(-1, 2):
        one, bits = _fetch(filled, mask, alignment, dx, dy)
        values += one / n**2
        carried |= bits
    return values * np.float32(alignment.area_ratio), carried


def _fetch(data, mask, alignment, dx, dy):
    """Interpolate at the places of the science pixels, each shifted by (dx, dy)."""
    x, y = alignment.over_grid(dx, dy)
    values = map_coordinates(data, [y, x], order=3, mode="nearest", output=np.float32)
    carried = _fetch_mask(mask, x, y)
    height, width = data.shape
    # The outermost pixels of a detector are seldom good, and splines end in ripples.
    outside = (x < _RIM) | (x > width - 1 - _RIM) | (y < _RIM) | (y > height - 1 - _RIM)
    carried[outside] |= MASK_BITS["edge"]
    return values, carried


def _fetch_mask(mask, x, y):
    """Give a new pixel the bits of each old one that has a share in it."""
    carried = np.zeros(x.shape, dtype=np.uint8)
    bits = [MASK_BITS[name] for name in ("bad", "saturated", "injected")]
    hit = (mask & sum(bits)) > 0
    if not hit.any():
        return carried
    # All bits at once over the image, each of them where there is one.
    rows, columns = (
        np.clip(np.rint(place), 0, size - 1).astype(np.int32)
        for place, size in zip((y, x), mask.shape, strict=True)
    )
    near = grow(hit, 1)[rows, columns]
    places = [y[near], x[near]]
    for bit in bits:
        share = map_coordinates(
            ((mask & bit) > 0).astype(np.float32), places, order=1, mode="nearest"
        )
        carried[near] |= np.where(share > 0.01, bit, 0).astype(np.uint8)
    return carried


def noise_correlation(alignment):
    """Return how much a resampling correlates the noise of neighbouring pixels.

    A value between pixels is a mean of several, so that its variance is below theirs,
    and what it lacks is in the covariance with its neighbours: at large scales no noise
    is lost. A blur by (a, 1 - 2 a, a) along each axis does nearly the same.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    share : float
        a; 0 where pixels meet pixels.
    """
    ny, nx = alignment.shape
    places = alignment(
        *np.meshgrid(np.linspace(0, nx - 1, 25), np.linspace(0, ny - 1, 25))
    )
    phases = np.concatenate([(p - np.rint(p)).ravel() for p in places])
    impulse = np.zeros(41)
    impulse[20] = 1
    # The weights that the pixels have in a value at each phase, by the splines.
    at = np.arange(41)[None, :] + phases[:, None]
    weights = map_coordinates(impulse, [at.ravel()], order=3).reshape(at.shape)
    kept = float(np.mean(np.sum(weights**2, axis=1)))
    # (1 - 2 a)^2 + 2 a^2 = kept
    return float((4 - np.sqrt(max(16 - 24 * (1 - min(kept, 1)), 0))) / 12)


def noise_blur(share):
    """Return the (3, 3) kernel that correlates noise by `noise_correlation`."""
    one = np.array([share, 1 - 2 * share, share])
    return np.outer(one, one)


def fill_holes(data):
    """Return a copy in which a NaN has the value of the nearest finite pixel."""
    holes = ~np.isfinite(data)
    filled = data.astype(np.float32)
    if holes.all():
        return np.zeros(data.shape, dtype=np.float32)
    for box in find_objects(label(holes, structure=np.ones((3, 3)))[0]):
        # One pixel more on each side holds the nearest one, but beside another hole.
        wide = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        hole = holes[wide]
        rows, columns = distance_transform_edt(
            hole, return_distances=False, return_indices=True
        )
        part = filled[wide]
        part[hole] = part[rows, columns][hole]
    return filled
