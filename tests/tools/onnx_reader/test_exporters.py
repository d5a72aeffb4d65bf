"""What the exporters of PyTorch and TensorFlow write where a model sorts, masks or attends, beside onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, model, node
from helpers.onnx_idioms import check, ints, numbers, weights
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

from lstm_rt.errors import ConvertError

IDS = (TensorProto.INT64, ["N", "T"])
LENGTHS = (TensorProto.INT64, ["N"])


def notes(folder: Path) -> str:
    return "\n".join(from_onnx(folder / "m.onnx").meta.get("notes", []))


# -- PyTorch ------------------------------------------------------------------------------------------------


def test_features_cut_in_two_ways(tmp_path: Path) -> None:
    """Both directions side by side, as a Reshape joins them, plus features of one piece."""
    nodes = [
        node("LSTM", ["x", "W", "R", "B"], ["Y"], hidden_size=4, direction="bidirectional"),
        node("Transpose", ["Y"], ["Yt"], perm=[0, 2, 1, 3]),
        node("Reshape", ["Yt", "to"], ["both"]),
        node("MatMul", ["x", "M"], ["z"]),
        node("Add", ["both", "z"], ["y"]),
    ]
    stored = {**weights("LSTM", 3, 4, 2), "to": ints(0, 0, -1), "M": numbers(3, 8)}
    check(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path)


def attention(mask: Sequence[Any]) -> Any:
    """MultiheadAttention of two heads: a Reshape to the 9 steps that the exporter saw, heads beside the batch."""
    nodes = [
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["o"]),
        *(node("MatMul", ["o", w], [w.lower()]) for w in ("Q", "K", "V")),
        node("Shape", ["o"], ["shape"]),
        node("Gather", ["shape", "one"], ["n"]),
        node("Mul", ["n", "two"], ["rows"]),
        node("Concat", ["nine", "rows", "two"], ["to"], axis=0),
        *(node("Reshape", [w, "to"], [f"{w}h"]) for w in "qkv"),
        node("Transpose", ["qh"], ["qt"], perm=[1, 0, 2]),
        node("Transpose", ["kh"], ["kt"], perm=[1, 2, 0]),
        node("Transpose", ["vh"], ["vt"], perm=[1, 0, 2]),
        node("MatMul", ["qt", "kt"], ["s"]),
        *(mask or [node("Identity", ["s"], ["sm"])]),
        node("Softmax", ["sm"], ["w"], axis=-1),
        node("MatMul", ["w", "vt"], ["c"]),
        node("Transpose", ["c"], ["ct"], perm=[1, 0, 2]),
        node("Reshape", ["ct", "whole"], ["a"]),
        node("Add", ["o", "a"], ["y"]),
    ]
    stored = {
        **weights("GRU", 3, 4),
        **{w: numbers(4, 4) for w in "QKV"},
        **{"one": ints(1), "two": ints(2), "nine": ints(9), "whole": ints(9, -1, 4)},
    }
    inputs = {"x": ["T", "N", 3], **({"ids": IDS} if mask else {})}
    return model(graph(nodes, inputs, ["y"], stored | {"0": ints(0), "empty": ints(2, 3), "heads": ints(1, 2, 1, 1)}))


def test_attention_over_as_many_steps_as_the_exporter_saw(tmp_path: Path) -> None:
    check(attention([]), tmp_path, [(1, 9), (5, 9)])
    assert "made for 9 steps" in notes(tmp_path)


def test_attention_that_leaves_padding_out(tmp_path: Path) -> None:
    """The mask as numbers, 0 or minus infinity, times 1, for each head."""
    mask = [
        node("Equal", ["ids", "0"], ["pad"]),
        node("Shape", ["pad"], ["pads"]),
        node("ConstantOfShape", ["pads"], ["nothing"]),
        node("Constant", [], ["inf"], value_float=-np.inf),
        node("Where", ["pad", "inf", "nothing"], ["m"]),
        node("Unsqueeze", ["m", "12"], ["mu"]),
        node("Expand", ["mu", "heads"], ["mh"]),
        node("Concat", ["rows", "one", "nine"], ["mto"], axis=0),
        node("Reshape", ["mh", "mto"], ["mr"]),
        node("Constant", [], ["1f"], value_float=1.0),
        node("Mul", ["mr", "1f"], ["m1"]),
        node("Add", ["s", "m1"], ["sm"]),
    ]
    made = attention(mask)
    made.graph.initializer.append(graph([], {}, [], {"12": ints(1, 2)}).initializer[0])
    check(made, tmp_path, [(1, 9), (5, 9), (7, 9)], ids=3)


def test_steps_split_one_by_one(tmp_path: Path) -> None:
    """A loop over what ``x.split(1, 1)`` gives: the exporter writes the nine steps that it saw."""
    nodes = [node("Split", ["x", "ones"], [f"x{t}" for t in range(9)], axis=1)]
    for t in range(9):
        nodes += [
            node("Squeeze", [f"x{t}", "one"], [f"s{t}"]),
            node("Gemm", [f"s{t}", "W", "b"], [f"i{t}"]),
            node("MatMul", [f"h{t - 1}" if t else "begin", "R"], [f"r{t}"]),
            node("Add", [f"i{t}", f"r{t}"], [f"g{t}"]),
            node("Tanh", [f"g{t}"], [f"h{t}"]),
            node("Unsqueeze", [f"h{t}", "one"], [f"u{t}"]),
        ]
    nodes.append(node("Concat", [f"u{t}" for t in range(9)], ["y"], axis=1))
    stored = {"W": numbers(3, 4), "R": numbers(4, 4), "b": numbers(4), "begin": np.zeros((1, 4), np.float32)}
    stored |= {"ones": ints(*[1] * 9), "one": ints(1)}
    check(model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], stored)), tmp_path, [(1, 9), (5, 9)])
    assert "made for 9 steps" in notes(tmp_path)


def test_a_pool_over_as_many_steps_as_the_exporter_saw(tmp_path: Path) -> None:
    """``max_pool1d(y, y.shape[2]).squeeze(2)``."""
    branches = [graph([node(*what)], {}, [what[2][0]], name="b") for what in
                (("Squeeze", ["p", "two"], ["sq"]), ("Identity", ["p"], ["same"]))]  # fmt: skip
    nodes = [
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["o"]),
        node("Transpose", ["o"], ["ot"], perm=[1, 2, 0]),
        node("MaxPool", ["ot"], ["p"], kernel_shape=[9], strides=[9]),
        node("Shape", ["p"], ["shape"]),
        node("Gather", ["shape", "two"], ["left"]),
        node("Equal", ["left", "one"], ["single"]),
        node("If", ["single"], ["q"], then_branch=branches[0], else_branch=branches[1]),
        node("Gemm", ["q", "M"], ["y"]),
    ]
    stored = {**weights("GRU", 3, 4), "M": numbers(4, 2), "one": ints(1), "two": ints(2)}
    check(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path, [(1, 9), (5, 9)])
    assert "made for 9 steps" in notes(tmp_path)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pools_of_parts_of_each_row(kind: str, tmp_path: Path) -> None:
    """Two microphones, say, of which the batch is made."""
    nodes = [
        node("Reshape", ["x", "apart"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        node("Shape", ["t"], ["shape"]),
        node("Gather", ["shape", "last"], ["steps"]),
        node("Concat", ["rows", "steps"], ["as_rows"], axis=0),
        node("Reshape", ["t", "as_rows"], ["r"]),
        node(kind, ["r"], ["p"], kernel_shape=[3], strides=[1], pads=[1, 1]),
        node("Concat", ["back", "steps"], ["as_parts"], axis=0),
        node("Reshape", ["p", "as_parts"], ["q"]),
        node("Transpose", ["q"], ["s"], perm=[2, 0, 1]),
        node("GRU", ["s", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["y"]),
    ]
    stored = {
        **weights("GRU", 6, 4),
        "apart": ints(0, 0, 2, 3),
        "last": ints(3),
        "rows": ints(-1, 3),
        "back": ints(-1, 6),
    }
    check(model(graph(nodes, {"x": ["N", "T", 6]}, ["y"], stored | {"one": ints(1)})), tmp_path)


def sorted_rows(back: str, given: bool = False) -> Any:
    """pack_padded_sequence with ``enforce_sorted=False``: rows and states in the order of lengths, and back.

    ``given``: the states are the caller's.
    """
    nodes = [
        node("Shape", ["lengths"], ["count"]),
        node("TopK", ["lengths", "count"], ["sorted", "order"], axis=-1),
        node("Gather", ["x", "order"], ["xs"], axis=0),
        node("Transpose", ["xs"], ["xt"], perm=[1, 0, 2]),
        node("Cast", ["sorted"], ["lens"], to=TensorProto.INT32),
        node("Squeeze", ["count"], ["n"]),
        node("Range", ["0", "n", "1"], ["range"]),
        node("ConstantOfShape", ["count"], ["empty"], value=graph([], {}, [], {"v": ints(0)}).initializer[0]),
        node("ScatterElements", ["empty", "order", "range"], ["back"], axis=0),
        node("Concat", ["axis", "count", "four"], ["states"], axis=0),
        node("ConstantOfShape", ["states"], ["zeros"]),
        node("Gather", ["s0" if given else "zeros", "order"], ["h0"], axis=1),
        node("GRU", ["xt", "W", "R", "B", "lens", "h0"], ["Y", "h"], hidden_size=4),
        node("Squeeze", ["Y", "axis"], ["o"]),
        node("Transpose", ["o"], ["ot"], perm=[1, 0, 2]),
        node("Gather", ["ot", back], ["y"], axis=0),
        node("Gather", ["sorted", back], ["own"], axis=0),
        node("Unsqueeze", ["own", "axis"], ["column"]),
        node("Cast", ["column"], ["divisor"], to=TensorProto.FLOAT),
        node("ReduceSum", ["y", "axis"], ["sum"], keepdims=0),
        node("Div", ["sum", "divisor"], ["mean"]),
        node("Gather", ["h", back], ["h_n"], axis=1),
    ]
    states = {"s0": [1, "N", 4]} if given else {}
    stored = {**weights("GRU", 3, 4), "0": np.array(0, np.int64), "1": np.array(1, np.int64)}
    stored |= {"axis": ints(1), "four": ints(4)}
    return model(graph(nodes, {"x": ["N", "T", 3], "lengths": LENGTHS, **states}, ["y", "mean", "h_n"], stored))


@pytest.mark.parametrize("given", [False, True])
def test_rows_sorted_by_their_lengths(given: bool, tmp_path: Path) -> None:
    check(sorted_rows("back", given), tmp_path)


def test_rows_that_are_not_put_back(tmp_path: Path) -> None:
    """The way there once more is the way back of some orders only."""
    (tmp_path / "m.onnx").write_bytes(sorted_rows("order").SerializeToString())
    with pytest.raises(ConvertError, match="differs from the file's"):
        from_onnx(tmp_path / "m.onnx")


def test_sorting_of_features(tmp_path: Path) -> None:
    made = model(graph([node("TopK", ["x", "k"], ["y", "i"])], {"x": ["N", 5]}, ["y"], {"k": ints(3)}))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ConvertError, match="the largest 3 of numbers that depend on the inputs"):
        from_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("less", [1, 2])
def test_last_steps_by_their_places_among_all(less: int, tmp_path: Path) -> None:
    """``y[arange(N), lengths - 1]``; of lengths - 2 there is no word in a graph."""
    nodes = [
        node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=4, layout=1),
        node("Squeeze", ["Y", "two"], ["o"]),
        node("Shape", ["o"], ["shape"]),
        node("Gather", ["shape", "0"], ["n"]),
        node("Range", ["0", "n", "1"], ["rows"]),
        node("Gather", ["shape", "one"], ["steps"]),
        node("Mul", ["rows", "steps"], ["before"]),
        node("Sub", ["lengths", "less"], ["last"]),
        node("Add", ["last", "before"], ["at"]),
        node("Reshape", ["o", "flat"], ["all"]),
        node("Gather", ["all", "at"], ["y"], axis=0),
    ]
    stored = {**weights("GRU", 3, 4), "0": np.array(0, np.int64), "1": np.array(1, np.int64), "one": ints(1)}
    stored |= {"less": ints(less), "two": ints(2), "flat": ints(-1, 4)}
    made = model(graph(nodes, {"x": ["N", "T", 3], "lengths": LENGTHS}, ["y"], stored))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    if less == 2:
        with pytest.raises(ConvertError, match="places that depend on the inputs"):
            from_onnx(tmp_path / "m.onnx")
        return
    made.graph.node[0].attribute.remove(next(a for a in made.graph.node[0].attribute if a.name == "layout"))
    made.graph.node[0].input[0] = "xt"  # onnxruntime has no layout
    made.graph.node.insert(0, node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]))
    made.graph.node[1].output[0] = "Yf"
    made.graph.node.insert(2, node("Transpose", ["Yf"], ["Y"], perm=[2, 0, 1, 3]))
    check(made, tmp_path)


def test_last_steps_by_row_and_step(tmp_path: Path) -> None:
    """The same of the newer exporter: pairs of a row and a step."""
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("GRU", ["xt", "W", "R", "B"], ["Y"], hidden_size=4),
        node("Squeeze", ["Y", "one"], ["o"]),
        node("Transpose", ["o"], ["ot"], perm=[1, 0, 2]),
        node("Shape", ["ot"], ["shape"]),
        node("Gather", ["shape", "0"], ["n"]),
        node("Range", ["0", "n", "1"], ["rows"]),
        node("Sub", ["lengths", "1"], ["last"]),
        node("Unsqueeze", ["rows", "one"], ["r"]),
        node("Unsqueeze", ["last", "one"], ["l"]),
        node("Concat", ["r", "l"], ["pairs"], axis=-1),
        node("GatherND", ["ot", "pairs"], ["y"]),
    ]
    stored = {**weights("GRU", 3, 4), "0": np.array(0, np.int64), "1": np.array(1, np.int64), "one": ints(1)}
    check(model(graph(nodes, {"x": ["N", "T", 3], "lengths": LENGTHS}, ["y"], stored)), tmp_path)


@pytest.mark.parametrize("index", [0, -1])
def test_the_only_step_that_is_there(index: int, tmp_path: Path) -> None:
    """A cell written out after strides that leave one step of usual inputs: of longer ones the first, or the last."""
    nodes = [
        node("Conv", ["x", "K"], ["c"], strides=[32]),
        node("Gather", ["c", "at"], ["s"], axis=2),
        node("Gemm", ["s", "W", "b"], ["i"]),
        node("MatMul", ["h", "R"], ["r"]),
        node("Add", ["i", "r"], ["g"]),
        node("Tanh", ["g"], ["y"]),
    ]
    stored = {"K": numbers(3, 2, 200), "at": np.array(index, np.int64), "W": numbers(3, 4), "R": numbers(4, 4)}
    made = model(graph(nodes, {"x": ["N", 2, "T"], "h": ["N", 4]}, ["y"], stored | {"b": numbers(4)}))
    check(made, tmp_path, [(1, 200), (3, 231), (2, 300), (5, 700)])


# -- TensorFlow -----------------------------------------------------------------------------------------------


def masked_loop(kept: str, backward: bool = False, carries: str = "h") -> Any:
    """tf2onnx's While loop of a masked SimpleRNN: its own counter ends it; ``kept`` is the result of padding."""
    body = graph(
        [
            node("Add", ["t", "one"], ["t1"]),
            node("Gather", ["xs", "t"], ["xt"], axis=0),
            node("Gather", ["ms", "t"], ["m"], axis=0),
            node("Not", ["m"], ["not"]),
            node("Cast", ["m"], ["there"], to=1),
            node("Cast", ["not"], ["gone"], to=1),
            node("MatMul", ["xt", "W"], ["a"]),
            node("MatMul", ["h", "R"], ["u"]),
            node("Add", ["a", "u"], ["s"]),
            node("Tanh", ["s"], ["new"]),
            node("Mul", ["there", "new"], ["new_there"]),
            node("Mul", ["gone", carries], ["h_gone"]),
            node("Add", ["new_there", "h_gone"], ["h1"]),
            node("Mul", ["there", "new"], ["y_there"]),
            node("Mul", [kept, "gone"], ["y_gone"]),
            node("Add", ["y_there", "y_gone"], ["y1"]),
            node("Identity", ["y1"], ["out"]),
            node("Cast", ["t1"], ["t1f"], to=1),
            node("Cast", ["n"], ["nf"], to=1),
            node("Less", ["t1f", "nf"], ["go"]),
        ],
        {
            "i": (TensorProto.INT64, []),
            "c": (TensorProto.BOOL, []),
            "t": (TensorProto.INT64, []),
            "y": ["N", 4],
            "h": ["N", 4],
            "n": (TensorProto.INT64, []),
        },
        ["go", "t1", "y1", "h1", "n", "out"],
        name="body",
    )
    turn = [
        node("Shape", ["xT"], ["shape"]),
        node("Gather", ["shape", "1"], ["rows"]),
        node("Gather", ["shape", "0"], ["steps"]),
        node("Expand", ["steps", "rowcount"], ["full"]),
        *(node("ReverseSequence", [f"{k}T", "full"], [f"{k}s"], batch_axis=1, time_axis=0) for k in "xm"),
    ] if backward else [node("Identity", [f"{k}T"], [f"{k}s"]) for k in "xm"]  # fmt: skip
    nodes = [
        node("Gather", ["E", "ids"], ["x"], axis=0),
        node("Transpose", ["x"], ["xT"], perm=[1, 0, 2]),
        node("Equal", ["ids", "pad"], ["padding"]),
        node("Not", ["padding"], ["mask"]),
        node("Unsqueeze", ["mask", "last"], ["m3"]),
        node("Transpose", ["m3"], ["mT"], perm=[1, 0, 2]),
        node("Shape", ["xT"], ["sizes"]),
        node("Slice", ["sizes", "p1", "p2"], ["rowcount"]),
        *turn,
        node("Gather", ["sizes", "1z"], ["count"]),
        node("Concat", ["rowcount", "four"], ["hs"], axis=0),
        node("ConstantOfShape", ["hs"], ["h0"]),
        node("Less", ["1z", "count"], ["begin"]),
        node("Loop", ["", "begin", "1z", "h0", "h0", "count"], ["tn", "yn", "hn", "nn", "ys"], body=body),
        node("Transpose", ["ys"], ["y"], perm=[1, 0, 2]),
    ]
    stored = {
        "E": numbers(9, 3),
        "W": numbers(3, 4),
        "R": numbers(4, 4),
        "pad": np.array(0, np.int64),
        "last": ints(-1),
        "one": np.array(1, np.int64),
        "1z": np.array(0, np.int64),
        "0": np.array(0, np.int64),
        "1": np.array(1, np.int64),
        "p1": ints(1),
        "p2": ints(2),
        "four": ints(4),
        "zeros": np.zeros(4, np.float32),
    }
    return model(graph(nodes, {"ids": IDS}, ["y", "hn"], stored), opset=13)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kept", ["y", "zeros"])
