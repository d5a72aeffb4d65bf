"""Rounding for data: what matrices are multiplied with, and what is gained where weights make up for each other."""

import numpy as np
import pytest
from helpers.graphs import FORMS, cell_id, cell_weights, recurrent_graph, weights
from lstm_rt_tools import quantize
from lstm_rt_tools.integers import measure
from lstm_rt_tools.integers.calibrate import key_of, moments
from lstm_rt_tools.integers.matrices import compensated, quantised

from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.quantised import MAX_SUM, has_integers


def slow_data(seed, rows, steps, features):
    """Few causes, many features, little change from step to step: as most data are."""
    causes = np.cumsum(np.random.default_rng(seed).standard_normal((rows, steps, 3)), axis=1)
    return (causes @ np.random.default_rng(7).standard_normal((3, features)) / 5).astype(np.float32)


def second_moments(rows):
    flat = np.asarray(rows, np.float64).reshape(-1, rows.shape[-1])
    return flat.T @ flat


def test_what_matrices_are_multiplied_with():
    """The state before each step, which the outputs of the runtime show; both directions; a dense layer after them."""
    rng = np.random.default_rng(0)
    g = recurrent_graph(rng, "gru", 5, 6, direction="bidirectional")
    w = weights(rng, 3, 12)
    g.output(g.dense(g.outputs[0], w), "z")
    x = slow_data(1, 3, 8, 5)
    y = Model(dumps(g))(x)[0]
    zero = np.zeros((3, 1, 6))
    want = {
        "w_ih": x,
        "w_ih_reverse": x,
        "w_hh": np.concatenate([zero, y[:, :-1, :6]], axis=1),
        "w_hh_reverse": np.concatenate([y[:, 1:, 6:], zero], axis=1),
    }
    found = moments(g, [x])
    assert len(found) == 5
    for name, rows in want.items():
        np.testing.assert_allclose(found[key_of(g.nodes[0].weights[name])], second_moments(rows), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[key_of(w)], second_moments(y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_every_matrix_of_every_cell_is_seen(form):
    op, options = form
    g = recurrent_graph(np.random.default_rng(0), op, 5, 6, **options)
    found = moments(g, [slow_data(1, 2, 5, 5)])
    for name, w in g.nodes[0].weights.items():
        if name in ("w_ih", "w_hh", "w_hr"):
            assert found[key_of(w)].shape == (w.shape[1], w.shape[1])


def test_inputs_that_have_nothing_to_do_with_each_other_leave_the_nearest():
    w = np.random.default_rng(0).uniform(-9, 9, (7, 200))
    np.testing.assert_array_equal(compensated(w, np.diag(np.arange(1.0, 201)), 127), np.rint(w))


@pytest.mark.parametrize("largest", [127, 7])
def test_products_are_nearer(largest):
    """On other data too; and no number is larger than it may be."""
    rng = np.random.default_rng(0)
    w = rng.uniform(-largest, largest, (40, 150))
    x, other = (slow_data(s, 4, 100, 150).reshape(-1, 150).astype(np.float64) for s in (1, 2))
    q = compensated(w, x.T @ x, largest)
    assert np.abs(q).max() <= largest
    np.testing.assert_array_equal(q, np.rint(q))
    for data in (x, other):
        assert np.linalg.norm(data @ (q - w).T) < 0.3 * np.linalg.norm(data @ (np.rint(w) - w).T)


@pytest.mark.parametrize(("bits", "activations"), [(8, 16), (8, 8), (16, 16), (16, 8)])
@pytest.mark.parametrize("k", [1, 5, 300])
def test_sums_cannot_overflow(bits, activations, k):
    rng = np.random.default_rng(k)
    w = weights(rng, 9, k)
    w[3] = 0
    x = slow_data(1, 2, 50, k).reshape(-1, k).astype(np.float64)
    q = quantised(w, bits, activations, x.T @ x)
    assert q.largest_sum() * q.limit <= MAX_SUM
    assert not q.values[3].any()
    assert quantised(w, bits, activations, np.zeros((k, k))).same(quantised(w, bits, activations))


@pytest.mark.parametrize(("bits", "activations", "gain"), [(8, 16, 2), (16, 16, 1.2)])
def test_outputs_on_other_data_are_nearer(bits, activations, gain):
    g = recurrent_graph(np.random.default_rng(3), "lstm", 16, 32)
    exact = measure.outputs_of(g, [slow_data(2, 4, 100, 16)])

    def mean_error(q):
        return measure.errors(q, exact, [slow_data(2, 4, 100, 16)])[0].mean_abs

    with_data = quantize(g, bits, activations, [slow_data(1, 4, 100, 16)])
    assert mean_error(quantize(g, bits, activations)) > gain * mean_error(with_data) > 0


@pytest.mark.parametrize("rows", [3, 20, 200])
@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_few_data_do_no_harm_on_others(op, rows):
    """Features that only happen to go together in what was given: weights are not worse than the nearest."""
    rng = np.random.default_rng(rows)
    options = {"reset_after": True} if op == "gru" else {}
    g = recurrent_graph(rng, op, 64, 64, **options)
    data, other = (rng.standard_normal((1, n, 64)).astype(np.float32) for n in (rows, 400))
    exact = measure.outputs_of(g, [other])
    (plain,), (rounded,) = (measure.errors(q, exact, [other])[:1] for q in (quantize(g), quantize(g, calibrate=[data])))
    assert rounded.mean_abs < 1.1 * plain.mean_abs


def test_moments_are_shrunk_as_much_as_they_are_off():
    """Towards those of features that have nothing to do with each other: what they then are nearer to."""
    rng = np.random.default_rng(0)
    g = Graph()
    g.output(g.dense(g.input("x", "seq", 24), weights(rng, 3, 24)), "y")
    mix = rng.standard_normal((24, 24)) * np.geomspace(1, 0.05, 24)
    truth = mix @ mix.T
    for n in (5, 30, 100):
        off = []
        for _ in range(20):
            x = (rng.standard_normal((1, n, 24)) @ mix.T).astype(np.float32)
            (raw,), (shrunk,) = (moments(g, [x], shrink=shrink).values() for shrink in (False, True))
            np.testing.assert_allclose(np.trace(shrunk), np.trace(raw), rtol=1e-6)
            off.append([np.linalg.norm(m / n - truth) ** 2 for m in (raw, shrunk)])
        assert np.less(*np.mean(off, axis=0)[::-1])
    many = (rng.standard_normal((1, 30000, 24)) @ mix.T).astype(np.float32)
    (raw,), (shrunk,) = (moments(g, [many], shrink=shrink).values() for shrink in (False, True))
    assert np.linalg.norm(shrunk - raw) < 0.01 * np.linalg.norm(raw)


def test_a_table_that_a_dense_layer_shares_stays_one():
    g, table = Graph(), weights(np.random.default_rng(0), 11, 6)
    e = g.embedding(g.input("ids", "ids"), table)
    h, _, _ = g.recurrent("lstm", e, cell_weights(np.random.default_rng(1), "lstm", 6, 6), hidden_size=6)
    g.output(g.dense(h, table), "y")
    ids = np.random.default_rng(2).integers(0, 11, (2, 30)).astype(np.int32)
    q = quantize(g, 8, 16, [ids])
    assert q.nodes[0].weights["table"].same(q.nodes[2].weights["weight"])
    plain = quantize(g, 8, 16)
    q.meta = plain.meta = {}
    assert len(dumps(q)) == len(dumps(plain))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5, 4), np.float32), r"input 'x': got float32 \(2, 5, 4\), expected float32 \(N, T, 5\)"),
        (np.zeros((2, 0, 5), np.float32), "the calibration data have no steps or rows, so there is nothing to compare"),
        (np.full((2, 3, 5), 1e39), "the calibration data for 'x' have a number that is not finite"),
        (np.zeros((2, 3, 5), complex), "the calibration data for 'x' are complex128, expected numbers"),
        (np.zeros((2, 3, 5), bool), "the calibration data for 'x' are bool, expected numbers"),
        (np.full((2, 3, 5), np.nan, np.float32), "the calibration data for 'x' have a number that is not finite"),
        (np.full((2, 3, 5), -np.inf, np.float32), "the calibration data for 'x' have a number that is not finite"),
    ],
)
def test_data_that_say_nothing(x, message):
    g = recurrent_graph(np.random.default_rng(0), "lstm", 5, 6)
    with pytest.raises(InputError, match=message):
        quantize(g, 8, 16, [x])


