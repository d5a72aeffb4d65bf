"""The machine that builds a graph: it runs a program and says, tensor by tensor, what stands where."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import AxesError, ConvertError, GraphError
from lstm_rt.graph import Graph

from ..arch.layers import side_by_side
from .algebra import Unknown
from .labels import (
    Atom,
    Cells,
    Columns,
    Dim,
    Dims,
    Feat,
    Ids,
    Label,
    Lengths,
    Loose,
    Mask,
    N,
    Order,
    Scores,
    Steps,
    Turn,
    apart,
    broadcast,
    cell,
    fixed,
    free,
    is_steps,
    joined_atoms,
    merged_cells,
    whole,
)
from .machine import Body, LoopBody, Machine, ProgramError, Tensor, UnknownLoop
from .masks import in_numbers
from .recurrence import Recurrence, looped, scanned
from .roles import Role
from .unrolled import Unrolled

_INNER = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
_ATTENTION = "the weights that attention gives to pairs of steps"
_MOST_NODES = 1 << 13  #: of a graph, before those that nothing needs are dropped
#: Steps stay steps, and features features; or a layer may go over a single step; or a fixed number of steps may
#: become features, and features steps.
PLAIN, SINGLE, FIXED = range(3)
_FEW = 8  #: steps; of fewer, more may be dropped than there are
_PERIOD = 60  #: numbers of steps that are tried; what they are multiplied with and divided by divides it most often
_MOST_RUNS = 8  #: of neighbouring features that are cut out one by one; more are gathered

_KINDS: dict[Any, str] = {
    Ids: "token ids",
    Lengths: "lengths",
    Columns: "lengths",
    Order: "the order of the rows",
    Scores: _ATTENTION,
    Turn: "the number of a loop's turn",
}


class WrongRoles(ProgramError):
    """An input's dimensions have been taken for something else than the program takes them for."""


class LateLengths(ProgramError):
    """An axis turns out to have lengths when something has been made for it as if it had none."""

    def __init__(self, axis: int, message: str) -> None:
        super().__init__(message, "lengths")
        self.axis = axis


