"""Reads state dicts as JSON: lists of numbers, by name, in any tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget
from .tensors import count_not_finite

_MAX_DEPTH = 64
_PLACE = 200  #: bytes of a table, or of an array


def with_arrays(tree: Any, what: str, budget: Budget, name: str = "", depth: int = 0) -> Any:
    """What a JSON file holds, with its lists of numbers as arrays. In a table called state_dict all is arrays.

    Raises:
        ConvertError: a list of numbers is no regular array of finite ones, or the tables are nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise ConvertError(f"{what}: the tables are nested too deeply")
    budget.memory(_PLACE)
    if not isinstance(tree, dict):
        return json_array(name, tree, what) if _is_numbers(tree) else tree
    if name == "state_dict":
        return {key: json_array(key, value, what) for key, value in tree.items()}
    return {key: with_arrays(value, what, budget, key, depth + 1) for key, value in tree.items()}


def _is_numbers(value: Any) -> bool:
    """Does a list begin with a number, in whatever depth?"""
    first, depth = value, 0
    while isinstance(first, list) and first and depth < _MAX_DEPTH:
        first, depth = first[0], depth + 1
    return depth > 0 and type(first) in (int, float)


def json_array(name: str, value: Any, what: str) -> NDArray[np.float32]:
    """A weight from lists in lists.

    Raises:
        ConvertError: it is no regular array of finite numbers.
    """
    _check_numbers(name, value, what)
    try:
        with np.errstate(over="ignore"):  # infinite then, which is refused
            array = np.array(value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ConvertError(f"{what}: weight {shown(name)} is not a regular array of numbers") from None
    # JSON has no such numbers: where others read this file they refuse them, or take one that was too large.
    if count_not_finite(array):
        raise ConvertError(f"{what}: weight {shown(name)} holds a number that is not finite")
    return array


def _check_numbers(name: str, value: Any, what: str) -> None:
    """Raise ConvertError unless all that lists hold are numbers: NumPy would make some of true and of text, too."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(item)
        elif type(item) not in (int, float):
            raise ConvertError(
                f"{what}: weight {shown(name)} is not a regular array of numbers: it holds {shown(repr(item)[:100])}"
            )
