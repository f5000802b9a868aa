"""The door for cutouts that were not cut here: gmadet's, O'TRAIN's, other surveys'.

An ``.npz`` of stamps, or gmadet's folders ``true/`` and ``false/``; `stamp_run` makes a
run folder of them.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.cutouts import PLANES

_PIXELS = ("cube", "triplets")
# Our name: the names that files have for it. Fields of one source, or of one exposure,
# stay together when candidates are split.
_NAMES = {
    "candidate_id": ("candids", "candid"),
    "exposure_id": ("exposure_ids", "objectid"),
    "label": ("labels",),
    "mag": ("mags", "magpsf"),
    "mag_err": ("errmags", "sigmapsf"),
    "filter": ("filters", "fid"),
    "fwhm": ("fwhms",),
    "score": ("drb", "rb"),
}
_NUMBERS = ("mag", "mag_err", "fwhm", "score")
_UNITS = {"mag": "mag", "mag_err": "mag", "fwhm": "pix"}
_FOLDERS = {"real": "true", "bogus": "false"}
# Our name: the keyword in a FITS cutout of gmadet or O'TRAIN.
_KEYWORDS = {"mag": "MAG", "mag_err": "MAGERR", "fwhm": "FWHM"}
_READ_ERRORS = (OSError, KeyError, IndexError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Stamps:
    """Cutouts from elsewhere and what is known of them.

    Attributes
    ----------
    pixels : (n, size, size, 3) float32 array
        Science, reference, difference; NaN where a plane or a pixel is missing.
    table : astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``label`` ("real", "bogus" or ""), ``mag``,
        ``mag_err`` [mag], ``filter``, ``fwhm`` [pixel], ``score``; what the file does
        not say is NaN or "".
    """

    pixels: np.ndarray
    table: Table


def read_stamps(path):
    """Read stamps: a folder with ``true/`` and ``false/``, or an ``.npz``."""
    return read_stamp_folders(path) if Path(path).is_dir() else read_stamp_file(path)


def read_stamp_file(path):
    """Read an ``.npz`` of stamps.

    The pixels are ``cube`` or ``triplets``, (n, size, size, 1) for differences alone or
    (n, size, size, 3); the names that gmadet's and O'TRAIN's ``cube.npz`` and ZTF's
    alerts have for the other columns are known.

    Returns
    -------
    Stamps

    Raises
    ------
    BadInputError
        If there are no pixels or no names in it, their numbers differ, a stamp is not
        square, a name comes twice, a label is neither 0 nor 1, or the file holds Python
        objects, which are never loaded.
    """
    path = Path(path)
    arrays = _load(path)
    pixels = _planes(arrays.pop("pixels"), path)
    n = len(pixels)
    wrong = {name: value.shape for name, value in arrays.items() if value.shape != (n,)}
    if wrong:
        raise BadInputError(f"'{path}' must have one row a stamp, {n}; got {wrong}.")
    ids = arrays["candidate_id"].astype(str)
    if len(set(ids)) != n:
        raise BadInputError(
            f"'{path}' must name each stamp once, and has {len(set(ids))} names for "
            f"{n} stamps."
        )
    table = Table({"candidate_id": ids})
    alone = np.full(n, path.stem)
    table["exposure_id"] = arrays.get("exposure_id", alone).astype(str)
    table["label"] = _labels(arrays.get("label"), n, path)
    for name in _NUMBERS:
        values = arrays.get(name, np.full(n, np.nan))
        table[name] = np.asarray(values, dtype=float)
        table[name].unit = _UNITS.get(name)
    table["filter"] = arrays.get("filter", np.full(n, "")).astype(str)
    return Stamps(pixels=pixels, table=table)


def read_stamp_folders(folder):
    """Read the FITS cutouts of gmadet's or O'TRAIN's ``true/`` and ``false/``.

    Those that `gmadet_nb.learning.label_exchange.write_folders` has written hold the
    science and the reference cutout, too.

    Returns
    -------
    Stamps

    Raises
    ------
    BadInputError
        If there is no cutout, one cannot be read or has no CANDID, or their sizes
        differ.
    """
    folder = Path(folder)
    found = [
        (label, path)
        for label, name in _FOLDERS.items()
        for path in sorted((folder / name).glob("*.fits"))
    ]
    if not found:
        raise BadInputError(
            f"'{folder}' must hold FITS cutouts in true/ and false/, and holds none."
        )
    cutouts = [_read_cutout(path, label) for label, path in found]
    shapes = {pixels.shape for pixels, _ in cutouts}
    if len(shapes) != 1:
        raise BadInputError(
            f"Cutouts must all have one size, those of '{folder}' have {shapes}."
        )
    table = Table(rows=[row for _, row in cutouts])
    for name, unit in _UNITS.items():
        table[name].unit = unit
    if len(set(table["candidate_id"])) != len(table):
        raise BadInputError(
            f"A candidate must be there once, and some of '{folder}' are twice."
        )
    pixels = _planes(np.stack([pixels for pixels, _ in cutouts]), folder)
    return Stamps(pixels=pixels, table=table)


def _read_cutout(path, label):
    """Return the planes of one cutout, (size, size, 1 or 3), and its row."""
    try:
        with fits.open(path) as hdus:
            header, names = hdus[0].header, {hdu.name for hdu in hdus}
            parts = (
                ["SCIENCE", "REFERENCE"] if {"SCIENCE", "REFERENCE"} <= names else []
            )
            planes = [hdus[part].data for part in [*parts, 0]]
            row = {
                "candidate_id": str(header["CANDID"]),
                "exposure_id": str(header.get("FILE", path.parents[1].name)),
                "label": label,
                "filter": str(header.get("FILTER", "")),
                "score": np.nan,
            }
            row |= {
                name: float(header.get(keyword, np.nan))
                for name, keyword in _KEYWORDS.items()
            }
            return np.stack(planes, axis=-1).astype(np.float32), row
    except _READ_ERRORS as error:
        raise BadInputError(
            f"'{path}' must be a FITS cutout with CANDID in its header, and reading it "
            f"failed: {error!r}."
        ) from error


def _load(path):
    """Return the arrays of a file that are known, by our names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            wanted = _NAMES | {"pixels": _PIXELS}
            first = {
                name: next((other for other in others if other in names), None)
                for name, others in wanted.items()
            }
            missing = [
                " or ".join(wanted[name])
                for name in ("pixels", "candidate_id")
                if first[name] is None
            ]
            if missing:
                raise BadInputError(
                    f"'{path}' must hold {' and '.join(missing)}; it has "
                    f"{', '.join(sorted(names))}."
                )
            return {name: file[other] for name, other in first.items() if other}
    except BadInputError:
        raise
    # A single array in an .npy knows no ``with``: TypeError.
    except (OSError, TypeError, zipfile.BadZipFile, ValueError) as error:
        raise BadInputError(f"'{path}' cannot be read as an .npz: {error}.") from error


def _planes(pixels, path):
    """Return stamps of one or three planes as (n, size, size, 3)."""
    shape = pixels.shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] not in (1, len(PLANES)):
        raise BadInputError(
            "Stamps must have the shape (n, size, size, 1) or (n, size, size, 3), "
            f"those of '{path}' have {shape}."
        )
    if shape[3] == len(PLANES):
        return np.asarray(pixels, np.float32)
    planes = np.full((*shape[:3], len(PLANES)), np.nan, np.float32)
    planes[..., 2:] = pixels
    return planes


def _labels(values, n, path):
    """Return words for labels of 0 and 1; nothing said is ""."""
    if values is None:
        return np.full(n, "", dtype="<U5")
    if not np.isin(values, (0, 1)).all():
        raise BadInputError(
            f"'{path}': labels must be 0 or 1, got {np.unique(values)[:10].tolist()}."
        )
    return np.where(values == 1, "real", "bogus")
