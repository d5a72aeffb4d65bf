"""Convolutions and pooling of the vocabulary in NumPy: arrays ``(N, C, *space)``, any number of dimensions of space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

A = NDArray[Any]
Pads = Sequence[Sequence[int]]


def _windows(x: A, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> A:
    """``(N, C, *out, *kernel)`` of an array that is padded already."""
    spread = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    axes = tuple(range(2, 2 + len(spread)))
    found = sliding_window_view(x, spread, axes)
    places = [slice(None)] * 2 + [slice(None, None, s) for s in (*stride, *dilation)]
    return np.asarray(found[tuple(places)])


def _padded(x: A, pads: Pads, value: float) -> A:
    return np.pad(x, [(0, 0), (0, 0), *((int(b), int(a)) for b, a in pads)], constant_values=value)


def conv(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    same: str = "",
) -> A:
    """A convolution as neural networks have it: ``w (O, C / groups, *kernel)``, zero padding ``pads`` per dimension.

    ``same``: ``upper`` or ``lower`` where these are such that there is a window for every ``stride`` numbers.
    """
    n = x.ndim - 2
    stride, dilation, pads = stride or [1] * n, dilation or [1] * n, pads or [(0, 0)] * n
    found = _windows(_padded(x, pads, 0.0), w.shape[2:], stride, dilation)
    parts, kernels = np.split(found, groups, 1), np.split(w, groups, 0)
    over = [1, *range(found.ndim - n, found.ndim)]
    ys = [np.tensordot(p, k, (over, list(range(1, n + 2)))) for p, k in zip(parts, kernels, strict=True)]
    y = np.moveaxis(np.concatenate(ys, -1), -1, 1)
    return y if b is None else y + b.reshape(1, -1, *[1] * n)


def conv_transpose(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    output_padding: Sequence[int] | None = None,
) -> A:
    """The transpose of :func:`conv`: ``w (C, O / groups, *kernel)``."""
    n = x.ndim - 2
    stride, dilation, pads = stride or [1] * n, dilation or [1] * n, pads or [(0, 0)] * n
    extra = output_padding or [0] * n
    spread = np.zeros((*x.shape[:2], *((s - 1) * f + 1 for s, f in zip(x.shape[2:], stride, strict=True))), x.dtype)
    places = [slice(None)] * 2 + [slice(None, None, f) for f in stride]
    spread[tuple(places)] = x
    reach = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
    around = [(r - p[0], r - p[1] + e) for r, p, e in zip(reach, pads, extra, strict=True)]
    cut = [slice(max(0, -a), spread.shape[2 + i] - max(0, -e)) for i, (a, e) in enumerate(around)]
    spread, around = spread[tuple([slice(None)] * 2 + cut)], [(max(0, a), max(0, e)) for a, e in around]
    return conv(spread, turned_kernels(w, groups), b, pads=around, dilation=dilation, groups=groups)


def turned_kernels(w: A, groups: int) -> A:
    """Weights of :func:`conv_transpose` as those of the convolution that it is of its input with zeros between."""
    flipped = np.flip(w, tuple(range(2, w.ndim)))
    return np.concatenate([np.swapaxes(k, 0, 1) for k in np.split(flipped, groups, 0)], 0)


def pool(
    x: A,
    *,
    kind: str,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    pads: Pads | None = None,
    dilation: Sequence[int] | None = None,
    ceil: bool = False,
    same: str = "",
) -> A:
    """``kind``: max, avg (over what lies inside the array), avg_pad (padding counts as zeros), sum, l2.

    ``ceil``: windows that begin inside the array (or its padding before) count, though they reach beyond its end.
    ``same``: as of :func:`conv`.
    """
    n = len(kernel)
    stride, dilation, pads = stride or kernel, dilation or [1] * n, pads or [(0, 0)] * n
    behind = [_behind(x.shape[2 + i], kernel[i], stride[i], dilation[i], pads[i], ceil) for i in range(n)]
    grown = [(p[0], e) for p, e in zip(pads, behind, strict=True)]
    empty = -math.inf if kind == "max" and x.dtype.kind == "f" else np.iinfo(x.dtype).min if kind == "max" else 0
    found = _windows(_padded(x, grown, empty), kernel, stride, dilation)
    over = tuple(range(found.ndim - n, found.ndim))
    if kind == "max":
        return np.asarray(found.max(over))
    if kind == "l2":
        return np.asarray(np.sqrt(np.square(found).sum(over)))
    total = found.sum(over)
    if kind == "sum":
        return np.asarray(total)
    # what counts: the array, for avg_pad its padding too, never what ceil has added
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if kind == "avg_pad":
        inside = _padded(inside, pads, 1.0)
        grown = [(0, e - p[1]) for p, e in zip(pads, behind, strict=True)]
    count = _windows(_padded(inside, grown, 0.0), kernel, stride, dilation).sum(over)
    return np.asarray(total / count)


def _behind(size: int, kernel: int, stride: int, dilation: int, pad: Sequence[int], ceil: bool) -> int:
    """Padding behind, with what rounding up the number of windows adds."""
    room = size + pad[0] + pad[1] - dilation * (kernel - 1) - 1
    if not ceil or room % stride == 0:
        return int(pad[1])
    windows = room // stride + 2
    if (windows - 1) * stride >= size + pad[0]:
        windows -= 1  # the last one would begin beyond the end
    return int(pad[1] + (windows - 1) * stride - room) if windows > room // stride + 1 else int(pad[1])