def test_data_of_zeros_alone():
    g = Graph()
    g.output(g.dense(g.input("x", "seq", 5), weights(np.random.default_rng(0), 3, 5)), "y")
    with pytest.raises(InputError, match="the calibration data have no steps or rows, or only zeros"):
        quantize(g, calibrate=[np.zeros((2, 3, 5))])


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_zeros_say_nothing_of_cells_either(form):
    """Their states are not zero, but are none that the model meets."""
    op, options = form
    g = recurrent_graph(np.random.default_rng(0), op, 5, 6, **options)
    with pytest.raises(InputError, match="the calibration data have no steps or rows, or only zeros"):
        quantize(g, calibrate=[np.zeros((2, 3, 5), np.float32)])


def test_a_state_of_zeros_beside_data():
    g, rng = Graph(), np.random.default_rng(0)
    x, h0 = g.input("x", "seq", 5), g.input("h0", "vec", 6)
    g.output(g.recurrent("gru", x, cell_weights(rng, "gru", 5, 6), hidden_size=6, h0=h0, reset_after=True)[0], "y")
    data = rng.standard_normal((2, 3, 5)).astype(np.float32)
    assert has_integers(quantize(g, calibrate=[data, np.zeros((2, 6), np.float32)]))


@pytest.mark.parametrize("order", ["batch_first", "time_first", "unbatched"])
def test_data_of_one_row_without_a_batch(order):
    """As calls take them: the same weights as with a batch of one."""
    g, rng = Graph(), np.random.default_rng(0)
    x = g.input("x", "seq", 5, order=order)
    y = g.recurrent("lstm", x, cell_weights(rng, "lstm", 5, 6), hidden_size=6)[0]
    g.output(y, "y", order=order)
    data = slow_data(1, 1, 8, 5)
    made = quantize(g, calibrate=[data[0]])
    as_batch = {"batch_first": data, "time_first": data.swapaxes(0, 1), "unbatched": data[0]}[order]
    want = quantize(g, calibrate=[np.ascontiguousarray(as_batch)])
    assert dumps(made) == dumps(want)
    assert not made.nodes[0].weights["w_ih"].same(quantize(g).nodes[0].weights["w_ih"])