def test_a_masked_loop(kept: str, backward: bool, tmp_path: Path) -> None:
    """Steps of padding keep the state; their result is the one before them, or zero."""
    check(masked_loop(kept, backward), tmp_path, ids=3)
    assert "rnn" in [n.op for n in from_onnx(tmp_path / "m.onnx").nodes]


def test_a_loop_whose_padding_changes_its_state(tmp_path: Path) -> None:
    """Padding that sets the state to what the step before gave, and that to zero: no layer does that."""
    (tmp_path / "m.onnx").write_bytes(masked_loop("zeros", carries="y").SerializeToString())
    with pytest.raises(ConvertError):
        from_onnx(tmp_path / "m.onnx")


def test_features_that_are_all_one_number_are_padding(tmp_path: Path) -> None:
    """Keras' Masking: is any feature another number; and the input times that."""
    nodes = [
        node("Gather", ["E", "ids"], ["e"], axis=0),
        node("Equal", ["e", "pad"], ["same"]),
        node("Not", ["same"], ["differ"]),
        node("Cast", ["differ"], ["differf"], to=1),
        node("ReduceSum", ["differf", "last"], ["any"], keepdims=1),
        node("Greater", ["any", "0"], ["mask"]),
        node("Cast", ["mask"], ["maskf"], to=1),
        node("Mul", ["e", "maskf"], ["y"]),
    ]
    table = numbers(5, 3)
    table[2] = 1.5
    table[3, 1] = 1.5
    stored = {"E": table, "pad": np.float32(1.5), "last": ints(-1), "0": np.float32(0)}
    check(model(graph(nodes, {"ids": IDS}, ["y"], stored)), tmp_path, ids=5)


