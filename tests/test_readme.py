import re
import runpy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import gmadet_nb
from gmadet_nb.campaign import cli
from gmadet_nb.files.telescopes import list_telescopes

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = [
    "01_images",
    "02_simulate",
    "03_detect",
    "04_cutouts",
    "05_check_simulation",
    "06_label",
    "07_dataset",
    "08_train",
    "09_infer",
    "10_check_inference",
]
THERE = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))


def code_lines():
    """Return the lines of the README's code blocks and its inline code."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", README, flags=re.M | re.S)
    lines = [
        line.split("#")[0].strip() for block in blocks for line in block.split("\n")
    ]
    rest = re.sub(r"^ *```.*?^ *```", "", README, flags=re.M | re.S)
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", rest)]
    return [line for line in lines + inline if line]


def relative_links():
    links = re.findall(r"\]\(([^)\s]+)\)", README) + re.findall(
        r'src="([^"]+)"', README
    )
    return sorted({link for link in links if not re.match(r"[a-z]+:", link)})


@pytest.mark.parametrize("link", relative_links())
def test_every_relative_link_resolves(link):
    assert (REPOSITORY / link.partition("#")[0]).exists()


def test_every_make_command_is_a_target():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.M))
    named = {m[1] for line in code_lines() if (m := re.match(r"make ([a-z]+)", line))}

    assert {"demo", "test", "lab"} <= named
    assert named <= targets


def test_every_command_line_is_understood_by_the_cli():
    commands = [line for line in code_lines() if line.startswith("gmadet-nb ")]
    whole = [line.split()[1:] for line in commands if len(line.split()) > 2]

    assert len(whole) >= 6
    for words in whole:
        cli._parser().parse_args(words)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_is_named_linked_and_pictured(name):
    assert f"[{name}](notebooks/{name}.ipynb)" in README
    assert f'src="docs/thumbnails/{name[:2]}.png"' in README


def test_the_notebooks_are_those_of_the_readme():
    if not THERE:
        pytest.skip("there are no notebooks yet")

    assert [path.stem for path in THERE] == NOTEBOOKS


def test_every_telescope_of_gmadet_that_is_named_is_there():
    listed = re.search(r"aliases of gmadet are there: (.*?)\.\n", README, flags=re.S)
    names = [name.strip() for name in listed[1].replace("\n", " ").split(",")]

    assert len(names) == 11
    assert set(names) <= set(list_telescopes())


def test_the_table_of_parameters_is_up_to_date():
    if not THERE:
        pytest.skip("there are no notebooks yet")
    script = runpy.run_path(str(REPOSITORY / "docs/parameters.py"))

    page = (REPOSITORY / "docs/parameters.md").read_text(encoding="utf-8")

    # If this fails: python docs/parameters.py
    assert page == script["parameters_page"](THERE)


def test_the_citation_has_the_version_of_the_package():
    citation = YAML(typ="safe", pure=True).load(REPOSITORY / "CITATION.cff")

    assert citation["version"] == gmadet_nb.__version__
