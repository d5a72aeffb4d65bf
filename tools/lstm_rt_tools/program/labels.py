"""What a tensor of a running program stands for.

A dimension of a tensor is a row-major product of *atoms*: ``N`` (rows of the batch), :class:`Steps` of a time axis,
or a fixed number. A fixed dimension of size 1 has no atom. The fixed atoms of all dimensions span the tensor's
*cells*: for each, :class:`Feat` says which feature of which value of the graph stands there, so moving features about
(reshape, permute, slice, concat, expand) is nothing but indexing. Labels, not sizes, decide what an operation means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

N = "N"


@dataclass(frozen=True)
class Steps:
    """The steps of a time axis of the graph."""

    axis: int


Atom: TypeAlias = "str | Steps | int"
Dim: TypeAlias = tuple[Atom, ...]
Dims: TypeAlias = tuple[Dim, ...]
#: A feature of a value, ``value << 32 | feature``; below 0: a number, counted from -1 down.
Cells: TypeAlias = NDArray[np.int64]

_VALUE = 32  #: bits above those of the feature


@dataclass(frozen=True, eq=False)
class Feat:
    """Features: ``cells`` has a dimension for each fixed atom of ``dims``, in their order."""

    dims: Dims
    cells: Cells

    def __post_init__(self) -> None:
        assert self.cells.shape == fixed(self.dims), (self.cells.shape, self.dims)


@dataclass(frozen=True, eq=False)
class Ids:
    """Token ids of inputs, moved about at most; ``cells`` as of features."""

    dims: Dims
    cells: Cells

    def __post_init__(self) -> None:
        assert self.cells.shape == fixed(self.dims), (self.cells.shape, self.dims)

    @property
    def alone(self) -> int | None:
        """The input, where all of it is one id at a step; None otherwise."""
        return int(self.cells.ravel()[0] >> _VALUE) if self.cells.size == 1 else None


@dataclass(frozen=True, eq=False)
class Lengths:
    """An input of lengths, of the time axis that its first use tells; ``less`` was subtracted.

    ``beside``: to each was added how many steps of this axis all rows before its own have: a place among all steps.
    """

    name: str
    dims: Dims
    less: int = 0
    beside: int | None = None


@dataclass(frozen=True, eq=False)
class Columns:
    """Whole numbers side by side in the last dimension; ``parts``: what each stands for, None if it is known."""

    dims: Dims
    parts: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Order:
    """The rows' places in the order of their lengths, or the way back: in this run all lengths are the same."""

    dims: Dims


@dataclass(frozen=True, eq=False)
class Mask:
    """Which steps count: a mask of the graph, ``inverted`` or not; None: steps within the lengths of the axis."""

    value: int | None
    axis: int
    dims: Dims
    inverted: bool = False


@dataclass(frozen=True, eq=False)
class Counted:
    """How many steps of each row a mask counts: its length, where what pads it stands at the end."""

    dims: Dims
    mask: Mask


@dataclass(frozen=True, eq=False)
class AnyStep:
    """Whether a mask counts any step of a row."""

    dims: Dims
    mask: Mask


@dataclass(frozen=True, eq=False)
class Extreme:
    """The largest or smallest of the steps that a mask counts, ``found``: 0 where it counts none.

    ``exact`` is what the program has: a number without end there.
    """

    dims: Dims
    mask: Mask
    found: Feat
    exact: Feat


