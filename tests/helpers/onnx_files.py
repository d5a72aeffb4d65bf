"""ONNX models for tests: made by onnx.helper, run by the reader's source, by onnxruntime and by onnx's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools.onnx_reader.model import open_model
from lstm_rt_tools.onnx_reader.source import OnnxSource
from lstm_rt_tools.program.machine import Machine
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

Array = NDArray[Any]
NARROWED = ("float64", "float16", "bfloat16")


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """A node; ``domain`` and ``name`` are among the attributes that the helper takes."""
    return helper.make_node(op, inputs, outputs, **attributes)


def graph(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[Any] | tuple[Any, Sequence[Any]]],
    outputs: Sequence[str],
    weights: Mapping[str, Array] | None = None,
    name: str = "g",
) -> Any:
    """A graph; ``inputs`` gives shapes (of floats), or types and shapes."""
    infos = []
    for key, given in inputs.items():
        code, shape = given if isinstance(given, tuple) else (TensorProto.FLOAT, given)
        infos.append(helper.make_tensor_value_info(key, code, shape))
    out = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    for info in out:
        info.type.Clear()
    stored = [numpy_helper.from_array(np.asarray(w), key) for key, w in (weights or {}).items()]
    return helper.make_graph(list(nodes), name, infos, out, stored)


def model(g: Any, opset: int = 17, functions: Sequence[Any] = (), **domains: int) -> Any:
    """A model of a graph; other domains and their versions by keyword, dots as underscores."""
    sets = [helper.make_opsetid("", opset)]
    sets += [helper.make_opsetid(d.replace("_", "."), v) for d, v in domains.items()]
    return helper.make_model(g, opset_imports=sets, functions=list(functions), ir_version=min(10, 8 + (opset > 18)))


def source_of(made: Any, folder: Path, name: str = "m.onnx") -> OnnxSource:
    """The reader's source of a model, through a file."""
    path = folder / name
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return OnnxSource(open_model(path))


def feed(machine: Machine, value: Any, known: bool = False) -> Any:
    """An input as the machine has it: floats are float32; of a list a sequence."""
    if isinstance(value, list):
        return [feed(machine, v, known) for v in value]
    array = np.asarray(value)
    if array.dtype == object:  # a tensor of a type that NumPy has not
        array = numpy_helper.to_array(value)
        array = array.astype(np.int8 if array.dtype.name == "int4" else np.uint8)
    array = array.astype(np.float32) if array.dtype.name in NARROWED else array
    return machine.constant(array) if known else machine.input(array)


def run(source: OnnxSource, arrays: Sequence[Any], known: bool = False) -> list[Array]:
    """The outputs of a source, in numbers."""
    machine = Machine()
    return [t.data for t in source.run(machine, [feed(machine, a, known) for a in arrays])]


def onnxruntime_run(made: Any, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs of onnxruntime, without its optimizations."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = made if isinstance(made, bytes) else made.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))
