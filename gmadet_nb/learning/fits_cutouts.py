"""One candidate as a FITS file, as gmadet and O'TRAIN keep it: in and out.

The primary image is the difference, and the header says what the candidate is. Science
and reference are extensions of the same file, which neither of the two reads, and three
keywords more say how it is labelled, by whom and when.
"""

import re
from datetime import datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path

# gmadet reads the first two.
FOLDERS = {"real": "true", "bogus": "false", "unsure": "unsure"}
# gmadet's keyword: our column.
_NUMBERS = {
    "MAG": "mag",
    "MAGERR": "mag_err",
    "FWHM": "fwhm",
    "FWHMPSF": "psf_fwhm",
    "RA": "ra",
    "Dec": "dec",
    "Xpos": "x",
    "Ypos": "y",
}
# gmadet counts pixels from 1.
_FROM_ONE = ("x", "y")
_LABEL, _LABELER, _TIME = "LABEL", "LABELER", "LABELED"
_READ_ERRORS = (OSError, KeyError, IndexError, TypeError, ValueError)


def find_cutouts(folder):
    """Return label and path of the cutouts in ``true/``, ``false/`` and ``unsure/``.

    Raises
    ------
    BadInputError
        If there is none.
    """
    found = [
        (label, path)
        for label, name in FOLDERS.items()
        for path in sorted((Path(folder) / name).glob("*.fits"))
    ]
    if not found:
        raise BadInputError(
            f"'{folder}' must hold FITS cutouts in true/ and false/, and holds none."
        )
    return found


def write_cutout(path, row, pixels):
    """Write one candidate.

    Parameters
    ----------
    path : pathlib.Path
    row : dict
        ``candidate_id``, ``exposure_id``, and those of gmadet's columns that are
        known; ``label``; ``labeler`` and ``time`` (text, ISO) where a person has
        labelled it.
    pixels : (size, size, 3) array
        Science, reference, difference [adu].
    """
    science, reference, difference = np.moveaxis(pixels, -1, 0)
    primary = fits.PrimaryHDU(difference)
    for keyword, name in _NUMBERS.items():
        # A FITS header has no NaN: what is not known is left out.
        if name in row and np.isfinite(float(row[name])):
            primary.header[keyword] = float(row[name]) + (name in _FROM_ONE)
    primary.header["FILTER"] = str(row.get("filter", ""))
    primary.header["FILE"] = str(row["exposure_id"])
    primary.header["CANDID"] = str(row["candidate_id"])
    primary.header["edge"] = str(bool(np.isnan(difference).any()))
    primary.header[_LABEL] = str(row.get("label", ""))
    primary.header[_LABELER] = str(row.get("labeler", ""))
    primary.header[_TIME] = str(row.get("time", ""))
    images = [
        fits.ImageHDU(science, name="SCIENCE"),
        fits.ImageHDU(reference, name="REFERENCE"),
    ]
    with atomic_path(path) as temporary:
        fits.HDUList([primary, *images]).writeto(temporary)


def read_cutout(path, *, with_pixels=True):
    """Read one candidate.

    Parameters
    ----------
    path : str or pathlib.Path
    with_pixels : bool
        Without them only the header is read.

    Returns
    -------
    row : dict
        As for `write_cutout`; what the header does not say is NaN or "". ``label`` and
        ``labeler`` are None where the file does not say, and ``time`` a datetime or
        None.
    pixels : (size, size, 3) float32 array or None
        NaN where a plane is missing.

    Raises
    ------
    BadInputError
        If it cannot be read, or has no CANDID.
    """
    try:
        with fits.open(path) as hdus:
            row = _row(hdus[0].header, Path(path))
            return row, _pixels(hdus) if with_pixels else None
    except _READ_ERRORS as error:
        raise BadInputError(
            f"'{path}' must be a FITS cutout with CANDID in its header, and reading it "
            f"failed: {error!r}."
        ) from error


def _row(header, path):
    time = header.get(_TIME, "")
    row = {
        "candidate_id": str(header["CANDID"]),
        "exposure_id": _exposure_name(str(header.get("FILE", path.parents[1].name))),
        "filter": str(header.get("FILTER", "")),
        "label": header.get(_LABEL) or None,
        "labeler": header.get(_LABELER),
        "time": datetime.fromisoformat(time) if time else None,
    }
    for keyword, name in _NUMBERS.items():
        row[name] = float(header.get(keyword, np.nan)) - (name in _FROM_ONE)
    return row


def _exposure_name(text):
    """Return the name of a file as that of an exposure: gmadet gives its path."""
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", Path(text).name).removesuffix(".fits")
    return re.sub(r"^\.", "_", name) or "unknown"


def _pixels(hdus):
    difference = hdus[0].data
    there = {hdu.name: hdu.data for hdu in hdus[1:]}
    missing = np.full(difference.shape, np.nan)
    planes = [there.get(name, missing) for name in ("SCIENCE", "REFERENCE")]
    return np.stack([*planes, difference], axis=-1).astype(np.float32)
