"""Weights that are integers: what stands in a graph where a float32 array stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._core import MAX_ACTIVATION
from .errors import GraphError

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["BYTE_LIMIT", "MAX_SUM", "Quantised", "has_integers"]

BYTE_LIMIT = 127  #: what is multiplied with weights of this limit or less are numbers of one byte
MAX_SUM = 0x7FFFFFFF  #: of products
PANEL = 16  #: outputs: of convolutions in groups, each must have a multiple of so many for its weights to be integers
_STORED = (np.dtype(np.int8), np.dtype(np.int16))


class Quantised:
    """Weights of int8 or int16 with a scale for each output. They stand for ``values * scale[:, None]``.

    What it is multiplied with becomes integers too, the largest number of each row ``limit``: docs/format.md,
    section 3.4. ``numpy.asarray`` and :meth:`astype` give the numbers that it stands for.

    Args:
        values: (rows, k) of int8 or int16; of convolutions (rows, ...), which all go into the row's sum.
        scale: (rows,) float32, each a bfloat16: the lower half of its bits is 0.
        limit: 1 to 32639; the sum of the magnitudes of a row, times this, is at most 2^31 - 1.

    Raises:
        GraphError: a dtype, shape or number does not fit, or sums could overflow.
    """

    def __init__(self, values: ArrayLike, scale: ArrayLike, limit: int) -> None:
        numbers, scales = np.asarray(values), np.asarray(scale)
        if numbers.dtype not in _STORED or numbers.ndim < 2 or not numbers.size:
            found = f"{numbers.dtype} of shape {numbers.shape}"
            raise GraphError(f"integer weights: {found}, expected a matrix of int8 or int16")
        if scales.dtype != np.float32 or scales.shape != numbers.shape[:1]:
            raise GraphError(
                f"integer weights: the scale is {scales.dtype} of shape {scales.shape}, "
                f"expected float32 of shape ({len(numbers)},)"
            )
        if (scales.view(np.uint32) & 0xFFFF).any():
            raise GraphError("integer weights: a scale is no bfloat16: the lower half of its bits is not 0")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_ACTIVATION:
            raise GraphError(f"integer weights: limit is {limit!r}, expected 1 to {MAX_ACTIVATION}")
        self.values: NDArray[Any] = np.ascontiguousarray(numbers)
        self.scale: NDArray[np.float32] = np.ascontiguousarray(scales)
        self.limit = limit
        largest = self.largest_sum()
        if largest * limit > MAX_SUM:
            sums = f"sums of a row up to {largest:,}, times the limit {limit:,}"
            raise GraphError(f"integer weights: {sums}, can overflow")

    def largest_sum(self) -> int:
        """The largest sum of magnitudes in a row."""
        rows = self.values.reshape(len(self.values), -1)
        return int(np.abs(rows, dtype=np.int64).sum(axis=1).max())

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.scale.nbytes // 2

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Of the numbers that it stands for."""
        return np.dtype(np.float32)

    @property
    def stored(self) -> np.dtype[Any]:
        """Of the integers."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Any:
        """Some rows (a slice) as integers still; anything else from the numbers that it stands for."""
        if isinstance(rows, slice):
            return Quantised(self.values[rows], self.scale[rows], self.limit)
        return np.asarray(self)[rows]

    def astype(self, dtype: DTypeLike, copy: bool = True) -> NDArray[Any]:
        """The numbers that it stands for: each one product, rounded to float32."""
        scales = self.scale.reshape(-1, *(1,) * (self.ndim - 1))
        with np.errstate(over="ignore", invalid="ignore"):  # too large for float32: infinite; a scale may be infinite
            exact: NDArray[Any] = self.values.astype(np.float32) * scales
        return exact.astype(dtype, copy=False)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("integer weights become float32 by a copy")
        return self.astype(np.float32 if dtype is None else dtype)

    def with_values(self, values: NDArray[Any]) -> Quantised:
        """The same rows, their numbers arranged in another way."""
        return Quantised(values, self.scale, self.limit)

    def same(self, other: object) -> bool:
        """Is the other one of the same integers, scales and limit?"""
        if not isinstance(other, Quantised) or self.limit != other.limit or self.stored != other.stored:
            return False
        return np.array_equal(self.values, other.values) and self.scale.tobytes() == other.scale.tobytes()

    @staticmethod
    def joined(first: Quantised, second: Quantised) -> Quantised:
        """The rows of both, which have one limit."""
        values = np.concatenate([first.values, second.values])
        return Quantised(values, np.concatenate([first.scale, second.scale]), first.limit)

    def __repr__(self) -> str:
        return f"Quantised({self.stored}, shape {self.shape}, limit {self.limit})"


def has_integers(graph: Graph) -> bool:
    """Is any weight one of integers?"""
    return any(isinstance(w, Quantised) for n in graph.nodes for w in n.weights.values())
