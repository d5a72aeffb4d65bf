"""A graph in integers: a layer for each node, with the formats of all values, and a run of it as a device computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation, Graph, Node, Value, as_activation
from lstm_rt.quantised import Quantised

from ...integers.calibrate import Sums
from ...judges import reference
from ..plan import cannot
from . import cells
from .acts import Bounded, bounded
from .curve import Ints, high
from .observed import Observed, Seen
from .rows import LARGEST, Exact, Format, Rows, chosen_formats, quantised, shifted

Cell: TypeAlias = "cells.Lstm | cells.Gru | cells.Rnn"
HEADROOM = 2.0  #: how much further values may go than they were seen to
MOST_BITS, LEAST_BITS = 20, -8  #: of fraction, of a value
_END = 1 << 15


@dataclass(frozen=True)
class Recurrent:
    node: Node
    directions: tuple[Cell, ...]  #: the first one forward, unless the node is reverse

    def backward(self, d: int) -> bool:
        return self.node.attrs["direction"] == "reverse" or d == 1

    def run(self, x: Ints) -> tuple[Ints, Ints]:
        """Of x (N, T, I): all h (N, T, D H) and the last ones (N, D H)."""
        runs = [self._direction(d, cell, x) for d, cell in enumerate(self.directions)]
        return np.concatenate([s for s, _ in runs], axis=-1), np.concatenate([h for _, h in runs], axis=-1)

    def _direction(self, d: int, cell: Cell, x: Ints) -> tuple[Ints, Ints]:
        zero = np.zeros((len(x), cell.hidden), dtype=np.int64)
        state, sequence = (zero, zero), np.zeros((*x.shape[:2], cell.hidden), dtype=np.int64)
        steps = range(x.shape[1])
        for t in reversed(steps) if self.backward(d) else steps:
            state = cell.step(x[:, t], state)
            sequence[:, t] = state[0]
        return sequence, state[0]


@dataclass(frozen=True)
class Dense:
    """Rows over x, or over a window of its steps, with an activation."""

    rows: Rows
    by: int  #: bits of fraction that x gets more
    act: Bounded

    def run(self, x: Ints) -> Ints:
        return self.act(self.rows.z(shifted(x, self.by)))


@dataclass(frozen=True)
class Window:
    """Which steps of x a convolution sees: ``taps``, ``dilation`` apart, from ``before`` steps ahead of the first."""

    taps: int
    dilation: int
    stride: int
    before: int

    def run(self, x: Ints, steps: int) -> Ints:
        """Of x (N, T, C): (N, steps, taps C), the oldest first; zeros where x has no step."""
        at = np.arange(steps)[:, None] * self.stride - self.before + np.arange(self.taps) * self.dilation
        inside = (at >= 0) & (at < x.shape[1])
        seen = np.where(inside[None, :, :, None], x[:, np.clip(at, 0, max(x.shape[1] - 1, 0))], 0)
        return seen.reshape(len(x), steps, -1)


@dataclass(frozen=True)
class Conv:
    window: Window
    dense: Dense


@dataclass(frozen=True)
class Scaled:
    """An activation alone: of ``floor(x mult / 2^17) << shift`` and an offset."""

    mult: int
    shift: int
    offset: int
    act: Bounded

    def run(self, x: Ints) -> Ints:
        return self.act((high(x << 15, self.mult) << self.shift) + self.offset)


@dataclass(frozen=True)
class Table:
    values: Ints


@dataclass(frozen=True)
class Joined:
    """Values side by side, or added, each with so many bits of fraction more."""

    by: tuple[int, ...]


Layer: TypeAlias = "Recurrent | Dense | Conv | Scaled | Table | Joined | None"


@dataclass
class Network:
    """A graph whose nodes have become layers. ``formats`` has one for each value of numbers."""

    graph: Graph
    bits: int  #: of a weight
    seen: Observed
    compensate: bool  #: are weights rounded for the data that were seen?
    formats: dict[int, Format] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def used(self) -> set[int | None]:
        """Values that a node or the caller reads."""
        return {i for n in self.graph.nodes for i in n.inputs} | set(self.graph.outputs)

    def value(self, index: int | None) -> Value:
        assert index is not None
        return self.graph.values[index]

    def source(self, node: Node, i: int = 0) -> Format:
        index = node.inputs[i]
        assert index is not None
        return self.formats[index]

    def sight(self, node: Node, output: int = 0) -> Seen:
        """What was seen of a node's output."""
        index = node.outputs[output]
        return self.seen.of(index)

    def set(self, node: Node, form: Format, output: int = 0) -> None:
        index = node.outputs[output]
        if index is not None:
            self.formats[index] = form

    def quantised_input(self, index: int, x: NDArray[Any]) -> Ints:
        """Numbers of an input as integers, those out of range limited."""
        if index not in self.formats:
            return np.asarray(x, dtype=np.int64)
        q = np.rint(np.asarray(x, dtype=np.float64) * 2.0 ** self.formats[index].bits)
        return np.clip(q, -_END, _END - 1).astype(np.int64)

    def run(self, inputs: Sequence[Ints]) -> list[Ints]:
        """Outputs, batch first, of inputs, batch first, in integers."""
        values: dict[int, Ints] = dict(zip(self.graph.inputs, inputs, strict=True))
        steps = {self.graph.values[i].axis: x.shape[1] for i, x in values.items() if self.graph.values[i].timed}
        self.graph.complete_steps(steps)
        for node, layer in zip(self.graph.nodes, self.layers, strict=True):
            RUN[node.op](self, node, layer, values, steps)
        return [values[o] for o in self.graph.outputs]

    def as_floats(self, outputs: Sequence[Ints]) -> list[NDArray[np.float64]]:
        return [y / 2.0 ** self.formats[o].bits for o, y in zip(self.graph.outputs, outputs, strict=True)]


