"""The same bits whatever the kernels, batch, threads or cut of the sequence."""

import itertools

import numpy as np
import pytest
from helpers.graphs import FORMS, cell_id, cell_weights, every_op_graph, inputs_for, recurrent_graph
from helpers.identity import FUSED, check_rows_alone, check_threads, same
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph


@pytest.fixture(scope="module", params=FORMS, ids=cell_id)
def graph(request):
    op, options = request.param
    rng = np.random.default_rng(0)
    return recurrent_graph(rng, op, 7, 61, direction="bidirectional", **options)


def test_this_machine_runs_every_table_it_can():
    """simdjson's lesson: a forced table must be the one that runs."""
    g = recurrent_graph(np.random.default_rng(0), "rnn", 2, 3)
    for name in lstm_rt.kernels():
        assert Model(dumps(g), kernels=name).kernels == name


@pytest.mark.parametrize("kernels", FUSED)
def test_kernels(graph, kernels):
    blob = dumps(graph)
    x = inputs_for(np.random.default_rng(1), graph, 8, 40)
    same(Model(blob, kernels=kernels)(*x), Model(blob, kernels="portable")(*x))


@pytest.mark.parametrize("kernels", FUSED)
def test_kernels_on_every_op(kernels):
    g = every_op_graph(np.random.default_rng(4))
    x = inputs_for(np.random.default_rng(1), g, 3, 21)
    same(Model(dumps(g), kernels=kernels)(*x), Model(dumps(g), kernels="portable")(*x))


@pytest.mark.parametrize("hidden", range(1, 50))
def test_kernels_at_every_tail(hidden):
    g = recurrent_graph(np.random.default_rng(0), "lstm", 2, hidden)
    x = inputs_for(np.random.default_rng(1), g, 7, 3)
    results = [Model(dumps(g), kernels=k)(*x) for k in FUSED]
    for a, b in itertools.pairwise(results):
        same(a, b)


def test_batch(graph):
    """A row gives the same bits alone and in batches of 3 and 32, at any place."""
    model = Model(dumps(graph))
    (x,) = inputs_for(np.random.default_rng(1), graph, 32, 20)
    whole = model(x)
    for size in (1, 3, 5):
        for start in range(0, 32 - size + 1, size):
            part = model(np.ascontiguousarray(x[start : start + size]))
            same(part, tuple(np.ascontiguousarray(y[start : start + size]) for y in whole))


@pytest.mark.parametrize("op", ["lstm", "rnn"])
@pytest.mark.parametrize("kernels", FUSED)
@pytest.mark.parametrize("inputs", [1, 9])
def test_without_bias(op, kernels, inputs):
    """A file may leave the bias out, which this writer never does; also in steps that make the input product."""
    g = recurrent_graph(np.random.default_rng(0), op, inputs, 45, bias=False)
    none = 0xFFFFFFFF
    with_zeros, without = (np.array([0, bias, 2, none, none, none], "<u4").tobytes() for bias in (1, none))
    blob = dumps(g)
    assert blob.count(with_zeros) == 1
    model, bare = Model(blob, kernels=kernels), Model(blob.replace(with_zeros, without), kernels=kernels)
    (x,) = inputs_for(np.random.default_rng(1), g, 3, 20)
    for part in (x, x[:1], x[:1, :1], x[:, :1]):
        same(bare(part.copy()), model(part.copy()))


def test_ragged_batch(graph):
    model = Model(dumps(graph))
    (x,) = inputs_for(np.random.default_rng(1), graph, 9, 20)
    check_rows_alone(model, x, [20, 1, 7, 0, 19, 20, 3, 2, 13])


@OPENMP
@pytest.mark.parametrize("batch", [1, 2, 3, 8, 32])
def test_threads(graph, batch):
    blob = dumps(graph)
    x = inputs_for(np.random.default_rng(1), graph, batch, 60)
    check_threads(blob, x, 2, 3)


@OPENMP
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=20),
    lanes=st.sampled_from([2, 3, 5]),
    hidden=st.sampled_from([3, 16, 61, 130]),
)
@settings(max_examples=40, deadline=None)
def test_ragged_batches_on_threads(lengths, lanes, hidden):
    """Also rows without steps, at any place, and lanes without rows."""
    g = every_op_graph(np.random.default_rng(4)) if hidden == 3 else streaming_graph(np.random.default_rng(0), hidden)
    x = inputs_for(np.random.default_rng(1), g, len(lengths), 25)
    of = {p.name: lengths for p in Model(dumps(g)).inputs[:1]}
    one = Model(dumps(g), threads=1)(*x, lengths=of)
    same(one, on_lanes(lanes, lambda: Model(dumps(g), threads=lanes)(*x, lengths=of)))


def stacked_graph(rng):
    """Layers that lanes can run a pass apart: a mask, a skip over several layers, vectors at the end."""
    g = Graph()
    x = g.input("x", "seq", 6)
    mask = g.mask_values(x, 0.0)
    a, _, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 6, 9, proj=5), hidden_size=9, mask=mask)
    b, h, _ = g.recurrent("gru", a, cell_weights(rng, "gru", 5, 7), hidden_size=7, reset_after=False)
    c, _, cell = g.recurrent("lstm", g.concat(b, x), cell_weights(rng, "lstm", 13, 6), hidden_size=6, mask=mask)
    y = g.dense(g.concat(c, a, x), cell_weights(rng, "rnn", 17, 4)["w_ih"], None, "tanh")
    g.output(y, "y")
    g.output(g.dense(g.concat(h, cell, g.select(y)), cell_weights(rng, "rnn", 17, 3)["w_ih"], None), "z")
    return g


