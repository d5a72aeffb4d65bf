"""Which matrices become integers, and of how many bits: the fewest with which a model is right, and not slower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph

from .calibrate import Key, Moments, key_of
from .graphs import BITS, Choices, Done, matrices_of, quantize_with_report, why_not
from .measure import Error, errors

SHARE = 1e-3  #: of an output's largest number: how far it may be from float32's where nothing else is asked for
_AS_FAST = 0.99  #: of the speed with float32: what a measurement may be off


@dataclass
class _Matrix:
    key: Key
    options: list[int] = field(default_factory=list)  #: bits, the first being the choice; then float32 is left
    excess: dict[int, float] = field(default_factory=dict)  #: by bits: error over what is allowed, if it is alone
    why: str = ""


def choose(
    graph: Graph,
    inputs: Sequence[NDArray[Any]],
    exact: Sequence[NDArray[Any]],
    activations: int,
    max_error: float | None = None,
    known: Moments | None = None,
    done: Done | None = None,
    speed: Callable[[Graph], float] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Choices:
    """Bits of each matrix.

    A matrix with which alone the model is slower than without is not taken. Of what is left all begin with 8 bits; as
    long as an output is too far from float32's, the matrix that alone does the most harm gets 16, and then float32.

    Args:
        inputs, exact: what errors are measured on, and the outputs of the graph as it is.
        max_error: of each number of each output; without, :data:`SHARE` of the largest number of the output.
        known: what calibration data say of the matrices.
        done: where matrices that became integers are kept.
        speed: how many times as fast as the graph another one is; without, all count as faster.
        tell: is told which matrix is being tried.
    """
    done = {} if done is None else done

    def made(plan: Choices) -> Graph:
        return quantize_with_report(graph, plan, activations, known, done)[0]

    def excess(plan: Choices) -> float:
        return max(_over(e, max_error) for e in errors(made(plan), exact, inputs))

    found = {}
    for i, name in matrices_of(graph):
        w = graph.nodes[i].weights[name]
        if not why_not(graph.nodes[i], w):
            found[key_of(w)] = _Matrix(key_of(w))
    for n, m in enumerate(found.values()):
        tell(f"trying matrix {n + 1} of {len(found)} alone")
        speeds = {bits: speed(made({m.key: (bits, "")})) if speed else 1.0 for bits in BITS}
        m.options = [bits for bits in BITS if speeds[bits] >= _AS_FAST]
        m.excess = {bits: excess({m.key: (bits, "")}) for bits in m.options}
        slow = [f"int{bits} ({speeds[bits]:.2f} times as fast)" for bits in BITS if bits not in m.options]
        m.why = f"slower here as {' and as '.join(slow)}" if slow else ""
    while any(m.options for m in found.values()) and excess(_plan(found.values())) > 1:
        worst = max((m for m in found.values() if m.options), key=lambda m: m.excess[m.options[0]])
        bits = worst.options.pop(0)
        far = f"too far from float32 as int{bits} (alone {worst.excess[bits]:.2g} times what is allowed)"
        worst.why = f"{worst.why}, {far}" if worst.why else far
    return _plan(found.values())


def _plan(matrices: Iterable[_Matrix]) -> Choices:
    return {m.key: (m.options[0] if m.options else 0, m.why) for m in matrices}


def _over(e: Error, max_error: float | None) -> float:
    """An error over what is allowed."""
    allowed = e.largest * SHARE if max_error is None else max_error
    if not np.isfinite(e.max_abs):
        return np.inf
    return 0.0 if e.max_abs == 0 else e.max_abs / allowed if allowed > 0 else np.inf
