"""What these files say, read strictly: each thing of the kind that it must be, or an error that names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular

from ..names import listed, shown
from ..weights.budget import Budget
from ..weights.json_text import load_json


@dataclass
class Described:
    """The JSON of a file, and what is known of its place; ``what`` is its name for messages."""

    what: str
    tree: Mapping[str, Any]
    data: bytes
    budget: Budget
    notes: list[str] = field(default_factory=list)


def read_table(path: str | os.PathLike[str]) -> Described:
    """The table that a JSON file holds; ConvertError if it holds none, OSError if it cannot be read."""
    what = os.path.basename(os.fspath(path))
    data = read_regular(path)
    budget = Budget(len(data), what)
    tree = load_json(data, what, budget)
    if not isinstance(tree, Mapping):
        raise ConvertError(f"{what}: JSON without a table at its top")
    return Described(what, tree, data, budget)


def whole(what: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number; of a list, as Keras writes it for one dimension, its only one."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if type(value) is not int or value < least:
        raise ConvertError(f"{what}: {name} is {text(value)}, expected a whole number of at least {least}")
    return value


def number(what: str, name: str, value: Any) -> float:
    """A number."""
    if type(value) not in (int, float):
        raise ConvertError(f"{what}: {name} is {text(value)}, expected a number")
    return float(value)


def known(what: str, table: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise ConvertError for what this reader does not know."""
    if unknown := [name for name in table if name not in names]:
        raise ConvertError(f"{what}: unknown {listed(map(repr, unknown), 5)}; known: {', '.join(names)}")


def text(value: Any) -> str:
    """A value for a message."""
    return shown(repr(value)) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
