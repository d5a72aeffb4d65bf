"""One matrix of float32 as integers: int8, or int16 of as many bits as its sums have room for."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_ACTIVATION
from lstm_rt.quantised import BYTE_LIMIT, MAX_SUM, Quantised

Exact: TypeAlias = NDArray[np.float64]

LARGEST = {8: 127, 16: 32767}
#: The root mean square of what a matrix is multiplied with, over its largest number, where nothing is known of it.
USUAL_SPREAD = 0.5
_DAMPING = 0.01  #: of the mean second moment, added to all: data say little of what they hardly ever do
_BLOCK = 128  #: columns whose errors are carried over together


def quantised(w: NDArray[Any], bits: int, activations: int, moments: Exact | None = None) -> Quantised:
    """The weights (rows, ...), finite, as integers of 8 or 16 bits, for activations of 16 or 8 bits.

    Of int8, the largest number of each row becomes 127 or nearly that, and activations have as many bits as sums allow.
    Of int16, a row has as many bits as its sum allows: with activations up to ``limit``, a row's magnitudes may sum up
    to ``(2^31 - 1) / limit``. Both roundings add to an output's error; ``limit`` is where they are of one size.

    Args:
        moments: (k, k), finite: the sum of ``x x^T`` over the x that the matrix is multiplied with; or (groups, k, k)
            where groups of its rows have x of their own. Rounding then makes up for its errors (:func:`compensated`);
            else each number becomes the nearest integer.
    """
    exact = w.astype(np.float64).reshape(len(w), -1)
    magnitudes = np.abs(exact)
    most = BYTE_LIMIT if activations == 8 else MAX_ACTIVATION
    scales = _bfloat16_up(magnitudes.max(axis=1) / LARGEST[bits])
    if bits == 8:
        values = _rounded(exact, scales, 8, moments)
        return Quantised(
            values.astype(np.int8).reshape(w.shape), scales, min(most, MAX_SUM // max(1, _largest_sum(values)))
        )
    limit = min(most, _balanced(magnitudes))
    while True:
        room = MAX_SUM // limit
        # Rounding may add half to each number; the room to spare is for the rounding to float32.
        least = magnitudes.sum(axis=1) / max((room - exact.shape[1] / 2) * (1 - 1e-6), 1)
        fitting = _bfloat16_up(np.maximum(scales, least))
        values = _rounded(exact, fitting, 16, moments)
        if _largest_sum(values) <= room:
            return Quantised(values.astype(np.int16).reshape(w.shape), fitting, limit)
        limit = max(1, limit // 2)  # so many inputs that each has little more than a bit


def rows_lost(w: NDArray[Any], q: Quantised) -> int:
    """Rows of which more than half of the numbers that were not 0 became 0, as beside one that is huge."""
    there = (w != 0).reshape(len(w), -1)
    lost = (there & (q.values == 0).reshape(there.shape)).sum(axis=1)
    return int((2 * lost > there.sum(axis=1)).sum())


def _largest_sum(values: Exact) -> int:
    return int(np.abs(values).sum(axis=1).max())


def _rounded(exact: Exact, scales: NDArray[np.float32], bits: int, moments: Exact | None) -> Exact:
    safe = np.where(scales > 0, scales, 1).astype(np.float64)[:, None]
    if moments is None:
        return _nearest(exact / safe, LARGEST[bits])
    groups = moments.reshape(-1, *moments.shape[-2:])
    parts = zip(np.split(exact / safe, len(groups)), groups, strict=True)
    return np.concatenate(
        [(compensated(w, m, LARGEST[bits]) if m.any() else _nearest(w, LARGEST[bits])) for w, m in parts]
    )


def _nearest(w: Exact, largest: int) -> Exact:
    return np.clip(np.rint(w), -largest, largest)


def compensated(w: Exact, moments: Exact, largest: int) -> Exact:
    """Integers for the matrix (rows, k), up to ``largest``, whose products are nearest to its own.

    E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh, *GPTQ: accurate post-training quantization for generative
    pre-trained transformers*, arXiv:2210.17323 (2022): columns are rounded one after the other, and those that are to
    come make up for the error of each as the second moments of the inputs say. Inputs of large moments come first.
    """
    moments = moments + _DAMPING * np.trace(moments) / len(moments) * np.eye(len(moments))
    order = np.argsort(-np.diag(moments), kind="stable")
    carry = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T  # row j: what column j's error is worth
    rest, q = w[:, order], np.empty_like(w)
    zero = rest == 0  # which stay 0: what was pruned is left out of products
    for start in range(0, w.shape[1], _BLOCK):
        end = min(start + _BLOCK, w.shape[1])
        errors = np.empty((len(w), end - start))
        for j in range(start, end):
            q[:, j] = np.where(zero[:, j], 0, np.clip(np.rint(rest[:, j]), -largest, largest))
            errors[:, j - start] = (rest[:, j] - q[:, j]) / carry[j, j]
            rest[:, j + 1 : end] -= np.outer(errors[:, j - start], carry[j, j + 1 : end])
        rest[:, end:] -= errors @ carry[start:end, end:]
    back = np.empty_like(q)
    back[:, order] = q
    return back


def _bfloat16_up(x: Exact) -> NDArray[np.float32]:
    """The next larger numbers that a file can have for scales."""
    bits = x.astype(np.float32).view(np.uint32)
    up: NDArray[np.float32] = ((bits + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
    return up


def _balanced(magnitudes: Exact) -> int:
    """The limit of activations at which rounding them adds as much to the error as rounding the weights does."""
    sums = magnitudes.sum(axis=1)
    used = sums > 0
    if not used.any():
        return MAX_ACTIVATION
    spread = np.sqrt(np.mean(magnitudes[used] ** 2, axis=1)) / sums[used]
    limit = np.sqrt(np.median(spread) * MAX_SUM / USUAL_SPREAD)
    return int(np.clip(limit, 1, MAX_ACTIVATION))
