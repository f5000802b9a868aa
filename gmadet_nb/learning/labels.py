"""The append-only log of what people say of candidates, and a labelling session."""

import json
import logging
import os
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError

logger = logging.getLogger(__name__)

LABELS = ("real", "bogus", "unsure")
ORDERS = ("unlabeled", "score", "suspects", "random")
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
    except (ValueError, KeyError, TypeError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return {"labeler": labeler, "shown": {}, "origin": "human"} | line | {"time": time}


def _last_lines(path):
    """Return the last line of each candidate in one file, those taken back left out.

    The order of the lines decides within a file, not the clock, which may be
    set back.
    """
    last = {line["candidate_id"]: line for line in read_lines(path)}
    return {key: line for key, line in last.items() if line["label"] is not None}


class LabelSession:
    """The order, the pages and the labels of one labelling session.

    It knows nothing of Jupyter: a widget, a script or a test drives it. The
    order is fixed when the session is made, so that pages stay as they are
    while one labels. Labels that the log holds already are there from the
    start; each change goes to the log before it counts. Safe to call from
    several threads.

    Parameters
    ----------
    candidates : astropy.table.Table or sequence of str
        Candidates (their ``candidate_id``), in the order of the run.
    log : LabelLog
        Where the labels go.
    order : {"unlabeled", "score", "suspects", "random"}
        "unlabeled": those without any label first, then those with an
        automatic one only, then those labelled in this log. "score": highest
        first, those without a score last. "suspects": those named in
        ``suspects``, in that order, then as "unlabeled". "random": shuffled.
    page_size : int
        Candidates on a page.
    rng : numpy.random.Generator, optional
        Shuffles the order "random".
    auto_labels : dict, optional
        candidate_id -> the automatic label ("" or no entry where there is none).
    scores : dict, optional
        candidate_id -> score.
    suspects : sequence of str or astropy.table.Table, optional
        Candidates whose labels the model doubts, most doubted first.
    """

    def __init__(
        self,
        candidates,
        log,
        *,
        order="unlabeled",
        page_size=48,
        rng=None,
        auto_labels=None,
        scores=None,
        suspects=None,
    ):
        if order not in ORDERS:
            raise BadParameterError(
                f"The order of labelling must be one of {ORDERS}, got {order!r}."
            )
        if page_size < 1:
            raise BadParameterError(f"A page must hold 1 or more, got {page_size}.")
        self.log, self.order, self.page_size = log, order, int(page_size)
        self.auto_labels, self.scores = dict(auto_labels or {}), dict(scores or {})
        self._lock = threading.RLock()
        self._labels = log.labels()
        self._history = []
        ids = _ids_of(candidates)
        if len(set(ids)) != len(ids):
            raise BadInputError("Candidates to label must not be named twice.")
        self.ids = self._ordered(
            ids, _ids_of(() if suspects is None else suspects), rng
        )
        self._known = frozenset(ids)

    def _ordered(self, ids, suspects, rng):
        """Return the ids in the order asked for."""
        if self.order == "random":
            if rng is None:
                raise BadParameterError('The order "random" needs an rng.')
            return [ids[i] for i in rng.permutation(len(ids))]
        if self.order == "score":
            score = np.array([self.scores.get(key, np.nan) for key in ids], float)
            return [ids[i] for i in np.argsort(-score, kind="stable")]
        last = len(suspects)
        rank = {key: i for i, key in enumerate(suspects)}
        if self.order == "unlabeled":
            rank = {}
        return sorted(ids, key=lambda key: (rank.get(key, last), self._done(key)))

    def _done(self, candidate_id):
        """Return 0 without a label, 1 with an automatic one, 2 with a human one."""
        if candidate_id in self._labels:
            return 2
        return 1 if self.auto_labels.get(candidate_id) in ("real", "bogus") else 0

    def __len__(self):
        return len(self.ids)

    @property
    def n_pages(self):
        """Number of pages, 0 without candidates."""
        return -(-len(self.ids) // self.page_size)

    def page_ids(self, page):
        """Return the candidates of a page (from 0), [] where there is no such page."""
        if page < 0:
            return []
        return self.ids[page * self.page_size : (page + 1) * self.page_size]

    def human_label_of(self, candidate_id):
        """Return what this labeler said: "real", "bogus", "unsure" or None."""
        self._check(candidate_id)
        with self._lock:
            return self._labels.get(candidate_id)

    def label_of(self, candidate_id):
        """Return the label in force: this labeler's, else the automatic one, else None.

        Of the automatic ones only "real" and "bogus" are labels.
        """
        human = self.human_label_of(candidate_id)
        if human is not None:
            return human
        auto = self.auto_labels.get(candidate_id)
        return auto if auto in ("real", "bogus") else None

    def set_label(self, candidate_id, label, shown=None):
        """Record a label (None takes it back) and return the label now in force."""
        self._check(candidate_id)
        with self._lock:
            before = self._labels.get(candidate_id)
            self._write(candidate_id, label, shown)
            self._history.append((candidate_id, before))
            return self.label_of(candidate_id)

    def flip(self, candidate_id, shown=None):
        """Turn real into bogus and anything else into real; return the new label."""
        with self._lock:
            new = "bogus" if self.label_of(candidate_id) == "real" else "real"
            return self.set_label(candidate_id, new, shown)

    def undo(self):
        """Take back the last change of this session.

        Returns
        -------
        str or None
            The candidate whose label changed; None if there is nothing left.
        """
        with self._lock:
            if not self._history:
                return None
            candidate_id, before = self._history[-1]
            self._write(candidate_id, before, {"undo": True})
            self._history.pop()
            return candidate_id

    def counts(self):
        """Return how many of the session's candidates have which label in force.

        Returns
        -------
        dict
            ``real``, ``bogus``, ``unsure``, ``unlabeled``; ``human``: how many
            of them this labeler has labelled; ``total``.
        """
        with self._lock:
            found = Counter(self.label_of(key) for key in self.ids)
            n_human = sum(key in self._labels for key in self.ids)
        return {label: found[label] for label in LABELS} | {
            "unlabeled": found[None],
            "human": n_human,
            "total": len(self.ids),
        }

    def _write(self, candidate_id, label, shown):
        """Log a label, then hold it in memory: what is shown as saved is on disk."""
        self.log.record(candidate_id, label, shown)
        if label is None:
            self._labels.pop(candidate_id, None)
        else:
            self._labels[candidate_id] = label

    def _check(self, candidate_id):
        """Refuse a candidate that is not in the session."""
        if candidate_id not in self._known:
            raise BadInputError(
                f"Candidate {candidate_id!r} is not in this session of "
                f"{len(self.ids)} candidates."
            )


def _ids_of(candidates):
    """Return the candidate ids of a table or a sequence as a list of str."""
    if isinstance(candidates, Table):
        candidates = candidates["candidate_id"]
    return [str(key) for key in candidates]
