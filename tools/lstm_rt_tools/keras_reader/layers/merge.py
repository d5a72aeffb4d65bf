"""Layers that put several arrays together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from lstm_rt.graph import Activation

from ..arith import binary, normalized
from ..arrays import expanded, joined, place_of
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from ..masks import combined, on_steps_of
from ..scores import multiplied, settled
from ..weights import Weights
from .row import Emitter

_LEAST = 1e-7  #: of a norm that is divided by: Keras's epsilon


def merging(op: str, most: int | None = None) -> Emitter:
    """The emitter of a layer that is an operator between all its inputs."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        count = len(call.inputs)
        if count < 2 or (most is not None and count > most):
            raise spec.error(f"it is called with {count} inputs, expected {'two' if most else 'at least two'}")
        masks = [t.mask for t in call.inputs]
        if any(masks) and not spec.keras.complete:
            ctx.note(f"{spec}: masks are merged as by Keras 3.4 and later; the architecture does not tell its version")
        mask = _merged_mask(ctx, spec, masks)
        rank = max(len(t.dims) for t in call.inputs)
        inputs = [reduce(lambda t, _: expanded(t, 0), range(rank - len(t.dims)), t) for t in call.inputs]
        if spec.keras.number >= (3, 4) and any(masks) and op in _MASKED:
            return [replace(_MASKED[op](ctx, spec, op, inputs, mask), mask=mask)]
        return [replace(_merged(ctx, op, inputs), mask=mask)]

    return emit


def _merged(ctx: Context, op: str, inputs: Sequence[Tensor]) -> Tensor:
    if op != "average":
        return reduce(lambda a, b: binary(ctx, op, a, b), inputs)
    if len(inputs) == 2 and inputs[0].features == inputs[1].features and inputs[0].time == inputs[1].time:
        return binary(ctx, op, *inputs)
    total = _merged(ctx, "add", inputs)
    size = math.prod(total.features)
    scale, zero, one = (np.full(size, n, np.float32) for n in (1 / len(inputs), 0.0, 1.0))
    return replace(total, value=ctx.graph.batchnorm(total.value, zero, one, scale, None, 0.0))


def _merged_mask(ctx: Context, spec: LayerSpec, masks: Sequence[Mask | None]) -> Mask | None:
    """The mask of a merged value; a mask of ones is no mask."""
    present = list(dict.fromkeys(m for m in masks if m is not None))
    # Keras 2 takes what all masks let through, Keras 3 what any of them does.
    ors = spec.keras.number >= (3, 4) or (spec.keras.major >= 3 and spec.class_name == "Concatenate")
    if not present or (ors and None in masks):
        return None
    return combined(ctx, spec, present, "maximum" if ors else "mul")


def _masked_product(ctx: Context, spec: LayerSpec, op: str, inputs: Sequence[Tensor], mask: Mask | None) -> Tensor:
    """Keras >= 3.4: masked steps of an input count as 1, and the product as 0 where all inputs are masked."""
    if len({t.mask for t in inputs}) > 1:
        inputs = [t if t.mask is None else _where(ctx, spec, t.mask, t, _ones(ctx, t)) for t in inputs]
    out = _merged(ctx, op, inputs)
    return out if mask is None else _where(ctx, spec, mask, out, None)


def _masked_extreme(ctx: Context, spec: LayerSpec, op: str, inputs: Sequence[Tensor], mask: Mask | None) -> Tensor:
    """Keras >= 3.4: a masked step counts as what the others give, the first input's where all are masked."""
    if len({t.mask for t in inputs}) > 1:
        raise spec.error("inputs of which only some are masked are not supported")
    assert mask is not None
    return _where(ctx, spec, mask, _merged(ctx, op, inputs), inputs[0])


_MASKED: dict[str, Callable[[Context, LayerSpec, str, Sequence[Tensor], Mask | None], Tensor]] = {
    "mul": _masked_product,
    "maximum": _masked_extreme,
    "minimum": _masked_extreme,
}


def _ones(ctx: Context, like: Tensor) -> Tensor:
    value = ctx.graph.activation(ctx.graph.slice(like.value, 0, 1), Activation("clip", alpha=1.0, beta=1.0))
    return replace(like, value=value, dims=tuple(n if i == like.time else 1 for i, n in enumerate(like.dims)))


def _where(ctx: Context, spec: LayerSpec, mask: Mask, x: Tensor, other: Tensor | None) -> Tensor:
    """``x`` at the steps that count, else ``other``, or 0."""
    own = on_steps_of(ctx, mask, x) if x.time == 0 else None
    if own is None:
        raise spec.error("its mask counts other steps than its inputs have, which is not supported")
    steps = ctx.mask(own, spec)
    kept = replace(x, value=ctx.graph.apply_mask(x.value, steps))
    if other is None:
        return kept
    hidden = replace(other, value=ctx.graph.apply_mask(other.value, steps))
    return binary(ctx, "add", kept, binary(ctx, "sub", other, hidden))


def emit_concatenate(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Concatenate along any axis but the batch's."""
    if len(call.inputs) < 2:
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected at least two")
    axis = place_of(spec.config.get("axis", -1), len(call.inputs[0].dims))
    masks = [t.mask for t in call.inputs]
    out = joined(ctx, call.inputs, axis)
    if any(masks) and axis != len(out.dims) - 1:  # that of an input without one counts all its steps
        return [replace(out, mask=Mask("unknown", why=f"joins those of several inputs of {spec}"))]
    return [replace(out, mask=_merged_mask(ctx, spec, masks))]


def emit_dot(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Dot: sums of products along an axis of each of two inputs."""
    if len(call.inputs) != 2:
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected two")
    a, b = call.inputs
    axes = spec.required("axes")
    pair = axes if isinstance(axes, list | tuple) else [axes, axes]
    if len(pair) != 2:
        raise spec.error(f"option axes is {axes!r:.60}, expected one axis or two")
    first, second = place_of(pair[0], len(a.dims)), place_of(pair[1], len(b.dims))
    if spec.flag("normalize", False):
        a, b = settled(ctx, a), settled(ctx, b)
        a, b = normalized(ctx, a, [first], _LEAST), normalized(ctx, b, [second], _LEAST)
    out = multiplied(ctx, a, b, (first, second))
    return [out if out.dims else expanded(out, 0)]
