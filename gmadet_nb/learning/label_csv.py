"""Labels as CSV, out of a run and into it."""

import csv
from datetime import datetime

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.labels import LABELS, as_utc, read_labels

COLUMNS = ("candidate_id", "label", "labeler", "time")
# As in gmadet's cube.npz; the latter are those of a spreadsheet.
_NUMBERS = {"1": "real", "0": "bogus", "1.0": "real", "0.0": "bogus"}


def write_csv(path, folder, *, labeler=""):
    """Write the labels in force of a run's ``labels/``, or one labeler's, as CSV.

    Returns
    -------
    n : int
        Lines written, the first with the names not counted.
    """
    table = read_labels(folder, labeler=labeler)
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(table[list(COLUMNS)].iterrows())
    return len(table)


def read_csv(path, *, labeler=""):
    """Read labels from CSV: ``candidate_id`` and ``label``; ``labeler``, ``time``.

    Labels are "real", "bogus" and "unsure" in capitals or not, or throughout 1 (real)
    and 0 (bogus).

    Parameters
    ----------
    path : str or pathlib.Path
    labeler : str
        Whose they are all said to be; "" where nobody says so.

    Returns
    -------
    labels : list of dict
        As `gmadet_nb.learning.label_exchange.read_folders` gives them.

    Raises
    ------
    BadInputError
        If the file cannot be read, a column is missing, a label is none, a time is
        none, or one person calls a candidate by two words at one time, or at none.
    BadParameterError
        If the file says of labels that they are another's than ``labeler``.
    """
    try:
        # utf-8-sig: spreadsheets put a mark before the first name.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = {"candidate_id", "label"} - set(names)
            if missing:
                raise BadInputError(
                    f"'{path}' must have the columns candidate_id and label, it lacks "
                    f"{', '.join(sorted(missing))}. Its first line is to name them, "
                    "with commas between."
                )
            reader.fieldnames = names
            labels, numbers = [], []
            for row in reader:
                numbers.append(reader.line_num)
                labels.append(_parse(row, f"'{path}', line {reader.line_num}"))
    except FileNotFoundError:
        raise BadInputError(f"There is no file '{path}'.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"'{path}' cannot be read as CSV: {error}.") from error
    _check_numbers(labels, path)
    _check_labeler(labels, labeler, path)
    for said in labels:
        said["label"] = _NUMBERS.get(said["label"], said["label"])
    _check_contradictions(labels, numbers, labeler, path)
    return labels


def _parse(row, where):
    """Return what one line of a CSV says, numbers for labels as they are."""
    row = {name: (row.get(name) or "").strip() for name in COLUMNS}
    label, text = row["label"].lower(), row["time"]
    if label not in LABELS and label not in _NUMBERS:
        raise BadInputError(
            f"{where}: label must be one of {', '.join(LABELS)}, or 1 (real) or 0 "
            f"(bogus), got {row['label']!r}."
        )
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadInputError(
            f"{where}: time must be ISO 8601, such as 2026-01-31T20:15:00+00:00, got "
            f"{text!r}."
        ) from error
    return row | {"label": label, "time": time, "moved": False}


def _check_numbers(labels, path):
    """Refuse 1 and 0 beside words: they may mean something else there."""
    numbers = {said["label"] for said in labels} & set(_NUMBERS)
    if numbers and any(said["label"] in ("real", "bogus") for said in labels):
        raise BadInputError(
            f"'{path}' must say real and bogus in words or as 1 and 0, and has both. "
            "Write the words."
        )


def _check_labeler(labels, labeler, path):
    """Refuse labels that the file says are another's."""
    others = sorted({said["labeler"] for said in labels} - {"", labeler})
    if labeler and others:
        raise BadParameterError(
            f"'{path}' says in its column labeler whose labels these are "
            f"({', '.join(others)}), and --labeler says {labeler}. Leave --labeler out "
            f"to take them as theirs, or the column to take them as {labeler}'s."
        )


def _check_contradictions(labels, numbers, labeler, path):
    """Refuse two words of one person on one candidate that no time puts in order."""
    first = {}
    for number, said in zip(numbers, labels, strict=True):
        time = said["time"] and as_utc(said["time"])
        key = said["candidate_id"], said["labeler"] or labeler, time
        word, line = first.setdefault(key, (said["label"], number))
        if word != said["label"]:
            raise BadInputError(
                f"A candidate must have one label, and {key[0]!r} is {word} in line "
                f"{line} and {said['label']} in line {number} of '{path}'. Remove one "
                "of them, or say in columns labeler and time who said it when."
            )
