"""Graphs of integer weights: what is rounded how, what stays, and what comes out."""

import numpy as np
import pytest
from helpers.graphs import FORMS, cell_id, cell_weights, every_op_graph, inputs_for, recurrent_graph, weights
from helpers.integers import scales
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools import quantize
from lstm_rt_tools.integers import measure, prune
from lstm_rt_tools.integers import quantize as whole
from lstm_rt_tools.integers.choose import choose
from lstm_rt_tools.integers.graphs import quantize_with_report
from lstm_rt_tools.integers.matrices import quantised, rows_lost
from lstm_rt_tools.integers.speed import speed_against
from lstm_rt_tools.judges import reference, testdata

import lstm_rt
from lstm_rt import GraphError, InputError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph
from lstm_rt.quantised import MAX_SUM, Quantised, has_integers


@given(
    rows=st.integers(1, 20), k=st.integers(1, 3000), bits=st.sampled_from([8, 16]),
    activations=st.sampled_from([8, 16]), seed=st.integers(0, 99), spread=st.sampled_from([1e-25, 1e-3, 1.0, 1e30]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_number_is_rounded_to_the_nearest(rows, k, bits, activations, seed, spread):
    """And sums cannot overflow, whatever the matrix; rows of zeros stay zeros."""
    rng = np.random.default_rng(seed)
    w = (rng.standard_normal((rows, k)) * rng.choice([1e-4, 1, 3], (rows, 1)) * spread).astype(np.float32)
    w[rng.random(rows) < 0.2] = 0
    q = quantised(w, bits, activations)
    assert q.largest_sum() * q.limit <= MAX_SUM
    assert q.limit <= (127 if activations == 8 else 32639)
    gap = np.abs(q.astype(np.float64) - w)
    assert (gap <= 0.503 * q.scale[:, None].astype(np.float64) + 1e-45).all()
    if bits == 8:
        largest = np.abs(q.values.astype(int)).max(axis=1)
        assert set(largest[np.abs(w).max(axis=1) > 0]) <= {126, 127}


def test_int16_is_about_as_good_as_thirteen_bits_of_both():
    """The limit is where both roundings add as much: neither more bits for the weights nor for the rows are better."""
    rng = np.random.default_rng(0)
    w, x = weights(rng, 64, 256), rng.uniform(-1, 1, (400, 256)).astype(np.float32)
    exact = x.astype(np.float64) @ w.T.astype(np.float64)

    def error(q):
        g = Graph()
        g.output(g.dense(g.input("x", "vec", 256), q), "y")
        return np.sqrt(np.mean((Model(dumps(g))(x) - exact) ** 2))

    q = quantised(w, 16, 16)
    assert 2000 < q.limit < 12000
    assert error(q) < 1e-4
    assert error(quantised(w, 8, 16)) > 20 * error(q)
    for limit in (q.limit // 4, q.limit * 4):
        room = MAX_SUM // limit
        scale = scales(np.abs(w).sum(axis=1) / (room - 256))
        other = Quantised(np.rint(w / scale[:, None]).astype(np.int16), scale, limit)
        assert error(other) > 1.5 * error(q)


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
@pytest.mark.parametrize(("bits", "activations", "bound"), [(8, 16, 2e-2), (8, 8, 4e-2), (16, 16, 5e-4)])
def test_outputs_stay_near_those_of_float32(form, bits, activations, bound):
    op, options = form
    g = recurrent_graph(np.random.default_rng(1), op, 12, 40, **options)
    x = inputs_for(np.random.default_rng(2), g, 3, 30)
    q = quantize(g, bits, activations)
    for got, want in zip(Model(dumps(q))(*x), reference.run(g, x), strict=True):
        assert 0 < np.abs(got - want).max() < bound


def test_every_op_and_what_stays():
    """Biases, norms and matrices of few inputs stay float32; the given graph too."""
    g = every_op_graph(np.random.default_rng(3))
    before = dumps(g)
    q, changes = quantize_with_report(g, 8, 16)
    assert dumps(g) == before
    assert not has_integers(g)
    made = {(g.nodes[c.node].op, c.weight) for c in changes if c.bits}
    both = {("lstm", name + s) for name in ("w_ih", "w_hh") for s in ("", "_reverse")}
    assert made == {("dense", "weight"), ("embedding", "table"), *both}
    assert all(c.bits for c in changes)
    assert all(c.after < c.before for c in changes if c.bits)
    x = inputs_for(np.random.default_rng(4), g, 2, 6)
    for a, b in zip(Model(dumps(q))(*x), Model(before)(*x), strict=True):
        assert np.abs(a - b).max() < 0.1


def test_matrices_of_few_inputs_stay():
    _, changes = quantize_with_report(recurrent_graph(np.random.default_rng(0), "lstm", 4, 9), 8, 16)
    assert [(c.weight, c.bits, c.why) for c in changes] == [("w_ih", 0, "it has 4 inputs"), ("w_hh", 8, "")]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_matrices_that_are_not_finite_stay(value):
    g = recurrent_graph(np.random.default_rng(0), "gru", 10, 12)
    g.nodes[0].weights["w_ih"][3, 4] = value
    _, changes = quantize_with_report(g, 16, 16)
    assert {c.weight: (c.bits, c.why) for c in changes} == {"w_ih": (0, "it is not finite"), "w_hh": (16, "")}


@pytest.mark.parametrize("fill", [0.0, 0.25, -1.0, 1e-45, 1e-40, 3e38])
@pytest.mark.parametrize("bits", [8, 16])
def test_constant_matrices(fill, bits):
    w = np.full((5, 30), fill, np.float32)
    got = quantised(w, bits, 16).astype(np.float64)
    np.testing.assert_allclose(got, w.astype(np.float64), rtol=0.01, atol=2.0**-134)  # scales are multiples of 2^-133


def test_a_row_with_one_huge_number_does_not_harm_others():
    rng = np.random.default_rng(0)
    w = weights(rng, 8, 40)
    alone = quantised(w[1:], 16, 16)
    w[0, 7] = 1e20
    q = quantised(w, 16, 16)
    assert (np.abs(q.astype(np.float64)[1:] - w[1:]) <= 2 * alone.scale[:, None]).all()


def test_what_it_does_not_take():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 10, 12)
    with pytest.raises(GraphError, match='quantize: bits is 4, expected 8, 16 or "auto"'):
        quantize(g, 4)
    with pytest.raises(GraphError, match="quantize: activations is 32, expected 8 or 16"):
        quantize(g, 8, 32)
    with pytest.raises(GraphError, match="integer weights already; quantize the float32 model that it was made from"):
        quantize(quantize(g))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_error": "x"}, "quantize: max_error is 'x', expected a number"),
        ({"max_error": 1j}, "quantize: max_error is 1j, expected a number"),
        ({"prune": "x"}, "quantize: prune is 'x', expected a number"),
    ],
)
def test_options_that_are_no_numbers(options, message):
    with pytest.raises(GraphError, match=message):
        quantize(recurrent_graph(np.random.default_rng(0), "lstm", 10, 12), **options)


