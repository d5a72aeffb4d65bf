"""What a row of the table of layers is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..weights import Weights


class Emitter(Protocol):
    """Adds a layer to the graph: gives its outputs."""

    def __call__(self, ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]: ...


#: A layer that has one input, one output and no weights.
Move = Callable[[Context, LayerSpec, Tensor], Tensor]

#: What becomes of the mask of the input: the outputs have it, have none, or the emitter says.
KEEPS, DROPS, SAYS = "keeps", "drops", "says"


@dataclass(frozen=True)
class Layer:
    """One class of Keras's.

    Attributes:
        emit: adds it to the graph.
        options: of the configuration, beside those that are harmless; the emitter reads them.
        mask: one of :data:`KEEPS`, :data:`DROPS` and :data:`SAYS`.
        several: is it called with a list of inputs?
    """

    emit: Emitter
    options: tuple[str, ...] = ()
    mask: str = DROPS
    several: bool = False


def simple(function: Move) -> Emitter:
    """The emitter of a layer with one input, one output and no weights."""

    def emit(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
        return [function(ctx, spec, call.inputs[0])]

    return emit
