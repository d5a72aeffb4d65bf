"""All ops but the recurrent ones in ONNX's terms: a function each, in the table at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from lstm_rt.graph import Node
from lstm_rt.ops import MAX_STEPS

from .onnx_activations import activate
from .onnx_build import END, dtype_code
from .onnx_state import Export

#: Writes the nodes of one node of the graph, given the names of what it reads; gives the name of its output.
Handler: TypeAlias = Callable[[Export, Node, list[str]], str]


def _embedding(e: Export, node: Node, x: list[str]) -> str:
    return e.b.add("Gather", e.b.constant(node.weights["table"], "weight"), x[0], axis=0)


def _mask_ids(e: Export, node: Node, x: list[str]) -> str:
    value = e.b.constant(np.int32(node.attrs["value"]), f"id_{node.attrs['value']}")
    return e.b.add("Not", e.b.add("Equal", x[0], value))


def _mask_values(e: Export, node: Node, x: list[str]) -> str:
    b = e.b
    differs = b.add("Not", b.add("Equal", x[0], b.number(node.attrs["value"])))
    most = b.add("ReduceMax", b.add("Cast", differs, to=dtype_code(np.float32)), b.ints(-1), keepdims=0)
    return b.add("Cast", most, to=dtype_code(np.bool_))


def _apply_mask(e: Export, node: Node, x: list[str]) -> str:
    return e.b.add("Where", e.b.add("Unsqueeze", x[1], e.b.ints(-1)), x[0], e.b.number(0.0))


def _dense(e: Export, node: Node, x: list[str]) -> str:
    b = e.b
    y = b.add("MatMul", x[0], b.transposed(node.weights["weight"], "weight"))
    if "bias" in node.weights:
        y = b.add("Add", y, b.constant(node.weights["bias"], "bias"))
    return activate(b, y, node.attrs["activation"])


def _activation(e: Export, node: Node, x: list[str]) -> str:
    return activate(e.b, x[0], node.attrs["activation"])


def _layernorm(e: Export, node: Node, x: list[str]) -> str:
    (value,) = (o for o in node.outputs if o is not None)
    size = e.graph.values[value].size
    gamma = node.weights.get("gamma", np.ones(size, np.float32))
    parts = [e.b.constant(gamma, "weight")]
    if "beta" in node.weights:
        parts.append(e.b.constant(node.weights["beta"], "bias"))
    return e.b.add("LayerNormalization", x[0], *parts, axis=-1, epsilon=node.attrs["eps"])


def _batchnorm(e: Export, node: Node, x: list[str]) -> str:
    """ONNX has the features in the second place."""
    b, mean = e.b, node.weights["mean"]
    gamma, beta = node.weights.get("gamma", np.ones_like(mean)), node.weights.get("beta", np.zeros_like(mean))
    named = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": node.weights["var"]}
    constants = [b.constant(array, name) for name, array in named.items()]
    timed = e.graph.values[node.inputs[0] or 0].kind == "seq"
    first = b.add("Transpose", x[0], perm=[0, 2, 1]) if timed else x[0]
    y = b.add("BatchNormalization", first, *constants, epsilon=node.attrs["eps"])
    return b.add("Transpose", y, perm=[0, 2, 1]) if timed else y


def _plain(op: str) -> Handler:
    return lambda e, node, x: e.b.add(op, *x)


def _concat(e: Export, node: Node, x: list[str]) -> str:
    return e.b.add("Concat", *x, axis=-1)


def _slice(e: Export, node: Node, x: list[str]) -> str:
    start, size = node.attrs["start"], node.attrs["size"]
    return e.b.add("Slice", x[0], e.b.ints(start), e.b.ints(start + size), e.b.ints(-1))


def _select(e: Export, node: Node, x: list[str]) -> str:
    """Rows without a valid step give zero."""
    b, value = e.b, node.inputs[0] or 0
    axis, index = e.axis(value), node.attrs["index"]
    if not e.axes.has_lengths(axis):
        return b.add("Gather", x[0], b.constant(np.int64(index), "last" if index else "first"), axis=0)
    steps = x[0] if index == 0 else _turned(e, axis, x[0])
    y = b.add("Gather", steps, b.constant(np.int64(0), "first"), axis=0)
    if e.zero_after_end(value):
        return y
    some = b.add("Greater", e.axes.lengths(axis), b.constant(np.int32(0), "none"))
    return b.add("Where", b.add("Unsqueeze", some, b.ints(1)), y, b.number(0.0))


def _reverse(e: Export, node: Node, x: list[str]) -> str:
    b, value = e.b, node.inputs[0] or 0
    axis = e.axis(value)
    if not e.axes.has_lengths(axis):
        return b.add("Slice", x[0], b.ints(-1), b.ints(-END), b.ints(0), b.ints(-1))
    y = _turned(e, axis, x[0])
    clean = e.zero_after_end(value)
    e.note_zero_after_end(node)
    return y if clean else b.add("Where", e.axes.valid(axis), y, b.number(0.0))


def _turned(e: Export, axis: int, x: str) -> str:
    """Each row backwards within its valid steps; later steps stay."""
    lengths = e.b.add("Cast", e.axes.lengths(axis), to=dtype_code(np.int64))
    return e.b.add("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)


def _take(e: Export, node: Node, x: list[str]) -> str:
    b, start, stride = e.b, node.attrs["start"], node.attrs["stride"]
    (value,) = (o for o in node.outputs if o is not None)
    rule = e.graph.axes[e.axis(value)]
    drop = stride - 1 - start - rule.add
    y = b.add("Slice", x[0], b.ints(start), b.ints(-drop if drop else END), b.ints(0), b.ints(stride))
    return y if rule.cap == MAX_STEPS else b.add("Slice", y, b.ints(0), b.ints(rule.cap), b.ints(0))


def _repeat(e: Export, node: Node, x: list[str]) -> str:
    b, times = e.b, node.attrs["times"]
    (value,) = (o for o in node.outputs if o is not None)
    if not times:
        one, count = (
            b.add("Unsqueeze", x[0], b.ints(0)),
            b.add("Concat", e.axes.steps(e.axis(value)), b.ints(1, 1), axis=0),
        )
        return b.add("Expand", one, count)
    several = b.add("Tile", b.add("Unsqueeze", x[0], b.ints(1)), b.ints(1, times, 1, 1))
    return b.add("Reshape", several, b.add("Concat", b.ints(-1), b.add("Shape", x[0], start=1), axis=0))


HANDLERS: dict[str, Handler] = {
    "embedding": _embedding,
    "mask_ids": _mask_ids,
    "mask_values": _mask_values,
    "apply_mask": _apply_mask,
    "dense": _dense,
    "activation": _activation,
    "layernorm": _layernorm,
    "batchnorm": _batchnorm,
    "add": _plain("Add"),
    "mul": _plain("Mul"),
    "average": _plain("Mean"),
    "concat": _concat,
    "slice": _slice,
    "select": _select,
    "reverse": _reverse,
    "take": _take,
    "repeat": _repeat,
}
