"""Picking by number: tables of embeddings, one feature, one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import truths
from ..labelled import Labelled
from ..labels import (
    AnyStep,
    Counted,
    Differs,
    Extreme,
    Feat,
    Ids,
    Label,
    Lengths,
    Loose,
    Mask,
    N,
    Order,
    Scores,
    Steps,
    Turn,
    cell,
    fixed,
    indexed,
    is_fixed,
    is_steps,
)
from ..machine import Misfit, Tensor
from ..masks import chosen_by, is_zero_elsewhere
from .arithmetic import scaled
from .attention import chosen
from .joining import padded_steps
from .layers import dense_over
from .shapes import flipped, one_step, reversed_steps
from .tables import embedded, one_hot

Args = Sequence[Tensor | None]


def _index_select(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label | None:
    x, index = args
    assert x is not None
    assert index is not None
    axis = options["axis"] % x.ndim
    if isinstance(index.label, Order) and x.known and np.all(x.data == x.data.take([0], axis)):
        return None  # whatever the order of rows that are alike, such as states of zeros
    pick = next(pick for kind, pick in _BY_INDEX.items() if isinstance(index.label, kind))
    found = pick(b, x, index, axis)
    if found is None:
        raise b.error("index_select", "places that depend on the inputs are not supported")
    return found


def _by_ids(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    return embedded(b, index.label, x.data, axis) if x.known else None


def _by_turn(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    """The step of a sequence that the turn of a loop is at."""
    if b.loop_of_step is None or index.label.offset:
        return None
    label: Feat = b.loop_of_step.slice(x, axis).label
    dims = (*label.dims[:axis], *(() for _ in index.shape), *label.dims[axis:])
    return Feat(dims, label.cells.reshape(fixed(dims)))


def _by_what_is_loose(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    raise b.error("index_select", index.label.why)


def _by_order(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    label: Label = x.label
    return None if x.known or label.dims[axis] != (N,) else label


def _by_lengths(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    """The last step of each row, picked from the steps of all rows, one row behind the other."""
    lengths: Lengths = index.label
    if lengths.beside is None:
        return None
    label = b.feat(x, "index_select")
    if label.dims[axis] != (N, Steps(lengths.beside)) or lengths.less != 1:
        return None
    dims = (*label.dims[:axis], (N,), (Steps(lengths.beside),), *label.dims[axis + 1 :])
    b.use_lengths(Lengths(lengths.name, lengths.dims), lengths.beside)
    found = one_step(b, Feat(dims, label.cells), -1, axis + 1)
    return Feat((*dims[: axis + 1], *dims[axis + 2 :]), found.cells)


def _by_features(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    """Rows of a table, by whole numbers that the program has computed, such as those of its largest features."""
    if not x.known or axis or x.ndim != 2 or index.dtype.kind not in "iu":
        return None
    picked = truths.hot(b, index.label, len(x.data))
    return dense_over(b, picked, index.ndim, np.asarray(x.data, np.float32), "index_select")


def _by_numbers(b: Labelled, x: Tensor, index: Tensor, axis: int) -> Label | None:
    at = index.data.astype(np.int64)
    if isinstance(x.label, Ids) and is_fixed(x.label.dims[axis]) and at.size == 1:
        one = indexed(x.label, axis, lambda cells, k: np.take(cells, at.ravel(), k))
        return replace(one, dims=(*one.dims[:axis], *(() for _ in at.shape), *one.dims[axis + 1 :]))
    label = b.feat(x, "index_select")
    if at.ndim == 2 and at.shape[1] > 1 and is_steps(label.dims[axis]):
        return _windows(b, label, axis, at)
    made = _picked(b, label, axis, at.ravel())
    dims = (*made.dims[:axis], *(((n,) if n > 1 else ()) for n in at.shape), *made.dims[axis + 1 :])
    return Feat(dims, made.cells.reshape(fixed(dims))) if is_fixed(made.dims[axis]) else made


#: What picks, by what the index stands for: None is numbers that are known, and any other label picks nothing.
_BY_INDEX: dict[type, Callable[[Labelled, Tensor, Tensor, int], Label | None]] = {
    type(None): _by_numbers,
    Ids: _by_ids,
    Feat: _by_features,
    Lengths: _by_lengths,
    Order: _by_order,
    Turn: _by_turn,
    Loose: _by_what_is_loose,
    object: lambda b, x, index, axis: None,
}


def _argsort(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    """Rows sorted by their lengths stay where they are; rows do not see each other."""
    x = args[0]
    assert x is not None
    if not isinstance(x.label, Lengths | Counted | Order) or x.label.dims != ((N,),):
        raise b.error("argsort", "of anything but the lengths of rows it is not supported")
    b.sorts = True
    return Order(x.label.dims)


def _picked(b: Labelled, label: Feat, axis: int, at: NDArray[np.int64]) -> Feat:
    dim = label.dims[axis]
    if is_fixed(dim):
        return indexed(label, axis, lambda cells, k: np.take(cells, at, k))
    size = np.prod([b.size_of(a) for a in dim])
    if is_steps(dim):
        if at.size == 1:
            index = int(at[0])
            return one_step(b, label, -1 if index == -1 or (index == size - 1 and index) else index, axis)
        return _steps_by_number(b, label, axis, at)
    if dim == (N,) and size == 1 and at.size == 1:
        return label  # the one row of a program for a single one
    raise b.wrong_roles("index_select", f"it picks from {b.words(dim)}")


def _steps_by_number(b: Labelled, label: Feat, axis: int, at: NDArray[np.int64]) -> Feat:
    """Steps picked by their numbers: all of them, forth or back, or padded by steps that are there already."""
    count = b.size_of(label.dims[axis][0])
    every = np.arange(count)
    if np.array_equal(at, every):
        return label
    if np.array_equal(at, every[::-1]):
        return reversed_steps(b, label)
    before = int(np.argmax(at == 0)) if at[0] else int(np.argmax(at != 0)) - 1
    for mode in ("reflect", "edge"):
        by = (before, len(at) - count - before)
        if min(by) >= 0 and max(by) < count and np.array_equal(at, np.pad(every, by, mode)):
            return padded_steps(b, label, axis, *by, mode=mode)
    raise b.error("index_select", "several steps of a sequence by their numbers are not supported")


def _windows(b: Labelled, label: Feat, axis: int, at: NDArray[np.int64]) -> Feat:
    """Windows of steps, ``at (windows, steps of one)``: a convolution that picks each step of a window."""
    (count, n), steps = at.shape, label.dims[axis][0]
    assert isinstance(steps, Steps)
    if count == 1:
        why = b.error("index_select", "of a single window of steps it is not known where the next one would begin")
        raise Misfit(str(why), "index_select")
    stride, dilation = int(at[1, 0] - at[0, 0]), int(at[0, 1] - at[0, 0])
    room = b.steps[steps.axis] - dilation * (n - 1) - 1
    regular = stride > 0 and dilation > 0 and room // stride + 1 == count
    if not regular or not np.array_equal(at, np.arange(count)[:, None] * stride + np.arange(n) * dilation):
        raise b.error("index_select", "several steps of a sequence by their numbers are not supported")
    distinct, inverse = np.unique(label.cells, return_inverse=True)
    value = b.at_every_step(b.value(distinct, steps, "index_select"), steps)
    picks = np.tile(np.eye(n, dtype=np.float32), (len(distinct), 1)).reshape(-1, 1, n, 1, 1)
    made = b.graph.conv(value, picks, size=(1, 1), stride=(stride, 1, 1), dilation=(dilation, 1, 1),
                        groups=len(distinct))  # fmt: skip
    cells = cell(made, inverse.reshape(label.cells.shape)[..., None] * n + np.arange(n))
    dims = (*label.dims[:axis], (b.new_axis_of(made),), (n,), *label.dims[axis + 1 :])
    return Feat(dims, np.moveaxis(cells, -1, len(fixed(label.dims[:axis]))))


def _one_hot(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    depth, on, off = int(options["depth"]), options.get("on", 1.0), options.get("off", 0.0)
    if options.get("axis", -1) in (-1, x.ndim):
        if isinstance(x.label, Ids):
            return one_hot(b, x.label, depth, on, off)
        if isinstance(x.label, Feat) and x.dtype.kind in "iu":
            return scaled(b, truths.hot(b, x.label, depth), "one_hot", on - off, off)
    raise b.error("one_hot", "of what is not an input of token ids it is not supported")


def _gather_elements(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    x, index = args
    assert x is not None
    assert index is not None
    axis = options["axis"] % x.ndim
    if isinstance(index.label, Order) and isinstance(x.label, Lengths | Counted):
        sorted_lengths: Label = x.label
        return sorted_lengths
    if isinstance(index.label, Order):
        return Loose("numbers in the order of sorted rows are not supported", index.label.dims)
    label = b.feat(x, "gather_elements")
    dim = label.dims[axis]
    if isinstance(index.label, Lengths) and is_steps(dim):
        if index.label.less != 1:
            raise b.error("gather_elements", "of lengths, only the last step of each row can be picked")
        b.use_lengths(Lengths(index.label.name, index.label.dims), dim[0].axis)
        return one_step(b, label, -1, axis)
    if index.known:
        at = index.data
        others = tuple(k for k in range(at.ndim) if k != axis)
        first = at[tuple(slice(0, 1) if k in others else slice(None) for k in range(at.ndim))]
        if np.array_equal(np.broadcast_to(first, at.shape), at):
            return _picked(b, label, axis, first.ravel().astype(np.int64))
    raise b.error("gather_elements", "places that depend on the inputs are not supported")


def _reverse_sequence(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x, lengths = args
    assert x is not None
    assert lengths is not None
    time = options.get("time_axis", 0) % x.ndim
    whole = lengths.known and np.all(lengths.data == x.shape[time])
    if whole and isinstance(x.label, Mask):
        return flipped(b, x, time)
    label = b.feat(x, "reverse_sequence")
    if whole and is_fixed(label.dims[time]):
        return flipped(b, x, time)
    steps = label.dims[time][0] if len(label.dims[time]) == 1 else None
    if not isinstance(steps, Steps):
        raise b.wrong_roles("reverse_sequence", f"it turns {b.words(label.dims[time])} around")
    if lengths.known:
        if not whole:
            raise b.error("reverse_sequence", "lengths that the program fixes are not supported")
    elif isinstance(lengths.label, Lengths):
        b.use_lengths(lengths.label, steps.axis)
    else:
        raise b.error("reverse_sequence", "lengths that are computed are not supported")
    return b.each(label, "reverse_sequence", lambda v: b.graph.reverse(b.at_every_step(v, steps)))


def _where(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    condition, x, y = args
    assert condition is not None
    assert x is not None
    assert y is not None
    if condition.known and not isinstance(x.label, Scores) and not isinstance(y.label, Scores):
        return _chosen(b, condition.data, x, y, out)
    mask = condition.label
    if (found := chosen(b, condition, x, y)) is not None:
        return found
    if isinstance(mask, AnyStep | Mask) and y.known and not y.data.any():
        label = x.label.found if _is_extreme_of(x.label, mask) else x.label
        if isinstance(label, Feat) and is_zero_elsewhere(b, label, mask.mask if isinstance(mask, AnyStep) else mask):
            return label
    if isinstance(mask, Mask):
        sides = [t.data if t.known else b.feat(t, "where") for t in (x, y)]
        return chosen_by(b, mask, sides[0], sides[1])
    if isinstance(mask, AnyStep | Feat | Differs) and condition.dtype.kind == "b":
        sides = [t.data if t.known else b.feat(t, "where") for t in (x, y)]
        return truths.chosen(b, b.feat(condition, "where"), sides[0], sides[1])
    raise b.error("where", "a choice that depends on the numbers of the inputs is not supported")


def _is_extreme_of(label: Any, condition: AnyStep | Mask) -> bool:
    """Is it the largest or smallest of the steps of which the condition asks whether there are any?"""
    if not isinstance(label, Extreme) or not isinstance(condition, AnyStep):
        return False
    return (label.mask.value, label.mask.inverted) == (condition.mask.value, condition.mask.inverted)


def _chosen(b: Labelled, condition: NDArray[Any], x: Tensor, y: Tensor, out: NDArray[Any]) -> Label:
    from ..labels import broadcast

    if condition.size and (condition == condition.flat[0]).all():
        only = x if condition.flat[0] else y
        if not only.known and only.shape == out.shape:
            label: Label = only.label
            return label
    sides = []
    dims: Any = ((),) * out.ndim
    for t in (x, y):
        dims = b.wider(dims, t.data, "where") if t.known else b.common(dims, b.feat(t, "where").dims, "where")
    dims = b.wider(dims, condition, "where")
    for t in (x, y):
        if t.known:
            sides.append(b.number_cells(b.against(dims, np.asarray(t.data, np.float32), "where")))
        else:
            sides.append(broadcast(b.feat(t, "where"), dims))
    chosen = np.where(b.against(dims, condition, "where"), *sides)
    return Feat(dims, chosen)


RULES: dict[str, Callable[..., Any]] = {
    "index_select": _index_select,
    "one_hot": _one_hot,
    "argsort": _argsort,
    "gather_elements": _gather_elements,
    "reverse_sequence": _reverse_sequence,
    "where": _where,
}
