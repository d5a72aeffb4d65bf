"""Models whose weights are integers, in C: the runtime's bits, and the equations of the format in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exported_c import COMPILER, Exported, same
from helpers.graphs import cell_weights, weights
from helpers.integers import WAYS, expected, integer_graph, integer_weights

from lstm_rt.graph import Graph

pytestmark = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")


def compare(folder: Path, graph: Graph, x: Any) -> Exported:
    c = Exported(folder, graph)
    got, stream = c.stream(x)[0], c.model.stream()
    for t in range(len(x)):
        same(got[t], stream.feed(x[None, t : t + 1]).ravel())
    return c


@pytest.mark.parametrize(("bits", "activations"), WAYS)
@pytest.mark.parametrize("cell", ["lstm", "lstm-proj", "gru", "gru-before", "rnn"])
def test_cells(cell: str, bits: int, activations: int, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(bits), Graph()
    x, op = g.input("x", "seq", 6), cell.split("-")[0]
    options = {"reset_after": False} if cell == "gru-before" else {}
    w = cell_weights(rng, op, 6, 9, proj=5 if cell == "lstm-proj" else 0)
    y, _, _ = g.recurrent(op, x, w, hidden_size=9, **options)
    y = g.node("dense", y, weight=weights(rng, 7, g.values[y].size), bias=weights(rng, 7), activation="tanh")
    g.output(y, "y")
    compare(tmp_path, integer_graph(g, bits, activations), rng.normal(0, 1, (5, 6)).astype(np.float32))


@pytest.mark.parametrize("only", ["w_ih", "w_hh"])
@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_some_matrices(op: str, only: str, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(2), Graph()
    x = g.input("x", "seq", 4)
    y, _, _ = g.recurrent(op, x, cell_weights(rng, op, 4, 6), hidden_size=6)
    y, _, _ = g.recurrent("gru", y, cell_weights(rng, "gru", 6, 5), hidden_size=5)
    g.output(y, "y")
    integer_weights(g.nodes[0], 8, 16, only=(only,))
    integer_weights(g.nodes[1], 16, 16)
    compare(tmp_path, g, rng.normal(0, 1, (5, 4)).astype(np.float32))


@pytest.mark.parametrize(("bits", "activations"), WAYS)
def test_dense_conv_and_tables(bits: int, activations: int, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(3), Graph()
    x = g.input("x", "seq", 5)
    y = g.node("conv", x, weight=weights(rng, 10, 5, 3, 1, 1), bias=weights(rng, 10), before_t=2)
    g.output(g.node("dense", y, weight=weights(rng, 3, 10), activation="linear"), "y")
    compare(tmp_path, integer_graph(g, bits, activations), rng.normal(0, 1, (6, 5)).astype(np.float32))
    g = Graph()
    ids = g.input("ids", "ids")
    g.output(g.embedding(ids, weights(rng, 7, 5)), "y")
    c = Exported(tmp_path, integer_graph(g, bits, activations), name="table")
    for i in range(7):
        code, (row,) = c.call(np.int32([i]))
        assert code == 0
        np.testing.assert_array_equal(row, np.asarray(c.graph.nodes[0].weights["table"])[i])


@pytest.mark.parametrize(("bits", "activations"), WAYS)
def test_the_equations(bits: int, activations: int, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(4), Graph()
    bias = weights(rng, 6)
    g.output(g.node("dense", g.input("x", "seq", 11), weight=weights(rng, 6, 11), bias=bias, activation="linear"), "y")
    c = Exported(tmp_path, integer_graph(g, bits, activations))
    x = rng.normal(0, 1, (8, 11)).astype(np.float32)
    x[3], x[4, 2], x[5, 1], x[6] = 0, np.nan, np.inf, 1e-35
    got = c.stream(x)[0]
    np.testing.assert_array_equal(got[:4], expected(x, c.graph.nodes[0].weights["weight"], bias)[:4])
    assert np.isnan(got[4:6]).all()
    np.testing.assert_array_equal(got[6], bias)
