"""Out to ONNX and back: the same inputs and outputs, and the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import DIGITS
from helpers.graphs import inputs_for
from helpers.onnx_models import outputs_of
from lstm_rt_tools import from_keras, from_torch, to_onnx
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx
from make_corpus import all_models

from lstm_rt.graph import Graph

onnx = pytest.importorskip("onnx")
CORPUS = all_models()
#: What the reader of ONNX files does not take yet: cells with projections and some activations in a Scan, choices by
#: lengths, and steps that are several times as many.
NOT_READ = {
    "lstm_projection", "lstm_projection_both", "lstm_softsign_swish_gelu", "lstm_gelu_tanh_linear_sigmoid",
    "lstm_explicit_masked", "with_selftest", "derived_axes", "along_time", "attention", "windows", "looking_ahead",
}  # fmt: skip
#: Activations that ONNX has no operator for are written out, and come back as several nodes, which round apart. Of a
#: GRU in a Scan the biases come back as their sum, and parts of a product in the order of their values.
ROUNDED = {"activations_2", "gru_masked", "gru_zero_masked", "tagger", "decoder_step"}


def back(graph: Graph, tmp_path: Path) -> Graph:
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(graph).SerializeToString())
    return from_onnx(path)


def ports(graph: Graph) -> list[tuple[Any, ...]]:
    return [(v.name, v.kind, v.shape("N", "T")) for v in (graph.values[i] for i in graph.inputs + graph.outputs)]


@pytest.mark.parametrize("name", [n for n in CORPUS if n not in NOT_READ])
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
