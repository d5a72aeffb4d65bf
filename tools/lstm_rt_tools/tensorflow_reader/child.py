"""The process in which TensorFlow loads a SavedModel and tf2onnx makes ONNX of it, within limits of its own."""

from __future__ import annotations

import importlib
import json
import runpy
import sys


def main(given: str) -> None:
    """Make the ONNX file.

    Args:
        given: JSON of ``arguments`` for ``tf2onnx.convert``, and the ``seconds`` of processor time and the ``memory``
            in bytes that it may take.
    """
    options = json.loads(given)
    if sys.platform.startswith("linux"):
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_DATA, (options["memory"], options["memory"]))
    if sys.platform != "win32":
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_CPU, (options["seconds"], options["seconds"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = ["tf2onnx.convert", *options["arguments"]]
    runpy.run_module("tf2onnx.convert", run_name="__main__", alter_sys=True)
