"""03: the reference of one exposure, on its pixels."""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from gmadet_nb.campaign.steps.products import read_psf_and_sources
from gmadet_nb.errors import BadImageError
from gmadet_nb.sky import references

logger = logging.getLogger(__name__)


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
    for other in ranked:
        if len(made) >= (1 if choice.name == "best" else choice.n_stack):
            break
        image, noise = references.open_night_exposure(other)
        psf, there = read_psf_and_sources(run, other["exposure_id"])
        try:
            made.append(
                references.place_reference(image, noise, there, psf.fwhm, **place)
            )
        except BadImageError as error:
            failures.append(f"{other['exposure_id']}: {error}")
    if not made:
        raise BadImageError(
            f"No exposure can be its reference. {' '.join(failures[:2])}"
        )
    if choice.name == "best":
        return replace(made[0], text=f"best, {made[0].text}")
    return references.stack_references(made, sources[sources["is_star"]])


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
        logger.warning(
            "The reference %s is in the filter %s and %s in %s: what is left of stars "
            "is their colour, too.",
            *(name, image.filter, row["exposure_id"], here),
        )
        return replace(made, text=f"file {name}, in the filter {image.filter}")
    return replace(made, text=f"file {name}")


@lru_cache(maxsize=1)
def _reference_file(path, telescope, gain):
    return references.load_reference_file(path, telescope, gain=gain)
