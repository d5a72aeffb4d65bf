"""Graphs as tf2onnx makes them of Keras models with images, windows and attention, beside onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_files import TensorProto, graph, model, node, numpy_helper
from helpers.onnx_idioms import check, ints, numbers, weights
from lstm_rt_tools.onnx_reader.from_onnx import from_onnx

from lstm_rt.errors import ConvertError

from_array = numpy_helper.from_array

SIZES = ((1, 5), (4, 8))


# -- convolutional lstms -----------------------------------------------------------------------------------------------


def conv_lstm(stride: int, hard: bool, ahead: bool) -> Any:
    """ConvLSTM1D: a Scan whose body convolves, for each gate, the step and h; ``ahead``: the steps before the loop."""
    h, same = 3, {"kernel_shape": [3], "pads": [1, 1]}
    size = 8 if stride == 1 else 2
    of_x = same if stride == 1 else {"kernel_shape": [3], "strides": [stride]}
    body = [node("Transpose", ["h"], ["hc"], perm=[0, 2, 1])]
    body += [] if ahead else [node("Transpose", ["x"], ["xc"], perm=[0, 2, 1])]
    for gate in "ifgo":
        body += (
            [node("Transpose", [f"x{gate}"], [f"a{gate}"], perm=[0, 2, 1])]
            if ahead
            else [node("Conv", ["xc", f"W{gate}"], [f"a{gate}"], **of_x)]
        )
        body += [
            node("Add", [f"a{gate}", f"B{gate}"], [f"b{gate}"]),
            node("Conv", ["hc", f"U{gate}"], [f"u{gate}"], **same),
            node("Add", [f"b{gate}", f"u{gate}"], [f"p{gate}"]),
        ]
        if gate == "g":
            body.append(node("Tanh", ["pg"], ["sg"]))
        elif hard:
            body += [
                node("Mul", [f"p{gate}", "fifth"], [f"m{gate}"]),
                node("Add", [f"m{gate}", "half"], [f"n{gate}"]),
                node("Clip", [f"n{gate}", "zero", "one"], [f"s{gate}"]),
            ]
        else:
            body.append(node("Sigmoid", [f"p{gate}"], [f"s{gate}"]))
        body.append(node("Transpose", [f"s{gate}"], [gate], perm=[0, 2, 1]))
    body += [
        node("Mul", ["f", "c"], ["fc"]), node("Mul", ["i", "g"], ["ig"]), node("Add", ["fc", "ig"], ["cn"]),
        node("Tanh", ["cn"], ["t"]), node("Mul", ["o", "t"], ["hn"]), node("Identity", ["hn"], ["y"]),
    ]  # fmt: skip
    state = ["N", size, h]
    slices = {f"x{g}": ["N", 8, h] for g in "ifgo"} if ahead else {"x": ["N", 8, 2]}
    inner = graph(body, {"h": state, "c": state, **slices}, ["hn", "cn", "y"], name="b")
    first = [
        node("Shape", ["in"], ["shape"]), node("Gather", ["shape", "0i"], ["n"]),
        node("Concat", ["n", "rest"], ["to"], axis=0), node("ConstantOfShape", ["to"], ["begin"]),
        node("Transpose", ["in"], ["xT"], perm=[1, 0, 2, 3]),
    ]  # fmt: skip
    xs = ["xT"]
    if ahead:  # over each step with as many places
        first += [node("MatMul", ["xT", f"V{g}"], [f"x{g}"]) for g in "ifgo"]
        xs = [f"x{g}" for g in "ifgo"]
        inner.input[2].name = "xi"
    made = [
        *first,
        node("Scan", ["begin", "begin", *xs], ["hl", "cl", "ys"], body=inner, num_scan_inputs=len(xs)),
        node("Transpose", ["ys"], ["out"], perm=[1, 0, 2, 3]),
    ]
    stored = {f"W{g}": numbers(h, 2, 3) for g in "ifgo"} | {f"U{g}": numbers(h, h, 3) for g in "ifgo"}
    stored |= {f"B{g}": numbers(h, 1) for g in "ifgo"} | {f"V{g}": numbers(2, h) for g in "ifgo"}
    stored |= {"0i": ints(0), "rest": ints(size, h), "fifth": np.float32(0.2), "half": np.float32(0.5)}
    stored |= {"zero": np.float32(0), "one": np.float32(1)}
    return model(graph(made, {"in": ["N", "T", 8, 2]}, ["out", "hl"], stored))


@pytest.mark.parametrize(("stride", "hard", "ahead"), [(3, True, False), (1, False, True)])
def test_a_convolutional_lstm_in_a_loop(stride: int, hard: bool, ahead: bool, tmp_path: Path) -> None:
    check(conv_lstm(stride, hard, ahead), tmp_path, SIZES)
    (found,) = [n for n in from_onnx(tmp_path / "m.onnx").nodes if n.op == "convlstm"]
    assert max(found.attrs["stride_h"], found.attrs["stride_w"]) == stride


def test_a_loop_that_convolves_a_smaller_state_is_none(tmp_path: Path) -> None:
    """What is convolved without padding, and filled up with zeros, is no convolutional lstm that a graph has."""
    made = conv_lstm(1, hard=False, ahead=False)
    body = next(n for n in made.graph.node if n.op_type == "Scan").attribute[0].g
    body = body if body.node else next(a.g for n in made.graph.node for a in n.attribute if a.g.node)
    for n in body.node:
        if n.input[0] == "hc":
            pads = next(a for a in n.attribute if a.name == "pads")
            pads.ints[:] = [2, 0]
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ConvertError, match="no recurrent cell"):
        from_onnx(path)


# -- windows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (8, 2), (4, 3)])
def test_same_padding_of_any_number_of_steps(size: int, stride: int, tmp_path: Path) -> None:
    """How many zeros stand before the first step depends on how many steps there are."""
    same = {"auto_pad": "SAME_UPPER", "strides": [stride]}
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        node("Conv", ["xt", "w"], ["c"], **same),
        node("MaxPool", ["xt"], ["m"], kernel_shape=[size], **same),
        node("AveragePool", ["xt"], ["a"], kernel_shape=[size], **{**same, "auto_pad": "SAME_LOWER"}),
    ]
    made = model(graph(nodes, {"x": ["N", "T", 3]}, ["c", "m", "a"], {"w": numbers(4, 3, size)}))
    check(made, tmp_path, [(1, 6), (2, 7), (3, 8), (1, 1), (2, 30)])


def test_averages_over_same_padding_that_count_it(tmp_path: Path) -> None:
    counting = {"auto_pad": "SAME_UPPER", "strides": [2], "kernel_shape": [3], "count_include_pad": 1}
    nodes = [node("AveragePool", ["x"], ["y"], **counting)]
    (tmp_path / "m.onnx").write_bytes(model(graph(nodes, {"x": ["N", 3, "T"]}, ["y"])).SerializeToString())
    with pytest.raises(ConvertError, match="averages that count padding"):
        from_onnx(tmp_path / "m.onnx")


def every_few_steps(few: int, size: int) -> Any:
    """A dilated convolution over time as TensorFlow writes it: SpaceToBatchND, a convolution, BatchToSpaceND."""
    reach = few * (size - 1)
    before = reach // 2
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "1"], ["t"]), node("Gather", ["shape", "0"], ["n"]),
        node("Add", ["t", "reach"], ["padded"]), node("Mod", ["padded", "few"], ["over"]),
        node("Sub", ["few", "over"], ["left"]), node("Mod", ["left", "few"], ["extra"]),
        node("Add", ["behind", "extra"], ["after"]),
        node("Concat", ["0", "before", "0", "0", "after", "0"], ["pads"], axis=0), node("Pad", ["x", "pads"], ["p"]),
        node("Add", ["padded", "extra"], ["all"]), node("Div", ["all", "few"], ["l"]),
        node("Concat", ["-1", "l", "few", "three"], ["apart"], axis=0), node("Reshape", ["p", "apart"], ["q"]),
        node("Transpose", ["q"], ["r"], perm=[2, 0, 1, 3]),
        node("Concat", ["-1", "l", "three"], ["flat"], axis=0), node("Reshape", ["r", "flat"], ["s"]),
        node("Transpose", ["s"], ["st"], perm=[0, 2, 1]), node("Conv", ["st", "w"], ["c"]),
        node("Transpose", ["c"], ["ct"], perm=[0, 2, 1]),
        node("Concat", ["few", "n", "-1", "four"], ["back"], axis=0), node("Reshape", ["ct", "back"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[1, 2, 0, 3]),
        node("Concat", ["n", "-1", "four"], ["joined"], axis=0), node("Reshape", ["e", "joined"], ["f"]),
        node("Slice", ["f", "0", "t", "1"], ["y"]),
    ]  # fmt: skip
    named = {"0": 0, "1": 1, "-1": -1, "three": 3, "four": 4, "few": few, "reach": reach, "before": before}
    stored = {name: ints(value) for name, value in {**named, "behind": reach - before}.items()}
    return model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], {**stored, "w": numbers(4, 3, size)}))


@pytest.mark.parametrize(("few", "size"), [(2, 3), (3, 5)])
def test_every_few_steps_as_parts_of_the_batch(few: int, size: int, tmp_path: Path) -> None:
    check(every_few_steps(few, size), tmp_path, [(1, 9), (3, 10), (2, 11), (1, 3)])
    assert [n.op for n in from_onnx(tmp_path / "m.onnx").nodes] == ["conv"]


def test_parts_of_an_image_as_parts_of_the_batch(tmp_path: Path) -> None:
    """The same over places, of which there are as many as there are."""
    nodes = [
        node("Reshape", ["x", "apart"], ["q"]), node("Transpose", ["q"], ["r"], perm=[2, 0, 1, 3]),
        node("Reshape", ["r", "flat"], ["s"]), node("Transpose", ["s"], ["st"], perm=[0, 2, 1]),
        node("Conv", ["st", "w"], ["c"]), node("Reshape", ["c", "back"], ["d"]),
        node("Transpose", ["d"], ["y"], perm=[1, 3, 0, 2]),
    ]  # fmt: skip
    stored = {"apart": ints(-1, 4, 2, 3), "flat": ints(-1, 4, 3), "back": ints(2, -1, 5, 2), "w": numbers(5, 3, 3)}
    check(model(graph(nodes, {"x": ["N", 8, 3]}, ["y"], stored)), tmp_path, [(1, 8), (4, 8)])


@pytest.mark.parametrize("how", ["half_pixel", "asymmetric", "align_corners"])
def test_numbers_between_those_of_an_image(how: str, tmp_path: Path) -> None:
    nodes = [
        node("Resize", ["x", "", "twice"], ["y"], mode="linear", coordinate_transformation_mode=how),
        node("Resize", ["x", "", "odd"], ["z"], mode="linear", coordinate_transformation_mode=how),
    ]
    stored = {"twice": np.array([1, 1, 2, 3], np.float32), "odd": np.array([1, 1, 1, 1.5], np.float32)}
    check(model(graph(nodes, {"x": ["N", 3, 4, 6]}, ["y", "z"], stored)), tmp_path, [(1, 1), (4, 1)])


@pytest.mark.parametrize("how", ["half_pixel", "asymmetric"])
def test_numbers_between_those_of_steps(how: str, tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        node("Resize", ["xt", "", "twice"], ["r"], mode="linear", coordinate_transformation_mode=how),
        node("Transpose", ["r"], ["rt"], perm=[2, 0, 1]),
        node("GRU", ["rt", "W", "R", "B"], ["y"], hidden_size=4),
    ]
    stored = {**weights("GRU", 3, 4), "twice": np.array([1, 1, 2], np.float32)}
    check(model(graph(nodes, {"x": ["N", "T", 3]}, ["y"], stored)), tmp_path, [(1, 7), (3, 10)])


def test_places_that_are_no_longer_meant(tmp_path: Path) -> None:
    """``tf_half_pixel_for_nn``, of opsets 11 and 12."""
    nodes = [node("Resize", ["x", "", "twice"], ["y"], coordinate_transformation_mode="tf_half_pixel_for_nn",
                  nearest_mode="floor")]  # fmt: skip
    stored = {"twice": np.array([1, 1, 2, 2], np.float32)}
    nodes[0].input[1] = "roi"
    made = model(graph(nodes, {"x": ["N", 3, 4, 6]}, ["y"], {**stored, "roi": np.zeros(0, np.float32)}), opset=11)
    check(made, tmp_path, [(1, 1), (4, 1)])


@pytest.mark.parametrize("before", [True, False])
def test_a_computed_step_beside_a_sequence(before: bool, tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["v", "one"], ["u"]),
        node("Concat", ["u", "x"] if before else ["x", "const", "u"], ["c"], axis=1),
        node("Transpose", ["c"], ["ct"], perm=[1, 0, 2]),
        node("GRU", ["ct", "W", "R", "B"], ["y"], hidden_size=4),
    ]
    stored = {**weights("GRU", 3, 4), "one": ints(-1, 1, 3)}
    if not before:
        nodes.insert(0, node("Expand", ["row", "shape"], ["const"]))
        nodes[0:0] = [node("Shape", ["v"], ["sv"]), node("Gather", ["sv", "0"], ["n"]),
                      node("Concat", ["n", "ends"], ["shape"], axis=0)]  # fmt: skip
        stored |= {"row": numbers(1, 1, 3), "0": ints(0), "ends": ints(1, 3)}
    check(model(graph(nodes, {"v": ["N", 3], "x": ["N", "T", 3]}, ["y"], stored)), tmp_path, SIZES)


# -- choices by numbers ------------------------------------------------------------------------------------------------


def test_a_choice_by_products(tmp_path: Path) -> None:
    """Keras's elu and gelu: ``(x > 0) * a + (1 - (x > 0)) * b``, and the like of other comparisons."""
    nodes = []
    for k, (op, number) in enumerate((("Greater", "zero"), ("LessOrEqual", "some"))):
        nodes += [
            node(op, ["x", number], [f"c{k}"]), node("Not", [f"c{k}"], [f"n{k}"]),
            node("Cast", [f"c{k}"], [f"a{k}"], to=1), node("Cast", [f"n{k}"], [f"b{k}"], to=1),
            node("Mul", [f"a{k}", "x"], [f"p{k}"]), node("Elu", ["x"], [f"e{k}"]),
            node("Mul", [f"b{k}", f"e{k}"], [f"q{k}"]), node("Add", [f"p{k}", f"q{k}"], [f"y{k}"]),
        ]  # fmt: skip
    stored = {"zero": np.float32(0), "some": np.array([0.5, -0.5, 0], np.float32)}
    check(model(graph(nodes, {"x": ["N", "T", 3]}, ["y0", "y1"], stored)), tmp_path, SIZES)


