"""Inputs made up for a graph: self-tests, comparisons and benchmarks need arrays that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt import _selftest
from lstm_rt.errors import GraphError
from lstm_rt.graph import DTYPES, Array, Graph, SelfTest, Value
from lstm_rt.ops import MAX_STEPS

from . import reference

ROWS, STEPS = 3, 9  #: of inputs on which a converted model is compared with its source
_UNBOUND_IDS = 10  #: ids that no embedding reads are drawn from below this
_MOST_OF_A_WINDOW = 1 << 16  #: steps that are made up for a window of an input's
_SELFTEST_MEMORY = 24 << 20  #: bytes that any graph's self-test may take
SELFTEST_BYTES = 64 << 10  #: of a self-test, unless a single step takes more


def make_inputs(
    graph: Graph,
    batch: int = 1,
    steps: int | Mapping[int, int] = 4,
    seed: int = 0,
    full_lengths: bool = True,
) -> list[NDArray[Any]]:
    """Deterministic pseudo-random arrays, one per graph input, in order, their axes in the input's.

    Args:
        steps: T, or a dict from time axis to T.
        full_lengths: False draws lengths from 1 to T (the first row keeps T).
    """
    rng = np.random.default_rng(seed)
    result = []
    for index in graph.inputs:
        v = graph.values[index]
        t = steps if isinstance(steps, int) else steps.get(v.axis, 4)
        rows = batch if v.has_batch else 1
        array = _make_input(graph, index, v, rng, (rows, t), full_lengths).astype(DTYPES[v.kind])
        result.append(np.ascontiguousarray(v.from_batch_first(array)))
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
        rows = shape if v.timed else shape[:1]
        return rng.integers(0, id_limit(graph, index), (*rows, v.size) if v.size else rows)
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


def make_selftest(
    graph: Graph,
    theirs: Callable[[list[NDArray[Any]]], Sequence[Array]] | None = None,
    steps: Mapping[int, int] | None = None,
) -> SelfTest | None:
    """A small test vector with made-up inputs: two rows, a few steps, 64 KiB unless a single step takes more.

    ``atol`` is widened where float32 arithmetic itself is further away than the default, as it is
    for recurrences that grow.

    Args:
        theirs: gives the outputs of the source model for the inputs; without it, they are computed by
            the reference interpreter in double precision.
        steps: T of a single row, by time axis, for models that take no few steps.

    Returns:
        The test, or ``None`` if nothing would be proved: the outputs are not finite, or float32 is too far
        away from them; or if fixed numbers of steps would make it take far more memory than the graph.
    """
    rows, count = _selftest_size(graph) if steps is None else (1, 1)
    steps = enough_steps(graph, count) | dict(steps or {}) | fixed_steps(graph)
    weights = sum(w.nbytes for n in graph.nodes for w in n.weights.values())
    if _memory(graph, rows, steps) > _SELFTEST_MEMORY + 8 * weights:
        return None
    inputs = make_inputs(graph, rows, steps, full_lengths=False)
    with np.errstate(all="ignore"):
        exact = reference.run(graph, inputs)
        single = reference.run(graph, inputs, dtype=np.float32)
        given = exact if theirs is None else theirs(inputs)
        outputs = [  # of a source that joins axes, apart
            np.asarray(y, np.float32).reshape(a.shape if np.size(y) == a.size else np.shape(y))
            for y, a in zip(given, exact, strict=True)
        ]
        test = SelfTest(inputs, outputs)
        for a, b, y in zip(exact, single, outputs, strict=True):
            away = max(8 * _furthest(a, b), 0.0 if theirs is None else 4 * _furthest(a, y))
            test.atol = max(test.atol, float(np.max(away - test.rtol * np.abs(a), initial=0)))
    if not all(np.isfinite(y).all() for y in outputs):
        return None
    try:
        _selftest.checked(graph, test)
    except GraphError:
        return None
    return test


def usual_steps(graph: Graph) -> dict[int, int]:
    """Steps, by time axis, at which a source is run again: a few, or as many as its self-test has."""
    steps = enough_steps(graph, STEPS)
    if graph.selftest is not None:
        for index, array in zip(graph.inputs, graph.selftest.inputs, strict=True):
            v = graph.values[index]
            if v.timed:
                steps[v.axis] = max(STEPS, v.to_batch_first(array).shape[1])
    return steps | fixed_steps(graph)


def enough_steps(graph: Graph, steps: int) -> dict[int, int]:
    """So many steps on every time axis, or as many as its longest windows need: one shorter than these gives none."""
    found = dict.fromkeys(range(graph.n_axes), steps)
    for axis in found:
        root = graph.root(axis)
        if root is not None and _derived(graph, root, axis, _MOST_OF_A_WINDOW):
            found[root] = max(found[root], _steps_for(graph, root, axis, 1))
    return found


def _memory(graph: Graph, rows: int, steps: Mapping[int, int]) -> int:
    """Bytes of all values of a call with so many steps on the axes of inputs, in double and in single precision."""
    known = {axis: n for axis, n in steps.items() if graph.axes[axis].is_input}
    graph.complete_steps(known)
    return 12 * rows * sum(v.size * known.get(v.axis, 1) for v in graph.values)


def fixed_steps(graph: Graph) -> dict[int, int]:
    """The steps of axes of inputs on which a graph takes no other number of them."""
    found: dict[int, int] = {}
    for node in graph.nodes:
        if node.op == "flatten":
            source = node.inputs[0]
            assert source is not None
            axis, root = graph.values[source].axis, graph.root(graph.values[source].axis)
            if root is not None:  # several numbers of steps may do for one node, of which another takes fewer
                least = _steps_for(graph, root, axis, node.attrs["steps"])
                found[root] = max(least, found.get(root, 0))
    return found


def _steps_for(graph: Graph, root: int, axis: int, wanted: int) -> int:
    """The fewest steps of an axis that give so many on one derived from it."""
    low, high = 0, 1
    while _derived(graph, root, axis, high) < wanted and high < MAX_STEPS // 2:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _derived(graph, root, axis, middle) >= wanted else (middle, high)
    return high


def _derived(graph: Graph, root: int, axis: int, steps: int) -> int:
    known = {root: steps}
    graph.complete_steps(known)
    return known[axis]


def _furthest(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.max(np.abs(a - b), initial=0))


def _selftest_size(graph: Graph) -> tuple[int, int]:
    """Rows and steps of a self-test: as many of the usual ones as fit."""
    values = [graph.values[i] for i in (*graph.inputs, *graph.outputs)]
    per_row = 4 * sum(max(v.size, 1) for v in values if not v.timed)
    per_step = 4 * sum(max(v.size, 1) for v in values if v.timed)
    for rows, steps in ((2, 4), (2, 2), (1, 2)):
        if rows * (per_row + steps * per_step) <= SELFTEST_BYTES:
            return rows, steps
    return 1, 1
