"""What a self-test may be, and what it proves: checked when one is written, and when one is run.

docs/format.md, section 7, has the rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import number
from ._core import MAX_COUNT, MAX_ROWS, MAX_RTOL
from .errors import GraphError
from .graph import Graph, SelfTest, Value

ATOL = 1e-5  #: an absolute tolerance up to this is always taken
SHARE = 0.01  #: ... a larger one as far as this share of an output's largest number


def checked(graph: Graph, test: SelfTest) -> tuple[int, list[int], SelfTest]:
    """Batch, steps per axis, and the self-test with arrays of the dtypes that a file holds.

    Raises:
        GraphError: an array, or a tolerance, does not fit; or the test proves nothing of an output.
    """
    if len(test.inputs) != len(graph.inputs) or len(test.outputs) != len(graph.outputs):
        raise GraphError("the self-test does not have one array per input and output")
    values = [graph.values[i] for i in graph.inputs + graph.outputs]
    arrays = [_typed(v, a) for v, a in zip(values, test.inputs + test.outputs, strict=True)]
    batch, steps = _shape(graph, values, arrays)
    n = len(graph.inputs)
    result = SelfTest(arrays[:n], arrays[n:], test.atol, test.rtol)
    for value, output in zip(values[n:], result.outputs, strict=True):
        tolerance(result, value.name, output)
    return batch, steps, result


def _typed(v: Value, given: Any) -> NDArray[Any]:
    array = np.asarray(given)
    kinds, dtype = ("iu", np.int32) if v.kind in ("ids", "lengths") else ("fiu", np.float32)
    if array.dtype.kind not in kinds:
        raise GraphError(f"self-test: {v.name} has dtype {array.dtype}, expected {np.dtype(dtype)}")
    with np.errstate(over="ignore"):  # too large for float32: infinite
        typed = array.astype(dtype)
    if kinds == "iu" and np.any(typed != array):
        raise GraphError(f"self-test: {v.name} holds numbers that are no int32")
    return typed


def _shape(graph: Graph, values: list[Value], arrays: list[NDArray[Any]]) -> tuple[int, list[int]]:
    """Batch and steps per axis: what the inputs bring, and what follows from it."""
    batch, steps = int(not values[0].has_batch), dict.fromkeys(range(graph.n_axes), 0)
    for v, array in zip(values[: len(graph.inputs)], arrays, strict=False):
        for what, n in zip(v.shape("N", "T"), array.shape, strict=False):
            if what == "N":
                batch = n
            elif what == "T":
                steps[v.axis] = n
    graph.complete_steps(steps)
    if not 1 <= batch <= MAX_COUNT:
        raise GraphError(f"self-test: a batch of {batch} rows, expected 1 to {MAX_COUNT}")
    for v, array in zip(values, arrays, strict=True):
        shape = v.shape(batch, steps.get(v.axis, 0))
        if array.shape != shape:
            raise GraphError(f"self-test: {v.name} has shape {array.shape}, expected {shape}")
        if v.timed and batch * steps[v.axis] > MAX_ROWS:
            raise GraphError(f"self-test: {batch} rows of {steps[v.axis]} steps are more than {MAX_ROWS}")
    return batch, list(steps.values())


def tolerance(test: SelfTest, name: str, expected: NDArray[Any]) -> float:
    """The absolute tolerance that the output of this name is held to.

    Raises:
        GraphError: the test's tolerances are such that wrong numbers would pass, or there are none.
    """
    atol, rtol = number("self-test", "atol", test.atol), number("self-test", "rtol", test.rtol)
    sizes = np.abs(expected[np.isfinite(expected)])
    if not sizes.size:
        raise GraphError(f"self-test: output {name!r} has no finite number to compare with")
    share = float(sizes.max()) * SHARE
    most = max(ATOL, share)
    if not 0 <= np.float32(atol) <= np.float32(most):
        raise GraphError(
            f"self-test: atol is {atol:g}, expected 0 to {most:.3g}: "
            f"the numbers of output {name!r} are no larger than {share / SHARE:.3g}"
        )
    if not 0 <= np.float32(rtol) <= np.float32(MAX_RTOL):
        raise GraphError(f"self-test: rtol is {rtol:g}, expected 0 to {MAX_RTOL:.3g}")
    return min(atol, share) if share else atol


def compare(test: SelfTest, name: str, got: NDArray[Any], expected: NDArray[Any]) -> tuple[bool, float]:
    """Does one output pass, and its largest error: infinite where one of two numbers is not finite.

    Raises:
        GraphError: as :func:`tolerance`.
    """
    atol = tolerance(test, name, expected)
    mine, theirs = got.astype(np.float64), expected.astype(np.float64)
    same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(mine - theirs))
    error[np.isnan(error)] = np.inf
    allowed = atol + test.rtol * np.where(np.isfinite(theirs), np.abs(theirs), 0.0)
    return bool((error <= allowed).all()), float(error.max())
