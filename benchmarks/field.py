"""A simulated pair of images whose truth is known, for the benchmarks of the physics.

2,000 stars on 2048 x 2048 pixels through a Moffat PSF whose FWHM runs from 2.8 to 3.4
pixels over the field, saturated stars, bad columns and cosmic rays; a sharper and
deeper reference; 100 transients that the reference lacks.
"""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS

from gmadet_nb.campaign.demo import detector, optics
from gmadet_nb.files.images import MASK_BITS, Image, make_mask

SATURATION = 55_000.0  # [adu]
SKY = 300.0  # [adu]
READ_NOISE = 6.0  # [electron]
PIXEL_SCALE = 1.0  # [arcsec]
# Per pixel of the detector.
STAR_DENSITY = 2000 / 2048**2
TRANSIENT_DENSITY = 100 / 2048**2
RAY_DENSITY = 80 / 2048**2


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A science image and its reference, with their truth.

    Attributes
    ----------
    science, reference : Image
        On the same pixels unless the reference was turned; each with its true WCS.
    science_psf, reference_psf : gmadet_nb.campaign.demo.optics.MoffatField
    stars : astropy.table.Table
        ``x``, ``y`` [pixel of the science image], ``flux`` [adu in it].
    transients : astropy.table.Table
        The same columns and ``snr``, of a matched filter with the true PSF.
    rays : (ny, nx) bool array
        Pixels of the science image that a cosmic ray hit, and their neighbours.
    flux_ratio : float
        Counts of a star in the science image over those in the reference.
    """

    science: Image
    reference: Image
    science_psf: optics.MoffatField
    reference_psf: optics.MoffatField
    stars: Table
    transients: Table
    rays: np.ndarray
    flux_ratio: float


def make_pair(
    seed, *, side=2048, gain=2.0, rotation=0.0, shift=0.0, reference_fwhm=2.3
):
    """Make a science image and its reference.

    Parameters
    ----------
    seed : int
    side : int
        [pixel]
    gain : float
        Of both cameras [electron/adu].
    rotation : float
        Of the reference against the science image, about its middle [degree].
    shift : float
        Of the reference along x and, half of it, along -y [pixel].
    reference_fwhm : float
        Before the pixels [pixel].

    Returns
    -------
    pair : Pair
    """
    rng = np.random.default_rng([seed, 77])
    shape = (side, side)
    # The bowl adds a quarter of the FWHM from center to corner: 2.8 to 3.4 pixels with
    # the pixel's own width in it.
    science_psf = optics.MoffatField(
        fwhm=2.65, beta=3.0, shape=shape, bowl=0.25, tilt_x=0.03, e1=0.02
    )
    reference_psf = optics.MoffatField(
        fwhm=reference_fwhm, beta=3.2, shape=shape, bowl=0.05, e2=0.02
    )
    stars = _draw_stars(side, rng)
    transients = _draw_transients(side, science_psf, gain, stars, rng)
    ratio = 0.5
    turned = turn(stars, side, rotation=rotation, shift=shift)
    turned["flux"] = stars["flux"] / ratio
    rays = detector.draw_cosmic_rays(shape, round(RAY_DENSITY * side**2), rng=rng)
    science = expose(
        science_psf, [stars, transients], gain=gain, rng=rng, extra=rays, name="science"
    )
    reference = expose(
        reference_psf, [turned], sky=SKY / ratio, gain=gain, rng=rng, name="reference"
    )
    there = make_wcs(side, rotation=rotation, shift=shift)
    reference = replace(reference, wcs=there)
    return Pair(
        science=science,
        reference=reference,
        science_psf=science_psf,
        reference_psf=reference_psf,
        stars=stars,
        transients=transients,
        rays=_grow(rays > 0),
        flux_ratio=ratio,
    )


def turn(sources, side, *, rotation, shift):
    """Return sources where the reference has them."""
    middle, angle = (side - 1) / 2, np.radians(rotation)
    dx, dy = sources["x"] - middle, sources["y"] - middle
    turned = sources.copy()
    turned["x"] = middle + dx * np.cos(angle) - dy * np.sin(angle) + shift
    turned["y"] = middle + dx * np.sin(angle) + dy * np.cos(angle) - shift / 2
    return turned


def expose(psf, tables, *, gain, rng, sky=SKY, extra=0.0, name="image"):
    """Take an image of sources, with noise, saturation and two bad columns."""
    side = psf.shape[0]
    expected = np.full(psf.shape, float(sky))
    for sources in tables:
        optics.add_stars(expected, sources["x"], sources["y"], sources["flux"], psf)
    electrons = rng.poisson(expected * gain) + rng.normal(0, READ_NOISE, psf.shape)
    data = np.minimum(electrons / gain + extra, SATURATION).astype(np.float32)
    columns = (np.array([0.31, 0.72]) * side).astype(int)
    data[:, columns] = np.nan
    mask = make_mask(data, SATURATION)
    mask[:, columns] |= MASK_BITS["bad"]
    return Image(
        data=data,
        mask=mask,
        gain=gain,
        read_noise=READ_NOISE,
        saturation=SATURATION,
        zero_point=25.0,
        exposure_id=name,
        wcs=make_wcs(side),
        filter="r",
    )


def make_wcs(side, *, rotation=0.0, shift=0.0):
    """Return a TAN WCS, north up but for the rotation that `turn` makes."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = (side + 1) / 2 + shift, (side + 1) / 2 - shift / 2
    angle = np.radians(rotation)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = np.diag([-PIXEL_SCALE / 3600, PIXEL_SCALE / 3600]) @ back
    wcs.array_shape = (side, side)
    return wcs


def _draw_stars(side, rng):
    """Draw stars of 600 adu to 6 million, fainter ones more often."""
    n = round(STAR_DENSITY * side**2)
    # Cumulative counts fall as flux^-0.6: some 40 of 2,000 saturate.
    flux = 600 * (1 - rng.uniform(0, 1 - 1e4**-0.6, n)) ** (-1 / 0.6)
    x, y = rng.uniform(-5, side + 4, (2, n))
    return Table({"x": x, "y": y, "flux": flux})


def _draw_transients(side, psf, gain, stars, rng):
    """Draw transients of S/N 4 to 60, away from the edge and from each other."""
    n = round(TRANSIENT_DENSITY * side**2)
    cells = int(np.ceil(np.sqrt(n)))
    cell = (side - 80) / cells
    chosen = rng.permutation(cells**2)[:n]
    x = 40 + (chosen % cells + rng.uniform(0.2, 0.8, n)) * cell
    y = 40 + (chosen // cells + rng.uniform(0.2, 0.8, n)) * cell
    snr = np.exp(rng.uniform(np.log(4), np.log(60), n))
    stamps = optics.draw_stamps(psf, x, y, radius=12)
    # Noise of both images on empty sky, the reference's times the flux ratio.
    variance = (SKY / gain + (READ_NOISE / gain) ** 2) * 1.5
    flux = snr * np.sqrt(variance / np.sum(stamps**2, axis=(1, 2)))
    bright = stars[stars["flux"] > 2e5]
    far = np.hypot(x[:, None] - bright["x"], y[:, None] - bright["y"]).min(axis=1) > 25
    return Table({"x": x, "y": y, "flux": flux, "snr": snr})[far]


def _grow(hit):
    grown = hit.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(hit, step, axis=axis)
    return grown
