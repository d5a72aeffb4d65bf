"""PyTorch's types of numbers: their codes, and what the result of a mixture is. All floats are float32 here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: By the number that TorchScript's code and operators have for them (``c10::ScalarType``).
NAMES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64",
    8: "complex32", 9: "complex64", 10: "complex128", 11: "bool", 12: "qint8", 13: "quint8", 14: "qint32",
    15: "bfloat16",
}  # fmt: skip
CODES = {name: code for code, name in NAMES.items()}
#: By the number that ``.pt2`` files have for them.
EXPORTED = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
            9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16"}  # fmt: skip
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_WHOLE = ("uint8", "int8", "int16", "int32", "int64", "bool")


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """The type in which numbers of a type of PyTorch's are held here; None for what is not read."""
    if name in _FLOATS:
        return np.dtype(np.float32)
    return np.dtype(name) if name in _WHOLE else None


def code_of(dtype: np.dtype[Any]) -> int:
    """PyTorch's number for a type."""
    return CODES[str(dtype)]


def _rank(dtype: np.dtype[Any]) -> int:
    return "biuf".index(dtype.kind) if dtype.kind != "u" else 1


def result_type(tensors: Sequence[tuple[np.dtype[Any], int]], scalars: Sequence[Any]) -> np.dtype[Any]:
    """The type of a mixture, as PyTorch has it: tensors with dimensions, those without, then numbers.

    Args:
        tensors: each one's type and number of dimensions.
        scalars: Python's numbers.
    """
    with_dims = [d for d, n in tensors if n]
    without = [d for d, n in tensors if not n]
    of_numbers = [
        np.dtype(bool) if isinstance(s, bool) else np.dtype(np.int64 if isinstance(s, int) else np.float32)
        for s in scalars
    ]
    best: np.dtype[Any] | None = None
    for group in (with_dims, without, of_numbers):
        if not group:
            continue
        found = group[0]
        for other in group[1:]:
            found = _promoted(found, other)
        if best is None or _rank(found) > _rank(best):
            best = found
    assert best is not None
    return best


def _promoted(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    if a.kind == "f" or b.kind == "f":
        return np.dtype(np.float32)
    return np.promote_types(a, b)
