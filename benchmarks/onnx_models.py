"""Workloads as ONNX models of plain LSTM and GRU nodes, time-major, with every shape fixed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from workloads import Array, Workload, reorder_gates

#: Blocks of PyTorch's rows (i f g o, r z n) in the order of ONNX (i o f c, z r h).
GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
STATES = {"lstm": ("h", "c"), "gru": ("h",)}
_OPSET, _IR_VERSION = 17, 8


def state_names(w: Workload) -> list[str]:
    """State inputs of a stateful workload; their outputs are called the same with ``_out``."""
    return [f"{s}{layer}" for layer in range(w.layers) for s in STATES[w.cell]] if w.stateful else []


def output_name(w: Workload) -> str:
    """The output with the results: ``(1, N, H)`` when stateful, otherwise ``(T, directions, N, H)``."""
    return f"h{w.layers - 1}_out" if w.stateful else f"y{w.layers - 1}"


def build(w: Workload) -> bytes:
    """The serialised model: input ``x`` ``(T, N, F)``, states ``(1, N, H)``."""
    x = _info("x", (w.steps, w.batch, w.inputs))
    states = [_info(name, (1, w.batch, w.hidden)) for name in state_names(w)]
    outputs = [_info(name + "_out", (1, w.batch, w.hidden)) for name in state_names(w)]
    if not w.stateful:
        outputs = [_info(output_name(w), (w.steps, w.directions, w.batch, w.hidden))]
    nodes, tensors = _stateful_layers(w) if w.stateful else _sequence_layers(w)
    graph = helper.make_graph(nodes, w.name, [x, *states], outputs, tensors)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    checker.check_model(model)
    return _with_int8(model) if w.dtype == "int8" else bytes(model.SerializeToString())


def _with_int8(model: Any) -> bytes:
    """As ONNX Runtime's tool makes it, with a scale per channel.

    For ``amp`` that is more accurate than one scale for all, and for the others much the same.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QInt8)
        return path.read_bytes()


def _info(name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _sequence_layers(w: Workload) -> tuple[list[Any], list[Any]]:
    nodes: list[Any] = []
    tensors: list[Any] = []
    value = "x"
    for layer in range(w.layers):
        tensors += _weights(w, layer)
        nodes.append(_node(w, layer, value, [], [f"y{layer}"]))
        value = f"y{layer}"
        if layer + 1 < w.layers:
            nodes += _join_directions(w, value, f"x{layer + 1}")
            tensors.append(numpy_helper.from_array(np.array([w.steps, w.batch, w.outputs]), f"x{layer + 1}_shape"))
            value = f"x{layer + 1}"
    return nodes, tensors


def _join_directions(w: Workload, y: str, x: str) -> list[Any]:
    """``(T, directions, N, H)`` to ``(T, N, directions * H)``; only a new shape with one direction."""
    if not w.bidirectional:
        return [helper.make_node("Reshape", [y, x + "_shape"], [x])]
    swap = helper.make_node("Transpose", [y], [y + "_swapped"], perm=[0, 2, 1, 3])
    return [swap, helper.make_node("Reshape", [y + "_swapped", x + "_shape"], [x])]


def _stateful_layers(w: Workload) -> tuple[list[Any], list[Any]]:
    """One step: the new ``h`` of a layer, ``(1, N, H)``, is the next one's sequence as it stands."""
    nodes: list[Any] = []
    tensors: list[Any] = []
    value = "x"
    for layer in range(w.layers):
        states = [f"{s}{layer}" for s in STATES[w.cell]]
        tensors += _weights(w, layer)
        nodes.append(_node(w, layer, value, states, ["", *(s + "_out" for s in states)]))
        value = f"h{layer}_out"
    return nodes, tensors


def _node(w: Workload, layer: int, x: str, states: list[str], outputs: list[str]) -> Any:
    options: dict[str, Any] = {"hidden_size": w.hidden}
    if w.bidirectional:
        options["direction"] = "bidirectional"
    if w.cell == "gru":
        options["linear_before_reset"] = 1
    inputs = [x, f"w{layer}", f"r{layer}", f"b{layer}"] + (["", *states] if states else [])
    return helper.make_node(w.cell.upper(), inputs, outputs, **options)


def _weights(w: Workload, layer: int) -> list[Any]:
    """The tensors W, R and B of a layer: directions first, both biases in one row."""
    given = w.weights()
    suffixes = [suffix for at, suffix in w.parts() if at == layer]

    def stack(kind: str) -> Array:
        return np.stack([reorder_gates(given[f"{kind}_l{layer}{s}"], GATE_ORDER[w.cell]) for s in suffixes])

    biases = np.concatenate([stack("bias_ih"), stack("bias_hh")], axis=1)
    arrays = {"w": stack("weight_ih"), "r": stack("weight_hh"), "b": biases}
    return [numpy_helper.from_array(a, f"{name}{layer}") for name, a in arrays.items()]
