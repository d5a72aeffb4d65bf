"""Pruning by the magnitude of blocks: which go, which matrices stay, and what integers make of the rest."""

import numpy as np
import pytest
from helpers.graphs import FORMS, cell_id, inputs_for, recurrent_graph, weights
from lstm_rt_tools import quantize
from lstm_rt_tools.integers.prune import pruned
from lstm_rt_tools.judges import reference

from lstm_rt import GraphError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.format.blocks import LEAST_BYTES
from lstm_rt.graph import GATES, Graph
from lstm_rt.quantised import Quantised, has_integers


def dense_graph(w):
    g = Graph()
    g.output(g.dense(g.input("x", "seq", w.shape[1]), w), "y")
    return g


def sums_of_squares(w, gates, inputs):
    """Of every 16 units (fewer at the end) of a gate, and every few inputs."""
    units, found = len(w) // gates, {}
    for gate in range(gates):
        for start in range(0, units, 16):
            rows = w[gate * units + start : gate * units + min(start + 16, units)].astype(np.float64)
            for k in range(0, w.shape[1], inputs):
                found[gate, start, k] = float((rows[:, k : k + inputs] ** 2).sum())
    return found


@pytest.mark.parametrize("inputs", [1, 2, 4])
@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("op", list(GATES))
def test_the_least_blocks_of_each_matrix_go(op, share, inputs):
    g = recurrent_graph(np.random.default_rng(0), op, 193, 208)
    before = {name: w.copy() for name, w in g.nodes[0].weights.items()}
    made, report = pruned(g, share, inputs)
    assert [(p.weight, p.why) for p in report] == [("w_ih", ""), ("w_hh", "")]
    for p in report:
        old, new = before[p.weight], made.nodes[0].weights[p.weight]
        np.testing.assert_array_equal(g.nodes[0].weights[p.weight], old)
        norms, left = (sums_of_squares(w, GATES[op], inputs) for w in (old, new))
        gone = [at for at in norms if left[at] == 0]
        assert len(gone) == round(share * len(norms))
        assert p.left == pytest.approx(1 - share, abs=1 / len(norms))
        stay = [at for at in norms if left[at] != 0]
        assert max(norms[at] for at in gone) < min(norms[at] for at in stay)
        assert all(left[at] == norms[at] for at in stay)
    for name in ("b_ih", "b_hh"):
        assert made.nodes[0].weights[name] is g.nodes[0].weights[name]


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_models_that_are_pruned_compute_what_is_left(form):
    op, options = form
    g = recurrent_graph(np.random.default_rng(0), op, 64, 192, direction="bidirectional", **options)
    made, _ = pruned(g, 0.9)
    blob = dumps(made)
    assert len(blob) < 0.3 * len(dumps(g))
    assert blob[8] == 5
    back = loads_graph(blob)
    assert back.nodes[0].blocks["w_hh_reverse"] == pytest.approx(0.1, abs=0.01)
    x = inputs_for(np.random.default_rng(1), g, 2, 5)
    for y, want in zip(Model(blob)(*x), reference.run(made, x), strict=True):
        np.testing.assert_allclose(y, want, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("calibrated", [False, True])
def test_integers_of_what_is_left(bits, calibrated):
    """Whole words of inputs go; and what rounding would move to the zeros does not go there."""
    g = recurrent_graph(np.random.default_rng(0), "lstm", 128, 192)
    x = inputs_for(np.random.default_rng(1), g, 2, 30)
    cut, _ = pruned(g, 0.9, 32 // bits)
    q = quantize(g, bits, calibrate=x if calibrated else None, prune=0.9)
    assert q.meta["quantised"]["pruned"] == 0.9
    for name in ("w_ih", "w_hh"):
        w, exact = q.nodes[0].weights[name], cut.nodes[0].weights[name]
        assert isinstance(w, Quantised)
        assert not w.values[exact == 0].any()
        assert np.abs(np.asarray(w) - exact).max() <= 20 * w.scale.max()
    found = loads_graph(dumps(q)).nodes[0].blocks
    assert set(found) == {"w_ih", "w_hh"}
    assert all(0.05 < share <= 0.101 for share in found.values())


def test_floats_alone():
    g = recurrent_graph(np.random.default_rng(0), "gru", 64, 128)
    made = quantize(g, 32, prune=0.8)
    assert not has_integers(made)
    cut, _ = pruned(g, 0.8)
    np.testing.assert_array_equal(made.nodes[0].weights["w_hh"], cut.nodes[0].weights["w_hh"])


def test_matrices_that_stay():
    rng = np.random.default_rng(0)
    g = Graph()
    table = weights(rng, 200, 64)
    e = g.embedding(g.input("ids", "ids"), table)
    small, odd, large = weights(rng, 8, 64), weights(rng, 200, 64), weights(rng, LEAST_BYTES // 256, 64)
    odd[3, 5] = np.inf
    for i, w in enumerate((table, small, odd, large)):
        g.output(g.dense(e, w), f"y{i}")
    made, report = pruned(g, 0.5)
    small_one = "it is so small (2,048 bytes) that blocks are not faster"
    assert [p.why for p in report] == ["an embedding looks its rows up", small_one, "it is not finite", ""]
    for node, old in zip(made.nodes[1:4], g.nodes[1:4], strict=True):
        assert node.weights["weight"] is old.weights["weight"]
    assert report[3].left == 0.5
    assert made.nodes[0].weights["table"] is table


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_shares_that_are_none(share):
    with pytest.raises(GraphError, match="expected a number above 0 and below 1"):
        pruned(dense_graph(np.ones((4, 4), np.float32)), share)
    with pytest.raises(GraphError, match="expected a number above 0 and below 1"):
        quantize(dense_graph(np.ones((4, 40), np.float32)), prune=share)


def test_integers_are_not_pruned():
    q = quantize(dense_graph(weights(np.random.default_rng(0), 20, 20)))
    with pytest.raises(GraphError, match="weight is made of integers; begin with the model of float32"):
        pruned(q, 0.5)


def test_floats_are_only_asked_for_where_they_are_pruned():
    with pytest.raises(GraphError, match='bits is 32, expected 8, 16 or "auto"'):
        quantize(dense_graph(np.ones((4, 40), np.float32)), 32)
    with pytest.raises(GraphError, match='bits is 9, expected 8, 16, "auto" or 32'):
        quantize(dense_graph(np.ones((4, 40), np.float32)), 9, prune=0.5)


def test_all_that_the_matrix_is():
    """Matrices of zeros, and such whose blocks are all alike."""
    zeros, _ = pruned(dense_graph(np.zeros((128, 128), np.float32)), 0.5)
    assert not zeros.nodes[0].weights["weight"].any()
    alike, report = pruned(dense_graph(np.ones((128, 128), np.float32)), 0.5)
    assert report[0].left == 0.5
    assert alike.nodes[0].weights["weight"].sum() == 128 * 64
