"""From a program to a graph: readings of its inputs are tried, and what comes out is compared with the program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt._shapes import JOINED
from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from ..names import shown
from .check import Check
from .labelled import FIXED, PLAIN, SINGLE, Labelled, LateLengths
from .labels import TWO_AXES, Dim, Loose, N, PerPair, Scores, Steps, is_fixed
from .machine import Exhausted, Misfit, ProgramError, Source, Tensor
from .recognised.formulas import put_together
from .recognised.rolled import roll_up
from .roles import Role, order_of, readings
from .settings import Settings, settled, told, with_sizes
from .tidy import tidy
from .values import OtherSteps, WrongRoles

ROWS = 3  #: of the run that makes the graph, where the program takes several
#: Steps of that run, where the program leaves them free: primes, which are seldom sizes of anything else, and numbers
#: for programs that take steps by twos or threes, or by frames.
_STEPS = (23, 48, 67, 211, 960, 1201)

#: Readings that are tried at other sizes than the first: those that went furthest there.
_MOST_READINGS = 4
_MOST_UNLIKELY = 64  #: readings that are tried last
_MOST_HINTS = 6  #: sizes that the program asks for, which are tried
_FEW_ROWS = 8  #: sizes that the program asks for may be rows where they are fewer
_MOST_ASKED = 1 << 22  #: numbers in the inputs at such a size
_MOST_WORK = 12000  #: operations that are run in search of a reading
_RUN = 50  #: what starting a run costs, in operations
_WHOLE = {"b": "1 for true and 0 for false"}  #: what outputs hold that are no floats
_MOST_LENGTHS = 4  #: time axes of one program that have lengths


@dataclass(frozen=True)
class Sizes:
    """Rows, and steps of each time axis by its name among the roles."""

    rows: int
    steps: dict[str, int]


def to_graph(source: Source, settings: Settings | None = None) -> Graph:
    """The graph of a program, compared with the program's own numbers.

    ``meta`` gets ``notes`` (sentences for the user), ``settings`` where there are any, and ``selftest``.

    Args:
        settings: values of inputs that are single whole numbers; one of those that the program compares them with is
            chosen for the others, and noted. And sizes of inputs: ``x.2`` is that of dimension 2 of ``x``.

    Raises:
        ConvertError: the program holds what a graph cannot, or gives other numbers than the graph; the message is that
            of the reading of the inputs that went furthest.
    """
    failure: ConvertError | None = None
    for program, values, chosen in settled(source, with_sizes(source, settings or {})):
        try:
            graph = _Search(program).graph()
        except Exhausted:
            raise
        except ConvertError as e:
            failure = failure or e
            continue
        if values:
            graph.meta["settings"] = dict(values)
        if chosen:
            graph.meta.setdefault("notes", []).append(told(values))
        return graph
    assert failure is not None
    raise failure


@dataclass
class _Try:
    """A reading that did not do."""

    done: int  #: operations that were labelled
    misfit: bool  #: what it stumbled over may be the sizes
    roles: Sequence[Role]
    leeway: int


class _Search:
    """Looks for a reading of the inputs, and sizes to run at, for which a program becomes a graph."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tries: list[_Try] = []
        self._best = -1
        self._left = _MOST_WORK
        #: Sizes that the program has asked for, and those of inputs of which they may be what is left.
        self._asked: dict[int, None] = {}
        self._behind: dict[int, None] = {}
        self._asking = False  #: trying sizes that it does not say
        self._doubtful: Graph | None = None  #: gives something else than the program where that is not made for it
        self._table: ConvertError | None = None  #: numbers of their own for each step are in the way
        self._error = ConvertError(f"no reading of the inputs is possible: {_shapes(source)}{_too_free(source)}")

    def graph(self) -> Graph:
        """What the first of these leads to: steps stay steps; inputs share their steps, whatever these are called;
        layers go over single ones; steps become features where their number is fixed; other sizes; sizes that the
        program asks for; unlikely readings.

        Raises:
            ConvertError: none leads anywhere; of the reading that went furthest.
        """
        for stage in (
            self._plainly,
            self._with_one_axis,
            self._with_single_steps,
            self._with_fixed_steps,
            self._at_other_sizes,
            self._at_asked_sizes,
            self._unlikely,
        ):
            found = stage() or self._doubtful
            if found is not None:
                return found
        # a table of steps beside rows fits a reading of one row: it goes further, to stumble over what is no cause
        raise self._table if self._table is not None and isinstance(self._error, WrongRoles) else self._error

    def _plainly(self) -> Graph | None:
        return self._first((roles, next(_sizes(roles)), PLAIN) for roles in readings(self._source.inputs))

    def _with_one_axis(self) -> Graph | None:
        """Exporters give the sizes of each input names of their own."""
        found = filter(None, map(_on_one_axis, readings(self._source.inputs)))
        return self._first((roles, next(_sizes(roles)), PLAIN) for roles in itertools.islice(found, _MOST_READINGS))

    def _with_single_steps(self) -> Graph | None:
        return self._first((roles, next(_sizes(roles)), SINGLE) for roles in readings(self._source.inputs))

    def _with_fixed_steps(self) -> Graph | None:
        return self._first((roles, next(_sizes(roles)), FIXED) for roles in readings(self._source.inputs))

    def _at_other_sizes(self) -> Graph | None:
        """The readings that stumbled over sizes, and those that went furthest."""
        tries = [t for t in self._tries if t.leeway != PLAIN]  # those were tried with more, too
        promising = [t for t in tries if t.misfit][:_MOST_READINGS]
        furthest = sorted((t for t in tries if not t.misfit), key=lambda t: -t.done)[:_MOST_READINGS]
        furthest = [*promising, *furthest]
        columns = [itertools.islice(_sizes(t.roles), 1, None) for t in furthest]
        rows = itertools.zip_longest(*columns)
        ways = ((t, sizes) for row in rows for t, sizes in zip(furthest, row, strict=True) if sizes is not None)
        # what goes further is likelier
        return self._first(
            (t.roles, sizes, max(t.leeway, SINGLE)) for t, sizes in ways if t.misfit or t.done >= self._best
        )

    def _at_asked_sizes(self) -> Graph | None:
        """Of what the program says to be free, though its own reshapes fix it."""
        hints = self._source.hints  # of what it was recorded with
        asked = [n for n in dict.fromkeys([*hints, *self._asked, *self._behind]) if n > 1][:_MOST_HINTS]
        ways = []
        for roles in readings(self._source.inputs) if asked else ():
            usual = next(_sizes(roles))
            few = (n for n in asked if n < _FEW_ROWS and usual.rows == ROWS)
            for rows, steps in itertools.product(dict.fromkeys((usual.rows, 1, *few)), asked):
                fixed = Sizes(rows, dict.fromkeys(usual.steps, steps))
                fitting = [r.with_steps(fixed.steps) for r in roles]
                if sum(math.prod(r.shape(rows, fixed.steps)) for r in fitting) <= _MOST_ASKED:
                    ways += [(fitting, fixed, SINGLE), (fitting, fixed, FIXED)]
        self._left = max(self._left, _MOST_WORK // 4)
        self._asking = True
        return self._first(ways)

    def _unlikely(self) -> Graph | None:
        found = [*itertools.islice(readings(self._source.inputs, unlikely=True), _MOST_UNLIKELY)]
        return self._first((roles, next(_sizes(roles)), leeway) for leeway in (PLAIN, SINGLE, FIXED) for roles in found)

    def _first(self, ways: Iterable[tuple[Sequence[Role], Sizes, int]]) -> Graph | None:
        for roles, sizes, leeway in ways:
            if (graph := self._at(roles, sizes, leeway)) is not None:
                return graph
            if self._left < 0:
                break
        return None

    def _at(self, roles: Sequence[Role], sizes: Sizes, leeway: int) -> Graph | None:
        """One reading at one size; once more if something was made of steps whose lengths only come later."""
        lengths: set[int] = set()
        while True:
            machine = Labelled(roles, sizes.rows, sizes.steps, _fixed_steps(roles), leeway, lengths)
            try:
                graph = _run(self._source, machine, roles, sizes)
                if _finished(self._source, machine, graph, roles, sizes):
                    return graph
                self._doubtful = self._doubtful or (None if self._asking else graph)  # what it runs at, it must follow
            except Exhausted:
                raise
            except LateLengths as e:
                if e.axis not in lengths and len(lengths) < _MOST_LENGTHS:
                    lengths.add(e.axis)
                    continue
                self._failed(machine, e, roles, leeway)
            except ConvertError as e:
                self._failed(machine, e, roles, leeway)
            finally:
                self._left -= machine.applied + _RUN
            return None

    def _failed(self, machine: Labelled, error: ConvertError, roles: Sequence[Role], leeway: int) -> None:
        asked = list(getattr(error, "sizes", ()))
        if isinstance(error, Misfit) and error.reads is not None:  # a product over the features of all steps
            given, taken = error.reads
            asked += [n * taken // given for n in machine.steps.values() if given and n * taken % given == 0]
        roots = {axis: machine.graph.root(axis) for axis in machine.steps}
        fewer = {machine.steps.get(root, 0) - machine.steps[axis] for axis, root in roots.items() if root is not None}
        self._asked.update(dict.fromkeys(asked))
        self._behind.update(dict.fromkeys(n + by for n in asked for by in sorted(fewer) if by > 0))
        self._tries.append(_Try(machine.done, isinstance(error, Misfit), roles, leeway))
        if isinstance(error, OtherSteps) and machine.is_free(Steps(error.axis)):
            name, dim = machine.place_of(error.axis)
            self._table = self._table or ProgramError(
                f"{error} (a stored table of positions, perhaps); of a number of steps that is set they are: "
                f"--set {shown(name)}.{dim}=..."
            )
        if machine.done > self._best:
            self._best, self._error = machine.done, error


def _on_one_axis(roles: Sequence[Role]) -> list[Role] | None:
    """The inputs with the steps of the first as those of all; None if they have them, or fix different numbers."""
    axes = list(dict.fromkeys(r.axis for r in roles if r.axis is not None))
    fixed = {d for r in roles for d, dim in zip(r.declared, r.dims, strict=True) if dim == r.axis and d != r.axis}
    if len(axes) < 2 or any(isinstance(d, int) for d in fixed):
        return None
    return [replace(r, dims=tuple(axes[0] if d in axes else d for d in r.dims)) for r in roles]


def _shapes(source: Source) -> str:
    texts = [f"{a.name} ({', '.join('?' if d is None else str(d) for d in a.dims)})" for a in source.inputs]
    return ", ".join(texts) or "there are none"


def _too_free(source: Source) -> str:
    """What to do about inputs of more free sizes than rows and steps."""
    for a in source.inputs:
        free = [k for k, d in enumerate(a.dims) if not isinstance(d, int)]
        if len(free) > 2:
            settings = " ".join(f"--set {shown(a.name)}.{k}=..." for k in free[2:])
            these = f"dimension {free[2]}" if len(free) == 3 else f"dimensions {', '.join(map(str, free[2:]))}"
            return (
                f"; {shown(a.name)} has {len(free)} sizes that are free, and a model has rows and steps: say the "
                f"others, by {settings} for that of {these}"
            )
    return ""


def _sizes(roles: Sequence[Role]) -> Iterator[Sizes]:
    """Sizes to run at: several rows where that is declared possible, then one; more and more steps."""
    fixed_rows = next((d for r in roles if (d := r.declared_rows) is not None), None)
    has_rows = any(N in r.dims for r in roles)
    declared = {r.axis: d for r in roles for d, role in zip(r.declared, r.dims, strict=True) if role == r.axis}
    names = [name for name in declared if name is not None]
    all_fixed = all(isinstance(declared[name], int) for name in names)
    for steps in _STEPS[:1] if all_fixed else _STEPS:
        for rows in (fixed_rows,) if fixed_rows else (ROWS, 1) if has_rows else (1,):
            yield Sizes(rows, {n: _size(declared[n], steps + 2 * i) for i, n in enumerate(names)})


def _size(declared: int | str | None, wanted: int) -> int:
    return declared if isinstance(declared, int) else wanted


def _fixed_steps(roles: Sequence[Role]) -> set[str]:
    """Names of the time axes whose steps the program fixes."""
    return {
        r.axis
        for r in roles
        for declared, dim in zip(r.declared, r.dims, strict=True)
        if r.axis is not None and dim == r.axis and isinstance(declared, int)
    }


def _inputs(roles: Sequence[Role], sizes: Sizes) -> list[NDArray[Any]]:
    """Arrays for a program: normal floats, small ids, full lengths."""
    rng = np.random.default_rng(1)
    arrays: list[NDArray[Any]] = []
    for r in roles:
        shape = r.shape(sizes.rows, sizes.steps)
        if r.kind == "lengths":
            arrays.append(np.full(shape, max(sizes.steps.values(), default=1), r.dtype))
        elif r.kind == "ids":
            arrays.append(rng.integers(0, 2, shape).astype(r.dtype))
        else:
            arrays.append(rng.standard_normal(shape).astype(r.dtype))
    return arrays


def _run(source: Source, machine: Labelled, roles: Sequence[Role], sizes: Sizes) -> Graph:
    """One reading at one size: the graph, not yet compared."""
    try:
        outputs = source.run(machine, machine.declare(_inputs(roles, sizes)))
        for name, tensor in zip(source.outputs, outputs, strict=True):
            _output(machine, name, tensor)
        if not machine.graph.outputs:
            raise ProgramError("; ".join(machine.notes) or "the program has no output")
        unread = machine.order_inputs()
        if unread:
            machine.notes.append(f"left out of the model, as nothing reads them: {', '.join(unread)}")
        machine.graph.check()
        machine.folded += put_together(machine.graph)
        for axis in roll_up(machine.graph, machine.unrolled, machine.fixed_axes):
            machine.freeze(axis)
        machine.resolve_steps()
    except GraphError as e:
        raise ProgramError(str(e)) from None
    machine.folded += machine.unrolled.folded + tidy(machine.graph)
    return machine.graph


def _output(machine: Labelled, name: str, tensor: Tensor) -> None:
    if tensor.known:
        machine.notes.append(f"output {name!r} is left out, as it depends on no input")
        return
    label = tensor.label
    if isinstance(label, Scores | PerPair) or (isinstance(label, Loose) and tensor.dtype.kind != "f"):
        why = label.why if isinstance(label, Loose) else f"weights of attention between two sequences have {TWO_AXES}"
        machine.notes.append(f"output {name!r} is left out, as no value of a graph can hold it: {why}")
        return
    label = machine.repeated(machine.feat(tensor, f"output {name!r}"))
    if tensor.dtype.kind != "f":
        machine.notes.append(f"output {name!r} holds {_WHOLE.get(tensor.dtype.kind, 'whole numbers')}, as float32")
    steps = machine.steps_of(label.dims, f"output {name!r}")
    value = machine.features(label, name)
    graph = machine.graph
    if value in graph.outputs or value in graph.inputs or machine.unrolled.is_placeholder(value):
        value = graph.activation(value, "linear")
    dims = [d for dim in label.dims for d in _port_dims(dim)] or [1]
    graph.output(value, name, **order_of("vec" if steps is None else "seq", dims))


def _port_dims(dim: Dim) -> Iterator[str | int]:
    """A dimension as those of a port: of several atoms it is joined ones."""
    if is_fixed(dim):
        yield math.prod(a for a in dim if isinstance(a, int))
        return
    for i, atom in enumerate(dim):
        if i:
            yield JOINED
        yield "T" if isinstance(atom, Steps) else atom


def _finished(source: Source, machine: Labelled, graph: Graph, roles: Sequence[Role], sizes: Sizes) -> bool:
    """Compare, and complete; false if the program gives something else where it says that it is not made for."""
    read = [r for r in roles if r.name in {graph.values[v].name for v in graph.inputs}]
    check = Check(
        source, graph, roles, read, sorted(machine.frozen_steps), machine.padded, machine.sorts, machine.doubted
    )
    check.at(sizes.rows, sizes.steps)
    check.others(sizes.rows, sizes.steps)
    check.make_selftest(sizes.steps)
    if machine.folded:
        graph.meta["folded"] = machine.folded
    if check.sizes:
        graph.meta["checked"] = f"compared with {source.called}'s own numbers: {'; '.join(check.sizes)}"
    notes = [*machine.notes, *check.notes]
    if notes:
        graph.meta["notes"] = notes
    return check.agrees or bool(machine.unrolled.folded)  # a loop over the steps that it is made for, and no others
