"""Inputs and outputs: between the graph's orders of axes and the one within the file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from lstm_rt._shapes import JOINED, dims_of
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
        if v.axis >= 0:
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
    dims = _dims(v)
    order = _time_first(dims)
    if order != sorted(order):
        x = b.add("Transpose", x, perm=order)
    if "N" not in dims:
        x = b.add("Unsqueeze", x, b.ints(_count(v) - 1))
    return x if _is_plain(v, dims) else b.add("Reshape", x, b.ints(*[0] * _count(v), *([v.size] if v.size else [])))


def _to_port(b: Builder, x: str, v: Value) -> str:
    """The inverse of :func:`_from_port`."""
    dims = _dims(v)
    order = _time_first(dims)
    if not _is_plain(v, dims):
        x = b.add("Reshape", x, b.ints(*[0] * _count(v), *_sizes(dims)))
    if "N" not in dims:
        x = b.add("Squeeze", x, b.ints(_count(v) - 1))
    x = b.add("Transpose", x, perm=np.argsort(order).tolist()) if order != sorted(order) else x
    return _joined(b, x, v) if JOINED in v.dims else x


def _joined(b: Builder, x: str, v: Value) -> str:
    """With dims joined that are one axis of the output's array."""
    sizes = iter(b.add("Shape", x, start=i, end=i + 1) if isinstance(d, str) else d for i, d in enumerate(_dims(v)))
    axes: list[list[int | str]] = []
    for i, d in enumerate(v.dims):
        if d != JOINED:
            axes += [[]] if i == 0 or v.dims[i - 1] != JOINED else []
            axes[-1].append(next(sizes))
    parts = [reduce(lambda p, q: b.add("Mul", p, q), [b.ints(n) if isinstance(n, int) else n for n in a]) for a in axes]
    return b.add("Reshape", x, parts[0] if len(parts) == 1 else b.add("Concat", *parts, axis=0))


def _dims(v: Value) -> tuple[int | str, ...]:
    return dims_of(v.timed, v.size, v.order, v.groups, v.dims)


def _count(v: Value) -> int:
    """How many of the axes within the file are steps and rows."""
    return 2 if v.timed else 1


def _sizes(dims: tuple[int | str, ...]) -> list[int]:
    return [d for d in dims if isinstance(d, int)]


def _is_plain(v: Value, dims: tuple[int | str, ...]) -> bool:
    """Are the features one axis, as they are within the file?"""
    return len(_sizes(dims)) == (1 if v.size else 0)


def _time_first(dims: tuple[int | str, ...]) -> list[int]:
    """The order in which the axes of an array with these dims are T, N and the features."""
    return sorted(range(len(dims)), key=lambda i: {"T": 0, "N": 1}.get(str(dims[i]), 2))
