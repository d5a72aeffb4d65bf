"""Time axes derived from others: take and repeat, against the reference; lengths, chunks and streams on them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphs import cell_weights, inputs_for, weights
from helpers.small_graphs import lstm
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

from lstm_rt import GraphError, InputError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Axis, Graph
from lstm_rt.ops import OPS


def chain(*ops, order="batch_first", inputs=3, hidden=5, op="gru"):
    """x -> take or repeat, as listed -> a recurrent layer -> y, and its last step."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", inputs, order=order)
    seq, _, _ = g.recurrent(op, x, cell_weights(rng, op, inputs, hidden), hidden_size=hidden)
    for name, *args in ops:
        seq = getattr(g, name)(seq, *args)
    seq, h, _ = g.recurrent(op, seq, cell_weights(rng, op, hidden, hidden), hidden_size=hidden)
    g.output(g.dense(seq, weights(rng, 2, hidden)), "y", order=order)
    g.output(g.select(seq), "last")
    g.output(h, "h")
    return g


TAKES = st.tuples(
    st.just("take"), st.integers(0, 4), st.integers(1, 4), st.integers(0, 3), st.none() | st.integers(0, 12)
)
REPEATS = st.tuples(st.just("repeat"), st.integers(1, 3))


@pytest.mark.parametrize("lanes", [1, pytest.param(2, marks=OPENMP)])
@settings(max_examples=100, deadline=None)
@given(
    ops=st.lists(TAKES | REPEATS, min_size=1, max_size=3),
    batch=st.integers(1, 5),
    steps=st.integers(0, 150),
    ragged=st.booleans(),
    order=st.sampled_from(["batch_first", "time_first"]),
)
def test_against_the_reference(ops, batch, steps, ragged, order, lanes):
    graph = chain(*ops, order=order)
    rng = np.random.default_rng(2)
    inputs = inputs_for(rng, graph, batch, steps)
    lengths = rng.integers(0, steps + 1, batch) if ragged else None
    outputs = on_lanes(lanes, lambda: Model(graph)(*inputs, lengths=lengths, threads=lanes))
    for mine, judged in zip(outputs, reference.run(graph, inputs, lengths), strict=True):
        assert mine.shape == judged.shape
        np.testing.assert_allclose(mine, judged, atol=1e-5)
    again = Model(loads_graph(dumps(graph)))(*inputs, lengths=lengths)
    for a, b in zip(outputs, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ((), slice(None)),
        ((2,), slice(2, None)),
        ((0, 3), slice(None, None, 3)),
        ((1, 2), slice(1, None, 2)),
        ((1, 2, 3), slice(1, -3, 2)),
        ((0, 1, 4), slice(0, -4)),
        ((0, 1, 0, 4), slice(0, 4)),
        ((2, 2, 0, 3), slice(2, 8, 2)),
    ],
)
def test_takes_are_slices_of_python(args, wanted):
    g = Graph()
    g.output(g.take(g.input("x", "seq", 1), *args), "y")
    for steps in range(12):
        x = np.arange(steps, dtype=np.float32).reshape(1, steps, 1)
        np.testing.assert_array_equal(Model(g)(x), x[:, wanted])


def test_a_vector_at_every_step():
    """Keras' RepeatVector on a fixed number of steps, and a vector beside the steps of a sequence."""
    rng, g = np.random.default_rng(0), Graph()
    x, v = g.input("x", "seq", 3), g.input("v", "vec", 2)
    fixed = g.new_axis(Axis(mul=0, add=4))
    g.output(g.repeat_vector(v, fixed), "four")
    g.output(g.concat(x, g.repeat_vector(v, g.values[x].axis)), "beside")
    inputs = inputs_for(rng, g, 2, 5)
    four, beside = Model(g)(*inputs)
    np.testing.assert_array_equal(four, np.repeat(inputs[1][:, None], 4, axis=1))
    np.testing.assert_array_equal(beside, np.concatenate([inputs[0], np.repeat(inputs[1][:, None], 5, axis=1)], axis=2))


