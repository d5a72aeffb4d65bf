"""Layers without much of their own: embeddings, masks, dense layers, activations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lstm_rt.graph import Activation

from ..arith import activated, binary, limited, reduced, scaled, softmax
from ..arrays import expanded, is_stepwise, places_of, timed, whole
from ..build import Call, Context, Mask, Tensor, Whole
from ..config import ACTIVATION_LAYERS, LayerSpec
from ..masks import as_truth
from ..weights import FloatArray, Weights, with_lora


def emit_nothing(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Layers that do nothing at inference."""
    return [call.inputs[0]]


def emit_embedding(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Embedding, and ReversibleEmbedding, which may be called with what it gives to score all ids."""
    expected = (spec.size("input_dim"), spec.size("output_dim"))
    tied = spec.class_name == "Embedding" or spec.flag("tie_weights", True)
    arrays = weights.take(("embeddings",) if tied else ("embeddings", "reverse_embeddings"), str(spec))
    table = with_lora(spec, weights, arrays["embeddings"], "embeddings")
    if table.shape != expected:
        raise spec.error(f"embeddings have shape {table.shape}, expected {expected}")
    if call.options.get("reverse"):
        return [_scored(ctx, spec, call.inputs[0], table if tied else arrays["reverse_embeddings"].T)]
    x, mask = call.inputs[0], None
    if ctx.graph.values[call.value].kind != "ids":
        return [_embedded_numbers(ctx, spec, x, table, spec.flag("mask_zero", False))]
    if spec.flag("mask_zero", False) and ctx.graph.values[call.value].timed:
        mask = Mask("ids", call.value, 0)
    return [Tensor(ctx.graph.embedding(call.value, table), (*x.dims, expected[1]), x.time, mask)]


def _scored(ctx: Context, spec: LayerSpec, x: Tensor, table: FloatArray) -> Tensor:
    """How much an array is like each row of a table, between the limits that the layer sets."""
    y = dense(ctx, over_last(ctx, spec, x, table.shape[1]), table, None, Activation("linear"))
    limit = spec.optional("logit_soft_cap")
    if not limit:
        return y
    return activated(ctx, y, Activation("scaled_tanh", alpha=limit, beta=1 / limit))


ZEROS_SINCE = (3, 10)  #: version of Keras in which a softmax of nothing but masked numbers gives zeros
_FAR = 1e9  #: what is taken from numbers that do not count in a softmax
#: Rows of a table that is looked up by comparing with each number.
_MOST_ROWS = 1024
#: Nodes that give the numbers they get, in another order or only some of them.
_MOVES = ("slice", "gather", "select", "take", "reverse", "flatten", "unflatten", "repeat", "concat")


def _embedded_numbers(ctx: Context, spec: LayerSpec, x: Tensor, table: FloatArray, masks: bool) -> Tensor:
    """The rows of a table for ids of any axes, numbers here: each is compared with all that there may be."""
    if not is_whole(ctx, x):
        raise spec.error("it reads what other layers compute, which is not supported: expected an input of token ids")
    if len(table) > _MOST_ROWS:
        raise spec.error(
            f"of ids of several axes tables of up to {_MOST_ROWS} rows are supported, this one has {len(table)}: "
            "give the model token ids as an Input of one axis"
        )
    ctx.note(f"{spec}: its token ids are given as numbers; one that its table does not have counts as a row of zeros")
    if len(x.dims) == 1 and not is_stepwise(ctx, x):
        x = timed(ctx, x)
    out = dense(ctx, one_hot(ctx, x, len(table)), np.ascontiguousarray(table.T), None, Activation("linear"))
    if not masks:
        return out
    if len(x.dims) != 1:
        return replace(out, mask=Mask("unknown", why="is of ids of several axes"))
    return replace(out, mask=Mask("flags", x.value) if is_stepwise(ctx, x) else Mask("values", x.value, 0.0))


def one_hot(ctx: Context, x: Tensor, count: int) -> Tensor:
    """For each whole number a row of ``count`` that is 1 at its place, and else 0."""
    away = scaled(ctx, expanded(x, len(x.dims)), 1.0, -np.arange(count, dtype=np.float32))
    away = activated(ctx, activated(ctx, away, Activation("abs")), Activation("affine", alpha=-1.0, beta=1.0))
    return activated(ctx, away, Activation("relu"))


def is_whole(ctx: Context, x: Tensor) -> bool:
    """Are they whole numbers: places, or ids that a model is given?"""
    return isinstance(x, Whole) or is_moved_input(ctx, x.value)


def is_moved_input(ctx: Context, value: int) -> bool:
    """Is it an input of the model, or numbers of inputs that have only moved?"""
    makers = {o: n for n in ctx.graph.nodes for o in n.outputs}
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value in makers:
            if makers[value].op not in _MOVES:
                return False
            waiting += [i for i in makers[value].inputs if i is not None]
    return True


def masking_number(value: float) -> float:
    """What Keras compares float32 features with: the float32 nearest to the number given."""
    return float(np.float32(value))


def emit_masking(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Masking."""
    x, number = call.inputs[0], masking_number(spec.number_option("mask_value", 0.0))
    if is_stepwise(ctx, x) and len(x.dims) == 2:
        away = activated(ctx, scaled(ctx, x, 1.0, -number), Activation("abs"))
        counts = activated(ctx, reduced(ctx, away, "max", [1], keep=True), Activation("sign"))
        return [replace(binary(ctx, "mul", x, counts), mask=Mask("flags", counts.value))]
    if x.time != 0 or len(x.dims) != 2:
        raise spec.error("its input is not a sequence")
    mask = Mask("values", x.value, number)
    return [replace(x, value=ctx.graph.apply_mask(x.value, ctx.mask(mask, spec)), mask=mask)]


def emit_dense(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Dense: over the last axis, whatever comes before it."""
    roles = ("kernel", "bias") if spec.flag("use_bias", True) else ("kernel",)
    arrays = weights.take(roles, str(spec))
    units, kernel = spec.size("units"), arrays["kernel"]
    if kernel.ndim != 2 or kernel.shape[1] != units:
        raise spec.error(f"kernel has shape {kernel.shape}, expected (inputs, {units})")
    kernel = with_lora(spec, weights, kernel, "kernel")
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
    x, places = call.inputs[0], places_of(spec.config.get("axis", -1), len(call.inputs[0].dims))
    if (given := call.options.get("given_mask")) is not None:
        if not isinstance(given, Tensor) or len(given.dims) != len(x.dims):
            raise spec.error("its mask is not an array with its input's axes, which is not supported")
        true: Tensor = as_truth(ctx, spec, given)
        x = binary(ctx, "add", binary(ctx, "mul", x, true), scaled(ctx, true, _FAR, -_FAR))
        y = softmax(ctx, x, places)
        return [binary(ctx, "mul", y, true) if spec.keras.number >= ZEROS_SINCE else y]
    if call.run_mask is not None:
        raise spec.error("a Softmax layer under a mask is not supported (its softmax would be masked)")
    return [softmax(ctx, x, places)]


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
