"""Recurrent cells that scripts have written by hand: their weights have any names, and any order of gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.errors import ConvertError
from lstm_rt.graph import GATES, Array

from .layers import Stack
from .row import Layer

if TYPE_CHECKING:
    from .build import Builder

#: Gates in the order of a graph. A script's ``c`` is what papers call the candidate: g of an LSTM, n of a GRU.
_ORDER = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}
_MATRICES, _BIASES = ("w_ih", "w_hh"), ("b_ih", "b_hh")
CELL_OPTIONS = (*_MATRICES, *_BIASES, "gates", "transpose")


def add_cell(b: Builder, layer: Layer, x: int, activations: tuple[str, ...] | None) -> Stack:
    """A layer of one direction whose weights are named one by one.

    Raises:
        ConvertError: a weight is missing, its shape does not fit, or the gates are no order of those of the cell.
    """
    op = layer.table["op"]
    if "weights" in layer.table:
        raise ConvertError(
            f"{layer.what}: weights is the prefix of a layer of torch.nn; the options of other cells "
            f"({', '.join((*CELL_OPTIONS, 'reset_after'))}) stand instead of it"
        )
    order = _gate_order(layer, op)
    made = {name: _weight(b, layer, name, order) for name in (*_MATRICES, *_BIASES) if name in layer.table}
    for name in _MATRICES:
        if name not in made:
            layer.required(name, str)
        if made[name].ndim != 2:
            raise ConvertError(f"{layer.what}: {name} has shape {made[name].shape}, expected a matrix")
    hidden = made["w_hh"].shape[1]
    states = {k: b.states(layer, k, 1, 1)[0] for k in ("h0", "c0") if k in layer.table}
    weights: dict[str, Any] = {n: a.ravel() if n in _BIASES else a for n, a in made.items()}
    seq, h, c = b.graph.recurrent(
        op, x, weights, hidden_size=hidden, activations=activations,
        reset_after=layer.optional("reset_after", bool, True), h0=states.get("h0"), c0=states.get("c0"),
    )  # fmt: skip
    return Stack(seq, [h], [] if c is None else [c], 1)


def _gate_order(layer: Layer, op: str) -> list[int]:
    """Where in the script's order each gate of a graph is."""
    own = _ORDER[op]
    given = layer.optional("gates", str, own)
    letters = given.replace("c", "g" if op == "lstm" else "n")
    if sorted(letters) != sorted(own):
        raise ConvertError(f"{layer.what}: gates is {given!r}, expected {own!r} in the order of the weights")
    return [letters.index(gate) for gate in own]


def _weight(b: Builder, layer: Layer, name: str, order: list[int]) -> Array:
    """One array, or one for each gate, with the gates in a graph's order."""
    value = layer.table[name]
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(n, str) for n in names) or len(names) not in (1, len(order)):
        raise ConvertError(f"{layer.what}: {name} is {value!r}, expected the name of an array, or one for each gate")
    parts = [b.array(f"{layer.what}: {name}", n) for n in names]
    if name in _MATRICES and layer.optional("transpose", bool, False):
        parts = [p.T for p in parts]
    if len({p.shape for p in parts}) != 1:
        raise ConvertError(f"{layer.what}: the arrays of {name} have shapes {[p.shape for p in parts]}")
    whole = np.concatenate(parts) if name in _MATRICES else np.concatenate([p.ravel() for p in parts])
    if len(whole) % len(order):
        raise ConvertError(
            f"{layer.what}: {name} has shape {whole.shape}, expected {len(order)} rows per hidden unit"
        )
    gates = whole.reshape(len(order), -1, *whole.shape[1:])
    return np.ascontiguousarray(gates[order].reshape(whole.shape))


assert GATES.keys() == _ORDER.keys()
