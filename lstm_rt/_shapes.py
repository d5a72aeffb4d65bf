"""The shapes of inputs and outputs, given their kind and the order of their axes."""

from __future__ import annotations

import math
from typing import Any

#: In the order of their codes in files.
ORDERS = ("batch_first", "time_first", "unbatched", "groups_first", "shaped")
JOINED = "*"  #: between two dims that are one axis of the array


def dims_of(timed: bool, size: int, order: str, groups: int, dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dims of arrays: each ``"N"``, ``"T"`` or a size, none joined. See :mod:`lstm_rt.values`."""
    if order == "shaped":
        return tuple(d for d in dims if d != JOINED)
    rows = () if order == "unbatched" else ("N",)
    if groups:
        return (groups, *rows, size // groups)
    features = (size,) if size else ()
    times = ("T",) if timed else ()
    return (*times, *rows, *features) if order == "time_first" else (*rows, *times, *features)


def shape(
    timed: bool, size: int, order: str, groups: int, dims: tuple[Any, ...], batch: Any, steps: Any
) -> tuple[Any, ...]:
    """The shape of arrays of so many rows and steps: numbers, or names of them."""
    named = {"N": batch, "T": steps}
    return joined(dims, tuple(named.get(d, d) for d in dims_of(timed, size, order, groups, dims)))


def joined(dims: tuple[Any, ...], sizes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes (numbers, or names of them), one for each dim that is no mark, multiplied where dims are joined."""
    axes: list[list[Any]] = []
    left, apart = list(sizes), True
    for dim in dims if JOINED in dims else sizes:
        if dim == JOINED:
            apart = False
            continue
        axes += [[]] if apart else []
        axes[-1].append(left.pop(0))
        apart = True
    return tuple(a[0] if len(a) == 1 else _product(a) for a in axes)


def _product(sizes: list[Any]) -> Any:
    return JOINED.join(map(str, sizes)) if any(isinstance(n, str) for n in sizes) else math.prod(sizes)
