"""Contact sheets of cutouts."""

import io

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.textpath import TextPath

from gmadet_nb.views.stretch import WHITE, stretch_triplets
from gmadet_nb.views.style import NO_MEASUREMENT_COLOR, draw_none

_DIGIT = 0.65  # its width in units of the font's size, a point of which is 1/72 inch


class Sheet(Figure):
    """A figure that shows itself in a notebook whether pyplot is in use or not."""

    def __init__(self, *, width, height):
        super().__init__(figsize=(width, height))
        # Places are absolute: a layout from the style, now or after a first save,
        # would move them.
        self.set_layout_engine(
            PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
        )

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def cutout_sheet(pixels, captions, *, n_columns=10, title=""):
    """Make a contact sheet: science over reference over difference, each captioned.

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Cutouts [adu], NaN where not measured.
    captions : sequence of n str
        One or two short lines below each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = len(pixels)
    if n != len(captions):
        raise ValueError(
            f"A sheet needs one caption a cutout, got {len(captions)} for {n} cutouts."
        )
    n_rows = max(1, -(-n // n_columns))
    inch = 11.0 / (n_columns + 0.3)  # of one cutout and the gap beside it
    captions = [_narrow(text, int(72 * inch / (_DIGIT * 5))) for text in captions]
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    # Letters end on whole pixels: a line is up to a tenth wider than its path.
    size = np.clip(0.9 * 72 * inch / max(_widest(captions), 0.1), 5, 8)
    # The caption and a gap, as a share of the side of a cutout.
    below = (0.09 + 0.125 * lines) / inch + 0.10
    top = 0.40 if title else 0.08  # [inch]
    height = n_rows * (3.06 + below) * inch + top
    fig = Sheet(width=11.0, height=height if n else 1.2)
    if title:
        fig.text(
            0.5,
            1 - 0.5 * top / fig.get_figheight(),
            title,
            ha="center",
            va="center",
            fontsize=12,
        )
    if n == 0:
        ax = fig.add_axes((0, 0, 1, 0.6))
        ax.axis("off")
        draw_none(ax)
        return fig
    ax = fig.add_axes((0, 0, 1, 1 - top / height))
    ax.set(xlim=(-0.3, n_columns), ylim=(n_rows * (3.06 + below), 0))
    ax.axis("off")
    grey = stretch_triplets(pixels)
    for index, caption in enumerate(captions):
        row, column = divmod(index, n_columns)
        y = row * (3.06 + below)
        for plane in range(3):
            bottom = y + 1.03 * plane + 1
            ax.imshow(
                grey[index, ..., plane],
                cmap=grey_and_missing(),
                vmin=0,
                vmax=255,
                origin="lower",
                interpolation="nearest",
                extent=(column + 0.02, column + 0.97, bottom, bottom - 1 + 0.05),
                aspect="auto",
            )
        ax.text(
            column + 0.495,
            y + 3.12,
            caption,
            ha="center",
            va="top",
            fontsize=size,
            linespacing=1.05,
        )
    for row in range(n_rows):
        for plane, name in enumerate(("science", "reference", "difference")):
            ax.text(
                -0.02,
                row * (3.06 + below) + 1.03 * plane + 0.5,
                name,
                rotation=90,
                ha="right",
                va="center",
                fontsize=9,
            )
    ax.set(xlim=(-0.3, n_columns), ylim=(n_rows * (3.06 + below), 0))
    return fig


def candidate_sheet(store, candidate_ids, captions, *, title=""):
    """Make a contact sheet of some candidates of a cutout store.

    Parameters
    ----------
    store : gmadet_nb.learning.cutouts.CutoutStore
        Gives the pixels.
    candidate_ids : sequence of str
        Which, in the order to show them.
    captions : dict
        candidate_id -> text below its cutout.

    Returns
    -------
    matplotlib.figure.Figure
    """
    texts = [captions[key] for key in candidate_ids]
    return cutout_sheet(store.read(candidate_ids), texts, title=title)


def _widest(captions):
    """Return the width of the widest line in units of the font's size."""
    lines = {line for text in captions for line in text.split("\n") if line.strip()}
    paths = (TextPath((0, 0), line, size=100) for line in lines)
    return max((path.get_extents().width for path in paths), default=0) / 100


def _narrow(text, n_letters):
    """Break lines that are wider than a cutout in the smallest font: long names."""
    width = max(n_letters, 1)
    return "\n".join(
        line[start : start + width]
        for line in text.split("\n")
        for start in range(0, max(len(line), 1), width)
    )


def grey_and_missing():
    """Return the grey levels 0 to `WHITE`, then a gap and the one of no measurement."""
    levels = np.linspace(0, 1, WHITE + 1)[:, None] * np.ones(3)
    return ListedColormap(np.vstack([levels, np.ones(3), NO_MEASUREMENT_COLOR]))
