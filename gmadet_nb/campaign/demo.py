"""The demo nights: two nights of a made-up telescope, with their truth beside them.

The frames have what real ones have: a PSF that varies, dithers, clouds, a sky
that is not flat, saturated stars that bleed, cosmic rays, hot pixels, bad
columns, a satellite, variable stars, minor planets and a dozen transients a
night that the notebooks do not know of. Nothing but tests and the last figure of
``10_check_inference`` reads the truth tables.
"""

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from astropy.time import Time

from gmadet_nb.campaign import demo_render as render
from gmadet_nb.campaign import demo_sky as sky
from gmadet_nb.errors import BadInputError

logger = logging.getLogger(__name__)

STAMP = "demo.json"  # in a finished demo folder: what it was made with
SOURCES = [Path(module) for module in (__file__, render.__file__, sky.__file__)]


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What `make_demo` made, or found made.

    Attributes
    ----------
    folder : str
        Where the nights are.
    made : bool
        False where they were there already.
    n_exposures : list of int
        Of each night.
    n_stars, n_galaxies, n_variables, n_transients : int
        On the field; transients of both nights together.
    """

    folder: str
    made: bool
    n_exposures: list[int]
    n_stars: int
    n_galaxies: int
    n_variables: int
    n_transients: int


def make_demo(folder, *, seed=1, shape=(1024, 1024), n_exposures=(6, 3)):
    """Write the demo nights, unless the same ones are there already.

    The same arguments give the same bytes. The nights are written beside
    ``folder`` and moved there when all is done.

    Parameters
    ----------
    folder : str or Path
        Gets ``night1/images/*.fits``, ``night2/images/*.fits``,
        ``reference/reference.fits`` and the truth tables. An earlier demo in it is
        replaced; a folder that holds anything else is left alone.
    seed : int
        Of everything that is random.
    shape : tuple of int
        (ny, nx) of the science frames [pixel].
    n_exposures : tuple of int
        Of the two nights.

    Returns
    -------
    summary : DemoSummary

    Raises
    ------
    BadInputError
        If the frames are too small, a night is empty or the folder is not a demo's.
    """
    folder = Path(folder)
    _check(shape, n_exposures)
    stamp = _stamp(seed, shape, n_exposures)
    found = _read_stamp(folder)
    if found and found["stamp"] == stamp:
        logger.info("The demo nights are in %s.", folder)
        return DemoSummary(folder=str(folder), made=False, **found["summary"])
    if folder.exists() and not found and any(folder.iterdir()):
        raise BadInputError(
            f"Folder {str(folder)!r} must be absent, empty or an earlier demo, but "
            "holds other files. Name another folder for the demo nights."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent
    ) as temporary:
        new = Path(temporary) / "new"
        counts = _write_all(new, seed=seed, shape=shape, n_exposures=n_exposures)
        content = {"stamp": stamp, "summary": counts}
        (new / STAMP).write_text(json.dumps(content, indent=1) + "\n")
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)
    logger.info("Wrote the demo nights to %s.", folder)
    return DemoSummary(folder=str(folder), made=True, **counts)


def _check(shape, n_exposures):
    if len(shape) != 2 or min(shape) < sky.FEWEST_PIXELS:
        raise BadInputError(
            f"The demo's shape must be (ny, nx) of at least {sky.FEWEST_PIXELS} "
            f"pixels each, got {tuple(shape)}."
        )
    if len(n_exposures) != 2 or min(n_exposures) < 1:
        raise BadInputError(
            "The demo has two nights of at least one exposure each, "
            f"got n_exposures {tuple(n_exposures)}."
        )


def _stamp(seed, shape, n_exposures):
    """Return a hash of the arguments and of the code that makes the frames."""
    digest = hashlib.sha256(
        json.dumps([int(seed), list(shape), list(n_exposures)]).encode()
    )
    for path in SOURCES:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_stamp(folder):
    """Return what a finished demo says of itself, None where there is none."""
    try:
        return json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_all(folder, *, seed, shape, n_exposures):
    stars = sky.draw_stars(shape=shape, seed=seed)
    galaxies = sky.draw_galaxies(shape=shape, seed=seed)
    faults = sky.draw_detector(shape=shape, seed=seed)
    n_transients = 0
    for night, n in enumerate(n_exposures, start=1):
        exposures = sky.plan_night(night, n, shape=shape, seed=seed)
        n_transients += write_night(
            folder / f"night{night}",
            exposures,
            stars=stars,
            galaxies=galaxies,
            faults=faults,
            night=night,
            seed=seed,
        )
    reference = sky.plan_reference(shape=shape, seed=seed)
    # A stack keeps few faults: what sixteen dithered frames did not average away.
    few = faults[:: max(1, len(faults) // 12)]
    few = few[few["kind"] == "hot_pixel"]
    few["value"] = few["value"] / sky.N_COMBINED
    counts = expected_counts(
        reference, stars=stars, galaxies=galaxies, faults=few, variable=False
    )
    rng = np.random.default_rng([seed, sky.PHOTONS, 0])
    data = take_photons(reference, counts, n_cosmic_rays=6, faults=few, rng=rng)
    _write_fits(folder / "reference" / "reference.fits", reference, data)
    tables = {"stars": stars, "galaxies": galaxies, "detector": faults}
    for name, table in tables.items():
        _write_table(folder / f"truth_{name}.ecsv", table)
    return {
        "n_exposures": list(n_exposures),
        "n_stars": len(stars),
        "n_galaxies": len(galaxies),
        "n_variables": int(np.count_nonzero(stars["amplitude"])),
        "n_transients": n_transients,
    }


def write_night(folder, exposures, *, stars, galaxies, faults, night, seed):
    """Write the frames and the truth tables of one night.

    Parameters
    ----------
    folder : Path
        Gets ``images/`` and ``truth_*.ecsv``.
    exposures : list of Exposure
        Of the night.
    stars, galaxies, faults : astropy.table.Table
        Of the field and of the detector.
    night, seed : int
        Choose the random streams.

    Returns
    -------
    n_transients : int
        Transients that are hidden in the frames.
    """
    shape = exposures[0].shape
    movers = sky.draw_movers(exposures, night=night, shape=shape, seed=seed)
    expected = []
    for exposure in exposures:
        counts = expected_counts(
            exposure, stars=stars, galaxies=galaxies, faults=faults
        )
        here = movers[movers["exposure_id"] == exposure.exposure_id]
        x, y = exposure.to_pixels(here)
        render.add_stars(counts, x, y, exposure.to_flux(here["mag"]), exposure.psf)
        expected.append(counts)
    transients = sky.place_transients(
        stars, galaxies, night=night, shape=shape, seed=seed
    )
    truth = set_brightness(transients, exposures, expected)
    for number, (exposure, counts) in enumerate(
        zip(exposures, expected, strict=True), start=1
    ):
        here = truth[truth["exposure_id"] == exposure.exposure_id]
        render.add_stars(counts, here["x"], here["y"], here["flux"], exposure.psf)
        rng = np.random.default_rng([seed, sky.PHOTONS, night, number])
        n_rays = max(8, round(110 * shape[0] * shape[1] / 2**20))
        data = take_photons(
            exposure, counts, n_cosmic_rays=n_rays, faults=faults, rng=rng
        )
        _write_fits(folder / "images" / f"{exposure.exposure_id}.fits", exposure, data)
    tables = {
        "transients": truth,
        "movers": with_pixels(movers, exposures),
        "variables": with_pixels(_variable_rows(stars, exposures), exposures),
        "exposures": describe_exposures(exposures),
    }
    for name, table in tables.items():
        _write_table(folder / f"truth_{name}.ecsv", table)
    return len(transients)


def expected_counts(exposure, *, stars, galaxies, faults, variable=True):
    """Return what each pixel counts on average, before the charge bleeds.

    Parameters
    ----------
    exposure : Exposure
        Says where, when and how sharply.
    stars, galaxies, faults : astropy.table.Table
        Of the field and of the detector.
    variable : bool
        Whether the variable stars are caught at their phase of the moment; a stack
        of many epochs has them at their mean.

    Returns
    -------
    expected : (ny, nx) array
        [adu]
    """
    ny, nx = exposure.shape
    y, x = np.ogrid[:ny, :nx]
    tilt = exposure.gradient[0] * (x / (nx - 1) - 0.5)
    tilt = tilt + exposure.gradient[1] * (y / (ny - 1) - 0.5)
    expected = exposure.sky * (1 + tilt)
    mags = sky.star_mags(stars, exposure.mjd) if variable else stars["mag"].value
    x, y = exposure.to_pixels(stars)
    render.add_stars(expected, x, y, exposure.to_flux(mags), exposure.psf)
    placed = galaxies.copy()
    placed["x"], placed["y"] = exposure.to_pixels(galaxies)
    placed["flux"] = exposure.to_flux(galaxies["mag"])
    placed["radius"] = galaxies["half_light_radius"].value / sky.PIXEL_SCALE
    render.add_galaxies(expected, placed, exposure.psf)
    if exposure.satellite:
        height, slope = exposure.satellite
        render.add_satellite(
            expected, row=height * ny, slope=slope * ny / nx, peak=200.0, fwhm=3.8
        )
    hot = faults[faults["kind"] == "hot_pixel"]
    expected[np.asarray(hot["y"]), np.asarray(hot["x"])] += hot["value"]
    for fault in faults[faults["kind"] != "hot_pixel"]:
        column = expected[:, int(fault["x"])]
        if fault["kind"] == "hot_column":
            column[int(fault["y"]) :] += fault["value"]
        else:
            column *= fault["value"]
    return expected


def take_photons(exposure, expected, *, n_cosmic_rays, faults, rng):
    """Draw one frame: photon noise, cosmic rays, bleeding, read-out noise.

    Parameters
    ----------
    exposure : Exposure
        Its gain and read noise are used.
    expected : (ny, nx) array
        Mean counts [adu].
    n_cosmic_rays : int
        Hits on the detector.
    faults : astropy.table.Table
        A dead column passes no charge on.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    data : (ny, nx) array
        Counts as read out [adu], not yet digitized.
    """
    charge = rng.poisson(expected * exposure.gain) / exposure.gain
    charge += render.draw_cosmic_rays(exposure.shape, n_cosmic_rays, rng=rng)
    charge = render.bleed(charge, full_well=sky.FULL_WELL)
    charge[:, np.asarray(faults["x"][faults["kind"] == "dead_column"])] = 0.0
    return charge + rng.normal(
        0, exposure.read_noise / exposure.gain, size=exposure.shape
    )


def set_brightness(transients, exposures, expected):
    """Give each transient its brightness, and say how well each exposure shows it.

    The signal to noise ratio is a matched filter's in the noise of sky, host
    galaxy and read-out, without the transient's own: flux times the root of
    the sum of psf^2 / variance.

    Parameters
    ----------
    transients : astropy.table.Table
        From `demo_sky.place_transients`.
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
    start, tables = exposures[0].mjd, []
    for exposure, counts in zip(exposures, expected, strict=True):
        rows = transients["transient_id", "ra", "dec", "on_galaxy"]
        rows["exposure_id"] = exposure.exposure_id
        rows["x"], rows["y"] = exposure.to_pixels(transients)
        stamps = render.draw_stamps(exposure.psf, rows["x"], rows["y"], radius=24)
        fading = transients["fading"].value * (exposure.mjd - start) * 24
        # For a transient of magnitude 0 at the first exposure, to be scaled below.
        rows["mag"], rows["flux"] = fading, exposure.to_flux(fading)
        rows["snr"] = [
            flux * _unit_snr(exposure, counts, stamp, x, y)
            for flux, stamp, x, y in zip(
                rows["flux"], stamps, rows["x"], rows["y"], strict=True
            )
        ]
        tables.append(rows)
    usable = ["trailed" not in exposure.oddities for exposure in exposures]
    snr = np.array([table["snr"] for table in tables])
    scale = transients["faintest_snr"] / snr[usable].min(axis=0)
    for table in tables:
        table["flux"], table["snr"] = table["flux"] * scale, table["snr"] * scale
        table["mag"] = table["mag"] - 2.5 * np.log10(scale)
    truth = vstack(tables)
    units = {"x": u.pix, "y": u.pix, "mag": u.mag, "flux": u.adu}
    for name, unit in units.items():
        truth[name].unit = unit
    names = ["transient_id", "exposure_id", "ra", "dec", "x", "y", "mag", "flux"]
    return truth[[*names, "snr", "on_galaxy"]]


def _unit_snr(exposure, expected, stamp, x, y):
    """Return the signal to noise ratio of a flux of 1 adu at (x, y)."""
    on_image, on_stamp = render.overlap(
        expected.shape, stamp.shape[0] // 2, float(x), float(y)
    )
    variance = exposure.variance(expected[on_image])
    return np.sqrt(np.sum(stamp[on_stamp] ** 2 / variance))


def _variable_rows(stars, exposures):
    variables = stars[stars["amplitude"] > 0]["star_id", "ra", "dec"]
    tables = []
    for exposure in exposures:
        rows = variables.copy()
        rows["exposure_id"] = exposure.exposure_id
        mags = sky.star_mags(stars, exposure.mjd)[stars["amplitude"] > 0]
        rows["mag"] = mags * u.mag
        tables.append(rows)
    return vstack(tables)


def with_pixels(table, exposures):
    """Return the table with ``x``, ``y`` [pixel, 0-based] and ``flux`` [adu]."""
    table = table.copy()
    for name, unit in (("x", u.pix), ("y", u.pix), ("flux", u.adu)):
        table[name] = np.full(len(table), np.nan) * unit
    for exposure in exposures:
        here = table["exposure_id"] == exposure.exposure_id
        table["x"][here], table["y"][here] = exposure.to_pixels(table[here])
        table["flux"][here] = exposure.to_flux(table["mag"][here])
    return table


def describe_exposures(exposures):
    """Return how the exposures were taken, one row each."""
    rows = [
        {
            "exposure_id": exposure.exposure_id,
            "mjd": exposure.mjd * u.d,
            "fwhm": exposure.psf.fwhm * u.pix,
            "beta": exposure.psf.beta,
            "sky": exposure.sky * u.adu,
            "transparency": exposure.transparency,
            "zero_point": exposure.zero_point * u.mag,
            "gain": exposure.gain * u.electron / u.adu,
            "read_noise": exposure.read_noise * u.electron,
            "satellite": exposure.satellite is not None,
            "oddities": " ".join(exposure.oddities) or "none",
        }
        for exposure in exposures
    ]
    return Table(rows)


def _write_table(path, table):
    table.write(path, format="ascii.ecsv")


def _write_fits(path, exposure, data):
    """Write a frame as the camera would: 16 bits, or floats where pixels are lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ny, nx = exposure.shape
    if "nan_block" in exposure.oddities:
        data = np.clip(data, 0, 65535).astype(np.float32)
        top, left = int(0.3 * ny), int(0.6 * nx)
        data[top : top + ny // 25, left : left + nx // 16] = np.nan
    elif exposure.n_combined > 1:
        data = data.astype(np.float32)
    else:
        data = np.clip(np.rint(data), 0, 65535).astype(np.uint16)
    hdu = fits.PrimaryHDU(data, header=_header(exposure))
    hdu.writeto(path)


def _header(exposure):
    wcs = exposure.wcs.wcs
    start = Time(exposure.mjd, format="mjd", scale="utc", precision=3)
    combined = exposure.n_combined > 1
    gain_keyword = "EGAIN" if "egain" in exposure.oddities else "GAIN"
    hours = (exposure.mjd % 1) * 24
    cards = [
        ("TELESCOP", "DEMO-1", "fictional telescope"),
        ("INSTRUME", "DEMOCAM", "fictional camera"),
        ("OBJECT", "DEMO FIELD", "name of the field"),
        ("IMAGETYP", "Stack" if combined else "Light Frame", "kind of frame"),
        ("FILTER", "R", "filter"),
        ("EXPTIME", sky.EXPTIME, "[s] exposure, of one frame"),
        ("DATE-OBS", start.isot, "UTC at the start"),
        ("AIRMASS", round(1.05 + 0.08 * abs(hours - 2.2), 3), "at the start"),
        ("CCD-TEMP", -30.0, "[deg C] detector"),
        (gain_keyword, exposure.gain, "[electron/adu]"),
        ("RDNOISE", float(exposure.read_noise), "[electron]"),
        ("SATURATE", sky.SATURATION, "[adu]"),
        ("BUNIT", "adu", "unit of the pixels"),
    ]
    if combined:
        cards.append(("NCOMBINE", exposure.n_combined, "frames averaged"))
    for axis in (0, 1):
        cards += [
            (f"CTYPE{axis + 1}", wcs.ctype[axis], "gnomonic projection"),
            (f"CUNIT{axis + 1}", "deg", ""),
            (f"CRPIX{axis + 1}", wcs.crpix[axis], "[pixel] counted from 1"),
            (f"CRVAL{axis + 1}", wcs.crval[axis], "[deg]"),
            (f"CD{axis + 1}_1", wcs.cd[axis, 0], "[deg/pixel]"),
            (f"CD{axis + 1}_2", wcs.cd[axis, 1], "[deg/pixel]"),
        ]
    cards += [("RADESYS", "ICRS", ""), ("EQUINOX", 2000.0, "[yr]")]
    return fits.Header(cards)
