"""Keras's arrays in a graph: how their axes are moved, split, joined and cut.

A :class:`Tensor` is always in one form: the features of its value are the axes beside the time axis,
row by row in their order. So whatever moves features is a gather of their numbers, and whatever makes
another axis the time axis goes by way of a vec of all steps, for which their number must be known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_PARTS, MAX_SIZE
from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation, Axis, check_limit

from .build import Context, Dims, Tensor

IntArray = NDArray[np.int32]


_FREE = (
    "the number of its steps must be fixed: give the model's Input a number of steps instead of None "
    "(keras.Input((100, features))), and save it with the same weights"
)
_ITEM = 12  #: bytes of a feature's number while it is moved, and in the graph
_MOST_AROUND = 16  #: steps that are put around a sequence, each with nodes of its own
_PER_STEP = 64  #: features that move in a microsecond


# -- features ---------------------------------------------------------------------------------------


def is_stepwise(ctx: Context, t: Tensor) -> bool:
    """Is it within TimeDistributed, where the steps of a seq act as rows?"""
    return t.time is None and ctx.graph.values[t.value].kind == "seq"


def numbers(t: Tensor) -> IntArray:
    """The numbers of the features of a tensor, in the shape of its axes but time."""
    return np.arange(math.prod(t.features), dtype=np.int32).reshape(t.features)


def check_size(dims: Sequence[int | None]) -> None:
    """Raise before arrays of so many features are made."""
    check_limit("features of a value", math.prod(n for n in dims if n is not None), MAX_SIZE)


def picked(ctx: Context, value: int, index: IntArray) -> int:
    """The features of a value with these numbers, in this order."""
    ctx.budget.steps(index.size // _PER_STEP)
    flat = index.ravel()
    size = ctx.graph.values[value].size
    if not flat.size:
        raise GraphError("nothing is left of its features")
    first = int(flat[0])
    if int(flat[-1]) - first == flat.size - 1 and np.all(np.diff(flat) == 1):
        return value if flat.size == size else ctx.graph.slice(value, first, flat.size)
    ctx.budget.memory(_ITEM * flat.size, "the features that move")
    return ctx.graph.gather(value, flat)


def rearranged(ctx: Context, t: Tensor, index: IntArray, dims: Dims | None = None) -> Tensor:
    """The features with the numbers ``index``, in its shape; ``dims`` where the axes are others than before."""
    if dims is None:
        dims = with_time(index.shape, t.time, t.steps)
    return replace(t, value=picked(ctx, t.value, index), dims=dims)


def with_time(features: Sequence[int], time: int | None, steps: int | None) -> Dims:
    """The axes of a tensor with these features, and its steps at the place ``time``."""
    dims: list[int | None] = list(features)
    if time is not None:
        dims.insert(time, steps)
    return tuple(dims)


def feature_axis(t: Tensor, axis: int) -> int:
    """Which of the axes of :func:`numbers` an axis of the tensor is."""
    assert axis != t.time
    return axis - (t.time is not None and axis > t.time)


# -- time -------------------------------------------------------------------------------------------


def whole(ctx: Context, t: Tensor) -> Tensor:
    """The tensor without a time axis: a vec of all its steps."""
    if t.time is None:
        return t
    if t.steps is None:
        raise GraphError(_FREE)
    check_size(t.dims)
    value = ctx.graph.select(t.value, 0) if t.steps == 1 else ctx.graph.flatten(t.value, t.steps)
    index = np.arange(t.steps * math.prod(t.features), dtype=np.int32).reshape(t.steps, *t.features)
    return replace(t, value=picked(ctx, value, np.moveaxis(index, 0, t.time)), time=None)


def timed(ctx: Context, t: Tensor, axis: int = 0) -> Tensor:
    """The tensor with this axis as time axis.

    Raises:
        ~.build.TimeWantedError: it is an input of the model, which may have that axis as its time from the start.
    """
    if t.time == axis:
        return t
    ctx.want_time(t, axis)
    t = whole(ctx, t)
    if is_stepwise(ctx, t):
        raise GraphError("within TimeDistributed it would run over a second time axis, which is not supported")
    steps = t.dims[axis]
    assert steps is not None
    value = picked(ctx, t.value, np.moveaxis(numbers(t), axis, 0))
    return replace(t, value=ctx.graph.unflatten(value, steps), time=axis)


def on_fixed_axis(ctx: Context, t: Tensor) -> Tensor:
    """The same steps on the time axis that all sequences of so many fixed steps share."""
    assert t.time is not None
    axis = ctx.graph.axes[ctx.graph.values[t.value].axis]
    if t.steps is None:
        raise GraphError(f"it joins sequences whose steps come from different places; {_FREE}")
    if axis == Axis(None, 0, t.steps):
        return t
    return timed(ctx, whole(ctx, t), t.time)


def on_one_axis(ctx: Context, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors whose time axes, where they have one, are the same.

    Raises:
        ~.build.AxesMeetError: their inputs must share a time axis; the reader starts again.
    """
    timed_ones = [t for t in tensors if t.time is not None]
    if ctx.share_axis([t.value for t in timed_ones]):
        return list(tensors)
    return [on_fixed_axis(ctx, t) if t.time is not None else t for t in tensors]


