"""The machine that builds a graph: it runs a program and says, tensor by tensor, what stands where."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import AxesError, ConvertError, GraphError
from lstm_rt.graph import Graph

from ..arch.within import Inner
from .labels import (
    TWO_AXES,
    Atom,
    Columns,
    Differs,
    Dim,
    Feat,
    Ids,
    Label,
    Lengths,
    Loose,
    Mask,
    N,
    Order,
    Pairs,
    Penalty,
    Scores,
    Steps,
    Turn,
    cell,
    fixed,
    free,
    is_steps,
    merged_cells,
    whole,
)
from .machine import Body, LoopBody, ProgramError, Tensor, UnknownLoop
from .masks import in_numbers
from .phases import one_by_one
from .positions import picked
from .recognised.algebra import Unknown
from .recognised.recurrence import Recurrence, looped, scanned
from .recognised.unrolled import Unrolled
from .roles import Role
from .tidy import maker
from .truths import compared
from .values import Values, WrongRoles

_INNER = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
_ATTENTION = "the weights that attention gives to pairs of steps"
_MOST_NODES = 1 << 13  #: of a graph, before those that nothing needs are dropped
#: Steps stay steps, and features features; or a layer may go over a single step; or a fixed number of steps may
#: become features, and features steps.
PLAIN, SINGLE, FIXED = range(3)
_MOST_TABLES = 64
_FEW = 8  #: steps; of fewer, more may be dropped than there are
_PERIOD = 60  #: numbers of steps that are tried; what they are multiplied with and divided by divides it most often


_KINDS: dict[Any, str] = {
    Ids: "token ids",
    Lengths: "lengths",
    Columns: "lengths",
    Order: "the order of the rows",
    Scores: _ATTENTION,
    Pairs: "which pairs of steps count",
    Penalty: "which pairs of steps count",
    Turn: "the number of a loop's turn",
}


class LateLengths(ProgramError):
    """An axis turns out to have lengths when something has been made for it as if it had none."""

    def __init__(self, axis: int, message: str) -> None:
        super().__init__(message, "lengths")
        self.axis = axis


class Labelled(Values):
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
        super().__init__(rows)
        self.done = 0  #: operations that have been labelled
        self.frozen_steps: set[str] = set()  #: names of time axes that have become features somewhere
        self._given_steps, self._fixed, self._leeway = steps, fixed, leeway
        self._with_lengths = frozenset(with_lengths)
        self._without_lengths: set[int] = set()  #: time axes that something was made for as if they had none
        self._lengths: dict[str, int] = {}
        self.notes: list[str] = []  #: sentences for the user
        self.padded: dict[str, float] = {}  #: tokens or numbers that pad inputs, where lengths are computed of them
        self.sorts = False  #: puts the rows in the order of their lengths
        self.folded: list[str] = []  #: what was put together
        self._roles = list(roles)
        self.unrolled = Unrolled(self.graph)  #: what the program does step by step
        self.phases: dict[int, tuple[int, int]] = {}  #: what has every few steps side by side: of what, and how few
        self.tables: list[NDArray[Any]] = []  #: known numbers of which several in order were picked
        self.places: dict[int, tuple[Inner, int]] = {}  #: what stands at one place within each step: of which steps
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
        """The mask of a row's own steps, where the others, which hold something of their own, stand at its end."""
        node = None if mask.inverted else maker(self.graph, mask.value)
        source = None if node is None or node.op not in ("mask_ids", "mask_values") else node.inputs[0]
        if node is None or mask.value is None or source not in self.graph.inputs:
            raise self.error("lengths", "lengths that are computed of anything but inputs are not supported")
        name, token = self.graph.values[source].name, node.attrs["value"]
        self.padded[name] = token
        note = f"padding, {token:g} in {name!r}, is taken to stand at the end of rows alone"
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

    # -- rules ----------------------------------------------------------------------------------------

    def apply(self, op: str, *args: Tensor | None, **options: Any) -> Any:
        loop, x = self.loop_of_step, args[0] if args else None
        if loop is not None and x is not None and isinstance(x.label, Mask):
            turn = args[1].label if op == "index_select" and args[1] is not None and not args[1].ndim else None
            if isinstance(turn, Turn) and turn.offset == 0:
                return loop.slice(x, options["axis"])
            if op == "slice" and options["stop"] == options["start"] + 1:  # of the first turn, before it is a loop
                return Tensor(np.expand_dims(loop.slice(x, options["axis"]).data, options["axis"]))
        if op in ("slice", "index_select") and x is not None and x.known and len(self.tables) < _MOST_TABLES:
            index = args[1].data if op == "index_select" and args[1] is not None and args[1].known else None
            found = picked(op, x.data, index, options) if op == "slice" or index is not None else None
            self.tables += [] if found is None else [found]
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
        """The rule; where it stumbles over steps whose number the program fixes, these become features, and where it
        does over steps of steps, these become steps.
        """
        try:
            return rule(self, args, options, out)
        except WrongRoles:
            others = self._aligned(args)
            if all(o is a for o, a in zip(others, args, strict=True)):
                others = [self._without_steps(a) for a in args]
            if all(o is a for o, a in zip(others, args, strict=True)):
                others = [one_by_one(self, a) for a in args]
            if all(o is a for o, a in zip(others, args, strict=True)):
                raise
            return rule(self, others, options, out)

    def _aligned(self, args: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The same, with steps that were dropped and added again as those of the axis that they are derived from."""
        labels = [a.label if a is not None and isinstance(a.label, Feat) else None for a in args]
        axes = {a.axis for label in labels if label for a in free(label.dims) if isinstance(a, Steps)}
        same = {axis: next((o for o in sorted(axes) if self._as_many(o, axis)), axis) for axis in axes}
        if len(set(same.values())) > 1:  # perhaps one is cut to as many as another, which it has in this run
            alike = ((a, o) for a in sorted(axes) for o in sorted(axes) if self.steps[a] == self.steps[o])
            same |= dict(next(([(a, o)] for a, o in alike if self.is_longer(a, o)), []))
        made = [None if label is None else self._with_axes(label, same) for label in labels]
        return [a if a is None or m is None else Tensor(a.data, m) for a, m in zip(args, made, strict=True)]

    def _with_axes(self, label: Feat, same: Mapping[int, int]) -> Feat | None:
        """The label on other time axes; None if it is on these."""
        at = next((i for i, d in enumerate(label.dims) if is_steps(d) and same[d[0].axis] != d[0].axis), None)
        if at is None:
            return None
        own = label.dims[at][0].axis  # type: ignore[union-attr]
        return self.as_long(label, at, same[own])

    def as_long(self, label: Feat, i: int, axis: int) -> Feat:
        """The label with the steps of dimension ``i`` as those of another axis: as many, or cut to so many."""
        make = self.graph.align if self._as_many(label.dims[i][0].axis, axis) else self.graph.cut  # type: ignore[union-attr]
        return self.over_steps(label, "align", i, lambda value: make(value, axis))

    def is_longer(self, a: int, b: int) -> bool:
        """Has an axis never fewer steps than another, but by no fixed number more?

        So it is with what a strided convolution and the transposed one leave of a sequence, or the other way around.
        """
        more = {steps[a] - steps[b] for steps in self._counts(a, b, 0) if min(steps.values()) > 0}
        return len(more) > 1 and min(more) >= 0

    def is_set(self, axis: int) -> bool:
        """Has an axis always the steps of this run, where the one that it derives from has no fewer than in it?"""
        root = self.graph.root(axis)
        if root is None or axis == root:
            return root is None
        return all(c[axis] == self.steps[axis] for c in self._counts(axis, root, self.steps[root]))

    def _as_many(self, a: int, b: int) -> bool:
        """Have two axes the same steps, of however many (but for a few)?"""
        counts = self._counts(a, b, _FEW)
        return all(steps[a] == steps[b] for steps in counts) if counts else a == b

    def _counts(self, a: int, b: int, least: int) -> list[dict[int, int]]:
        """The steps of two axes that derive from the same one, of which there are ``least`` or more."""
        root = self.graph.root(a)
        if a == b or root is None or root != self.graph.root(b):
            return []
        counts = [{root: n} for n in range(min(least, self.steps[root]), self.steps[root] + _PERIOD)]
        for steps in counts:
            self.graph.complete_steps(steps)
        return counts

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
        return UnknownLoop(*self.place_of(axis), self.loops.get(self.steps[axis]))

    def place_of(self, axis: int) -> tuple[str, int]:
        """The input, and its dimension, that has the steps of an axis or those that it derives from."""
        root = self.graph.root(axis)
        name = next((n for n, a in self._axes.items() if a == root), "")
        places = ((r.name, r.dims.index(name)) for r in self._roles if name in r.dims)
        return next(places, ("", 0))

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

    def repeated(self, label: Feat) -> Feat:
        """Several equal features of each step, which are one dimension with the steps, become so many steps."""
        at = next((i for i, d in enumerate(label.dims) if [type(a) for a in d] == [Steps, int]), None)
        if at is None:
            return label
        axis = len(fixed(label.dims[:at]))
        first = np.take(label.cells, 0, axis)
        if not np.array_equal(label.cells, np.broadcast_to(np.expand_dims(first, axis), label.cells.shape)):
            return label
        once = Feat((*label.dims[:at], label.dims[at][:1], *label.dims[at + 1 :]), first)
        return self.over_steps(once, "repeat", at, lambda v: self.graph.repeat(v, label.cells.shape[axis]))

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

    def feat(self, x: Tensor, op: str) -> Feat:
        """What a tensor stands for, as features.

        Raises:
            ProgramError: it is something else.
        """
        label = x.label
        if isinstance(label, Feat):
            return label
        if isinstance(label, Differs) and not label.counted and label.dims == label.feat.dims:
            return compared(self, "eq" if label.equal else "ne", label.feat, np.asarray(label.number))
        if isinstance(label, Loose):
            raise self.error(op, label.why)
        if (found := in_numbers(self, label)) is not None:
            return found
        why = f"it reads {_KINDS.get(type(label), 'a constant')} where features are expected"
        raise self.error(op, f"{why}: they have {TWO_AXES}" if isinstance(label, Scores) else why)