def format_of(seen: Seen, bound: float = np.inf) -> Format:
    """The format of numbers that were seen, and that cannot go beyond a bound."""
    reach = min(seen.most * HEADROOM, bound)
    bits = MOST_BITS if reach == 0 else int(np.floor(np.log2((_END - 1) / reach)))
    bits = min(max(bits, LEAST_BITS), MOST_BITS)
    return Format(bits, _END, seen.energy * 4.0**bits)


def make_network(graph: Graph, bits: int, seen: Observed, compensate: bool = False) -> Network:
    """The layers of a graph.

    Args:
        bits: of a weight, 8 or 16.
        seen: what its values were on data like those that it is to meet.
        compensate: round weights for these data.

    Raises:
        ExportError: something in the graph is not there in integers.
    """
    network = Network(graph, bits, seen, compensate)
    for index in graph.inputs:
        v = graph.values[index]
        if v.kind in ("seq", "vec"):
            network.formats[index] = format_of(seen.of(index))
        elif v.kind != "ids":
            raise cannot(Node("input", (), ()), f"{v.name} is of kind {v.kind}")
    for node in graph.nodes:
        if node.op not in MAKE:
            raise cannot(node, "it is not there in integers")
        _check_weights(node)
        try:
            network.layers.append(MAKE[node.op](network, node))
        except GraphError as e:
            raise cannot(node, str(e).removeprefix(f"{node.op}: ")) from e
    return network


def _check_weights(node: Node) -> None:
    for name, w in node.weights.items():
        if isinstance(w, Quantised):
            raise cannot(node, "its weights are integers already; export the float32 model")
        if w.dtype.kind == "f" and not np.isfinite(w).all():
            raise cannot(node, f"{name} has numbers that are not finite")


# -- what ops become ------------------------------------------------------------------------------------------------

MAKE: dict[str, Callable[[Network, Node], Layer]] = {}
RUN: dict[str, Callable[[Network, Node, Any, dict[int, Ints], dict[int, int]], None]] = {}


