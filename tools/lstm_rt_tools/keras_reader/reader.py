"""Keras's files for the table of readers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular
from lstm_rt.graph import Graph

from ..arch import MAX_ARCH
from ..judges import testdata
from ..row import Options, Rerun
from . import live
from .from_keras import from_keras


def read(path: Path, options: Options) -> Graph:
    """The graph of a model, or of weights with their architecture."""
    return from_keras(path, options.arch)


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """The model, run live by Keras."""
    arch = None if options.arch is None else read_regular(options.arch, MAX_ARCH)
    keras = importlib.import_module("keras")
    try:
        model = _load(keras, path, arch)
    except Exception as e:  # Keras raises whatever its layers raise
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ConvertError(f"Keras {keras.__version__} cannot load {path}: {first}") from e
    inputs, outputs = live.run_made_up(model, graph, testdata.ROWS, testdata.STEPS, seed=1)
    what = f"{path.name} run live by Keras {keras.__version__} ({keras.config.backend()} backend)"
    return Rerun(what, inputs, outputs)


def _load(keras: Any, path: Path, arch: bytes | None) -> Any:
    if arch is None:
        return keras.models.load_model(path, compile=False)
    model = keras.models.model_from_json(arch.decode())
    model.load_weights(path)
    return model
