"""Names of the source's layers, which nodes keep: for people who look for their layers in a converted model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .text import shown

if TYPE_CHECKING:
    from .graph import Graph, Node

_LONGEST = 200  #: characters; names come from files, which may hold anything, and a node of a nested layer has several


class LayerNames:
    """What :class:`~lstm_rt.graph.Graph` knows of layers."""

    nodes: list[Node]

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Names every node that is made within after a layer of the source; a layer in a layer is ``outer/inner``.

        An empty name changes nothing. Names only inform: control characters are escaped, and of what is too long
        the middle is left out.
        """
        first = len(self.nodes)
        try:
            yield
        finally:
            for node in self.nodes[first:] if name else ():
                node.name = shown(f"{name}/{node.name}" if node.name else name, _LONGEST)


def value_name(graph: Graph, value: int) -> str:
    """A value for people: its name, or ``%7`` where it has none."""
    return graph.values[value].name or f"%{value}"


def node_title(graph: Graph, index: int) -> str:
    """A node for messages: ``node 3 (lstm, encoder.lstm1)``, without the layer where the source told none."""
    node = graph.nodes[index]
    return f"node {index} ({node.op}{f', {shown(node.name)}' if node.name else ''})"
