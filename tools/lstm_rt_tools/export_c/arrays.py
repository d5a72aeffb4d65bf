"""Weights in the order in which the C reads them, and arrays as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 4  #: units of a panel, and rows of integers that are read together, as in src/micro
_WIDTH = 118


def panels(w: NDArray[Any], gates: int, lanes: int = LANES) -> NDArray[Any]:
    """``(gates * units, k)`` -> flat ``[panel][k][gate][unit]``; the last of the panels is filled with zeros."""
    units, k = w.shape[0] // gates, w.shape[1]
    padded = np.zeros((gates, -(-units // lanes) * lanes, k), w.dtype)
    padded[:, :units] = w.reshape(gates, units, k)
    return np.ascontiguousarray(padded.reshape(gates, -1, lanes, k).transpose(1, 3, 0, 2)).ravel()


def strips(w: NDArray[Any]) -> NDArray[Any]:
    """``(outputs, k)`` -> strips of 16 outputs, then of 4, then single ones: each ``[k][output]``."""
    parts, at = [], 0
    for width in (16, 4, 1):
        while len(w) - at >= width:
            parts.append(w[at : at + width].T.ravel())
            at += width
    return np.concatenate(parts)


def words(q: NDArray[Any]) -> NDArray[np.uint32]:
    """``(rows, k)`` of int8 or int16 -> flat ``[four rows][word][row]``, a word's first inputs in its lowest bits."""
    per_word = 4 // q.itemsize
    padded = np.zeros((-(-len(q) // LANES) * LANES, -(-q.shape[1] // per_word) * per_word), q.dtype.newbyteorder("<"))
    padded[: len(q), : q.shape[1]] = q
    by_row = padded.view("<u4").reshape(-1, LANES, padded.shape[1] // per_word)
    return np.ascontiguousarray(by_row.transpose(0, 2, 1)).astype(np.uint32).ravel()


def panel_rows(q: NDArray[Any], gates: int, lanes: int = LANES) -> NDArray[Any]:
    """``(gates * units, ...)`` -> rows ``[panel][gate][unit]``, the last panel filled with zeros."""
    units = len(q) // gates
    padded = np.zeros((gates, -(-units // lanes) * lanes, *q.shape[1:]), q.dtype)
    padded[:, :units] = q.reshape(gates, units, *q.shape[1:])
    rows: NDArray[Any] = padded.reshape(gates, -1, lanes, *q.shape[1:]).swapaxes(0, 1).reshape(-1, *q.shape[1:])
    return rows


def numbers(values: NDArray[Any]) -> list[str]:
    """Each as a constant of C: floats in as many digits as give the same number back."""
    if values.dtype == np.float32:
        return [_float(v) for v in values.ravel()]
    suffix = "u" if values.dtype.kind == "u" else ""
    return [f"{v}{suffix}" for v in values.ravel().tolist()]


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