def _recurrent(network: Network, node: Node) -> Recurrent:
    if node.attrs["clip"] > 0:
        raise GraphError("a clip is not there in integers")
    for name in ("peephole", "w_hr"):
        if name in node.weights:
            raise GraphError(f"{name} is not there in integers")
    if any(i is not None for i in node.inputs[1:]):
        raise GraphError("a mask, or a state from the graph, is not there in integers")
    if node.op == "lstm" and node.outputs[2] in network.used:
        raise GraphError("its cell state as an output is not there in integers")
    suffixes = ("", "_reverse") if node.attrs["direction"] == "bidirectional" else ("",)
    x, hidden = network.source(node), node.attrs["hidden_size"]
    seen_x = network.seen.values[node.inputs[0]]
    made: list[Cell] = []
    for suffix in suffixes:
        states = network.seen.state(node, suffix)
        seen = Seen.of(states)
        moments = _moments(np.concatenate([seen_x, states], axis=-1)) if network.compensate else None

        def scaled(formats: list[Format], moments: Exact | None = moments) -> Exact | None:
            if moments is None:
                return None
            inputs = len(moments) - hidden
            scale = np.repeat([2.0**f.bits for f in formats], [inputs, hidden])
            return moments * np.outer(scale, scale)

        if node.op == "rnn":
            made.append(cells.rnn(node, suffix, x, format_of(seen), network.bits, scaled))
        else:
            make = cells.lstm if node.op == "lstm" else cells.gru
            made.append(make(node, suffix, x, seen.energy * 4.0**cells.H_BITS, network.bits, scaled))
    form = _joint_form(made, Seen.of(np.concatenate([network.seen.state(node, s) for s in suffixes], axis=-1)).energy)
    network.set(node, form)
    network.set(node, form, 1)
    return Recurrent(node, tuple(made))


def _joint_form(made: list[Cell], energy: float) -> Format:
    bits = {cell.h_format[0] for cell in made}
    if len(bits) > 1:
        raise GraphError("its directions need different ranges")
    return Format(bits.pop(), max(cell.h_format[1] for cell in made), energy * 4.0 ** made[0].h_format[0])


def _moments(v: NDArray[Any]) -> Exact:
    """The mean of ``v v^T`` over all v (..., k), as more of such data would have it."""
    sums = Sums()
    sums.add(v.reshape(1, -1, v.shape[-1]))
    return np.asarray(sums.shrunk()[0] / sums.rows)


def _dense_of(
    network: Network, node: Node, w: Exact, bias: Exact, x: Format, activation: Activation, moments: Exact | None
) -> Dense:
    (form,) = chosen_formats(w, bias, [x], [w.shape[1]], network.bits)
    reach = float((np.abs(w).sum(axis=1) * x.most * 2.0**-x.bits + np.abs(bias)).max(initial=0))
    y = format_of(network.sight(node), reach)
    act = bounded(node.op, activation, y.bits)
    of_integers = None if moments is None else moments * 4.0**form.bits
    factor = np.full(len(w), act.factor)
    rows = quantised(w, bias + act.offset / act.factor, [form], [w.shape[1]], factor, network.bits, of_integers)
    network.set(node, Format(act.bits, _END, network.sight(node).energy * 4.0**act.bits))
    return Dense(rows, form.bits - x.bits, act)


def _dense(network: Network, node: Node) -> Dense:
    w = np.asarray(node.weights["weight"], dtype=np.float64)
    bias = np.asarray(node.weights.get("bias", np.zeros(len(w))), dtype=np.float64)
    moments = _moments(network.seen.values[node.inputs[0]]) if network.compensate else None
    return _dense_of(network, node, w, bias, network.source(node), node.attrs["activation"], moments)


def _conv(network: Network, node: Node) -> Conv:
    a = node.attrs
    weight = np.asarray(node.weights["weight"], dtype=np.float64)
    if a["height"] * a["width"] != 1 or weight.shape[3:] != (1, 1) or a["groups"] != 1:
        raise GraphError("only convolutions over time, without groups, are there in integers")
    if not network.value(node.inputs[0]).timed:
        raise GraphError("what it reads has no steps")
    w = weight[:, :, :, 0, 0].transpose(0, 2, 1).reshape(len(weight), -1)  # the oldest step first
    bias = np.asarray(node.weights.get("bias", np.zeros(len(w))), dtype=np.float64)
    window = Window(weight.shape[2], a["dilation_t"], a["stride_t"], a["before_t"])
    return Conv(window, _dense_of(network, node, w, bias, network.source(node), as_activation("linear"), None))


def _activation(network: Network, node: Node) -> Scaled | None:
    act, x = node.attrs["activation"], network.source(node)
    if act.name == "linear":
        network.set(node, x)
        return None
    line = bounded(node.op, act, x.bits)
    factor = line.factor * 2.0**-x.bits * 2.0**17
    shift = max(0, int(np.floor(np.log2(factor))) - 29)
    network.set(node, Format(line.bits, _END, network.sight(node).energy * 4.0**line.bits))
    offset = 0 if line.shape is None else int(np.rint(line.offset))
    mult = int(np.rint(factor / 2.0**shift))
    if line.shape is None:
        mult = 1 << 17
    return Scaled(mult, shift, offset, line)