class Labelled(Machine):
    """Builds a graph beside the numbers.

    Args:
        roles: what the inputs' dimensions are taken for.
        rows: of the batch in this run.
        steps: of each named time axis in this run.
        fixed: names of the time axes whose steps the program fixes.
        leeway: what may become what: :data:`PLAIN`, :data:`SINGLE` or :data:`FIXED`.
        with_lengths: time axes that are known to have lengths before these are read.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        rows: int,
        steps: Mapping[str, int],
        fixed: Collection[str],
        leeway: int,
        with_lengths: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.graph = Graph()
        self.rows = rows
        self.steps: dict[int, int] = {}
        self.done = 0  #: operations that have been labelled
        self.frozen_steps: set[str] = set()  #: names of time axes that have become features somewhere
        self._given_steps, self._fixed, self._leeway = steps, fixed, leeway
        self._with_lengths = frozenset(with_lengths)
        self._without_lengths: set[int] = set()  #: time axes that something was made for as if they had none
        self._numbers: list[float] = []
        self._number_at: dict[float, int] = {}
        self._made: dict[tuple[int, bytes], int] = {}
        self._lengths: dict[str, int] = {}
        self.notes: list[str] = []  #: sentences for the user
        self.padded: dict[str, int] = {}  #: tokens that pad inputs, where lengths are computed of them
        self.sorts = False  #: puts the rows in the order of their lengths
        self.folded: list[str] = []  #: what was put together
        self._roles = list(roles)
        self.unrolled = Unrolled(self.graph)  #: what the program does step by step
        self.loop_of_step: Recurrence | None = None  #: the loop in whose body the program is
        self._axes: dict[str, int] = {}

    # -- inputs ---------------------------------------------------------------------------------------

    def declare(self, arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
        """The inputs of the graph, as tensors that stand for them."""
        return [Tensor(array, self._declare(role)) for role, array in zip(self._roles, arrays, strict=True)]

    def _declare(self, role: Role) -> Label:
        dims = tuple(self._atoms(role, d) for d in role.dims)
        if role.kind == "lengths":
            return Lengths(role.name, dims)
        axis = next((a.axis for a in free(dims) if isinstance(a, Steps)), None)
        size, is_ids = math.prod(fixed(dims)), role.kind == "ids"
        order: dict[str, Any] = dict(role.order())
        axis = -1 if axis is None and is_ids else axis
        value = self.graph.input(role.name, role.kind, 0 if is_ids and size == 1 else size, axis, **order)
        if role.dtype.kind == "b" and axis is not None and size == 1:
            return Mask(self.graph.mask_values(value), axis, dims)
        label = whole(value, size, dims)
        return Ids(dims, label.cells) if is_ids else label

    def _atoms(self, role: Role, dim: str | int) -> tuple[Atom, ...]:
        if isinstance(dim, int):
            return (dim,) if dim > 1 else ()
        if dim == N:
            return (N,)
        if dim not in self._axes:
            self._axes[dim] = self.graph.new_axis()
            self.steps[self._axes[dim]] = self._given_steps[dim]
        return (Steps(self._axes[dim]),)

    def use_lengths(self, label: Lengths, axis: int) -> int:
        """The input of lengths, which belong to this axis."""
        if label.less:
            raise self.error("lengths", "less than the given lengths are used as lengths")
        if label.name not in self._lengths:
            if axis in self._without_lengths:
                raise LateLengths(axis, str(self.error("lengths", f"{label.name!r} is read after steps were used")))
            self._lengths[label.name] = self.graph.input(label.name, "lengths", 0, axis)
        value = self._lengths[label.name]
        if self.graph.values[value].axis != axis:
            raise self.error("lengths", f"{label.name!r} belongs to two different time axes")
        return value

    def longest(self, lengths: Tensor) -> Tensor:
        if not isinstance(lengths.label, Lengths) or lengths.label.less:
            found: Tensor = self.apply("max", lengths, axes=(0,), keepdims=False)
            return found
        note = (
            f"the model asks for the longest row in {lengths.label.name!r}: the converted model takes all steps that "
            "its input has, so give it as many as the longest row has"
        )
        self.notes += [note] if note not in self.notes else []
        return super().longest(lengths)

    def padding(self, mask: Mask) -> int:
        """The mask of a row's own steps, where the others, which hold a token of their own, stand at its end."""
        assert mask.value is not None
        node = next(n for n in self.graph.nodes if mask.value in n.outputs)
        ids = node.inputs[0]
        if node.op != "mask_ids" or ids is None:
            raise self.error("lengths", "lengths that are computed of anything but token ids are not supported")
        name, token = self.graph.values[ids].name, int(node.attrs["value"])
        self.padded[name] = token
        note = f"padding, {token} in {name!r}, is taken to stand at the end of rows alone"
        self.notes += [note] if note not in self.notes else []
        return mask.value

    def axis_of_lengths(self, label: Lengths) -> int:
        """The time axis that lengths belong to: that of their first use, or the only one that the inputs have."""
        if label.name in self._lengths:
            return int(self.graph.values[self._lengths[label.name]].axis)
        if len(self._axes) != 1:
            raise self.error("lengths", f"which of {len(self._axes)} time axes {label.name!r} belongs to is not known")
        (axis,) = self._axes.values()
        return axis

    def kept(self, key: tuple[int, bytes], make: Callable[[], int]) -> int:
        """A value that is made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def order_inputs(self) -> list[str]:
        """Put the graph's inputs in the order of the program's; returns the names of those that nothing reads."""
        place = {r.name: i for i, r in enumerate(self._roles)}
        self.graph.inputs.sort(key=lambda v: place[self.graph.values[v].name])
        declared = {self.graph.values[v].name for v in self.graph.inputs}
        return [r.name for r in self._roles if r.name not in declared]

    # -- loops ----------------------------------------------------------------------------------------

    @contextmanager
    def in_graph(self, graph: Graph, loop: Recurrence) -> Iterator[None]:
        """Within, operations make nodes of another graph: that of a step of a loop."""
        kept = self.graph, self._made, self.loop_of_step, self.unrolled
        self.graph, self._made, self.loop_of_step, self.unrolled = graph, {}, loop, Unrolled(graph)
        try:
            yield
        finally:
            self.graph, self._made, self.loop_of_step, self.unrolled = kept

    def scan(
        self, body: Body, states: Sequence[Tensor], xs: Sequence[Tensor], axes: Sequence[int], backward: Sequence[bool]
    ) -> tuple[list[Tensor], list[Tensor]]:
        try:
            found = scanned(self, body, states, xs, axes, backward)
        except Unknown as e:
            raise self.error("scan", f"its body is no recurrent cell: {e}") from None
        return super().scan(body, states, xs, axes, backward) if found is None else found

    def loop(
        self, body: LoopBody, trips: int | None, condition: bool, states: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        found = None
        if condition:
            try:
                found = looped(self, body, trips, states)
            except (Unknown, ConvertError):  # then turn by turn
                found = None
        return super().loop(body, trips, condition, states) if found is None else found

    @property
    def batch(self) -> Dim:
        """The dimension of the rows: of size 1, where no input has rows."""
        return (N,) if any(N in r.dims for r in self._roles) else ()

    # -- sizes ----------------------------------------------------------------------------------------

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

    # -- rules ----------------------------------------------------------------------------------------

    def apply(self, op: str, *args: Tensor | None, **options: Any) -> Any:
        loop, x = self.loop_of_step, args[0] if args else None
        if loop is not None and x is not None and isinstance(x.label, Mask):
            turn = args[1].label if op == "index_select" and args[1] is not None and not args[1].ndim else None
            if isinstance(turn, Turn) and turn.offset == 0:
                return loop.slice(x, options["axis"])
            if op == "slice" and options["stop"] == options["start"] + 1:  # of the first turn, before it is a loop
                return Tensor(np.expand_dims(loop.slice(x, options["axis"]).data, options["axis"]))
        return super().apply(op, *args, **options)

    def labels(self, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        from .rules import RULES

        rule = RULES.get(op)
        if rule is None:
            raise self.error(op, "on data that depends on the inputs it is not supported")
        self.done += 1
        if len(self.graph.nodes) > _MOST_NODES:
            raise self.error(op, f"the program makes more than {_MOST_NODES} operations of a graph")
        try:
            made = self._ruled(rule, op, args, options, out)
        except _INNER as e:  # a case that the rules did not think of
            raise self.error(op, f"the conversion fails on it ({type(e).__name__}: {e})") from e
        except AxesError as e:
            raise WrongRoles(f"{op}: {e}", op) from None
        except GraphError as e:
            raise self.error(op, str(e)) from None
        for label, array in zip(made, out, strict=True) if isinstance(out, tuple) else [(made, out)]:
            self._must_fit(op, label, array)
        return made

    def _must_fit(self, op: str, label: Label, array: NDArray[Any]) -> None:
        """What a rule says stands in a result has to be of its shape, whatever the rule did not think of."""
        if label is None or isinstance(label, Loose):  # None: it depends on no input after all
            return
        shape = tuple(math.prod(map(self.size_of, d)) for d in label.dims)
        if not array.size:
            raise self.error(op, f"its result is empty, of shape {array.shape}")
        if shape != array.shape:
            raise self.wrong_roles(op, f"its result is {self.dims_in_words(label.dims)}, but of shape {array.shape}")

    def _ruled(self, rule: Any, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        """The rule; where it stumbles over steps whose number the program fixes, these become features."""
        try:
            return rule(self, args, options, out)
        except WrongRoles:
            others = self._aligned(args)
            if all(o is a for o, a in zip(others, args, strict=True)):
                others = [self._without_steps(a) for a in args]
            if all(o is a for o, a in zip(others, args, strict=True)):
                raise
            return rule(self, others, options, out)

    def _aligned(self, args: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The same, with steps that were dropped and added again as those of the axis that they are derived from."""
        labels = [a.label if a is not None and isinstance(a.label, Feat) else None for a in args]
        axes = {a.axis for label in labels if label for a in free(label.dims) if isinstance(a, Steps)}
        same = {axis: next((o for o in sorted(axes) if self._as_many(o, axis)), axis) for axis in axes}
        made = [None if label is None else self._with_axes(label, same) for label in labels]
        return [a if a is None or m is None else Tensor(a.data, m) for a, m in zip(args, made, strict=True)]

    def _with_axes(self, label: Feat, same: Mapping[int, int]) -> Feat | None:
        """The label on other time axes; None if it is on these."""
        at = next((i for i, d in enumerate(label.dims) if is_steps(d) and same[d[0].axis] != d[0].axis), None)
        if at is None:
            return None
        axis = same[label.dims[at][0].axis]  # type: ignore[union-attr]
        return self.over_steps(label, "align", at, lambda v: self.graph.align(v, axis))

    def _as_many(self, a: int, b: int) -> bool:
        """Have two axes the same steps, of however many (but for a few)?"""
        root = self.graph.root(a)
        if a == b or root is None or root != self.graph.root(b):
            return a == b
        counts = [{root: n} for n in range(min(_FEW, self.steps[root]), self.steps[root] + _PERIOD)]
        for steps in counts:
            self.graph.complete_steps(steps)
        return all(steps[a] == steps[b] for steps in counts)

    def _without_steps(self, x: Tensor | None) -> Tensor | None:
        """The same with its steps as features, where the program fixes their number."""
        if x is None or not isinstance(x.label, Feat):
            return x
        steps = next((a for a in free(x.label.dims) if isinstance(a, Steps)), None)
        if steps is None or not self._is_frozen(steps.axis):
            return x
        return Tensor(x.data, self.flattened(x.label, steps))

    def _is_frozen(self, axis: int) -> bool:
        """Does the program fix the steps of an axis, or of the one that it derives from?"""
        return self._leeway >= FIXED and not self.is_free(Steps(axis))

    def is_free(self, steps: Steps) -> bool:
        """May an axis, or the one that it derives from, have any number of steps?"""
        root = self.graph.root(steps.axis)
        return root is not None and not any(a == root and n in self._fixed for n, a in self._axes.items())

    def unknown_loop(self, axis: int) -> UnknownLoop:
        """The error of a loop over steps that is not understood."""
        root = self.graph.root(axis)
        name = next((n for n, a in self._axes.items() if a == root), "")
        found = (UnknownLoop(r.name, r.dims.index(name)) for r in self._roles if name in r.dims)
        return next(found, UnknownLoop("", 0))

    def resolve_steps(self) -> None:
        """Make the steps that nodes read one by one.

        Raises:
            UnknownLoop: these are all of as many as there are, of any number.
        """
        for seq in self.unrolled.read_whole():
            if self.is_free(Steps(self.graph.values[seq].axis)):
                raise self.unknown_loop(self.graph.values[seq].axis)
        self.unrolled.resolve(self.fixed_axes)

    @property
    def fixed_axes(self) -> set[int]:
        """Time axes of inputs whose steps the program fixes."""
        return {axis for name, axis in self._axes.items() if name in self._fixed}

    def flattened(self, label: Feat, steps: Steps) -> Feat:
        """Steps become features: from now on the model takes this number of them alone."""
        n = self.steps[steps.axis]
        self.freeze(steps.axis)
        distinct, at = np.unique(label.cells, return_inverse=True)
        value = self.at_every_step(self.value(distinct, steps, "reshape"), steps)
        made = self.graph.flatten(value, n)
        place = next(
            k
            for k, a in enumerate([a for d in label.dims for a in d if isinstance(a, int) or a == steps])
            if a == steps
        )
        features = np.expand_dims(at.reshape(label.cells.shape), place)
        moments = np.arange(n).reshape([n if k == place else 1 for k in range(features.ndim)])
        dims = tuple(tuple(n if a == steps else a for a in d if a != steps or n > 1) for d in label.dims)
        return Feat(dims, cell(made, moments * len(distinct) + features).reshape(fixed(dims)))

    def freeze(self, axis: int) -> None:
        """The model takes the steps of this run alone."""
        root = self.graph.root(axis)
        self.frozen_steps.update(name for name, a in self._axes.items() if a == root)

    def unflattened(self, label: Feat, i: int) -> Feat:
        """Features of a vec become steps, along dimension ``i``."""
        if self._leeway < (FIXED if label.dims[i] else SINGLE):
            raise self.wrong_roles("steps", f"{self.words(label.dims[i])} are read as steps")
        label = merged_cells(label, i)
        n = fixed(label.dims[i : i + 1])[0] if label.dims[i] else 1
        axis = len(fixed(label.dims[:i]))
        cells = label.cells if label.dims[i] else np.expand_dims(label.cells, axis)
        moved = np.moveaxis(cells, axis, 0).reshape(n, -1)
        made = self.graph.unflatten(self.value(moved, None, "unflatten"), n)
        steps = self.new_axis_of(made)
        dims = (*label.dims[:i], (steps,), *label.dims[i + 1 :])
        return Feat(dims, cell(made, np.arange(moved.shape[1])).reshape(fixed(dims)))

    def has_lengths(self, axis: int) -> bool:
        """Does the program give lengths for an axis?"""
        if axis in self._with_lengths or any(self.graph.values[v].axis == axis for v in self._lengths.values()):
            return True
        self._without_lengths.add(axis)
        return False

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        with super().layer(name), self.graph.layer(name):
            yield

    def wrong_roles(self, op: str, why: str) -> WrongRoles:
        """The error that makes :mod:`.convert` try other roles."""
        return WrongRoles(str(self.error(op, why)), op)

    def feat(self, x: Tensor, op: str) -> Feat:
        """What a tensor stands for, as features.

        Raises:
            ProgramError: it is something else.
        """
        label = x.label
        if isinstance(label, Feat):
            return label
        if isinstance(label, Loose):
            raise self.error(op, label.why)
        if (found := in_numbers(self, label)) is not None:
            return found
        raise self.error(op, f"it reads {_KINDS.get(type(label), 'a constant')} where features are expected")

    # -- values of the graph --------------------------------------------------------------------------

    def steps_of(self, dims: Dims, op: str) -> Steps | None:
        """The one time axis among dimensions."""
        found = [a for a in free(dims) if isinstance(a, Steps)]
        if len(found) > 1:
            raise self.error(op, "its result has two time axes, which no value of a graph can have")
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
            made.append(self._numbers_value(part) if value < 0 else self._some(value, apart(part)[1]))
        if len({self.graph.values[v].kind for v in made}) > 1:
            assert steps is not None
            made = [self.at_every_step(v, steps) for v in made]
        return side_by_side(self.graph, made)

    def _some(self, value: int, features: NDArray[np.int64]) -> int:
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
                    raise self.error(op, f"numbers that differ from {per} to {per} are not supported")
                parts = first
        kept = math.prod(a for a in dim if isinstance(a, int))
        return parts.reshape(*wide.shape[:i], kept, *wide.shape[i + 1 :])
