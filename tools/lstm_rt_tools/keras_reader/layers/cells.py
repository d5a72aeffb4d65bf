"""Recurrent cells of Keras's: what configurations and files say of them, in the layout of the graph's nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstm_rt.graph import GATES, Activation

from ..config import LayerSpec
from ..weights import FloatArray, Weights

_COMMON = ("units", "activation", "use_bias")
#: class -> graph op and the options of the cell; ``...Cell`` and ``CuDNN...`` are the same cells.
_CELLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "LSTM": ("lstm", (*_COMMON, "recurrent_activation")),
    "GRU": ("gru", (*_COMMON, "recurrent_activation", "reset_after")),
    "SimpleRNN": ("rnn", _COMMON),
    "LSTMCell": ("lstm", (*_COMMON, "recurrent_activation")),
    "GRUCell": ("gru", (*_COMMON, "recurrent_activation", "reset_after")),
    "SimpleRNNCell": ("rnn", _COMMON),
    "CuDNNLSTM": ("lstm", ("units",)),
    "CuDNNGRU": ("gru", ("units",)),
}
#: Cells, which a model may call as layers.
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells")
_LAYER_OPTIONS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
)
#: Layers around cells.
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "RNN")


@dataclass(frozen=True)
class Cell:
    """One cell, ready for :meth:`lstm_rt.graph.Graph.recurrent`."""

    op: str
    units: int
    activations: tuple[Activation, ...]
    reset_after: bool
    weights: dict[str, FloatArray]

    @property
    def n_states(self) -> int:
        return 2 if self.op == "lstm" else 1


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer: its cells, the first one reading the input, and what it does with them."""

    spec: LayerSpec
    cells: tuple[Cell, ...]
    sequences: bool
    states: bool
    backwards: bool = False
    zero_masked: bool = False

    @property
    def n_states(self) -> int:
        return sum(c.n_states for c in self.cells)


def read_cell(spec: LayerSpec, weights: Weights, extra: Sequence[str] = ()) -> Cell:
    """The cell of a layer or of a ``...Cell``; ``extra`` are options the caller interprets."""
    if spec.class_name not in _CELLS:
        raise spec.error(f"this cell is not supported; known: {', '.join(_CELLS)}")
    op, options = _CELLS[spec.class_name]
    spec.check_options((*options, *extra))
    cudnn = spec.class_name.startswith("CuDNN")
    units = spec.size("units")
    activations = _cudnn_activations(op) if cudnn else _activations(spec, op)
    # Keras 2 before 2.1 had no such option, and its GRU was the one of Cho et al.
    reset_after = op == "gru" and (cudnn or spec.flag("reset_after", spec.keras.major >= 3))
    bias = cudnn or spec.flag("use_bias", True)
    roles = ("kernel", "recurrent_kernel", "bias") if bias else ("kernel", "recurrent_kernel")
    arrays = weights.take(roles, str(spec))
    return Cell(op, units, activations, reset_after, _to_graph(spec, op, units, reset_after, arrays))


def _cudnn_activations(op: str) -> tuple[Activation, ...]:
    names = ("sigmoid", "tanh", "tanh") if op == "lstm" else ("sigmoid", "tanh")
    return tuple(Activation(name) for name in names)


def _activations(spec: LayerSpec, op: str) -> tuple[Activation, ...]:
    main = spec.activation("activation")
    if op == "rnn":
        return (main,)
    gate = spec.activation("recurrent_activation")
    return (gate, main, main) if op == "lstm" else (gate, main)


