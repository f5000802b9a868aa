"""Cutouts side by side as one picture."""

import io

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw

from gmadet_nb.views.stretch import GAP, STRETCHES, WHITE, stretch_triplets

_GAP_WIDTH = 2  # [pixel] between planes; half of it around each triplet
_NO_MEASUREMENT_RGB = (77, 66, 117)
# Grey levels to colours, each from dark to bright; safe for the colour-blind.
COLOR_MAPS = ("gray", "gray_r", "cividis")
PLANES = {"all": (0, 1, 2), "science": (0,), "reference": (1,), "difference": (2,)}
# What each part of the look can be, in the order in which a key goes through it.
LOOKS = {
    "stretch": tuple(STRETCHES),
    "colors": COLOR_MAPS,
    "planes": tuple(PLANES),
}
_LETTERS = {"real": "R", "bogus": "B", "unsure": "?"}


def next_look(look, part):
    """Return a look, one choice a part of `LOOKS`, with the next one for a part."""
    choices = LOOKS[part]
    at = choices.index(look[part])
    return look | {part: choices[(at + 1) % len(choices)]}


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
    # Half a gap around each plane: a triplet stands in the middle of its tile.
    rim = _GAP_WIDTH // 2
    for index in range(n):
        row, column = divmod(index, n_columns)
        for k, plane in enumerate(planes):
            left = (len(planes) * column + k) * step + rim
            top = row * height + rim
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
    return _png_bytes(picture, transparency=GAP)


def draw_still(png, tiles, n_columns):
    """Return the picture of a page, twice as large, with a letter for each label.

    Parameters
    ----------
    png : bytes
        From `picture_bytes`.
    tiles : list of dict
        ``label``, in the order of the picture.
    n_columns : int

    Returns
    -------
    png : bytes
    """
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    picture = picture.resize((2 * picture.width, 2 * picture.height), Image.NEAREST)
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    pen = ImageDraw.Draw(ground)
    n_rows = max(1, -(-len(tiles) // n_columns))
    width, height = ground.width / n_columns, ground.height / n_rows
    for index, tile in enumerate(tiles):
        row, column = divmod(index, n_columns)
        place = (column * width + 4, row * height + 2)
        letter = _LETTERS.get(tile["label"], "")
        pen.text(place, letter, fill="white", stroke_width=2, stroke_fill="black")
    return _png_bytes(ground.convert("RGB"))


def _png_bytes(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=1, **options)
    return buffer.getvalue()
