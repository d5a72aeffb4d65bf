"""Masks and lengths where a program computes with them: as masks of the graph, and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from .labels import (
    AnyStep,
    Counted,
    Dims,
    Extreme,
    Feat,
    Lengths,
    Mask,
    Masked,
    Penalty,
    Steps,
    Times,
    apart,
    broadcast,
    cell,
    fixed,
)
from .tidy import maker

if TYPE_CHECKING:
    from .labelled import Labelled

#: What gives 0 where nothing counts.
_ZERO_ELSEWHERE = frozenset({"select", "reduce", "softmax_steps", "apply_mask"})
_LEAST = float(np.finfo(np.float32).min)


def in_numbers(b: Labelled, label: Any) -> Feat | None:
    """What a program reads where it computes with a mask or lengths; None of any other label."""
    if isinstance(label, Mask):
        return _spread(there(b, label), label.dims)
    if isinstance(label, Masked):
        return chosen_by(b, label.mask, label.feat, np.asarray(max(label.fill, _LEAST), np.float32))
    if isinstance(label, Penalty) and isinstance(label.mask, Mask):
        fill = max(label.fill, _LEAST)
        value = b.graph.activation(there(b, label.mask), Activation("affine", -fill, fill))
        return _spread(value, label.dims)
    if isinstance(label, Times):
        return _spread(b.graph.activation(there(b, label.mask), Activation("affine", label.number, 0.0)), label.dims)
    if isinstance(label, Counted):
        return _spread(b.graph.reduce(there(b, label.mask), "sum", whole=True), label.dims)
    if isinstance(label, AnyStep):
        return _spread(b.graph.reduce(there(b, label.mask), "max", whole=True), label.dims)
    if isinstance(label, Extreme):
        return label.exact
    return _length(b, label) if isinstance(label, Lengths) else None


def _spread(value: int, dims: Dims) -> Feat:
    """One feature for all cells."""
    return Feat(dims, np.broadcast_to(cell(value, 0), fixed(dims)))


def there(b: Labelled, mask: Mask) -> int:
    """A seq of one feature: 1 at the steps that a mask counts, else 0."""
    key = f"mask {mask.value} {mask.inverted}".encode()
    return b.kept((mask.axis, key), lambda: _there(b, mask))


def _there(b: Labelled, mask: Mask) -> int:
    if mask.inverted:
        return b.graph.activation(there(b, replace(mask, inverted=False)), Activation("affine", -1.0, 1.0))
    ones = _ones(b, mask.axis)
    # Without steps before or after, what padding does is to make 0 of those beyond a row's length.
    return b.graph.pad_steps(ones, 0, 0) if mask.value is None else b.graph.apply_mask(ones, mask.value)


def _ones(b: Labelled, axis: int) -> int:
    return b.at_every_step(b.constant_vec(np.ones(1, np.float32)), Steps(axis))


def _length(b: Labelled, label: Lengths) -> Feat:
    axis = b.axis_of_lengths(label)
    b.use_lengths(replace(label, less=0), axis)
    value = b.kept((axis, b"length"), lambda: b.graph.reduce(_ones(b, axis), "sum"))
    if label.less:
        value = b.graph.activation(value, Activation("affine", 1.0, -float(label.less)))
    return _spread(value, label.dims)


def counting(b: Labelled, mask: Mask) -> dict[str, Any]:
    """What makes an operation over steps leave out those that a mask does not count, and no others."""
    value = plain(b, mask).value
    return {"mask": value, "whole": value is not None and b.has_lengths(mask.axis)}


def plain(b: Labelled, mask: Mask) -> Mask:
    """The same that is not inverted."""
    return graph_mask(b, mask) if mask.inverted else mask


def graph_mask(b: Labelled, mask: Mask) -> Mask:
    """The same as a mask of the graph."""
    if mask.value is not None and not mask.inverted:
        return mask
    return _of_numbers(b, there(b, mask), mask.axis, mask.dims)


def _of_numbers(b: Labelled, value: int, axis: int, dims: Dims) -> Mask:
    key = b"mask of" + value.to_bytes(4, "little")
    return Mask(b.kept((axis, key), lambda: b.graph.mask_values(value)), axis, dims)


def backwards(b: Labelled, mask: Mask) -> Mask:
    """The same of the steps backwards."""
    return _of_numbers(b, b.graph.reverse(there(b, mask)), mask.axis, mask.dims)


def joined(b: Labelled, word: str, x: Mask, y: Mask) -> Mask:
    """Where both masks count (``logical_and``), or one of them (``logical_or``)."""
    if x.axis != y.axis:
        raise b.wrong_roles(word, "it combines masks of two sequences")
    op = "mul" if word == "logical_and" else "maximum"
    value = b.graph.binary(op, there(b, x), there(b, y))
    return _of_numbers(b, value, x.axis, b.common(x.dims, y.dims, word))


def only(b: Labelled, mask: Mask, label: Feat, op: str) -> Feat:
    """Features, and 0 at the steps that a mask does not count."""
    dims = b.common(label.dims, mask.dims, op)
    wide = Feat(dims, np.array(broadcast(label, dims)))
    steps = Steps(mask.axis)
    if mask.value is None and not mask.inverted:
        return b.each(wide, op, lambda v: b.graph.pad_steps(b.at_every_step(v, steps), 0, 0))
    value = graph_mask(b, mask).value
    assert value is not None
    return b.each(wide, op, lambda v: b.graph.apply_mask(b.at_every_step(v, steps), value))


def chosen_by(b: Labelled, mask: Mask, x: Feat | NDArray[Any], y: Feat | NDArray[Any], op: str = "where") -> Feat:
    """``x`` at the steps that a mask counts, elsewhere ``y``: features or numbers."""
    sides = [(mask, x), (replace(mask, inverted=not mask.inverted), y)]
    made = [only(b, m, _features(b, mask.dims, s, op), op) for m, s in sides if isinstance(s, Feat) or np.any(s != 0)]
    if not made:
        raise b.error(op, "a choice between nothing and nothing is not supported")
    if len(made) == 1:
        return made[0]
    return b.pairs(made[0], made[1], op, lambda p, q: b.graph.binary("add", p, q))


def _features(b: Labelled, dims: Dims, given: Feat | NDArray[Any], op: str) -> Feat:
    if isinstance(given, Feat):
        return given
    numbers = np.asarray(given, np.float32)
    dims = b.wider(dims, numbers, op)
    return Feat(dims, b.number_cells(b.against(dims, numbers, op)))


def is_zero_elsewhere(b: Labelled, label: Feat, mask: Mask) -> bool:
    """Are features 0 already at all steps that a mask does not count, or in rows of which it counts none?"""
    values = np.unique(apart(label.cells)[0]).tolist()
    return not mask.inverted and all(_is_zero_elsewhere(b, value, mask) for value in values)


def _is_zero_elsewhere(b: Labelled, value: int, mask: Mask) -> bool:
    step, own, whole = b.unrolled.step_of(value), None, False
    if step is not None:  # of each row, if it is the first or the last
        source, whole = step[0], step[1] not in (0, step[2] - 1)
    else:
        node = maker(b.graph, value)
        if node is None or node.op not in _ZERO_ELSEWHERE or node.inputs[0] is None:
            return False
        source, whole = node.inputs[0], bool(node.attrs.get("whole", False))
        own = node.inputs[1] if len(node.inputs) > 1 else None
    if b.graph.values[source].axis != mask.axis or own != mask.value:
        return False
    return own is not None or (b.has_lengths(mask.axis) and not whole)


def length_dims(lengths: Lengths, shape: Sequence[int], axis: int) -> Dims:
    """The dimensions of a comparison of lengths with the numbers of steps, of this shape."""
    rank = max(len(shape), len(lengths.dims))
    rows = ((),) * (rank - len(lengths.dims)) + lengths.dims
    steps = (1,) * (rank - len(shape)) + tuple(shape)
    return tuple((Steps(axis),) if n > 1 else d for d, n in zip(rows, steps, strict=True))
