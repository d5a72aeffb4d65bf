"""Inputs that fade out, denormals, states that decay: the same bits everywhere, near the reference, and not slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from helpers.denormals import SMALLEST, flushes
from helpers.graphs import CELLS, cell_id, cell_weights, every_op_graph, inputs_for, recurrent_graph, weights
from helpers.identity import FUSED, same
from helpers.integers import WAYS, integer_graph
from helpers.threads import OPENMP, forced, on_lanes
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Activation, Graph

STEPS = 120

#: The cells, each with biases and without.
FORMS = [(op, {**options, "bias": bias}) for op, options in CELLS if "bias" not in options for bias in (True, False)]


def faded(arrays):
    """Steps that fade from 1 to denormal numbers within the middle half, and zeros; loud ones before."""
    out = []
    for a in arrays:
        if a.dtype == np.float32 and a.ndim == 3:
            t = np.arange(a.shape[1])
            at = np.clip((t - a.shape[1] / 4) / (a.shape[1] / 2), 0, None)
            a = (a.astype(np.float64) * np.where(at > 1, 0, 2.0 ** (-150 * at))[:, None]).astype(np.float32)
        elif a.dtype == np.float32:
            a = a * np.float32(1e-20) * np.float32(1e-19)
        out.append(a)
    return out


@pytest.fixture(scope="module", params=FORMS, ids=cell_id)
def graph(request):
    op, options = request.param
    return recurrent_graph(np.random.default_rng(0), op, 7, 29, direction="bidirectional", **options)


def integer_cell(bits, activations):
    g = recurrent_graph(np.random.default_rng(0), "lstm", 7, 29, bias=False)
    return integer_graph(g, bits, activations)


def streaming_ops(rng):
    """Ops that keep something of the steps before, and those that have squares and products."""
    g = Graph()
    x = g.input("x", "seq", 8)
    time_conv = g.conv(x, weights(rng, 6, 8, 3, 1, 1), None, pad=((2, 0), (0, 0), (0, 0)))
    g.output(g.conv(time_conv, weights(rng, 6, 1, 4, 1, 1), None, pad=((3, 0), (0, 0), (0, 0)), groups=6), "conv")
    g.output(g.pool(x, "avg", (4, 1, 1), pad=((3, 0), (0, 0), (0, 0))), "pool")
    g.output(g.cumsum(x), "cumsum")
    g.output(g.layernorm(x, None, None, 1e-5), "norm")
    g.output(g.groupnorm(x, None, None, 1e-5, 2), "groups")
    g.output(g.l2norm(x, 1e-12), "length")
    a, b = g.slice(x, 0, 4), g.slice(x, 4, 4)
    for op in ("add", "sub", "mul", "average", "maximum", "minimum"):
        g.output(g.binary(op, a, b), op)
    for name in ("sigmoid", "tanh", "relu", "gelu", "gelu_tanh", "selu", "mish", "erf", "sin", "square", "softmax"):
        g.output(g.activation(x, Activation(name)), name)
    for kind in ("sum", "mean", "prod", "l2"):
        g.output(g.reduce_features(x, kind, 2), f"features_{kind}")
    return g


def whole_ops(rng):
    """Ops that want the whole sequence, and images."""
    g = Graph()
    x = g.input("x", "seq", 8)
    g.output(g.attention(x, x, x, heads=2)[0], "attention")
    g.output(g.attention(x, x, x, heads=2, kind="additive")[0], "additive")
    g.output(g.softmax_steps(x), "softmax_steps")
    for kind in ("sum", "mean", "max", "prod", "l2"):
        g.output(g.reduce(x, kind), kind)
    w = weights(rng, 8, 2, 3, 3), weights(rng, 8, 2, 3, 3)
    g.output(g.convlstm(x, *w, None, size=(2, 2), pad=((1, 1), (1, 1)))[0], "convlstm")
    square = g.conv(x, weights(rng, 16, 8, 1, 1, 1), None)
    g.output(g.conv(square, weights(rng, 16, 16, 3, 3, 1), None, pad=((1, 1), (1, 1), (0, 0))), "winograd")
    return g


GRAPHS: dict[str, Callable[[], Graph]] = {
    "every op": lambda: every_op_graph(np.random.default_rng(4)),
    "streaming ops": lambda: streaming_ops(np.random.default_rng(0)),
    "whole ops": lambda: whole_ops(np.random.default_rng(0)),
    **{f"integers {w[0]} {w[1]}": lambda w=w: integer_cell(*w) for w in WAYS},  # type: ignore[misc]
}


def inputs(g, batch, steps=STEPS):
    return faded(inputs_for(np.random.default_rng(1), g, batch, steps))


# -- the same bits -------------------------------------------------------------------------------------


def check_tables(g):
    blob, x = dumps(g), inputs(g, 3)
    want = Model(blob, kernels=FUSED[0])(*x)
    for kernels in FUSED[1:]:
        same(Model(blob, kernels=kernels)(*x), want)


def test_tables(graph):
    check_tables(graph)


@pytest.mark.parametrize("name", GRAPHS)
def test_tables_on_ops(name):
    check_tables(GRAPHS[name]())


@pytest.mark.parametrize("name", GRAPHS)
def test_batch_and_threads_on_ops(name):
    g = GRAPHS[name]()
    x, blob = inputs(g, 4), dumps(g)
    want = Model(blob, threads=1)(*x)
    for row in range(4):
        alone = Model(blob, threads=1)(*(np.ascontiguousarray(a[row : row + 1]) for a in x))
        alone, whole = (y if isinstance(y, tuple) else (y,) for y in (alone, want))
        same(alone, tuple(np.ascontiguousarray(y[row : row + 1]) for y in whole))


@OPENMP
def test_threads(graph):
    """Lanes have the mode of the run, too."""
    blob, x = dumps(graph), inputs(graph, 2)
    want = Model(blob, threads=1)(*x)
    same(on_lanes(2, lambda: Model(blob, threads=2)(*x)), want)


def pieces(blob, x, size):
    stream = Model(blob).stream()
    ends = range(0, x.shape[0], size)
    got = [stream.feed(x[t : t + size]) for t in ends]
    got = [y if isinstance(y, tuple) else (y,) for y in got]
    return tuple(np.concatenate(part) for part in zip(*got, strict=True))


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
def test_pieces_of_cells(form):
    op, options = form
    of_weights = {k: v for k, v in options.items() if k in ("proj", "peephole", "bias")}
    rest = {k: v for k, v in options.items() if k not in of_weights}
    w = cell_weights(np.random.default_rng(0), op, 7, 29, **of_weights)
    g = Graph()
    g.output(g.recurrent(op, g.input("x", "seq", 7), w, hidden_size=29, **rest)[0], "y")
    check_pieces(g)


def test_pieces_of_ops():
    check_pieces(streaming_ops(np.random.default_rng(0)))


def check_pieces(g):
    blob, (x,) = dumps(g), inputs(g, 1)
    want = Model(blob)(x)
    want = tuple(y[0] for y in (want if isinstance(want, tuple) else (want,)))
    for size in (1, 7, 50):
        same(pieces(blob, x[0], size), want)


# -- near the reference ----------------------------------------------------------------------------------

TOLERANCE = 1e-6  #: absolute, as docs/numerics.md has it for signals that fade


def check_reference(g, tolerance):
    x = inputs(g, 2)
    got = Model(dumps(g))(*x)
    want = reference.run(g, x)
    for y, exact in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
        np.testing.assert_allclose(y, exact, rtol=0, atol=tolerance)


def test_reference(graph):
    check_reference(graph, TOLERANCE)


@pytest.mark.parametrize("name", ["streaming ops", "whole ops"])
def test_reference_on_ops(name):
    check_reference(GRAPHS[name](), 1e-5)  # the sums over steps are not on unit scale


# -- what a run makes of denormals -----------------------------------------------------------------------


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_denormals_are_zeros(kernels):
    if not flushes():
        pytest.skip("this CPU cannot flush denormals")
    g = Graph()
    x = g.input("x", "seq", 4)
    g.output(g.dense(x, np.eye(4, dtype=np.float32), None), "operand")
    g.output(g.binary("mul", x, g.activation(x, Activation("affine", 0.0, 0.5))), "result")
    g.output(g.activation(x, "log"), "log")
    g.output(g.slice(x, 1, 3), "copy")
    values = np.array([[[1e-40, SMALLEST, -SMALLEST, 1e-37]]], np.float32)
    operand, result, log, copied = Model(dumps(g), kernels=kernels)(values)
    np.testing.assert_array_equal(operand[0, 0], values[0, 0] * [0, 1, 1, 1])
    np.testing.assert_array_equal(result[0, 0], values[0, 0] * np.float32(0.5) * [0, 0, 0, 1])
    assert log[0, 0, 0] == -np.inf
    assert np.isfinite(log[0, 0, 1])
    np.testing.assert_array_equal(copied, values[..., 1:])


def keeps_denormals():
    return (np.full(16, SMALLEST) * np.float32(0.5)).any()


def test_the_callers_mode_comes_back():
    assert keeps_denormals()
    g = recurrent_graph(np.random.default_rng(0), "lstm", 3, 40)
    model, (x,) = Model(dumps(g)), inputs(g, 2)
    model(x)
    assert keeps_denormals()
    stream = model.stream()
    stream.step(x[0, 0])
    assert keeps_denormals()
    with pytest.raises(lstm_rt.InputError):
        model(x[..., :2].copy())
    assert keeps_denormals()


@contextmanager
def denormals_flushed() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormals")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@OPENMP
def test_a_caller_who_flushes_gets_the_same_bits_and_keeps_the_mode():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 3, 40, bias=False, direction="bidirectional")
    model, (x,) = Model(dumps(g)), inputs(g, 1)
    want = model(x, threads=1)
    with denormals_flushed(), forced(2):
        assert not keeps_denormals()
        got = model(x, threads=2)
        assert not keeps_denormals()
    same(got, want)
    assert keeps_denormals()


# -- not slow ---------------------------------------------------------------------------------------------


def fastest(model, x):
    times = []
    for _ in range(30):
        start = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - start)
    return min(times)


def slow_graphs():
    """Those that were slowest when denormals were computed with: 50 to 140 times."""
    rng = np.random.default_rng(0)
    makers = {
        "lstm": lambda g, x: g.recurrent("lstm", x, cell_weights(rng, "lstm", 8, 40, bias=False), hidden_size=40)[0],
        "gru": lambda g, x: g.recurrent("gru", x, cell_weights(rng, "gru", 8, 40, bias=False), hidden_size=40)[0],
        "dense": lambda g, x: g.dense(x, weights(rng, 200, 8), None),
        "conv": lambda g, x: g.conv(x, weights(rng, 64, 8, 3, 1, 1), None, pad=((2, 0), (0, 0), (0, 0))),
        "tanh": lambda g, x: g.activation(x, "tanh"),
    }
    for name, make in makers.items():
        g = Graph()
        g.output(make(g, g.input("x", "seq", 8)), "y")
        yield name, g


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_no_silence_is_slow(kernels):
    """Far from the bound of the benchmark, which a busy machine could not hold: this is whether it happens at all."""
    for name, g in slow_graphs():
        model = Model(dumps(g), kernels=kernels, threads=1)
        loud = np.random.default_rng(1).uniform(-1, 1, (1, 100, 8)).astype(np.float32)
        usual = fastest(model, loud)
        for exponent in (66, 124, 130):
            assert fastest(model, loud * np.float32(2.0**-exponent)) < 5 * usual, f"{name}, 2^-{exponent}"
