"""Cells that are written out, and what a program does alike at every step of a sequence, put together again.

Three things become one: operations on the steps of a sequence, the same at each, are one operation on sequences; cells
at one step after another, each of which reads the state that the one before left, are a recurrent layer; any
other cell is a layer over a single step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation, Graph, Node

from ...arch.layers import side_by_side
from ..tidy import as_product
from .alike import Alike, Group, Ref, cell_over_steps
from .cells import Cell
from .unrolled import EACH_STEP, Unrolled
from .written import Written, written

_MOST_SINGLE = 16  #: cells that stand alone: each takes a time axis


def roll(graph: Graph, unrolled: Unrolled) -> None:
    """Make sequences of what a program has done alike at every step up to now; values become steps of these."""
    if unrolled.middle:
        _Roller(graph, unrolled, written(graph, unrolled)).run()


def roll_up(graph: Graph, unrolled: Unrolled, fixed: Collection[int]) -> set[int]:
    """The same when a program has ended: cells of a single step become layers, too.

    Args:
        fixed: time axes whose number of steps the program fixes: all of them side by side may be read as features.

    Returns:
        The time axes of which all steps have become features.
    """
    cells = written(graph, unrolled)
    states = {v for c in cells for v in c.after}
    if named := [o for o in graph.outputs if o in states]:
        for value in named:
            _named_apart(graph, value)
        cells = written(graph, unrolled)
    if not cells and not unrolled.middle:
        return set()
    return _Roller(graph, unrolled, cells, fixed).run()


class _Roller(Alike):
    """Makes the graph anew; ``fixed`` as of :func:`roll_up`, None within a program."""

    def __init__(
        self, graph: Graph, unrolled: Unrolled, cells: Sequence[Written], fixed: Collection[int] | None = None
    ) -> None:
        super().__init__(graph, unrolled, cells, fixed is not None)
        self._fixed = fixed
        self._new: dict[int, int] = {}  #: the sequence of the only step, and what it was
        self._given: set[int] = set()  #: states that a layer gives
        self._flat: dict[int, int] = {}
        self._parts: dict[int, list[int]] = {}  #: what stands side by side in a value; a node takes so many alone
        self._frozen: set[int] = set()

    def run(self) -> set[int]:
        self.look()
        nodes = self._graph.nodes
        alone = [c for h, c in self._cells.items() if h not in self._place or not self._place[h][0].whole]
        self._singly = self._ended and sum(c.sure for c in alone) <= _MOST_SINGLE
        self._cell_of = {v: c for c in self._cells.values() for v in c.after}
        self._graph.nodes = []
        for node in nodes:
            with self._graph.layer(node.name):
                self._emit(node)
        return self._frozen

    # -- the graph anew -------------------------------------------------------------------------------------

    def _emit(self, node: Node) -> None:
        out = node.outputs[0]
        if out in self._cell_of and self._emit_cell(self._cell_of[out], out):
            return
        place = self._place.get(out) if out is not None else None
        if place is not None and place[0].whole and isinstance(place[0].members.get(place[1]), Node):
            self._step_of(out, *place)
            return
        self._append(node)

    def _append(self, node: Node) -> None:
        out = node.outputs[0]
        alone = out is not None and self._graph.values[out].kind == "seq" and node.op in EACH_STEP
        inputs = tuple(None if i is None else self._read(i, alone) for i in node.inputs)
        if node.op == "concat" and out is not None:
            self._parts[out] = [p for i in inputs if i is not None for p in self._parts.get(i, [i])]
        if out in self._parts and (flat := self._all_steps(self._parts[out])) is not None:
            assert out is not None
            self._graph.nodes.append(_copied(flat, out))
            return
        self._graph.nodes.append(replace(node, inputs=inputs))

    def _read(self, value: int, alone: bool) -> int:
        """What a value is now; ``alone``: beside a sequence, of which there was a single step."""
        if alone and value in self._place:
            group, _ = self._place[value]
            if group.whole and group.count == 1 and group.axis in self._layers:
                return self._sequence(group)
        return self._new.get(value, value)

    def _all_steps(self, parts: Sequence[int]) -> int | None:
        """All steps of a sequence side by side, as one vec."""
        steps = [self._unrolled.step_of(p) for p in parts]
        first = steps[0]
        if first is None or len(steps) != first[2] or len(steps) < 2:
            return None
        if steps != [(first[0], t, first[2]) for t in range(len(steps))]:
            return None
        seq, _, count = first
        if not self._fixed or self._graph.root(self._graph.values[seq].axis) not in self._fixed:
            return None
        if seq not in self._flat:
            self._flat[seq] = self._graph.flatten(seq, count)
            self._frozen.add(self._graph.values[seq].axis)
        return self._flat[seq]

    def _step_of(self, out: int | None, group: Group, t: int) -> None:
        assert out is not None
        seq = self._sequence(group)
        if self._graph.values[out].kind == "seq":  # the only step, and the sequence of it
            self._new[out] = seq
        else:
            self._unrolled.put(out, seq, t, group.count)

    def _sequence(self, group: Group) -> int:
        """The sequence of all steps."""
        if group.seq is None:
            node = next(iter(group.members.values()))
            refs = [self._whole(r, group.axis, node.op == "concat") for r in group.reads]
            group.seq = self._graph.node(node.op, *refs, **node.attrs, **node.weights)
        return group.seq

    def _whole(self, ref: Ref, axis: int, repeated: bool) -> int:
        if isinstance(ref, Group):
            return self._sequence(ref)
        value = self._new.get(ref, ref)
        return self._graph.repeat_vector(value, axis) if repeated and self._graph.values[value].kind == "vec" else value

    def _emit_cell(self, found: Written, state: int) -> bool:
        """A cell as part of a layer, or alone; false where its state stays as it is written out."""
        place = self._place.get(found.after[0])
        if place is None or not place[0].whole:
            if self._singly and found.sure and state not in self._given:
                self._single(found)
        else:
            chain, t = place
            if chain.seq is None:
                self._begin(chain)
            if chain.count > 1 and state == found.after[0]:
                assert chain.seq is not None
                self._unrolled.put(state, chain.seq, t, chain.count)
                self._unrolled.done.update(found.after[1:])
                return True
        return state in self._given

    def _begin(self, chain: Group) -> None:
        assert chain.cell is not None
        reads = [(self._whole(ref, chain.axis, True), start, size) for ref, start, size in chain.reads]
        cell = self._with_products(replace(chain.cell.cell, x=reads))
        parts = []
        for value, start, size in cell.x:
            parts.append(value if size == self._graph.values[value].size else self._graph.slice(value, start, size))
        x = side_by_side(self._graph, parts)
        direction = "forward" if chain.by > 0 else "reverse"
        chain.seq = self._layer(x, cell, chain.cell.before, chain.last, chain.count == 1, direction)
        steps = f"the {chain.count} steps" if chain.count > 1 else "the step"
        self._unrolled.folded.append(
            f"{steps} of {cell.op} cells of {cell.hidden_size} units, written out, put together to a layer"
        )

    def _with_products(self, cell: Cell) -> Cell:
        """The cell with products that a program has multiplied ahead of its loop, where that makes it smaller."""
        makers = {o: n for n in self._graph.nodes for o in n.outputs}
        sources: dict[int, NDArray[np.float64]] = {}
        w_ih = cell.weights["w_ih"].astype(np.float64)
        bias, at = cell.weights["b_ih"].astype(np.float64), 0
        for value, start, size in cell.x:
            weight, shift = np.eye(self._graph.values[value].size), np.zeros(self._graph.values[value].size)
            while (node := makers.get(value)) is not None and (step := as_product(node)) is not None:
                value, weight, shift = node.inputs[0], weight @ step[0], weight @ step[1] + shift  # type: ignore[assignment]
            own, rows = w_ih[:, at : at + size], slice(start, start + size)
            sources[value] = sources.get(value, 0) + own @ weight[rows]
            bias, at = bias + own @ shift[rows], at + size
        if sum(w.shape[1] for w in sources.values()) >= at:
            return cell
        made = {"w_ih": np.concatenate([*sources.values()], 1), "b_ih": bias}
        weights = cell.weights | {name: a.astype(np.float32) for name, a in made.items()}
        return replace(cell, x=[(v, 0, w.shape[1]) for v, w in sources.items()], weights=weights)

    def _layer(
        self, x: int, cell: Cell, before: Sequence[int], after: Sequence[int], alone: bool, direction: str = "forward"
    ) -> int:
        """The sequence of a layer, whose last states are ``after`` (h only where that is no step of the sequence)."""
        states = [None if self._is_zero(s) else self._new.get(s, s) for s in before]
        seq, *ends = cell_over_steps(self._graph, x, cell, states, direction)
        first = 0 if alone else 1
        new = dict(zip(ends[first:], after[first:], strict=False))
        node = self._graph.nodes[-1]
        node.outputs = tuple(None if o is None else new.get(o, o) for o in node.outputs)
        self._given.update(new.values())
        return seq

    def _is_zero(self, value: int) -> bool:
        node = self._makers.get(value)
        return node is not None and node.op == "constant" and not np.any(node.weights["value"])

    def _single(self, found: Written) -> None:
        """A cell over the one step that there is."""
        parts = []
        for value, start, size in found.cell.x:
            value = self._new.get(value, value)
            parts.append(value if size == self._graph.values[value].size else self._graph.slice(value, start, size))
        x = self._graph.unflatten(side_by_side(self._graph, parts), 1)
        self._layer(x, found.cell, found.before, found.after, True)
        cell = found.cell
        self._unrolled.folded.append(f"a {cell.op} cell of {cell.hidden_size} units recognised")


def _named_apart(graph: Graph, value: int) -> None:
    """Let an output be a copy of what it is, so that this may be made in another way."""
    inner = graph.placeholder(graph.values[value].size)
    for k, node in enumerate(graph.nodes):
        inputs, outputs = (tuple(inner if v == value else v for v in vs) for vs in (node.inputs, node.outputs))
        graph.nodes[k] = replace(node, inputs=inputs, outputs=outputs)
    graph.nodes.append(_copied(inner, value))


def _copied(source: int, value: int) -> Node:
    return Node("activation", (source,), (value,), {"activation": Activation("linear")})

