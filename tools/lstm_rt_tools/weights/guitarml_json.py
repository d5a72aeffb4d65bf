"""Reads the JSON files of GuitarML: a state dict as nested lists, with a description of the model beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget
from .json_text import load_json, looks_like_json
from .tensors import ArrayTensor, count_not_finite

_KEYS = ("model_data", "state_dict")


def looks_like_guitarml(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be GuitarML's: JSON with one of its names."""
    return looks_like_json(head) and any(f'"{key}"'.encode() in head for key in _KEYS)


def read_guitarml(data: bytes, what: str, budget: Budget) -> tuple[dict[str, ArrayTensor], dict[str, Any] | None]:
    """The state dict, and the description of the model if there is one.

    Raises:
        ConvertError: not JSON, without a state dict, or a weight is no regular array of finite numbers.
    """
    tree = load_json(data, what, budget)
    model_data, state = (tree.get(key) for key in _KEYS)
    if not isinstance(state, dict):
        raise ConvertError(
            f"{what}: JSON without a state_dict table; expected GuitarML's model_data and state_dict"
        )
    if model_data is not None and not isinstance(model_data, dict):
        raise ConvertError(f"{what}: model_data is not a table")
    return {name: _tensor(name, value, what) for name, value in state.items()}, model_data


def _tensor(name: str, value: Any, what: str) -> ArrayTensor:
    _check_numbers(name, value, what)
    try:
        with np.errstate(over="ignore"):  # infinite then, which is refused
            array = np.array(value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ConvertError(f"{what}: weight {shown(name)} is not a regular array of numbers") from None
    # JSON has no such numbers: where others read this file they refuse them, or take one that was too large.
    if count_not_finite(array):
        raise ConvertError(f"{what}: weight {shown(name)} holds a number that is not finite")
    return ArrayTensor(array)


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
