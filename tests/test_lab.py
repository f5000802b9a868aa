import json

import pytest
from fake_run import make_run

from benchmarks import lab as jupyter


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a small run and a copy of the notebook that reads it."""
    make_run(tmp_path / "run")
    jupyter.copy_notebook(
        tmp_path / "label.ipynb",
        run_dir=str(tmp_path / "run"),
        labeler="anna",
        grid_rows=2,
        grid_columns=4,
    )
    return tmp_path


@pytest.fixture
def page(folder, browser):
    """Open the notebook in JupyterLab, with no setting of this machine's user."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab")
    with jupyter.serve_lab(folder) as address:
        page = jupyter.open_notebook(browser, address("label.ipynb"))
        yield page
        page.close()


def lines_of(folder):
    path = folder / "run" / "labels" / "anna.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def cells_of(page):
    return page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
          (cell) => cell.model.sharedModel.getSource())"""
    )


def wait_saved(page):
    page.wait_for_function(
        """() => {
          const saved = document.querySelector('.gnl-saved');
          return saved.dataset.status === 'saved' &&
            !document.querySelector('.gnl-tile[data-status=waiting]');
        }"""
    )


def run_all(page):
    jupyter.command(page, "notebook:run-all-cells")
    page.wait_for_selector(".gnl-tile")
    jupyter.wait_idle(page)


# The event loop of the server's own libraries warns at its end in some versions.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_labelling_in_jupyterlab_saves_each_act_and_leaves_the_notebook_alone(
    page, folder
):
    run_all(page)
    assert page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0
    before = cells_of(page)

    tiles = page.locator(".gnl-tile")
    assert tiles.count() == 8
    ids = [tiles.nth(i).get_attribute("data-id") for i in range(8)]
    tiles.nth(0).click()  # real
    tiles.nth(0).click()  # bogus
    tiles.nth(2).click()  # real
    wait_saved(page)
    # The cursor stands on 2; b goes on to 3.
    for key in ["b", "x", "a", "d", "d", "0", "0", "ArrowRight", "u", "z", "r"]:
        page.keyboard.press(key)
    wait_saved(page)
    page.wait_for_timeout(500)

    acts = [(line["candidate_id"], line["label"]) for line in lines_of(folder)]
    assert acts == [
        (ids[0], "real"),
        (ids[0], "bogus"),
        (ids[2], "real"),
        (ids[2], "bogus"),
        (ids[4], "unsure"),
        (ids[4], None),
        (acts[-1][0], "real"),
    ]
    # x b a d d 0 0 cut, add, delete cells and restart the kernel when they get out.
    assert cells_of(page) == before
    assert page.locator(".jp-Dialog").count() == 0

    page.keyboard.press("n")
    page.wait_for_function("() => document.querySelector('.gnl').dataset.page === '1'")
    page.keyboard.press("p")
    page.wait_for_function("() => document.querySelector('.gnl').dataset.page === '0'")
    assert tiles.nth(0).get_attribute("data-label") == "bogus"
    page.locator(".gnl").scroll_into_view_if_needed()
    page.screenshot(path=folder / "light.png")
    jupyter.command(page, "apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "dark.png")


# The event loop of the server's own libraries warns at its end in some versions.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_grid_takes_the_focus_from_the_cell_that_was_run_and_from_no_editor(page):
    grid = jupyter.cell_with("show_labeler(\n")
    for index in range(grid):
        jupyter.run_cell(page, index)
    before = cells_of(page)
    # As with Shift-Enter in its cell: JupyterLab goes on to the next one.
    jupyter.select_cell(page, grid)
    jupyter.command(page, "notebook:run-cell-and-select-next")
    page.wait_for_selector(".gnl-tile")
    page.wait_for_function("() => document.activeElement.matches('.gnl')")
    jupyter.wait_idle(page)
    page.keyboard.press("u")
    wait_saved(page)
    assert "unsure 1" in page.locator(".gnl-counts").inner_text()

    # It is run again while somebody types into another cell.
    page.evaluate(
        """(index) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = index + 2;
          notebook.mode = 'edit';
        }""",
        grid,
    )
    page.wait_for_function("() => document.activeElement.matches('.cm-content')")
    page.evaluate(
        """(index) => {
          const {content, sessionContext} = window.jupyterapp.shell.currentWidget;
          const cell = content.widgets[index];
          document.querySelector('.gnl').remove();
          cell.constructor.execute(cell, sessionContext);
        }""",
        grid,
    )
    page.wait_for_selector(".gnl-tile")
    jupyter.wait_idle(page)
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.activeElement.matches('.cm-content')")
    page.keyboard.press("b")
    page.wait_for_timeout(300)
    assert "bogus 0" in page.locator(".gnl-counts").inner_text()
    after = cells_of(page)
    assert [i for i in range(len(after)) if after[i] != before[i]] == [grid + 2]

    # A click on what is no tile labels nothing, and the keys work.
    page.locator(".gnl-counts").click()
    page.keyboard.press("b")
    wait_saved(page)
    assert "bogus 1" in page.locator(".gnl-counts").inner_text()
    assert cells_of(page) == after

    # Its kernel is restarted: what to do is said at once.
    jupyter.command(page, "kernelmenu:restart")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(
        "document.querySelector('.gnl-saved').innerText.includes('kernel is gone')"
    )
    assert "Run the cells again" in page.locator(".gnl-advice").inner_text()
