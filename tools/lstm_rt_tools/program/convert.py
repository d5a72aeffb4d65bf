"""From a program to a graph: readings of its inputs are tried, and what comes out is compared with the program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from .check import Check, called
from .labelled import Labelled
from .labels import Dim, Feat, Loose, N, Scores, Steps, is_fixed
from .machine import Exhausted, ProgramError, Source, Tensor
from .roles import Role, order_of, readings
from .tidy import tidy

ROWS = 3  #: of the run that makes the graph, where the program takes several
#: Steps of that run, where the program leaves them free: primes, which are seldom sizes of anything else.
_STEPS = (23, 67, 211, 1201)
_MOST_HINTS = 4  #: sizes that a program has asked for, which are tried


@dataclass(frozen=True)
class Sizes:
    """Rows, and steps of each time axis by its name among the roles."""

    rows: int
    steps: dict[str, int]


def to_graph(source: Source, also: Sequence[tuple[int, int]] = ()) -> Graph:
    """The graph of a program, compared with the program's own numbers.

    Args:
        also: rows and steps at which it is compared in the end, besides those of the run that makes the graph.

    ``meta`` gets ``notes`` (sentences for the user) and ``selftest``.

    Raises:
        ConvertError: the program holds what a graph cannot, or gives other numbers than the graph; the message is that
            of the reading of the inputs that went furthest.
    """
    best: tuple[int, ConvertError] | None = None
    doubtful: Graph | None = None
    hints: set[int] = set()
    for may_freeze, ways in ((False, _ways(source)), (True, _ways(source)), (False, _asked(source, hints))):
        for roles, sizes in ways:
            machine = _machine(roles, sizes, may_freeze)
            try:
                graph = _run(source, machine, roles, sizes)
                if _finished(source, machine, graph, roles, sizes, also):
                    return graph
                doubtful = doubtful or graph
            except Exhausted:
                raise
            except ConvertError as e:
                hints.update(getattr(e, "sizes", ()))
                if best is None or machine.done > best[0]:
                    best = (machine.done, e)
        if doubtful is not None:
            return doubtful
    if best is None:
        raise ConvertError(f"no reading of the inputs is possible: {_shapes(source)}")
    raise best[1]


def _ways(source: Source) -> Iterator[tuple[list[Role], Sizes]]:
    """Readings of the inputs, and sizes to run at."""
    for roles in readings(source.inputs):
        for sizes in _sizes(roles):
            yield roles, sizes


def _asked(source: Source, hints: set[int]) -> Iterator[tuple[list[Role], Sizes]]:
    """Readings at sizes that the program has asked for in other runs (``hints``): of what it says to be free."""
    asked = sorted(n for n in hints if n > 1)[:_MOST_HINTS]
    for roles in readings(source.inputs) if asked else ():
        usual = next(_sizes(roles))
        for rows, steps in itertools.product(dict.fromkeys((usual.rows, 1)), asked):
            fixed = Sizes(rows, dict.fromkeys(usual.steps, steps))
            yield [r.with_steps(fixed.steps) for r in roles], fixed


def _shapes(source: Source) -> str:
    texts = [f"{a.name} ({', '.join('?' if d is None else str(d) for d in a.dims)})" for a in source.inputs]
    return ", ".join(texts) or "there are none"


def _sizes(roles: Sequence[Role]) -> Iterator[Sizes]:
    """Sizes to run at: several rows where that is declared possible, then one; more and more steps."""
    fixed_rows = next((d for r in roles if (d := r.declared_rows) is not None), None)
    has_rows = any(N in r.dims for r in roles)
    declared = {r.axis: d for r in roles for d, role in zip(r.declared, r.dims, strict=True) if role == r.axis}
    names = [name for name in declared if name is not None]
    all_fixed = all(isinstance(declared[name], int) for name in names)
    for rows in (fixed_rows,) if fixed_rows else (ROWS, 1) if has_rows else (1,):
        for steps in _STEPS[:1] if all_fixed else _STEPS:
            yield Sizes(rows, {n: _size(declared[n], steps + 2 * i) for i, n in enumerate(names)})


def _size(declared: int | str | None, wanted: int) -> int:
    return declared if isinstance(declared, int) else wanted


def _machine(roles: Sequence[Role], sizes: Sizes, may_freeze: bool) -> Labelled:
    """Steps become features, and features steps, only where no other reading does."""
    frozen = {
        r.axis
        for r in roles
        for declared, dim in zip(r.declared, r.dims, strict=True)
        if r.axis is not None and dim == r.axis and isinstance(declared, int)
    }
    return Labelled(roles, sizes.rows, sizes.steps, frozen if may_freeze else None)


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
    except GraphError as e:
        raise ProgramError(str(e)) from None
    machine.unrolled.resolve()
    machine.folded += machine.unrolled.folded + tidy(machine.graph)
    return machine.graph


def _output(machine: Labelled, name: str, tensor: Tensor) -> None:
    if tensor.known:
        machine.notes.append(f"output {name!r} is left out, as it depends on no input")
        return
    if isinstance(tensor.label, Scores) or (isinstance(tensor.label, Loose) and tensor.dtype.kind != "f"):
        why = tensor.label.why if isinstance(tensor.label, Loose) else "weights of attention between two sequences"
        machine.notes.append(f"output {name!r} is left out, as no value of a graph can hold it: {why}")
        return
    label = machine.feat(tensor, f"output {name!r}")
    if any(not is_fixed(d) and len(d) > 1 for d in label.dims):
        label = _unmerged(label)
        machine.notes.append(f"output {name!r} joins dimensions that stand apart in the converted model")
    steps = machine.steps_of(label.dims, f"output {name!r}")
    value = machine.features(label, name)
    graph = machine.graph
    if value in graph.outputs or value in graph.inputs or machine.unrolled.is_placeholder(value):
        value = graph.activation(value, "linear")
    dims = [_port_dim(d) for d in label.dims]
    graph.output(value, name, **order_of("vec" if steps is None else "seq", dims))


def _unmerged(label: Feat) -> Feat:
    """Rows, steps and features that are joined in one dimension as dimensions of their own."""
    dims: list[Dim] = []
    for d in label.dims:
        dims += [d] if is_fixed(d) else [(a,) for a in d]
    return Feat(tuple(dims), label.cells)


def _port_dim(dim: Dim) -> str | int:
    if not dim:
        return 1
    if dim == (N,):
        return N
    return "T" if isinstance(dim[0], Steps) else math.prod(a for a in dim if isinstance(a, int))


def _finished(
    source: Source,
    machine: Labelled,
    graph: Graph,
    roles: Sequence[Role],
    sizes: Sizes,
    also: Sequence[tuple[int, int]],
) -> bool:
    """Compare, and complete; false if the program gives something else where it says that it is not made for."""
    read = [r for r in roles if r.name in {graph.values[v].name for v in graph.inputs}]
    check = Check(source, graph, roles, read, sorted(machine.frozen_steps))
    check.at(sizes.rows, sizes.steps)
    check.others(sizes.rows, sizes.steps)
    check.also(also, sizes.rows, sizes.steps)
    check.make_selftest()
    if machine.folded:
        graph.meta["folded"] = machine.folded
    if check.sizes:
        graph.meta["checked"] = f"compared with {called(source)}'s own numbers: {'; '.join(check.sizes)}"
    notes = [*machine.notes, *check.notes]
    if notes:
        graph.meta["notes"] = notes
    return check.agrees
