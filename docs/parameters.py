"""Write docs/parameters.md: every parameter of every notebook in one table.

Run it from anywhere after a change to a parameters cell: ``python docs/parameters.py``.
"""

import json
from pathlib import Path

from gmadet_nb.campaign.parameters import read_schema

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "parameters.md"
INTRODUCTION = """\
# Parameters

Every parameter of every notebook, from the tagged *Parameters* cells, which are the
only place where they are defined. A campaign file `params/<name>.yaml` holds those
that differ from the default, one `name: value` a line; `--set name=value` of
`gmadet-nb run` goes before the file. This page is written by `docs/parameters.py`.

| parameter | type | default | unit and meaning | notebooks |
|---|---|---|---|---|
"""


def parameters_page(notebooks):
    """Return the page as text.

    Parameters
    ----------
    notebooks : list of Path
    """
    rows, used_in = {}, {}
    for path in sorted(notebooks):
        for parameter in read_schema(path).values():
            rows.setdefault(parameter.name, parameter)
            used_in.setdefault(parameter.name, []).append(path.stem[:2])
    return INTRODUCTION + "".join(
        f"| `{name}` | {parameter.type}{' or auto' * parameter.takes_auto} "
        f"| `{json.dumps(parameter.default)}` | {parameter.help.replace('|', '/')} "
        f"| {', '.join(used_in[name])} |\n"
        for name, parameter in rows.items()
    )


if __name__ == "__main__":
    found = list((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    PAGE.write_text(parameters_page(found), encoding="utf-8")
    print(f"{PAGE}: {len(found)} notebooks")
