"""Measure the labelling grid in a real JupyterLab, and print the table with its goals.

A made-up run of 20,000 candidates is opened with 06_label in JupyterLab and driven in
a browser: with real keys, but for the burst, whose keys the page sends in one loop.
Times in the page go from the key (or the start of the cell) to the end of the frame
that shows what it did; those to the disk are of a thread that watches the label file.
The memory is the kernel's: how much it grew from before the cutout store was opened
until after the grid was used, beside that for 2,000 candidates.

    python -m benchmarks.label
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

from benchmarks import lab
from benchmarks.made_up import make_run
from benchmarks.tables import report, row
from benchmarks.watch import LineWatch

N_CANDIDATES, N_FEWER, N_PER_EXPOSURE = 20_000, 2_000, 1_000
N_TILES, N_KEYS, N_TURNS, N_BURST = 48, 40, 30, 2_000
SIZE = 32  # [pixel], side of a cutout
QUICK, PENSIVE = 100, 320  # [ms] between keys; in the second the surroundings are read
_RSS = (
    "__import__('gc').collect() * 0 + __import__('mmap').PAGESIZE * "
    "int(open('/proc/self/statm').read().split()[1])"
)
_PROBE = Path(__file__).with_name("probe.js").read_text()


def measure_acts(page, log_path):
    """Label in the grid that is open, by single keys and in a burst; return rows."""
    rows = []
    for name, pause in (("", QUICK), (", surroundings read", PENSIVE)):
        page.keyboard.press("n")
        page.wait_for_function("() => probe.keys.at(-1).turned")
        for what, times in press_keys(page, log_path, pause).items():
            goal = "< 50" if what == "paint" else "< 150"
            rows += _summary(f"key to {what}{name}", times, goal)
    return rows + burst(page, log_path)


def open_grid(page):
    """Run the notebook down to the grid.

    Returns
    -------
    first : float
        From the start of the grid's cell to its first page [ms].
    before : float
        Memory of the kernel before the store of cutouts was opened [MB].
    """
    page.evaluate(_PROBE)
    store, grid = lab.cell_with("CutoutStore("), lab.cell_with("show_labeler(\n")
    before = 0.0
    for index in range(grid):
        if index == store:
            before = _memory(page)
        lab.run_cell(page, index)
    lab.select_cell(page, grid)
    first = page.evaluate(f"() => probe.open({N_TILES})")
    page.evaluate("() => document.querySelector('.gnl').focus()")
    _wait_surroundings(page)
    return first, before


def turn_pages(page):
    """Return how long pages take to turn, one after the other [ms]."""
    for _ in range(N_TURNS):
        page.keyboard.press("n")
        page.wait_for_function("() => probe.keys.at(-1).turned")
        page.wait_for_timeout(QUICK)
    return [key["turned"] for key in _take_keys(page)]


def press_keys(page, log_path, pause):
    """Return how long it takes until labels are painted, on disk, and shown as saved.

    Returns
    -------
    dict
        Name -> list of times [ms].
    """
    watch = LineWatch(log_path)
    watch.start()
    _take_keys(page)
    for i in range(N_KEYS):
        page.keyboard.press("rbu"[i % 3])
        page.wait_for_timeout(pause)
    page.wait_for_function("() => probe.keys.every((key) => key.saved)")
    on_disk, keys = watch.stop(), _take_keys(page)
    if len(on_disk) != N_KEYS or not all(key["right"] for key in keys):
        raise RuntimeError(f"{N_KEYS} labels must be painted and on disk.")
    return {
        "paint": [key["painted"] for key in keys],
        "line on disk": [
            1000 * line - key["wall"] for line, key in zip(on_disk, keys, strict=True)
        ],
        "shown as saved": [key["saved"] for key in keys],
    }


def burst(page, log_path):
    """Label as fast as the page can, and hold the log against what was done."""
    n_before = len(log_path.read_text().splitlines())
    done = page.evaluate(f"() => probe.burst({N_BURST})")
    lines = [json.loads(line) for line in log_path.read_text().splitlines()]
    acts = [[line["candidate_id"], line["label"]] for line in lines[n_before:]]
    wanted = [[tile.removesuffix("#again"), label] for tile, label in done["acts"]]
    right = sum(act == want for act, want in zip(acts, wanted, strict=False))
    name = f"burst of {N_BURST}"
    return [
        row(f"{name}: lines in the log", len(acts), "", f"{N_BURST}"),
        row(f"{name}: lines in their place", right, "", f"{N_BURST}"),
        row(f"{name}: seconds until sent", done["sent"] / 1000, "s"),
        row(f"{name}: seconds until saved", done["saved"] / 1000, "s"),
    ]


def count_models(page, path):
    """Save the notebook and count the widgets that it holds then."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    widgets = nbformat.read(path, as_version=4).metadata.get("widgets", {})
    [state] = [part["state"] for part in widgets.values()]
    layouts = sum(one["model_name"] == "LayoutModel" for one in state.values())
    size = len(json.dumps(state)) / 1000
    return [
        row("widget models in the saved notebook", len(state) - layouts, "", "1"),
        row("their layouts", layouts, "", "1"),
        row("their state", size, "kB"),
    ]


