"""02: sources into one exposure."""

import zlib

import numpy as np

from gmadet_nb.campaign.steps.products import read_psf_and_sources, row_of
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.images import open_exposure, write_image
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging import simulate


def choose_brightness(mag_range, snr_range):
    """Return what to draw brightness from: S/N where a range of it is given.

    Raises
    ------
    BadParameterError
        If a range has not two numbers.
    """
    kind, limits = ("snr", snr_range) if len(snr_range) else ("mag", mag_range)
    if len(limits) != 2:
        raise BadParameterError(
            f"{kind}_range must be two numbers, got {list(limits)}. "
            "An empty snr_range draws by mag_range."
        )
    return simulate.check_brightness((kind, *limits))


def simulate_exposure(
    exposure_id, *, run_dir, n_sources, brightness, galaxy_fraction, separation, seed
):
    """Inject sources into one exposure and write it.

    Parameters
    ----------
    exposure_id : str
    run_dir : str
    n_sources : int
    brightness : tuple of (str, float, float)
        See `gmadet_nb.imaging.simulate.draw_sources`.
    galaxy_fraction : float
        Share of the sources put on galaxies.
    separation : float
        Between two injected sources [FWHM].
    seed : int
        Positions and photons have their own streams, by exposure.

    Returns
    -------
    sources : astropy.table.Table
        The injected ones.
    """
    run = RunDir(run_dir)
    row = row_of(run.read_table("exposures"), exposure_id)
    image = open_exposure(row)
    psf, found = read_psf_and_sources(run, exposure_id)
    variance = phot.measure_noise(image).variance(image.data)
    star_radius = float(np.median(found["half_light_radius"][found["is_star"]]))
    key = zlib.crc32(exposure_id.encode())
    drawn = simulate.draw_sources(
        image,
        psf,
        variance,
        n_sources=n_sources,
        brightness=brightness,
        galaxies=(galaxy_fraction, simulate.find_galaxies(found, star_radius)),
        min_separation=separation,
        rng=np.random.default_rng([seed, 0, key]),
    )
    injected_image, sources = simulate.inject_sources(
        image, drawn, psf, rng=np.random.default_rng([seed, 1, key])
    )
    write_image(run.simulated_path(exposure_id), injected_image)
    return sources


def check_injected(sources):
    """Raise if not one source was injected.

    Raises
    ------
    BadInputError
    """
    if not np.any(sources["injected"]):
        raise BadInputError(
            "At least one source must be injected, and none was: the exposures may be "
            "masked throughout. Look at 01_images."
        )
