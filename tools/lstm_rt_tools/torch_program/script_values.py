"""What flows through TorchScript's code beside tensors and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .script_tree import Class, Def


@dataclass(frozen=True, eq=False)
class ClassRef:
    """A class of the file, by its full name."""

    name: str
    tree: Class


@dataclass(eq=False)
class Obj:
    """A module or another object: its class, and its attributes, made of the file's when they are asked for."""

    cls: ClassRef
    stored: dict[str, Any]
    path: str = ""
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the file."""

    name: str
    tree: Def


@dataclass(frozen=True, eq=False)
class Method:
    """A function of the file with its object."""

    obj: Obj
    tree: Def


@dataclass(frozen=True)
class Op:
    """An operation by its name in the code: ``torch.add``, ``ops.prim.dtype``."""

    name: str


class Record(tuple[Any, ...]):
    """A named tuple of the file."""

    cls: ClassRef

    @classmethod
    def of(cls, kind: ClassRef, values: Iterator[Any]) -> Record:
        made = cls(values)
        made.cls = kind
        return made


@dataclass(frozen=True)
class Unset:
    """What ``uninitialized`` gives: nothing that is ever read."""


class Breaks(Exception):
    """A function returns ``value``."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value
