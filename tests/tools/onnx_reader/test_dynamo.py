"""What the dynamo exporter of PyTorch leaves in files: sizes that it has fixed, and functions written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, model, node
from helpers.onnx_idioms import check, ints, numbers, weights

LENGTHS = (TensorProto.INT64, ["N"])
GRU = [node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4), node("Squeeze", ["Y", "one"], ["o"])]
STORED = {**weights("GRU", 3, 4), "zero": ints(0), "one": ints(1), "first": np.array(1, np.int64)}


def at_steps(made: object, folder: Path, steps: int) -> str:
    """Compare at the steps that the file is made for; what is said of them."""
    (note,) = check(made, folder, sizes=((1, steps), (5, steps))).info["meta"]["notes"]
    return str(note)


def test_a_quotient_by_the_steps(tmp_path: Path) -> None:
    """``o.reshape(o.size(0) * o.size(1), -1)``: the exporter divides what was there, of 9 steps, by the steps."""
    nodes = [
        *GRU,
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["t"]),
        node("Gather", ["shape", "one"], ["n"]),
        node("Div", ["36", "t"], ["features"]),
        node("Mul", ["n", "t"], ["all"]),
        node("Concat", ["all", "features"], ["to"], axis=0),
        node("Reshape", ["o", "to"], ["flat"]),
        node("Gemm", ["flat", "M"], ["scores"]),
        node("Concat", ["t", "n", "two"], ["back"], axis=0),
        node("Reshape", ["scores", "back"], ["y"]),
    ]
    stored = STORED | {"36": ints(36), "M": numbers(4, 2), "two": ints(2)}
    said = at_steps(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path, 9)
    assert said.startswith("the file is made for 9 steps; the converted model takes any number")


def test_steps_behind_a_convolution(tmp_path: Path) -> None:
    """A reshape to the 10 steps that a convolution has left of 14."""
    nodes = [
        node("Transpose", ["x"], ["xc"], perm=[1, 2, 0]),
        node("Conv", ["xc", "K"], ["c"], kernel_shape=[5]),
        node("Transpose", ["c"], ["ct"], perm=[2, 0, 1]),
        node("GRU", ["ct", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Transpose", ["Y"], ["Yt"], perm=[0, 2, 1, 3]),
        node("Reshape", ["Yt", "to"], ["o"]),
        node("Gather", ["o", "last"], ["y"]),
    ]
    stored = STORED | {"K": numbers(3, 3, 5), "to": ints(10, -1, 4), "last": np.array(-1, np.int64)}
    said = at_steps(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path, 14)
    assert said.startswith("the file is made for 14 steps; the converted model takes any number")


def test_pairs_of_steps(tmp_path: Path) -> None:
    """A pyramid: a reshape that puts the 12 steps side by side two by two, to sizes of its own."""
    nodes = [
        *GRU,
        node("Transpose", ["o"], ["on"], perm=[1, 0, 2]),
        node("Reshape", ["on", "to"], ["pairs"]),
        node("MatMul", ["pairs", "M"], ["y"]),
    ]
    stored = STORED | {"to": ints(-1, 6, 8), "M": numbers(8, 2)}
    said = at_steps(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path, 12)
    assert said == "the model takes 12 steps only, as the file does"


@pytest.mark.parametrize("keep", [0, 1])
def test_the_longest_row(tmp_path: Path, keep: int) -> None:
    """``int(lengths.max())``: numbers up to it are those of all steps."""
    nodes = [
        *GRU,
        node("ReduceMax", ["lengths"], ["longest"], keepdims=keep),
        node("Reshape", ["longest", "one"], ["end"]),
        node("Squeeze", ["end"], ["most"]),
        node("Range", ["none", "most", "first"], ["count"]),
        node("Unsqueeze", ["count", "one"], ["steps"]),
        node("Less", ["steps", "lengths"], ["there"]),
        node("Unsqueeze", ["there", "two"], ["wide"]),
        node("Cast", ["wide"], ["mask"], to=1),
        node("Slice", ["o", "zero", "end", "zero"], ["some"]),
        node("Mul", ["some", "mask"], ["kept"]),
        node("ReduceSum", ["kept", "zero"], ["y"], keepdims=0),
    ]
    stored = STORED | {"none": np.array(0, np.int64), "two": ints(2)}
    check(model(graph(nodes, {"x": ["T", "N", 3], "lengths": LENGTHS}, ["y"], stored)), tmp_path)


def test_softplus_written_out(tmp_path: Path) -> None:
    """Above a threshold it is its input."""
    nodes = [
        *GRU,
        node("Mul", ["o", "many"], ["z"]),
        node("Softplus", ["z"], ["soft"]),
        node("Greater", ["z", "threshold"], ["far"]),
        node("Where", ["far", "z", "soft"], ["y"]),
    ]
    stored = STORED | {"many": np.float32(100), "threshold": np.float32(20)}
    check(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path)


def test_a_decoder_that_reads_what_it_has_said(tmp_path: Path) -> None:
    """The number of the largest score picks the next row of the table, three times."""
    nodes = [*GRU, node("ReduceMean", ["o"], ["h0"], axes=[0], keepdims=0)]
    for k in range(3):
        nodes += [
            node("Gemm", [f"h{k}", "M"], [f"s{k}"]),
            node("ArgMax", [f"s{k}"], [f"a{k}"], axis=1, keepdims=0),
            node("Gather", ["E", f"a{k}"], [f"e{k}"]),
            node("Add", [f"h{k}", f"e{k}"], [f"z{k}"]),
            node("Tanh", [f"z{k}"], [f"h{k + 1}"]),
        ]
    nodes += [node("Concat", ["s0", "s1", "s2"], ["y"], axis=1)]
    made = model(graph(nodes, {"x": ["T", "N", 3]}, ["y", "a2"], STORED | {"M": numbers(4, 5), "E": numbers(5, 4)}))
    made.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    assert check(made, tmp_path).info["meta"]["notes"] == ["output 'a2' holds whole numbers, as float32"]
