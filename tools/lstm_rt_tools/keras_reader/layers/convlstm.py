"""ConvLSTM1D and ConvLSTM2D: recurrent layers over images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import backwards, timed
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import FloatArray, Weights
from . import rnn
from .row import Emitter
from .shapes import channels_back, channels_last, is_channels_first
from .windows import WINDOW, Windows, windows_of

CONV_LSTM = (
    "filters", *WINDOW, "activation", "recurrent_activation", "use_bias",
    "return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask",
)  # fmt: skip


_CLASSES = ("ConvLSTM1D", "ConvLSTM2D")


def conv_lstm(rank: int) -> Emitter:
    """The emitter of a ConvLSTM layer."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        x, first = timed(ctx, call.inputs[0]), is_channels_first(spec)
        if call.run_mask is not None:
            raise spec.error("a mask is not supported here")
        if call.initial_state and len(call.initial_state) != 2:
            raise spec.error(f"{len(call.initial_state)} initial states given, expected 2")
        if spec.flag("stateful", False):
            ctx.note(f"{spec}: was stateful in Keras; here calls are pure and streams keep the state")
        windows = windows_of(ctx, spec, Tensor(x.value, x.dims[1:]), rank, "kernel_size", True)
        pads, _ = windows.pads(spec.choice("padding", ("valid", "same"), "valid"))
        value = ctx.graph.reverse(windows.x.value) if spec.flag("go_backwards", False) else windows.x.value
        kernel, recurrent, bias = _weights(spec, weights, windows)
        gate, cell = spec.activation("recurrent_activation"), spec.activation("activation")
        h0, c0 = [channels_last(ctx, t, first).value for t in call.initial_state] or (None, None)
        _, *pad = windows.triple(pads, (0, 0))
        _, *stride = windows.triple(windows.strides, 1)
        _, *dilation = windows.triple(windows.dilation, 1)
        seq, *states = ctx.graph.convlstm(
            value, kernel, recurrent, bias, size=windows.size, stride=(stride[0], stride[1]),
            dilation=(dilation[0], dilation[1]), pad=(pad[0], pad[1]), activations=(gate, cell, cell), h0=h0, c0=c0,
        )  # fmt: skip
        images = [channels_back(ctx, windows.result(v, pads, len(recurrent) // 4), first) for v in (seq, *states)]
        over_time = replace(images[0], dims=(x.steps, *images[0].dims), time=0)
        output = over_time if spec.flag("return_sequences", False) else images[1]
        return [output, *images[1:]] if spec.flag("return_state", False) else [output]

    return emit


def emit_bidirectional(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Bidirectional around a ConvLSTM layer; around others that of recurrent layers."""
    if spec.sublayer("layer").class_name not in _CLASSES:
        return rnn.emit_bidirectional(ctx, spec, weights, call)
    mode = spec.config.get("merge_mode", "concat")
    if mode not in ("concat", None, *rnn.MERGE):
        raise spec.error(f"option merge_mode={mode!r:.60} is not supported")
    sides = rnn.both_sides(spec, weights)
    if [sub.flag("go_backwards", False) for sub, _ in sides] != [False, True]:
        raise spec.error("expected go_backwards false in the forward and true in the backward layer")
    if call.initial_state or any(sub.flag("return_state", False) for sub, _ in sides):
        raise spec.error(f"states around a {sides[0][0].class_name} are not supported")
    forward, backward = (ctx.run_layer(ctx, sub, own, replace(call, initial_state=()))[0] for sub, own in sides)
    backward = backward if backward.time is None else backwards(ctx, backward, 0)
    return rnn.merged(ctx, mode, [forward, backward])


def _weights(spec: LayerSpec, weights: Weights, windows: Windows) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Kernels as ``(4 * filters, channels, height, width)``; the gates are in the order of the graph's."""
    bias = ("bias",) if spec.flag("use_bias", True) else ()
    arrays = weights.child("cell").take(("kernel", "recurrent_kernel", *bias), str(spec))
    filters = spec.size("filters")
    for role, channels in (("kernel", windows.x.dims[-1]), ("recurrent_kernel", filters)):
        expected = (*windows.kernel, channels, 4 * filters)
        if arrays[role].shape != expected:
            raise spec.error(f"{role} has shape {arrays[role].shape}, expected {expected}")
    kernel, recurrent = (_turned(arrays[role]) for role in ("kernel", "recurrent_kernel"))
    return kernel, recurrent, arrays.get("bias")


def _turned(kernel: FloatArray) -> FloatArray:
    turned = np.moveaxis(kernel, (-1, -2), (0, 1))
    return np.ascontiguousarray(turned[:, :, None] if turned.ndim == 3 else turned)
