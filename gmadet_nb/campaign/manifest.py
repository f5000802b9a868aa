"""The record of a run: what each stage ran with, and whether that still holds."""

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gmadet_nb.campaign.source_code import digest
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.fits_files import find_images
from gmadet_nb.files.telescopes import list_telescopes

# Read whole; pixels (FITS, HDF5, NumPy) are known by size and time instead, and where
# these differ, as in a copy, by the hash that was taken when a stage had finished.
_HASHED_SUFFIXES = (".ecsv", ".json", ".jsonl", ".yaml", ".csv", ".keras", ".onnx")
# How a stage is run, not what comes out of it.
_HOW = ("run_dir", "compute", "interactive")
_VERSIONS = ("gmadet_nb", "numpy", "scipy", "astropy", "photutils", "keras")
_ABSENT = "absent"


class Manifest:
    """What is known of each stage that has finished, in ``manifest.json``.

    Parameters
    ----------
    run : RunDir
        The run folder.
    """

    def __init__(self, run):
        self.run = run
        self.entries = {}
        if run.manifest_path.is_file():
            self.entries = run.read_json(run.manifest_path).get("stages", {})

    def forget(self, name):
        """Remove a stage before it runs: a killed one has then not finished."""
        if self.entries.pop(name, None) is not None:
            self._write()

    def record(self, name, entry):
        """Write the entry of a stage that has finished."""
        self.entries[name] = entry
        self._write()

    def _write(self):
        ordered = dict(sorted(self.entries.items()))
        self.run.write_json(self.run.manifest_path, {"format": 1, "stages": ordered})


def describe_inputs(run, stage, parameters, notebook, sources):
    """Describe all that the result of a stage hangs on.

    Parameters
    ----------
    run : RunDir
    stage : gmadet_nb.campaign.stages.Stage
    parameters : dict
        What the notebook is given.
    notebook : Path
    sources : SourceCode
        The package that the notebook imports.

    Returns
    -------
    dict
        ``parameters``, ``code`` and ``inputs``, each by name.
    """
    inputs = {name: fingerprint(run.root / name) for name in stage.reads}
    for name in stage.outside:
        value = parameters.get(name)
        for path in value if isinstance(value, list) else [value]:
            if path:
                inputs[f"{name} {path}"] = _outside(name, path)
    return {
        "parameters": {k: v for k, v in parameters.items() if k not in _HOW},
        "code": sources.of_notebook(notebook),
        "inputs": inputs,
    }


def describe_outputs(run, stage):
    """Describe what a stage has written, by name.

    Raises
    ------
    BadInputError
        If a file that the stage must write is not there.
    """
    outputs = {name: fingerprint(run.root / name) for name in stage.writes}
    absent = [name for name, mark in outputs.items() if mark == _ABSENT]
    if absent:
        raise BadInputError(
            f"{stage.name} must write {', '.join(absent)} into {run.root}, and did not."
        )
    return outputs


def describe_contents(run, stage, marks, entries):
    """Hash the pixels that a stage read and wrote, for runs that are copied.

    Parameters
    ----------
    run : RunDir
    stage : gmadet_nb.campaign.stages.Stage
    marks : dict of str
        From `fingerprint`, by name.
    entries : dict
        Of `Manifest`: what another stage has hashed since is not read again.

    Returns
    -------
    dict of str
        By name, of what `fingerprint` knows by its time alone.
    """
    known = {
        (name, {**entry["inputs"], **entry["outputs"]}.get(name)): content
        for entry in entries.values()
        for name, content in entry.get("contents", {}).items()
    }
    return {
        name: known.get((name, marks[name])) or fingerprint(run.root / name, whole=True)
        for name in (*stage.reads, *stage.writes)
        if not name.endswith(_HASHED_SUFFIXES)
    }


def why_to_run(run, stage, entry, now):
    """Say why a stage must run, or return "" where its result still holds.

    Parameters
    ----------
    run : RunDir
    stage : gmadet_nb.campaign.stages.Stage
    entry : dict or None
        What `Manifest` holds of the stage.
    now : dict
        From `describe_inputs`.
    """
    if entry is None:
        return "it has not finished here yet"
    reasons = _differences(
        entry["parameters"], now["parameters"], "{} changed from {} to {}"
    )
    reasons += _differences(entry["code"], now["code"], "{} changed")
    inputs = _as_before(run, entry, entry["inputs"], now["inputs"])
    reasons += _differences(entry["inputs"], inputs, "{} changed")
    outputs = {name: fingerprint(run.root / name) for name in stage.writes}
    outputs = _as_before(run, entry, entry["outputs"], outputs)
    for name, mark in outputs.items():
        if mark == _ABSENT:
            reasons.append(f"{name} is gone")
        elif mark != entry["outputs"].get(name):
            reasons.append(f"{name} is no longer what it wrote")
    more = [f"and {len(reasons) - 3} more"] if len(reasons) > 3 else []
    return ", ".join(reasons[:3] + more)


def written_files(run):
    """Return size and time of each file that a notebook may have written, by path."""
    not_theirs = (run.manifest_path, run.params_path)
    return {
        path: _stat(path)
        for path in run.root.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path not in not_theirs
        and run.notebooks_dir not in path.parents
    }


def fingerprint(path, *, whole=False):
    """Return a short text that changes when a file or folder does.

    Tables, labels and models are hashed; pixels go by name, size and time of
    the last change, since a night of them would take long to read each time. With
    ``whole`` they are read, too.
    """
    path = Path(path)
    if path.is_file():
        return digest(_mark(path, whole))
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    ]
    if not files:
        return _ABSENT
    return digest([[str(file.relative_to(path)), _mark(file, whole)] for file in files])


def _as_before(run, entry, before, now):
    """Return marks, the old one where nothing but the time of pixels has changed."""
    contents, found = entry.get("contents", {}), dict(now)
    for name in contents.keys() & now.keys() & before.keys():
        if now[name] not in (before[name], _ABSENT) and (
            _contents(run.root / name, now[name]) == contents[name]
        ):
            found[name] = before[name]
    return found


@lru_cache
def _contents(path, mark):
    """Hash a file or folder; again only once its mark has changed."""
    return fingerprint(path, whole=True)


def versions():
    """Return the versions of Python and of the packages that make the numbers."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _outside(name, value):
    """Fingerprint what a parameter names outside the run folder."""
    if name == "images_dir" and Path(value).is_dir():
        return digest([[str(path), _stat(path)] for path in find_images(value)])
    if name == "telescope":
        return fingerprint(list_telescopes().get(value, value))
    return fingerprint(value)


def _mark(path, whole):
    if whole or path.suffix in _HASHED_SUFFIXES:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return _stat(path)


def _stat(path):
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _differences(before, now, text):
    """Name what differs between two dicts, in one phrase each."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [
        text.format(name, before.get(name, "unset"), now.get(name, "unset"))
        for name in names
    ]