def test_options_that_numpy_made(monkeypatch):
    """A file's metadata have plain numbers."""
    monkeypatch.setattr(prune, "LEAST_BYTES", 1)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 10, 12)
    q = quantize(g, np.int64(8), np.int32(16), max_error=np.float32(1), prune=np.float32(0.5))
    want = {"weights": 8, "activations": 16, "max_error": 1.0, "pruned": 0.5}
    assert loads_graph(dumps(q)).meta["quantised"].items() >= want.items()


@pytest.mark.parametrize(("bits", "activations"), [(8, 16), (8, 8), (16, 16)])
def test_its_selftest_passes_on_every_table(bits, activations):
    g = recurrent_graph(np.random.default_rng(7), "lstm", 20, 48)
    q = quantize(g, bits, activations)
    q.selftest = measure.selftest(q)
    assert q.selftest is not None
    for kernels in lstm_rt.kernels():
        assert Model(dumps(q), kernels=kernels).verify()["ok"]


def test_errors_of_outputs_and_of_layers():
    rng = np.random.default_rng(5)
    g = Graph()
    h, _, _ = g.recurrent("lstm", g.input("x", "seq", 12), cell_weights(rng, "lstm", 12, 16), hidden_size=16)
    g.output(g.dense(h, weights(rng, 3, 16)), "y")
    q = quantize(g, 8)
    inputs = measure.made_up(g)
    assert inputs[0].shape == (4, 100, 12)
    exact = measure.outputs_of(g, inputs)
    (whole,) = measure.errors(q, exact, inputs)
    alone = [measure.errors(measure.only_node(g, q, i), exact, inputs)[0] for i in range(2)]
    assert whole.name == "y"
    assert 0 < whole.mean_abs < whole.max_abs < 0.05
    assert all(0 < e.max_abs < 2 * whole.max_abs for e in alone)
    (none,) = measure.errors(g, exact, inputs)
    assert (none.max_abs, none.mean_abs) == (0, 0)
    with pytest.raises(InputError, match="no steps or rows"):
        measure.outputs_of(g, [np.zeros((2, 0, 12), np.float32)])


