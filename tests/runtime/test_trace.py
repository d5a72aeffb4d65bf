"""Traces: the outputs of calls, and gates and states as the cells' equations have them, whatever the way to run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import traced_cells
from helpers.graphs import CELLS, FORMS, cell_id, cell_weights, inputs_for, layer_graph, recurrent_graph, weights
from helpers.integers import WAYS, integer_graph
from helpers.small_graphs import build, lstm, one_axis, own_lengths, two_axes
from helpers.threads import forced
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt import InputError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph
from lstm_rt.trace import KINDS, LayerTrace, Trace

LSTM, GRU = ["i", "f", "g", "o", "c", "h"], ["r", "z", "n", "h"]
#: Cells of which traced_cells knows the functions.
KNOWN = [(op, o) for op, o in CELLS if all(a in traced_cells.FUNCTIONS for a in o.get("activations", ()))]


def equal(a: Any, b: Any) -> bool:
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    return all(x.tobytes() == y.tobytes() and x.shape == y.shape for x, y in pairs)


def same_trace(a: Trace, b: Trace) -> bool:
    """The bits of all arrays."""
    return list(a) == list(b) and all(
        list(a[name]) == list(b[name]) and all(equal(a[name][k], b[name][k]) for k in a[name]) for name in a
    )


def check_against_equations(op: str, options: dict[str, Any], seed: int, shape: tuple[int, int, int, int], *,
                            direction: str, ragged: bool) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    batch, steps, inputs, hidden = shape
    keys = ("proj", "peephole", "bias")
    w = cell_weights(rng, op, inputs, hidden, direction, **{k: options[k] for k in keys if k in options})
    rest = {k: v for k, v in options.items() if k not in keys}
    model = Model(layer_graph(op, w, inputs, hidden, direction=direction, **rest))
    x = rng.uniform(-1, 1, (batch, steps, inputs)).astype(np.float32)
    lengths = rng.integers(0, steps + 1, batch) if ragged else None
    trace = model.trace(x, lengths=lengths)
    assert equal(trace.y, model(x, lengths=lengths))
    layer = trace[op]
    assert list(layer) == {"lstm": LSTM, "gru": GRU, "rnn": ["h"]}[op]
    valid = np.arange(steps) < (np.full(batch, steps) if lengths is None else lengths)[:, None]
    assert np.array_equal(layer.valid, valid)
    how = {k: v for k, v in rest.items() if k in ("activations", "clip", "reset_after")}
    for d, suffix in enumerate(("", "_reverse") if direction == "bidirectional" else ("",)):
        backward = direction == "reverse" or d == 1
        want = traced_cells.run(op, w, x, suffix=suffix, backward=backward, lengths=lengths, **how)
        for kind in layer:
            got = layer[kind][:, :, d] if direction == "bidirectional" else layer[kind]
            assert got.dtype == np.float32
            expected = want.get(kind, np.zeros(got.shape))  # no step at all
            np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6, err_msg=kind)


@pytest.mark.parametrize("cell", KNOWN, ids=cell_id)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_equations(cell: tuple[str, dict[str, Any]], direction: str) -> None:
    """Every cell with every option, against float64."""
    check_against_equations(*cell, 0, (3, 9, 5, 37), direction=direction, ragged=False)
    check_against_equations(*cell, 1, (3, 9, 5, 20), direction=direction, ragged=True)


@settings(max_examples=60, deadline=None)
@given(
    cell=st.sampled_from(KNOWN),
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 20), st.integers(1, 50)),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    ragged=st.booleans(),
)
def test_any_shape(cell: Any, seed: int, shape: Any, direction: str, ragged: bool) -> None:
    check_against_equations(*cell, seed, shape, direction=direction, ragged=ragged)


@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_torch(op: str) -> None:
    """PyTorch's equations of a cell, on a layer's own states."""
    torch = pytest.importorskip("torch")
    from lstm_rt_tools import from_torch

    torch.manual_seed(0)
    net = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[op](6, 19, num_layers=2, batch_first=True)
    x = torch.randn(3, 8, 6)
    with torch.no_grad():
        want, _ = net(x)
        model = Model(from_torch(net, x))
        trace = model.trace(x.numpy())
        assert len(trace) == 2
        below: Any = x
        for k, layer in enumerate(trace.values()):
            parts = [getattr(net, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            h = torch.from_numpy(layer.h)
            before = torch.cat([torch.zeros(3, 1, 19), h[:, :-1]], 1)
            zx, zh = below @ parts[0].T + parts[2], before @ parts[1].T + parts[3]
            if op == "lstm":
                i, f, g, o = (zx + zh).chunk(4, -1)
                found = {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
                c = torch.from_numpy(layer.c)
                found["c"] = found["f"] * torch.cat([torch.zeros(3, 1, 19), c[:, :-1]], 1) + found["i"] * found["g"]
                found["h"] = found["o"] * c.tanh()
            elif op == "gru":
                (xr, xz, xn), (hr, hz, hn) = zx.chunk(3, -1), zh.chunk(3, -1)
                found = {"r": (xr + hr).sigmoid(), "z": (xz + hz).sigmoid()}
                found["n"] = (xn + found["r"] * hn).tanh()
                found["h"] = (1 - found["z"]) * found["n"] + found["z"] * before
            else:
                found = {"h": (zx + zh).tanh()}
            assert list(layer) == list(found)
            for kind, a in found.items():
                np.testing.assert_allclose(layer[kind], a.numpy(), rtol=0, atol=2e-6)
            below = h
    np.testing.assert_allclose(layer.h, want.numpy(), rtol=0, atol=2e-6)


def test_layers_within_steps() -> None:
    """The steps of a layer within each step, as PyTorch has them, and between them those at which it forgets."""
    torch = pytest.importorskip("torch")
    from lstm_rt_tools import from_torch

    class Bands(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bands = torch.nn.LSTM(4, 6, batch_first=True)
            self.frames = torch.nn.GRU(6, 5, batch_first=True)

        def forward(self, x: Any) -> Any:
            n, t, k, f = x.shape
            _, (h, _) = self.bands(x.reshape(n * t, k, f))
            return self.frames(h[-1].reshape(n, t, 6))[0]

    torch.manual_seed(1)
    net, x = Bands(), torch.randn(2, 5, 3, 4)
    model = Model(from_torch(net, x))
    trace = model.trace(x.numpy())
    assert equal(trace.y, model(x.numpy()))
    assert list(trace) == ["bands", "frames"]
    with torch.no_grad():
        want = net.bands(x.reshape(10, 3, 4))[0].reshape(2, 5, 3, 6).numpy()
    np.testing.assert_allclose(trace["bands"].h.reshape(2, 5, 4, 6)[:, :, :3], want, rtol=0, atol=2e-6)
    assert not trace["bands"].h.reshape(2, 5, 4, 6)[:, :, 3].any()
    assert equal(trace["frames"].h, trace.y)


@pytest.mark.parametrize("cell", FORMS, ids=cell_id)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_integers(cell: tuple[str, dict[str, Any]], way: tuple[int, int]) -> None:
    """Gates of integer weights give their own states by the equations; outputs are those of the call."""
    op, options = cell
    rng = np.random.default_rng(3)
    model = Model(integer_graph(recurrent_graph(rng, op, 8, 33, **options), *way))
    x = rng.uniform(-1, 1, (5, 7, 8)).astype(np.float32)
    trace = model.trace(x)
    assert equal(trace.y, model(x))
    layer = trace[op]
    before = {k: np.concatenate([np.zeros_like(layer[k][:, :1]), layer[k][:, :-1]], 1) for k in "ch" if k in layer}
    assert equal(layer.h, trace.y[0])
    if op == "lstm":
        np.testing.assert_allclose(layer.f * before["c"] + layer.i * layer.g, layer.c, atol=1e-6)
        if not options.get("proj"):
            np.testing.assert_allclose(layer.o * np.tanh(layer.c), layer.h, atol=1e-6)
    elif op == "gru":
        np.testing.assert_allclose((1 - layer.z) * layer.n + layer.z * before["h"], layer.h, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_same_bits_whatever_the_way(cell: tuple[str, dict[str, Any]]) -> None:
    """Tables, lanes, batches, passes over time, pieces, steps of a stream: one trace."""
    op, options = cell
    graph = recurrent_graph(np.random.default_rng(4), op, 6, 40, **options)
    blob = dumps(graph)
    x = np.random.default_rng(5).uniform(-1, 1, (4, 70, 6)).astype(np.float32)
    model = Model(blob)
    want = model.trace(x)
    for name in lstm_rt.kernels():
        other = Model(blob, kernels=name)
        found = other.trace(x)
        assert equal(found.y, other(x))
        assert name == "nofma" or same_trace(found, want)
    for lanes in (2, 3):
        with forced(lanes):
            assert same_trace(Model(blob, threads=lanes).trace(x), want)
    rows = [model.trace(x[n : n + 1]) for n in range(4)]
    flat = model.trace(x[2])
    stream = model.stream(4)
    stepped = [stream.trace_step(x[:, t]) for t in range(70)]
    state, pieces = None, []
    for at in range(0, 70, 33):
        pieces.append(model.trace(x[:, at : at + 33], state=state))
        state = pieces[-1].state
    for kind, a in want[op].items():
        assert equal(np.concatenate([r[op][kind] for r in rows]), a)
        assert equal(flat[op][kind], a[2])
        assert equal(np.stack([s[op][kind] for s in stepped], 1), a)
        assert equal(np.concatenate([p[op][kind] for p in pieces], 1), a)
    assert equal(want.y[0], np.stack([s.y[0] for s in stepped], 1))
    _, final = model(x, return_state=True)
    for found in (want.state, state, stepped[-1].state, stream.state):
        assert equal(found, final)


@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_masked_steps(op: str, direction: str) -> None:
    """A masked step has no gates; states stay what they are."""
    graph = recurrent_graph(np.random.default_rng(6), op, 5, 18, direction=direction, with_mask=True)
    x = np.random.default_rng(7).uniform(-1, 1, (2, 6, 5)).astype(np.float32)
    ids = np.array([[0, 1, 1, 0, 1, 1], [1, 1, 0, 0, 0, 1]], np.int32)
    model = Model(graph)
    trace = model.trace(x, ids)
    assert equal(trace.y, model(x, ids))
    layer = trace[op]
    assert np.array_equal(layer.valid, ids == 1)
    for kind, a in layer.items():
        forward = a if direction == "forward" else a[:, :, 0]
        if kind not in "ch":
            assert not a[ids == 0].any()
            assert a[ids == 1].any(axis=-1).all()
            continue
        assert not forward[0, 0].any()
        assert equal(forward[0, 3], forward[0, 2])
        assert equal(forward[1, 2], forward[1, 1])
        assert equal(forward[1, 4], forward[1, 1])
        if direction == "bidirectional":
            assert equal(a[0, 3, 1], a[0, 4, 1])
            assert equal(a[0, 0, 1], a[0, 1, 1])


def test_convlstm() -> None:
    """Gates and states obey the equations; an image of 1 x 1 with kernels of 1 is an lstm."""
    rng = np.random.default_rng(8)
    g = Graph()
    x = g.input("x", "seq", 4 * 5 * 3)
    w_ih, w_hh = weights(rng, 24, 3, 3, 3, scale=0.4), weights(rng, 24, 6, 3, 3, scale=0.4)
    y = g.node("convlstm", x, height=4, width=5, w_ih=w_ih, w_hh=w_hh, bias=weights(rng, 24), before_h=1, after_h=1,
               before_w=1, after_w=1)  # fmt: skip
    g.output(y, "y")
    model = Model(g)
    a = rng.uniform(-1, 1, (2, 5, 60)).astype(np.float32)
    trace = model.trace(a, lengths=[5, 3])
    assert equal(trace.y, model(a, lengths=[5, 3]))
    layer = trace["convlstm"]
    assert {k: v.shape for k, v in layer.items()} == dict.fromkeys(LSTM, (2, 5, 120))
    assert equal(layer.h, trace.y)
    before = np.concatenate([np.zeros_like(layer.c[:, :1]), layer.c[:, :-1]], 1)
    np.testing.assert_allclose((layer.f * before + layer.i * layer.g)[layer.valid], layer.c[layer.valid], atol=1e-6)
    np.testing.assert_allclose(layer.o * np.tanh(layer.c), layer.h, atol=1e-6)
    with forced(2):
        assert same_trace(Model(g, threads=2).trace(a, lengths=[5, 3]), trace)
        assert same_trace(Model(g, threads=2).trace(a[:1]), model.trace(a[:1]))

    g = Graph()
    y = g.node("convlstm", g.input("x", "seq", 3), height=1, width=1, w_ih=w_ih[:, :, :1, :1], w_hh=w_hh[:, :, :1, :1])
    g.output(y, "y")
    small = Model(g).trace(a[:, :, :3])["convlstm"]
    want = traced_cells.run("lstm", {"w_ih": w_ih[:, :, 0, 0], "w_hh": w_hh[:, :, 0, 0]}, a[:, :, :3])
    for kind in LSTM:
        np.testing.assert_allclose(small[kind], want[kind], rtol=0, atol=2e-6)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_attention_weights() -> None:
    """Softmax of the products of queries and keys; 0 at steps that do not count. Of a vec no axis of steps."""
    rng = np.random.default_rng(9)
    g = Graph()
    q = g.input("q", "seq", 8)
    k = g.input("k", "seq", 8)
    mask = g.mask_values(k, 0.0)
    g.output(g.node("attention", q, k, k, mask, heads=2, scale=0.5), "y")
    g.output(g.node("attention", g.input("v", "vec", 8), k, k, heads=2, scale=0.5), "z")
    model = Model(g)
    a, b, v = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((3, 4, 8), (3, 7, 8), (3, 8)))
    b[1, 3] = 0
    b[2, :2] = 0
    lengths = {"k": [7, 5, 6]}
    trace = model.trace(a, b, v, lengths=lengths)
    assert equal(trace.y, model(a, b, v, lengths=lengths))
    assert list(trace) == ["attention.0", "attention.1"]
    fits = 0.5 * np.einsum("nthd,nshd->nths", np.float64(a).reshape(3, 4, 2, 4), np.float64(b).reshape(3, 7, 2, 4))
    there = np.arange(7) < np.array(lengths["k"])[:, None]
    counts = (there & b.any(-1))[:, None, None]
    got = trace["attention.0"].weights
    assert got.shape == (3, 4, 2, 7)
    np.testing.assert_allclose(got, _softmax(np.where(counts, fits, -np.inf)), rtol=0, atol=1e-6)
    assert not got[~np.broadcast_to(counts, got.shape)].any()
    of_vec = 0.5 * np.einsum("nhd,nshd->nhs", np.float64(v).reshape(3, 2, 4), np.float64(b).reshape(3, 7, 2, 4))
    got = trace["attention.1"].weights
    np.testing.assert_allclose(got, _softmax(np.where(there[:, None], of_vec, -np.inf)), rtol=0, atol=1e-6)


def test_states_of_the_graph() -> None:
    """A decoder that begins with an encoder's state: its first step sees it."""
    def make(g: Graph) -> None:
        _, h, c = lstm(g, g.input("a", "seq", 4))
        w = cell_weights(np.random.default_rng(1), "lstm", 4, 4)
        g.output(g.recurrent("lstm", g.input("b", "seq", 4), w, hidden_size=4, h0=h, c0=c)[0], "y")

    model = build(make)
    rng = np.random.default_rng(2)
    a, b = (rng.uniform(-1, 1, (2, t, 4)).astype(np.float32) for t in (5, 3))
    trace = model.trace(a, b)
    assert equal(trace.y, model(a, b))
    w = cell_weights(np.random.default_rng(1), "lstm", 4, 4)
    first = traced_cells.run("lstm", w, a)
    second = traced_cells.run("lstm", w, b, h=first["h"][:, -1], c=first["c"][:, -1])
    for kind in LSTM:
        np.testing.assert_allclose(trace["lstm.0"][kind], first[kind], rtol=0, atol=2e-6)
        np.testing.assert_allclose(trace["lstm.1"][kind], second[kind], rtol=0, atol=2e-6)


