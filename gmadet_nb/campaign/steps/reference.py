"""03: the reference of one exposure, on its pixels."""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.coordinates import angular_separation

from gmadet_nb.campaign.steps.products import read_sources
from gmadet_nb.errors import BadImageError
from gmadet_nb.sky import references

logger = logging.getLogger(__name__)

# An exposure that meets none of so many others is of another field.
_MOST_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which reference is wanted.

    Attributes
    ----------
    name : str
        ``best``, ``stack`` or the path of a FITS file.
    gain : float or "auto"
        Of the file [electron/adu].
    n_stack : int
        At most so many exposures in a stack.
    """

    name: str
    gain: float | str
    n_stack: int


def make_reference(run, exposures, row, science, sources, choice):
    """Make the reference of one exposure, on its pixels.

    Parameters
    ----------
    run : RunDir
    exposures : astropy.table.Table
    row : astropy.table.Row
        Of the exposure that gets it.
    science : Image
    sources : astropy.table.Table
        Of the exposure.
    choice : Choice

    Returns
    -------
    reference : gmadet_nb.sky.references.Reference
    """
    place = {"science": science, "science_sources": sources}
    if choice.name not in ("best", "stack"):
        return _place_file(row, choice, place)
    ranked = references.rank_exposures(exposures, without=row["exposure_id"])
    made, failures = [], []
    for other in same_field_first(ranked, row):
        if len(made) >= (1 if choice.name == "best" else choice.n_stack):
            break
        if not made and len(failures) >= _MOST_FAILURES:
            break
        image, noise = references.open_night_exposure(other)
        there = read_sources(run.psf_path(other["exposure_id"]))
        fwhm = float(other["fwhm"])
        try:
            made.append(references.place_reference(image, noise, there, fwhm, **place))
        except BadImageError as error:
            failures.append(f"{other['exposure_id']}: {error}")
    if not made:
        raise BadImageError(
            f"No exposure can be its reference, of {len(failures)} that were tried. "
            f"{failures[0]}"
        )
    if choice.name == "best":
        return replace(made[0], text=f"best, {made[0].text}")
    return references.stack_references(made, sources[sources["is_star"]])


def same_field_first(ranked, row):
    """Put the exposures last whose WCS has them farther away than the field is wide.

    Parameters
    ----------
    ranked : astropy.table.Table
        Rows of the exposures table, in order.
    row : astropy.table.Row
        Of the exposure that gets the reference.

    Returns
    -------
    ranked : astropy.table.Table
        In order, but for those; one without a WCS may be anywhere, and stays.
    """
    ra, dec = (np.radians(np.asarray(ranked[name])) for name in ("ra", "dec"))
    here = np.radians([row["ra"], row["dec"]])
    apart = np.degrees(angular_separation(*here, ra, dec)) * 3600
    # Nothing is far from nowhere: a comparison with NaN is False.
    far = apart > np.hypot(row["nx"], row["ny"]) * row["pixel_scale"]
    return ranked[np.argsort(far, kind="stable")]


def _place_file(row, choice, place):
    """Put a reference file on the pixels of an exposure, and say what it is."""
    name = Path(choice.name).name
    if Path(choice.name).resolve() == Path(row["path"]).resolve():
        raise BadImageError(
            "A reference must be another image than the exposure, and both are "
            f"{name}: nothing would be left."
        )
    image, noise, there, fwhm = _reference_file(
        choice.name, str(row["telescope"]), choice.gain
    )
    made = references.place_reference(image, noise, there, fwhm, **place)
    here = str(row["filter"])
    if image.filter and here and image.filter.casefold() != here.casefold():
        _warn_of_filter(name, image.filter, here)
        return replace(made, text=f"file {name}, in the filter {image.filter}")
    return replace(made, text=f"file {name}")


@lru_cache(maxsize=32)
def _warn_of_filter(name, there, here):
    """Say once, not of each exposure, that a reference shows other colours."""
    logger.warning(
        "The reference %s is in the filter %s and the exposures in %s: what is left of "
        "stars is their colour, too.",
        *(name, there, here),
    )


@lru_cache(maxsize=1)
def _reference_file(path, telescope, gain):
    return references.load_reference_file(path, telescope, gain=gain)
