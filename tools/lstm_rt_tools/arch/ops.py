"""What the layers of an architecture file become: a row for each op that it may name.

Ops that graphs have by the same name draw on ``lstm_rt/ops.py``: their attributes are options here, and a mask
that they may read is the option ``mask``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt._core import MAX_PARTS
from lstm_rt.errors import ConvertError
from lstm_rt.graph import ACTIVATIONS, NOT_ELEMENTWISE, Activation, Array
from lstm_rt.ops import OPS, Op

from .cells import CELL_OPTIONS, add_cell
from .layers import add_stack, count_directions, count_layers, side_by_side
from .row import Layer, Row
from .tables import optional
from .windows import WINDOW_ROWS, per_channel

if TYPE_CHECKING:
    from .build import Builder

# PyTorch's defaults.
_NORM_EPS = 1e-5  #: LayerNorm, BatchNorm and GroupNorm
_L2_EPS = 1e-12  #: functional.normalize


# -- layers with weights -------------------------------------------------------------------------


def _embedding(b: Builder, layer: Layer) -> int:
    return b.graph.embedding(b.input_of(layer), b.take(layer, "weight"))


def _recurrent(b: Builder, layer: Layer) -> int:
    op = layer.table["op"]
    activations = (layer.required("nonlinearity", str),) if op == "rnn" else None
    x = b.input_of(layer)
    if any(key in layer.table for key in (*CELL_OPTIONS, "reset_after")):
        stack = add_cell(b, layer, x, activations)
    else:
        prefix = b.prefix(layer)
        sizes = count_layers(b.weights, prefix), count_directions(b.weights, prefix)
        states = {k: b.states(layer, k, *sizes) for k in ("h0", "c0") if k in layer.table}
        stack = add_stack(b.graph, op, x, b.weights, prefix, activations=activations, **states)
    name = layer.optional("name", str)
    for letter, values in (("h", stack.h), ("c", stack.c)) if name else ():
        for k, value in enumerate(values):
            b.name(layer.what, f"{name}.{letter}.{k}", value)
        if values:
            b.name(layer.what, f"{name}.{letter}", values[-1])
    return stack.seq


def _dense(b: Builder, layer: Layer) -> int:
    act = _activation(layer, layer.optional("activation", str, "linear"))
    if "weights" in layer.table:
        if own := [key for key in _DENSE_ALONE if key in layer.table]:
            raise ConvertError(f"{layer.what}: {own[0]} is for a product without weights = a prefix")
        return b.graph.dense(b.input_of(layer), b.take(layer, "weight"), b.maybe(layer, "bias"), act)
    weight = b.option(layer, "weight")
    bias = b.option(layer, "bias").ravel() if "bias" in layer.table else None
    if layer.optional("transpose", bool, False):
        weight = np.ascontiguousarray(weight.T)
    return b.graph.dense(b.input_of(layer), weight, bias, act)


def _layernorm(b: Builder, layer: Layer) -> int:
    eps = layer.optional("eps", float, _NORM_EPS)
    return b.graph.layernorm(b.input_of(layer), b.maybe(layer, "weight"), b.maybe(layer, "bias"), eps)


def _groupnorm(b: Builder, layer: Layer) -> int:
    eps, groups = layer.optional("eps", float, _NORM_EPS), layer.required("groups", int)
    return b.graph.groupnorm(b.input_of(layer), b.maybe(layer, "weight"), b.maybe(layer, "bias"), eps, groups)


def _batchnorm(b: Builder, layer: Layer) -> int:
    x = b.input_of(layer)
    mean, var = (per_channel(b, layer, x, b.take(layer, n)) for n in ("running_mean", "running_var"))
    gamma, beta = (b.maybe(layer, n) for n in ("weight", "bias"))
    gamma, beta = (None if w is None else per_channel(b, layer, x, w) for w in (gamma, beta))
    return b.graph.batchnorm(x, mean, var, gamma, beta, layer.optional("eps", float, _NORM_EPS))


def _prelu(b: Builder, layer: Layer) -> int:
    x = b.input_of(layer)
    alpha = b.take(layer, "weight")
    if alpha.size == 1:
        alpha = np.broadcast_to(alpha.ravel(), (b.graph.values[x].size,))
    return b.graph.prelu(x, per_channel(b, layer, x, alpha))


def _multihead(b: Builder, layer: Layer) -> int:
    """``nn.MultiheadAttention``: three products, attention, and one more."""
    names = layer.inputs() if "inputs" in layer.table else []
    if len(names) not in (0, 3):
        raise ConvertError(f"{layer.what}: {len(names)} inputs, expected 3: query, key and value")
    values = [b.ref(layer.what, n) for n in names] or [b.input_of(layer)] * 3
    heads, out = layer.required("heads", int), b.take(layer, "out_proj.weight")
    packed = b.maybe(layer, "in_proj_weight")
    weights = [b.take(layer, f"{n}_proj_weight") for n in "qkv"] if packed is None else np.array_split(packed, 3)
    bias = b.maybe(layer, "in_proj_bias")
    biases = [None] * 3 if bias is None else np.array_split(bias, 3)
    q, k, v = (b.graph.dense(x, w, c) for x, w, c in zip(values, weights, biases, strict=True))
    if heads < 1 or len(out) % heads:
        raise ConvertError(f"{layer.what}: heads is {heads}, expected a divisor of {len(out)}, the number of features")
    y, scores = b.graph.attention(
        q, k, v, heads=heads, scale=(len(out) // heads) ** -0.5, causal=layer.optional("causal", bool, False),
        mask=_mask(b, layer), whole=layer.optional("whole", bool, False),
    )  # fmt: skip
    _name_weights(b, layer, scores)
    return b.graph.dense(y, out, b.maybe(layer, "out_proj.bias"))


# -- layers without weights ----------------------------------------------------------------------


def _attention(b: Builder, layer: Layer) -> int:
    values = [b.ref(layer.what, n) for n in layer.inputs()]
    if len(values) != 3:
        raise ConvertError(f"{layer.what}: {len(values)} inputs, expected 3: query, key and value")
    options = _attributes(layer, OPS["attention"])
    if "weight" in layer.table:
        options["weight"] = b.numbers(layer, "weight", b.graph.values[values[0]].size, 1)
    q, k, v = values
    y, scores = b.graph.attention(q, k, v, mask=_mask(b, layer), **options)
    _name_weights(b, layer, scores)
    return y


def _name_weights(b: Builder, layer: Layer, scores: int | None) -> None:
    name = layer.optional("name", str)
    if name and scores is not None:
        b.name(layer.what, f"{name}.weights", scores)


def _activation(layer: Layer, name: str) -> Activation:
    return Activation(name, layer.optional("alpha", float), layer.optional("beta", float))


def _activate(b: Builder, layer: Layer) -> int:
    return b.graph.activation(b.input_of(layer), _activation(layer, layer.table["op"]))


def _select(b: Builder, layer: Layer, index: int) -> int:
    return b.graph.select(b.input_of(layer), index)


def _l2norm(b: Builder, layer: Layer) -> int:
    groups = layer.optional("groups", int, 1)
    return b.graph.l2norm(b.input_of(layer), layer.optional("eps", float, _L2_EPS), groups)


def _gather(b: Builder, layer: Layer) -> int:
    return b.graph.gather(b.input_of(layer), np.array(layer.integers("index"), np.int64))


def _constant(b: Builder, layer: Layer) -> int:
    return b.graph.constant(b.option(layer, "value").ravel())


def _repeat(b: Builder, layer: Layer) -> int:
    """Each step several times; or a vec at every step of a sequence."""
    x = b.input_of(layer)
    if "like" not in layer.table:
        return b.graph.node("repeat", x, times=layer.required("times", int))
    if "times" in layer.table:
        raise ConvertError(f"{layer.what}: times is for the steps of a sequence, like for a vec: one of the two")
    return b.graph.node("repeat", x, times=0, axis=_axis_like(b, layer))


def _axis_like(b: Builder, layer: Layer) -> int:
    like = b.graph.values[b.ref(layer.what, layer.required("like", str))]
    if like.axis < 0:
        raise ConvertError(f"{layer.what}: like = {layer.table['like']!r} has no steps")
    return like.axis


def _align(b: Builder, layer: Layer) -> int:
    return b.graph.align(b.input_of(layer), _axis_like(b, layer))


def _cut(b: Builder, layer: Layer) -> int:
    return b.graph.cut(b.input_of(layer), _axis_like(b, layer))


def _normalize(b: Builder, layer: Layer) -> int:
    """One batchnorm: its mean and scale."""
    x = b.input_of(layer)
    size = b.graph.values[x].size
    mean, std, gain, bias = (
        b.numbers(layer, key, size, default) for key, default in (("mean", 0), ("std", 1), ("gain", 1), ("bias", 0))
    )
    std = std.astype(np.float64) + layer.optional("eps", float, 0.0)
    if not np.all(std):
        raise ConvertError(f"{layer.what}: std holds 0, by which nothing can be divided; eps is added to it")
    return _scaled(b, x, gain / std, bias, mean)


def _scaled(b: Builder, x: int, gain: Any, bias: Any, mean: Any = 0.0) -> int:
    """``(x - mean) * gain + bias``."""
    ones = np.ones(b.graph.values[x].size, np.float32)
    mean, gain, bias = (np.float32(ones * n) for n in (mean, gain, bias))
    return b.graph.batchnorm(x, mean, ones, gain, bias, 0.0)


#: Of an op of a value and constant numbers: the gain and the bias that it is, by the constant and its place.
_AFFINE: dict[tuple[str, int], Callable[[Array], tuple[Any, Any]]] = {
    **dict.fromkeys([("add", 0), ("add", 1)], lambda n: (1.0, n)),
    **dict.fromkeys([("mul", 0), ("mul", 1)], lambda n: (n, 0.0)),
    ("sub", 1): lambda n: (1.0, -n),
    ("sub", 0): lambda n: (-1.0, n),
    ("div", 1): lambda n: (1 / n.astype(np.float64), 0.0),
}


def _combine(op: Op) -> Callable[[Builder, Layer], int]:
    """Several values, among which may be arrays of the file: those are constants."""

    def build(b: Builder, layer: Layer) -> int:
        names = layer.inputs()
        known = [b.values.get(n) for n in names]
        if all(v is None for v in known):
            b.ref(layer.what, names[0] if names else None)
        first = next(v for v in known if v is not None)
        arrays = {i: b.array(layer.what, n) for i, (n, v) in enumerate(zip(names, known, strict=True)) if v is None}
        if len(names) == 2 and len(arrays) == 1:
            ((at, numbers),) = arrays.items()
            affine = _AFFINE.get((op.name, at))
            if affine and (op.name != "div" or np.all(numbers)):
                gain, bias = affine(b.sized(layer.what, names[at], numbers, b.graph.values[first].size))
                return _scaled(b, first, gain, bias)
        values = [b.graph.constant(arrays[i].ravel()) if v is None else v for i, v in enumerate(known)]
        return _node(b, layer, op, *values)

    return build


def _plain(op: Op) -> Callable[[Builder, Layer], int]:
    return lambda b, layer: _node(b, layer, op, b.input_of(layer))


def _node(b: Builder, layer: Layer, op: Op, *values: int) -> int:
    if op.name == "concat" and len(values) > MAX_PARTS:
        return side_by_side(b.graph, values)
    masks = [_mask(b, layer)] if any(i.name == "mask" and i.optional for i in op.inputs) else []
    return b.graph.node(op.name, *values, *masks, **_attributes(layer, op))


def _attributes(layer: Layer, op: Op) -> dict[str, Any]:
    given = {a.name: optional(layer.what, layer.table, a.name, a.python) for a in op.attrs}
    missing = next((a for a in op.attrs if given[a.name] is None and a.default is None), None)
    if missing is not None:
        layer.required(missing.name, missing.python)
    return {name: value for name, value in given.items() if value is not None}


def _mask(b: Builder, layer: Layer) -> int | None:
    return b.ref(layer.what, layer.table["mask"]) if "mask" in layer.table else None


def _plain_row(op: Op) -> Row:
    needed = [i for i in op.inputs if not i.optional]
    many = op.many or len(needed) > 1
    options = [*(["inputs"] if many else []), *(["mask"] if len(needed) < len(op.inputs) else [])]
    options += [a.name for a in op.attrs]
    return Row(tuple(options), _combine(op) if many else _plain(op), many, keeps=op.broadcasts or op.alike)


# -- the table -----------------------------------------------------------------------------------

_RECURRENT = ("weights", "h0", "c0", *CELL_OPTIONS)
_DENSE_ALONE = ("weight", "bias", "transpose")
_ACT = ("activation", "alpha", "beta")
_HEADS = ("inputs", "mask", "heads", "causal", "whole")
_OWN: dict[str, Row] = {
    "embedding": Row(("weights",), _embedding),
    "lstm": Row(_RECURRENT, _recurrent, instead=CELL_OPTIONS),
    "gru": Row(("weights", "h0", *CELL_OPTIONS, "reset_after"), _recurrent, instead=CELL_OPTIONS),
    "rnn": Row(("weights", "h0", "nonlinearity", *CELL_OPTIONS), _recurrent, instead=CELL_OPTIONS),
    "dense": Row(("weights", *_ACT, *_DENSE_ALONE), _dense, instead=("weight",)),
    "layernorm": Row(("weights", "eps"), _layernorm),
    "groupnorm": Row(("weights", "eps", "groups"), _groupnorm),
    "batchnorm": Row(("weights", "eps"), _batchnorm, keeps=True),
    "prelu": Row(("weights",), _prelu, keeps=True),
    "multihead": Row(("weights", *_HEADS), _multihead),
    "attention": Row((*_HEADS, "kv_heads", "kind", "scale", "weight"), _attention, many=True),
    "normalize": Row(("mean", "std", "gain", "bias", "eps"), _normalize, keeps=True),
    "l2norm": Row(("eps", "groups"), _l2norm),
    "gather": Row(("index",), _gather),
    "repeat": Row(("times", "like"), _repeat),
    "align": Row(("like",), _align),
    "cut": Row(("like",), _cut),
    "constant": Row(("value",), _constant, many=True),
    "first": Row((), lambda b, layer: _select(b, layer, 0)),
    "last": Row((), lambda b, layer: _select(b, layer, -1)),
    **WINDOW_ROWS,
}
#: Ops that graphs have, and architecture files call otherwise or know nothing of.
_ELSEWHERE = ("select", "activation", "convlstm")
ROWS: dict[str, Row] = {
    **_OWN,
    **{n: _plain_row(op) for n, op in OPS.items() if n not in _OWN and n not in _ELSEWHERE},
    **{n: Row(("alpha", "beta"), _activate, keeps=n not in NOT_ELEMENTWISE) for n in ACTIVATIONS},
}
