"""Convolutions, pooling, convolutional cells and padded steps against PyTorch, Keras and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.windows import conv_cases, pool_cases
from hypothesis import given, settings
from lstm_rt_tools.judges.reference import run
from lstm_rt_tools.judges.torch_replay import replay

from lstm_rt.errors import GraphError
from lstm_rt.graph import Graph

RNG = np.random.default_rng


def f32(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(0, 0.5, shape).astype(np.float32)


def images_first(x: Any, size: tuple[int, int], torch: Any) -> Any:
    """(N, T, h * w * C) as torch has it: (N, C, T, h, w)."""
    return torch.from_numpy(x.astype(np.float64)).reshape(*x.shape[:2], *size, -1).permute(0, 4, 1, 2, 3)


def channels_last(y: Any) -> Any:
    y = y.permute(0, 2, 3, 4, 1).numpy()
    return y.reshape(*y.shape[:2], -1)


def padded(torch: Any, x: Any, pad: Any, value: float) -> Any:
    return torch.nn.functional.pad(x, [n for pair in reversed(pad) for n in pair], value=value)


@given(case=conv_cases())
@settings(max_examples=80, deadline=None)
def test_conv_is_that_of_torch(case: Any) -> None:
    torch = pytest.importorskip("torch")
    g, x, o = case.graph, case.x, case.options
    want = torch.nn.functional.conv3d(
        padded(torch, images_first(x, o["size"], torch), o["pad"], 0.0),
        torch.from_numpy(case.weight.astype(np.float64)),
        None if case.bias is None else torch.from_numpy(case.bias.astype(np.float64)),
        stride=o["stride"], dilation=o["dilation"], groups=o["groups"],
    )  # fmt: skip
    (y,) = run(g, [x])
    np.testing.assert_allclose(y, channels_last(want), atol=1e-12)
    for row, n in enumerate(case.lengths):  # a row as if it were alone
        if case.fits(n):
            (alone,) = run(g, [x[row : row + 1, :n]])
            np.testing.assert_allclose(run(g, [x], case.lengths)[0][row, : alone.shape[1]], alone[0], atol=1e-12)
    np.testing.assert_allclose(replay(g, [x])[0], y, atol=1e-12)


@given(case=pool_cases())
@settings(max_examples=80, deadline=None)
def test_pool_is_that_of_torch(case: Any) -> None:
    torch = pytest.importorskip("torch")
    g, x, o = case.graph, case.x, case.options
    f, images = torch.nn.functional, images_first(x, o["size"], torch)
    options = {"kernel_size": o["kernel"], "stride": o["stride"]}
    if case.kind == "max":
        images = padded(torch, images, o["pad"], -torch.inf)
        want = f.max_pool3d(images, **options, dilation=(o["dilation_t"], 1, 1))
        want = torch.where(want == -torch.inf, torch.zeros_like(want), want)
    else:
        size = int(np.prod(o["kernel"]))
        kernel = torch.ones(images.shape[1], 1, *o["kernel"], dtype=torch.float64)
        options = {"stride": o["stride"], "dilation": (o["dilation_t"], 1, 1), "groups": images.shape[1]}
        want = f.conv3d(padded(torch, images, o["pad"], 0.0), kernel, **options)
        inside = f.conv3d(padded(torch, torch.ones_like(images), o["pad"], 0.0), kernel, **options)
        want = want / (inside.clamp(min=1) if case.kind == "avg" else size)
        if o["dilation_t"] == 1 and o["pad"] == ((0, 0), (0, 0), (0, 0)):
            np.testing.assert_allclose(want, f.avg_pool3d(images, o["kernel"], o["stride"]), atol=1e-12)
    (y,) = run(g, [x])
    np.testing.assert_allclose(y, channels_last(want), atol=1e-12)
    for row, n in enumerate(case.lengths):
        if case.fits(n):
            (alone,) = run(g, [x[row : row + 1, :n]])
            np.testing.assert_allclose(run(g, [x], case.lengths)[0][row, : alone.shape[1]], alone[0], atol=1e-12)
    np.testing.assert_allclose(replay(g, [x])[0], y, atol=1e-12)


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("options", [
    {}, {"strides": 2}, {"padding": "same"}, {"dilation_rate": 2}, {"kernel_size": (2, 3)}, {"use_bias": False},
    {"recurrent_activation": "hard_sigmoid", "activation": "relu"},
], ids=str)  # fmt: skip
def test_convlstm_is_that_of_keras(options: Any, given_state: bool) -> None:
    keras = pytest.importorskip("keras")
    rng, (h, w, c, units) = RNG(1), (5, 6, 3, 4)
    asked = {"kernel_size": 3, "padding": "valid", **options}
    layer = keras.layers.ConvLSTM2D(units, return_sequences=True, return_state=True, **asked)
    x = f32(rng, 2, 4, h, w, c)
    shape = layer(x)[1].shape
    states = [f32(rng, *shape), f32(rng, *shape)]
    for v in layer.weights:
        v.assign(f32(rng, *v.shape))
    want = [keras.ops.convert_to_numpy(a) for a in layer(x, initial_state=states if given_state else None)]
    kernel = layer.kernel_size
    if asked["padding"] == "same":
        total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, s, k, d in zip(
            (h, w), layer.strides, kernel, layer.dilation_rate, strict=True)]  # fmt: skip
        pad: Any = tuple((t // 2, t - t // 2) for t in total)
    else:
        pad = ((0, 0), (0, 0))
    weights = {v.name: keras.ops.convert_to_numpy(v) for v in layer.weights}
    w_ih, w_hh = (np.transpose(weights[n], (3, 2, 0, 1)) for n in ("kernel", "recurrent_kernel"))
    g = Graph()
    source = g.input("x", "seq", h * w * c)
    flat = int(np.prod(shape[1:]))
    h0, c0 = (g.input(n, "vec", flat) for n in ("h0", "c0")) if given_state else (None, None)
    acts = [asked.get(n, d) for n, d in (("recurrent_activation", "sigmoid"), ("activation", "tanh"))]
    outputs = g.convlstm(
        source, w_ih, w_hh, weights.get("bias"), size=(h, w), stride=layer.strides, dilation=layer.dilation_rate,
        pad=pad, activations=[*acts, acts[1]], h0=h0, c0=c0,
    )  # fmt: skip
    for value, name in zip(outputs, "yhc", strict=True):
        g.output(value, name)
    got = run(g, [x.reshape(2, 4, -1), *[s.reshape(2, -1) for s in states if given_state]])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b.reshape(a.shape), atol=2e-5)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 3), (2, 3)])
def test_padded_steps_are_those_of_torch(mode: str, before: int, after: int) -> None:
    torch = pytest.importorskip("torch")
    g = Graph()
    g.output(g.pad_steps(g.input("x", "seq", 3), before, after, 0.5 if mode == "constant" else 0.0, mode), "y")
    x = f32(RNG(0), 2, 6, 3)
    modes = {"constant": {"value": 0.5}, "edge": {"mode": "replicate"}, "reflect": {"mode": "reflect"}}
    want = torch.nn.functional.pad(torch.from_numpy(x).transpose(1, 2), (before, after), **modes[mode]).transpose(1, 2)
    np.testing.assert_array_equal(run(g, [x])[0], want)
    ragged = run(g, [x], [4, 6])[0]
    alone = run(g, [x[:1, :4]])[0]
    np.testing.assert_array_equal(ragged[0, : alone.shape[1]], alone[0])
    assert not ragged[0, alone.shape[1] :].any()
    np.testing.assert_array_equal(replay(g, [x])[0], want)


def test_flatten_and_unflatten_are_reshapes() -> None:
    g = Graph()
    x = g.input("x", "seq", 6)
    g.output(g.flatten(x, 4), "flat")
    g.output(g.unflatten(x, 3), "more")
    g.output(g.unflatten(g.flatten(x, 4), 8), "again")
    a = f32(RNG(0), 2, 4, 6)
    flat, more, again = run(g, [a])
    np.testing.assert_array_equal(flat, a.reshape(2, 24))
    np.testing.assert_array_equal(more, a.reshape(2, 12, 2))
    np.testing.assert_array_equal(again, a.reshape(2, 8, 3))
    pytest.importorskip("torch")
    for y, want in zip(replay(g, [a]), (flat, more, again), strict=True):
        np.testing.assert_array_equal(y, want)


def test_state_is_the_steps_before() -> None:
    """A sequence cut in two, from the state that the first part leaves."""
    rng, g = RNG(0), Graph()
    x = g.input("x", "seq", 4)
    v = g.conv(x, f32(rng, 5, 4, 3, 1, 1), f32(rng, 5), dilation=(2, 1, 1), pad=((4, 0), (0, 0), (0, 0)))
    v = g.pool(v, "max", (3, 1, 1), pad=((2, 0), (0, 0), (0, 0)))
    v = g.pool(v, "avg", (2, 1, 1), pad=((1, 0), (0, 0), (0, 0)))
    h, _, _ = g.convlstm(v, f32(rng, 8, 1, 1, 3), f32(rng, 8, 2, 1, 3), size=(1, 5), pad=((0, 0), (1, 1)))
    g.output(h, "y")
    a = f32(rng, 2, 9, 4)
    (whole,), final = run(g, [a], return_state=True)
    for cut in range(10):
        (first,), state = run(g, [a[:, :cut]], return_state=True)
        (second,), end = run(g, [a[:, cut:]], state=state, return_state=True)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-12)
        for p, q in zip(end, final, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-12)


def test_what_does_not_fit() -> None:
    g, one = Graph(), np.ones((4, 2, 1, 3, 3), np.float32)
    x, v = g.input("x", "seq", 12), g.input("v", "vec", 12)
    wrong: list[tuple[str, Any]] = [
        ("12 features are no image of size (5, 1)", lambda: g.conv(x, one, size=(5, 1))),
        ("does not fit an image of size (2, 3)", lambda: g.conv(x, one, size=(2, 3))),
        ("2 groups do not fit a weight", lambda: g.conv(x, one[..., :1, :1], size=(2, 3), groups=2)),
        ("a vec has one step", lambda: g.conv(v, np.ones((1, 12, 2, 1, 1), np.float32))),
        ("a vec has one step", lambda: g.pool(v, "max", (1, 1, 1), pad=((1, 0), (0, 0), (0, 0)))),
        ("stride_t is 0, expected 1", lambda: g.pool(x, "max", (1, 1, 1), stride=(0, 1, 1))),
        ("before_h is 65536, expected 0 to 65535",
         lambda: g.pool(x, "max", (1, 1, 1), pad=((0, 0), (65536, 0), (0, 0)))),
        ("stride is 2, expected 3 numbers", lambda: g.pool(x, "max", (1, 1, 1), stride=2)),  # type: ignore[arg-type]
        ("pad is ((0, 0),), expected pairs", lambda: g.pool(x, "max", (1, 1, 1), pad=((0, 0),))),  # type: ignore
        ("kind is most", lambda: g.pool(x, "most", (1, 1, 1))),
        ("a window of 1048579 steps", lambda: g.pool(x, "max", (3, 1, 1), dilation_t=(1 << 19) + 1)),
        ("more than a stream can keep",
         lambda: g.pool(g.pad_steps(g.input("wide", "seq", 1 << 20), 1, 1), "max", (1 << 12, 1, 1),
                        pad=(((1 << 12) - 1, 0), (0, 0), (0, 0)))),
        ("mode is wrap", lambda: g.pad_steps(x, 1, 1, mode="wrap")),
        ("12 features are not 5 steps", lambda: g.unflatten(x, 5)),
        ("than the 1,048,576 that an .lrt file can hold", lambda: g.flatten(x, 1 << 20)),
        ("do not fit 12 channels", lambda: g.convlstm(x, one[:, :, 0], one[:, :1, 0], size=(1, 1), pad=((1, 1),) * 2)),
        ("h0 has 12 features, expected 6",
         lambda: g.convlstm(x, one[:, :, 0, :1, :1], one[:, :1, 0], size=(2, 3), h0=v)),
        ("softmax cannot be a gate activation",
         lambda: g.convlstm(x, one[:, :, 0, :1, :1], one[:, :1, 0], size=(2, 3), activations=("softmax",) * 3)),
    ]  # fmt: skip
    for message, make in wrong:
        with pytest.raises(GraphError) as e:
            make()
        assert message in str(e.value), str(e.value)
