"""Packed sequences of ATen's, and the sorting of batches for them.

A packed sequence stays the tensor that it was packed from, with the length of each row, and a batch that is sorted
stays as it was, with a note of what it is sorted by: rows do not see each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..agree import SizesDiffer
from ..run import Run
from ..tensors import BatchSizes, Pack, Packed, Permutation, Var
from .parts import padded
from .table import op

_TAKES = (Packed, BatchSizes)
_LONGEST = (
    "the model packs sequences by their lengths: the converted model gives as many steps as its input has, PyTorch as "
    "many as the longest row of a call"
)


@op("_pack_padded_sequence")
def pack_padded_sequence(run: Run, input: Any, lengths: Any, batch_first: Any) -> Any:
    x = run.tensor(input)
    x = run.swapped(x, 0, 1) if batch_first else x
    rows = run.tensor(lengths)
    if x.ndim < 2 or rows.ndim != 1:
        raise run.error(f"lengths of shape {rows.shape} for an input of shape {x.shape}")
    if rows.shape[0] != x.shape[1]:
        raise SizesDiffer(str(run.error(f"{rows.shape[0]} lengths for {x.shape[1]} rows")), run.op,
                          (rows.shape[0], x.shape[1]))  # fmt: skip
    pack = Pack(rows, x.shape[1], x.shape[0])
    data, sizes = Var(x), Var(run.constant(np.full(x.shape[0], x.shape[1]), np.int64))
    data.tag, sizes.tag = Packed(pack, clean=False), BatchSizes(pack)
    return data, sizes


@op("_pad_packed_sequence", tags=_TAKES)
def pad_packed_sequence(
    run: Run, data: Any, batch_sizes: Any, batch_first: Any, padding_value: Any, total_length: Any
) -> Any:
    if not isinstance(data.tag, Packed):
        raise run.error("of data that no packing has made")
    pack, y = data.tag.pack, run.tensor(data)
    if not data.tag.clean or padding_value:
        y = _cleared(run, y, pack, padding_value)
    steps = pack.steps if total_length is None else run.whole(total_length, "total_length")
    if 0 < steps < pack.steps:
        raise run.error(f"total_length {steps} of {pack.steps} steps")
    if steps > pack.steps:
        y = padded(run, y, [0, 0] * (y.ndim - 1) + [0, steps - pack.steps], "constant", padding_value)
    run.note(_LONGEST)
    return (run.swapped(y, 0, 1) if batch_first else y), pack.lengths


def _cleared(run: Run, y: Tensor, pack: Pack, value: Any) -> Tensor:
    """With ``value`` in the steps beyond each row's length."""
    steps = run.constant(np.arange(pack.steps)[:, None], pack.lengths.dtype)
    inside = run.apply("lt", steps, run.reshaped(pack.lengths, [1, pack.rows]))
    inside = run.reshaped(inside, [pack.steps, pack.rows, *[1] * (y.ndim - 2)])
    cleared: Tensor = run.apply("where", inside, y, run.constant(value, y.dtype))
    return cleared


# -- sorting ---------------------------------------------------------------------------------------------


@op("sort", tags=(Permutation,), orders=True)
def sort(run: Run, self: Any, dim: Any = -1, descending: Any = False, stable: Any = None) -> Any:
    x = run.tensor(self)
    if isinstance(self.tag, Permutation):  # the order that sorts an order is its inverse
        return run.constant(np.arange(x.shape[0])), _ordering(run, x, self.tag.key, not self.tag.inverse)
    if x.known:
        values = -x.data if descending else x.data
        picked = np.argsort(values, axis=run.axis(dim, x.ndim), kind="stable")
        return (run.constant(np.take_along_axis(x.data, picked, run.axis(dim, x.ndim))), run.constant(picked, np.int64))
    if x.ndim != 1 or self.order is not None:
        raise run.error("only the lengths of a batch are sorted where they depend on an input")
    key = object()
    values_ = Var(x)
    values_.order = key
    return values_, _ordering(run, x, key, inverse=False)


def _ordering(run: Run, x: Tensor, key: object, inverse: bool) -> Var:
    made = Var(run.constant(np.arange(x.shape[0]), np.int64))
    made.tag = Permutation(key, inverse)
    return made


@op("argsort", tags=(Permutation,), orders=True)
def argsort(run: Run, self: Any, dim: Any = -1, descending: Any = False, stable: Any = None) -> Any:
    return sort(run, self, dim, descending)[1]
