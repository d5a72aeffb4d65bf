"""The same bits, however a model is run."""

from __future__ import annotations

from typing import Any

import numpy as np

import lstm_rt
from helpers.threads import on_lanes
from lstm_rt import Model
from lstm_rt._core import _all_kernels
from lstm_rt.graph import Graph

#: Tables that give one another's bits, of those that this CPU can run.
FUSED = [name for name, fused in _all_kernels() if fused and name in lstm_rt.kernels()]


def same(a: Any, b: Any) -> None:
    """One array or several have the same bits."""
    a, b = (x if isinstance(x, tuple) else (x,) for x in (a, b))
    for x, y in zip(a, b, strict=True):
        assert x.tobytes() == y.tobytes()


def dense_graph(weight: Any, bias: Any = None) -> Graph:
    """A dense layer alone."""
    g = Graph()
    g.output(g.dense(g.input("x", "seq", weight.shape[1]), weight, bias), "y")
    return g


def check_rows_alone(model: Model, x: Any, lengths: Any) -> None:
    """Of a layer that gives all its steps and its last: each row of a ragged batch alone, and zeros beyond its end."""
    y, h, *_ = model(x, lengths=np.array(lengths))
    for row, n in enumerate(lengths):
        alone = model(np.ascontiguousarray(x[row : row + 1, :n]))
        same(np.ascontiguousarray(y[row, :n]), alone[0][0])
        same(np.ascontiguousarray(h[row]), alone[1][0])
        assert not y[row, n:].any()


def check_threads(blob: bytes, x: Any, *lanes: int) -> None:
    """One thread, and several."""
    one = Model(blob, threads=1)(*x)
    for n in lanes:
        same(one, on_lanes(n, lambda n=n: Model(blob, threads=n)(*x)))
