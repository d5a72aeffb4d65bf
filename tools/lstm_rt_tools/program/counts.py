"""Numbers that a program makes of how many steps there are, such as the divisor of a mean that is written out.

In a run they are numbers like any other. One that is the number of steps of an axis whose steps are free, or is made
of it in a usual way, is taken for that; runs with other numbers of steps tell if it is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from .labels import Dims, Feat, Steps, cell, is_steps

if TYPE_CHECKING:
    from .labelled import Labelled

LEAST = 11  #: steps; fewer are too often numbers of something else
_CLOSE = 4e-7  #: of two numbers that are rounded to float32


def scaled_by_steps(b: Labelled, x: Feat, factor: float, op: str) -> Feat | None:
    """``x * factor``, if that is made of the number of steps of an axis; None of any other number."""
    for axis, n in b.steps.items():
        if n < LEAST or not b.is_free(Steps(axis)):
            continue
        for number, make in _made_of(b, n):
            for word, made in (("div", 1 / number), ("mul", number)):
                if math.isclose(factor, made, rel_tol=_CLOSE):
                    label = Feat(tuple(() for _ in x.dims), cell(make(_count(b, axis)), 0))
                    return b.pairs(x, label, op, partial(b.graph.binary, word))
    return None


def _made_of(b: Labelled, n: int) -> Iterator[tuple[float, Callable[[int], int]]]:
    """What is usually made of a number of steps, and how it is made of the value that is it."""

    def less(count: int) -> int:
        return b.graph.activation(count, Activation("affine", 1.0, -1.0))

    yield n, lambda count: count
    yield math.sqrt(n), lambda count: b.graph.activation(count, "sqrt")
    yield n - 1, less
    yield n / (n - 1), lambda count: b.graph.binary("div", count, less(count))  # of variances


def _count(b: Labelled, axis: int) -> int:
    """A vec of one feature: how many steps there are, whatever the lengths of rows."""

    return b.kept((axis, b"count"), lambda: b.graph.reduce(_ones(b, axis), "sum", whole=True))


def _ones(b: Labelled, axis: int) -> int:
    return b.at_every_step(b.constant_vec(np.ones(1, np.float32)), Steps(axis))


def counting(b: Labelled, axis: int) -> int:
    """A seq of one feature: the number of each step, from 1 on."""
    return b.kept((axis, b"counting"), lambda: b.graph.cumsum(_ones(b, axis)))


def steps_of(numbers: NDArray[Any], dims: Dims) -> tuple[int, Steps] | None:
    """Along which dimension numbers differ from step to step, and of which steps; None where they do not.

    Args:
        dims: what they stand beside, with as many dimensions as they have or more.
    """
    missing = len(dims) - numbers.ndim
    beside = dims[max(0, missing) :]
    at = next((k for k, d in enumerate(beside) if is_steps(d) and numbers.shape[k] > 1), None)
    if missing < 0 or at is None:
        return None
    (steps,) = beside[at]
    assert isinstance(steps, Steps)
    return at, steps


def ramp(b: Labelled, numbers: NDArray[Any], dims: Dims) -> Feat | None:
    """Numbers that go up, or down, by as much from step to step, the same for all else; None of any others.

    Args:
        dims: what they stand beside, with as many dimensions as they have or more.
    """
    if (place := steps_of(numbers, dims)) is None:
        return None
    at, steps = place
    missing = len(dims) - numbers.ndim
    line = np.moveaxis(numbers, at, -1).reshape(-1, numbers.shape[at]).astype(np.float64)
    if len(line[0]) < LEAST or not b.is_free(steps) or (line != line[0]).any():
        return None
    start, by = line[0, 0], (line[0, -1] - line[0, 0]) / (len(line[0]) - 1)
    exact = start + by * np.arange(len(line[0]))
    if not by or not np.allclose(line[0], exact, rtol=0, atol=4 * _CLOSE * np.abs(exact).max()):
        return None
    seq = b.graph.activation(counting(b, steps.axis), Activation("affine", 1.0, float(np.float32(start / by - 1))))
    label = Feat(tuple((steps,) if k == at + missing else () for k in range(len(dims))), cell(seq, 0))
    return scaled_by_steps(b, label, by, "ramp") or b.each(
        label, "ramp", lambda v: b.graph.activation(v, Activation("affine", by, 0.0))
    )
