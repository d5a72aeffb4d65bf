"""The trees of TorchScript's code: its expressions, statements, functions and classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Const:
    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    id: str


@dataclass(frozen=True, slots=True)
class Attr:
    of: Expr
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    function: Expr
    args: tuple[Expr, ...]
    kwargs: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Index:
    of: Expr
    index: Expr


@dataclass(frozen=True, slots=True)
class Slice:
    of: Expr
    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True, slots=True)
class Seq:
    """A list or, unless ``is_list``, a tuple."""

    items: tuple[Expr, ...]
    is_list: bool


@dataclass(frozen=True, slots=True)
class Table:
    items: tuple[tuple[Expr, Expr], ...]


Expr: TypeAlias = Const | Name | Attr | Call | Index | Slice | Seq | Table


@dataclass(frozen=True, slots=True)
class Assign:
    """``targets = value``: names, or one attribute; ``unpack``: the value is taken apart."""

    targets: tuple[Expr, ...]
    value: Expr
    unpack: bool
    line: int


@dataclass(frozen=True, slots=True)
class Do:
    value: Expr
    line: int


@dataclass(frozen=True, slots=True)
class If:
    test: Expr
    then: tuple[Stmt, ...]
    other: tuple[Stmt, ...]
    line: int


@dataclass(frozen=True, slots=True)
class For:
    target: str
    count: Expr
    body: tuple[Stmt, ...]
    line: int


@dataclass(frozen=True, slots=True)
class While:
    test: Expr
    body: tuple[Stmt, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Return:
    value: Expr
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """``with x:``; what it manages (gradients) has no meaning here."""

    manager: Expr
    body: tuple[Stmt, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    type: Expr | None
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Def:
    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    line: int


@dataclass(slots=True)
class Class:
    """``fields``: the annotated attributes in order, with their values where these are constants."""

    name: str
    base: str
    fields: dict[str, tuple[Expr, Expr | None]] = field(default_factory=dict)
    methods: dict[str, Def] = field(default_factory=dict)
    lists: dict[str, Expr] = field(default_factory=dict)


Stmt: TypeAlias = Assign | Do | If | For | While | Return | Block | Def
