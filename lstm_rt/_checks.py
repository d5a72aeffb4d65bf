"""Checks of what a graph is made of: numbers, names, limits, weights. All raise GraphError, naming what is wrong."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import MAX_SIZE
from .errors import GraphError
from .quantised import Quantised

Array: TypeAlias = NDArray[np.float32]


def check_limit(what: str, count: int, most: int, error: type[GraphError] = GraphError) -> int:
    """The count; ``error`` where a graph has more of something than a file can hold."""
    if count > most:
        raise error(f"{count:,} {what} are more than the {most:,} that an .lrt file can hold")
    return count


def text(what: str, name: Any) -> str:
    """A name that a file can hold."""
    if not isinstance(name, str):
        raise GraphError(f"{what}: the name is {name!r}, expected a string")
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise GraphError(f"{what}: the name {name!r} is not valid Unicode") from None
    return name


def integer(what: str, name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise GraphError(f"{what}: {name} is {value!r}, expected an integer") from None


def number(what: str, name: str, value: Any) -> float:
    """A number that float32 holds, as files do."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise GraphError(f"{what}: {name} is {value!r}, expected a number") from None
    except OverflowError:  # an int of hundreds of digits
        result = float("inf")
    if not abs(result) <= float(np.finfo(np.float32).max):
        raise GraphError(f"{what}: {name} is {result:g}, expected a finite number of float32")
    return result


def weight(
    op: str, name: str, array: ArrayLike | Quantised, shape: tuple[int | None, ...], integers: bool = False
) -> Array:
    """A C-contiguous float32 copy-if-needed of ``array``, its shape checked (None: any size >= 1).

    Where ``integers`` may stand for it, a Quantised stays what it is.
    """
    if isinstance(array, Quantised) and not integers:
        raise GraphError(f"{op}: {name} is made of integers, expected a float array")
    try:
        a = cast(Any, array) if isinstance(array, Quantised) else np.asarray(array)
    except ValueError as e:  # rows of different lengths
        raise GraphError(f"{op}: {name} is not an array: {e}") from e
    if a.dtype.kind != "f":
        raise GraphError(f"{op}: {name} has dtype {a.dtype}, expected a float array")
    fits = a.ndim == len(shape) and all(
        n >= 1 if want is None else n == want for n, want in zip(a.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise GraphError(f"{op}: {name} has shape {a.shape}, expected ({wanted})")
    if isinstance(a, Quantised):  # which quacks like the array that it stands for
        return cast(Array, a)
    with np.errstate(over="ignore"):  # too large for float32: infinite, as the caller may see in info
        return np.ascontiguousarray(a, dtype=np.float32)


def index(op: str, name: str, array: ArrayLike) -> NDArray[Any]:
    """A C-contiguous int32 copy-if-needed of one row of integers, at least one."""
    a = np.asarray(array)
    if a.dtype.kind not in "iu":
        raise GraphError(f"{op}: {name} has dtype {a.dtype}, expected integers")
    if a.ndim != 1 or not a.size:
        raise GraphError(f"{op}: {name} has shape {a.shape}, expected (any)")
    return np.ascontiguousarray(np.clip(a, -1, MAX_SIZE), dtype=np.int32)  # what no feature has stays such
