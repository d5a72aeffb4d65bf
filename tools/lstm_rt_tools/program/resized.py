"""Axes made longer or shorter: the nearest numbers, or those on the line between two.

Where the numbers of an axis of any size are picked, or mixed, in the same way each, so are those of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import Machine, Tensor

#: Where each of ``size`` numbers is among ``old`` ones, by how that is said: of ``old, size, size / old``.
PLACES: dict[str, Callable[[int, int, float], NDArray[np.float64]]] = {
    "half_pixel": lambda old, size, scale: (np.arange(size, dtype=np.float64) + 0.5) / scale - 0.5,
    "align_corners": lambda old, size, scale: np.arange(size, dtype=np.float64) * ((old - 1) / max(1, size - 1)),
    "asymmetric": lambda old, size, scale: np.arange(size, dtype=np.float64) / scale,
    "tf_half_pixel_for_nn": lambda old, size, scale: (np.arange(size, dtype=np.float64) + 0.5) / scale,
}
_CLOSE = 1e-9  #: of two places


def nearest(m: Machine, x: Tensor, axis: int, index: NDArray[np.int64]) -> Tensor:
    """``x`` with the numbers of these places of an axis."""
    old, size = x.shape[axis], len(index)
    times = -(-size // old)
    result: Tensor
    if np.array_equal(index, np.arange(size) // times):
        result = m.apply("repeat_interleave", x, times=times, axis=axis)
        if size < old * times:
            result = m.apply("slice", result, axis=axis, start=0, stop=size, step=1)
        return result
    if (every := _every(index, old)) is not None:
        return _taken(m, x, axis, int(index[0]), every)
    result = m.apply("index_select", x, m.constant(index), axis=axis)
    return result


def between(m: Machine, x: Tensor, axis: int, places: NDArray[np.float64]) -> Tensor:
    """``x`` with the numbers on the lines between those of an axis, at these places."""
    old, size = x.shape[axis], len(places)
    times = size // old
    ahead = places.reshape(old, times) - np.arange(old)[:, None] if size % old == 0 else places[:, None]
    if np.ptp(ahead, 0).max(initial=0) < _CLOSE and np.abs(ahead).max(initial=0) < 1:  # each number in the same way
        parts = [m.apply("unsqueeze", _moved(m, x, axis, float(a)), axes=(axis + 1,)) for a in ahead[0]]
        joined = m.apply("concat", *parts, axis=axis + 1)
        result: Tensor = m.apply("reshape", joined, sizes=(*x.shape[:axis], size, *x.shape[axis + 1 :]))
        return result
    low = np.floor(places)
    sides = [np.clip(low + k, 0, old - 1).astype(np.int64) for k in (0, 1)]
    every = _every(sides[0], old)
    if every is not None and _every(sides[1], old) == every and np.ptp(places - low) < _CLOSE:
        first, second = (_taken(m, x, axis, int(at[0]), every) for at in sides)
        return _mixed(m, first, second, np.float32(places[0] - low[0]))
    by = (places - low).astype(np.float32).reshape(-1, *[1] * (x.ndim - axis - 1))
    first, second = (m.apply("index_select", x, m.constant(at), axis=axis) for at in sides)
    return _mixed(m, first, second, by)


def _mixed(m: Machine, x: Tensor, y: Tensor, part: Any) -> Tensor:
    """So large a part of ``y``, and the rest of ``x``."""
    sides = [m.apply("mul", t, m.constant(by)) for t, by in ((x, 1 - part), (y, part))]
    result: Tensor = m.apply("add", *sides)
    return result


def _moved(m: Machine, x: Tensor, axis: int, ahead: float) -> Tensor:
    """What is ``ahead`` of each number on the line to the one behind it, or, below 0, to the one before."""
    if ahead == 0:
        return x
    grow = [(0, 0)] * x.ndim
    grow[axis] = (0, 1) if ahead > 0 else (1, 0)
    wide, start = m.apply("pad", x, pads=grow, mode="edge"), int(ahead > 0)
    beside = m.apply("slice", wide, axis=axis, start=start, stop=start + x.shape[axis], step=1)
    return _mixed(m, x, beside, np.float32(abs(ahead)))


def _every(index: NDArray[np.int64], old: int) -> int | None:
    """By how much places go up where they are one of every so many, as often as there are so many; else None."""
    by = int(index[1] - index[0]) if len(index) > 1 else 0
    regular = by > 1 and index[0] < by and np.array_equal(index, index[0] + by * np.arange(old // by))
    return by if regular else None


def _taken(m: Machine, x: Tensor, axis: int, start: int, every: int) -> Tensor:
    """One of ``every`` numbers, as often as there are so many."""
    drop = every - 1 - start
    result: Tensor = m.apply("slice", x, axis=axis, start=start, stop=-drop if drop else None, step=every)
    return result
