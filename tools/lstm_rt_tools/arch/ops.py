"""What the layers of an architecture file become: a row for each op that it may name.

Ops that graphs have by the same name draw on ``lstm_rt/ops.py``: their attributes are options here, and a mask
that they may read is the option ``mask``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.graph import ACTIVATIONS, GATES, Activation, Array
from lstm_rt.ops import OPS, Attr, Op

from .layers import add_stack, constant
from .tables import optional, required, strings

if TYPE_CHECKING:
    from .build import Builder

_NORM_EPS = 1e-5  # PyTorch's default for LayerNorm and BatchNorm


@dataclass(frozen=True)
class Layer:
    """A [[layer]] that is being built: its title for messages, and its table."""

    what: str
    table: Mapping[str, Any]

    def optional(self, key: str, kind: type, default: Any = None) -> Any:
        value = optional(self.what, self.table, key, kind)
        return default if value is None else value

    def required(self, key: str, kind: type) -> Any:
        return required(self.what, self.table, key, kind)


@dataclass(frozen=True)
class Row:
    """An op of architecture files: the keys it takes besides op, name and input, and what makes nodes of it.

    ``many``: it reads several values, by ``inputs``.
    """

    options: tuple[str, ...]
    build: Callable[[Builder, Layer], int]
    many: bool = False


# -- layers with weights -------------------------------------------------------------------------


def _embedding(b: Builder, layer: Layer) -> int:
    return b.graph.embedding(b.input_of(layer), b.take(layer, "weight"))


def _recurrent(b: Builder, layer: Layer) -> int:
    op = layer.table["op"]
    activations = (layer.required("nonlinearity", str),) if op == "rnn" else None
    x, prefix = b.input_of(layer), b.prefix(layer)
    states = {k: b.states(layer, k, x) for k in ("h0", "c0") if k in layer.table}
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
    return b.graph.dense(b.input_of(layer), b.take(layer, "weight"), b.maybe(layer, "bias"), act)


def _layernorm(b: Builder, layer: Layer) -> int:
    eps = layer.optional("eps", float, _NORM_EPS)
    return b.graph.layernorm(b.input_of(layer), b.take(layer, "weight"), b.maybe(layer, "bias"), eps)


def _batchnorm(b: Builder, layer: Layer) -> int:
    mean, var = (b.take(layer, n) for n in ("running_mean", "running_var"))
    gamma, beta = (b.maybe(layer, n) for n in ("weight", "bias"))
    return b.graph.batchnorm(b.input_of(layer), mean, var, gamma, beta, layer.optional("eps", float, _NORM_EPS))


# -- layers without weights ----------------------------------------------------------------------


def _activation(layer: Layer, name: str) -> Activation:
    return Activation(name, layer.optional("alpha", float), layer.optional("beta", float))


def _activate(b: Builder, layer: Layer) -> int:
    return b.graph.activation(b.input_of(layer), _activation(layer, layer.table["op"]))


def _select(b: Builder, layer: Layer, index: int) -> int:
    return b.graph.select(b.input_of(layer), index)


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
}


def _combine(op: Op) -> Callable[[Builder, Layer], int]:
    """Several values, among which may be arrays of the file: those are constants."""

    def build(b: Builder, layer: Layer) -> int:
        names = strings(layer.what, "inputs", layer.table.get("inputs"))
        known = [b.known(n) for n in names]
        if all(v is None for v in known):
            b.ref(layer.what, names[0] if names else None)
        first = next(v for v in known if v is not None)
        arrays = {i: b.array(layer.what, n) for i, (n, v) in enumerate(zip(names, known, strict=True)) if v is None}
        if len(names) == 2 and len(arrays) == 1:
            ((at, numbers),) = arrays.items()
            if affine := _AFFINE.get((op.name, at)):
                gain, bias = affine(b.sized(layer.what, names[at], numbers, b.graph.values[first].size))
                return _scaled(b, first, gain, bias)
        values = [constant(b.graph, first, arrays[i].ravel()) if v is None else v for i, v in enumerate(known)]
        return _node(b, layer, op, *values)

    return build


def _plain(op: Op) -> Callable[[Builder, Layer], int]:
    return lambda b, layer: _node(b, layer, op, b.input_of(layer))


def _node(b: Builder, layer: Layer, op: Op, *values: int) -> int:
    return b.graph.node(op.name, *values, **{a.name: _attribute(layer, a) for a in op.attrs})


def _attribute(layer: Layer, attr: Attr) -> Any:
    return layer.required(attr.name, {"f32": float, "activation": str}.get(attr.type, int))


def _plain_row(op: Op) -> Row:
    many = op.many or len(op.inputs) > 1
    attrs = tuple(a.name for a in op.attrs)
    return Row((("inputs",) if many else ()) + attrs, _combine(op) if many else _plain(op), many)


# -- the table -----------------------------------------------------------------------------------

_RECURRENT = ("weights", "h0", "c0")
_ACT = ("activation", "alpha", "beta")
#: Ops without weights that files name as graphs do. Masks are Keras', select and activation have names of their own.
_PLAIN = {
    name: _plain_row(op)
    for name, op in OPS.items()
    if not (op.weights or op.cell or "mask" in name or name in ("select", "activation"))
}
ROWS: dict[str, Row] = {
    "embedding": Row(("weights",), _embedding),
    "lstm": Row(_RECURRENT, _recurrent),
    "gru": Row(("weights", "h0"), _recurrent),
    "rnn": Row(("weights", "h0", "nonlinearity"), _recurrent),
    "dense": Row(("weights", *_ACT), _dense),
    "layernorm": Row(("weights", "eps"), _layernorm),
    "batchnorm": Row(("weights", "eps"), _batchnorm),
    "normalize": Row(("mean", "std", "gain", "bias", "eps"), _normalize),
    "first": Row((), lambda b, layer: _select(b, layer, 0)),
    "last": Row((), lambda b, layer: _select(b, layer, -1)),
    **_PLAIN,
    **{name: Row(("alpha", "beta"), _activate) for name in ACTIVATIONS},
}
assert GATES.keys() <= ROWS.keys()
