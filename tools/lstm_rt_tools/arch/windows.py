"""Convolutions and pooling of ``torch.nn`` in architecture files.

Graphs have images channels last, time apart. PyTorch has them channels first, with time as one of the dimensions of
``Conv1d`` and ``Conv2d``, or with none: which one it is says the option ``time``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.errors import ConvertError, did_you_mean
from lstm_rt.graph import Array

from .row import Layer, Row

if TYPE_CHECKING:
    from .build import Builder

Pads = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
_DIMS = ("time", "height", "width")
#: By ``time``: which dimension of a graph each of PyTorch's is.
_PLACES = {"width": ("height", "time"), "height": ("time", "height"), "none": ("height", "width")}


@dataclass(frozen=True)
class Geometry:
    """A window over an image of so many features: what PyTorch's options say of each dimension of a graph."""

    places: tuple[str, ...]  #: the dimension of a graph for each of PyTorch's
    size: tuple[int, int]

    def triple(self, layer: Layer, key: str, default: int = 1) -> tuple[int, int, int]:
        """An option that has a number for each of PyTorch's dimensions."""
        return self.spread(layer.integers(key, len(self.places), default))

    def spread(self, numbers: list[int], other: int = 1) -> tuple[int, int, int]:
        """Numbers of PyTorch's dimensions as those of time, height and width."""
        of = dict(zip(self.places, numbers, strict=True))
        return of.get("time", other), of.get("height", other), of.get("width", other)


def _geometry(b: Builder, layer: Layer, x: int, dims: int) -> Geometry:
    if dims == 1:
        if "time" in layer.table:
            raise ConvertError(f"{layer.what}: time is about windows of two dimensions, this has one")
        return Geometry(("time",), (1, 1))
    time = layer.required("time", str)
    if time not in _PLACES:
        raise ConvertError(
            f"{layer.what}: time is {time!r}, expected {', '.join(map(repr, _PLACES))}: which of the last two "
            f"dimensions of (N, C, H, W) the steps are{did_you_mean(time, _PLACES)}"
        )
    return Geometry(_PLACES[time], _image(b, layer, x))


def _image(b: Builder, layer: Layer, x: int) -> tuple[int, int]:
    """Height and width of what a layer reads: as it is told, or as the layer that made it has left it."""
    known = b.images.get(x)
    if "size" in layer.table:
        height, width = layer.integers("size", 2)
        if known not in (None, (height, width)):
            raise ConvertError(f"{layer.what}: size is {[height, width]}, but the image is {list(known or ())}")
        return height, width
    if known is None:
        raise ConvertError(
            f"{layer.what}: size is missing: [height, width] of the image that the features of a step are, [F, 1] "
            "where they are one row"
        )
    return known


