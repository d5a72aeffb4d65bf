"""What flows between the nodes of a graph: kinds of values, and the orders of axes that inputs and outputs may have.

Value kinds (``N`` batch rows, ``T`` time steps, ``F`` features):

========= ============= ======= =====================================================
kind      shape         dtype   meaning
========= ============= ======= =====================================================
seq       ``(N, T, F)`` float32 a sequence of feature vectors
vec       ``(N, F)``    float32 one feature vector per row
ids       ``(N, T)``    int32   token ids; several at a step: ``(N, T, F)``
mask      ``(N, T)``    uint8   1 where a step counts, 0 where it is skipped
lengths   ``(N,)``      int32   valid steps per row of the time axis it belongs to
========= ============= ======= =====================================================

Every value of kind seq, ids, mask or lengths belongs to a *time axis* (a small integer): values
on one axis have the same ``T`` and the same lengths. Ids may be without one, ``(N,)`` or ``(N, F)``: those of a
single step. ``size`` is ``F``, and 0 for other kinds, and for ids of which there is one at a step.
An axis is brought by inputs, or derived from another by a rule (:class:`lstm_rt.ops.Axis`).

Inputs and outputs may have their axes in another *order*, as the source of the model has them:

============== =============================================================================
batch_first    as above
time_first     seq ``(T, N, F)``, ids ``(T, N)``
unbatched      without ``N``; vec in ``groups`` ``(groups, F / groups)``
groups_first   vec ``(groups, N, F / groups)``: final states as PyTorch gives them
shaped         as ``dims`` say, each ``"N"``, ``"T"`` or a size: ``("N", 2, "T", 64)``
============== =============================================================================

The features of a *shaped* value are its sizes in row-major order, so their product is ``F`` (1 where ``size`` is 0). A
value with steps has ``"T"`` once. Two dims of an output with ``"*"`` between them are one axis of its array:
``("T", "*", "N", 50)`` is ``(T * N, 50)``. Without ``"N"`` the batch is 1, as it is for unbatched ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import integer
from ._core import MAX_DIMS
from ._shapes import JOINED, dims_of, shape
from ._shapes import ORDERS as ORDERS
from .errors import GraphError, did_you_mean
from .ops import KINDS

INPUT_KINDS = tuple(kind for kind in KINDS if kind != "mask")
DTYPES: dict[str, type[np.generic]] = {
    "seq": np.float32,
    "vec": np.float32,
    "ids": np.int32,
    "mask": np.uint8,
    "lengths": np.int32,
}


@dataclass(frozen=True)
class Value:
    """One array that flows through the graph; see the module's tables of kinds and orders."""

    name: str
    kind: str
    size: int
    axis: int  #: time axis; -1 for vec, and for ids without steps
    order: str = "batch_first"  #: of inputs and outputs
    groups: int = 0  #: of a vec whose order has groups; 0: none
    dims: tuple[int | str, ...] = ()  #: where the order is shaped

    @property
    def timed(self) -> bool:
        """Has it steps?"""
        return self.axis >= 0 and self.kind != "lengths"

    @property
    def has_batch(self) -> bool:
        """Do its arrays have an axis for the rows?"""
        return "N" in self._dims

    @property
    def _dims(self) -> tuple[Any, ...]:
        return dims_of(self.timed, self.size, self.order, self.groups, self.dims)

    def shape(self, batch: Any, steps: Any) -> tuple[Any, ...]:
        """The shape of its arrays as callers have them, of so many rows and steps (numbers or names of them)."""
        return shape(self.timed, self.size, self.order, self.groups, self.dims, batch, steps)

    def to_batch_first(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of this value's order and a right number of axes as ``(N, T, F)``, ``(N, F)``..."""
        dims = self._dims
        array = array.transpose(_batch_first(dims))
        named = array.shape[: sum(isinstance(d, str) for d in dims)]
        rows = named if "N" in dims else (1, *named)
        return array.reshape(*rows, *([self.size] if self.size else []))

    def from_batch_first(self, array: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_batch_first`."""
        dims = self._dims
        rows = array.shape[: 2 if "T" in dims else 1]
        array = array.reshape(*(rows if "N" in dims else rows[1:]), *(d for d in dims if not isinstance(d, str)))
        back: NDArray[Any] = array.transpose(np.argsort(_batch_first(dims)))
        return back.reshape(self.shape(*rows, *(0,) * (2 - len(rows)))) if JOINED in self.dims else back

    def apart(self, array: NDArray[Any], batch: int) -> NDArray[Any]:
        """An array of so many rows with axes that stand for several dims as these."""
        return array.reshape([{"N": batch, "T": -1}.get(d, d) for d in self._dims])


def _batch_first(dims: tuple[Any, ...]) -> list[int]:
    """The order in which the axes of an array with these dims are N, T and the features."""
    return sorted(range(len(dims)), key=lambda i: {"N": 0, "T": 1}.get(dims[i], 2))


def check_order(what: str, v: Value) -> None:
    """Is it an order, and one of this kind of value?"""
    if not isinstance(v.order, str) or v.order not in ORDERS:
        near = did_you_mean(v.order, ORDERS)
        raise GraphError(f"{what}: unknown order {v.order!r}; known: {', '.join(ORDERS)}{near}")
    if v.order == "time_first" and not v.timed:
        raise GraphError(f"{what}: {v.kind} has no steps that could be first")
    _check_dims(what, v)
    groups = integer(what, "groups", v.groups)
    if groups and (v.kind != "vec" or v.order not in ("unbatched", "groups_first")):
        raise GraphError(f"{what}: groups are of a vec whose order is unbatched or groups_first")
    if groups < 0 or (groups and v.size % groups) or (v.order == "groups_first" and not groups):
        raise GraphError(f"{what}: {groups} groups of {v.size} features")


def _check_dims(what: str, v: Value) -> None:
    """N at most once, T as its kind asks, and sizes whose product is that of the features."""
    if v.order != "shaped":
        if v.dims:
            raise GraphError(f"{what}: dims are of the order shaped, this is {v.order}")
        return
    text = ", ".join(map(str, v.dims))
    if len(v.dims) > MAX_DIMS:
        raise GraphError(f"{what}: {len(v.dims)} dims are more than the {MAX_DIMS} that an .lrt file can hold")
    sizes = [d for d in v.dims if not isinstance(d, str)]
    if any(isinstance(d, str) and d not in ("N", "T", JOINED) for d in v.dims) or any(d < 1 for d in sizes):
        raise GraphError(f"{what}: dims are ({text}), expected N, T and sizes of 1 or more")
    marks = [i for i, d in enumerate(v.dims) if d == JOINED]
    if any(i in (0, len(v.dims) - 1) or i + 1 in marks for i in marks):
        raise GraphError(f"{what}: dims are ({text}), expected {JOINED} between two of them alone")
    if v.dims.count("N") > 1 or v.dims.count("T") != v.timed:
        why = "has no time axis" if v.kind == "ids" else f"is of kind {v.kind}"
        times = "once" if v.timed else f"never, as it {why}"
        raise GraphError(f"{what}: dims are ({text}), expected N at most once and T {times}")
    if math.prod(sizes) != max(v.size, 1):
        raise GraphError(f"{what}: dims are ({text}), the product of the sizes is not {max(v.size, 1)}")


def as_dims(what: str, dims: Sequence[int | str]) -> tuple[int | str, ...]:
    """Dims as a value holds them."""
    if isinstance(dims, str) or not isinstance(dims, Sequence):
        raise GraphError(f"{what}: dims is {dims!r}, expected a list of N, T and sizes")
    return tuple(d if isinstance(d, str) else integer(what, "dims", d) for d in dims)
