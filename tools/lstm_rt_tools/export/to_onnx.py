"""Graphs to ONNX models."""

from __future__ import annotations

import importlib
from typing import Any

from lstm_rt._names import node_title
from lstm_rt._version import __version__
from lstm_rt.errors import ConvertError
from lstm_rt.graph import GATES, Graph, Node
from lstm_rt.quantised import has_integers

from ..judges.reference_steps import SUMS
from ..judges.reference_windows import state_size
from .onnx_ops import HANDLERS
from .onnx_ports import declare_outputs, declare_ports
from .onnx_recurrent import add_recurrent
from .onnx_state import Export

_NOTES = "notes"
_MAX_WEIGHTS = (1 << 31) - (1 << 24)  #: bytes; a protobuf is below 2 GiB


def to_onnx(graph: Graph, states: bool = False) -> Any:
    """The graph as an ONNX model of standard operators.

    Inputs and outputs keep their names, order and axes; rows and steps stay free (``N``, ``T``). Weights are
    those of the graph, only their gates are put into ONNX's order. What ONNX's recurrent operators cannot say
    (masks, projections, some activations) becomes a Scan.

    Args:
        graph: to export; it is left as it is.
        states: ONNX has no states, so layers that have one begin with zero. With True they take and give it, as
            inputs ``<layer>_h0``, ``<layer>_c0`` and outputs ``<layer>_hn``, ``<layer>_cn`` of the shape
            ``(directions, N, H)`` behind the others.

    Returns:
        An ``onnx.ModelProto`` that ``onnx.checker`` has found valid. ``notes_of`` has what had to change (names).

    Raises:
        ConvertError: the graph has something that ONNX cannot say (named), or is larger than its files can be.
        GraphError: the graph is not complete.
        ImportError: the package ``onnx`` is not installed.
    """
    graph.check()
    if has_integers(graph):
        raise ConvertError("the model has integer weights, which is not exported; export the model of float32")
    onnx = importlib.import_module("onnx")
    e = Export(graph, states)
    outputs = declare_ports(e)
    for k, node in enumerate(graph.nodes):
        _add_node(e, k, node)
    declare_outputs(e, outputs)
    for value, port in e.final_states:
        e.b.output(value, port)
    if sum(a.nbytes for a in e.b.arrays()) > _MAX_WEIGHTS:
        raise ConvertError("the weights are more than the 2 GiB that an ONNX file holds")
    model = e.b.model(onnx, "lstm-rt")
    model.producer_name, model.producer_version = "lstm-rt", __version__
    if e.notes:
        onnx.helper.set_model_props(model, {_NOTES: "\n".join(e.notes)})
    onnx.checker.check_model(model, full_check=True)
    return model


def notes_of(model: Any) -> list[str]:
    """What :func:`to_onnx` had to change: kept in the model's metadata."""
    return [line for p in model.metadata_props if p.key == _NOTES for line in p.value.split("\n")]


def _add_node(e: Export, k: int, node: Node) -> None:
    if not any(e.is_read(o) for o in node.outputs) and node.op not in GATES:
        return
    layer = node.name or f"{node.op}_{k}"
    e.b.layer = layer
    if node.op in GATES:
        add_recurrent(e, node, layer)
        return
    if node.op not in HANDLERS:
        raise ConvertError(f"{node_title(e.graph, k)} cannot be exported: ONNX has no operator for it yet")
    _check_states(e, k, node)
    written = HANDLERS[node.op](e, node, [e.values[i] for i in node.inputs if i is not None])
    names = [written] if isinstance(written, str) else written
    e.values.update(zip((o for o in node.outputs if o is not None), names, strict=True))


def _check_states(e: Export, k: int, node: Node) -> None:
    """With states as inputs, only recurrent layers can have some."""
    keeps = node.op in SUMS or (node.op == "convlstm" and node.inputs[1:] == (None, None))
    if e.with_states and (keeps or state_size(e.graph, node)):
        raise ConvertError(
            f"{node_title(e.graph, k)} keeps a state, which only recurrent layers can take and give in an ONNX file; "
            "without states (--states) the model can be exported"
        )
