"""The door for cutouts that were not cut here: gmadet's, O'TRAIN's, other surveys'.

An ``.npz`` of stamps, or gmadet's folders ``true/`` and ``false/``; `stamp_run` makes a
run folder of them.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import check_name
from gmadet_nb.learning.cutouts import PLANES
from gmadet_nb.learning.fits_cutouts import find_cutouts, read_cutout

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
    path = Path(path)
    if not path.exists():
        raise BadInputError(f"There is no file or folder '{path}'.")
    return read_stamp_folders(path) if path.is_dir() else read_stamp_file(path)


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
        square, a name comes twice or can be no part of a file's name, a label is
        neither 0 nor 1, or the file holds Python objects, which are never loaded.
    """
    path = Path(path)
    arrays = _load(path)
    pixels = _planes(arrays.pop("pixels"), path)
    n = len(pixels)
    wrong = {name: value.shape for name, value in arrays.items() if value.shape != (n,)}
    if wrong:
        raise BadInputError(f"'{path}' must have one row a stamp, {n}; got {wrong}.")
    ids = arrays["candidate_id"].astype(str)
    _check_ids(ids, path)
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
    rows, cutouts = [], []
    for label, path in find_cutouts(folder):
        row, pixels = read_cutout(path)
        known = "candidate_id", "exposure_id", "filter", "mag", "mag_err", "fwhm"
        word = label if label in ("real", "bogus") else ""
        rows.append({name: row[name] for name in known} | {"label": word})
        cutouts.append(pixels)
    shapes = {pixels.shape for pixels in cutouts}
    if len(shapes) != 1:
        raise BadInputError(
            f"Cutouts must all have one size, those of '{folder}' have {shapes}."
        )
    table = Table(rows=rows)
    table["score"] = np.nan
    for name, unit in _UNITS.items():
        table[name].unit = unit
    _check_ids(table["candidate_id"], folder)
    return Stamps(pixels=_planes(np.stack(cutouts), folder), table=table)


def _check_ids(ids, path):
    """Refuse names that come twice, or that can be no part of a file's name."""
    if len(set(ids)) != len(ids):
        raise BadInputError(
            f"'{path}' must name each stamp once, and has {len(set(ids))} names for "
            f"{len(ids)} stamps."
        )
    for key in ids:
        check_name(str(key), what="candidate_id")


def _load(path):
    """Return the arrays of a file that are known, by our names."""
    if not zipfile.is_zipfile(path):
        raise BadInputError(
            "Stamps must be in an .npz (cube.npz of gmadet or O'TRAIN, or triplets and "
            "candid of a survey) or as FITS cutouts in folders true/ and false/, and "
            f"'{path}' is neither."
        )
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
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise BadInputError(
            f"'{path}' must be an .npz of plain arrays, as no others are loaded, and "
            f"reading it failed: {error}"
        ) from error


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
