"""Ops over rows of features: numbers against the float64 reference, and the same bits whichever way they are run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.denormals import flushed
from helpers.row_ops import BINARIES, binary_graphs, inputs_of, row_graphs
from helpers.threads import OPENMP, on_lanes
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt._core import _all_kernels
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Activation, Graph

FUSED = [name for name, fused in _all_kernels() if fused and name in lstm_rt.kernels()]
GRAPHS = binary_graphs() | row_graphs()


def run(graph, inputs, **options):
    return Model(dumps(graph), **options)(*inputs)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@given(graph=GRAPHS, batch=st.integers(1, 3), steps=st.integers(1, 20), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_reference(kernels, graph, batch, steps, seed):
    inputs = inputs_of(np.random.default_rng(seed), graph, batch, steps)
    (want,) = reference.run(graph, inputs)
    got = run(graph, inputs, kernels=kernels)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    back = loads_graph(dumps(graph))
    assert dumps(back) == dumps(graph)


@given(graph=GRAPHS, batch=st.integers(1, 3), steps=st.integers(1, 20), time_first=st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_same_bits(graph, batch, steps, time_first):
    """Tables, batches, orders of axes, and as a stream where that can be."""
    inputs = inputs_of(np.random.default_rng(0), graph, batch, steps)
    want = run(graph, inputs, kernels=FUSED[0], threads=1)
    for kernels in FUSED[1:]:
        assert run(graph, inputs, kernels=kernels).tobytes() == want.tobytes()
    for n in range(batch):
        assert run(graph, [x[n : n + 1] for x in inputs]).tobytes() == want[n : n + 1].tobytes()
    model = Model(dumps(graph))
    if model.can_stream and want.ndim == 3:
        stream, chunks = model.stream(batch), model.stream(batch)
        for t in range(steps):
            y = stream.step(*(np.ascontiguousarray(x[:, t]) if x.ndim == 3 else x for x in inputs))
            assert y.tobytes() == want[:, t].tobytes()
        for part in np.array_split(np.arange(steps), 3):
            y = chunks.feed(*(x[:, part] if x.ndim == 3 else x for x in inputs))
            assert y.tobytes() == want[:, part].tobytes()
    if time_first:
        model = Model(dumps(turned(graph)))
        y = model(*(x.swapaxes(0, 1) if x.ndim == 3 else x for x in inputs))
        assert (y.swapaxes(0, 1) if y.ndim == 3 else y).tobytes() == want.tobytes()


def turned(graph):
    """The same with the steps first, of what has steps."""
    graph = loads_graph(dumps(graph))
    for i in (*graph.inputs, *graph.outputs):
        v = graph.values[i]
        if v.kind == "seq":
            graph.values[i] = type(v)(v.name, v.kind, v.size, v.axis, "time_first")
    return graph


@OPENMP
@given(graph=GRAPHS, batch=st.integers(1, 5), lanes=st.sampled_from([2, 3]))
@settings(max_examples=30, deadline=None)
def test_threads(graph, batch, lanes):
    inputs = inputs_of(np.random.default_rng(0), graph, batch, 17)
    want = run(graph, inputs, threads=1)
    assert on_lanes(lanes, lambda: run(graph, inputs, threads=lanes)).tobytes() == want.tobytes()


@pytest.mark.parametrize("op", BINARIES)
def test_a_vector_that_is_computed(op):
    """It is whole only at the end, so such a model runs in one piece, and does not stream; that of an input does."""
    for computed in (False, True):
        g = Graph()
        x, v = g.input("x", "seq", 3), g.input("v", "vec", 3)
        v = g.activation(g.select(x), "abs") if computed else v
        x = g.activation(x, "abs")
        g.output(g.binary(op, g.activation(x, Activation("affine", 1.0, 0.5)), v), "y")
        rng = np.random.default_rng(0)
        inputs = [rng.normal(size=(2, 500, 3)).astype(np.float32), rng.uniform(0.5, 1, (2, 3)).astype(np.float32)]
        model = Model(dumps(g))
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(model(*inputs), reference.run(g, inputs)[0], rtol=1e-5, atol=1e-5)
        assert model.can_stream is not computed
        if computed:
            with pytest.raises(InputError, match="cannot stream"):
                model.stream()


SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e-40, -1e-40, 3e38,
           -3e38, 1e-45, 16777215.0, -16777215.0, 16777216.0, 2.0**30, 0.99999994, 1.0000001, 127.5, -149.0, -150.0,
           128.0]  # fmt: skip


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("op", BINARIES)
def test_special_arguments(op, kernels):
    """All pairs of them, against NumPy in double precision, rounded; denormals count as 0."""
    a, b = (x.ravel().astype(np.float32) for x in np.meshgrid(SPECIAL, SPECIAL))
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
                 "minimum": np.minimum, "pow": np.power}  # fmt: skip
    with np.errstate(all="ignore"):
        want = functions[op](flushed(a).astype(np.float64), flushed(b).astype(np.float64)).astype(np.float32)
    want = flushed(want)
    g = Graph()
    g.output(g.binary(op, g.input("a", "vec", a.size), g.input("b", "vec", a.size)), "y")
    y = flushed(run(g, [a[None], b[None]], kernels=kernels)[0])  # the larger and the smaller of two are as they were
    np.testing.assert_array_max_ulp(y[np.isfinite(want)], want[np.isfinite(want)], 1)
    np.testing.assert_array_equal(y[~np.isfinite(want)], want[~np.isfinite(want)])
    if op == "pow":
        known = ~np.isnan(want)
        assert np.array_equal(np.signbit(y[known]), np.signbit(want[known]))


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
def test_powers_are_nearly_always_the_nearest(kernels):
    rng = np.random.default_rng(0)
    a = np.exp(rng.uniform(-80, 80, 100_000)).astype(np.float32)
    b = (rng.uniform(-1, 1, a.size) * 87 / np.abs(np.log(a))).astype(np.float32)
    g = Graph()
    g.output(g.binary("pow", g.input("a", "vec", a.size), g.input("b", "vec", a.size)), "y")
    (y,) = run(g, [a[None], b[None]], kernels=kernels)
    exact = np.power(a.astype(np.float64), b.astype(np.float64))
    error = np.abs(y - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert error.max() < 0.501


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "prod", "l2"])
@pytest.mark.parametrize("at", [0, 7, 16, 18])
def test_nan_goes_through_reductions(kind, at):
    g = Graph()
    g.output(g.reduce_features(g.input("x", "vec", 38), kind, 2), "y")
    x = np.ones((1, 38), np.float32)
    x[0, at] = math.nan
    for kernels in lstm_rt.kernels():
        (y,) = run(g, [x], kernels=kernels)
        assert np.isnan(y[0])
        assert not np.isnan(y[1])


def test_eps_bounds_the_length():
    g = Graph()
    x = g.input("x", "vec", 4)
    g.output(g.l2norm(x, 0.5, 2), "y")
    g.output(g.l2norm(x, 0.0, 2), "z")
    y, z = run(g, [np.array([[3, 4, 0, 0]], np.float32)])
    np.testing.assert_allclose(y, [[0.6, 0.8, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(z, [[0.6, 0.8, math.nan, math.nan]], rtol=1e-6)


@pytest.mark.parametrize("name", ["exp", "clip", "hard_swish", "mish", "sin", "power", "celu"])
@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_new_activations_in_cells(op, name):
    rng = np.random.default_rng(1)
    act = {"clip": Activation("clip", -0.5, 0.25), "power": Activation("power", 2.0)}.get(name, Activation(name))
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[op]
    w = {"w_ih": rng.normal(0, 0.3, (gates * 5, 4)), "w_hh": rng.normal(0, 0.2, (gates * 5, 5))}
    acts = {"lstm": ["sigmoid", act, act], "gru": ["sigmoid", act], "rnn": [act]}[op]
    g = Graph()
    g.output(g.recurrent(op, g.input("x", "seq", 4), w, hidden_size=5, activations=acts)[0], "y")
    x = rng.uniform(-1, 1, (3, 9, 4)).astype(np.float32)
    want = run(g, [x], kernels=FUSED[0])
    np.testing.assert_allclose(want, reference.run(g, [x])[0], rtol=1e-4, atol=1e-5)
    for kernels in FUSED[1:]:
        assert run(g, [x], kernels=kernels).tobytes() == want.tobytes()
