"""Outputs of two sides, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

#: How far a graph in float64 may be from its source in float32, relative to the largest output.
CHECK_TOLERANCE = 5e-5


@dataclass(frozen=True)
class Difference:
    """How far one output is from the other side's."""

    name: str
    max_abs: float
    largest: float  #: largest magnitude among the values wanted
    ok: bool


def differences(
    names: Sequence[str], got: Sequence[NDArray[Any]], want: Sequence[NDArray[Any]], atol: float, rtol: float
) -> list[Difference]:
    """Compare output by output; NaN on one side only is a mismatch.

    Raises:
        ConvertError: another number of outputs, or other shapes.
    """
    if len(got) != len(want):
        raise ConvertError(f"the model has {len(got)} outputs, its source {len(want)}")
    result = []
    for name, g, w in zip(names, got, want, strict=True):
        g, w = g.astype(np.float64), w.astype(np.float64)
        if g.shape != w.shape:
            raise ConvertError(f"output {name!r} has shape {g.shape}, that of the source {w.shape}")
        ok = bool(np.allclose(g, w, rtol=rtol, atol=atol, equal_nan=True))
        with np.errstate(invalid="ignore"):  # two infinities
            gap = np.where((g == w) | (np.isnan(g) & np.isnan(w)), 0, np.abs(g - w))
        largest = float(np.max(np.abs(w), initial=0))
        result.append(Difference(name, float(np.max(gap, initial=0)), largest, ok))
    return result
