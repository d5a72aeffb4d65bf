"""Rows as the C reads them (src/fixed/lrt_fixed_rows.h): words of 32 bits, four rows after four rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .curve import Ints
from .rows import Rows

CHUNK = 8  #: inputs that go together
QUAD = 4  #: rows that go together


def chunks_of(inputs: int) -> int:
    return -(-inputs // CHUNK)


def packed(rows: Rows, before: int = 0, multiple: int = QUAD) -> NDArray[np.int32]:
    """All rows of a matrix, filled up with zeros to a multiple of so many.

    ``before``: inputs of v in front that play no part.
    """
    quads, k = -(-len(rows.weights) // multiple) * multiple // QUAD, before + rows.weights.shape[1]
    w = np.zeros((quads * QUAD, chunks_of(k) * CHUNK), dtype=np.int64)
    w[: len(rows.weights), before:k] = rows.weights
    by_quad = w.reshape(quads, QUAD, -1, CHUNK)
    start, mult = (_filled(a, quads) for a in (rows.start, rows.mult))
    if rows.bits == 8:
        lower, upper = by_quad[:, ::2], by_quad[:, 1::2]
        halves = (256 * upper + lower).swapaxes(1, 2)
        both = 256 * start[:, 1::2] + start[:, ::2]
        start = np.stack([both, start[:, ::2]], axis=2).reshape(quads, QUAD)
    else:
        halves = by_quad.swapaxes(1, 2)
    words = np.ascontiguousarray(halves.reshape(quads, -1).astype("<i2")).view("<i4")
    return np.concatenate([_wrapped(start), words, mult.astype(np.int32)], axis=1).ravel()


def _filled(a: Ints, quads: int) -> Ints:
    result = np.zeros(quads * QUAD, dtype=np.int64)
    result[: len(a)] = a
    return result.reshape(quads, QUAD)


def _wrapped(a: Ints) -> NDArray[np.int32]:
    return (a & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