def test_where_each_feature_is_a_number(tmp_path: Path) -> None:
    nodes = [node("Equal", ["x", "c"], ["same"]), node("Cast", ["same"], ["y"], to=1)]
    made = model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], {"c": np.float32(0)}))
    check(made, tmp_path)


def test_ids_that_might_be_counted_from_the_end(tmp_path: Path) -> None:
    """Keras 3: ids below 0 plus the size of the table, written out as products with 0 and 1."""
    nodes = [
        node("Add", ["ids", "size"], ["wrapped"]),
        node("Cast", ["ids"], ["idsf"], to=1),
        node("Less", ["idsf", "0"], ["below"]),
        node("Not", ["below"], ["fine"]),
        node("Cast", ["fine"], ["fine1"], to=TensorProto.INT64),
        node("Cast", ["below"], ["below1"], to=TensorProto.INT64),
        node("Mul", ["ids", "fine1"], ["a"]),
        node("Mul", ["below1", "wrapped"], ["b"]),
        node("Add", ["b", "a"], ["at"]),
        node("Gather", ["E", "at"], ["y"], axis=0),
    ]
    stored = {"E": numbers(5, 3), "size": np.array(5, np.int64), "0": np.float32(0)}
    check(model(graph(nodes, {"ids": IDS}, ["y"], stored)), tmp_path, ids=5)


