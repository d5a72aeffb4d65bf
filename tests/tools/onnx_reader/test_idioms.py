"""What exporters write around recurrent nodes, converted, beside onnxruntime at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_rt

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, helper, model, node, onnxruntime_run
from helpers.onnx_idioms import check, ints, numbers, weights
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

IDIOMS: dict[str, Callable[[], Any]] = {}


def idiom(make: Callable[[], Any]) -> Callable[[], Any]:
    IDIOMS[make.__name__] = make
    return make


def batch_first(
    op: str, tail: Sequence[Any], outputs: Sequence[str], extra: Mapping[str, np.ndarray], **attributes: Any
) -> Any:
    """Transpose, a recurrent node with outputs Y and H, and what follows."""
    hidden, d = 4, 2 if attributes.get("direction") == "bidirectional" else 1
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node(op, ["xt", "W", "R", "B"], ["Y", "H"], hidden_size=hidden, **attributes),
        *tail,
    ]
    return model(graph(nodes, {"x": ["N", "T", 3]}, outputs, {**weights(op, 3, hidden, d), **extra}), opset=11)


@idiom
def keras_sequences() -> Any:
    """keras2onnx, return_sequences: Squeeze, Transpose, then a Dense as MatMul and Add, softmax by parts."""
    tail = [
        node("Squeeze", ["Y"], ["s"], axes=[1]),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "k"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("ReduceMax", ["a"], ["top"], axes=[-1], keepdims=1),
        node("Sub", ["a", "top"], ["d"]),
        node("Exp", ["d"], ["e"]),
        node("ReduceSum", ["e"], ["total"], axes=[-1], keepdims=1),
        node("Div", ["e", "total"], ["y"]),
    ]
    return batch_first("LSTM", tail, ["y"], {"k": numbers(4, 5), "b": numbers(5)})


@idiom
def keras_last_of_both() -> Any:
    """keras2onnx, Bidirectional without sequences: Y_h, Transpose, Flatten."""
    tail = [node("Transpose", ["H"], ["t"], perm=[1, 0, 2]), node("Flatten", ["t"], ["f"], axis=1),
            node("MatMul", ["f", "k"], ["y"])]  # fmt: skip
    return batch_first("GRU", tail, ["y"], {"k": numbers(8, 2)}, direction="bidirectional", linear_before_reset=1)


@idiom
def keras_both_by_split() -> Any:
    """Bidirectional with sequences: the directions split and joined behind each other."""
    tail = [
        node("Transpose", ["Y"], ["t"], perm=[2, 0, 1, 3]),
        node("Split", ["t"], ["f", "b"], axis=2),
        node("Squeeze", ["f"], ["f2"], axes=[2]),
        node("Squeeze", ["b"], ["b2"], axes=[2]),
        node("Concat", ["f2", "b2"], ["y"], axis=-1),
    ]
    return batch_first("LSTM", tail, ["y"], {}, direction="bidirectional")


@idiom
def keras_dense_over_sequences() -> Any:
    """tf2onnx, a Dense over steps as a product of rows: shapes taken apart and put together."""
    tail = [
        node("Squeeze", ["Y"], ["s"], axes=[1]),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("Shape", ["t"], ["shape"]),
        node("Cast", ["shape"], ["shape32"], to=TensorProto.INT32),
        node("Gather", ["shape32", "first"], ["outer"]),
        node("Reshape", ["t", "rows"], ["flat"]),
        node("MatMul", ["flat", "k"], ["m"]),
        node("Concat", ["outer", "five"], ["back32"], axis=0),
        node("Cast", ["back32"], ["back"], to=TensorProto.INT64),
        node("Reshape", ["m", "back"], ["r"]),
        node("Add", ["r", "b"], ["a"]),
        node("Tanh", ["a"], ["y"]),
    ]
    extra = {"first": ints(0, 1), "rows": ints(-1, 4), "five": np.array([5], np.int32)}
    extra |= {"k": numbers(4, 5), "b": numbers(5)}
    return batch_first("LSTM", tail, ["y"], extra)


@idiom
def states_of_zeros() -> Any:
    """tf2onnx: initial states filled by the batch that Shape tells; the last step by a slice."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["batch"]),
        node("Concat", ["one", "batch", "four"], ["sizes"], axis=0),
        node("ConstantOfShape", ["sizes"], ["state"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])),
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("LSTM", ["xt", "W", "R", "B", "", "state", "state"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y"], ["s"], axes=[1]),
        node("Slice", ["s", "minus", "big", "zero"], ["last"]),
        node("Squeeze", ["last"], ["y"], axes=[0]),
    ]
    constants = {"zero": ints(0), "one": ints(1), "four": ints(4), "minus": ints(-1), "big": ints((1 << 31) - 1)}
    return model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], {**weights("LSTM", 3, 4), **constants}), opset=11)


