"""JupyterLab and a browser to drive it, for the benchmark of the grid and its tests.

The server has no setting of this machine's user, a port and a token of its own, and the
browser is Debian's chromium through Playwright.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "06_label.ipynb"
LIMIT = 180  # [s] for each step: a machine that has just started is slow
_SETTINGS = {
    # A news pop-up would lie over the page.
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/notebook-extension/tracker": {"autoStartDefaultKernel": True},
}
_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}
_READY = """async () => {
  const widget = window.jupyterapp.shell.currentWidget;
  await widget.context.ready;
  await widget.sessionContext.ready;
}"""
_IDLE = """() => {
  const c = window.jupyterapp.shell.currentWidget.sessionContext;
  return c.session?.kernel?.status === 'idle' && c.kernelDisplayName;
}"""
_ASK = """async (expression) => {
  const c = window.jupyterapp.shell.currentWidget.sessionContext;
  const asked = c.session.kernel.requestExecute({
    code: '', silent: true, store_history: false, user_expressions: {it: expression}});
  return (await asked.done).content.user_expressions.it.data['text/plain'];
}"""


def copy_notebook(path, **parameters):
    """Write a copy of 06_label with other values at the end of its parameters."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = [f"{name} = {value!r}" for name, value in parameters.items()]
            cell.source = "\n".join([cell.source, *lines])
    nbformat.write(notebook, path)


def cell_with(text):
    """Return the place of the first code cell of 06_label that holds a text."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return next(
        i
        for i, cell in enumerate(cells)
        if cell.cell_type == "code" and text in cell.source
    )


@contextmanager
def serve_lab(folder, *, save_widgets=False):
    """Start JupyterLab on a folder; give what makes an address of a notebook's name.

    ``save_widgets`` saves the state of widgets into notebooks, which is off elsewhere.
    """
    config = folder / "config"
    manager = {"@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True}}
    for name, content in (_SETTINGS | (manager if save_widgets else {})).items():
        path = config / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    env = os.environ | {key: str(config / name) for key, name in _FOLDERS.items()}
    # Its kernels import the package that stands beside this file.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, root = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        *("-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        "--allow-root",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _wait_for_server(f"{root}/api/status?token={token}", server)
        yield lambda name: f"{root}/lab/tree/{name}?reset&token={token}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for_server(url, server):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise RuntimeError("JupyterLab must start; see server.log in its folder.")


@contextmanager
def open_browser():
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=CHROMIUM_FLAGS
        )
        try:
            yield browser
        finally:
            browser.close()


def open_notebook(browser, url):
    """Open a notebook in JupyterLab and wait until its kernel is there."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(1000 * LIMIT)
    page.goto(url, wait_until="domcontentloaded")
    wait_ready(page)
    return page


def wait_ready(page):
    """Wait until the notebook is on the page and its kernel has nothing to do."""
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget")
    page.evaluate(_READY)
    wait_idle(page)


def wait_idle(page):
    """Wait until the kernel has nothing to do."""
    page.wait_for_function(_IDLE)


def command(page, name, **options):
    """Run a command of JupyterLab without waiting for its end."""
    # Braces: the promise of a run that waits for a dialog would never come back.
    page.evaluate(
        "([name, options]) => { window.jupyterapp.commands.execute(name, options); }",
        [name, options],
    )


def select_cell(page, index):
    """Make a cell the active one; a click in an output makes its own cell that."""
    page.evaluate(
        """(index) => {
          window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }""",
        index,
    )


def ask_kernel(page, expression):
    """Return what an expression is in the notebook's kernel, as text."""
    return page.evaluate(_ASK, expression)


def run_cell(page, index):
    """Run a cell and wait for its end."""
    select_cell(page, index)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
