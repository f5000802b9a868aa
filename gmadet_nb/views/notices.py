"""Warnings in words, where no one who reads a notebook can miss them."""

from dataclasses import dataclass
from html import escape

_STYLE = "border-left:6px solid {color};background:{back};color:#222;padding:8px 14px"
_BAD, _GOOD = ("#d55e00", "#fdf0e6"), ("#009e73", "#e9f6f1")
_OPEN = ("#888888", "#f2f2f2")
_NOT_TESTED = "Not tested: there is nothing here to test it on."


@dataclass(frozen=True, kw_only=True, repr=False)
class Notice:
    """Warnings as a colored box; the last value of a cell.

    Attributes
    ----------
    words : list of str
        One warning each.
    good : str
        What to say where there are none.
    tested : bool
        False where nothing could be tested, which is no good news.
    """

    words: list
    good: str
    tested: bool

    @property
    def _calm(self):
        return self.good if self.tested else _NOT_TESTED

    def __repr__(self):
        return "\n".join(f"WARNING: {text}" for text in self.words) or self._calm

    def _repr_html_(self):
        color, back = _BAD if self.words else _GOOD if self.tested else _OPEN
        style = _STYLE.format(color=color, back=back)
        if not self.words:
            return f'<div style="{style}">{escape(self._calm)}</div>'
        lines = "".join(f"<li>{escape(text)}</li>" for text in self.words)
        return f'<div style="{style}"><b>Warning</b><ul>{lines}</ul></div>'