@idiom
def learned_state() -> Any:
    """A learned initial state, spread over the batch."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["batch"]),
        node("Concat", ["one", "batch", "four"], ["sizes"], axis=0),
        node("Expand", ["h", "sizes"], ["hs"]),
        node("GRU", ["x", "W", "R", "B", "", "hs"], ["Y", "H"], hidden_size=4, linear_before_reset=1),
    ]
    stored = {**weights("GRU", 3, 4), "one": ints(1), "four": ints(4), "h": numbers(1, 1, 4)}
    return model(graph(nodes, {"x": ["T", "N", 3]}, ["Y", "H"], stored), opset=13)


@idiom
def packed_states() -> Any:
    """States of two layers in one tensor, cut and stacked again."""
    nodes: list[Any] = [node("Split", ["s"], ["h0", "c0", "h1", "c1"], axis=0)]
    x = "x"
    for k in "01":
        nodes += [
            node(
                "LSTM", [x, f"W{k}", f"R{k}", f"B{k}", "", f"h{k}", f"c{k}"], [f"Y{k}", f"H{k}", f"C{k}"], hidden_size=4
            ),
            node("Squeeze", [f"Y{k}"], [f"z{k}"], axes=[1]),
        ]
        x = f"z{k}"
    nodes.append(node("Concat", ["H0", "C0", "H1", "C1"], ["s_out"], axis=0))
    stored = {**weights("LSTM", 3, 4, tag="0"), **weights("LSTM", 4, 4, tag="1")}
    return model(graph(nodes, {"x": ["T", "N", 3], "s": [4, "N", 4]}, ["z1", "s_out"], stored), opset=11)


@idiom
def lengths() -> Any:
    """sequence_lens as an input of the graph."""
    nodes = [node("LSTM", ["x", "W", "R", "B", "lengths"], ["Y", "H"], hidden_size=4, direction="bidirectional"),
             node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]), node("Reshape", ["t", "to"], ["y"])]  # fmt: skip
    stored = {**weights("LSTM", 3, 4, 2), "to": ints(0, 0, -1)}
    inputs: dict[str, Any] = {"x": ["T", "N", 3], "lengths": (TensorProto.INT32, ["N"])}
    return model(graph(nodes, inputs, ["y", "H"], stored), opset=13)


@idiom
def embedding_of_casts() -> Any:
    """Ids as int32, cast and looked up by Gather."""
    nodes = [
        node("Cast", ["ids"], ["i"], to=TensorProto.INT64),
        node("Gather", ["table", "i"], ["e"], axis=0),
        node("Transpose", ["e"], ["xt"], perm=[1, 0, 2]),
        node("RNN", ["xt", "W", "R", "B"], ["Y"], hidden_size=4, activations=["Relu"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Transpose", ["s"], ["y"], perm=[1, 0, 2]),
    ]
    stored = {**weights("RNN", 3, 4), "table": numbers(9, 3), "one": ints(1)}
    return model(graph(nodes, {"ids": (TensorProto.INT32, ["N", "T"])}, ["y"], stored), opset=13)


@idiom
def convolution_of_tensorflow() -> Any:
    """tf2onnx, Conv1D: a dimension added, channels first and last again; causal padding."""
    nodes = [
        node("Unsqueeze", ["x", "three"], ["u"]),
        node("Transpose", ["u"], ["t"], perm=[0, 2, 1, 3]),
        node("Pad", ["t", "pads"], ["p"]),
        node("Conv", ["p", "k", "kb"], ["c"], kernel_shape=[3, 1]),
        node("Relu", ["c"], ["r"]),
        node("Squeeze", ["r", "three"], ["s"]),
        node("Transpose", ["s"], ["xt"], perm=[2, 0, 1]),
        node("LSTM", ["xt", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["z"]),
        node("Transpose", ["z"], ["y"], perm=[1, 0, 2]),
    ]
    stored = {**weights("LSTM", 5, 4), "three": ints(3), "one": ints(1), "k": numbers(5, 3, 3, 1), "kb": numbers(5)}
    stored["pads"] = ints(0, 0, 2, 0, 0, 0, 0, 0)
    return model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], stored), opset=13)


@idiom
def branch_of_shapes() -> Any:
    """TorchScript's squeeze: an If on a size, of which one branch runs."""
    then = graph([node("Squeeze", ["Y", "one"], ["a"])], {}, ["a"], name="then")
    other = graph([node("Identity", ["Y"], ["b"])], {}, ["b"], name="else")
    nodes = [
        node("LSTM", ["x", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Shape", ["Y"], ["shape"]),
        node("Gather", ["shape", "one"], ["size"]),
        node("Equal", ["size", "one"], ["is_one"]),
        node("If", ["is_one"], ["y"], then_branch=then, else_branch=other),
    ]
    return model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], {**weights("LSTM", 3, 4), "one": ints(1)}), opset=13)


