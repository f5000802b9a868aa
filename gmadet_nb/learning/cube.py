"""gmadet's and O'TRAIN's data set, ``cube.npz``, as their own training reads it."""

import zipfile

import numpy as np
from astropy.table import join

from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.files.tables import as_floats

BLOCK = 512  # cutouts in memory at a time


def write_cube(path, split, candidates, store):
    """Write the used candidates as gmadet's ``cube.npz``.

    Their networks cannot take NaN, so that NaN pixels become 0. Beside gmadet's six
    arrays there are O'TRAIN's ``fwhms``, and ``parts`` and ``exposure_ids``, which
    neither reads: with them the split can be kept elsewhere.
    `gmadet_nb.learning.stamps.read_stamps` reads it back. However many there are, a
    block of them is in memory.

    Parameters
    ----------
    path : str or pathlib.Path
        Where to.
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`.
    candidates : astropy.table.Table
        ``candidate_id``, ``mag``, ``mag_err`` [mag], ``filter``, ``fwhm`` [pixel].
    store : CutoutStore
        Their cutouts.

    Returns
    -------
    int
        Number of cutouts written.
    """
    rows = split[np.asarray(split["used"], bool)]
    columns = candidates["candidate_id", "mag", "mag_err", "filter", "fwhm"]
    rows = join(rows, columns, keys="candidate_id", metadata_conflicts="silent")
    ids = list(rows["candidate_id"])
    arrays = {
        "labels": np.asarray(rows["label"] == "real", np.int64),
        "mags": as_floats(rows["mag"]),
        "errmags": as_floats(rows["mag_err"]),
        "filters": np.asarray(rows["filter"], np.str_),
        "candids": np.asarray(rows["candidate_id"], np.str_),
        "fwhms": as_floats(rows["fwhm"]),
        "parts": np.asarray(rows["part"], np.str_),
        "exposure_ids": np.asarray(rows["exposure_id"], np.str_),
    }
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        with _member(file, "cube") as out:
            _write_differences(out, ids, store)
        for name, values in arrays.items():
            with _member(file, name) as out:
                np.lib.format.write_array(out, values, allow_pickle=False)
    return len(ids)


def _member(file, name):
    """Open one array of an ``.npz`` to be written, which may have 4 GB or more."""
    return file.open(f"{name}.npy", "w", force_zip64=True)


def _write_differences(out, ids, store):
    """Write the differences of some candidates, (n, size, size, 1), block by block."""
    header = {
        "descr": "<f4",
        "fortran_order": False,
        "shape": (len(ids), store.size, store.size, 1),
    }
    np.lib.format.write_array_header_1_0(out, header)
    for start in range(0, len(ids), BLOCK):
        pixels = store.read(ids[start : start + BLOCK])[..., 2:]
        finite = np.nan_to_num(pixels, posinf=0.0, neginf=0.0)
        out.write(np.ascontiguousarray(finite, "<f4").data)
