"""Masks as numbers and numbers as masks, and what several masks say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from .arith import activated, binary, limited, scaled
from .arrays import expanded, is_stepwise, timed
from .build import Compare, Context, Filled, Flow, Mask, Spread, Tensor, Truth
from .config import LayerSpec


def as_truth(ctx: Context, spec: LayerSpec, flow: Flow) -> Truth:
    """1 where a mask, or a part of one, is true, else 0.

    Raises:
        ConvertError: no sequence of numbers that runs over the steps of a mask has been made yet.
    """
    match flow:
        case Spread(mask=mask):
            found: Tensor = as_truth(ctx, spec, mask)
            found = expanded(found, len(found.dims))
        case Filled(true=true, like=like):
            number = 1.0 if true else 0.0
            found = limited(ctx, like, number, number)
        case Compare(tensor=tensor, number=number):
            found = not_zero(ctx, scaled(ctx, tensor, 1.0, -number))
        case Mask() as mask:
            found = _numbers(ctx, spec, mask)
        case Truth() as truth:
            return truth
        case _:
            found = not_zero(ctx, flow)
    return Truth(found.value, found.dims, found.time)


def not_zero(ctx: Context, t: Tensor) -> Tensor:
    """1 for each number that is not 0, else 0."""
    return activated(ctx, activated(ctx, t, Activation("sign")), Activation("abs"))


def _numbers(ctx: Context, spec: LayerSpec, mask: Mask) -> Tensor:
    graph = ctx.graph
    if ctx.is_within(mask):
        flags, source = ctx.flags(mask, spec), graph.values[mask.source]
        size, steps = graph.values[flags].size, (ctx.fixed_steps(mask.source),)
        outer = mask.kind == "ids" and source.timed
        return not_zero(ctx, Tensor(flags, (*steps, size) if outer else (size,), 0 if outer else None))
    steps_mask = ctx.mask(mask, spec)
    axis = graph.values[steps_mask].axis
    like = next((i for i, v in enumerate(graph.values) if v.kind == "seq" and v.axis == axis), None)
    if like is None:
        raise spec.error("a mask of token ids is read as numbers before any layer has read the ids")
    ones = graph.activation(graph.slice(like, 0, 1), Activation("clip", alpha=1.0, beta=1.0))
    return Tensor(graph.apply_mask(ones, steps_mask), (ctx.fixed_steps(mask.source),), 0)


def as_mask(ctx: Context, spec: LayerSpec, flow: Flow) -> Mask | None:
    """What a layer is given as its mask; None if that counts all steps.

    Raises:
        GraphError: it is none of steps.
    """
    if isinstance(flow, Mask) or flow == Filled(True):
        return flow if isinstance(flow, Mask) else None
    if not isinstance(flow, Tensor):
        flow = as_truth(ctx, spec, flow)
    if len(flow.dims) != 1:
        raise GraphError(f"it has shape {['batch', *flow.dims]}, expected batch and steps")
    if ctx.graph.values[flow.value].kind == "ids":
        return Mask("ids", flow.value)
    return Mask("flags", flow.value) if is_stepwise(ctx, flow) else Mask("values", timed(ctx, flow).value)


def on_steps_of(ctx: Context, mask: Mask, x: Tensor) -> Mask | None:
    """The mask of a sequence on its own time axis; None if it counts other steps.

    Raises:
        ~.build.AxesMeetError: their inputs must share a time axis; the reader starts again.
    """
    if mask.source < 0 or ctx.share_axis((x.value, mask.source)):
        return mask
    if mask.kind != "values" or x.steps is None:
        return None
    return replace(mask, source=ctx.graph.align(mask.source, ctx.graph.values[x.value].axis))


def combined(ctx: Context, spec: LayerSpec, masks: Sequence[Mask], how: str) -> Mask:
    """What all masks count (``mul``), or any of them does (``maximum``)."""
    masks = list(dict.fromkeys(masks))
    unknown = [m for m in masks if m.kind == "unknown"]
    if unknown or len(masks) == 1:
        return (unknown or masks)[0]
    numbers: list[Tensor] = [as_truth(ctx, spec, m) for m in masks]
    mask = as_mask(ctx, spec, reduce(lambda a, b: binary(ctx, how, a, b), numbers))
    assert mask is not None
    return mask
