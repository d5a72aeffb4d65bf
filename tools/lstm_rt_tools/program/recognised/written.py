"""Recurrent cells that stand written out in a graph, outside of any loop: one step, or each step of a loop unrolled.

What a cell's states are is not said there. Candidates for them are the values that its result is made of; the algebra
of :mod:`.cells` then tells whether they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lstm_rt.activations import as_activation
from lstm_rt.graph import Graph, Node
from lstm_rt.ops import cell_of

from .cells import Cell, gated, ungated
from .unrolled import Unrolled, digest

_POINTWISE = frozenset({"add", "sub", "mul"})
#: Between a gate and the product with h.
_SUMS = frozenset({"add", "sub", "slice", "gather", "concat", "batchnorm"})
_OPTIONS = {"hidden_size", "activations", "reset_after"}
_DEPTH = 6  #: of operations between a state and what it is made of
_MOST_TRIES = 48  #: of pairs of candidates, for one result
_MOST_DEPENDENT = 60  #: values of a step that depend on its states
_MOST_FAILURES = 24  #: of tries for all results, and so many more for each cell that is found
_MORE_FAILURES = 8


@dataclass
class Written:
    """A cell: its values of h (and c) before and after the step."""

    cell: Cell
    before: tuple[int, ...]
    after: tuple[int, ...]
    sure: bool = True  #: is it a cell wherever it stands, or only as one of many?

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """What all steps of a layer have in common."""
        return self.cell.op, digest(self.cell.weights), str(sorted(self.cell.options.items()))


class _Depends(dict[int, frozenset[int]]):
    """The states that values depend on; none, for those that were there before."""

    def __missing__(self, value: int) -> frozenset[int]:
        return frozenset()


def written(graph: Graph, unrolled: Unrolled) -> list[Written]:
    """The cells of a graph: those with gates, and those without that read steps of sequences."""
    finder = _Finder(graph, unrolled)
    return [*finder.cells(), *finder.plain()]


def write_out(
    graph: Graph, op: str, x: int, weights: Mapping[str, Any], states: Sequence[int | None], options: Mapping[str, Any]
) -> list[int] | None:
    """The states after a cell that reads the vec ``x``; None for a cell with more than weights and biases.

    Args:
        states: before it; None is zeros.
    """
    size = options["hidden_size"]
    if weights.keys() - {"w_ih", "w_hh", "b_ih", "b_hh"} or {k for k, v in options.items() if v} - _OPTIONS:
        return None
    act = [as_activation(a) for a in options.get("activations") or cell_of(op).activations]
    h, *c = [graph.constant(np.zeros(size, np.float32)) if s is None else s for s in states]
    on_x = graph.dense(x, weights["w_ih"], weights.get("b_ih"))

    def on_h(value: int, rows: slice = slice(None)) -> int:
        return graph.dense(value, weights["w_hh"][rows], None if (b := weights.get("b_hh")) is None else b[rows])

    def gate(value: int, k: int) -> int:
        return graph.slice(value, k * size, size)

    def summed(k: int) -> int:
        return graph.activation(graph.binary("add", gate(on_x, k), gate(both, k)), act[0])

    if op == "rnn":
        return [graph.activation(graph.binary("add", on_x, on_h(h)), act[0])]
    if op == "gru" and options.get("reset_after", True):
        both = on_h(h)
        r, z = summed(0), summed(1)
        new = graph.binary("mul", r, gate(both, 2))
    elif op == "gru":
        both = on_h(h, slice(2 * size))
        r, z = summed(0), summed(1)
        new = on_h(graph.binary("mul", r, h), slice(2 * size, None))
    else:
        both = graph.binary("add", on_x, on_h(h))
        i, f, g, o = (graph.activation(gate(both, k), act[1 if k == 2 else 0]) for k in range(4))
        new = graph.binary("add", graph.binary("mul", f, c[0]), graph.binary("mul", i, g))
        return [graph.binary("mul", o, graph.activation(new, act[2])), new]
    n = graph.activation(graph.binary("add", gate(on_x, 2), new), act[1])
    return [graph.binary("add", n, graph.binary("mul", z, graph.binary("sub", h, n)))]


class _Finder:
    def __init__(self, graph: Graph, unrolled: Unrolled) -> None:
        self._graph, self._unrolled, self._steps = graph, unrolled, unrolled.steps
        self._at = {o: i for i, n in enumerate(graph.nodes) for o in n.outputs if o is not None}
        self._found: dict[int, Written] = {}  #: by both states after a cell
        self._ways: dict[int, list[Written]] = {}  #: by what cells without gates leave
        self._left = _MOST_FAILURES

    def cells(self) -> Iterator[Written]:
        if not any(n.op == "activation" for n in self._graph.nodes):
            return
        for node in list(self._graph.nodes):
            out = node.outputs[0]
            if out in self._unrolled.done:
                continue
            if node.op in _POINTWISE and out is not None and self._graph.values[out].kind == "vec":
                found = self._lstm(node, out) if node.op == "mul" else self._gru(out)
                if found is not None:
                    self._found.update(dict.fromkeys(found.after, found))
                    yield found

    def plain(self) -> list[Written]:
        """Cells whose states are pointwise sums or activations; after those with gates, which have such values, too."""
        self._left = _MOST_FAILURES
        for node in list(self._graph.nodes):
            out = node.outputs[0]
            if out is None or out in self._found or out in self._unrolled.done or self._graph.values[out].kind != "vec":
                continue
            if node.op not in ("add", "sub", "activation") or self._is_affine(out) or not self._unrolled.depends(out):
                continue
            self._plain(node, out)
        cells = {out: ways[0] for out, ways in self._ways.items()}
        for found in self._ways.values():  # where several values may be the state, the next step tells
            for way in self._ways.get(found[0].before[0], ()):
                if way.key == found[0].key:
                    cells[way.after[0]] = way
        return list(cells.values())

    def _plain(self, node: Node, out: int) -> None:
        """What is made of a value made alike, or of one that is there before the first step."""
        below = self._below(self._inputs(out)[0] if node.op == "activation" else out)
        candidates = [h for h in dict.fromkeys([*below, *self._reads(out)]) if self._may_be_before(h, out)]
        for h in sorted(candidates, key=lambda v: not self._is(v, node.op)):
            if (found := self._tried(h, out)) is not None:
                self._found[out] = found
                self._ways.setdefault(out, []).append(found)
                if self._is(h, node.op):
                    break

    def _may_be_before(self, h: int, out: int) -> bool:
        """May it be the state before a cell without gates? The first step may make it in another way."""
        same_size = self._graph.values[h].size == self._graph.values[out].size
        same_op = self._is(h, self._graph.nodes[self._at[out]].op)
        return same_size and h not in self._steps and (same_op or h not in self._found)

    def _is_sure(self, value: int) -> bool:
        return value in self._found and self._found[value].sure

    def _tried(self, h: int, out: int) -> Written | None:
        depends = self._depends((h,), (out,))
        if depends is None or self._left < 0:
            return None
        return self._known(ungated(self._graph, depends, h, out), (h,), (out,), sure=False)

    def _known(
        self, cell: Cell | None, before: tuple[int, ...], after: tuple[int, ...], sure: bool = True
    ) -> Written | None:
        self._left += _MORE_FAILURES if cell is not None else -1
        return None if cell is None or not cell.x else Written(cell, before, after, sure)

    def _maker(self, value: int | None) -> Node | None:
        return self._graph.nodes[self._at[value]] if value in self._at else None

    def _is(self, value: int | None, *ops: str) -> bool:
        node = self._maker(value)
        return node is not None and node.op in ops

    # -- candidates -----------------------------------------------------------------------------------

    def _lstm(self, node: Node, out: int) -> Written | None:
        for squashed in node.inputs:
            maker = self._maker(squashed)
            cell = maker.inputs[0] if maker is not None and maker.op == "activation" else None
            if cell is None or cell in self._found or not self._is(cell, "add"):
                continue
            for c in self._factors(cell):
                for h in self._reads(out, c):
                    if (found := self._cell((h, c), (out, cell))) is not None:
                        return found
        return None

    def _gru(self, out: int) -> Written | None:
        below = self._below(out)
        if sum(self._is(v, "activation") for v in below) < 2 or not any(self._is(v, "mul") for v in below):
            return None
        if not any(self._is(v, "mul") for v in self._inputs(out)):
            return None
        for h in sorted(below, key=lambda v: (v not in self._found, v in self._steps)):
            if (
                not self._is(h, "activation", "mul", "dense", "batchnorm")
                and (found := self._cell((h,), (out,))) is not None
            ):
                return found
        return None

    def _inputs(self, value: int) -> list[int]:
        node = self._maker(value)
        return [] if node is None else [i for i in node.inputs if i is not None]

    def _below(self, value: int) -> list[int]:
        """What a value of pointwise operations is made of, as far as cells that have been found."""
        found: dict[int, None] = {}
        layer = [value]
        for _ in range(_DEPTH):
            layer = [i for v in layer if self._is(v, *_POINTWISE) or self._is_affine(v) for i in self._inputs(v)]
            layer = [v for v in dict.fromkeys(layer) if v not in found]
            found.update(
                dict.fromkeys(v for v in layer if self._graph.values[v].size == self._graph.values[value].size)
            )
            layer = [v for v in layer if not self._is_sure(v)]
        return list(found)

    def _is_affine(self, value: int) -> bool:
        node = self._maker(value)
        if node is None or node.op == "batchnorm":
            return node is not None
        return node.op == "activation" and node.attrs["activation"].name in ("affine", "linear")

    def _factors(self, cell: int) -> list[int]:
        """What the products that make a cell state are made of, or differences in these; states first."""
        factors = [f for m in self._inputs(cell) if self._is(m, "mul") for f in self._inputs(m)]
        factors += [d for f in factors if self._is(f, "sub") for d in self._inputs(f)]
        return sorted(dict.fromkeys(factors), key=lambda v: (v not in self._found, self._is(v, "activation")))

    def _reads(self, out: int, c: int | None = None) -> list[int]:
        """What the products before the gates read, of the size of a state; the likeliest first."""
        size, found = self._graph.values[out].size, dict[int, None]()
        layer, seen = [out], set[int]()
        for _ in range(4 * _DEPTH):
            below: list[int] = []
            for v in layer:
                node = self._maker(v)
                if v in seen or v == c or (self._is_sure(v) and v != out) or node is None:
                    continue
                seen.add(v)
                if node.op == "dense":
                    x = self._inputs(v)[0]
                    parts = self._inputs(x) if self._is(x, "concat") else []
                    found.update(dict.fromkeys(p for p in [x, *parts] if self._graph.values[p].size == size))
                elif node.op in _POINTWISE or node.op in _SUMS or node.op == "activation":
                    below += self._inputs(v)
            layer = below
        pair = self._found[c].after[0] if c is not None and c in self._found else None
        return sorted((v for v in found if v != c), key=lambda v: (v != pair, v in self._steps, v in self._found))[
            :_MOST_TRIES
        ]

    # -- the algebra ------------------------------------------------------------------------------------

    def _cell(self, before: tuple[int, ...], after: tuple[int, ...]) -> Written | None:
        depends = self._depends(before, after)
        if depends is None or self._left < 0:
            return None
        return self._known(gated(self._graph, depends, before, after), before, after)

    def _depends(self, before: tuple[int, ...], after: tuple[int, ...]) -> _Depends | None:
        """What depends on which states; None if those after the step do not depend on all of those before it."""
        depends = _Depends({v: frozenset({v}) for v in before})
        first = min(self._at.get(v, -1) for v in before) + 1
        for node in self._graph.nodes[first : max(self._at[v] for v in after) + 1]:
            union = frozenset[int]().union(*(depends[i] for i in node.inputs if i is not None))
            if union:
                depends.update({o: union for o in node.outputs if o is not None and o not in before})
        far = len(depends) > _MOST_DEPENDENT
        return None if far or any(depends[a] != frozenset(before) for a in after) else depends
