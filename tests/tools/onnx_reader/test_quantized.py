"""Models that onnxruntime has quantized, beside its own runs of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_rt

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import graph, model, node, onnxruntime_run  # noqa: E402
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx  # noqa: E402
from onnxruntime import quantization  # noqa: E402

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32) / 2


def floats() -> Any:
    """A product, an LSTM and a product; an addition and a multiplication between values."""
    nodes = [
        node("MatMul", ["x", "k"], ["m"], name="first"),
        node("Add", ["m", "kb"], ["a"], name="bias"),
        node("Mul", ["a", "a"], ["q"], name="squares"),
        node("LSTM", ["q", "W", "R", "B"], ["Y", "H"], hidden_size=4, name="rec"),
        node("Squeeze", ["H", "zero"], ["h"], name="last"),
        node("Gemm", ["h", "l", "lb"], ["y"], transB=1, name="out"),
    ]
    stored = {
        "k": numbers(3, 5),
        "kb": numbers(5),
        "l": numbers(2, 4),
        "lb": numbers(2),
        "zero": np.array([0], np.int64),
    }
    stored |= {"W": numbers(1, 16, 5), "R": numbers(1, 16, 4), "B": numbers(1, 32)}
    made = model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored), opset=17)
    made.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["N", 2]))
    return made


class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Inputs for the ranges."""

    def __init__(self) -> None:
        self._left = [{"x": numbers(7, 3, 3)} for _ in range(4)]

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


def dynamic(source: str, target: str) -> None:
    quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType.QInt8)


def pairs(source: str, target: str) -> None:
    quantization.quantize_static(source, target, Samples(), quant_format=quantization.QuantFormat.QDQ)


def operators(source: str, target: str) -> None:
    quantization.quantize_static(source, target, Samples(), quant_format=quantization.QuantFormat.QOperator)


@pytest.mark.parametrize(
    ("how", "expected", "told"),
    [
        (dynamic, {"DynamicQuantizeLSTM", "DynamicQuantizeLinear", "MatMulInteger"}, "stay floats"),
        (pairs, {"QuantizeLinear", "DequantizeLinear"}, "goes up from halves"),
        (operators, {"QGemm", "QLinearMatMul", "QLinearMul"}, "goes up from halves"),
    ],
)
def test_quantized(how: Callable[[str, str], None], expected: set[str], told: str, tmp_path: Path) -> None:
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    source.write_bytes(floats().SerializeToString())
    how(str(source), str(target))
    made = onnx.load(target)
    assert expected <= {n.op_type for n in made.graph.node}
    graph_of_it = from_onnx(target)
    assert any(told in n for n in graph_of_it.meta["notes"])
    converted = lstm_rt.Model(graph_of_it)
    for n, t in ((1, 7), (5, 12)):
        x = numbers(t, n, 3)
        (theirs,) = onnxruntime_run(made, {"x": x})
        (full,) = onnxruntime_run(floats(), {"x": x})
        ours = converted(x=x)
        np.testing.assert_allclose(ours, theirs, atol=0.03)
        assert np.abs(ours - theirs).mean() <= np.abs(full - theirs).mean() + 0.005
