"""Sparse weights: the bits of the matrix with its zeros, on every table and in every way, and where that ends."""

import numpy as np
import pytest
from helpers.blocks import pruned, pruned_matrix
from helpers.graphs import CELLS, FORMS, cell_id, inputs_for, recurrent_graph, weights
from helpers.identity import FUSED, check_rows_alone, check_threads, dense_graph, same
from helpers.integers import WAYS, integer_graph
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import dumps

ALL_WAYS = [None, *WAYS]  #: float32, and integers


def sparse_cell(op, way, inputs, hidden, share=0.25, **options):
    rng = np.random.default_rng(0)
    g = pruned(rng, recurrent_graph(rng, op, inputs, hidden, **options), share, 4 if way and way[0] == 8 else 1)
    return integer_graph(g, *way) if way else g


def both(graph, **options):
    """The model with blocks, and that with zeros."""
    blobs = dumps(graph, blocks_below=1.0), dumps(graph, blocks_below=0)
    assert blobs[0] != blobs[1]
    return tuple(Model(blob, **options) for blob in blobs)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@given(
    units=st.integers(1, 70),
    k=st.integers(1, 70),
    rows=st.integers(1, 9),
    way=st.sampled_from(ALL_WAYS),
    share=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_products(kernels, units, k, rows, way, share, seed):
    rng = np.random.default_rng(seed)
    w = pruned_matrix(rng, weights(rng, units, k), 1, share, 4 if seed % 2 else 1)
    g = dense_graph(w, weights(rng, units, scale=1.0))
    sparse, plain = both(integer_graph(g, *way) if way else g, kernels=kernels)
    x = rng.standard_normal((1, rows, k)).astype(np.float32)
    same(sparse(x), plain(x))
    if way is None:
        np.testing.assert_allclose(sparse(x), reference.run(g, [x])[0], rtol=1e-4, atol=1e-5)


PARAMS = [(form, way) for form in FORMS for way in ALL_WAYS]


@pytest.fixture(scope="module", params=PARAMS, ids=lambda p: f"{cell_id(p[0])}-{p[1]}")
def graph(request):
    (op, options), way = request.param
    return sparse_cell(op, way, 7, 61, direction="bidirectional", **options)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_cells_give_the_bits_of_the_matrix_with_zeros(graph, kernels):
    sparse, plain = both(graph, kernels=kernels)
    for batch in (1, 2, 8, 33):
        x = inputs_for(np.random.default_rng(1), graph, batch, 9)
        same(sparse(*x), plain(*x))


@pytest.mark.parametrize("kernels", FUSED)
def test_cells_give_the_same_bits_on_every_table(graph, kernels):
    blob = dumps(graph, blocks_below=1.0)
    x = inputs_for(np.random.default_rng(1), graph, 8, 20)
    same(Model(blob, kernels=kernels)(*x), Model(blob, kernels="portable")(*x))


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_cells_agree_with_the_reference(cell, way):
    """The reference rounds activations of integers from its own float64 states: now and then to the integer beside."""
    op, options = cell
    g = sparse_cell(op, way, 12, 29, **options)
    x = inputs_for(np.random.default_rng(6), g, 4, 5)
    got, want = Model(dumps(g, blocks_below=1.0))(*x), reference.run(g, x)
    for y, w in zip(got, want, strict=True):
        off = np.abs(y - w) / max(1, np.abs(w).max())
        assert off.max() <= (1e-5 if way is None else 2e-2 if way[1] == 8 else 2e-4)
        assert np.median(off) <= 2e-6


@pytest.mark.parametrize("hidden", range(1, 50, 3))
@pytest.mark.parametrize("way", [None, (8, 16), (16, 16)])
def test_every_tail(hidden, way):
    g = sparse_cell("lstm", way, 5, hidden, 0.5)
    for batch in (1, 7):
        x = inputs_for(np.random.default_rng(1), g, batch, 3)
        want = Model(dumps(g, blocks_below=0), kernels=FUSED[0])(*x)
        for kernels in FUSED:
            same(Model(dumps(g, blocks_below=1.0), kernels=kernels)(*x), want)


def test_ragged_batch_and_rows_alone(graph):
    model = Model(dumps(graph, blocks_below=1.0))
    (x,) = inputs_for(np.random.default_rng(1), graph, 9, 12)
    check_rows_alone(model, x, [12, 1, 7, 0, 11, 12, 3, 2, 9])


@OPENMP
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_threads(graph, batch):
    blob = dumps(graph, blocks_below=1.0)
    x = inputs_for(np.random.default_rng(1), graph, batch, 60)
    check_threads(blob, x, 2, 3)


@OPENMP
@pytest.mark.parametrize("way", ALL_WAYS)
def test_threads_that_share_the_panels(way):
    g = sparse_cell("lstm", way, 30, 300, 0.5)
    x = inputs_for(np.random.default_rng(1), g, 1, 12)
    blob = dumps(g, blocks_below=1.0)
    one = Model(blob, threads=1)(*x)
    same(one, on_lanes(2, lambda: Model(blob, threads=2)(*x)))


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_streams_and_chunks(form, way):
    op, options = form
    g = sparse_cell(op, way, 9, 37, **options)
    g.outputs = g.outputs[:1]
    model = Model(dumps(g, blocks_below=1.0))
    x = np.random.default_rng(3).uniform(-1, 1, (3, 11, 9)).astype(np.float32)
    whole = model(x)
    for row in range(3):
        stream = model.stream()
        steps = [stream.step(np.ascontiguousarray(x[row : row + 1, t])) for t in range(11)]
        same(np.stack([np.asarray(s).reshape(-1) for s in steps]), whole[row])
        chunked = model.stream()
        parts = [chunked.feed(np.ascontiguousarray(x[row : row + 1, a:b])) for a, b in ((0, 1), (1, 8), (8, 11))]
        same(np.concatenate([np.asarray(p).reshape(-1, whole.shape[2]) for p in parts]), whole[row])


@pytest.mark.parametrize("only", [("w_ih",), ("w_hh",), ("w_hr",)])
@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[3], FORMS[4], FORMS[5]], ids=cell_id)
def test_some_matrices_are_whole(form, only):
    op, options = form
    rng = np.random.default_rng(5)
    g = pruned(rng, recurrent_graph(rng, op, 6, 45, **options), 0.3, only=only)
    (x,) = inputs_for(np.random.default_rng(6), g, 3, 5)
    blob = dumps(g, blocks_below=0.6)
    plain = Model(dumps(g, blocks_below=0))
    for part in (x, x[:1], x[:1, :1]):  # one row; one step
        part = np.ascontiguousarray(part)
        for kernels in FUSED:
            same(Model(blob, kernels=kernels)(part), plain(part))


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_inputs_that_are_not_finite(kernels):
    """Those that no block is for play no part; others do, in their row only."""
    w = np.zeros((40, 6), np.float32)
    w[:16, [0, 2]], w[16:, 3], w[39, 5] = 1, 2, 3
    x = np.random.default_rng(0).uniform(1, 2, (1, 7, 6)).astype(np.float32)
    clean = x.copy()
    x[0, 0, 1], x[0, 1, 4], x[0, 2, 3], x[0, 3, 2], x[0, 4, 5] = np.inf, np.nan, -np.inf, np.nan, np.inf
    sparse, plain = both(dense_graph(w), kernels=kernels)
    for rows in (slice(0, 7), *(slice(i, i + 1) for i in range(7))):
        y, zeros = (m(np.ascontiguousarray(x[:, rows])) for m in (sparse, plain))
        want = sparse(np.ascontiguousarray(clean[:, rows]))
        first = rows.start
        for i in range(rows.stop - first):
            row = first + i
            off = {2: [*range(16, 40)], 3: [*range(16)], 4: [*range(32, 40)]}.get(row, [])
            on = [u for u in range(40) if u not in off]
            same(np.ascontiguousarray(y[0, i, on]), np.ascontiguousarray(want[0, i, on]))
            assert not np.isfinite(y[0, i, off]).any()
            assert np.isnan(zeros[0, i]).any() == (row < 5)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_zeros_with_a_sign(kernels):
    """A bias of -0 that meets no block stays, where 0 x makes +0 of it."""
    w = np.zeros((16, 2), np.float32)
    w[:, 1] = 1
    bias = np.full(16, -0.0, np.float32)
    sparse, plain = both(dense_graph(np.concatenate([w, w * 0]), np.tile(bias, 2)), kernels=kernels)
    x = np.ones((1, 1, 2), np.float32)
    assert np.signbit(sparse(x)[0, 0, 16:]).all()
    assert not np.signbit(plain(x)[0, 0, 16:]).any()
    np.testing.assert_array_equal(sparse(x), plain(x))


@pytest.mark.parametrize("way", WAYS)
def test_integers_take_every_input(way):
    """A row has one scale, whatever blocks there are: NaN is the row's."""
    w = np.zeros((20, 8), np.float32)
    w[:, :4] = np.random.default_rng(0).standard_normal((20, 4))
    sparse, plain = both(integer_graph(dense_graph(w), *way))
    x = np.ones((1, 2, 8), np.float32)
    x[0, 1, 7] = np.nan
    same(sparse(x)[:, :1], plain(x)[:, :1])
    assert np.isnan(sparse(x)[0, 1]).all()
    assert np.isnan(plain(x)[0, 1]).all()


def test_a_matrix_of_zeros():
    rng = np.random.default_rng(0)
    g = pruned(rng, recurrent_graph(rng, "gru", 20, 150), 0)
    sparse, plain = both(g)
    x = inputs_for(rng, g, 5, 4)
    same(sparse(*x), plain(*x))


def test_models_of_blocks_are_smaller():
    rng = np.random.default_rng(0)
    g = pruned(rng, recurrent_graph(rng, "lstm", 64, 256), 0.1)
    assert len(dumps(g)) < 0.13 * len(dumps(g, blocks_below=0))