@pytest.mark.parametrize("lengths", [np.array(4), np.array([4])])
def test_lengths_of_one_row(lengths):
    g, rng = Graph(), np.random.default_rng(0)
    x = g.input("x", "seq", 5)
    g.input("n", "lengths", axis=0)
    g.output(g.recurrent("lstm", x, cell_weights(rng, "lstm", 5, 6), hidden_size=6)[0], "y")
    data = slow_data(1, 1, 8, 5)
    made, want = quantize(g, calibrate=[data[0], lengths]), quantize(g, calibrate=[data, np.array([4])])
    assert dumps(made) == dumps(want)


def test_with_and_without_a_batch_do_not_go_together():
    g = Graph()
    a, b = g.input("a", "vec", 5), g.input("b", "vec", 6)
    g.output(g.dense(g.concat(a, b), weights(np.random.default_rng(0), 3, 11)), "y")
    with pytest.raises(InputError, match="'b'"):
        quantize(g, calibrate=[np.ones((1, 5)), np.ones(6)])
    with pytest.raises(InputError, match="'b'"):
        quantize(g, calibrate=[np.ones(5), np.ones((1, 6))])
    assert has_integers(quantize(g, calibrate=[np.ones(5), np.ones(6)]))


def test_as_many_arrays_as_inputs_and_whole_numbers_for_ids():
    g, rng = Graph(), np.random.default_rng(0)
    g.output(g.dense(g.embedding(g.input("ids", "ids"), weights(rng, 11, 6)), weights(rng, 3, 6)), "y")
    with pytest.raises(InputError, match="the calibration data are 0 arrays, expected 1: ids"):
        quantize(g, calibrate=[])
    with pytest.raises(InputError, match="the calibration data for 'ids' are float32, expected integers"):
        quantize(g, calibrate=[np.zeros((1, 3), np.float32)])
    with pytest.raises(InputError, match="the calibration data for 'ids' have a number that is no int32"):
        quantize(g, calibrate=[np.full((1, 3), 1 << 32)])
    quantize(g, calibrate=[np.full((1, 3), 10)])  # of int64


