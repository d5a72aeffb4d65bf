"""Making axes longer or shorter: the nearest numbers, or those on the line between two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.machine import Tensor
from ...program.sizes import too_many
from ..call import Call, Value, op
from .shapes import unsqueeze


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
            stretch = _stretched if mode == "nearest" else _interpolated
            x = stretch(c, x, axis, _places(c, x.shape[axis], size, scales[axis]))
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
    old, size = x.shape[axis], len(found)
    rounding = "floor" if _is_old(c) else c.text("nearest_mode", "round_prefer_floor")
    index = np.clip(_ROUNDING[rounding](found), 0, old - 1).astype(np.int64)
    if size % old == 0 and (index == np.arange(size) // (size // old)).all():
        return c.one("repeat_interleave", x, times=size // old, axis=axis)
    return c.one("index_select", x, c.constant(index), axis=axis)


def _is_old(c: Call) -> bool:
    """Is it of a version that says nothing about places?"""
    return c.name == "Upsample" or c.version < 11


def _places(c: Call, old: int, size: int, scale: float) -> NDArray[np.float64]:
    """Where among the ``old`` numbers of an axis each of ``size`` others is."""
    if size < 1 or old < 1 or not scale > 0:
        raise c.error(f"size {size} of an axis that has {old}")
    how = "asymmetric" if _is_old(c) else c.text("coordinate_transformation_mode", "half_pixel")
    places = np.arange(size, dtype=np.float64)
    if how in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        begin = old / 2 * (1 - size / (scale * old)) if how == "half_pixel_symmetric" else 0.0
        return begin + (places + 0.5) / scale - 0.5 if how != "pytorch_half_pixel" or size > 1 else places * 0
    if how == "align_corners":
        return places * (old - 1) / (size - 1) if size > 1 else places * 0
    if how == "asymmetric":
        return places / scale
    if how == "tf_half_pixel_for_nn":
        return (places + 0.5) / scale
    raise c.error(f"coordinate_transformation_mode {how} is not supported")


def _interpolated(c: Call, x: Tensor, axis: int, found: NDArray[np.float64]) -> Tensor:
    """``x`` with the numbers on the lines between those of an axis, at the places of one of another size."""
    if c.integer("antialias", 0) or c.integer("exclude_outside", 0):
        raise c.error("antialias and exclude_outside are not supported")
    c.text("nearest_mode", "floor")  # which is for another mode
    old, size = x.shape[axis], len(found)
    times = size // old
    ahead = found.reshape(old, times) - np.arange(old)[:, None] if size % old == 0 else found[:, None]
    if np.ptp(ahead, 0).max(initial=0) < 1e-9 and np.abs(ahead).max(initial=0) < 1:  # each number in the same way
        parts = [unsqueeze(c, _between(c, x, axis, float(a)), [axis + 1]) for a in ahead[0]]
        return c.reshape(c.one("concat", *parts, axis=axis + 1), (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    low = np.floor(found)
    sides = [np.clip(low + k, 0, old - 1).astype(np.int64) for k in (0, 1)]
    by = (found - low).astype(np.float32).reshape(-1, *[1] * (x.ndim - axis - 1))
    first, second = (c.one("index_select", x, c.constant(at), axis=axis) for at in sides)
    return c.one("add", c.one("mul", first, c.constant(1 - by)), c.one("mul", second, c.constant(by)))


def _between(c: Call, x: Tensor, axis: int, ahead: float) -> Tensor:
    """What is ``ahead`` of each number on the line to the one behind it, or, below 0, to the one before."""
    if ahead == 0:
        return x
    grow = [(0, 0)] * x.ndim
    grow[axis] = (0, 1) if ahead > 0 else (1, 0)
    wide, start = c.one("pad", x, pads=grow, mode="edge"), int(ahead > 0)
    beside = c.one("slice", wide, axis=axis, start=start, stop=start + x.shape[axis], step=1)
    own = c.one("mul", x, c.constant(np.float32(1 - abs(ahead))))
    return c.one("add", own, c.one("mul", beside, c.constant(np.float32(abs(ahead)))))
