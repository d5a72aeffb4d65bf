"""LSTM, GRU and RNN nodes over their whole space of options: as onnxruntime computes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import lstm_rt
from lstm_rt.errors import ConvertError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import (
    TensorProto,
    graph,
    model,
    node,
    numpy_helper,
    onnx,
    onnxruntime_run,
    run,
    source_of,
)
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx
from onnx.reference import ReferenceEvaluator

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
COUNT = {"LSTM": 3, "GRU": 2, "RNN": 1}
#: Activations of onnxruntime that take alpha, and alpha and beta.
ALPHA, BOTH = ("LeakyRelu", "ThresholdedRelu", "Elu"), ("HardSigmoid", "Affine", "ScaledTanh")
BOUNDED = ("Tanh", "Sigmoid", "Softsign", "HardSigmoid")
ALL = (*BOUNDED, *ALPHA, *BOTH, "Relu", "Softplus")


@dataclass
class Case:
    """A model of one recurrent node, and arrays for it."""

    made: Any
    feeds: dict[str, np.ndarray]
    attributes: dict[str, Any]


@st.composite
def activations(draw: st.DrawFn, count: int, bounded: bool) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(BOUNDED if bounded else ALL), min_size=count, max_size=count))
    number = st.floats(0.25, 1.5, width=32)
    alpha = [draw(number) for n in names if n in ALPHA + BOTH]
    beta = [draw(number) for n in names if n in BOTH]
    out: dict[str, Any] = {"activations": names}
    return out | ({"activation_alpha": alpha} if alpha else {}) | ({"activation_beta": beta} if beta else {})


@st.composite
def cases(draw: st.DrawFn, op: str, bounded: bool = False) -> Case:
    """``bounded``: the recurrence does not grow, however many steps it goes."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    directions = draw(st.sampled_from([1, 1, 2]))
    i, h, t, n = (draw(st.integers(1, most)) for most in (4, 5, 6, 3))
    g = GATES[op]
    attributes: dict[str, Any] = {"hidden_size": h}
    attributes["direction"] = "bidirectional" if directions == 2 else draw(st.sampled_from(["forward", "reverse"]))
    if draw(st.booleans()):
        attributes |= draw(activations(COUNT[op] * directions, bounded))
    if draw(st.booleans()):
        attributes["clip"] = draw(st.floats(0.25, 4, width=32))
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if op == "LSTM" and "activations" not in attributes:
        attributes["input_forget"] = draw(st.integers(0, 1))

    def made(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    optional = {
        "B": made(directions, 2 * g * h),
        "sequence_lens": rng.integers(1, t + 1, n).astype(np.int32),
        "initial_h": made(directions, n, h),
        "initial_c": made(directions, n, h),
        "P": made(directions, 3 * h),
    }
    names = list(optional)[: 5 if op == "LSTM" else 3]
    given_ones = {k: v for k, v in optional.items() if k in names and draw(st.booleans())}
    weights = {"W": made(directions, g * h, i), "R": made(directions, g * h, h)}
    weights |= {k: given_ones[k] for k in ("B", "P") if k in given_ones}
    inputs: dict[str, Any] = {"X": ["T", "N", i]}
    for key in given_ones.keys() - weights.keys():
        inputs[key] = (TensorProto.INT32, ["N"]) if key == "sequence_lens" else [directions, "N", h]
    order = ["X", "W", "R", *[k if k in given_ones else "" for k in names]]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    built = model(graph([node(op, order, outputs, **attributes)], inputs, outputs, weights), opset=14)
    feeds = {k: given_ones.get(k, made(t, n, i)) for k in inputs}
    return Case(built, feeds, attributes)


def of_unit_scale(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Recurrences that grow without bound compare nothing, and softplus of onnxruntime overflows in them."""
    assume(all(np.abs(a).max() < 30 for a in arrays))
    return arrays


def close(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("op", GATES)
@settings(
    max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_numbers(op: str, data: st.DataObject, tmp_path: Path) -> None:
    case = data.draw(cases(op))
    expected = of_unit_scale(onnxruntime_run(case.made, case.feeds))
    close(run(source_of(case.made, tmp_path), list(case.feeds.values())), expected)


@pytest.mark.parametrize("op", GATES)
@settings(
    max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_converted(op: str, data: st.DataObject, tmp_path: Path) -> None:
    """The model that is written, too, and it has the names of the file."""
    case = data.draw(cases(op, bounded=True))
    expected = of_unit_scale(onnxruntime_run(case.made, case.feeds))
    path = tmp_path / "m.onnx"
    path.write_bytes(case.made.SerializeToString())
    converted = lstm_rt.Model(from_onnx(path))
    assert [p.name for p in converted.inputs] == list(case.feeds)
    outputs = dict(zip([p.name for p in converted.outputs], converted(**case.feeds), strict=True))
    close([outputs[o.name].reshape(e.shape) for o, e in zip(case.made.graph.output, expected, strict=True)], expected)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_batch_first(op: str, direction: str, tmp_path: Path) -> None:
    """``layout`` 1, which onnxruntime has not, is the same with the axes in another order."""
    rng = np.random.default_rng(0)
    d, g, i, h, t, n = 1 + (direction == "bidirectional"), GATES[op], 3, 4, 5, 2
    weights = {"W": (d, g * h, i), "R": (d, g * h, h), "B": (d, 2 * g * h)}
    stored = {k: rng.standard_normal(s).astype(np.float32) for k, s in weights.items()}
    x, h0 = rng.standard_normal((t, n, i)).astype(np.float32), rng.standard_normal((d, n, h)).astype(np.float32)
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]

    def made(layout: int, **inputs: Any) -> Any:
        call = node(op, ["X", "W", "R", "B", "", "H"], outputs, hidden_size=h, direction=direction, layout=layout)
        return model(graph([call], inputs, outputs, stored), opset=14)

    y, *finals = onnxruntime_run(made(0, X=["T", "N", i], H=[d, "N", h]), {"X": x, "H": h0})
    turned = made(1, X=["N", "T", i], H=["N", d, h])
    got = run(source_of(turned, tmp_path), [x.swapaxes(0, 1), h0.swapaxes(0, 1)])
    close(got, [y.transpose(2, 0, 1, 3), *(f.swapaxes(0, 1) for f in finals)])


LSTM = {"W": np.ones((1, 8, 3), np.float32), "R": np.ones((1, 8, 2), np.float32)}


@pytest.mark.parametrize(
    ("attributes", "weights", "inputs", "says"),
    [
        ({"hidden_size": 3}, {}, {}, "hidden_size is 3, R has the shape"),
        ({"direction": "sideways"}, {}, {}, "direction sideways, expected forward"),
        ({"direction": "bidirectional"}, {}, {}, "2 directions and 4 gates"),
        ({}, {"R": np.ones((1, 6, 2), np.float32)}, {}, "do not fit an input"),
        ({}, {"B": np.ones((1, 8), np.float32)}, {}, "B has the shape"),
        ({}, {"P": np.ones((1, 8), np.float32)}, {}, "P has the shape"),
        ({}, {"H": np.ones((2, 2, 2), np.float32)}, {}, "initial_h has the shape"),
        ({}, {"L": np.ones(9, np.int32)}, {}, "sequence_lens has the shape"),
        ({"activations": ["Sigmoid", "Tanh"]}, {}, {}, "2 activations, expected 3"),
        ({"activations": ["Sigmoid", "Tanh", "Cube"]}, {}, {}, "activation Cube is not supported"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, {}, {}, "alpha and beta of the activation Affine are missing"),
        (
            {"activations": ["Sigmoid", "LeakyRelu", "Tanh"], "activation_alpha": [0.0, 0.1, 0.0]},
            {},
            {},
            "activation_alpha has 3 numbers for the 1 that take one",
        ),
        (
            {"input_forget": 1, "activations": ["Relu", "Tanh", "Tanh"]},
            {},
            {},
            "input_forget with the gate activation relu",
        ),
        ({"output_sequence": 1}, {}, {}, "output_sequence of it is not supported"),
        ({}, {"W": None}, {"W": [1, 8, 3]}, "W of LSTM .*depends on the numbers of an input"),
    ],
)
def test_messages(
    attributes: dict[str, Any], weights: dict[str, Any], inputs: dict[str, Any], says: str, tmp_path: Path
) -> None:
    stored = {k: v for k, v in (LSTM | weights).items() if v is not None}
    names = [k if k in stored else "" for k in ("B", "L", "H", "C", "P")]
    call = node("LSTM", ["X", "W", "R", *names], ["Y"], name="/rec/LSTM", **attributes)
    source = source_of(model(graph([call], {"X": [4, 2, 3]} | inputs, ["Y"], stored), opset=14), tmp_path)
    arrays = [np.ones([d if isinstance(d, int) else 2 for d in a.dims], np.float32) for a in source.inputs]
    with pytest.raises(ConvertError, match=says) as error:
        run(source, arrays)
    assert "rec/LSTM" in str(error.value)


def test_weights_made_by_arithmetic(tmp_path: Path) -> None:
    """Slices, concatenations and sums of what is stored are weights as good as stored ones."""
    rng = np.random.default_rng(1)
    parts = {k: rng.standard_normal((1, 4, 3)).astype(np.float32) for k in "ab"}
    parts |= {"r": rng.standard_normal((8, 2)).astype(np.float32), "b": parts["b"]}
    constants = {"s": np.array([0], np.int64), "e": np.array([16], np.int64)}
    constants["x2"] = rng.standard_normal((1, 20)).astype(np.float32)
    nodes = [
        node("Concat", ["a", "b"], ["W"], axis=1),
        node("Unsqueeze", ["r", "s"], ["R"]),
        node("Slice", ["x2", "s", "e", "one"], ["half"]),
        node("Add", ["half", "half"], ["B"]),
        node("LSTM", ["X", "W", "R", "B"], ["Y", "H"], hidden_size=2),
    ]
    made = model(graph(nodes, {"X": ["T", "N", 3]}, ["Y", "H"], parts | constants | {"one": np.array([1], np.int64)}))
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    close(run(source_of(made, tmp_path), [x]), onnxruntime_run(made, {"X": x}))


def test_quantized_weights(tmp_path: Path) -> None:
    """DynamicQuantizeLSTM is the LSTM of its weights in floats; onnxruntime quantizes its inputs too."""
    rng = np.random.default_rng(2)
    stored = {
        "W": rng.integers(-90, 90, (1, 3, 16)).astype(np.int8),
        "R": rng.integers(-90, 90, (1, 4, 16)).astype(np.int8),
        "ws": np.full(1, 0.01, np.float32),
        "wz": np.zeros(1, np.int8),
        "rs": np.full(1, 0.02, np.float32),
        "rz": np.zeros(1, np.int8),
    }
    order = ["X", "W", "R", "", "", "", "", "", "ws", "wz", "rs", "rz"]
    call = node("DynamicQuantizeLSTM", order, ["Y", "H", "C"], hidden_size=4, domain="com.microsoft")
    made = model(graph([call], {"X": ["T", "N", 3]}, ["Y", "H", "C"], stored), com_microsoft=1)
    x = rng.standard_normal((6, 2, 3)).astype(np.float32)
    source = source_of(made, tmp_path)
    got = run(source, [x])
    for a, b in zip(got, onnxruntime_run(made, {"X": x}), strict=True):
        np.testing.assert_allclose(a, b, atol=0.02)
    floats = {k: (stored[k].astype(np.float32) * stored[f"{k.lower()}s"]).transpose(0, 2, 1) for k in "WR"}
    plain = model(graph([node("LSTM", ["X", "W", "R"], ["Y", "H", "C"], hidden_size=4)], {"X": ["T", "N", 3]},
                        ["Y", "H", "C"], floats))  # fmt: skip
    close(got, onnxruntime_run(plain, {"X": x}))
    assert any("dynamic quantization" in n for n in source.notes)


def test_types_of_floats(tmp_path: Path) -> None:
    """float64, float16 and bfloat16 are float32 here, and that is told."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    for code, tolerance in ((TensorProto.DOUBLE, 1e-6), (TensorProto.FLOAT16, 2e-3)):
        dtype = np.dtype(helper_dtype(code))
        stored = {k: rng.standard_normal(s).astype(dtype) for k, s in (("W", (1, 4, 3)), ("R", (1, 4, 4)))}
        made = model(graph([node("RNN", ["X", "W", "R"], ["Y", "H"], hidden_size=4)],
                           {"X": (code, ["T", "N", 3])}, ["Y", "H"], stored))  # fmt: skip
        source = source_of(made, tmp_path)
        (y, h), expected = run(source, [x]), ReferenceEvaluator(made).run(None, {"X": x.astype(dtype)})
        np.testing.assert_allclose(y, expected[0].astype(np.float32), atol=tolerance)
        np.testing.assert_allclose(h, expected[1].astype(np.float32), atol=tolerance)
        assert source.inputs[0].dtype == np.float32
        assert source.notes == [f"numbers of type {KIND[code]} are float32 here"]


KIND = {TensorProto.DOUBLE: "double", TensorProto.FLOAT16: "float16"}


def helper_dtype(code: int) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(code)


def test_bfloat16(tmp_path: Path) -> None:
    halves = np.array([[0x3F80, 0xC000], [0x3E00, 0x0000]], np.uint16)  # 1, -2, 1/8, 0
    stored = onnx.helper.make_tensor("w", TensorProto.BFLOAT16, (2, 2), halves.tobytes(), raw=True)
    g = graph([node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"], ["y"])], {"x": ["N", 2]}, ["y"])
    g.initializer.append(stored)
    source = source_of(model(g), tmp_path)
    (y,) = run(source, [np.array([[1, 2]], np.float32)])
    np.testing.assert_array_equal(y, [[1.25, -2]])
    assert numpy_helper.to_array(stored).astype(np.float32).tolist() == [[1, -2], [0.125, 0]]
