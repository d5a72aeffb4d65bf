"""One matrix of float32 as integers: int8, or int16 of as many bits as its sums have room for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_ACTIVATION
from lstm_rt.quantised import BYTE_LIMIT, MAX_SUM, Quantised

LARGEST = {8: 127, 16: 32767}
#: The root mean square of what a matrix is multiplied with, over its largest number, where nothing is known of it.
USUAL_SPREAD = 0.5


def quantised(w: NDArray[Any], bits: int, activations: int) -> Quantised:
    """The matrix (rows, k), finite, as integers of 8 or 16 bits, for activations of 16 or 8 bits.

    Of int8, the largest number of each row becomes 127 or nearly that, and activations have as many bits as sums allow.
    Of int16, a row has as many bits as its sum allows: with activations up to ``limit``, a row's magnitudes may sum up
    to ``(2^31 - 1) / limit``. Both roundings add to an output's error; ``limit`` is where they are of one size.
    """
    exact = w.astype(np.float64)
    magnitudes = np.abs(exact)
    scale = _bfloat16_up(magnitudes.max(axis=1) / LARGEST[bits]).astype(np.float64)
    most = BYTE_LIMIT if activations == 8 else MAX_ACTIVATION
    limit = min(most, _balanced(magnitudes) if bits == 16 else _widest(magnitudes, scale))
    while True:
        room = MAX_SUM // limit
        # Rounding may add half to each number; the room to spare is for the rounding to float32.
        least = magnitudes.sum(axis=1) / max((room - w.shape[1] / 2) * (1 - 1e-6), 1)
        scales = _bfloat16_up(np.maximum(scale, least))
        safe = np.where(scales > 0, scales, 1).astype(np.float64)
        values = np.clip(np.rint(exact / safe[:, None]), -LARGEST[bits], LARGEST[bits])
        if int(np.abs(values).sum(axis=1).max()) <= room:
            return Quantised(values.astype(np.int8 if bits == 8 else np.int16), scales, limit)
        limit = max(1, limit // 2)  # so many inputs that each has little more than a bit


def _bfloat16_up(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """The next larger numbers that a file can have for scales."""
    bits = x.astype(np.float32).view(np.uint32)
    up: NDArray[np.float32] = ((bits + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
    return up


def _widest(magnitudes: NDArray[np.float64], scale: NDArray[np.float64]) -> int:
    """The largest limit that leaves the rows their scales, rounding having added half to each number."""
    used = scale > 0
    sums = magnitudes[used].sum(axis=1) / scale[used] + magnitudes.shape[1] / 2 + 2
    return max(1, int(MAX_SUM * (1 - 1e-5) / sums.max(initial=1)))


def _balanced(magnitudes: NDArray[np.float64]) -> int:
    """The limit of activations at which rounding them adds as much to the error as rounding the weights does."""
    sums = magnitudes.sum(axis=1)
    used = sums > 0
    if not used.any():
        return MAX_ACTIVATION
    spread = np.sqrt(np.mean(magnitudes[used] ** 2, axis=1)) / sums[used]
    limit = np.sqrt(np.median(spread) * MAX_SUM / USUAL_SPREAD)
    return int(np.clip(limit, 1, MAX_ACTIVATION))
