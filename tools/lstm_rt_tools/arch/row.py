"""What a row of the ops of architecture files is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tables import integers, optional, required, strings

if TYPE_CHECKING:
    from .build import Builder


@dataclass(frozen=True)
class Layer:
    """A [[layer]] that is being built: its title for messages, and its table."""

    what: str
    table: Mapping[str, Any]

    def optional(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of an option of type ``kind``."""
        value = optional(self.what, self.table, key, kind)
        return default if value is None else value

    def required(self, key: str, kind: type) -> Any:
        """The value of an option that must be there."""
        return required(self.what, self.table, key, kind)

    def integers(self, key: str, count: int | None = None, default: int | None = None) -> list[int]:
        """So many whole numbers; one number stands for all."""
        return integers(self.what, key, self.table.get(key, default), count)

    def inputs(self) -> list[str]:
        """The names of the values that a layer of several reads."""
        return strings(self.what, "inputs", self.table.get("inputs"))


@dataclass(frozen=True)
class Row:
    """An op of architecture files: the keys it takes besides op, name and input, and what makes nodes of it.

    ``many``: it reads several values, by ``inputs``. ``keeps``: what it gives is an image where what it reads is one.
    ``instead``: options that name weights one by one, in place of the prefix of all.
    """

    options: tuple[str, ...]
    build: Callable[[Builder, Layer], int]
    many: bool = False
    keeps: bool = False
    instead: tuple[str, ...] = ()
