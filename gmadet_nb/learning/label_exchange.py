"""Labels in and out: gmadet's and O'TRAIN's folders of FITS cutouts, and CSV.

Both systems keep a candidate as a FITS file of its difference in ``true/`` or in
``false/``; the header says what it is. Here the science and the reference cutouts are
extensions of the same file, which neither of the two reads, so that nothing is lost.
"""

import csv
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import join

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.labels import LABELS, read_labels

FOLDERS = {"real": "true", "bogus": "false"}
CSV_COLUMNS = ("candidate_id", "label", "labeler", "time")
_READ_ERRORS = (OSError, KeyError, IndexError, TypeError, ValueError)
# gmadet's keyword: our column.
_KEYWORDS = {
    "MAG": "mag",
    "MAGERR": "mag_err",
    "FWHM": "fwhm",
    "FWHMPSF": "psf_fwhm",
    "FILTER": "filter",
    "RA": "ra",
    "Dec": "dec",
    "Xpos": "x",
    "Ypos": "y",
}


def write_folders(folder, labels, candidates, store):
    """Write the candidates labelled real and bogus as ``true/`` and ``false/``.

    gmadet counts pixels from 1, and so do ``Xpos`` and ``Ypos`` in the headers.

    Parameters
    ----------
    folder : str or pathlib.Path
        ``candidates_training`` of gmadet; made where it is missing.
    labels : astropy.table.Table
        ``candidate_id``, ``label``, from `gmadet_nb.learning.labels.read_labels` or
        `gmadet_nb.learning.labeling.label_table`.
    candidates : astropy.table.Table
    store : CutoutStore

    Returns
    -------
    n : dict
        Files written, by label.

    Raises
    ------
    BadInputError
        If a file is there already: nothing is overwritten.
    """
    folder = Path(folder)
    rows = join(labels["candidate_id", "label"], candidates, keys="candidate_id")
    n = dict.fromkeys(FOLDERS, 0)
    for row in rows[np.isin(rows["label"], list(FOLDERS))]:
        label, key = str(row["label"]), str(row["candidate_id"])
        path = folder / FOLDERS[label] / f"candidate_{key}.fits"
        if path.exists():
            raise BadInputError(
                "A folder to write to must not hold the candidate already, and "
                f"'{path}' is there. Name an empty folder."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            _as_hdus(row, store.read([key])[0]).writeto(temporary)
        n[label] += 1
    return n


def _as_hdus(row, pixels):
    """Return the FITS file of one candidate: its difference first, as gmadet has it."""
    science, reference, difference = np.moveaxis(pixels, -1, 0)
    primary = fits.PrimaryHDU(difference)
    for keyword, name in _KEYWORDS.items():
        if name not in row.colnames or np.ma.is_masked(row[name]):
            continue
        value = row[name]
        value = str(value) if name == "filter" else float(value)
        if name in ("x", "y"):
            value += 1
        # A FITS header has no NaN: what is not known is left out.
        if isinstance(value, str) or np.isfinite(value):
            primary.header[keyword] = value
    primary.header["FILE"] = str(row["exposure_id"])
    primary.header["CANDID"] = str(row["candidate_id"])
    primary.header["edge"] = str(bool(np.isnan(difference).any()))
    return fits.HDUList(
        [
            primary,
            fits.ImageHDU(science, name="SCIENCE"),
            fits.ImageHDU(reference, name="REFERENCE"),
        ]
    )


def read_folders(folder):
    """Read which candidates lie in ``true/`` and which in ``false/``.

    Parameters
    ----------
    folder : str or pathlib.Path
        Of gmadet, of O'TRAIN or of `write_folders`.

    Returns
    -------
    labels : dict
        ``CANDID`` of the header -> "real" or "bogus".

    Raises
    ------
    BadInputError
        If there is neither folder, a file says no CANDID, or one candidate lies in
        both.
    """
    folder, labels = Path(folder), {}
    found = {
        label: sorted((folder / name).glob("*.fits")) for label, name in FOLDERS.items()
    }
    if not any(found.values()):
        raise BadInputError(
            f"'{folder}' must hold FITS cutouts in true/ and false/, and holds none."
        )
    for label, paths in found.items():
        for path in paths:
            key = _candidate_of(path)
            if labels.setdefault(key, label) != label:
                raise BadInputError(
                    f"A candidate must be real or bogus, and {key!r} lies in true/ and "
                    f"in false/ of '{folder}'."
                )
    return labels


def _candidate_of(path):
    try:
        return str(fits.getheader(path)["CANDID"])
    except _READ_ERRORS as error:
        raise BadInputError(
            f"'{path}' must be a FITS cutout with CANDID in its header, and reading it "
            f"failed: {error!r}."
        ) from error


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
    """Read labels from CSV: ``candidate_id`` and ``label``, other columns ignored.

    Returns
    -------
    labels : dict
        candidate_id -> label.

    Raises
    ------
    BadInputError
        If a column is missing, or a label is none of "real", "bogus", "unsure".
    """
    labels = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"candidate_id", "label"} - set(reader.fieldnames or ())
        if missing:
            raise BadInputError(
                f"'{path}' must have the columns candidate_id and label, it lacks "
                f"{', '.join(sorted(missing))}."
            )
        for row in reader:
            if row["label"] not in LABELS:
                raise BadInputError(
                    f"'{path}', line {reader.line_num}: label must be one of {LABELS}, "
                    f"got {row['label']!r}."
                )
            labels[row["candidate_id"]] = row["label"]
    return labels


def take_labels(log, labels, known, *, origin):
    """Append labels that came from elsewhere to a labeler's log.

    What the log says already is not said again, so that the same file may come twice.

    Parameters
    ----------
    log : LabelLog
    labels : dict
        candidate_id -> label.
    known : collection of str
        The run's candidates.
    origin : str
        Where they are from, for the log.

    Returns
    -------
    n_taken, n_unknown : int
        Labels appended, and labels of candidates that the run does not have.
    """
    there, known = log.labels(), set(known)
    taken = [
        (key, label)
        for key, label in labels.items()
        if key in known and there.get(key) != label
    ]
    for key, label in taken:
        log.record(key, label, origin=origin)
    return len(taken), sum(key not in known for key in labels)
