"""The plan of a model that computes in integers: each layer as calls of the functions in src/fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import GraphError
from lstm_rt.graph import Node, Value

from ..names import port_names
from ..plan import CArray, Memory, Plan, Port, cannot, last_reads, resolve
from . import cells
from .acts import Bounded
from .network import Conv, Dense, Joined, Network, Recurrent, Scaled, Table
from .pack import CHUNK, QUAD, chunks_of, packed
from .rows import Rows

_ROOM = QUAD  #: what vectors of units are rounded up to
_SUMS = 64  #: int16 that are behind the vector of an lstm: the sums and multipliers of four units


def _up(n: int) -> int:
    return -(-n // _ROOM) * _ROOM


@dataclass(frozen=True)
class Place:
    """Where a value is: an expression, numbers from one step to the next, and whether there is room for whole fours."""

    at: str
    stride: int
    room: bool


class Job:
    """One plan in the making. The arena is counted in int16."""

    def __init__(self, network: Network, steps: int | None) -> None:
        self.network, self.graph, self.steps = network, network.graph, steps
        inputs, outputs = _ports(network)
        words = f"integers alone, weights int{network.bits}, all else int16 and int32"
        headers = ["fixed/lrt_fixed.h"]
        self.plan = Plan(inputs, outputs, steps, headers, words=words, unit="int16_t", floats=False)
        self.plan.defines["LRT_FIXED_BITS"] = str(network.bits)
        self.memory = Memory(unit=2, align=2 * _ROOM)
        self.last = last_reads(self.graph)
        self.index = 0
        self.places: dict[int, Place] = {}
        for i, port in zip(self.graph.inputs, self.plan.inputs, strict=True):
            self.places[i] = Place(port.symbol, port.size, False)

    @property
    def whole(self) -> bool:
        """Runs of whole sequences, not a stream?"""
        return self.steps is not None

    def value(self, index: int | None) -> Value:
        return self.network.value(index)

    def source(self, node: Node, i: int = 0) -> tuple[Place, Value]:
        index = node.inputs[i]
        assert index is not None
        return self.places[index], self.graph.values[index]

    def timed(self, v: Value) -> bool:
        """Has it a row for each step of a run?"""
        return self.whole and v.timed

    def result(self, node: Node, output: int = 0) -> Place:
        """Room for what a node writes."""
        index = node.outputs[output]
        assert index is not None
        v = self.graph.values[index]
        rows = self.steps if self.steps is not None and v.timed else 1
        at = self.memory.buffer(rows * _up(v.size), self.index, self.last.get(index, self.index))
        self.places[index] = Place(at, _up(v.size), True)
        return self.places[index]

    def alias(self, node: Node, place: Place, output: int = 0) -> None:
        index = node.outputs[output]
        if index is not None:
            self.places[index] = place

    def keep(self, node: Node, place: Place, output: int = 0) -> None:
        """A buffer that another value is in has to live as long as that one."""
        index = node.outputs[output]
        if index is not None and "@" in place.at:
            self.memory.extend("@" + place.at.split("@")[1] + "@", self.last.get(index, self.index))

    def vector(self, k: int, more: int = _ROOM) -> str:
        """Room for what rows are multiplied with, and more behind it."""
        return self.memory.buffer(chunks_of(k) * CHUNK + more, self.index, self.index)

    def at(self, place: Place, v: Value, t: str = "t") -> str:
        return f"{place.at} + {t} * {place.stride}" if self.timed(v) else place.at

    def call(self, text: str) -> None:
        self.plan.calls.append(text)

    def each(self, v: Value, text: str, backward: bool = False) -> None:
        """A call for each step of a run, or once."""
        if not self.timed(v):
            self.call(text)
        else:
            head = "for (uint32_t t = steps; t-- > 0;)" if backward else "for (uint32_t t = 0; t < steps; t++)"
            self.call(f"{head}\n        {text}")

    def array(self, name: str, values: NDArray[Any], ctype: str) -> str:
        full = f"{name}{self.index}_{len(self.plan.arrays)}"
        self.plan.arrays.append(CArray(full, ctype, values))
        return f"$_{full}"

    def rows(self, rows: Rows, before: int = 0, multiple: int = QUAD) -> str:
        return self.array("w", packed(rows, before, multiple), "int32_t")

    def declare(self, ctype: str, fields: Iterable[Any]) -> str:
        name = f"$_layer{len(self.plan.declarations)}"
        self.plan.declarations.append(f"static const {ctype} {name} = {{{', '.join(map(str, fields))}}};")
        return f"&{name}"


def _ports(network: Network) -> tuple[list[Port], list[Port]]:
    graph = network.graph
    indices = [*graph.inputs, *graph.outputs]
    ports = []
    for i, name in zip(indices, port_names(graph.values[i].name for i in indices), strict=True):
        v, role = graph.values[i], "in" if i in graph.inputs else "out"
        if v.kind == "ids":
            ports.append(Port(name, "int32_t", max(v.size, 1), v.timed, v.name, role))
        else:
            bits = network.formats[i].bits
            scale = f"{2**bits} stands for 1" if bits >= 0 else f"1 stands for {2**-bits}"
            ports.append(Port(name, "int16_t", v.size, v.timed, v.name, role, scale, bits))
    return ports[: len(graph.inputs)], ports[len(graph.inputs) :]


def make_plan(network: Network, steps: int | None) -> Plan:
    """The plan of a network; ExportError where something in it does not go step by step.

    Args:
        steps: the most steps of a run; None: the model streams, one step at a time.
    """
    job = Job(network, steps)
    for job.index, (node, layer) in enumerate(zip(network.graph.nodes, network.layers, strict=True)):
        try:
            EMIT[node.op](job, node, layer)
        except GraphError as e:
            raise cannot(node, str(e)) from e
    job.index = len(network.graph.nodes)
    for index, port in zip(network.graph.outputs, job.plan.outputs, strict=True):
        v = network.graph.values[index]
        to = Place(port.symbol, port.size, False)
        job.each(v, f"fixed_copy({job.at(to, v)}, {job.at(job.places[index], v)}, {v.size}, 0);")
    plan = job.plan
    plan.state_bytes, plan.arena_bytes = job.memory.settle()
    places = job.memory.places()
    plan.calls = [resolve(text, places) for text in plan.calls]
    return plan


# -- layers ---------------------------------------------------------------------------------------------------------


def _wide(place: str) -> str:
    return f"(int32_t *)(void *)({place})"


def _recurrent(job: Job, node: Node, layer: Recurrent) -> None:
    x, xv = job.source(node)
    if not job.whole and node.attrs["direction"] != "forward":
        raise GraphError("a reverse direction does not stream")
    used = job.network.used
    sequence = job.result(node) if job.whole and node.outputs[0] in used else None
    last = job.result(node, 1) if job.whole and node.outputs[1] in used else None
    for d, cell in enumerate(layer.directions):
        hidden = cell.hidden
        count = _up(hidden)
        room = job.memory.state if not job.whole else lambda n: job.memory.buffer(n, job.index, job.index)
        h = room(count)
        fine = "" if isinstance(cell, cells.Rnn) else room(2 * count)
        step = _step(job, cell, job.at(x, xv), h, fine)
        if not job.whole:
            job.call(step)
            for output in (0, 1):
                job.alias(node, Place(h, count, True), output)
            return
        wide = 2 * count if fine else 0
        job.call(f"fixed_zero({h}, {count});" + (f" fixed_zero({fine}, {wide});" if wide else ""))
        after = f" fixed_copy({job.at(sequence, xv)} + {d * hidden}, {h}, {hidden}, 0);" if sequence else ""
        job.each(xv, f"{{ {step}{after} }}", layer.backward(d))
        if last is not None:
            job.call(f"fixed_copy({last.at} + {d * hidden}, {h}, {hidden}, 0);")


def _step(job: Job, cell: Any, x: str, h: str, fine: str) -> str:
    """The call of one step of a cell."""
    if isinstance(cell, cells.Rnn):
        return _rnn_step(job, cell, x, h)
    joint = cell.joint
    inputs = _inputs(cell.rows if isinstance(cell, cells.Lstm) else cell.gates, cell.hidden)
    k = inputs + cell.hidden
    if isinstance(cell, cells.Lstm):
        v = job.vector(k, _SUMS)
        hard = f"{{{int(cell.gates.hard)}, {int(cell.cell.hard)}, {int(cell.output.hard)}}}"
        fields = [job.rows(cell.rows), inputs, cell.hidden, k, joint.x_by, joint.h_by, cell.rows.shift, hard]
        layer = job.declare("fixed_cell", [*fields, cell.c_bits, int(cell.within)])
        return f"fixed_lstm_step({layer}, {x}, {h}, {_wide(fine)}, {v});"
    v = job.vector(k)
    hard = f"{{{int(cell.gate.hard)}, {int(cell.candidate.hard)}, 0}}"
    w = job.rows(cell.gates, multiple=2 * QUAD)
    layer = job.declare(
        "fixed_cell", [w, inputs, cell.hidden, k, joint.x_by, joint.h_by, cell.gates.shift, hard, 0, 0]
    )
    reset_by = cells.FINE_BITS - joint.formats[1].bits
    if cell.of_h is None:
        fields = [job.rows(cell.of_x), "NULL", 0, 0, 0, cell.of_x.shift, 0, reset_by]
        candidate = job.declare("fixed_candidate", fields)
        u = job.memory.buffer(2 * _up(cell.hidden), job.index, job.index)
        on_reset = job.vector(k)
        return f"fixed_gru_before_step({layer}, {candidate}, {x}, {h}, {_wide(fine)}, {v}, {on_reset}, {_wide(u)});"
    first = inputs // CHUNK
    before = inputs - first * CHUNK
    of_x, of_h = job.rows(cell.of_x), job.rows(cell.of_h, before)
    sizes = [inputs, before + cell.hidden, first, cell.of_x.shift, cell.of_h.shift, reset_by]
    candidate = job.declare("fixed_candidate", [of_x, of_h, *sizes])
    return f"fixed_gru_step({layer}, {candidate}, {x}, {h}, {_wide(fine)}, {v});"


def _inputs(rows: Rows, hidden: int) -> int:
    return int(rows.weights.shape[1]) - hidden


def _act(act: Bounded) -> str:
    kind = "FIXED_LINE" if act.shape is None else "FIXED_HALF" if act.half else "FIXED_CURVE"
    return f"{{{kind}, {int(act.shape is not None and act.shape.hard)}, {act.least}, {act.most}}}"


def _dense_layer(job: Job, rows: Rows, by: int, act: Bounded, inputs: int) -> tuple[str, str]:
    """The declaration, and room for what it is multiplied with."""
    outputs, k = rows.weights.shape
    fields = [job.rows(rows), inputs, outputs, k, by, rows.shift, _act(act)]
    return job.declare("fixed_dense", fields), job.vector(k)


def _rnn_step(job: Job, cell: cells.Rnn, x: str, h: str) -> str:
    inputs = _inputs(cell.rows, cell.hidden)
    layer, v = _dense_layer(job, cell.rows, cell.joint.x_by, cell.act, inputs)
    return f"fixed_rnn_step({layer}, {cell.joint.h_by}, {x}, {h}, {v});"


def _dense(job: Job, node: Node, dense: Dense) -> None:
    x, v = job.source(node)
    y = job.result(node)
    layer, vector = _dense_layer(job, dense.rows, dense.by, dense.act, v.size)
    job.each(v, f"fixed_dense_step({layer}, {job.at(x, v)}, {job.at(y, v)}, {vector});")


def _conv(job: Job, node: Node, conv: Conv) -> None:
    x, xv = job.source(node)
    window, y = conv.window, job.result(node)
    layer, v = _dense_layer(job, conv.dense.rows, conv.dense.by, conv.dense.act, xv.size)
    yv = job.value(node.outputs[0])
    taps = f"{window.taps}, {window.dilation}, {xv.size}, {conv.dense.by}"
    rows = f"fixed_dense_rows({layer}, {v}, {{y}});"
    if job.whole:
        rule = job.graph.axes[yv.axis]
        if yv.axis != xv.axis and not rule.is_input and rule.parent != xv.axis:
            raise GraphError("its steps are not those of what it reads")
        first = f"(int32_t)t * {window.stride} - {window.before}"
        count = _count(job, yv)
        look = f"fixed_taps({v}, {x.at}, {_count(job, xv)}, {x.stride}, {first}, {taps});"
        job.call(
            f"for (uint32_t t = 0; t < {count}; t++) {{ {look} {rows.format(y=f'{y.at} + t * {y.stride}')} }}"
        )
        return
    span = (window.taps - 1) * window.dilation
    if (window.stride, window.before) != (1, span) or node.attrs["after_t"]:
        raise GraphError("of a stream, windows have to end with the step that they are of: padded before, stride 1")
    kept = job.memory.state(_up((span + 1) * xv.size))
    job.call(f"fixed_window({kept}, {(span + 1) * xv.size}, {x.at}, {xv.size});")
    job.call(f"fixed_taps({v}, {kept}, {span + 1}, {xv.size}, 0, {taps}); {rows.format(y=y.at)}")


def _count(job: Job, v: Value) -> str:
    """How many steps a value has, in C."""
    rule = job.graph.axes[v.axis]
    if rule.is_input:
        return "steps"
    raise GraphError("steps that are not the input's are not there in integers")


def _activation(job: Job, node: Node, scaled: Scaled | None) -> None:
    x, v = job.source(node)
    if scaled is None:
        job.keep(node, x)
        job.alias(node, x)
        return
    y = job.result(node)
    layer = job.declare("fixed_scaled", [scaled.mult, scaled.offset, scaled.shift, _act(scaled.act)])
    to = job.at(y, v)
    copy = f"fixed_copy({to}, {job.at(x, v)}, {v.size}, 0);"
    job.each(v, f"{{ {copy} fixed_activate({layer}, {to}, {to}, {_up(v.size)}); }}")


def _embedding(job: Job, node: Node, table: Table) -> None:
    x, v = job.source(node)
    y, yv = job.result(node), job.value(node.outputs[0])
    count, width = table.values.shape
    bits = job.network.bits
    name = job.array("table", table.values.astype(f"int{bits}"), f"int{bits}_t")
    at = f"{x.at}[t]" if job.timed(v) else f"{x.at}[0]"
    row = f"fixed_row{bits}({job.at(y, yv)}, {name} + {at} * {width}, {width});"
    test = f"if ({at} < 0 || {at} >= {count})"
    if job.timed(v):
        test = f"for (uint32_t t = 0; t < steps; t++)\n        {test}"
    job.plan.checks.append((test, "E_TOKEN"))
    job.each(v, row)


def _joined(job: Job, node: Node, joined: Joined) -> None:
    y, yv = job.result(node), job.value(node.outputs[0])
    to = job.at(y, yv)
    parts = [(job.at(*job.source(node, i)), job.source(node, i)[1], by) for i, by in enumerate(joined.by)]
    if node.op == "add":
        (a, v, a_by), (b, _, b_by) = parts
        job.each(yv, f"fixed_sum({a}, {a_by}, {b}, {b_by}, {to}, {v.size});")
        return
    done, texts = 0, []
    for part, v, by in parts:
        texts.append(f"fixed_copy({to}{f' + {done}' if done else ''}, {part}, {v.size}, {by});")
        done += v.size
    job.each(yv, f"{{ {' '.join(texts)} }}")


def _select(job: Job, node: Node, layer: None) -> None:
    x, v = job.source(node)
    job.keep(node, x)
    row = "0" if node.attrs["index"] == 0 else f"({_count(job, v)} - 1) * {x.stride}"
    if not job.whole:
        raise GraphError("one step of all does not stream")
    job.alias(node, Place(x.at if row == "0" else f"{x.at} + {row}", x.stride, x.room))


def _slice(job: Job, node: Node, layer: None) -> None:
    x, _ = job.source(node)
    job.keep(node, x)
    start = node.attrs["start"]
    job.alias(node, Place(f"{x.at} + {start}" if start else x.at, x.stride, False))


EMIT: dict[str, Callable[[Job, Node, Any], None]] = {
    **dict.fromkeys(("lstm", "gru", "rnn"), _recurrent),
    "dense": _dense,
    "conv": _conv,
    "activation": _activation,
    "embedding": _embedding,
    **dict.fromkeys(("add", "concat"), _joined),
    "select": _select,
    "slice": _slice,
}
