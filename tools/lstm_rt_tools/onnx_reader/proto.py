"""The messages of an ONNX file, with the fields that a reader needs (``onnx.proto`` has the numbers)."""

# ruff: noqa: RUF009 - what describes a field is called where the field stands
from __future__ import annotations

import re
from dataclasses import dataclass

from ..weights.budget import Budget
from ..weights.protobuf import Data, Reader, many, one, packed


@dataclass(slots=True)
class Entry:
    """A key and its value."""

    key: str = one(1, "text", "")
    value: str = one(2, "text", "")


@dataclass(slots=True)
class Tensor:
    """Numbers, somewhere: in one of the fields, or in a file beside the model."""

    dims: Data = packed(1)
    data_type: int = one(2, "int", 0)
    float_data: Data = packed(4)
    int32_data: Data = packed(5)
    string_data: list[memoryview] = many(6, "bytes")
    int64_data: Data = packed(7)
    name: str = one(8, "text", "")
    raw_data: memoryview | None = one(9, "bytes")
    double_data: Data = packed(10)
    uint64_data: Data = packed(11)
    external_data: list[Entry] = many(13, "message")
    data_location: int = one(14, "int", 0)


@dataclass(slots=True)
class SparseTensor:
    """Numbers of which most are 0."""

    values: Tensor | None = one(1, "message")
    indices: Tensor | None = one(2, "message")
    dims: Data = packed(3)


@dataclass(slots=True)
class Dim:
    """A size, or the name of one; of a size that is free neither is given."""

    value: int | None = one(1, "int")
    param: str = one(2, "text", "")


@dataclass(slots=True)
class Shape:
    """The sizes of a tensor."""

    dim: list[Dim] = many(1, "message")


@dataclass(slots=True)
class TensorType:
    """Type and shape of a tensor."""

    elem_type: int = one(1, "int", 0)
    shape: Shape | None = one(2, "message")


@dataclass(slots=True)
class Type:
    """What a value is."""

    tensor: TensorType | None = one(1, "message")
    sequence: memoryview | None = one(4, "bytes")
    map: memoryview | None = one(5, "bytes")
    sparse: memoryview | None = one(8, "bytes")
    optional: memoryview | None = one(9, "bytes")


@dataclass(slots=True)
class ValueInfo:
    """An input or output."""

    name: str = one(1, "text", "")
    type: Type | None = one(2, "message")


@dataclass(slots=True)
class Attribute:
    """An option of a node."""

    name: str = one(1, "text", "")
    f: float = one(2, "float", 0.0)
    i: int = one(3, "int", 0)
    s: memoryview = one(4, "bytes", memoryview(b""))
    t: Tensor | None = one(5, "message")
    g: Graph | None = one(6, "message")
    floats: Data = packed(7)
    ints: Data = packed(8)
    strings: list[memoryview] = many(9, "bytes")
    type: int = one(20, "int", 0)
    ref_attr_name: str = one(21, "text", "")
    sparse_tensor: SparseTensor | None = one(22, "message")


@dataclass(slots=True)
class Node:
    """A call of an operator."""

    input: list[str] = many(1, "text")
    output: list[str] = many(2, "text")
    name: str = one(3, "text", "")
    op_type: str = one(4, "text", "")
    attribute: list[Attribute] = many(5, "message")
    domain: str = one(7, "text", "")
    overload: str = one(8, "text", "")


@dataclass(slots=True)
class Graph:
    """Nodes between inputs and outputs."""

    node: list[Node] = many(1, "message")
    name: str = one(2, "text", "")
    initializer: list[Tensor] = many(5, "message")
    input: list[ValueInfo] = many(11, "message")
    output: list[ValueInfo] = many(12, "message")
    sparse_initializer: list[SparseTensor] = many(15, "message")


@dataclass(slots=True)
class OperatorSet:
    """Which version of a domain's operators is meant."""

    domain: str = one(1, "text", "")
    version: int = one(2, "int", 0)


@dataclass(slots=True)
class Function:
    """An operator that the file itself defines."""

    name: str = one(1, "text", "")
    input: list[str] = many(4, "text")
    output: list[str] = many(5, "text")
    attribute: list[str] = many(6, "text")
    node: list[Node] = many(7, "message")
    opset_import: list[OperatorSet] = many(9, "message")
    domain: str = one(10, "text", "")
    attribute_proto: list[Attribute] = many(11, "message")
    overload: str = one(13, "text", "")


@dataclass(slots=True)
class Model:
    """The file."""

    ir_version: int = one(1, "int", 0)
    producer_name: str = one(2, "text", "")
    producer_version: str = one(3, "text", "")
    graph: Graph | None = one(7, "message")
    opset_import: list[OperatorSet] = many(8, "message")
    functions: list[Function] = many(25, "message")


_KINDS: dict[tuple[str, str], type] = {
    ("Tensor", "external_data"): Entry,
    ("SparseTensor", "values"): Tensor,
    ("SparseTensor", "indices"): Tensor,
    ("Shape", "dim"): Dim,
    ("TensorType", "shape"): Shape,
    ("Type", "tensor"): TensorType,
    ("ValueInfo", "type"): Type,
    ("Attribute", "t"): Tensor,
    ("Attribute", "g"): Graph,
    ("Attribute", "sparse_tensor"): SparseTensor,
    ("Node", "attribute"): Attribute,
    ("Graph", "node"): Node,
    ("Graph", "initializer"): Tensor,
    ("Graph", "input"): ValueInfo,
    ("Graph", "output"): ValueInfo,
    ("Graph", "sparse_initializer"): SparseTensor,
    ("Function", "node"): Node,
    ("Function", "opset_import"): OperatorSet,
    ("Function", "attribute_proto"): Attribute,
    ("Model", "graph"): Graph,
    ("Model", "opset_import"): OperatorSet,
    ("Model", "functions"): Function,
}


def parse(data: Data, budget: Budget) -> Model:
    """The model that the bytes of a file hold.

    Raises:
        ConvertError: they hold none, or ask for more than the budget has left.
    """
    return Reader(budget, "ONNX file", _KINDS).message(Model, memoryview(data))


def looks_like_onnx(head: bytes) -> bool:
    """Do the first bytes of a file say a version of ONNX, then who wrote it, its graph or its operators?

    Versions before 3 are older than all operators that are read; TensorFlow's SavedModels begin like a version 1.
    """
    return re.match(rb"\x08[\x03-\x40]\x00{0,4}[\x12\x1a\x22\x2a\x32\x3a\x42]", head) is not None
