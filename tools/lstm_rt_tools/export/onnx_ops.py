"""Ops on features in ONNX's terms: a function each, in the table of all ops at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_rt.graph import Node

from .onnx_activations import activate
from .onnx_build import dtype_code
from .onnx_state import Export, Handler
from .onnx_time import REDUCTIONS, TIME_HANDLERS
from .onnx_windows import WINDOW_HANDLERS


def _embedding(e: Export, node: Node, x: list[str]) -> str:
    b, ids, (wanted,) = e.b, e.graph.values[node.inputs[0] or 0], x
    start, count = node.attrs["start"], node.attrs["count"] or max(ids.size, 1) - node.attrs["start"]
    if count < ids.size:
        wanted = b.add("Slice", wanted, b.ints(start), b.ints(start + count), b.ints(-1))
    y = b.add("Gather", b.constant(node.weights["table"], "weight"), wanted, axis=0)
    if not ids.size:
        return y
    return b.add("Reshape", y, b.ints(*[0] * (1 + ids.timed), count * node.weights["table"].shape[1]))


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


def _constant(e: Export, node: Node, x: list[str]) -> str:
    """The same vec in every row."""
    value = node.weights["value"]
    shape = e.b.add("Concat", e.rows(), e.b.ints(value.size), axis=0)
    return e.b.add("Expand", e.b.constant(value, "value"), shape)


def _gather(e: Export, node: Node, x: list[str]) -> str:
    return e.b.add("Gather", x[0], e.b.constant(node.weights["index"].astype(np.int64), "index"), axis=-1)


def _prelu(e: Export, node: Node, x: list[str]) -> str:
    return e.b.add("PRelu", x[0], e.b.constant(node.weights["alpha"], "slope"))


def _grouped(e: Export, node: Node, x: str, sizes: Sequence[int]) -> str:
    """The features as an array of these sizes."""
    timed = e.graph.values[node.inputs[0] or 0].kind == "seq"
    return e.b.add("Reshape", x, e.b.ints(*([0, 0] if timed else [0]), *sizes))


def _l2norm(e: Export, node: Node, x: list[str]) -> str:
    b, groups, size = e.b, node.attrs["groups"], e.size(node.inputs[0] or 0)
    parts = _grouped(e, node, x[0], (groups, size // groups)) if groups > 1 else x[0]
    length = b.add("Max", b.add("ReduceL2", parts, b.ints(-1)), b.number(node.attrs["eps"]))
    y = b.add("Div", parts, length)
    return _grouped(e, node, y, (size,)) if groups > 1 else y


def _groupnorm(e: Export, node: Node, x: list[str]) -> str:
    """Layer normalisation of each group, then the weights of all features."""
    b, groups, size = e.b, node.attrs["groups"], e.size(node.inputs[0] or 0)
    if groups == 1:
        return _layernorm(e, node, x)
    parts = _grouped(e, node, x[0], (groups, size // groups))
    ones = b.constant(np.ones(size // groups, np.float32), "ones")
    y = _grouped(e, node, b.add("LayerNormalization", parts, ones, axis=-1, epsilon=node.attrs["eps"]), (size,))
    if "gamma" in node.weights:
        y = b.add("Mul", y, b.constant(node.weights["gamma"], "weight"))
    return b.add("Add", y, b.constant(node.weights["beta"], "bias")) if "beta" in node.weights else y


def _reduce_features(e: Export, node: Node, x: list[str]) -> str:
    b, groups, size = e.b, node.attrs["groups"], e.size(node.inputs[0] or 0)
    op = REDUCTIONS[node.attrs["kind"]]
    if groups == 1:
        return b.add(op, x[0], b.ints(-1))
    return b.add(op, _grouped(e, node, x[0], (groups, size // groups)), b.ints(-1), keepdims=0)


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
    "sub": _plain("Sub"),
    "div": _plain("Div"),
    "maximum": _plain("Max"),
    "minimum": _plain("Min"),
    "pow": _plain("Pow"),
    "concat": _concat,
    "slice": _slice,
    "constant": _constant,
    "gather": _gather,
    "prelu": _prelu,
    "l2norm": _l2norm,
    "groupnorm": _groupnorm,
    "reduce_features": _reduce_features,
    **TIME_HANDLERS,
    **WINDOW_HANDLERS,
}
