import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gmadet_nb.campaign.html import markdown_near
from gmadet_nb.campaign.parameters import read_schema
from gmadet_nb.campaign.stages import TRAIN, WORKFLOWS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NAMES = [stage.name for stage in TRAIN]
EXTRA_KEYS = (
    "metadata.papermill metadata.widgets cell.metadata.papermill "
    "cell.metadata.execution"
)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text())


@pytest.fixture
def cells(notebook):
    return notebook["cells"]


def source(cell):
    return "".join(cell["source"])


def is_parameters(cell):
    return "parameters" in cell["metadata"].get("tags", [])


def code_cells(cells):
    """Return the code cells behind the parameters."""
    return [
        cell
        for cell in cells
        if cell["cell_type"] == "code" and not is_parameters(cell)
    ]


def is_list_or_figure(cell):
    """Imports are a list and not logic; a figure takes its lines."""
    return source(cell).startswith(("import", "from")) or "save_figure" in source(cell)


def code_lines(cell):
    return [line for line in source(cell).splitlines() if line.strip()]


def tree(cells):
    return ast.parse("\n".join(source(cell) for cell in code_cells(cells)))


def test_the_ten_notebooks_are_there_and_no_others():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


def test_notebooks_are_committed_clean():
    paths = [str(FOLDER / f"{name}.ipynb") for name in NAMES]
    command = [sys.executable, "-m", "nbstripout", "--verify"]
    done = subprocess.run(
        [*command, "--extra-keys", EXTRA_KEYS, *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_notebook_holds_no_outputs_and_no_traces_of_a_run(notebook, cells):
    text = json.dumps(notebook)
    assert "injected-parameters" not in text
    assert "papermill" not in notebook["metadata"]
    for cell in cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_kernel_is_the_one_of_every_python(notebook):
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_cells_have_ids_that_differ(notebook, cells):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)


def test_no_path_of_one_machine_is_in_a_notebook(cells):
    found = re.findall(r"(?<![\w.])/(?:home|work|tmp|root|Users|mnt)/\S*", str(cells))
    assert found == []


def test_a_notebook_starts_with_a_title_and_its_table(cells):
    assert cells[0]["cell_type"] == "markdown"
    title = source(cells[0])
    assert title.startswith("# ")
    for word in ("Reads", "Writes", "Takes"):
        assert word in title


def test_the_title_names_what_the_runner_expects_the_notebook_to_write(name, cells):
    wanted = [
        file
        for stages in WORKFLOWS.values()
        for stage in stages
        if stage.name == name
        for file in stage.writes
    ]
    assert [file for file in wanted if f"`{file}" not in source(cells[0])] == []


def test_parameters_are_typed_commented_and_used(name, cells):
    schema = read_schema(FOLDER / f"{name}.ipynb")
    used = {node.id for node in ast.walk(tree(cells)) if isinstance(node, ast.Name)}
    assert schema.keys() - used == set()
    for parameter in schema.values():
        assert parameter.help, f"{parameter.name} has no comment"
        assert "=" not in parameter.help, "papermill cannot read such a line"
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert is_parameters(code[0])


def test_papermill_finds_every_parameter(name):
    import papermill

    path = FOLDER / f"{name}.ipynb"
    inspected = papermill.inspect_notebook(str(path))
    assert list(inspected) == list(read_schema(path))


def test_defaults_have_the_type_they_are_annotated_with(name):
    for parameter in read_schema(FOLDER / f"{name}.ipynb").values():
        if not (parameter.takes_auto and parameter.default == "auto"):
            assert type(parameter.default).__name__ == parameter.type


def test_one_name_has_one_type_and_one_default_everywhere():
    found = {}
    for name in NAMES:
        for parameter in read_schema(FOLDER / f"{name}.ipynb").values():
            text = f"{parameter.type} = {parameter.default!r}"
            found.setdefault(parameter.name, set()).add(text)
    assert {name: texts for name, texts in found.items() if len(texts) > 1} == {}


def test_what_every_campaign_may_set_is_known():
    known = {key for name in NAMES for key in read_schema(FOLDER / f"{name}.ipynb")}
    assert known >= {
        "workflow",
        "run_dir",
        "images_dir",
        "telescope",
        "reference",
        "model",
        "seed",
        "interactive",
        "compute",
    }


def test_no_logic_is_in_a_notebook(cells):
    banned = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Try)
    found = [node for node in ast.walk(tree(cells)) if isinstance(node, banned)]
    assert [ast.unparse(node) for node in found] == []


def test_no_notebook_goes_through_files_or_calls_a_shell(cells):
    text = "\n".join(source(cell) for cell in code_cells(cells))
    assert re.findall(r"\.r?glob\(|os\.listdir|iterdir\(|os\.walk", text) == []
    assert re.findall(r"^\s*[!%]", text, re.MULTILINE) == []


def test_imports_stand_in_the_first_cells_behind_the_parameters(cells):
    holding = [
        bool(re.search(r"^\s*(import|from) ", source(cell), re.MULTILINE))
        for cell in code_cells(cells)
    ]
    assert holding[0]
    assert holding == sorted(holding, reverse=True)


def test_inputs_are_not_changed_by_running_a_cell_twice(cells):
    found = [
        ast.unparse(node)
        for node in ast.walk(tree(cells))
        if isinstance(node, ast.AugAssign)
    ]
    assert found == []


def test_code_cells_are_short(cells):
    long = {
        source(cell).splitlines()[0]: len(code_lines(cell))
        for cell in code_cells(cells)
        if len(code_lines(cell)) > (25 if is_list_or_figure(cell) else 15)
    }
    assert long == {}


def test_there_is_more_prose_than_code(cells):
    prose = " ".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    n_words = len(re.findall(r"[A-Za-z]{2,}", prose))
    n_lines = sum(len(code_lines(cell)) for cell in code_cells(cells))
    assert n_words >= 2 * n_lines


def test_every_figure_is_saved_under_the_number_of_its_notebook(name, cells):
    text = "\n".join(source(cell) for cell in code_cells(cells))
    figures = re.findall(r"save_figure\(\s*\w+,\s*\"([^\"]+)\"", text)
    assert len(figures) == text.count("save_figure(")
    assert [figure for figure in figures if figure[:3] != name[:3]] == []
    assert len(set(figures)) == len(figures)


def test_prose_promises_nothing(cells):
    prose = " ".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    found = re.findall(r"\b(simply|obviously|just|of course)\b", prose, re.IGNORECASE)
    assert found == []


def test_a_model_is_checked_before_its_card_makes_it_usable():
    cells = json.loads((FOLDER / "08_train.ipynb").read_text())["cells"]
    code = "\n".join(source(cell) for cell in code_cells(cells))
    assert 0 < code.index("check_better_than_chance(") < code.index("finish_card(")


def test_the_check_of_a_model_says_what_its_interval_leaves_out():
    cells = json.loads((FOLDER / "10_check_inference.ipynb").read_text())["cells"]
    prose = " ".join(source(cell) for cell in cells)
    assert "exposures differ among each other by more than it says" in prose


def test_each_room_imports_from_itself_and_the_rooms_above_alone():
    command = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_figures_of_a_notebook_have_the_same_caption(cells):
    saved = "\n".join(source(cell) for cell in code_cells(cells))
    names = re.findall(r'save_figure\([^"]*"([^"]+)"', saved)
    captions = {figure: markdown_near(cells, figure) for figure in names}
    assert "" not in captions.values()
    assert len(set(captions.values())) == len(captions), captions
