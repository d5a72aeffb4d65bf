"""Weights in the order in which the C reads them, and arrays as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 4  #: units of a panel, as in src/micro
_WIDTH = 118


def panels(w: NDArray[Any], gates: int) -> NDArray[Any]:
    """``(gates * units, k)`` -> flat ``[panel][k][gate][unit]`` in panels of four units, the last filled with zeros."""
    units, k = w.shape[0] // gates, w.shape[1]
    padded = np.zeros((gates, -(-units // LANES) * LANES, k), w.dtype)
    padded[:, :units] = w.reshape(gates, units, k)
    return np.ascontiguousarray(padded.reshape(gates, -1, LANES, k).transpose(1, 3, 0, 2)).ravel()


def strips(w: NDArray[Any]) -> NDArray[Any]:
    """``(outputs, k)`` -> strips of 16 outputs, then of 4, then single ones: each ``[k][output]``."""
    parts, at = [], 0
    for width in (16, 4, 1):
        while len(w) - at >= width:
            parts.append(w[at : at + width].T.ravel())
            at += width
    return np.concatenate(parts)


def numbers(values: NDArray[Any]) -> list[str]:
    """Each as a constant of C: floats in as many digits as give the same number back."""
    if values.dtype == np.float32:
        return [_float(v) for v in values.ravel()]
    return [str(v) for v in values.ravel().tolist()]


def _float(v: np.float32) -> str:
    if np.isnan(v):
        return "NAN"
    if np.isinf(v):
        return "INFINITY" if v > 0 else "-INFINITY"
    return f"{v!s}f"


def float_text(value: float) -> str:
    """One float32 as a constant of C."""
    return _float(np.float32(value))


def initialiser(values: NDArray[Any]) -> str:
    """The lines between the braces of an array."""
    lines, line = [], "   "
    for text in numbers(values):
        if len(line) + len(text) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    return "\n".join([*lines, line])
