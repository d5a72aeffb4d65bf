"""Arithmetic of Keras's arrays in a graph: of two with NumPy's broadcasting, with constants, over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from .arrays import (
    check_size,
    expanded,
    feature_axis,
    numbers,
    permuted,
    picked,
    spread,
    together,
    whole,
    with_time,
)
from .build import Context, Dims, Tensor

FloatArray = NDArray[np.float32]


# -- two arrays -------------------------------------------------------------------------------------


def binary(ctx: Context, op: str, a: Tensor, b: Tensor) -> Tensor:
    """``a op b`` of two arrays of one rank, broadcast."""
    dims = broadcast_dims(a, b)
    a, b = together(ctx, [a, b])
    time = a.time if a.time is not None else b.time
    features = tuple(n for i, n in enumerate(dims) if i != time and n is not None)
    values = [_side(ctx, t, time, features) for t in (a, b)]
    return Tensor(ctx.graph.binary(op, *values), dims, time, a.mask)


def broadcast_dims(a: Tensor, b: Tensor) -> Dims:
    """The axes of two arrays of one rank together; a free size is taken for the same as any other but 1."""
    if len(a.dims) != len(b.dims):
        raise GraphError(f"arrays of {len(a.dims) + 1} and {len(b.dims) + 1} axes are put together")
    dims: list[int | None] = []
    for m, n in zip(a.dims, b.dims, strict=True):
        if m != n and None not in (m, n) and 1 not in (m, n):
            raise GraphError(f"arrays of shapes {list(a.dims)} and {list(b.dims)} do not fit together")
        dims.append(n if m == 1 or (m is None and n != 1) else m)
    return tuple(dims)


def _side(ctx: Context, t: Tensor, time: int | None, features: tuple[int, ...]) -> int:
    """The value of one side, its features as many as those of the result, or a single one."""
    own = t.features
    if t.time is None and time is not None:
        own = own[:time] + own[time + 1 :]  # a single element there
    if own == features or math.prod(own) == 1:
        return t.value
    return spread(ctx, replace(t, dims=with_time(own, t.time, t.steps)), features)


# -- constants --------------------------------------------------------------------------------------


def scaled(ctx: Context, t: Tensor, scale: Any, shift: Any) -> Tensor:
    """``t * scale + shift``; both are numbers or arrays that broadcast to the tensor's axes but the batch's."""
    scale, shift = np.asarray(scale, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    if scale.size == shift.size == 1:
        number = Activation("affine", alpha=float(scale.ravel()[0]), beta=float(shift.ravel()[0]))
        return activated(ctx, t, number)
    t, features = _with_constant(ctx, t, np.broadcast(scale, shift).shape)
    scale, shift = (_of_features(t, c, features) for c in (scale, shift))
    zero, one = np.zeros(scale.size, np.float32), np.ones(scale.size, np.float32)
    value = ctx.graph.batchnorm(
        t.value, zero, one, None if np.all(scale == 1) else scale, shift if np.any(shift) else None, 0.0
    )
    return replace(t, value=value)


def _with_constant(ctx: Context, t: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The tensor as it must be to meet a constant of this shape: broadcast, and a vec where steps differ."""
    if len(shape) > len(t.dims):
        raise GraphError(f"an array of {len(t.dims) + 1} axes meets a constant of shape {list(shape)}")
    shape = (1,) * (len(t.dims) - len(shape)) + shape
    if t.time is not None and shape[t.time] != 1:
        t = whole(ctx, t)
    dims = broadcast_dims(t, Tensor(-1, shape))
    features = tuple(n for i, n in enumerate(dims) if i != t.time and n is not None)
    if features != t.features:
        t = replace(t, value=spread(ctx, t, features), dims=dims)
    return t, features


def _of_features(t: Tensor, c: NDArray[Any], features: tuple[int, ...]) -> FloatArray:
    c = c.reshape((1,) * (len(t.dims) - c.ndim) + c.shape)
    if t.time is not None:
        c = c.squeeze(t.time)
    return np.ascontiguousarray(np.broadcast_to(c, features), dtype=np.float32).ravel()


def constant(ctx: Context, like: Tensor, array: Any) -> Tensor:
    """A constant array as a tensor, the same at every step and row of the tensor ``like``."""
    array = np.asarray(array, dtype=np.float32)
    zero = ctx.graph.activation(ctx.graph.slice(like.value, 0, 1), Activation("clip", alpha=0.0, beta=0.0))
    bias = array.ravel()
    if like.time is not None:
        zero = ctx.graph.select(zero, 0)
    value = ctx.graph.dense(zero, np.zeros((bias.size, 1), np.float32), bias)
    return Tensor(value, array.shape)


# -- functions of each number -----------------------------------------------------------------------


def activated(ctx: Context, t: Tensor, activation: Activation) -> Tensor:
    """A function of each number alone."""
    return replace(t, value=ctx.graph.activation(t.value, activation))


