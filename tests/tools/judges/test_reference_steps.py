"""The ops that look along time in the reference interpreter: against PyTorch, Keras, and cases by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lstm_rt_tools.judges.reference import run
from lstm_rt_tools.judges.torch_replay import replay

from lstm_rt.graph import Graph

KINDS = ["sum", "mean", "max", "min", "prod", "l2"]
LENGTHS = np.array([5, 3, 0, 1])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 3))
IDS = np.array([[1, 0, 2, 3, 0], [0, 1, 1, 0, 2], [1, 1, 1, 1, 1], [0, 4, 1, 0, 0]])


def counting(lengths: bool, masked: bool) -> np.ndarray:
    counts = np.arange(5) < LENGTHS[:, None] if lengths else np.ones((4, 5), bool)
    return counts & (IDS != 0) if masked else counts


def masked_graph(masked: bool) -> tuple[Graph, int, int | None]:
    g = Graph()
    x, ids = g.input("x", "seq", 3), g.input("ids", "ids", axis=0)
    return g, x, g.mask_ids(ids) if masked else None


def outputs(graph: Graph, *inputs: Any, lengths: Any = None) -> list[np.ndarray]:
    return list(run(graph, inputs, lengths=lengths))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
def test_reduce(kind: str, masked: bool, lengths: bool) -> None:
    torch = pytest.importorskip("torch")
    g, x, mask = masked_graph(masked)
    g.output(g.reduce(x, kind, mask), "y")
    g.output(g.reduce(x, kind, mask, whole=True), "whole")
    y, whole = outputs(g, X, IDS, lengths=LENGTHS if lengths else None)
    functions = {"max": torch.amax, "min": torch.amin, "l2": torch.linalg.vector_norm}
    for got, counts in ((y, counting(lengths, masked)), (whole, counting(False, masked))):
        for row in range(4):
            steps = torch.from_numpy(X[row, counts[row]])
            want = functions.get(kind, getattr(torch, kind, None))(steps, dim=0) if len(steps) else np.zeros(3)
            np.testing.assert_allclose(got[row], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
def test_softmax_over_steps(masked: bool, lengths: bool) -> None:
    torch = pytest.importorskip("torch")
    g, x, mask = masked_graph(masked)
    g.output(g.softmax_steps(x, mask), "y")
    g.output(g.softmax_steps(x, mask, whole=True), "whole")
    y, whole = outputs(g, 100 * X, IDS, lengths=LENGTHS if lengths else None)
    for got, counts in ((y, counting(lengths, masked)), (whole, counting(False, masked))):
        want = np.zeros_like(X)
        for row in range(4):
            want[row, counts[row]] = torch.softmax(torch.from_numpy(100 * X[row, counts[row]]), dim=0)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_cumsum() -> None:
    torch = pytest.importorskip("torch")
    g = Graph()
    g.output(g.cumsum(g.input("x", "seq", 3)), "y")
    (y,) = outputs(g, X)
    np.testing.assert_allclose(y, torch.from_numpy(X).cumsum(1), rtol=1e-12, atol=1e-12)
    (y,) = outputs(g, X, lengths=LENGTHS)
    for row, n in enumerate(LENGTHS):
        np.testing.assert_allclose(y[row, :n], np.cumsum(X[row, :n], axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(y[row, n:], np.tile(y[row, n - 1 : n] if n else np.zeros((1, 3)), (5 - n, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_sums_go_on_from_their_state(kind: str) -> None:
    """Sequences in pieces, one of them empty; a row that has not begun."""
    g, x, mask = masked_graph(True)
    g.output(g.reduce(x, kind, mask), "y")
    g.output(g.cumsum(x), "sums")
    (y, sums), final = run(g, [X, IDS], return_state=True)
    state, pieces = None, []
    for a, b in ((0, 2), (2, 2), (2, 5)):
        (part, piece), state = run(g, [X[:, a:b], IDS[:, a:b]], state=state, return_state=True)
        pieces.append(piece)
    np.testing.assert_allclose(part, y, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), sums, rtol=1e-12)
    for a, b in zip(state, final, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert final[0].shape == (1, 4, 8)
    assert final[0][0, :, 6].tolist() == (IDS != 0).sum(axis=1).tolist()


# -- attention --------------------------------------------------------------------------------------


def attention_graph(q: int, k: int, v: int, vec: bool = False, masked: bool = False, **options: Any) -> Graph:
    g = Graph()
    query = g.input("q", "vec" if vec else "seq", q)
    key = g.input("k", "seq", k)
    value = g.input("v", "seq", v, axis=g.values[key].axis)
    mask = g.mask_ids(g.input("ids", "ids", axis=g.values[key].axis)) if masked else None
    out, weights = g.attention(query, key, value, mask=mask, **options)
    g.output(out, "y")
    if weights is not None:
        g.output(weights, "weights")
    return g


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("heads", "groups"), [(1, 0), (4, 4), (4, 2), (4, 1)])
def test_attention_is_that_of_torch(heads: int, groups: int, masked: bool, causal: bool) -> None:
    torch = pytest.importorskip("torch")
    kv = groups or heads
    q, k, v = (RNG.normal(size=shape) for shape in ((4, 6, 3 * heads), (4, 5, 3 * kv), (4, 5, 2 * kv)))
    ids = np.maximum(IDS, [[1, 0, 0, 0, 0]] * 4)  # of the first step everybody sees something
    options = {"heads": heads, "kv_heads": groups, "scale": 0.7, "causal": causal}
    g = attention_graph(3 * heads, 3 * kv, 2 * kv, masked=masked, **options)
    inputs = [q, k, v, ids] if masked else [q, k, v]
    (y,) = outputs(g, *inputs)
    seen = torch.from_numpy(ids != 0)[:, None, None] if masked else torch.ones(1, 1, 1, 5, dtype=torch.bool)
    seen = seen.expand(4, 1, 6, 5) & torch.ones(6, 5, dtype=torch.bool).tril() if causal else seen
    parts = [torch.from_numpy(a).unflatten(2, (n, -1)).transpose(1, 2) for a, n in ((q, heads), (k, kv), (v, kv))]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    want = sdpa(*parts, attn_mask=seen, scale=0.7, enable_gqa=True).transpose(1, 2).flatten(2)
    np.testing.assert_allclose(y, want, rtol=1e-10, atol=1e-12)
    if not masked:
        np.testing.assert_allclose(replay(g, inputs)[0], want, rtol=1e-10, atol=1e-12)


def test_attention_of_a_layer_of_torch() -> None:
    """nn.MultiheadAttention between its projections, with padding, and the weights that it returns."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.MultiheadAttention(6, 2, batch_first=True).double()
    q, k = torch.randn(4, 1, 6).double(), torch.randn(4, 5, 6).double()
    lengths = np.array([5, 3, 2, 1])
    beyond = torch.arange(5) >= torch.from_numpy(lengths)[:, None]
    want, weights = layer(q, k, k, key_padding_mask=beyond, average_attn_weights=False)
    parts = layer.in_proj_weight.detach().chunk(3)
    projected = [x @ w.T + b for x, w, b in zip((q, k, k), parts, layer.in_proj_bias.detach().chunk(3), strict=True)]
    g = attention_graph(6, 6, 6, vec=True, heads=2, scale=3**-0.5)
    y, w = outputs(g, *(p[:, 0] if i == 0 else p for i, p in enumerate(projected)), lengths={0: lengths})
    np.testing.assert_allclose(layer.out_proj(torch.from_numpy(y)).detach(), want[:, 0].detach(), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(w, weights[:, :, 0].transpose(1, 2).detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_attention_is_that_of_keras(name: str, masked: bool, causal: bool) -> None:
    keras = pytest.importorskip("keras")
    q, k, v = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 6, 3), (4, 5, 3), (4, 5, 2)))
    layer = getattr(keras.layers, name)(use_scale=True)
    layer.build([q.shape, v.shape, k.shape])
    weight = RNG.normal(size=layer.scale.shape).astype(np.float32)
    layer.scale.assign(weight)
    ids = np.maximum(IDS, [[1, 0, 0, 0, 0]] * 4)
    mask = [None, ids != 0, None] if masked else None
    want = keras.ops.convert_to_numpy(layer([q, v, k], mask=mask, use_causal_mask=causal))
    options = {"scale": float(weight)} if name == "Attention" else {"kind": "additive", "weight": weight}
    g = attention_graph(3, 3, 2, masked=masked, causal=causal, **options)
    inputs = [q, k, v, ids] if masked else [q, k, v]
    (y,) = outputs(g, *inputs)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    if not masked:
        np.testing.assert_allclose(replay(g, inputs)[0], y, rtol=1e-10)


