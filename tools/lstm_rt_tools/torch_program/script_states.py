"""Scripted modules that keep tensors from call to call: these become inputs, and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

from ..judges import testdata
from ..judges.compare import CHECK_TOLERANCE
from ..names import listed
from ..program.machine import Argument, Exhausted, Machine, Source, Tensor
from ..program.states import free_states
from .run import kept_note
from .script import ScriptSource, tensors_in

_OUT = "_out"  #: behind the name of what is kept: as it is after the call
_SIZES = (range(5, 60), range(13, 90, 2))  #: of free dimensions, in two runs

Dims = tuple[int | str | None, ...]


@dataclass(frozen=True)
class _Size:
    """A number that is kept is the size of a dimension of an input, such as the rows of the last call."""

    input: int
    place: int


@dataclass
class Carrying(Source):
    """A scripted module with what it keeps as inputs and outputs.

    Attributes:
        states: the names of these inputs.
    """

    source: ScriptSource
    kept: Mapping[str, Any]  #: what a call has left
    states: Sequence[str]

    def __post_init__(self) -> None:
        self.what, self.notes, self.torch_version = self.source.what, self.source.notes, self.source.torch_version
        self.inputs: Sequence[Argument] = []
        self.outputs: Sequence[str] = [*self.source.outputs, *(s + _OUT for s in self.states)]

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs, and what is kept for what was.

        Raises:
            ConvertError: as of the module itself.
        """
        n = len(self.source.inputs)
        given = iter(inputs[n:])
        kept = {path: _filled(value, given, inputs) for path, value in self.kept.items()}
        tensors, left = self.source.call(machine, inputs[:n], kept)
        found = [t for path in self.kept for t in tensors_in(left[path])]
        if len(found) != len(self.states):
            raise ConvertError(f"{self.what}: what the module keeps has another form after another call")
        return [*tensors, *found]


def _filled(value: Any, tensors: Iterator[Tensor], inputs: Sequence[Tensor] = ()) -> Any:
    """What is kept, with other tensors."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, list | tuple):
        return type(value)(_filled(v, tensors, inputs) for v in value)
    return inputs[value.input].shape[value.place] if isinstance(value, _Size) else value


def carrying(source: ScriptSource) -> Carrying | None:
    """The module with what it keeps as inputs, if its results depend on that and it is zero at first; else None."""
    try:
        return _carrying(source)
    except Exhausted:
        raise
    except ConvertError:
        return None  # the module itself may be converted; what it keeps is told


def _carrying(source: ScriptSource) -> Carrying | None:
    first, second = (dict(zip(_free(source), sizes, strict=False)) for sizes in _SIZES)
    runs = [_Run(source, first)]
    kept = runs[0].left
    if all(t.known for value in kept.values() for t in tensors_in(value)):
        return None
    runs.append(_Run(source, second))
    if any(r.forgets() for r in runs):
        return None
    kept = {path: _with_sizes(source, value, runs, [r.left[path] for r in runs]) for path, value in kept.items()}
    found = Carrying(source, kept, list(_names(source, kept)))
    if len(found.states) == len(set(found.states)) and all(r.begins_at_zero() for r in runs):
        arguments = [replace(a, dims=_named(a)) for a in source.inputs]
        dims = runs[0].dims(runs[1])
        arguments += [Argument(s, np.dtype(np.float32), d) for s, d in zip(found.states, dims, strict=True)]
        used = [d for a in arguments for d in a.dims]
        found.inputs = [
            replace(a, dims=tuple(None if isinstance(d, str) and used.count(d) == 1 else d for d in a.dims))
            for a in arguments
        ]
        return found
    return None


def _with_sizes(source: ScriptSource, value: Any, runs: Sequence[_Run], both: Sequence[Any]) -> Any:
    """What is kept beside tensors: the same in both runs, or a size that differs between them.

    Raises:
        ConvertError: it is neither.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple):
        return type(value)(_with_sizes(source, v, runs, b) for v, *b in zip(value, *both, strict=True))
    if both[0] == both[1]:
        return value
    for i, a in enumerate(source.inputs):
        for k, d in enumerate(_named(a)):
            if isinstance(d, str) and [r.sizes[d] for r in runs] == list(both):
                return _Size(i, k)
    raise ConvertError("what a module keeps depends on its inputs in a way that is not known")


def _free(source: ScriptSource) -> list[str]:
    return list(dict.fromkeys(d for a in source.inputs for d in _named(a) if isinstance(d, str)))


def _named(a: Argument) -> Dims:
    """Dimensions of an input, all of the free ones with a name."""
    return tuple(f"{a.name}.{k}" if d is None else d for k, d in enumerate(a.dims))


