"""What is on the demo's sky, and how its telescope looks at it.

Everything is drawn from one seed, each part from its own stream
``default_rng([seed, part, ...])``, so that a change in one leaves the others.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import Column, Table
from astropy.wcs import WCS

from gmadet_nb.campaign import demo_render as render

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
    psf: render.MoffatField
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
        trail = (8.0, 4.5) if "trailed" in oddities else (0.0, 0.0)
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
    return render.MoffatField(
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


def draw_stars(*, shape, seed):
    """Draw the stars: 2,500 on 1024 x 1024, N(> flux) as flux to the -0.6.

    The brightest are 300 times too bright for the detector; every hundredth is
    variable by some 0.2 to 0.6 mag.
    """
    rng = np.random.default_rng([seed, STARS])
    x, y = _uniform_positions(shape, 2500, rng=rng)
    faintest, brightest = 150.0, 2e7  # [adu]
    rank = rng.uniform((brightest / faintest) ** -0.6, 1, len(x))
    flux = faintest * rank ** (-1 / 0.6)
    stars = _sky_table("star_id", "s{:04d}", x, y, shape)
    stars["mag"] = (ZERO_POINT - 2.5 * np.log10(flux)) * u.mag
    rng = np.random.default_rng([seed, VARIABLES])
    bright_enough = np.flatnonzero((flux > 4e3) & (flux < 1e5))
    n_variables = min(max(3, round(15 * shape[0] * shape[1] / 2**20)), len(x))
    chosen = rng.choice(
        bright_enough, min(n_variables, len(bright_enough)), replace=False
    )
    stars["amplitude"] = np.zeros(len(stars)) * u.mag
    stars["amplitude"][chosen] = rng.uniform(0.2, 0.6, len(chosen))
    stars["period"] = rng.uniform(0.1, 0.6, len(stars)) * u.d
    stars["phase"] = rng.uniform(0, 1, len(stars))
    return stars


def star_mags(stars, mjd):
    """Return the magnitudes of the stars, variables too, at a time [mag]."""
    phase = 2 * np.pi * (mjd / stars["period"].value + stars["phase"])
    return stars["mag"].value + stars["amplitude"].value * np.sin(phase)


def draw_galaxies(*, shape, seed):
    """Draw the galaxies: 150 on 1024 x 1024, half disks, half spheroids."""
    rng = np.random.default_rng([seed, GALAXIES])
    x, y = _uniform_positions(shape, 150, fewest=16, rng=rng)
    galaxies = _sky_table("galaxy_id", "g{:04d}", x, y, shape)
    n = len(galaxies)
    radius = rng.uniform(2, 6, n)  # [pixel]
    # Larger ones are brighter: 1,200 to 80,000 adu.
    flux = 1200 * 12 ** rng.uniform(0, 1, n) * (radius / 2) ** 1.6
    galaxies["mag"] = (ZERO_POINT - 2.5 * np.log10(flux)) * u.mag
    galaxies["half_light_radius"] = radius * PIXEL_SCALE * u.arcsec
    galaxies["axis_ratio"] = rng.uniform(0.35, 1, n)
    galaxies["angle"] = rng.uniform(0, 180, n) * u.deg
    galaxies["sersic_index"] = rng.choice([1, 4], n)
    return galaxies


def draw_movers(exposures, *, night, shape, seed):
    """Draw two minor planets, one row for each in each exposure."""
    rng = np.random.default_rng([seed, MOVERS, night])
    rows = []
    wcs = field_wcs(shape)
    for number in (1, 2):
        x, y = (rng.uniform(0.25, 0.75) * shape[axis] for axis in (1, 0))
        rate = rng.uniform(30, 60) / 3600 / PIXEL_SCALE  # [pixel/s]
        angle, mag = (
            rng.uniform(0, 2 * np.pi),
            ZERO_POINT - 2.5 * np.log10(rng.uniform(2500, 6000)),
        )
        for exposure in exposures:
            path = rate * (exposure.mjd - exposures[0].mjd) * 86400
            ra, dec = wcs.all_pix2world(
                x + path * np.cos(angle), y + path * np.sin(angle), 0
            )
            rows.append((f"n{night}_m{number}", exposure.exposure_id, ra, dec, mag))
    return Table(
        rows=[(*row[:2], *map(float, row[2:])) for row in rows],
        names=["mover_id", "exposure_id", "ra", "dec", "mag"],
        units=[None, None, u.deg, u.deg, u.mag],
    )


def draw_detector(*, shape, seed):
    """Draw the faults of the detector: 250 hot pixels on 1024 x 1024, 3 columns.

    Returns
    -------
    faults : astropy.table.Table
        ``kind`` (``hot_pixel``, ``dead_column``, ``weak_column``,
        ``hot_column``), ``x``, ``y`` [pixel] (a hot column begins at ``y``) and
        ``value``: what a hot one adds [adu], what a weak column lets through.
    """
    rng = np.random.default_rng([seed, DETECTOR])
    ny, nx = shape
    n_hot = max(20, round(250 * ny * nx / 2**20))
    pixels = rng.choice(ny * nx, n_hot, replace=False)
    columns = (nx * np.array([0.17, 0.55, 0.83]) + rng.integers(-9, 10, 3)).astype(int)
    kinds = ["hot_pixel"] * n_hot + ["dead_column", "weak_column", "hot_column"]
    # 30 to 7,500 adu, log-uniform: the faint third hides in the noise.
    hot_from = int(0.88 * ny)  # where the hot column begins
    values = [*np.round(30 * 250 ** rng.random(n_hot), 1), 0.0, 0.7, 150.0]
    return Table(
        {
            "kind": kinds,
            "x": Column(np.concatenate([pixels % nx, columns]), unit=u.pix),
            "y": Column(np.concatenate([pixels // nx, [0, 0, hot_from]]), unit=u.pix),
            "value": values,
        }
    )


def place_transients(stars, galaxies, *, night, shape, seed):
    """Choose where a night's transients are: half on galaxies, none on bright stars.

    Returns
    -------
    transients : astropy.table.Table
        ``transient_id``, ``ra``, ``dec``, ``on_galaxy`` (within the half-light
        ellipse), ``faintest_snr`` (wanted in the exposure that shows it worst),
        ``fading`` [mag/h].
    """
    rng = np.random.default_rng([seed, TRANSIENTS, night])
    wcs = field_wcs(shape)
    star_x, star_y = wcs.all_world2pix(stars["ra"], stars["dec"], 0)
    flux = 10 ** (-0.4 * (stars["mag"].value - ZERO_POINT))
    clearance = np.select([flux > 5e5, flux > 2e4], [40.0, 12.0], 0.0)
    ny, nx = shape
    places = []

    def take(candidates, wanted):
        for x, y in candidates:
            if len(places) == wanted:
                break
            inside = MARGIN < x < nx - 1 - MARGIN and MARGIN < y < ny - 1 - MARGIN
            alone = all(np.hypot(x - px, y - py) > 20 for px, py in places)
            dark = np.all(np.hypot(star_x - x, star_y - y) >= clearance)
            if inside and alone and dark:
                places.append((x, y))

    take(_points_on_galaxies(galaxies, wcs, rng=rng), N_TRANSIENTS // 2)
    n_hosted = len(places)
    take(rng.uniform(0, 1, (5000, 2)) * [nx, ny], N_TRANSIENTS)
    order = rng.permutation(len(places))
    x, y = np.array(places)[order].T
    transients = _sky_table("transient_id", f"n{night}_t{{:02d}}", x, y, shape)
    transients["on_galaxy"] = order < n_hosted
    transients["faintest_snr"] = 8.5 * (32 / 8.5) ** rng.random(len(places))
    transients["fading"] = rng.uniform(-0.3, 0.3, len(places)) * u.mag / u.hour
    return transients


def _points_on_galaxies(galaxies, wcs, *, rng):
    """Yield points within the galaxies' half-light ellipses, in random order."""
    x, y = wcs.all_world2pix(galaxies["ra"], galaxies["dec"], 0)
    # A small field has few galaxies: each gets several tries.
    for i in np.concatenate([rng.permutation(len(galaxies)) for _ in range(8)]):
        reach, around = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        major = galaxies["half_light_radius"][i] / PIXEL_SCALE * reach * np.cos(around)
        minor = galaxies["half_light_radius"][i] / PIXEL_SCALE * reach * np.sin(around)
        minor *= galaxies["axis_ratio"][i]
        angle = np.radians(galaxies["angle"][i])
        yield (
            x[i] + major * np.cos(angle) - minor * np.sin(angle),
            y[i] + major * np.sin(angle) + minor * np.cos(angle),
        )


def _uniform_positions(shape, n_per_megapixel, *, rng, fewest=0):
    """Draw positions over the field and what the dithers show around it."""
    ny, nx = (size + 2 * MARGIN for size in shape)
    n = max(fewest, round(n_per_megapixel * ny * nx / 2**20))
    return rng.uniform(0, nx, n) - MARGIN, rng.uniform(0, ny, n) - MARGIN


def _sky_table(key, pattern, x, y, shape):
    ra, dec = field_wcs(shape).all_pix2world(x, y, 0)
    keys = [pattern.format(i + 1) for i in range(len(x))]
    return Table({key: keys, "ra": ra * u.deg, "dec": dec * u.deg})
