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

from ..timing import time_calls
from . import describe

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
    (own,) = own_times([graph], inputs, ends, seconds)
    total = sum(own) or 1.0
    facts = describe.describe(graph)["nodes"]
    return [
        NodeTime(k, graph.nodes[k].op, graph.nodes[k].name, facts[k]["sizes"], us, us / total)
        for k, us in zip(ends, own, strict=True)
    ]


def own_times(
    graphs: Sequence[Graph], inputs: Sequence[Any], nodes: Sequence[int], seconds: float, least: int = 20
) -> list[list[float]]:
    """Microseconds that some nodes take on one thread, in each of several graphs of the same nodes.

    Args:
        nodes: numbers of nodes that write features.
        seconds: for each graph.
        least: calls of each prefix, at each time.
    """
    before = [next((j for j in range(k - 1, -1, -1) if _features(graphs[0], j)), None) for k in nodes]
    ends = sorted({k for k in (*nodes, *before) if k is not None})
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(_ROUNDS):
        for k in ends:
            for g, graph in enumerate(graphs):
                model = lstm_rt.Model(prefix(graph, k), threads=1)  # one at a time: each has the weights once more
                call = time_calls(lambda model=model: model(*inputs), seconds / _ROUNDS / len(ends), least)  # type: ignore[misc]
                times.setdefault((g, k), []).append(float(np.median(call)))

    def whole(g: int, k: int | None) -> float:
        return 0.0 if k is None else min(times[g, k])

    return [
        [max(whole(g, k) - whole(g, b), 0.0) for k, b in zip(nodes, before, strict=True)] for g in range(len(graphs))
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
    rows = [[str(t.index), t.op, shown(t.layer, 40), t.sizes, f"{t.us:.1f}", f"{100 * t.share:.0f} %"] for t in times]
    return describe.table(["#", "op", "layer", "sizes", "microseconds", "share"], rows, right=(0, 4, 5))