def test_normalisation_by_statistics_of_the_input(tmp_path: Path) -> None:
    """TensorFlow's layer normalisation: a batch normalisation of (1, rows and steps, features, 1)."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["x", "to"], ["flat"]),
        node("ReduceMean", ["flat"], ["mean"], axes=[0, 2, 3], keepdims=0),
        node("ReduceMean", ["flat"], ["center"], axes=[0, 2, 3], keepdims=1),
        node("Sub", ["flat", "center"], ["d"]),
        node("ReduceSumSquare", ["d"], ["squares"], axes=[0, 2, 3], keepdims=0),
        node("Div", ["squares", "six"], ["var"]),
        node("Shape", ["mean"], ["count"]),
        node("Expand", ["1f", "count"], ["ones"]),
        node("Expand", ["0f", "count"], ["zeros"]),
        node("BatchNormalization", ["flat", "ones", "zeros", "mean", "var"], ["n"], epsilon=1e-3),
        node("Reshape", ["n", "shape"], ["y"]),
    ]
    stored = {"to": ints(1, -1, 6, 1), "six": np.float32(6), "1f": np.float32(1), "0f": np.float32(0)}
    check(model(graph(nodes, {"x": ["N", "T", 6]}, ["y"], stored)), tmp_path)


@pytest.mark.parametrize(("equation", "shape"), [("...x,xy->...y", (6, 4)), ("...x,...x->...", ("N", "T", 6))])
def test_an_equation_with_dots(equation: str, shape: tuple[Any, ...], tmp_path: Path) -> None:
    weight = {"w": numbers(*shape)} if "N" not in shape else {}
    inputs = {"x": ["N", "T", 6]} | ({} if weight else {"w": list(shape)})
    check(model(graph([node("Einsum", ["x", "w"], ["y"], equation=equation)], inputs, ["y"], weight)), tmp_path)


def test_sizes_with_a_name_for_each_input(tmp_path: Path) -> None:
    """tf2onnx names every free size: two inputs of as many rows and steps do not say so."""
    nodes = [
        node("Concat", ["a", "b"], ["x"], axis=2),
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("GRU", ["xt", "W", "R", "B"], ["Y", "h"], hidden_size=4),
        node("Squeeze", ["h", "0"], ["y"]),
    ]
    made = model(graph(nodes, {"a": ["N", "T", 2], "b": ["N", "T", 3]}, ["y"], {**weights("GRU", 5, 4), "0": ints(0)}))
    for k, info in enumerate(made.graph.input):
        for i in range(2):
            info.type.tensor_type.shape.dim[i].dim_param = f"unk__{2 * k + i}"
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    named = from_onnx(tmp_path / "m.onnx")
    axes = {named.values[v].axis for v in named.inputs}
    assert len(axes) == 1
    for info in made.graph.input:
        for i, name in enumerate("NT"):
            info.type.tensor_type.shape.dim[i].dim_param = name
    check(made, tmp_path)


def test_an_empty_part(tmp_path: Path) -> None:
    """``tf.split(x, [4, 4, -1])``, of which nothing is left."""
    nodes = [node("Split", ["x", "sizes"], ["a", "b", "c"], axis=-1), node("Sub", ["a", "b"], ["y"])]
    check(model(graph(nodes, {"x": ["N", "T", 8]}, ["y"], {"sizes": ints(4, 4, 0)})), tmp_path)


def test_a_slice_to_a_number_that_is_no_end(tmp_path: Path) -> None:
    """``x[:, ::-1]`` of TensorFlow: to 1000000000 of the rows, and backwards from there of the steps."""
    stored = {"from": ints(0, 10**9), "to": ints(10**9, -(10**9)), "axes": ints(0, 1), "by": ints(1, -1)}
    made = graph([node("Slice", ["x", "from", "to", "axes", "by"], ["y"])], {"x": ["N", "T", 3]}, ["y"], stored)
    check(model(made), tmp_path)


@pytest.mark.parametrize("third", [False, True])
def test_gates_between_limits(third: bool, tmp_path: Path) -> None:
    """A hard sigmoid: ``max(min(x / 5 + 1 / 2, 1), 0)`` in TensorFlow 2, ``relu6(x + 3) / 6`` in Keras 3."""

    def gate(k: int) -> list[Any]:
        if third:
            return [node("Add", [f"p{k}", "three"], [f"q{k}"]), node("Clip", [f"q{k}", "0f", "six"], [f"r{k}"]),
                    node("Mul", [f"r{k}", "sixth"], [f"g{k}"])]  # fmt: skip
        return [node("Mul", [f"p{k}", "fifth"], [f"q{k}"]), node("Add", [f"q{k}", "half"], [f"s{k}"]),
                node("Min", [f"s{k}", "1f"], [f"r{k}"]), node("Max", [f"r{k}", "0f"], [f"g{k}"])]  # fmt: skip

    body = graph(
        [
            node("MatMul", ["xt", "W"], ["a"]),
            node("Split", ["a"], ["a0", "a1", "a2"], axis=1),
            node("MatMul", ["h", "R"], ["u"]),
            node("Split", ["u"], ["u0", "u1", "u2"], axis=1),
            node("Add", ["a0", "u0"], ["p0"]),
            node("Add", ["a1", "u1"], ["p1"]),
            *gate(0),
            *gate(1),
            node("Mul", ["g1", "u2"], ["ru"]),
            node("Add", ["a2", "ru"], ["pn"]),
            node("Tanh", ["pn"], ["n"]),
            node("Sub", ["1f", "g0"], ["rest"]),
            node("Mul", ["g0", "h"], ["kept"]),
            node("Mul", ["rest", "n"], ["made"]),
            node("Add", ["kept", "made"], ["h1"]),
            node("Identity", ["h1"], ["y1"]),
        ],
        {"h": ["N", 4], "xt": ["N", 3]},
        ["h1", "y1"],
        name="body",
    )
    nodes = [
        node("Transpose", ["x"], ["xT"], perm=[1, 0, 2]),
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["batch"]),
        node("Concat", ["batch", "four"], ["sizes"], axis=0),
        node("ConstantOfShape", ["sizes"], ["h0"]),
        node("Scan", ["h0", "xT"], ["hn", "y"], body=body, num_scan_inputs=1),
    ]
    stored = {"W": 2 * numbers(3, 12), "R": 2 * numbers(4, 12), "zero": ints(0), "one": ints(1), "four": ints(4)}
    stored |= {"0f": np.float32(0), "1f": np.float32(1), "half": np.float32(0.5), "fifth": np.float32(0.2)}
    stored |= {"three": np.float32(3), "six": np.float32(6), "sixth": np.float32(1 / 6)}
    check(model(graph(nodes, {"x": ["N", "T", 3]}, ["y", "hn"], stored), opset=13), tmp_path)
    assert "gru" in [n.op for n in from_onnx(tmp_path / "m.onnx").nodes]


def test_a_file_that_runs_at_all_sizes_and_is_followed_at_one(tmp_path: Path) -> None:
    """A factor that is 1 where the number of steps is odd, else 0: right at one size is not right."""
    nodes = [
        *(node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "2"], ["t"]), node("Mod", ["t", "2"], ["odd"])),
        *(node("Cast", ["odd"], ["factor"], to=TensorProto.FLOAT), node("Mul", ["x", "factor"], ["y"])),
    ]
    made = model(graph(nodes, {"x": ["N", 3, "T"]}, ["y"], {"2": ints(2)}))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ConvertError, match=r"differs from the file's|of the source"):
        from_onnx(tmp_path / "m.onnx")
