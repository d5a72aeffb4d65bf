"""Small models in the runtime, and what goes into them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

from .graphs import cell_weights, recurrent_graph

LARGE = (2, 60, 4)  #: of both_ways(300): work enough for two threads that sleep


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def both_ways(hidden: int = 24, **kw: Any) -> Model:
    """x (N, T, 4); two lanes can take a direction each."""
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, hidden, direction="bidirectional")
    return Model(dumps(graph), **kw)


def stream_graph(hidden: int = 24) -> Graph:
    """x (N, T, 4) -> LSTM -> GRU 8 -> y (N, T, 8): layers that two lanes can run side by side."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 4)
    v = g.recurrent("lstm", x, cell_weights(rng, "lstm", 4, hidden), hidden_size=hidden)[0]
    g.output(g.recurrent("gru", v, cell_weights(rng, "gru", hidden, 8), hidden_size=8)[0], "y")
    return g


def last_state(hidden: int, direction: str = "forward", layers: int = 1, **kw: Any) -> Model:
    """Gives the last h only, so that a long sequence takes little memory."""
    rng, g = np.random.default_rng(0), Graph()
    v, width = g.input("x", "seq", 4), 4
    for _ in range(layers):
        w = cell_weights(rng, "lstm", width, hidden, direction)
        v, h, _ = g.recurrent("lstm", v, w, hidden_size=hidden, direction=direction)
        width = hidden * (2 if direction == "bidirectional" else 1)
    g.output(h, "h")
    return Model(dumps(g), **kw)


def arrays(count: int, seed: int = 0) -> list[np.ndarray]:
    """Inputs (N, T, 4) of different batches and steps."""
    rng = np.random.default_rng(seed)
    shapes = [(int(rng.integers(1, 6)), int(rng.integers(0, 90)), 4) for _ in range(count)]
    return [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