def limited(ctx: Context, t: Tensor, low: float | None, high: float | None) -> Tensor:
    """Numbers below ``low`` are ``low``, above ``high`` they are ``high``."""
    return activated(ctx, t, Activation("clip", alpha=low, beta=high))


# -- over axes --------------------------------------------------------------------------------------


def reduced(
    ctx: Context, t: Tensor, kind: str, axes: Sequence[int], keep: bool = False, mask: int | None = None
) -> Tensor:
    """One number for all those along ``axes``: kind sum, mean, max, min, prod or l2; ``mask`` counts steps."""
    dims, value, time = t.dims, t.value, t.time
    over = [i for i in axes if i != time]
    index = numbers(t)
    if time in axes:
        value = ctx.graph.reduce(value, kind, mask=mask)
    if over:
        places = [feature_axis(t, i) for i in over]
        moved = np.moveaxis(index, places, range(-len(places), 0))
        groups = math.prod(moved.shape[: moved.ndim - len(places)])
        if groups != index.size:
            value = ctx.graph.reduce_features(picked(ctx, value, moved), kind, groups=groups)
    time = None if time in axes else time
    if keep:
        return replace(t, value=value, dims=tuple(1 if i in axes else n for i, n in enumerate(dims)), time=time)
    left = [i for i in range(len(dims)) if i not in axes]
    return replace(t, value=value, dims=tuple(dims[i] for i in left), time=None if time is None else left.index(time))


def softmax(ctx: Context, t: Tensor, axes: Sequence[int], mask: int | None = None, log: bool = False) -> Tensor:
    """Softmax along axes; ``mask`` counts steps where they are the axis."""
    over = [i for i in axes if t.dims[i] != 1 or i == t.time]
    if over == [t.time] and not log:
        return replace(t, value=ctx.graph.softmax_steps(t.value, mask=mask))
    if mask is not None:
        raise GraphError("a softmax under a mask is supported over the steps alone")
    if t.time not in over and math.prod(t.dims[i] or 1 for i in over) == math.prod(t.features):
        return activated(ctx, t, Activation("log_softmax" if log else "softmax"))
    shifted = binary(ctx, "sub", t, reduced(ctx, t, "max", over, keep=True))
    e = activated(ctx, shifted, Activation("exp"))
    total = reduced(ctx, e, "sum", over, keep=True)
    if log:
        return binary(ctx, "sub", shifted, activated(ctx, total, Activation("log")))
    return binary(ctx, "div", e, total)


def product(ctx: Context, a: Tensor, b: Tensor, axes: tuple[int, int]) -> Tensor:
    """The sum of products along an axis of each: the other axes of ``a``, then those of ``b``."""
    if None not in (a.dims[axes[0]], b.dims[axes[1]]) and a.dims[axes[0]] != b.dims[axes[1]]:
        raise GraphError(f"{a.dims[axes[0]]} numbers are multiplied with {b.dims[axes[1]]}")
    rest = [i for i in range(len(a.dims)) if i != axes[0]]
    others = [i for i in range(len(b.dims)) if i != axes[1]]
    # Axes of the products: those of a, those of b, the one that is summed over.
    left, right = permuted(ctx, a, [*rest, axes[0]]), permuted(ctx, b, [*others, axes[1]])
    for _ in others:
        left = expanded(left, len(rest))
    for _ in rest:
        right = expanded(right, 0)
    check_size((*a.features, *b.features))
    return reduced(ctx, binary(ctx, "mul", left, right), "sum", [len(rest) + len(others)])


def padded(ctx: Context, t: Tensor, widths: Sequence[tuple[int, int]], number: float = 0.0) -> Tensor:
    """So many elements of ``number`` before and behind each axis."""
    dims = tuple(None if n is None else n + sum(w) for n, w in zip(t.dims, widths, strict=True))
    check_size(dims if t.time is None else (*dims[: t.time], *dims[t.time + 1 :]))
    index, value = numbers(t), t.value
    around = [w for i, w in enumerate(widths) if i != t.time]
    if any(map(any, around)):
        filler = ctx.graph.activation(ctx.graph.slice(value, 0, 1), Activation("clip", alpha=number, beta=number))
        value = picked(ctx, ctx.graph.concat(value, filler), np.pad(index, around, constant_values=index.size))
    if t.time is not None and any(widths[t.time]):
        value = ctx.graph.pad_steps(value, *widths[t.time], value=number)
    return replace(t, value=value, dims=dims)


def normalized(ctx: Context, t: Tensor, axes: Sequence[int], least: float) -> Tensor:
    """``t`` over the root of the sum of its squares along axes, which is at least ``least``."""
    if t.time not in axes and math.prod(t.dims[i] or 1 for i in axes) == math.prod(t.features):
        return replace(t, value=ctx.graph.l2norm(t.value, least))
    norm = limited(ctx, reduced(ctx, t, "l2", axes, keep=True), least, None)
    return binary(ctx, "div", t, norm)
