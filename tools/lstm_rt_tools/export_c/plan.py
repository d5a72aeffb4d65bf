"""What a model in C consists of, whatever its numbers are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph, Node
from lstm_rt.text import shown


class ExportError(ConvertError):
    """What cannot be exported, and why."""


@dataclass(frozen=True)
class Port:
    """An input or output of the functions: its name in C, its type, numbers in one step, and whether it has steps."""

    name: str
    ctype: str
    size: int
    timed: bool
    source: str  #: its name in the model
    role: str  #: "in" or "out"
    scale: str = ""  #: what its numbers stand for where they are integers, for the README
    bits: int | None = None  #: of fraction, of such integers: q stands for q / 2^bits

    @property
    def symbol(self) -> str:
        """The parameter in the functions' own file, where its bare name may be that of one of the core's functions."""
        return f"{self.role}_{self.name}"


@dataclass(frozen=True)
class CArray:
    """Constants of the model. ``name`` comes after the prefix."""

    name: str
    ctype: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Test:
    """What the functions are called with, and what they have to give: an array ``(steps, size)`` for each port."""

    inputs: list[NDArray[Any]]
    outputs: list[NDArray[Any]]
    atol: float
    rtol: float


@dataclass
class Plan:
    """A model in C. Texts of calls have ``$`` for the prefix and ``@n@`` for the place of buffer n."""

    inputs: list[Port]
    outputs: list[Port]
    steps: int | None  #: most steps of a run; None: it streams
    headers: list[str] = field(default_factory=list)  #: of the core, in the order in which they are included
    defines: dict[str, str] = field(default_factory=dict)  #: before the headers
    arrays: list[CArray] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)  #: constants that calls name
    checks: list[tuple[str, str]] = field(
        default_factory=list
    )  #: conditions of inputs, and the error where one is false
    calls: list[str] = field(default_factory=list)
    state_bytes: int = 0
    arena_bytes: int = 0
    test: Test | None = None
    facts: list[str] = field(default_factory=list)  #: lines for the README and the command's output
    words: str = "float32"  #: what its numbers are, in words
    unit: str = "float"  #: type of the arena's pointer in the calls
    floats: bool = True  #: does it compute with floats, so that the CPU's mode matters?


@dataclass
class _Buffer:
    count: int
    first: int  #: number of the call that first writes it
    last: int  #: ... and of the last that reads it
    at: int = -1


class Memory:
    """The arena: states first, which live for ever, then what lives for some calls only.

    Counts and places are in ``unit`` bytes; each buffer begins at a multiple of ``align`` of them.
    """

    def __init__(self, unit: int = 4, align: int = 1) -> None:
        self.unit, self.align = unit, align
        self._states: list[_Buffer] = []
        self._others: list[_Buffer] = []
        self._all: list[_Buffer] = []

    def state(self, count: int) -> str:
        """Room that keeps its numbers from call to call."""
        return self._new(_Buffer(count, 0, 0), self._states)

    def buffer(self, count: int, first: int, last: int) -> str:
        """Room from one call to another, both included."""
        return self._new(_Buffer(count, first, last), self._others)

    def _new(self, buffer: _Buffer, to: list[_Buffer]) -> str:
        to.append(buffer)
        self._all.append(buffer)
        return f"@{len(self._all) - 1}@"

    def extend(self, name: str, last: int) -> None:
        """Let a buffer live longer."""
        buffer = self._all[int(name.strip("@"))]
        buffer.last = max(buffer.last, last)

    def settle(self) -> tuple[int, int]:
        """Give each its place; returns bytes of the states and of all."""
        end = 0
        for b in self._states:
            b.at, end = end, end + self._round(b.count)
        states = most = end
        placed: list[_Buffer] = []
        for b in sorted(self._others, key=lambda b: -b.count):
            b.at = self._first_fit(b, placed, states)
            placed.append(b)
            most = max(most, b.at + self._round(b.count))
        return states * self.unit, most * self.unit

    def _first_fit(self, buffer: _Buffer, placed: Iterable[_Buffer], start: int) -> int:
        at = start
        for b in sorted((b for b in placed if b.last >= buffer.first and b.first <= buffer.last), key=lambda b: b.at):
            if at + self._round(buffer.count) <= b.at:
                break
            at = max(at, b.at + self._round(b.count))
        return at

    def _round(self, count: int) -> int:
        return -(-count // self.align) * self.align

    def places(self) -> list[int]:
        """Where each buffer begins, by number."""
        return [b.at for b in self._all]


def resolve(text: str, places: Sequence[int], base: str = "a") -> str:
    """A call with the places of its buffers."""
    parts = text.split("@")
    for i in range(1, len(parts), 2):
        at = places[int(parts[i])]
        parts[i] = f"{base} + {at}" if at else base
    return "".join(parts)


def refuse_axes(graph: Graph) -> None:
    """One time axis, which inputs bring, is what a folder has."""
    if sum(a.is_input for a in graph.axes) > 1:
        raise ExportError("inputs of several lengths cannot be exported to C: one time axis is what it has")


def last_reads(graph: Graph) -> dict[int, int]:
    """The last node that reads each value; outputs are read after all."""
    last = {v: i for i, n in enumerate(graph.nodes) for v in n.inputs if v is not None}
    return last | dict.fromkeys(graph.outputs, len(graph.nodes))


def described(node: Node) -> str:
    """A node in messages."""
    return f"{node.op}{f' ({shown(node.name)})' if node.name else ''}"


def cannot(node: Node, why: str = "") -> ExportError:
    """The error of an op, or of a form of it, that has no C."""
    return ExportError(f"{described(node)} cannot be exported to C{f': {why}' if why else ''}")
