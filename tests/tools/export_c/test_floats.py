"""Models in C against the runtime, to the bit where the CPU has fused multiply-add, and against float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exported_c import COMPILER, Exported, same
from helpers.graphs import CELLS, FORMS, cell_id, cell_weights, weights
from helpers.row_ops import binary_graphs, row_graphs
from hypothesis import HealthCheck, given, settings
from lstm_rt_tools.judges import reference

from lstm_rt import kernels
from lstm_rt.graph import ACTIVATIONS, Activation, Graph

pytestmark = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def compare_streams(folder: Path, graph: Graph, rng: np.random.Generator, steps: int = 6, **options: Any) -> None:
    """Step by step against the runtime's stream, and against the reference in float64."""
    c = Exported(folder, graph, **options)
    xs = [rng.normal(0, 1, (steps, p.size)).astype(np.float32) for p in c.plan.inputs]
    got = c.stream(*xs)
    stream = c.model.stream()
    for t in range(steps):
        y = stream.feed(*(x[None, t : t + 1] for x in xs))
        for mine, theirs in zip(got, y if isinstance(y, tuple) else (y,), strict=True):
            same(mine[t], np.asarray(theirs).ravel())
    exact = reference.run(c.graph, [x[None] for x in xs])
    for mine, y in zip(got, exact, strict=True):
        rows = y[0] if y.ndim == 3 else y
        np.testing.assert_allclose(mine[-len(rows) :], rows, atol=3e-5 * max(1.0, float(np.abs(rows).max())))


def compare_runs(folder: Path, graph: Graph, inputs: list[Any], steps: int, most: int) -> None:
    """A whole sequence against the runtime and the reference."""
    c = Exported(folder, graph, steps=most)
    code, got = c.call(*inputs, steps=steps)
    assert code == 0
    rows = [x[None] for x in inputs]
    y = c.model(*rows)
    for mine, theirs in zip(got, y if isinstance(y, tuple) else (y,), strict=True):
        same(mine, np.asarray(theirs)[0])
    for mine, theirs in zip(got, reference.run(c.graph, rows), strict=True):
        np.testing.assert_allclose(mine, theirs[0], atol=3e-5 * max(1.0, float(np.abs(theirs).max())))


def cell_graph(rng: np.random.Generator, op: str, i: int, h: int, **options: Any) -> Graph:
    keys = ("direction", "proj", "peephole", "bias")
    g = Graph()
    x = g.input("x", "seq", i)
    w = cell_weights(rng, op, i, h, **{k: options[k] for k in keys if k in options})
    rest = {k: v for k, v in options.items() if k not in ("proj", "peephole", "bias")}
    y, h_n, c_n = g.recurrent(op, x, w, hidden_size=h, **rest)
    g.output(y, "y")
    g.output(h_n, "h_n")
    if c_n is not None:
        g.output(c_n, "c_n")
    return g


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 20), (3, 5), (7, 16)])
def test_cells_stream(cell: Any, inputs: int, hidden: int, tmp_path: Path) -> None:
    op, options = cell
    rng = np.random.default_rng(inputs)
    options = {k: v for k, v in options.items() if k != "zero_masked"}
    compare_streams(tmp_path, cell_graph(rng, op, inputs, hidden, **options), rng)


@pytest.mark.parametrize("cell", [c for c in CELLS if c[0] != "lstm" or "clip" not in c[1]][:6], ids=cell_id)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_cells_run(cell: Any, direction: str, tmp_path: Path) -> None:
    op, options = cell
    rng = np.random.default_rng(3)
    options = {k: v for k, v in options.items() if k != "zero_masked"}
    graph = cell_graph(rng, op, 3, 6, direction=direction, **options)
    compare_runs(tmp_path, graph, [rng.normal(0, 1, (5, 3)).astype(np.float32)], 5, 7)


