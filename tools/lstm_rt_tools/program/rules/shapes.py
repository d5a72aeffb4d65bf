"""Operations that only move numbers about."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.ops import Axis

from .. import pairs
from ..labelled import Labelled
from ..labels import (
    Atom,
    Columns,
    Dim,
    Dims,
    Feat,
    Ids,
    Label,
    Mask,
    N,
    Pairs,
    Penalty,
    Scores,
    Steps,
    Unsplittable,
    broadcast,
    cell,
    fixed,
    indexed,
    is_fixed,
    is_steps,
    permuted,
    regrouped,
)
from ..machine import Tensor
from ..masks import backwards
from ..phases import beside
from ..tidy import less_padded

Args = Sequence[Tensor | None]
_END = 10**9  #: numbers from here on mean the end
#: A place so near the end of the steps of a run is taken to be counted from there; other sizes tell if it is not.
_NEAR = 8


def relabelled(label: Label, dims: Dims) -> Label:
    """The same under other dimensions, whose fixed atoms are in the same order."""
    if isinstance(label, Feat | Ids):
        return replace(label, dims=dims, cells=label.cells.reshape(fixed(dims)))
    moved: Label = replace(label, dims=dims)
    return moved


def _reshape(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label: Label = _label(args)
    try:
        return relabelled(label, regrouped(label.dims, out.shape, b.size_of))
    except Unsplittable:
        pass
    if isinstance(label, Feat):
        found = _several_steps(b, label, out.shape) or _cut_steps(b, label, out.shape)
        if found is not None:
            return found
    shape = " x ".join(map(str, out.shape))
    raise b.wrong_roles("reshape", f"({b.dims_in_words(label.dims)}) to {shape} cuts through the batch or the steps")


def _several_steps(b: Labelled, label: Feat, shape: Sequence[int]) -> Feat | None:
    """A reshape that makes one step of every few, side by side; None if it is another."""
    i = next((i for i, d in enumerate(label.dims) if is_steps(d)), None)
    if i is None or not b.is_free(_steps_of(label, i)):
        return None
    steps = _steps_of(label, i)
    ahead = math.prod(b.size_of(a) for d in label.dims[:i] for a in d)
    left = next((n for k, n in enumerate(shape) if n > 1 and math.prod(shape[:k]) == ahead), 0)
    if not left or b.steps[steps.axis] % left or left == b.steps[steps.axis]:
        return None
    few, flat = b.steps[steps.axis] // left, label.cells.ravel()
    seq = beside(b, b.at_every_step(b.value(flat, steps, "reshape"), steps), few)
    cells = cell(seq, np.arange(few * flat.size)).reshape(few, *label.cells.shape)
    dims: Dims = (*label.dims[:i], (b.new_axis_of(seq), few), *label.dims[i + 1 :])
    made = Feat(dims, np.moveaxis(cells, 0, len(fixed(label.dims[:i]))))
    with suppress(Unsplittable):
        return Feat(cut := regrouped(dims, shape, b.size_of), made.cells.reshape(fixed(cut)))
    return None


def _cut_steps(b: Labelled, label: Feat, shape: Sequence[int]) -> Feat | None:
    """A reshape that cuts each step into several of fewer features; None if it is another."""
    at = next((k for k, d in enumerate(label.dims) if is_steps(d)), None)
    if at is None or at != len(label.dims) - 2 or len(shape) != len(label.dims) or fixed(label.dims[:at]):
        return None
    steps, width = _steps_of(label, at), int(shape[-1])
    n, t, features = b.size_of(steps), int(shape[at]), label.cells.size
    same = all(math.prod(map(b.size_of, d)) == size for d, size in zip(label.dims[:at], shape, strict=False))
    if not same or n * features != t * width or t <= n or t % n:
        return None
    value = b.at_every_step(b.value(label.cells, steps, "reshape"), steps)
    made = b.graph.unflatten(value, t // n)
    dims = (*label.dims[:at], (b.new_axis_of(made),), (width,) if width > 1 else ())
    return Feat(dims, cell(made, np.arange(width)).reshape(fixed(dims)))


def _unsqueeze(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label, new = _label(args), {a % out.ndim for a in options["axes"]}
    own = iter(label.dims)
    dims = [() if i in new else next(own) for i in range(out.ndim)]
    lost = next((i for i, d in enumerate(dims) if N in d and len(d) > 1), None)
    if lost is not None and b.rows == 1 and new:  # a batch of one that was dropped comes back
        dims[lost], dims[min(new)] = tuple(a for a in dims[lost] if a != N), (N,)
    return relabelled(label, tuple(dims))


def _squeeze(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label = _label(args)
    gone = {a % len(label.dims) for a in options["axes"]}
    for i in gone:
        if is_steps(label.dims[i]) and isinstance(label, Feat):
            label = one_step(b, label, -1, i)  # a single one, or else the program would fail
    lost = [label.dims[i] for i in gone if label.dims[i]]
    if any(dim != (N,) for dim in lost):
        raise b.wrong_roles("squeeze", f"it drops {b.words(lost[0])}, of which there is one just now")
    dims = [d for i, d in enumerate(label.dims) if i not in gone]
    if lost and not dims:
        raise b.wrong_roles("squeeze", "it drops the batch")
    if lost:  # a batch of one goes on with what follows it
        at = next((i for i, d in enumerate(dims) if d), len(dims) - 1)
        dims[at] = (N, *dims[at])
    return relabelled(label, tuple(dims))


def _permute(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    label = _label(args)
    axes = [a % len(label.dims) for a in options["axes"]]
    if isinstance(label, Feat | Ids):
        return permuted(label, axes)
    if isinstance(label, Scores | Pairs | Penalty):
        return pairs.permuted(label, axes)
    moved: Label = replace(label, dims=tuple(label.dims[a] for a in axes))
    return moved


def _expand(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label = _label(args)
    missing = out.ndim - len(label.dims)
    dims: list[Dim] = []
    for i, size in enumerate(out.shape):
        own = label.dims[i - missing] if i >= missing else ()
        dims.append(own or _grown(b, size, [*label.dims, *dims]))
    made = tuple(dims)
    if isinstance(label, Feat | Ids):
        return replace(label, dims=made, cells=np.array(broadcast(label, made)))
    wide: Label = replace(label, dims=made)
    return wide


def _grown(b: Labelled, size: int, others: Sequence[Dim]) -> Dim:
    """What a dimension of one becomes that is made wider: the steps of an axis that has so many, or features."""
    if size == 1:
        return ()
    used = {a for d in others for a in d if not isinstance(a, int)}
    atoms: list[Atom] = [N, *(Steps(a) for a in b.steps)]
    match = next((a for a in atoms if b.size_of(a) == size and a not in used), None)
    if match is None:
        return (size,)
    if isinstance(match, Steps) and any(isinstance(a, Steps) for a in used):
        return (size,)
    return (match,)


def _slice(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label | None:
    label: Label = _label(args)
    i = options["axis"] % len(label.dims)
    size = args[0].shape[i]  # type: ignore[union-attr]
    start, stop, step = slice(options.get("start"), options.get("stop"), options.get("step", 1)).indices(size)
    dim = label.dims[i]
    if isinstance(label, Columns) and i == len(label.dims) - 1 and stop - start == 1:
        return None if label.parts[start] is None else relabelled(label.parts[start], (*label.dims[:-1], ()))
    only = size == 1 and (options.get("start"), options.get("stop")) == (0, 1)
    if only and is_steps(dim) and isinstance(label, Feat) and b.is_free(_steps_of(label, i)):
        return one_step(b, label, 0, i)
    if (start, step) == (0, 1) and stop >= size and (is_fixed(dim) or _takes_all(options, size)):
        return label
    if is_fixed(dim) and isinstance(label, Feat | Ids):
        at = np.arange(size)[options.get("start") : options.get("stop") : options.get("step", 1)]
        return indexed(label, i, lambda cells, axis: np.take(cells, at, axis))
    if is_steps(dim) and isinstance(label, Feat):
        return _some_steps(b, label, i, options, size)
    if N in dim:
        raise b.wrong_roles("slice", "it takes some rows of the batch")
    raise b.wrong_roles("slice", f"of {b.dims_in_words(label.dims)} it is not supported")


def _stop(options: Mapping[str, Any], size: int) -> int | None:
    """Where a slice ends: None at the end, though it may be said with a large number."""
    stop = options.get("stop")
    return None if stop is None or stop == size or stop >= _END else int(stop)


def _takes_all(options: Mapping[str, Any], size: int) -> bool:
    """Does a slice from the first to the last take all of any size, not only of this one?"""
    stop, start = _stop(options, size), options.get("start") or 0
    return stop is None and (start >= 0 or start <= -_END)


def _some_steps(b: Labelled, label: Feat, i: int, options: Mapping[str, Any], size: int) -> Feat:
    start, stop, step = options.get("start"), _stop(options, size), options.get("step", 1)
    if size > _NEAR and b.is_free(_steps_of(label, i)) and size // 2 in (start, stop, size - (start or 0)):
        b.doubted.append(str(b.error("slice", f"it takes steps from, or up to, {size // 2} of {size}, half of them")))
    if start is not None and start <= -_END and step > 0:
        start = None
    if step < 0:
        if step == -1 and slice(start, stop, step).indices(size) == (size - 1, -1, -1):
            return reversed_steps(b, label)
        raise b.error("slice", "of steps backwards, other than all of them, is not supported")
    first, last, _ = slice(start, stop, step).indices(size)
    count = len(range(first, last, step))
    near = _NEAR if b.is_free(_steps_of(label, i)) else 0
    if start is not None and start < 0 and stop is not None and stop >= 0:
        if not 0 < size - stop < near:
            raise b.error("slice", "from a step counted from the end to one counted from the start is not supported")
        stop -= size
    if stop is not None and size < stop < size + near:  # computed, of what there is beside padding that is to come
        stop = None
    if stop is not None and stop > size:
        most = len(range(first, stop, step))  # so many at most, though there are fewer just now
        return b.over_steps(label, "slice", i, lambda v: b.graph.take(v, start=first, stride=step, most=most))
    if count == 1 and first == size - 1:
        return one_step(b, label, -1, i)
    if count == 1 and step == 1:
        return one_step(b, label, start if start is not None and start < 0 else first, i)
    if start is not None and start < 0 and step == 1:
        return _last_steps(b, label, i, -start, 0 if stop is None or stop >= size else size - last)
    if step == 1 and last == size and 0 < count < near < first:  # from a place that is computed from the end
        return _last_steps(b, label, i, count, 0)
    if step == 1 and near and (found := _counted(b, label, i, first, None if stop is None else last)) is not None:
        return found
    if last > size - max(1, near) or (stop is not None and stop < 0):
        return _without(b, label, i, first, step, size - last)
    return b.over_steps(label, "slice", i, lambda v: b.graph.take(v, first, step, most=count))


def _counted(b: Labelled, label: Feat, i: int, first: int, last: int | None) -> Feat | None:
    """As many steps as another axis has, or half of those that there are; None of other numbers."""
    own = _steps_of(label, i).axis
    size = b.steps[own]
    if first == 0 and last:
        like = next((a for a, n in b.steps.items() if n == last and b.is_longer(own, a)), None)
        like = _half(b, own, last) if like is None else like
        return None if like is None else b.as_long(label, i, like)
    like = _half(b, own, size - first) if last is None else None
    return None if like is None else reversed_steps(b, b.as_long(reversed_steps(b, label), i, like))


def _half(b: Labelled, own: int, count: int) -> int | None:
    """A time axis of half of another's steps, rounded down or up, if ``count`` is that; None of other numbers."""
    size = b.steps[own]
    if size <= _NEAR or count not in (size // 2, size - size // 2):
        return None
    up = int(count != size // 2)
    return b.kept((own, b"half %d" % up), lambda: b.graph.new_axis(Axis(own, 1, up, 2)))


def _without(b: Labelled, label: Feat, i: int, start: int, step: int, drop: int) -> Feat:
    """Steps from ``start`` on, but for the last ``drop``; where these are padding there is less of it."""

    def make(value: int) -> int:
        found = less_padded(b.graph, value, start, drop) if step == 1 else None
        return b.graph.take(value, start, step, drop=drop) if found is None else found

    return b.over_steps(label, "slice", i, make)


def _steps_of(label: Feat, i: int) -> Steps:
    (steps,) = label.dims[i]
    assert isinstance(steps, Steps)
    return steps


def _last_steps(b: Labelled, label: Feat, i: int, count: int, drop: int) -> Feat:
    """``x[-count:]`` or ``x[-count:-drop]``: the first of the sequence backwards, backwards."""
    backwards = reversed_steps(b, label)
    some = b.over_steps(backwards, "slice", i, lambda v: b.graph.take(v, start=drop, most=count - drop))
    return reversed_steps(b, some)


def one_step(b: Labelled, label: Feat, index: int, i: int) -> Feat:
    """One step of dimension ``i``, which then is of size 1; below 0 it is counted from the end."""
    if index < -1:
        return one_step(b, reversed_steps(b, label), -1 - index, i)
    steps = b.steps_of(label.dims, "slice")
    assert steps is not None
    count = b.steps[steps.axis]

    def make(value: int) -> int:
        if b.graph.values[value].kind == "vec":
            return value
        if count == 1 and index == 0 and b.is_free(steps):  # the first of more at other sizes
            return b.unrolled.step(b.graph.take(value, start=0, most=1), 0, 1)
        turned = next((n.inputs[0] for n in b.graph.nodes if n.op == "reverse" and value in n.outputs), None)
        if turned is not None and index % count == 0 and b.has_lengths(steps.axis):  # the last of each row
            return b.unrolled.step(turned, count - 1, count)
        return b.unrolled.step(value, index % count, count)

    found = b.each(label, "slice", make)
    dims = list(label.dims)
    dims[i] = ()
    return Feat(tuple(dims), found.cells)


def reversed_steps(b: Labelled, label: Feat) -> Feat:
    """The steps backwards."""
    return b.each(label, "flip", lambda v: b.graph.reverse(v) if b.graph.values[v].kind == "seq" else v)


def _flip(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    return flipped(b, tensor_of(args), options["axis"])


def flipped(b: Labelled, x: Tensor, axis: int) -> Label:
    """Features, or steps, the other way around."""
    i = axis % x.ndim
    if isinstance(x.label, Mask) and x.label.dims[i] == (Steps(x.label.axis),):
        return backwards(b, x.label)
    label = b.feat(x, "flip")
    if is_fixed(label.dims[i]):
        return indexed(label, i, lambda cells, axis: np.flip(cells, axis))
    if is_steps(label.dims[i]):
        return reversed_steps(b, label)
    raise b.wrong_roles("flip", f"it turns {b.words(label.dims[i])} around")


def _repeat_interleave(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    label, times = b.feat(tensor_of(args), "repeat_interleave"), options["times"]
    i = options["axis"] % len(label.dims)
    if is_fixed(label.dims[i]):
        return indexed(label, i, lambda cells, axis: np.repeat(cells, times, axis))
    if is_steps(label.dims[i]):
        return b.over_steps(label, "repeat_interleave", i, lambda v: b.graph.repeat(v, int(times)))
    raise b.wrong_roles("repeat_interleave", f"it repeats {b.words(label.dims[i])}")


def _tile(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    label = b.feat(tensor_of(args), "tile")
    repeats = [1] * (out.ndim - len(options["repeats"])) + [int(r) for r in options["repeats"]]
    label = Feat(((),) * (out.ndim - len(label.dims)) + label.dims, label.cells)
    for i, times in enumerate(repeats):
        if times == 1:
            continue
        if not label.dims[i]:  # as expand
            grown = _grown(b, times, label.dims)
            dims = (*label.dims[:i], grown, *label.dims[i + 1 :])
            label = Feat(dims, np.array(broadcast(label, dims)))
        elif is_fixed(label.dims[i]):
            label = indexed(label, i, lambda cells, axis, n=times: np.concatenate([cells] * n, axis))  # type: ignore[misc]
        else:
            raise b.wrong_roles("tile", f"it repeats {b.words(label.dims[i])}")
    return label


def tensor_of(args: Args) -> Tensor:
    """The first argument."""
    x = args[0]
    assert x is not None
    return x


def _label(args: Args) -> Any:
    return tensor_of(args).label


RULES: dict[str, Callable[..., Any]] = {
    "reshape": _reshape,
    "permute": _permute,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "slice": _slice,
    "flip": _flip,
    "repeat_interleave": _repeat_interleave,
    "tile": _tile,
}