def _to_graph(
    spec: LayerSpec, op: str, units: int, reset_after: bool, arrays: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """Keras's matrices ``(inputs, gates * units)`` -> PyTorch's layout and gate order."""
    kernel, recurrent, bias = arrays["kernel"], arrays["recurrent_kernel"], arrays.get("bias")
    gates = GATES[op]
    if kernel.ndim != 2 or kernel.shape[1] != gates * units:
        raise spec.error(f"kernel has shape {kernel.shape}, expected (inputs, {gates * units})")
    if recurrent.shape != (units, gates * units):
        raise spec.error(f"recurrent_kernel has shape {recurrent.shape}, expected ({units}, {gates * units})")
    if bias is not None and op != "rnn" and bias.shape == (2 * gates * units,):
        kernel, recurrent = _from_cudnn(kernel, gates), _transpose_blocks(recurrent, gates)
        bias = bias.reshape(2, -1)
        if op == "lstm":
            bias = bias[0] + bias[1]
        elif not reset_after:
            raise spec.error("the weights are of a CuDNNGRU, but reset_after is false")
    result = {"w_ih": _order(op, kernel.T), "w_hh": _order(op, recurrent.T)}
    if bias is None:
        return result
    expected = (2, gates * units) if reset_after else (gates * units,)
    if bias.shape != expected:
        raise spec.error(f"bias has shape {bias.shape}, expected {expected}")
    for name, row in zip(("b_ih", "b_hh"), np.atleast_2d(bias), strict=False):
        result[name] = _order(op, row)
    return result


def _order(op: str, rows: FloatArray) -> FloatArray:
    """Gates are rows here; a GRU's come as z r h and go as r z n, the others agree."""
    if op != "gru":
        return np.ascontiguousarray(rows)
    z, r, n = np.split(rows, 3)
    return np.concatenate([r, z, n])


def _from_cudnn(kernel: FloatArray, gates: int) -> FloatArray:
    """CuDNN layers store the kernel of each gate as if it were ``(units, inputs)`` in memory."""
    blocks = [b.ravel().reshape(b.shape[1], b.shape[0]).T for b in np.split(kernel, gates, axis=1)]
    return np.concatenate(blocks, axis=1)


def _transpose_blocks(kernel: FloatArray, gates: int) -> FloatArray:
    return np.concatenate([b.T for b in np.split(kernel, gates, axis=1)], axis=1)


def read_recurrent(spec: LayerSpec, weights: Weights) -> Recurrent:
    if spec.class_name not in RECURRENT:
        raise spec.error(f"expected a recurrent layer: {', '.join(RECURRENT)}")
    if spec.class_name == "RNN":
        spec.check_options((*_LAYER_OPTIONS, "cell"))
        cells = _read_cells(spec.sublayer("cell"), weights)
    elif spec.class_name.startswith("CuDNN"):
        cells = (read_cell(spec, weights, _LAYER_OPTIONS),)
    else:
        cells = (read_cell(spec, weights.child("cell"), _LAYER_OPTIONS),)
    return Recurrent(
        spec,
        cells,
        sequences=spec.flag("return_sequences", False),
        states=spec.flag("return_state", False),
        backwards=spec.flag("go_backwards", False),
        zero_masked=spec.flag("zero_output_for_mask", False),
    )


def _read_cells(spec: LayerSpec, weights: Weights) -> tuple[Cell, ...]:
    inside = weights.child("cell", (spec.name,))
    if spec.class_name != "StackedRNNCells":
        return (read_cell(spec, inside),)
    spec.check_options(("cells",))
    listed = spec.required("cells")
    if not isinstance(listed, list) or not listed:
        raise spec.error("option cells: expected a list of cells")
    specs = [replace(spec, config={"cell": c}).sublayer("cell") for c in listed]
    groups = group_names([s.class_name for s in specs])
    return tuple(
        read_cell(s, inside.child(f"cells/{g}", (s.name,), i, len(specs)))
        for i, (s, g) in enumerate(zip(specs, groups, strict=True))
    )


def group_names(class_names: Sequence[str]) -> list[str]:
    """The group of each object of a list in a ``.keras`` archive: lstm_cell, lstm_cell_1, ..."""
    seen: dict[str, int] = {}
    groups = []
    for class_name in class_names:
        name = snake_case(class_name)
        seen[name] = seen.get(name, -1) + 1
        groups.append(f"{name}_{seen[name]}" if seen[name] else name)
    return groups


def snake_case(name: str) -> str:
    """``LSTMCell`` -> ``lstm_cell``, ``Conv2D`` -> ``conv2d``, as Keras does it."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
