"""The append-only log of what people say of candidates."""

import errno
import json
import os
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.labels import LABELS, last_lines, time_text

try:
    import fcntl
except ImportError:  # not on Windows, where a file is not shared by two kernels
    fcntl = None

_LABELER = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*")


class LabelLog:
    """One labeler's file: every act of labelling is one line, added at its end.

    A line is never changed or removed: to change one's mind is to add a line,
    and a label of None takes the former one back. `record` returns after the
    line is on disk. Several threads, and several kernels, may record at once.

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
        self._lock = threading.RLock()
        self._held = None

    @property
    def size(self):
        """Bytes of the file; it has changed where they have."""
        return self.path.stat().st_size if self.path.exists() else 0

    @contextmanager
    def exclusive(self):
        """Keep others from writing meanwhile, those of other kernels too.

        Yields
        ------
        file
            The log, open for appending; that of the outermost of nested calls.
        """
        with self._lock:
            if self._held is not None:
                yield self._held
                return
            with self._open() as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file's closing
                self._held = file
                try:
                    yield file
                finally:
                    self._held = None

    def record(self, candidate_id, label, shown=None, *, origin="human", time=None):
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
        time : datetime.datetime, optional
            When it was said; now.

        Returns
        -------
        dict
            The line as it was written.

        Raises
        ------
        BadInputError
            If the label is none of those or the candidate has no name.
        OSError
            If it could not be written whole; what there is of it counts for nothing.
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
        with self.exclusive() as file:
            now = datetime.now(UTC) if time is None else time
            now = now if now.tzinfo else now.replace(tzinfo=UTC)
            line = {
                "candidate_id": str(candidate_id),
                "label": label,
                "labeler": self.labeler,
                "time": time_text(now),
                "shown": dict(shown or {}),
                "origin": origin,
            }
            _append(file, json.dumps(line) + "\n")
        return line

    def labels(self):
        """Return this labeler's own labels in force: dict candidate_id -> label."""
        return {key: line["label"] for key, line in last_lines(self.path).items()}

    def _open(self):
        """Open the file for appending; a new one is entered in its folder for good."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        file = open(self.path, "ab+", buffering=0)  # noqa: SIM115, closed by `exclusive`
        if is_new and fcntl is not None:  # Windows opens no folder
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return file


def _append(file, text):
    """Add a line in one write; a half-written last line is closed before it."""
    if file.seek(0, os.SEEK_END) > 0:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            text = "\n" + text
    data = text.encode()
    # A disk that is nearly full takes a part and says nothing.
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())
