"""Operations that put things side by side, or one after the other: concatenation and padding."""


from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..counts import ramp
from ..labelled import Labelled
from ..labels import (
    Cells,
    Columns,
    Dims,
    Feat,
    Label,
    Lengths,
    Mask,
    N,
    Steps,
    apart,
    broadcast,
    cell,
    fixed,
    indexed,
    is_fixed,
    is_steps,
)
from ..machine import Tensor
from ..positions import positions
from ..recognised.rolled import roll
from ..recognised.unrolled import FEW
from .shapes import reversed_steps, tensor_of

Args = Sequence[Tensor | None]
_MOST_CONSTANT = 8  #: steps of constants beside a sequence


def _concat(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    parts = [a for a in args if a is not None]
    columns = options["axis"] % out.ndim == out.ndim - 1 == 1 and all(p.shape[1] == 1 for p in parts)
    if columns and any(isinstance(p.label, Lengths) for p in parts):
        rows = next(p.label.dims[0] for p in parts if isinstance(p.label, Lengths))
        return Columns((rows, (len(parts),)), tuple(p.label for p in parts))
    i = options["axis"] % out.ndim
    if (mask := _one_mask(parts, i)) is not None:
        return mask
    labels = [b.feat(p, "concat") for p in parts if not p.known]
    model = next((label for label in labels if is_steps(label.dims[i])), labels[0])
    dims: Dims = tuple(() for _ in range(out.ndim))
    for p in parts:
        if not p.known:
            label = b.feat(p, "concat")
            rest = tuple(() if k == i else d for k, d in enumerate(label.dims))
            dims = b.common(dims, rest, "concat")
    if all(p.known or is_fixed(p.label.dims[i]) for p in parts):
        return _concat_features(b, parts, i, dims)
    if is_steps(model.dims[i]):
        apart = [_without_fixed_steps(b, p, i) for p in parts]
        if sum(p is not q for p, q in zip(parts, apart, strict=True)) > 1:  # of layers over a single step
            return _concat(b, apart, options, out)
        return _concat_steps(b, parts, i)
    if model.dims[i] == (N,) and all(not p.known and p.label.dims == model.dims for p in parts):  # to be apart again
        axis = len(fixed(model.dims[:i]))
        made = (*model.dims[:i], (len(parts), N), *model.dims[i + 1 :])
        return Feat(made, np.stack([b.feat(p, "concat").cells for p in parts], axis))
    raise b.wrong_roles("concat", f"it joins {b.words(model.dims[i])}")


def _without_fixed_steps(b: Labelled, x: Tensor, i: int) -> Tensor:
    """The same with the steps of dimension ``i`` as features, if they are of a number that nothing else can change."""
    dim = () if x.known else x.label.dims[i]
    if not is_steps(dim) or b.graph.root(dim[0].axis) is not None:
        return x
    return Tensor(x.data, b.flattened(b.feat(x, "concat"), dim[0]))


def _one_mask(parts: Sequence[Tensor], i: int) -> Mask | None:
    """The mask that all parts are, side by side; None if they are anything else."""
    masks = [p.label for p in parts if isinstance(p.label, Mask) and is_fixed(p.label.dims[i])]
    if len(masks) < len(parts):
        return None
    first = replace(masks[0], dims=())
    rest = [(*m.dims[:i], *m.dims[i + 1 :]) for m in masks]
    if any((m.value, m.axis, m.inverted) != (first.value, first.axis, first.inverted) for m in masks[1:]):
        return None
    size = sum(p.shape[i] for p in parts)
    return replace(first, dims=(*masks[0].dims[:i], (size,), *masks[0].dims[i + 1 :])) if len(set(rest)) == 1 else None


def _concat_features(b: Labelled, parts: Sequence[Tensor], i: int, dims: Dims) -> Feat:
    if (steps := _all_steps(b, parts, i, dims)) is not None:
        return steps
    total, cells = 0, []
    axis = len(fixed(dims[:i]))
    for p in parts:
        size = p.shape[i]
        wide = (*dims[:i], (size,), *dims[i + 1 :])
        if p.known:
            shape_dims = tuple(d if p.shape[k] > 1 or k == i else () for k, d in enumerate(wide))
            line = (ramp if size == 1 else positions)(b, p.data, shape_dims)
            own = line or Feat(shape_dims, b.number_cells(b.against(shape_dims, p.data, "concat")))
        else:
            own = b.feat(p, "concat")
        if not own.dims[i] or own.dims[i] != (size,):
            merged = (*own.dims[:i], (size,), *own.dims[i + 1 :])
            own = Feat(merged, own.cells.reshape(fixed(merged)))
        cells.append(broadcast(own, wide))
        total += size
    made = (*dims[:i], (total,), *dims[i + 1 :])
    return Feat(made, np.concatenate(cells, axis))


def _all_steps(b: Labelled, parts: Sequence[Tensor], i: int, dims: Dims) -> Feat | None:
    """All steps of a sequence, one by one and in order, are the sequence."""
    if any(p.known or p.shape[i] != 1 or p.label.dims != parts[0].label.dims for p in parts) or len(parts) < 2:
        return None
    each = [b.feat(p, "concat").cells for p in parts]
    found = b.unrolled.joined(each)
    if found is None and len(parts) in b.unrolled.counts:
        roll(b.graph, b.unrolled)
        found = b.unrolled.joined(each)
        if found is None and (axis := _loop_over(b, each)) is not None:
            raise b.unknown_loop(axis)
    if found is None:
        return None
    cells, seq, backwards = found
    made = (*dims[:i], (b.new_axis_of(seq),), *dims[i + 1 :])
    label = Feat(made, cells.reshape(fixed(made)))
    return reversed_steps(b, label) if backwards else label


def _loop_over(b: Labelled, parts: Sequence[Cells]) -> int | None:
    """The axis, if it is a result of each of its steps, of any number of these; as few may be so many by chance."""
    axis = next((axis for axis, n in b.steps.items() if n == len(parts) > FEW and b.is_free(Steps(axis))), None)
    of_steps = (v >= 0 and b.unrolled.depends(int(v)) for part in parts for v in np.unique(apart(part)[0]))
    return axis if axis is not None and all(of_steps) else None


def _concat_steps(b: Labelled, parts: Sequence[Tensor], i: int) -> Feat:
    """Steps before and after a sequence: of one constant they are padding."""
    parts = [one for p in parts for one in _few_apart(b, p, i)]
    at = [k for k, p in enumerate(parts) if not p.known and is_steps(p.label.dims[i])]
    single = all(p.known or k in at or p.shape[i] == 1 for k, p in enumerate(parts))
    if len(at) != 1 or not single:
        raise b.error("concat", "sequences one after the other are not supported")
    if any(not p.known and k not in at for k, p in enumerate(parts)):
        return _beside_single(b, parts, i, at[0])
    label, (k,) = b.feat(parts[at[0]], "concat"), at
    sides = [np.concatenate([p.data for p in side], i) if side else None for side in (parts[:k], parts[k + 1 :])]
    numbers = {float(n) for a in sides if a is not None for n in np.unique(a)}
    if len(numbers) < 2:
        before, after = (0 if a is None else a.shape[i] for a in sides)
        return padded_steps(b, label, i, before, after, numbers.pop() if numbers else 0.0)
    for side, numbers_there in enumerate(sides):
        if numbers_there is not None:
            label = _beside_constants(b, label, i, numbers_there, before=side == 0)
    return label


def _few_apart(b: Labelled, x: Tensor, i: int) -> list[Tensor]:
    """A few steps one by one, where there are never more; anything else as it is."""
    steps = x.label.dims[i][0] if not x.known and is_steps(x.label.dims[i]) else None
    if not isinstance(steps, Steps) or not 1 < b.steps[steps.axis] <= _MOST_CONSTANT or not b.is_set(steps.axis):
        return [x]
    n, label = b.steps[steps.axis], b.feat(x, "concat")
    value = b.at_every_step(b.value(label.cells, steps, "concat"), steps)
    made = b.graph.flatten(value, n)  # which refuses fewer
    dims = (*label.dims[:i], (), *label.dims[i + 1 :])
    cells = cell(made, np.arange(n * label.cells.size)).reshape(n, *label.cells.shape)
    return [Tensor(np.take(x.data, [k], i), Feat(dims, cells[k])) for k in range(n)]


def _beside_single(b: Labelled, parts: Sequence[Tensor], i: int, k: int) -> Feat:
    """Part ``k`` is a sequence, each other one a step before or after it."""
    label = b.feat(parts[k], "concat")
    for n in (*range(k)[::-1], *range(k + 1, len(parts))):
        if parts[n].known:
            label = _beside_constants(b, label, i, parts[n].data, before=n < k)
            continue
        flat: Dims = (*label.dims[:i], (), *label.dims[i + 1 :])
        step = b.feat(parts[n], "concat")
        value = b.value(broadcast(step, flat), b.steps_of(step.dims, "concat"), "concat")
        label = _beside_step(b, label, i, value, before=n < k)
    return label


def _beside_constants(b: Labelled, label: Feat, i: int, numbers: NDArray[Any], before: bool) -> Feat:
    """A sequence with other steps before or after it, of a constant for each feature."""
    count = numbers.shape[i]
    if count > _MOST_CONSTANT:
        raise b.error("concat", f"a sequence with {count} steps of other numbers beside it is not supported")
    for at in range(count)[:: -1 if before else 1]:
        flat: Dims = (*label.dims[:i], (), *label.dims[i + 1 :])
        step = b.against(flat, np.take(numbers, [at], i), "concat").astype(np.float32).ravel()
        label = _beside_step(b, label, i, b.constant_vec(step), before)
    return label


def _beside_step(b: Labelled, label: Feat, i: int, step: int, before: bool) -> Feat:
    """One step more: zeros, and ``step``, a vec, times a feature that is 1 there alone."""
    steps, size = b.steps_of(label.dims, "concat"), label.cells.size
    assert steps is not None
    nothing = b.at_every_step(b.constant_vec(np.zeros(1, np.float32)), steps)
    value = b.features(label, "concat")
    by = (1, 0) if before else (0, 1)
    grown, there = b.graph.pad_steps(value, *by), b.graph.pad_steps(nothing, *by, value=1.0)
    made = b.graph.binary("add", grown, b.graph.binary("mul", there, step))
    dims = (*label.dims[:i], (b.new_axis_of(made),), *label.dims[i + 1 :])
    return Feat(dims, cell(made, np.arange(size)).reshape(label.cells.shape))


def padded_steps(
    b: Labelled, label: Feat, i: int, before: int, after: int, value: float = 0.0, mode: str = "constant"
) -> Feat:
    """Steps before and after those of dimension ``i``; fewer than none cut some off."""
    if before < 0 or after < 0:
        cut = {"start": max(0, -before), "drop": max(0, -after)}
        label = b.over_steps(label, "pad", i, lambda v: b.graph.take(v, **cut))
    before, after = max(0, before), max(0, after)
    if not before and not after:
        return label
    return b.over_steps(label, "pad", i, lambda v: b.graph.pad_steps(v, before, after, value, mode=mode))


def _pad(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    label = b.feat(tensor_of(args), "pad")
    mode, value = options.get("mode", "constant"), float(options.get("value", 0.0))
    for i, (before, after) in enumerate(options["pads"]):
        before, after = int(before), int(after)
        if (before, after) == (0, 0):
            continue
        if is_fixed(label.dims[i]):
            label = _pad_features(b, label, i, (before, after), mode, value)
        elif is_steps(label.dims[i]):
            label = padded_steps(b, label, i, before, after, value, mode)
        else:
            raise b.wrong_roles("pad", f"it adds to {b.words(label.dims[i])}")
    return label


def _pad_features(b: Labelled, label: Feat, i: int, by: tuple[int, int], mode: str, value: float) -> Feat:
    def pad(cells: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
        size = cells.shape[axis]
        cells = np.take(cells, np.arange(max(0, -by[0]), size - max(0, -by[1])), axis)
        grow = [(0, 0)] * cells.ndim
        grow[axis] = (max(0, by[0]), max(0, by[1]))
        if mode == "constant":
            return np.pad(cells, grow, constant_values=b.number_cell(value))
        return np.pad(cells, grow, mode)  # type: ignore[call-overload,no-any-return]

    return indexed(label, i, pad)


RULES: dict[str, Callable[..., Any]] = {
    "concat": _concat,
    "pad": _pad,
}
