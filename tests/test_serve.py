import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fake_run import make_run

from gmadet_nb.campaign.cli import main
from gmadet_nb.campaign.plan import open_campaign, write_resolved
from gmadet_nb.campaign.serve import _describe_choices, free_port
from gmadet_nb.errors import BadInputError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def run(tmp_path):
    """Make a small run with the parameters of a campaign."""
    run = make_run(tmp_path / "run")
    run.params_path.write_text("grid_rows: 2\ngrid_columns: 4\nrepeat_fraction: 0.0\n")
    return run


def heed_interrupts():
    """Take Ctrl-C again: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def taken():
    """Take a port, as another server would, and return its number."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def address(run, tmp_path, taken):
    """Serve the run and return the address that the command opens in the browser."""
    pytest.importorskip("voila", reason="no voila")
    code = "import sys; from gmadet_nb.campaign.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "label", str(run.root)]
    command += ["--labeler", "anna", "--port", str(taken)]
    opened, opener = tmp_path / "opened", tmp_path / "opener"
    opener.write_text(f"#!/bin/sh\necho $1 > {opened}\n")
    opener.chmod(0o755)
    log = tmp_path / "served.log"
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    env = os.environ | {name: str(tmp_path / name) for name in names}
    env["BROWSER"] = str(opener)
    # The kernels start elsewhere, and shall import this very package.
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    with open(log, "wb") as file:
        server = subprocess.Popen(
            command, stdout=file, stderr=file, env=env, preexec_fn=heed_interrupts
        )
    try:
        end = time.monotonic() + 120
        while not opened.exists() or "http" not in opened.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, "the page was not served"
            time.sleep(0.3)
        address = opened.read_text().strip()
        assert address in log.read_text()
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


@pytest.fixture
def page(address, browser):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(address, wait_until="domcontentloaded", timeout=180_000)
    page.wait_for_selector(".gnl-tile", timeout=180_000)
    yield page
    page.close()


def test_page_is_the_grid_alone_in_the_browser_s_own_colours(address, browser, run):
    page = browser.new_page(
        viewport={"width": 1600, "height": 900}, color_scheme="dark"
    )
    elsewhere = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(address, wait_until="domcontentloaded", timeout=180_000)
    page.wait_for_selector(".gnl-tile", timeout=180_000)
    # Keys work without a click, and nothing stands above the grid.
    page.wait_for_function("() => document.activeElement.matches('.gnl')")
    assert page.locator(".gnl").bounding_box()["y"] == 0
    assert "Label the candidates" not in page.locator("body").inner_text()
    assert "tiles on" not in page.locator("body").inner_text()
    ground, text = page.locator(".gnl").evaluate(
        """(grid) => ['backgroundColor', 'color'].map(
          (name) => parseInt(getComputedStyle(grid)[name].match(/[0-9]+/)[0]))"""
    )
    assert ground < 50 < 200 < text
    hosts = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
    assert [url for url in elsewhere if not url.startswith(hosts)] == []

    # What goes wrong is shown.
    run.table_path("candidates").unlink()
    page.reload(wait_until="domcontentloaded", timeout=180_000)
    error = page.get_by_text("candidates.ecsv").first
    error.wait_for(timeout=180_000)
    assert error.is_visible()
    page.close()


def wait_for_label(page, index, label):
    page.wait_for_function(
        """([index, label]) => {
          const tile = document.querySelectorAll('.gnl-tile')[index];
          return tile?.dataset.label === label && tile.dataset.status === 'saved';
        }""",
        arg=[index, label],
        timeout=60_000,
    )


# Sends code to the kernel of the page, then a question that a kernel answers.
SEND_CODE = """(code) => new Promise((resolve, reject) => {
  const config = JSON.parse(
    document.getElementById('jupyter-config-data').textContent);
  const socket = new WebSocket(
    `ws://${location.host}/api/kernels/${config.kernelId}/channels?session_id=s`);
  const message = (type, content) => JSON.stringify({
    channel: 'shell', content, metadata: {}, parent_header: {}, buffers: [],
    header: { msg_id: type, msg_type: type, username: '', session: 's',
              date: new Date().toISOString(), version: '5.3' } });
  socket.onerror = () => reject('no socket');
  socket.onmessage = (event) => {
    if (JSON.parse(event.data).header.msg_type === 'kernel_info_reply') resolve();
  };
  socket.onopen = () => {
    socket.send(message('execute_request', { code, silent: false }));
    socket.send(message('kernel_info_request', {}));
  };
})"""