def test_an_encoder_and_a_decoder_of_fixed_steps():
    """A final state repeated: the autoencoder of Keras' tutorials."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 3)
    _, h, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 3, 6), hidden_size=6)
    code = g.repeat_vector(h, g.new_axis(Axis(mul=0, add=7)))
    seq, _, _ = g.recurrent("lstm", code, cell_weights(rng, "lstm", 6, 5), hidden_size=5)
    g.output(g.dense(seq, weights(rng, 3, 5)), "y")
    model = Model(g)
    for steps in (0, 1, 7, 40):
        inputs = inputs_for(rng, g, 3, steps)
        np.testing.assert_allclose(model(*inputs), reference.run(g, inputs)[0], atol=1e-6)
    assert not model.can_stream


def test_the_same_rule_is_the_same_axis():
    g = Graph()
    x = g.input("x", "seq", 2)
    a, b = g.take(x, 1, 2), g.take(g.activation(x, "tanh"), 1, 2)
    g.output(g.binary("add", a, b), "y")
    assert g.n_axes == 2
    with pytest.raises(GraphError, match=r"different time axes \(0 and 1\)"):
        g.binary("add", x, a)


def test_long_calls_go_through_in_chunks():
    """Memory does not grow with the steps, and the results are those of short calls."""
    model = Model(chain(("take", 0, 2), ("repeat", 3)))
    assert model.session_nbytes(1, 100) == model.session_nbytes(1, 10000)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1000, 3)).astype(np.float32)
    whole = model(x)[0]
    assert whole.shape == (1, 1500, 2)
    np.testing.assert_array_equal(model(x[:, :600])[0], whole[:, :900])


def test_streams_where_each_step_gives_as_many():
    model = Model(chain(("repeat", 3)))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 9, 3)).astype(np.float32)
    whole = model(x)[0]
    assert model.can_stream
    stream = model.stream()
    parts = [stream.feed(x[:, a:b])[0] for a, b in ((0, 4), (4, 5), (5, 9))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    with pytest.raises(InputError, match="one step for each step of its inputs: feed it"):
        stream.step(x[0, 0])


@pytest.mark.parametrize("ops", [("take", 0, 2), ("take", 1), ("take", 0, 1, 1), ("take", 0, 1, 0, 5)])
def test_no_streams_where_a_step_depends_on_how_many_there_were(ops):
    model = Model(chain(ops))
    assert not model.can_stream
    with pytest.raises(InputError, match="cannot stream"):
        model.stream()


def test_steps_beyond_all_bounds():
    g = Graph()
    x = g.input("x", "seq", 1)
    for _ in range(2):
        x = g.repeat(x, 1 << 20)
    g.output(g.select(x), "y")
    with pytest.raises(InputError, match="more than 2147483647"):
        Model(g)(np.zeros((1, 1, 1), np.float32))


def test_a_selftest_on_derived_axes():
    g = chain(("take", 1, 2))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6, 3)).astype(np.float32)
    from lstm_rt.graph import SelfTest

    g.selftest = SelfTest([x], list(Model(g)(x)))
    model = Model(g)
    assert model.verify()["ok"] is True
    g.selftest.outputs[0] = np.concatenate([g.selftest.outputs[0]] * 2, axis=1)
    with pytest.raises(GraphError, match=r"y has shape \(2, 6, 2\), expected \(2, 3, 2\)"):
        dumps(g)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, x, v: g.take(x, -1), "take: start is -1, expected 0 to"),
        (lambda g, x, v: g.take(x, 0, 0), "take: stride is 0, expected 1 to"),
        (lambda g, x, v: g.take(x, 0, 1, -1), "take: drop is -1, expected 0 to"),
        (lambda g, x, v: g.take(x, 0, 1, 0, -1), "take: most is -1, expected 0 to"),
        (lambda g, x, v: g.take(v), "take: got a value of kind vec, expected seq"),
        (lambda g, x, v: g.repeat(x, 0), "repeat: times is 0"),
        (lambda g, x, v: g.repeat(v, 2), "repeat: got a value of kind vec"),
        (lambda g, x, v: g.repeat_vector(x, 0), "repeat: got a value of kind seq"),
        (lambda g, x, v: g.repeat_vector(v, 3), "repeat: time axis 3 does not exist"),
        (lambda g, x, v: g.node("take", x, start=0, stride=2, axis=0), "take: time axis 0 is .*, expected"),
        (lambda g, x, v: g.node("take", x, start=0), "take: stride is missing"),
        (lambda g, x, v: g.node("take", x, start=0, stride=1, strid=2), "take: unknown option 'strid'.*did you mean"),
        (lambda g, x, v: g.node("tak", x), "unknown op 'tak'.*did you mean 'take'"),
        (lambda g, x, v: g.node("lstm", x), "unknown op 'lstm'"),
        (lambda g, x, v: g.input("z", "seq", 2, axis=g.new_axis(Axis(0, 1, 0, 2))), "time axis 1 is derived"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    g = Graph()
    x, v = g.input("x", "seq", 2), g.input("v", "vec", 2)
    with pytest.raises(GraphError, match=message):
        call(g, x, v)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: Axis(0, 1, 0, 0), "time axis: div is 0, expected 1 to"),
        (lambda g: Axis(0, 1, 1 << 31), "time axis: add is 2147483648"),
        (lambda g: Axis("a"), "time axis: parent is 'a', expected an integer"),
        (lambda g: Axis(0, 1.5), "time axis: mul is 1.5, expected an integer"),
        (lambda g: g.new_axis(3), "the rule is 3, expected an Axis"),
        (lambda g: g.new_axis(Axis(7)), "its parent 7 does not exist"),
        (lambda g: g.new_axis(Axis(None, 2)), "has no parent, so mul is 0"),
        (lambda g: g.node("select", 0, index=[]), "select: index is .*, expected an integer"),
        (lambda g: g.node([], 0), "unknown op"),
        (lambda g: g.input("z", "seq", 3, order=np.zeros(3)), "unknown order"),
        (lambda g: g.output(0, "z", order="nope"), "unknown order"),
        (lambda g: g.input("z", "seq", 1 << 31), "features of a value"),
    ],
)
def test_refused_rules_and_ports_change_nothing(make, message):
    g = Graph()
    g.input("x", "seq", 2)
    with pytest.raises(GraphError, match=message):
        make(g)
    assert (len(g.nodes), len(g.values), g.n_axes, len(g.outputs)) == (0, 1, 1, 0)


def test_rules():
    assert Axis(0, 1, 1, 2).steps(5) == 3
    assert Axis(0, 1, -7, 2).steps(5) == 0
    assert Axis(0, 3, 0, 1, 10).steps(5) == 10
    assert [name for name, op in OPS.items() if op.since == 3] == ["take", "repeat"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 3), st.data())
def test_steps_within_steps_stream(times, steps, batch, data):
    """All steps of an axis that has ``times`` as many are there with the step that they are of."""
    place, rng = data.draw(st.integers(0, times - 1)), np.random.default_rng(steps)
    g = Graph()
    x = g.input("x", "seq", 3 * times)
    inner, _, _ = lstm(g, g.unflatten(x, times), 4)
    last = g.align(g.take(inner, place, times, drop=times - 1 - place), 0)
    g.output(g.concat(last, x), "y")
    model = Model(loads_graph(dumps(g)))
    given_x = rng.normal(0, 1, (batch, steps, 3 * times)).astype(np.float32)
    y = model(given_x)
    np.testing.assert_allclose(y, reference.run(g, [given_x])[0], rtol=1e-4, atol=1e-5)
    assert model.can_stream
    stream = model.stream(batch=batch)
    cut = data.draw(st.integers(0, steps))
    parts = [stream.step(np.ascontiguousarray(given_x[:, t]))[:, None] for t in range(cut)]
    parts += [stream.feed(given_x[:, cut:])] if cut < steps else []
    assert np.concatenate(parts, 1).tobytes() == y.tobytes()
    np.testing.assert_array_equal(model(np.tile(given_x, (1, 30, 1)))[:, :steps], y)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 60), st.integers(1, 3), st.booleans(), st.sampled_from([1, 4, 9]))
def test_steps_aligned_with_those_they_were_made_of(by, steps, batch, ragged, size):
    """Some steps dropped at the front, as many added behind: those of the input, if it has as many as are dropped."""
    g = Graph()
    x = g.input("x", "seq", size, order="time_first")
    moved = g.align(g.pad_steps(g.take(x, by), 0, by, 0.5), 0)
    g.output(g.binary("sub", x, moved), "y")
    g.output(g.binary("add", moved, x), "z", order="time_first")
    model, rng = Model(loads_graph(dumps(g))), np.random.default_rng(steps)
    assert not model.can_stream
    given_x = rng.normal(0, 1, (steps, batch, size)).astype(np.float32)
    lengths = rng.integers(min(by, steps), steps + 1, batch) if ragged else None
    if steps < by:
        with pytest.raises(InputError, match=rf"align\) takes exactly {steps} steps, got {by}"):
            model(given_x)
        with pytest.raises(InputError, match=f"align takes exactly {steps} steps, got {by}"):
            reference.run(g, [given_x])
        return
    y, z = model(given_x, lengths=lengths)
    for row in range(batch):
        n = steps if lengths is None else lengths[row]
        own = given_x[:n, row]
        want = np.concatenate([own[by:], np.full((by, size), 0.5, np.float32)])
        np.testing.assert_array_equal(y[row, :n], own - want)
        np.testing.assert_array_equal(z[:n, row], want + own)
    for mine, judged in zip((y, z), reference.run(g, [given_x], lengths), strict=True):
        np.testing.assert_allclose(mine, judged, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 60), st.integers(1, 3), st.booleans(), st.sampled_from([1, 4, 9]))
def test_steps_cut_to_as_many_as_another_axis_has(by, steps, batch, ragged, size):
    """Every few steps, each so many times, as many as there were; and the first half of them."""
    g = Graph()
    x = g.input("x", "seq", size)
    g.output(g.binary("sub", x, g.cut(g.repeat(g.take(x, 0, by), by), 0)), "y")
    g.output(g.cut(x, g.new_axis(Axis(0, 1, 0, 2))), "half")
    model, rng = Model(loads_graph(dumps(g))), np.random.default_rng(steps)
    assert not model.can_stream
    given_x = rng.normal(0, 1, (batch, steps, size)).astype(np.float32)
    lengths = rng.integers(0, steps + 1, batch) if ragged else None
    y, half = model(given_x, lengths=lengths)
    for row in range(batch):
        n = steps if lengths is None else lengths[row]
        np.testing.assert_array_equal(y[row, :n], (given_x - np.repeat(given_x[:, ::by], by, 1)[:, :steps])[row, :n])
        np.testing.assert_array_equal(half[row, : n // 2], given_x[row, : n // 2])
    for mine, judged in zip((y, half), reference.run(g, [given_x], lengths), strict=True):
        np.testing.assert_allclose(mine, judged, atol=1e-6)


def test_fewer_steps_are_not_cut():
    g = Graph()
    x = g.input("x", "seq", 2)
    g.output(g.cut(g.take(x, 0, 2), 0), "y")
    model = Model(dumps(g))
    assert model(np.ones((2, 1, 2), np.float32)).shape == (2, 1, 2)
    with pytest.raises(InputError, match=r"cut\) takes at least 5 steps, got 3"):
        model(np.ones((2, 5, 2), np.float32))
    with pytest.raises(InputError, match="cut takes at least 5 steps, got 3"):
        reference.run(g, [np.ones((2, 5, 2), np.float32)])


def test_align_is_of_steps():
    g = Graph()
    x, v = g.input("x", "seq", 2), g.input("v", "vec", 2)
    with pytest.raises(GraphError, match="align: got a value of kind vec, expected seq"):
        g.align(v, 0)
    with pytest.raises(GraphError, match="time axis 3 does not exist"):
        g.align(x, 3)
    with pytest.raises(GraphError, match="the time axis of its output is missing"):
        g.node("align", x)
