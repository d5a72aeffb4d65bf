"""Loops over time whose body is a recurrent cell, or several, and what stands between them.

The body is run on values that stand for one step, in a graph of its own. In this the cells are looked for
(:mod:`.cells`); they become recurrent layers, and every other node one over sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstm_rt.graph import Graph, Node

from ...arch.layers import side_by_side
from ..labels import Cells, Dims, Feat, Loose, Mask, N, Steps, Turn, apart, cell, free, is_steps
from ..machine import Tensor
from ..masks import plain
from . import convolved
from .algebra import Unknown
from .cells import Cell, find
from .channels import take_apart
from .formulas import put_together

if TYPE_CHECKING:
    from ..labelled import Labelled

#: From states of one step to new states, and results of the step; what it slices it asks :meth:`Recurrence.slice` for.
Step = Callable[[Sequence[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor]]]


@dataclass
class _Slot:
    """A state or slice of the step: its value there, which of its features stand where, and what it is outside.

    ``outer`` has the features as the value has them; None: zero.
    """

    value: int
    dims: Dims
    places: Cells
    outer: Feat | None

    @property
    def cells(self) -> Cells:
        """What stands for it."""
        return cell(self.value, self.places)

    def in_order(self, cells: Cells) -> Cells:
        """What stands where these features do, as the value has them."""
        made = np.empty(self.places.size, np.int64)
        made[self.places.ravel()] = cells.ravel()
        return made


class Recurrence:
    """One loop.

    Args:
        b: the machine; its graph is that of the step while the body runs.
        steps: the axis that the loop goes along.
        backward: from the last step to the first.
    """

    def __init__(self, b: Labelled, steps: Steps, backward: bool = False) -> None:
        self._b, self._steps, self._backward = b, steps, backward
        self._outer, self._captured = b.graph, len(b.graph.values)
        self._slices: dict[tuple[int, int], _Slot] = {}
        self._slots: list[_Slot | None] = []
        self._lifted: dict[int, int] = {}
        self._begun: set[int] = set()  #: values that are being lifted
        self._last: dict[int, int] = {}  #: values of the last states, by the numbers of these
        self._mask: Mask | None = None  #: which steps count, where the body asks that
        self._counts = True  #: what the body is told of the step
        self._zero_masked = False  #: at a step that does not count the results are zero
        self._lost: set[int] = set()  #: states that such a step changes

    def run(self, body: Step, states: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The last states, and the results of all steps along axis 0, in the order of the loop.

        Raises:
            Unknown: the body is no cell.
        """
        self._step = self._new_step()
        with self._b.in_graph(self._step, self):
            first, _ = body(states)
        new, outs = self._inside(body, states, first)
        kept = [k for k, slot in enumerate(self._slots) if slot is not None]
        with self._b.in_graph(self._step, self):
            self._states = [slot for slot in self._slots if slot is not None]
            self._ends = [self._end(self._states[i], new[k]) for i, k in enumerate(kept)]
            labels = [self._feat(t) for t in outs]
            values = [self._b.value(np.unique(x.cells), None, "scan") for x in labels]
        if self._mask is not None:
            step, slices, slots = self._step, dict(self._slices), self._slots
            self._counts = False
            self._passed_over(*self._inside(body, states, first), kept, values)
            self._step, self._slices, self._slots = step, slices, slots
        self._emit()
        finals = list(states)
        for i, k in enumerate(kept):
            lost = Loose("the last result of a loop, or zero", self._states[i].dims)
            finals[k] = Tensor(new[k].data, lost if i in self._lost else self._final(i))
        return finals, [self._result(t, x, v) for t, x, v in zip(outs, labels, values, strict=True)]

    def _inside(
        self, body: Step, states: Sequence[Tensor], first: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The body, in a graph of its own, from values that stand for its states."""
        self._slices.clear()
        self._step = self._new_step()
        self._slots = []
        with self._b.in_graph(self._step, self):
            return body([self._state(s, f) for s, f in zip(states, first, strict=True)])

    def _passed_over(
        self, new: Sequence[Tensor], outs: Sequence[Tensor], kept: Sequence[int], values: Sequence[int]
    ) -> None:
        """A step that does not count has to leave states as they are, and give the result before it, or zero.

        It may change those that no step reads.
        """
        slots = [slot for slot in self._slots if slot is not None]
        self._lost = {i for i, k in enumerate(kept) if not self._is_whole(new[k], slots[i])}
        zero = []
        for out, value in zip(outs, values, strict=True):
            carried = [
                s for s, end in zip(slots, self._ends, strict=True) if end == value and self._is_whole(out, s)
            ]
            if not carried and np.any(out.data):
                raise Unknown("a step that does not count gives a result of its own")
            zero.append(not carried)
        self._zero_masked = any(zero)
        if not all(z is self._zero_masked for z in zero):
            raise Unknown("a step that does not count gives zero and what was before it")

    @staticmethod
    def _is_whole(x: Tensor, slot: _Slot) -> bool:
        """Is it this state?"""
        return isinstance(x.label, Feat) and np.array_equal(x.label.cells.ravel(), slot.cells.ravel())

    def _feat(self, x: Tensor) -> Feat:
        if not isinstance(x.label, Feat) or any(isinstance(a, Steps) for a in free(x.label.dims)):
            raise Unknown("a result of a step that is no features")
        return x.label

    # -- the step -------------------------------------------------------------------------------------

    def _new_step(self) -> Graph:
        """A graph that knows the values outside, so that numbers of values mean one thing."""
        graph = Graph()
        graph.values, graph.axes = list(self._outer.values), list(self._outer.axes)
        return graph

    def _placeholder(self, dims: Dims, places: Cells, outer: Feat | None) -> _Slot:
        return _Slot(self._step.placeholder(int(places.max()) + 1), dims, places, outer)

    def slice(self, x: Tensor, axis: int) -> Tensor:
        """A sequence at the step.

        Raises:
            Unknown: it is none along the axis of the loop.
        """
        label, axis = x.label, axis % x.ndim
        if isinstance(label, Mask) and label.dims[axis] == (self._steps,):
            if self._mask is not None and (self._mask.value, self._mask.inverted) != (label.value, label.inverted):
                raise Unknown("a loop with two masks")
            self._mask = label
            return Tensor(np.full(np.take(x.data, 0, axis).shape, self._counts))
        if not isinstance(label, Feat) or label.dims[axis] != (self._steps,):
            raise Unknown("a loop over something else than steps")
        dims = tuple(d for i, d in enumerate(label.dims) if i != axis)
        if (id(label), axis) not in self._slices:
            distinct, at = np.unique(label.cells, return_inverse=True)
            outer = Feat(((N,), (self._steps,), (distinct.size,)), distinct)
            self._slices[id(label), axis] = self._placeholder(dims, at.reshape(label.cells.shape), outer)
        return Tensor(np.take(x.data, 0, axis), Feat(dims, self._slices[id(label), axis].cells))

    def _state(self, state: Tensor, after: Tensor) -> Tensor:
        """A state before the step; its dimensions are those that it has after one."""
        if after.known:
            return self._counter(state, after)
        label = self._feat(after)
        if int(np.prod([self._b.size_of(a) for d in label.dims for a in d], dtype=int)) != state.data.size:
            raise Unknown("a state that changes its shape")
        outer = state.label.cells if isinstance(state.label, Feat) else None
        data = state.data.reshape(after.shape)
        if outer is None and np.any(data != 0):
            outer = self._b.number_cells(self._b.against(label.dims, data, "scan"))
        slot = self._placeholder(label.dims, _places(label), None)
        if outer is not None:
            slot.outer = Feat(((N,), (slot.places.size,)), slot.in_order(outer))
        self._slots.append(slot)
        return Tensor(data, Feat(label.dims, slot.cells))

    def _counter(self, before: Tensor, after: Tensor) -> Tensor:
        """A state that depends on no input: it counts the steps, or stays as it is."""
        self._slots.append(None)
        if before.known and np.array_equal(before.data, after.data):
            return before
        if before.known and before.dtype.kind in "iu" and before.data.size == 1 and after.data == before.data + 1:
            return Tensor(before.data, Turn(tuple(() for _ in before.shape), -int(before.data.flat[0])))
        raise Unknown("a state that is no features")

    def _end(self, slot: _Slot, new: Tensor) -> int:
        if not isinstance(new.label, Feat) or new.label.dims != slot.dims:
            raise Unknown("a state that changes its dimensions")
        return self._b.value(slot.in_order(new.label.cells), None, "scan")

    def _depends(self) -> dict[int, frozenset[int]]:
        """For each value of the step the states before it that it depends on."""
        states = {s.value for s in self._states}
        found: dict[int, frozenset[int]] = {v: frozenset({v} & states) for v in range(len(self._step.values))}
        for node in self._step.nodes:
            union = frozenset[int]().union(*(found[i] for i in node.inputs if i is not None))
            found.update({o: union for o in node.outputs if o is not None})
        return found

    # -- outside --------------------------------------------------------------------------------------

    def _emit(self) -> None:
        """Make the layers."""
        self._b.folded += put_together(self._step)
        take_apart(self._step)
        old, depends = [s.value for s in self._states], self._depends()
        read = frozenset[int]().union(*(depends[e] for e in self._ends))
        # A state that no step reads carries what another one becomes, past steps that do not count.
        real = [k for k, v in enumerate(old) if v in read or self._states[k].outer is not None]
        if self._lost & set(real):
            raise Unknown("a step that does not count changes a state")
        cells = find(self._step, depends, [old[k] for k in real], [self._ends[k] for k in real])
        for c in cells:
            c.h, c.c = real[c.h], None if c.c is None else real[c.c]
        self._carried = {
            k: c.h for k in range(len(old)) if k not in real for c in cells if self._ends[k] == self._ends[c.h]
        }
        self._makers: Mapping[int, Node] = {o: n for n in self._step.nodes for o in n.outputs if o is not None}
        self._cell_of = {self._ends[c.h]: c for c in cells}
        for c in cells:
            self._lift(self._ends[c.h])

    def _final(self, k: int) -> Feat:
        slot = self._states[k]
        k = self._carried.get(k, k)
        if k not in self._last:
            if slot.outer is None or self._ends[k] != slot.value:
                raise Unknown("a state that stays as it is")
            return Feat(slot.dims, slot.outer.cells[slot.places])
        return Feat(slot.dims, cell(self._last[k], slot.places))

    def _lift(self, value: int) -> int:
        """A value of the step as a sequence outside."""
        if value in self._begun:
            raise Unknown("states that read each other")
        if value not in self._lifted:
            self._begun.add(value)
            self._lifted[value] = self._layer(self._cell_of[value]) if value in self._cell_of else self._make(value)
            self._begun.discard(value)
        return self._lifted[value]

    def _layer(self, c: Cell) -> int:
        if c.op == "convlstm":
            return self._convolved(c)
        parts = []
        for value, start, size in c.x:
            whole = self._lift(value)
            parts.append(whole if size == self._outer.values[whole].size else self._outer.slice(whole, start, size))
        if not parts:
            raise Unknown("a cell that reads nothing")
        options = {**c.options, **self._initial(c)}
        x = side_by_side(self._outer, parts)
        weights: dict[str, Any] = dict(c.weights)
        turned = self._mask is not None and self._backward  # masks cannot be turned around, what they are for can
        if self._mask is not None:
            options |= {"mask": plain(self._b, self._mask).value, "zero_masked": self._zero_masked}
        if turned:
            x, options["direction"] = self._outer.reverse(x), "reverse"
        seq, h, end = self._outer.recurrent(c.op, x, weights, hidden_size=c.hidden_size, **options)
        seq = self._outer.reverse(seq) if turned else seq
        return self._recognised(c, seq, h, end)

    def _initial(self, c: Cell) -> dict[str, int | None]:
        """What the states of a cell are before the first step."""
        slots = {name: None if k is None else self._states[k] for name, k in (("h0", c.h), ("c0", c.c))}
        outer = {name: None if slot is None else slot.outer for name, slot in slots.items()}
        return {name: None if x is None else self._b.features(x, "scan") for name, x in outer.items()}

    def _recognised(self, c: Cell, seq: int, h: int, end: int | None) -> int:
        self._last[c.h] = h
        if c.c is not None and end is not None:
            self._last[c.c] = end
        units = "channels" if c.op == "convlstm" else "units"
        self._b.folded.append(f"a {c.op} of {c.hidden_size} {units} recognised in what a loop does in a step")
        return seq

    def _convolved(self, c: Cell) -> int:
        if self._mask is not None and (self._mask.value is not None or self._mask.inverted):
            raise Unknown("a convlstm that leaves out the steps that a mask does not count")
        return self._recognised(c, *convolved.layer(self._outer, c, self._makers, self._lift, self._initial(c)))

    def _make(self, value: int) -> int:
        slot = next((s for s in self._slices.values() if s.value == value), None)
        if slot is not None and slot.outer is not None:
            seq = self._b.features(slot.outer, "scan")
            return self._outer.reverse(seq) if self._backward else seq
        if value < self._captured:
            return self._b.at_every_step(value, self._steps)
        node = self._makers.get(value)
        if node is None:
            raise Unknown("what a step reads of the state before it")
        inputs = [None if i is None else self._lift(i) for i in node.inputs]
        options: dict[str, Any] = {**node.attrs, **node.weights}
        return self._outer.node(node.op, *inputs, **options)

    def _result(self, step: Tensor, label: Feat, value: int) -> Tensor:
        """What all steps give, stacked along a new axis 0."""
        seq, n = self._lift(value), self._b.steps[self._steps.axis]
        dims = ((self._steps,), *label.dims)
        data = np.broadcast_to(step.data, (n, *step.shape))
        _, at = np.unique(label.cells, return_inverse=True)
        return Tensor(data, Feat(dims, cell(seq, at).reshape(label.cells.shape)))


def _places(label: Feat) -> Cells:
    """Which feature of a state stands where: in the order in which the step makes it, if that is known."""
    value, features = apart(label.cells)
    if np.array_equal(np.sort(features.ravel()), np.arange(features.size)) and len(np.unique(value)) == 1:
        return features
    return np.arange(features.size).reshape(features.shape)


def scanned(
    b: Labelled,
    body: Callable[..., Any],
    states: Sequence[Tensor],
    xs: Sequence[Tensor],
    axes: Sequence[int],
    backward: Sequence[bool],
) -> tuple[list[Tensor], list[Tensor]] | None:
    """A scan along steps; None if it goes along features, or both ways at once."""
    steps = {
        x.label.dims[a % x.ndim] if isinstance(x.label, Feat | Mask) else () for x, a in zip(xs, axes, strict=True)
    }
    dim = steps.pop() if len(steps) == 1 else ()
    if len(set(backward)) != 1 or not is_steps(dim):
        return None
    loop = Recurrence(b, dim[0], backward[0])

    def step(inner: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        found: tuple[Sequence[Tensor], Sequence[Tensor]] = body(
            inner, [loop.slice(x, a) for x, a in zip(xs, axes, strict=True)]
        )
        return found

    return loop.run(step, states)


def looped(
    b: Labelled, body: Callable[..., Any], trips: int | None, states: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]] | None:
    """A loop of as many turns as there are steps; None if it has another number of them."""
    axis = next((a for a, n in b.steps.items() if n == trips), None)
    if axis is None:
        return None

    def step(inner: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        _, new, outs = body(Tensor(np.asarray(0, np.int64), Turn(())), inner)
        return new, outs

    return Recurrence(b, Steps(axis)).run(step, states)
