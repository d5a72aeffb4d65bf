"""What the self-test is made of: inputs, and the outputs that the runtime gives for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph, Value

from ..judges import testdata
from .plan import Test

STREAM_STEPS, RUN_STEPS = 8, 12  #: of made-up inputs, at the most
ATOL, RTOL = 2e-5, 1e-4  #: what a device may be away: one without fused multiply-add rounds twice where others do once


def make_test(graph: Graph, model: Any, steps: int | None) -> Test:
    """Inputs of one row, those of the file's own self-test where it has some, and what the runtime makes of them."""
    streams = steps is None and model.can_stream
    most = STREAM_STEPS if streams else min(RUN_STEPS, steps or 1)
    rows = _from_selftest(graph, most) or _made_up(graph, most)
    outputs = _streamed(graph, model, rows) if streams else _run(graph, model, rows)
    scale = max((float(np.abs(y[np.isfinite(y)]).max(initial=0)) for y in outputs), default=0.0)
    return Test([r.reshape(len(r), -1) for r in rows], outputs, ATOL * max(scale, 1e-3), RTOL)


def _batch_first(v: Value, array: NDArray[Any]) -> NDArray[Any]:
    """Row 0 of an input as ``(steps, size)``, or ``(1, size)`` where it has no steps."""
    row = v.to_batch_first(array)[0]
    return np.ascontiguousarray(row.reshape(row.shape[0] if v.timed else 1, -1))


def _from_selftest(graph: Graph, most: int) -> list[NDArray[Any]]:
    test = graph.selftest
    if test is None:
        return []
    rows = [_batch_first(graph.values[i], a) for i, a in zip(graph.inputs, test.inputs, strict=True)]
    rows = [r[:most] if graph.values[i].timed else r for i, r in zip(graph.inputs, rows, strict=True)]
    timed = [r for i, r in zip(graph.inputs, rows, strict=True) if graph.values[i].timed]
    return rows if all(len(r) >= min(most, 4) for r in timed) else []


def _made_up(graph: Graph, most: int) -> list[NDArray[Any]]:
    arrays = testdata.make_inputs(graph, 1, most, seed=1)
    return [_batch_first(graph.values[i], a) for i, a in zip(graph.inputs, arrays, strict=True)]


def _given(v: Value, rows: NDArray[Any], steps: int) -> NDArray[Any]:
    """Rows as the runtime wants them, in the input's own order."""
    shape = (1, steps, v.size) if v.timed and v.size else (1, steps) if v.timed else (1, v.size) if v.size else (1,)
    return np.ascontiguousarray(v.from_batch_first(rows.reshape(shape)))


def _streamed(graph: Graph, model: Any, rows: list[NDArray[Any]]) -> list[NDArray[Any]]:
    values = [graph.values[i] for i in graph.inputs]
    steps = max(len(r) for r in rows)
    stream = model.stream()
    found: list[list[NDArray[Any]]] = [[] for _ in graph.outputs]
    for t in range(steps):
        x = [_given(v, r[t : t + 1] if v.timed else r, 1) for v, r in zip(values, rows, strict=True)]
        y = stream.feed(*x)
        for i, (index, out) in enumerate(zip(graph.outputs, y if isinstance(y, tuple) else (y,), strict=True)):
            found[i].append(graph.values[index].to_batch_first(np.asarray(out)).reshape(1, -1))
    return [np.concatenate(f).astype(np.float32) for f in found]


def _run(graph: Graph, model: Any, rows: list[NDArray[Any]]) -> list[NDArray[Any]]:
    values = [graph.values[i] for i in graph.inputs]
    y = model(*(_given(v, r, len(r)) for v, r in zip(values, rows, strict=True)))
    outs = y if isinstance(y, tuple) else (y,)
    return [
        graph.values[i].to_batch_first(np.asarray(o))[0].reshape(-1, graph.values[i].size).astype(np.float32)
        for i, o in zip(graph.outputs, outs, strict=True)
    ]
