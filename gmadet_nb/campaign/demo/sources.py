"""What is on the demo's sky: stars, galaxies, minor planets, hidden transients."""

import astropy.units as u
import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.campaign.demo import optics, plan


def draw_stars(*, shape, seed):
    """Draw the stars: 2,500 on 1024 x 1024, N(> flux) as flux to the -0.6.

    The brightest are 20 times too bright for the detector; every hundredth is
    variable by some 0.2 to 0.6 mag.
    """
    rng = np.random.default_rng([seed, plan.STARS])
    x, y = _uniform_positions(shape, 2500, rng=rng)
    faintest, brightest = 150.0, 2e7  # [adu]
    rank = rng.uniform((brightest / faintest) ** -0.6, 1, len(x))
    flux = faintest * rank ** (-1 / 0.6)
    stars = _sky_table("star_id", "s{:04d}", x, y, shape)
    stars["mag"] = (plan.ZERO_POINT - 2.5 * np.log10(flux)) * u.mag
    rng = np.random.default_rng([seed, plan.VARIABLES])
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
    rng = np.random.default_rng([seed, plan.GALAXIES])
    x, y = _uniform_positions(shape, 150, fewest=16, rng=rng)
    galaxies = _sky_table("galaxy_id", "g{:04d}", x, y, shape)
    n = len(galaxies)
    radius = rng.uniform(2, 6, n)  # [pixel]
    # Larger ones are brighter: 1,200 to 80,000 adu.
    flux = 1200 * 12 ** rng.uniform(0, 1, n) * (radius / 2) ** 1.6
    galaxies["mag"] = (plan.ZERO_POINT - 2.5 * np.log10(flux)) * u.mag
    galaxies["half_light_radius"] = radius * plan.PIXEL_SCALE * u.arcsec
    galaxies["axis_ratio"] = rng.uniform(0.35, 1, n)
    galaxies["angle"] = rng.uniform(0, 180, n) * u.deg
    galaxies["sersic_index"] = rng.choice([1, 4], n)
    return galaxies


def draw_movers(exposures, *, night, shape, seed):
    """Draw two minor planets, one row for each in each exposure."""
    rng = np.random.default_rng([seed, plan.MOVERS, night])
    rows = []
    wcs = plan.field_wcs(shape)
    for number in (1, 2):
        x, y = (rng.uniform(0.25, 0.75) * shape[axis] for axis in (1, 0))
        rate = rng.uniform(30, 60) / 3600 / plan.PIXEL_SCALE  # [pixel/s]
        angle = rng.uniform(0, 2 * np.pi)
        mag = plan.ZERO_POINT - 2.5 * np.log10(rng.uniform(2500, 6000))
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


