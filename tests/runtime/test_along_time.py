"""The ops that look along time: against the float64 reference, and the same bits in every way to run them."""

import itertools

import numpy as np
import pytest
from helpers.graphs import cell_weights, inputs_for, weights
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.ops import REDUCTIONS

TABLES = lstm_rt.kernels()


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)


def same(a, b):
    for x, y in zip(as_tuple(a), as_tuple(b), strict=True):
        assert np.ascontiguousarray(x).tobytes() == np.ascontiguousarray(y).tobytes()


def near(got, want, scale=1.0):
    for y, w in zip(as_tuple(got), want, strict=True):
        np.testing.assert_allclose(y, w, rtol=2e-6, atol=2e-6 * scale)


def reductions(size, masked=False, whole=False):
    """Every kind of one sequence."""
    g = Graph()
    x = g.input("x", "seq", size)
    mask = g.mask_ids(g.input("ids", "ids", axis=0)) if masked else None
    for kind in REDUCTIONS:
        g.output(g.reduce(x, kind, mask, whole), kind)
    return g


def attention(heads=1, groups=0, size=3, width=2, q="seq", masked=False, **options):
    g = Graph()
    query = g.input("q", q, heads * size)
    k = g.input("k", "seq", (groups or heads) * size)
    v = g.input("v", "seq", (groups or heads) * width, axis=g.values[k].axis)
    mask = g.mask_ids(g.input("ids", "ids", axis=g.values[k].axis)) if masked else None
    out, w = g.attention(query, k, v, heads=heads, kv_heads=groups, mask=mask, **options)
    g.output(out, "y")
    if w is not None:
        g.output(w, "weights")
    return g


def streaming(rng, size=5):
    """What sums up in chunks and in streams, before and after a layer."""
    g = Graph()
    x = g.input("x", "seq", size)
    sums = g.cumsum(x)
    y, _, _ = g.recurrent("gru", sums, cell_weights(rng, "gru", size, 7), hidden_size=7, mask=g.mask_values(x))
    g.output(sums, "sums")
    g.output(g.cumsum(y), "y")
    for kind in REDUCTIONS:
        g.output(g.reduce(x, kind, g.mask_values(x)), kind)
    g.output(g.dense(g.reduce(y, "mean"), weights(rng, 3, 7)), "mean of y")
    return g


# -- the numbers ------------------------------------------------------------------------------------


