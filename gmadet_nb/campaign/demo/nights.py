"""Write the demo nights and their truth tables, once."""

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.campaign.demo import detector, frames, optics, plan, sources
from gmadet_nb.errors import BadInputError

logger = logging.getLogger(__name__)

STAMP = "demo.json"  # in a finished demo folder: what it was made with


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
        ``reference/reference.fits``, the truth tables and what catalogues would
        know of each night, ``night1/known_objects.ecsv``. An earlier demo in it is
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
    if len(shape) != 2 or min(shape) < plan.FEWEST_PIXELS:
        raise BadInputError(
            f"The demo's shape must be (ny, nx) of at least {plan.FEWEST_PIXELS} "
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
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_stamp(folder):
    """Return what a finished demo says of itself, None where there is none."""
    try:
        return json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_all(folder, *, seed, shape, n_exposures):
    stars = sources.draw_stars(shape=shape, seed=seed)
    galaxies = sources.draw_galaxies(shape=shape, seed=seed)
    faults = detector.draw_detector(shape=shape, seed=seed)
    n_transients = 0
    for night, n in enumerate(n_exposures, start=1):
        exposures = plan.plan_night(night, n, shape=shape, seed=seed)
        n_transients += write_night(
            folder / f"night{night}",
            exposures,
            stars=stars,
            galaxies=galaxies,
            faults=faults,
            night=night,
            seed=seed,
        )
    reference = plan.plan_reference(shape=shape, seed=seed)
    # A stack keeps few faults: what sixteen dithered frames did not average away.
    few = faults[:: max(1, len(faults) // 12)]
    few = few[few["kind"] == "hot_pixel"]
    few["value"] = few["value"] / plan.N_COMBINED
    counts = frames.expected_counts(
        reference, stars=stars, galaxies=galaxies, faults=few, variable=False
    )
    rng = np.random.default_rng([seed, plan.PHOTONS, 0])
    data = detector.take_photons(
        reference, counts, n_cosmic_rays=6, faults=few, rng=rng
    )
    frames.write_fits(folder / "reference" / "reference.fits", reference, data)
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
        Gets ``images/``, ``truth_*.ecsv`` and ``known_objects.ecsv``.
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
    movers = sources.draw_movers(exposures, night=night, shape=shape, seed=seed)
    expected = []
    for exposure in exposures:
        counts = frames.expected_counts(
            exposure, stars=stars, galaxies=galaxies, faults=faults
        )
        here = movers[movers["exposure_id"] == exposure.exposure_id]
        x, y = exposure.to_pixels(here)
        optics.add_stars(counts, x, y, exposure.to_flux(here["mag"]), exposure.psf)
        expected.append(counts)
    transients = sources.place_transients(
        stars, galaxies, night=night, shape=shape, seed=seed
    )
    truth = sources.set_brightness(transients, exposures, expected)
    for number, (exposure, counts) in enumerate(
        zip(exposures, expected, strict=True), start=1
    ):
        here = truth[truth["exposure_id"] == exposure.exposure_id]
        optics.add_stars(counts, here["x"], here["y"], here["flux"], exposure.psf)
        rng = np.random.default_rng([seed, plan.PHOTONS, night, number])
        n_rays = max(8, round(110 * shape[0] * shape[1] / 2**20))
        data = detector.take_photons(
            exposure, counts, n_cosmic_rays=n_rays, faults=faults, rng=rng
        )
        frames.write_fits(
            folder / "images" / f"{exposure.exposure_id}.fits", exposure, data
        )
    tables = {
        "transients": truth,
        "movers": with_pixels(movers, exposures),
        "variables": with_pixels(_variable_rows(stars, exposures), exposures),
        "exposures": describe_exposures(exposures),
    }
    for name, table in tables.items():
        _write_table(folder / f"truth_{name}.ecsv", table)
    known = _known_objects(stars, movers, exposures)
    _write_table(folder / "known_objects.ecsv", known)
    return len(transients)


def _known_objects(stars, movers, exposures):
    """Return what catalogues would know: variables, and where minor planets are when.

    Galaxies and the hidden transients are for the notebooks to find.
    """
    variables = stars[stars["amplitude"] > 0]["star_id", "ra", "dec"]
    variables.rename_column("star_id", "name")
    variables["kind"], variables["mjd"] = "variable", np.nan * u.d
    moving = movers["mover_id", "ra", "dec"]
    moving.rename_column("mover_id", "name")
    start = {exposure.exposure_id: exposure.mjd for exposure in exposures}
    moving["kind"] = "minor planet"
    moving["mjd"] = [start[key] for key in movers["exposure_id"]] * u.d
    known = vstack([variables, moving])
    return known["name", "kind", "ra", "dec", "mjd"]


def _variable_rows(stars, exposures):
    variables = stars[stars["amplitude"] > 0]["star_id", "ra", "dec"]
    tables = []
    for exposure in exposures:
        rows = variables.copy()
        rows["exposure_id"] = exposure.exposure_id
        mags = sources.star_mags(stars, exposure.mjd)[stars["amplitude"] > 0]
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