@idiom
def function_of_the_file() -> Any:
    """A local function with an attribute that the call gives."""
    body = [node("MatMul", ["a", "k"], ["m"]), node("LeakyRelu", ["m"], ["r"])]
    reference = body[1].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", 1
    function = helper.make_function("me", "Act", ["a", "k"], ["r"], body, [helper.make_opsetid("", 17)], ["slope"])
    nodes = [
        node("LSTM", ["x", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["z"]),
        node("Act", ["z", "k"], ["y"], domain="me", slope=0.25),
    ]
    stored = {**weights("LSTM", 3, 4), "one": ints(1), "k": numbers(4, 2)}
    return model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored), functions=[function], me=1)


@idiom
def cell_of_a_step() -> Any:
    """A cell written out: one step, with its states as inputs and outputs."""
    nodes = [
        node("Gemm", ["x", "W", "b"], ["a"], transB=1),
        node("Gemm", ["h", "R"], ["u"], transB=1),
        node("Add", ["a", "u"], ["g"]),
        node("Split", ["g"], ["gi", "gf", "gg", "go"], axis=1),
        *[node("Sigmoid", [f"g{k}"], [k]) for k in "ifo"],
        node("Tanh", ["gg"], ["cell"]),
        node("Mul", ["f", "c"], ["kept"]),
        node("Mul", ["i", "cell"], ["new"]),
        node("Add", ["kept", "new"], ["c1"]),
        node("Tanh", ["c1"], ["tc"]),
        node("Mul", ["o", "tc"], ["h1"]),
    ]
    stored = {"W": numbers(16, 3), "R": numbers(16, 4), "b": numbers(16)}
    inputs = {"x": ["N", 3], "h": ["N", 4], "c": ["N", 4]}
    return model(graph(nodes, inputs, ["h1", "c1"], stored), opset=11)


@idiom
def additive_attention() -> Any:
    """Scores of steps by two products and tanh, softmax over time, a weighted sum."""
    tail = [
        node("Squeeze", ["Y"], ["s"], axes=[1]),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "k"], ["m"]),
        node("Tanh", ["m"], ["a"]),
        node("MatMul", ["a", "v"], ["e"]),
        node("Transpose", ["e"], ["e2"], perm=[0, 2, 1]),
        node("Softmax", ["e2"], ["w2"], axis=2),
        node("Transpose", ["w2"], ["w"], perm=[0, 2, 1]),
        node("Mul", ["w", "t"], ["p"]),
        node("ReduceSum", ["p"], ["y"], axes=[1], keepdims=0),
    ]
    return batch_first("GRU", tail, ["y"], {"k": numbers(4, 5), "v": numbers(5, 1)})


