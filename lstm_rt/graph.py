"""One neutral description of a model: where all readers and writers meet.

A :class:`Graph` is a list of nodes in static single assignment. Each node reads values that
earlier nodes (or the caller) produced and writes new ones. Weights are plain float32 arrays in
PyTorch's layout and gate order; :mod:`lstm_rt.format` turns them into the order the kernels read.

Value kinds (``N`` batch rows, ``T`` time steps, ``F`` features):

========= ============= ======= =====================================================
kind      shape         dtype   meaning
========= ============= ======= =====================================================
seq       ``(N, T, F)`` float32 a sequence of feature vectors
vec       ``(N, F)``    float32 one feature vector per row
ids       ``(N, T)``    int32   token ids
mask      ``(N, T)``    uint8   1 where a step counts, 0 where it is skipped
lengths   ``(N,)``      int32   valid steps per row of the time axis it belongs to
========= ============= ======= =====================================================

Every value of kind seq, ids, mask or lengths belongs to a *time axis* (a small integer): values
on one axis have the same ``T`` and the same lengths. ``size`` is ``F``, and 0 for other kinds.

Ops, their inputs -> outputs, attributes and weights (``?`` marks what may be absent):

=========== ======================================= ============================================
op          inputs -> outputs                       attributes; weights
=========== ======================================= ============================================
embedding   ids -> seq                              table ``(V, F)``
mask_ids    ids -> mask                             1 where id != ``value`` (attr)
mask_values seq -> mask                             1 where any feature != ``value`` (attr)
apply_mask  seq, mask -> seq                        masked steps become 0
lstm        x, h0?, c0?, mask? -> seq?, h_n?, c_n?  see :meth:`Graph.recurrent`
gru         x, h0?, -, mask? -> seq?, h_n?          see :meth:`Graph.recurrent`
rnn         x, h0?, -, mask? -> seq?, h_n?          see :meth:`Graph.recurrent`
dense       seq|vec -> same kind                    activation; weight ``(O, I)``, bias? ``(O,)``
activation  seq|vec -> same                         activation
layernorm   seq|vec -> same                         eps; gamma? beta? ``(F,)``, over features
batchnorm   seq|vec -> same                         eps; mean var gamma? beta? ``(F,)``
add mul     a, b -> same                            elementwise, shapes equal
average     a, b -> same                            ``(a + b) / 2``
concat      a, b, ... -> one                        features side by side
slice       seq|vec -> same kind                    start, size: a range of features
select      seq -> vec                              index 0 (first) or -1 (last valid step)
reverse     seq -> seq                              time reversed within each row's length
=========== ======================================= ============================================
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import MAX_AXES, MAX_COUNT, MAX_PARTS, MAX_PORTS, MAX_ROWS, MAX_SIZE
from .errors import AxesError, GraphError, did_you_mean

Array = NDArray[np.float32]

KINDS = ("seq", "vec", "ids", "mask", "lengths")
INPUT_KINDS = ("seq", "vec", "ids", "lengths")
DTYPES: dict[str, type[np.generic]] = {
    "seq": np.float32,
    "vec": np.float32,
    "ids": np.int32,
    "mask": np.uint8,
    "lengths": np.int32,
}

#: Activations and the defaults of their parameters (alpha, beta); 0 where they have none.
#: ``hard_sigmoid`` is ``clip(alpha * x + beta, 0, 1)``; ``gelu`` is the exact (erf) form.
ACTIVATIONS: dict[str, tuple[float, float]] = {
    "linear": (0.0, 0.0),
    "sigmoid": (0.0, 0.0),
    "tanh": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "hard_sigmoid": (1.0 / 6.0, 0.5),
    "leaky_relu": (0.01, 0.0),
    "elu": (1.0, 0.0),
    "selu": (0.0, 0.0),
    "softplus": (0.0, 0.0),
    "softsign": (0.0, 0.0),
    "swish": (0.0, 0.0),
    "gelu": (0.0, 0.0),
    "gelu_tanh": (0.0, 0.0),
    "softmax": (0.0, 0.0),
    "log_softmax": (0.0, 0.0),
}
#: Activations that mix features, so they cannot act inside a gate.
NOT_ELEMENTWISE = frozenset({"softmax", "log_softmax"})

#: Gates per hidden unit, in the order of the rows of ``w_ih``: LSTM i f g o, GRU r z n.
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
DIRECTIONS = ("forward", "reverse", "bidirectional")
_WEIGHT_NAMES = {
    "lstm": ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "peephole"),
    "gru": ("w_ih", "w_hh", "b_ih", "b_hh"),
    "rnn": ("w_ih", "w_hh", "b_ih", "b_hh"),
}


@dataclass(frozen=True)
class Activation:
    """An activation function by name, with its parameters.

    Raises:
        GraphError: the name is not in :data:`ACTIVATIONS`, or a parameter is not finite.
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ACTIVATIONS:
            near = did_you_mean(self.name, ACTIVATIONS)
            raise GraphError(f"unknown activation {self.name!r}; known: {', '.join(ACTIVATIONS)}{near}")
        for attr, default in zip(("alpha", "beta"), ACTIVATIONS[self.name], strict=True):
            value = getattr(self, attr)
            value = default if value is None else number(f"activation {self.name}", attr, value)
            object.__setattr__(self, attr, value)

    def __str__(self) -> str:
        if self.name == "hard_sigmoid":
            return f"hard_sigmoid({self.alpha:.4g}x+{self.beta:.4g})"
        if self.name in ("leaky_relu", "elu"):
            return f"{self.name}({self.alpha:.4g})"
        return self.name


