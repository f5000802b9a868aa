"""gmadet's and O'TRAIN's data set, ``cube.npz``, as their own training reads it."""

import numpy as np
from astropy.table import join

from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.files.tables import as_floats


def write_cube(path, split, candidates, store):
    """Write the used candidates as gmadet's ``cube.npz``.

    Their networks cannot take NaN, so that NaN pixels become 0. Beside gmadet's six
    arrays there are O'TRAIN's ``fwhms``, and ``parts`` and ``exposure_ids``, which
    neither reads: with them the split can be kept elsewhere.
    `gmadet_nb.learning.stamps.read_stamps` reads it back.

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
    cube = np.empty((len(ids), store.size, store.size, 1), np.float32)
    for start in range(0, len(ids), 1024):
        pixels = store.read(ids[start : start + 1024])[..., 2:]
        cube[start : start + 1024] = np.nan_to_num(pixels, posinf=0.0, neginf=0.0)
    arrays = {
        "cube": cube,
        "labels": np.asarray(rows["label"] == "real", np.int64),
        "mags": as_floats(rows["mag"]),
        "errmags": as_floats(rows["mag_err"]),
        "filters": np.asarray(rows["filter"], np.str_),
        "candids": np.asarray(rows["candidate_id"], np.str_),
        "fwhms": as_floats(rows["fwhm"]),
        "parts": np.asarray(rows["part"], np.str_),
        "exposure_ids": np.asarray(rows["exposure_id"], np.str_),
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    return len(ids)
