"""Inputs and outputs: between the graph's orders of axes and the one within the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_rt.graph import DTYPES, Value

from .onnx_build import Builder, Port
from .onnx_state import Export


def declare_ports(e: Export) -> list[tuple[int, Port]]:
    """The model's inputs, and the outputs that :func:`declare_outputs` makes; named before anything within is."""
    inputs = [(value, _port(e, e.graph.values[value], "input")) for value in e.graph.inputs]
    outputs = [(value, _port(e, e.graph.values[value], "output")) for value in e.graph.outputs]
    for value, port in inputs:
        v = e.graph.values[value]
        e.b.inputs.append(port)
        e.b.layer = port.name
        e.values[value] = _from_port(e.b, port.name, v)
        if v.kind != "vec":
            e.axes.bring(v.axis, v.kind, e.values[value])
    return outputs


def declare_outputs(e: Export, outputs: Sequence[tuple[int, Port]]) -> None:
    """The model's outputs, once their values are there."""
    for value, port in outputs:
        e.b.layer = port.name
        e.b.output(_to_port(e.b, e.values[value], e.graph.values[value]), port)


def _port(e: Export, v: Value, what: str) -> Port:
    name = e.b.unique(v.name or what)
    if name != v.name:
        e.notes.append(f"{what} {v.name!r} is called {name!r}: names of inputs and outputs differ in ONNX")
    steps = "T" if e.graph.n_axes < 2 else f"T{v.axis}"
    return Port(name, np.dtype(DTYPES[v.kind]), v.shape("N", steps))


def _from_port(b: Builder, x: str, v: Value) -> str:
    """``Value.to_batch_first``, with the time first."""
    if v.order == "groups_first":
        return b.add("Reshape", b.add("Transpose", x, perm=[1, 0, 2]), b.ints(0, v.size))
    if v.order == "unbatched":
        return b.add("Reshape", x, b.ints(1, v.size)) if v.groups else b.add("Unsqueeze", x, b.ints(_rows_at(v)))
    return _swapped(b, x, v) if v.order == "batch_first" else x


def _to_port(b: Builder, x: str, v: Value) -> str:
    """The inverse of :func:`_from_port`."""
    if v.order == "groups_first":
        grouped = b.add("Reshape", x, b.ints(0, v.groups, v.size // v.groups))
        return b.add("Transpose", grouped, perm=[1, 0, 2])
    if v.order == "unbatched":
        if v.groups:
            return b.add("Reshape", x, b.ints(v.groups, v.size // v.groups))
        return b.add("Squeeze", x, b.ints(_rows_at(v)))
    return _swapped(b, x, v) if v.order == "batch_first" else x


def _rows_at(v: Value) -> int:
    return 1 if v.kind in ("seq", "ids") else 0


def _swapped(b: Builder, x: str, v: Value) -> str:
    perm: dict[str, list[int]] = {"seq": [1, 0, 2], "ids": [1, 0]}
    return b.add("Transpose", x, perm=perm[v.kind]) if v.kind in perm else x