def as_activation(value: str | Activation | None) -> Activation:
    """``None`` -> linear, a name -> that activation with default parameters."""
    if isinstance(value, Activation):
        return value
    return Activation("linear" if value is None else value)


@dataclass(frozen=True)
class Value:
    """One array that flows through the graph; see the module's table of kinds."""

    name: str
    kind: str
    size: int
    axis: int  #: time axis; -1 for vec


@dataclass
class Node:
    """One operation. ``inputs`` and ``outputs`` index ``Graph.values``; ``None`` marks an absent one."""

    op: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    parameters: int | None = None  #: how many the source had, where a file says so; see Graph.parameters


@dataclass
class SelfTest:
    """Inputs and the outputs that the source model gave for them, kept in the file.

    ``inputs`` and ``outputs`` hold one array per graph input and output, in order. An output passes
    within ``atol + rtol * abs(expected)``. A file takes an ``rtol`` up to 0.01, and an ``atol`` up to
    1e-5 or a hundredth of the largest number of each output: beyond, wrong numbers would pass.
    """

    inputs: list[NDArray[Any]]
    outputs: list[Array]
    atol: float = 1e-5
    rtol: float = 1e-4


class Graph:
    """A model under construction or as read from a file. Methods that add a node return value ids.

    Every method raises :class:`~lstm_rt.errors.GraphError` naming the op and what was expected
    when kinds, sizes or options do not fit.
    """

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.n_axes = 0
        #: Free-form JSON-able facts: ``source`` (framework, version, sha256, file), ``tool``.
        self.meta: dict[str, Any] = {}
        self.selftest: SelfTest | None = None

    # -- values ---------------------------------------------------------------------------------

    def new_axis(self) -> int:
        """A fresh time axis."""
        check_limit("time axes", self.n_axes + 1, MAX_AXES, AxesError)
        self.n_axes += 1
        return self.n_axes - 1

    def input(self, name: str, kind: str, size: int = 0, axis: int | None = None) -> int:
        """Declare a graph input. A time-bound kind without ``axis`` gets a new time axis.

        ``kind="lengths"`` binds the valid lengths of ``axis`` to this input: reverse directions,
        final states and ``select(-1)`` on that axis then respect it. A mask cannot be an input:
        take it as ids and make it one with :meth:`mask_ids`.
        """
        name = _name("input", name)
        if kind == "mask":
            raise GraphError(f"input {name!r}: a mask cannot be an input; take it as ids and use mask_ids")
        if kind not in INPUT_KINDS:
            raise GraphError(f"input {name!r}: unknown kind {kind!r}; known: {', '.join(INPUT_KINDS)}")
        size = _integer(f"input {name!r}", "size", size)
        if kind == "vec":
            axis = -1
        elif axis is None:
            if kind == "lengths":
                raise GraphError(f"input {name!r}: lengths need the time axis they belong to")
            axis = self.new_axis()
        if kind != "vec" and not 0 <= _integer(f"input {name!r}", "axis", axis) < self.n_axes:
            raise GraphError(f"input {name!r}: time axis {axis} does not exist")
        if (size > 0) != (kind in ("seq", "vec")):
            raise GraphError(f"input {name!r}: size {size} does not fit kind {kind}")
        if any(self.values[i].name == name for i in self.inputs):
            raise GraphError(f"two inputs are named {name!r}")
        if kind == "lengths" and any(
            self.values[i].kind == "lengths" and self.values[i].axis == axis for i in self.inputs
        ):
            raise GraphError(f"input {name!r}: time axis {axis} already has lengths")
        value = self._new_value(name, kind, size, axis)
        self.inputs.append(value)
        return value

    def output(self, value: int, name: str) -> None:
        """Make ``value`` (of kind seq or vec) a graph output called ``name``."""
        name, v = _name("output", name), self._expect("output", value, "seq", "vec")
        if value in self.outputs:
            raise GraphError(f"output {name!r}: this value already is the output {v.name!r}")
        if any(self.values[o].name == name for o in self.outputs):
            raise GraphError(f"two outputs are named {name!r}")
        if value in self.inputs:
            value = self.activation(value, "linear")  # an output needs storage of its own
            v = self.values[value]
        self.values[value] = Value(name, v.kind, v.size, v.axis)
        self.outputs.append(value)

    # -- ops ------------------------------------------------------------------------------------

    def embedding(self, ids: int, table: ArrayLike) -> int:
        """Rows of ``table`` ``(V, F)`` looked up by id; ids outside ``[0, V)`` are an error at run time."""
        v = self._expect("embedding", ids, "ids")
        w = _weight("embedding", "table", table, (None, None))
        check_limit("rows of an embedding", len(w), MAX_ROWS)
        out = self._new_value("", "seq", w.shape[1], v.axis)
        return self._add("embedding", (ids,), out, {}, {"table": w})

    def mask_ids(self, ids: int, value: int = 0) -> int:
        """Mask that is 0 where the id equals ``value`` (Keras ``mask_zero``)."""
        v = self._expect("mask_ids", ids, "ids")
        value = _integer("mask_ids", "value", value)
        if not -(1 << 31) <= value < 1 << 31:
            raise GraphError(f"mask_ids: value is {value}, expected an int32")
        return self._add("mask_ids", (ids,), self._new_value("", "mask", 0, v.axis), {"value": value})

    def mask_values(self, x: int, value: float = 0.0) -> int:
        """Mask that is 0 where all features equal ``value`` (Keras ``Masking``)."""
        v = self._expect("mask_values", x, "seq")
        attrs = {"value": number("mask_values", "value", value)}
        return self._add("mask_values", (x,), self._new_value("", "mask", 0, v.axis), attrs)

    def apply_mask(self, x: int, mask: int) -> int:
        """``x`` with masked steps set to 0."""
        v = self._expect("apply_mask", x, "seq")
        m = self._expect("apply_mask", mask, "mask")
        self._same_axis("apply_mask", v, m)
        return self._add("apply_mask", (x, mask), self._like(v))

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
        hidden_size = _integer(op, "hidden_size", hidden_size)
        if hidden_size < 1:
            raise GraphError(f"{op}: hidden_size is {hidden_size}, expected at least 1")
        check_limit("hidden units", hidden_size, MAX_SIZE)
        acts = _cell_activations(op, activations)
        clip = number(op, "clip", clip)
        if clip < 0:
            raise GraphError(f"{op}: clip is {clip}, expected 0 (off) or a positive number")
        suffixes = ("", "_reverse") if direction == "bidirectional" else ("",)
        checked, r = _recurrent_weights(op, weights, suffixes, hidden_size, v.size)
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

    def dense(
        self, x: int, weight: ArrayLike, bias: ArrayLike | None = None, activation: str | Activation | None = None
    ) -> int:
        """``activation(x @ weight.T + bias)``, weight ``(O, I)`` as in ``torch.nn.Linear``."""
        v = self._expect("dense", x, "seq", "vec")
        w = _weight("dense", "weight", weight, (None, v.size))
        weights = {"weight": w}
        if bias is not None:
            weights["bias"] = _weight("dense", "bias", bias, (w.shape[0],))
        out = self._new_value("", v.kind, w.shape[0], v.axis)
        return self._add("dense", (x,), out, {"activation": as_activation(activation)}, weights)

    def activation(self, x: int, activation: str | Activation) -> int:
        """An activation on its own."""
        v = self._expect("activation", x, "seq", "vec")
        return self._add("activation", (x,), self._like(v), {"activation": as_activation(activation)})

    def layernorm(self, x: int, gamma: ArrayLike | None, beta: ArrayLike | None, eps: float) -> int:
        """``(x - mean) / sqrt(var + eps) * gamma + beta`` over the features (Ba et al. 2016)."""
        v = self._expect("layernorm", x, "seq", "vec")
        weights = _optional_vectors("layernorm", v.size, gamma=gamma, beta=beta)
        return self._add("layernorm", (x,), self._like(v), {"eps": _eps("layernorm", eps)}, weights)

    def batchnorm(
        self,
        x: int,
        mean: ArrayLike,
        var: ArrayLike,
        gamma: ArrayLike | None,
        beta: ArrayLike | None,
        eps: float,
    ) -> int:
        """``(x - mean) / sqrt(var + eps) * gamma + beta`` with the statistics of training."""
        v = self._expect("batchnorm", x, "seq", "vec")
        weights = _optional_vectors("batchnorm", v.size, mean=mean, var=var, gamma=gamma, beta=beta)
        if np.any(weights["var"] < 0):
            raise GraphError("batchnorm: var holds a negative number")
        return self._add("batchnorm", (x,), self._like(v), {"eps": _eps("batchnorm", eps)}, weights)

    def binary(self, op: str, a: int, b: int) -> int:
        """``add``, ``mul`` or ``average`` of two values of the same kind and size."""
        if op not in ("add", "mul", "average"):
            raise GraphError(f"unknown binary op {op!r}; known: add, mul, average")
        va, vb = self._expect(op, a, "seq", "vec"), self._expect(op, b, "seq", "vec")
        if va.kind != vb.kind or va.size != vb.size:
            raise GraphError(f"{op}: {va.kind} of {va.size} and {vb.kind} of {vb.size} features differ")
        self._same_axis(op, va, vb)
        return self._add(op, (a, b), self._like(va))

    def concat(self, *parts: int) -> int:
        """Features of several values (all seq on one axis, or all vec) side by side."""
        if not 2 <= len(parts) <= MAX_PARTS:
            raise GraphError(f"concat: {len(parts)} parts, expected 2 to {MAX_PARTS}")
        vs = [self._expect("concat", p, "seq", "vec") for p in parts]
        for v in vs[1:]:
            if v.kind != vs[0].kind:
                raise GraphError(f"concat: cannot join {vs[0].kind} and {v.kind}")
            self._same_axis("concat", vs[0], v)
        out = self._new_value("", vs[0].kind, sum(v.size for v in vs), vs[0].axis)
        return self._add("concat", parts, out)

    def slice(self, x: int, start: int, size: int) -> int:
        """Features ``start`` to ``start + size``."""
        v = self._expect("slice", x, "seq", "vec")
        start, size = _integer("slice", "start", start), _integer("slice", "size", size)
        if start < 0 or size < 1 or start + size > v.size:
            raise GraphError(f"slice: [{start}, {start + size}) is not within {v.size} features")
        out = self._new_value("", v.kind, size, v.axis)
        return self._add("slice", (x,), out, {"start": start, "size": size})

    def select(self, x: int, index: int = -1) -> int:
        """One step of a sequence: 0 the first, -1 the last valid one."""
        v = self._expect("select", x, "seq")
        if index not in (0, -1):
            raise GraphError(f"select: index is {index}, expected 0 or -1")
        return self._add("select", (x,), self._new_value("", "vec", v.size, -1), {"index": index})

    def reverse(self, x: int) -> int:
        """The sequence backwards, each row within its own length."""
        v = self._expect("reverse", x, "seq")
        return self._add("reverse", (x,), self._like(v))

    # -- whole-graph questions ------------------------------------------------------------------

    def check(self) -> None:
        """Raise :class:`GraphError` unless the graph has an input and an output, and fits into a file."""
        if not self.inputs:
            raise GraphError("the graph has no input")
        if not self.outputs:
            raise GraphError("the graph has no output")
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

    # -- helpers --------------------------------------------------------------------------------

    def _new_value(self, name: str, kind: str, size: int, axis: int) -> int:
        check_limit("features of a value", size, MAX_SIZE)
        self.values.append(Value(name, kind, size, axis))
        return len(self.values) - 1

    def _like(self, v: Value) -> int:
        return self._new_value("", v.kind, v.size, v.axis)

    def _add(
        self,
        op: str,
        inputs: tuple[int, ...],
        output: int,
        attrs: dict[str, Any] | None = None,
        weights: dict[str, Array] | None = None,
    ) -> int:
        self.nodes.append(Node(op, inputs, (output,), attrs or {}, weights or {}))
        return output

    def _expect(self, op: str, value: int, *kinds: str) -> Value:
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


