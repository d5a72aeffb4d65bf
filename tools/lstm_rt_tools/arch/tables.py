"""Tables of an architecture file: what is taken out of them is checked, and named where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lstm_rt.errors import ConvertError, did_you_mean

from ..names import listed


def known_keys(what: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise :class:`ConvertError` where a table has another key."""
    known = tuple(known)
    unknown = [k for k in table if k not in known]
    if unknown:
        raise ConvertError(
            f"{what}: unknown option {listed(map(repr, unknown))}; known: {', '.join(known)}"
            f"{did_you_mean(unknown[0], known)}"
        )


def tables(what: str, tree: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of tables; none if the key is missing."""
    value = tree.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise ConvertError(f"{what}: {key} must be a list of tables, written [[{key}]]")
    return value


def strings(what: str, key: str, value: Any) -> list[str]:
    """``value`` as the list of names that it has to be."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConvertError(f'{what}: {key} must be a list of names, such as {key} = ["a", "b"]')
    return value


def integers(what: str, key: str, value: Any, count: int | None = None) -> list[int]:
    """``value`` as a list of so many whole numbers; one number alone stands for all of them."""
    if type(value) is int and count is not None:
        value = [value] * count
    if not isinstance(value, list) or not all(type(v) is int for v in value) or count not in (None, len(value)):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        raise ConvertError(f"{what}: {key} is {value!r}, expected {wanted}")
    return value


def optional(what: str, table: Mapping[str, Any], key: str, kind: type) -> Any:
    """The value of a key, of type ``kind``; None if it is missing."""
    value = table.get(key)
    if kind is float and type(value) is int:
        value = float(value)
    if value is not None and type(value) is not kind:
        raise ConvertError(f"{what}: {key} is {value!r}, expected a {kind.__name__}")
    return value


def required(what: str, table: Mapping[str, Any], key: str, kind: type) -> Any:
    """As :func:`optional`, of a key that must be there."""
    value = optional(what, table, key, kind)
    if value is None:
        raise ConvertError(f"{what}: {key} is missing (a {kind.__name__})")
    return value


def layer_title(what: str, i: int, layer: Mapping[str, Any]) -> str:
    """How messages call the layer number ``i`` of the file ``what``."""
    return f"{what}: layer {i + 1} ({layer.get('name') or layer.get('op')})"