def test_a_mask_of_each_feature(tmp_path: Path) -> None:
    """Masks beside each other are true for a step where all of them are."""
    nodes = [
        node("Equal", ["ids", "0"], ["pad"]), node("Not", ["pad"], ["own"]), node("Unsqueeze", ["own", "2"], ["u"]),
        node("Gather", ["table", "ids"], ["e"], axis=0), node("Shape", ["e"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["nothing"], value=from_array(np.array([False]))),
        node("Or", ["u", "nothing"], ["wide"]), node("Concat", ["wide", "u"], ["both"], axis=2),
        node("Not", ["both"], ["neither"]), node("Cast", ["neither"], ["f"], to=1),
        node("ReduceSum", ["f", "2"], ["count"], keepdims=0), node("Greater", ["count", "0f"], ["some"]),
        node("Not", ["some"], ["all"]), node("Cast", ["all"], ["m"], to=1), node("Unsqueeze", ["m", "2"], ["mu"]),
        node("Mul", ["e", "mu"], ["me"]), node("ReduceSum", ["me", "1"], ["total"], keepdims=0),
        node("Cast", ["neither"], ["g"], to=1), node("ReduceSum", ["g", "2"], ["y"], keepdims=1),
    ]  # fmt: skip
    stored = {"0": ints(0), "1": ints(1), "2": ints(2), "0f": np.float32(0), "table": numbers(9, 4)}
    inputs = {"ids": (TensorProto.INT64, ["N", "T"])}
    check(model(graph(nodes, inputs, ["total", "y"], stored)), tmp_path, SIZES, ids=3)


# -- layers within steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "direction"), [("LSTM", "bidirectional"), ("GRU", "reverse"), ("RNN", "forward")])
def test_a_layer_over_the_characters_of_each_word(op: str, direction: str, tmp_path: Path) -> None:
    """The batch of the inner layer is rows times words."""
    d = 2 if direction == "bidirectional" else 1
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]), node("Transpose", ["f"], ["ft"], perm=[1, 0, 2]),
        node(op, ["ft", "W", "R", "B"], ["Y", "H"], hidden_size=4, direction=direction),
        node("Transpose", ["H"], ["Ht"], perm=[1, 0, 2]), node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "0", "2"], ["lead"]), node("Concat", ["lead", "-1"], ["back"], axis=0),
        node("Reshape", ["Ht", "back"], ["w"]), node("Transpose", ["w"], ["wt"], perm=[1, 0, 2]),
        node("GRU", ["wt", "W2", "R2", "B2"], ["y"], hidden_size=3),
        node("Transpose", ["Y"], ["Yt"], perm=[2, 0, 1, 3]), node("Concat", ["lead", "each"], ["all"], axis=0),
        node("Reshape", ["Yt", "all"], ["z"]),
    ]  # fmt: skip
    stored = {**weights(op, 3, 4, d), **weights("GRU", 4 * d, 3, tag="2")}
    stored |= {"flat": ints(-1, 5, 3), "each": ints(5, 4 * d), "0": ints(0), "2": ints(2), "-1": ints(-1)}
    check(model(graph(nodes, {"x": ["N", "T", 5, 3]}, ["y", "z"], stored)), tmp_path, SIZES)


