"""Graphs of a layer or two, and inputs for them: what arguments are tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

from .graphs import cell_weights, weights

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (2, 6, 4)).astype(np.float32)
IDS = np.array([[1, 2, 3], [4, 5, 6]], np.int32)


def build(make: Callable[[Graph], None]) -> Model:
    g = Graph()
    make(g)
    return Model(dumps(g))


def lstm(g: Graph, x: int, hidden: int = 4, op: str = "lstm", **options: Any) -> tuple[int, int, int | None]:
    w = cell_weights(np.random.default_rng(1), op, g.values[x].size, hidden, options.get("direction", "forward"))
    return g.recurrent(op, x, w, hidden_size=hidden, **options)


def plain(g: Graph) -> None:
    g.output(lstm(g, g.input("x", "seq", 4))[0], "y")


def two_layers(g: Graph) -> None:
    g.output(lstm(g, lstm(g, g.input("x", "seq", 4))[0])[0], "y")


def mixed(g: Graph) -> None:
    g.output(lstm(g, lstm(g, g.input("x", "seq", 4))[0], 3, "gru")[0], "y")


def tokens(g: Graph) -> None:
    ids, rng = g.input("ids", "ids"), np.random.default_rng(2)
    g.output(lstm(g, g.embedding(ids, weights(rng, 7, 4)))[0], "y")
    g.output(g.embedding(ids, weights(rng, 9, 2)), "z")


def own_lengths(g: Graph) -> None:
    x = g.input("x", "seq", 4)
    g.input("n", "lengths", axis=0)
    g.output(lstm(g, x, direction="bidirectional")[0], "y")


def two_axes(g: Graph) -> None:
    ends = [lstm(g, g.input(name, "seq", 4))[1] for name in ("a", "b")]
    g.output(g.concat(*ends), "ends")


def one_axis(g: Graph) -> None:
    a, b = g.input("a", "seq", 4), g.input("b", "seq", 4, axis=0)
    v = g.input("v", "vec", 4)
    y, h, _ = lstm(g, g.binary("add", a, b))
    g.output(y, "y")
    g.output(g.binary("add", v, h), "z")


def both_ways(g: Graph) -> None:
    g.output(lstm(g, g.input("x", "seq", 4), direction="bidirectional")[0], "y")


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x
