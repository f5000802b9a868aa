import os
from pathlib import Path

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).resolve().parents[1]


def test_a_kernel_of_the_lab_starts_in_the_repository(tmp_path):
    startup = ROOT / "gmadet_nb/campaign/lab_startup.py"
    environment = os.environ | {"PYTHONSTARTUP": str(startup)}
    manager, client = start_new_kernel(cwd=str(tmp_path), env=environment)
    printed = []
    try:
        client.execute_interactive(
            "import os as o; print(o.getcwd(), 'os' in globals())",
            output_hook=lambda message: printed.append(message["content"].get("text")),
            timeout=60,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert f"{ROOT} False\n" in printed