def test_what_convolutions_are_multiplied_with():
    """Windows of each group's channels, in the order of the weights; steps before the first are zeros."""
    rng, g = np.random.default_rng(0), Graph()
    w = weights(rng, 32, 3, 4, 1, 1)
    g.output(g.conv(g.input("x", "seq", 6), w, groups=2, pad=((3, 0), (0, 0), (0, 0))), "y")
    x = slow_data(1, 3, 20, 6)
    padded = np.concatenate([np.zeros((3, 3, 6)), x], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 4, axis=1).reshape(3, 20, 2, 12)
    found = moments(g, [x])
    assert list(found) == [key_of(w)]
    for group in range(2):
        np.testing.assert_allclose(found[key_of(w)][group], second_moments(windows[:, :, group]), rtol=1e-6)


def test_what_convolutional_cells_are_multiplied_with():
    rng, g = np.random.default_rng(0), Graph()
    w_ih, w_hh = weights(rng, 20, 3, 1, 2), weights(rng, 20, 5, 1, 3)
    h, _, _ = g.convlstm(g.input("x", "seq", 4 * 3), w_ih, w_hh, size=(1, 4))
    g.output(h, "y")
    x = slow_data(1, 2, 6, 12)
    y = Model(dumps(g))(x).reshape(2, 6, 3, 5).astype(np.float64)
    images = x.reshape(2, 6, 4, 3)
    before = np.pad(y[:, :-1], ((0, 0), (1, 0), (1, 1), (0, 0)))
    found = moments(g, [x])
    for w, whole, width in ((w_ih, images, 2), (w_hh, before, 3)):
        windows = np.lib.stride_tricks.sliding_window_view(whole, width, axis=2)
        want = second_moments(windows.reshape(*windows.shape[:3], -1))
        np.testing.assert_allclose(found[key_of(w)], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_on_other_data_are_nearer(groups):
    """Each group is rounded for its own channels."""
    rng, g = np.random.default_rng(3), Graph()
    w = weights(rng, 32, 12 // groups, 3, 1, 1)
    g.output(g.conv(g.input("x", "seq", 12), w, groups=groups, pad=((2, 0), (0, 0), (0, 0))), "y")
    exact = measure.outputs_of(g, [slow_data(2, 4, 100, 12)])
    for bits in (8, 16):
        plain, for_data = (
            measure.errors(quantize(g, bits, calibrate=data), exact, [slow_data(2, 4, 100, 12)])[0].mean_abs
            for data in (None, [slow_data(1, 4, 100, 12)])
        )
        assert plain > (2 if bits == 8 else 1.1) * for_data > 0
