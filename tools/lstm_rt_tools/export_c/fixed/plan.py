"""The plan of a model in integers, with its test and what it says of its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import InputError
from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ...integers import calibrate as calibration
from ...integers import measure
from ..plan import Plan, Test
from . import emit
from .network import Network, make_network
from .observed import Observed, observe

TEST_STEPS = 12  #: of the self-test, at the most


def make_plan(graph: Graph, steps: int | None, bits: int, calibrate: Sequence[NDArray[Any]] | None) -> Plan:
    """As :func:`lstm_rt_tools.export_c.export.fixed_plan` has it."""
    data = measure.made_up(graph) if calibrate is None else calibration.checked(graph, calibrate)
    if calibrate is None and steps is not None:
        data = _first_steps(graph, data, steps)
    seen = observe(graph, data)
    if not any(seen.values[i].size for i in graph.outputs):
        raise InputError("the calibration data have no steps or rows")
    network = make_network(graph, bits, seen, compensate=calibrate is not None)
    plan = emit.make_plan(network, steps)
    given = [
        network.quantised_input(i, graph.values[i].to_batch_first(np.asarray(x)))
        for i, x in zip(graph.inputs, data, strict=True)
    ]
    outputs = network.run(given)
    plan.test = _test(network, given, min(TEST_STEPS, steps or TEST_STEPS))
    plan.facts += _facts(network, seen, outputs, calibrate is not None)
    return plan


def _first_steps(graph: Graph, data: list[NDArray[Any]], steps: int) -> list[NDArray[Any]]:
    found = []
    for i, x in zip(graph.inputs, data, strict=True):
        v = graph.values[i]
        rows = v.to_batch_first(x)
        found.append(np.ascontiguousarray(v.from_batch_first(rows[:, :steps] if v.timed else rows)))
    return found


def _test(network: Network, given: Sequence[NDArray[Any]], steps: int) -> Test:
    """The first steps of the first row, and what the device has to make of them: these very integers."""
    graph = network.graph
    timed = [graph.values[i].timed for i in graph.inputs]
    rows = [x[:1, :steps] if t else x[:1] for x, t in zip(given, timed, strict=True)]
    outputs = network.run(rows)
    types = [np.int32 if graph.values[i].kind == "ids" else np.int16 for i in graph.inputs]
    shapes = [(-1, max(graph.values[i].size, 1)) for i in [*graph.inputs, *graph.outputs]]
    arrays = [x[0].reshape(s).astype(t) for x, s, t in zip(rows, shapes, types, strict=False)]
    expected = [y[0].reshape(s).astype(np.int16) for y, s in zip(outputs, shapes[len(rows) :], strict=True)]
    return Test(arrays, expected, 0.0, 0.0)


def _facts(network: Network, seen: Observed, outputs: Sequence[NDArray[Any]], calibrated: bool) -> list[str]:
    lines = []
    what = "the calibration data" if calibrated else "noise of unit scale"
    for index, y in zip(network.graph.outputs, network.as_floats(outputs), strict=True):
        exact = seen.values[index]
        away = np.abs(y - exact)
        name = shown(network.graph.values[index].name)
        lines.append(
            f"error of {name} on {what}: at most {away.max():.2g}, {away.mean():.2g} in the mean, "
            f"of numbers up to {np.abs(exact).max():.3g}"
        )
    if not calibrated:
        lines.append("ranges are those of noise of unit scale: give --calibrate, rows as the model meets them")
    return lines
