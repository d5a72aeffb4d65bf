"""Inputs made up for a graph: self-tests, comparisons and benchmarks need arrays that fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt import _selftest
from lstm_rt.errors import GraphError
from lstm_rt.graph import DTYPES, Graph, SelfTest, Value

from . import reference

_UNBOUND_IDS = 10  #: ids that no embedding reads are drawn from below this


def make_inputs(
    graph: Graph,
    batch: int = 1,
    steps: int | Mapping[int, int] = 4,
    seed: int = 0,
    full_lengths: bool = True,
) -> list[NDArray[Any]]:
    """Deterministic pseudo-random arrays, one per graph input, in order.

    Args:
        steps: T, or a dict from time axis to T.
        full_lengths: False draws lengths from 1 to T (the first row keeps T).
    """
    rng = np.random.default_rng(seed)
    result = []
    for index in graph.inputs:
        v = graph.values[index]
        t = steps if isinstance(steps, int) else steps.get(v.axis, 4)
        result.append(_make_input(graph, index, v, rng, (batch, t), full_lengths).astype(DTYPES[v.kind]))
    return result


def _make_input(
    graph: Graph,
    index: int,
    v: Value,
    rng: np.random.Generator,
    shape: tuple[int, int],
    full_lengths: bool,
) -> NDArray[Any]:
    batch, steps = shape
    if v.kind == "ids":
        return rng.integers(0, id_limit(graph, index), shape)
    if v.kind == "lengths":
        lengths = np.full(batch, steps)
        if not full_lengths and steps > 0:
            lengths[1:] = rng.integers(1, steps + 1, batch - 1)
        return lengths
    return rng.standard_normal((batch, v.size) if v.kind == "vec" else (batch, steps, v.size))


def id_limit(graph: Graph, value: int) -> int:
    """Number of ids that every embedding reading ``value`` knows."""
    tables = [n.weights["table"] for n in graph.nodes if n.op == "embedding" and n.inputs[0] == value]
    return min((len(t) for t in tables), default=_UNBOUND_IDS)


def make_selftest(graph: Graph) -> SelfTest | None:
    """A small test vector computed by the reference interpreter in double precision.

    ``atol`` is widened where float32 arithmetic itself is further away than the default, as it is
    for recurrences that grow. ``None`` if nothing would be proved: the outputs are not finite, or
    float32 is too far away from them.
    """
    inputs = make_inputs(graph)
    with np.errstate(all="ignore"):
        exact = reference.run(graph, inputs)
        single = reference.run(graph, inputs, dtype=np.float32)
        test = SelfTest(inputs, [y.astype(np.float32) for y in exact])
        for a, b in zip(exact, single, strict=True):
            rounding = np.max(np.abs(a - b), initial=0)
            test.atol = max(test.atol, float(np.max(8 * rounding - test.rtol * np.abs(a), initial=0)))
    if not all(np.isfinite(y).all() for y in test.outputs):
        return None
    try:
        _selftest.checked(graph, test)
    except GraphError:
        return None
    return test
