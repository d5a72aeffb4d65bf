"""An ONNX model under construction: nodes, constants and names, before they become a protobuf."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: The operator set of which a file is where no node needs a later one. Tools read it since 2023.
OPSET = 18
#: The file versions of operator sets from :data:`OPSET` on; others have that of the last one before them.
_IR_VERSIONS = {18: 8, 19: 9, 21: 10, 23: 11}
#: Last dimension of what ONNX calls a slice without an end.
END = np.iinfo(np.int64).max

AnyArray: TypeAlias = NDArray[Any]


@dataclass
class Port:
    """A typed value: an input or output of the model or of a body. Dims are sizes or names; None leaves them open."""

    name: str
    dtype: np.dtype[Any]
    dims: Sequence[int | str] | None = None


@dataclass
class Op:
    """One node."""

    type: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any]
    name: str = ""


@dataclass
class Body:
    """The graph that a Scan runs at each step."""

    inputs: list[Port]
    outputs: list[Port]
    ops: list[Op] = field(default_factory=list)


class Builder:
    """Collects the nodes and constants of one model; every name is unique in it."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.opset = OPSET
        self.layer = ""  #: what nodes and constants are named after
        self._constants: dict[tuple[Any, ...], str] = {}
        self._arrays: dict[str, AnyArray] = {}
        self._taken: set[str] = {""}
        self._renamed: dict[str, str] = {}

    # -- names ----------------------------------------------------------------------------------

    def unique(self, name: str) -> str:
        """``name``, with a number behind it where it is taken."""
        found, k = name, 1
        while found in self._taken:
            found, k = f"{name}_{k}", k + 1
        self._taken.add(found)
        return found

    # -- nodes ----------------------------------------------------------------------------------

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        """A node with one output; returns the name of that."""
        return self.add_many(op, inputs, 1, **attrs)[0]

    def add_many(self, op: str, inputs: Sequence[str], outputs: int | Sequence[bool], **attrs: Any) -> list[str]:
        """A node with several outputs: so many, or those that are wanted; the names of others are empty."""
        wanted = [True] * outputs if isinstance(outputs, int) else list(outputs)
        title = self.unique(f"{self.layer}/{op}")
        names = [self.unique(f"{title}_{k}" if len(wanted) > 1 else f"{title}_output") if w else ""
                 for k, w in enumerate(wanted)]  # fmt: skip
        while not names[-1]:
            names.pop()
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        self.ops.append(Op(op, given, names, attrs, title))
        return names + [""] * (len(wanted) - len(names))

    @contextmanager
    def body(self, inputs: Sequence[tuple[str, np.dtype[Any]]]) -> Iterator[Body]:
        """Nodes added within go into a body with these inputs; its outputs are put into it by the caller."""
        body = Body([Port(self.unique(f"{self.layer}/{name}"), dtype) for name, dtype in inputs], [])
        outer, self.ops = self.ops, body.ops
        try:
            yield body
        finally:
            self.ops = outer

    def needs_opset(self, version: int) -> None:
        """The model has an operator that came with this set."""
        self.opset = max(self.opset, version)

    # -- constants ------------------------------------------------------------------------------

    def constant(self, array: Any, name: str = "constant") -> str:
        """A constant; those that are equal are stored once."""
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.unique(f"{self.layer}.{name}" if array.dtype.kind == "f" else name)
            self._arrays[self._constants[key]] = array
        return self._constants[key]

    def transposed(self, matrix: AnyArray, name: str) -> str:
        """A constant's transpose: of the constant that is there already, if it is (tied weights)."""
        key = (matrix.dtype.str, matrix.shape, np.ascontiguousarray(matrix).tobytes())
        if key in self._constants:
            return self.add("Transpose", self._constants[key], perm=[1, 0])
        return self.constant(matrix.T, name)

    def ints(self, *numbers: int) -> str:
        """A constant vector of whole numbers: shapes, axes, bounds."""
        return self.constant(np.array(numbers, np.int64), "_".join(map(str, numbers)).replace(str(END), "end"))

    def number(self, value: float | None) -> str:
        """A constant float32 number; parameters of activations are typed as optional and never None."""
        assert value is not None
        return self.constant(np.float32(value), f"{np.float32(value):g}")

    def arrays(self) -> list[AnyArray]:
        """All constants."""
        return list(self._arrays.values())

    # -- the result -----------------------------------------------------------------------------

    def output(self, value: str, port: Port) -> None:
        """Give the value the name of an output of the model."""
        value = self._renamed.get(value, value)
        if value in self._arrays or any(value == p.name for p in (*self.inputs, *self.outputs)):
            self.ops.append(Op("Identity", [value], [port.name], {}, self.unique(f"{port.name}/Identity")))
        else:
            _rename(self.ops, value, port.name)
            self._renamed[value] = port.name
        self.outputs.append(port)

    def model(self, onnx: Any, title: str) -> Any:
        """The ``onnx.ModelProto``."""
        graph = onnx.helper.make_graph(
            [_node(onnx, op) for op in self.ops],
            title,
            [_info(onnx, p) for p in self.inputs],
            [_info(onnx, p) for p in self.outputs],
            [onnx.numpy_helper.from_array(a, name) for name, a in self._arrays.items()],
        )
        ir_version = max(ir for opset, ir in _IR_VERSIONS.items() if opset <= self.opset)
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def dtype_code(dtype: type[np.generic]) -> int:
    """ONNX's number of a dtype (``TensorProto.DataType``)."""
    return {np.float32: 1, np.int32: 6, np.int64: 7, np.bool_: 9}[dtype]


def _rename(ops: Sequence[Op], old: str, new: str) -> None:
    for op in ops:
        op.inputs = [new if n == old else n for n in op.inputs]
        op.outputs = [new if n == old else n for n in op.outputs]
        for body in op.attrs.values():
            if isinstance(body, Body):
                _rename(body.ops, old, new)


def _node(onnx: Any, op: Op) -> Any:
    attrs = {k: _graph(onnx, v, op.name) if isinstance(v, Body) else v for k, v in op.attrs.items()}
    return onnx.helper.make_node(op.type, op.inputs, op.outputs, op.name, **attrs)


def _graph(onnx: Any, body: Body, title: str) -> Any:
    ports = ([_info(onnx, p) for p in side] for side in (body.inputs, body.outputs))
    return onnx.helper.make_graph([_node(onnx, op) for op in body.ops], title, *ports)


def _info(onnx: Any, port: Port) -> Any:
    code = onnx.helper.np_dtype_to_tensor_dtype(port.dtype)
    return onnx.helper.make_tensor_value_info(port.name, code, None if port.dims is None else list(port.dims))
