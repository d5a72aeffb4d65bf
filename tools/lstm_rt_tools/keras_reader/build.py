"""What the Keras reader carries along while it builds a graph: values, masks, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lstm_rt.graph import Graph

from ..weights.budget import Budget
from .config import KerasVersion, LayerSpec

_LAYER_STEPS = 100  #: to read, write and check one layer
_LAYER = 5000  #: bytes of the objects of one


@dataclass(frozen=True)
class Mask:
    """Which steps count. It becomes a node of the graph only when a layer reads it.

    ``kind`` is ``ids`` (the id differs from ``number``), ``values`` (any feature does) or
    ``unknown``, a mask that the graph cannot express; ``why`` then says where it comes from.
    """

    kind: str
    source: int = -1
    number: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph with the mask that Keras attaches to it."""

    value: int
    mask: Mask | None = None


@dataclass(frozen=True)
class Compare:
    """``source != number`` for each feature: one half of a Masking layer's mask."""

    source: int
    number: float


@dataclass(frozen=True)
class Spread:
    """A mask repeated over all features, as Keras spells out the masks of concatenated inputs."""

    mask: Mask


@dataclass(frozen=True)
class Filled:
    """A constant of the shape of a sequence, true or false everywhere; part of the same spelling."""

    true: bool


#: What flows between Keras layers.
Flow = Tensor | Mask | Compare | Spread | Filled


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    ``run_mask`` is the mask the layer works with, ``pass_mask`` the one it hands on: Keras 3 does
    not give a layer called with initial states the mask of its input, yet hands that mask on.
    """

    inputs: tuple[Tensor, ...]
    initial_state: tuple[Tensor, ...] = ()
    run_mask: Mask | None = None
    pass_mask: Mask | None = None

    @property
    def value(self) -> int:
        """The first input."""
        return self.inputs[0].value


class AxesMeetError(Exception):
    """Two sequences that must have the same steps came from different inputs."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)
        self.groups = (a, b)


@dataclass
class Context:
    """The graph under construction."""

    graph: Graph
    keras: KerasVersion
    #: For each input so far known to share its time axis: the first input on that axis.
    groups: dict[int, int] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)  #: of the file
    notes: list[str] = field(default_factory=list)
    _masks: dict[Mask, int] = field(default_factory=dict)
    _axes: dict[int, int] = field(default_factory=dict)
    _charged: int = 0  #: nodes whose weights have been charged

    def note(self, text: str) -> None:
        """Remember a fact for ``graph.meta["notes"]``."""
        if text not in self.notes:
            self.notes.append(text)

    def charge(self) -> None:
        """Charge one more layer, and the weights that the layers before it have put into the graph.

        A layer that is called often has its weights in the graph as often, and a model that is called
        twice within one that is called twice is there four times.
        """
        self.budget.steps(_LAYER_STEPS)
        new = self.graph.nodes[self._charged :]
        self.budget.memory(_LAYER + sum(w.nbytes for n in new for w in n.weights.values()), "the calls of its layers")
        self._charged = len(self.graph.nodes)

    def input(self, name: str, kind: str, size: int = 0) -> int:
        """Declare a graph input, on the time axis of the inputs it meets later."""
        group = self.groups.get(len(self.graph.inputs), len(self.graph.inputs))
        value = self.graph.input(name, kind, size, axis=self._axes.get(group))
        if kind != "vec":
            self._axes[group] = self.graph.values[value].axis
        return value

    def mask(self, mask: Mask, spec: LayerSpec) -> int:
        """The graph value of a mask that the layer ``spec`` reads."""
        if mask.kind == "unknown":
            raise spec.error(f"its mask {mask.why}, which is not supported")
        if mask not in self._masks:
            if mask.kind == "ids":
                self._masks[mask] = self.graph.mask_ids(mask.source, int(mask.number))
            else:
                self._masks[mask] = self.graph.mask_values(mask.source, mask.number)
        return self._masks[mask]

    def rank(self, value: int) -> int:
        """Rank of the Keras tensor behind a value."""
        return 3 if self.graph.values[value].kind == "seq" else 2

    def same_axis(self, values: Sequence[int]) -> None:
        """Make sure that all sequences among ``values`` run over the same steps.

        Raises:
            AxesMeetError: they do not yet; the reader starts again with their inputs on one time axis.
        """
        axes = [v.axis for v in (self.graph.values[i] for i in values) if v.kind in ("seq", "ids")]
        group_of = {axis: group for group, axis in self._axes.items()}
        for axis in axes[1:]:
            if axis != axes[0]:
                raise AxesMeetError(group_of[axes[0]], group_of[axis])
