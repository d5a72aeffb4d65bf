"""Convolutions and pooling: layers that look through windows over steps, heights and widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arith import reduced
from ..arrays import timed
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import FloatArray, Weights, with_lora
from .basic import acted
from .row import Emitter
from .shapes import channels_back, channels_last, is_channels_first

WINDOW = ("kernel_size", "strides", "padding", "data_format", "dilation_rate")
CONV = ("filters", *WINDOW, "groups", "activation", "use_bias")
DEPTHWISE = (*WINDOW, "depth_multiplier", "activation", "use_bias")
SEPARABLE = ("filters", *DEPTHWISE)
POOL = ("pool_size", "strides", "padding", "data_format")

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """The windows of a layer over the axes of one input, channels last; a number for each axis but the channels'."""

    spec: LayerSpec
    x: Tensor
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def places(self) -> list[int]:
        """The axes that the features are images of, height and width; those that are missing are not there."""
        return [i for i in range(len(self.kernel)) if i != self.x.time]

    def triple(self, numbers: Sequence[Any], usual: Any) -> tuple[Any, Any, Any]:
        """One thing for each axis in the order of the graph: time, height, width."""
        image = [numbers[i] for i in self.places]
        image = [usual] * (2 - len(image)) + image
        return (usual if self.x.time is None else numbers[self.x.time], image[0], image[1])

    @property
    def size(self) -> Pair:
        """The height and width of an image."""
        _, height, width = self.triple([n or 0 for n in self.x.dims], 1)
        return height, width

    def pads(self, padding: str) -> tuple[list[Pair], bool]:
        """Zeros before and behind each axis, and whether that is so with the steps backwards."""
        found = [self._pad(i, padding) for i in range(len(self.kernel))]
        return [pad for pad, _ in found], any(back for _, back in found)

    def over(self, ctx: Context, padding: str, run: Callable[[int, list[Pair], bool], int]) -> tuple[int, list[Pair]]:
        """``run`` over the input, and the padding that it was run with: zeros before and behind each axis.

        What ``run`` gets is a value, that padding, and whether the value's steps are backwards: where only the
        number of zeros behind the last step is the same for all numbers of steps, windows are counted from there.
        """
        pads, back = self.pads(padding)
        if not back:
            return run(self.x.value, pads, False), pads
        return ctx.graph.reverse(run(ctx.graph.reverse(self.x.value), pads, True)), pads

    def _pad(self, i: int, padding: str) -> tuple[Pair, bool]:
        """Zeros before and behind, of the axis as it is or (true) of it backwards."""
        span, stride, size = self.dilation[i] * (self.kernel[i] - 1), self.strides[i], self.x.dims[i]
        if padding == "valid":
            return (0, 0), False
        if padding == "causal":
            return (span, 0), False
        # As TensorFlow has it: as much as the last window needs, half of it in front. It depends on the size.
        rests = range(stride) if size is None else [size % stride]
        totals = [max(span + 1 - (rest or stride), 0) for rest in rests]
        for back, ahead in ((False, {n // 2 for n in totals}), (True, {n - n // 2 for n in totals})):
            if len(ahead) == 1:
                (first,) = ahead
                return (first, max(totals) - first), back
        raise self.spec.error(
            f"padding='same' with strides={stride} is different for different numbers of steps, which are free "
            "here: give the model's Input a number of steps instead of None"
        )

    def result(self, value: int, pads: Sequence[Pair], channels: int) -> Tensor:
        """What a value is that has one number for each window and channel."""
        sizes: list[int | None] = []
        for i, pad in enumerate(pads):
            size, span = self.x.dims[i], self.dilation[i] * (self.kernel[i] - 1)
            sizes.append(None if size is None else (size + sum(pad) - span - 1) // self.strides[i] + 1)
            if size is not None and sizes[-1] is not None and sizes[-1] < 1:
                raise self.spec.error(f"its windows of {span + 1} do not fit into {size} elements")
        return replace(self.x, value=value, dims=(*sizes, channels))


def windows_of(ctx: Context, spec: LayerSpec, x: Tensor, rank: int, kernel: str, dilated: bool) -> Windows:
    if len(x.dims) != rank + 1:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected {rank + 2} axes")
    x = channels_last(ctx, x, is_channels_first(spec))
    if x.time == rank or (rank > 2 and x.time is None):
        x = timed(ctx, x)
    sizes = spec.sizes(kernel, rank, 2 if kernel == "pool_size" else 0)
    own = sizes if kernel == "pool_size" and spec.config.get("strides") is None else spec.sizes("strides", rank)
    return Windows(spec, x, sizes, own, spec.sizes("dilation_rate", rank) if dilated else (1,) * rank)


# -- convolutions -----------------------------------------------------------------------------------


def _convolved(
    ctx: Context, windows: Windows, kernel: FloatArray, bias: FloatArray | None, padding: str, groups: int
) -> Tensor:
    """``kernel`` is ``(*windows, channels / groups, filters)``."""
    spec, x, filters = windows.spec, windows.x, kernel.shape[-1]
    channels = kernel.shape[-2] * groups
    if x.dims[-1] != channels or filters % groups:
        raise spec.error(f"its kernel is of {channels} channels and {filters} filters in {groups} groups, "
                         f"its input has {x.dims[-1]} channels")  # fmt: skip
    turned = np.moveaxis(kernel, (-1, -2), (0, 1))
    order = [] if x.time is None else [x.time]
    turned = turned.transpose(0, 1, *(2 + i for i in [*order, *windows.places]))
    turned = turned.reshape(filters, channels // groups, *windows.triple(windows.kernel, 1))

    def run(value: int, pads: list[Pair], back: bool) -> int:
        return ctx.graph.conv(
            value,
            turned[:, :, ::-1] if back else turned,
            bias,
            size=windows.size,
            stride=windows.triple(windows.strides, 1),
            dilation=windows.triple(windows.dilation, 1),
            pad=windows.triple(pads, (0, 0)),
            groups=groups,
        )

    return windows.result(*windows.over(ctx, padding, run), filters)


def _padding(spec: LayerSpec, rank: int) -> str:
    return spec.choice("padding", ("valid", "same", "causal") if rank == 1 else ("valid", "same"), "valid")


def _finished(ctx: Context, spec: LayerSpec, y: Tensor) -> list[Tensor]:
    y = channels_back(ctx, y, is_channels_first(spec))
    return [acted(ctx, y, spec.activation("activation"))]


def _kernel(spec: LayerSpec, array: FloatArray, shape: tuple[int, ...], role: str) -> FloatArray:
    if array.ndim != len(shape) + 1 or array.shape[:-1] != shape:
        raise spec.error(f"{role} has shape {array.shape}, expected ({', '.join(map(str, shape))}, filters)")
    return array


def conv(rank: int) -> Emitter:
    """The emitter of Conv1D, Conv2D and Conv3D."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        windows = windows_of(ctx, spec, call.inputs[0], rank, "kernel_size", True)
        bias = ("bias",) if spec.flag("use_bias", True) else ()
        arrays = weights.take(("kernel", *bias), str(spec))
        (groups,) = spec.sizes("groups", 1)
        kernel = with_lora(spec, weights, arrays["kernel"], "kernel")
        _kernel(spec, kernel, (*windows.kernel, *kernel.shape[-2:-1]), "kernel")
        if kernel.shape[-1] != spec.size("filters"):
            raise spec.error(f"kernel has shape {kernel.shape}, expected {spec.size('filters')} filters")
        return _finished(ctx, spec, _convolved(ctx, windows, kernel, arrays.get("bias"), _padding(spec, rank), groups))

    return emit


def _depthwise(
    ctx: Context, windows: Windows, kernel: FloatArray, bias: FloatArray | None, padding: str
) -> Tensor:
    """Each channel by itself; the kernel is ``(*windows, channels, filters of each)``."""
    spec, channels = windows.spec, windows.x.dims[-1] or 0
    _kernel(spec, kernel, (*windows.kernel, channels), "depthwise_kernel")
    flat = kernel.reshape(*windows.kernel, 1, channels * kernel.shape[-1])
    return _convolved(ctx, windows, flat, bias, padding, channels)


def depthwise_conv(rank: int) -> Emitter:
    """The emitter of DepthwiseConv1D and DepthwiseConv2D."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        windows = windows_of(ctx, spec, call.inputs[0], rank, "kernel_size", True)
        bias = ("bias",) if spec.flag("use_bias", True) else ()
        name = "kernel" if spec.keras.major >= 3 else "depthwise_kernel"
        arrays = weights.take((name, *bias), str(spec))
        return _finished(ctx, spec, _depthwise(ctx, windows, arrays[name], arrays.get("bias"), _padding(spec, rank)))

    return emit


def separable_conv(rank: int) -> Emitter:
    """The emitter of SeparableConv1D and SeparableConv2D: depthwise, then dense over channels."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        windows = windows_of(ctx, spec, call.inputs[0], rank, "kernel_size", True)
        bias = ("bias",) if spec.flag("use_bias", True) else ()
        arrays = weights.take(("depthwise_kernel", "pointwise_kernel", *bias), str(spec))
        y = _depthwise(ctx, windows, arrays["depthwise_kernel"], None, _padding(spec, rank))
        point = arrays["pointwise_kernel"]
        ones = (1,) * rank
        if point.shape[:-1] != (*ones, y.dims[-1]):
            raise spec.error(f"pointwise_kernel has shape {point.shape}, expected (*{ones}, {y.dims[-1]}, filters)")
        second = Windows(spec, y, ones, ones, ones)
        return _finished(ctx, spec, _convolved(ctx, second, point, arrays.get("bias"), "valid", 1))

    return emit


# -- pooling ----------------------------------------------------------------------------------------


def pooling(rank: int, kind: str) -> Emitter:
    """The emitter of MaxPooling and AveragePooling; padding does not count."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        windows = windows_of(ctx, spec, call.inputs[0], rank, "pool_size", False)
        padding = spec.choice("padding", ("valid", "same"), "valid")

        def run(value: int, pads: list[Pair], back: bool) -> int:
            return ctx.graph.pool(
                value,
                kind,
                windows.triple(windows.kernel, 1),
                size=windows.size,
                stride=windows.triple(windows.strides, 1),
                pad=windows.triple(pads, (0, 0)),
            )

        value, pads = windows.over(ctx, padding, run)
        if kind == "avg" and spec.keras.major >= 3 and any(before != behind for before, behind in pads):
            ctx.note(f"{spec}: uneven padding does not count, as in Keras on TensorFlow or JAX; on PyTorch it does")
        y = windows.result(value, pads, windows.x.dims[-1] or 0)
        return [channels_back(ctx, y, is_channels_first(spec))]

    return emit


def global_pooling(rank: int, kind: str) -> Emitter:
    """The emitter of GlobalMaxPooling and GlobalAveragePooling; the mean of one axis is over unmasked steps."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        x = call.inputs[0]
        if len(x.dims) != rank + 1:
            raise spec.error(f"its input has shape {('batch', *x.dims)}, expected {rank + 2} axes")
        first = 1 if is_channels_first(spec) else 0
        mask = None
        if call.run_mask is not None and kind == "mean" and rank == 1:
            x = timed(ctx, x, first)
            mask = ctx.mask(call.run_mask, spec)
        return [reduced(ctx, x, kind, range(first, first + rank), spec.flag("keepdims", False), mask)]

    return emit
