"""What a run makes of denormal numbers: zeros, where lstm_rt knows the CPU's mode for it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lstm_rt import Model
from lstm_rt.format import dumps
from lstm_rt.graph import Activation, Graph

SMALLEST = np.finfo(np.float32).tiny  #: normal number


@cache
def flushes() -> bool:
    """Does this CPU have such a mode? Elsewhere denormals are kept."""
    g = Graph()
    g.output(g.activation(g.input("x", "seq", 1), Activation("affine", 0.5, 0.0)), "y")
    return not Model(dumps(g))(np.full((1, 1, 1), SMALLEST)).any()


def flushed(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """As operands count, and as results are."""
    return np.where(np.abs(x) < SMALLEST, np.copysign(np.float32(0), x), x) if flushes() else x
