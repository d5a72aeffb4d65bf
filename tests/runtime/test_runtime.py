"""The compiled runtime against the float64 reference, over every op and option."""

import itertools

import numpy as np
import pytest
from helpers.graphs import (
    CELLS,
    ELEMENTWISE,
    cell_id,
    cell_weights,
    every_op_graph,
    inputs_for,
    recurrent_graph,
    weights,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

from lstm_rt import Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import ACTIVATIONS, Activation, Graph

ATOL = 1e-5  # the contract, for outputs on unit scale


def check(graph, inputs, lengths=None, atol=ATOL, rtol=1e-5, **kw):
    got = Model(dumps(graph), **kw)(*inputs, lengths=lengths)
    got = got if isinstance(got, tuple) else (got,)
    want = reference.run(graph, inputs, lengths=lengths)
    for name, y, w in zip((graph.values[o].name for o in graph.outputs), got, want, strict=True):
        assert y.shape == w.shape
        np.testing.assert_allclose(y, w, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize(("op", "options"), CELLS, ids=map(cell_id, CELLS))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("hidden", [1, 8, 20, 27, 45])
def test_cell(op, options, direction, hidden):
    rng = np.random.default_rng(hidden)
    g = recurrent_graph(rng, op, 3, hidden, direction=direction, **options)
    for batch, steps in ((1, 1), (1, 17), (5, 17), (1, 200), (3, 0)):
        check(g, inputs_for(rng, g, batch, steps))
    check(g, inputs_for(rng, g, 5, 9), lengths=np.array([9, 0, 3, 1, 8], np.int32))


@given(
    op=st.sampled_from(["lstm", "gru", "rnn"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    hidden=st.integers(1, 70),
    inputs=st.integers(1, 40),
    batch=st.integers(1, 9),
    steps=st.integers(0, 40),
    masked=st.booleans(),
    zero_masked=st.booleans(),
    explicit=st.booleans(),
    ragged=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
@settings(max_examples=150, deadline=None)
def test_any_shape(op, direction, hidden, inputs, batch, steps, masked, zero_masked, explicit, ragged, seed):
    rng = np.random.default_rng(seed)
    g = Graph()
    x = g.input("x", "seq", inputs)
    n_dir = 2 if direction == "bidirectional" else 1
    h0 = g.input("h0", "vec", n_dir * hidden) if explicit else None
    c0 = g.input("c0", "vec", n_dir * hidden) if explicit and op == "lstm" else None
    mask = g.mask_values(x) if masked else None
    seq, h, _ = g.recurrent(
        op, x, cell_weights(rng, op, inputs, hidden, direction), hidden_size=hidden, direction=direction,
        mask=mask, zero_masked=zero_masked, h0=h0, c0=c0, reset_after=bool(seed % 2),
    )  # fmt: skip
    g.output(seq, "y")
    g.output(h, "h_n")
    lengths = rng.integers(0, steps + 1, batch).astype(np.int32) if ragged else None
    check(g, inputs_for(rng, g, batch, steps), lengths=lengths)


@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (1, 33), (5, 8), (2, 300)])
def test_every_op(batch, steps):
    rng = np.random.default_rng(3)
    g = every_op_graph(rng)
    check(g, inputs_for(rng, g, batch, steps))
    lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
    check(g, inputs_for(rng, g, batch, steps), lengths=lengths)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("size", [1, 3, 16, 37])
def test_dense_and_standalone_activation(name, size):
    rng = np.random.default_rng(size)
    g = Graph()
    x = g.input("x", "seq", 6)
    bias = weights(rng, size) + (30 if name == "reciprocal" else 0)  # near 0 it makes much of little
    g.output(g.dense(x, weights(rng, size, 6, scale=3.0), bias, name), "fused")
    g.output(g.activation(x, name), "alone")
    check(g, inputs_for(rng, g, 3, 11))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_activation_in_gates(name):
    """A small gate scale keeps unbounded activations on unit scale."""
    rng = np.random.default_rng(1)
    act = Activation(name, *([0.1, 0.4] if name == "hard_sigmoid" else []))
    for op, n in (("lstm", 3), ("gru", 2), ("rnn", 1)):
        g = recurrent_graph(rng, op, 4, 10, activations=(act,) * n)
        steps, rtol = (2, 1e-4) if name in ("exp", "reciprocal") else (5, 1e-5)  # these grow, and rounding with them
        check(g, [0.3 * a for a in inputs_for(rng, g, 2, steps)], rtol=rtol)


def test_lengths_as_inputs_on_two_axes():
    rng = np.random.default_rng(5)
    g = Graph()
    ends = []
    for name in ("a", "b"):
        x = g.input(name, "seq", 4)
        g.input(f"{name}_lens", "lengths", axis=g.values[x].axis)
        w = {"w_ih": weights(rng, 24, 4), "w_hh": weights(rng, 24, 6)}
        seq, h, _ = g.recurrent("lstm", x, w, hidden_size=6)
        ends += [g.select(seq), h]
    g.output(g.concat(*ends), "ends")
    a, b = (rng.uniform(-1, 1, (4, t, 4)).astype(np.float32) for t in (7, 12))
    check(g, [a, np.array([7, 1, 3, 2]), b, np.array([12, 12, 1, 5])])


def test_deep_stack_of_mixed_layers():
    rng = np.random.default_rng(8)
    g = Graph()
    v = g.input("x", "seq", 6)
    for i, (op, direction) in enumerate(itertools.product(("lstm", "gru", "rnn"), ("forward", "bidirectional"))):
        size = g.values[v].size
        w = cell_weights(rng, op, size, 9 + i, direction)
        v, _, _ = g.recurrent(op, v, w, hidden_size=9 + i, direction=direction)
    g.output(v, "y")
    check(g, inputs_for(rng, g, 4, 50), atol=2e-5)


def test_graph_survives_the_format():
    rng = np.random.default_rng(2)
    for g in (every_op_graph(rng), recurrent_graph(rng, "gru", 3, 20, reset_after=False)):
        back = loads_graph(dumps(g))
        inputs = inputs_for(rng, g, 2, 6)
        for a, b in zip(reference.run(g, inputs), reference.run(back, inputs), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        assert dumps(back) == dumps(loads_graph(dumps(back)))
