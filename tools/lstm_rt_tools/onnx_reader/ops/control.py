"""Graphs inside of nodes: If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_rt.errors import ConvertError

from ...program.machine import Exhausted, Tensor
from .. import proto
from ..call import Call, Value, op
from .shapes import permute

_MOST_TURNS = 1 << 12  #: of a loop that is run here


@op("If")
def _if(c: Call) -> Value | tuple[Value, ...]:
    condition = c.known(0, "the condition")
    if condition.size != 1:
        raise c.error(f"its condition has {condition.size} numbers, expected one")
    branches = c.graph("else_branch"), c.graph("then_branch")
    return tuple(c.run_graph(branches[bool(condition.any())], []))


@op("Loop")
def _loop(c: Call) -> Value | tuple[Value, ...]:
    trips = None if c.optional(0) is None else int(c.known_number(0, "the number of turns", 0))
    condition = True if c.optional(1) is None else bool(c.known(1, "the condition").any())
    states, body = c.values()[2:], c.graph("body")
    tensors = [s for s in states if isinstance(s, Tensor)]
    if len(tensors) < len(states):
        return tuple(_unrolled(c, trips, condition, states))
    trips = _counted(c, body, condition, tensors) if trips is None else trips

    def turn(number: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        go_on, *found = _all_tensors(c, c.run_graph(body, [number, c.constant(np.array(True)), *given]))
        return go_on, found[: len(given)], found[len(given) :]

    finals, stacked = c.m.loop(turn, trips, condition, tensors)
    _check_outputs(c, len(finals) + len(stacked))
    return (*finals, *stacked)


def _counted(c: Call, body: proto.Graph, condition: bool, states: Sequence[Tensor]) -> int | None:
    """Turns of a loop that its condition ends, by numbers of its own that count; None where it is ended otherwise."""
    counters = [k for k, s in enumerate(states) if s.known and s.data.size == 1 and s.dtype.kind in "iu"]
    values: list[Value] = list(states)
    turn = 0
    while condition:
        if turn == _MOST_TURNS:
            return None
        given = [c.constant(np.int64(turn)), c.constant(np.array(True)), *values]
        try:
            go_on, *found = c.run_some(body, [0, *(k + 1 for k in counters)], given)
        except Exhausted:
            raise
        except ConvertError:
            return None
        if not all(isinstance(v, Tensor) and v.known for v in (go_on, *found)):
            return None
        assert isinstance(go_on, Tensor)
        for k, value in zip(counters, found, strict=True):
            values[k] = value
        condition, turn = bool(go_on.data.any()), turn + 1
    return turn


def _unrolled(c: Call, trips: int | None, condition: bool, states: list[Value]) -> list[Value]:
    """A loop that carries a sequence, which only a front end knows."""
    body, turn, stacked = c.graph("body"), 0, []
    while condition and (trips is None or turn < trips):
        if turn == _MOST_TURNS:
            raise c.error(f"it has not ended after {_MOST_TURNS} turns")
        go_on, *found = c.run_graph(body, [c.constant(np.int64(turn)), c.constant(np.array(True)), *states])
        states = found[: len(states)]
        stacked.append(_all_tensors(c, found[len(states) :]))
        (number,) = _all_tensors(c, [go_on])
        condition, turn = bool(c.m.number(number, "the condition of a loop").any()), turn + 1
    columns = [c.m.stack(column) for column in zip(*stacked, strict=True)]
    _check_outputs(c, len(states) + len(columns))
    return [*states, *columns]


@op("Scan")
def _scan(c: Call) -> Value | tuple[Value, ...]:
    if c.version < 9:
        raise c.error("the Scan of opset 8, with its axis of batches, is not supported; convert the model to opset 9")
    count, body = c.integer("num_scan_inputs"), c.graph("body")
    given = c.tensors()
    if not 0 < count <= len(given):
        raise c.error(f"num_scan_inputs is {count}, of {len(given)} inputs")
    states, xs = given[:-count], given[-count:]
    axes = [c.axis(a, x.ndim) for a, x in zip(_listed(c, "scan_input_axes", count), xs, strict=True)]
    backward = [bool(d) for d in _listed(c, "scan_input_directions", count)]

    def step(before: Sequence[Tensor], slices: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        found = _all_tensors(c, c.run_graph(body, [*before, *slices]))
        return found[: len(before)], found[len(before) :]

    finals, stacked = c.m.scan(step, states, xs, axes, backward)
    _check_outputs(c, len(finals) + len(stacked))
    places = _listed(c, "scan_output_axes", len(stacked))
    turned = _listed(c, "scan_output_directions", len(stacked))
    return (*finals, *(_placed(c, y, a, bool(d)) for y, a, d in zip(stacked, places, turned, strict=True)))


def _placed(c: Call, y: Tensor, axis: int, backward: bool) -> Tensor:
    """What a scan has stacked, on the axis where it is to be."""
    y = c.one("flip", y, axis=0) if backward else y
    order = list(range(1, y.ndim))
    order.insert(c.axis(axis, y.ndim), 0)
    return permute(c, y, order)


def _listed(c: Call, name: str, count: int) -> list[int]:
    values = c.ints(name) or [0] * count
    if len(values) != count:
        raise c.error(f"{name} has {len(values)} numbers, expected {count}")
    return values


def _all_tensors(c: Call, values: Sequence[Value]) -> list[Tensor]:
    tensors = [v for v in values if isinstance(v, Tensor)]
    if len(tensors) < len(values):
        raise c.error("its body gives what is no tensor")
    return tensors


def _check_outputs(c: Call, count: int) -> None:
    """A loop that has not turned gives nothing to stack."""
    wanted = max((i + 1 for i in range(len(c.node.output)) if c.wants(i)), default=0)
    if wanted > count:
        raise c.error(f"it gives {count} values, {wanted} are expected: its body never runs, or is damaged")
