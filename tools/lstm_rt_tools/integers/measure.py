"""How far a graph with integer weights is from that of float32, and the test that its file keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt import Model
from lstm_rt.errors import InputError
from lstm_rt.format import dumps
from lstm_rt.graph import Graph, SelfTest
from lstm_rt.quantised import Quantised

from ..judges import testdata

ROWS, STEPS = 4, 100  #: of data that are made up
_FINE = 0.005  #: of an output's largest number: half of what a self-test may allow


@dataclass(frozen=True)
class Error:
    """Of one output: the largest and the mean distance from float32, and the largest number of the latter.

    Numbers that are not finite in both, and alike, are in none of these.
    """

    name: str
    max_abs: float
    mean_abs: float
    largest: float
    not_finite: int = 0  #: numbers of float32 that are NaN or infinite


def made_up(graph: Graph) -> list[NDArray[Any]]:
    """Inputs for measuring, where no data are given."""
    return testdata.make_inputs(graph, ROWS, testdata.enough_steps(graph, STEPS) | testdata.fixed_steps(graph))


def outputs_of(graph: Graph, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What the runtime gives, on one thread.

    Raises:
        InputError: the arrays do not fit the graph, or hold nothing.
    """
    model = Model(dumps(graph), threads=1)
    got = model(*inputs)
    found = list(got) if isinstance(got, tuple) else [got]
    if not all(y.size for y in found):
        raise InputError("the calibration data have no steps or rows, so there is nothing to compare")
    return found


def errors(graph: Graph, exact: Sequence[NDArray[Any]], inputs: Sequence[NDArray[Any]]) -> list[Error]:
    """Of each output, over all rows and steps."""
    found = []
    for o, want, got in zip(graph.outputs, exact, outputs_of(graph, inputs), strict=True):
        finite = np.isfinite(want)
        same = ~finite & ((got == want) | (np.isnan(got) & np.isnan(want)))
        gap = np.abs(got[~same].astype(np.float64) - want[~same])
        gap[np.isnan(gap)] = np.inf  # NaN in one of them
        worst, mean = (float(gap.max()), float(gap.mean())) if gap.size else (0.0, 0.0)
        largest = float(np.max(np.abs(want[finite]), initial=0))
        found.append(Error(graph.values[o].name, worst, mean, largest, int((~finite).sum())))
    return found


def only_node(graph: Graph, quantised: Graph, node: int) -> Graph:
    """The graph, of which one node alone has integer weights."""
    made = Graph()
    made.__dict__.update(graph.__dict__)
    made.nodes = [quantised.nodes[node] if i == node else n for i, n in enumerate(graph.nodes)]
    made.selftest = None
    return made


def selftest(graph: Graph) -> SelfTest | None:
    """A test of the graph's own outputs, as the runtime gives them; None where it would prove nothing.

    Tables without fused multiply-add have other last bits, by which a number that is rounded to an integer may become
    the one beside it. The test allows what that does to a sum, as far as a test may allow something.
    """
    test = testdata.make_selftest(graph, lambda inputs: outputs_of(graph, inputs))
    if test is None:
        return None
    weights: list[Any] = [w for n in graph.nodes for w in n.weights.values()]
    matrices = [w for w in weights if isinstance(w, Quantised)]
    step = max((float(np.abs(w.astype(np.float64)).max()) / w.limit for w in matrices), default=0.0)
    fine = min(float(np.max(np.abs(y), initial=0)) for y in test.outputs) * _FINE
    return replace(test, atol=max(test.atol, min(2 * step, fine)))
