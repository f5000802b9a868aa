import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wanted(project):
    """Name and range of each direct dependency, development included."""
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(item.name): item.specifier for item in requirements}


@pytest.fixture(scope="module")
def lock():
    return (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def locked(lock):
    """All locked versions of each name: some differ by the version of Python."""
    found = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", lock, re.M):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


@pytest.fixture(scope="module")
def environment():
    return YAML(typ="safe", pure=True).load((ROOT / "environment.yml").read_text())


def test_every_direct_dependency_is_locked_inside_its_range(wanted, locked):
    assert wanted.keys() <= locked.keys()
    outside = {
        name: (str(version), str(wanted[name]))
        for name in wanted
        for version in locked[name]
        if version not in wanted[name]
    }
    assert outside == {}


def test_every_locked_file_has_a_hash(lock):
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_host(lock):
    assert re.findall(r"https?://|--index-url|--find-links|--extra-index", lock) == []


def test_the_conda_environment_wants_what_the_project_wants(environment, wanted):
    *conda, pip = environment["dependencies"]
    lines = conda + pip["pip"][:-1]
    requirements = [Requirement(line.split(" #")[0]) for line in lines]
    ranges = {canonicalize_name(item.name): item.specifier for item in requirements}
    assert str(ranges.pop("pip")) == ""
    ranges.pop("python")
    assert ranges == wanted


def test_the_conda_environment_has_the_python_of_the_project(environment, project):
    python = next(
        Requirement(line)
        for line in environment["dependencies"]
        if isinstance(line, str) and line.startswith("python")
    )
    assert python.specifier == Requirement(f"x{project['requires-python']}").specifier


def test_the_conda_environment_uses_conda_forge_alone(environment):
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert environment["dependencies"][-1]["pip"][-1] == "-e ."


def test_each_line_of_the_conda_environment_says_what_needs_it():
    text = (ROOT / "environment.yml").read_text().split("dependencies:\n")[1]
    lines = [line for line in text.splitlines() if line.strip().startswith("- ")]
    silent = [line for line in lines if " # " not in line]
    assert [line.strip() for line in silent] == ["- pip:", "- -e ."]


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="gmadet-nb")
    assert command.value == "gmadet_nb.campaign.cli:main"


def test_files_beside_the_modules_are_packaged():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for path in (ROOT / "gmadet_nb").rglob("*"):
        if path.suffix in (".js", ".css", ".html"):
            room = ".".join(path.parent.relative_to(ROOT).parts)
            assert f"*{path.suffix}" in data["package-data"][room]


# Commands, plugins and back ends, and what the project fixes beside them.
RUN_NOT_IMPORTED = {
    "import-linter",
    "ipywidgets",
    "jupyterlab",
    "nbstripout",
    "onnx",
    "photutils",
    "pre-commit",
    "ruff",
    "setuptools",
    "tensorflow",
    "tensorflow-cpu",
    "tf2onnx",
}


def test_every_dependency_is_imported_or_run(wanted):
    modules = {
        "pillow": "PIL",
        "ruamel-yaml": r"ruamel\.yaml",
        "scikit-learn": "sklearn",
    }
    folders = ("gmadet_nb", "notebooks", "tests", "benchmarks")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    kinds = (".py", ".ipynb")
    text = "\n".join(path.read_text() for path in paths if path.suffix in kinds)
    silent = {
        name
        for name in wanted
        if not re.search(
            rf"(import |from |importorskip\(.){modules.get(name, name)}\b", text
        )
    }
    assert silent - RUN_NOT_IMPORTED == set()
