"""What the Keras reader carries along while it builds a graph: values, masks, notes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lstm_rt.graph import Axis, Graph

from ..weights.budget import Budget
from .config import KerasVersion, LayerSpec
from .weights import Weights

_LAYER_STEPS = 100  #: to read, write and check one layer
_LAYER = 5000  #: bytes of the objects of one


@dataclass(frozen=True)
class Mask:
    """Which steps count. It becomes a node of the graph only when a layer reads it.

    ``kind`` is ``ids`` (the id differs from ``number``), ``values`` (any feature does), ``flags`` (of the elements
    of each step, those that are not 0 count) or ``unknown``, a mask that the graph cannot express; ``why`` then says
    where it comes from.
    """

    kind: str
    source: int = -1
    number: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Tensor:
    """An array of Keras's: a value of the graph, and what its axes are.

    ``dims`` are the sizes of its axes without the batch's, None where a size is free. The steps of the
    value are the axis ``time``; its features are the other axes, row by row in their order. Without
    ``time`` the value is a vec, or within TimeDistributed the steps of a seq, which act as rows then.
    """

    value: int
    dims: tuple[int | None, ...]
    time: int | None = None
    mask: Mask | None = None

    @property
    def features(self) -> tuple[int, ...]:
        """The sizes of the axes that are the features of the value."""
        return tuple(n for i, n in enumerate(self.dims) if i != self.time and n is not None)

    @property
    def steps(self) -> int | None:
        """The size of the axis that is the time axis; None if it is free."""
        return None if self.time is None else self.dims[self.time]


@dataclass(frozen=True)
class Scores(Tensor):
    """How the steps of two sequences fit, each with each: attention written by hand, whose numbers are not made yet.

    ``dims`` are the steps of the query and of the key, and there is no value.
    """

    query: Tensor | None = None
    key: Tensor | None = None
    scale: float = 1.0
    soft: bool = False  #: have they been through a softmax over the steps of the key?


@dataclass(frozen=True)
class Truth(Tensor):
    """What a comparison gives: 1 where it is true, else 0."""


@dataclass(frozen=True)
class Whole(Tensor):
    """Whole numbers from 0 on, such as places; they may be looked up in tables."""


@dataclass(frozen=True)
class Compare:
    """``tensor != number`` for each feature: one half of a Masking layer's mask."""

    tensor: Tensor
    number: float


@dataclass(frozen=True)
class Spread:
    """A mask repeated over all features, as Keras spells out the masks of concatenated inputs."""

    mask: Mask


@dataclass(frozen=True)
class Filled:
    """A constant of the shape of a sequence, true or false everywhere; part of the same spelling."""

    true: bool
    like: Tensor = field(default=Tensor(-1, ()), compare=False)


Dims = tuple[int | None, ...]

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
    options: Mapping[str, Any] = field(default_factory=dict)  #: further arguments

    @property
    def value(self) -> int:
        """The first input."""
        return self.inputs[0].value


