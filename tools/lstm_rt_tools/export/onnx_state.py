"""What an export carries along: the builder, the time axes, and what the values of the graph are called in ONNX.

Within the file, sequences are ``(T, N, F)``, ids and masks ``(T, N)``, as ONNX's recurrent operators have them:
only inputs and outputs are in the graph's orders.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lstm_rt.graph import Graph, Node

from .onnx_axes import Axes
from .onnx_build import Builder, Port


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

    def rows(self) -> str:
        """The number of rows: int64 ``(1,)``."""
        if not self._rows:
            value = next(iter(self.graph.inputs))
            timed = self.graph.values[value].kind in ("seq", "ids")
            self._rows = self.b.add("Shape", self.values[value], start=int(timed), end=int(timed) + 1)
        return self._rows

    def zeros(self, *sizes: int | str) -> str:
        """A float32 tensor of zeros; sizes are numbers, or names of int64 vectors of one element."""
        parts = [self.b.ints(n) if isinstance(n, int) else n for n in sizes]
        return self.b.add("Expand", self.b.number(0.0), self.b.add("Concat", *parts, axis=0))
