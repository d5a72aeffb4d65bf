"""What is cleaned up in the graph of a program."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphs import weights
from lstm_rt_tools.program.tidy import tidy

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


def turned_twice(lengths: bool) -> Graph:
    g, rng = Graph(), np.random.default_rng(0)
    x = g.input("x", "seq", 3)
    if lengths:
        g.input("n", "lengths", axis=g.values[x].axis)
    twice = g.reverse(g.reverse(g.dense(x, weights(rng, 4, 3))))
    g.output(twice, "y")
    g.output(g.reverse(g.reverse(x)), "same")
    g.output(g.dense(twice, weights(rng, 2, 4)), "z")
    return g


@pytest.mark.parametrize("lengths", [False, True])
def test_what_is_turned_around_twice_is_what_it_was(lengths: bool) -> None:
    """But for steps beyond a row's length, which are zero after that; an output that is an input stays a value."""
    graph, before = turned_twice(lengths), dumps(turned_twice(lengths))
    tidy(graph)
    assert [n.op for n in graph.nodes].count("reverse") == (4 if lengths else 2)
    assert [graph.values[v].name for v in graph.outputs] == ["y", "same", "z"]
    x = np.random.default_rng(1).standard_normal((3, 7, 3)).astype(np.float32)
    feeds = (x, np.array([7, 3, 1], np.int32)) if lengths else (x,)
    for y, want in zip(lstm_rt.Model(dumps(graph))(*feeds), lstm_rt.Model(before)(*feeds), strict=True):
        np.testing.assert_array_equal(y, want)
