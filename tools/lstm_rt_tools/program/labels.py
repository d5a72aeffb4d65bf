"""What a tensor of a running program stands for.

A dimension of a tensor is a row-major product of *atoms*: ``N`` (rows of the batch), :class:`Steps` of a time axis,
or a fixed number. A fixed dimension of size 1 has no atom. The fixed atoms of all dimensions span the tensor's
*cells*: for each, :class:`Feat` says which feature of which value of the graph stands there, so moving features about
(reshape, permute, slice, concat, expand) is nothing but indexing. Labels, not sizes, decide what an operation means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

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
    """An input of token ids, moved about at most."""

    value: int
    dims: Dims


@dataclass(frozen=True, eq=False)
class Lengths:
    """An input of lengths, of the time axis that its first use tells; ``less`` was subtracted."""

    name: str
    dims: Dims
    less: int = 0


@dataclass(frozen=True, eq=False)
class Mask:
    """Which steps count: a mask of the graph, ``inverted`` or not; None: steps within the lengths of the axis."""

    value: int | None
    axis: int
    dims: Dims
    inverted: bool = False


@dataclass(frozen=True, eq=False)
class Counted:
    """How many steps of each row a mask counts: its length, where those that it does not count stand at the end."""

    dims: Dims
    mask: Mask


@dataclass(frozen=True, eq=False)
class Scores:
    """``scale q k^T``: a number for each pair of a step of the queries and one of the keys; ``soft``: after softmax.

    ``q`` and ``k`` have heads, steps and features as their last dimensions, in this order. ``mask``: which keys
    count, a mask of the graph.
    """

    dims: Dims
    q: Feat
    k: Feat
    scale: float = 1.0
    causal: bool = False
    mask: int | None = None
    mask_whole: bool = False
    soft: bool = False


@dataclass(frozen=True, eq=False)
class Masked:
    """Features with a large negative number, ``fill``, where a mask does not count steps: no softmax sees these."""

    dims: Dims
    feat: Feat
    mask: Mask
    fill: float


@dataclass(frozen=True, eq=False)
class Penalty:
    """What is added to scores: nothing where the mask counts, a large negative number, ``fill``, elsewhere."""

    dims: Dims
    mask: Mask
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
    ids: Ids | None = None  #: these as they are, in another type


@dataclass(frozen=True, eq=False)
class Certain:
    """What is the same whatever the inputs are, such as whether token ids are below 0; as a number 1 or 0."""

    dims: Dims
    truth: bool = False


Label: TypeAlias = "Feat | Certain | Ids | Lengths | Mask | Counted | Scores | Masked | Penalty | Turn | Loose"


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


def positions(dims: Dims, i: int) -> tuple[int, ...]:
    """Which dimensions of the cells are the fixed atoms of dimension ``i``."""
    start = len(fixed(dims[:i]))
    return tuple(range(start, start + len(fixed(dims[i : i + 1]))))


def permuted(label: Feat, axes: Sequence[int]) -> Feat:
    """The dimensions in another order."""
    moved = [p for a in axes for p in positions(label.dims, a)]
    return Feat(tuple(label.dims[a] for a in axes), label.cells.transpose(moved))


def merged_cells(label: Feat, i: int) -> Feat:
    """Dimension ``i``, which is fixed, with a single atom (or none)."""
    dims = list(label.dims)
    size = math.prod(fixed(dims[i : i + 1]))
    dims[i] = (size,) if size > 1 else ()
    made = tuple(dims)
    return Feat(made, label.cells.reshape(fixed(made)))


def indexed(label: Feat, i: int, index: Callable[[Cells, int], Cells]) -> Feat:
    """A fixed dimension with other cells: ``index(cells, axis)`` gives them, of any size along the axis."""
    label = merged_cells(label, i)
    cells, dims = label.cells, list(label.dims)
    axis = len(fixed(dims[:i]))
    if not dims[i]:
        cells = np.expand_dims(cells, axis)
    cells = index(cells, axis)
    dims[i] = (cells.shape[axis],) if cells.shape[axis] != 1 else ()
    made = tuple(dims)
    return Feat(made, cells.reshape(fixed(made)))


def broadcast(label: Feat, dims: Dims) -> Cells:
    """The cells of a label as those of ``dims``, which have its dimensions last, each as it is or wider."""
    missing = len(dims) - len(label.dims)
    shape, target = [], []
    own = list(label.cells.shape)
    for i, dim in enumerate(dims):
        theirs = label.dims[i - missing] if i >= missing else ()
        sizes = list(fixed((dim,)))
        count = len(fixed((theirs,)))
        shape += [own.pop(0) for _ in range(count)] if count else [1] * len(sizes)
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