@dataclass(frozen=True, eq=False)
class Times:
    """A number where a mask counts a step, else 0: the sum over several features that it is the same for."""

    dims: Dims
    mask: Mask
    number: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which pairs of a step and another count: those whose steps both masks count (None: all do).

    ``causal``: 1 leaves those whose second step is not after the first, -1 those whose first is not after the second.
    ``inverted``: the others are meant.
    """

    dims: Dims
    first: Mask | None
    second: Mask | None
    causal: int = 0
    inverted: bool = False


@dataclass(frozen=True, eq=False)
class Scores:
    """``scale q k^T + shift``: a number for each pair of a step of q, the first one, and one of k, the second.

    ``q`` and ``k`` have heads, steps and features as their last dimensions, in this order.

    Attributes:
        pairs: those that count; the others are ``fill``.
        only: the pairs that are not 0, where the others still have to be filled.
        added: what they are instead, for attention that adds.
        soft: along the ``first`` or the ``second`` steps they are after softmax: those are of the keys.
    """

    dims: Dims
    q: Feat
    k: Feat
    scale: float = 1.0
    shift: float = 0.0
    pairs: Pairs | None = None
    fill: float = 0.0
    only: Pairs | None = None
    soft: str = ""
    added: Sums | None = None


@dataclass(frozen=True, eq=False)
class Masked:
    """Features with ``fill`` where a mask does not count steps: a large negative number, which no softmax sees, or
    an infinite one.
    """

    dims: Dims
    feat: Feat
    mask: Mask
    fill: float


@dataclass(frozen=True, eq=False)
class Penalty:
    """What is added to scores: nothing where the mask counts, a large number, ``fill``, elsewhere."""

    dims: Dims
    mask: Mask | Pairs
    fill: float


@dataclass(frozen=True, eq=False)
class Turn:
    """The number of a loop's turn, from 0, plus ``offset``."""

    dims: Dims
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Loose:
    """Numbers made of ids or lengths for which a graph has no words; an error to whoever reads them as features."""

    why: str
    dims: Dims


#: What there is of numbers for pairs of steps, and what to do.
TWO_AXES = (
    "two time axes, which no value of a graph can have (a model that ends before, and gives what this is made of, "
    "converts)"
)


@dataclass(frozen=True, eq=False)
class PerPair(Loose):
    """Numbers for each pair of a step and another that stand for nothing else, such as weights to be looked at."""


@dataclass(frozen=True, eq=False)
class LogSums(Loose):
    """The logarithm of running sums of ``exp(of)``, ``plus`` what was added to it."""

    of: Feat
    plus: Feat | None = None


@dataclass(frozen=True, eq=False)
class Differs(Loose):
    """Where features differ from a number, or ``equal`` it: any of a step or all of them make a mask.

    ``feat`` has the dimensions that this had when it was made. ``counted``: how many of a step's features differ.
    """

    feat: Feat
    number: float
    equal: bool
    counted: bool = False


@dataclass(frozen=True, eq=False)
class Sums(PerPair):
    """``q + k`` for each pair of a step of q and one of k, whose features are the last dimension.

    ``tanh``: of that; ``weight``: times so much, feature by feature.
    """

    q: Feat
    k: Feat
    tanh: bool = False
    weight: NDArray[np.float32] | None = None


Label: TypeAlias = (
    "Feat | Ids | Lengths | Columns | Order | Mask | Counted | AnyStep | Extreme | Times | Pairs | Scores | Masked | "
    "Penalty | Turn | Loose"
)


#: What has cells, and keeps its kind while these are moved.
Placed = TypeVar("Placed", bound="Feat | Ids")


def cell(value: int, features: Any) -> Cells:
    """The cells of these features of a value."""
    result: Cells = np.asarray(features, np.int64) | np.int64(value << _VALUE)
    return result


def whole(value: int, size: int, dims: Dims) -> Feat:
    """All features of a value in order, over the fixed atoms of ``dims``."""
    return Feat(dims, cell(value, np.arange(size)).reshape(fixed(dims)))


