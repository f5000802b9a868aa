"""Open an ONNX file: the only module that knows ONNX Runtime."""

from gmadet_nb.errors import BadInputError

N_THREADS = 2


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
    options.intra_op_num_threads = N_THREADS
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
