"""How large a result may be: a file of a few bytes must not ask for gigabytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

MOST_ELEMENTS = 1 << 28  #: of one result: the largest weights that a graph can hold


def check_size(op: str, arrays: Sequence[NDArray[Any] | None], options: Mapping[str, Any], most: int) -> None:
    """Raise :class:`ConvertError` before an operation makes an array of more than ``most`` numbers."""
    given = [a for a in arrays if a is not None]
    if why := too_many(_RESULT.get(op, _broadcast)(given, options), most):
        raise ConvertError(why)


def too_many(size: int, most: int) -> str:
    """What to say where a result of ``size`` numbers is more than ``most``; nothing where it is not."""
    if size <= most:
        return ""
    return f"its result would have {size} elements, more than a model of this size should need"


def _broadcast(arrays: Sequence[NDArray[Any]], options: Mapping[str, Any]) -> int:
    """Most operations give no more than their arguments broadcast to each other, or have a rule of their own."""
    if len(arrays) < 2:
        return 0
    try:
        return math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))
    except ValueError:
        return 0  # they do not broadcast: the operation is another, or says so itself


def _matmul(arrays: Sequence[NDArray[Any]], options: Mapping[str, Any]) -> int:
    a, b = arrays[:2]
    if not a.ndim or not b.ndim:
        return 0
    rows = a.shape[-2] if a.ndim > 1 else 1
    columns = b.shape[-1] if b.ndim > 1 else 1
    try:
        return math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * rows * columns
    except ValueError:
        return 0  # they do not fit, which the operation says itself


def _pad(arrays: Sequence[NDArray[Any]], options: Mapping[str, Any]) -> int:
    return math.prod(max(0, n + b + a) for n, (b, a) in zip(arrays[0].shape, options["pads"], strict=False))


def _spatial_pad(arrays: Sequence[NDArray[Any]], options: Mapping[str, Any]) -> int:
    shape, pads = arrays[0].shape, options.get("pads") or ()
    padded = [n + b + a for n, (b, a) in zip(shape[2:], pads, strict=False)] or list(shape[2:])
    kernel = arrays[1].shape[2:] if len(arrays) > 1 else options.get("kernel", ())
    result = math.prod(shape[:2]) * math.prod(max(0, n) for n in padded)
    return int(result * max(1, math.prod(kernel) // _WINDOWS))


def _transposed(arrays: Sequence[NDArray[Any]], options: Mapping[str, Any]) -> int:
    """A convolution of the input with zeros between its places."""
    x, w = arrays[:2]
    n = x.ndim - 2
    stride, dilation = options.get("stride") or [1] * n, options.get("dilation") or [1] * n
    extra = options.get("output_padding") or [0] * n
    sizes = zip(x.shape[2:], stride, w.shape[2:], dilation, extra, strict=False)
    places = math.prod(max(0, (size - 1) * s) + d * (k - 1) + 1 + e for size, s, k, d, e in sizes)
    return int(math.prod(x.shape[:2]) * places * max(1, math.prod(w.shape[2:]) // _WINDOWS))


#: Of the windows of a convolution, which are there only while it runs.
_WINDOWS = 4

_RESULT: dict[str, Callable[[Sequence[NDArray[Any]], Mapping[str, Any]], int]] = {
    "expand": lambda arrays, o: math.prod(int(n) for n in o["sizes"]),
    "tile": lambda arrays, o: arrays[0].size * math.prod(int(n) for n in o["repeats"]),
    "repeat_interleave": lambda arrays, o: arrays[0].size * int(np.sum(o["times"])),
    "one_hot": lambda arrays, o: arrays[0].size * int(o["depth"]),
    "matmul": _matmul,
    "concat": lambda arrays, o: sum(a.size for a in arrays),
    "attention": lambda arrays, o: arrays[0].size // max(1, arrays[0].shape[-1]) * arrays[1].shape[-2],
    "pad": _pad,
    "conv": _spatial_pad,
    "conv_transpose": _transposed,
    "pool": _spatial_pad,
    "index_select": lambda arrays, o: arrays[1].size * max(1, arrays[0].size // max(1, arrays[0].shape[o["axis"]])),
}
