"""The orders of axes that inputs and outputs may have: the same bits as batch first, in arrays of another order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.graphs import cell_weights, inputs_for, weights
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

from lstm_rt import GraphError, InputError, Model
from lstm_rt.graph import GATES, Graph


def layers(op="lstm", order="batch_first", direction="bidirectional", n=2, inputs=3, hidden=5, seed=0):
    """A stack as PyTorch's: its sequence, and the final states of all layers as (layers * directions, N, H)."""
    rng, g = np.random.default_rng(seed), Graph()
    unbatched = order == "unbatched"
    ports = {"order": order} if order != "batch_first" else {}
    x = g.input("x", "seq", inputs, **ports)
    d = 2 if direction == "bidirectional" else 1
    states: tuple[list[int], list[int]] = ([], [])
    for k in range(n):
        w = cell_weights(rng, op, inputs if k == 0 else d * hidden, hidden, direction)
        x, h, c = g.recurrent(op, x, w, hidden_size=hidden, direction=direction)
        states[0].append(h)
        states[1].extend([c] if c is not None else [])
    g.output(x, "y", **ports)
    for name, parts in zip("hc", states, strict=True):
        if parts:
            value = parts[0] if len(parts) == 1 else g.concat(*parts)
            g.output(value, name, "unbatched" if unbatched else "groups_first", groups=n * d)
    return g


def plain(graph):
    """The same graph with all its ports batch first."""
    again = Graph()
    again.__dict__.update(graph.__dict__)
    again.values = [v.__class__(v.name, v.kind, v.size, v.axis) for v in graph.values]
    return again


def to_batch_first(graph, arrays, ports):
    return [graph.values[i].to_batch_first(a) for i, a in zip(ports, arrays, strict=True)]


@pytest.mark.parametrize("lanes", [1, pytest.param(2, marks=OPENMP)])
@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(list(GATES)),
    order=st.sampled_from(["batch_first", "time_first"]),
    direction=st.sampled_from(["forward", "bidirectional"]),
    n=st.integers(1, 2),
    batch=st.integers(1, 9),
    steps=st.integers(0, 40),
    hidden=st.sampled_from([1, 4, 5, 16, 21]),
    ragged=st.booleans(),
)
def test_the_same_bits_as_batch_first(op, order, direction, n, batch, steps, hidden, ragged, lanes):
    graph = layers(op, order, direction, n, hidden=hidden)
    rng = np.random.default_rng(1)
    inputs = inputs_for(rng, graph, batch, steps)
    lengths = rng.integers(0, steps + 1, batch) if ragged else None
    outputs, state = on_lanes(
        lanes, lambda: Model(graph)(*inputs, lengths=lengths, threads=lanes, return_state=True)
    )
    first = to_batch_first(graph, inputs, graph.inputs)
    want, want_state = Model(plain(graph))(*first, lengths=lengths, return_state=True)
    assert outputs[0].shape == ((steps, batch) if order == "time_first" else (batch, steps)) + outputs[0].shape[2:]
    for y, expected in zip(to_batch_first(graph, outputs, graph.outputs), want, strict=True):
        np.testing.assert_array_equal(y, expected)
    for a, b in zip(*(s if isinstance(s, tuple) else [s] for s in (state, want_state)), strict=True):
        np.testing.assert_array_equal(a, b)
    judged = reference.run(graph, inputs, lengths)
    for y, expected in zip(outputs, judged, strict=True):
        np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_final_states_are_those_of_the_caller(op):
    """h as an output of the graph is what return_state gives: (layers * directions, N, H)."""
    model = Model(layers(op, "time_first"))
    x = np.random.default_rng(0).uniform(-1, 1, (6, 4, 3)).astype(np.float32)
    (_, *states), state = model(x, return_state=True)
    for mine, theirs in zip(states, state if op == "lstm" else [state], strict=True):
        assert mine.shape == (4, 4, 5)
        np.testing.assert_array_equal(mine, theirs)


