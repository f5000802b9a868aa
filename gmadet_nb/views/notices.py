"""Warnings in words, where no one who reads a notebook can miss them."""

from dataclasses import dataclass
from html import escape

_STYLE = "border-left:6px solid {color};background:{back};color:#222;padding:8px 14px"
_BAD, _GOOD = ("#d55e00", "#fdf0e6"), ("#009e73", "#e9f6f1")


@dataclass(frozen=True, kw_only=True, repr=False)
class Notice:
    """Warnings as a colored box; the last value of a cell.

    Attributes
    ----------
    words : list of str
        One warning each.
    good : str
        What to say where there are none.
    """

    words: list
    good: str

    def __repr__(self):
        return "\n".join(f"WARNING: {text}" for text in self.words) or self.good

    def _repr_html_(self):
        color, back = _BAD if self.words else _GOOD
        style = _STYLE.format(color=color, back=back)
        if not self.words:
            return f'<div style="{style}">{escape(self.good)}</div>'
        lines = "".join(f"<li>{escape(text)}</li>" for text in self.words)
        return f'<div style="{style}"><b>Warning</b><ul>{lines}</ul></div>'
