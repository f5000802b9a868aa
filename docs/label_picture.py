"""Make the README's picture of the label grid from the run of the demo.

Run it from the repository after ``make demo``: ``python docs/label_picture.py``. It
needs Chromium; the labels it gives are those of a copy of the run.
"""

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
CHROMIUM = "/usr/bin/chromium"
# Cursor and keys: enough labels of each kind to be seen.
KEYS = "rbbrb" + "bub" + "brbbb"


def photograph(address, path):
    """Label some candidates of a served run and photograph the grid."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 660})
        page.goto(address, wait_until="domcontentloaded", timeout=120_000)
        page.wait_for_selector(".gnl-tile", timeout=120_000)
        page.locator(".gnl").focus()
        for key in KEYS:
            page.keyboard.press(key)
        page.wait_for_selector(".gnl-wider", timeout=60_000)
        # On to one that was seen in several exposures.
        for _ in range(12):
            page.wait_for_timeout(1000)
            if page.locator(".gnl-light svg").count():
                break
            page.keyboard.press("ArrowRight")
        page.locator(".gnl").screenshot(path=path)
        browser.close()


def main():
    """Serve a copy of the demo's run, photograph it, end."""
    with tempfile.TemporaryDirectory() as folder:
        run = shutil.copytree(DOCS.parent / "runs" / "demo", Path(folder) / "run")
        command = ["gmadet-nb", "label", str(run), "--no-browser", "--labeler", "anna"]
        command += ["--set", "label_order=threshold", "--set", "grid_rows=4"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
            try:
                for line in served.stdout:
                    if found := re.search(r"http://\S+", line):
                        time.sleep(1)
                        photograph(found[0], DOCS / "labels.png")
                        break
            finally:
                served.terminate()


if __name__ == "__main__":
    main()