@OPENMP
@pytest.mark.parametrize("steps", [47, 48, 97, 500, 1700])
@pytest.mark.parametrize("lanes", [2, 3, 4])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_layers_side_by_side(steps, lanes, batch):
    """Stages a pass apart, with lengths, as a stream and in one call."""
    g = stacked_graph(np.random.default_rng(0))
    x = inputs_for(np.random.default_rng(1), g, batch, steps)
    lengths = np.random.default_rng(2).integers(0, steps + 1, batch)
    model, one = Model(dumps(g), threads=lanes), Model(dumps(g), threads=1)
    same(one(*x), on_lanes(lanes, lambda: model(*x)))
    same(one(*x, lengths=lengths), on_lanes(lanes, lambda: model(*x, lengths=lengths)))
    stream, alone = model.stream(batch), one.stream(batch)
    for part in np.array_split(x[0], 2, axis=1):
        part = np.ascontiguousarray(part)
        same(alone.feed(part), on_lanes(lanes, lambda p=part: stream.feed(p)))


@pytest.mark.parametrize("order", ["sorted", "reversed", "mixed"])
def test_ragged_batch_of_one_axis(order):
    """Each row as if it were alone, whatever the others still do."""
    rng = np.random.default_rng(0)
    model = Model(dumps(streaming_graph(rng)))
    lengths = {"sorted": np.arange(40, 0, -1), "reversed": np.arange(1, 41), "mixed": rng.integers(0, 41, 40)}[order]
    x = rng.uniform(-1, 1, (40, 40, 6)).astype(np.float32)
    (y, h, _), state = model(x, lengths=lengths, return_state=True)
    for row, n in enumerate(lengths):
        (y1, h1, _), state1 = model(np.ascontiguousarray(x[row, :n]), return_state=True)
        same(np.ascontiguousarray(y[row, :n]), y1)
        same(h[row], h1)
        for a, b in zip(itertools.chain(*state[:1], state[1:]), itertools.chain(*state1[:1], state1[1:]), strict=True):
            same(np.ascontiguousarray(a[:, row]), b)


@OPENMP
@pytest.mark.parametrize(("op", "options"), FORMS, ids=map(cell_id, FORMS))
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_threads_sharing_panels(op, options, direction):
    """Large enough that lanes share the panels of each step; 3 threads on one direction too."""
    rng = np.random.default_rng(0)
    g = recurrent_graph(rng, op, 5, 330, direction=direction, **options)
    x = inputs_for(rng, g, 1, 30)
    one = Model(dumps(g), threads=1)(*x)
    for lanes in (2, 3):
        same(one, on_lanes(lanes, lambda n=lanes: Model(dumps(g), threads=n)(*x)))


def streaming_graph(rng, hidden=21):
    g = Graph()
    x = g.input("x", "seq", 6)
    v, _, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 6, hidden), hidden_size=hidden)
    v, h, _ = g.recurrent("gru", v, cell_weights(rng, "gru", hidden, 10), hidden_size=10)
    v = g.binary("add", g.dense(v, cell_weights(rng, "rnn", 10, 6)["w_ih"], None, "tanh"), x)
    g.output(v, "y")
    g.output(h, "h")
    g.output(g.select(v), "last")
    return g


@given(cuts=st.lists(st.integers(0, 90), max_size=6), batch=st.sampled_from([1, 2, 5]), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_chunks(cuts, batch, seed):
    """Whole sequence, any cut of it, and single steps; state saved and restored at each cut."""
    rng = np.random.default_rng(seed)
    model = Model(dumps(streaming_graph(rng)))
    x = rng.uniform(-1, 1, (batch, 90, 6)).astype(np.float32)
    whole, final = model(x, return_state=True)
    stream = model.stream(batch)
    edges = [0, *sorted(cuts), 90]
    pieces = []
    for a, b in itertools.pairwise(edges):
        y, h, last = stream.feed(np.ascontiguousarray(x[:, a:b]))
        pieces.append(y)
        saved = stream.state
        stream = model.stream(batch)
        stream.state = saved
    same(np.concatenate(pieces, axis=1), whole[0])
    same((h, last) if edges[-2] < 90 else (h,), whole[1:] if edges[-2] < 90 else whole[1:2])
    stream.reset()
    for t in range(90):
        y, h, last = stream.step(np.ascontiguousarray(x[:, t]))
        same(y, np.ascontiguousarray(whole[0][:, t]))
    same((h, last), whole[1:])
    for a, b in zip(stream.state, final, strict=True):
        same(a, b)


def test_long_call_in_passes():
    """Longer than a pass of the core, with lengths that end in different passes."""
    rng = np.random.default_rng(0)
    model = Model(dumps(streaming_graph(rng)))
    x = rng.uniform(-1, 1, (4, 1000, 6)).astype(np.float32)
    lengths = np.array([1000, 0, 119, 543])
    y, h, last = model(x, lengths=lengths)
    for row, n in enumerate(lengths):
        if n:
            alone = model(np.ascontiguousarray(x[row, :n]))
            same(np.ascontiguousarray(y[row, :n]), alone[0])
            same((h[row], last[row]), alone[1:])
    assert not last[1].any()


def test_a_call_leaves_nothing_behind():
    rng = np.random.default_rng(0)
    model = Model(dumps(streaming_graph(rng)))
    x = rng.uniform(-1, 1, (2, 30, 6)).astype(np.float32)
    first = model(x)
    model(x[:1], state=model(x[:1], return_state=True)[1])
    same(model(x), first)
