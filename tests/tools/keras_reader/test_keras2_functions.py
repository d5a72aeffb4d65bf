"""Functions of TensorFlow's between the layers of Keras 2, as its files have them, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_rt_tools import from_keras
from lstm_rt_tools.judges import reference

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

h5py = pytest.importorskip("h5py")

T, F = 6, 4
Array = Any


def ref(**kwargs: Any) -> list[Any]:
    """The input as the first argument of a call, with the others."""
    return ["x", 0, 0, kwargs]


def op(name: str, function: str, node: Any) -> dict[str, Any]:
    class_name = "SlicingOpLambda" if function.endswith("getitem") else "TFOpLambda"
    config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": class_name, "config": config, "name": name, "inbound_nodes": [_plain(node)]}


def model(layers: list[dict[str, Any]], steps: int | None = T, output: int = 0) -> dict[str, Any]:
    given = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, steps, F], "dtype": "float32", "sparse": False, "name": "x"},
        "name": "x",
        "inbound_nodes": [],
    }  # fmt: skip
    config = {
        "name": "model",
        "trainable": True,
        "layers": [given, *layers],
        "input_layers": [["x", 0, 0]],
        "output_layers": [[layers[-1]["name"], 0, output]],
    }
    return {"class_name": "Functional", "config": config, "keras_version": "2.15.0", "backend": "tensorflow"}


def convert(folder: Path, *args: Any, **kwargs: Any) -> Graph:
    """The graph of a model without weights: an architecture beside a file that has none."""
    with h5py.File(folder / "m.h5", "w") as h5:
        h5.attrs["layer_names"] = np.array([b"x"])
        h5.create_group("x").attrs["weight_names"] = np.zeros(0, "S1")
    return from_keras(folder / "m.h5", model(*args, **kwargs))


def cut(*parts: Any) -> list[Any]:
    """A ``slice_spec``, after all rows."""
    return [slice(None), *parts]


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def constant(value: Any, **kwargs: Any) -> list[Any]:
    return ["_CONSTANT_VALUE", -1, value, kwargs]


ALL = slice(None)
CASES: dict[str, tuple[str, Any, Callable[[Array], Array]]] = {
    "times": ("math.multiply", ref(y=2.0, name=None), lambda x: x * 2),
    "one minus": ("math.subtract", constant(1.0, y=["x", 0, 0], name=None), lambda x: 1 - x),
    "minus": ("math.subtract", ref(y=1.5), lambda x: x - 1.5),
    "three over": ("math.truediv", constant(3.0, y=["x", 0, 0]), lambda x: 3 / x),
    "with itself": ("math.multiply", ref(y=["x", 0, 0]), lambda x: x * x),
    "plus an array": ("__operators__.add", ref(y=[1.0, 2.0, 3.0, 4.0]), lambda x: x + np.arange(1, 5)),
    "power": ("math.pow", ref(y=2.0), lambda x: x**2),
    "last step": ("__operators__.getitem", ref(slice_spec=cut(-1, ALL)), lambda x: x[:, -1]),
    "fourth step": ("__operators__.getitem", ref(slice_spec=cut(3)), lambda x: x[:, 3]),
    "some steps": ("__operators__.getitem", ref(slice_spec=cut(slice(1, 4), slice(0, 2))), lambda x: x[:, 1:4, :2]),
    "backwards": ("__operators__.getitem", ref(slice_spec=cut(slice(None, None, -1))), lambda x: x[:, ::-1]),
    "backwards by two": ("__operators__.getitem", ref(slice_spec=cut(slice(4, 0, -2))), lambda x: x[:, 4:0:-2]),
    "dots": (
        "__operators__.getitem",
        ref(slice_spec=[{"class_name": "__ellipsis__"}, slice(None, None, -1)]),
        lambda x: x[..., ::-1],
    ),
    "mean": ("math.reduce_mean", ref(axis=1, keepdims=False, name=None), lambda x: x.mean(axis=1)),
    "sum": ("math.reduce_sum", ref(axis=[1, 2], keepdims=True), lambda x: x.sum(axis=(1, 2), keepdims=True)),
    "max of features": ("math.reduce_max", ref(axis=-1), lambda x: x.max(axis=-1)),
    "concat": ("concat", [ref(axis=-1, name="c"), ref(axis=-1, name="c")], lambda x: np.concatenate([x, x], axis=-1)),
    "stack": ("stack", [ref(axis=2), ref(axis=2)], lambda x: np.stack([x, x], axis=2)),
    "reshape": ("reshape", ref(shape=[-1, 3, 8]), lambda x: x.reshape(-1, 3, 8)),
    "transpose": ("compat.v1.transpose", ref(perm=[0, 2, 1]), lambda x: x.transpose(0, 2, 1)),
    "expand": ("expand_dims", ref(axis=1), lambda x: x[:, None]),
    "softmax": ("nn.softmax", ref(axis=1), lambda x: softmax(x, 1)),
    "clip": ("clip_by_value", ref(clip_value_min=-0.5, clip_value_max=0.5), lambda x: np.clip(x, -0.5, 0.5)),
    "normalize": (
        "math.l2_normalize",
        ref(axis=-1),
        lambda x: x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12)),
    ),
    "matmul": ("linalg.matmul", ref(b=["x", 0, 0], transpose_b=True), lambda x: x @ x.transpose(0, 2, 1)),
    "tile": ("tile", ref(multiples=[1, 1, 2]), lambda x: np.tile(x, (1, 1, 2))),
    "pad": ("pad", ref(paddings=[[0, 0], [1, 2], [0, 1]]), lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)))),
    "reverse": ("reverse", ref(axis=[1]), lambda x: x[:, ::-1]),
    "cast": ("cast", ref(dtype="float32"), lambda x: x),
    "leaky": ("nn.leaky_relu", ref(), lambda x: np.where(x < 0, 0.2 * x, x)),
    "backend mean": ("keras.backend.mean", ref(axis=1), lambda x: x.mean(axis=1)),
    "backend concat": ("keras.backend.concatenate", [ref(), ref()], lambda x: np.concatenate([x, x], axis=-1)),
    "activation": ("keras.activations.hard_sigmoid", ref(), lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [T, None])
def test_functions(case: str, steps: int | None, tmp_path: Path) -> None:
    function, node, expected = CASES[case]
    layers = [op("f", function, node)]
    if steps is None and case in ("backwards by two", "reshape", "matmul"):
        with pytest.raises(ConvertError, match=r"'f'( \(|: ).*(must be fixed|number is free)"):
            convert(tmp_path, layers, steps)
        return
    graph = convert(tmp_path, layers, steps)
    for batch, length in ((1, T), (3, T if steps else 9)):
        x = np.random.default_rng(batch).normal(0, 1, (batch, length, F)).astype(np.float32)
        (y,) = reference.run(graph, [x])
        wanted = expected(x.astype(np.float64))
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


def _plain(node: Any) -> Any:
    """Slices as Keras writes them."""
    if isinstance(node, slice):
        return {"start": node.start, "stop": node.stop, "step": node.step}
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items()}
    return [_plain(v) for v in node] if isinstance(node, list) else node


def test_several_results(tmp_path: Path) -> None:
    graph = convert(tmp_path, [op("s", "split", ref(num_or_size_splits=[1, 3], axis=-1))], output=1)
    x = np.random.default_rng(0).normal(0, 1, (2, T, F)).astype(np.float32)
    np.testing.assert_array_equal(reference.run(graph, [x])[0], x[..., 1:])


def test_one_hot_of_token_ids(tmp_path: Path) -> None:
    given = model([op("f", "one_hot", ref(depth=5))])
    given["config"]["layers"][0]["config"] |= {"batch_input_shape": [None, None], "dtype": "int32"}
    with h5py.File(tmp_path / "m.h5", "w") as h5:
        h5.attrs["layer_names"] = np.array([b"x"])
        h5.create_group("x").attrs["weight_names"] = np.zeros(0, "S1")
    ids = np.array([[0, 4, 2]], np.int32)
    (y,) = reference.run(from_keras(tmp_path / "m.h5", given), [ids])
    np.testing.assert_array_equal(y, np.eye(5)[ids])


REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "unknown function": ([op("f", "math.bincount", ref())], r"'f' \(TFOpLambda\): the function 'math.bincount'"),
    "unknown option": ([op("f", "math.cumsum", ref(axis=1, reverse=True))], r"'f'.*option reverse=True"),
    "batch": ([op("f", "__operators__.getitem", ref(slice_spec=[0]))], r"'f'.*a slice of the batch"),
    "step 0": ([op("f", "__operators__.getitem", ref(slice_spec=cut(slice(0, 3, 0))))], r"'f'.*step 0"),
    "too far": ([op("f", "__operators__.getitem", ref(slice_spec=cut(6)))], r"'f'.*element 6 of axis 1.*which has 6"),
    "all axes": ([op("f", "math.reduce_mean", ref())], r"'f'.*all of a batch"),
    "condition": ([op("f", "where", ref(x=1.0, y=2.0))], r"'f'.*condition is not what a comparison gives"),
    "one_hot of numbers": (
        [op("a", "nn.relu", ref()), op("f", "one_hot", ["a", 0, 0, {"depth": 3}])],
        r"'f'.*of the model's inputs and of places alone",
    ),
    "int": ([op("f", "cast", ref(dtype="int32"))], r"'f'.*cast to int32"),
    "old op layers": ([{**op("f", "x", [ref()]), "class_name": "TensorFlowOpLayer"}], r"'f' \(TensorFlowOpLayer\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    layers, words = REFUSED[case]
    with pytest.raises(ConvertError, match=words):
        convert(tmp_path, layers)
