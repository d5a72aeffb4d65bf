"""A converted graph beside the program that it was made of, at several sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import AxesError, ConvertError
from lstm_rt.graph import Array, Graph

from ..judges import reference, testdata
from ..judges.compare import CHECK_TOLERANCE, differences
from ..names import shown
from .labels import N
from .machine import Exhausted, Machine, Source
from .roles import Role

FEW = (7, 23)  #: steps that a model is compared at, too, if it was made at more
_OFTEN = 0.25  #: of ids are tokens that masks look for


class Check:
    """Compares a graph with its program.

    Args:
        roles: what the program's inputs were taken for; ``read``: those that the graph has, in its order.
        frozen: names of time axes whose steps the program fixes.
        padded: tokens or numbers that stand at the end of rows alone, by the input.
        sorts: the program sorts rows by their lengths itself, which then are in no order.
        doubted: what the graph may do in another way than the program.
    """

    def __init__(
        self,
        source: Source,
        graph: Graph,
        roles: Sequence[Role],
        read: Sequence[Role],
        frozen: Sequence[str],
        padded: Mapping[str, float],
        sorts: bool = False,
        doubted: Sequence[str] = (),
    ) -> None:
        self._source, self._graph, self._roles, self._read = source, graph, roles, read
        self._frozen, self._padded = frozen, padded
        self._sorts, self._doubted = sorts, doubted
        self._called = source.called
        self._masked = {
            graph.values[n.inputs[0]].name: float(n.attrs["value"])
            for n in graph.nodes
            if n.op == "mask_values" and n.inputs[0] in graph.inputs
        }
        axes = {graph.values[v].axis: r.axis for v, r in zip(graph.inputs, read, strict=True) if r.axis is not None}
        self._counted = {
            graph.values[v].name: axes[graph.values[v].axis]
            for v in graph.inputs
            if graph.values[v].kind == "lengths" and graph.values[v].axis in axes
        }  #: names of the time axes whose steps inputs of lengths count
        self._names = [graph.values[o].name for o in graph.outputs]
        self._most_ids = {
            graph.values[v].name: testdata.id_limit(graph, v) for v in graph.inputs if graph.values[v].kind == "ids"
        }
        self._tokens = sorted({n.attrs["value"] for n in graph.nodes if n.op == "mask_ids"})
        self.notes: list[str] = []
        self.agrees = True  #: also with more steps than the program says that it is made for
        self.sizes: list[str] = []  #: at which it was compared
        self._any_rows = all(r.declared_rows is None and N in r.dims for r in roles)

    # -- the checks -----------------------------------------------------------------------------------

    def at(self, rows: int, steps: Mapping[str, int]) -> None:
        """At one size.

        Raises:
            ConvertError: the program does not run there, or gives other numbers.
        """
        arrays = self._made(rows, steps, seed=rows)
        theirs = self._theirs(arrays)
        self._compare(arrays, theirs, f"with {_size_text(rows, steps)}")
        self.sizes.append(_size_text(rows, steps))

    def others(self, rows: int, steps: Mapping[str, int]) -> None:
        """At other sizes, each of which the program may be made not to take.

        Raises:
            ConvertError: the program runs there, and gives other numbers.
        """
        self._other_rows(rows, steps)
        declared = {r.axis: d for r in self._roles for d, dim in zip(r.declared, r.dims, strict=True) if dim == r.axis}
        if self._frozen:
            counts = "/".join(str(steps[name]) for name in self._frozen)
            self.notes.append(f"the model takes {counts} steps only, as {self._called} does")
        free = [name for name in steps if not isinstance(declared.get(name), int)]
        longer = _with(steps, free, lambda n: 2 * n + 5)
        if free and not self._runs(rows, longer):
            if not self._runs(rows, _with(steps, free, lambda n: 2 * n)):
                raise ConvertError(f"with {_size_text(rows, longer)} {self._called} itself does not run")
            counts = "/".join(dict.fromkeys(str(longer[name]) for name in free))
            self.notes.append(
                f"{self._called} takes some numbers of steps alone, such as {counts} not; the converted model leaves "
                "out those at the end that are too few for it"
            )
        if free:
            self._runs(rows, _with(steps, free, lambda n: n + 1))
            self._several(rows, longer, free)
            for few in FEW:
                if any(steps[name] > few for name in free):
                    self._fewer(rows, _with(steps, free, partial(min, few)))
        self._fixed_steps(rows, steps, [name for name in steps if name not in free and name not in self._frozen])
        self._asked(rows, steps, free)

    def _several(self, rows: int, steps: Mapping[str, int], free: Sequence[str]) -> None:
        """At so many steps that no axis has a single one: this may be the first, the last, or stand for all of them."""
        if not self._has_single(steps, free):
            return
        for factor in (2, 4, 8):
            many = _with(steps, free, partial(mul, factor))
            if factor == 8 or not self._has_single(many, free):
                self._runs(rows, many)
                return

    def _has_single(self, steps: Mapping[str, int], free: Sequence[str]) -> bool:
        """Has an axis that derives from a free one a single step?"""
        graph = self._graph
        axes = {graph.values[v].axis: r.axis for v, r in zip(graph.inputs, self._read, strict=True)}
        found = {axis: steps[name] for axis, name in axes.items() if axis is not None and name is not None}
        roots = {axis for axis, name in axes.items() if name in free}
        graph.complete_steps(found)
        return any(n == 1 and graph.root(axis) in roots for axis, n in found.items())

    def _asked(self, rows: int, steps: Mapping[str, int], free: Sequence[str]) -> None:
        """At the sizes that a source asks for: it may branch on them in a way that no graph shows."""
        for n, count in self._source.also:
            n, own = n if self._any_rows else rows, {**steps, **dict.fromkeys(free, count)}
            if _size_text(n, own) not in self.sizes:
                self._runs(n, own)

    def _fewer(self, rows: int, steps: Mapping[str, int]) -> None:
        """So few steps that the model may refuse them; else it has to do there what the program does."""
        with suppress(AxesError):
            self._runs(rows, steps)

    def _fixed_steps(self, rows: int, steps: Mapping[str, int], fixed: Sequence[str]) -> None:
        """More steps than the program says that it is made for."""
        if not fixed:
            return
        counts = "/".join(dict.fromkeys(str(steps[name]) for name in fixed))
        made_for = (
            f"{self._called} is made for {counts} step{'s' * (counts != '1')}; the converted model takes any number of "
            "them"
        )
        rows = 4 * rows + 3 if self._any_rows else rows  # few could agree by chance
        else_given = f"{made_for}; with other numbers the file's own graph gives something else"
        try:
            far = self._runs(rows, _with(steps, fixed, lambda n: 2 * n + 5))
        except ConvertError:
            if self._source.live:
                raise  # no file says so: it has been tried, and does run
            self.notes.append(else_given)
            self.agrees = False
            return
        try:
            near = self._runs(rows, _with(steps, fixed, lambda n: n + 3))
        except ConvertError:
            if self._source.live and far:
                raise
            self.notes.append(else_given)
            self.agrees = not far  # what runs only near its own number is made for that
            return
        if not far and not near:
            self.notes.append(f"{made_for}, which could not be compared with {self._called}")

    def _other_rows(self, rows: int, steps: Mapping[str, int]) -> None:
        if not any(N in r.dims for r in self._roles):
            return
        fixed = any(r.declared_rows is not None for r in self._roles)
        try:
            runs = self._runs(2 * rows + 2, steps)  # an even number, and odd ones below
        except Exhausted:
            raise
        except ConvertError:
            if not fixed:
                raise
            runs = False
        if rows > 1 and (runs or not fixed):
            self._runs(1, steps)
        if not runs:
            self.notes.append(
                f"{self._called} is made for a batch of {rows}; the converted model takes any, "
                f"which could not be compared with {self._called}"
            )
        if not runs and not fixed and rows == 1 and not self._source.live:
            name, dim = next((r.name, r.dims.index(N)) for r in self._roles if N in r.dims)
            self.notes.append(
                f"{self._called} leaves dimension {dim} of {shown(name)} free, and runs with 1 there alone: if these "
                "are steps, it was exported with a single one of its loop; convert the model that it was made from"
            )

    def make_selftest(self, steps: Mapping[str, int]) -> None:
        """The program's own outputs for small random inputs, or the graph's if it takes none of that size or form."""

        def theirs(arrays: list[NDArray[Any]]) -> Sequence[Array]:
            shapes = [y.shape for y in reference.run(self._graph, arrays)]
            found = self._theirs(self._all(arrays))
            if any(y.size != math.prod(s) for y, s in zip(found, shapes, strict=True)):
                raise ConvertError(f"{self._called}'s own outputs are of another size")
            return [np.asarray(y, np.float32).reshape(s) for y, s in zip(found, shapes, strict=True)]

        by_axis = {
            self._graph.values[v].axis: steps[r.axis]
            for v, r in zip(self._graph.inputs, self._read, strict=True)
            if r.axis is not None
        }
        made = f"{self._called}'s own outputs for random inputs"
        made += "" if self._source.live else ", computed in float32"
        for at in () if self._padded else (None, by_axis):
            try:
                self._graph.selftest = testdata.make_selftest(self._graph, theirs, at)
                break
            except ConvertError:
                continue
        else:
            self._graph.selftest = testdata.make_selftest(self._graph)
            made = "computed from the converted graph by the reference interpreter in float64"
        self._graph.meta["selftest"] = made if self._graph.selftest else "left out, because the outputs are not finite"

    # -- runs of both ---------------------------------------------------------------------------------

    def _runs(self, rows: int, steps: Mapping[str, int]) -> bool:
        """Compare at one size; False if the program does not run there."""
        arrays = self._made(rows, steps, seed=rows)
        try:
            theirs = self._theirs(arrays)
        except Exhausted:
            raise
        except ConvertError:
            return False
        self._compare(arrays, theirs, f"with {_size_text(rows, steps)}")
        self.sizes.append(_size_text(rows, steps))
        return True

    def _theirs(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs of the program, those that the graph has."""
        machine = Machine()
        tensors = [machine.input(a) for a in arrays]
        outputs = self._source.run(machine, tensors)
        named = dict(zip(self._source.outputs, outputs, strict=True))
        return [named[name].data for name in self._names]

    def _compare(self, arrays: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], when: str) -> None:
        feeds = [a for a, r in zip(arrays, self._roles, strict=True) if r in self._read]
        feeds = [a.astype(np.int32) if a.dtype.kind in "iu" else a.astype(np.float32) for a in feeds]
        with np.errstate(all="ignore"):
            exact = reference.run(self._graph, feeds)
            theirs = [y.reshape(e.shape) if y.size == e.size else y for y, e in zip(theirs, exact, strict=True)]
            maybe = f" (perhaps {self._doubted[0]}, whatever the number of steps)" if self._doubted else ""
            try:
                found = differences(self._names, exact, theirs, 0.0, 0.0)
            except ConvertError as e:
                raise ConvertError(f"{when}, {e}{maybe}") from None
            blind = next((n for n, y in zip(self._names, exact, strict=True) if not np.isfinite(y).any()), None)
            if blind is not None and exact[0].size:
                raise ConvertError(f"{when}, output {blind!r} has no finite number, so that nothing can be compared")
            single: list[NDArray[Any]] | None = None
            for k, d in enumerate(found):
                room = CHECK_TOLERANCE * max(1e-3, d.largest)
                if d.max_abs <= room:
                    continue
                single = reference.run(self._graph, feeds, dtype=np.float32) if single is None else single
                rounding = float(np.nan_to_num(np.max(np.abs(single[k] - exact[k]), initial=0)))
                if not d.max_abs <= room + 16 * rounding:
                    raise ConvertError(
                        f"{when}, output {d.name!r} of the converted model differs from {self._called}'s by "
                        f"{d.max_abs:.3g}: {self._called} does something there that the conversion does not follow"
                        f"{maybe}"
                    )

    # -- inputs made up -------------------------------------------------------------------------------

    def _made(self, rows: int, steps: Mapping[str, int], seed: int) -> list[NDArray[Any]]:
        rng = np.random.default_rng(seed)
        arrays: list[NDArray[Any]] = []
        for r in self._roles:
            shape = r.shape(rows, dict(steps))
            if r.kind == "lengths":
                most = steps.get(self._counted.get(r.name, ""), max(steps.values(), default=1))
                arrays.append(np.sort(rng.integers(1, most + 1, shape))[::-1].astype(r.dtype))
                # A module that packs gives as many steps as the longest row has; a file's program, as there are.
                arrays[-1][:1] = most if shape[0] > 1 or self._source.live else max(1, most // 2)
                if self._sorts:  # an order that sorting twice does not put back
                    arrays[-1][-1] = min(arrays[-1][-1], max(1, most // 2))
                    arrays[-1] = np.roll(arrays[-1], 1)
            elif r.kind == "ids":
                arrays.append(self._ids(rng, r, shape).astype(r.dtype))
            elif r.dtype.kind == "b":
                arrays.append(rng.integers(0, 2, shape).astype(bool))
            else:
                arrays.append(self._numbers(rng, r, shape).astype(r.dtype))
        return arrays

    def _numbers(self, rng: np.random.Generator, r: Role, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Normal numbers, and here and there a step of those that masks look for."""
        numbers = rng.standard_normal(shape)
        if r.name in self._padded:
            return self._padding(rng, r, numbers, self._padded[r.name])
        if r.name in self._masked and r.axis is not None:
            steps = np.moveaxis(numbers, r.dims.index(r.axis), 0)
            steps[rng.random(len(steps)) < _OFTEN] = self._masked[r.name]
        return numbers

    def _ids(self, rng: np.random.Generator, r: Role, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Ids of an embedding, and here and there those that masks look for."""
        most = self._most_ids.get(r.name, 2)
        ids = rng.integers(0, most, shape)
        if r.name in self._padded:
            return self._padding(rng, r, ids, self._padded[r.name])
        for token in (t for t in self._tokens if t < most):
            ids = np.where(rng.random(shape) < _OFTEN, token, ids)
        return ids

    def _padding(self, rng: np.random.Generator, r: Role, ids: NDArray[Any], token: float) -> NDArray[Any]:
        """Ids, or numbers, whose padding stands at the end of each row but the first."""
        ids = np.where(ids == token, 1 if token == 0 else 0, ids)
        rows, steps = (
            next(i for i, d in enumerate(r.dims) if isinstance(d, str) and (d == N) is first) for first in (True, False)
        )
        for row in np.moveaxis(ids, (rows, steps), (0, 1))[1:]:
            row[rng.integers(1, len(row) + 1) :] = token
        return ids

    def _all(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Inputs of the graph, with zeros for those of the program that it does not have."""
        given = dict(zip((r.name for r in self._read), arrays, strict=True))
        steps: dict[str, int] = {}
        rows = 1
        for r in self._read:
            for size, d in zip(given[r.name].shape, r.dims, strict=True):
                if isinstance(d, str):
                    rows, steps = (size, steps) if d == N else (rows, {**steps, d: size})
        return [
            given[r.name].astype(r.dtype) if r.name in given else np.zeros(r.shape(rows, steps), r.dtype)
            for r in self._roles
        ]



def _with(steps: Mapping[str, int], names: Sequence[str], change: Callable[[int], int]) -> dict[str, int]:
    """Other numbers of steps for the axes of these names."""
    return {name: change(n) if name in names else n for name, n in steps.items()}


def _size_text(rows: int, steps: Mapping[str, int]) -> str:
    counts = "/".join(str(t) for t in dict.fromkeys(steps.values()))
    text = f"{rows} row{'s' * (rows != 1)}"
    return f"{text} of {counts} step{'s' * (counts != '1')}" if counts else text
