"""What a program asks of the numbers of its inputs: comparisons, choices and places, as features of whole numbers.

A truth is 1 or 0, and the place of the largest feature is its number; both are exact. No part of a graph branches on
them: both sides of a choice are there, and one is multiplied with 0.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from .labels import Feat

if TYPE_CHECKING:
    from .labelled import Labelled

Side: TypeAlias = "Feat | NDArray[Any]"  #: of a comparison or choice: features or numbers, of which not both

_MOST = float(np.finfo(np.float32).max)


def compared(b: Labelled, word: str, x: Side, y: Side) -> Feat:
    """1 where the comparison holds, elsewhere 0.

    Raises:
        ProgramError: a number is not finite.
    """
    if word in ("ge", "le", "eq"):
        return negated(b, compared(b, {"ge": "lt", "le": "gt", "eq": "ne"}[word], x, y))
    sign = _acted(b, word, _difference(b, word, x, y), "sign")
    if word == "lt":
        sign = _acted(b, word, sign, Activation("affine", -1.0, 0.0))
    return _acted(b, word, sign, "abs" if word == "ne" else "relu")


def negated(b: Labelled, truth: Feat) -> Feat:
    """Where it does not hold."""
    return _acted(b, "logical_not", truth, Activation("affine", -1.0, 1.0))


def both_or_one(b: Labelled, word: str, x: Feat, y: Feat) -> Feat:
    """``logical_and`` or ``logical_or`` of two."""
    return b.pairs(x, y, word, partial(b.graph.binary, "mul" if word == "logical_and" else "maximum"))


def chosen(b: Labelled, truth: Feat, x: Side, y: Side) -> Feat:
    """``x`` where it holds, elsewhere ``y``, feature by feature."""
    sides = [(truth, x), (negated(b, truth), y)]
    made = [_only(b, t, s) for t, s in sides if isinstance(s, Feat) or np.any(s != 0)]
    if not made:
        raise b.error("where", "a choice between nothing and nothing is not supported")
    if len(made) == 1:
        return made[0]
    return b.pairs(made[0], made[1], "where", partial(b.graph.binary, "add"))


def place_of_largest(b: Labelled, x: Feat, axis: int) -> Feat:
    """The number of the first of the largest features along a dimension, which becomes of size 1."""
    from .rules.arithmetic import scaled
    from .rules.reductions import reduced

    def largest(label: Feat) -> Feat:
        return reduced(b, label, "max", (axis,), True)

    n = math.prod(a for a in x.dims[axis] if isinstance(a, int))
    is_largest = negated(b, compared(b, "lt", x, largest(x)))
    order = np.arange(n, 0, -1, dtype=np.float32).reshape([n if i == axis else 1 for i in range(len(x.dims))])
    return scaled(b, largest(scaled(b, is_largest, "argmax", order, 0)), "argmax", -1, n)


def hot(b: Labelled, place: Feat, count: int) -> Feat:
    """For each number a feature, along a new last dimension: 1 where the place is that, elsewhere 0."""
    return compared(b, "eq", Feat((*place.dims, ()), place.cells), np.arange(count, dtype=np.float32))


def _difference(b: Labelled, word: str, x: Side, y: Side) -> Feat:
    from .rules.arithmetic import scaled

    for side in (x, y):
        if not isinstance(side, Feat) and not np.all(np.isfinite(side)):
            raise b.error(word, "of features with what is no finite number it is not supported")
    if isinstance(x, Feat) and isinstance(y, Feat):
        return b.pairs(x, y, word, partial(b.graph.binary, "sub"))
    if isinstance(x, Feat):
        return scaled(b, x, word, 1, -np.asarray(y, np.float32))
    assert isinstance(y, Feat)
    return scaled(b, y, word, -1, x)


def _only(b: Labelled, truth: Feat, side: Side) -> Feat:
    """A side where a truth holds, elsewhere 0: what is infinite in the other one must not make NaN of that."""
    from .rules.arithmetic import scaled

    if isinstance(side, Feat):
        finite = _acted(b, "where", side, Activation("clip", -_MOST, _MOST))
        return b.pairs(truth, finite, "where", partial(b.graph.binary, "mul"))
    if np.isnan(side).any():
        raise b.error("where", "a choice of what is not a number is not supported")
    return scaled(b, truth, "where", np.clip(np.asarray(side, np.float32), -_MOST, _MOST), 0)


def _acted(b: Labelled, op: str, x: Feat, act: str | Activation) -> Feat:
    return b.each(x, op, lambda value: b.graph.activation(value, act))