def test_errors_beside_numbers_that_are_not_finite():
    """A unit that gives NaN, as in float32, hides nothing of the others, and is told."""
    rng = np.random.default_rng(0)
    g = Graph()
    w, bias = weights(rng, 8, 12), np.zeros(8, np.float32)
    g.output(g.dense(g.input("x", "seq", 12), w, bias), "y")
    bias[[3, 5]] = np.nan, np.inf
    x = rng.standard_normal((2, 5, 12)).astype(np.float32)
    exact = measure.outputs_of(g, [x])
    (got,) = measure.errors(quantize(g), exact, [x])
    rest = np.delete(exact[0], [3, 5], axis=-1)
    gap = np.abs(np.delete(measure.outputs_of(quantize(g), [x])[0], [3, 5], axis=-1).astype(np.float64) - rest)
    assert got.largest == np.abs(rest).max()
    assert (got.max_abs, got.mean_abs) == (gap.max(), pytest.approx(gap.mean()))
    assert got.not_finite == 2 * 10
    plan = choose(g, [x], exact, 16, speed=None)
    assert [bits for bits, _ in plan.values()] == [16]


def test_what_a_model_was_made_from_and_its_own_test():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 10, 24)
    assert quantize(g).selftest is None
    g.selftest = testdata.make_selftest(g)
    q = quantize(g, 16, calibrate=[np.random.default_rng(1).normal(size=(2, 9, 10))], max_error=0.5)
    assert q.meta["quantised"] == {
        "from": {"checksum": f"{int.from_bytes(dumps(g)[12:16], 'little'):08x}"},
        "tool": f"lstm-rt {lstm_rt.__version__}",
        "weights": 16,
        "activations": 16,
        "max_error": 0.5,
        "calibration": ["2x9x10"],
    }
    assert Model(dumps(q)).verify()["max_abs_err"] == 0
    assert "quantised" not in g.meta


def test_an_error_may_be_bounded():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 10, 24)
    with pytest.raises(GraphError, match=r"quantize: the largest error is .*, more than 1e-05"):
        quantize(g, max_error=1e-5)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(GraphError, match=r"quantize: max_error is .*, expected a number of 0 or more"):
            quantize(g, max_error=bad)


def test_bits_of_each_matrix(monkeypatch):
    """Speed counts, but is another test's."""
    monkeypatch.setattr(whole, "speed_against", lambda graph, inputs: lambda other: 1.0)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 40)
    for bound, bits in ((1.0, {np.int8}), (5e-5, {np.int16})):
        q = quantize(g, "auto", max_error=bound)
        assert {w.stored.type for w in q.nodes[0].weights.values() if isinstance(w, Quantised)} == bits
    with pytest.raises(GraphError, match="no weights of this model become integers: w_hh: too far from float32"):
        quantize(g, "auto", max_error=0.0)


