"""The shapes of inputs and outputs, given their kind and the order of their axes."""

from __future__ import annotations

from typing import Any

#: In the order of their codes in files.
ORDERS = ("batch_first", "time_first", "unbatched", "groups_first", "shaped")


def dims_of(timed: bool, size: int, order: str, groups: int, dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dims of arrays: each ``"N"``, ``"T"`` or a size. See :mod:`lstm_rt.values`."""
    if order == "shaped":
        return dims
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
    return tuple(named.get(d, d) for d in dims_of(timed, size, order, groups, dims))