def test_ports_say_their_shapes():
    model = Model(layers(order="time_first"))
    assert model.inputs[0].shape == ("T", "N", 3)
    assert [p.shape for p in model.outputs] == [("T", "N", 10), (4, "N", 5), (4, "N", 5)]
    model = Model(layers(order="unbatched"))
    assert [p.shape for p in (*model.inputs, *model.outputs)] == [("T", 3), ("T", 10), (4, 5), (4, 5)]
    again = pickle.loads(pickle.dumps(model.outputs[1]))
    assert (again.shape, repr(again)) == ((4, 5), "<'h': float32 (4, 5)>")
    assert (again.order, again.groups) == ("unbatched", 4)
    assert model.info["inputs"][0]["order"] == "unbatched"


@pytest.mark.parametrize("order", ["batch_first", "time_first"])
def test_the_batch_may_be_left_out(order):
    model = Model(layers(order=order))
    x = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    y, h, c = model(x)
    assert (y.shape, h.shape, c.shape) == ((6, 10), (4, 5), (4, 5))
    n = int(order == "time_first")
    full = model(np.expand_dims(x, n))
    for a, b, axis in zip((y, h, c), full, (n, 1, 1), strict=True):
        np.testing.assert_array_equal(a, np.squeeze(b, axis))


def test_a_model_without_a_batch():
    model = Model(layers(order="unbatched", direction="forward"))
    x = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    (y, h, c), (h_n, c_n) = model(x, return_state=True, lengths=4)
    assert (y.shape, h.shape, c.shape) == ((6, 5), (2, 5), (2, 5))
    np.testing.assert_array_equal(h, h_n)
    np.testing.assert_array_equal(c, c_n)
    assert not y[4:].any()
    again, *_ = model(x[4:], state=(h_n, c_n))
    whole = model(x)[0]
    np.testing.assert_array_equal(again, whole[4:])
    with pytest.raises(InputError, match=r"expected float32 \(T, 3\)"):
        model(x[None])
    out = [np.empty_like(a) for a in (y, h, c)]
    model(x, out=out)
    np.testing.assert_array_equal(out[0], whole)


def test_arrays_of_other_orders_are_refused_by_their_shape():
    model = Model(layers(order="time_first"))
    with pytest.raises(InputError, match=r"input 'x': got float32 \(2, 3, 4, 3\), expected float32 \(T, N, 3\)"):
        model(np.zeros((2, 3, 4, 3), np.float32))
    x = np.zeros((6, 4, 3), np.float32)
    with pytest.raises(InputError, match=r"expected a writeable C-contiguous array of float32 \(6, 4, 10\)"):
        model(x, out=[np.zeros((4, 6, 10), np.float32), None, None])
    with pytest.raises(InputError, match="expected one per row: 4"):
        model(x, lengths=[6] * 6)


def test_streams_keep_the_order():
    """A chunk is (T, N, F); a step has no time axis, whatever the order."""
    graph = layers(order="time_first", direction="forward")
    model = Model(graph)
    x = np.random.default_rng(0).uniform(-1, 1, (11, 4, 3)).astype(np.float32)
    whole = model(x)[0]
    stream = model.stream(4)
    parts = [stream.feed(x[:5])[0], *(stream.step(x[t])[0][None] for t in range(5, 8)), stream.feed(x[8:])[0]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    group = model.streams(4)
    for _ in range(4):
        group.join()
    np.testing.assert_array_equal(np.concatenate([group.feed(x[:9])[0], group.step(x[9])[0][None]]), whole[:10])


def test_final_states_of_steps_are_grouped_too():
    graph = layers(order="time_first", direction="forward")
    model, stream = Model(graph), Model(graph).stream(4)
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 3)).astype(np.float32)
    for t in range(3):
        _, h, _ = stream.step(x[t])
    np.testing.assert_array_equal(h, model(x)[1])