@idiom
def rnn_as_scan() -> Any:
    """tf2onnx: a SimpleRNN as the body of a Scan, its state filled by the batch that Shape tells."""
    body = graph(
        [
            node("MatMul", ["xt", "W"], ["a"]),
            node("MatMul", ["h", "R"], ["u"]),
            node("Add", ["a", "u"], ["s"]),
            node("Add", ["s", "b"], ["g"]),
            node("Tanh", ["g"], ["h1"]),
            node("Identity", ["h1"], ["y1"]),
        ],
        {"h": ["N", 4], "xt": ["N", 3]},
        ["h1", "y1"],
        name="body",
    )
    nodes = [*state_of_zeros_nodes(), node("Scan", ["h0", "xT"], ["hn", "ys"], body=body, num_scan_inputs=1),
             node("Transpose", ["ys"], ["y"], perm=[1, 0, 2])]  # fmt: skip
    return model(graph(nodes, {"x": ["N", "T", 3]}, ["y", "hn"], scan_weights()), opset=11)


@idiom
def rnn_as_loop() -> Any:
    """The same as a Loop that takes its step out of the sequence."""
    body = graph(
        [
            node("Identity", ["c"], ["c2"]),
            node("Gather", ["xT", "i"], ["xt"], axis=0),
            node("MatMul", ["xt", "W"], ["a"]),
            node("MatMul", ["h", "R"], ["u"]),
            node("Add", ["a", "u"], ["g"]),
            node("Tanh", ["g"], ["h1"]),
            node("Identity", ["h1"], ["y1"]),
        ],
        {"i": (TensorProto.INT64, []), "c": (TensorProto.BOOL, []), "h": ["N", 4]},
        ["c2", "h1", "y1"],
        name="body",
    )
    nodes = [
        *state_of_zeros_nodes(),
        node("Slice", ["shape", "one", "two"], ["steps"]),
        node("Squeeze", ["steps"], ["trips"], axes=[0]),
        node("Loop", ["trips", "", "h0"], ["hn", "ys"], body=body),
        node("Transpose", ["ys"], ["y"], perm=[1, 0, 2]),
    ]
    return model(graph(nodes, {"x": ["N", "T", 3]}, ["y", "hn"], scan_weights()), opset=11)


def state_of_zeros_nodes() -> list[Any]:
    return [
        node("Transpose", ["x"], ["xT"], perm=[1, 0, 2]),
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["batch"]),
        node("Concat", ["batch", "four"], ["sizes"], axis=0),
        node("ConstantOfShape", ["sizes"], ["h0"]),
    ]


def scan_weights() -> dict[str, np.ndarray]:
    stored = {"W": numbers(3, 4), "R": numbers(4, 4), "b": numbers(4)}
    return stored | {"zero": ints(0), "one": ints(1), "two": ints(2), "four": ints(4)}


def test_axes_that_the_file_joins(tmp_path: Path) -> None:
    """An output of rows and steps in one axis has them so in the converted model, too."""
    nodes = [node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4), node("Reshape", ["Y", "to"], ["y"])]
    made = model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], {**weights("GRU", 3, 4), "to": ints(-1, 4)}), opset=13)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    converted = from_onnx(tmp_path / "m.onnx")
    assert "notes" not in converted.meta
    x = numbers(5, 2, 3)
    np.testing.assert_allclose(lstm_rt.Model(converted)(x=x), onnxruntime_run(made, {"x": x})[0], atol=1e-5)


def test_steps_that_the_exporter_fixed(tmp_path: Path) -> None:
    """Dimensions said to be free, and a Reshape to 11 steps: the file runs at those alone."""
    nodes = [node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4), node("Reshape", ["Y", "to"], ["y"])]
    made = model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], {**weights("GRU", 3, 4), "to": ints(11, -1, 4)}), opset=13)
    check(made, tmp_path, [(1, 11), (5, 11)])
    assert any("made for 11 steps" in n for n in from_onnx(tmp_path / "m.onnx").meta["notes"])


@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(name: str, tmp_path: Path) -> None:
    check(IDIOMS[name](), tmp_path)
