"""Out to ONNX and back: the same inputs and outputs, and the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import DIGITS
from helpers.graphs import inputs_for, weights
from helpers.onnx_models import outputs_of
from lstm_rt_tools import from_keras, from_torch, to_onnx
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx
from make_corpus import all_models

from lstm_rt.graph import Graph
from lstm_rt.ops import REDUCTIONS
from lstm_rt.quantised import has_integers

onnx = pytest.importorskip("onnx")
CORPUS = {name: graph for name, graph in all_models().items() if not has_integers(graph)}
#: Attention of a single query comes back as the operations that it is written out as, which round apart.
ROUNDED = {"attention"}


def back(graph: Graph, tmp_path: Path) -> Graph:
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(graph).SerializeToString())
    return from_onnx(path)


def ports(graph: Graph) -> list[tuple[Any, ...]]:
    """Names, kinds and shapes; a fixed number of steps is to ONNX what features are."""
    found = []
    for v in (graph.values[i] for i in graph.inputs + graph.outputs):
        rule = graph.axes[v.axis] if v.axis >= 0 else None
        fixed = rule is not None and not rule.is_input and rule.parent is None
        found.append((v.name, "vec" if fixed else v.kind, v.shape("N", rule.steps(0) if rule and fixed else "T")))
    return found


@pytest.mark.parametrize("name", CORPUS)
def test_the_same_bits(name: str, tmp_path: Path) -> None:
    graph = CORPUS[name]
    again = back(graph, tmp_path)
    assert ports(again) == ports(graph)
    rng = np.random.default_rng(1)
    for batch, steps in ((1, 1), (5, 7), (2, 12)):
        rows = batch if all(graph.values[i].has_batch for i in graph.inputs) else 1
        inputs = inputs_for(rng, graph, rows, steps, [steps, *rng.integers(1, steps + 1, rows - 1).tolist()])
        for y, want in zip(outputs_of(again, inputs), outputs_of(graph, inputs), strict=True):
            if name in ROUNDED:
                np.testing.assert_allclose(y, want, rtol=0, atol=1e-6)
            else:
                np.testing.assert_array_equal(y, want)


def test_a_converted_model(tmp_path: Path) -> None:
    """As users have it: the last step of a layer, a product, names that say what it was."""
    arch = {
        "input": [{"name": "rows"}],
        "layer": [
            {"op": "lstm", "weights": "rnn"},
            {"op": "last"},
            {"op": "dense", "name": "logits", "weights": "head"},
        ],
        "output": [{"name": "logits"}],
    }
    graph = from_torch(DIGITS, arch=arch)
    again = back(graph, tmp_path)
    assert ports(again) == ports(graph)
    assert [n.op for n in again.nodes] == ["lstm", "select", "dense"]
    assert [n.name.split("/")[0] for n in again.nodes if n.weights] == ["rnn", "head"]
    x = inputs_for(np.random.default_rng(0), graph, 3, 20)
    np.testing.assert_array_equal(outputs_of(again, x)[0], outputs_of(graph, x)[0])
    for a, b in zip(graph.nodes, again.nodes, strict=True):
        for name in ("w_ih", "w_hh", "weight"):
            if name in a.weights:
                assert a.weights[name].tobytes() == b.weights[name].tobytes()


def test_a_keras_model(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    x = keras.Input((None, 3), name="x")
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(layers.BatchNormalization()(x))
    graph = from_keras(keras.Model(x, layers.Dense(2, activation="softmax", name="y")(layers.LayerNormalization()(y))))
    again = back(graph, tmp_path)
    assert ports(again) == ports(graph)
    given = inputs_for(np.random.default_rng(0), graph, 3, 20)
    np.testing.assert_array_equal(outputs_of(again, given)[0], outputs_of(graph, given)[0])


LENGTHS = [7, 0, 3, 1]


def with_lengths(size: int) -> tuple[Graph, int]:
    g = Graph()
    x = g.input("x", "seq", size)
    g.input("lengths", "lengths", axis=g.values[x].axis)
    return g, x


def same_with_lengths(graph: Graph, tmp_path: Path) -> Graph:
    """The graph that comes back: the same bits, also for rows of which nothing counts."""
    again = back(graph, tmp_path)
    assert ports(again) == ports(graph)
    given = inputs_for(np.random.default_rng(0), graph, len(LENGTHS), LENGTHS[0], LENGTHS)
    given[0][2, :2] = 0  # what a mask does not count
    for y, want in zip(outputs_of(again, given), outputs_of(graph, given), strict=True):
        np.testing.assert_array_equal(y, want)
    return again


@pytest.mark.parametrize("masked", [False, True])
def test_what_sums_up_the_steps_that_count(masked: bool, tmp_path: Path) -> None:
    g, x = with_lengths(3)
    mask = g.mask_values(x, 0.0) if masked else None
    g.output(g.concat(*(g.reduce(x, kind, mask) for kind in REDUCTIONS)), "totals")
    g.output(g.softmax_steps(x, mask), "shares")
    again = same_with_lengths(g, tmp_path)
    assert [n.attrs["kind"] for n in again.nodes if n.op == "reduce"].count("min") == 1


def test_steps_of_rows_that_may_have_none(tmp_path: Path) -> None:
    g, x = with_lengths(3)
    g.output(g.concat(g.select(x, 0), g.select(x, -1)), "ends")
    again = same_with_lengths(g, tmp_path)
    assert [n.op for n in again.nodes] == ["select", "select", "concat"]


def test_attention_to_the_steps_that_count(tmp_path: Path) -> None:
    g, x = with_lengths(4)
    g.output(g.attention(x, x, x, heads=2, causal=True)[0], "y")
    again = same_with_lengths(g, tmp_path)
    assert [(n.op, n.attrs["causal"]) for n in again.nodes if n.op != "pad"] == [("attention", True)]


@pytest.mark.parametrize("lengths", [False, True])
def test_images(lengths: bool, tmp_path: Path) -> None:
    """Of as many places that their channels are gathered."""
    rng, (g, x) = np.random.default_rng(3), with_lengths(4 * 4 * 2)
    if not lengths:
        g = Graph()
        x = g.input("x", "seq", 4 * 4 * 2)
    c = weights(rng, 12, 2, 3, 3), weights(rng, 12, 3, 3, 3), weights(rng, 12)
    seq, h, _ = g.convlstm(x, *c, size=(4, 4), pad=((1, 1), (1, 1)))
    g.output(seq, "seq")
    g.output(h, "h")
    again = same_with_lengths(g, tmp_path) if lengths else back(g, tmp_path)
    assert [n.op for n in again.nodes if n.op != "pad"] == ["convlstm"]
    given = inputs_for(rng, g, 2, 5)
    for y, want in zip(outputs_of(again, given), outputs_of(g, given), strict=True):
        np.testing.assert_array_equal(y, want)