def test_layers() -> None:
    """Names of the source, numbers where they are not enough; those that are asked for, and no others."""
    def make(g: Graph) -> None:
        x = g.input("x", "seq", 4)
        for name in ("enc", "enc", "", "enc.0", "<b>"):
            with g.layer(name):
                x = lstm(g, x)[0]
        g.output(x, "y")

    model = build(make)
    x = np.ones((2, 3, 4), np.float32)
    trace = model.trace(x)
    assert list(trace) == ["enc.1", "enc.2", "lstm", "enc.0", "<b>"]
    assert [layer.node for layer in trace.values()] == [0, 1, 2, 3, 4]
    few = model.trace(x, layers=["<b>", "enc.1"])
    assert list(few) == ["enc.1", "<b>"]
    assert equal(few["<b>"].c, trace["<b>"].c)
    assert few.nbytes * 5 == trace.nbytes * 2
    assert list(model.trace(x, layers=())) == []
    assert equal(model.trace(x, layers=()).y, trace.y)


def test_names_of_arguments() -> None:
    """Inputs that are called like arguments of a trace."""
    def make(g: Graph) -> None:
        x = g.input("layers", "seq", 4)
        g.input("lengths", "lengths", axis=0)
        g.output(lstm(g, x)[0], "y")

    model = build(make)
    x, n = np.ones((2, 3, 4), np.float32), np.array([2, 3], np.int32)
    want = model(layers=x, lengths=n)
    assert equal(model.trace(layers=x, lengths=n).y, want)
    assert list(model.trace(x, n, layers=["lstm"])) == ["lstm"]
    assert equal(build(own_lengths).trace(x, n=n).y, build(own_lengths)(x, n))


