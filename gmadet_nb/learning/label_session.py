"""A labelling session: order, pages and labels, without any Jupyter in it."""

import secrets
import threading
from collections import Counter
from dataclasses import replace

from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.label_order import Known, order_candidates
from gmadet_nb.learning.labels import LABELS, last_press, read_lines, replay

# What tells the second showing of a candidate from the first; no name has it.
_AGAIN = "#again"


class LabelSession:
    """The order, the pages and the labels of one labelling session.

    It knows nothing of Jupyter: a widget, a script or a test drives it. The
    order is fixed when the session is made, so that pages stay as they are
    while one labels. Labels that the log holds already are there from the
    start, and so is what can be undone; each change goes to the log before it
    counts. Safe to call from several threads; where another kernel writes into
    the same log, its acts are read before the next one here.

    A share of the candidates is shown a second time, on a later page, as if nobody
    had labelled them and without saying so: what is said then changes no label and
    tells how far a labeler agrees with himself. Where the first showing was left
    open, the second counts as the first.

    Parameters
    ----------
    candidates : astropy.table.Table or sequence of str
        Candidates (their ``candidate_id``), in the order of the run.
    log : LabelLog
        Where the labels go.
    order : str
        One of `gmadet_nb.learning.label_order.ORDERS`.
    page_size : int
        Candidates on a page.
    rng : numpy.random.Generator, optional
        Shuffles the order "random", and picks what is shown again.
    known : Known, optional
        Automatic labels, scores and what else orders candidates; its ``labels`` are
        those of the log.
    repeat_fraction : float
        Share of each page that was shown two pages before or earlier.
    """

    def __init__(
        self,
        candidates,
        log,
        *,
        order="unlabeled",
        page_size=48,
        rng=None,
        known=None,
        repeat_fraction=0.0,
    ):
        if page_size < 1:
            raise BadParameterError(f"A page must hold 1 or more, got {page_size}.")
        if repeat_fraction and rng is None:
            raise BadParameterError("repeat_fraction above 0 needs an rng.")
        self.log, self.order, self.page_size = log, order, int(page_size)
        self._lock = threading.RLock()
        # Of the second showings: a later session shows others.
        self._name = secrets.token_hex(4)
        self._late = set()  # candidates whose second showing counts as the first
        self._size = self.log.size
        self._labels, self._history = replay(read_lines(log.path))
        ids = _ids_of(candidates)
        if len(set(ids)) != len(ids):
            raise BadInputError("Candidates to label must not be named twice.")
        known = known or Known()
        self.auto_labels, self.scores = known.auto_labels, known.scores
        known = replace(known, labels=self._mine())
        ordered = order_candidates(ids, order, known, page_size=page_size, rng=rng)
        #: One name a tile, in order; `candidate_of` tells whose it is.
        self.ids = self._with_repeats(ordered, repeat_fraction, rng)
        self._place = {key: i for i, key in enumerate(self.ids)}
        self._firsts = ids
        self._count()

    def _mine(self):
        """Return candidate_id -> what this labeler said at the first showing."""
        return {key: word for (key, again), word in self._labels.items() if not again}

    def _count(self):
        """Count the labels anew."""
        mine = self._mine()
        again = sum(name == self._name for _, name in self._labels)
        self._n_human = sum(key in mine for key in self._firsts) + again
        self._counts = Counter(self.label_of(key) for key in self._firsts)

    def _with_repeats(self, ordered, fraction, rng):
        """Put candidates of earlier pages between those of later ones.

        None comes again on the page after its own, where one would know it.
        """
        pages, at, repeated, due = [], 0, set(), 0.0
        while at < len(ordered):
            eligible = [
                key for page in pages[:-1] for key in page if key not in repeated
            ]
            due += fraction * self.page_size if len(pages) > 1 else 0.0
            n_again = min(int(due), len(eligible), self.page_size - 1)
            due -= n_again
            new = ordered[at : at + self.page_size - n_again]
            at += len(new)
            pages.append(new)
            if n_again:
                picked = rng.choice(len(eligible), n_again, replace=False)
                again = [eligible[i] for i in sorted(picked)]
                slots = new + [key + _AGAIN for key in again]
                pages[-1] = [slots[i] for i in rng.permutation(len(slots))]
                repeated |= {*again, *(key + _AGAIN for key in again)}
        return [key for page in pages for key in page]

    def __len__(self):
        return len(self.ids)

    def __contains__(self, tile):
        return tile in self._place

    @property
    def n_pages(self):
        """Number of pages, 0 without candidates."""
        return -(-len(self.ids) // self.page_size)

    def page_ids(self, page):
        """Return the tiles of a page (from 0), [] where there is no such page."""
        if page < 0:
            return []
        return self.ids[page * self.page_size : (page + 1) * self.page_size]

    @property
    def first_open_page(self):
        """The first page with a tile that this labeler has not labelled; else 0."""
        with self._lock:
            is_open = (key for key in self.ids if self.human_label_of(key) is None)
            return self.page_of(next(is_open, self.ids[0])) if self.ids else 0

    def page_of(self, tile):
        """Return the page that a tile is on, counted from 0."""
        self._check(tile)
        return self._place[tile] // self.page_size

    def candidate_of(self, tile):
        """Return the candidate that a tile shows."""
        return tile.removesuffix(_AGAIN)

    def human_label_of(self, tile):
        """Return what this labeler said: "real", "bogus", "unsure" or None."""
        self._check(tile)
        with self._lock:
            return self._labels.get(self._slot(tile))

    def label_of(self, tile):
        """Return the label in force: this labeler's, else the automatic one, else None.

        Of the automatic ones only "real" and "bogus" are labels.
        """
        human = self.human_label_of(tile)
        if human is not None:
            return human
        auto = self.auto_labels.get(self.candidate_of(tile))
        return auto if auto in ("real", "bogus") else None

    def set_label(self, tile, label, shown=None):
        """Record a label (None takes it back) and return the label now in force.

        What is labelled in a row with the same ``shown["press"]`` is one undo.
        """
        self._check(tile)
        with self._lock, self.log.exclusive():
            self._catch_up()
            candidate_id = self.candidate_of(tile)
            if tile.endswith(_AGAIN) and (candidate_id, False) not in self._labels:
                self._late.add(candidate_id)
            slot = self._slot(tile)
            before, shown = self._labels.get(slot), dict(shown or {})
            time = self._write(slot, label, shown)
            self._history.append((slot, before, time, shown.get("press")))
            return self.label_of(tile)

    def flip(self, tile, shown=None):
        """Turn real into bogus and anything else into real; return the new label."""
        with self._lock:
            new = "bogus" if self.label_of(tile) == "real" else "real"
            return self.set_label(tile, new, shown)

    def undo(self):
        """Take back this labeler's last act, in this session or in an earlier one.

        Returns
        -------
        list of str
            The tiles whose labels changed, newest first, which need not be in this
            session: one, or all of one press; none if there is nothing left.
        """
        if not self.log.size:
            return []
        tiles = []
        with self._lock, self.log.exclusive():
            self._catch_up()
            for slot, before, time, _ in last_press(self._history):
                self._write(slot, before, {"undo": time})
                self._history.pop()
                again = slot[1] == self._name
                tiles.append(slot[0] + _AGAIN if again else slot[0])
        return tiles

    def counts(self, *, human_only=False):
        """Return how many of the session's candidates have which label in force.

        Parameters
        ----------
        human_only : bool
            Leave automatic labels out: how they change tells what they were.

        Returns
        -------
        dict
            ``real``, ``bogus``, ``unsure``, ``unlabeled``; ``human``: how many
            tiles this labeler has labelled; ``total``.
        """
        with self._lock:
            counts = self._counts
            if human_only:
                mine = self._mine()
                counts = Counter(mine.get(key) for key in self._firsts)
            return {label: counts[label] for label in LABELS} | {
                "unlabeled": counts[None],
                "human": self._n_human,
                "total": len(self._firsts),
            }

    def _catch_up(self):
        """Read what another kernel has written into the log since."""
        if self.log.size != self._size:
            self._labels, self._history = replay(read_lines(self.log.path))
            self._count()

    def _write(self, slot, label, shown):
        """Log a label, then hold it in memory: what is shown as saved is on disk.

        Returns
        -------
        str
            The time of the act.
        """
        candidate_id, again = slot
        if again:
            shown["repeat"] = again
        time = self.log.record(candidate_id, label, shown)["time"]
        self._size = self.log.size
        known = candidate_id in self._place
        counted, before = known and not again, slot in self._labels
        if counted:
            self._counts[self.label_of(candidate_id)] -= 1
        if label is None:
            self._labels.pop(slot, None)
        else:
            self._labels[slot] = label
        if counted:
            self._counts[self.label_of(candidate_id)] += 1
        if known and again in (False, self._name):
            self._n_human += (slot in self._labels) - before
        return time

    def _slot(self, tile):
        candidate_id = self.candidate_of(tile)
        again = tile.endswith(_AGAIN) and candidate_id not in self._late
        return candidate_id, self._name if again else False

    def _check(self, tile):
        """Refuse a candidate that is not in the session."""
        if tile not in self._place:
            raise BadInputError(
                f"Candidate {tile!r} is not in this session of "
                f"{len(self.ids)} candidates."
            )


def _ids_of(candidates):
    """Return the candidate ids of a table or a sequence as a list of str."""
    if isinstance(candidates, Table):
        candidates = candidates["candidate_id"]
    return [str(key) for key in candidates]