def _names(source: ScriptSource, kept: Mapping[str, Any]) -> Iterator[str]:
    taken = {a.name for a in source.inputs}
    for path, value in kept.items():
        name = path.replace("._", "_").replace(".", "_").strip("_") or "state"
        name = name if name not in taken else f"{name}_kept"
        count = len(list(tensors_in(value)))
        yield from (name if count == 1 else f"{name}_{i}" for i in range(count))


class _Run:
    """Two calls of a module, one after the other, on inputs whose free dimensions have these sizes."""

    def __init__(self, source: ScriptSource, sizes: Mapping[str, int]) -> None:
        self._source, self.sizes = source, sizes
        self._args = [_array(a, [d if isinstance(d, int) else sizes[str(d)] for d in _named(a)]) for a in source.inputs]
        self._first, self.left = self._call({})
        self._states = [t for value in self.left.values() for t in tensors_in(value)]

    def _call(self, kept: Mapping[str, Any]) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        machine = Machine()
        tensors, left = self._source.call(machine, [machine.input(a) for a in self._args], kept)
        return [t.data for t in tensors], left

    def _again(self, make: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        """How much a call on what the first has left differs from the first."""
        made = iter([Tensor(make(t.data), t.label) for t in self._states])
        found, _ = self._call({path: _filled(value, made) for path, value in self.left.items()})
        far = [np.abs(a - b).max(initial=0) for a, b in zip(found, self._first, strict=True)]
        return float(max(far, default=0.0)) / max(1e-3, *(float(np.abs(a).max(initial=0)) for a in self._first))

    def forgets(self) -> bool:
        """Does nothing of what is kept matter?"""
        return self._again(lambda a: a + 1) <= CHECK_TOLERANCE

    def begins_at_zero(self) -> bool:
        """Is the first call one on zeros?"""
        return all(t.dtype.kind == "f" for t in self._states) and self._again(np.zeros_like) <= CHECK_TOLERANCE

    def dims(self, other: _Run) -> list[Dims]:
        """The dimensions of what is kept: fixed ones are the same in both runs.

        Raises:
            ConvertError: one is neither fixed nor that of an input.
        """
        found: list[Dims] = []
        for a, b in zip(self._states, other._states, strict=True):
            pairs = zip(a.shape, b.shape, strict=True)
            found.append(tuple(n if n == m else self._name_of(n, m, other.sizes) for n, m in pairs))
        return found

    def _name_of(self, n: int, m: int, others: Mapping[str, int]) -> str:
        for name, size in self.sizes.items():
            if (size, others[name]) == (n, m):
                return name
        raise ConvertError("what a module keeps has a size that no input has")


def _array(a: Argument, shape: Sequence[int]) -> NDArray[Any]:
    if a.dtype.kind != "f":
        return np.ones(shape, a.dtype)
    return np.asarray(np.random.default_rng(1).standard_normal(shape), a.dtype)


def settle(graph: Graph, found: Carrying) -> Graph:
    """The graph of a module that keeps something, with a note on it.

    What is nothing but the states of recurrent layers is left to the caller, and is no input.
    """
    read = {graph.values[i].name for node in graph.nodes for i in node.inputs if i in graph.inputs}
    if unread := [s for s in found.states if s not in read]:
        raise ConvertError(f"nothing reads {listed(unread, 5)}, which the module keeps")
    kept = listed([path for path, value in found.kept.items() if next(tensors_in(value), None) is not None], 5)
    freed = deepcopy(graph)
    outs = {s + _OUT for s in found.states}
    freed.outputs[:] = [o for o in freed.outputs if freed.values[o].name not in outs]
    if freed.outputs and set(free_states(freed)) == set(found.states):
        freed.selftest = testdata.make_selftest(freed)
        freed.meta["selftest"] = "computed from the converted graph by the reference interpreter in float64"
        note = (
            f"the module keeps {kept} from call to call, the states of its recurrent layers: calls of the converted "
            "model start from zero, unless it is given a state (state=...) or is a stream"
        )
        graph = freed
    else:
        names = listed(list(found.states), 5)
        note = (
            f"the module keeps {kept} from call to call: in the converted model {names} are inputs, zero in the first "
            f"call, and outputs whose names end in {_OUT}, to be given to the next one"
        )
    gone = {kept_note(path) for path in found.kept}  # it is not left at its value in the file after all
    found.notes[:] = [n for n in found.notes if n not in gone]
    graph.meta["notes"] = [*graph.meta.get("notes", []), note]
    return graph