class AxesMeetError(Exception):
    """Two sequences that must have the same steps came from different inputs."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)
        self.groups = (a, b)


class TimeWantedError(Exception):
    """Another axis of an input is to be its time axis."""

    def __init__(self, index: int, axis: int) -> None:
        super().__init__(index, axis)
        self.index, self.axis = index, axis


@dataclass
class Choices:
    """What is known of the inputs only when their readers have been seen; the graph is built again then."""

    #: For each input so far known to share its time axis: the first input on that axis.
    groups: dict[int, int] = field(default_factory=dict)
    #: For each input of which a reader tells: the axis of its array that is its time axis.
    times: dict[int, int] = field(default_factory=dict)

    def join(self, meeting: AxesMeetError) -> None:
        """Two groups are one."""
        first, second = sorted(meeting.groups)
        old = {i: self.groups.get(i, i) for i in range(max([*self.groups, second]) + 1)}
        self.groups = {i: first if group == second else group for i, group in old.items()}


def no_layer(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """What runs layers in layers before a model is read."""
    raise spec.error("a layer in a layer")


@dataclass
class Context:
    """The graph under construction."""

    graph: Graph
    keras: KerasVersion
    choices: Choices = field(default_factory=Choices)
    budget: Budget = field(default_factory=Budget)  #: of the file
    notes: list[str] = field(default_factory=list)
    #: Adds a layer, or a model that is one: for layers around others.
    run_layer: Callable[[Context, LayerSpec, Weights, Call], list[Tensor]] = no_layer
    _masks: dict[Mask, int] = field(default_factory=dict)
    _axes: dict[int, int] = field(default_factory=dict)
    _inputs: dict[int, Tensor] = field(default_factory=dict)  #: by their values
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

    # -- inputs ---------------------------------------------------------------------------------

    def input(self, name: str, dims: tuple[int | None, ...], ids: bool = False) -> Tensor:
        """Declare a graph input, on the time axis of the inputs it meets later.

        ``dims`` has at most one free size, which then is the time; of others the first of two axes is, unless
        a reader wanted another one.
        """
        index = len(self.graph.inputs)
        free = [i for i, n in enumerate(dims) if n is None]
        usual = 0 if len(dims) == 2 or (ids and dims) else None
        time = free[0] if free else self.choices.times.get(index, usual)
        tensor = Tensor(-1, dims, time)
        group = self.choices.groups.get(index, index)
        kind = "ids" if ids else "vec" if time is None else "seq"
        size = 0 if ids and not tensor.features else math.prod(tensor.features)
        axis = (-1 if ids else None) if time is None else self._axes.get(group)
        value = self.graph.input(name, kind, size, axis=axis, **self.port(tensor, ids))
        if time is not None:
            self._axes[group] = self.graph.values[value].axis
        self._inputs[value] = replace(tensor, value=value)
        return self._inputs[value]

    @staticmethod
    def port(t: Tensor, ids: bool = False) -> dict[str, Any]:
        """How an input or output is declared whose array has the axes of this tensor."""
        if (len(t.dims), t.time) in ((1 if ids else 2, 0), (2, 0)) or (t.time is None and len(t.dims) == (not ids)):
            return {}
        dims = ("N", *("T" if i == t.time else n for i, n in enumerate(t.dims)))
        return {"order": "shaped", "dims": dims}

    def fixed_steps(self, value: int) -> int | None:
        """How many steps an input has, where the model fixes them; None for other values."""
        return self._inputs[value].steps if value in self._inputs else None

    def want_time(self, t: Tensor, axis: int) -> None:
        """Say that an axis is to be the time axis, which an input can have from the start.

        Raises:
            TimeWantedError: the tensor is such an input.
        """
        if self._inputs.get(t.value) != replace(t, mask=None) or self.graph.values[t.value].kind == "ids":
            return
        index = self.graph.inputs.index(t.value)
        if None not in t.dims and index not in self.choices.times:
            raise TimeWantedError(index, axis)

    # -- masks ----------------------------------------------------------------------------------

    def mask(self, mask: Mask, spec: LayerSpec) -> int:
        """The graph value of a mask that the layer ``spec`` reads."""
        if mask.kind == "unknown":
            raise spec.error(f"its mask {mask.why}, which is not supported")
        if self.is_within(mask):
            raise spec.error("its mask is of several elements of a step, which is not supported")
        if mask not in self._masks:
            if mask.kind == "ids":
                self._masks[mask] = self.graph.mask_ids(mask.source, int(mask.number))
            else:
                self._masks[mask] = self.graph.mask_values(mask.source, mask.number)
        return self._masks[mask]

    def is_within(self, mask: Mask | None) -> bool:
        """Whether a mask says which elements of each step count, not which steps."""
        if mask is None or mask.kind not in ("ids", "flags"):
            return False
        return mask.kind == "flags" or self.graph.values[mask.source].size > 0

    def flags(self, mask: Mask, spec: LayerSpec) -> int:
        """A number for each element of a step that is 0 where the mask hides it; see :meth:`is_within`."""
        if mask.kind == "flags":
            return mask.source
        if mask not in self._masks:
            read_by = (n for n in self.graph.nodes if n.op == "embedding" and n.inputs[0] == mask.source)
            rows = next((len(n.weights["table"]) for n in read_by), 0)
            if not 0 <= mask.number < rows:
                raise spec.error("a mask of token ids is read before any layer has read the ids")
            table = np.ones((rows, 1), np.float32)
            table[int(mask.number)] = 0.0
            self._masks[mask] = self.graph.embedding(mask.source, table)
        return self._masks[mask]

    # -- time axes ------------------------------------------------------------------------------

    def share_axis(self, values: Sequence[int]) -> bool:
        """Whether all sequences among ``values`` run over the same time axis.

        Raises:
            AxesMeetError: they would if their inputs did; the reader starts again with these on one time axis.
        """
        axes = [v.axis for v in (self.graph.values[i] for i in values) if v.kind in ("seq", "ids", "mask")]
        group_of = {axis: group for group, axis in self._axes.items()}
        for axis in axes[1:]:
            if axis == axes[0]:
                continue
            (a, derived), (b, alike) = self._origin(axes[0]), self._origin(axis)
            if a == b or derived != alike or a not in group_of or b not in group_of:
                return False
            raise AxesMeetError(group_of[a], group_of[b])
        return True

    def _origin(self, axis: int) -> tuple[int, list[Axis]]:
        """The axis that an axis is derived from in the end, and how."""
        rules: list[Axis] = []
        while (parent := self.graph.axes[axis].parent) is not None:
            rules.append(replace(self.graph.axes[axis], parent=None))
            axis = parent
        return axis, rules
