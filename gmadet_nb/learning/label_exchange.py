"""Labels in and out: gmadet's and O'TRAIN's folders of FITS cutouts."""

from pathlib import Path

import numpy as np
from astropy.table import join

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import check_name
from gmadet_nb.learning.fits_cutouts import (
    FOLDERS,
    find_cutouts,
    read_cutout,
    write_cutout,
)

#: As a labeler's name in a cutout: nobody has said so.
AUTOMATIC = "automatic"


def write_folders(folder, labels, candidates, store, human_labels):
    """Write labelled candidates as ``true/``, ``false/`` and ``unsure/``.

    Automatic labels go along, as gmadet's training wants them, and are marked: they do
    not become a person's when the folders are read again, but for those that somebody
    has moved to another folder.

    Parameters
    ----------
    folder : str or pathlib.Path
        ``candidates_training`` of gmadet; made where it is missing.
    labels : astropy.table.Table
        From `gmadet_nb.learning.labeling.label_table`.
    candidates : astropy.table.Table
    store : CutoutStore
    human_labels : astropy.table.Table
        From `gmadet_nb.learning.labels.read_labels`.

    Returns
    -------
    n : dict
        Files written, by label.

    Raises
    ------
    BadInputError
        If a file is there already (nothing is overwritten), or a candidate's name can
        be no part of a file's name.
    """
    folder, n = Path(folder), dict.fromkeys(FOLDERS, 0)
    labels = labels[np.isin(labels["label"], list(FOLDERS))]
    if not len(labels):
        return n
    rows = join(
        labels["candidate_id", "label"],
        candidates,
        keys="candidate_id",
        metadata_conflicts="silent",
    )
    by_whom = {
        str(key): {"labeler": str(who), "time": str(time)}
        for key, who, time in human_labels["candidate_id", "labeler", "time"].iterrows()
    }
    paths = [_path_of(folder, row) for row in rows]
    for row, path in zip(rows, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        key = str(row["candidate_id"])
        known = {k: row[k] for k in row.colnames if not np.ma.is_masked(row[k])}
        known |= by_whom.get(key, {"labeler": AUTOMATIC})
        write_cutout(path, known, store.read([key])[0])
        n[str(row["label"])] += 1
    return n


def _path_of(folder, row):
    """Return where a candidate goes."""
    key = check_name(str(row["candidate_id"]), what="candidate_id")
    path = folder / FOLDERS[str(row["label"])] / f"candidate_{key}.fits"
    if path.exists():
        raise BadInputError(
            "A folder to write to must not hold the candidate already, and "
            f"'{path}' is there. Name an empty folder."
        )
    return path


def read_folders(folder):
    """Read what is said of the candidates in ``true/``, ``false/`` and ``unsure/``.

    Parameters
    ----------
    folder : str or pathlib.Path
        Of gmadet, of O'TRAIN or of `write_folders`.

    Returns
    -------
    labels : list of dict
        ``candidate_id``; ``label``, that of its folder; ``labeler``, "" where the file
        does not say and "automatic" for a label that nobody gave; ``time``, a datetime
        or None; ``moved``, whether it lies in another folder than it was written to.

    Raises
    ------
    BadInputError
        If there is no cutout, a file says no CANDID, or one candidate lies in two
        folders.
    """
    found, where = [], {}
    for label, path in find_cutouts(folder):
        row, _ = read_cutout(path, with_pixels=False)
        key = row["candidate_id"]
        if where.setdefault(key, label) != label:
            raise BadInputError(
                f"A candidate must have one label, and {key!r} lies in "
                f"{FOLDERS[where[key]]}/ and in {FOLDERS[label]}/ of '{folder}'. "
                "Remove it from one of them."
            )
        said = {"labeler": row["labeler"] or "", "time": row["time"]}
        moved = row["label"] not in (None, label)
        found.append({"candidate_id": key, "label": label, "moved": moved} | said)
    return found
