"""Injected sources, measured again in what was added to their exposure."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmadet_nb.files.images import MASK_BITS, UNUSABLE

_N_STEPS = 5
_REACH_IN_FWHM = 2.0


def recover_sources(before, after, psf, sources, *, sky_variance):
    """Fit flux and place of injected sources in the exposure less what it was before.

    Nothing but the sources and their own photons is left there, so that neighbours and
    noise of the sky cannot hide an error of the injection. Pixels are weighted as they
    would be on the sky, 1 / (V + f P / g); the error follows from the variance that
    they have, f P / g.

    Parameters
    ----------
    before, after : Image
        The exposure without and with the sources.
    psf : PSF
    sources : astropy.table.Table
        ``source_id``, ``x``, ``y`` [pixel], ``flux`` [adu], ``snr``, ``injected``,
        ``saturated``.
    sky_variance : float
        V [adu^2].

    Returns
    -------
    recovered : astropy.table.Table
        Of the sources that lie whole on usable pixels: ``source_id``, ``snr``, ``dx``,
        ``dy`` [pixel] and ``flux_ratio``, recovered less and over injected; ``pull_x``,
        ``pull_y``, ``pull_flux``, in units of the expected error; ``phase_x``,
        ``phase_y``, the injected place from the middle of its pixel [pixel].
    """
    reach = int(min(psf.radius, np.ceil(_REACH_IN_FWHM * psf.fwhm)))
    rows, x, y = _whole_ones(after, sources, reach)
    at = np.arange(-reach, reach + 1)
    box = (
        (np.rint(y).astype(int)[:, None] + at)[:, :, None],
        (np.rint(x).astype(int)[:, None] + at)[:, None, :],
    )
    added = (after.data[box].astype(float) - before.data[box]).reshape(len(x), -1)
    truth = np.asarray(sources["flux"], float)[rows]
    model = _models(psf, x, y, x, y, reach)
    variance = np.clip(truth[:, None] * model, 0, None) / after.gain
    weight = 1 / (sky_variance + variance)
    found, spread = _fit(psf, added, weight, variance, (truth, x, y), reach)
    errors = np.sqrt(np.einsum("nii->ni", spread)).T
    pulls = (found - np.array([truth, x, y])) / errors
    return Table(
        {
            "source_id": np.asarray(sources["source_id"])[rows],
            "snr": np.asarray(sources["snr"], float)[rows],
            "dx": (found[1] - x) * u.pix,
            "dy": (found[2] - y) * u.pix,
            "flux_ratio": found[0] / truth,
            "pull_flux": pulls[0],
            "pull_x": pulls[1],
            "pull_y": pulls[2],
            "phase_x": (x - np.rint(x)) * u.pix,
            "phase_y": (y - np.rint(y)) * u.pix,
        }
    )


def _whole_ones(image, sources, reach):
    """Return the rows and places of sources whose stamps are whole and usable."""
    x, y = np.asarray(sources["x"], float), np.asarray(sources["y"], float)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    ny, nx = image.data.shape
    good = np.asarray(sources["injected"]) & ~np.asarray(sources["saturated"])
    good = good & (column >= reach) & (column < nx - reach)
    good = good & (row >= reach) & (row < ny - reach)
    rows = np.flatnonzero(good)
    at = np.arange(-reach, reach + 1)
    bad = image.mask & (UNUSABLE & ~MASK_BITS["cosmic_ray"])
    inner_y, inner_x = row[rows][:, None] + at, column[rows][:, None] + at
    spoilt = bad[inner_y[:, :, None], inner_x[:, None, :]].any(axis=(1, 2))
    rows = rows[~spoilt]
    return rows, x[rows], y[rows]


def _models(psf, x, y, middle_x, middle_y, reach):
    origin = np.rint(middle_x), np.rint(middle_y)
    cut = psf.radius - reach
    stamps = psf.evaluate_many(x, y, origin=origin)
    return stamps[:, cut : cut + 2 * reach + 1, cut : cut + 2 * reach + 1].reshape(
        len(x), -1
    )


def _fit(psf, pixels, weight, variance, start, reach, *, h=0.25):
    """Fit flux, x and y of each source by Gauss-Newton steps.

    Returns
    -------
    found : (3, n) array
    spread : (n, 3, 3) array
        Their covariance: that of a fit with these weights to pixels of this variance.
    """
    flux, x0, y0 = start
    found = np.array([flux, x0, y0])
    spread = np.zeros((len(x0), 3, 3))
    for _ in range(_N_STEPS if len(x0) else 0):
        flux, x, y = found
        model = _models(psf, x, y, x0, y0, reach)
        by_x, by_y = (
            (
                _models(psf, x + dx, y + dy, x0, y0, reach)
                - _models(psf, x - dx, y - dy, x0, y0, reach)
            )
            / (2 * h)
            for dx, dy in ((h, 0), (0, h))
        )
        design = np.stack([model, flux[:, None] * by_x, flux[:, None] * by_y], axis=1)
        weighted = design * weight[:, None]
        inverse = np.linalg.inv(weighted @ design.transpose(0, 2, 1))
        left = pixels - flux[:, None] * model
        step = (inverse @ (weighted @ left[..., None]))[..., 0].T
        most = np.array([0.5 * flux, np.full(len(x), 0.5), np.full(len(x), 0.5)])
        found = found + np.clip(step, -most, most)
        noise = (weighted * variance[:, None]) @ weighted.transpose(0, 2, 1)
        spread = inverse @ noise @ inverse
    return found, spread
