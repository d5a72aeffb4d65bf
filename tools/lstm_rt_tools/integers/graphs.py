"""A graph with integer weights: the matrices of recurrent and dense layers and the tables of embeddings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from lstm_rt._core import MAX_SIZE
from lstm_rt.errors import GraphError
from lstm_rt.graph import GATES, Array, Graph, Node
from lstm_rt.quantised import Quantised, has_integers

from .calibrate import Key, Moments, key_of, moments
from .matrices import quantised

#: Of each matrix its bits, 0 for float32, and then why.
Choices: TypeAlias = dict[Key, tuple[int, str]]
Done: TypeAlias = dict[tuple[Key, int], Quantised]

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
    why: str = ""  #: it stays float32, or has more bits than it might


def quantize(
    graph: Graph, bits: int = 8, activations: int = 16, calibrate: Sequence[NDArray[Any]] | None = None
) -> Graph:
    """The graph with int8 or int16 weights, and a scale for each of their rows; the given one stays what it is.

    Input, recurrent and projection matrices of recurrent layers, weights of dense layers and tables of embeddings
    become integers. What they are multiplied with is rounded too while the model runs, each row and step with a scale
    of its own. Biases, states, gates and normalisations stay float32, as do matrices of at most 4 inputs and those that
    are not finite.

    Args:
        graph: without integer weights.
        bits: 8 or 16.
        activations: 16, or 8 for speed with int8 weights.
        calibrate: inputs as the model meets them, in the order of ``graph.inputs``: weights are then rounded such
            that their errors make up for each other on such data.

    Raises:
        GraphError: bits or activations are others, or the graph has integer weights already.
        InputError: the calibration data do not fit, are empty, or not finite.
    """
    known = None if calibrate is None else moments(graph, calibrate)
    return quantize_with_report(graph, bits, activations, known)[0]


def quantize_with_report(
    graph: Graph, bits: int | Choices, activations: int, known: Moments | None = None, done: Done | None = None
) -> tuple[Graph, list[Change]]:
    """The same, and what became of each matrix.

    Args:
        bits: of all, or of each matrix.
        known: what calibration data say of the matrices.
        done: matrices that are integers already, and where those that become it are kept.
    """
    if not isinstance(bits, dict) and bits not in BITS:
        raise GraphError(f"quantize: bits is {bits!r}, expected 8 or 16")
    if activations not in ACTIVATIONS:
        raise GraphError(f"quantize: activations is {activations!r}, expected 8 or 16")
    if has_integers(graph):
        raise GraphError("quantize: the model has integer weights already; begin with that of float32")
    made = copy.copy(graph)
    made.meta = dict(graph.meta)
    made.selftest = None  # of the float32 model
    changes: list[Change] = []
    done = {} if done is None else done
    made.nodes = list(graph.nodes)
    for i, name in matrices_of(graph):
        node, w = made.nodes[i], graph.nodes[i].weights[name]
        key = key_of(w)
        mine, why = bits.get(key, (0, "")) if isinstance(bits, dict) else (bits, "")
        never = why_not(node, w)
        if mine and not never:
            if (key, mine) not in done:
                done[key, mine] = quantised(w, mine, activations, (known or {}).get(key))
            weights = {**node.weights, name: cast(Array, done[key, mine])}
            made.nodes[i] = replace(node, weights=weights)
        after = made.nodes[i].weights[name].nbytes
        changes.append(Change(i, name, 0 if never else mine, w.nbytes, after, never or why))
    made.meta["quantised"] = {"weights": "auto" if isinstance(bits, dict) else bits, "activations": activations}
    return made, changes


def matrices_of(graph: Graph) -> list[tuple[int, str]]:
    """What could be integers: numbers of nodes, and names of weights."""
    return [(i, name) for i, n in enumerate(graph.nodes) for name in n.weights if _is_matrix(n, name)]


def _is_matrix(node: Node, name: str) -> bool:
    if node.op in GATES:
        return name.removesuffix("_reverse") in ("w_ih", "w_hh", "w_hr")
    return (node.op, name) in (("dense", "weight"), ("embedding", "table"))


def why_not(node: Node, w: Any) -> str:
    """Why a matrix stays float32, or nothing."""
    if not np.isfinite(w).all():
        return "it is not finite"
    if w.shape[1] <= FEW_INPUTS:
        return f"it has {w.shape[1]} inputs"
    if node.op == "embedding" and len(w) > MAX_SIZE:
        return f"it has more than {MAX_SIZE:,} rows"
    return ""