#: Flags of a wide table, and the units side by side that it is for. Without such flags the same folders are plain C.
WIDE = [(8, []), (8, ["-mavx2", "-mfma"]), (16, []), (16, ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mfma"])]


@pytest.mark.parametrize(("lanes", "flags"), WIDE, ids=lambda v: "-".join(v) if isinstance(v, list) else v)
@pytest.mark.parametrize("cell", [*FORMS, ("gru", {"clip": 0.5}), ("lstm", {"bias": False})], ids=cell_id)
def test_wide_panels(cell: Any, lanes: int, flags: list[str], tmp_path: Path) -> None:
    if any(f"avx{n}" in " ".join(flags) and table not in kernels() for n, table in (("2", "avx2"), ("512", "avx512"))):
        pytest.skip("needs a CPU with these instructions")
    op, options = cell
    rng, g = np.random.default_rng(9), Graph()
    keys = ("proj", "peephole", "bias")
    x = g.input("x", "seq", 3)
    for hidden in (19, 40):
        w = cell_weights(rng, op, g.values[x].size, hidden, **{k: options[k] for k in keys if k in options})
        x, _, _ = g.recurrent(op, x, w, hidden_size=hidden, **{k: v for k, v in options.items() if k not in keys})
    g.output(g.node("dense", x, weight=weights(rng, 21, g.values[x].size), activation="tanh"), "y")
    compare_streams(tmp_path, g, rng, lanes=lanes, flags=["-O2", *flags])


def test_an_initial_state_of_the_model(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(0), Graph()
    x, s = g.input("x", "seq", 3), g.input("s", "vec", 5)
    h0 = g.node("dense", s, weight=weights(rng, 4, 5), activation="tanh")
    y, h_n, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 3, 4), hidden_size=4, h0=h0)
    g.output(y, "y")
    g.output(h_n, "end")
    inputs = [rng.normal(0, 1, (4, 3)).astype(np.float32), rng.normal(0, 1, 5).astype(np.float32)]
    compare_runs(tmp_path, g, inputs, 4, 4)


def test_layers_on_layers(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(1), Graph()
    x = g.input("x", "seq", 4)
    for op, hidden in (("lstm", 6), ("gru", 9), ("lstm", 4), ("rnn", 18)):
        x, _, _ = g.recurrent(op, x, cell_weights(rng, op, g.values[x].size, hidden), hidden_size=hidden)
    x = g.node("dense", x, weight=weights(rng, 37, 18), bias=weights(rng, 37), activation="relu")
    x = g.node("dense", x, weight=weights(rng, 3, 37), activation="softmax")
    g.output(x, "softmax")
    compare_streams(tmp_path, g, rng)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(2), Graph()
    x = g.input("x", "seq", 11)
    g.output(g.node("activation", x, activation=name), "y")
    c = Exported(tmp_path, g)
    with np.errstate(all="ignore"):
        x = np.float32(
            np.concatenate([rng.normal(0, 2, 40), [0, -0.0, 100, -100, 11, -11, np.inf, -np.inf, np.nan, 1e-30]])
        )
    rows = np.concatenate([x, x[:5]]).reshape(-1, 11)
    stream = c.model.stream()
    for row, got in zip(rows, c.stream(rows)[0], strict=True):
        same(got, stream.feed(row[None, None]).ravel())


def test_gates_far_out(tmp_path: Path) -> None:
    """Where the gates' fast way does not go: large sums, infinities and NaN."""
    rng, g = np.random.default_rng(3), Graph()
    x = g.input("x", "seq", 3)
    y, _, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 3, 7), hidden_size=7)
    z, _, _ = g.recurrent("gru", y, cell_weights(rng, "gru", 7, 5), hidden_size=5)
    g.output(y, "y")
    g.output(z, "z")
    c = Exported(tmp_path, g)
    x = np.float32(
        [[300, -300, 20], [-900, 5, 1], [1e30, 0, 0], [15, -15, 12], [np.inf, 1, 1], [0, 0, 0], [np.nan, 0, 0]]
    )
    stream = c.model.stream()
    for t, (a, b) in enumerate(zip(*c.stream(x), strict=True)):
        ya, yb = stream.feed(x[None, t : t + 1])
        same(a, ya.ravel())
        same(b, yb.ravel())


@SLOW
@given(graph=row_graphs())
def test_rows(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare_any(graph, tmp_path_factory.mktemp("rows"))


@SLOW
@given(graph=binary_graphs())
def test_two(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> None:
    _compare_any(graph, tmp_path_factory.mktemp("two"))


def _compare_any(graph: Graph, folder: Path) -> None:
    rng = np.random.default_rng(4)
    inputs = []
    for i in graph.inputs:
        v = graph.values[i]
        inputs.append(rng.normal(0, 1, (3, v.size) if v.timed else v.size).astype(np.float32))
    with np.errstate(all="ignore"):
        compare_runs(folder, graph, inputs, 3, 3)


def test_rows_of_several_inputs(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(5), Graph()
    a, b = g.input("a", "seq", 5), g.input("b", "seq", 6, axis=0)
    x = g.concat(g.slice(a, 1, 3), b, g.gather(a, [4, 0, 4]))
    x = g.node("layernorm", x, gamma=weights(rng, 12), beta=weights(rng, 12), eps=1e-5)
    x = g.node(
        "batchnorm", x, mean=weights(rng, 12), var=np.ones(12), gamma=weights(rng, 12), beta=weights(rng, 12), eps=0.1
    )
    x = g.node("mul", x, g.node("constant", value=weights(rng, 12)))
    g.output(x, "y")
    compare_streams(tmp_path, g, rng)


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("dilation", [1, 3])
def test_conv(groups: int, dilation: int, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(6), Graph()
    x = g.input("x", "seq", 6)
    weight = weights(rng, 6 if groups > 1 else 17, 6 // groups, 3, 1, 1)
    options = {"dilation_t": dilation, "before_t": 2 * dilation, "groups": groups}
    y = g.node("conv", x, weight=weight, bias=weights(rng, len(weight)), **options)
    g.output(g.node("activation", y, activation=Activation("leaky_relu", 0.2)), "y")
    compare_streams(tmp_path, g, rng, steps=9)


def test_conv_both_ways(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(7), Graph()
    x = g.input("x", "seq", 3)
    g.output(g.node("conv", x, weight=weights(rng, 4, 3, 5, 1, 1), before_t=2, after_t=2), "y")
    g.output(g.reverse(x), "back")
    compare_runs(tmp_path, g, [rng.normal(0, 1, (6, 3)).astype(np.float32)], 6, 9)


def test_ids(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(8), Graph()
    ids = g.input("ids", "ids")
    x = g.embedding(ids, weights(rng, 7, 5))
    y, _, _ = g.recurrent("gru", x, cell_weights(rng, "gru", 5, 6), hidden_size=6)
    g.output(y, "y")
    g.output(g.select(y, -1), "last")
    c = Exported(tmp_path, g)
    stream = c.model.stream()
    for i in (0, 6, 3):
        code, (y, last) = c.call(np.int32([i]))
        a, b = stream.feed(np.int32([[i]]))
        assert code == 0
        same(y, a.ravel())
        same(last, b.ravel())
    before = c.arena.copy()
    for wrong in (7, -1, 2**31 - 1):
        code, (y, _) = c.call(np.int32([wrong]))
        assert code == 5
        assert (y == 77).all()
    np.testing.assert_array_equal(c.arena, before)
    assert c.call(np.int32([2]))[0] == 0