def test_what_nobody_may_see() -> None:
    """Rows without a step that counts give 0; what does not count may be NaN."""
    pytest.importorskip("torch")
    k = np.full((2, 3, 2), np.nan)
    k[1, 0] = 1
    g = attention_graph(2, 2, 2, vec=True)
    y, w = outputs(g, np.ones((2, 2)), k, k, lengths={0: [0, 1]})
    assert y.tolist() == [[0, 0], [1, 1]]
    assert w[..., 0].tolist() == [[0, 0, 0], [1, 0, 0]]
    for result in replay(attention_graph(2, 2, 2, vec=True), [np.ones((2, 2)), np.ones((2, 0, 2)), np.ones((2, 0, 2))]):
        assert not result.any()


def test_replay_in_torch() -> None:
    """With lengths, of which torch's functions know nothing."""
    pytest.importorskip("torch")
    g = Graph()
    x, q = g.input("x", "seq", 3), g.input("q", "vec", 3)
    g.input("n", "lengths", axis=0)
    parts = [*(g.reduce(x, kind) for kind in KINDS), g.softmax_steps(x), g.cumsum(x)]
    parts += [*g.attention(q, x, x, kind="additive"), g.reduce(x, "mean", whole=True)]
    for k, value in enumerate(parts):
        g.output(value, f"y{k}")
    inputs = [X, RNG.normal(size=(4, 3)), LENGTHS]
    for got, want in zip(replay(g, inputs), outputs(g, *inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
