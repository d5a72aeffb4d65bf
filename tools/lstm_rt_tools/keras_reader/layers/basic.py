"""Layers without much of their own: embeddings, masks, dense layers, activations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lstm_rt.graph import Activation

from ..arith import activated, limited, softmax
from ..arrays import places_of, whole
from ..build import Call, Context, Mask, Tensor
from ..config import ACTIVATION_LAYERS, LayerSpec
from ..weights import FloatArray, Weights


def emit_nothing(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Layers that do nothing at inference."""
    return [call.inputs[0]]


def emit_embedding(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Embedding."""
    if ctx.graph.values[call.value].kind != "ids":
        raise spec.error(
            "it reads what other layers give, which is not supported: give the model token ids as an Input of their own"
        )
    table = weights.take(("embeddings",), str(spec))["embeddings"]
    expected = (spec.size("input_dim"), spec.size("output_dim"))
    if table.shape != expected:
        raise spec.error(f"embeddings have shape {table.shape}, expected {expected}")
    x, mask = call.inputs[0], None
    if spec.flag("mask_zero", False) and ctx.graph.values[call.value].timed:
        several = Mask("unknown", why=f"is of several ids at a step ({spec})")
        mask = several if x.features else Mask("ids", call.value, 0)
    return [Tensor(ctx.graph.embedding(call.value, table), (*x.dims, expected[1]), x.time, mask)]


def masking_number(value: float) -> float:
    """What Keras compares float32 features with: the float32 nearest to the number given."""
    return float(np.float32(value))


def emit_masking(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Masking."""
    x = call.inputs[0]
    if x.time != 0 or len(x.dims) != 2:
        raise spec.error("its input is not a sequence")
    mask = Mask("values", x.value, masking_number(spec.number_option("mask_value", 0.0)))
    return [replace(x, value=ctx.graph.apply_mask(x.value, ctx.mask(mask, spec)), mask=mask)]


def emit_dense(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Dense: over the last axis, whatever comes before it."""
    roles = ("kernel", "bias") if spec.flag("use_bias", True) else ("kernel",)
    arrays = weights.take(roles, str(spec))
    units, kernel = spec.size("units"), arrays["kernel"]
    if kernel.ndim != 2 or kernel.shape[1] != units:
        raise spec.error(f"kernel has shape {kernel.shape}, expected (inputs, {units})")
    x = over_last(ctx, spec, call.inputs[0], len(kernel))
    return [dense(ctx, x, kernel.T, arrays.get("bias"), spec.activation("activation"))]


def over_last(ctx: Context, spec: LayerSpec, x: Tensor, size: int | None = None) -> Tensor:
    """A tensor whose last axis is one of features, of this size."""
    if not x.dims or (size is not None and x.dims[-1] != size):
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected {size} numbers in the last axis")
    return whole(ctx, x) if x.time == len(x.dims) - 1 else x


def dense(ctx: Context, x: Tensor, weight: FloatArray, bias: FloatArray | None, activation: Activation) -> Tensor:
    """``activation(x @ weight.T + bias)`` over the last axis, which is one of features."""
    before, dims = x.features[:-1], (*x.dims[:-1], len(weight))
    if math.prod(before) == 1:
        return replace(x, value=ctx.graph.dense(x.value, weight, bias, activation), dims=dims)
    kernel = np.ascontiguousarray(weight)[:, :, None, None, None]
    value = ctx.graph.conv(x.value, kernel, bias, size=(1, math.prod(before)))
    return acted(ctx, replace(x, value=value, dims=dims), activation)


def acted(ctx: Context, x: Tensor, activation: Activation) -> Tensor:
    """An activation of a layer on its result; softmax is over the last axis."""
    if activation.name == "linear":
        return x
    if activation.name in ("softmax", "log_softmax"):
        return softmax(ctx, x, [len(x.dims) - 1], log=activation.name == "log_softmax")
    return activated(ctx, x, activation)


def emit_activation(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Layers that are an activation function."""
    return [acted(ctx, call.inputs[0], spec.activation_layer())]


def emit_softmax(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Softmax, over any axes."""
    x = call.inputs[0]
    if call.run_mask is not None:
        raise spec.error("a Softmax layer under a mask is not supported (its softmax would be masked)")
    return [softmax(ctx, x, places_of(spec.config.get("axis", -1), len(x.dims)))]


def emit_relu(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """ReLU with a slope, a limit or a threshold."""
    x, slope, high = call.inputs[0], spec.optional("negative_slope"), spec.optional("max_value")
    threshold = spec.optional("threshold") or 0.0
    if slope and (threshold or (high is not None and slope < 0)):
        raise spec.error(f"negative_slope={slope} with threshold={threshold} and max_value={high} is not supported")
    if threshold:
        x = activated(ctx, x, Activation("thresholded_relu", alpha=threshold))
        return [x if high is None else limited(ctx, x, 0.0, high)]
    if slope:
        x = activated(ctx, x, Activation("leaky_relu", alpha=slope))
        return [x if high is None else limited(ctx, x, None, high)]
    return [activated(ctx, x, Activation("relu")) if high is None else limited(ctx, x, 0.0, high)]


def emit_prelu(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """PReLU; the slopes of shared axes are one, those of steps differ unless they are shared."""
    alpha, x = weights.take(("alpha",), str(spec))["alpha"], call.inputs[0]
    if alpha.ndim != len(x.dims) or any(a not in (1, n) for a, n in zip(alpha.shape, x.dims, strict=True)):
        raise spec.error(f"alpha has shape {alpha.shape}, expected that of its input {x.dims} or 1 where it is shared")
    if x.time is not None:
        if alpha.shape[x.time] == 1:
            alpha = alpha.squeeze(x.time)
        else:
            x = whole(ctx, x)
    slopes = np.broadcast_to(alpha, x.features).ravel()
    return [replace(x, value=ctx.graph.prelu(x.value, slopes))]


#: Layers that are one of the graph's activations.
ACTIVATIONS = tuple(name for name in ACTIVATION_LAYERS if name not in ("Softmax", "ReLU"))
