"""``lstm-rt bench --nodes``: where the time of a call goes, node by node.

The core has no clock: one between the nodes would cost more than a small node does, and nodes of a pass run in chunks
of time, so that a node's work is not one stretch of it. So prefixes of the graph are timed, as models of their own:
what a node takes is what the prefix that ends with it takes more than the one before. That is the node where it stands,
with the caches as those before have left them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import lstm_rt
from lstm_rt.graph import Graph
from lstm_rt.ops import FEATURES
from lstm_rt.text import shown

from . import describe
from .timing import time_calls

_ROUNDS = 3  #: over all prefixes, so that a busy moment does not fall on one node alone


@dataclass(frozen=True)
class NodeTime:
    """Microseconds of one node, and its share of all."""

    index: int
    op: str
    layer: str
    sizes: str
    us: float
    share: float


def bench_nodes(graph: Graph, inputs: Sequence[Any], seconds: float) -> list[NodeTime]:
    """The time of each node on one thread; of one that makes a mask, within the next node's."""
    ends = [k for k, n in enumerate(graph.nodes) if _features(graph, k)]
    times: list[list[float]] = [[] for _ in ends]
    for _ in range(_ROUNDS):
        for k, found in zip(ends, times, strict=True):
            model = lstm_rt.Model(prefix(graph, k), threads=1)  # one at a time: each has the weights once more
            call = time_calls(lambda model=model: model(*inputs), seconds / _ROUNDS / len(ends))  # type: ignore[misc]
            found.append(float(np.median(call)))
    whole = [min(t) for t in times]
    own = np.maximum(np.diff([0.0, *whole]), 0.0)
    total = float(own.sum()) or 1.0
    facts = describe.describe(graph)["nodes"]
    return [
        NodeTime(k, graph.nodes[k].op, graph.nodes[k].name, facts[k]["sizes"], float(us), float(us) / total)
        for k, us in zip(ends, own, strict=True)
    ]


def prefix(graph: Graph, last: int) -> Graph:
    """The model that ends with a node, whose values of features are its outputs."""
    nodes = graph.nodes[: last + 1]
    kept = [*graph.inputs, *(o for n in nodes for o in n.outputs if o is not None)]
    new = {old: i for i, old in enumerate(kept)}
    g = Graph()
    g.axes = list(graph.axes)
    g.values = [graph.values[i] if i in graph.inputs else _inner(graph, i) for i in kept]
    g.nodes = [
        replace(n, inputs=tuple(None if i is None else new[i] for i in n.inputs),
                outputs=tuple(None if o is None else new[o] for o in n.outputs))
        for n in nodes
    ]  # fmt: skip
    g.inputs = [new[i] for i in graph.inputs]
    without_batch = not all(graph.values[i].has_batch for i in graph.inputs)
    for k, value in enumerate(_features(graph, last)):
        g.output(new[value], f"y{k}", "unbatched" if without_batch else "batch_first")
    return g


def _features(graph: Graph, index: int) -> list[int]:
    """What a node writes that can be an output."""
    return [o for o in graph.nodes[index].outputs if o is not None and graph.values[o].kind in FEATURES]


def _inner(graph: Graph, value: int) -> Any:
    return replace(graph.values[value], name="", order="batch_first", groups=0, dims=())


def as_text(times: Sequence[NodeTime]) -> str:
    """A table, in the order of the nodes."""
    rows = [
        [str(t.index), t.op, shown(t.layer, 40), t.sizes, f"{t.us:.1f}", f"{100 * t.share:.0f} %"] for t in times
    ]
    return describe.table(["#", "op", "layer", "sizes", "microseconds", "share"], rows, right=(0, 4, 5))
