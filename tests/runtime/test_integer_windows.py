"""Convolutions and convolutional cells of integer weights: what the text says of every window, to the bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from helpers.graphs import weights
from helpers.integers import WAYS, expected, integer_graph, random_integers
from helpers.windows import Case, conv_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.judges import reference

import lstm_rt
from lstm_rt import GraphError, Model
from lstm_rt.format import dumps, loads_graph
from lstm_rt.graph import Graph
from lstm_rt.quantised import Quantised


def windows_of(case: Case, steps: int) -> Any:
    """What each window reads, place by place: ``(N, steps, h', w', C, places)``, zeros where nothing is inside."""
    (h, w), (kt, kh, kw) = case.options["size"], case.kernel
    stride, dilation, pad = (case.options[name] for name in ("stride", "dilation", "pad"))
    images = case.x.reshape(*case.x.shape[:2], h, w, -1)
    out = [(n + sum(pad[d]) - dilation[d] * (case.kernel[d] - 1) - 1) // stride[d] + 1 for d, n in ((1, h), (2, w))]
    found = np.zeros((len(images), steps, *out, images.shape[-1], kt * kh * kw), np.float32)
    for n, t, i, j in np.ndindex(*found.shape[:4]):
        for p, place in enumerate(itertools.product(range(kt), range(kh), range(kw))):
            at = [v * stride[d] - pad[d][0] + place[d] * dilation[d] for d, v in enumerate((t, i, j))]
            if 0 <= at[0] < case.lengths[n] and 0 <= at[1] < h and 0 <= at[2] < w:
                found[n, t, i, j, :, p] = images[n, at[0], at[1], at[2]]
    return found


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@given(
    data=st.data(),
    bits=st.sampled_from([8, 16]),
    limit=st.sampled_from([1, 100, 127, 3000, 32639]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_every_window_is_a_row(kernels: str, data: Any, bits: int, limit: int, seed: int) -> None:
    """On tables that are not fused too; groups, lengths, strides, padding and the largest weights that may be."""
    case = data.draw(conv_cases(each=(16, 48)))
    rng, groups, node = np.random.default_rng(seed), case.options["groups"], case.graph.nodes[0]
    q = random_integers(rng, len(case.weight), case.weight[0].size, bits, limit)
    q = q.with_values(q.values.reshape(case.weight.shape))
    node.weights["weight"] = q
    y = Model(dumps(case.graph), kernels=kernels)(case.x, lengths=case.lengths)
    rows = windows_of(case, y.shape[1])
    each = len(q) // groups
    for g, channels in enumerate(np.split(np.arange(rows.shape[4]), groups)):
        mine = slice(g * each, (g + 1) * each)
        flat = Quantised(q.values[mine].reshape(each, -1), q.scale[mine], q.limit)
        x = rows[..., channels, :].reshape(*rows.shape[:4], -1)
        want = expected(x, flat, None if case.bias is None else case.bias[mine])
        got = y.reshape(*rows.shape[:4], len(q))[..., mine]
        np.testing.assert_array_equal(got, want)
    back = loads_graph(dumps(case.graph)).nodes[0]
    assert q.same(back.weights["weight"])
    assert case.bias is None or np.array_equal(back.weights["bias"], case.bias)


@given(case=conv_cases(each=(5, 17)))
@settings(max_examples=30, deadline=None)
def test_groups_that_are_no_whole_panels(case: Case) -> None:
    """Their weights stay float32; without groups there may be any number of outputs."""
    groups, way = case.options["groups"], (8, 16)
    if groups == 1:
        integer_graph(case.graph, *way)
        assert dumps(case.graph)[8] == 5
        return
    rng, g = np.random.default_rng(0), Graph()
    q = random_integers(rng, len(case.weight), case.weight[0].size, 8, 100)
    x = g.input("x", "seq", case.x.shape[2])
    message = f"conv: integer weights of groups of {len(q) // groups} outputs, expected a multiple of 16"
    with pytest.raises(GraphError, match=message):
        g.conv(x, q.with_values(q.values.reshape(case.weight.shape)), **case.options)


@pytest.mark.parametrize("kernels", lstm_rt.kernels())
@pytest.mark.parametrize("way", WAYS)
def test_windows_that_float32_would_multiply_otherwise(kernels: str, way: tuple[int, int]) -> None:
    """Three by three places of many channels; long rows, of which few go through at once."""
    rng, g = np.random.default_rng(1), Graph()
    x = g.input("x", "vec", 5 * 4 * 130)
    g.output(
        g.conv(x, weights(rng, 35, 130, 1, 3, 3), weights(rng, 35), size=(5, 4), pad=((0, 0), (1, 1), (1, 1))), "y"
    )
    integer_graph(g, *way)
    a = rng.standard_normal((2, 5 * 4 * 130)).astype(np.float32)
    a[1, 0] = np.nan
    y = Model(dumps(g), kernels=kernels)(a).reshape(2, 5, 4, 35)
    q = g.nodes[0].weights["weight"]
    images = np.pad(a.reshape(2, 5, 4, 130), ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2)).reshape(2, 5, 4, -1)
    flat = Quantised(q.values.reshape(35, -1), q.scale, q.limit)
    np.testing.assert_array_equal(y, expected(rows, flat, g.nodes[0].weights["bias"]))
    assert np.isnan(y[1, :2, :2]).all()
    assert np.isfinite(y[1, 2:]).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hidden", [5, 16, 21])
def test_convolutional_cells_agree_with_the_reference(hidden: int, way: tuple[int, int]) -> None:
    """The reference rounds activations from its own float64 states: now and then to the integer beside."""
    rng, g = np.random.default_rng(hidden), Graph()
    x = g.input("x", "seq", 4 * 3 * 2)
    w_ih, w_hh = weights(rng, 4 * hidden, 2, 3, 2), weights(rng, 4 * hidden, hidden, 3, 3)
    h, last, c = g.convlstm(x, w_ih, w_hh, weights(rng, 4 * hidden), size=(4, 3), pad=((1, 1), (0, 1)))
    for value, name in ((h, "y"), (last, "h"), (c, "c")):
        g.output(value, name)
    integer_graph(g, *way)
    a = rng.standard_normal((3, 6, 24)).astype(np.float32)
    got, want = Model(dumps(g))(a, lengths=[6, 0, 3]), reference.run(g, [a], [6, 0, 3])
    for y, w in zip(got, want, strict=True):
        assert np.abs(y - w).max() <= (5e-2 if way[1] == 8 else 1e-3)
        assert np.median(np.abs(y - w)) <= 2e-6
    back = loads_graph(dumps(g)).nodes[0].weights
    assert all(w.same(back[name]) for name, w in g.nodes[0].weights.items() if name != "bias")


def test_the_first_step_of_a_cell_is_as_the_text_says() -> None:
    """From zero, U h adds nothing: gates of W x alone, to which the text gives the bits; then sigmoid and tanh."""
    rng, g = np.random.default_rng(3), Graph()
    x = g.input("x", "seq", 3 * 7)
    q = random_integers(rng, 4 * 6, 7 * 2, 8, 2000)
    u = random_integers(rng, 4 * 6, 6, 16, 2000)
    bias = weights(rng, 24)
    _, _, c = g.convlstm(x, q.with_values(q.values.reshape(24, 7, 1, 2)), u.with_values(u.values.reshape(24, 6, 1, 1)),
                         bias, size=(1, 3))  # fmt: skip
    g.output(c, "c")
    a = rng.standard_normal((2, 1, 21)).astype(np.float32)
    rows = np.stack([a.reshape(2, 3, 7)[:, i : i + 2].swapaxes(1, 2).reshape(2, 14) for i in (0, 1)], axis=1)
    i, _, cell, _ = np.split(expected(rows, q, bias).astype(np.float64), 4, axis=-1)
    np.testing.assert_allclose(Model(dumps(g))(a).reshape(2, 2, 6), np.tanh(cell) / (1 + np.exp(-i)), rtol=1e-5)
