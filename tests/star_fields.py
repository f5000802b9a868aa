"""Small fields of stars whose positions, fluxes and PSF are known."""

import numpy as np
from astropy.table import Table
from scipy.ndimage import uniform_filter

from gmadet_nb.campaign.demo import optics
from gmadet_nb.imaging.photometry import find_sources, fit_background
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_fit import fit_psf
from gmadet_nb.imaging.stars import choose_stars, mark_stars
from gmadet_nb.imaging.subtract import Difference


def moffat(shape, fwhm, **fields):
    """Return a true PSF, in the words of the demo's optics."""
    return optics.MoffatField(fwhm=fwhm, beta=3.0, shape=shape, **fields)


def known_psf(shape, fwhm):
    """Return a round `PSF`, three stamp pixels to the detector's one."""
    side = 2 * 3 * int(np.ceil(4 * fwhm)) + 1
    middle = {"x": [side // 2], "y": [side // 2], "flux": [9.0]}
    stamp = expose(moffat((side, side), 3 * fwhm), middle, sky=0.0)
    return PSF(
        coefficients=stamp[None].astype(float),
        oversampling=3,
        degree=0,
        shape=shape,
        n_stars=1,
    )


def plain_difference(data, noise, psf):
    """Return a `Difference` without a mask, over an empty reference."""
    return Difference(
        data=data.astype(np.float32),
        noise=noise.astype(np.float32),
        mask=np.zeros(data.shape, np.uint8),
        reference=np.zeros(data.shape, np.float32),
        psf=psf,
        quality=None,
        method="kernel",
        convolved="reference",
        n_stars=0,
        kernel_sum=1.0,
        kernel_sum_scatter=0.0,
    )


def true_psf(optics_field, *, radius=16):
    """Return the `PSF` of a true one that does not vary over the field."""
    side = 3 * (2 * radius + 1)
    fine = optics.MoffatField(
        **{
            **vars(optics_field),
            "fwhm": 3 * optics_field.fwhm,
            "shape": (side, side),
            "bowl": 0.0,
            "tilt_x": 0.0,
            "tilt_y": 0.0,
        }
    )
    middle = {"x": [side // 2], "y": [side // 2], "flux": [9.0]}
    stamp = uniform_filter(expose(fine, middle, sky=0.0), 3)
    return PSF(
        coefficients=stamp[None].astype(float),
        oversampling=3,
        degree=0,
        shape=optics_field.shape,
        n_stars=1,
    )


def true_fwhm(psf, x, y):
    """Measure the FWHM of a true PSF with the pixel's own width in it."""
    alpha, _ = psf.at(x, y)
    step, reach = 0.05, 2 * float(psf.fwhm)
    offsets = np.arange(-reach, reach + step / 2, step)
    r2 = offsets[:, None] ** 2 + offsets[None, :] ** 2
    seen = uniform_filter((1 + r2 / alpha**2) ** -psf.beta, round(1 / step))
    area = np.count_nonzero(seen > 0.5 * seen.max()) * step**2
    return 2 * np.sqrt(area / np.pi)


def scatter_stars(shape, rng, *, cell, flux=(2e4, 2e5), border=0):
    """Place one star in each cell of a grid, anywhere in its inner half."""
    ny, nx = (n - 2 * border for n in shape)
    y, x = np.mgrid[: ny // cell, : nx // cell].reshape(2, -1) * cell + border
    n = len(x)
    return Table(
        {
            "x": x + cell * rng.uniform(0.25, 0.75, n),
            "y": y + cell * rng.uniform(0.25, 0.75, n),
            "flux": np.exp(rng.uniform(*np.log(flux), n)),
        }
    )


def expose(psf, stars, *, sky=200.0, gain=2.0, read_noise=5.0, rng=None):
    """Return the counts of a field [adu]; without noise where ``rng`` is None."""
    expected = np.full(psf.shape, float(sky))
    optics.add_stars(expected, stars["x"], stars["y"], stars["flux"], psf)
    if rng is None:
        return expected.astype(np.float32)
    electrons = rng.poisson(expected * gain) + rng.normal(0, read_noise, psf.shape)
    return (electrons / gain).astype(np.float32)


def measure(image, noise, *, degree=0):
    """Find the sources of an image and fit its PSF, as 01_images does."""
    background, _ = fit_background(image)
    sources = find_sources(image, background, noise)
    peak = 0.8 * image.saturation
    sources["is_star"] = mark_stars(sources, saturation_peak=peak)
    psf, stars = fit_psf(image, background, choose_stars(sources), degree=degree)
    return background, sources, psf, stars