def test_a_layer_over_its_own_output(tmp_path: Path) -> None:
    """A forecast: what a layer gives for one step is its next input, a few times."""
    nodes = [node("LSTM", ["x", "W", "R", "B"], ["", "h0", "c0"], hidden_size=4), node("Gather", ["x", "last"], ["i0"])]
    for k in range(3):
        nodes += [
            node("Unsqueeze", [f"i{k}", "0"], [f"u{k}"]),
            node("LSTM", [f"u{k}", "W2", "R2", "B2", "", f"h{k}", f"c{k}"], ["", f"h{k + 1}", f"c{k + 1}"],
                 hidden_size=4),
            node("Squeeze", [f"h{k + 1}", "0"], [f"s{k}"]),
            node("Gemm", [f"s{k}", "M"], [f"i{k + 1}"]),
            node("Unsqueeze", [f"i{k + 1}", "1"], [f"o{k}"]),
        ]  # fmt: skip
    nodes.append(node("Concat", ["o0", "o1", "o2"], ["y"], axis=1))
    stored = {**weights("LSTM", 2, 4), **weights("LSTM", 2, 4, tag="2"), "M": numbers(4, 2), "0": ints(0), "1": ints(1)}
    check(model(graph(nodes, {"x": ["T", "N", 2]}, ["y"], {**stored, "last": np.int64(-1)})), tmp_path, SIZES)


def test_rows_and_steps_that_the_exporter_has_frozen(tmp_path: Path) -> None:
    """A Reshape to 2 rows of 6 steps, where both are said to be free."""
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]), node("MatMul", ["f", "M"], ["g"]), node("Reshape", ["g", "to"], ["r"]),
        node("LSTM", ["r", "W", "R", "B"], ["y"], hidden_size=4),
    ]  # fmt: skip
    stored = {**weights("LSTM", 5, 4), "M": numbers(3, 5), "flat": ints(-1, 3), "to": ints(6, 2, 5)}
    check(model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], stored)), tmp_path, [(2, 6)])
    assert any("batch of 2" in n for n in from_onnx(tmp_path / "m.onnx").meta["notes"])
