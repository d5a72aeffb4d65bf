"""Reductions over axes, softmax and running sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op
from .elementwise import known_only

#: The word, what is applied before it and what behind it; and the version from which axes are an input.
_REDUCTIONS: dict[str, tuple[str | None, str, str | None, int]] = {
    "ReduceL1": ("abs", "sum", None, 18),
    "ReduceL2": (None, "l2", None, 18),
    "ReduceLogSum": (None, "sum", "log", 18),
    "ReduceLogSumExp": (None, "logsumexp", None, 18),
    "ReduceMax": (None, "max", None, 18),
    "ReduceMean": (None, "mean", None, 18),
    "ReduceMin": (None, "min", None, 18),
    "ReduceProd": (None, "prod", None, 18),
    "ReduceSum": (None, "sum", None, 13),
    "ReduceSumSquare": ("square", "sum", None, 18),
}


@op(*_REDUCTIONS)
def _reduction(c: Call) -> Value:
    before, word, behind, since = _REDUCTIONS[c.name]
    x = c.tensor(0)
    axes = c.known_ints(1, "axes") if c.version >= since else c.ints("axes")
    noop, keep = bool(c.integer("noop_with_empty_axes", 0)), bool(c.integer("keepdims", 1))
    if not axes:
        axes = [] if noop else list(range(x.ndim))
    if c.name == "ReduceMax" and axes and not x.known and x.ndim == 1 and x.dtype.kind == "i":
        longest = c.m.longest(x)
        return c.reshape(longest, (1,)) if keep else longest
    x = x if before is None else c.one(before, x)
    if axes:
        x = c.one(word, x, axes=tuple(c.axes(axes, x.ndim)), keepdims=keep)
    return x if behind is None else c.one(behind, x)


@op("ArgMax", "ArgMin")
def _arg(c: Call) -> Value:
    x = c.tensor(0)
    axis, keep = c.axis(c.integer("axis", 0), x.ndim), bool(c.integer("keepdims", 1))
    x = x if c.name == "ArgMax" else c.one("neg", x)
    if not c.integer("select_last_index", 0):
        return c.one("argmax", x, axis=axis, keepdims=keep)
    first = c.one("argmax", c.one("flip", x, axis=axis), axis=axis, keepdims=keep)
    return c.one("sub", c.constant(np.int64(x.shape[axis] - 1)), first)


@op("Softmax", "LogSoftmax", "Hardmax")
def _softmax(c: Call) -> Value:
    x = c.tensor(0)
    word = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}.get(c.name)
    if word is None:
        axis = c.axis(c.integer("axis", -1 if c.version >= 13 else 1), x.ndim)
        return known_only(c, lambda a: _hardmax(a, axis, c.version))
    if c.version >= 13:
        return c.one(word, x, axis=c.axis(c.integer("axis", -1), x.ndim))
    axis = c.integer("axis", 1)
    axis = axis if axis == x.ndim else c.axis(axis, x.ndim)  # over all dimensions from this one on
    if math.prod(x.shape[axis + 1 :]) == 1 and axis < x.ndim:
        return c.one(word, x, axis=axis)
    flat = c.reshape(x, (*x.shape[:axis], math.prod(x.shape[axis:])))
    return c.reshape(c.one(word, flat, axis=flat.ndim - 1), x.shape)


def _hardmax(x: np.ndarray, axis: int, version: int) -> np.ndarray:
    flat = x if version >= 13 else x.reshape(*x.shape[:axis], -1)
    top = np.expand_dims(np.argmax(flat, axis), axis)
    out = np.zeros_like(flat)
    np.put_along_axis(out, top, 1, axis)
    return out.reshape(x.shape)


@op("CumSum")
def _cumsum(c: Call) -> Value:
    x = c.tensor(0)
    axis = c.axis(int(c.known_number(1, "axis", 0)), x.ndim)
    backward = bool(c.integer("reverse", 0))
    x = c.one("flip", x, axis=axis) if backward else x
    if c.integer("exclusive", 0):
        pads = [(0, 0)] * x.ndim
        pads[axis] = (1, 0)
        x = c.one("pad", c.one("slice", x, axis=axis, start=0, stop=x.shape[axis] - 1, step=1), pads=pads)
    total = c.one("cumsum", x, axis=axis)
    return c.one("flip", total, axis=axis) if backward else total


def mean(c: Call, x: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean over axes, which stay with size 1."""
    return c.one("mean", x, axes=tuple(axes), keepdims=True)
