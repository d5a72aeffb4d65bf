"""Keras layers other than the recurrent ones -> nodes of a graph, and the table of all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .build import Call, Context, Mask, Tensor
from .config import ACTIVATION_LAYERS, INSTEAD, LayerSpec, plain
from .rnn import RECURRENT, emit_bidirectional, emit_recurrent
from .weights import Weights

#: Layers that do nothing at inference, and pass on the mask.
_NOTHING = (
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
)
#: Layers that make numbers of raw data; they come before the part of a model that is a network.
_PREPARATIONS = (
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "Normalization",
    "Rescaling",
    "StringLookup",
)
MERGE = {"Add": "add", "Multiply": "mul", "Average": "average", "Concatenate": "concat"}

Emitter = Callable[[Context, LayerSpec, Weights, Call], list[Tensor]]


def emit_layer(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Add a layer to the graph; returns its outputs.

    Raises:
        ConvertError: the layer or one of its options is not supported; it is named.
    """
    check_known(spec)
    if spec.class_name not in MERGE and len(call.inputs) != 1:
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected one")
    other = spec.other_float()
    if other is not None:
        ctx.note(f"{spec}: computed in {other} in Keras, here in float32")
    return _EMITTERS[spec.class_name](ctx, spec, weights, call)


def check_known(spec: LayerSpec) -> None:
    """Raise unless the layer is of a class that can be converted.

    Raises:
        ConvertError: naming the layer and what to do without it.
    """
    if spec.class_name in _EMITTERS:
        return
    if ">" in spec.class_name:
        raise spec.own_class(repr(spec.class_name))
    raise spec.error(f"this layer is not supported; {_instead(spec)}")


def _instead(spec: LayerSpec) -> str:
    """What to do about a layer that cannot be converted."""
    if spec.class_name == "Lambda":
        return "its function is code, which is never run; write it with layers of Keras's own"
    if spec.class_name.endswith("Vectorization") or spec.class_name in _PREPARATIONS:
        return "do this step before the model, and convert the model that starts behind it"
    return f"{INSTEAD}; known layers: {', '.join(sorted(_EMITTERS))}"


def _same(call: Call, value: int) -> list[Tensor]:
    return [Tensor(value, call.pass_mask)]


def _emit_nothing(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(())
    return _same(call, call.value)


def _emit_embedding(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("input_dim", "output_dim", "mask_zero"))
    table = weights.take(("embeddings",), str(spec))["embeddings"]
    expected = (spec.size("input_dim"), spec.size("output_dim"))
    if table.shape != expected:
        raise spec.error(f"embeddings have shape {table.shape}, expected {expected}")
    mask = Mask("ids", call.value, 0) if spec.flag("mask_zero", False) else None
    return [Tensor(ctx.graph.embedding(call.value, table), mask)]


def masking_number(value: float) -> float:
    """What Keras compares float32 features with: the float32 nearest to the number given."""
    return float(np.float32(value))


def _emit_masking(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("mask_value",))
    if ctx.rank(call.value) != 3:
        raise spec.error("its input is not a sequence")
    mask = Mask("values", call.value, masking_number(spec.number_option("mask_value", 0.0)))
    return [Tensor(ctx.graph.apply_mask(call.value, ctx.mask(mask, spec)), mask)]


def _emit_dense(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("units", "activation", "use_bias"))
    roles = ("kernel", "bias") if spec.flag("use_bias", True) else ("kernel",)
    arrays = weights.take(roles, str(spec))
    units, kernel = spec.size("units"), arrays["kernel"]
    if kernel.ndim != 2 or kernel.shape[1] != units:
        raise spec.error(f"kernel has shape {kernel.shape}, expected (inputs, {units})")
    value = ctx.graph.dense(call.value, kernel.T, arrays.get("bias"), spec.activation("activation"))
    return _same(call, value)


def _emit_activation(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    activation = spec.activation_layer(ctx.rank(call.value))
    if spec.class_name == "Softmax" and call.run_mask is not None:
        raise spec.error("a Softmax layer under a mask is not supported (its softmax would be masked)")
    return _same(call, ctx.graph.activation(call.value, activation))


def _emit_layer_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("axis", "epsilon", "center", "scale"))
    spec.last_axis(ctx.rank(call.value))
    roles = _scale_roles(spec)
    arrays = weights.take(roles, str(spec))
    eps = spec.number_option("epsilon", 1e-3)
    return _same(call, ctx.graph.layernorm(call.value, arrays.get("gamma"), arrays.get("beta"), eps))


def _emit_batch_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("axis", "epsilon", "center", "scale"))
    spec.last_axis(ctx.rank(call.value))
    arrays = weights.take((*_scale_roles(spec), "moving_mean", "moving_variance"), str(spec))
    value = ctx.graph.batchnorm(
        call.value,
        arrays["moving_mean"],
        arrays["moving_variance"],
        arrays.get("gamma"),
        arrays.get("beta"),
        spec.number_option("epsilon", 1e-3),
    )
    return _same(call, value)


