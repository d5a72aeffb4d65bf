"""Graphs as keras2onnx made them, of opsets 7 to 11, built by hand and run beside onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, model, node
from helpers.onnx_idioms import check, ints, numbers, weights
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

import lstm_rt

SIZES = ((1, 5), (4, 8))
HARD = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [0.2], "activation_beta": [0.5]}


def cut(source: str, start: int, made: str, opset: int) -> list[Any]:
    """One size of a shape."""
    if opset < 10:
        return [node("Slice", [source], [made], starts=[start], ends=[start + 1], axes=[0])]
    return [node("Slice", [source, str(start), str(start + 1), "0"], [made])]


def layer(op: str, sequence: bool, opset: int, steps: int | None = None, states: bool = False) -> Any:
    """A layer in one direction; ``steps``: of a model that fixes them."""
    initial = ["", "h0", *(["c0"] if op == "LSTM" else [])] if states else []
    outputs = ["Y", "H", "C"] if op == "LSTM" else ["Y", "H"]
    options = HARD if op == "LSTM" else {"linear_before_reset": 1}
    nodes = [
        *(node("Reshape", [name, "state"], [f"{name}0"]) for name in ("h", "c")[: len(initial[1:])]),
        node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        node(op, ["X", "W", "R", "B", *initial], outputs, hidden_size=4, direction="forward", **options),
    ]
    if not sequence:
        nodes.append(node("Reshape", ["H", "flat"], ["y"]))
    elif op == "GRU" or steps:
        nodes += [node("Transpose", ["Y"], ["Yt"], perm=[2, 0, 1, 3]), node("Reshape", ["Yt", "whole"], ["y"])]
    else:
        nodes += [
            node("Transpose", ["Y"], ["Yt"], perm=[2, 0, 1, 3]), node("Shape", ["x"], ["shape"]),
            *cut("shape", 1, "t", opset), node("Concat", ["-1", "t", "h"], ["to"], axis=0),
            node("Reshape", ["Yt", "to"], ["r"]), node("Identity", ["r"], ["y"]),
        ]  # fmt: skip
    if states and op == "LSTM":
        nodes += [node("Reshape", [s, "flat"], [f"{s}n"]) for s in "HC"]
    stored = {**weights(op, 3, 4), "flat": ints(-1, 4), "whole": ints(-1, steps or 0, 4), "state": ints(1, -1, 4)}
    stored |= {"-1": ints(-1), "h": ints(4), **{str(n): ints(n) for n in range(4)}}
    inputs = {"x": ["N", steps or "T", 3], **({name: ["N", 4] for name in "hc"[: len(initial) - 1]} if states else {})}
    names = ["y", *(["Hn", "Cn"] if states and op == "LSTM" else [])]
    stored = {("hidden" if name == "h" and states else name): a for name, a in stored.items()}
    for n in nodes:
        if n.op_type == "Concat" and states:
            n.input[2] = "hidden"
    return model(graph(nodes, inputs, names, stored), opset=opset)


@pytest.mark.parametrize("opset", [7, 11])
@pytest.mark.parametrize(
    ("op", "sequence", "steps", "states"),
    [("LSTM", True, None, False), ("LSTM", True, 6, False), ("LSTM", False, None, True), ("GRU", True, None, False)],
)
def test_a_layer(op: str, sequence: bool, steps: int | None, states: bool, opset: int, tmp_path: Path) -> None:
    sizes = [(n, steps or t) for n, t in SIZES]
    check(layer(op, sequence, opset, steps, states), tmp_path, sizes)


def both_ways(merge: str, sequence: bool, opset: int) -> Any:
    """Bidirectional: by concatenation, or as two outputs."""
    nodes = [
        node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        node("LSTM", ["X", "W", "R", "B"], ["Y", "H", "C"], hidden_size=4, direction="bidirectional"),
        node("Shape", ["x"], ["shape"]), *cut("shape", 1, "t", opset),
        node("Concat", ["t", "2", "-1", "h"], ["four"], axis=0), node("Reshape", ["Y", "four"], ["Yf"]),
        node("Transpose", ["Yf"], ["Yt"], perm=[2, 0, 1, 3]), node("Transpose", ["H"], ["Ht"], perm=[1, 0, 2]),
        node("Concat", ["-1", "t", "2h" if merge else "h"], ["to"], axis=0),
    ]  # fmt: skip
    names = ["y"] if merge else ["f", "b"]
    if merge and sequence:
        nodes += [node("Reshape", ["Yt", "to"], ["r"]), node("Identity", ["r"], ["y"])]
    elif merge:
        nodes.append(node("Flatten", ["Ht"], ["y"], axis=1))
    else:
        source, axis = ("Yt", 2) if sequence else ("Ht", 1)
        nodes.append(node("Split", [source], ["f1", "b1"], axis=axis))
        nodes += [node("Squeeze", [f"{k}1"], [f"{k}2" if sequence else k], axes=[axis]) for k in "fb"]
        nodes += [node("Reshape", [f"{k}2", "to"], [k]) for k in "fb"] if sequence else []
    stored = {**weights("LSTM", 3, 4, 2), "-1": ints(-1), "h": ints(4), "2h": ints(8)}
    return model(graph(nodes, {"x": ["N", "T", 3]}, names, stored | {str(n): ints(n) for n in range(4)}), opset=opset)


@pytest.mark.parametrize(
    ("merge", "sequence", "opset"), [("concat", True, 7), ("concat", False, 11), ("", True, 11), ("", False, 9)]
)
def test_both_ways(merge: str, sequence: bool, opset: int, tmp_path: Path) -> None:
    check(both_ways(merge, sequence, opset), tmp_path, SIZES)


def embedded(code: int, masked: bool) -> Any:
    """Ids, of floats if the model was made without a word about them, and lengths counted from padding."""
    nodes = [
        node("Reshape", ["ids", "as it is"], ["flat"]), node("Cast", ["flat"], ["cast"], to=TensorProto.INT32),
        node("Gather", ["table", "cast"], ["e"]), node("Transpose", ["e"], ["X"], perm=[1, 0, 2]),
        *([node("Equal", ["cast", "pad"], ["eq"]), node("Not", ["eq"], ["own"]),
           node("Cast", ["own"], ["count"], to=TensorProto.INT32),
           node("ReduceSum", ["count"], ["lens"], axes=[-1], keepdims=0)] if masked else []),
        node("GRU", ["X", "W", "R", "B", *(["lens"] if masked else [])], ["Y"], hidden_size=4),
        node("Transpose", ["Y"], ["Yt"], perm=[2, 0, 1, 3]), node("Reshape", ["Yt", "whole"], ["y"]),
    ]  # fmt: skip
    stored = {**weights("GRU", 3, 4), "table": numbers(9, 3), "whole": ints(-1, 0, 4), "as it is": ints(0, -1)}
    stored |= {"pad": np.array([0], np.int32)}
    return model(graph(nodes, {"ids": (code, ["N", "T"])}, ["y"], stored), opset=11)


def test_ids(tmp_path: Path) -> None:
    check(embedded(TensorProto.INT32, False), tmp_path, SIZES)


def run(made: Any, folder: Path, x: np.ndarray) -> tuple[lstm_rt.Model, np.ndarray]:
    """The converted model, and what onnxruntime gives."""
    import onnxruntime

    (folder / "m.onnx").write_bytes(made.SerializeToString())
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return lstm_rt.Model(from_onnx(folder / "m.onnx")), session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("masked", [False, True])
def test_ids_that_are_floats(masked: bool, tmp_path: Path) -> None:
    """The converted model takes whole numbers, and says so."""
    ids = np.array([[3, 1, 4, 1, 5], [2, 7, 0, 0, 0]], np.float32)
    converted, expected = run(embedded(TensorProto.FLOAT, masked), tmp_path, ids)
    np.testing.assert_allclose(converted(ids.astype(np.int32)), expected, rtol=1e-4, atol=1e-5)
    notes = from_onnx(tmp_path / "m.onnx").meta["notes"]
    assert any("ids holds whole numbers as floats" in n for n in notes)


def test_lengths_counted_from_numbers(tmp_path: Path) -> None:
    """Masking: steps of which all features are one number do not count, and stand at the end."""
    nodes = [
        node("Equal", ["x", "pad"], ["eq"]), node("Not", ["eq"], ["other"]),
        node("Cast", ["other"], ["f"], to=TensorProto.FLOAT), node("ReduceMax", ["f"], ["any"], axes=[-1], keepdims=0),
        node("Cast", ["any"], ["own"], to=TensorProto.BOOL), node("Cast", ["own"], ["count"], to=TensorProto.INT32),
        node("ReduceSum", ["count"], ["lens"], axes=[-1], keepdims=0), node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        node("LSTM", ["X", "W", "R", "B", "lens"], ["", "H"], hidden_size=4), node("Reshape", ["H", "flat"], ["y"]),
    ]  # fmt: skip
    stored = {**weights("LSTM", 3, 4), "pad": np.array([-1.0], np.float32), "flat": ints(-1, 4)}
    x = numbers(3, 7, 3)
    x[1, 4:], x[2, 1:] = -1, -1
    made = model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], stored), opset=11)
    converted, expected = run(made, tmp_path, x)
    np.testing.assert_allclose(converted(x), expected, rtol=1e-4, atol=1e-5)
    assert any("padding, -1 in 'x'" in n for n in from_onnx(tmp_path / "m.onnx").meta["notes"])
