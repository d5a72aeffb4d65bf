"""What ``Model.info`` and ``Model.verify`` do; imported when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _selftest
from ._names import node_title
from .errors import FormatError, GraphError, InputError
from .format import check_bytes, loads_graph, read_selftest
from .graph import Graph, Node
from .ops import MAX_STEPS, OPS

if TYPE_CHECKING:
    from ._core import Model


def describe(model: Model) -> dict[str, Any]:
    """A JSON-able description; see ``Model.info``."""
    blob = model._bytes()
    graph = loads_graph(blob)
    counts = graph.node_parameters()
    return {
        "format_version": int.from_bytes(blob[8:12], "little"),
        "file_bytes": model.nbytes,
        "parameters": sum(counts),
        "session_bytes": model.session_nbytes(),
        "streams": model.can_stream,
        "kernels": model.kernels,
        "inputs": [_port(p) for p in model.inputs],
        "outputs": [_port(p) for p in model.outputs],
        "layers": [_layer(graph, n, count) for n, count in zip(graph.nodes, counts, strict=True)],
        "not_finite": count_not_finite(graph),
        "has_selftest": graph.selftest is not None,
        "meta": graph.meta,
    }


def _port(port: Any) -> dict[str, Any]:
    return {"name": port.name, "kind": port.kind, "shape": list(port.shape), "order": port.order, "dtype": port.dtype}


def _layer(graph: Graph, node: Node, parameters: int) -> dict[str, Any]:
    options = {k: [str(a) for a in v] if isinstance(v, tuple) else v for k, v in node.attrs.items()}
    options = {k: v if isinstance(v, (int, float, list, bool)) else str(v) for k, v in options.items()}
    outputs = [o for o in node.outputs if o is not None]
    return {
        "op": node.op,
        "name": node.name,
        "size": graph.values[outputs[0]].size,
        "parameters": parameters,
        "options": options,
    }


def count_not_finite(graph: Graph) -> int:
    """Weights that are NaN or infinite: allowed, but worth knowing."""
    return sum(int(np.count_nonzero(~np.isfinite(w))) for n in graph.nodes for w in n.weights.values())


def verify(model: Model) -> dict[str, Any]:
    """Checksum, then the self-test; see ``Model.verify``."""
    blob = model._bytes()
    check_bytes(blob)
    test = read_selftest(blob)
    if test is None:
        return {"ok": None, "max_abs_err": None, "outputs": []}
    try:
        got = model(*[np.ascontiguousarray(x) for x in test.inputs])
    except InputError as e:
        raise FormatError(f"the file's self-test has inputs that its model does not take: {e}") from e
    got = got if isinstance(got, tuple) else (got,)
    outputs: list[dict[str, Any]] = []
    for port, y, want in zip(model.outputs, got, test.outputs, strict=True):
        try:
            ok, worst = _selftest.compare(test, port.name, y, want)
        except GraphError as e:
            raise FormatError(f"the file's self-test proves nothing: {e}") from None
        outputs.append({"name": port.name, "max_abs_err": worst, "ok": ok})
    return {
        "ok": all(o["ok"] for o in outputs),
        "max_abs_err": max(o["max_abs_err"] for o in outputs),
        "outputs": outputs,
    }


def why_no_stream(graph: Graph, node: int | None) -> str:
    """What hinders a model to go step by step: this node of it, or its time axes."""
    if node is not None:
        return f"{node_title(graph, node)} {_hindrance(graph, graph.nodes[node])}"
    brought = sum(axis.is_input for axis in graph.axes)
    if brought != 1:
        return f"its inputs are on {brought or 'no'} time axes"
    for index, n in enumerate(graph.nodes):
        axes = [graph.axes[graph.values[o].axis] for o in n.outputs if o is not None and graph.values[o].axis >= 0]
        if any(not a.is_input and (a.add, a.div, a.cap) != (0, 1, MAX_STEPS) for a in axes):
            return f"{node_title(graph, index)} {_OTHER_STEPS}"
    return "its first time axis is not that of its inputs"


_OTHER_STEPS = "gives another number of steps, which depends on all before"


def _hindrance(graph: Graph, node: Node) -> str:
    if node.op == "select":
        return "takes the first step"
    if node.op == "flatten":
        return f"takes exactly {node.attrs['steps']} steps"
    looks_ahead = node.attrs.get("after_t", 0) or node.attrs.get("after", 0) or node.attrs.get("mode") == "reflect"
    if node.op in ("conv", "pool", "pad") and not looks_ahead:
        return _OTHER_STEPS
    states = node.inputs[1:3] if OPS[node.op].cell or node.op == "convlstm" else ()
    if any(value is not None for value in states):
        return "begins each call with states that it is given"
    return "needs the whole sequence"


def wrong_step_count(graph: Graph, steps: dict[int, int]) -> str:
    """Which node takes another number of steps than a call of so many on each time axis gives it."""
    graph.complete_steps(steps)
    for index, n in enumerate(graph.nodes):
        if n.op not in ("flatten", "align", "cut") or n.inputs[0] is None or n.outputs[0] is None:
            continue
        got = steps[graph.values[n.inputs[0]].axis]
        wanted = n.attrs["steps"] if n.op == "flatten" else steps[graph.values[n.outputs[0]].axis]
        if got < wanted or (got > wanted and n.op != "cut"):
            least = "at least" if n.op == "cut" else "exactly"
            return f"{node_title(graph, index)} takes {least} {wanted} steps, got {got}"
    raise AssertionError("every node has the steps that it takes")
