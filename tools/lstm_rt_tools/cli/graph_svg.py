"""A graph as a drawing: what ``lstm-rt info --svg`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_rt.graph import Graph
from lstm_rt.ops import OPS

from ..drawing import Box, svg
from . import describe


def graph_svg(graph: Graph, facts: Mapping[str, Any], title: str) -> str:
    """Inputs, nodes and outputs of a graph, ``facts`` being what :func:`describe.describe` tells of it."""
    boxes: list[Box] = []
    edges: list[tuple[int, int]] = []
    writer: dict[int, int] = {}
    for value, port in zip(graph.inputs, facts["inputs"], strict=True):
        writer[value] = len(boxes)
        boxes.append(_port(port))
    for node, fact in zip(graph.nodes, facts["nodes"], strict=True):
        edges += [(writer[i], len(boxes)) for i in node.inputs if i is not None]
        writer |= {o: len(boxes) for o in node.outputs if o is not None}
        head = f"{fact['op']} {fact['sizes']}".rstrip()
        lines = [line for line in (head, fact["options"], fact["name"]) if line]
        boxes.append(Box(lines, "cell" if OPS[node.op].cell or node.op == "convlstm" else ""))
    for value, port in zip(graph.outputs, facts["outputs"], strict=True):
        edges.append((writer[value], len(boxes)))
        boxes.append(_port(port))
    return svg(boxes, edges, title)


def _port(port: Mapping[str, Any]) -> Box:
    return Box([port["name"], f"{port['kind']} {describe.shape_text(port['shape'])}"], "port")
