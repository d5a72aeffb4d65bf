"""Reads the JSON files of GuitarML: a state dict as nested lists, with a description of the model beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_rt.errors import ConvertError

from .json_text import looks_like_json
from .state_json import json_array
from .tensors import ArrayTensor

_KEYS = ("model_data", "state_dict")


def looks_like_guitarml(head: bytes) -> bool:
    """Whether a file that begins with ``head`` may be GuitarML's: JSON with one of its names."""
    return looks_like_json(head) and any(f'"{key}"'.encode() in head for key in _KEYS)


def is_guitarml(tree: Mapping[str, Any]) -> bool:
    """Whether the JSON of a file describes a model as GuitarML does."""
    return _KEYS[0] in tree


def read_guitarml(tree: Mapping[str, Any], what: str) -> tuple[dict[str, ArrayTensor], dict[str, Any]]:
    """The state dict, and the description of the model.

    Raises:
        ConvertError: there is no state dict, or a weight is no regular array of finite numbers.
    """
    model_data, state = (tree.get(key) for key in _KEYS)
    if not isinstance(state, dict):
        raise ConvertError(
            f"{what}: JSON without a state_dict table; expected GuitarML's model_data and state_dict"
        )
    if not isinstance(model_data, dict):
        raise ConvertError(f"{what}: model_data is not a table")
    return {name: ArrayTensor(json_array(name, value, what)) for name, value in state.items()}, model_data
