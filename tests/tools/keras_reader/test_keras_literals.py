"""Layers against the numbers of Keras's documentation and of its own tests, and over the space of their options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keras_models import F, L, keras, randomise
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lstm_rt_tools import from_keras
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.keras_reader import live

import lstm_rt.format
from lstm_rt.errors import InputError
from lstm_rt.graph import Graph


def convert(model: Any) -> Graph:
    """Without the comparison with the living model: on some backends Keras cannot run all of its layers."""
    from lstm_rt_tools.keras_reader import from_keras as module

    return module._convert(live.open_live(model))


def results(graph: Graph, *inputs: Any) -> list[np.ndarray]:
    arrays = [np.asarray(x, np.float32) for x in inputs]
    out = lstm_rt.Model(lstm_rt.format.dumps(graph))(*arrays)
    return list(out) if isinstance(out, tuple) else [out]


def around(make: Callable[..., Any], *inputs: Any) -> Any:
    given_inputs = [L.Input(np.shape(x)[1:]) for x in inputs]
    return keras.Model(given_inputs, make(*given_inputs))


STEPS = [[[1.0], [2.0], [3.0], [4.0], [5.0]]]
SQUARE = [[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]], [[7.0], [8.0], [9.0]]]]
EDGES = [[-3.0, -1.0, 0.0, 2.0]]
QUERY, KEY, VALUE = [[[1.0, 0.0], [0.0, 1.0]]], [[[0.0, 1.0], [1.0, 0.0]]], [[[1.0, 2.0], [3.0, 4.0]]]


def attention(layer: Any) -> Callable[..., Any]:
    return lambda q, v, k: list(layer([q, v, k], return_attention_scores=True))


CASES: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "average": (lambda x: L.AveragePooling1D(2, strides=1)(x), [STEPS], [[[[1.5], [2.5], [3.5], [4.5]]]]),
    "average by two": (lambda x: L.AveragePooling1D(2, strides=2)(x), [STEPS], [[[[1.5], [3.5]]]]),
    "average same": (
        lambda x: L.AveragePooling1D(2, strides=1, padding="same")(x),
        [STEPS],
        [[[[1.5], [2.5], [3.5], [4.5], [5.0]]]],
    ),
    "max": (lambda x: L.MaxPooling1D(2, strides=2)(x), [STEPS], [[[[2.0], [4.0]]]]),
    "max same": (
        lambda x: L.MaxPooling1D(2, strides=1, padding="same")(x),
        [STEPS],
        [[[[2.0], [3.0], [4.0], [5.0], [5.0]]]],
    ),
    "average of images same": (
        lambda x: L.AveragePooling2D(2, strides=1, padding="same")(x),
        [SQUARE],
        [[[[[3.0], [4.0], [4.5]], [[6.0], [7.0], [7.5]], [[7.5], [8.5], [9.0]]]]],
    ),
    "max of images": (lambda x: L.MaxPooling2D(2, strides=1)(x), [SQUARE], [[[[[5.0], [6.0]], [[8.0], [9.0]]]]]),
    "up": (
        lambda x: L.UpSampling1D(2)(x),
        [[[[0.0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]],
        [[[[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]], [[6, 7, 8], [6, 7, 8], [9, 10, 11], [9, 10, 11]]]],
    ),
    "pad": (
        lambda x: L.ZeroPadding1D((1, 2))(x),
        [[[[1.0, 2.0], [3.0, 4.0]]]],
        [[[[0, 0], [1, 2], [3, 4], [0, 0], [0, 0]]]],
    ),
    "crop": (lambda x: L.Cropping1D(1)(x), [[[[0.0, 1], [2, 3], [4, 5]]]], [[[[2, 3]]]]),
    "repeat": (lambda x: L.RepeatVector(3)(x), [[[0.0, 1.0], [2.0, 3.0]]], [[[[0, 1]] * 3, [[2, 3]] * 3]]),
    "permute": (lambda x: L.Permute((2, 1))(x), [[[[1.0, 2, 3], [4, 5, 6]]]], [[[[1, 4], [2, 5], [3, 6]]]]),
    "relu": (lambda x: L.ReLU()(x), [EDGES], [[[0, 0, 0, 2]]]),
    "relu limit": (lambda x: L.ReLU(max_value=1.0)(x), [EDGES], [[[0, 0, 0, 1]]]),
    "relu slope": (lambda x: L.ReLU(negative_slope=1.0)(x), [EDGES], [[[-3, -1, 0, 2]]]),
    "relu threshold": (lambda x: L.ReLU(threshold=1.5)(x), [EDGES], [[[0, 0, 0, 2]]]),
    "relu at its threshold": (lambda x: L.ReLU(threshold=2.0)(x), [EDGES], [[[0, 0, 0, 0]]]),
    "leaky": (lambda x: L.LeakyReLU(negative_slope=0.5)(x), [EDGES], [[[-1.5, -0.5, 0, 2]]]),
    "normalization": (
        lambda x: L.Normalization(mean=3.0, variance=2.0)(x),
        [[[1.0], [2.0], [3.0]]],
        [[[-1.41421356], [-0.70710678], [0.0]]],
    ),
    "normalization back": (
        lambda x: L.Normalization(mean=3.0, variance=2.0, invert=True)(x),
        [[[-1.41421356], [-0.70710678], [0.0]]],
        [[[1.0], [2.0], [3.0]]],
    ),
    "unit": (lambda x: L.UnitNormalization()(x), [[[3.0, 4.0], [0.0, 0.0]]], [[[0.6, 0.8], [0.0, 0.0]]]),
    "dot": (
        lambda a, b: L.Dot(axes=(1, 2))([a, b]),
        [np.arange(10.0).reshape(1, 5, 2), np.arange(10.0, 20.0).reshape(1, 2, 5)],
        [[[[260, 360], [320, 445]]]],
    ),
    "minimum": (lambda a, b: L.Minimum()([a, b]), [[[1.0, 5.0]], [[2.0, 3.0]]], [[[1, 3]]]),
    "maximum": (lambda a, b: L.Maximum()([a, b]), [[[1.0, 5.0]], [[2.0, 3.0]]], [[[2, 5]]]),
    "subtract": (lambda a, b: L.Subtract()([a, b]), [[[1.0, 5.0]], [[2.0, 3.0]]], [[[-1, 2]]]),
    "global average": (lambda x: L.GlobalAveragePooling1D()(x), [STEPS], [[[3.0]]]),
    "attention": (
        attention(L.Attention()),
        [QUERY, VALUE, KEY],
        [
            [[[2.46211716, 3.46211716], [1.53788284, 2.53788284]]],
            [[[0.26894142, 0.73105858], [0.73105858, 0.26894142]]],
        ],
    ),
    "attention concat": (
        attention(L.Attention(score_mode="concat")),
        [QUERY, VALUE, KEY],
        [[[[1.727, 2.727], [2.272, 3.272]]], [[[0.636, 0.363], [0.363, 0.636]]]],
    ),
    "additive": (
        attention(L.AdditiveAttention(use_scale=False)),
        [QUERY, VALUE, KEY],
        [[[[1.727, 2.727], [2.272, 3.272]]], [[[0.636, 0.363], [0.363, 0.636]]]],
    ),
    "backwards": (lambda x: x[:, ::-1], [STEPS], [[[[5], [4], [3], [2], [1]]]]),
    "some backwards": (lambda x: x[:, -2:0:-2], [STEPS], [[[[4], [2]]]]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_documented_numbers(case: str) -> None:
    make, inputs, expected = CASES[case]
    graph = convert(around(make, *inputs))
    actual = results(graph, *inputs)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == np.shape(e)
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-3 if "concat" in case or case == "additive" else 1e-6)


def normalised(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)


@pytest.mark.parametrize(("axis", "axes"), [(1, (1,)), (2, (2,)), ([1, 2], (1, 2)), ([1, 3], (1, 3)), (-2, (2,))])
def test_layer_normalization_of_any_axes(axis: Any, axes: tuple[int, ...]) -> None:
    """Not of all of them on every backend of Keras."""
    x = np.random.default_rng(0).normal(0, 2, (3, 5, 4, 2)).astype(np.float32)
    model = keras.Sequential([L.Input(x.shape[1:]), L.LayerNormalization(axis=axis, epsilon=0.01)])
    randomise(model, np.random.default_rng(1))
    gamma, beta = (np.asarray(w.numpy(), np.float64) for w in model.weights)
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    expected = normalised(x.astype(np.float64), axes, 0.01) * gamma.reshape(shape) + beta.reshape(shape)
    np.testing.assert_allclose(results(convert(model), x)[0], expected, rtol=1e-5, atol=1e-5)


# -- options ----------------------------------------------------------------------------------------

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
strides_or_dilation = st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])


def check(model: Any, shape: tuple[int, ...]) -> None:
    """Converting compares with Keras on generated inputs; here the compiled model, of batches of 1 and 5."""
    randomise(model, np.random.default_rng(3))
    graph = from_keras(model)
    for batch in (1, 5):
        x = np.random.default_rng(batch).normal(0, 1, (batch, *shape)).astype(np.float32)
        for a, e in zip(results(graph, x), live.run(model, [x]), strict=True):
            assert a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


@few
@given(
    kind=st.sampled_from([L.Conv1D, L.SeparableConv1D, L.DepthwiseConv1D]),
    kernel=st.integers(1, 4),
    how=strides_or_dilation,
    padding=st.sampled_from(["valid", "same", "causal"]),
    steps=st.integers(10, 13),
    free=st.booleans(),
    bias=st.booleans(),
    first=st.booleans(),
)
def test_convolutions(
    kind: Any, kernel: int, how: tuple[int, int], padding: str, steps: int, free: bool, bias: bool, first: bool
) -> None:
    assume(padding != "causal" or (kind is L.Conv1D and not first))
    assume(not (padding == "same" and how[0] > 1 and free))
    options = {"strides": how[0], "dilation_rate": how[1], "padding": padding, "use_bias": bias}
    options["data_format"] = "channels_first" if first else "channels_last"
    layer = kind(kernel, **options) if kind is L.DepthwiseConv1D else kind(6, kernel, **options)
    n = None if free else steps
    check(keras.Sequential([L.Input((F, n) if first else (n, F)), layer]), (F, steps) if first else (steps, F))


@few
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.sampled_from([None, (1, 1), (2, 1), (3, 2)]),
    padding=st.sampled_from(["valid", "same"]),
    shape=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    free=st.booleans(),
)
def test_pooling(size: tuple[int, int], strides: Any, padding: str, shape: tuple[int, int], free: bool) -> None:
    assume(not (padding == "same" and free))
    given_shape = (shape[0], None if free else shape[1], 2)
    check(keras.Sequential([L.Input(given_shape), L.MaxPooling2D(size, strides, padding)]), (*shape, 2))


@few
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["valid", "same"]),
    how=strides_or_dilation,
    groups=st.sampled_from([1, 2]),
    order=st.permutations([1, 2, 3]),
    free=st.sampled_from([None, 0, 1]),
)
def test_images(
    kernel: tuple[int, int], padding: str, how: tuple[int, int], groups: int, order: list[int], free: int | None
) -> None:
    """Any axis may be free, and any may be the steps of the recurrent layer."""
    assume(not (padding == "same" and how[0] > 1 and free is not None))
    shape: list[int | None] = [7, 9, 4]
    if free is not None:
        shape[free] = None
        assume(order[0] - 1 == free)
    x = L.Input(shape)
    y = L.Conv2D(4, kernel, how[0], padding, dilation_rate=how[1], groups=groups, activation="relu")(x)
    y = L.Permute(order)(y)
    _, _, height, channels = y.shape
    y = L.LSTM(3, return_sequences=True)(L.Reshape((-1, height * channels))(y))
    check(keras.Model(x, y), (7, 9, 4))


@few
@given(data=st.data())
def test_moves(data: st.DataObject) -> None:
    """Shapes of shapes, whichever axis is the time."""
    x = L.Input((4, 6))
    y = x
    for _ in range(data.draw(st.integers(1, 4))):
        dims = list(y.shape[1:])
        move = data.draw(st.sampled_from(["permute", "reshape", "dense", "norm", "slice", "softmax", "concat"]))
        axis = data.draw(st.integers(1, len(dims)))
        if move == "permute":
            y = L.Permute(data.draw(st.permutations(range(1, len(dims) + 1))))(y)
        elif move == "reshape":
            size = int(np.prod(dims))
            first = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
            second = data.draw(st.sampled_from([n for n in range(1, size // first + 1) if (size // first) % n == 0]))
            y = L.Reshape((first, second, size // first // second))(y)
        elif move == "dense":
            y = L.Dense(3, activation="tanh")(y)
        elif move == "norm":
            y = L.BatchNormalization(axis=axis)(y)
        elif move == "slice":
            y = y[(slice(None),) * axis + (slice(0, max(1, dims[axis - 1] // 2)),)]
        elif move == "softmax":
            y = L.Softmax(axis=axis)(y)
        else:
            y = L.Concatenate(axis=axis)([y, y * 2.0])
    check(keras.Model(x, y * 1.0), (4, 6))


def test_windows_longer_than_the_usual_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A living model is run on more steps where it needs them, also when a file is verified."""
    layers = [L.Conv1D(3, 5, dilation_rate=4, name="c"), L.LSTM(2)]
    model = keras.Sequential([L.Input((None, F), name="x"), *layers])
    randomise(model, np.random.default_rng(3))
    assert from_keras(model).selftest is not None
    model.save(tmp_path / "m.keras")
    source, out = str(tmp_path / "m.keras"), str(tmp_path / "m.lrt")
    assert main(["convert", source, "-o", out]) == 0
    assert main(["verify", out, "--against", source]) == 0
    assert "run live by Keras" in capsys.readouterr().out


