"""Attention between sequences with the masks that Keras's exporters write, beside onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, model, node
from helpers.onnx_idioms import check, ints, numbers
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

from lstm_rt.errors import ConvertError

SIZES = ((1, 5), (4, 8))
IDS = {"ids": (TensorProto.INT64, ["N", "T"])}
#: Masks of the keys (``k``) and queries (``q``), as booleans and as numbers, and their opposites.
FIRST = [
    node("Gather", ["table", "ids"], ["x"], axis=0),
    *(node("MatMul", ["x", name.upper()], [name]) for name in "qkv"),
    node("Equal", ["ids", "0"], ["pad"]),
    node("Not", ["pad"], ["own"]),
    node("Unsqueeze", ["own", "2"], ["qm"]),
    node("Unsqueeze", ["own", "1"], ["km"]),
    node("Cast", ["km"], ["kept"], to=1),
    node("Not", ["km"], ["kp"]),
    node("Cast", ["kp"], ["left"], to=1),
]
PRODUCT = [node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), node("MatMul", ["q", "kt"], ["s0"])]
DOT = [*PRODUCT, node("Mul", ["s0", "scale"], ["s"])]
SUMS = [
    node("Unsqueeze", ["q", "2"], ["qu"]),
    node("Unsqueeze", ["k", "1"], ["ku"]),
    node("Add", ["ku", "qu"], ["sum"]),
    node("Tanh", ["sum"], ["tanh"]),
]
WEIGHED = [node("Softmax", ["m"], ["w"], axis=-1), node("MatMul", ["w", "v"], ["y"])]
#: Steps up to each step, of as many as there are.
BEFORE = [
    node("Shape", ["ids"], ["shape"]), node("Gather", ["shape", "1"], ["t"]),
    node("Concat", ["t", "t"], ["tt"], axis=0), node("ConstantOfShape", ["tt"], ["zeros"]),
    node("Add", ["zeros", "one"], ["ones"]),
    node("Trilu", ["ones"], ["lower"], upper=0), node("Cast", ["lower"], ["causal"], to=TensorProto.BOOL),
]  # fmt: skip
PAIRS = [node("And", ["qm", "km"], ["pairs"])]
PENALTY = [
    node("Cast", ["pairs"], ["c"], to=1), node("Sub", ["one", "c"], ["d"]), node("Mul", ["d", "low"], ["e"]),
    node("Add", ["s", "e"], ["m"]),
]  # fmt: skip
MASKS: dict[str, Sequence[Any]] = {
    "queries and keys": [*DOT, *PAIRS, *PENALTY, *WEIGHED],
    "queries, keys and causality": [
        *DOT, *BEFORE, node("And", ["qm", "km"], ["both"]), node("And", ["both", "causal"], ["pairs"]),
        *PENALTY, *WEIGHED,
    ],
    "keys and causality": [*DOT, *BEFORE, node("And", ["km", "causal"], ["pairs"]), *PENALTY, *WEIGHED],
    "taken from scores": [*DOT, node("Mul", ["left", "high"], ["e"]), node("Sub", ["s", "e"], ["m"]), *WEIGHED],
    "a choice by products": [
        *DOT, node("Sub", ["s", "high"], ["f"]), node("Mul", ["left", "f"], ["g"]), node("Mul", ["s", "kept"], ["h"]),
        node("Add", ["g", "h"], ["m"]), *WEIGHED,
    ],
    "filled where there is none": [
        *DOT, *PAIRS, node("Cast", ["pairs"], ["c"], to=1), node("Not", ["pairs"], ["n"]),
        node("Cast", ["n"], ["d"], to=1), node("Mul", ["c", "s"], ["h"]), node("Mul", ["least", "d"], ["e"]),
        node("Add", ["h", "e"], ["m"]), *WEIGHED,
    ],
    "filled by causality": [
        *DOT, *BEFORE, node("Mul", ["lower", "s"], ["h"]), node("Sub", ["one", "lower"], ["d"]),
        node("Mul", ["d", "least"], ["e"]), node("Add", ["h", "e"], ["m"]), *WEIGHED,
    ],
    "keys first": [
        node("Transpose", ["q"], ["qt"], perm=[0, 2, 1]), node("MatMul", ["k", "qt"], ["s0"]),
        node("Mul", ["s0", "scale"], ["s"]), *BEFORE, node("Not", ["causal"], ["after"]),
        node("Cast", ["after"], ["a"], to=1), node("Mul", ["a", "low"], ["e0"]),
        node("Transpose", ["e0"], ["e"], perm=[1, 0]), node("Add", ["s", "e"], ["m"]),
        node("Softmax", ["m"], ["w0"], axis=1), node("Transpose", ["w0"], ["w"], perm=[0, 2, 1]),
        node("MatMul", ["w", "v"], ["y"]),
    ],
    "sums": [
        *SUMS, node("Mul", ["tanh", "weight"], ["tw"]),
        node("ReduceSum", ["tw", "-1"], ["s"], keepdims=0), *PAIRS, *PENALTY, *WEIGHED,
    ],
    "sums by a product": [
        *SUMS, node("MatMul", ["tanh", "column"], ["s4"]), node("Squeeze", ["s4", "-1"], ["m"]), *WEIGHED,
    ],
    "sums without weights": [
        *SUMS, node("ReduceSum", ["tanh", "-1"], ["m"], keepdims=0), *WEIGHED,
    ],
}  # fmt: skip


def attention(nodes: Sequence[Any]) -> Any:
    stored = {"table": numbers(9, 4), **{name: numbers(4, 4) for name in "QKV"}, "weight": numbers(4)}
    stored |= {"0": ints(0), "1": ints(1), "2": ints(2), "-1": ints(-1), "column": numbers(4, 1)}
    floats = {"scale": 0.7, "one": 1.0, "low": -1e9, "high": 1e9, "least": -2e38, "small": -1e5}
    stored |= {name: np.float32(value) for name, value in floats.items()}
    return model(graph([*FIRST, *nodes], IDS, ["y"], stored))


@pytest.mark.parametrize("name", MASKS)
def test_attention_of_a_sequence_to_itself(name: str, tmp_path: Path) -> None:
    check(attention(MASKS[name]), tmp_path, SIZES, ids=3)
    assert "attention" in [n.op for n in from_onnx(tmp_path / "m.onnx").nodes]


REFUSED = {
    "queries that lose some weight": (
        [*DOT, *PAIRS, node("Cast", ["pairs"], ["c"], to=1), node("Sub", ["one", "c"], ["d"]),
         node("Mul", ["d", "small"], ["e"]), node("Add", ["s", "e"], ["m"]), *WEIGHED],
        "a mask of queries, or of keys before them",
    ),
    "what is 0 and not filled": ([*DOT, node("Mul", ["s", "kept"], ["m"]), *WEIGHED], "softmax of such scores"),
    "steps behind alone": (
        [*DOT, *BEFORE, node("Trilu", ["ones"], ["upper"], upper=1), node("Sub", ["one", "upper"], ["d"]),
         node("Mul", ["d", "low"], ["e"]), node("Add", ["s", "e"], ["m"]), *WEIGHED],
        "attention to the steps behind alone",
    ),
    "sums without tanh": (
        [*SUMS, node("Relu", ["sum"], ["relu"]), node("ReduceSum", ["relu", "-1"], ["m"], keepdims=0), *WEIGHED],
        "two time axes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_such_attention(name: str, tmp_path: Path) -> None:
    nodes, why = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(attention(nodes).SerializeToString())
    with pytest.raises(ConvertError, match=why):
        from_onnx(tmp_path / "m.onnx")
