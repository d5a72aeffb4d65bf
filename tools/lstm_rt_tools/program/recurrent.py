"""Recurrent layers of the vocabulary: the reference interpreter's equations on ``(T, N, F)`` arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph

from ..judges import reference

A = NDArray[Any]


def _layer(op: str, x: A, h0: A | None, c0: A | None, lengths: A | None, options: Mapping[str, Any]) -> tuple[A, ...]:
    options = dict(options)
    batch_first = options.pop("batch_first", False)
    rows_first = x if batch_first else np.swapaxes(x, 0, 1)
    graph, feeds = Graph(), [rows_first]
    value = graph.input("x", "seq", x.shape[-1])
    states: dict[str, Any] = {}
    for name, state in (("h0", h0), ("c0", c0)):
        if state is not None:  # (D, N, H): directions side by side
            feeds.append(np.swapaxes(state, 0, 1).reshape(state.shape[1], -1))
            states[name] = graph.input(name, "vec", feeds[-1].shape[1])
    if lengths is not None:
        graph.input("lengths", "lengths", 0, graph.values[value].axis)
        feeds.append(np.asarray(lengths, np.int32))
    weights = options.pop("weights")
    outputs = graph.recurrent(op, value, weights, **options, **states)
    for i, out in enumerate(outputs):
        if out is not None:
            graph.output(out, str(i))
    y, *finals = reference.run(graph, feeds, dtype=x.dtype if x.dtype == np.float64 else np.float32)
    d = 2 if options.get("direction") == "bidirectional" else 1
    apart = [np.swapaxes(s.reshape(len(s), d, -1), 0, 1) for s in finals]
    return (y if batch_first else np.swapaxes(y, 0, 1), *apart)


def lstm(x: A, h0: A | None = None, c0: A | None = None, lengths: A | None = None, **options: Any) -> tuple[A, ...]:
    """One layer: ``(y, h_n, c_n)``.

    Args:
        x: ``(T, N, I)``, or ``(N, T, I)`` with ``batch_first``; y likewise.
        h0, c0: ``(D, N, H)``, as are h_n and c_n.
        lengths: ``(N,)``: as of :meth:`lstm_rt.graph.Graph.recurrent`.
        options: ``weights``, ``hidden_size`` and what else that method takes.
    """
    return _layer("lstm", x, h0, c0, lengths, options)


def gru(x: A, h0: A | None = None, lengths: A | None = None, **options: Any) -> tuple[A, ...]:
    """One layer: ``(y, h_n)``; arguments as of :func:`lstm`."""
    return _layer("gru", x, h0, None, lengths, options)


def rnn(x: A, h0: A | None = None, lengths: A | None = None, **options: Any) -> tuple[A, ...]:
    """One layer: ``(y, h_n)``; arguments as of :func:`lstm`."""
    return _layer("rnn", x, h0, None, lengths, options)