def apart(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values (below 0 for numbers) and features of cells."""
    return cells >> _VALUE, cells & ((1 << _VALUE) - 1)


def fixed(dims: Sequence[Dim]) -> tuple[int, ...]:
    """The fixed atoms of dimensions, in order."""
    return tuple(a for d in dims for a in d if isinstance(a, int))


def free(dims: Sequence[Dim]) -> list[Atom]:
    """The atoms that are not fixed, in order."""
    return [a for d in dims for a in d if not isinstance(a, int)]


def is_fixed(dim: Dim) -> bool:
    """Has it fixed atoms alone (or none)?"""
    return all(isinstance(a, int) for a in dim)


def is_steps(dim: Dim) -> TypeGuard[tuple[Steps]]:
    """Is it the steps of an axis alone?"""
    return len(dim) == 1 and isinstance(dim[0], Steps)


def joined_atoms(dim: Dim) -> Dim:
    """The same dimension with neighbouring fixed atoms as one."""
    made: list[Atom] = []
    for atom in dim:
        if made and isinstance(atom, int) and isinstance(made[-1], int):
            made[-1] *= atom
        else:
            made.append(atom)
    return tuple(made)


def positions(dims: Dims, i: int) -> tuple[int, ...]:
    """Which dimensions of the cells are the fixed atoms of dimension ``i``."""
    start = len(fixed(dims[:i]))
    return tuple(range(start, start + len(fixed(dims[i : i + 1]))))


def permuted(label: Placed, axes: Sequence[int]) -> Placed:
    """The dimensions in another order."""
    moved = [p for a in axes for p in positions(label.dims, a)]
    return replace(label, dims=tuple(label.dims[a] for a in axes), cells=label.cells.transpose(moved))


def merged_cells(label: Placed, i: int) -> Placed:
    """Dimension ``i``, which is fixed, with a single atom (or none)."""
    dims = list(label.dims)
    size = math.prod(fixed(dims[i : i + 1]))
    dims[i] = (size,) if size > 1 else ()
    made = tuple(dims)
    return replace(label, dims=made, cells=label.cells.reshape(fixed(made)))


def indexed(label: Placed, i: int, index: Callable[[Cells, int], Cells]) -> Placed:
    """A fixed dimension with other cells: ``index(cells, axis)`` gives them, of any size along the axis."""
    label = merged_cells(label, i)
    cells, dims = label.cells, list(label.dims)
    axis = len(fixed(dims[:i]))
    if not dims[i]:
        cells = np.expand_dims(cells, axis)
    cells = index(cells, axis)
    dims[i] = (cells.shape[axis],) if cells.shape[axis] != 1 else ()
    made = tuple(dims)
    return replace(label, dims=made, cells=cells.reshape(fixed(made)))


def broadcast(label: Feat | Ids, dims: Dims) -> Cells:
    """The cells of a label as those of ``dims``, which have its dimensions last, each as it is or wider."""
    missing = len(dims) - len(label.dims)
    shape: list[int] = []
    target: list[int] = []
    for i, dim in enumerate(dims):
        theirs = label.dims[i - missing] if i >= missing else ()
        sizes = fixed((dim,))
        shape += sizes if fixed((theirs,)) else [1] * len(sizes)
        target += sizes
    return np.broadcast_to(label.cells.reshape(shape), target)


class Unsplittable(Exception):
    """A reshape cuts through rows or steps."""


def regrouped(dims: Dims, sizes: Sequence[int], size_of: Callable[[Atom], int]) -> Dims:
    """The dimensions after a reshape to ``sizes``, cutting and joining fixed atoms where that is needed.

    Raises:
        Unsplittable: it cuts through rows or steps, or sizes do not fit.
    """
    atoms = [a for d in dims for a in d]
    out: list[Dim] = []
    for size in sizes:
        dim: list[Atom] = []
        left = int(size)
        if left == 1 and atoms and size_of(atoms[0]) == 1:
            dim.append(atoms.pop(0))  # rows or steps of which there is one just now
        while left > 1:
            if not atoms:
                raise Unsplittable
            atom = atoms.pop(0)
            n = size_of(atom)
            if left % n == 0:
                dim.append(atom)
                left //= n
            elif isinstance(atom, int) and n % left == 0:
                dim.append(left)
                atoms.insert(0, n // left)
                left = 1
            elif isinstance(atom, int) and atoms and isinstance(atoms[0], int):
                atoms[0] *= n
            else:
                raise Unsplittable
        out.append(tuple(dim))
    for atom in atoms:  # a batch of one that the shape has no room for joins what follows it
        if size_of(atom) != 1:
            raise Unsplittable
        place = next((i for i, d in enumerate(out) if d), len(out) - 1)
        if place < 0:
            raise Unsplittable
        out[place] = (atom, *out[place])
    return tuple(out)
