"""Windows as many as the steps divided by their stride: where the first begins depends on what is left over.

TensorFlow's ``same`` puts half of the padding that is needed before the first step. Of any number of steps that is one
of a few numbers, which a graph computes of the remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lstm_rt.graph import Activation

from ..labelled import Labelled
from ..labels import Steps


def starts(b: Labelled, steps: Steps, span: int, stride: int, lower: bool) -> list[tuple[int, int | None]]:
    """How many steps of padding stand before the first, and a vec that is 1 where it is so; None: it always is.

    With as many steps of padding behind as make ``span - 1`` of both there is a window for every ``stride`` steps.

    Args:
        span: steps from the first of a window to its last, both counted.
        lower: of an odd number of steps of padding, one more stands before.
    """
    before: dict[int, list[int]] = {}
    for left in range(stride):
        total = max(0, span - stride + (stride - left) % stride)
        before.setdefault((total + lower) // 2, []).append(left)
    if len(before) == 1:
        return [(next(iter(before)), None)]
    remainder = _remainder(b, steps, stride)
    return [(count, _one_of(b, remainder, lefts)) for count, lefts in before.items()]


def _remainder(b: Labelled, steps: Steps, stride: int) -> int:
    """A vec: what is left of the steps when they are divided."""
    graph = b.graph
    ones = b.at_every_step(b.constant_vec(np.ones(1, np.float32)), steps)
    count = graph.reduce(ones, "sum")
    rounds = graph.activation(graph.activation(count, Activation("affine", 1 / stride, 0.5 / stride)), "floor")
    return graph.binary("sub", count, graph.activation(rounds, Activation("affine", float(stride), 0.0)))


def _one_of(b: Labelled, number: int, wanted: Sequence[int]) -> int:
    """1 where a whole number is one of those wanted, else 0."""
    found = None
    for n in wanted:
        apart = b.graph.activation(b.graph.activation(number, Activation("affine", 1.0, -float(n))), "abs")
        one = b.graph.activation(b.graph.activation(apart, Activation("affine", -1.0, 1.0)), "relu")
        found = one if found is None else b.graph.binary("add", found, one)
    assert found is not None
    return found


def chosen(b: Labelled, ways: Sequence[tuple[int, int | None]], make: Callable[[int], int]) -> int:
    """What ``make`` gives of the number of steps before the first, of the one that there are."""
    found = None
    for count, here in ways:
        one = make(count)
        one = one if here is None else b.graph.binary("mul", one, here)
        found = one if found is None else b.graph.binary("add", found, one)
    assert found is not None
    return found
