"""Making axes longer or shorter: the nearest numbers, or those on the line between two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program import resized
from ...program.machine import Tensor
from ...program.sizes import too_many
from ..call import Call, Value, op


@op("Resize", "Upsample", ignores=("antialias", "cubic_coeff_a", "exclude_outside", "extrapolation_value"))
def _resize(c: Call) -> Value:
    x = c.tensor(0)
    sizes, scales = _resized(c, x)
    if sizes == list(x.shape):
        return x
    mode = c.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise c.error(f"mode {mode} is not supported, nearest and linear are")
    if why := too_many(math.prod(sizes), c.m.most):
        raise c.error(why)
    for axis, size in enumerate(sizes):
        if size != x.shape[axis]:
            places = _places(c, x.shape[axis], size, scales[axis])
            x = (_stretched if mode == "nearest" else _interpolated)(c, x, axis, places)
    return x


def _resized(c: Call, x: Tensor) -> tuple[list[int], list[float]]:
    """The sizes of the result, and what those of ``x`` are multiplied with, which need not give whole numbers."""
    axes = c.axes(c.ints("axes") or range(x.ndim), x.ndim)
    out = list(x.shape)
    if c.name == "Resize" and c.version >= 11:
        c.optional(1)  # roi, which is for another mode
        scales, sizes = c.known_ints(3, "sizes") is None, c.known_ints(3, "sizes")
        if sizes:
            if c.text("keep_aspect_ratio_policy", "stretch") != "stretch":
                raise c.error("keep_aspect_ratio_policy is not supported")
            for axis, size in zip(axes, sizes, strict=False):
                out[axis] = size
            return out, [new / max(1, old) for new, old in zip(out, x.shape, strict=True)]
        factors = list(c.known(2, "scales").reshape(-1)) if scales else []
    elif c.version < 9:
        factors = list(c.floats("scales"))
    else:
        factors = list(c.known(1, "scales").reshape(-1))
    if len(factors) != len(axes):
        raise c.error(f"{len(factors)} scales for {len(axes)} axes")
    by = [1.0] * x.ndim
    for axis, factor in zip(axes, factors, strict=True):
        by[axis] = float(factor)
        out[axis] = math.floor(x.shape[axis] * by[axis])
    return out, by


_ROUNDING: dict[str, Callable[[Any], Any]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
}


def _stretched(c: Call, x: Tensor, axis: int, found: NDArray[np.float64]) -> Tensor:
    """``x`` with the nearest numbers at the places of an axis of another size."""
    rounding = "floor" if _is_old(c) else c.text("nearest_mode", "round_prefer_floor")
    return resized.nearest(c.m, x, axis, np.clip(_ROUNDING[rounding](found), 0, x.shape[axis] - 1).astype(np.int64))


def _interpolated(c: Call, x: Tensor, axis: int, found: NDArray[np.float64]) -> Tensor:
    """``x`` with the numbers on the lines between those of an axis, at the places of one of another size."""
    if c.integer("antialias", 0) or c.integer("exclude_outside", 0):
        raise c.error("antialias and exclude_outside are not supported")
    c.text("nearest_mode", "floor")  # which is for another mode
    return resized.between(c.m, x, axis, found)


def _is_old(c: Call) -> bool:
    """Is it of a version that says nothing about places?"""
    return c.name == "Upsample" or c.version < 11


def _places(c: Call, old: int, size: int, scale: float) -> NDArray[np.float64]:
    """Where among the ``old`` numbers of an axis each of ``size`` others is."""
    if size < 1 or old < 1 or not scale > 0:
        raise c.error(f"size {size} of an axis that has {old}")
    how = "asymmetric" if _is_old(c) else c.text("coordinate_transformation_mode", "half_pixel")
    if how == "half_pixel_symmetric":
        return resized.PLACES["half_pixel"](old, size, scale) + old / 2 * (1 - size / (scale * old))
    if how == "pytorch_half_pixel":
        return resized.PLACES["half_pixel"](old, size, scale) if size > 1 else np.zeros(1)
    if how not in resized.PLACES:
        raise c.error(f"coordinate_transformation_mode {how} is not supported")
    return resized.PLACES[how](old, size, scale)
