"""Recurrent cells that stand written out in a graph, outside of any loop: one step, or each step of a loop unrolled.

What a cell's states are is not said there. Candidates for them are the values that its result is made of; the algebra
of :mod:`.cells` then tells whether they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lstm_rt.graph import Graph, Node

from .cells import Cell, gated

_POINTWISE = frozenset({"add", "sub", "mul"})
#: Between a gate and the product with h.
_SUMS = frozenset({"add", "sub", "slice", "gather", "concat", "batchnorm"})
_DEPTH = 6  #: of operations between a state and what it is made of
_MOST_TRIES = 48  #: of pairs of candidates, for one result


@dataclass
class Written:
    """A cell: its values of h (and c) before and after the step."""

    cell: Cell
    before: tuple[int, ...]
    after: tuple[int, ...]


class _Depends(dict[int, frozenset[int]]):
    """The states that values depend on; none, for those that were there before."""

    def __missing__(self, value: int) -> frozenset[int]:
        return frozenset()


def written(graph: Graph, steps: Collection[int]) -> list[Written]:
    """The cells with gates of a graph, in its order; ``steps``: values that are steps of sequences."""
    return list(_Finder(graph, steps).cells())


class _Finder:
    def __init__(self, graph: Graph, steps: Collection[int]) -> None:
        self._graph, self._steps = graph, steps
        self._at = {o: i for i, n in enumerate(graph.nodes) for o in n.outputs if o is not None}
        self._found: dict[int, Written] = {}  #: by both states after a cell

    def cells(self) -> Iterator[Written]:
        if not any(n.op == "activation" for n in self._graph.nodes):
            return
        for node in list(self._graph.nodes):
            out = node.outputs[0]
            if node.op in _POINTWISE and out is not None and self._graph.values[out].kind == "vec":
                found = self._lstm(node, out) if node.op == "mul" else self._gru(out)
                if found is not None:
                    self._found.update(dict.fromkeys(found.after, found))
                    yield found

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
            if not self._is(h, "activation") and (found := self._cell((h,), (out,))) is not None:
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
            layer = [v for v in layer if v not in self._found]
        return list(found)

    def _is_affine(self, value: int) -> bool:
        node = self._maker(value)
        return node is not None and node.op == "activation" and node.attrs["activation"].name == "affine"

    def _factors(self, cell: int) -> list[int]:
        """What the products that make a cell state are made of; states first."""
        factors = [f for m in self._inputs(cell) if self._is(m, "mul") for f in self._inputs(m)]
        return sorted(dict.fromkeys(factors), key=lambda v: (v not in self._found, self._is(v, "activation")))

    def _reads(self, out: int, c: int) -> list[int]:
        """What the products before the gates read, of the size of a state; the likeliest first."""
        size, found = self._graph.values[out].size, dict[int, None]()
        layer, seen = [out], set[int]()
        for _ in range(4 * _DEPTH):
            below: list[int] = []
            for v in layer:
                node = self._maker(v)
                if v in seen or v == c or (v in self._found and v != out) or node is None:
                    continue
                seen.add(v)
                if node.op == "dense":
                    x = self._inputs(v)[0]
                    parts = self._inputs(x) if self._is(x, "concat") else []
                    found.update(dict.fromkeys(p for p in [x, *parts] if self._graph.values[p].size == size))
                elif node.op in _POINTWISE or node.op in _SUMS or node.op == "activation":
                    below += self._inputs(v)
            layer = below
        pair = self._found[c].after[0] if c in self._found else None
        return sorted((v for v in found if v != c), key=lambda v: (v != pair, v in self._steps, v in self._found))[
            :_MOST_TRIES
        ]

    # -- the algebra ------------------------------------------------------------------------------------

    def _cell(self, before: tuple[int, ...], after: tuple[int, ...]) -> Written | None:
        depends = _Depends({v: frozenset({v}) for v in before})
        first = min(self._at.get(v, -1) for v in before) + 1
        for node in self._graph.nodes[first : max(self._at[v] for v in after) + 1]:
            union = frozenset[int]().union(*(depends[i] for i in node.inputs if i is not None))
            if union:
                depends.update({o: union for o in node.outputs if o is not None and o not in before})
        if any(depends[a] != frozenset(before) for a in after):
            return None
        cell = gated(self._graph, depends, before, after)
        return None if cell is None or not cell.x else Written(cell, before, after)
