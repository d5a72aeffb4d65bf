"""Matrices of blocks in files: what the text says of them, and which matrices become some."""

import numpy as np
import pytest
from helpers.blocks import pruned, pruned_matrix
from helpers.graphs import FORMS, cell_id, cell_weights, recurrent_graph, weights
from helpers.integers import WAYS, integer_graph, random_integers
from helpers.spec_reader import read
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_rt.format import dumps, loads_graph
from lstm_rt.format.blocks import BREAK_EVEN, MAX_INPUTS
from lstm_rt.graph import Graph
from lstm_rt.quantised import Quantised


def dense_graph(weight):
    g = Graph()
    g.output(g.dense(g.input("x", "seq", weight.shape[1]), weight), "y")
    return g


def layouts(blob):
    return [[t and t[1] for t in n["tensor"]] for n in read(blob)["nodes"]]


@given(
    units=st.integers(1, 40), k=st.integers(1, 30), bits=st.sampled_from([8, 16, 32]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_a_reader_of_the_text_finds_the_matrix(units, k, bits, share, seed):
    rng = np.random.default_rng(seed)
    if bits == 32:
        w = pruned_matrix(rng, weights(rng, units, k), 1, share)
    else:
        q = random_integers(rng, units, k, bits, 100)
        w = Quantised(pruned_matrix(rng, q.values, 1, share, 32 // bits), q.scale, 100)
    blob = dumps(dense_graph(w), blocks_below=1.0)
    found = read(blob)
    (weight, layout), _ = found["nodes"][0]["tensor"]
    assert (found["version"], layout) == (5, "blocks")
    back = loads_graph(blob).nodes[0].weights["weight"]
    if bits == 32:
        np.testing.assert_array_equal(weight[0], w)
        np.testing.assert_array_equal(back, w)
    else:
        np.testing.assert_array_equal(weight["q"][0], w.values)
        np.testing.assert_array_equal(weight["s"][0], w.scale)
        assert back.same(w)


@pytest.mark.parametrize("way", [None, *WAYS])
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_files_back_to_graphs(form, way):
    op, options = form
    rng = np.random.default_rng(0)
    g = pruned(rng, recurrent_graph(rng, op, 7, 37, direction="bidirectional", **options), 0.3, 4)
    g = integer_graph(g, *way) if way else g
    blob = dumps(g, blocks_below=1.0)
    assert "blocks" in layouts(blob)[0]
    back = loads_graph(blob)
    plain = loads_graph(dumps(g, blocks_below=0))
    for name, w in plain.nodes[0].weights.items():
        found = back.nodes[0].weights[name]
        assert found.same(w) if isinstance(w, Quantised) else np.array_equal(found, w)
    assert dumps(back, blocks_below=1.0) == blob


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_what_is_smaller_and_faster_becomes_blocks(bits):
    """Up to the break-even of its words of inputs; and only matrices that are not small."""
    rng = np.random.default_rng(0)
    per_word = 32 // bits

    def version(w):
        q = w if bits == 32 else integer_graph(dense_graph(w), bits, 16).nodes[0].weights["weight"]
        blob = dumps(dense_graph(q))
        assert layouts(blob)[0][0] == ("blocks" if len(blob) < len(dumps(dense_graph(q), blocks_below=0)) else "panels")
        return layouts(blob)[0][0]

    w = weights(rng, 256, 256)
    for there in (BREAK_EVEN[per_word], BREAK_EVEN[per_word] + 0.02):
        sparse = w.copy()
        words = 256 // per_word
        for start in range(0, 256, 16):
            gone = rng.permutation(words)[: words - int(there * words)]
            sparse[start : start + 16, (gone[:, None] * per_word + np.arange(per_word)).ravel()] = 0
        assert version(sparse) == ("blocks" if there == BREAK_EVEN[per_word] else "panels")
    assert version(w) == "panels"
    small = pruned_matrix(rng, weights(rng, 16, 64), 1, 0.1, per_word)
    assert version(small) == "panels"
    scattered = np.where(rng.random(w.shape) < 0.9, 0, w)  # zeros, but not in blocks
    assert version(scattered) == "panels"


def test_zeros_with_a_sign_are_zeros():
    w = np.copysign(np.zeros((16, 8), np.float32), -1)
    w[3, 5] = 1
    back = loads_graph(dumps(dense_graph(w), blocks_below=0.2)).nodes[0].weights["weight"]
    np.testing.assert_array_equal(back, w)
    assert layouts(dumps(dense_graph(w), blocks_below=0.125))[0] == ["blocks", None]
    assert layouts(dumps(dense_graph(w), blocks_below=0.12))[0] == ["panels", None]


def test_files_without_blocks_stay_of_their_versions():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 64, 64)
    assert dumps(g)[8] == 1
    assert dumps(pruned(np.random.default_rng(1), g, 0.1))[8] == 5
    assert dumps(g, blocks_below=0)[8] == 1


def test_nan_is_not_zero():
    w = np.zeros((16, 8), np.float32)
    w[0, 2], w[1, 4] = np.nan, np.inf
    blob = dumps(dense_graph(w), blocks_below=0.5)
    assert layouts(blob)[0][0] == "blocks"
    np.testing.assert_array_equal(loads_graph(blob).nodes[0].weights["weight"], w)


@pytest.mark.parametrize("bits", [32, 8])
def test_a_table_that_a_dense_layer_shares_stays_panels(bits):
    """An embedding looks its rows up there."""
    rng = np.random.default_rng(0)
    table = pruned_matrix(rng, weights(rng, 512, 64), 1, 0.1, 4)
    table = table if bits == 32 else integer_graph(dense_graph(table), bits, 16).nodes[0].weights["weight"]
    g = Graph()
    e = g.embedding(g.input("ids", "ids"), table)
    g.output(g.dense(e, table), "y")
    blob = dumps(g)
    assert layouts(blob) == [["panels"], ["panels", None]]
    assert layouts(dumps(dense_graph(table)))[0][0] == "blocks"


def test_more_inputs_than_the_index_has_numbers_for():
    w = np.zeros((1, MAX_INPUTS + 1), np.float32)
    assert layouts(dumps(dense_graph(w)))[0][0] == "panels"
    w = np.zeros((1, MAX_INPUTS), np.float32)
    w[0, -1] = 2
    blob = dumps(dense_graph(w))
    assert layouts(blob)[0][0] == "blocks"
    assert len(blob) < 1024
    np.testing.assert_array_equal(loads_graph(blob).nodes[0].weights["weight"], w)


def test_biases_and_windows_are_no_blocks():
    rng = np.random.default_rng(0)
    g = Graph()
    x = g.input("x", "seq", 64)
    w = cell_weights(rng, "lstm", 64, 64)
    zeros = {name: np.zeros_like(a) for name, a in w.items()}
    h = g.recurrent("lstm", x, zeros, hidden_size=64)[0]
    g.output(g.conv(h, np.zeros((64, 64, 3, 1, 1), np.float32), np.zeros(64, np.float32)), "y")
    blob = dumps(g)
    assert layouts(blob) == [["blocks", "panels", "blocks", None, None, None], ["panels", "panels"]]