def test_what_is_allowed_is_of_the_model_before_it_is_pruned(monkeypatch):
    monkeypatch.setattr(whole, "speed_against", lambda graph, inputs: lambda other: 1.0)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 40, 96)
    cut = quantize(g, 32, prune=0.3)
    x = np.random.default_rng(1).uniform(-1, 1, (2, 10, 40)).astype(np.float32)
    off = max(np.abs(a - b).max() for a, b in zip(Model(dumps(cut))(x), Model(dumps(g))(x), strict=True))
    q = quantize(g, "auto", calibrate=[x], max_error=float(off) * 1.1, prune=0.3)
    assert any(isinstance(w, Quantised) for w in q.nodes[0].weights.values())
    assert max(np.abs(a - b).max() for a, b in zip(Model(dumps(q))(x), Model(dumps(g))(x), strict=True)) <= off * 1.1


def test_what_is_being_done_is_told():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 10, 24)
    told = []
    whole.make(g, whole.Options(), [np.ones((1, 4, 10))], tell=told.append)
    assert told == [
        "computing with float32",
        *["computing node 0 (lstm) of 1 nodes in float64"] * 2,
        "rounding matrix 1 of 2",
        "rounding matrix 2 of 2",
        "comparing with float32",
    ]


def test_speed_is_measured():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 64)
    assert 0.2 < speed_against(g, [np.zeros((1, 5, 20), np.float32)])(g) < 5


def test_a_huge_weight_takes_its_row():
    w = weights(np.random.default_rng(0), 8, 40)
    w[5] = 0
    assert rows_lost(w, quantised(w, 8, 16)) == 0
    w[[1, 2], 7] = 1e20
    for bits in (8, 16):
        assert rows_lost(w, quantised(w, bits, 16)) == 2


def conv_graph(rng, groups, inside, each, kernel=(3, 1, 1)):
    g = Graph()
    x = g.input("x", "seq", groups * inside)
    w = weights(rng, groups * each, inside, *kernel)
    g.output(g.conv(x, w, weights(rng, groups * each), groups=groups, pad=((kernel[0] - 1, 0), (0, 0), (0, 0))), "y")
    return g


@pytest.mark.parametrize(
    ("groups", "inside", "each", "kernel", "why"),
    [
        (1, 5, 7, (3, 1, 1), ""),
        (2, 4, 32, (3, 1, 1), ""),
        (1, 2, 7, (2, 1, 1), "it has 4 inputs"),
        (2, 4, 24, (3, 1, 1), "its groups have 24 outputs, no multiple of 16"),
        (8, 1, 1, (9, 1, 1), "its groups have 1 output, no multiple of 16"),
        (4, 1, 16, (1, 1, 1), "it has 1 input"),
    ],
)
def test_which_convolutions_become_integers(groups, inside, each, kernel, why):
    g = conv_graph(np.random.default_rng(0), groups, inside, each, kernel)
    q, (change,) = quantize_with_report(g, 8, 16)
    assert (change.weight, change.bits, change.why) == ("weight", 0 if why else 8, why)
    assert isinstance(q.nodes[0].weights["weight"], Quantised) == (not why)
    if why:
        with pytest.raises(GraphError, match=f"no weights of this model become integers: weight: {why}"):
            quantize(g)


@pytest.mark.parametrize(("bits", "bound"), [(8, 2e-2), (16, 5e-4)])
def test_convolutional_models_stay_near_those_of_float32(bits, bound):
    rng, g = np.random.default_rng(1), Graph()
    x = g.input("x", "seq", 4 * 4 * 3)
    v = g.conv(x, weights(rng, 32, 3, 2, 3, 3) / 4, weights(rng, 32), size=(4, 4), pad=((1, 0), (1, 1), (1, 1)))
    h, _, _ = g.convlstm(v, weights(rng, 32, 32, 1, 1) / 4, weights(rng, 32, 8, 3, 3) / 4, None, size=(4, 4))
    g.output(h, "y")
    a = rng.standard_normal((2, 6, 48)).astype(np.float32)
    q, changes = quantize_with_report(g, bits, 16)
    assert [(c.node, c.weight, c.bits) for c in changes] == [(0, "weight", bits), (1, "w_ih", bits), (1, "w_hh", bits)]
    gap = np.abs(Model(dumps(q))(a) - reference.run(g, [a])[0])
    assert 0 < gap.max() < bound


