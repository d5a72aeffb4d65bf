"""A graph with integer weights: its matrices, convolutions and tables of embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np

from lstm_rt._core import MAX_SIZE
from lstm_rt.errors import GraphError
from lstm_rt.format.blocks import pieces, share_of, stored
from lstm_rt.graph import GATES, Array, Graph, Node
from lstm_rt.ops import OPS
from lstm_rt.quantised import PANEL, Quantised, has_integers
from lstm_rt.text import shown

from .calibrate import Key, Moments, key_of
from .matrices import quantised, rows_lost

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
    rows_lost: int = 0  #: rows of which more than half of the weights became 0
    blocks: float | None = None  #: where it is stored as blocks: which share of them is not zero
    blocks_lost: float | None = None  #: where it was and no longer is: the share that it would have


def quantize_with_report(
    graph: Graph,
    bits: int | Choices,
    activations: int,
    known: Moments | None = None,
    done: Done | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Graph, list[Change]]:
    """The graph with integer weights and without a self-test, and what became of each matrix.

    Args:
        bits: of all, or of each matrix.
        known: what calibration data say of the matrices.
        done: matrices that are integers already, and where those that become it are kept.
        tell: is told what is being done.

    Raises:
        GraphError: bits or activations are others than 8 or 16, or the graph has integer weights already.
    """
    if not isinstance(bits, dict) and bits not in BITS:
        raise GraphError(f"quantize: bits is {bits!r}, expected 8 or 16")
    if activations not in ACTIVATIONS:
        raise GraphError(f"quantize: activations is {activations!r}, expected 8 or 16")
    refuse_integers(graph, "quantize: the model")
    made = copy.copy(graph)
    made.meta = dict(graph.meta)
    made.selftest = None  # of the float32 model
    changes: list[Change] = []
    done = {} if done is None else done
    made.nodes = list(graph.nodes)
    matrices = matrices_of(graph)
    tables = {key_of(n.weights["table"]) for n in graph.nodes if n.op == "embedding"}  # are looked up: never blocks
    for n, (i, name) in enumerate(matrices):
        tell(f"rounding matrix {n + 1} of {len(matrices)}")
        node, w = made.nodes[i], graph.nodes[i].weights[name]
        key = key_of(w)
        mine, why = bits.get(key, (0, "")) if isinstance(bits, dict) else (bits, "")
        never = why_not(node, w)
        if mine and not never:
            if (key, mine) not in done:
                done[key, mine] = quantised(w, mine, activations, (known or {}).get(key))
            weights = {**node.weights, name: cast(Array, done[key, mine])}
            made.nodes[i] = replace(node, weights=weights, blocks={})
        after: Any = made.nodes[i].weights[name]
        lost = rows_lost(w, after) if isinstance(after, Quantised) else 0
        (before, sparse), (size, blocks) = stored(node, name, w), stored(node, name, after)
        if key in tables:
            before, sparse, size, blocks = w.nbytes, None, after.nbytes, None
        whole = share_of(pieces(node, name, after)) if sparse is not None and blocks is None else None
        changes.append(Change(i, name, 0 if never else mine, before, size, never or why, lost, blocks, whole))
    return made, changes


def refuse_integers(graph: Graph, what: str) -> None:
    """Raise GraphError if it has integer weights, with what to begin with instead."""
    if not has_integers(graph):
        return
    made = graph.meta.get("quantised")
    source = made.get("from") if isinstance(made, dict) else None
    known = (
        [f"{key} {shown(source[key])}" for key in ("file", "checksum") if key in source]
        if isinstance(source, dict)
        else []
    )
    before = f" ({', '.join(known)})" if known else ""
    raise GraphError(f"{what} has integer weights already; quantize the float32 model that it was made from{before}")


def matrices_of(graph: Graph) -> list[tuple[int, str]]:
    """What could be integers: numbers of nodes, and names of weights."""
    return [(i, name) for i, n in enumerate(graph.nodes) for name in n.weights if _is_matrix(n, name)]


def _is_matrix(node: Node, name: str) -> bool:
    if node.op in GATES:
        return name.removesuffix("_reverse") in ("w_ih", "w_hh", "w_hr")
    return any(w.name == name and w.integers for w in OPS[node.op].weights)


def why_not(node: Node, w: Any) -> str:
    """Why a matrix stays float32, or nothing."""
    if not np.isfinite(w).all():
        return "it is not finite"
    inputs = w[0].size
    if node.op == "conv" and node.attrs["groups"] > 1 and len(w) // node.attrs["groups"] % PANEL:
        outputs = len(w) // node.attrs["groups"]
        return f"its groups have {outputs} output{'s' * (outputs > 1)}, no multiple of {PANEL}"
    if inputs <= FEW_INPUTS:
        return f"it has {inputs} input{'s' * (inputs > 1)}"
    if node.op == "embedding" and len(w) > MAX_SIZE:
        return f"it has more than {MAX_SIZE:,} rows"
    return ""
