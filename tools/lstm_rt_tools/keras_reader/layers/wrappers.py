"""TimeDistributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..arrays import element, expanded, joined, timed
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import Weights
from .cells import RECURRENT

#: Layers that would take the mask, of one step then, for their own.
_READ_MASKS = (*RECURRENT, "Bidirectional", "Softmax", "GlobalAveragePooling1D")
#: Layers that have steps of their own, which within a step are a second time axis.
_RECURRENT = (*RECURRENT, "Bidirectional", "Masking")
#: Those of them that have no other way than to be there once for each step.
_OVER_TIME = (
    "ConvLSTM1D", "ConvLSTM2D", "Attention", "AdditiveAttention", "MultiHeadAttention",
    "GroupQueryAttention", "GroupedQueryAttention",
)  # fmt: skip
_MOST_STEPS = 64  #: for each of which such a layer is there once more


def emit_time_distributed(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """The layer or model inside, of each step as if it were a row."""
    inner, x = spec.sublayer("layer"), call.inputs[0]
    mask = call.run_mask if ctx.is_within(call.run_mask) else None
    if call.run_mask is not mask and inner.class_name in _READ_MASKS:
        raise spec.error(f"around a {inner.class_name} under a mask is not supported")
    if len(x.dims) < 2:
        raise spec.error("its input is not a sequence")
    inside = weights.child("layer", (inner.name,))
    if _has_any(inner, _OVER_TIME) or (None in x.dims[1:] and _has_any(inner, _RECURRENT)):
        return _each_step(ctx, spec, inner, inside, x)
    x = timed(ctx, x)
    step = Call((Tensor(x.value, x.dims[1:], mask=mask),), run_mask=mask, pass_mask=mask)
    outputs = ctx.run_layer(ctx, inner, inside, step)
    return [replace(t, dims=(x.steps, *t.dims), time=0, mask=None) for t in outputs]


def _has_any(spec: LayerSpec, names: Sequence[str]) -> bool:
    """Whether a layer is of one of these classes, or a model around one."""
    layers = spec.config.get("layers")
    entries = [e for e in layers if isinstance(e, Mapping)] if isinstance(layers, list) else []
    return spec.class_name in names or any(_has_any(spec.part(e), names) for e in entries)


def _each_step(ctx: Context, spec: LayerSpec, inner: LayerSpec, weights: Weights, x: Tensor) -> list[Tensor]:
    """The layer inside once for each step, where it runs over steps of its own."""
    count = x.dims[0]
    if count is None or count > _MOST_STEPS:
        raise spec.error(
            f"around a {inner.class_name} is supported for 1 to {_MOST_STEPS} fixed steps, here are {count or 'any'}: "
            "give the model's Input a number of steps instead of None"
        )
    steps = []
    for i in range(count):
        outputs = ctx.run_layer(ctx, inner, weights, Call((element(ctx, x, 0, i),)))
        steps.append([expanded(t, 0) for t in outputs])
    return [replace(joined(ctx, parts, 0), mask=None) for parts in zip(*steps, strict=True)]


def emit_spectral_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """SpectralNormalization: at inference the layer inside, whose kernel training has normalised."""
    inner = spec.sublayer("layer")
    beside = ("vector_u",) if weights.has("vector_u") else ("kernel", "vector_u")  # archives have the kernel here, too
    weights.take((), str(spec), others=beside)
    return ctx.run_layer(ctx, inner, weights.child("layer", (inner.name,)), call)
