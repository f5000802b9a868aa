"""What one step leaves for the next: PSFs with their sources, differences."""

from dataclasses import fields
from functools import partial

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.images import header_wcs, open_exposure
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.imaging import psf as psf_tools
from gmadet_nb.imaging.quality import Quality
from gmadet_nb.imaging.subtract import Difference
from gmadet_nb.learning.cutouts import cut
from gmadet_nb.learning.label_context import Context
from gmadet_nb.views.stretch import hide_masked

_NUMBERS = ("kernel_sum", "kernel_sum_scatter", "noise_factor")
_QUALITY = tuple(field.name for field in fields(Quality))


def row_of(table, exposure_id):
    """Return the row of one exposure."""
    return table[table["exposure_id"] == exposure_id][0]


def open_science(run, row, workflow):
    """Open the exposure that a workflow searches.

    Parameters
    ----------
    run : RunDir
    row : astropy.table.Row
        Of the exposures table.
    workflow : str
        ``train`` takes the exposure with injected sources, ``apply`` as it is.

    Returns
    -------
    image : Image

    Raises
    ------
    BadParameterError
        If there is no such workflow.
    BadInputError
        If the sources have not been injected.
    """
    if workflow not in ("train", "apply"):
        raise BadParameterError(
            f"workflow must be 'train' or 'apply', got {workflow!r}."
        )
    if workflow == "apply":
        return open_exposure(row)
    path = run.simulated_path(row["exposure_id"])
    if not path.is_file():
        raise BadInputError(f"{path} must be there. Run 02_simulate first.")
    return open_exposure(row, path)


def read_sources(path):
    """Read the sources that `write_psf` kept beside a PSF."""
    return Table.read(path, hdu="SOURCES", format="fits")


def read_psf_and_sources(run, exposure_id):
    """Read the PSF of an exposure and the sources beside it."""
    path = run.psf_path(exposure_id)
    return psf_tools.read_psf(path), read_sources(path)


def write_difference(path, difference, header):
    """Write a difference image with its reference, noise and mask."""
    primary = fits.PrimaryHDU()
    if header_wcs(header) is not None:
        primary.header.update(header_wcs(header).to_header(relax=True))
    hdus = [primary]
    for name in ("difference", "reference", "noise", "mask"):
        data = difference.data if name == "difference" else getattr(difference, name)
        hdus.append(fits.ImageHDU(data, name=name.upper()))
    hdus.append(psf_tools.psf_hdu(difference.psf, fits.ImageHDU, name="PSF"))
    numbers = {name: getattr(difference, name) for name in _NUMBERS}
    numbers |= {name: getattr(difference.quality, name) for name in _QUALITY}
    for name, value in numbers.items():
        if np.isfinite(value):
            primary.header[f"HIERARCH {name.upper()}"] = value
    for name in ("method", "convolved", "n_stars"):
        primary.header[f"HIERARCH {name.upper()}"] = getattr(difference, name)
    with atomic_path(path) as temporary:
        fits.HDUList(hdus).writeto(temporary)


def read_difference(path):
    """Read a difference image that `write_difference` wrote.

    Raises
    ------
    BadInputError
        If it is absent or broken.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            planes = {
                name: hdus[name.upper()].data.astype(
                    np.uint8 if name == "mask" else np.float32
                )
                for name in ("difference", "reference", "noise", "mask")
            }
            psf = psf_tools.psf_of_hdu(hdus["PSF"])
    except (OSError, KeyError, AttributeError) as error:
        raise BadInputError(
            f"{path} must be a difference written by 03_detect: {error}. Run it again."
        ) from error
    numbers = {
        name: float(header.get(name.upper(), np.nan)) for name in _NUMBERS + _QUALITY
    }
    return Difference(
        data=planes.pop("difference"),
        **planes,
        psf=psf,
        quality=Quality(**{name: numbers.pop(name) for name in _QUALITY}),
        method=header["METHOD"],
        convolved=header["CONVOLVED"],
        n_stars=header["N_STARS"],
        **numbers,
    )


def read_planes(exposure_id, run, exposures, workflow):
    """Read science, reference and difference of an exposure, masked pixels NaN.

    Returns
    -------
    planes : list of three (ny, nx) arrays
        [adu]
    """
    science = open_science(run, row_of(exposures, exposure_id), workflow)
    difference = read_difference(run.difference_path(exposure_id))
    return [science.data] + [
        hide_masked(plane, difference.mask)
        for plane in (difference.reference, difference.data)
    ]


def open_context(run, size):
    """Return what shows the surroundings of a run's candidates.

    Parameters
    ----------
    run : RunDir
    size : int
        Side of its cutouts [pixel].

    Returns
    -------
    Context or None
        None for a run made of stamps from elsewhere, which has no images.
    """
    if run.of_stamps or not run.has_table("exposures"):
        return None
    exposures = run.read_table("exposures")
    # A new night has nothing injected.
    workflow = "train" if run.has_table("simulated_objects") else "apply"
    read = partial(read_planes, run=run, exposures=exposures, workflow=workflow)
    return Context(run.read_table("candidates"), exposures, read, size=size)


def cut_examples(run, exposures, examples, *, workflow, size):
    """Cut examples out of their exposures and differences.

    Parameters
    ----------
    run : RunDir
    exposures : astropy.table.Table
    examples : astropy.table.Table
        ``exposure_id``, ``x``, ``y`` [pixel].
    workflow : str
    size : int
        Side of the cutouts [pixel].

    Returns
    -------
    pixels : (n, size, size, 3) float32 array
        Science, reference and difference [adu]; NaN where they are masked or end.
    """
    pixels = np.full((len(examples), size, size, 3), np.nan, np.float32)
    for exposure_id in np.unique(examples["exposure_id"]):
        planes = read_planes(exposure_id, run, exposures, workflow)
        rows = np.asarray(examples["exposure_id"] == exposure_id)
        places = examples["x"][rows], examples["y"][rows]
        pixels[rows] = cut(planes, *places, size=size)[0]
    return pixels
