"""What stands in a file: numbers of every type and in every place, names, order; and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_rt.errors import ConvertError

onnx = pytest.importorskip("onnx")

from helpers.command_line import fails  # noqa: E402
from helpers.onnx_files import TensorProto, graph, helper, model, node, numpy_helper, run, source_of  # noqa: E402
from lstm_rt_tools import from_onnx  # noqa: E402
from lstm_rt_tools.cli.parser import main  # noqa: E402
from lstm_rt_tools.onnx_reader import proto  # noqa: E402
from lstm_rt_tools.onnx_reader.tensors import KINDS, Tensors  # noqa: E402
from lstm_rt_tools.weights.budget import Budget  # noqa: E402

RNG = np.random.default_rng(0)


def read(stored: Any) -> np.ndarray:
    """A tensor of the onnx package, read by the reader."""
    data = stored.SerializeToString()
    made = model(graph([node("Identity", ["w"], ["y"])], {}, ["y"]))
    made.graph.initializer.append(stored)
    parsed = proto.parse(made.SerializeToString(), Budget(1 << 20))
    assert parsed.graph is not None
    return Tensors(Budget(len(data) + (1 << 20))).array(parsed.graph.initializer[0], "w")


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("code", KINDS)
def test_numbers_of_every_type(code: int, raw: bool) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(code)
    low, high = (0, 2) if code == 9 else (0, 15) if code == 21 else (-8, 7) if code == 22 else (0, 120)
    values = RNG.integers(low, high, (3, 5)) if code not in (1, 10, 11, 16) else RNG.standard_normal((3, 5))
    array = values.astype(dtype)
    stored = numpy_helper.from_array(array, "w")
    if not raw:
        flat = array.astype(np.float64).ravel().tolist() if code in (1, 10, 11, 16) else values.ravel().tolist()
        stored = helper.make_tensor("w", code, (3, 5), flat)
        assert not stored.HasField("raw_data")
    got, expected = read(stored), numpy_helper.to_array(stored)
    assert got.shape == (3, 5)
    np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))


def test_numbers_below_zero_and_large_ones() -> None:
    for code, values in ((7, [-(1 << 63), (1 << 63) - 1, -1, 300]), (6, [-(1 << 31), -1, 5]), (3, [-128, 127]),
                         (13, [(1 << 64) - 1, 0]), (5, [-32768, 32767])):  # fmt: skip
        stored = helper.make_tensor("w", code, (len(values),), values)
        assert read(stored).tolist() == values


def test_many_numbers_of_varying_length() -> None:
    """More than are decoded at once, so that a number may lie across a border."""
    values = RNG.integers(-(1 << 40), 1 << 40, 50_000)
    stored = helper.make_tensor("w", TensorProto.INT64, values.shape, values.tolist())
    np.testing.assert_array_equal(read(stored), values)


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_numbers(flat: bool, tmp_path: Path) -> None:
    dense = np.zeros((3, 4), np.float32)
    dense[0, 1], dense[2, 3] = 5, -2
    at = np.array([1, 11] if flat else [[0, 1], [2, 3]], np.int64)
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.array([5, -2], np.float32), "w"),
                                       numpy_helper.from_array(at, "i"), [3, 4])  # fmt: skip
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    by_attribute = graph([node("Constant", [], ["w"], sparse_value=sparse), node("MatMul", ["x", "w"], ["y"])],
                         {"x": ["N", 3]}, ["y"])  # fmt: skip
    by_initializer = graph([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, ["y"])
    by_initializer.sparse_initializer.append(sparse)
    for g in (by_attribute, by_initializer):
        (y,) = run(source_of(model(g), tmp_path), [x])
        np.testing.assert_allclose(y, x @ dense, rtol=1e-6)


def test_numbers_beside_the_model(tmp_path: Path) -> None:
    weights = {"w": RNG.standard_normal((300, 2)).astype(np.float32), "b": RNG.standard_normal(2).astype(np.float32)}
    g = graph([node("Gemm", ["x", "w", "b"], ["y"])], {"x": ["N", 300]}, ["y"], weights)
    path = tmp_path / "here" / "m.onnx"
    path.parent.mkdir()
    onnx.save(model(g), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = RNG.standard_normal((2, 300)).astype(np.float32)
    (y,) = run(source_of(path.read_bytes(), path.parent), [x])
    np.testing.assert_allclose(y, x @ weights["w"] + weights["b"], rtol=1e-4, atol=1e-4)
    with pytest.raises(ConvertError, match=r"initializer w: its numbers are in w\.bin beside the model: No such file"):
        run(source_of(path.read_bytes(), tmp_path), [x])
    (path.parent / "w.bin").write_bytes(b"short")
    with pytest.raises(ConvertError, match=r"2,400 bytes from 0 on in w\.bin, which has 5"):
        run(source_of(path.read_bytes(), path.parent), [x])


def test_names_order_and_what_is_no_input(tmp_path: Path) -> None:
    """Initializers that are listed among the inputs, as old files do, are none; the order is that of the file."""
    g = graph([node("Sub", ["b", "a"], ["d"]), node("Mul", ["d", "w"], ["e"])],
              {"w": [2], "b": ["N", 2], "a": ["N", 2]}, ["e", "d"], {"w": np.array([2, 3], np.float32)})  # fmt: skip
    source = source_of(model(g, 9), tmp_path)
    assert [(a.name, a.dims) for a in source.inputs] == [("b", ("N", 2)), ("a", ("N", 2))]
    assert list(source.outputs) == ["e", "d"]
    converted = from_onnx(tmp_path / "m.onnx")
    assert [converted.values[i].name for i in converted.inputs] == ["b", "a"]
    assert [converted.values[i].name for i in converted.outputs] == ["e", "d"]


def test_nodes_in_any_order_and_unused_ones(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["a"], ["y"]),
        node("NoSuchThing", ["x"], ["z"], domain="elsewhere"),
        node("Neg", ["x"], ["a"]),
    ]
    source = source_of(model(graph(nodes, {"x": ["N", 2]}, ["y"])), tmp_path)
    assert run(source, [np.array([[1, -2]], np.float32)])[0].tolist() == [[0, 2]]


def test_against_onnxruntime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    stored = {
        "W": RNG.standard_normal((1, 16, 3)).astype(np.float32),
        "R": RNG.standard_normal((1, 16, 4)).astype(np.float32),
    }
    nodes = [node("LSTM", ["x", "W", "R", "", "n"], ["Y", "H"], hidden_size=4), node("Squeeze", ["H", "zero"], ["h"])]
    inputs: dict[str, Any] = {"x": ["T", "N", 3], "n": (TensorProto.INT32, ["N"])}
    made = model(graph(nodes, inputs, ["h"], stored | {"zero": np.array([0], np.int64)}))
    source, out = tmp_path / "m.onnx", tmp_path / "m.lrt"
    source.write_bytes(made.SerializeToString())
    assert main(["convert", str(source), "-o", str(out)]) == 0
    assert main(["verify", str(out), "--against", str(source)]) == 0
    assert "m.onnx run by onnxruntime" in capsys.readouterr().out
    made.graph.initializer[0].raw_data = bytes(len(made.graph.initializer[0].raw_data))
    source.write_bytes(made.SerializeToString())
    assert main(["verify", str(out), "--against", str(source)]) == 1
    capsys.readouterr()
    source.write_bytes(b"\x08\x08\x12\x01x")
    assert "cannot run" in fails(capsys, "verify", out, "--against", source)


X = {"x": ["N", 3]}
TRUE = helper.make_tensor("t", TensorProto.BOOL, (), [True])


@pytest.mark.parametrize(
    ("nodes", "inputs", "says"),
    [
        ([node("Hann", ["x"], ["y"], name="/a/b")], X, r"Hann \(a/b\): the operator is not supported"),
        ([node("Relu", ["x"], ["y"], domain="my.ops")], X, "the operator of domain my.ops is not supported"),
        ([node("Relu", ["gone"], ["y"])], X, "nothing gives the values gone"),
        ([node("Relu", ["x"], ["y"], slope=1)], X, "slope of it is not supported"),
        ([node("Relu", ["x", "x"], ["y"])], X, "input 1 of it is not supported"),
        ([node("Add", ["x"], ["y"])], X, "its input 1 is left out"),
        ([node("Reshape", ["x", "x"], ["y"])], X, "it depends on the numbers of an input"),
        ([node("Cast", ["x"], ["y"], to=8)], X, "numbers of type string are not supported"),
        ([node("RandomNormal", [], ["y"], shape=[2])], X, "it makes random numbers"),
        ([node("Relu", ["x"], ["y"])], {"x": (TensorProto.STRING, ["N"])}, "input x: numbers of type string"),
        ([node("Dropout", ["x", "", "t"], ["y"]), node("Constant", [], ["t"], value=TRUE)],
         X, "it is in training mode"),
        ([node("Transpose", ["x"], ["y"], perm=[0, 0])], X, "no order of the axes"),
        ([node("Softmax", ["x"], ["y"], axis=5)], X, "axis 5 of 2 dimensions"),
        ([node("Identity", ["x"], ["s"]), node("SequenceConstruct", ["s"], ["y"])], X, "output y is no tensor"),
        ([node("SequenceConstruct", ["x"], ["s"]), node("Relu", ["s"], ["y"])], X, "is a sequence, expected a tensor"),
        ([node("Einsum", ["x"], ["y"], equation="ii->i")], X, "does not fit an input of the shape"),
    ],
)  # fmt: skip
def test_messages(nodes: list[Any], inputs: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=says):
        run(source_of(model(graph(nodes, inputs, ["y"])), tmp_path), [np.ones((2, 3), np.float32)])


def test_versions(tmp_path: Path) -> None:
    for version in (6, 29):
        made = model(graph([node("Relu", ["x"], ["y"])], X, ["y"]), version)
        with pytest.raises(ConvertError, match=f"version {version} of ONNX's operators, expected 7 to 28"):
            source_of(made, tmp_path)


def test_a_shape_is_needed(tmp_path: Path) -> None:
    made = model(graph([node("Relu", ["x"], ["y"])], X, ["y"]))
    made.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ConvertError, match="input x has no shape; export the model with the shapes"):
        source_of(made, tmp_path)


def test_a_loop_that_carries_a_sequence(tmp_path: Path) -> None:
    """Steps gathered in a list, which TorchScript's exporter makes of ``append`` in a loop."""
    body = graph(
        [node("Identity", ["c"], ["c2"]), node("Gather", ["x", "i"], ["xt"]),
         node("SequenceInsert", ["s", "xt"], ["s2"])],
        {"i": (TensorProto.INT64, []), "c": (TensorProto.BOOL, []), "s": [1]}, ["c2", "s2"], name="body",
    )  # fmt: skip
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "zero"], ["n"]), node("SequenceEmpty", [], ["s0"]),
        node("Loop", ["n", "", "s0"], ["s"], body=body), node("ConcatFromSequence", ["s"], ["y"], axis=0, new_axis=1),
    ]  # fmt: skip
    made = model(graph(nodes, {"x": ["T", "N", 3]}, ["y"], {"zero": np.array(0, np.int64)}))
    x = RNG.standard_normal((4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(source_of(made, tmp_path), [x])[0], x)
