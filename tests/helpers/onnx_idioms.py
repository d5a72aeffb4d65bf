"""Models of recurrent nodes and what stands around them, converted, beside onnxruntime at several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

import lstm_rt

from .onnx_files import TensorProto, helper, onnxruntime_run

INT = np.int64
RNG = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32) / 2


def ints(*values: int) -> np.ndarray:
    return np.array(values, INT)


def weights(op: str, inputs: int, hidden: int, directions: int = 1, tag: str = "") -> dict[str, np.ndarray]:
    g = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * hidden
    return {
        f"W{tag}": numbers(directions, g, inputs),
        f"R{tag}": numbers(directions, g, hidden),
        f"B{tag}": numbers(directions, 2 * g),
    }


def check(
    made: Any, folder: Path, sizes: Sequence[tuple[int, int]] = ((1, 7), (5, 11), (2, 30)), ids: int = 9
) -> lstm_rt.Model:
    """Convert a model and compare it with onnxruntime: its inputs are those of the file, sizes ``N`` and ``T``."""
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    converted = lstm_rt.Model(from_onnx(path))
    assert [o.name for o in made.graph.output] == [p.name for p in converted.outputs]
    for n, t in sizes:
        feeds = {}
        for info in made.graph.input:
            dims = info.type.tensor_type.shape.dim
            shape = [d.dim_value or {"N": n, "T": t, "S": 2 * t}[d.dim_param] for d in dims]
            integer = info.type.tensor_type.elem_type != TensorProto.FLOAT
            dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            feeds[info.name] = RNG.integers(0, ids, shape).astype(dtype) if integer else numbers(*shape)
            if info.name == "lengths":
                feeds[info.name] = np.array([t, *RNG.integers(1, t + 1, n - 1)], dtype)
        expected = onnxruntime_run(made, feeds)
        narrow = {k: v.astype(np.int32) if v.dtype.kind in "iu" else v for k, v in feeds.items()}
        got = converted(**narrow)
        got = list(got) if isinstance(got, tuple | list) else [got]
        for a, b in zip(got, expected, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    return converted
