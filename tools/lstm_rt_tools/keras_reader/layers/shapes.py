"""Layers that move numbers: reshaped, repeated, cut, padded."""

from __future__ import annotations

import math
from string import ascii_letters

import numpy as np

from lstm_rt.graph import Axis

from .. import arrays
from ..arith import padded
from ..arrays import permuted, reshaped
from ..build import Context, Tensor
from ..config import LayerSpec
from .einsum import contracted
from .row import Move

DATA_FORMATS = ("channels_last", "channels_first")


def is_channels_first(spec: LayerSpec) -> bool:
    """Are the channels the first axis, as the option ``data_format`` tells?"""
    value = spec.config.get("data_format")
    return value is not None and spec.choice("data_format", DATA_FORMATS, "channels_last") == "channels_first"


def channels_last(ctx: Context, x: Tensor, first: bool) -> Tensor:
    """An array with its channels as last axis, where they are first."""
    return permuted(ctx, x, [*range(1, len(x.dims)), 0]) if first else x


def channels_back(ctx: Context, x: Tensor, first: bool) -> Tensor:
    """The inverse of :func:`channels_last`."""
    last = len(x.dims) - 1
    return permuted(ctx, x, [last, *range(last)]) if first else x


def flatten(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
    """All axes as one."""
    x = channels_last(ctx, x, is_channels_first(spec) and len(x.dims) > 1)
    return reshaped(ctx, x if math.prod(x.features) == 1 else arrays.whole(ctx, x), [-1])


def reshape(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
    """Other axes for the same numbers."""
    shape = spec.required("target_shape")
    if not isinstance(shape, list | tuple) or not all(n is None or (isinstance(n, int) and n >= -1) for n in shape):
        raise spec.error(f"option target_shape is {shape!r:.60}, expected sizes")
    return reshaped(ctx, x, shape)


def permute(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
    """The axes in another order."""
    order = spec.sizes("dims", len(x.dims))
    return permuted(ctx, x, [i - 1 for i in order])


def repeat_vector(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
    """A vec at every step of as many as the option says."""
    n = spec.size("n")
    if len(x.dims) != 1:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected (batch, features)")
    if x.time is not None or arrays.is_stepwise(ctx, x):
        return arrays.tiled(ctx, arrays.expanded(x, 0), 0, n)
    axis = ctx.graph.new_axis(Axis(None, 0, n))
    return Tensor(ctx.graph.repeat_vector(x.value, axis), (n, *x.dims), 0)


def _pairs(spec: LayerSpec, key: str, count: int) -> list[tuple[int, int]]:
    """Two numbers, before and behind, for each of ``count`` axes."""
    value = spec.required(key)
    pairs = [value] if count == 1 else value
    if isinstance(value, int):
        pairs = [value] * count
    if not isinstance(pairs, list | tuple) or len(pairs) != count:
        raise spec.error(f"option {key} is {value!r:.60}, expected two numbers for each of {count} axes")
    found = [[p, p] if isinstance(p, int) else p for p in pairs]
    for p in found:
        if not (isinstance(p, list | tuple) and len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p)):
            raise spec.error(f"option {key} is {value!r:.60}, expected two numbers for each of {count} axes")
    return [(p[0], p[1]) for p in found]


def _spatial(spec: LayerSpec, x: Tensor, rank: int) -> int:
    """The first axis that is one of height, width and so on, not of channels."""
    if len(x.dims) != rank + 1:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected {rank + 2} axes")
    return 1 if is_channels_first(spec) else 0


def cropping(rank: int) -> Move:
    """The function of a Cropping layer."""

    def crop(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
        first = _spatial(spec, x, rank)
        for i, (before, behind) in enumerate(_pairs(spec, "cropping", rank)):
            x = arrays.cut(ctx, x, first + i, before, -behind if behind else None, 1)
        return x

    return crop


def zero_padding(rank: int) -> Move:
    """The function of a ZeroPadding layer."""

    def pad(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
        widths = _pairs(spec, "padding", rank)
        return padded(ctx, x, [(0, 0), *widths] if _spatial(spec, x, rank) else [*widths, (0, 0)])

    return pad


def up_sampling(rank: int) -> Move:
    """The function of an UpSampling layer."""

    def up(ctx: Context, spec: LayerSpec, x: Tensor) -> Tensor:
        linear = spec.choice("interpolation", ("nearest", "bilinear"), "nearest") == "bilinear"
        first = _spatial(spec, x, rank)
        for i, times in enumerate(spec.sizes("size", rank, 2)):
            x = between(ctx, x, first + i, times) if linear else arrays.repeated(ctx, x, first + i, times)
        return x

    return up



def between(ctx: Context, x: Tensor, axis: int, times: int) -> Tensor:
    """An axis with ``times`` as many elements, which lie on lines between those there are."""
    x = arrays.whole(ctx, x) if axis == x.time else x
    size = x.dims[axis]
    assert size is not None
    arrays.check_size((*x.features, times))
    ctx.budget.memory(8 * size * size * times, "what lies between its elements")
    at = np.clip((np.arange(size * times) + 0.5) / times - 0.5, 0, size - 1)
    below = np.minimum(at.astype(np.int64), max(size - 2, 0))
    matrix = np.zeros((size, size * times), np.float32)
    matrix[below, np.arange(size * times)] = 1 - (at - below)
    matrix[np.minimum(below + 1, size - 1), np.arange(size * times)] += at - below
    names = ascii_letters[: len(x.dims)]
    return contracted(ctx, x, names, matrix, names[axis] + "_", names[:axis] + "_" + names[axis + 1 :])
