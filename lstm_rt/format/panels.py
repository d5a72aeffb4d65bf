"""Panels: the order in which the kernels read weights. docs/format.md, section 3.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..quantised import PANEL, Quantised


def panel_widths(units: int) -> list[int]:
    """Widths of the panels of ``units``: 16s, then for the rest 4, 8, 8 + 4 or a padded 16."""
    full, rest = divmod(units, PANEL)
    tail = {0: [], 1: [4], 2: [8], 3: [8, 4], 4: [16]}[(rest + 3) // 4]
    return [PANEL] * full + tail


def padded_units(units: int) -> int:
    return sum(panel_widths(units))


def to_panels(w: NDArray[Any], gates: int, padding: int = 0) -> NDArray[Any]:
    """``(gates * units, k)`` -> flat ``[panel][k][gate][unit]``."""
    units, k = w.shape[0] // gates, w.shape[1]
    by_gate = w.reshape(gates, units, k)
    out = np.full(gates * padded_units(units) * k, padding, w.dtype)
    at = start = 0
    for width in panel_widths(units):
        n, part = gates * width * k, by_gate[:, start : start + width]
        out[at : at + n].reshape(k, gates, width)[..., : part.shape[1]] = part.transpose(2, 0, 1)
        at, start = at + n, start + width
    return out


def from_panels(flat: NDArray[Any], gates: int, units: int, k: int) -> NDArray[Any]:
    """Inverse of :func:`to_panels`; padding is dropped."""
    out = np.empty((gates, padded_units(units), k), flat.dtype)
    at = start = 0
    for width in panel_widths(units):
        n = gates * width * k
        out[:, start : start + width] = flat[at : at + n].reshape(k, gates, width).transpose(1, 2, 0)
        at, start = at + n, start + width
    return np.ascontiguousarray(out[:, :units].reshape(gates * units, k))


# -- integer weights: words of four bytes, to which 128 is added, or of two numbers of 16 bits

_ZEROS = {np.dtype(np.int8): 0x80808080, np.dtype(np.int16): 0}


def to_words(q: Quantised, gates: int) -> NDArray[np.uint32]:
    """Words in panels, and after them the upper halves of the scales."""
    rows, k = q.shape
    raw = q.values.view(np.uint8) ^ 0x80 if q.stored == np.int8 else q.values.astype("<i2")
    per_word = 4 // raw.itemsize
    padded = np.full((rows, -(-k // per_word) * per_word), 0x80 if q.stored == np.int8 else 0, raw.dtype)
    padded[:, :k] = raw
    words = to_panels(padded.view("<u4"), gates, _ZEROS[q.stored])
    scales = to_panels(q.scale[:, None], gates).view(np.uint32) >> 16
    return np.concatenate([words, scales.astype("<u2").view("<u4")])


def from_words(flat: NDArray[np.uint32], dtype: np.dtype[Any], gates: int, units: int, k: int, limit: int) -> Quantised:
    """The inverse of :func:`to_words`."""
    per_word = 4 // dtype.itemsize
    n = gates * padded_units(units) * -(-k // per_word)
    words = from_panels(flat[:n], gates, units, -(-k // per_word))
    scale = from_panels(flat[n:].view("<u2").astype(np.uint32) << 16, gates, units, 1).view(np.float32)
    raw = (words.view(np.uint8) ^ 0x80).view(np.int8) if dtype == np.int8 else words.view("<i2")
    return Quantised(raw[:, :k].astype(dtype), scale.ravel(), limit)
