"""What an export carries along: the builder, the time axes, and what the values of the graph are called in ONNX.

Within the file, sequences are ``(T, N, F)``, ids and masks ``(T, N)``, as ONNX's recurrent operators have them:
only inputs and outputs are in the graph's orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from lstm_rt.graph import Graph, Node

from .onnx_axes import Axes
from .onnx_build import Builder, Port

#: Writes the nodes of one node of the graph, given the names of what it reads; gives the names of its outputs.
Handler: TypeAlias = "Callable[[Export, Node, list[str]], str | list[str]]"


@dataclass
class Export:
    """One graph on its way into a file."""

    graph: Graph
    with_states: bool  #: are the states of layers inputs and outputs?
    b: Builder = field(default_factory=Builder)
    values: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    final_states: list[tuple[str, Port]] = field(default_factory=list)  #: outputs behind those of the graph

    def __post_init__(self) -> None:
        self.axes = Axes(self.b, self.graph)
        read = {i for n in self.graph.nodes for i in n.inputs if i is not None}
        self._read = read | set(self.graph.outputs)
        self._zero_after_end: set[int] = set()
        self._rows = ""

    def note(self, text: str) -> None:
        """Remember what the user should know."""
        if text not in self.notes:
            self.notes.append(text)

    def is_read(self, value: int | None) -> bool:
        """Does a node or an output read this value?"""
        return value is not None and value in self._read

    def axis(self, value: int) -> int:
        """The time axis of a value."""
        return self.graph.values[value].axis

    def zero_after_end(self, value: int) -> bool:
        """Are the steps of rows beyond their lengths known to be zero? So if there are no lengths."""
        axis = self.axis(value)
        return axis < 0 or not self.axes.has_lengths(axis) or value in self._zero_after_end

    def note_zero_after_end(self, node: Node) -> None:
        """What a node writes is zero beyond the lengths."""
        self._zero_after_end.update(o for o in node.outputs if o is not None)

    def counting(self, value: int, mask: int | None, whole: bool) -> str:
        """Which steps of a value count: bool ``(T, N, 1)``; "" for all."""
        axis = self.axis(value)
        valid = self.axes.valid(axis) if self.axes.has_lengths(axis) and not whole else ""
        if mask is None:
            return valid
        unmasked = self.b.add("Unsqueeze", self.values[mask], self.b.ints(2))
        return self.b.add("And", valid, unmasked) if valid else unmasked

    def size(self, value: int) -> int:
        """Its features."""
        return self.graph.values[value].size

    def rows(self) -> str:
        """The number of rows: int64 ``(1,)``."""
        if not self._rows:
            value = next(iter(self.graph.inputs))
            timed = self.graph.values[value].timed
            self._rows = self.b.add("Shape", self.values[value], start=int(timed), end=int(timed) + 1)
        return self._rows

    def zeros(self, *sizes: int | str) -> str:
        """A float32 tensor of zeros; sizes are numbers, or names of int64 vectors of one element."""
        parts = [self.b.ints(n) if isinstance(n, int) else n for n in sizes]
        return self.b.add("Expand", self.b.number(0.0), self.b.add("Concat", *parts, axis=0))
