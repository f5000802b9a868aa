"""How the demo's telescope looks at the field: pointings, seeing, sky, oddities."""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from gmadet_nb.campaign.demo import optics

CENTER = (152.3, 21.7)  # of the field: ra, dec [deg]
PIXEL_SCALE = 0.9  # [arcsec/pixel]
ZERO_POINT = 25.5  # of one exposure through a clear sky [mag]
GAIN, READ_NOISE = 1.6, 8.0  # [electron/adu], [electron]
SATURATION = 60000.0  # what the header says [adu]
FULL_WELL = 61000.0  # where the charge bleeds [adu]
EXPTIME, CADENCE = 60.0, 300.0  # [s]
START = (61113.05, 61115.08)  # of the two nights [MJD]
N_COMBINED = 16  # exposures in the reference
MARGIN = 32  # largest dither and rotation [pixel]
SATELLITES = ((0.62, -0.31), (0.24, 0.47))  # of the nights: height and slope
N_TRANSIENTS = 12
FEWEST_PIXELS = 160  # along a side
# Part of each random stream.
STARS, GALAXIES, VARIABLES, DETECTOR, PLAN, MOVERS, TRANSIENTS, PHOTONS = range(8)


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How one exposure is taken.

    Attributes
    ----------
    exposure_id : str
        Stem of the file.
    mjd : float
        Start [d, UTC].
    wcs : astropy.wcs.WCS
        True position of each pixel.
    psf : MoffatField
        Its ``shape`` is the detector's (ny, nx).
    sky : float
        Level at the center [adu].
    gradient : tuple of float
        Relative rise of the sky from edge to edge, in x and in y.
    transparency : float
        Share of the light that the air lets through.
    n_combined : int
        Exposures that were averaged into this one.
    oddities : tuple of str
        Any of ``trailed``, ``egain``, ``nan_block``.
    satellite : tuple of float or None
        Height at which a satellite enters on the left, over ny, and its slope.
    """

    exposure_id: str
    mjd: float
    wcs: WCS
    psf: optics.MoffatField
    sky: float
    gradient: tuple[float, float]
    transparency: float = 1.0
    n_combined: int = 1
    oddities: tuple[str, ...] = ()
    satellite: tuple[float, float] | None = None

    @property
    def shape(self):
        """(ny, nx) of the detector."""
        return self.psf.shape

    @property
    def gain(self):
        """Detected electrons per count, of the average [electron/adu]."""
        return GAIN * self.n_combined

    @property
    def read_noise(self):
        """Read-out noise of all that was averaged [electron]."""
        return READ_NOISE * np.sqrt(self.n_combined)

    @property
    def zero_point(self):
        """Magnitude of a source of 1 adu [mag]."""
        return ZERO_POINT + 2.5 * np.log10(self.transparency)

    def variance(self, expected):
        """Return the variance of pixels that expect so many counts [adu^2]."""
        return expected / self.gain + (self.read_noise / self.gain) ** 2

    def to_flux(self, mag):
        """Turn magnitudes into fluxes in this exposure [adu]."""
        return 10 ** (-0.4 * (np.asarray(mag, float) - self.zero_point))

    def to_pixels(self, table):
        """Return the 0-based x and y of a table's ``ra`` and ``dec``."""
        return self.wcs.all_world2pix(table["ra"], table["dec"], 0)


def make_wcs(shape, *, ra, dec, rotation):
    """Return a gnomonic WCS with (ra, dec) [deg] at the center of the detector.

    East is left and north is up, turned by ``rotation`` [deg].
    """
    ny, nx = shape
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]  # FITS counts from 1
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * PIXEL_SCALE / 3600
    wcs.wcs.radesys, wcs.wcs.equinox = "ICRS", 2000.0
    wcs.wcs.set()
    return wcs


