"""Keras's files for the table of readers."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular
from lstm_rt.graph import Graph

from ..arch import MAX_ARCH
from ..judges import testdata
from ..row import Options, Rerun
from ..weights.budget import Budget
from ..weights.hdf5_child import HDF5_MAGIC
from ..weights.hdf5_files import Hdf5Group, open_hdf5
from ..weights.zip_archive import ZIP_MAGIC, ZipArchive
from . import live
from .from_keras import from_keras


def read(path: Path, options: Options) -> Graph:
    """The graph of a model, or of weights with their architecture."""
    return from_keras(path, options.arch)


_ROOT = "model.weights.h5"
_TRAINING = ("optimizer", "optimizer_weights", "_optimizer")  #: groups of what only training needs
_MAX_DEPTH = 100


def weights(path: Path) -> list[dict[str, Any]]:
    """The datasets of a file but those of its optimizer; none where they cannot be read."""
    try:
        data = read_regular(path)
        budget = Budget(len(data), path.name)
        inner: bytes | memoryview = data
        if data.startswith(ZIP_MAGIC):
            inner = ZipArchive(data, path.name, budget).read(_ROOT)
        if bytes(inner[:8]) != HDF5_MAGIC:
            return []
        with open_hdf5(io.BytesIO(inner), path.name, budget) as h5:
            return list(_datasets(h5, "", budget))
    except (ConvertError, OSError):
        return []


def _datasets(group: Hdf5Group, label: str, budget: Budget) -> Iterator[dict[str, Any]]:
    if label.count("/") > _MAX_DEPTH:
        raise ConvertError(f"groups are nested more than {_MAX_DEPTH} deep")
    for name in group:
        place = f"{label}/{name}".lstrip("/")
        budget.memory(2 * len(place) + 500, "the names of its weights")
        if place in _TRAINING:
            continue
        below = group.group(name)
        if below is not None:
            yield from _datasets(below, place, budget)
        else:
            array = group.array(name, place)
            yield {"name": place, "shape": list(array.shape), "dtype": array.dtype.name}


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
