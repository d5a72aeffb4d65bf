"""Numbers that a program makes of how many steps there are, such as the divisor of a mean that is written out.

In a run they are numbers like any other. One that is the number of steps of an axis whose steps are free, or is made
of it in a usual way, is taken for that; runs with other numbers of steps tell if it is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lstm_rt.graph import Activation

from .labels import Feat, Steps, cell

if TYPE_CHECKING:
    from .labelled import Labelled

_LEAST = 11  #: steps; fewer are too often numbers of something else
_CLOSE = 4e-7  #: of two numbers that are rounded to float32


def scaled_by_steps(b: Labelled, x: Feat, factor: float, op: str) -> Feat | None:
    """``x * factor``, if that is made of the number of steps of an axis; None of any other number."""
    for axis, n in b.steps.items():
        if n < _LEAST or not b.is_free(Steps(axis)):
            continue
        for number, act in _made_of(n):
            for word, made in (("div", 1 / number), ("mul", number)):
                if math.isclose(factor, made, rel_tol=_CLOSE):
                    count = _count(b, axis)
                    value = count if act is None else b.graph.activation(count, act)
                    label = Feat(tuple(() for _ in x.dims), cell(value, 0))
                    return b.pairs(x, label, op, partial(b.graph.binary, word))
    return None


def _made_of(n: int) -> Iterator[tuple[float, Activation | str | None]]:
    """What is usually made of a number of steps, and how."""
    yield n, None
    yield math.sqrt(n), "sqrt"
    yield n - 1, Activation("affine", 1.0, -1.0)


def _count(b: Labelled, axis: int) -> int:
    """A vec of one feature: how many steps there are, whatever the lengths of rows."""

    def make() -> int:
        ones = b.at_every_step(b.constant_vec(np.ones(1, np.float32)), Steps(axis))
        return b.graph.reduce(ones, "sum", whole=True)

    return b.kept((axis, b"count"), make)
