"""02: sources into one exposure."""

import zlib
from pathlib import Path

import numpy as np

from gmadet_nb.campaign.steps.products import read_psf_and_sources, row_of
from gmadet_nb.errors import BadImageError, BadInputError, BadParameterError
from gmadet_nb.files.images import open_exposure, write_image
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging import simulate
from gmadet_nb.imaging.align import find_alignment
from gmadet_nb.imaging.self_check import recover_sources
from gmadet_nb.sky import references

# What a user calls how magnitudes are drawn, and what `draw_sources` calls it.
_DISTRIBUTIONS = {"uniform": "mag", "limit": "limit"}


def choose_brightness(mag_range, snr_range, mag_distribution="uniform"):
    """Return what to draw brightness from: S/N where a range of it is given.

    Raises
    ------
    BadParameterError
        If a range has not two numbers, or there is no such distribution.
    """
    if mag_distribution not in _DISTRIBUTIONS:
        raise BadParameterError(
            f"mag_distribution must be one of {', '.join(_DISTRIBUTIONS)}, got "
            f"{mag_distribution!r}."
        )
    by_mag = _DISTRIBUTIONS[mag_distribution], mag_range
    kind, limits = ("snr", snr_range) if len(snr_range) else by_mag
    if len(limits) != 2:
        raise BadParameterError(
            f"{'snr' if kind == 'snr' else 'mag'}_range must be two numbers, got "
            f"{list(limits)}. An empty snr_range draws by mag_range."
        )
    return simulate.check_brightness((kind, *limits))


def simulate_exposure(
    exposure_id,
    *,
    run_dir,
    n_sources,
    brightness,
    galaxy_fraction,
    separation,
    seed,
    reference="",
    reference_gain="auto",
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
    reference : str
        Path of a reference image, which shows more galaxies; any other text looks for
        them in the exposure itself.
    reference_gain : float or "auto"
        Of that file [electron/adu]; "auto" takes its header's.

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
    seen = None
    if Path(reference).is_file():
        seen = references.load_reference_file(
            reference, str(row["telescope"]), gain=reference_gain
        )
    galaxies = find_hosts(found, image, seen)
    key = zlib.crc32(exposure_id.encode())
    drawn = simulate.draw_sources(
        image,
        psf,
        variance,
        n_sources=n_sources,
        brightness=brightness,
        galaxies=(galaxy_fraction, galaxies),
        min_separation=separation,
        rng=np.random.default_rng([seed, 0, key]),
    )
    injected_image, sources = simulate.inject_sources(
        image, drawn, psf, rng=np.random.default_rng([seed, 1, key])
    )
    write_image(run.simulated_path(exposure_id), injected_image)
    return sources


def find_hosts(sources, image, reference=None):
    """Find the galaxies of an exposure, in a deeper reference where there is one.

    Parameters
    ----------
    sources : astropy.table.Table
        Of the exposure, with ``is_star``.
    image : Image
    reference : tuple, optional
        What `gmadet_nb.sky.references.load_reference_file` gives.

    Returns
    -------
    galaxies : astropy.table.Table
        ``x``, ``y``, ``half_light_radius`` [pixel of the exposure].
    """
    if reference is None:
        return simulate.find_galaxies(sources, _star_radius(sources))
    there, _, seen, _ = reference
    try:
        alignment = find_alignment(
            sources,
            seen,
            shape=image.data.shape,
            science_wcs=image.wcs,
            reference_wcs=there.wcs,
        )
    except BadImageError:
        return simulate.find_galaxies(sources, _star_radius(sources))
    galaxies = simulate.find_galaxies(seen, _star_radius(seen))
    x, y = alignment.find_source_pixels(galaxies["x"], galaxies["y"])
    galaxies["x"], galaxies["y"] = x, y
    galaxies["half_light_radius"] /= np.sqrt(alignment.area_ratio)
    return galaxies


def _star_radius(sources):
    return float(np.median(sources["half_light_radius"][sources["is_star"]]))


def recover_exposure(exposure_id, *, run_dir):
    """Measure the sources that were injected into one exposure, without its own.

    Returns
    -------
    recovered : astropy.table.Table
        See `gmadet_nb.imaging.self_check.recover_sources`.
    """
    run = RunDir(run_dir)
    row = row_of(run.read_table("exposures"), exposure_id)
    before = open_exposure(row)
    after = open_exposure(row, run.simulated_path(exposure_id))
    psf, _ = read_psf_and_sources(run, exposure_id)
    sources = run.read_table("simulated_objects")
    sources = sources[sources["exposure_id"] == exposure_id]
    variance = float(row["noise"]) ** 2
    return recover_sources(before, after, psf, sources, sky_variance=variance)


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
