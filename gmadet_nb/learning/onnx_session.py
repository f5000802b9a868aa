"""Open and run an ONNX file: the only module that knows ONNX Runtime."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gmadet_nb.cores import available_cores
from gmadet_nb.errors import BadInputError

# Rows of one run on one core: what the layers hand on stays in its cache.
CHUNK = 64


def open_session(path):
    """Open an ONNX file in ONNX Runtime, on the CPU.

    Raises
    ------
    BadInputError
        If it cannot be read.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise BadInputError(
            "Scoring needs onnxruntime: python -m pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    # Cores share the rows (see `run_session`), not the work of each layer, where
    # they wait for each other, and do so without rest.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Its errors have no base of their own.
    errors = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except errors as error:
        raise BadInputError(
            f"'{path}' cannot be loaded: {error}. Run 08_train again."
        ) from error


def run_session(session, values):
    """Return the first output for an input of any number of rows, on all cores.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        From `open_session`; of one input, whose rows do not depend on each other.
    values : (n, ...) float32 array
        The input.

    Returns
    -------
    (n, ...) array
    """
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(some):
        return session.run([output], {name: some})[0]

    if len(values) <= CHUNK:
        return run(values)
    chunks = [values[i : i + CHUNK] for i in range(0, len(values), CHUNK)]
    with ThreadPoolExecutor(available_cores()) as pool:
        return np.concatenate(list(pool.map(run, chunks)))
