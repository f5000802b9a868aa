"""A grid of cutouts to label by click and by key, on top of a `LabelSession`."""

import base64
import logging
import threading
from pathlib import Path

import anywidget
import numpy as np
import traitlets as t

from gmadet_nb.learning.label_order import describe_opening
from gmadet_nb.views.widgets.atlas import (
    LOOKS,
    PLANES,
    draw_atlas,
    draw_still,
    next_look,
    picture_bytes,
)
from gmadet_nb.views.widgets.messages import check_message

logger = logging.getLogger(__name__)

_SCRIPTS = ("surroundings.js", "layout.js", "labeler.js")


class CutoutLabeler(anywidget.AnyWidget):
    """A page of candidates as one picture; each act is recorded, then acknowledged.

    The front end sends acts (not traits, which are throttled: of 48 fast clicks
    two would arrive) and sends the next ones only after an answer, so that they
    are recorded in the order in which they were made. A tile shows its label at
    once, but as "not saved" until the answer says that it is on disk. Without an
    answer the front end sends the same acts again; those that were done are not done
    a second time.

    `gmadet_nb.views.widgets.messages` has the messages.

    Parameters
    ----------
    session : gmadet_nb.learning.label_session.LabelSession
        Order, pages and labels; it writes the log.
    store : gmadet_nb.learning.cutouts.CutoutStore
        Gives the pixels: ``store.read(candidate_ids)``.
    n_columns : int
        Candidates in a row.
    captions : dict, optional
        candidate_id -> one short line below its picture; it is also recorded
        with the label as what the labeler saw.
    blind : bool
        Hide automatic labels and the numbers of what surrounds a candidate.
    context : gmadet_nb.learning.label_context.Context, optional
        Knows what surrounds a candidate.
    """

    _esm = "\n".join(Path(__file__).with_name(name).read_text() for name in _SCRIPTS)
    _css = Path(__file__).with_name("labeler.css")

    atlas = t.Bytes(b"").tag(sync=True)
    page_state = t.Dict().tag(sync=True)
    # Not shown yet: when it is, it takes the focus where nobody types elsewhere.
    fresh = t.Bool(True).tag(sync=True)

    def __init__(
        self,
        session,
        store,
        *,
        n_columns=8,
        captions=None,
        blind=False,
        context=None,
    ):
        super().__init__()
        self.session, self.n_columns = session, n_columns
        self._store, self._captions = store, captions or {}
        self._page, self._blind, self._context = 0, blind, context
        self._look = {part: choices[0] for part, choices in LOOKS.items()}
        self._answered = {}  # view -> results of its last acts, by their number
        counts = session.counts()
        self._opening = describe_opening(
            session.order, counts["human"], counts["total"]
        )
        # Messages may come in another thread than the one that runs the cells.
        self._lock = threading.RLock()
        self.on_msg(lambda _, content, buffers: self._receive(content))
        self.turn_to(session.first_open_page)

    def turn_to(self, page, look=None):
        """Show a page, counted from 0; one beyond the ends gives the nearest.

        Where its pixels cannot be read, all stays as it is.
        """
        with self._lock:
            look = look or self._look
            page = int(np.clip(page, 0, max(self.session.n_pages - 1, 0)))
            ids = self.session.page_ids(page)
            shown = [self.session.candidate_of(tile) for tile in ids]
            atlas = draw_atlas(
                self._store.read(shown),
                n_columns=self.n_columns,
                stretch=look["stretch"],
                planes=PLANES[look["planes"]],
            )
            picture = picture_bytes(atlas, look["colors"])
            self._page, self._look = page, look
            n_rows = max(1, -(-len(ids) // self.n_columns))
            self._side = atlas.shape[0] // n_rows
            # One message for both: a page never has another page's picture.
            with self.hold_sync():
                self.atlas = picture
                self.page_state = self._describe(ids)

    def act(self, act):
        """Do one act of the front end and return the tiles whose labels changed."""
        if act["do"] == "page":
            self.turn_to(act["page"])
            return []
        if act["do"] == "undo":
            return self._undo()
        if act["do"] == "look":
            self.turn_to(self._page, next_look(self._look, act["part"]))
            return []
        tile = act["id"]
        shown = {"page": self._page, "caption": self._caption(tile)} | self._look
        if "press" in act:
            shown["press"] = str(act["press"])
        self.session.set_label(tile, act["label"], shown)
        return [tile]

    def _undo(self):
        tiles = self.session.undo()
        # One of an earlier session may not be among those that are shown in this one.
        if tiles and tiles[-1] in self.session:
            page = self.session.page_of(tiles[-1])
            if page != self._page:
                self.turn_to(page)
        return tiles

    def _caption(self, tile):
        return self._captions.get(self.session.candidate_of(tile), "")

    def _tell(self, content):
        """Answer what surrounds a candidate, or why that cannot be read."""
        candidate_id = self.session.candidate_of(content["ask"])
        try:
            about = self._context.describe(candidate_id)
            if self._blind:
                about["lines"] = []
            pixels = self._context.pixels(candidate_id)[None]
            with self._lock:
                atlas = draw_atlas(pixels, n_columns=1, stretch=self._look["stretch"])
                picture = [picture_bytes(atlas, self._look["colors"])]
        # Nobody sees the traceback of a callback: the page shows the error.
        except Exception as error:
            logger.exception("What surrounds %s could not be read.", candidate_id)
            about = {"id": candidate_id, "lines": [f"{type(error).__name__}: {error}"]}
            about |= {"link": "", "history": [], "neighbours": []}
            picture = []
        self.send({"view": content.get("view"), "about": about}, picture)

    def _receive(self, content):
        """Answer a message of the page, be it with an error."""
        try:
            check_message(content)
            if "acts" in content:
                self._do_all(content["view"], content["acts"])
            elif self._context is not None:
                self._tell(content)
        # Nobody sees the traceback of a callback: the page shows the error.
        except Exception as error:
            logger.exception("A message of the page could not be answered.")
            known = content if isinstance(content, dict) else {}
            about = {"view": known.get("view"), "acts": "ask" not in known}
            self.send(about | {"error": str(error) or type(error).__name__})

    def _do_all(self, view, acts):
        """Do acts, those that come a second time not again, and answer."""
        with self._lock:
            done = self._answered.get(view, {})
            again = bool(acts) and acts[0]["seq"] <= max(done, default=0)
            if not again:
                done = self._answered[view] = {
                    act["seq"]: self._do(act) for act in acts
                }
            self.page_state = self._describe(self.session.page_ids(self._page))
            if again:
                # The front end may have lost what went before the answer, too.
                self.send_state(["atlas", "page_state"])
            results = [done[act["seq"]] for act in acts if act["seq"] in done]
            self.send({"view": view, "results": results})

    def _do(self, act):
        """Return the result of an act, an error as text."""
        result = {"seq": act["seq"], "ids": [], "error": ""}
        try:
            result["ids"] = self.act(act)
        # Nobody sees the traceback of a callback: the page shows the error.
        except Exception as error:
            logger.exception("A label was not saved.")
            result["error"] = f"{type(error).__name__}: {error}"
        return result

    def _describe(self, ids):
        label_of = self.session.human_label_of if self._blind else self.session.label_of
        tiles = [
            {
                "id": tile,
                "name": self.session.candidate_of(tile),
                "label": label_of(tile),
                "human": self.session.human_label_of(tile) is not None,
                "caption": self._caption(tile),
            }
            for tile in ids
        ]
        return {
            "page": self._page,
            "n_pages": self.session.n_pages,
            "n_columns": self.n_columns,
            "n_rows": -(-self.session.page_size // self.n_columns),
            "side": self._side,
            "labeler": self.session.log.labeler,
            "counts": self.session.counts(human_only=self._blind),
            "look": dict(self._look),
            "context": self._context is not None,
            "opening": self._opening,
            "n_planes": len(PLANES[self._look["planes"]]),
            "tiles": tiles,
        }

    def _repr_mimebundle_(self, **kwargs):
        """Add a still picture, for where no widget can live (HTML, GitHub)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        # anywidget gives (data, metadata), ipywidgets the data alone.
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        with self._lock:
            still = draw_still(self.atlas, self.page_state["tiles"], self.n_columns)
            still = base64.b64encode(still).decode()
        return {**data, "image/png": still}, metadata


def show_labeler(
    session, store, *, n_columns, captions, interactive, blind=False, context=None
):
    """Return the grid to display, or None where no person is there to use it."""
    if not interactive:
        return None
    return CutoutLabeler(
        session,
        store,
        n_columns=n_columns,
        captions=captions,
        blind=blind,
        context=context,
    )
