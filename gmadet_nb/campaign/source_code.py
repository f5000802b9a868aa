"""Hashes of the code that a notebook runs: its cells and the modules they import."""

import ast
import hashlib
import json
from pathlib import Path

# What these do is seen on the terminal only; no result hangs on them.
_SHOWS_ONLY = ("gmadet_nb.progress",)


class SourceCode:
    """Hashes of the package's modules, each read once.

    Parameters
    ----------
    root : Path, optional
        The folder that holds the package ``gmadet_nb``; its own by default.
    """

    def __init__(self, root=None):
        self.root = Path(root) if root else Path(__file__).resolve().parents[2]
        self._modules = {}

    def of_notebook(self, notebook):
        """Return hashes of a notebook's code and of each module it depends on.

        The parameters cell is left out (its values count as parameters), and
        so are comments: neither a remark nor a line break changes a result.
        """
        cells = json.loads(Path(notebook).read_text())["cells"]
        code = [
            _parsed("".join(cell["source"]))
            for cell in cells
            if cell["cell_type"] == "code"
            and "parameters" not in cell["metadata"].get("tags", [])
        ]
        marks = {"its code": digest([_dump(tree) for tree in code])}
        waiting = {name for tree in code for name in _imports(tree)}
        while waiting:
            name = waiting.pop()
            if name in _SHOWS_ONLY:
                continue
            if name not in marks and (module := self._module(name)):
                marks[name] = module[0]
                waiting |= module[1] - marks.keys()
        return dict(sorted(marks.items()))

    def _module(self, name):
        """Return (hash, imported names) of a module, None where there is none."""
        if name not in self._modules:
            base = self.root.joinpath(*name.split("."))
            paths = [base.with_suffix(".py"), base / "__init__.py"]
            path = next((path for path in paths if path.is_file()), None)
            tree = _parsed(path.read_text(encoding="utf-8")) if path else None
            self._modules[name] = (
                (digest(_dump(tree)), set(_imports(tree))) if path else None
            )
        return self._modules[name]


def digest(content):
    """Return a short hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _parsed(source):
    """Parse code; a cell with a magic in it is kept as text."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(repr(source))


def _dump(tree):
    return ast.dump(tree)


def _imports(tree):
    """Yield the names under gmadet_nb that a tree imports, packages included."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What is imported may be a module or something in one.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gmadet_nb":
                for stop in range(1, len(parts) + 1):
                    yield ".".join(parts[:stop])
