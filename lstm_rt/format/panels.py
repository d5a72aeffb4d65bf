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


# -- words: of integer weights four bytes, to which 128 is added, or two numbers of 16 bits; else one float32

_ZEROS = {np.dtype(np.int8): 0x80808080}


def _stored(w: NDArray[Any] | Quantised) -> np.dtype[Any]:
    return w.stored if isinstance(w, Quantised) else np.dtype(np.float32)


def zero_word(w: NDArray[Any] | Quantised | np.dtype[Any]) -> int:
    """The word of inputs whose weights are 0, of a matrix or a dtype."""
    return _ZEROS.get(w if isinstance(w, np.dtype) else _stored(w), 0)


def per_word(w: NDArray[Any] | Quantised) -> int:
    """Inputs of a word."""
    return 4 // _stored(w).itemsize


def words_per_row(dtype: np.dtype[Any], k: int) -> int:
    return -(-k * dtype.itemsize // 4)


def as_words(w: NDArray[Any] | Quantised) -> NDArray[np.uint32]:
    """``(rows, k)`` -> ``(rows, words)``."""
    if not isinstance(w, Quantised):
        return np.ascontiguousarray(w, "<f4").view("<u4")
    rows, k = w.shape
    raw = w.values.view(np.uint8) ^ 0x80 if w.stored == np.int8 else w.values.astype("<i2")
    padded = np.full((rows, words_per_row(w.stored, k) * 4 // raw.itemsize), zero_word(w) & 0xFF, raw.dtype)
    padded[:, :k] = raw
    return padded.view("<u4")


def scales_of(q: Quantised, gates: int) -> NDArray[np.uint16]:
    """The upper halves of the scales, in panels."""
    return (to_panels(q.scale[:, None], gates).view(np.uint32) >> 16).astype("<u2")


def of_words(
    words: NDArray[np.uint32], scales: NDArray[np.uint16], dtype: np.dtype[Any], gates: int, k: int, limit: int
) -> Quantised:
    """The inverse of :func:`as_words` and :func:`scales_of`."""
    units = len(words) // gates
    scale = from_panels(scales.astype(np.uint32) << 16, gates, units, 1).view(np.float32)
    raw = (words.view(np.uint8) ^ 0x80).view(np.int8) if dtype == np.int8 else words.view("<i2")
    return Quantised(raw[:, :k].astype(dtype), scale.ravel(), limit)


def to_words(q: Quantised, gates: int) -> NDArray[np.uint32]:
    """Words in panels, and after them the scales."""
    words = to_panels(as_words(q), gates, zero_word(q))
    return np.concatenate([words, scales_of(q, gates).view("<u4")])


def from_words(flat: NDArray[np.uint32], dtype: np.dtype[Any], gates: int, units: int, k: int, limit: int) -> Quantised:
    """The inverse of :func:`to_words`."""
    per_row = words_per_row(dtype, k)
    n = gates * padded_units(units) * per_row
    return of_words(from_panels(flat[:n], gates, units, per_row), flat[n:].view("<u2"), dtype, gates, k, limit)
