"""The shapes of inputs and outputs, given their kind and the order of their axes."""

from __future__ import annotations

from typing import Any

ORDERS = ("batch_first", "time_first", "unbatched", "groups_first")  #: in the order of their codes in files


def shape(kind: str, size: int, order: str, groups: int, batch: Any, steps: Any) -> tuple[Any, ...]:
    """The shape of arrays of so many rows and steps: numbers, or names of them. See :mod:`lstm_rt.values`."""
    rows = () if order == "unbatched" else (batch,)
    if kind == "vec":
        return (groups, *rows, size // groups) if groups else (*rows, size)
    features = (size,) if kind == "seq" else ()
    times = () if kind == "lengths" else (steps,)
    return (*times, *rows, *features) if order == "time_first" else (*rows, *times, *features)
