"""Operators that give numbers that do not depend on the inputs' numbers, and tables that are looked up."""

from __future__ import annotations

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op
from .elementwise import known_only
from .shapes import expand

_MOST = 1 << 24  #: numbers that a node of a few bytes may ask for


@op("Constant")
def _constant(c: Call) -> Value:
    for name in ("value", "sparse_value"):
        if (array := c.array(name)) is not None:
            return c.constant(array)
    if c.has("value_float"):
        return c.constant(np.float32(c.number("value_float")))
    if c.has("value_int"):
        return c.constant(np.int64(c.integer("value_int")))
    if c.has("value_floats"):
        return c.constant(np.array(c.floats("value_floats"), np.float32))
    if c.has("value_ints"):
        return c.constant(np.array(c.ints("value_ints"), np.int64))
    raise c.error("it has no value of numbers")


@op("ConstantOfShape")
def _constant_of_shape(c: Call) -> Value:
    value = c.array("value")
    number = np.zeros(1, np.float32) if value is None else value
    sizes = c.known_ints(0, "shape") or []
    if number.size != 1 or min(sizes, default=0) < 0:
        raise c.error(f"a shape {tuple(sizes)} filled with {number.size} numbers")
    return expand(c, c.constant(number.reshape(())), sizes)


@op("Shape")
def _shape(c: Call) -> Value:
    x = c.tensor(0)
    start, end = c.integer("start", 0), c.integer("end", x.ndim)
    return c.constant(np.array(x.shape[slice(start, end)], np.int64))


@op("Size")
def _size(c: Call) -> Value:
    return c.constant(np.int64(c.tensor(0).data.size))


@op("Range", ignores=("stash_type",))
def _range(c: Call) -> Value:
    start, limit, delta = (c.known(i, name).reshape(()) for i, name in enumerate(("start", "limit", "delta")))
    if not delta or not np.isfinite([float(start), float(limit), float(delta)]).all():
        raise c.error(f"from {start} to {limit} by {delta}")
    count = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
    _check(c, count)
    return c.constant((start + np.arange(count, dtype=start.dtype) * delta).astype(start.dtype))


def _check(c: Call, count: int) -> None:
    if count > _MOST:
        raise c.error(f"its result would have {count} numbers")


@op("EyeLike")
def _eye_like(c: Call) -> Value:
    x, k = c.tensor(0), c.integer("k", 0)
    if x.ndim != 2:
        raise c.error(f"an input of the shape {x.shape}, expected two dimensions")
    _check(c, x.data.size)
    return c.constant(
        np.eye(x.shape[0], x.shape[1], k, dtype=c.dtype(c.integer("dtype")) if c.has("dtype") else x.dtype)
    )


@op("OneHot")
def _one_hot(c: Call) -> Value:
    ids, depth = c.tensor(0), int(c.known_number(1, "depth", 0))
    values = c.known(2, "values").reshape(-1)
    if values.size != 2 or depth < 1:
        raise c.error(f"depth {depth} and {values.size} values")
    axis = c.axis(c.integer("axis", -1), ids.ndim + 1)
    return c.one("one_hot", ids, depth=depth, on=float(values[1]), off=float(values[0]), axis=axis)


@op("NonZero")
def _non_zero(c: Call) -> Value:
    return known_only(c, lambda x: np.array(np.nonzero(np.atleast_1d(x)), np.int64))


@op("Unique")
def _unique(c: Call) -> Value | tuple[Value, ...]:
    if c.has("axis") or not c.integer("sorted", 1):
        raise c.error("only sorted, without axis, is supported")
    found = np.unique(c.known(0, "input"), return_index=True, return_inverse=True, return_counts=True)
    return tuple(c.constant(np.asarray(part).reshape(-1)) for part in found)


@op("TopK", ignores=("sorted",))
def _top_k(c: Call) -> Value | tuple[Value, ...]:
    x = c.tensor(0)
    axis, largest = c.axis(c.integer("axis", -1), x.ndim), bool(c.integer("largest", 1))
    k = int(c.known_number(1, "k", 0)) if c.version >= 10 else c.integer("k")
    if not x.known and x.ndim == 1 and x.dtype.kind in "iu" and k == x.shape[0]:
        places = c.one("argsort", x, axis=0, descending=largest)
        return c.one("gather_elements", x, places, axis=0), places
    if not x.known:
        return _top_one(c, x, k, axis, largest)
    order = c.one("argsort", x, axis=axis, descending=largest).data
    order = order.take(range(min(k, x.shape[axis])), axis)
    return c.constant(np.take_along_axis(x.data, order, axis)), c.constant(order)


def _top_one(c: Call, x: Tensor, k: int, axis: int, largest: bool) -> tuple[Value, ...]:
    if k != 1:
        raise c.error(f"the largest {k} of numbers that depend on the inputs are not supported, only the largest one")
    top = c.one("max" if largest else "min", x, axes=(axis,), keepdims=True)
    if not c.wants(1):
        return (top,)
    return top, c.one("argmax", x if largest else c.one("neg", x), axis=axis, keepdims=True)


@op("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
def _random(c: Call) -> Value:
    raise c.error("it makes random numbers; export the model in evaluation mode")