@pytest.mark.parametrize("bits", [8, 16])
def test_large_windows_and_tables_are_stored_whole(bits):
    """Also where most of their weights are zeros: of these only matrices of layers come as blocks."""
    rng = np.random.default_rng(9)
    g = Graph()
    w, table = weights(rng, 64, 128, 6, 1, 1), weights(rng, 900, 128)
    w[:, 5:], table[9:] = 0, 0
    x = g.embedding(g.input("x", "ids"), table)
    g.output(g.conv(x, w, pad=((5, 0), (0, 0), (0, 0))), "y")
    small, changes = quantize_with_report(g, bits, 16)
    assert [(c.bits, c.blocks, c.after) for c in changes] == [
        (bits, None, small.nodes[i].weights[name].nbytes) for i, name in ((0, "table"), (1, "weight"))
    ]
    x = rng.integers(0, 900, (2, 9)).astype(np.int32)
    np.testing.assert_allclose(Model(dumps(small))(x), Model(dumps(g))(x), atol=2e-2)


def test_projections_of_attention_become_integers():
    """They are dense layers; its own products have no weights, but for a vector of the additive kind."""
    rng, g = np.random.default_rng(2), Graph()
    x = g.input("x", "seq", 24)
    q, k, v = (g.dense(x, weights(rng, 24, 24), weights(rng, 24)) for _ in range(3))
    a, _ = g.attention(q, k, v, heads=4, scale=6**-0.5)
    b, _ = g.attention(g.select(q, -1), k, v, kind="additive", weight=weights(rng, 24))
    g.output(g.dense(a, weights(rng, 24, 24)), "y")
    g.output(b, "z")
    x = rng.standard_normal((2, 9, 24)).astype(np.float32)
    made, changes = quantize_with_report(g, 16, 16)
    assert [(g.nodes[c.node].op, c.bits) for c in changes] == [("dense", 16)] * 4
    for got, want in zip(Model(dumps(made))(x), reference.run(g, [x]), strict=True):
        assert 0 < np.abs(got - want).max() < 1e-3


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("left", [576, 16])
def test_large_weights_that_are_never_blocks(bits, left):
    """Of convolutions, of their cells, and tables, of which few numbers are not zero or all: no file stores blocks."""
    rng = np.random.default_rng(0)
    g = Graph()
    x, pad = g.input("x", "seq", 4 * 64), ((8, 0), (0, 0), (0, 0))
    y = g.conv(x, weights(rng, 64, 64, 9, 1, 1), None, size=(2, 2), pad=pad)
    ones = [weights(rng, 256, 64, 3, 3) for _ in range(2)]
    g.output(g.convlstm(y, *ones, None, size=(2, 2), pad=((1, 1), (1, 1)))[0], "y")
    g.output(g.embedding(g.input("ids", "ids"), weights(rng, 4096, 64)), "z")
    for node in g.nodes:
        for w in node.weights.values():
            w.reshape(len(w), -1)[:, left:] = 0
    made, changes = quantize_with_report(g, bits, 16)
    assert [(c.blocks, c.blocks_lost) for c in changes] == [(None, None)] * 4
    assert [c.after for c in changes] == [w.nbytes for n in made.nodes for w in n.weights.values()]
    assert sum(c.before for c in changes) <= len(dumps(g)) < sum(c.before for c in changes) + 4096
    assert sum(c.after for c in changes) <= len(dumps(made)) < sum(c.after for c in changes) + 4096


def test_a_sparse_table_that_a_dense_layer_shares():
    """It is looked up, so no file has it as blocks."""
    rng = np.random.default_rng(0)
    table = weights(rng, 1024, 64)
    table[:, 8:] = 0
    g = Graph()
    g.output(g.dense(g.embedding(g.input("ids", "ids"), table), table), "y")
    made, changes = quantize_with_report(g, 16, 16)
    assert [(c.before, c.after, c.blocks) for c in changes] == [(1024 * 64 * 4, 1024 * (64 * 2 + 2), None)] * 2
    assert 1024 * 64 * 4 <= len(dumps(g)) < 1024 * 64 * 4 + 2048
    assert 1024 * 130 <= len(dumps(made)) < 1024 * 130 + 2048
