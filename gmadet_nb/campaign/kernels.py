"""Run one notebook through papermill, with its lines on the terminal."""

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill import execute_notebook
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from gmadet_nb.cores import available_cores
from gmadet_nb.errors import StageError

# TensorFlow's remarks on itself, which no setting of its own keeps back.
_NOISE = re.compile(r"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl")


class _KernelManager(AsyncKernelManager):
    """Start kernels that hold the run's lock as long as they live."""

    lock_fd = remarks = None

    async def start_kernel(self, **kwargs):
        # What cells print comes by messages; the rest is the kernel's own remarks.
        kwargs |= {"stdout": self.remarks, "stderr": self.remarks}
        await super().start_kernel(pass_fds=(self.lock_fd,), **kwargs)


class _Lines:
    """Write what cells print to the terminal, each line with its stage in front."""

    def __init__(self, prefix, echo):
        self.prefix, self.echo, self._rest = prefix, echo, ""

    def write(self, text):
        *lines, self._rest = (self._rest + text.replace("\r", "\n")).split("\n")
        for line in lines:
            if line.strip() and not _NOISE.match(line):
                self.echo(f"{self.prefix} | {line.rstrip()}")

    def flush(self):
        """Nothing to do: a line is written when it ends."""

    def close(self):
        self.write("\n")


def run_notebook(notebook, output, parameters, *, lock_fd, echo):
    """Run a notebook to its last cell and keep the executed copy.

    Parameters
    ----------
    notebook : Path
        The notebook; it is not changed.
    output : Path
        Where the executed copy goes once every cell has completed. That of a
        notebook that stopped gets ``.failed`` into its name.
    parameters : dict
        Values of its parameters.
    lock_fd : int
        File descriptor that the kernel keeps open.
    echo : callable
        Takes each line that a cell prints.

    Raises
    ------
    StageError
        If a code cell did not complete.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    running = output.with_name(f".{output.stem}.running.ipynb")
    lines = _Lines(output.stem, echo)
    try:
        with (
            _kernel_environment() as runtime,
            (runtime / "kernel.log").open("wb") as remarks,
        ):
            held = {"lock_fd": lock_fd, "remarks": remarks}
            manager = type("Manager", (_KernelManager,), held)
            executed = execute_notebook(
                _no_braces(notebook),
                _no_braces(running),
                parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stdout_file=lines,
                stderr_file=lines,
                kernel_manager_class=manager,
                config=_connection(runtime),
            )
        _check_all_completed(executed)
        nbformat.write(_without_remarks(executed), running)
        os.replace(running, output)
    except (PapermillExecutionError, DeadKernelError, _EndedEarlyError) as error:
        os.replace(running, failed)
        raise StageError(
            f"{output.stem} stopped {_what_happened(error)}\n"
            f"The executed copy is {failed}. What finished before is kept; the same "
            "command goes on from here."
        ) from None
    finally:
        lines.close()
        running.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)


def _without_remarks(notebook):
    """Take TensorFlow's remarks on itself out of what the cells of a notebook wrote."""
    for cell in notebook.cells:
        for out in cell.get("outputs", []):
            if out.output_type == "stream":
                lines = out.text.splitlines(keepends=True)
                out.text = "".join(line for line in lines if not _NOISE.match(line))
        if "outputs" in cell:
            cell.outputs = [out for out in cell.outputs if out.get("text", " ")]
    return notebook


class _EndedEarlyError(Exception):
    """A cell ended the notebook without an error, as sys.exit(0) does."""


def _check_all_completed(executed):
    """Raise unless every code cell ran to its end; papermill forgives sys.exit(0)."""
    for cell in executed.cells:
        status = cell.metadata.get("papermill", {}).get("status")
        has_error = any(out.output_type == "error" for out in cell.get("outputs", []))
        if cell.cell_type == "code" and (has_error or status != "completed"):
            raise _EndedEarlyError(_where(cell.execution_count, cell.source))


def _what_happened(error):
    """Say where and why a notebook stopped."""
    if isinstance(error, PapermillExecutionError):
        where = _where(error.exec_count, error.source)
        return f"{where}: {error.ename}: {' '.join(error.evalue.split())}"
    if isinstance(error, _EndedEarlyError):
        return f"{error}: that cell ended the notebook before its last cell."
    return (
        "since its kernel died, most often because memory ran out. Try compute: serial."
    )


def _where(count, source):
    first = next((line for line in source.splitlines() if line.strip()), "")
    return f"in cell [{count}] ({first.strip()})"


def _no_braces(path):
    # papermill formats paths with the parameters.
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _kernel_environment():
    """Set what kernels inherit; give a folder for sockets and a log."""
    cores = str(available_cores())
    wanted = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", cores),
        "TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", cores),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "JPY_SESSION_NAME": None,
    }
    # Socket paths must be short, and a home folder may be read-only or remote.
    with tempfile.TemporaryDirectory(prefix="gmadet_nb") as runtime:
        wanted |= {"JUPYTER_RUNTIME_DIR": runtime}
        before = {name: os.environ.get(name) for name in wanted}
        _set_environment(wanted)
        try:
            yield Path(runtime)
        finally:
            _set_environment(before)


def _connection(runtime):
    """Connect by sockets of this machine: no port that another run may take."""
    # By default they would lie in the current folder, named alike for every run.
    place = {
        "ip": str(runtime / "kernel"),
        "connection_file": str(runtime / "kernel.json"),
    }
    return Config({"KernelManager": {"transport": "ipc", **place}})


def _set_environment(values):
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
