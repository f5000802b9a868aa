"""The append-only log of what people say of candidates."""

import json
import logging
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

from astropy.table import Table

from gmadet_nb.errors import BadInputError

logger = logging.getLogger(__name__)

LABELS = ("real", "bogus", "unsure")
_LABELER = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*")


class LabelLog:
    """One labeler's file: every act of labelling is one line, added at its end.

    A line is never changed or removed: to change one's mind is to add a line,
    and a label of None takes the former one back. `record` returns after the
    line is on disk. Several threads may record at once.

    Parameters
    ----------
    path : str or pathlib.Path
        ``labels/<labeler>.jsonl``; made at the first record.
    labeler : str, optional
        Who labels; by default the file's name without its ending.
    """

    def __init__(self, path, *, labeler=""):
        self.path = Path(path)
        self.labeler = labeler or self.path.stem
        if not _LABELER.fullmatch(self.labeler):
            raise BadInputError(
                "A labeler's name must be letters, digits, '.', '_', '+' or '-', not "
                f"beginning with '.'; got {self.labeler!r}. Choose another name."
            )
        self._lock = threading.Lock()

    def record(self, candidate_id, label, shown=None, *, origin="human"):
        """Append one label and wait until it is on disk.

        Parameters
        ----------
        candidate_id : str
            Which candidate.
        label : {"real", "bogus", "unsure"} or None
            What the labeler says; None takes back what was said before.
        shown : dict, optional
            What the labeler saw when deciding (score, page, ...).
        origin : str
            "human", except for labels that come in from elsewhere.

        Returns
        -------
        dict
            The line as it was written.

        Raises
        ------
        BadInputError
            If the label is none of those or the candidate has no name.
        """
        if label is not None and label not in LABELS:
            raise BadInputError(
                f"A label must be one of {LABELS} or None, got {label!r} for "
                f"candidate {candidate_id!r}."
            )
        if not isinstance(candidate_id, str) or not candidate_id:
            raise BadInputError(
                f"A candidate_id must be a non-empty text, got {candidate_id!r}."
            )
        with self._lock:
            line = {
                "candidate_id": str(candidate_id),
                "label": label,
                "labeler": self.labeler,
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "shown": dict(shown or {}),
                "origin": origin,
            }
            self._append(json.dumps(line) + "\n")
        return line

    def labels(self):
        """Return this labeler's own labels in force: dict candidate_id -> label."""
        return {key: line["label"] for key, line in _last_lines(self.path).items()}

    def _append(self, text):
        """Add a line in one write; a half-written last line is closed before it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+", buffering=0) as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    text = "\n" + text
            file.write(text.encode())
            os.fsync(file.fileno())


def read_lines(path):
    """Read every whole line of one label file, oldest first.

    A line that is no complete record (the machine went down while it was
    written) is left out and counted in the log.

    Parameters
    ----------
    path : str or pathlib.Path
        A label file; one that does not exist has no lines.

    Returns
    -------
    list of dict
        With ``candidate_id``, ``label``, ``labeler``, ``time`` (a datetime),
        ``shown`` and ``origin``.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines, n_bad = [], 0
    for text in path.read_bytes().decode(errors="replace").split("\n"):
        if not text.strip():
            continue
        line = _parse(text, labeler=path.stem)
        if line is None:
            n_bad += 1
        else:
            lines.append(line)
    if n_bad:
        logger.warning("%s: %d half-written line(s) left out.", path.name, n_bad)
    return lines


def read_labels(folder):
    """Read the labels in force from the files of all labelers.

    Of each labeler the last line on a candidate counts, and none if it takes
    the label back; where several labelers have said something, the latest
    counts. "unsure" is a label like the others.

    Parameters
    ----------
    folder : str or pathlib.Path
        The run's ``labels/``; one that does not exist has no labels.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``label``, ``labeler``, ``time`` (ISO, UTC),
        ``n_labelers``, and ``agreed``: False where they differ. Sorted by
        candidate.
    """
    by_candidate = {}
    for path in sorted(Path(folder).glob("*.jsonl")):
        for key, line in _last_lines(path).items():
            by_candidate.setdefault(key, []).append(line)
    rows = []
    for key in sorted(by_candidate):
        lines = sorted(by_candidate[key], key=lambda line: line["time"])
        last = lines[-1]
        time = last["time"].isoformat(timespec="microseconds")
        agreed = len({line["label"] for line in lines}) == 1
        rows.append((key, last["label"], last["labeler"], time, len(lines), agreed))
    names = ("candidate_id", "label", "labeler", "time", "n_labelers", "agreed")
    types = (str, str, str, str, int, bool)
    return Table(rows=rows or None, names=names, dtype=types)


def _parse(text, *, labeler):
    """Return the record of one line, or None if it is not whole."""
    try:
        line = json.loads(text)
        time = datetime.fromisoformat(line["time"])
        known = line["label"] is None or line["label"] in LABELS
        if not known or not isinstance(line["candidate_id"], str):
            return None
        if not isinstance(line.get("shown", {}), dict):
            return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return {"labeler": labeler, "shown": {}, "origin": "human"} | line | {"time": time}


def _last_lines(path):
    """Return the last line of each candidate in one file, those taken back left out.

    The order of the lines decides within a file, not the clock, which may be
    set back. What was said when a candidate was shown again, to see whether its
    labeler agrees with himself, changes no label.
    """
    last = {
        line["candidate_id"]: line
        for line in read_lines(path)
        if not line["shown"].get("repeat")
    }
    return {key: line for key, line in last.items() if line["label"] is not None}


def replay(lines):
    """Find out which labels are in force after some acts, and how to undo them.

    An act of undo is a line like the others, marked in ``shown``: it takes back the
    last act before it that was not taken back yet.

    Parameters
    ----------
    lines : list of dict
        Of one labeler, oldest first, from `read_lines`.

    Returns
    -------
    labels : dict
        (candidate_id, repeat) -> label; what was taken back is not there.
    history : list of tuple
        ((candidate_id, repeat), label before), oldest first: what undo goes through.
    """
    labels, history = {}, []
    for line in lines:
        slot = line["candidate_id"], bool(line["shown"].get("repeat"))
        if line["shown"].get("undo"):
            if history:
                history.pop()
        else:
            history.append((slot, labels.get(slot)))
        if line["label"] is None:
            labels.pop(slot, None)
        else:
            labels[slot] = line["label"]
    return labels, history