def _scale_roles(spec: LayerSpec) -> tuple[str, ...]:
    gamma = ("gamma",) if spec.flag("scale", True) else ()
    return (*gamma, "beta") if spec.flag("center", True) else gamma


def _emit_time_distributed(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    spec.check_options(("layer",))
    inner = spec.sublayer("layer")
    if inner.class_name not in _STEPWISE:
        raise spec.error(
            f"around a {plain(inner.class_name)} is not supported; known: {', '.join(sorted(_STEPWISE))}"
        )
    if ctx.rank(call.value) != 3:
        raise spec.error("its input is not a sequence")
    # The layer inside sees single steps, so its last axis is number 1.
    axis = inner.config.get("axis")
    if axis in (1, [1]):
        inner = replace(inner, config={**inner.config, "axis": -1})
    elif axis not in (None, -1, [-1]):
        raise inner.error(f"option axis={axis!r}: only the last axis, the features, is supported")
    return emit_layer(ctx, inner, weights.child("layer", (inner.name,)), call)


# -- merging ----------------------------------------------------------------------------------------


def _emit_merge(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    concat = spec.class_name == "Concatenate"
    spec.check_options(("axis",) if concat else ())
    values = [t.value for t in call.inputs]
    if len(values) < 2:
        raise spec.error(f"it is called with {len(values)} inputs, expected at least two")
    if concat:
        spec.last_axis(ctx.rank(values[0]))
    ctx.same_axis(values)
    out = merge_values(ctx, MERGE[spec.class_name], values)
    masks = [t.mask for t in call.inputs]
    if any(masks) and not spec.keras.complete:
        ctx.note(f"{spec}: masks are merged as Keras 3.4 and later do it; the architecture does not tell its version")
    mask = _merged_mask(spec, masks)
    if spec.class_name == "Multiply" and spec.keras.number >= (3, 4):
        out = _masked_product(ctx, spec, call, out, mask)
    return [Tensor(out, mask)]


def merge_values(ctx: Context, op: str, values: Sequence[int]) -> int:
    """Any number of values through the graph's two-sided ops."""
    graph = ctx.graph
    if op == "concat":
        while len(values) > 6:
            values = [graph.concat(*values[:6]), *values[6:]]
        return graph.concat(*values)
    if op == "average" and len(values) != 2:
        total = merge_values(ctx, "add", values)
        size = graph.values[total].size
        scale = np.full(size, 1 / len(values), dtype=np.float32)
        zero, one = np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.float32)
        return graph.batchnorm(total, zero, one, scale, None, 0.0)
    out = values[0]
    for value in values[1:]:
        out = graph.binary(op, out, value)
    return out


def _merged_mask(spec: LayerSpec, masks: list[Mask | None]) -> Mask | None:
    """The mask of a merged value; a mask of ones is no mask."""
    present = list(dict.fromkeys(m for m in masks if m is not None))
    ors = spec.class_name == "Concatenate" or spec.keras.number >= (3, 4)
    if not present or (ors and None in masks):
        return None
    return (
        present[0] if len(present) == 1 else Mask("unknown", why=f"joins those of several inputs of {spec}")
    )


def _masked_product(ctx: Context, spec: LayerSpec, call: Call, out: int, mask: Mask | None) -> int:
    """Keras >= 3.4: masked steps count as 1, and as 0 where all inputs are masked."""
    masks = {t.mask for t in call.inputs}
    if masks == {None}:
        return out
    if len(masks) > 1 or mask is None:
        raise spec.error("multiplying inputs with different masks is not supported")
    return ctx.graph.apply_mask(out, ctx.mask(mask, spec))


#: Layers that act on each step alone, so TimeDistributed changes nothing.
_STEPWISE: dict[str, Emitter] = {
    "Dense": _emit_dense,
    "LayerNormalization": _emit_layer_normalization,
    "BatchNormalization": _emit_batch_normalization,
    **dict.fromkeys(ACTIVATION_LAYERS, _emit_activation),
    **dict.fromkeys(_NOTHING, _emit_nothing),
}
_EMITTERS: dict[str, Emitter] = {
    **_STEPWISE,
    "Embedding": _emit_embedding,
    "Masking": _emit_masking,
    "TimeDistributed": _emit_time_distributed,
    "Bidirectional": emit_bidirectional,
    **dict.fromkeys(RECURRENT, emit_recurrent),
    **dict.fromkeys(MERGE, _emit_merge),
}