def test_several_numbers_of_steps_that_must_be_kept(tmp_path: Path) -> None:
    """Seven steps, and the three that pooling makes of seven, or of six: the self-test has seven."""
    x = L.Input((7, F), name="x")
    model = keras.Model(x, L.Concatenate()([L.Flatten()(L.MaxPooling1D(2)(x)), L.Flatten()(x)]))
    model.save(tmp_path / "m.keras")
    assert main(["convert", str(tmp_path / "m.keras"), "-o", str(tmp_path / "m.lrt")]) == 0
    graph = lstm_rt.format.load_graph(tmp_path / "m.lrt")
    assert graph.selftest is not None
    assert graph.selftest.inputs[0].shape[1:] == (7, F)
    with pytest.raises(InputError, match=r"flatten.*takes exactly 7 steps, got 6"):
        results(graph, np.zeros((1, 6, F)))


def test_no_self_test_of_more_numbers_than_a_file_should_cost(tmp_path: Path) -> None:
    model = keras.Sequential([L.Input((F,), name="x"), L.RepeatVector(10_000_000)])
    model.save(tmp_path / "m.keras")
    assert main(["convert", str(tmp_path / "m.keras"), "-o", str(tmp_path / "m.lrt")]) == 0
    assert lstm_rt.format.load_graph(tmp_path / "m.lrt").selftest is None
