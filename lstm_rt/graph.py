"""One neutral description of a model: where all readers and writers meet.

A :class:`Graph` is a list of nodes in static single assignment. Each node reads values that
earlier nodes (or the caller) produced and writes new ones. Weights are plain float32 arrays in
PyTorch's layout and gate order; :mod:`lstm_rt.format` turns them into the order the kernels read.
:mod:`lstm_rt.values` says what flows between nodes, :mod:`lstm_rt.ops` lists the ops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import Array, check_limit, index, integer, number, text, weight
from ._core import MAX_AXES, MAX_COUNT, MAX_PARTS, MAX_PORTS, MAX_SIZE
from ._names import LayerNames
from ._recurrent import cell_activations, recurrent_weights
from ._row_ops import RowOps
from ._shapes import JOINED
from ._step_ops import StepOps
from ._window_ops import WindowOps
from .activations import ACTIVATIONS, NOT_ELEMENTWISE, Activation, as_activation
from .errors import AxesError, GraphError, did_you_mean
from .ops import FEATURES, GATES, KINDS, OPS, Axis, Op, Weight, Written
from .text import shown
from .values import DTYPES, INPUT_KINDS, ORDERS, Value, as_dims, check_order

__all__ = [
    "ACTIVATIONS",
    "DIRECTIONS",
    "DTYPES",
    "GATES",
    "INPUT_KINDS",
    "KINDS",
    "NOT_ELEMENTWISE",
    "OPS",
    "ORDERS",
    "Activation",
    "Array",
    "Axis",
    "Graph",
    "Node",
    "SelfTest",
    "Value",
    "as_activation",
    "check_limit",
]

DIRECTIONS = ("forward", "reverse", "bidirectional")


@dataclass
class Node:
    """One operation. ``inputs`` and ``outputs`` index ``Graph.values``; ``None`` marks an absent one."""

    op: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    parameters: int | None = None  #: how many the source had, where a file says so; see Graph.parameters
    name: str = ""  #: of the source's layer; see Graph.layer
    #: Of weights that a file has as blocks: which share of these is there. What the reader found; writers do not ask.
    blocks: dict[str, float] = field(default_factory=dict)


@dataclass
class SelfTest:
    """Inputs and the outputs that the source model gave for them, kept in the file.

    ``inputs`` and ``outputs`` hold one array per graph input and output, in their order and with axes in theirs. An
    output passes within ``atol + rtol * abs(expected)``. A file takes an ``rtol`` up to 0.01, and an ``atol`` up to
    1e-5 or a hundredth of the largest number of each output: beyond, wrong numbers would pass.
    """

    inputs: list[NDArray[Any]]
    outputs: list[Array]
    atol: float = 1e-5
    rtol: float = 1e-4


class Graph(LayerNames, RowOps, StepOps, WindowOps):
    """A model under construction or as read from a file. Methods that add a node return value ids.

    Every method raises :class:`~lstm_rt.errors.GraphError` naming the op and what was expected
    when kinds, sizes or options do not fit.
    """

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.axes: list[Axis] = []
        #: Free-form JSON-able facts: ``source`` (framework, version, sha256, file), ``tool``.
        self.meta: dict[str, Any] = {}
        self.selftest: SelfTest | None = None

    # -- values ---------------------------------------------------------------------------------

    @property
    def n_axes(self) -> int:
        """How many time axes there are."""
        return len(self.axes)

    def new_axis(self, rule: Axis | None = None) -> int:
        """A fresh time axis: of inputs, or one derived by ``rule``. The same rule gives the same axis."""
        rule = Axis() if rule is None else rule
        if not isinstance(rule, Axis):
            raise GraphError(f"time axis: the rule is {rule!r}, expected an Axis")
        if rule.parent is not None and not 0 <= rule.parent < self.n_axes:
            raise GraphError(f"time axis: its parent {rule.parent} does not exist")
        if rule.parent is None and rule.mul != 0 and rule != Axis():
            raise GraphError(f"time axis: {rule} has no parent, so mul is 0 or there is no rule")
        if not rule.is_input and rule in self.axes:
            return self.axes.index(rule)
        check_limit("time axes", self.n_axes + 1, MAX_AXES, AxesError)
        self.axes.append(rule)
        return self.n_axes - 1

    def root(self, axis: int) -> int | None:
        """The axis of inputs that an axis is, or is derived from; None where the number of its steps is fixed."""
        while (parent := self.axes[axis].parent) is not None:
            axis = parent
        return axis if self.axes[axis].is_input else None

    def complete_steps(self, steps: dict[int, int]) -> None:
        """Add to the steps of axes those of the axes that are fixed, or derived from them."""
        fixed = {i: a.steps(0) for i, a in enumerate(self.axes) if a.parent is None and not a.is_input}
        steps.update(fixed)
        self.complete_lengths(steps)

    def complete_lengths(self, lengths: dict[int, Any]) -> None:
        """Add to the valid steps of rows on axes, numbers or arrays, those on the axes derived from them."""
        for i, a in enumerate(self.axes):
            if a.parent in lengths:
                lengths[i] = a.steps(lengths[a.parent])

    def input(
        self,
        name: str,
        kind: str,
        size: int = 0,
        axis: int | None = None,
        order: str = "batch_first",
        groups: int = 0,
        dims: Sequence[int | str] = (),
    ) -> int:
        """Declare a graph input. A time-bound kind without ``axis`` gets a new time axis.

        Ids may have several at a step, ``size`` of them, and be those of a single step, with -1 for ``axis``.

        ``kind="lengths"`` binds the valid lengths of ``axis`` to this input: reverse directions,
        final states and ``select(-1)`` on that axis then respect it. A mask cannot be an input:
        take it as ids and make it one with :meth:`mask_ids`. ``order``, ``groups`` and ``dims`` are
        those of the table of orders in :mod:`lstm_rt.values`.
        """
        name = text("input", name)
        what = f"input {name!r}"
        if kind == "mask":
            raise GraphError(f"{what}: a mask cannot be an input; take it as ids and use mask_ids")
        if kind not in INPUT_KINDS:
            raise GraphError(f"{what}: unknown kind {kind!r}; known: {', '.join(INPUT_KINDS)}")
        size = integer(what, "size", size)
        if size < 0 or ((size > 0) != (kind in FEATURES) and kind != "ids"):
            raise GraphError(f"{what}: size {size} does not fit kind {kind}")
        check_limit("features of a value", size, MAX_SIZE)
        dims = as_dims(what, dims)
        no_axis = kind == "vec" or (kind == "ids" and axis == -1)
        check_order(what, Value(name, kind, size, -1 if no_axis else 0, order, groups, dims))
        if JOINED in dims:
            raise GraphError(f"{what}: dims of an input cannot be joined, as it would not tell them apart")
        if any(self.values[i].name == name for i in self.inputs):
            raise GraphError(f"two inputs are named {name!r}")
        axis = -1 if no_axis else self._input_axis(what, kind, axis)
        value = self._new_value(name, kind, size, axis)
        self.values[value] = replace(self.values[value], order=order, groups=groups, dims=dims)
        self.inputs.append(value)
        return value

    def _input_axis(self, what: str, kind: str, axis: int | None) -> int:
        if axis is None:
            if kind == "lengths":
                raise GraphError(f"{what}: lengths need the time axis they belong to")
            return self.new_axis()
        if not 0 <= integer(what, "axis", axis) < self.n_axes:
            raise GraphError(f"{what}: time axis {axis} does not exist")
        if not self.axes[axis].is_input:
            raise GraphError(f"{what}: time axis {axis} is derived from another")
        taken = [self.values[i].axis for i in self.inputs if self.values[i].kind == "lengths"]
        if kind == "lengths" and axis in taken:
            raise GraphError(f"{what}: time axis {axis} already has lengths")
        return axis

    def output(
        self,
        value: int,
        name: str,
        order: str = "batch_first",
        groups: int = 0,
        dims: Sequence[int | str] = (),
    ) -> None:
        """Make ``value`` (of kind seq or vec) a graph output called ``name``, its axes in ``order``."""
        name, v = text("output", name), self._expect("output", value, *FEATURES)
        if value in self.outputs:
            raise GraphError(f"output {name!r}: this value already is the output {v.name!r}")
        if any(self.values[o].name == name for o in self.outputs):
            raise GraphError(f"two outputs are named {name!r}")
        v = replace(v, name=name, order=order, groups=groups, dims=as_dims(f"output {name!r}", dims))
        check_order(f"output {name!r}", v)
        if value in self.inputs:
            value = self.activation(value, "linear")  # an output needs storage of its own
        self.values[value] = v
        self.outputs.append(value)

    # -- ops ------------------------------------------------------------------------------------

    def node(self, op: str, *inputs: int | None, axis: int | None = None, **options: Any) -> int:
        """Add a node of any op but the recurrent ones; returns the number of the (first) value that it writes.

        Args:
            op: its name in :data:`lstm_rt.ops.OPS`.
            *inputs: the values that it reads; absent ones may be None, or left out at the end.
            axis: the time axis of what it writes, where the op leaves a choice.
            **options: its attributes and weights by name; absent weights may be None.
        """
        entry = OPS.get(op) if isinstance(op, str) else None
        if entry is None or entry.cell:
            known = [name for name, e in OPS.items() if not e.cell]
            raise GraphError(f"unknown op {op!r}; known: {', '.join(known)}{did_you_mean(op, known)}")
        read = self._read_values(entry, inputs)
        _check_options(entry, options)
        attrs = {a.name: a.checked(op, options.get(a.name, a.default)) for a in entry.attrs}
        sizes: dict[str, int] = {}
        for i, v in zip(entry.inputs, read, strict=False):
            if i.size and v is not None:
                sizes[i.size] = v.size
        weights = _weights(entry, options, sizes)
        there = [v for v in read if v is not None]
        if entry.check is not None:
            entry.check(attrs, weights, there[0].size if there else 0)
        if entry.writes is not None:
            written = entry.writes(attrs, weights, read)
        else:
            written = [self._written(entry, attrs, sizes, there, axis)]
        outputs = tuple(
            self._new_value("", kind, size, self.new_axis(at) if isinstance(at, Axis) else at)
            for kind, size, at in written
        )
        absent = (None,) * (len(read) - len(inputs))
        self.nodes.append(Node(op, (*inputs, *absent), outputs, attrs, weights))
        return outputs[0]

    def _written(
        self,
        entry: Op,
        attrs: Mapping[str, Any],
        sizes: Mapping[str, int],
        read: Sequence[Value],
        axis: int | None,
    ) -> Written:
        """Kind, size and axis of what the op's entry says that it writes."""
        out = entry.output
        if not read:
            return out.kind, sizes[out.size], -1
        lead, size = next((v for v in read if entry.broadcasts and v.kind == "seq"), read[0]), read[0].size
        if out.size == "+":
            size = sum(v.size for v in read)
        elif out.size == "max":
            size = max(v.size for v in read)
        elif out.size:
            size = attrs[out.size] if out.size in attrs else sizes[out.size]
        kind = out.kind or lead.kind
        return kind, size if kind in FEATURES else 0, self._output_axis(entry, attrs, lead, axis)

    def _read_values(self, entry: Op, inputs: Sequence[int | None]) -> list[Value | None]:
        """The values that a node reads: so many, of the kinds and on the axes that its op wants; None: absent."""
        op = entry.name
        wanted = entry.inputs * len(inputs) if entry.many else entry.inputs
        if entry.many and not 2 <= len(inputs) <= MAX_PARTS:
            raise GraphError(f"{op}: {len(inputs)} parts, expected 2 to {MAX_PARTS}")
        needed = len([i for i in wanted if not i.optional])
        if not needed <= len(inputs) <= len(wanted):
            expected = f"{needed} to {len(wanted)}" if needed < len(wanted) else str(needed)
            raise GraphError(f"{op}: {len(inputs)} inputs, expected {expected}")
        read: list[Value | None] = [
            None if value is None and i.optional else self._expect(op, value, *i.kinds)
            for value, i in zip(inputs, wanted, strict=False)
        ]
        first = read[0] if read else None
        for i, v in zip(wanted[1:], read[1:], strict=False):
            if v is None or first is None:
                continue
            if entry.alike and (v.kind != first.kind or v.size != first.size):
                raise GraphError(f"{op}: {first.kind} of {first.size} and {v.kind} of {v.size} features differ")
            if entry.many and v.kind != first.kind:
                raise GraphError(f"{op}: cannot join {first.kind} and {v.kind}")
            if entry.broadcasts and v.size != first.size and 1 not in (v.size, first.size):
                raise GraphError(f"{op}: {first.size} and {v.size} features differ, and neither is 1")
            other = None if i.beside is None and not entry.many and not entry.broadcasts else read[i.beside or 0]
            if other is not None and (not entry.broadcasts or v.kind == other.kind):
                self._same_axis(op, other, v)
        return read + [None] * (len(wanted) - len(read))

    def _output_axis(self, entry: Op, attrs: Mapping[str, Any], lead: Value, axis: int | None) -> int:
        if (entry.output.kind or lead.kind) == "vec":
            return -1
        if entry.axis is None:
            return lead.axis
        rule = entry.axis(attrs, lead.axis)
        if axis is None and rule is None:
            raise GraphError(f"{entry.name}: the time axis of its output is missing")
        if axis is None:
            return self.new_axis(rule)
        if not 0 <= integer(entry.name, "axis", axis) < self.n_axes:
            raise GraphError(f"{entry.name}: time axis {axis} does not exist")
        if rule is not None and not self.axes[axis].is_part_of(rule):
            raise GraphError(f"{entry.name}: time axis {axis} is {self.axes[axis]}, expected {rule}")
        return axis

    def recurrent(
        self,
        op: str,
        x: int,
        weights: Mapping[str, ArrayLike | None],
        *,
        hidden_size: int,
        direction: str = "forward",
        activations: Sequence[str | Activation] | None = None,
        reset_after: bool = True,
        clip: float = 0.0,
        mask: int | None = None,
        zero_masked: bool = False,
        h0: int | None = None,
        c0: int | None = None,
    ) -> tuple[int, int, int | None]:
        """Add an ``lstm``, ``gru`` or ``rnn`` layer; returns value ids ``(seq, h_n, c_n)``.

        Args:
            weights: PyTorch's layout. With ``G`` gates (lstm 4: i f g o; gru 3: r z n; rnn 1),
                ``H`` hidden units, ``I`` input features and ``R`` the size of ``h`` (``H``, or the
                projection's size): ``w_ih (G*H, I)``, ``w_hh (G*H, R)``, ``b_ih?``, ``b_hh?
                (G*H,)``; lstm only: ``w_hr? (R, H)`` projects ``h``, ``peephole? (3, H)`` in the
                order i f o (Gers & Schmidhuber 2000; i and f see the old cell, o the new one).
                For ``bidirectional`` the second direction's carry the suffix ``_reverse``; for
                ``reverse`` alone there is no suffix.
            activations: lstm ``(gate, cell, output)``, default sigmoid tanh tanh: ``gate`` acts on
                i f o, ``cell`` on g, ``output`` on c before the output gate. gru ``(gate,
                candidate)``, default sigmoid tanh. rnn ``(activation,)``, default tanh.
            reset_after: gru only. True: ``n = tanh(W x + b_ih + r * (U h + b_hh))`` (PyTorch,
                Keras ``reset_after``, ONNX ``linear_before_reset=1``). False:
                ``n = tanh(W x + b_ih + U (r * h) + b_hh)`` (Cho et al. 2014).
            clip: if > 0, gate pre-activations are clipped to ``[-clip, clip]`` (ONNX).
            mask: masked steps keep the state; their sequence output is ``h`` as it stands, or 0 with
                ``zero_masked`` (Keras ``zero_output_for_mask``).
            h0, c0: initial states as vec values, directions side by side; with one of them alone the
                other is zero, and output before the first step that the mask counts is zero. Without
                both the layer's state is the caller's (``state=``, streams), zero by default.

        With lengths on the time axis, steps beyond a row's length leave its state alone, their
        sequence output is 0, and the reverse direction starts at the row's own last step.
        ``seq`` and the final states have the directions side by side: forward, then reverse.
        """
        if op not in GATES:
            raise GraphError(f"unknown recurrent op {op!r}; known: {', '.join(GATES)}")
        if direction not in DIRECTIONS:
            raise GraphError(f"{op}: unknown direction {direction!r}; known: {', '.join(DIRECTIONS)}")
        v = self._expect(op, x, "seq")
        hidden_size = integer(op, "hidden_size", hidden_size)
        if hidden_size < 1:
            raise GraphError(f"{op}: hidden_size is {hidden_size}, expected at least 1")
        check_limit("hidden units", hidden_size, MAX_SIZE)
        acts = cell_activations(op, activations)
        clip = number(op, "clip", clip)
        if clip < 0:
            raise GraphError(f"{op}: clip is {clip}, expected 0 (off) or a positive number")
        suffixes = ("", "_reverse") if direction == "bidirectional" else ("",)
        checked, r = recurrent_weights(op, weights, suffixes, hidden_size, v.size)
        n_dir = len(suffixes)
        if c0 is not None and op != "lstm":
            raise GraphError(f"{op}: only an lstm has a cell state c0")
        for name, state, width in (("h0", h0, n_dir * r), ("c0", c0, n_dir * hidden_size)):
            if state is not None and self._expect(op, state, "vec").size != width:
                raise GraphError(f"{op}: {name} has {self.values[state].size} features, expected {width}")
        if mask is not None:
            self._same_axis(op, v, self._expect(op, mask, "mask"))
        attrs = {
            "input_size": v.size,
            "hidden_size": hidden_size,
            "proj_size": r if "w_hr" in checked else 0,
            "direction": direction,
            "activations": acts,
            "clip": clip,
            "zero_masked": bool(zero_masked),
        }
        if op == "gru":
            attrs["reset_after"] = bool(reset_after)
        seq = self._new_value("", "seq", n_dir * r, v.axis)
        h_n = self._new_value("", "vec", n_dir * r, -1)
        c_n = self._new_value("", "vec", n_dir * hidden_size, -1) if op == "lstm" else None
        self.nodes.append(Node(op, (x, h0, c0, mask), (seq, h_n, c_n), attrs, checked))
        return seq, h_n, c_n

    # -- whole-graph questions ------------------------------------------------------------------

    def check(self) -> None:
        """Raise :class:`GraphError` unless the graph has an input and an output, and fits into a file."""
        if not self.inputs:
            raise GraphError("the graph has no input")
        if not self.outputs:
            raise GraphError("the graph has no output")
        ports = [self.values[i] for i in self.inputs + self.outputs]
        with_batch = [v.name for v in ports if v.has_batch]
        if 0 < len(with_batch) < len(ports):
            raise GraphError(f"some inputs and outputs have no batch, but not {', '.join(with_batch)}")
        if not isinstance(self.meta, dict):
            raise GraphError(f"meta is a {type(self.meta).__name__}, expected a dict")
        for what, count, most in (
            ("time axes", self.n_axes, MAX_AXES),
            ("values", len(self.values), MAX_COUNT),
            ("nodes", len(self.nodes), MAX_COUNT),
            ("inputs", len(self.inputs), MAX_PORTS),
            ("outputs", len(self.outputs), MAX_PORTS),
        ):
            check_limit(what, count, most)

    def node_parameters(self) -> list[int]:
        """Number of parameters of each node; see :meth:`parameters`."""
        from ._counting import node_parameters

        return node_parameters(self)

    def parameters(self) -> int:
        """Number of parameters, as the framework counts them that the model comes from.

        Both biases of PyTorch's layers count, and shared weights once. The statistics of batch
        normalisation count but for PyTorch, which does not count them. A file remembers the number.
        """
        return sum(self.node_parameters())

    def save(self, path: str) -> None:
        """Write the graph as a ``.lrt`` file; the file appears whole or not at all."""
        from .format import save

        save(self, path)

    def __repr__(self) -> str:
        ports = [", ".join(shown(self.values[i].name, 40) for i in values) for values in (self.inputs, self.outputs)]
        return f"<lstm_rt.graph.Graph {ports[0]} -> {ports[1]}, {len(self.nodes)} nodes>"

    def _repr_html_(self) -> str:
        from ._html import graph_html

        return graph_html(self)

    # -- helpers --------------------------------------------------------------------------------

    def placeholder(self, size: int) -> int:
        """A vec that no node writes, for whoever builds a part of a graph apart."""
        return self._new_value("", "vec", size, -1)

    def _new_value(self, name: str, kind: str, size: int, axis: int) -> int:
        check_limit("features of a value", size, MAX_SIZE)
        self.values.append(Value(name, kind, size, axis))
        return len(self.values) - 1

    def _expect(self, op: str, value: int | None, *kinds: str) -> Value:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise GraphError(f"{op}: got {value!r}, expected the number of one value")
        if not 0 <= value < len(self.values):
            raise GraphError(f"{op}: value {value} does not exist")
        v = self.values[value]
        if v.kind not in kinds:
            raise GraphError(f"{op}: got a value of kind {v.kind}, expected {' or '.join(kinds)}")
        return v

    @staticmethod
    def _same_axis(op: str, a: Value, b: Value) -> None:
        if a.axis != b.axis:
            raise AxesError(f"{op}: the values are on different time axes ({a.axis} and {b.axis})")