def place_transients(stars, galaxies, *, night, shape, seed):
    """Choose where a night's transients are: half on galaxies, none on bright stars.

    Returns
    -------
    transients : astropy.table.Table
        ``transient_id``, ``ra``, ``dec``, ``on_galaxy`` (within the half-light
        ellipse), ``faintest_snr`` (wanted in the exposure that shows it worst),
        ``fading`` [mag/h].
    """
    rng = np.random.default_rng([seed, plan.TRANSIENTS, night])
    wcs = plan.field_wcs(shape)
    star_x, star_y = wcs.all_world2pix(stars["ra"], stars["dec"], 0)
    flux = 10 ** (-0.4 * (stars["mag"].value - plan.ZERO_POINT))
    clearance = np.select([flux > 5e5, flux > 2e4], [40.0, 12.0], 0.0)
    ny, nx = shape
    places = []

    def take(candidates, wanted):
        for x, y in candidates:
            if len(places) == wanted:
                break
            inside = min(x, nx - 1 - x, y, ny - 1 - y) > plan.MARGIN
            alone = all(np.hypot(x - px, y - py) > 20 for px, py in places)
            dark = np.all(np.hypot(star_x - x, star_y - y) >= clearance)
            if inside and alone and dark:
                places.append((x, y))

    take(_points_on_galaxies(galaxies, wcs, rng=rng), plan.N_TRANSIENTS // 2)
    n_hosted = len(places)
    take(rng.uniform(0, 1, (5000, 2)) * [nx, ny], plan.N_TRANSIENTS)
    order = rng.permutation(len(places))
    x, y = np.array(places)[order].T
    transients = _sky_table("transient_id", f"n{night}_t{{:02d}}", x, y, shape)
    transients["on_galaxy"] = order < n_hosted
    transients["faintest_snr"] = 8.5 * (40 / 8.5) ** rng.random(len(places))
    transients["fading"] = rng.uniform(-0.3, 0.3, len(places)) * u.mag / u.hour
    return transients


def set_brightness(transients, exposures, expected):
    """Give each transient its brightness, and say how well each exposure shows it.

    For a flux f [adu] measured with the PSF P as weight in pixels of variance V,
    the signal to noise ratio is f / sqrt(A + f B), with A = sum P^2 V / (sum P^2)^2
    from sky, host galaxy and read-out and B = sum P^3 / gain / (sum P^2)^2 from
    the transient's own photons.

    Parameters
    ----------
    transients : astropy.table.Table
        From `place_transients`.
    exposures : list of Exposure
        Of the night.
    expected : list of (ny, nx) arrays
        What each counts without the transients [adu].

    Returns
    -------
    truth : astropy.table.Table
        One row for each transient in each exposure, with ``flux`` [adu], ``mag``,
        ``snr``, ``x``, ``y`` [pixel, 0-based].
    """
    tables, brightness = [], 0.0
    wanted = transients["faintest_snr"].value
    for exposure, counts in zip(exposures, expected, strict=True):
        rows = transients["transient_id", "ra", "dec", "on_galaxy"]
        rows["exposure_id"] = exposure.exposure_id
        rows["x"], rows["y"] = exposure.to_pixels(transients)
        hours = (exposure.mjd - exposures[0].mjd) * 24
        rows["mag"] = transients["fading"].value * hours
        rows["empty"], rows["own"] = _noise_terms(
            exposure, counts, rows["x"], rows["y"]
        )
        tables.append(rows)
        if "trailed" not in exposure.oddities:
            # f^2 = snr^2 (A + f B), in units of a transient that begins at mag 0.
            half = wanted**2 * rows["own"] / 2
            flux = half + np.sqrt(half**2 + wanted**2 * rows["empty"])
            brightness = np.maximum(brightness, flux / exposure.to_flux(rows["mag"]))
    for exposure, rows in zip(exposures, tables, strict=True):
        rows["mag"] = (rows["mag"] - 2.5 * np.log10(brightness)) * u.mag
        rows["flux"] = exposure.to_flux(rows["mag"]) * u.adu
        noise = np.sqrt(rows["empty"] + rows["flux"].value * rows["own"])
        rows["snr"] = rows["flux"].value / noise
    truth = vstack(tables)
    truth["x"].unit = truth["y"].unit = u.pix
    names = ["transient_id", "exposure_id", "ra", "dec", "x", "y", "mag", "flux"]
    return truth[[*names, "snr", "on_galaxy"]]


def _noise_terms(exposure, expected, x, y):
    """Return A and B of `set_brightness` at each (x, y)."""
    terms = []
    stamps = optics.draw_stamps(exposure.psf, x, y, radius=24)
    for stamp, column, row in zip(stamps, x, y, strict=True):
        on_image, on_stamp = optics.overlap(expected.shape, 24, column, row)
        psf, variance = stamp[on_stamp], exposure.variance(expected[on_image])
        squares = np.sum(psf**2)
        empty = np.sum(psf**2 * variance) / squares**2
        terms.append((empty, np.sum(psf**3) / exposure.gain / squares**2))
    return np.array(terms).T


def _points_on_galaxies(galaxies, wcs, *, rng):
    """Yield points within the galaxies' half-light ellipses, in random order."""
    x, y = wcs.all_world2pix(galaxies["ra"], galaxies["dec"], 0)
    radius = galaxies["half_light_radius"].value / plan.PIXEL_SCALE
    # A small field has few galaxies: each gets several tries.
    for i in np.concatenate([rng.permutation(len(galaxies)) for _ in range(8)]):
        reach, around = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        major = radius[i] * reach * np.cos(around)
        minor = radius[i] * reach * np.sin(around) * galaxies["axis_ratio"][i]
        angle = np.radians(galaxies["angle"][i])
        yield (
            x[i] + major * np.cos(angle) - minor * np.sin(angle),
            y[i] + major * np.sin(angle) + minor * np.cos(angle),
        )


def _uniform_positions(shape, n_per_megapixel, *, rng, fewest=0):
    """Draw positions over the field and what the dithers show around it."""
    ny, nx = (size + 2 * plan.MARGIN for size in shape)
    n = max(fewest, round(n_per_megapixel * ny * nx / 2**20))
    return rng.uniform(0, nx, n) - plan.MARGIN, rng.uniform(0, ny, n) - plan.MARGIN


def _sky_table(key, pattern, x, y, shape):
    ra, dec = plan.field_wcs(shape).all_pix2world(x, y, 0)
    keys = [pattern.format(i + 1) for i in range(len(x))]
    return Table({key: keys, "ra": ra * u.deg, "dec": dec * u.deg})
