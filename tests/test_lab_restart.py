import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import lab as jupyter
from benchmarks.made_up import make_run

ROWS, COLUMNS = 2, 4


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a run that has frames, and a copy of the notebook."""
    make_run(tmp_path / "run", n_candidates=40, n_exposures=4)
    jupyter.copy_notebook(
        tmp_path / "label.ipynb",
        run_dir=str(tmp_path / "run"),
        labeler="anna",
        grid_rows=ROWS,
        grid_columns=COLUMNS,
        # From a seed: the tiles stand in the same places after a restart.
        label_order="random",
    )
    return tmp_path


@pytest.fixture
def page(folder, browser):
    pytest.importorskip("jupyterlab", reason="no JupyterLab")
    with jupyter.serve_lab(folder) as address:
        page = jupyter.open_notebook(browser, address("label.ipynb"))
        yield page
        page.close()


class Grid:
    """What a person does in the grid, with an account of what the log must hold."""

    def __init__(self, page, folder):
        self.page, self._path = page, folder / "run" / "labels" / "anna.jsonl"
        self.acts = []

    def wait(self):
        """Wait for the grid and note which candidates its tiles show."""
        self.page.wait_for_selector(".gnl-tile")
        jupyter.wait_idle(self.page)
        self.tiles = self.page.locator(".gnl-tile")
        self.ids = [
            self.tiles.nth(i).get_attribute("data-id") for i in range(ROWS * COLUMNS)
        ]

    def press(self, *acts):
        """Press keys: each with the tile and the label that it must give, or None."""
        for key, act in acts:
            self.page.keyboard.press(key)
            if act is not None:
                self.acts.append((self.ids[act[0]], act[1]))

    def wait_saved(self):
        self.page.wait_for_function(
            """() => document.querySelector('.gnl-saved').dataset.status === 'saved' &&
              !document.querySelector('.gnl-tile[data-status=waiting]')"""
        )

    def click(self, tile, label):
        self.wait_saved()  # keys after an undo wait for it, clicks do not
        self.tiles.nth(tile).click()
        self.acts.append((self.ids[tile], label))

    def drag(self, first, last, label):
        """Drag from one tile of a row to another."""
        self.wait_saved()
        self.tiles.nth(last).scroll_into_view_if_needed()
        boxes = [self.tiles.nth(i).bounding_box() for i in range(first, last + 1)]
        middles = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes]
        self.page.mouse.move(*middles[0])
        self.page.mouse.down()
        for place in middles[1:]:
            self.page.mouse.move(*place, steps=8)
        self.page.mouse.up()
        self.acts += [(self.ids[i], label) for i in range(first, last + 1)]

    def check(self, labels):
        """Hold the log against all that was done, and the tiles against labels."""
        self.wait_saved()
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        assert [(line["candidate_id"], line["label"]) for line in lines] == self.acts
        shown = [
            self.tiles.nth(i).get_attribute("data-label")
            for i in range(len(self.ids))
            if self.tiles.nth(i).get_attribute("data-origin") != "auto"
        ]
        assert [label for label in shown if label] == labels

    def picture(self, path):
        """Return a photograph of the grid, its cursor on the first tile."""
        self.page.locator(".gnl").focus()
        self.page.keyboard.press("Home")
        self.page.mouse.move(0, 0)
        png = self.page.locator(".gnl-grid").screenshot(path=path)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


# The event loop of the server's own libraries warns at its end in some versions.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_labels_and_undo_outlive_the_page_and_the_kernel(page, folder):
    grid = Grid(page, folder)
    jupyter.command(page, "notebook:run-all-cells")
    grid.wait()
    before = grid.ids
    grid.click(0, "real")
    grid.click(0, "bogus")
    # A key moves on to the next tile, an undo back to its own.
    grid.press(("ArrowRight", None), ("b", (1, "bogus")), ("u", (2, "unsure")))
    grid.press(("z", (2, None)), ("r", (2, "real")))
    grid.drag(4, 6, "real")
    grid.check(["bogus", "bogus", "real", "real", "real", "real"])

    # The page goes, the kernel stays.
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload(wait_until="domcontentloaded")
    jupyter.wait_ready(page)
    grid.wait()
    assert grid.ids == before
    grid.click(7, "real")
    grid.press(("b", (7, "bogus")), ("z", (7, "real")), ("z", (7, None)))
    grid.press(("ArrowLeft", None), ("u", (6, "unsure")))
    labels = ["bogus", "bogus", "real", "real", "real", "unsure"]
    grid.check(labels)
    old = grid.picture(folder / "before.png")

    # The kernel goes, too.
    jupyter.command(page, "notebook:restart-run-all")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_selector(".gnl-tile", state="detached")
    grid.wait()
    assert grid.ids == before
    grid.check(labels)
    new = grid.picture(folder / "after.png")
    assert new.shape == old.shape
    assert (abs(new - old).max(axis=2) > 16).mean() < 0.001

    # What was said before the restart is taken back, last first.
    grid.click(3, "real")
    grid.press(("z", (3, None)), ("z", (6, "real")))
    # One undo for the drag; the cursor goes back to where it began.
    grid.press(("z", (6, None)))
    grid.acts += [(grid.ids[5], None), (grid.ids[4], None)]
    grid.press(("b", (4, "bogus")))
    grid.check(["bogus", "bogus", "real", "bogus"])
    # What surrounds the one under the cursor has come from the new kernel.
    page.wait_for_selector(".gnl-below[data-around=new] .gnl-light svg")
    page.locator(".gnl").screenshot(path=folder / "end.png")
