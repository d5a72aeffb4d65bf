"""Tables of positions: of any number of steps where they are sines and cosines (Vaswani et al. 2017), else of so many.

In a run a stored table is numbers that differ from step to step, as many as there are steps. Those of sines are
computed from the number of each step instead, others are cut to the steps that there are; runs with other numbers of
steps tell if the table is another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_SIZE
from lstm_rt.graph import Activation

from .counts import LEAST, counting, steps_of
from .labels import Dims, Feat, Steps, cell, is_fixed

if TYPE_CHECKING:
    from .labelled import Labelled

_PERIOD = 10000.0
_CLOSE = 2e-6  #: of two sines that are rounded to float32, and for each step, which is multiplied before:
_CLOSE_BY_STEP = 2e-7


def positions(b: Labelled, numbers: NDArray[Any], dims: Dims) -> Feat | None:
    """A table of sines and cosines of the steps, or the first rows of one that is stored; None of any other numbers.

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
    if count < LEAST or not b.is_free(steps):
        return None
    table = np.moveaxis(numbers, at, 0).reshape(count, size)
    found = _waves(b, table, steps) or _stored(b, table, steps)
    if found is None:
        return None
    made = tuple((steps,) if k == at else (n,) if n > 1 else () for k, n in enumerate(numbers.shape))
    return Feat((*((),) * missing, *made), found.cells.reshape([numbers.shape[k] for k in others]))


def _waves(b: Labelled, table: NDArray[Any], steps: Steps) -> Feat | None:
    """A table ``(steps, size)`` of sines and cosines; None of any other."""
    size, exact = table.shape[1], table.astype(np.float64)
    if size < 2 or size % 2 or not np.isfinite(exact).all() or (found := _nearest(exact)) is None:
        return None
    start, rates, interleaved, factor = found
    moments = b.graph.activation(counting(b, steps.axis), Activation("affine", 1.0, start - 1.0))
    angles = b.graph.dense(moments, np.ascontiguousarray(rates[:, None]))
    both = np.stack([cell(b.graph.activation(angles, word), np.arange(len(rates))) for word in ("sin", "cos")])
    label = Feat(((steps,), (size,)), (both.T if interleaved else both).ravel())
    if factor == 1:
        return label
    return b.each(label, "positions", lambda v: b.graph.activation(v, Activation("affine", factor, 0.0)))


def _stored(b: Labelled, table: NDArray[Any], steps: Steps) -> Feat | None:
    """The first rows of a table that the program has picked steps of; None of any other."""
    count, size = table.shape
    alike = (k for k, t in enumerate(b.tables) if t.shape[1] == size and np.array_equal(t[:count], table))
    if (which := next(alike, None)) is None or b.tables[which].size > MAX_SIZE:
        return None
    whole = np.ascontiguousarray(b.tables[which], np.float32)
    rows = len(whole)
    note = f"the model takes at most {rows} steps, as many as its table of positions has"
    b.notes += [note] if note not in b.notes else []

    def make() -> int:
        return b.graph.cut(b.graph.unflatten(b.constant_vec(whole.ravel()), rows), steps.axis)

    made = b.kept((steps.axis, b"table %d" % which), make)
    return Feat(((steps,), (size,) if size > 1 else ()), cell(made, np.arange(size) if size > 1 else 0))


def picked(op: str, x: NDArray[Any], index: NDArray[Any] | None, options: Mapping[str, Any]) -> NDArray[Any] | None:
    """The rows ``(rows, size)`` of known numbers, from the first one on that is picked of several in order; None if
    none are.
    """
    axis = int(options["axis"]) % max(x.ndim, 1)
    if x.dtype.kind != "f" or x.ndim < 2 or x.shape[axis] < LEAST:
        return None
    if op == "slice":
        start, _, step = slice(options.get("start"), options.get("stop"), options.get("step", 1)).indices(x.shape[axis])
    else:
        at = np.asarray(index).ravel()
        if at.dtype.kind not in "iu" or len(at) < LEAST or not np.array_equal(at, at[0] + np.arange(len(at))):
            return None
        start, step = int(at[0]), 1
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)[max(0, start) :] if step == 1 else None


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
