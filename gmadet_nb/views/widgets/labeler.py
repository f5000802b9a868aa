"""A grid of cutouts to label by click and by key, on top of a `LabelSession`."""

import base64
import io
import logging
import threading
from pathlib import Path

import anywidget
import numpy as np
import traitlets as t
from matplotlib import colormaps
from PIL import Image, ImageDraw

from gmadet_nb.views.stretch import GAP, STRETCHES, WHITE, stretch_triplets

logger = logging.getLogger(__name__)

_GAP_WIDTH = 2  # [pixel] between planes, and right of and below each triplet
_NO_MEASUREMENT_RGB = (77, 66, 117)
# Grey levels to colours, each from dark to bright; safe for the colour-blind.
COLOR_MAPS = ("gray", "gray_r", "cividis")
_PLANES = {"all": (0, 1, 2), "science": (0,), "reference": (1,), "difference": (2,)}
# What each part of the look can be, in the order in which a key goes through it.
LOOKS = {
    "stretch": tuple(STRETCHES),
    "colors": COLOR_MAPS,
    "planes": tuple(_PLANES),
}
_LETTERS = {"real": "R", "bogus": "B", "unsure": "?"}


class CutoutLabeler(anywidget.AnyWidget):
    """A page of candidates as one picture; each act is recorded, then acknowledged.

    The front end sends acts (not traits, which are throttled: of 48 fast clicks
    two would arrive) and sends the next ones only after an answer, so that they
    are recorded in the order in which they were made. A tile shows its label at
    once, but as "not saved" until the answer says that it is on disk.

    Messages to Python: ``{"view": str, "acts": [act, ...]}`` with an act
    ``{"seq": int, "do": "label", "id": str, "label": str or None}``,
    ``{"seq": int, "do": "undo"}``, ``{"seq": int, "do": "page", "page": int}`` or
    ``{"seq": int, "do": "look", "part": str}``, which goes on to the next of `LOOKS`.
    The answer: ``{"view": str, "results": [{"seq", "id", "error"}, ...]}``. A message
    ``{"view": str, "ask": str}`` asks what surrounds a tile's candidate, and is
    answered by ``{"view": str, "about": {...}}`` with a picture.

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
        Hide automatic labels.
    context : gmadet_nb.learning.label_context.Context, optional
        Knows what surrounds a candidate.
    """

    _esm = Path(__file__).with_name("labeler.js")
    _css = Path(__file__).with_name("labeler.css")

    atlas = t.Bytes(b"").tag(sync=True)
    page_state = t.Dict().tag(sync=True)

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
        # Messages may come in another thread than the one that runs the cells.
        self._lock = threading.RLock()
        self.on_msg(lambda _, content, buffers: self._receive(content))
        self.turn_to(0)

    def turn_to(self, page):
        """Show a page, counted from 0; one beyond the ends gives the nearest."""
        with self._lock:
            self._page = int(np.clip(page, 0, max(self.session.n_pages - 1, 0)))
            ids = self.session.page_ids(self._page)
            shown = [self.session.candidate_of(tile) for tile in ids]
            atlas = draw_atlas(
                self._store.read(shown),
                n_columns=self.n_columns,
                stretch=self._look["stretch"],
                planes=_PLANES[self._look["planes"]],
            )
            # One message for both: a page never has another page's picture.
            with self.hold_sync():
                self.atlas = picture_bytes(atlas, self._look["colors"])
                self.page_state = self._describe(ids)

    def act(self, act):
        """Do one act of the front end and return the candidate concerned, or None."""
        if act["do"] == "page":
            self.turn_to(act["page"])
            return None
        if act["do"] == "undo":
            return self._undo()
        if act["do"] == "look":
            choices = LOOKS[act["part"]]
            at = choices.index(self._look[act["part"]])
            self._look[act["part"]] = choices[(at + 1) % len(choices)]
            self.turn_to(self._page)
            return None
        tile = act["id"]
        shown = {"page": self._page, "caption": self._caption(tile)} | self._look
        self.session.set_label(tile, act["label"], shown)
        return tile

    def _undo(self):
        tile = self.session.undo()
        # One of an earlier session may not be among those that are shown in this one.
        if tile is not None and tile in self.session:
            page = self.session.page_of(tile)
            if page != self._page:
                self.turn_to(page)
        return tile

    def _caption(self, tile):
        return self._captions.get(self.session.candidate_of(tile), "")

    def _tell(self, content):
        """Answer what surrounds a candidate, or why that cannot be read."""
        candidate_id = self.session.candidate_of(content["ask"])
        try:
            about = self._context.describe(candidate_id)
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
        if "ask" in content:
            if self._context is not None:
                self._tell(content)
            return
        results = []
        with self._lock:
            for act in content.get("acts", []):
                result = {"seq": act.get("seq"), "id": None, "error": ""}
                try:
                    result["id"] = self.act(act)
                # Nobody sees the traceback of a callback: the page shows the error.
                except Exception as error:
                    logger.exception("A label was not saved.")
                    result["error"] = f"{type(error).__name__}: {error}"
                results.append(result)
            self.page_state = self._describe(self.session.page_ids(self._page))
            self.send({"view": content.get("view"), "results": results})

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
            "labeler": self.session.log.labeler,
            "counts": self.session.counts(),
            "look": dict(self._look),
            "context": self._context is not None,
            "n_planes": len(_PLANES[self._look["planes"]]),
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
            still = base64.b64encode(self._draw_still()).decode()
        return {**data, "image/png": still}, metadata

    def _draw_still(self):
        picture = Image.open(io.BytesIO(self.atlas)).convert("RGBA")
        picture = picture.resize((2 * picture.width, 2 * picture.height), Image.NEAREST)
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        pen, tiles = ImageDraw.Draw(ground), self.page_state["tiles"]
        n_rows = max(1, -(-len(tiles) // self.n_columns))
        width, height = ground.width / self.n_columns, ground.height / n_rows
        for index, tile in enumerate(tiles):
            row, column = divmod(index, self.n_columns)
            place = (column * width + 4, row * height + 2)
            letter = _LETTERS.get(tile["label"], "")
            pen.text(place, letter, fill="white", stroke_width=2, stroke_fill="black")
        return _png(ground.convert("RGB"))


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


def draw_atlas(pixels, *, n_columns, stretch="middle", planes=(0, 1, 2)):
    """Lay cutouts out as one picture, each as science, reference, difference.

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Cutouts [adu], NaN where not measured.
    n_columns : int
        Candidates in a row.
    stretch : str
        See `gmadet_nb.views.stretch.stretch_triplets`.
    planes : tuple of int
        Which of science, reference and difference are drawn.

    Returns
    -------
    (n_rows * (size + 2), n_columns * len(planes) * (size + 2)) uint8 array
        Grey levels, `GAP` and `NO_MEASUREMENT`; row 0 is the top of the picture
        and y of the sky grows upwards.
    """
    n, size = len(pixels), np.shape(pixels)[1]
    n_rows = max(1, -(-n // n_columns))
    height, step = size + _GAP_WIDTH, size + _GAP_WIDTH
    width = n_columns * len(planes) * step
    atlas = np.full((n_rows * height, width), GAP, dtype=np.uint8)
    grey = stretch_triplets(pixels, stretch)[:, ::-1]
    for index in range(n):
        row, column = divmod(index, n_columns)
        for k, plane in enumerate(planes):
            left = (len(planes) * column + k) * step
            top = row * height
            atlas[top : top + size, left : left + size] = grey[index, ..., plane]
    return atlas


def picture_bytes(atlas, colors="gray"):
    """Return an atlas as a PNG: gaps transparent, no measurement in violet.

    ``colors`` is one of `COLOR_MAPS`.
    """
    picture = Image.frombytes("P", atlas.shape[::-1], atlas.tobytes())
    levels = colormaps[colors](np.linspace(0, 1, WHITE + 1))[:, :3]
    palette = np.rint(255 * levels).astype(int).tolist()
    palette += [(255, 255, 255), _NO_MEASUREMENT_RGB]
    picture.putpalette([channel for color in palette for channel in color])
    return _png(picture, transparency=GAP)


def _png(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=1, **options)
    return buffer.getvalue()
