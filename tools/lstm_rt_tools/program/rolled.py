"""Cells that are written out, and what a program does alike at every step of a sequence, put together again.

Three things become one: operations on the steps of a sequence, the same at each, are one operation on sequences; cells
at one step after another, each of which reads the state that the one before left, are a recurrent layer; any
other cell is a layer over a single step.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import LstmRtError
from lstm_rt.graph import Activation, Graph, Node, Value

from ..arch.layers import side_by_side
from ..judges import reference
from .cells import Cell
from .tidy import as_product
from .unrolled import EACH_STEP, Unrolled, digest
from .written import Written, written

_MOST_SINGLE = 16  #: cells that stand alone: each takes a time axis
_MOST_LAYERS = 16  #: whose first steps are simplified, each of which reads the one before
_CLOSE = 1e-5  #: of a first step with states of zero and what is left of it in the program

#: What a node reads: steps of something, or a value that is the same at every step.
_Ref: TypeAlias = "_Group | int"


@dataclass(eq=False)
class _Group:
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


class _Roller:
    """Goes through a graph; ``fixed`` as of :func:`roll_up`, None within a program."""

    def __init__(
        self, graph: Graph, unrolled: Unrolled, cells: Sequence[Written], fixed: Collection[int] | None = None
    ) -> None:
        self._graph, self._unrolled, self._fixed = graph, unrolled, fixed
        self._ended = fixed is not None
        self._cells = {c.after[0]: c for c in cells}
        self._inner = {v for c in cells for v in c.after[1:]}  #: cell states
        self._clear()
        self._new: dict[int, int] = {}  #: the sequence of the only step, and what it was
        self._given: set[int] = set()  #: states that a layer gives
        self._flat: dict[int, int] = {}
        self._parts: dict[int, list[int]] = {}  #: what stands side by side in a value; a node takes so many alone
        self._frozen: set[int] = set()
        self._makers: dict[int, Node] = {o: n for n in graph.nodes for o in n.outputs if o is not None}

    def _clear(self) -> None:
        self._sequences: dict[int, _Group] = {}
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._chains: list[_Group] = []
        self._place: dict[int, tuple[_Group, int]] = {}

    def run(self) -> set[int]:
        nodes = self._graph.nodes
        for _ in range(_MOST_LAYERS):
            self._clear()
            for node in nodes:
                self._look(node)
            if firsts := self._first_steps():
                self._cells |= {c.after[0]: c for c in firsts}
                self._inner |= {v for c in firsts for v in c.after[1:]}
            elif not self._without_loose():
                break
        self._decide()
        alone = [c for h, c in self._cells.items() if h not in self._place or not self._place[h][0].whole]
        self._singly = self._ended and sum(c.sure for c in alone) <= _MOST_SINGLE
        self._cell_of = {v: c for c in self._cells.values() for v in c.after}
        self._graph.nodes = []
        for node in nodes:
            with self._graph.layer(node.name):
                self._emit(node)
        return self._frozen

    # -- what there is ----------------------------------------------------------------------------------

    def _where(self, value: int) -> tuple[_Group, int] | None:
        """The sequence and the step that a value is."""
        if value not in self._place and (step := self._unrolled.step_of(value)) is not None:
            seq, t, count = step
            group = self._sequences.get(seq)
            if group is None:
                group = _Group(self._graph.values[seq].axis, count, seq=seq, whole=True)
                self._sequences[seq] = group
            self._place[value] = group, t
        return self._place.get(value)

    def _at_one_step(self, values: Sequence[int]) -> tuple[tuple[_Ref, ...], int] | None:
        """What values are, if they are steps of sequences, all the same, or of none."""
        refs: list[_Ref] = []
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
        key = (node.op, options, digest(node.weights), *(id(r) if isinstance(r, _Group) else r for r in refs))
        group = self._groups.get(key)
        if group is None:
            model = next(r for r in refs if isinstance(r, _Group))
            group = self._groups[key] = _Group(model.axis, model.count, refs)
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

    def _next(self, chain: _Group) -> int:
        done = list(chain.members)
        return int(done[-1]) + chain.by

    def _new_chain(self, found: Written, reads: tuple[Any, ...], t: int) -> _Group:
        model = next(r for r, _, _ in reads if isinstance(r, _Group))
        chain = _Group(model.axis, model.count, reads, cell=found)
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
            if not all(r.whole for r in reads if isinstance(r, _Group)):
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

    def _first_step(self, chain: _Group) -> Written | None:
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
        _, *ends = _layer(ours, ours.unflatten(side_by_side(ours, parts), 1), cell, ())
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

    def _value_at(self, group: _Ref, t: int) -> int | None:
        if not isinstance(group, _Group):
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

    def _step_of(self, out: int | None, group: _Group, t: int) -> None:
        assert out is not None
        seq = self._sequence(group)
        if self._graph.values[out].kind == "seq":  # the only step, and the sequence of it
            self._new[out] = seq
        else:
            self._unrolled.put(out, seq, t, group.count)

    def _sequence(self, group: _Group) -> int:
        """The sequence of all steps."""
        if group.seq is None:
            node = next(iter(group.members.values()))
            refs = [self._whole(r, group.axis, node.op == "concat") for r in group.reads]
            group.seq = self._graph.node(node.op, *refs, **node.attrs, **node.weights)
        return group.seq

    def _whole(self, ref: _Ref, axis: int, repeated: bool) -> int:
        if isinstance(ref, _Group):
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

    def _begin(self, chain: _Group) -> None:
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
        seq, *ends = _layer(self._graph, x, cell, states, direction)
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


def _layer(graph: Graph, x: int, cell: Cell, states: Sequence[int | None], direction: str = "forward") -> list[int]:
    """Sequence, and last states, of a cell over all steps of a sequence."""
    states = [*states, *states] if cell.h == cell.c else states  # h is c
    starts: dict[str, Any] = dict(zip(("h0", "c0"), states, strict=False))
    made = graph.recurrent(
        cell.op, x, dict(cell.weights), hidden_size=cell.hidden_size, direction=direction, **cell.options, **starts
    )
    return [v for v in made if v is not None]
