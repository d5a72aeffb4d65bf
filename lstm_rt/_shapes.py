"""The shapes of inputs and outputs, given their kind and the order of their axes."""

from __future__ import annotations

from typing import Any

#: In the order of their codes in files.
ORDERS = ("batch_first", "time_first", "unbatched", "groups_first", "shaped")


def dims_of(kind: str, size: int, order: str, groups: int, dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dims of arrays: each ``"N"``, ``"T"`` or a size. See :mod:`lstm_rt.values`."""
    if order == "shaped":
        return dims
    rows = () if order == "unbatched" else ("N",)
    if kind == "vec":
        return (groups, *rows, size // groups) if groups else (*rows, size)
    features = (size,) if kind == "seq" else ()
    times = () if kind == "lengths" else ("T",)
    return (*times, *rows, *features) if order == "time_first" else (*rows, *times, *features)


def shape(
    kind: str, size: int, order: str, groups: int, dims: tuple[Any, ...], batch: Any, steps: Any
) -> tuple[Any, ...]:
    """The shape of arrays of so many rows and steps: numbers, or names of them."""
    named = {"N": batch, "T": steps}
    return tuple(named.get(d, d) for d in dims_of(kind, size, order, groups, dims))
