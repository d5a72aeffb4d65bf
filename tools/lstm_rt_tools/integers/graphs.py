"""A graph with integer weights: the matrices of recurrent and dense layers and the tables of embeddings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from lstm_rt._core import MAX_SIZE
from lstm_rt.errors import GraphError
from lstm_rt.graph import GATES, Array, Graph, Node
from lstm_rt.quantised import has_integers

from .matrices import quantised

BITS = (8, 16)
ACTIVATIONS = (8, 16)
FEW_INPUTS = 4  #: a matrix of so few inputs stays float32: it is small, and each step would round its row for little


@dataclass(frozen=True)
class Change:
    """What became of one matrix."""

    node: int
    weight: str
    bits: int  #: 0: it stays float32
    before: int  #: bytes
    after: int
    why: str = ""  #: it stays float32


def quantize(graph: Graph, bits: int = 8, activations: int = 16) -> Graph:
    """The graph with int8 or int16 weights, and a scale for each of their rows; the given one stays what it is.

    Input, recurrent and projection matrices of recurrent layers, weights of dense layers and tables of embeddings
    become integers. What they are multiplied with is rounded too while the model runs, each row and step with a scale
    of its own. Biases, states, gates and normalisations stay float32, as do matrices of at most 4 inputs and those that
    are not finite.

    Args:
        graph: without integer weights.
        bits: 8 or 16.
        activations: 16, or 8 for speed with int8 weights.

    Raises:
        GraphError: bits or activations are others, or the graph has integer weights already.
    """
    return quantize_with_report(graph, bits, activations)[0]


def quantize_with_report(graph: Graph, bits: int, activations: int) -> tuple[Graph, list[Change]]:
    """The same, and what became of each matrix."""
    if bits not in BITS:
        raise GraphError(f"quantize: bits is {bits!r}, expected 8 or 16")
    if activations not in ACTIVATIONS:
        raise GraphError(f"quantize: activations is {activations!r}, expected 8 or 16")
    if has_integers(graph):
        raise GraphError("quantize: the model has integer weights already; begin with that of float32")
    made = copy.copy(graph)
    made.meta = dict(graph.meta)
    made.selftest = None  # of the float32 model
    changes: list[Change] = []
    made.nodes = [_node(i, n, bits, activations, changes) for i, n in enumerate(graph.nodes)]
    made.meta["quantised"] = {"weights": bits, "activations": activations}
    return made, changes


def _node(index: int, node: Node, bits: int, activations: int, changes: list[Change]) -> Node:
    weights = dict(node.weights)
    for name, w in node.weights.items():
        if not _is_matrix(node, name):
            continue
        why = _why_not(node, w)
        if not why:
            weights[name] = cast(Array, quantised(w, bits, activations))
        changes.append(Change(index, name, 0 if why else bits, w.nbytes, weights[name].nbytes, why))
    return replace(node, weights=weights)


def _is_matrix(node: Node, name: str) -> bool:
    if node.op in GATES:
        return name.removesuffix("_reverse") in ("w_ih", "w_hh", "w_hr")
    return (node.op, name) in (("dense", "weight"), ("embedding", "table"))


def _why_not(node: Node, w: Any) -> str:
    if not np.isfinite(w).all():
        return "it is not finite"
    if w.shape[1] <= FEW_INPUTS:
        return f"it has {w.shape[1]} inputs"
    if node.op == "embedding" and len(w) > MAX_SIZE:
        return f"it has more than {MAX_SIZE:,} rows"
    return ""
