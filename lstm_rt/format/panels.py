"""Panels: the order in which the kernels read weights. docs/format.md, section 3.2."""

from __future__ import annotations

import numpy as np

from .._checks import Array

PANEL = 16


def panel_widths(units: int) -> list[int]:
    """Widths of the panels of ``units``: 16s, then for the rest 4, 8, 8 + 4 or a padded 16."""
    full, rest = divmod(units, PANEL)
    tail = {0: [], 1: [4], 2: [8], 3: [8, 4], 4: [16]}[(rest + 3) // 4]
    return [PANEL] * full + tail


def padded_units(units: int) -> int:
    return sum(panel_widths(units))


def to_panels(w: Array, gates: int) -> Array:
    """``(gates * units, k)`` -> flat ``[panel][k][gate][unit]``, padding zero."""
    units, k = w.shape[0] // gates, w.shape[1]
    by_gate = w.reshape(gates, units, k)
    out = np.zeros(gates * padded_units(units) * k, np.float32)
    at = start = 0
    for width in panel_widths(units):
        n, part = gates * width * k, by_gate[:, start : start + width]
        out[at : at + n].reshape(k, gates, width)[..., : part.shape[1]] = part.transpose(2, 0, 1)
        at, start = at + n, start + width
    return out


def from_panels(flat: Array, gates: int, units: int, k: int) -> Array:
    """Inverse of :func:`to_panels`; padding is dropped."""
    out = np.empty((gates, padded_units(units), k), np.float32)
    at = start = 0
    for width in panel_widths(units):
        n = gates * width * k
        out[:, start : start + width] = flat[at : at + n].reshape(k, gates, width).transpose(1, 2, 0)
        at, start = at + n, start + width
    return np.ascontiguousarray(out[:, :units].reshape(gates * units, k))
