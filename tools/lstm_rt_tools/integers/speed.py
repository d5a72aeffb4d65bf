"""How fast a graph is here: a call of one row, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

from ..timing import time_calls

_TURN, _TURNS, _CALLS = 0.03, 7, 3  #: of what is compared in turns: seconds, how often, calls at least


def speed_against(source: Graph, inputs: Sequence[NDArray[Any]]) -> Callable[[Graph], float]:
    """Measures how many times as fast as this graph another is: both in turns, as a computer is not always alike."""
    before = call_of(source, inputs)

    def times_as_fast(graph: Graph) -> float:
        after = call_of(graph, inputs)
        pairs = [(_once(before), _once(after)) for _ in range(_TURNS)]
        return median(a / b for a, b in pairs)

    return times_as_fast


def _once(call: Callable[[], Any]) -> float:
    return median(time_calls(call, _TURN, _CALLS))


def call_of(graph: Graph, inputs: Sequence[NDArray[Any]]) -> Callable[[], Any]:
    """A call with one row and one thread."""
    model = Model(dumps(graph), threads=1)
    rows = [first_row(a, p.shape) for a, p in zip(inputs, model.inputs, strict=True)]
    return lambda: model(*rows)


def first_row(array: NDArray[Any], shape: Sequence[str | int]) -> NDArray[Any]:
    """Of an array that has a batch, which those of one row may lack."""
    if "N" not in shape or array.ndim < len(shape):
        return array
    return np.ascontiguousarray(np.take(array, [0], shape.index("N")))