def _embedding(network: Network, node: Node) -> Table:
    if network.value(node.inputs[0]).size > 1:
        raise GraphError("several ids at a step are not there in integers")
    table = np.asarray(node.weights["table"], dtype=np.float64)
    largest = float(np.abs(table).max(initial=0))
    bits = MOST_BITS if largest == 0 else int(np.floor(np.log2(LARGEST[network.bits] / largest)))
    bits = min(max(bits, LEAST_BITS), MOST_BITS)
    values = np.clip(np.rint(table * 2.0**bits), -LARGEST[network.bits], LARGEST[network.bits]).astype(np.int64)
    network.set(node, Format(bits, int(np.abs(values).max(initial=0)), network.sight(node).energy * 4.0**bits))
    return Table(values)


def _joined(network: Network, node: Node) -> Joined:
    sources = [network.source(node, i) for i in range(len(node.inputs))]
    if node.op == "add":
        sizes = [(network.value(i).size, network.value(i).kind) for i in node.inputs]
        if len(set(sizes)) > 1:
            raise GraphError("values of different sizes or kinds are not there in integers")
        form = format_of(network.sight(node), sum(s.most * 2.0**-s.bits for s in sources))
    else:
        bits = min(s.bits for s in sources)
        form = Format(bits, max(s.shifted(bits).most for s in sources), network.sight(node).energy * 4.0**bits)
    network.set(node, form)
    return Joined(tuple(form.bits - s.bits for s in sources))


def _same(network: Network, node: Node) -> None:
    network.set(node, network.source(node))


MAKE.update(
    {
        **dict.fromkeys(("lstm", "gru", "rnn"), _recurrent),
        "dense": _dense,
        "conv": _conv,
        "activation": _activation,
        "embedding": _embedding,
        **dict.fromkeys(("add", "concat"), _joined),
        **dict.fromkeys(("select", "slice"), _same),
    }
)


# -- how layers run -------------------------------------------------------------------------------------------------

Values: TypeAlias = dict[int, Ints]


def _read(node: Node, values: Values) -> list[Ints]:
    return [values[i] for i in node.inputs if i is not None]


def _write(node: Node, values: Values, y: Ints, output: int = 0) -> None:
    index = node.outputs[output]
    if index is not None:
        values[index] = y


def _run_recurrent(n: Network, node: Node, layer: Recurrent, values: Values, steps: dict[int, int]) -> None:
    sequence, last = layer.run(_read(node, values)[0])
    _write(node, values, sequence)
    _write(node, values, last, 1)


def _run_simple(n: Network, node: Node, layer: Any, values: Values, steps: dict[int, int]) -> None:
    x = _read(node, values)[0]
    _write(node, values, x if layer is None else layer.run(x))


def _run_conv(n: Network, node: Node, layer: Conv, values: Values, steps: dict[int, int]) -> None:
    x = layer.window.run(_read(node, values)[0], steps[n.value(node.outputs[0]).axis])
    _write(node, values, layer.dense.run(x))


def _run_table(n: Network, node: Node, layer: Table, values: Values, steps: dict[int, int]) -> None:
    _write(node, values, layer.values[reference.ids_read(n.graph, node, _read(node, values)[0])])


def _run_joined(n: Network, node: Node, layer: Joined, values: Values, steps: dict[int, int]) -> None:
    parts = [shifted(x, by) for x, by in zip(_read(node, values), layer.by, strict=True)]
    _write(node, values, np.clip(sum(parts), -_END, _END - 1) if node.op == "add" else np.concatenate(parts, axis=-1))


def _run_select(n: Network, node: Node, layer: None, values: Values, steps: dict[int, int]) -> None:
    _write(node, values, _read(node, values)[0][:, node.attrs["index"]])


def _run_slice(n: Network, node: Node, layer: None, values: Values, steps: dict[int, int]) -> None:
    start = node.attrs["start"]
    _write(node, values, _read(node, values)[0][..., start : start + node.attrs["size"]])


RUN.update(
    {
        **dict.fromkeys(("lstm", "gru", "rnn"), _run_recurrent),
        **dict.fromkeys(("dense", "activation"), _run_simple),
        "conv": _run_conv,
        "embedding": _run_table,
        **dict.fromkeys(("add", "concat"), _run_joined),
        "select": _run_select,
        "slice": _run_slice,
    }
)
