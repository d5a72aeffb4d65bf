"""Matrices of which only the largest blocks are left: what pruning by magnitude does, for experiments."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.format.blocks import LEAST_BYTES, may_be_blocks, pieces, strips
from lstm_rt.graph import Graph, Node
from lstm_rt.quantised import Quantised


@dataclass(frozen=True)
class Pruned:
    """What became of one matrix."""

    node: int
    weight: str
    left: float  #: the share of blocks that are not zero
    why: str = ""  #: it stays as it was


def pruned(graph: Graph, share: float, inputs: int = 1) -> tuple[Graph, list[Pruned]]:
    """The graph, of whose matrices so large a share of the blocks has become 0; the given one stays what it is.

    A block is what 16 units of a gate have for some inputs (docs/format.md, section 3.5). Of each matrix of recurrent
    and dense layers those go whose sums of squares are the least.

    Args:
        graph: of float32.
        share: of the blocks of each matrix, above 0 and below 1.
        inputs: of a block: 1 for float32 weights, 2 for int16, 4 for int8.

    Raises:
        GraphError: the share is none, or the graph has integer weights.
    """
    if not 0 < share < 1:
        raise GraphError(f"prune: the share is {share!r}, expected a number above 0 and below 1")
    made, found = copy.copy(graph), []
    made.meta, made.nodes, made.selftest = dict(graph.meta), list(graph.nodes), None
    tables = [n.weights["table"] for n in graph.nodes if n.op == "embedding"]
    for i, node in enumerate(graph.nodes):
        for name in [n for n in node.weights if may_be_blocks(node, n)]:
            w: Any = node.weights[name]
            if isinstance(w, Quantised):
                raise GraphError(f"prune: {name} is made of integers; begin with the model of float32")
            why = _why_not(w, inputs, tables)
            if not why:
                w = _without_the_least(node, name, w, share, inputs)
                made.nodes[i] = replace(made.nodes[i], weights={**made.nodes[i].weights, name: w}, blocks={})
            norms = np.concatenate(_norms(node, name, w, inputs))
            found.append(Pruned(i, name, float(np.mean(norms != 0)), why))
    return made, found


def _why_not(w: NDArray[Any], inputs: int, tables: list[Any]) -> str:
    if not np.isfinite(w).all():
        return "it is not finite"
    if w.nbytes // inputs < LEAST_BYTES:
        return f"it is so small ({w.nbytes // inputs:,} bytes) that blocks are not faster"
    if any(t is w or np.array_equal(t, w) for t in tables):
        return "an embedding looks its rows up"
    return ""


def _norms(node: Node, name: str, w: NDArray[Any], inputs: int) -> list[NDArray[np.float64]]:
    """Of each strip, the sums of squares of its blocks."""
    found = []
    for matrix, gates in pieces(node, name, w):
        for strip in strips(matrix, gates):
            columns = np.square(strip.astype(np.float64)).sum(axis=0)
            found.append(np.add.reduceat(columns, np.arange(0, columns.size, inputs)))
    return found


def _without_the_least(node: Node, name: str, w: NDArray[Any], share: float, inputs: int) -> NDArray[np.float32]:
    out: NDArray[np.float32] = w.copy()
    norms = _norms(node, name, out, inputs)
    every = np.concatenate(norms)
    gone = np.zeros(every.size, bool)
    gone[np.argsort(every, kind="stable")[: round(share * every.size)]] = True
    at = 0
    for matrix, gates in pieces(node, name, out):  # views of it
        for strip in strips(matrix, gates):
            words = -(-strip.shape[1] // inputs)
            strip[:, np.repeat(gone[at : at + words], inputs)[: strip.shape[1]]] = 0
            at += words
    return out
