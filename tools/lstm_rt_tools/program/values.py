"""The graph that a program becomes, and its values as labels see them: cells, put together where they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Graph

from ..arch.layers import side_by_side
from .labels import TWO_AXES, Atom, Cells, Dims, Feat, N, Steps, apart, broadcast, cell, fixed, free, joined_atoms
from .machine import Machine, ProgramError

_MOST_RUNS = 8  #: of neighbouring features that are cut out one by one; more are gathered


class WrongRoles(ProgramError):
    """An input's dimensions have been taken for something else than the program takes them for."""


class OtherSteps(ProgramError):
    """Numbers that are known differ from step to step; ``axis``: of this time axis."""

    def __init__(self, axis: int, message: str, op: str) -> None:
        super().__init__(message, op)
        self.axis = axis


class Values(Machine):
    """A machine with a graph in the making.

    Attributes:
        graph: what is made.
        rows: of the batch in this run.
        steps: of each time axis of the graph in this run.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.graph = Graph()
        self.rows = rows
        self.steps: dict[int, int] = {}
        self._numbers: list[float] = []
        self._number_at: dict[float, int] = {}
        self._made: dict[tuple[int, bytes], int] = {}

    def wrong_roles(self, op: str, why: str) -> WrongRoles:
        """The error that makes :mod:`.convert` try other roles."""
        return WrongRoles(str(self.error(op, why)), op)

    def size_of(self, atom: Atom) -> int:
        """How many there are in this run."""
        if isinstance(atom, int):
            return atom
        return self.rows if atom == N else self.steps[atom.axis]  # type: ignore[union-attr]

    def new_axis_of(self, value: int) -> Steps:
        """The time axis of a value, which an operation may just have derived."""
        axis = self.graph.values[value].axis
        known = dict(self.steps)
        self.graph.complete_steps(known)
        self.steps.update(known)
        return Steps(axis)

    # -- values of the graph --------------------------------------------------------------------------

    def kept(self, key: tuple[int, bytes], make: Callable[[], int]) -> int:
        """A value that is made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def steps_of(self, dims: Dims, op: str) -> Steps | None:
        """The one time axis among dimensions."""
        found = [a for a in free(dims) if isinstance(a, Steps)]
        if len(found) > 1:
            raise self.error(op, f"its result has {TWO_AXES}")
        return found[0] if found else None

    def number_cell(self, number: float) -> int:
        """The cell of a number."""
        if number not in self._number_at:
            self._numbers.append(number)
            self._number_at[number] = -len(self._numbers)
        return self._number_at[number]

    def number_cells(self, numbers: NDArray[Any]) -> Cells:
        """The cells of numbers."""
        flat = [self.number_cell(float(n)) for n in numbers.ravel()]
        return np.array(flat, np.int64).reshape(numbers.shape)

    def value(self, cells: Cells, steps: Steps | None, op: str) -> int:
        """A value of the graph with these cells as its features; vec if all of them are, else seq."""
        flat = np.ascontiguousarray(cells.ravel())
        if not flat.size:
            raise self.error(op, "it has no features")
        key = (-1 if steps is None else steps.axis, flat.tobytes())
        return self.kept(key, lambda: self._put_together(flat, steps, op))

    def _put_together(self, flat: Cells, steps: Steps | None, op: str) -> int:
        values = np.maximum(apart(flat)[0], -1)  # all numbers are one part
        cuts = np.flatnonzero(np.diff(values)) + 1
        if len(cuts) >= _MOST_RUNS and len(cuts) >= len(np.unique(values)):
            distinct, at = np.unique(flat, return_inverse=True)
            return self.graph.gather(self._put_together(distinct, steps, op), at.astype(np.int32))
        made = []
        for part in np.split(flat, cuts):
            value = int(apart(part[:1])[0][0])
            made.append(self._numbers_value(part) if value < 0 else self.some(value, apart(part)[1]))
        if len({self.graph.values[v].kind for v in made}) > 1:
            assert steps is not None
            made = [self.at_every_step(v, steps) for v in made]
        if steps is not None:
            runs = [(axis, [*run]) for axis, run in groupby(made, lambda v: self.graph.values[v].axis)]
            made = [self._on(side_by_side(self.graph, run), axis, steps) for axis, run in runs]
        return side_by_side(self.graph, made)

    def _on(self, value: int, axis: int, steps: Steps) -> int:
        """A value on a time axis, if it is on another one, which has as many steps; a vec as it is."""
        return value if axis in (-1, steps.axis) else self.graph.align(value, steps.axis)

    def some(self, value: int, features: NDArray[np.int64]) -> int:
        """Features of one value in a given order."""
        if features.size == self.graph.values[value].size and np.array_equal(features, np.arange(features.size)):
            return value
        runs = np.split(features, np.flatnonzero(np.diff(features) != 1) + 1)
        if len(runs) > _MOST_RUNS:
            return self.graph.gather(value, features.astype(np.int32))
        return side_by_side(self.graph, [self.graph.slice(value, int(r[0]), len(r)) for r in runs])

    def _numbers_value(self, cells: Cells) -> int:
        """A vec of numbers."""
        numbers = np.array([self._numbers[-1 - int(c)] for c in cells], np.float32)
        return self.constant_vec(numbers)

    def constant_vec(self, numbers: NDArray[np.float32]) -> int:
        """A vec whose rows all hold these numbers."""
        return self.graph.constant(numbers)

    def at_every_step(self, value: int, steps: Steps) -> int:
        """A vec as a seq of an axis; a seq as it is."""
        if self.graph.values[value].kind == "seq":
            return value
        key = (steps.axis, b"repeat" + value.to_bytes(4, "little"))
        return self.kept(key, lambda: self.graph.repeat_vector(value, steps.axis))

    def features(self, label: Feat, op: str) -> int:
        """All cells of a label in order as a value; seq if the label has steps."""
        steps = self.steps_of(label.dims, op)
        value = self.value(label.cells, steps, op)
        return value if steps is None else self.at_every_step(value, steps)

    # -- pointwise operations -------------------------------------------------------------------------

    def each(self, label: Feat, op: str, make: Callable[[int], int]) -> Feat:
        """``make`` of the label's features, one by one: it gives a value of the same size."""
        distinct, at = np.unique(label.cells, return_inverse=True)
        made = make(self.value(distinct, self.steps_of(label.dims, op), op))
        return Feat(label.dims, cell(made, at.reshape(label.cells.shape)))

    def over_steps(self, label: Feat, op: str, i: int, make: Callable[[int], int]) -> Feat:
        """``make`` of the label's features, which gives a seq on another axis: that of dimension ``i`` from now on."""
        steps = self.steps_of(label.dims, op)
        assert steps is not None
        distinct, at = np.unique(label.cells, return_inverse=True)
        made = make(self.at_every_step(self.value(distinct, steps, op), steps))
        dims = (*label.dims[:i], (self.new_axis_of(made),), *label.dims[i + 1 :])
        return Feat(dims, cell(made, at.reshape(label.cells.shape)))

    def pairs(self, a: Feat, b: Feat, op: str, make: Callable[[int, int], int]) -> Feat:
        """``make`` of two labels' features, pair by pair: it takes values of one size, or one of them of size 1."""
        dims = self.common(a.dims, b.dims, op)
        steps = self.steps_of(dims, op)
        both = np.stack([broadcast(a, dims).ravel(), broadcast(b, dims).ravel()])
        distinct, at = np.unique(both, axis=1, return_inverse=True)
        sides = [self.value(side[:1] if (side == side[0]).all() else side, steps, op) for side in distinct]
        made = make(*sides)
        return Feat(dims, cell(made, at.reshape(fixed(dims))))

    def with_numbers(self, x: Feat, arrays: Sequence[NDArray[Any]], op: str, make: Callable[..., int]) -> Feat:
        """``make`` of features and numbers, feature by feature: it takes a value, and arrays of as many numbers."""
        dims = x.dims
        for numbers in arrays:
            dims = self.wider(dims, numbers, op)
        constants = [self.against(dims, numbers, op).astype(np.float32).ravel() for numbers in arrays]
        columns = [broadcast(x, dims).ravel(), *(c.view(np.int32).astype(np.int64) for c in constants)]
        distinct, at = np.unique(np.stack(columns), axis=1, return_inverse=True)
        floats = [c.astype(np.int32).view(np.float32) for c in distinct[1:]]
        made = make(self.value(distinct[0], self.steps_of(dims, op), op), *floats)
        return Feat(dims, cell(made, at.reshape(fixed(dims))))

    def common(self, a: Dims, b: Dims, op: str) -> Dims:
        """The dimensions that two labels broadcast to."""
        n = max(len(a), len(b))
        a, b = ((),) * (n - len(a)) + a, ((),) * (n - len(b)) + b
        out = []
        for x, y in zip(a, b, strict=True):
            if x and y and x != y:  # perhaps cut into atoms in another way
                x, y = joined_atoms(x), joined_atoms(y)
                if x != y:
                    raise self.mixed(op, x, y)
            out.append(x or y)
        return self._once(tuple(out), op)

    def _once(self, dims: Dims, op: str) -> Dims:
        """Dimensions in which rows and steps occur once: a batch of one may have got to several places."""
        atoms = free(dims)
        twice = next((a for a in atoms if atoms.count(a) > 1), None)
        if twice is None:
            return dims
        if twice != N or self.rows != 1:
            raise self.wrong_roles(op, f"in its result {self.words((twice,))} would be two dimensions")
        first = next(i for i, d in enumerate(dims) if N in d)
        return tuple(d if i <= first else tuple(a for a in d if a != N) for i, d in enumerate(dims))

    def with_rows_at(self, label: Feat, i: int) -> Feat:
        """The label with its batch at dimension ``i``, where that can be: a batch of one is where it is looked for."""
        if label.dims[i] or self.rows != 1 or (N,) not in label.dims:
            return label
        dims = [() if d == (N,) else d for d in label.dims]
        dims[i] = (N,)
        return Feat(tuple(dims), label.cells)

    def mixed(self, op: str, a: Any, b: Any) -> ProgramError:
        """The error of two dimensions that do not belong together."""
        words = [self.words(d) for d in (a, b)]
        other = " of another number" if words[0] == words[1] else ""
        return self.wrong_roles(op, f"it combines {words[0]} with {words[1]}{other}")

    def words(self, dim: Sequence[Atom]) -> str:
        """A dimension in words."""
        names = [f"{a} features" if isinstance(a, int) else "the batch" if a == N else "the steps" for a in dim]
        return " x ".join(names) or "one"

    def dims_in_words(self, dims: Dims) -> str:
        """All dimensions in words."""
        return ", ".join(map(self.words, dims))

    def wider(self, dims: Dims, numbers: NDArray[Any], op: str) -> Dims:
        """The dimensions that a label and numbers broadcast to."""
        rank = max(len(dims), numbers.ndim)
        own = ((),) * (rank - len(dims)) + dims
        shape = (1,) * (rank - numbers.ndim) + numbers.shape
        for dim, n in zip(own, shape, strict=True):
            if dim and n != 1 and n != math.prod(self.size_of(a) for a in dim):
                raise self.error(op, f"{n} numbers meet {self.words(dim)}")
        return tuple(d or ((n,) if n > 1 else ()) for d, n in zip(own, shape, strict=True))

    def against(self, dims: Dims, numbers: NDArray[Any], op: str) -> NDArray[Any]:
        """The numbers for each of the cells of dimensions that they broadcast to.

        Raises:
            ProgramError: they differ from row to row, or from step to step.
        """
        wide = numbers.reshape((1,) * (len(dims) - numbers.ndim) + numbers.shape)
        shape: list[int] = []
        for i, dim in enumerate(dims):
            atoms = fixed((dim,))
            if wide.shape[i] == 1:
                shape += [1] * len(atoms)
                continue
            if len(atoms) != len(dim):
                wide = self._constant_along(wide, i, dim, op)
            shape += atoms
        return np.broadcast_to(wide.reshape(shape), fixed(dims))

    def _constant_along(self, wide: NDArray[Any], i: int, dim: Sequence[Atom], op: str) -> NDArray[Any]:
        """Numbers along a dimension with rows or steps in it: these must not matter."""
        sizes = [self.size_of(a) for a in dim]
        parts = wide.reshape(*wide.shape[:i], *sizes, *wide.shape[i + 1 :])
        for k, atom in enumerate(dim):
            if not isinstance(atom, int):
                first = np.take(parts, [0], axis=i + k)
                if not np.array_equal(parts, np.broadcast_to(first, parts.shape), equal_nan=True):
                    per = "row" if atom == N else "step"
                    error = self.error(op, f"numbers that differ from {per} to {per} are not supported")
                    raise OtherSteps(atom.axis, str(error), op) if isinstance(atom, Steps) else error
                parts = first
        kept = math.prod(a for a in dim if isinstance(a, int))
        return parts.reshape(*wide.shape[:i], kept, *wide.shape[i + 1 :])
