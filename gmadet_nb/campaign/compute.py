"""One map over exposures: in this process or on local processes."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

from gmadet_nb.cores import available_cores
from gmadet_nb.errors import BadParameterError, GmadetError
from gmadet_nb.progress import progress

COMPUTE_CHOICES = ("processes", "serial")

# One process an exposure already fills the cores: threads would fight over them.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def map_exposures(
    function, items, *, compute="processes", n_workers=0, label="", **kwargs
):
    """Call a function of the package on each item and keep the input order.

    Worker processes are spawned, never forked: a fork after TensorFlow has
    started its threads hangs. So ``function`` must stand in a module of the
    package; one defined in a notebook cannot be found by the workers. An error
    of one item stops the map; a function turns what is wrong with one image
    into a row with a reason instead of raising.

    Parameters
    ----------
    function : callable
        ``function(item, **kwargs)`` gives a small record (dict, row, table)
        and writes its pixels to disk itself.
    items : iterable
        What to map over, such as the rows or ids of exposures.
    compute : {"processes", "serial"}
        On local processes, or one after the other in this one.
    n_workers : int
        Number of processes; 0 takes the cores that this process may use.
    label : str
        What is counted, for the progress lines.
    **kwargs
        Given to every call.

    Returns
    -------
    list
        One result an item, in the order of the items.

    Raises
    ------
    BadParameterError
        If ``compute`` is no known choice.
    GmadetError
        If a worker process died; else the error that the function raised.
    """
    if compute not in COMPUTE_CHOICES:
        raise BadParameterError(
            f"compute must be one of {', '.join(COMPUTE_CHOICES)}, got {compute!r}."
        )
    items = list(items)
    n_workers = min(n_workers or available_cores(), len(items))
    if compute == "serial" or n_workers < 2:
        return [function(item, **kwargs) for item in progress(items, label=label)]
    try:
        return _map_on_processes(function, items, n_workers, label, kwargs)
    except BrokenProcessPool as err:
        raise GmadetError(
            f"A worker process of {label or function.__name__!r} died or did not "
            f"start ({n_workers} at once; memory may have run out). Run again with "
            "compute: serial, which needs less memory and shows where it stops."
        ) from err


def _map_on_processes(function, items, n_workers, label, kwargs):
    """Map on spawned processes; results in the order of the items."""
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            n_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_end_with_the_parent,
        ) as executor,
    ):
        futures = [executor.submit(function, item, **kwargs) for item in items]
        try:
            for future in progress(
                as_completed(futures), total=len(futures), label=label
            ):
                future.result()
        except BaseException:
            executor.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]


@contextmanager
def _one_thread_each():
    """Set the thread counts that processes started inside inherit."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_the_parent():
    """Watch the parent process, so that no worker outlives a killed kernel."""
    parent = multiprocessing.parent_process()

    def watch():
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