def test_models_of_several_inputs() -> None:
    rng = np.random.default_rng(3)
    for make in (one_axis, two_axes):
        model = build(make)
        inputs = inputs_for(rng, model._graph(), 2, 5)
        trace = model.trace(*inputs)
        assert equal(trace.y, model(*inputs))
        assert list(trace.inputs) == [p.name for p in model.inputs]
        assert list(trace.outputs) == [p.name for p in model.outputs]


def test_no_recurrent_layers() -> None:
    g = Graph()
    g.output(g.dense(g.input("x", "seq", 3), np.eye(3, dtype=np.float32)), "y")
    model = Model(g)
    x = np.ones((1, 2, 3), np.float32)
    trace = model.trace(x)
    assert len(trace) == 0
    assert equal(trace.y, x)
    assert repr(trace) == "<lstm_rt.trace.Trace of no layers, 0 bytes>"
    with pytest.raises(InputError, match="layers has 'a', but this model has neither recurrent layers nor attention"):
        model.trace(x, layers=["a"])
    with pytest.raises(KeyError, match="this trace has no layer"):
        trace["a"]


def test_no_steps_no_numbers() -> None:
    """A sequence without steps; NaN goes through and stays where it is."""
    model = build(lambda g: g.output(lstm(g, g.input("x", "seq", 4))[0], "y"))
    assert model.trace(np.ones((2, 0, 4), np.float32))["lstm"].f.shape == (2, 0, 4)
    x = np.ones((2, 5, 4), np.float32)
    x[1, 2] = np.nan
    layer = model.trace(x)["lstm"]
    assert np.isnan(layer.f[1, 2:]).all()
    assert np.isfinite(layer.f[0]).all()
    assert np.isfinite(layer.f[1, :2]).all()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("lstm", "layers is 'lstm', expected a list of names"),
        (3, "layers is 3, expected a list of names"),
        (["lstn"], r"layers has 'lstn', which no layer is called; they are: lstm.*lstm"),
        ([7], "layers has 7, which no layer is called"),
        ([["lstm"]], "layers has"),
    ],
)
def test_wrong_layers(layers: Any, message: str) -> None:
    model = build(lambda g: g.output(lstm(g, g.input("x", "seq", 4))[0], "y"))
    x = np.ones((1, 3, 4), np.float32)
    for trace, a in ((model.trace, x), (model.stream().trace_step, x[0, 0])):
        with pytest.raises(InputError, match=message):
            trace(a, layers=layers)


