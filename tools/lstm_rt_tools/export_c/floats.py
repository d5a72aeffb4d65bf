"""The plan of a model that computes in float32: each op as calls of the core's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.activations import ACT_CODES, Activation
from lstm_rt.graph import Graph, Node, Value
from lstm_rt.quantised import has_integers

from .arrays import LANES, float_text
from .names import port_names
from .plan import CArray, Memory, Plan, Port, cannot, last_reads, refuse_axes, resolve

_CTYPES = {"seq": "float", "vec": "float", "ids": "int32_t"}


class Job:
    """One plan in the making.

    Every value of the graph has a place: of a stream room for one step, else for as many as a run may have.
    """

    def __init__(self, graph: Graph, steps: int | None, lanes: int) -> None:
        self.graph, self.steps, self.lanes = graph, steps, lanes
        self.plan = Plan(*_ports(graph), steps, headers=["micro/lrt_micro.h"])
        self.memory = Memory()
        self.last = last_reads(graph)
        self.index = 0
        self.places: dict[int, str] = {}
        for i, port in zip(graph.inputs, self.plan.inputs, strict=True):
            self.places[i] = port.symbol
        self._shared: dict[tuple[str, str, bytes], str] = {}

    # -- what ops ask for

    def padded(self, n: int) -> int:
        """So many units, up to whole panels."""
        return -(-n // self.lanes) * self.lanes

    @property
    def whole(self) -> bool:
        """Runs of whole sequences, not a stream?"""
        return self.steps is not None

    def value(self, index: int | None) -> Value:
        assert index is not None
        return self.graph.values[index]

    def source(self, node: Node, i: int = 0) -> tuple[str, Value]:
        """Where input i of a node is, and what."""
        index = node.inputs[i]
        assert index is not None
        return self.places[index], self.graph.values[index]

    def rows(self, v: Value) -> int:
        """Most rows of a value."""
        return self.steps if self.steps is not None and v.timed else 1

    def result(self, node: Node, output: int = 0, spill: bool = False) -> str:
        """Room for what a node writes: the caller's where that is an output of the model.

        Args:
            spill: whether whole panels are written, so that it has to be in the arena.
        """
        index = node.outputs[output]
        assert index is not None
        v = self.graph.values[index]
        exact = not spill or v.size % self.lanes == 0
        if index in self.graph.outputs and exact:
            place = self.plan.outputs[self.graph.outputs.index(index)].symbol
        else:
            count = self.rows(v) * v.size if exact else self.padded(v.size)
            place = self.memory.buffer(count, self.index, self.last.get(index, self.index))
        self.places[index] = place
        return place

    def alias(self, node: Node, place: str, output: int = 0) -> None:
        """What a node writes is there already."""
        index = node.outputs[output]
        assert index is not None
        self.places[index] = place

    def scratch(self, count: int) -> str:
        """Room during this node."""
        return self.memory.buffer(count, self.index, self.index)

    def state(self, count: int) -> str:
        """Room that a stream keeps."""
        return self.memory.state(count)

    def array(self, name: str, values: NDArray[Any], ctype: str = "float") -> str:
        """An array of constants, and its name; equal ones are there once."""
        key = (ctype, str(values.dtype), np.ascontiguousarray(values).tobytes())
        if key not in self._shared:
            self._shared[key] = f"{name}{self.index}"
            self.plan.arrays.append(CArray(f"{name}{self.index}", ctype, values))
        return f"$_{self._shared[key]}"

    def need(self, header: str) -> None:
        if header not in self.plan.headers:
            self.plan.headers.append(header)

    def call(self, text: str) -> None:
        self.plan.calls.append(text)

    def at(self, place: str, v: Value, t: str = "t") -> str:
        """Row t of a value."""
        return f"{place} + {t} * {v.size}" if self.whole and v.timed else place

    def each(self, timed: bool, text: str, backward: bool = False) -> None:
        """A call for each step, `t`, or once."""
        if not (self.whole and timed):
            self.call(text)
        elif backward:
            self.call(f"for (uint32_t t = steps; t-- > 0;)\n        {text}")
        else:
            self.call(f"for (uint32_t t = 0; t < steps; t++)\n        {text}")


def _ports(graph: Graph) -> tuple[list[Port], list[Port]]:
    indices = [*graph.inputs, *graph.outputs]
    names = port_names(graph.values[i].name for i in indices)
    ports: list[Port] = []
    for i, name in zip(indices, names, strict=True):
        v = graph.values[i]
        role = "in" if len(ports) < len(graph.inputs) else "out"
        ports.append(Port(name, _CTYPES.get(v.kind, ""), max(v.size, 1), v.timed, v.name, role))
    return ports[: len(graph.inputs)], ports[len(graph.inputs) :]


# -- ops: each in its function --------------------------------------------------------------------------------------

Op = Callable[[Job, Node], None]
OPS: dict[str, Op] = {}


def op(*names: str) -> Callable[[Op], Op]:
    def add(function: Op) -> Op:
        OPS.update(dict.fromkeys(names, function))
        return function

    return add


def act_text(act: Activation) -> str:
    """An activation as an initialiser."""
    return f"{ACT_CODES[act.name]}u, {float_text(act.alpha or 0.0)}, {float_text(act.beta or 0.0)}"


def make_plan(graph: Graph, steps: int | None, lanes: int = LANES) -> Plan:
    """The plan of a graph; ExportError where something in it has no C.

    Args:
        steps: the most steps of a run; None: the model streams, one step at a time.
        lanes: units of a panel: 4, or 8 or 16 for wider vectors.
    """
    from . import float_cells, float_rows  # noqa: F401 - they fill OPS

    refuse_axes(graph)
    job = Job(graph, steps, lanes)
    if lanes != LANES:
        job.plan.defines["LRT_LANES"] = str(lanes)
    for i in graph.inputs:
        if graph.values[i].kind not in _CTYPES:
            raise cannot(Node("input", (), ()), f"{graph.values[i].name} is of kind {graph.values[i].kind}")
    for job.index, node in enumerate(graph.nodes):
        if node.op not in OPS:
            raise cannot(node)
        for v in (graph.values[i] for i in node.outputs if i is not None):
            if v.timed and not graph.axes[v.axis].is_input:
                raise cannot(node, "it changes the number of steps")
        OPS[node.op](job, node)
    _copy_outputs(job)
    plan = job.plan
    plan.headers.sort(key=lambda h: h == "micro/lrt_micro_mixed.h")  # it is about those before it
    if has_integers(graph):
        plan.words = "float32, with integer weights"
    plan.state_bytes, arena = job.memory.settle()
    plan.arena_bytes = max(arena, 4)  # C has no memory of no bytes
    places = job.memory.places()
    plan.calls = [resolve(text, places) for text in plan.calls]
    return plan


def _copy_outputs(job: Job) -> None:
    """Outputs that are not where the caller wants them."""
    job.index = len(job.graph.nodes)
    for index, port in zip(job.graph.outputs, job.plan.outputs, strict=True):
        v, place = job.graph.values[index], job.places[index]
        if place != port.symbol:
            count = f"steps * {v.size}" if job.whole and v.timed else str(v.size)
            job.call(f"micro_copy({port.symbol}, {place}, {count});")
