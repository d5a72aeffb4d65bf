"""What the values of a graph are on data, as float64 has them: how large, and how large as a rule."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph, Node
from lstm_rt.ops import FEATURES

from ...judges import reference


@dataclass(frozen=True)
class Seen:
    most: float  #: the largest magnitude
    energy: float  #: the mean square

    @classmethod
    def of(cls, x: NDArray[Any]) -> Seen:
        return cls(float(np.abs(x).max()), float(np.mean(x * x))) if x.size else cls(0.0, 0.0)


@dataclass(frozen=True)
class Observed:
    """All values of numbers, batch first, by their index in the graph, and the states of recurrent layers."""

    values: dict[int | None, NDArray[np.float64]]
    states: dict[tuple[int, str], NDArray[np.float64]]  #: (N, T, H), before each step, by node's id and direction

    def of(self, index: int | None) -> Seen:
        return Seen.of(self.values[index])

    def state(self, node: Node, suffix: str) -> NDArray[np.float64]:
        """The h before each step (N, T, H), in the order of the steps."""
        return self.states[id(node), suffix]


def observe(graph: Graph, inputs: Sequence[NDArray[Any]]) -> Observed:
    """Run the graph in float64 on inputs in the graph's orders."""
    full = copy.copy(graph)
    full.selftest = None
    full.outputs = [i for i, v in enumerate(graph.values) if i not in graph.inputs and v.kind in FEATURES]
    given: dict[tuple[int, str], list[NDArray[Any]]] = {}

    def watch(node: Node, name: str, x: NDArray[Any]) -> None:
        if name.startswith("w_hh"):
            given.setdefault((id(node), name.removeprefix("w_hh")), []).append(x)

    outputs = reference.run(full, inputs, watch=watch)
    values: dict[int | None, NDArray[np.float64]] = {
        i: full.values[i].to_batch_first(np.asarray(y)) for i, y in zip(full.outputs, outputs, strict=True)
    }
    for i, x in zip(graph.inputs, inputs, strict=True):
        values[i] = graph.values[i].to_batch_first(np.asarray(x, dtype=np.float64))
    return Observed(values, {key: _states(graph, key, steps) for key, steps in given.items()})


def _states(graph: Graph, key: tuple[int, str], steps: list[NDArray[Any]]) -> NDArray[np.float64]:
    node = next(n for n in graph.nodes if id(n) == key[0])
    if node.op == "gru" and not node.attrs["reset_after"]:
        steps = steps[::2]  # every other one is reset
    backward = node.attrs["direction"] == "reverse" or key[1] == "_reverse"
    return np.stack(steps[::-1] if backward else steps, axis=1)
