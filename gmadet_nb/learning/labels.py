"""What the logs of labelers hold: their lines, the labels in force, what undo does."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.table import Table

logger = logging.getLogger(__name__)

LABELS = ("real", "bogus", "unsure")
HUMAN = "human:"  # the origin of a label that a person gave begins with it


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
    for text in path.read_bytes().split(b"\n"):
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


def read_labels(folder, *, labeler=""):
    """Read the labels in force from the files of all labelers, or of one.

    Of each labeler the last line on a candidate counts, and none if it takes
    the label back; where several labelers have said something, the latest
    counts. "unsure" is a label like the others.

    Parameters
    ----------
    folder : str or pathlib.Path
        The run's ``labels/``; one that does not exist has no labels.
    labeler : str
        Whose labels alone, whatever others have said since; "" for all.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``label``, ``labeler``, ``time`` (ISO, UTC),
        ``n_labelers``, and ``agreed``: False where they differ. Sorted by
        candidate.
    """
    by_candidate = {}
    for path in sorted(Path(folder).glob(f"{labeler or '*'}.jsonl")):
        for key, line in last_lines(path).items():
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


def join_labels(table, human_labels):
    """Return a table of candidates with what people say of them.

    Parameters
    ----------
    table : astropy.table.Table
        ``candidate_id``.
    human_labels : astropy.table.Table
        From `read_labels`.

    Returns
    -------
    astropy.table.Table
        The same rows with ``label`` and ``label_origin`` ("human:<labeler>"), ""
        where nobody has said anything.
    """
    columns = human_labels["candidate_id", "label", "labeler"]
    said = {str(key): (str(word), f"{HUMAN}{who}") for key, word, who in columns}
    rows = [said.get(str(key), ("", "")) for key in table["candidate_id"]]
    joined = table.copy()
    joined["label"] = np.array([word for word, _ in rows], dtype=str)
    joined["label_origin"] = np.array([origin for _, origin in rows], dtype=str)
    return joined


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
    # ValueError: no JSON, no time, or broken bytes.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return {"labeler": labeler, "shown": {}, "origin": "human"} | line | {"time": time}


def last_lines(path):
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

    An act of undo is a line like the others, marked in ``shown`` with the time of the
    act that it takes back (or with True: the last one before it).

    Parameters
    ----------
    lines : list of dict
        Of one labeler, oldest first, from `read_lines`.

    Returns
    -------
    labels : dict
        (candidate_id, repeat) -> label; what was taken back is not there. ``repeat``
        is False, or the session in which the candidate was shown again.
    history : list of tuple
        ((candidate_id, repeat), label before, time, press), oldest first: what undo
        goes through. ``press`` is the same for all that one press labelled, else None.
    """
    labels, history = {}, []
    for line in lines:
        slot = line["candidate_id"], line["shown"].get("repeat") or False
        undone = line["shown"].get("undo")
        if undone:
            last = len(history) - 1
            made = (k for k in range(last, -1, -1) if history[k][2] == undone)
            at = next(made, last)
            del history[max(at, 0) : at + 1]
        else:
            time, press = time_text(line["time"]), line["shown"].get("press")
            history.append((slot, labels.get(slot), time, press))
        if line["label"] is None:
            labels.pop(slot, None)
        else:
            labels[slot] = line["label"]
    return labels, history


def last_press(history):
    """Return what undo takes back next, newest first: one act, or all of one press."""
    acts = []
    for act in reversed(history):
        if acts and (act[3] is None or act[3] != acts[0][3]):
            break
        acts.append(act)
    return acts


def as_utc(time):
    """Return a time with its zone, which is UTC where none is said."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def time_text(time):
    """Return a time as a label file has it."""
    return time.isoformat(timespec="microseconds")