@given(
    batch=st.integers(1, 4), steps=st.integers(0, 40), size=st.integers(1, 40), masked=st.booleans(),
    whole=st.booleans(), lengths=st.booleans(), table=st.sampled_from(TABLES), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_reduce(batch, steps, size, masked, whole, lengths, table, seed):
    g, rng = reductions(size, masked, whole), np.random.default_rng(seed)
    inputs = inputs_for(rng, g, batch, steps)
    given_lengths = rng.integers(0, steps + 1, batch) if lengths else None
    got = Model(dumps(g), kernels=table)(*inputs, **({"lengths": given_lengths} if lengths else {}))
    near(got, reference.run(g, inputs, lengths=given_lengths), scale=4)


@given(
    batch=st.integers(1, 4), steps=st.integers(0, 40), size=st.integers(1, 40), masked=st.booleans(),
    whole=st.booleans(), lengths=st.booleans(), table=st.sampled_from(TABLES), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_softmax_and_sums(batch, steps, size, masked, whole, lengths, table, seed):
    g, rng = Graph(), np.random.default_rng(seed)
    x = g.input("x", "seq", size)
    mask = g.mask_ids(g.input("ids", "ids", axis=0)) if masked else None
    g.output(g.softmax_steps(x, mask, whole), "softmax")
    g.output(g.cumsum(x), "sums")
    inputs = inputs_for(rng, g, batch, steps)
    inputs[0] *= 30
    given_lengths = rng.integers(0, steps + 1, batch) if lengths else None
    got = Model(dumps(g), kernels=table)(*inputs, **({"lengths": given_lengths} if lengths else {}))
    near(got, reference.run(g, inputs, lengths=given_lengths), scale=30)


@given(
    batch=st.integers(1, 3), q_steps=st.integers(0, 9), steps=st.integers(0, 40), heads=st.sampled_from([1, 2, 6]),
    per_group=st.sampled_from([1, 2]), size=st.integers(1, 40), width=st.integers(1, 40), masked=st.booleans(),
    options=st.fixed_dictionaries({"kind": st.sampled_from(["dot", "additive"]), "causal": st.booleans(),
                                   "whole": st.booleans(), "scale": st.sampled_from([1.0, 0.3, -2.0])}),
    vec=st.booleans(), weighted=st.booleans(), lengths=st.booleans(), table=st.sampled_from(TABLES),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_attention(
    batch, q_steps, steps, heads, per_group, size, width, masked, options, vec, weighted, lengths, table, seed
):
    rng = np.random.default_rng(seed)
    options["causal"] &= not vec
    groups = heads // per_group or 1
    if weighted and options["kind"] == "additive":
        options["weight"] = weights(rng, heads * size, scale=1.0)
    g = attention(heads, groups, size, width, "vec" if vec else "seq", masked, **options)
    inputs = inputs_for(rng, g, batch, [steps, steps] if vec else [q_steps, steps])
    axis = g.values[g.inputs[1]].axis
    given_lengths = {axis: rng.integers(0, steps + 1, batch)} if lengths else None
    got = Model(dumps(g), kernels=table)(*inputs, **({"lengths": {"k": given_lengths[axis]}} if lengths else {}))
    near(got, reference.run(g, inputs, lengths=given_lengths), scale=4)


@pytest.mark.parametrize("table", TABLES)
def test_sums_of_many_steps(table):
    """As good after many steps as after few, whatever the parts: a plain float32 sum would be off by a percent."""
    g = Graph()
    x = g.input("x", "seq", 1)
    g.output(g.reduce(x, "sum"), "sum")
    g.output(g.reduce(x, "mean"), "mean")
    g.output(g.cumsum(x), "sums")
    ones = np.full((1, 300_000, 1), 0.1, np.float32)
    total, mean, sums = Model(dumps(g), kernels=table)(ones)
    exact = np.cumsum(ones.astype(np.float64), axis=1)
    np.testing.assert_allclose(total, exact[:, -1], rtol=1e-7)
    np.testing.assert_allclose(mean, 0.1, rtol=1e-7)
    np.testing.assert_allclose(sums, exact, rtol=1e-7)


def test_counts_go_beyond_what_a_float_counts():
    """2^24 steps so far: one more is one more."""
    g = Graph()
    g.output(g.reduce(g.input("x", "seq", 1), "mean"), "y")
    stream = Model(dumps(g)).stream()
    state = np.zeros((1, 1, 4), np.float32)
    state[..., 0], state[..., 2] = 2**24, 2**24 - 1
    stream.state = state
    stream.feed(np.ones((1, 3, 1), np.float32))
    assert stream.state[0, 0].tolist()[2:] == [2, 1]
    assert stream.step(np.ones(1, np.float32)) == np.float32((2**24 + 4) / (2**24 + 3))


@pytest.mark.parametrize("table", TABLES)
def test_what_is_not_finite(table):
    """NaN and infinities come out of what they go into, where they count, and no NaN comes of an infinity."""
    g = reductions(3)
    g.output(g.cumsum(0), "sums")
    g.output(g.softmax_steps(0), "softmax")
    x = np.ones((1, 5, 3), np.float32)
    x[0, 1] = [np.nan, np.inf, -np.inf]
    for rows in (x, x[:, ::-1].copy()):
        got = Model(dumps(g), kernels=table)(rows)
        with np.errstate(invalid="ignore", over="ignore"):
            want = reference.run(g, [rows])
        for y, w in zip(got[:-1], want[:-1], strict=True):
            np.testing.assert_array_equal(y, w.astype(np.float32))
        assert np.isnan(got[-1][0, :, :2]).all()
        np.testing.assert_allclose(got[-1][0, :, 2], want[-1][0, :, 2], rtol=1e-6)


@pytest.mark.parametrize("table", TABLES)
def test_what_does_not_count_may_be_anything(table):
    rng = np.random.default_rng(0)
    g = attention(2, q="vec", masked=True)
    q, k, v, ids = inputs_for(rng, g, 3, 9)
    lengths = {"k": [9, 4, 0]}
    out = (np.arange(9) >= np.array([9, 4, 0])[:, None]) | (ids == 0)
    model = Model(dumps(g), kernels=table)
    y = model(q, k, v, ids, lengths=lengths)
    k[out], v[out] = np.nan, np.inf
    same(model(q, k, v, ids, lengths=lengths), y)
    assert not y[0][2].any()
    assert not y[1][out].any()


# -- in every way to run them -------------------------------------------------------------------------


def all_graphs(rng):
    g = streaming(rng)
    yield g
    yield reductions(19, masked=True)
    yield attention(4, 2, size=19, width=21, masked=True, scale=0.2)
    yield attention(3, size=7, width=40, q="vec", kind="additive")
    g = Graph()
    x = g.input("x", "seq", 6)
    h, last, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 6, 9), hidden_size=9)
    context, w = g.attention(last, h, h, scale=1 / 3)
    g.output(g.concat(context, last), "context")
    g.output(w, "weights")
    g.output(g.attention(h, h, h, heads=3, causal=True)[0], "causal")
    g.output(g.reduce(g.softmax_steps(h), "max"), "peak")
    yield g


@pytest.fixture(params=range(5))
def graph(request):
    return list(all_graphs(np.random.default_rng(0)))[request.param]


def first_axis(graph):
    """Lengths by the name of the input that brings them."""
    return graph.values[next(i for i in reversed(graph.inputs) if graph.values[i].kind == "seq")].name


def test_kernels(graph):
    blob, x = dumps(graph), inputs_for(np.random.default_rng(1), graph, 3, 50)
    fused = [name for name, fused in lstm_rt._core._all_kernels() if fused and name in TABLES]
    for name in fused:
        same(Model(blob, kernels=name)(*x), Model(blob, kernels="portable")(*x))


def test_rows_alone(graph):
    """A row gives the same bits alone, at its own length, as in a batch."""
    model, batch, steps = Model(dumps(graph)), 7, 30
    x = inputs_for(np.random.default_rng(1), graph, batch, steps)
    lengths = np.random.default_rng(2).integers(1, steps + 1, batch)
    one_axis = len({p.axis for p in model.inputs if p.kind in ("seq", "ids")}) == 1
    whole = as_tuple(model(*x, lengths={first_axis(graph): lengths}))
    for row, n in enumerate(lengths):
        cut = [a[row : row + 1, :n] if a.ndim > 1 and p.kind != "vec" and (one_axis or p.name != "q") else
               a[row : row + 1] for a, p in zip(x, model.inputs, strict=True)]  # fmt: skip
        for got, want in zip(as_tuple(model(*map(np.ascontiguousarray, cut))), whole, strict=True):
            same(got[0], want[row, : len(got[0])])


@OPENMP
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_threads(graph, batch):
    blob, x = dumps(graph), inputs_for(np.random.default_rng(1), graph, batch, 300)
    lengths = {first_axis(graph): np.random.default_rng(2).integers(0, 301, batch)}
    for options in ({}, {"lengths": lengths}):
        one = Model(blob, threads=1)(*x, **options)
        for lanes in (2, 3):
            same(one, on_lanes(lanes, lambda n=lanes, o=options: Model(blob, threads=n)(*x, **o)))


@given(cuts=st.lists(st.integers(0, 300), max_size=5), batch=st.sampled_from([1, 2, 5]), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_chunks(cuts, batch, seed):
    """Whole, in any parts with the state saved between them, and step by step: a reduction is over all so far."""
    rng = np.random.default_rng(seed)
    model = Model(dumps(streaming(rng)))
    assert model.can_stream
    x = rng.uniform(-1, 1, (batch, 300, 5)).astype(np.float32)
    x[rng.random((batch, 300)) < 0.2] = 0
    whole, final = model(x, return_state=True)
    stream, pieces, state = model.stream(batch), [], None
    for a, b in itertools.pairwise([0, *sorted(cuts), 300]):
        part = np.ascontiguousarray(x[:, a:b])
        sums, y, *totals = stream.feed(part)
        again, state = model(part, state=state, return_state=True)
        same((sums, y, *totals), again)
        pieces.append((sums, y))
        saved, stream = stream.state, model.stream(batch)
        stream.state = saved
    same(tuple(np.concatenate(p, axis=1) for p in zip(*pieces, strict=True)), whole[:2])
    same(tuple(totals), whole[2:])
    for a, b in zip(state, final, strict=True):
        same(a, b)
    stream.reset()
    for t in range(40):
        got = stream.step(np.ascontiguousarray(x[:, t]))
        sums, y, *totals = model(np.ascontiguousarray(x[:, : t + 1]))
        same(got, (sums[:, t], y[:, t], *totals))


def test_a_group_of_streams():
    """Streams that come, go and change places keep their own sums."""
    rng = np.random.default_rng(0)
    model = Model(dumps(streaming(rng)))
    x = rng.uniform(-1, 1, (4, 30, 5)).astype(np.float32)
    alone, group = [model.stream() for _ in range(4)], model.streams(4)
    keys = [group.join() for _ in range(4)]
    for t in range(30):
        some = list(rng.permutation(4)[: rng.integers(1, 5)])
        got = group.step(np.ascontiguousarray(x[some, t]), keys=[keys[i] for i in some])
        for row, i in enumerate(some):
            same(tuple(y[row] for y in got), alone[i].step(x[i, t]))
        if t == 12:
            group.leave(keys[1])
            keys[1], alone[1] = group.join(), model.stream()
        if t == 20:
            group.set_state(keys[2], group.state(keys[0]))
            alone[2].state = alone[0].state


def test_state_between_calls_with_lengths():
    """Rows that end keep what they have summed up."""
    rng = np.random.default_rng(0)
    model = Model(dumps(streaming(rng)))
    x = rng.uniform(-1, 1, (3, 40, 5)).astype(np.float32)
    lengths = np.array([25, 0, 3])
    _, state = model(x, lengths=lengths, return_state=True)
    got = model(x, state=state)
    for row, n in enumerate(lengths):
        joined = np.concatenate([x[row, :n], x[row]])
        want = model(joined)
        same(got[0][row], want[0][n:])
        same(tuple(y[row] for y in got[2:]), want[2:])


def test_a_state_of_another_form_is_refused():
    g = reductions(3)
    model = Model(dumps(g))
    state = model(np.ones((2, 4, 3), np.float32), return_state=True)[1]
    with pytest.raises(InputError, match=r"state h: got float32 \(5, 2, 8\), expected .*\(6, 2, 8\)"):
        model(np.ones((2, 4, 3), np.float32), state=state[:5])
