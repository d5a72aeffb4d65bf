"""What flows between the nodes of a graph: kinds of values, and the orders of axes that inputs and outputs may have.

Value kinds (``N`` batch rows, ``T`` time steps, ``F`` features):

========= ============= ======= =====================================================
kind      shape         dtype   meaning
========= ============= ======= =====================================================
seq       ``(N, T, F)`` float32 a sequence of feature vectors
vec       ``(N, F)``    float32 one feature vector per row
ids       ``(N, T)``    int32   token ids
mask      ``(N, T)``    uint8   1 where a step counts, 0 where it is skipped
lengths   ``(N,)``      int32   valid steps per row of the time axis it belongs to
========= ============= ======= =====================================================

Every value of kind seq, ids, mask or lengths belongs to a *time axis* (a small integer): values
on one axis have the same ``T`` and the same lengths. ``size`` is ``F``, and 0 for other kinds.
An axis is brought by inputs, or derived from another by a rule (:class:`lstm_rt.ops.Axis`).

Inputs and outputs may have their axes in another *order*, as the source of the model has them:

============== =============================================================================
batch_first    as above
time_first     seq ``(T, N, F)``, ids ``(T, N)``
unbatched      without ``N``; vec in ``groups`` ``(groups, F / groups)``
groups_first   vec ``(groups, N, F / groups)``: final states as PyTorch gives them
============== =============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import integer
from ._shapes import ORDERS as ORDERS
from ._shapes import shape
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
    axis: int  #: time axis; -1 for vec
    order: str = "batch_first"  #: of inputs and outputs
    groups: int = 0  #: of a vec whose order has groups; 0: none

    def shape(self, batch: Any, steps: Any) -> tuple[Any, ...]:
        """The shape of its arrays as callers have them, of so many rows and steps (numbers or names of them)."""
        return shape(self.kind, self.size, self.order, self.groups, batch, steps)

    def to_batch_first(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of this value's order and a right number of axes as ``(N, T, F)``, ``(N, F)``..."""
        if self.order == "unbatched":
            array = np.expand_dims(array, 1 if self.groups else 0)
        if self.order == "time_first" or self.groups:
            array = np.swapaxes(array, 0, 1)
        return array.reshape(len(array), self.size) if self.groups else array

    def from_batch_first(self, array: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_batch_first`."""
        if self.groups:
            array = array.reshape(len(array), self.groups, self.size // self.groups)
        if self.order == "time_first" or self.groups:
            array = np.swapaxes(array, 0, 1)
        return array.take(0, 1 if self.groups else 0) if self.order == "unbatched" else array


def check_order(what: str, v: Value) -> None:
    """Is it an order, and one of this kind of value?"""
    if not isinstance(v.order, str) or v.order not in ORDERS:
        near = did_you_mean(v.order, ORDERS)
        raise GraphError(f"{what}: unknown order {v.order!r}; known: {', '.join(ORDERS)}{near}")
    if v.order == "time_first" and v.kind not in ("seq", "ids"):
        raise GraphError(f"{what}: {v.kind} has no steps that could be first")
    groups = integer(what, "groups", v.groups)
    if groups and (v.kind != "vec" or v.order not in ("unbatched", "groups_first")):
        raise GraphError(f"{what}: groups are of a vec whose order is unbatched or groups_first")
    if groups < 0 or (groups and v.size % groups) or (v.order == "groups_first" and not groups):
        raise GraphError(f"{what}: {groups} groups of {v.size} features")
