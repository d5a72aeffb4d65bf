"""What a program does alike at every step of sequences, and chains of cells, each of which reads what one left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from lstm_rt.errors import LstmRtError
from lstm_rt.graph import Graph, Node, Value

from ...arch.layers import side_by_side
from ...judges import reference
from .cells import Cell
from .unrolled import EACH_STEP, Unrolled, digest
from .written import Written

_MOST_LAYERS = 16  #: whose first steps are simplified, each of which reads the one before
_CLOSE = 1e-5  #: of a first step with states of zero and what is left of it in the program

#: What a node reads: steps of something, or a value that is the same at every step.
Ref: TypeAlias = "Group | int"


@dataclass(eq=False)
class Group:
    """What the steps of one sequence are: of one that is there, of an operation, or of a chain of cells.

    Attributes:
        reads: what an operation of it reads; for cells with first features and sizes.
        members: what is found at each step: the node, or the cell.
    """

    axis: int
    count: int
    reads: tuple[Any, ...] = ()
    members: dict[int, Any] = field(default_factory=dict)
    seq: int | None = None
    whole: bool = False  #: is it there, or can it be made, as a sequence?
    last: tuple[int, ...] = ()  #: of a chain: values of the states after the last cell
    by: int = 1
    begun: bool = True  #: has a chain its first step, which programs simplify where states are zero?
    cell: Written | None = None

    @property
    def wanted(self) -> range:
        """Its steps in the order in which a program goes through them."""
        return range(self.count) if self.by > 0 else range(self.count - 1, -1, -1)


class Alike:
    """Goes through a graph and notes which values are steps of what.

    Args:
        cells: that are written out there.
        ended: has the program ended? Within one, a single step makes no sequence.
    """

    def __init__(self, graph: Graph, unrolled: Unrolled, cells: Sequence[Written], ended: bool) -> None:
        self._graph, self._unrolled, self._ended = graph, unrolled, ended
        self._cells = {c.after[0]: c for c in cells}
        self._inner = {v for c in cells for v in c.after[1:]}  #: cell states
        self._makers: dict[int, Node] = {o: n for n in graph.nodes for o in n.outputs if o is not None}
        self._clear()

    def _clear(self) -> None:
        self._sequences: dict[int, Group] = {}
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._chains: list[Group] = []
        self._place: dict[int, tuple[Group, int]] = {}

    def look(self) -> None:
        """Find what is alike at all steps, and decide which of it becomes whole."""
        for _ in range(_MOST_LAYERS):
            self._clear()
            for node in self._graph.nodes:
                self._look(node)
            if firsts := self._first_steps():
                self._cells |= {c.after[0]: c for c in firsts}
                self._inner |= {v for c in firsts for v in c.after[1:]}
            elif not self._without_loose():
                break
        self._decide()

    # -- what there is ----------------------------------------------------------------------------------

    def _where(self, value: int) -> tuple[Group, int] | None:
        """The sequence and the step that a value is."""
        if value not in self._place and (step := self._unrolled.step_of(value)) is not None:
            seq, t, count = step
            group = self._sequences.get(seq)
            if group is None:
                group = Group(self._graph.values[seq].axis, count, seq=seq, whole=True)
                self._sequences[seq] = group
            self._place[value] = group, t
        return self._place.get(value)

    def _at_one_step(self, values: Sequence[int]) -> tuple[tuple[Ref, ...], int] | None:
        """What values are, if they are steps of sequences, all the same, or of none."""
        refs: list[Ref] = []
        steps: dict[tuple[int, int, int], int] = {}
        sequences = set[int]()
        for v in values:
            found = self._where(v)
            if found is not None:
                group, t = found
                steps[group.axis, group.count, t] = t
                refs.append(group)
            elif (
                v in self._inner or self._unrolled.is_placeholder(v) or self._graph.values[v].kind not in ("seq", "vec")
            ):
                return None
            else:
                refs.append(v)
                sequences.update({self._graph.values[v].axis} - {-1})
        if len(steps) != 1:
            return None
        ((axis, count, t),) = steps
        # beside the only step there is, a sequence of one step is that step
        return (tuple(refs), t) if not sequences or (sequences == {axis} and count == 1) else None

    def _look(self, node: Node) -> None:
        out = node.outputs[0]
        if out is None or out in self._inner:
            return
        if out in self._cells:
            self._look_at_cell(self._cells[out])
            return
        inputs = [i for i in node.inputs if i is not None]
        if node.op not in EACH_STEP or out in self._graph.outputs or len(inputs) != len(node.inputs):
            return
        found = self._at_one_step(inputs)
        if found is None:
            return
        refs, t = found
        options = str(sorted((k, v) for k, v in node.attrs.items()))
        key = (node.op, options, digest(node.weights), *(id(r) if isinstance(r, Group) else r for r in refs))
        group = self._groups.get(key)
        if group is None:
            model = next(r for r in refs if isinstance(r, Group))
            group = self._groups[key] = Group(model.axis, model.count, refs)
        group.members.setdefault(t, node)
        self._place[out] = group, t

    def _look_at_cell(self, found: Written) -> None:
        cell = found.cell
        place = self._at_one_step([v for v, _, _ in cell.x])
        if place is None:
            return
        refs, t = place
        reads = tuple((r, start, size) for r, (_, start, size) in zip(refs, cell.x, strict=True))
        for chain in self._chains:
            other = chain.cell
            assert other is not None
            if (
                other.key == found.key
                and chain.reads == reads
                and chain.last == found.before
                and t == self._next(chain)
            ):
                break
        else:
            chain = self._new_chain(found, reads, t)
        chain.members[t], chain.last = found, found.after
        self._place[found.after[0]] = chain, t

    def _next(self, chain: Group) -> int:
        done = list(chain.members)
        return int(done[-1]) + chain.by

    def _new_chain(self, found: Written, reads: tuple[Any, ...], t: int) -> Group:
        model = next(r for r, _, _ in reads if isinstance(r, Group))
        chain = Group(model.axis, model.count, reads, cell=found)
        if model.count > 1 and t in (model.count - 1, model.count - 2) and not (t == 1 and model.count > 2):
            chain.by = -1
        chain.begun = t == chain.wanted[0]
        self._chains.append(chain)
        return chain

    def _without_loose(self) -> bool:
        """Forget what is a cell only as one of many, and is not; was there any?"""
        loose = [h for h, c in self._cells.items() if not c.sure and not self._is_of_all_steps(h)]
        for h in loose:
            del self._cells[h]
        return bool(loose)

    def _is_of_all_steps(self, value: int) -> bool:
        place = self._place.get(value)
        return place is not None and place[0].begun and set(place[0].members) == set(range(place[0].count))

    # -- what becomes whole -------------------------------------------------------------------------------

    def _decide(self) -> None:
        groups = {id(g): g for g, _ in self._place.values()}
        for group in groups.values():
            if group.seq is not None:
                continue
            reads = [r[0] if isinstance(r, tuple) else r for r in group.reads]
            if not all(r.whole for r in reads if isinstance(r, Group)):
                continue
            group.whole = group.begun and set(group.members) == set(range(group.count))
            if group.cell is not None and not group.cell.sure:
                group.whole &= group.count > 1
        self._layers = {c.axis for c in self._chains if c.whole}
        for group in groups.values():  # of a single step nothing is gained but where a layer is made
            if group.count == 1 and not (self._ended and group.axis in self._layers):
                group.whole = group.seq is not None

    def _first_steps(self) -> list[Written]:
        """The cells at first steps, whose states are zero, that the program has simplified."""
        found = []
        for chain in self._chains:
            if not chain.begun and set(chain.members) == set(chain.wanted[1:]):
                cell = self._first_step(chain)
                found += [] if cell is None else [cell]
        return found

    def _first_step(self, chain: Group) -> Written | None:
        """What the program has at the first step, if that is the cell's with states of zero."""
        assert chain.cell is not None
        after = chain.members[chain.wanted[1]].before
        reads = [(self._value_at(r, chain.wanted[0]), start, size) for r, start, size in chain.reads]
        x = [(value, start, size) for value, start, size in reads if value is not None]
        values = list(dict.fromkeys(value for value, _, _ in x))
        theirs = self._part(values, after)
        if len(x) < len(reads) or theirs is None:
            return None
        cell = replace(chain.cell.cell, x=x)
        ours = Graph()
        inputs = {v: ours.input(str(k), "vec", self._graph.values[v].size) for k, v in enumerate(values)}
        parts = [ours.slice(inputs[v], start, size) for v, start, size in x]
        _, *ends = cell_over_steps(ours, ours.unflatten(side_by_side(ours, parts), 1), cell, ())
        for k, end in enumerate(ends[: len(after)]):
            ours.output(end, f"out {k}")
        rng = np.random.default_rng(0)
        feeds = [rng.standard_normal((4, self._graph.values[v].size)) for v in values]
        try:
            both = [reference.run(g, feeds) for g in (ours, theirs)]
        except LstmRtError:
            return None
        close = (np.allclose(a, b, rtol=_CLOSE, atol=_CLOSE) for a, b in zip(*both, strict=True))
        return Written(cell, (), after, chain.cell.sure) if all(close) else None

    def _value_at(self, group: Ref, t: int) -> int | None:
        if not isinstance(group, Group):
            return group
        if group.seq is not None:
            return self._unrolled.step(group.seq, t, group.count)
        member = group.members.get(t)
        if isinstance(member, Node):
            return member.outputs[0]
        return None if member is None else int(member.after[0])

    def _part(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph | None:
        """What makes some values of others; None if it reads more than these."""
        given, needed, nodes = list(dict.fromkeys(inputs)), list(outputs), dict[int, Node]()
        same: dict[int, int] = {}  #: other values of one step
        while needed:
            value = needed.pop()
            if (step := self._unrolled.step_of(value)) is not None:
                same[value] = value = self._unrolled.step(*step)
            if value in given:
                continue
            node = self._makers.get(value)
            if node is None:
                return None
            if id(node) not in nodes:
                nodes[id(node)] = node
                needed += [i for i in node.inputs if i is not None]
        graph = Graph()
        graph.values = list(self._graph.values)
        for k, value in enumerate(given):
            graph.values[value] = Value(str(k), "vec", graph.values[value].size, -1)
        graph.inputs = given
        graph.nodes = [
            replace(n, inputs=tuple(None if i is None else same.get(i, i) for i in n.inputs))
            for n in self._graph.nodes
            if id(n) in nodes
        ]
        for k, value in enumerate(outputs):
            graph.values[value] = replace(graph.values[value], name=f"out {k}")
        graph.outputs = list(outputs)
        return graph


def cell_over_steps(
    graph: Graph, x: int, cell: Cell, states: Sequence[int | None], direction: str = "forward"
) -> list[int]:
    """Sequence, and last states, of a cell over all steps of a sequence."""
    states = [*states, *states] if cell.h == cell.c else states  # h is c
    starts: dict[str, Any] = dict(zip(("h0", "c0"), states, strict=False))
    made = graph.recurrent(
        cell.op, x, dict(cell.weights), hidden_size=cell.hidden_size, direction=direction, **cell.options, **starts
    )
    return [v for v in made if v is not None]
