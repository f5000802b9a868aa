"""Small pieces of HTML: tables, pictures and the words around a figure."""

import base64
import html
import io
import re

import numpy as np
from PIL import Image as Picture

from gmadet_nb.files.rundir import EMPTY
from gmadet_nb.views.stretch import NO_MEASUREMENT, stretch_triplets

_MAGNIFY = 3  # screen pixels for each pixel of a cutout
# Digits after the point, where four significant ones are not what is wanted.
_DIGITS = {"mjd": 5, "ra": 5, "dec": 5, "x": 1, "y": 1, "score": 4, "snr": 1}
_DIGITS |= dict.fromkeys(("kernel_sum", "noise_width", "alignment_rms"), 3)
_DIGITS |= dict.fromkeys(("completeness", "low", "high"), 3)
_DIGITS |= dict.fromkeys(("mag", "limiting_mag", "zero_point", "gain"), 2)
_DIGITS |= dict.fromkeys(("fwhm", "science_fwhm", "reference_fwhm"), 2)
_DIGITS |= dict.fromkeys(("elongation", "star_width", "bin_low", "bin_high"), 2)
_LONG = 40  # characters from which a text may be broken into lines


def escape(text):
    """Return text that a browser shows as it is, and takes for no markup."""
    return html.escape(str(text), quote=True)


def html_table(rows, *, head=None, extra=None):
    """Return a table; every text in it is escaped.

    Parameters
    ----------
    rows : astropy.table.Table or list of lists
        What it holds.
    head : list of str, optional
        Names of the columns, where ``rows`` is a list.
    extra : dict, optional
        Columns of ready-made HTML put in front, by name.

    Returns
    -------
    str
        "" where there are no rows.
    """
    if not len(rows):
        return ""
    if head is None:
        head = [
            f"{name} [{rows[name].unit}]" if rows[name].unit else name
            for name in rows.colnames
        ]
        columns = [_texts(name, rows[name]) for name in rows.colnames]
    else:
        columns = list(zip(*rows, strict=True))
        columns = [[("", str(value)) for value in column] for column in columns]
    extra = extra or {}
    lines = ["".join(f"<th>{escape(name)}</th>" for name in [*extra, *head])]
    for number in range(len(rows)):
        made = "".join(f"<td>{column[number]}</td>" for column in extra.values())
        cells = [column[number] for column in columns]
        lines.append(
            made + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in cells)
        )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>\n{body}\n</table></div>'


def _texts(name, column):
    """Return the attribute and the text of each value in a column."""
    values = (
        np.ma.filled(np.ma.asarray(column), np.nan)
        if column.dtype.kind == "f"
        else column
    )
    if column.dtype.kind == "b":
        return [
            ("" if value else ' class="no"', "yes" if value else "no")
            for value in values
        ]
    if column.dtype.kind == "f":
        digits = _DIGITS.get(name)
        return [(' class="n"', _number(float(value), digits)) for value in values]
    if column.dtype.kind in "iu":
        return [(' class="n"', str(value)) for value in values]
    texts = [str(value) for value in values]
    return [(' class="t"' if len(text) > _LONG else "", text) for text in texts]


def _number(value, digits):
    if not np.isfinite(value):
        return ""
    return f"{value:.4g}" if digits is None else f"{value:.{digits}f}"


def small_png(png):
    """Return a PNG with 256 colors where that makes it smaller."""
    stream = io.BytesIO()
    with Picture.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(256).save(stream, "png", optimize=True)
    return min(png, stream.getvalue(), key=len)


def says_nothing(png):
    """Tell whether a figure was saved as one in which there was nothing to draw."""
    with Picture.open(io.BytesIO(png)) as picture:
        return picture.info.get("Comment") == EMPTY


def data_uri(png):
    """Return a PNG as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def triplet_png(pixels):
    """Return science, reference and difference of a candidate side by side.

    Parameters
    ----------
    pixels : (size, size, 3) array
        The cutout [adu].

    Returns
    -------
    bytes
        A PNG.
    """
    grey = stretch_triplets(pixels[None])[0]
    gap = np.full((len(grey), 1), NO_MEASUREMENT, np.uint8)
    # y grows upward on the sky's side of astronomers, downward in a PNG.
    row = np.hstack([grey[..., 0], gap, grey[..., 1], gap, grey[..., 2]])[::-1]
    picture = Picture.fromarray(row)
    size = (row.shape[1] * _MAGNIFY, row.shape[0] * _MAGNIFY)
    stream = io.BytesIO()
    picture.resize(size, Picture.Resampling.NEAREST).save(stream, "png")
    return stream.getvalue()


def first_heading(cells):
    """Return the title of a notebook."""
    for cell in cells:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return ""


def figure_title(name):
    """Return the name of a figure in words, such as ``Kept and width``."""
    words = name.split("_", 1)[1].replace("_", " ")
    words = words[:1].upper() + words[1:]
    return re.sub(r"\b(psf|roc|fwhm)\b", lambda m: m[0].upper(), words, flags=re.I)


def position(cells, figure):
    """Return the number of the cell that saves a figure; the last where none does."""
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code" and f'"{figure}"' in "".join(cell["source"]):
            return number
    return len(cells)


def markdown_near(cells, figure):
    """Return the prose that goes with a figure: what follows it, or leads to it."""
    number = position(cells, figure)
    if number == len(cells):
        return ""
    after = [
        cell
        for cell in cells[number + 1 : number + 2]
        if not "".join(cell["source"]).startswith(("#", "Next:"))
    ]
    near = after + cells[:number][::-1]
    prose = (_prose(cell) for cell in near if cell["cell_type"] == "markdown")
    return next((text for text in prose if text), "")


def _prose(cell):
    """Return the first paragraph of a markdown cell, without its heading."""
    text = "".join(cell["source"]).strip()
    if text.startswith("#"):
        _, _, text = text.partition("\n")
        text = text.strip()
    text = text.split("\n\n")[0].replace("\n", " ")
    return re.sub(
        r"\[([^\]]*)\]\([^)]*\)", r"\1", text.replace("**", "").replace("`", "")
    )
