"""Integer weights: exact sums, the same bits on every table and in every way, and what is said of special rows."""

import numpy as np
import pytest
from helpers.denormals import flushed
from helpers.graphs import CELLS, FORMS, cell_id, inputs_for, recurrent_graph, weights
from helpers.identity import FUSED, check_rows_alone, check_threads, dense_graph, same
from helpers.integers import WAYS, expected, integer_graph, random_integers
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph
from lstm_rt.quantised import Quantised


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@given(
    units=st.integers(1, 70),
    k=st.integers(1, 70),
    rows=st.integers(1, 9),
    bits=st.sampled_from([8, 16]),
    limit=st.sampled_from([1, 7, 126, 127, 128, 255, 256, 4000, 32638, 32639]),
    seed=st.integers(0, 99),
    with_bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_products_are_exact_on_every_table(kernels, units, k, rows, bits, limit, seed, with_bias):
    """Tables that are not fused too; weights at the end of what the limit allows."""
    rng = np.random.default_rng(seed)
    w = random_integers(rng, units, k, bits, limit)
    bias = weights(rng, units, scale=1.0) if with_bias else None
    x = rng.standard_normal((1, rows, k)).astype(np.float32)
    x[:, ::2] = np.where(rng.random((1, (rows + 1) // 2, k)) < 0.5, 1, -1)  # all at the limit
    y = Model(dumps(dense_graph(w, bias)), kernels=kernels)(x)
    np.testing.assert_array_equal(y, expected(x, w, bias))


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("bits", [8, 16])
def test_sums_of_the_largest_numbers(kernels, bits):
    """As near to an overflow as a file may be: whole sums of nearly 2^31, partial sums beyond."""
    k = 516
    limit, top = (32639, 127) if bits == 8 else (127, 32767)
    top = min(top, ((1 << 31) - 1) // limit // k)
    values = np.full((20, k), top)
    values[1::2] *= -1
    w = Quantised(values.astype(np.int8 if bits == 8 else np.int16), np.full(20, 2.0**-20, np.float32), limit)
    assert w.largest_sum() * limit > 0.98 * (1 << 31)
    x = np.ones((1, 2, k), np.float32)
    x[0, 1] = -1
    np.testing.assert_array_equal(Model(dumps(dense_graph(w)), kernels=kernels)(x), expected(x, w, None))


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize(("bits", "activations"), WAYS)
def test_special_rows(kernels, bits, activations):
    """NaN and infinity give NaN, in their row only; tiny numbers are zeros; denormals, and the largest float."""
    rng = np.random.default_rng(2)
    w = integer_graph(dense_graph(weights(rng, 21, 33)), bits, activations).nodes[0].weights["weight"]
    bias = weights(rng, 21, scale=1.0)
    x = rng.standard_normal((12, 1, 33)).astype(np.float32)
    x[1, 0, 32], x[3, 0, 5], x[4, 0, 0], x[6] = np.nan, np.inf, -np.inf, 0
    x[7], x[8], x[9] = 1e-40, np.float32(2.0**-100), np.float32(2.0**-100) * np.float32(1 - 2.0**-24)
    x[10, 0, 3] = np.finfo(np.float32).max
    y = Model(dumps(dense_graph(w, bias)), kernels=kernels)(x)
    assert np.isnan(y[[1, 3, 4]]).all()
    others = [i for i in range(12) if i not in (1, 3, 4)]
    np.testing.assert_array_equal(y[others], expected(x[others], w, bias))
    np.testing.assert_array_equal(y[[6, 7, 9]], np.broadcast_to(bias, (3, 1, 21)))
    bare = Model(dumps(dense_graph(w)), kernels=kernels)(x[7:10])
    np.testing.assert_array_equal(bare[1], expected(x[8], w, None))
    scales = flushed(w.scale * np.float32(2.0**-100 / w.limit))  # their product may be denormal
    assert bare[1].any() == scales.any()
    assert not bare[[0, 2]].any()


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("bits", [8, 16])
def test_any_scale_that_a_file_may_have(kernels, bits):
    """NaN, infinite, negative and denormal ones are weights like others, each its row's alone."""
    q = random_integers(np.random.default_rng(0), 21, 9, bits, 1000)
    odd = np.array([np.nan, np.inf, -np.inf, -0.5, 0, -0.0, 2.0**-133, 2.0**-126, 2.0**127], np.float32)
    q.scale[3 : 3 + len(odd)] = odd
    x = np.random.default_rng(1).standard_normal((1, 4, 9)).astype(np.float32)
    x[0, 2] = 0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        want = expected(x, q, None)
    np.testing.assert_array_equal(Model(dumps(dense_graph(q)), kernels=kernels)(x), want)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_no_other_rows_business(value, form, way):
    """NaN from there on in this row, in calls and in groups of streams; the bits of the others stay."""
    op, options = form
    g = integer_graph(recurrent_graph(np.random.default_rng(0), op, 7, 21, **options), *way)
    g.outputs = g.outputs[:1]
    model, x = Model(dumps(g)), np.random.default_rng(1).standard_normal((9, 6, 7)).astype(np.float32)
    before = model(x)
    x[4, 2, 5] = value
    after = model(x)
    others = [i for i in range(9) if i != 4]
    same(after[others], before[others])
    same(after[4, :2], before[4, :2])
    assert np.isnan(after[4, 2:]).all()
    group = model.streams(9)
    keys = [group.join() for _ in range(9)]
    steps = [group.step(np.ascontiguousarray(x[:, t]), keys=keys).copy() for t in range(6)]
    same(np.stack(steps, axis=1)[others], before[others])
    assert np.isnan(steps[-1][4]).all()


@pytest.fixture(scope="module", params=[(f, w) for f in FORMS for w in WAYS], ids=lambda p: f"{cell_id(p[0])}-{p[1]}")
def graph(request):
    (op, options), way = request.param
    rng = np.random.default_rng(0)
    return integer_graph(recurrent_graph(rng, op, 7, 61, direction="bidirectional", **options), *way)


@pytest.mark.parametrize("kernels", FUSED)
def test_cells_give_the_same_bits_on_every_table(graph, kernels):
    blob = dumps(graph)
    x = inputs_for(np.random.default_rng(1), graph, 8, 20)
    same(Model(blob, kernels=kernels)(*x), Model(blob, kernels="portable")(*x))


@pytest.mark.parametrize("hidden", range(1, 50, 3))
@pytest.mark.parametrize("way", WAYS)
def test_every_tail(hidden, way):
    g = integer_graph(recurrent_graph(np.random.default_rng(0), "lstm", 2, hidden), *way)
    x = inputs_for(np.random.default_rng(1), g, 7, 3)
    results = [Model(dumps(g), kernels=k)(*x) for k in FUSED]
    for r in results[1:]:
        same(r, results[0])


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_a_row_alone_and_in_batches(graph, kernels):
    model = Model(dumps(graph), kernels=kernels)
    (x,) = inputs_for(np.random.default_rng(1), graph, 70, 6)
    whole = model(x)
    for rows in (slice(0, 1), slice(3, 8), slice(40, 53), slice(69, 70)):
        part = model(np.ascontiguousarray(x[rows]))
        same(part, tuple(np.ascontiguousarray(y[rows]) for y in whole))


def test_ragged_batch(graph):
    model = Model(dumps(graph))
    (x,) = inputs_for(np.random.default_rng(1), graph, 9, 12)
    check_rows_alone(model, x, [12, 1, 7, 0, 11, 12, 3, 2, 9])


@OPENMP
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_threads(graph, batch):
    blob = dumps(graph)
    x = inputs_for(np.random.default_rng(1), graph, batch, 60)
    check_threads(blob, x, 2, 3)


@OPENMP
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_share_the_panels(way):
    g = integer_graph(recurrent_graph(np.random.default_rng(0), "lstm", 30, 200), *way)
    x = inputs_for(np.random.default_rng(1), g, 1, 12)
    one = Model(dumps(g), threads=1)(*x)
    same(one, on_lanes(2, lambda: Model(dumps(g), threads=2)(*x)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_streams(form, way):
    op, options = form
    rng = np.random.default_rng(3)
    g = integer_graph(recurrent_graph(rng, op, 9, 37, **options), *way)
    g.outputs = g.outputs[:1]
    model = Model(dumps(g))
    x = rng.uniform(-1, 1, (3, 11, 9)).astype(np.float32)
    whole = model(x)
    for row in range(3):
        stream = model.stream()
        steps = [stream.step(np.ascontiguousarray(x[row : row + 1, t])) for t in range(11)]
        same(np.stack([np.asarray(s).reshape(-1) for s in steps]), whole[row])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_cells_agree_with_the_reference(cell, way):
    """The reference rounds activations from its own float64 states: now and then to the integer beside."""
    op, options = cell
    g = integer_graph(recurrent_graph(np.random.default_rng(5), op, 12, 29, **options), *way)
    x = inputs_for(np.random.default_rng(6), g, 4, 5)
    got, want = Model(dumps(g))(*x), reference.run(g, x)
    for y, w in zip(got, want, strict=True):
        assert np.isfinite(w).all()
        assert np.abs(y - w).max() <= (2e-2 if way[1] == 8 else 2e-4) * max(1, np.abs(w).max())
        assert np.median(np.abs(y - w)) <= 2e-6 * max(1, np.abs(w).max())


@pytest.mark.parametrize("only", [("w_ih",), ("w_hh",), ("w_hr",), ("w_ih", "w_hr"), ("w_hh", "w_hr")])
@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[3], FORMS[4], FORMS[5]], ids=cell_id)
def test_some_matrices_stay_float32(form, only):
    op, options = form
    g = integer_graph(recurrent_graph(np.random.default_rng(5), op, 6, 45, **options), 16, 16, only=only)
    x = inputs_for(np.random.default_rng(6), g, 3, 5)
    got, want = Model(dumps(g))(*x), reference.run(g, x)
    for y, w in zip(got, want, strict=True):
        np.testing.assert_allclose(y, w, atol=1e-4)
    for part in (x[0][:1], x[0][:1, :1]):  # one row; one step
        results = [Model(dumps(g), kernels=k)(np.ascontiguousarray(part)) for k in FUSED]
        for r in results[1:]:
            same(r, results[0])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tied", [False, True])
def test_embeddings(bits, tied):
    """A row of the table is the numbers that it stands for; a dense layer may multiply with the same tensor."""
    rng = np.random.default_rng(1)
    table = random_integers(rng, 45, 13, bits, 100)
    g = Graph()
    e = g.embedding(g.input("ids", "ids"), table)
    g.output(e, "e")
    if tied:
        g.output(g.dense(e, table), "y")
    blob = dumps(g)
    ids = np.arange(45, dtype=np.int32)[None]
    for kernels in lstm_rt.kernels():
        out = Model(blob, kernels=kernels)(ids)
        rows = out[0] if tied else out
        np.testing.assert_array_equal(rows[0], table.values.astype(np.float32) * table.scale[:, None])
        if tied:
            np.testing.assert_array_equal(out[1], expected(rows, table, None))
    alone = Graph()
    alone.output(alone.embedding(alone.input("ids", "ids"), table), "e")
    assert not tied or len(blob) < len(dumps(alone)) + 1024


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_files_back_to_graphs(form, way):
    op, options = form
    g = integer_graph(recurrent_graph(np.random.default_rng(0), op, 7, 21, direction="bidirectional", **options), *way)
    back = loads_graph(dumps(g))
    for name, w in g.nodes[0].weights.items():
        if isinstance(w, Quantised):
            assert w.same(back.nodes[0].weights[name])
    x = inputs_for(np.random.default_rng(1), g, 2, 5)
    same(Model(dumps(back))(*x), Model(dumps(g))(*x))
