"""Labels in and out: gmadet's and O'TRAIN's folders of FITS cutouts, and CSV."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.table import join

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path, check_name
from gmadet_nb.learning.fits_cutouts import (
    FOLDERS,
    find_cutouts,
    read_cutout,
    write_cutout,
)
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labels import LABELS, last_lines, read_labels

CSV_COLUMNS = ("candidate_id", "label", "labeler", "time")
_AUTOMATIC = "automatic"  # as a labeler's name in a cutout: nobody has said so


def write_folders(folder, labels, candidates, store, human_labels):
    """Write labelled candidates as ``true/``, ``false/`` and ``unsure/``.

    Automatic labels go along, as gmadet's training wants them, and are marked: they do
    not become a person's when the folders are read again.

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
        known |= by_whom.get(key, {"labeler": _AUTOMATIC})
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
    """Read what people say of the candidates in ``true/``, ``false/``, ``unsure/``.

    Parameters
    ----------
    folder : str or pathlib.Path
        Of gmadet, of O'TRAIN or of `write_folders`.

    Returns
    -------
    labels : list of dict
        ``candidate_id``, ``label``, ``labeler`` ("" where the file does not say), and
        ``time``, a datetime or None. Automatic labels are left out.

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
                f"{FOLDERS[where[key]]}/ and in {FOLDERS[label]}/ of '{folder}'."
            )
        if row["labeler"] != _AUTOMATIC:
            said = {"labeler": row["labeler"] or "", "time": row["time"]}
            found.append({"candidate_id": key, "label": label} | said)
    return found


def write_csv(path, folder):
    """Write the labels in force of a run's ``labels/`` as CSV.

    Returns
    -------
    n : int
        Lines written, the first with the names not counted.
    """
    table = read_labels(folder)
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        writer.writerows(table[list(CSV_COLUMNS)].iterrows())
    return len(table)


def read_csv(path):
    """Read labels from CSV: ``candidate_id`` and ``label``; ``labeler``, ``time``.

    Returns
    -------
    labels : list of dict
        As `read_folders` gives them.

    Raises
    ------
    BadInputError
        If the file cannot be read, a column is missing, a label is none of "real",
        "bogus", "unsure", or a time is none.
    """
    labels = []
    try:
        # utf-8-sig: spreadsheets put a mark before the first name.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"candidate_id", "label"} - set(reader.fieldnames or ())
            if missing:
                raise BadInputError(
                    f"'{path}' must have the columns candidate_id and label, it lacks "
                    f"{', '.join(sorted(missing))}."
                )
            labels = [
                _parse(row, f"'{path}', line {reader.line_num}") for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"'{path}' cannot be read as CSV: {error}.") from error
    return labels


def _parse(row, where):
    """Return what one line of a CSV says."""
    if row["label"] not in LABELS:
        raise BadInputError(
            f"{where}: label must be one of {LABELS}, got {row['label']!r}."
        )
    text = row.get("time") or ""
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadInputError(
            f"{where}: time must be ISO 8601, such as 2026-01-31T20:15:00+00:00, got "
            f"{text!r}."
        ) from error
    return {
        "candidate_id": row["candidate_id"],
        "label": row["label"],
        "labeler": row.get("labeler") or "",
        "time": time,
    }


def take_labels(folder, labels, known, *, labeler, origin):
    """Append labels that came from elsewhere to the logs of those who gave them.

    What a log says already is not said again, so that the same file may come twice, and
    what its labeler has said later stays.

    Parameters
    ----------
    folder : str or pathlib.Path
        The run's ``labels/``.
    labels : list of dict
        From `read_csv` or `read_folders`.
    known : collection of str
        The run's candidates.
    labeler : str
        Whose they are where they do not say so themselves.
    origin : str
        Where they are from, for the log.

    Returns
    -------
    n_taken, n_unknown : int
        Labels appended, and labels of candidates that the run does not have.
    """
    known, n_taken, logs = set(known), 0, {}
    # All names are checked before anything is written.
    for name in {said["labeler"] or labeler for said in labels}:
        log = LabelLog(Path(folder) / f"{name}.jsonl", labeler=name)
        logs[name] = log, last_lines(log.path)
    for said in labels:
        log, there = logs[said["labeler"] or labeler]
        key, time = said["candidate_id"], said["time"]
        last = there.get(key)
        same = last is not None and last["label"] == said["label"]
        if key in known and not same and not _is_older(time, last):
            log.record(key, said["label"], origin=origin, time=time)
            n_taken += 1
    return n_taken, sum(said["candidate_id"] not in known for said in labels)


def _is_older(time, line):
    """Say whether a line was said later than something that came in."""
    if time is None or line is None:
        return False
    return (time if time.tzinfo else time.replace(tzinfo=UTC)) < line["time"]