def field_wcs(shape):
    """Return the WCS of the undithered field, on which everything is placed."""
    return make_wcs(shape, ra=CENTER[0], dec=CENTER[1], rotation=0.0)


def plan_night(night, n_exposures, *, shape, seed):
    """Draw how the exposures of a night are taken.

    Parameters
    ----------
    night : int
        1 or 2; the oddities of header and pixels are in night 1.
    n_exposures : int
        With 4 and more in night 1, the one before the last is trailed.
    shape : tuple of int
        (ny, nx) of the detector.
    seed : int
        Of the whole demo.

    Returns
    -------
    exposures : list of Exposure
        In the order of time.
    """
    rng = np.random.default_rng([seed, PLAN, night])
    n = n_exposures
    fwhm = rng.permutation(np.linspace(2.65, 3.45, n)) + rng.uniform(-0.03, 0.03, n)
    sky = rng.permutation(np.geomspace(330, 820, n)) * rng.uniform(0.95, 1.05, n)
    clear = rng.permutation(np.linspace(1.0, 0.78, n))
    # A spiral of golden angles: no two pointings are nearer than 5 pixels.
    turn = rng.uniform(0, 2 * np.pi) + np.arange(n) * np.pi * (3 - np.sqrt(5))
    reach = np.linspace(6, 20, n)
    exposures = []
    for i in range(n):
        oddities = _oddities(n)[i] if night == 1 else ()
        trail = (10.5, 6.0) if "trailed" in oddities else (0.0, 0.0)
        x = (shape[1] - 1) / 2 + reach[i] * np.cos(turn[i])
        y = (shape[0] - 1) / 2 + reach[i] * np.sin(turn[i])
        ra, dec = field_wcs(shape).all_pix2world(x, y, 0)
        exposures.append(
            Exposure(
                exposure_id=f"night{night}_{i + 1:02d}",
                mjd=START[night - 1] + i * CADENCE / 86400,
                wcs=make_wcs(shape, ra=ra, dec=dec, rotation=rng.uniform(-0.4, 0.4)),
                psf=_draw_psf(fwhm[i], shape, trail=trail, rng=rng),
                sky=sky[i],
                gradient=tuple(rng.uniform(-0.08, 0.08, 2)),
                transparency=clear[i],
                oddities=oddities,
                satellite=SATELLITES[night - 1] if i == (3, 1)[night - 1] % n else None,
            )
        )
    return exposures


def plan_reference(*, shape, seed):
    """Draw how the reference is taken: 16 exposures, good seeing, a wider field."""
    shape = (shape[0] + 48, shape[1] + 48)
    rng = np.random.default_rng([seed, PLAN, 0])
    return Exposure(
        exposure_id="reference",
        mjd=START[0] - 40,
        wcs=make_wcs(shape, ra=CENTER[0], dec=CENTER[1], rotation=0.0),
        psf=_draw_psf(2.4, shape, trail=(0.0, 0.0), rng=rng),
        sky=360.0,
        gradient=(0.02, -0.01),
        n_combined=N_COMBINED,
    )


def _oddities(n):
    """Return what is odd in each of the n exposures of night 1."""
    places = {"egain": 1 % n, "nan_block": 2 % n, "trailed": n - 2 if n >= 4 else None}
    return [
        tuple(name for name, place in places.items() if place == i) for i in range(n)
    ]


def _draw_psf(fwhm, shape, *, trail, rng):
    return optics.MoffatField(
        fwhm=fwhm,
        beta=rng.uniform(2.8, 3.4),
        shape=shape,
        bowl=rng.uniform(0.03, 0.08),
        tilt_x=rng.uniform(-0.02, 0.02),
        tilt_y=rng.uniform(-0.02, 0.02),
        e1=rng.uniform(-0.03, 0.03),
        e2=rng.uniform(-0.03, 0.03),
        astigmatism=rng.uniform(-0.04, 0.04),
        trail_x=trail[0],
        trail_y=trail[1],
    )
