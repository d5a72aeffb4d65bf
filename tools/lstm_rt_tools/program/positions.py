"""Tables of positions that are sines and cosines (Vaswani et al. 2017): of any number of steps, as they are known.

In a run a stored table is numbers that differ from step to step, as many as there are steps. Those of sines are
computed from the number of each step instead; runs with other numbers of steps tell if the table is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from .counts import LEAST, counting, steps_of
from .labels import Dims, Feat, cell, is_fixed

if TYPE_CHECKING:
    from .labelled import Labelled

_PERIOD = 10000.0
_CLOSE = 2e-6  #: of two sines that are rounded to float32, and for each step, which is multiplied before:
_CLOSE_BY_STEP = 2e-7


def waves(b: Labelled, numbers: NDArray[Any], dims: Dims) -> Feat | None:
    """A table of sines and cosines of the steps; None of any other numbers.

    Args:
        dims: what the numbers stand beside, with as many dimensions as they have or more.
    """
    place = steps_of(numbers, dims)
    if place is None or numbers.dtype.kind != "f":
        return None
    at, steps = place
    missing = len(dims) - numbers.ndim
    beside = dims[missing:]
    for k, dim in enumerate(beside):
        if k != at and not is_fixed(dim):
            first = np.take(numbers, [0], k)
            if (numbers != first).any():
                return None
            numbers = first
    others = [k for k, n in enumerate(numbers.shape) if n > 1 and k != at]
    count, size = numbers.shape[at], numbers.size // numbers.shape[at]
    if count < LEAST or size < 2 or size % 2 or not b.is_free(steps):
        return None
    table = np.moveaxis(numbers, at, 0).reshape(count, size).astype(np.float64)
    if not np.isfinite(table).all() or (found := _nearest(table)) is None:
        return None
    start, rates, interleaved, factor = found
    moments = b.graph.activation(counting(b, steps.axis), Activation("affine", 1.0, start - 1.0))
    angles = b.graph.dense(moments, np.ascontiguousarray(rates[:, None]))
    both = np.stack([cell(b.graph.activation(angles, word), np.arange(len(rates))) for word in ("sin", "cos")])
    cells = (both.T if interleaved else both).ravel()
    made = tuple((steps,) if k == at else (n,) if n > 1 else () for k, n in enumerate(numbers.shape))
    label = Feat((*((),) * missing, *made), cells.reshape([numbers.shape[k] for k in others]))
    if factor == 1:
        return label
    return b.each(label, "positions", lambda v: b.graph.activation(v, Activation("affine", factor, 0.0)))


def _nearest(table: NDArray[np.float64]) -> tuple[int, NDArray[np.float32], bool, float] | None:
    """First number, rates, whether each sine has its cosine beside it, and factor; None where no table is near."""
    count, size = table.shape
    best: tuple[float, tuple[int, NDArray[np.float32], bool, float]] | None = None
    for start in (0, 1):
        for rates in _rates(size // 2):
            angles = (np.arange(start, start + count, dtype=np.float32)[:, None] * rates).astype(np.float64)
            for interleaved in (True, False):
                wave = np.stack([np.sin(angles), np.cos(angles)], 2 if interleaved else 1).reshape(count, size)
                factor = float(np.vdot(wave, table) / np.vdot(wave, wave))
                factor = 1.0 if abs(factor - 1) < _CLOSE else factor
                off = float(np.abs(table - factor * wave).max())
                near = off <= abs(factor) * (_CLOSE + _CLOSE_BY_STEP * count)
                if near and (best is None or off < best[0]):
                    best = off, (start, rates, interleaved, factor)
    return None if best is None else best[1]


def _rates(half: int) -> Iterator[NDArray[np.float32]]:
    """By how much the angles grow, in the ways that these are written (and rounded)."""
    for last in {half, max(half - 1, 1)}:
        parts = np.arange(half) / last
        yield (_PERIOD**-parts).astype(np.float32)
        yield np.exp((np.arange(half) * np.float32(-np.log(_PERIOD) / last)).astype(np.float32))