def _wait_surroundings(page):
    """Wait until the frames of the candidate under the cursor have been read."""
    page.wait_for_function(
        """() => document.querySelector('.gnl-around-text').innerText.includes(
          document.querySelector('.gnl-cursor').dataset.id.slice(0, 8)) &&
          document.querySelector('.gnl-wider').naturalWidth"""
    )
    lab.wait_idle(page)


def _memory(page):
    return int(lab.ask_kernel(page, _RSS)) / 1e6


def _take_keys(page):
    return page.evaluate("() => probe.keys.splice(0)")


def _summary(name, times, goal):
    return [
        row(f"{name}: median", statistics.median(times), "ms", goal),
        row(f"{name}: longest", max(times), "ms"),
    ]


def measure(browser, address, folder, *, n, order, acts):
    """Measure one run in a notebook of its own.

    Returns
    -------
    rows : list of dict
    memory : float
        What the kernel took for the grid and its use [MB].
    """
    name = f"{order}_{n}"
    # The frames are as large with few candidates as with many.
    n_exposures = n // N_PER_EXPOSURE
    run = make_run(folder / name, n_candidates=n, n_exposures=n_exposures, size=SIZE)
    path = folder / f"{name}.ipynb"
    lab.copy_notebook(path, run_dir=str(run.root), labeler="anna", label_order=order)
    page = lab.open_notebook(browser, address(path.name))
    first, before = open_grid(page)
    of = f"{n} candidates, order {order}"
    rows = [row(f"{of}: first page after its cell starts", first, "ms", "< 1000")]
    rows += _summary(f"{of}: page turn", turn_pages(page), "< 150")
    _wait_surroundings(page)
    memory = _memory(page) - before
    rows.append(row(f"{of}: memory of the grid in the kernel", memory, "MB"))
    if acts:
        rows += measure_acts(page, run.label_path("anna")) + count_models(page, path)
    page.close()
    return rows, memory


def compare_memory(many, few):
    """Return what each further candidate takes, beside what its pixels would."""
    each = 1000 * (many - few) / (N_CANDIDATES - N_FEWER)
    pixels = 4 * 3 * SIZE**2 / 1000
    # A third of the pixels would mean that pixels are held.
    return [
        row("memory for each further candidate", each, "kB", f"< {pixels / 3:.2g}"),
        row("pixels of a candidate, not held", pixels, "kB"),
    ]


def main():
    """Measure all and print it."""
    with tempfile.TemporaryDirectory() as folder, lab.open_browser() as browser:
        folder = Path(folder)
        with lab.serve_lab(folder, save_widgets=True) as address:

            def go(n, order, acts=False):
                return measure(browser, address, folder, n=n, order=order, acts=acts)

            rows, many = go(N_CANDIDATES, "unlabeled", acts=True)
            rows += go(N_CANDIDATES, "random")[0]
            more, few = go(N_FEWER, "unlabeled")
    report("label", rows + more + compare_memory(many, few))
    return 0


if __name__ == "__main__":
    sys.exit(main())
