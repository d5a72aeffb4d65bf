"""ONNX models run by onnxruntime: for comparisons, where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

_QUIET = 4  #: it warns of models that are as they should be


def run_onnx(model: bytes, inputs: Mapping[str, NDArray[Any]]) -> tuple[str, list[NDArray[Any]]]:
    """What ran, in words, and the outputs, on one thread of the CPU.

    Raises:
        ImportError: onnxruntime is not installed.
        Exception: it does not run the model; its exceptions have no class of their own.
    """
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {ort.__version__}", session.run(None, dict(inputs))
