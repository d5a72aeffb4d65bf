"""Convolutions backwards: each element of the input adds a window to the output.

Of ``stride`` elements of the output that lie side by side, each reads other elements of the kernel and the same
elements of the input. So a convolution with ``stride`` times as many filters makes them all, and they are put in a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import cut, numbers, picked
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import FloatArray, Weights
from .basic import acted
from .row import Emitter
from .shapes import channels_back, is_channels_first
from .windows import WINDOW, Windows, windows_of

#: Numbers that may be made of each weight, the rest of which are zeros; a few are always fine.
_MOST_ZEROS, _LEAST = 64, 1 << 20

TRANSPOSED = ("filters", *WINDOW, "output_padding", "activation", "use_bias")


@dataclass(frozen=True)
class _Axis:
    """One axis: element ``m`` of all windows together is ``element + start`` of the output."""

    kernel: int
    stride: int
    dilation: int
    start: int
    longer: int  #: elements of the output beyond ``stride`` for each of the input; may be negative

    @property
    def taps(self) -> int:
        """Elements of the input that one of the output reads."""
        return (self.kernel - 1) * self.dilation // self.stride + 1

    @property
    def skipped(self) -> int:
        """Groups of ``stride`` elements in front that are not part of the output."""
        return self.start // self.stride

    @property
    def behind(self) -> int:
        """Groups of ``stride`` elements behind those that the input has."""
        return -(-(self.start + self.longer) // self.stride)

    @property
    def cropped(self) -> tuple[int, int]:
        """Elements in front of the output and behind it, of the groups that are made."""
        return self.start % self.stride, self.behind * self.stride - self.start - self.longer

    def place(self, k: int) -> tuple[int, int]:
        """Which of the ``stride`` elements the element ``k`` of the kernel adds to, and at which tap."""
        back, phase = divmod(k * self.dilation, self.stride)
        return phase, self.taps - 1 - back


def conv_transpose(rank: int) -> Emitter:
    """The emitter of Conv1DTranspose, Conv2DTranspose and Conv3DTranspose."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        windows = windows_of(ctx, spec, call.inputs[0], rank, "kernel_size", True)
        roles = ("kernel", "bias") if spec.flag("use_bias", True) else ("kernel",)
        arrays = weights.take(roles, str(spec))
        kernel, expected = arrays["kernel"], (*windows.kernel, spec.size("filters"), windows.x.dims[-1])
        if kernel.shape != expected:
            raise spec.error(f"kernel has shape {kernel.shape}, expected {expected}")
        y = _convolved(ctx, windows, _axes(spec, windows), kernel, arrays.get("bias"))
        return [acted(ctx, channels_back(ctx, y, is_channels_first(spec)), spec.activation("activation"))]

    return emit


def _axes(spec: LayerSpec, windows: Windows) -> list[_Axis]:
    """As TensorFlow has it: the gradient of a convolution with this padding."""
    rank = len(windows.kernel)
    same = spec.choice("padding", ("valid", "same"), "valid") == "same"
    more = spec.sizes("output_padding", rank, least=0) if spec.config.get("output_padding") is not None else None
    axes = []
    for i, (kernel, stride, dilation) in enumerate(zip(windows.kernel, windows.strides, windows.dilation, strict=True)):
        wide = (kernel - 1) * dilation + 1
        if more is None:
            longer = 0 if same else max(wide - stride, 0)
        else:
            longer = wide - stride + more[i] - (wide // 2 * 2 if same else 0)
        # TensorFlow must find the size of the input again in that of the output.
        least, end = (-stride, 1) if same else (wide - 2 * stride, wide)
        if more is not None and not least < longer < end:
            padding = f"{spec.config['output_padding']!r:.60}"
            raise spec.error(f"output_padding={padding} is not supported with strides={stride}")
        start = max(wide - stride - longer, 0) // 2 if same else 0
        axes.append(_Axis(kernel, stride, dilation, start, longer))
    return axes


def _convolved(
    ctx: Context, windows: Windows, axes: Sequence[_Axis], kernel: FloatArray, bias: FloatArray | None
) -> Tensor:
    x, phases, filters = windows.x, tuple(a.stride for a in axes), kernel.shape[-2]
    shape = (*phases, filters, kernel.shape[-1], *(a.taps for a in axes))
    if math.prod(shape) > max(_MOST_ZEROS * kernel.size, _LEAST):
        text = f"{math.prod(shape):,} numbers of {kernel.size:,} weights"
        raise windows.spec.error(f"its strides and dilation make {text}")
    spread = np.zeros(shape, np.float32)
    for k in np.ndindex(windows.kernel):
        phase, tap = zip(*(a.place(i) for a, i in zip(axes, k, strict=True)), strict=True)
        where = (*phase, slice(None), slice(None), *tap)
        spread[where] = kernel[k]
    order = [i for i in (x.time, *windows.places) if i is not None]
    turned = spread.reshape(-1, *spread.shape[len(axes) + 1 :]).transpose(0, 1, *(2 + i for i in order))
    pads = [(a.taps - 1 - a.skipped, a.behind) for a in axes]
    # Where windows reach beyond the first tap that is left, the front is cut off instead.
    fronts = [max(-before, 0) for before, _ in pads]
    pads = [(max(before, 0), behind) for before, behind in pads]
    if any(fronts) or any(behind < 0 for _, behind in pads):
        raise windows.spec.error("an output shorter than its input is not supported")
    value = ctx.graph.conv(
        x.value,
        turned.reshape(len(turned), kernel.shape[-1], *windows.triple([a.taps for a in axes], 1)),
        None if bias is None else np.tile(bias, len(turned) // filters),
        size=windows.size,
        pad=windows.triple(pads, (0, 0)),
    )
    made = replace(windows, kernel=tuple(a.taps for a in axes), strides=(1,) * len(axes), dilation=(1,) * len(axes))
    y = _in_a_row(ctx, made.result(value, pads, len(turned)), phases, filters)
    for i, axis in enumerate(axes):
        before, behind = axis.cropped
        y = cut(ctx, y, i, before or None, -behind or None, None)
    return y


def _in_a_row(ctx: Context, t: Tensor, phases: tuple[int, ...], filters: int) -> Tensor:
    """The channels, which are elements for each axis and filters, as more elements of the axes."""
    rank = len(phases)
    index = numbers(t)
    index = index.reshape(*index.shape[:-1], *phases, filters)
    images = [i for i in range(rank) if i != t.time]
    first = len(images)  # of the axes of index: those of images, then the elements, then filters
    order = [] if t.time is None else [first + t.time]
    for place, i in enumerate(images):
        order += [place, first + i]
    index = index.transpose(*order, index.ndim - 1)
    sizes = [None if n is None else n * phase for n, phase in zip(t.dims[:-1], phases, strict=True)]
    value = picked(ctx, t.value, index)
    if t.time is not None and phases[t.time] > 1:
        value = ctx.graph.unflatten(value, phases[t.time])
    return replace(t, value=value, dims=(*sizes, filters))
