"""JSON from files: what it becomes is counted before it is made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget

#: Bytes of objects for each of these characters, generously: what it begins, or separates.
_COST = {b"{": 64, b":": 170, b"[": 64, b",": 40, b'"': 30}
_INT64_DIGITS = 19
_TABLE = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:["}]|\Z)')
# Half of a pair \ud83d\ude00 without the other; a backslash that is itself escaped begins nothing.
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATE = re.compile(rb"\\\\|" + _HIGH + _LOW + rb"|(" + _HIGH + rb"|" + _LOW + rb")")


def looks_like_json(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be a table in JSON."""
    return b"\0" not in head and _TABLE.match(head) is not None


def load_json(
    data: bytes | memoryview,
    what: str,
    budget: Budget,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The value that ``data`` holds. Whole numbers beyond 64 bits become floats, as in JavaScript.

    Args:
        what: what the text is, for messages.
        budget: of the file that it comes from.
        pairs: makes a table of its names and values, by default a dictionary.

    Raises:
        ConvertError: not UTF-8, not JSON, with half a surrogate pair, or larger than the budget allows.
    """
    data = bytes(data)
    characters = len(data) if data.isascii() else 4 * len(data)
    # The whole text and its strings, and the objects.
    budget.memory(2 * characters + sum(cost * data.count(c) for c, cost in _COST.items()), "its JSON text")
    halves = (m.group(1) for m in _LONE_SURROGATE.finditer(data)) if b"\\u" in data else iter(())
    if half := next(filter(None, halves), None):
        raise ConvertError(f"{what} is not valid JSON: {half.decode()} is half of a character")
    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=_number, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as e:
        raise ConvertError(f"{what} is not valid JSON: {shown(str(e))}") from None


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INT64_DIGITS else float(digits)
