"""Several ids at a step, and ids of a single step: what embeddings make of them, in calls, streams and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.graphs import cell_weights, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges.testdata import make_inputs
from lstm_rt_tools.judges.torch_replay import replay

import lstm_rt
from lstm_rt import GraphError, InputError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph

V = 11  #: rows of a table


def tables_of(size, axis, order="batch_first", dims=(), seed=0):
    """ids -> an embedding of all ids of a step, and of the last alone; the tables."""
    rng, g = np.random.default_rng(seed), Graph()
    ids = g.input("ids", "ids", size, axis, order, dims=dims)
    all_of_them, last = weights(rng, V, 3), weights(rng, 2 * V, 2)
    g.output(g.embedding(ids, all_of_them), "all")
    g.output(g.embedding(ids, last, max(size, 1) - 1), "last")
    return g, (all_of_them, last)


def looked_up(tables, ids, size):
    """What NumPy gives: ids (..., size), or without features where size is 0."""
    many = ids if size else ids[..., None]
    return tables[0][many].reshape(*many.shape[:-1], -1), tables[1][many[..., -1]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4), st.booleans(), st.integers(1, 4), st.integers(0, 20), st.integers(0, 99))
def test_the_rows_are_those_of_numpy(size, timed, batch, steps, seed):
    g, tables = tables_of(size, None if timed else -1)
    model = Model(loads_graph(dumps(g)))
    named = ("N", "T") if timed else ("N",)
    assert model.inputs[0].shape == (*named, *([size] if size else []))
    assert model.inputs[0].axis == (0 if timed else None)
    ids = np.random.default_rng(seed).integers(0, V, (batch, *([steps] if timed else []), *([size] if size else [])))
    for y, want in zip(model(ids), looked_up(tables, ids, size), strict=True):
        np.testing.assert_array_equal(y, want)
    one = model(ids[0])  # without the batch
    for y, want in zip(one, looked_up(tables, ids[0], size), strict=True):
        np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_every_table_of_kernels(kernels):
    g, tables = tables_of(3, None, order="time_first")
    ids = np.random.default_rng(0).integers(0, V, (17, 4, 3)).astype(np.int32)
    want = looked_up(tables, ids.transpose(1, 0, 2), 3)
    for y, w in zip(Model(dumps(g), kernels=kernels)(ids), want, strict=True):
        np.testing.assert_array_equal(y, w)


@pytest.mark.parametrize(("size", "dims"), [(6, ("N", 2, "T", 3)), (6, (3, "T", "N", 2)), (0, ("T", 1, "N"))])
def test_shaped(size, dims):
    g, tables = tables_of(size, None, "shaped", dims)
    model = Model(dumps(g))
    ids = np.random.default_rng(0).integers(0, V, [{"N": 3, "T": 9}.get(d, d) for d in dims])
    places = [dims.index("N"), dims.index("T"), *(i for i, d in enumerate(dims) if isinstance(d, int))]
    natural = ids.transpose(places).reshape(3, 9, *([size] if size else []))
    for y, want in zip(model(ids), looked_up(tables, natural, size), strict=True):
        np.testing.assert_array_equal(y, want)
    stream = model.stream(batch=3)
    steps = [stream.step(np.take(ids, t, dims.index("T"))) for t in range(9)]
    for k, want in enumerate(looked_up(tables, natural, size)):
        np.testing.assert_array_equal(np.stack([s[k] for s in steps], 1), want)


@pytest.mark.parametrize(("order", "dims", "shape"), [("unbatched", (), ()), ("shaped", (1, "N"), (1, 2))])
def test_one_id_of_one_step(order, dims, shape):
    g, tables = tables_of(0, -1, order, dims)
    if order == "unbatched":
        for i, o in enumerate(g.outputs):
            g.values[o] = lstm_rt.graph.Value(f"y{i}", "vec", g.values[o].size, -1, "unbatched")
    model = Model(dumps(g))
    ids = np.full(shape, 7)
    for y, table in zip(model(ids), tables, strict=True):
        np.testing.assert_array_equal(y, table[ids].reshape(y.shape))


def words(rng):
    """Three ids at a step, through an embedding and a layer: streams."""
    g = Graph()
    e = g.embedding(g.input("ids", "ids", 3), weights(rng, V, 4))
    seq, _, _ = g.recurrent("lstm", e, cell_weights(rng, "lstm", 12, 5), hidden_size=5)
    g.output(seq, "y")
    return Model(dumps(g))


def test_streams_and_groups_take_several_ids_a_step():
    rng = np.random.default_rng(0)
    model = words(rng)
    ids = rng.integers(0, V, (4, 30, 3))
    want = model(ids)
    stream = model.stream(batch=4)
    got = np.concatenate([stream.feed(ids[:, :7]), *(stream.step(ids[:, t])[:, None] for t in range(7, 30))], 1)
    assert got.tobytes() == want.tobytes()
    one = model.stream()
    assert np.stack([one.step(ids[0, t]) for t in range(30)]).tobytes() == want[0].tobytes()
    group = model.streams(capacity=5)
    for _ in range(4):
        group.join()
    rows = [group.step(np.ascontiguousarray(ids[:, t], np.int32)) for t in range(30)]
    assert np.stack(rows, 1).tobytes() == want.tobytes()


def test_lengths_and_threads():
    rng = np.random.default_rng(1)
    model = words(rng)
    ids = rng.integers(0, V, (5, 40, 3))
    n = np.array([40, 3, 0, 17, 40])
    y = model(ids, lengths=n)
    for row, steps in enumerate(n):
        assert y[row, :steps].tobytes() == model(ids[row, :steps]).tobytes()
    assert model(ids, threads=2).tobytes() == model(ids, threads=1).tobytes()


def test_against_torch():
    pytest.importorskip("torch")
    for size, axis in ((0, None), (0, -1), (3, None), (3, -1)):
        g, _ = tables_of(size, axis)
        inputs = make_inputs(g, 3, 8)
        for y, want in zip(Model(dumps(g))(*inputs), replay(g, inputs), strict=True):
            np.testing.assert_allclose(y, want, rtol=1e-6)


def test_ids_of_a_step_without_lengths():
    g, _ = tables_of(2, -1)
    with pytest.raises(InputError, match="no sequence input"):
        Model(dumps(g))(np.zeros((2, 2), int), lengths=[1, 1])


@pytest.mark.parametrize(("size", "timed"), [(0, False), (3, True), (3, False)])
def test_an_id_outside_of_a_table_is_named(size, timed):
    g, _ = tables_of(size, None if timed else -1)
    ids = np.zeros((2, *([4] if timed else []), *([size] if size else [])), np.int32)
    model = Model(dumps(g))
    ids[(1,) * ids.ndim] = V
    at = ", ".join("1" * ids.ndim)
    with pytest.raises(InputError, match=rf"input 'ids': id {V} at \[{at}\], expected 0 to {V - 1}"):
        model(ids)
    ids[(1,) * ids.ndim] = -1
    with pytest.raises(InputError, match="id -1 at"):
        model(ids)


def test_only_ids_that_are_read_have_to_be_in_the_table():
    rng, g = np.random.default_rng(0), Graph()
    ids = g.input("ids", "ids", 2)
    few, many = weights(rng, 3, 2), weights(rng, 100, 2)
    g.output(g.concat(g.embedding(ids, few, 0, 1), g.embedding(ids, many, 1)), "y")
    model = Model(dumps(g))
    given_ids = np.stack([rng.integers(0, 3, (2, 8)), rng.integers(0, 100, (2, 8))], -1)
    want = np.concatenate([few[given_ids[..., 0]], many[given_ids[..., 1]]], -1)
    np.testing.assert_array_equal(model(given_ids), want)
    with pytest.raises(InputError, match="id"):
        model(given_ids[..., ::-1].copy() + np.array([50, 0]))


def test_arrays_of_other_shapes():
    model = Model(dumps(tables_of(3, None)[0]))
    for shape in ((2, 4, 2), (2, 4, 3, 1), (3,)):
        with pytest.raises(InputError, match=r"expected integers \((N, )?T, 3\)"):
            model(np.zeros(shape, np.int32))
    with pytest.raises(InputError, match=r"expected integers \(N,\)"):
        Model(dumps(tables_of(0, -1)[0]))(np.zeros((2, 2), np.int32))


def test_ports_are_copied():
    port = Model(dumps(tables_of(2, -1)[0])).inputs[0]
    assert pickle.loads(pickle.dumps(port)).shape == port.shape == ("N", 2)


def test_graphs_say_what_is_wrong():
    g = Graph()
    one, three, once = g.input("one", "ids"), g.input("three", "ids", 3, 0), g.input("once", "ids", axis=-1)
    table = np.ones((V, 2), np.float32)
    with pytest.raises(GraphError, match=r"embedding: \[2, 4\) is not within 3 ids at a step"):
        g.embedding(three, table, 2, 2)
    with pytest.raises(GraphError, match="is not within 1 ids at a step"):
        g.embedding(one, table, 1)
    with pytest.raises(GraphError, match="mask_ids: 3 ids at a step, expected one at a step"):
        g.mask_ids(three)
    with pytest.raises(GraphError, match="mask_ids: 1 ids without steps"):
        g.mask_ids(once)
    with pytest.raises(GraphError, match="size -1 does not fit"):
        g.input("a", "ids", -1)
    with pytest.raises(GraphError, match="no steps that could be first"):
        g.input("a", "ids", axis=-1, order="time_first")
    with pytest.raises(GraphError, match=r"expected N at most once and T never, as it has no time axis"):
        g.input("a", "ids", 2, -1, "shaped", dims=("N", "T", 2))
    with pytest.raises(GraphError, match=r"the product of the sizes is not 2"):
        g.input("a", "ids", 2, -1, "shaped", dims=("N", 3))


def test_files_of_them_are_of_version_4():
    for size, axis, version in ((0, None, 1), (2, None, 4), (0, -1, 4)):
        g = Graph()
        g.output(g.embedding(g.input("ids", "ids", size, axis), np.ones((V, 2), np.float32)), "y")
        assert int.from_bytes(dumps(g)[8:12], "little") == version
