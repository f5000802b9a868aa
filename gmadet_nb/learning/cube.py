"""gmadet's own data set, ``cube.npz``: in and out."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table, join

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path

KEYS = ("cube", "labels", "mags", "errmags", "filters", "candids")


@dataclass(frozen=True, kw_only=True)
class Cube:
    """The content of a ``cube.npz``.

    Attributes
    ----------
    pixels : (n, ny, nx, 1) float32 array
        Difference cutouts [adu].
    table : astropy.table.Table
        One row a cutout: ``candidate_id``, ``label``, ``mag``, ``mag_err``
        [mag], ``filter``.
    """

    pixels: np.ndarray
    table: Table


def write_cube(path, split, candidates, store):
    """Write the used candidates as gmadet's ``cube.npz``.

    gmadet's network cannot take NaN, so that NaN pixels become 0. Beside
    gmadet's six arrays there are ``parts`` and ``exposure_ids``, which it does
    not read: with them the split can be kept elsewhere.

    Parameters
    ----------
    path : str or pathlib.Path
        Where to.
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`.
    candidates : astropy.table.Table
        ``candidate_id``, ``mag``, ``mag_err``, ``filter``.
    store : CutoutStore
        Their cutouts.

    Returns
    -------
    int
        Number of cutouts written.
    """
    rows = split[np.asarray(split["used"], bool)]
    columns = candidates["candidate_id", "mag", "mag_err", "filter"]
    rows = join(rows, columns, keys="candidate_id", metadata_conflicts="silent")
    ids = list(rows["candidate_id"])
    cube = np.empty((len(ids), store.size, store.size, 1), np.float32)
    for start in range(0, len(ids), 1024):
        pixels = store.read(ids[start : start + 1024])[..., 2:]
        cube[start : start + 1024] = np.nan_to_num(pixels, posinf=0.0, neginf=0.0)
    arrays = {
        "cube": cube,
        "labels": np.asarray(rows["label"] == "real", np.int64),
        "mags": np.ma.filled(np.ma.asarray(rows["mag"], float), np.nan),
        "errmags": np.ma.filled(np.ma.asarray(rows["mag_err"], float), np.nan),
        "filters": np.asarray(rows["filter"], np.str_),
        "candids": np.asarray(rows["candidate_id"], np.str_),
        "parts": np.asarray(rows["part"], np.str_),
        "exposure_ids": np.asarray(rows["exposure_id"], np.str_),
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    return len(ids)


def read_cube(path):
    """Read a ``cube.npz``, ours or gmadet's.

    Returns
    -------
    Cube

    Raises
    ------
    BadInputError
        If it is none: a key is missing, lengths differ, a label is not 0 or 1,
        or it holds Python objects, which are never loaded.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file]
            if missing:
                raise BadInputError(
                    f"'{path}' must hold the arrays {KEYS}, it lacks {missing}."
                )
            arrays = {key: file[key] for key in KEYS}
    except BadInputError:
        raise
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise BadInputError(
            f"'{path}' cannot be read as a cube.npz: {error}."
        ) from error
    n = len(arrays["cube"])
    if arrays["cube"].ndim != 4 or any(len(value) != n for value in arrays.values()):
        shapes = {key: value.shape for key, value in arrays.items()}
        raise BadInputError(f"'{path}' must have one row a cutout, got {shapes}.")
    labels = arrays["labels"]
    if not np.isin(labels, (0, 1)).all():
        raise BadInputError(
            f"'{path}': labels must be 0 or 1, got {np.unique(labels)[:10]}."
        )
    columns = {
        "candidate_id": np.asarray(arrays["candids"]).astype(str),
        "label": np.where(labels == 1, "real", "bogus"),
        "mag": np.asarray(arrays["mags"], float),
        "mag_err": np.asarray(arrays["errmags"], float),
        "filter": np.asarray(arrays["filters"]).astype(str),
    }
    units = {"mag": "mag", "mag_err": "mag"}
    return Cube(
        pixels=np.asarray(arrays["cube"], np.float32), table=Table(columns, units=units)
    )
