"""Functions that move numbers: slices, other axes, arrays put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from lstm_rt.errors import GraphError

from .. import arrays
from ..arith import padded
from ..arrays import place_of
from .arguments import Arguments, Results, array_of
from .numeric import number


def reshape(call: Arguments) -> Results:
    t, shape = call.tensor(), call.options["newshape"]
    if not isinstance(shape, list) or not shape or not all(n is None or isinstance(n, int) for n in shape):
        raise GraphError(f"it is reshaped to {shape!r:.60}, expected sizes that are known")
    if shape[0] not in (-1, None):
        raise GraphError(f"it is reshaped to {shape}, whose first size fixes the batch, expected -1 there")
    rest = list(shape[1:])
    if None in t.dims and -1 not in rest and None not in rest:  # the batch follows, so that steps may not
        raise GraphError(f"it is reshaped to {shape}, which moves steps into the batch, where their number is free")
    if None not in t.dims and -1 not in rest and math.prod(rest) != math.prod(n or 1 for n in t.dims):
        raise GraphError(f"it is reshaped to {shape}, which is another batch")
    return arrays.reshaped(call.ctx, t, rest)


def transpose(call: Arguments) -> Results:
    t, axes = call.tensor(), call.options["axes"]
    order = list(reversed(range(len(t.dims) + 1))) if axes is None else axes
    if not isinstance(order, list) or order[:1] != [0]:
        raise GraphError(f"its axes are put into the order {order!r:.60}, expected the batch first")
    return arrays.permuted(call.ctx, t, [place_of(i, len(t.dims)) for i in order[1:]])


def swapped(call: Arguments) -> Results:
    t = call.tensor()
    order = list(range(len(t.dims)))
    i, j = (place_of(call.options[key], len(order)) for key in ("axis1", "axis2"))
    order[i], order[j] = order[j], order[i]
    return arrays.permuted(call.ctx, t, order)


def moved(call: Arguments) -> Results:
    t = call.tensor()
    source, target = (place_of(call.options[key], len(t.dims)) for key in ("source", "destination"))
    order = [i for i in range(len(t.dims)) if i != source]
    order.insert(target, source)
    return arrays.permuted(call.ctx, t, order)


def expand(call: Arguments) -> Results:
    return arrays.expanded(call.tensor(), call.axis(more=1))


def squeeze(call: Arguments) -> Results:
    t = call.tensor()
    for axis in sorted(call.axes(), reverse=True):
        t = arrays.squeezed(call.ctx, t, axis)
    return t


def concatenate(call: Arguments) -> Results:
    tensors = call.tensors()
    return arrays.joined(call.ctx, tensors, place_of(call.options["axis"], len(tensors[0].dims)))


def stack(call: Arguments) -> Results:
    tensors = call.tensors()
    axis = place_of(call.options["axis"], len(tensors[0].dims) + 1)
    return arrays.joined(call.ctx, [arrays.expanded(t, axis) for t in tensors], axis)


def split(call: Arguments) -> Results:
    t, axis, parts = call.tensor(), call.axis(), call.options["indices_or_sections"]
    size = t.dims[axis]
    if size is None:
        raise GraphError("an axis of free size is split")
    if isinstance(parts, int) and parts > 0 and size % parts == 0:
        ends = [size // parts * i for i in range(parts + 1)]
    elif isinstance(parts, list) and all(isinstance(n, int) for n in parts):
        ends = [0, *parts, size]
    else:
        raise GraphError(f"{size} elements are split into {parts!r:.60}")
    return [arrays.cut(call.ctx, t, axis, a, b, 1) for a, b in pairwise(ends)]


def tf_split(call: Arguments) -> Results:
    parts = call.options["indices_or_sections"]
    if isinstance(parts, list):  # sizes
        parts = [sum(parts[: i + 1]) for i in range(len(parts) - 1)]
    return split(Arguments(call.ctx, call.given, {**call.options, "indices_or_sections": parts}))


def unstack(call: Arguments) -> Results:
    t, axis = call.tensor(), call.axis()
    size = t.dims[axis]
    if size is None:
        raise GraphError("an axis of free size is unstacked")
    return [arrays.element(call.ctx, t, axis, i) for i in range(size)]


def tile(call: Arguments) -> Results:
    t, times = call.tensor(), call.options["repeats"]
    if not isinstance(times, list) or len(times) != len(t.dims) + 1 or times[0] != 1:
        raise GraphError(f"it is repeated {times!r:.60} times, expected a number for each axis, 1 for the batch's")
    for axis, n in enumerate(times[1:]):
        if not isinstance(n, int) or n < 1:
            raise GraphError(f"it is repeated {times!r:.60} times, expected numbers of at least 1")
        t = arrays.tiled(call.ctx, t, axis, n)
    return t


def repeat(call: Arguments) -> Results:
    times = call.options["repeats"]
    if not isinstance(times, int):
        raise GraphError(f"it is repeated {times!r:.60} times, expected one number")
    return arrays.repeated(call.ctx, call.tensor(), call.axis(), times)


def flip(call: Arguments) -> Results:
    t = call.tensor()
    for axis in call.axes():
        t = arrays.backwards(call.ctx, t, axis)
    return t


def roll(call: Arguments) -> Results:
    shift, axis = call.options["shift"], call.axis()
    if not isinstance(shift, int):
        raise GraphError(f"its elements move on by {shift!r:.60}, expected one number")
    t = arrays.whole(call.ctx, call.tensor()) if axis == call.tensor().time else call.tensor()
    return arrays.rearranged(call.ctx, t, np.roll(arrays.numbers(t), shift, arrays.feature_axis(t, axis)))


def get_item(call: Arguments) -> Results:
    t, keys = call.tensor(), call.options["key"]
    keys = list(keys) if isinstance(keys, list) else [keys]
    dots = [i for i, k in enumerate(keys) if _is_dots(k)]
    if len(dots) > 1:
        raise GraphError("a slice with two ellipses")
    if dots:
        taken = sum(k is not None and not _is_dots(k) for k in keys)
        keys[dots[0] : dots[0] + 1] = [slice(None)] * (len(t.dims) + 1 - taken)
    keys = [_key(k) for k in keys]
    if not keys or keys[0] != slice(None):
        raise GraphError("a slice of the batch is not supported")
    axis = 0
    for key in keys[1:]:
        if key is None:
            t, axis = arrays.expanded(t, axis), axis + 1
        elif axis >= len(t.dims):
            raise GraphError("a slice of more axes than there are")
        elif isinstance(key, slice):
            t, axis = arrays.cut(call.ctx, t, axis, key.start, key.stop, key.step), axis + 1
        else:
            t = arrays.element(call.ctx, t, axis, key)
    return t


def _is_dots(key: Any) -> bool:
    return key == "..." or (isinstance(key, Mapping) and key.get("class_name") == "__ellipsis__")


def _key(key: Any) -> slice | int | None:
    if isinstance(key, Mapping) and "class_name" in key:
        key = key.get("config") if key["class_name"] == "__slice__" else None
    if isinstance(key, Mapping):
        ends = [key.get(name) for name in ("start", "stop", "step")]
        if all(n is None or (isinstance(n, int) and not isinstance(n, bool)) for n in ends):
            return slice(*(None if n == d else n for n, d in zip(ends, (None, None, 1), strict=True)))
    elif key is None or isinstance(key, slice) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    raise GraphError(f"an index {key!r:.60} is not supported, expected whole numbers and slices")


def take(call: Arguments) -> Results:
    index = array_of(call.given[1]) if len(call.given) > 1 else None
    t, axis = call.tensor(), call.axis()
    if index is None or index.ndim > 1 or np.any(index != index.astype(np.int64)):
        raise GraphError("it takes elements whose numbers are not a constant list")
    if index.ndim == 0:
        return arrays.element(call.ctx, t, axis, int(index))
    t = arrays.whole(call.ctx, t) if axis == t.time else t
    size = t.dims[axis] or 0
    if index.min() < -size or index.max() >= size:
        raise GraphError(f"elements {index.min():.0f} to {index.max():.0f} of an axis of {size} are taken")
    picked = arrays.numbers(t).take(index.astype(np.int64), arrays.feature_axis(t, axis))
    return arrays.rearranged(call.ctx, t, picked)


def pad(call: Arguments) -> Results:
    t, widths = call.tensor(), call.options["pad_width"]
    mode, value = call.options["mode"], call.options["constant_values"]
    if not isinstance(widths, list) or len(widths) != len(t.dims) + 1 or not all(map(_is_pair, widths)):
        raise GraphError(f"it is padded by {widths!r:.60}, expected two numbers for each axis")
    if str(mode).lower() != "constant" or any(widths[0]):
        raise GraphError(f"padding of mode {mode!r:.60} by {widths} is not supported, only constant, of other axes")
    return padded(call.ctx, t, [(w[0], w[1]) for w in widths[1:]], 0.0 if value is None else number(value))


def _is_pair(width: Any) -> bool:
    return isinstance(width, list) and len(width) == 2 and all(isinstance(n, int) and n >= 0 for n in width)
