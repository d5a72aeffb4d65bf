"""ONNX files for the table of readers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular
from lstm_rt.graph import Graph

from ..judges import testdata
from ..names import listed, shown
from ..row import Options, Rerun
from .from_onnx import from_onnx


def read(path: Path, options: Options) -> Graph:
    """The graph of a model."""
    return from_onnx(path, options.settings)


def rerun(path: Path, graph: Graph, options: Options) -> Rerun:
    """The model, run by onnxruntime."""
    read_regular(path)  # what is no regular file is refused before a library opens it
    ort: Any = importlib.import_module("onnxruntime")
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        feeds, inputs = _feeds(session.get_inputs(), graph)
        names = [graph.values[o].name for o in graph.outputs]
        theirs = {o.name for o in session.get_outputs()}
        if missing := [n for n in names if n not in theirs]:
            raise ConvertError(f"{path} has no outputs {listed(missing, 5)}, which the model has")
        outputs = [np.asarray(y, np.float32) for y in session.run(names, feeds)]
    except ConvertError:
        raise
    except Exception as e:  # onnxruntime raises classes of its own, and others
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ConvertError(f"onnxruntime {ort.__version__} cannot run {path}: {shown(first, 300)}") from e
    return Rerun(f"{path.name} run by onnxruntime {ort.__version__}", inputs, outputs)


_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def _feeds(theirs: list[Any], graph: Graph) -> tuple[dict[str, NDArray[Any]], list[NDArray[Any]]]:
    """Arrays for the session, and those of them that the graph has: of the sizes that the model fixes."""
    values = {graph.values[v].name: graph.values[v] for v in graph.inputs}
    if missing := values.keys() - {i.name for i in theirs}:
        raise ConvertError(f"the file has no inputs {listed(sorted(missing), 5)}, which the model has")
    batch, steps = testdata.ROWS, testdata.usual_steps(graph)
    for given in theirs:
        value = values.get(given.name)
        for size, place in zip(given.shape, value.shape("N", "T") if value else (), strict=False):
            if isinstance(size, int) and place == "N":
                batch = size
            elif isinstance(size, int) and place == "T" and value:
                steps[value.axis] = size
    inputs = testdata.make_inputs(graph, batch, steps, seed=1, full_lengths=False)
    made = dict(zip(values, inputs, strict=True))
    named = {d: n for i in theirs if i.name in made for d, n in zip(i.shape, made[i.name].shape, strict=False)}
    settings = graph.meta.get("settings", {})
    made |= {name: np.asarray(value) for name, value in settings.items() if isinstance(value, int)}
    return {i.name: _array(i, made.get(i.name), named) for i in theirs}, inputs


def _array(given: Any, array: NDArray[Any] | None, named: dict[Any, int]) -> NDArray[Any]:
    """An array of the declared type; zeros for an input that the graph does not have."""
    dtype = _TYPES.get(given.type)
    if dtype is None:
        raise ConvertError(f"input {shown(given.name)} is a {given.type}, which is not supported")
    if array is None:
        array = np.zeros([d if isinstance(d, int) else named.get(d, 1) for d in given.shape])
    return array.astype(dtype)
