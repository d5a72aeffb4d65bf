"""Recurrent layers as ONNX's LSTM, GRU and RNN; what those cannot say, as a Scan of the cell's equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_rt.graph import Array, Node

from .onnx_activations import cell_attributes
from .onnx_build import Port, dtype_code
from .onnx_scan import scan_direction
from .onnx_state import Export

#: Our blocks of gates in ONNX's order: LSTM i o f c, GRU z r h.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_PEEPHOLES = (0, 2, 1)  #: ONNX has i o f, as we have i f o


def directions_of(node: Node) -> list[tuple[str, bool]]:
    """The suffix of the weights of each direction, and whether it goes backwards."""
    direction = node.attrs["direction"]
    return [("", False), ("_reverse", True)] if direction == "bidirectional" else [("", direction == "reverse")]


def add_recurrent(e: Export, node: Node, layer: str) -> None:
    """The nodes of a recurrent layer. Layers whose states are the caller's take and give them as ``<layer>_h0``..."""
    attrs = cell_attributes(node.attrs["activations"], len(directions_of(node)))
    direct = attrs is not None and node.inputs[3] is None and "w_hr" not in node.weights
    initial = [_initial(e, node, layer, k, direct) for k in (0, 1)[: 2 if node.op == "lstm" else 1]]
    outputs = _operator(e, node, attrs or {}, initial) if direct else _scans(e, node, initial)
    seq, states = outputs[0], outputs[1:]
    for value, state, letter in zip(node.outputs[1:], states, "hc", strict=False):
        if e.is_read(value):
            assert value is not None
            e.values[value] = _side_by_side(e, node, state, letter)
        if e.with_states and keeps_state(node):
            e.final_states.append((state, _state_port(e, node, f"{layer}_{letter}n", letter)))
    value = node.outputs[0]
    if e.is_read(value):
        assert value is not None
        e.values[value] = seq
        e.note_zero_after_end(node)


def keeps_state(node: Node) -> bool:
    """Is the state of this layer the caller's, and not a value of the graph?"""
    return node.inputs[1] is None and node.inputs[2] is None


def _width(node: Node, letter: str) -> int:
    hidden: int = node.attrs["hidden_size"]
    return (node.attrs["proj_size"] or hidden) if letter == "h" else hidden


def _state_port(e: Export, node: Node, name: str, letter: str) -> Port:
    shape = (len(directions_of(node)), "N", _width(node, letter))
    return Port(e.b.unique(name), np.dtype(np.float32), shape)


def _initial(e: Export, node: Node, layer: str, k: int, may_be_zero: bool) -> str:
    """An initial state ``(D, N, H)``; "" for zero where the operator takes that."""
    b, letter = e.b, "hc"[k]
    count, width = len(directions_of(node)), _width(node, letter)
    value = node.inputs[1 + k]
    if value is not None:
        if count == 1:
            return b.add("Unsqueeze", e.values[value], b.ints(0))
        return b.add("Transpose", b.add("Reshape", e.values[value], b.ints(0, count, width)), perm=[1, 0, 2])
    if e.with_states and keeps_state(node):
        port = _state_port(e, node, f"{layer}_{letter}0", letter)
        b.inputs.append(port)
        return port.name
    return "" if may_be_zero else e.zeros(count, e.rows(), width)


def _side_by_side(e: Export, node: Node, state: str, letter: str) -> str:
    """Final states ``(D, N, H)`` as the vec ``(N, D*H)``."""
    if len(directions_of(node)) == 1:
        return e.b.add("Squeeze", state, e.b.ints(0))
    rows_first = e.b.add("Transpose", state, perm=[1, 0, 2])
    return e.b.add("Reshape", rows_first, e.b.ints(0, 2 * _width(node, letter)))


# -- as one operator --------------------------------------------------------------------------------