def check_limit(what: str, count: int, most: int, error: type[GraphError] = GraphError) -> None:
    """Raise ``error`` where a graph has more of something than a file can hold."""
    if count > most:
        raise error(f"{count:,} {what} are more than the {most:,} that an .lrt file can hold")


def _weight(op: str, name: str, array: ArrayLike, shape: tuple[int | None, ...]) -> Array:
    """A C-contiguous float32 copy-if-needed of ``array``, its shape checked (None: any size >= 1)."""
    try:
        a = np.asarray(array)
    except ValueError as e:  # rows of different lengths
        raise GraphError(f"{op}: {name} is not an array: {e}") from e
    if a.dtype.kind != "f":
        raise GraphError(f"{op}: {name} has dtype {a.dtype}, expected a float array")
    fits = a.ndim == len(shape) and all(
        n >= 1 if want is None else n == want for n, want in zip(a.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise GraphError(f"{op}: {name} has shape {a.shape}, expected ({wanted})")
    with np.errstate(over="ignore"):  # too large for float32: infinite, as the caller may see in info
        return np.ascontiguousarray(a, dtype=np.float32)


def _name(what: str, name: Any) -> str:
    if not isinstance(name, str):
        raise GraphError(f"{what}: the name is {name!r}, expected a string")
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise GraphError(f"{what}: the name {name!r} is not valid Unicode") from None
    return name


def _integer(what: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise GraphError(f"{what}: {name} is {value!r}, expected an integer") from None


def number(what: str, name: str, value: Any) -> float:
    """A number that float32 holds, as files do."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise GraphError(f"{what}: {name} is {value!r}, expected a number") from None
    except OverflowError:  # an int of hundreds of digits
        result = float("inf")
    if not abs(result) <= float(np.finfo(np.float32).max):
        raise GraphError(f"{what}: {name} is {result:g}, expected a finite number of float32")
    return result


def _optional_vectors(op: str, size: int, **arrays: ArrayLike | None) -> dict[str, Array]:
    return {k: _weight(op, k, a, (size,)) for k, a in arrays.items() if a is not None}


def _eps(op: str, eps: float) -> float:
    eps = number(op, "eps", eps)
    if eps < 0:
        raise GraphError(f"{op}: eps is {eps}, expected a non-negative number")
    return eps


def _cell_activations(op: str, given: Sequence[str | Activation] | None) -> tuple[Activation, ...]:
    defaults = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}[op]
    if isinstance(given, (str, Activation)) or not (given is None or isinstance(given, Iterable)):
        raise GraphError(f"{op}: activations is {given!r}, expected a list of {len(defaults)}")
    acts = tuple(as_activation(a) for a in (defaults if given is None else given))
    if len(acts) != len(defaults):
        raise GraphError(f"{op}: {len(acts)} activations given, expected {len(defaults)}")
    for a in acts:
        if a.name in NOT_ELEMENTWISE:
            raise GraphError(f"{op}: {a.name} cannot be a gate activation, it mixes features")
    return acts


def _recurrent_weights(
    op: str, given: Mapping[str, ArrayLike | None], suffixes: tuple[str, ...], hidden: int, inputs: int
) -> tuple[dict[str, Array], int]:
    """Check all weights of a recurrent layer; returns them and the size of ``h``."""
    known = {name + s for name in _WEIGHT_NAMES[op] for s in suffixes}
    unknown = sorted(k for k, w in given.items() if w is not None and k not in known)
    if unknown:
        raise GraphError(f"{op}: unexpected weights {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
    rows = GATES[op] * hidden
    w_hr = given.get("w_hr")
    r = hidden if w_hr is None else _weight(op, "w_hr", w_hr, (None, hidden)).shape[0]
    shapes: dict[str, tuple[int | None, ...]] = {
        "w_ih": (rows, inputs),
        "w_hh": (rows, r),
        "b_ih": (rows,),
        "b_hh": (rows,),
        "w_hr": (r, hidden),
        "peephole": (3, hidden),
    }
    out: dict[str, Array] = {}
    for s in suffixes:
        for name in _WEIGHT_NAMES[op]:
            array = given.get(name + s)
            if array is not None:
                out[name + s] = _weight(op, name + s, array, shapes[name])
            elif name in ("w_ih", "w_hh"):
                raise GraphError(f"{op}: weight {name + s} is missing")
    for name in _WEIGHT_NAMES[op]:
        if len({name + s in out for s in suffixes}) > 1:
            raise GraphError(f"{op}: {name} is given for one direction only")
    return out, r
