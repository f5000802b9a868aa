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
from pathlib import Path

import nbformat
import pytest
from fake_run import make_run

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
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "06_label.ipynb"
SETTINGS = {
    # A news pop-up would lie over the page.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"autoStartDefaultKernel": True},
}


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a small run and a copy of the notebook that reads it."""
    make_run(tmp_path / "run")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += (
                f'\nrun_dir = "{tmp_path / "run"}"\nlabeler = "anna"\n'
                "grid_rows, grid_columns = 2, 4"
            )
    nbformat.write(notebook, tmp_path / "label.ipynb")
    return tmp_path


@pytest.fixture
def lab(folder):
    """Start JupyterLab on the folder, with no setting of this machine's user."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab")
    config = folder / "config"
    for name, content in SETTINGS.items():
        path = config / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    env = os.environ | {key: str(config / name) for key, name in names.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
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
        wait_for_server(f"http://127.0.0.1:{port}/api/status?token={token}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/label.ipynb?reset&token={token}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for_server(url, server, *, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    pytest.fail("JupyterLab did not start.")


@pytest.fixture
def page(lab):
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=CHROMIUM_FLAGS
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(lab, wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget")
        page.evaluate(
            """async () => {
              const widget = window.jupyterapp.shell.currentWidget;
              await widget.context.ready;
              await widget.sessionContext.ready;
            }"""
        )
        page.wait_for_function(
            """() => {
              const c = window.jupyterapp.shell.currentWidget.sessionContext;
              return c.session?.kernel?.status === 'idle' && c.kernelDisplayName;
            }""",
            timeout=60_000,
        )
        yield page
        browser.close()


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
        }""",
        timeout=20_000,
    )


# The event loop of the server's own libraries warns at its end in some versions.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_labelling_in_jupyterlab_saves_each_act_and_leaves_the_notebook_alone(
    page, folder
):
    # Braces: the promise of a run that waits for a dialog would never come back.
    page.evaluate(
        "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
    )
    page.wait_for_selector(".gnl-tile", timeout=90_000)
    page.wait_for_function(
        """() => {
          const k = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          return k.status === 'idle';
        }""",
        timeout=90_000,
    )
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
        (ids[3], None),
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
    page.evaluate(
        """() => { window.jupyterapp.commands.execute('apputils:change-theme',
          {theme: 'JupyterLab Dark'}); }"""
    )
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "dark.png")