def _operator(e: Export, node: Node, attrs: Mapping[str, Any], initial: list[str]) -> list[str]:
    """The sequence and the final states."""
    b, op, axis = e.b, node.op, e.axis(node.inputs[0] or 0)
    options = {**attrs, "direction": node.attrs["direction"], "hidden_size": node.attrs["hidden_size"]}
    if node.attrs["clip"]:
        options["clip"] = node.attrs["clip"]
    if op == "gru":
        options["linear_before_reset"] = int(node.attrs["reset_after"])
    weights = [_stacked(node, suffix) for suffix, _ in directions_of(node)]
    w, r, bias, peephole = (
        b.constant(np.stack([d[name] for d in weights]), name) if name in weights[0] else ""
        for name in ("W", "R", "B", "P")
    )
    lengths = e.axes.lengths(axis) if e.axes.has_lengths(axis) else ""
    if lengths and any(initial):
        e.note("rows of length 0: onnxruntime ends layers in zero there, not in the initial states")
    inputs = [e.values[node.inputs[0] or 0], w, r, bias, lengths, *initial]
    if op == "lstm":
        inputs.append(peephole)
    wanted = [e.is_read(o) or (e.with_states and keeps_state(node) and k > 0) for k, o in enumerate(node.outputs)]
    outputs = b.add_many(_OPERATORS[op], inputs, wanted[: 3 if op == "lstm" else 2], **options)
    if outputs[0]:
        outputs[0] = _joined(e, node, outputs[0])
    return outputs


def _joined(e: Export, node: Node, sequence: str) -> str:
    """``(T, D, N, H)`` as ``(T, N, D*H)``."""
    if len(directions_of(node)) == 1:
        return e.b.add("Squeeze", sequence, e.b.ints(1))
    rows_first = e.b.add("Transpose", sequence, perm=[0, 2, 1, 3])
    return e.b.add("Reshape", rows_first, e.b.ints(0, 0, 2 * _width(node, "h")))


def _stacked(node: Node, suffix: str) -> dict[str, Array]:
    """The weights of one direction as ONNX has them, B being both biases side by side."""
    blocks, w = _GATES[node.op], node.weights
    hidden = node.attrs["hidden_size"]

    def gates(name: str) -> Array:
        a = w[name + suffix]
        return np.concatenate([a[k * hidden : (k + 1) * hidden] for k in blocks])

    def bias(name: str) -> Array:
        return gates(name) if name + suffix in w else np.zeros(len(blocks) * hidden, np.float32)

    found = {"W": gates("w_ih"), "R": gates("w_hh")}
    if any(name in w for name in ("b_ih", "b_hh", "b_ih_reverse", "b_hh_reverse")):
        found["B"] = np.concatenate([bias("b_ih"), bias("b_hh")])
    if "peephole" + suffix in w:
        found["P"] = np.concatenate([w["peephole" + suffix][k] for k in _PEEPHOLES])
    return found


# -- as Scans ---------------------------------------------------------------------------------------


def _scans(e: Export, node: Node, initial: list[str]) -> list[str]:
    """A Scan for each direction: the sequence and the final states."""
    b, axis = e.b, e.axis(node.inputs[0] or 0)
    valid = e.axes.valid(axis) if e.axes.has_lengths(axis) else ""
    counts = e.counting(node.inputs[0] or 0, node.inputs[3], whole=False)
    parts = []
    for k, (suffix, backwards) in enumerate(directions_of(node)):
        first = [b.add("Gather", state, b.constant(np.int64(k), f"index_{k}"), axis=0) for state in initial]
        seq, *states = scan_direction(e, node, suffix, backwards, first, counts)
        shown = _shown(e, node, counts, valid, backwards) if counts else ""
        if shown:
            seq = b.add("Where", shown, seq, b.number(0.0))
        parts.append([seq, *(b.add("Unsqueeze", state, b.ints(0)) for state in states)])
    if len(parts) == 1:
        return parts[0]
    sides = zip(*parts, strict=True)
    return [b.add("Concat", *side, axis=-1 if k == 0 else 0) for k, side in enumerate(sides)]


def _shown(e: Export, node: Node, counts: str, valid: str, backwards: bool) -> str:
    """At which steps the sequence shows h, bool ``(T, N, 1)``; elsewhere it is zero. "": at all."""
    if node.attrs["zero_masked"]:
        return counts
    if keeps_state(node) or node.inputs[3] is None:
        return valid
    b = e.b
    numbers = b.add("Cast", counts, to=dtype_code(np.int32))
    so_far = b.add("CumSum", numbers, b.constant(np.int64(0), "zero"), reverse=int(backwards))
    begun = b.add("Greater", so_far, b.constant(np.int32(0), "none"))
    return b.add("And", begun, valid) if valid else begun