def _check_options(entry: Op, options: Mapping[str, Any]) -> None:
    known = [*(a.name for a in entry.attrs), *(w.name for w in entry.weights)]
    unknown = [name for name in options if name not in known]
    if unknown:
        near = did_you_mean(unknown[0], known)
        raise GraphError(f"{entry.name}: unknown option {unknown[0]!r}; known: {', '.join(known) or 'none'}{near}")
    needed = [a.name for a in entry.attrs if a.default is None] + [w.name for w in entry.weights if not w.optional]
    missing = [name for name in needed if name not in options]
    if missing:
        raise GraphError(f"{entry.name}: {missing[0]} is missing")


def _weights(entry: Op, options: Mapping[str, Any], sizes: dict[str, int]) -> dict[str, Array]:
    """The weights among the options, checked; letters that are free take the sizes they find."""
    found: dict[str, Array] = {}
    for w in entry.weights:
        array = options.get(w.name)
        if array is None and w.optional:
            continue
        found[w.name] = _weight(entry.name, w, array, sizes)
    return found


def _weight(op: str, w: Weight, array: Any, sizes: dict[str, int]) -> Array:
    if w.layout == "index":
        checked = index(op, w.name, array)
    else:
        checked = weight(op, w.name, array, tuple(sizes.get(letter) for letter in w.shape), w.integers)
    sizes.update(zip(w.shape, checked.shape, strict=True))
    return checked