def together(ctx: Context, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of one rank with their time axes, where they have one, at one place and the same.

    Those that have a single element there become vecs, which are the same at every step.
    """
    tensors = [whole(ctx, t) if t.steps == 1 else t for t in tensors]
    places = sorted((t.steps is not None, i) for i, t in enumerate(tensors) if t.time is not None)
    if not places:
        return list(tensors)
    time = tensors[places[0][1]].time  # a free one, if there is one
    assert time is not None
    moved = [whole(ctx, t) if t.dims[time] == 1 else timed(ctx, t, time) for t in tensors]
    return on_one_axis(ctx, moved)


# -- moves ------------------------------------------------------------------------------------------


def permuted(ctx: Context, t: Tensor, order: Sequence[int]) -> Tensor:
    """The axes in another order."""
    if sorted(order) != list(range(len(t.dims))):
        raise GraphError(f"its axes are put into the order {list(order)}, expected each of {len(t.dims)} once")
    moved = [feature_axis(t, i) for i in order if i != t.time]
    time = None if t.time is None else list(order).index(t.time)
    dims = tuple(t.dims[i] for i in order)
    return replace(rearranged(ctx, t, numbers(t).transpose(moved), dims), time=time)


def reshaped(ctx: Context, t: Tensor, sizes: Sequence[int | None]) -> Tensor:
    """The same numbers with other axes; one size may be -1 or None, which follows from the others."""
    t = _grouped(ctx, t, sizes)
    dims, t = _resolved(t, sizes)
    check_size(dims)
    if t.time is None:
        return replace(t, dims=dims)
    before, after = math.prod(t.features[: t.time]), math.prod(t.features[t.time :])
    for place, n in enumerate(dims):
        rest = [math.prod(m for m in part if m is not None) for part in (dims[:place], dims[place + 1 :])]
        if n == t.steps and rest == [before, after]:
            return replace(t, dims=dims, time=place)
    first = next((i for i, n in enumerate(dims) if n != 1), 0)
    times = after // math.prod(n for n in dims[first + 1 :] if n is not None)
    follows = None if t.steps is None else t.steps * times
    if before == 1 and dims[first] == follows and (follows is None or len(dims) > 1):  # else a vec of them does
        return replace(t, value=ctx.graph.unflatten(t.value, times), dims=dims, time=first)
    return replace(whole(ctx, t), dims=dims)


def _grouped(ctx: Context, t: Tensor, sizes: Sequence[int | None]) -> Tensor:
    """A sequence of free length whose steps are joined, as many as the sizes ask for, to the features of one."""
    features, known = math.prod(t.features), math.prod(n for n in sizes if n not in (None, -1))
    first = next((n for n in sizes if n != 1), 1)
    if t.steps is not None or t.time is None or first not in (None, -1) or known <= features or known % features:
        return t
    times = known // features
    if math.prod(t.features[: t.time]) != 1 or times > MAX_PARTS:
        return t
    ctx.note(f"{times} steps become one: the number of steps must be a multiple of {times}, steps beyond are left out")
    parts = [ctx.graph.take(t.value, i, times, drop=times - 1 - i) for i in range(times)]
    return replace(t, value=side_by_side(ctx, parts), dims=(None, known), time=0)


def _resolved(t: Tensor, sizes: Sequence[int | None]) -> tuple[Dims, Tensor]:
    """The sizes of a reshaped tensor, and the tensor, whose number of steps may follow from them."""
    wanted = [None if n == -1 else n for n in sizes]
    if any(n is not None and n < 1 for n in wanted) or wanted.count(None) > 1:
        raise GraphError(f"it is reshaped to {list(sizes)}, expected sizes of which one may be -1")
    known, features = math.prod(n for n in wanted if n is not None), math.prod(t.features)
    total = None if None in t.dims else features * (t.steps or 1)
    if None in wanted:
        fits = (total or features) % known == 0
    else:
        fits = known % features == 0 if total is None else total == known
    if not fits:
        raise GraphError(f"{list(t.dims)} is reshaped to {list(sizes)}, which has another number of elements")
    if None in wanted:
        return tuple(n if n is not None or total is None else total // known for n in wanted), t
    steps = known // features
    return tuple(wanted), t if total is not None else replace(t, dims=with_time(t.features, t.time, steps))


def expanded(t: Tensor, axis: int) -> Tensor:
    """One more axis, of size 1."""
    dims = (*t.dims[:axis], 1, *t.dims[axis:])
    return replace(t, dims=dims, time=t.time if t.time is None or t.time < axis else t.time + 1)


def squeezed(ctx: Context, t: Tensor, axis: int) -> Tensor:
    """Without an axis of size 1."""
    if t.dims[axis] != 1:
        raise GraphError(f"axis {axis + 1} has size {t.dims[axis]}, expected 1")
    t = whole(ctx, t) if t.time == axis else t
    dims = (*t.dims[:axis], *t.dims[axis + 1 :])
    return replace(t, dims=dims, time=t.time if t.time is None or t.time < axis else t.time - 1)


def element(ctx: Context, t: Tensor, axis: int, at: int) -> Tensor:
    """One element of an axis, which vanishes."""
    size = t.dims[axis]
    if size is not None and not -size <= at < size:
        raise GraphError(f"element {at} of axis {axis + 1} is taken, which has {size}")
    dims = (*t.dims[:axis], *t.dims[axis + 1 :])
    if axis != t.time:
        index = numbers(t).take([at], feature_axis(t, axis))
        time = t.time if t.time is None or t.time < axis else t.time - 1
        return replace(rearranged(ctx, t, index, dims), time=time)
    graph = ctx.graph
    if at in (0, -1):
        return replace(t, value=graph.select(t.value, at), dims=dims, time=None)
    steps = graph.reverse(t.value) if at < 0 else t.value
    one = graph.take(steps, at if at >= 0 else -at - 1, most=1)
    return replace(t, value=graph.flatten(one, 1), dims=dims, time=None)


def cut(ctx: Context, t: Tensor, axis: int, start: int | None, stop: int | None, step: int | None) -> Tensor:
    """A slice of an axis, as Python has them."""
    by = slice(start, stop, step)
    if step == 0:
        raise GraphError("a slice with step 0")
    size = t.dims[axis]
    if axis != t.time:
        index = numbers(t)
        where = (*(slice(None),) * feature_axis(t, axis), by)
        return rearranged(ctx, t, index[where])
    if by in (slice(None), slice(0, None), slice(None, None, 1), slice(0, None, 1)):
        return t
    value, kept = _cut_steps(ctx, t.value, size, by)
    return replace(t, value=value, dims=(*t.dims[:axis], kept, *t.dims[axis + 1 :]))


def _cut_steps(ctx: Context, value: int, size: int | None, by: slice) -> tuple[int, int | None]:
    """A slice of the steps, and how many are left."""
    graph = ctx.graph
    kept = None if size is None else len(range(*by.indices(size)))
    if kept == 0:
        raise GraphError("nothing is left of its steps")
    start, stop, step = by.start, by.stop, 1 if by.step is None else by.step
    if step < 0 and (start, stop) in ((None, None), (-1, None)):
        back = graph.reverse(value)
        return (back if step == -1 else graph.take(back, 0, -step)), kept
    if step > 0 and (start or 0) >= 0:
        start = start or 0
        if stop is None or stop < 0:
            return graph.take(value, start, step, drop=-(stop or 0)), kept
        most = -(-(stop - start) // step)
        if most > 0:
            return graph.take(value, start, step, most=most), kept
    elif step == 1 and start < 0 and (stop is None or start < stop < 0):  # the last ones
        back = graph.take(graph.reverse(value), -(stop or 0), most=(stop or 0) - start)
        return graph.reverse(back), kept
    if size is None:
        raise GraphError(f"the slice {by.start}:{by.stop}:{by.step} of its steps is not supported, {_FREE}")
    start, _, step = by.indices(size)
    if step < 0:
        return graph.take(graph.reverse(value), size - 1 - start, -step, most=kept), kept
    return graph.take(value, start, step, most=kept), kept


def joined(ctx: Context, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one behind the other along an axis."""
    if len({len(t.dims) for t in tensors}) != 1:
        raise GraphError(f"it joins arrays of shapes {', '.join(str(list(t.dims)) for t in tensors)}")
    if len(tensors) == 1:
        return tensors[0]
    if any(t.time == axis for t in tensors):
        free = [i for i, t in enumerate(tensors) if t.dims[axis] is None]
        if len(free) == 1 and sum(t.dims[axis] or 0 for t in tensors) <= _MOST_AROUND:
            return _around(ctx, tensors, free[0], axis)
        tensors = [whole(ctx, t) for t in tensors]
    tensors = _alike(ctx, together(ctx, tensors), axis)
    first = tensors[0]
    sizes = [t.dims[axis] or 0 for t in tensors]
    place = feature_axis(first, axis)
    check_size((sum(sizes), *first.features[:place], *first.features[place + 1 :]))
    value = side_by_side(ctx, [t.value for t in tensors])
    ends = np.cumsum([0, *(math.prod(t.features) for t in tensors)])
    index = np.concatenate([numbers(t) + np.int32(end) for t, end in zip(tensors, ends, strict=False)], axis=place)
    dims = (*first.dims[:axis], sum(sizes), *first.dims[axis + 1 :])
    return replace(first, value=picked(ctx, value, index), dims=dims)


def _around(ctx: Context, tensors: Sequence[Tensor], middle: int, axis: int) -> Tensor:
    """Steps in front of those of a sequence, whose number is free, and behind them, one by one."""
    t = tensors[middle]
    if {t.features} != {(*n.dims[:axis], *n.dims[axis + 1 :]) for i, n in enumerate(tensors) if i != middle}:
        raise GraphError(f"it joins arrays of shapes {', '.join(str(list(t.dims)) for t in tensors)}")
    value = t.value
    for i in (*range(middle - 1, -1, -1), *range(middle + 1, len(tensors))):
        ahead, part = i < middle, whole(ctx, tensors[i])
        places = range(part.dims[axis] or 0)
        for at in reversed(places) if ahead else places:
            value = _one_more(ctx, value, element(ctx, part, axis, at).value, ahead)
    return replace(t, value=value)


def _one_more(ctx: Context, value: int, step: int, ahead: bool) -> int:
    """A sequence with the vec ``step`` in front of its steps or behind them."""
    graph, sides = ctx.graph, (1, 0) if ahead else (0, 1)
    zero = graph.activation(graph.slice(value, 0, 1), Activation("clip", alpha=0.0, beta=0.0))
    there = graph.pad_steps(zero, *sides, value=1.0)
    return graph.binary("add", graph.pad_steps(value, *sides), graph.binary("mul", there, step))


def _alike(ctx: Context, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """All with a time axis or none: the steps of one that has none are those of a sequence of one."""
    if len({t.time for t in tensors}) > 1:
        tensors = [whole(ctx, t) for t in tensors]
    others = {(*t.dims[:axis], *t.dims[axis + 1 :]) for t in tensors}
    if len({tuple(n for n in o if n is not None) for o in others}) > 1 and len({len(o) for o in others}) == 1:
        known = [{n for n in sizes if n is not None} for sizes in zip(*others, strict=True)]
        if any(len(sizes) > 1 for sizes in known):
            raise GraphError(f"it joins arrays of shapes {', '.join(str(list(t.dims)) for t in tensors)}")
    return list(tensors)


def side_by_side(ctx: Context, values: Sequence[int]) -> int:
    """The features of any number of values."""
    while len(values) > MAX_PARTS:
        values = [ctx.graph.concat(*values[:MAX_PARTS]), *values[MAX_PARTS:]]
    return ctx.graph.concat(*values) if len(values) > 1 else values[0]


def repeated(ctx: Context, t: Tensor, axis: int, times: int) -> Tensor:
    """Each element of an axis several times, one after the other."""
    if times < 1:
        raise GraphError(f"its elements come {times} times, expected at least once")
    if axis == t.time:
        dims = (*t.dims[:axis], None if t.steps is None else t.steps * times, *t.dims[axis + 1 :])
        return replace(t, value=ctx.graph.repeat(t.value, times) if times > 1 else t.value, dims=dims)
    check_size((*t.features, times))
    return rearranged(ctx, t, np.repeat(numbers(t), times, feature_axis(t, axis)))


def spread(ctx: Context, t: Tensor, features: Sequence[int]) -> int:
    """The value of a tensor whose features are repeated to this shape, as NumPy broadcasts them."""
    check_size(features)
    return picked(ctx, t.value, np.broadcast_to(numbers(t), tuple(features)))


def tiled(ctx: Context, t: Tensor, axis: int, times: int) -> Tensor:
    """An axis several times, one behind the other."""
    if times < 1:
        raise GraphError(f"an axis comes {times} times, expected at least once")
    t = whole(ctx, t) if axis == t.time and times > 1 else t
    if times == 1:
        return t
    check_size((*t.features, times))
    repeats = [1] * len(t.features)
    repeats[feature_axis(t, axis)] = times
    return rearranged(ctx, t, np.tile(numbers(t), repeats))


def backwards(ctx: Context, t: Tensor, axis: int) -> Tensor:
    """An axis in the opposite order."""
    if axis == t.time:
        return replace(t, value=ctx.graph.reverse(t.value))
    return rearranged(ctx, t, np.flip(numbers(t), feature_axis(t, axis)))


def places_of(axes: Any, rank: int) -> list[int]:
    """The places of one axis or several, in their order; errors as of :func:`place_of`, and if one is twice there."""
    places = sorted(place_of(i, rank) for i in (axes if isinstance(axes, list | tuple) else [axes]))
    if len(set(places)) != len(places):
        raise GraphError(f"an axis is twice in {axes!r:.60}")
    return places


def place_of(axis: Any, rank: int) -> int:
    """The axis of a tensor with ``rank`` axes beside the batch's that Keras calls ``axis``.

    Raises:
        GraphError: it is the batch's, or there is none of this number.
    """
    if isinstance(axis, bool) or not isinstance(axis, int) or not -rank - 1 <= axis <= rank:
        raise GraphError(f"axis {axis!r} of an array with {rank + 1} axes")
    place = axis - 1 if axis >= 0 else axis + rank
    if place < 0:
        raise GraphError("the batch's axis cannot be taken for another")
    return place
