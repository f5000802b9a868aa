"""A labelling session: order, pages and labels, without any Jupyter in it."""

import threading
from collections import Counter

from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.label_order import Known, order_candidates
from gmadet_nb.learning.labels import LABELS, read_lines, replay

# What tells the second showing of a candidate from the first; no name has it.
_AGAIN = "#again"


class LabelSession:
    """The order, the pages and the labels of one labelling session.

    It knows nothing of Jupyter: a widget, a script or a test drives it. The
    order is fixed when the session is made, so that pages stay as they are
    while one labels. Labels that the log holds already are there from the
    start, and so is what can be undone; each change goes to the log before it
    counts. Safe to call from several threads.

    A share of the candidates is shown a second time, on a later page, without a
    label and without saying so: what is said then changes no label and tells how
    far a labeler agrees with himself.

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
        self._labels, self._history = replay(read_lines(log.path))
        ids = _ids_of(candidates)
        if len(set(ids)) != len(ids):
            raise BadInputError("Candidates to label must not be named twice.")
        known = known or Known()
        self.auto_labels, self.scores = known.auto_labels, known.scores
        mine = {key: label for (key, again), label in self._labels.items() if not again}
        known = Known(**(vars(known) | {"labels": mine}))
        ordered = order_candidates(ids, order, known, page_size=page_size, rng=rng)
        #: One name a tile, in order; `candidate_of` tells whose it is.
        self.ids = self._with_repeats(ordered, repeat_fraction, rng)
        self._place = {key: i for i, key in enumerate(self.ids)}
        self._firsts = ids
        self._n_human = sum(key in mine for key in ids)
        self._counts = Counter(self.label_of(key) for key in ids)

    def _with_repeats(self, ordered, fraction, rng):
        """Put candidates of earlier pages between those of later ones."""
        n_again = round(fraction * self.page_size)
        if not n_again:
            return ordered
        pages, at, repeated = [], 0, set()
        while at < len(ordered):
            eligible = [
                key for page in pages[:-1] for key in page if key not in repeated
            ]
            again = []
            if len(eligible) >= n_again:
                picked = rng.choice(len(eligible), n_again, replace=False)
                again = [eligible[i] for i in sorted(picked)]
            new = ordered[at : at + self.page_size - len(again)]
            at += len(new)
            repeated.update(again)
            pages.append(new)
            slots = new + [key + _AGAIN for key in again]
            pages[-1] = (
                [slots[i] for i in rng.permutation(len(slots))] if again else new
            )
            repeated.update(key for key in pages[-1] if key.endswith(_AGAIN))
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

        Of the automatic ones only "real" and "bogus" are labels; a candidate that is
        shown again has none.
        """
        human = self.human_label_of(tile)
        if human is not None or tile.endswith(_AGAIN):
            return human
        auto = self.auto_labels.get(tile)
        return auto if auto in ("real", "bogus") else None

    def set_label(self, tile, label, shown=None):
        """Record a label (None takes it back) and return the label now in force."""
        self._check(tile)
        with self._lock:
            slot = self._slot(tile)
            before = self._labels.get(slot)
            self._write(slot, label, dict(shown or {}))
            self._history.append((slot, before))
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
        str or None
            The tile whose label changed, which need not be in this session; None if
            there is nothing left.
        """
        with self._lock:
            if not self._history:
                return None
            slot, before = self._history[-1]
            self._write(slot, before, {"undo": True})
            self._history.pop()
            return slot[0] + (_AGAIN if slot[1] else "")

    def counts(self):
        """Return how many of the session's candidates have which label in force.

        Returns
        -------
        dict
            ``real``, ``bogus``, ``unsure``, ``unlabeled``; ``human``: how many
            of them this labeler has labelled; ``total``.
        """
        with self._lock:
            return {label: self._counts[label] for label in LABELS} | {
                "unlabeled": self._counts[None],
                "human": self._n_human,
                "total": len(self._firsts),
            }

    def _write(self, slot, label, shown):
        """Log a label, then hold it in memory: what is shown as saved is on disk."""
        candidate_id, again = slot
        if again:
            shown["repeat"] = True
        self.log.record(candidate_id, label, shown)
        counted = candidate_id in self._place and not again
        if counted:
            self._counts[self.label_of(candidate_id)] -= 1
            self._n_human -= slot in self._labels
        if label is None:
            self._labels.pop(slot, None)
        else:
            self._labels[slot] = label
        if counted:
            self._counts[self.label_of(candidate_id)] += 1
            self._n_human += slot in self._labels

    def _slot(self, tile):
        return self.candidate_of(tile), tile.endswith(_AGAIN)

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
