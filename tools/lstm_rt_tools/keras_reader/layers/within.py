"""Recurrent layers within the steps of another sequence, as over the characters of each word."""

from __future__ import annotations

from dataclasses import dataclass

from ...arch import within
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from .cells import Cell, Recurrent

_MOST_INNER = 256  #: for each of which there is a node where all of them are an output


@dataclass(frozen=True)
class Within:
    """The steps within the steps of a layer's input, and the mask of them."""

    steps: within.Inner
    mask: int | None
    passed: Mask | None


def laid_out(ctx: Context, spec: LayerSpec, call: Call, backwards: bool) -> Within:
    """The steps within the steps of a layer's input, one after the other in the order in which it reads them.

    Raises:
        ConvertError: the input has other axes than steps and features, or the layer is called with initial states.
    """
    x, graph = call.inputs[0], ctx.graph
    if len(x.dims) != 2 or x.dims[0] is None:
        raise spec.error(f"its input has shape {('batch', *x.dims)}, expected (batch, steps, features)")
    if call.initial_state:
        raise spec.error("initial states are not supported within TimeDistributed")
    count, mask = x.dims[0], None

    def ordered(value: int) -> int:
        return within.backwards(graph, value, count) if backwards else value

    if call.run_mask is not None:
        if not ctx.is_within(call.run_mask):
            raise spec.error("a mask of the steps around it is not supported within TimeDistributed")
        mask = graph.mask_values(within.one_by_one(graph, ordered(ctx.flags(call.run_mask, spec)), count, 1.0))
    return Within(within.laid_out(graph, ordered(x.value), count), mask, call.pass_mask)


def run(ctx: Context, layer: Recurrent, inner: Within, zero_masked: bool) -> Tensor:
    """A layer's output within each outer step: its last one, or all of them in the order in which it makes them."""
    if layer.states:
        raise layer.spec.error("states as outputs are not supported within TimeDistributed")
    steps = inner.steps
    for cell in layer.cells:
        steps = within.run(
            ctx.graph,
            steps,
            _forgetful(layer.spec, cell),
            hidden_size=cell.units,
            reset_after=cell.reset_after,
            mask=inner.mask,
            zero_masked=zero_masked,
        )
    size, count = layer.cells[-1].units, steps.count
    if not layer.sequences:
        return Tensor(_at(ctx, steps, [count - 1]), (size,))
    if count > _MOST_INNER:
        raise layer.spec.error(
            f"with return_sequences within TimeDistributed it is supported for up to {_MOST_INNER} steps, "
            f"here are {count}"
        )
    return Tensor(_at(ctx, steps, [*range(count)]), (count, size), mask=inner.passed)


def _at(ctx: Context, inner: within.Inner, places: list[int]) -> int:
    """The inner steps at these places of every outer step, side by side."""
    return ctx.graph.align(within.at(ctx.graph, inner, places), inner.outer)


def _forgetful(spec: LayerSpec, cell: Cell) -> within.Forgetful:
    found = within.forgetful(cell.op, cell.weights, cell.units, cell.activations, cell.reset_after)
    if found is None:
        names = ", ".join(a.name for a in cell.activations)
        raise spec.error(f"within TimeDistributed its activations {names} are not supported")
    return found
