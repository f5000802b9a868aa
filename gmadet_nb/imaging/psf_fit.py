"""The fit of a PSF to the stars of an exposure.

First a Moffat profile whose width and ellipticity are polynomials in the position is
fitted to all stars at once, with the flux, place and level of each. Then what the
stars show beyond it goes into oversampled stamps, each pixel a polynomial in the
position, as DAOPHOT does (Stetson 1987, PASP 99, 191): by least squares through the
very interpolation that evaluates them, and drawn to 0 where the stars cannot tell.
"""

import numpy as np

from gmadet_nb.errors import BadImageError
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_moffat import start_moffat, step_moffat
from gmadet_nb.imaging.psf_stamps import StampModel
from gmadet_nb.imaging.psf_stars import StarStamps, normal_of_stars, solve_stars

# Radius in FWHM within which the flux is 1: a Moffat profile of index 3 holds 99.7%
# of its light there, one of index 2.5 99.0%.
RADIUS_IN_FWHM = 4.0
# Stars needed for each free number of a polynomial: fewer give wild corners.
_STARS_PER_TERM = 6
_N_MOFFAT = 8
_N_STAMPS = 2
# A trend goes on beyond the outermost stars, by this share of their field.
FIELD_MARGIN = 0.1
_MAX_RADIUS = 60  # [pixel]


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
        Wanted degree of the variation of the stars' shape over the field; lowered
        where the stars are too few for it. The stamps' own degree is up to two higher
        where the width varies so much that it takes this to follow it.

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
    radius = int(np.clip(np.ceil(RADIUS_IN_FWHM * fwhm), 8, _MAX_RADIUS))
    stars = _inside(stars, image.data.shape, 1.5 * fwhm)
    _refuse_few(image, len(stars))
    stamps = StarStamps(image, background, stars, radius)
    moffat = fit_moffat(stamps, start_moffat(fwhm, image.data.shape), fwhm, degree)
    _refuse_few(image, int(stamps.good.sum()))
    field = field_of(stamps, image.data.shape)
    model = StampModel.of_moffat(moffat, field, fwhm, radius)
    for _ in range(_N_STAMPS):
        fit_stamps(stamps, model, fwhm)
    _refuse_few(image, int(stamps.good.sum()))
    psf = PSF(
        coefficients=model.stamps(),
        oversampling=model.oversampling,
        degree=model.degree,
        shape=image.data.shape,
        n_stars=int(stamps.good.sum()),
        field=field,
    )
    kept = stars[stamps.good]
    for name in ("x", "y", "flux", "residual"):
        kept[name] = getattr(stamps, name)[stamps.good]
    return psf, kept


def _refuse_few(image, n_stars):
    if n_stars < 3:
        raise BadImageError(
            f"Image {image.exposure_id!r} must have at least 3 stars to measure its "
            f"PSF on (alone, round, unsaturated), got {n_stars}."
        )


def _inside(stars, shape, margin):
    x, y = np.asarray(stars["x"]), np.asarray(stars["y"])
    inside = (x > margin) & (x < shape[1] - 1 - margin)
    inside &= (y > margin) & (y < shape[0] - 1 - margin)
    return stars[inside]


def field_of(stamps, shape):
    """Return the box that holds the stars in the fit, and a little more [pixel]."""
    box = []
    for places, size in ((stamps.x, shape[1]), (stamps.y, shape[0])):
        places = places[stamps.good]
        margin = FIELD_MARGIN * np.ptp(places)
        box.append(float(max(places.min() - margin, 0)))
        box.append(float(min(places.max() + margin, size - 1)))
    return tuple(box)


def fit_moffat(stamps, moffat, fwhm, degree):
    """Fit shape, fluxes, places and levels together, by Gauss-Newton steps."""
    for i in range(_N_MOFFAT):
        dx, dy = stamps.offsets()
        norm = moffat.norm_at(stamps.x, stamps.y, stamps.radius)
        scale = norm[:, None, None].astype(np.float32)
        slopes = [scale * s for s in moffat.slopes(stamps.x, stamps.y, dx, dy)]
        if i == 0:
            stamps.start_fluxes(slopes[0], within=fwhm)
        stamps.measure_sky(slopes[0], beyond=2.5 * fwhm)
        if i > 2:
            stamps.judge(slopes[0], within=1.2 * fwhm)
        weights = stamps.weights(slopes[0], model_error=0.03 if i > 2 else 0.1)
        left = stamps.left(slopes[0])
        normal, target = normal_of_stars(stamps, slopes, left, weights)
        if i == 2:
            degree = allowed_degree(int(stamps.good.sum()), degree)
            moffat = moffat.with_degree(degree)
        terms = moffat.terms(stamps.x, stamps.y)
        steps, shape = _solve_together(normal, target, terms, stamps.good)
        stamps.move(steps)
        moffat = step_moffat(moffat, shape[:-1].reshape(3, -1), shape[-1])
        # The height of each star is what was fitted; the same height is another flux.
        stamps.flux *= norm / moffat.norm_at(stamps.x, stamps.y, stamps.radius)
    return moffat


def _solve_together(normal, target, terms, good):
    """Solve for what each star has of its own and for the shape that all share."""
    n_own, n_terms = 4, len(terms)
    own = normal[:, :n_own, :n_own]
    cross = normal[:, :n_own, n_own:]
    by_own = np.linalg.solve(own, np.concatenate([cross, target[:, :n_own, None]], 2))
    inner = normal[:, n_own:, n_own:] - cross.transpose(0, 2, 1) @ by_own[:, :, :-1]
    toward = target[:, n_own:] - (cross.transpose(0, 2, 1) @ by_own[:, :, -1:])[..., 0]
    # s, e1 and e2 of a star are the terms at its place times their coefficients.
    spread = np.zeros((len(normal), 4, 3 * n_terms + 1))
    for k in range(3):
        spread[:, k, k * n_terms : (k + 1) * n_terms] = terms.T
    spread[:, 3, -1] = 1
    spread = spread * good[:, None, None]
    total = np.einsum("nip,nij,njq->pq", spread, inner, spread, optimize=True)
    wanted = np.einsum("nip,ni->p", spread, toward, optimize=True)
    total += np.eye(len(total)) * (1e-9 * np.trace(total) / len(total) + 1e-12)
    shape = np.linalg.solve(total, wanted)
    local = np.einsum("nip,p->ni", spread, shape)
    steps = by_own[:, :, -1] - np.einsum("nij,nj->ni", by_own[:, :, :-1], local)
    return steps, shape


def allowed_degree(n_stars, wanted):
    """Return the degree, at most the wanted one, that so many stars support."""
    degree = wanted
    while degree and n_stars < _STARS_PER_TERM * (degree + 1) * (degree + 2) / 2:
        degree -= 1
    return degree


def fit_stamps(stamps, model, fwhm):
    """Let the stamps take up what the stars show beyond them, then refit the stars."""
    profile, by_x, by_y = model.on_stars(stamps)
    stamps.measure_sky(profile, beyond=2.5 * fwhm)
    weights = stamps.weights(profile)
    steps = solve_stars(stamps, (profile, by_x, by_y), stamps.left(profile), weights)
    stamps.move(steps)
    profile = model.on_stars(stamps)[0]
    stamps.judge(profile, within=1.2 * fwhm)
    model.improve(stamps, profile, stamps.weights(profile))
    model.normalize()