def test_streams_of_a_model_without_a_batch():
    model = Model(layers(order="unbatched", direction="forward"))
    x = np.random.default_rng(0).uniform(-1, 1, (7, 3, 3)).astype(np.float32)
    wanted = [model(np.ascontiguousarray(x[:, k]))[0] for k in range(3)]
    stream = model.stream()
    parts = [stream.feed(x[:4, 0])[0], stream.step(x[4, 0])[0][None]]
    np.testing.assert_array_equal(np.concatenate(parts), wanted[0][:5])
    group = model.streams(3)
    keys = [group.join() for _ in range(3)]
    for t in range(7):
        y = group.step(x[t], keys=keys)[0]
        np.testing.assert_array_equal(y, [w[t] for w in wanted])
    with pytest.raises(InputError, match="no batch axis"):
        group.feed(x)
    with pytest.raises(InputError, match="batch is 2, but this model has no batch axis"):
        model.stream(2)
    g = Graph()
    g.output(g.repeat(g.input("x", "seq", 1, order="unbatched"), 2), "y", order="unbatched")
    with pytest.raises(InputError, match="give each of several streams a stream of its own"):
        Model(g).streams(2)


def test_initial_states_in_groups():
    """The inputs hx of PyTorch's layers: (layers * directions, N, H)."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 3, order="time_first")
    h0 = g.input("h0", "vec", 8, order="groups_first", groups=2)
    w = cell_weights(rng, "gru", 3, 4, "bidirectional")
    seq, h, _ = g.recurrent("gru", x, w, hidden_size=4, direction="bidirectional", h0=h0)
    g.output(seq, "y", order="time_first")
    g.output(h, "h", order="groups_first", groups=2)
    inputs = inputs_for(rng, g, 5, 6)
    assert inputs[1].shape == (2, 5, 4)
    for mine, judged in zip(Model(g)(*inputs), reference.run(g, inputs), strict=True):
        np.testing.assert_allclose(mine, judged, atol=1e-6)
    model = Model(g)
    with pytest.raises(InputError, match=r"input 'h0': got float32 \(2, 5, 8\), expected float32 \(2, N, 4\)"):
        model(inputs[0], np.zeros((2, 5, 8), np.float32))
    assert model(inputs[0][:, 0], inputs[1][:, 0])[1].shape == (2, 4)


def test_ids_and_lengths_with_time_first():
    rng, g = np.random.default_rng(0), Graph()
    ids = g.input("ids", "ids", order="time_first")
    g.input("n", "lengths", axis=0)
    e = g.embedding(ids, weights(rng, 11, 6))
    seq, _, _ = g.recurrent("rnn", e, cell_weights(rng, "rnn", 6, 7), hidden_size=7, mask=g.mask_ids(ids))
    g.output(g.select(seq), "y")
    inputs = inputs_for(rng, g, 3, 8, [8, 1, 5])
    np.testing.assert_allclose(Model(g)(*inputs), reference.run(g, inputs)[0], atol=1e-6)
    inputs[0][7, 2] = 12
    with pytest.raises(InputError, match=r"id 12 at \[7, 2\], expected 0 to 10"):
        Model(g)(*inputs)


@pytest.mark.parametrize(
    ("kind", "size", "options", "message"),
    [
        ("seq", 3, {"order": "batchfirst"}, "unknown order 'batchfirst'.*did you mean 'batch_first'"),
        ("vec", 3, {"order": "time_first"}, "vec has no steps that could be first"),
        ("seq", 3, {"order": "groups_first", "groups": 1}, "groups are of a vec"),
        ("vec", 6, {"order": "batch_first", "groups": 2}, "groups are of a vec whose order is unbatched or groups"),
        ("vec", 6, {"order": "groups_first", "groups": 4}, "4 groups of 6 features"),
        ("vec", 6, {"order": "groups_first"}, "0 groups of 6 features"),
        ("vec", 6, {"order": "groups_first", "groups": -1}, "-1 groups of 6 features"),
        ("vec", 6, {"order": "groups_first", "groups": 2.0}, "groups is 2.0, expected an integer"),
    ],
)
def test_orders_that_cannot_be(kind, size, options, message):
    g = Graph()
    with pytest.raises(GraphError, match=message):
        g.input("x", kind, size, **options)
    value = g.input("x", kind, size)
    with pytest.raises(GraphError, match=message):
        g.output(g.activation(value, "tanh"), "y", **options)


def test_all_ports_are_without_a_batch_or_none():
    g = Graph()
    g.output(g.activation(g.input("x", "seq", 2, order="unbatched"), "tanh"), "y")
    with pytest.raises(GraphError, match="some inputs and outputs have no batch, but not y"):
        Model(g)
