"""Every few steps of a sequence side by side, and one by one again: how programs dilate convolutions, or stretch time.

What stands side by side remembers the sequence that it is of, so that this can be put together without a trace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_PARTS, MAX_SIZE
from lstm_rt.graph import check_limit

from .labels import Dim, Feat, N, Steps, apart, cell, fixed, is_fixed, is_steps
from .machine import Tensor

if TYPE_CHECKING:
    from .labelled import Labelled


def beside(b: Labelled, value: int, few: int) -> int:
    """Every few steps of a sequence side by side: steps of so many times its features."""
    if few <= MAX_PARTS:
        parts = [b.graph.take(value, start=k, stride=few, drop=few - 1 - k) for k in range(few)]
        seq = b.graph.concat(*parts)
    else:
        size = b.graph.values[value].size
        check_limit("features of a value", few * size, MAX_SIZE)
        kernels = np.eye(few * size, dtype=np.float32).reshape(few * size, few, size)
        seq = b.graph.conv(value, kernels.transpose(0, 2, 1)[..., None, None], stride=(few, 1, 1), whole=True)
    b.phases[seq] = value, few
    return seq


def _of_one(b: Labelled, cells: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]] | None:
    """The sequence, and which of its features, that ``cells (few, ...)`` have every few steps of; None of others."""
    values, features = apart(cells)
    value, few = b.phases.get(int(values.flat[0]), (0, 0))
    if few != len(cells) or (values != values.flat[0]).any():
        return None
    size = b.graph.values[value].size
    if (features != features[0] + size * np.arange(few).reshape(-1, *[1] * (cells.ndim - 1))).any():
        return None
    return (value, features[0]) if (features[0] < size).all() else None


def one_by_one(b: Labelled, x: Tensor | None) -> Tensor | None:
    """The same with a few features of each step, that are in a dimension with the steps, as steps of their own."""
    label = x.label if x is not None else None
    if x is None or not isinstance(label, Feat):
        return x
    i = next((i for i, d in enumerate(label.dims) if len(d) == 2 and is_steps(d[:1]) and is_fixed(d[1:])), None)
    if i is None:
        return x
    steps, few = label.dims[i]
    assert isinstance(steps, Steps)
    assert isinstance(few, int)
    cells = np.moveaxis(label.cells, len(fixed(label.dims[:i])), 0)
    found = _of_one(b, cells)
    if found is None:
        value = b.at_every_step(b.value(cells, steps, "reshape"), steps)
        found = b.graph.unflatten(value, few), np.arange(cells[0].size).reshape(cells.shape[1:])
    dims = (*label.dims[:i], (b.new_axis_of(found[0]),), *label.dims[i + 1 :])
    return Tensor(x.data, Feat(dims, cell(*found)))


def of_whole(b: Labelled, x: Tensor) -> tuple[Tensor, int, int] | None:
    """What ``x`` has every few steps of as so many parts of the batch: with the steps' dimension, and how few.

    None where it is something else.
    """
    label = b.feat(x, "conv")
    at = [i for i, d in enumerate(label.dims) if is_steps(d)]
    if len(label.dims[0]) != 2 or label.dims[0][1] != N or len(at) != 1:
        return None
    found, (i,) = _of_one(b, label.cells), at
    if found is None:
        return None
    few = len(label.cells)
    dims = ((N,), *label.dims[1:i], (b.new_axis_of(found[0]),), *label.dims[i + 1 :])
    parts = x.data.reshape(few, -1, *x.shape[1:])
    data = np.moveaxis(parts, 0, i + 1).reshape(-1, *x.shape[1:i], few * x.shape[i], *x.shape[i + 1 :])
    return Tensor(data, Feat(dims, cell(*found))), i, few


def in_parts(b: Labelled, x: Tensor, i: int, few: int) -> Feat:
    """The way back: every few steps of dimension ``i`` as so many parts of the batch."""
    label = b.feat(x, "conv")
    steps = label.dims[i][0]
    assert isinstance(steps, Steps)
    distinct, at = np.unique(label.cells, return_inverse=True)
    seq = beside(b, b.at_every_step(b.value(distinct, steps, "conv"), steps), few)
    cells = at.reshape(label.cells.shape) + len(distinct) * np.arange(few).reshape(-1, *[1] * label.cells.ndim)
    dims: tuple[Dim, ...] = ((few, N), *label.dims[1:i], (b.new_axis_of(seq),), *label.dims[i + 1 :])
    return Feat(dims, cell(seq, cells))


def part_of_batch(b: Labelled, x: Tensor, k: int) -> Tensor:
    """Part ``k`` of those that the batch has at each row."""
    label = b.feat(x, "conv")
    sizes = [b.size_of(a) for a in label.dims[0]]
    at = label.dims[0].index(N) if N in label.dims[0] else len(sizes)
    parts = np.moveaxis(x.data.reshape(*sizes, *x.shape[1:]), at, len(sizes) - 1) if at < len(sizes) else x.data
    count = len(fixed(label.dims[:1]))
    rows = x.shape[0] // int(np.prod(fixed(label.dims[:1]), dtype=int))
    cells = label.cells.reshape(-1, *label.cells.shape[count:])[k]
    data = parts.reshape(-1, rows, *x.shape[1:])[k]
    dims: tuple[Dim, ...] = ((N,) if at < len(sizes) else (), *label.dims[1:])
    return Tensor(data, replace(label, dims=dims, cells=cells))
