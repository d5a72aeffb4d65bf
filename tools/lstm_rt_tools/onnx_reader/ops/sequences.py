"""Sequences of tensors, as exporters make them of lists."""

from __future__ import annotations

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op
from .shapes import concat, split, unsqueeze


@op("SequenceEmpty", ignores=("dtype",))
def _empty(c: Call) -> Value:
    return []


@op("SequenceConstruct")
def _construct(c: Call) -> Value:
    return c.tensors()


@op("SequenceInsert")
def _insert(c: Call) -> Value:
    parts = list(c.sequence(0))
    parts.insert(len(parts) if c.optional(2) is None else _place(c, 2, len(parts) + 1), c.tensor(1))
    return parts


@op("SequenceErase")
def _erase(c: Call) -> Value:
    parts = list(c.sequence(0))
    if not parts:
        raise c.error("the sequence is empty")
    del parts[-1 if c.optional(1) is None else _place(c, 1, len(parts))]
    return parts


@op("SequenceAt")
def _at(c: Call) -> Value:
    parts = c.sequence(0)
    return parts[_place(c, 1, len(parts))]


def _place(c: Call, i: int, count: int) -> int:
    place = int(c.known_number(i, "position", 0))
    if not -count <= place < count:
        raise c.error(f"position {place} of a sequence of {count}")
    return place % count


@op("SequenceLength")
def _length(c: Call) -> Value:
    return c.constant(np.int64(len(c.sequence(0))))


@op("SplitToSequence")
def _split(c: Call) -> Value:
    x, given = c.tensor(0), c.known_ints(1, "split")
    axis = c.axis(c.integer("axis", 0), x.ndim)
    size = x.shape[axis]
    if given is None:
        parts = split(c, x, axis, [1] * size)
        return parts if c.integer("keepdims", 1) else [_without(c, p, axis) for p in parts]
    if c.tensor(1).ndim == 0:
        if given[0] < 1:
            raise c.error(f"parts of size {given[0]}")
        given = [min(given[0], size - at) for at in range(0, size, given[0])]
    c.integer("keepdims", 1)  # which has no meaning then
    return split(c, x, axis, given)


def _without(c: Call, x: Tensor, axis: int) -> Tensor:
    return c.reshape(x, [n for i, n in enumerate(x.shape) if i != axis])


@op("ConcatFromSequence")
def _concat(c: Call) -> Value:
    parts, axis = c.sequence(0), c.integer("axis")
    if not parts:
        raise c.error("the sequence is empty")
    if not c.integer("new_axis", 0):
        return concat(c, parts, c.axis(axis, parts[0].ndim))
    axis = c.axis(axis, parts[0].ndim + 1)
    return concat(c, [unsqueeze(c, p, [axis]) for p in parts], axis)