def _padding(layer: Layer, geometry: Geometry, kernel: tuple[int, int, int], dilation: tuple[int, int, int]) -> Pads:
    """PyTorch's padding, (before, after) in each dimension; ``causal``: all of time's before."""
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    value = layer.table.get("padding", 0)
    if value == "same":  # what is odd goes behind, as in PyTorch
        pads = [(r // 2, r - r // 2) for r in reach]
    elif isinstance(value, str):
        raise ConvertError(f'{layer.what}: padding is {value!r}, expected numbers or "same"')
    else:
        pads = [(n, n) for n in geometry.spread(layer.integers("padding", len(geometry.places), 0), 0)]
    if layer.optional("causal", bool, False):
        if "time" not in geometry.places:
            raise ConvertError(f"{layer.what}: causal is about steps, of which these windows see one")
        pads[0] = (reach[0], 0)
    return pads[0], pads[1], pads[2]


def _conv(b: Builder, layer: Layer) -> int:
    x, weight = b.input_of(layer), b.take(layer, "weight")
    if weight.ndim not in (3, 4):
        raise ConvertError(f"{layer.what}: weight has shape {weight.shape}, expected that of a Conv1d or Conv2d")
    geometry = _geometry(b, layer, x, weight.ndim - 2)
    kernel, dilation = geometry.spread(list(weight.shape[2:])), geometry.triple(layer, "dilation")
    strides = geometry.triple(layer, "stride")
    if layer.table.get("padding") == "same" and strides != (1, 1, 1):
        raise ConvertError(f'{layer.what}: padding is "same", which PyTorch has for stride 1 alone')
    order = [2 + geometry.places.index(d) for d in _DIMS if d in geometry.places]
    y = b.graph.conv(
        x, weight.transpose(0, 1, *order).reshape(*weight.shape[:2], *kernel), b.maybe(layer, "bias"),
        size=geometry.size, stride=strides, dilation=dilation, pad=_padding(layer, geometry, kernel, dilation),
        groups=layer.optional("groups", int, 1), whole=layer.optional("whole", bool, False),
    )  # fmt: skip
    return _gives_image(b, y, geometry, kernel, strides, dilation, layer)


def _pool(b: Builder, layer: Layer) -> int:
    x, kernels = b.input_of(layer), layer.table.get("kernel")
    dims = 2 if isinstance(kernels, list) or "time" in layer.table else 1
    geometry = _geometry(b, layer, x, dims)
    kernel = geometry.spread(layer.integers("kernel", dims))
    strides = geometry.triple(layer, "stride") if "stride" in layer.table else kernel
    kind = layer.required("kind", str)
    y = b.graph.pool(
        x, kind, kernel, size=geometry.size, stride=strides, pad=_padding(layer, geometry, kernel, (1, 1, 1)),
        whole=layer.optional("whole", bool, False),
    )  # fmt: skip
    return _gives_image(b, y, geometry, kernel, strides, (1, 1, 1), layer)


def _gives_image(
    b: Builder, y: int, geometry: Geometry, kernel: tuple[int, ...], strides: tuple[int, ...],
    dilation: tuple[int, ...], layer: Layer,
) -> int:  # fmt: skip
    """Remember the height and width of what windows give."""
    if len(geometry.places) == 2:
        pads = _padding(layer, geometry, (kernel[0], kernel[1], kernel[2]), (dilation[0], dilation[1], dilation[2]))
        height, width = (
            (n + sum(pads[i]) - dilation[i] * (kernel[i] - 1) - 1) // strides[i] + 1
            for i, n in zip((1, 2), geometry.size, strict=True)
        )
        b.images[y] = height, width
    return y


def per_channel(b: Builder, layer: Layer, x: int, array: Array) -> Array:
    """Weights of the channels of an image as weights of its features: the same at every place."""
    size = b.graph.values[x].size
    if array.ndim != 1 or array.size == size:
        return array
    places = int(np.prod(b.images.get(x, (1, 1))))
    if array.size * places != size:
        image = f", an image of {' x '.join(map(str, b.images[x]))}" if x in b.images else ""
        raise ConvertError(f"{layer.what}: a weight of shape {array.shape} on {size} features{image}")
    return np.tile(array, places)


def _channels_first(b: Builder, layer: Layer) -> int:
    """The features of an image in the order in which PyTorch flattens (C, H, W)."""
    x = b.input_of(layer)
    height, width = _image(b, layer, x)
    size = b.graph.values[x].size
    if size % (height * width):
        raise ConvertError(f"{layer.what}: {size} features are no image of {height} x {width}")
    places: Any = np.arange(size).reshape(height, width, -1).transpose(2, 0, 1)
    return b.graph.gather(x, np.ascontiguousarray(places.ravel(), np.int32))


_WINDOW = ("stride", "padding", "causal", "time", "size", "whole")
WINDOW_ROWS = {
    "conv": Row(("weights", "dilation", "groups", *_WINDOW), _conv),
    "pool": Row(("kind", "kernel", *_WINDOW), _pool),
    "channels_first": Row(("size",), _channels_first),
}
