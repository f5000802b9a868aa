"""What the page of the label grid may say, checked before anything is done.

A message to Python is ``{"view": str, "acts": [act, ...]}`` with an act

- ``{"seq": int, "do": "label", "id": str, "label": str or None}``, with a ``"press"``
  where it is one of several that are undone together,
- ``{"seq": int, "do": "undo"}``,
- ``{"seq": int, "do": "page", "page": int}``, or
- ``{"seq": int, "do": "look", "part": str}``, which goes on to the next look.

The answer is ``{"view": str, "results": [{"seq", "ids", "error"}, ...]}``, ``ids`` the
tiles whose labels changed. A message ``{"view": str, "ask": str}`` asks what surrounds
a tile's candidate, and is answered by ``{"view": str, "about": {...}}`` and a picture.
Anything else is answered by ``{"view": str or None, "error": str, "acts": bool}``, the
last whether acts were not done.
"""

from gmadet_nb.errors import BadInputError

# What each act needs beside its number and its name.
_NEEDS = {
    "label": {"id": str, "label": str | None},
    "undo": {},
    "page": {"page": int},
    "look": {"part": str},
}


def check_message(content):
    """Refuse what is no message of the page.

    Raises
    ------
    BadInputError
        If it is not as the module says; nothing of it is to be done then.
    """
    if not isinstance(content, dict):
        _refuse("must be a dict", content)
    if "ask" in content:
        if not isinstance(content["ask"], str):
            _refuse("must ask for a tile by its name", content)
        return
    acts = content.get("acts")
    if not isinstance(acts, list) or not isinstance(content.get("view"), str):
        _refuse("must have a view and a list of acts", content)
    for act in acts:
        _check_act(act)


def _check_act(act):
    """Refuse what is no act."""
    if not isinstance(act, dict) or not isinstance(act.get("seq"), int):
        _refuse("must hold acts with a number", act)
    if act.get("do") not in _NEEDS:
        _refuse(f"must hold acts that are one of {tuple(_NEEDS)}", act)
    for name, kind in _NEEDS[act["do"]].items():
        if name not in act or not isinstance(act[name], kind):
            _refuse(f"must give a right {name!r} with {act['do']!r}", act)


def _refuse(what, got):
    raise BadInputError(
        f"A message of the page {what}, got {str(got)[:80]}. Reload the page: it may "
        "be older than the package."
    )
