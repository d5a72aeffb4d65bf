"""What a SavedModel of TensorFlow's is in bytes: its graph, its signatures, and the objects that it was saved from."""

# ruff: noqa: RUF009 - what describes a field is called where the field stands
from __future__ import annotations

from dataclasses import dataclass

from .budget import Budget
from .protobuf import Reader, many, one

# -- the graph --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Function:
    name: str = one(1, "text", "")


@dataclass(slots=True)
class List:
    functions: list[Function] = many(9, "message")


@dataclass(slots=True)
class Value:
    list: List | None = one(1, "message")
    function: Function | None = one(10, "message")


@dataclass(slots=True)
class Attribute:
    value: Value | None = one(2, "message")


@dataclass(slots=True)
class Node:
    name: str = one(1, "text", "")
    op: str = one(2, "text", "")
    inputs: list[str] = many(3, "text")
    attributes: list[Attribute] = many(5, "message")


@dataclass(slots=True)
class Defined:
    signature: Function | None = one(1, "message")
    nodes: list[Node] = many(3, "message")


@dataclass(slots=True)
class Library:
    functions: list[Defined] = many(1, "message")


@dataclass(slots=True)
class Graph:
    nodes: list[Node] = many(1, "message")
    library: Library | None = one(2, "message")


# -- signatures -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Info:
    name: str = one(1, "text", "")


@dataclass(slots=True)
class Port:
    name: str = one(1, "text", "")
    info: Info | None = one(2, "message")


@dataclass(slots=True)
class Signature:
    inputs: list[Port] = many(1, "message")
    outputs: list[Port] = many(2, "message")


@dataclass(slots=True)
class Named:
    name: str = one(1, "text", "")
    signature: Signature | None = one(2, "message")


# -- objects ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Child:
    node_id: int = one(1, "int", 0)
    local_name: str = one(2, "text", "")


@dataclass(slots=True)
class UserObject:
    identifier: str = one(1, "text", "")
    metadata: str = one(3, "text", "")


@dataclass(slots=True)
class Variable:
    name: str = one(6, "text", "")


@dataclass(slots=True)
class Object:
    children: list[Child] = many(1, "message")
    user_object: UserObject | None = one(4, "message")
    asset: memoryview | None = one(5, "bytes")
    variable: Variable | None = one(7, "message")
    resource: memoryview | None = one(10, "bytes")
    savers: list[memoryview] = many(11, "bytes")
    saver: str = one(16, "text", "")

    @property
    def runs(self) -> str:
        """What loading it runs code for; empty if it runs none."""
        if self.asset is not None:
            return "a file beside it"
        if self.resource is not None:
            return "a table"
        return "a saver of its own" if self.savers or self.saver else ""


@dataclass(slots=True)
class Objects:
    nodes: list[Object] = many(1, "message")


@dataclass(slots=True)
class MetaGraph:
    """A graph as bytes, which :func:`graph_of` reads, with its signatures and objects."""

    graph: memoryview | None = one(2, "bytes")
    signatures: list[Named] = many(5, "message")
    objects: Objects | None = one(7, "message")


@dataclass(slots=True)
class SavedModel:
    graphs: list[MetaGraph] = many(2, "message")


_KINDS: dict[tuple[str, str], type] = {
    ("List", "functions"): Function,
    ("Value", "list"): List,
    ("Value", "function"): Function,
    ("Attribute", "value"): Value,
    ("Node", "attributes"): Attribute,
    ("Defined", "signature"): Function,
    ("Defined", "nodes"): Node,
    ("Library", "functions"): Defined,
    ("Graph", "nodes"): Node,
    ("Graph", "library"): Library,
    ("Port", "info"): Info,
    ("Signature", "inputs"): Port,
    ("Signature", "outputs"): Port,
    ("Named", "signature"): Signature,
    ("Object", "children"): Child,
    ("Object", "user_object"): UserObject,
    ("Object", "variable"): Variable,
    ("Objects", "nodes"): Object,
    ("MetaGraph", "signatures"): Named,
    ("MetaGraph", "objects"): Objects,
    ("SavedModel", "graphs"): MetaGraph,
}


def parse(data: bytes, budget: Budget) -> SavedModel:
    """A SavedModel out of the bytes of its file.

    Raises:
        ConvertError: they are none, or ask for more than the budget has left.
    """
    return Reader(budget, "SavedModel", _KINDS).message(SavedModel, memoryview(data))


def graph_of(meta: MetaGraph, budget: Budget) -> Graph | None:
    """The graph of a part of a SavedModel, if it has one; errors as of :func:`parse`."""
    return None if meta.graph is None else Reader(budget, "SavedModel", _KINDS).message(Graph, meta.graph)