def test_page_of_its_own_keeps_labels_over_a_reload_and_runs_no_code(
    page, run, tmp_path
):
    tiles = page.locator(".gnl-tile")
    assert tiles.count() == 8
    ids = [tiles.nth(i).get_attribute("data-id") for i in range(8)]
    tiles.nth(0).click()
    page.keyboard.press("u")
    wait_for_label(page, 0, "unsure")
    # Who is asked whether to leave, and stays, goes on with the same kernel.
    asked = []
    page.once("dialog", lambda box: (asked.append(box.type), box.dismiss()))
    page.evaluate(
        """() => {
          document.querySelector('.gnl').dispatchEvent(
            new KeyboardEvent('keydown', { key: 'b', cancelable: true }));
          location.reload();
        }"""
    )
    wait_for_label(page, 1, "bogus")
    assert asked == ["beforeunload"]

    page.reload(wait_until="domcontentloaded", timeout=180_000)
    page.wait_for_selector(".gnl-tile", timeout=180_000)
    # What anna has labelled comes last now; undo goes on where she was.
    assert "2 by anna" in page.locator(".gnl-counts").inner_text()
    page.locator(".gnl").focus()
    page.keyboard.press("z")
    page.wait_for_function(
        "document.querySelector('.gnl-saved').innerText.includes('took back')",
        timeout=60_000,
    )
    lines = [
        json.loads(line) for line in run.label_path("anna").read_text().split("\n")[:-1]
    ]
    assert [(line["candidate_id"], line["label"]) for line in lines] == [
        (ids[0], "real"),
        (ids[0], "unsure"),
        (ids[1], "bogus"),
        (ids[1], None),
    ]

    stolen = tmp_path / "stolen"
    page.evaluate(SEND_CODE, f"open({str(stolen)!r}, 'w').write('x')")
    assert not stolen.exists()
    # What the server itself has to say, when a page goes, is none of anna's business.
    assert (tmp_path / "served.log").read_text().splitlines()[2:] == [
        'anna labels: label_order "auto", blind false, all candidates.',
        "--set NAME=VALUE changes these, for that call only.",
        "Ctrl-C ends it; every label is on disk as soon as it is shown.",
    ]


def test_page_asks_for_its_token(address, taken):
    without = address.split("?")[0]
    # The port asked for is taken by another: the one that is said is one after it.
    assert without.startswith("http://127.0.0.1:")
    assert 0 < int(without.rstrip("/").rsplit(":")[-1]) - taken < 50
    with urllib.request.urlopen(without, timeout=30) as answer:
        text = answer.read().decode()
    assert 'name="password"' in text
    assert "Label the candidates" not in text
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(without + "voila/files/06_label.ipynb", timeout=30)


def test_run_without_cutouts_is_no_run_to_label(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert main(["label", str(tmp_path), "--no-browser"]) == 1
    assert "Run 04_cutouts" in capsys.readouterr().err


@pytest.fixture
def served(monkeypatch):
    """Serve nothing, and return the list of what would have been served."""
    campaigns = []
    monkeypatch.setattr(
        "gmadet_nb.campaign.serve.serve_labels",
        lambda campaign, **choices: campaigns.append(campaign),
    )
    return campaigns


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("run_dir=elsewhere", "run_dir is the run folder that the command names"),
        ("epochs=3", "epochs is no parameter of 06_label"),
        ("show_labels=reel", """such as --set 'show_labels=["real"]'"""),
    ],
)
def test_parameter_that_changes_nothing_on_the_page_is_refused(
    run, served, assignment, message, capsys
):
    assert main(["label", str(run.root), "--set", assignment]) == 2
    assert message in capsys.readouterr().err
    assert not served
    assert main(["label", str(run.root), "--set", "label_order=random"]) == 0
    assert served[0].parameters["06_label"]["label_order"] == "random"


@pytest.mark.parametrize(
    ("line", "more", "wanted"),
    [
        ("", [], "score"),
        ("label_order: query", [], "query"),
        ("label_order: unlabeled", [], "unlabeled"),
        ("label_order: query", ["--set", "label_order=random"], "random"),
    ],
)
def test_best_of_a_new_night_come_first_unless_another_order_is_named(
    run, served, tmp_path, line, more, wanted
):
    params = tmp_path / "night.yaml"
    text = f"workflow: apply\nmodel: m\nrun_dir: {run.root}\n{line}\n"
    params.write_text(text)
    # What the campaign file says, a run writes into its folder.
    write_resolved(open_campaign(params))
    assert main(["label", str(run.root), *more]) == 0
    assert served[0].parameters["06_label"]["label_order"] == wanted
    said = _describe_choices(served[0], "anna")
    assert f'label_order "{wanted}"' in said


def test_order_of_a_run_that_trains_is_not_that_of_a_new_night(run, served):
    assert main(["label", str(run.root)]) == 0
    assert served[0].parameters["06_label"]["label_order"] == "auto"


def test_name_that_is_no_labeler_s_is_refused_before_serving(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["label", str(run.root), "--no-browser", "--labeler", "../x"])
    assert "A labeler must be letters" in capsys.readouterr().err


def test_port_that_is_taken_is_passed_by_and_none_free_is_said(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
        monkeypatch.setattr("gmadet_nb.campaign.serve._N_PORTS", 1)
        with pytest.raises(BadInputError, match=f"of {port} to {port} must be free"):
            free_port(port)
    assert free_port(port) == port
    assert 1024 <= free_port(0) <= 65535


@pytest.mark.parametrize("port", ["80", "65536", "-1", "1e4"])
def test_port_that_nobody_may_take_is_refused(run, port, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["label", str(run.root), "--no-browser", "--port", port])
    assert "must be 1024 to 65535, or 0 for any" in capsys.readouterr().err
