"""What a tensor of a running module stands for in the graph under construction.

Every tensor that depends on the inputs is tracked with a label for each of its dimensions: ``N``
rows, ``T`` steps, ``F`` features, ``L`` layers or directions of states, ``1`` a dimension of size
one, and joined labels such as ``NT`` for dimensions that a reshape has merged. Labels, not sizes,
decide what an operation means, so an example whose sizes coincide cannot mislead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Array, Node

Dims: TypeAlias = tuple[str, ...]
#: Features ``start`` to ``start + size`` of a graph value.
Part: TypeAlias = tuple[int, int, int]


@dataclass(eq=False)
class Input:
    """A tensor argument of the module; ``value`` is set once the graph has an input for it."""

    index: int
    name: str
    tensor: Any
    kind: str  #: seq, vec, ids, lengths, or state once a recurrent layer takes it as such
    dims: Dims
    value: int | None = None


@dataclass(eq=False)
class Feat:
    """A graph value, or some of its features; ``order`` tells how its rows are permuted now."""

    value: int
    dims: Dims
    part: tuple[int, int] | None = None
    order: NDArray[np.int64] | None = None
    packed: bool = False


@dataclass(eq=False)
class Pending:
    """An input that no operation has read yet: it may still turn out to be an initial state."""

    input: Input

    @property
    def dims(self) -> Dims:
        return self.input.dims


@dataclass(eq=False)
class States:
    """Final states: an array of :data:`Part` shaped like the ``L`` dimensions among ``dims``."""

    rows: NDArray[np.object_]
    dims: Dims
    complete: bool = True  #: still all that the layer gave, so that the caller's state covers it


@dataclass(eq=False)
class Lengths:
    """An input of lengths, as it is or copied."""

    input: Input
    dims: Dims = ("N",)


@dataclass(eq=False)
class Index:
    """Numbers computed from lengths; ``last`` marks ``lengths - 1``."""

    last: Input | None = None
    dims: Dims = ()


Sym: TypeAlias = "Feat | Pending | States | Lengths | Index"


@dataclass(eq=False)
class StateUse:
    """An input that a recurrent layer takes as its initial state ``letter``, h or c; ``nodes`` are the layers."""

    source: Input
    nodes: list[Node]
    letter: str
    directions: int


@dataclass
class Noted:
    """A node as it was when the forward made it, and the line that did."""

    op: str
    inputs: tuple[int | None, ...]
    attrs: dict[str, Any]
    weights: dict[str, Array]
    line: str

    def same(self, other: Noted) -> bool:
        """Whether both compute the same."""
        mine, theirs = (self.op, self.inputs, self.attrs), (other.op, other.inputs, other.attrs)
        if mine != theirs or self.weights.keys() != other.weights.keys():
            return False
        return all(np.array_equal(w, other.weights[k], equal_nan=True) for k, w in self.weights.items())


class ForwardError(ConvertError):
    """Something in a module's forward cannot be converted; the message names it, and so does ``what``."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what


class WrongSizes(ForwardError):
    """A reshape that cuts through dimensions; with other numbers of rows and steps it may not."""


class WrongLayout(ForwardError):
    """The module reads its input time-major where batch-first was assumed, or the other way round."""


class StrangeState(ForwardError):
    """A layer starts from a state that is not zero and belongs neither to the inputs nor to the module."""


class WrongAxes(ForwardError):
    """Two inputs were combined that were taken for unrelated sequences."""


def swap(dims: Dims, a: int, b: int) -> Dims:
    """``dims`` with two of them exchanged."""
    out = list(dims)
    out[a], out[b] = out[b], out[a]
    return tuple(out)


def atoms(dims: Dims, shape: Sequence[int], sizes: dict[str, int]) -> list[tuple[str, int]]:
    """The unmerged dimensions behind ``dims``; ``sizes`` tells those inside merged ones."""
    out: list[tuple[str, int]] = []
    for label, size in zip(dims, shape, strict=True):
        if len(label) == 1:
            out.append((label, int(size)))
        else:
            out.extend((c, sizes[c]) for c in label if c != "1")
    return [a for a in out if a[0] != "1"]


def regroup(parts: list[tuple[str, int]], shape: Sequence[int]) -> Dims | None:
    """Labels of the dimensions after a reshape to ``shape``; None if it cuts through one of them."""
    out: list[str] = []
    i = 0
    for position, size in enumerate(shape):
        label, product = "", 1
        open_dims = len(shape) - position - 1
        while i < len(parts) and (product < size or (not label and parts[i][1] == 1 == size)):
            # A dimension of size 1 is kept for itself unless the shape has no room left for it.
            if size == 1 and len(parts) - i <= open_dims and parts[i][1] != 1:
                break
            label += parts[i][0]
            product *= parts[i][1]
            i += 1
        if product != size:
            return None
        out.append(label or "1")
    left = parts[i:]
    if any(size != 1 or label != "F" for label, size in left):
        return None
    return tuple(out)


def join_parts(parts: Sequence[Part]) -> list[Part]:
    """Neighbouring parts of one value merged."""
    out: list[Part] = []
    for value, start, size in parts:
        if out and out[-1][0] == value and out[-1][1] + out[-1][2] == start:
            out[-1] = (value, out[-1][1], out[-1][2] + size)
        else:
            out.append((value, start, size))
    return out


def order_of(dims: Dims) -> str:
    """The order of a port of the graph that is laid out as ``dims``: do rows or steps come first?"""
    if "L" in dims:
        return "groups_first"
    labels = [label for part in dims for label in part if label in "NT"]  # N and T may be joined
    return "time_first" if labels == ["T", "N"] else "batch_first"


def unsupported(name: str, why: str = "", kind: type[ForwardError] = ForwardError) -> ForwardError:
    """The error for an operation in a module's forward that a graph cannot hold."""
    reason = f": {why}" if why else ""
    return kind(f"the module's forward uses {name}, which is not supported{reason}", name)