def test_other_wrong_arguments() -> None:
    model = build(lambda g: g.output(lstm(g, g.input("x", "seq", 4))[0], "y"))
    x = np.ones((1, 3, 4), np.float32)
    with pytest.raises(InputError, match="float32"):
        model.trace(x.astype(np.float64))
    with pytest.raises(InputError, match="lengths"):
        model.trace(x, lengths=[4])
    with pytest.raises(InputError, match="state"):
        model.trace(x, state=3)
    with pytest.raises(TypeError):
        model.trace(x, out=x)
    with pytest.raises(InputError, match="input 'x'"):
        model.stream().trace_step(x)
    layer = model.trace(x)["lstm"]
    with pytest.raises(AttributeError, match="'r': this layer's trace has i, f, g, o, c, h"):
        _ = layer.r
    with pytest.raises(KeyError):
        layer["r"]


def test_streams_after_a_trace() -> None:
    """A traced step is a step: the stream goes on from it, also after one that was refused."""
    model = build(lambda g: g.output(lstm(g, g.input("x", "seq", 4))[0], "y"))
    x = np.random.default_rng(1).uniform(-1, 1, (6, 4)).astype(np.float32)
    stream = model.stream()
    want = model(x)
    for t in range(6):
        with pytest.raises(InputError):
            stream.trace_step(x)
        found = stream.trace_step(x[t]) if t % 2 else stream.trace_step(x[t : t + 1])
        assert found["lstm"].f.shape == ((4,) if t % 2 else (1, 4))
        assert found["lstm"].valid.shape == (() if t % 2 else (1,))
        assert equal(found.y.reshape(-1), want[t])


def test_what_it_is() -> None:
    """Reprs; a copy of the kinds' order in the core."""
    model = build(lambda g: g.output(lstm(g, g.input("x", "seq", 4), direction="bidirectional")[0], "y"))
    trace = model.trace(np.ones((1, 3, 4), np.float32))
    assert repr(trace) == "<lstm_rt.trace.Trace of 'lstm' (i f g o c h), 576 bytes>"
    assert repr(trace["lstm"]).startswith("<lstm_rt.trace.LayerTrace 'lstm' (lstm): i (1, 3, 2, 4), f (1, 3, 2, 4)")
    assert isinstance(trace["lstm"], LayerTrace)
    assert list(KINDS) == ["i", "f", "g", "o", "r", "z", "n", "c", "h", "weights"]
    assert "recurrent" not in repr(trace)
