"""Models for groups of streams, what steps them, and how their states compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

from .graphs import cell_weights, weights
from .integers import integer_graph

CAPACITY = 5


def layers(*ops: str, **options: Any) -> Graph:
    """Recurrent layers on top of each other, with a dense layer and the last step's vector as outputs."""
    rng, g = np.random.default_rng(3), Graph()
    v, size = g.input("x", "seq", 4), 4
    for hidden, op in zip((21, 34), ops, strict=False):
        w = cell_weights(rng, op, size, hidden, **{k: v for k, v in options.items() if k in ("proj", "peephole")})
        rest = {k: v for k, v in options.items() if k not in ("proj", "peephole")}
        v, h, _ = g.recurrent(op, v, w, hidden_size=hidden, **rest)
        size = g.values[v].size
    g.output(g.dense(v, weights(rng, 3, size), None, "tanh"), "y")
    g.output(h, "h")
    return g


def tokens() -> Graph:
    """Ids, a float sequence and a vector in; padding ids are masked."""
    rng, g = np.random.default_rng(4), Graph()
    ids = g.input("ids", "ids")
    x = g.input("x", "seq", 4, axis=0)
    v = g.input("v", "vec", 18)
    joined = g.concat(g.embedding(ids, weights(rng, 11, 6)), x)
    y, h, _ = g.recurrent("lstm", joined, cell_weights(rng, "lstm", 10, 18), hidden_size=18, mask=g.mask_ids(ids))
    g.output(y, "y")
    g.output(g.binary("mul", h, v), "z")
    return g


GRAPHS: dict[str, Callable[[], Graph]] = {
    "lstm, integers": lambda: integer_graph(layers("lstm", "gru", proj=0), 8, 16),
    "gru, integers": lambda: integer_graph(layers("gru", reset_after=False), 16, 16),
    "lstm": lambda: layers("lstm"),
    "lstm, peepholes": lambda: layers("lstm", peephole=True, clip=0.7),
    "lstm, projection": lambda: layers("lstm", proj=9),
    "gru": lambda: layers("gru", reset_after=True),
    "gru, reset before": lambda: layers("gru", reset_after=False),
    "rnn": lambda: layers("rnn"),
    "two lstms": lambda: layers("lstm", "lstm"),
    "gru on lstm": lambda: layers("lstm", "gru"),
    "ids": tokens,
}
BLOBS = {name: dumps(make()) for name, make in GRAPHS.items()}


def arguments(model: Model, rng: np.random.Generator, rows: int) -> list[np.ndarray]:
    """A step's array for each input."""
    return [
        rng.integers(0, 11, rows, dtype=np.int32)
        if p.kind == "ids"
        else rng.uniform(-1, 1, (rows, p.size)).astype(np.float32)
        for p in model.inputs
    ]


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def flat(state: Any) -> list[np.ndarray]:
    return [a for part in state for a in flat(part)] if isinstance(state, tuple) else [state]


def same_state(a: Any, b: Any) -> None:
    for x, y in zip(flat(a), flat(b), strict=True):
        assert x.shape == y.shape
        assert x.tobytes() == y.tobytes()
