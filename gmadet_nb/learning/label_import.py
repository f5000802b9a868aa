"""Labels from elsewhere, taken into the logs of those who gave them."""

from datetime import UTC, datetime
from pathlib import Path

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.label_exchange import AUTOMATIC
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labeling import labeler_name
from gmadet_nb.learning.labels import as_utc, last_lines, read_lines


def take_labels(folder, labels, known, *, labeler, origin):
    """Append labels that came from elsewhere to the logs of those who gave them.

    What a log says already is not said again, so that the same file may come twice, and
    what its labeler has said later stays. A file that was moved is a new act, now, of
    who moved it, and so is one that its mover has moved back since that came in.

    Parameters
    ----------
    folder : str or pathlib.Path
        The run's ``labels/``.
    labels : list of dict
        From `gmadet_nb.learning.label_csv.read_csv` or
        `gmadet_nb.learning.label_exchange.read_folders`.
    known : collection of str
        The run's candidates.
    labeler : str
        Who moved files, and whose the labels are that do not say so themselves; ""
        for the login name in the second case alone.
    origin : str
        Where they are from, for the log.

    Returns
    -------
    n : dict
        Labels that were ``taken``, and those of them that were ``moved``; others are
        ``automatic`` ones, what was ``there`` already, what lies where it was but goes
        ``back`` behind an earlier move of somebody else, and ``unknown``, of candidates
        that the run does not have.

    Raises
    ------
    BadParameterError
        If files were moved, and nobody is named who did.
    BadInputError
        If a labeler's name cannot be that of a file.
    """
    known = set(known)
    n = dict.fromkeys(("taken", "moved", "automatic", "there", "back", "unknown"), 0)
    n["unknown"] = sum(said["candidate_id"] not in known for said in labels)
    labels = [said for said in labels if said["candidate_id"] in known]
    # In a log the last line counts, so that the latest must come last.
    labels.sort(key=lambda said: as_utc(said["time"] or datetime.now(UTC)))
    _check_mover(labels, labeler)
    labels = _find_moved_back(labels, folder, labeler, f"{origin}, moved")
    moves = _moves_in_force(folder, f"{origin}, moved")
    whose = [_whose(said, labeler) for said in labels]
    # All names are checked before anything is written.
    logs = {
        who: LabelLog(Path(folder) / f"{who}.jsonl", labeler=who)
        for who in set(whose) - {None}
    }
    lines = {who: _by_candidate(log.path) for who, log in logs.items()}
    for said, who in zip(labels, whose, strict=True):
        moved, other = said["moved"], moves.get(said["candidate_id"])
        overruled = "back" if not moved and _differs(said, other) else None
        if who is None:
            n[overruled or "automatic"] += 1
            continue
        from_where = f"{origin}, moved" if moved else origin
        if _is_said(said, lines[who].get(said["candidate_id"], []), from_where):
            n[overruled or "there"] += 1
            continue
        logs[who].record(
            said["candidate_id"],
            said["label"],
            origin=from_where,
            time=None if moved else said["time"],
        )
        n["taken"] += 1
        n["moved"] += moved
    return n


def _check_mover(labels, labeler):
    """Ask who has moved files, where nobody says so."""
    n = sum(said["moved"] for said in labels)
    if n and not labeler:
        raise BadParameterError(
            f"{n} cutouts lie in another folder than the one they were written to: say "
            "who has moved them with --labeler NAME."
        )


def _find_moved_back(labels, folder, labeler, origin):
    """Mark files in their old place whose mover's last word is the move from it."""
    if not labeler:
        return labels
    last = last_lines(LabelLog(Path(folder) / f"{labeler}.jsonl").path)
    moves = {key: line for key, line in last.items() if line["origin"] == origin}
    return [
        said
        | {"moved": said["moved"] or _differs(said, moves.get(said["candidate_id"]))}
        for said in labels
    ]


def _moves_in_force(folder, origin):
    """Return candidate_id -> line of the labels in force that came in as moves."""
    latest = {}
    for path in sorted(Path(folder).glob("*.jsonl")):
        for key, line in last_lines(path).items():
            if key not in latest or line["time"] >= latest[key]["time"]:
                latest[key] = line
    return {key: line for key, line in latest.items() if line["origin"] == origin}


def _differs(said, move):
    """Tell whether a file says otherwise than a move that came in after it went out."""
    if move is None or move["label"] == said["label"]:
        return False
    return said["time"] is None or as_utc(said["time"]) < move["time"]


def _whose(said, labeler):
    """Return the labeler of what was said, None where nobody has."""
    if said["moved"]:
        return labeler
    if said["labeler"] == AUTOMATIC:
        return None
    return said["labeler"] or labeler_name(labeler)


def _by_candidate(path):
    """Return a labeler's lines by candidate, oldest first, without those of repeats."""
    found = {}
    for line in read_lines(path):
        if not line["shown"].get("repeat"):
            found.setdefault(line["candidate_id"], []).append(line)
    return found


def _is_said(said, lines, origin):
    """Tell whether a labeler's lines on a candidate say this already, or later news."""
    if not lines:
        return False
    last, time = lines[-1], said["time"]
    later = time is None or as_utc(time) < last["time"]
    same = last["label"] == said["label"]
    if not said["moved"]:
        overruled = time is not None and last["label"] is not None and later
        return same or overruled
    # The file says when it was labelled before: what is older is no answer to that.
    # It may have gone to and fro: the last move that came in counts.
    moves = [
        line["label"]
        for line in lines
        if line["origin"] == origin and (time is None or as_utc(time) < line["time"])
    ]
    came = moves[-1:] == [said["label"]]
    return came or (same and later)
