"""A live module as a program of the interpreter: it runs the module itself.

Where a graph is built, the module's operations are repeated on the machine; where only numbers are asked for, they are
the module's own. So the interpreter's checks compare a graph with the module, at sizes that the example did not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Array, Graph

from ..judges import reference, testdata
from ..judges.compare import CHECK_TOLERANCE, differences
from ..program.convert import to_graph
from ..program.labelled import Labelled
from ..program.machine import Argument, Exhausted, Machine, Source, Tensor
from ..program.states import free_states
from ..torch_program.dtypes import numpy_dtype
from ..torch_program.fit import fitted
from .calls import Calls
from .example import Args, leaves, named_tensors, replace
from .modules import RECURRENT, RESULTS, class_name
from .operations import Operations, watched
from .run import Results, Runner, brief, tensors_of

_MOST_OPERATIONS = 20_000  #: of a module, in all readings of its inputs


class LiveSource(Source):
    """A module and its arguments.

    Args:
        args: tensors, and plain values that stay as they are.
        names: of the arguments.
        results: the module's for ``args``.
    """

    called = what = "the module"
    live = True
    sizes: Mapping[str, Mapping[int, int]] = MappingProxyType({})
    also: Sequence[tuple[int, int]] = ((1, 1), (2, 40), (1, 128), (24, 2))  #: branches on sizes show there

    def __init__(self, runner: Runner, args: Args, names: Sequence[str], results: Results) -> None:
        self._runner, self._args, self._like = runner, args, list(leaves(args))
        self._paths = list(results)
        self._count = 0
        self.random = ""  #: the first random function that the forward was seen to call, and where
        self.notes: list[str] = []
        self.examples: list[tuple[int, ...]] = [tuple(t.shape) for t in self._like]
        given = list(named_tensors(names, args))
        self.inputs: Sequence[Argument] = [Argument(name, _dtype(name, t), tuple(t.shape)) for name, t in given]
        self.outputs: Sequence[str] = output_names(runner.module, self._paths)

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs.

        Raises:
            ConvertError: the module fails, or does what the interpreter does not know.
        """
        torch = self._runner.torch
        tensors = [torch.from_numpy(x.data.copy()).to(like) for x, like in zip(inputs, self._like, strict=True)]
        try:
            if not isinstance(machine, Labelled):
                found = self._found(self._runner.results(self._args, tensors))
                return [machine.input(np.asarray(t.cpu().numpy(), np.float32)) for t in found]
            return self._watched(machine, tensors, inputs)
        except Exhausted:
            raise
        except ConvertError as e:
            raise ConvertError(f"{e}{self._runner.where(e)}") from None
        except GraphError:
            raise
        except Exception as e:  # whatever the user's forward may raise
            raise ConvertError(f"the module's forward fails: {brief(e)}{self._runner.where(e)}") from e

    def _watched(self, machine: Machine, tensors: Sequence[Any], inputs: Sequence[Tensor]) -> list[Tensor]:
        if self._count > _MOST_OPERATIONS:
            raise Exhausted(f"no reading of the module is found in {_MOST_OPERATIONS} operations")
        operations = Operations(self._runner, machine, self.notes)
        for tensor, x in zip(tensors, inputs, strict=True):
            operations.bind(tensor, x)
        try:
            watch = watched(self._runner.torch, operations)
            result = self._runner.run(replace(self._args, iter(tensors)), watch=watch)
        except ConvertError:
            raise
        except Exception as e:
            raise ConvertError(
                "the module's forward fails while its operations are noted, as code does that cannot be watched, such "
                f"as TorchScript: {brief(e)}"
            ) from e
        finally:
            self._count += operations.count
            self.random = self.random or operations.random
        return [operations.tensor(t) for t in self._found(tensors_of(result))]

    @property
    def like(self) -> list[Any]:
        """The tensors of the arguments that it was made with."""
        return self._like

    def feeds(self, graph: Graph, tensors: Sequence[Any]) -> list[Any]:
        """Tensors of the module's arguments as the inputs of a graph."""
        given = {a.name: t.cpu().numpy() for a, t in zip(self.inputs, tensors, strict=True)}
        found = [given[graph.values[i].name] for i in graph.inputs]
        return [x.astype(np.float32 if x.dtype.kind in "fb" else np.int32) for x in found]

    def make_selftest(self, graph: Graph) -> None:
        """Anew for a graph that has fewer inputs than the module: the others are zero."""

        def theirs(arrays: list[Any]) -> Sequence[Array]:
            given = dict(zip((graph.values[i].name for i in graph.inputs), arrays, strict=True))
            rows = next(n for i, a in zip(graph.inputs, arrays, strict=True)
                        for n, d in zip(a.shape, graph.values[i].shape("N", "T"), strict=True) if d == "N")  # fmt: skip
            zeros = {a.name: [d if isinstance(d, int) else rows for d in a.dims] for a in self.inputs}
            machine = Machine()
            inputs = [
                machine.input(np.asarray(given[a.name] if a.name in given else np.zeros(zeros[a.name]), a.dtype))
                for a in self.inputs
            ]
            found = dict(zip(self.outputs, self.run(machine, inputs), strict=True))
            return [np.asarray(found[graph.values[o].name].data, np.float32) for o in graph.outputs]

        graph.selftest = testdata.make_selftest(graph, theirs)

    def _found(self, results: Results) -> list[Any]:
        if list(results) != self._paths:
            raise ConvertError("the module's result has another form there")
        return list(results.values())


def _dtype(name: str, tensor: Any) -> Any:
    """The type of an input."""
    dtype = numpy_dtype(str(tensor.dtype).removeprefix("torch."))
    if dtype is None:
        raise ConvertError(f"input {name!r} has dtype {tensor.dtype}, which is not supported")
    return dtype


def output_names(module: Any, found: Sequence[tuple[Any, ...]]) -> list[str]:
    """Names of the float tensors in a module's result, by where they lie in it."""
    if len(found) == 1:
        return ["output"]
    if class_name(module) in RECURRENT:
        return list(RESULTS[: len(found)])
    return ["_".join(["output", *map(str, path)]) for path in found]


def by_operations(
    runner: Runner, args: Args, names: Sequence[str], results: Results, notes: list[str]
) -> Graph:
    """The graph of a module by its operations of ATen's, compared with the module.

    Args:
        args: on which the module runs, with ``results``.
        notes: gets what the user should know.

    Raises:
        ConvertError: the module does what the interpreter does not know, gives other numbers than the graph, or others
            from call to call.
    """
    source = LiveSource(runner, args, names, results)
    calls = Calls(runner, args, results, lambda: _random(source))
    graph = fitted(source, lambda: to_graph(source))
    _on_example(graph, source, args, results)
    found = [*source.notes, *graph.meta.pop("notes", []), *calls.notes]
    if calls.carries:
        found.append(calls.by_states(graph, source))
    if states := free_states(graph):
        found.append(
            f"the initial states {', '.join(map(repr, states))} are no inputs of the converted model: it takes them as "
            "state=..., and keeps them in a stream"
        )
        source.make_selftest(graph)
    _all_used(graph, source, states)
    graph.meta["source"] = {}
    notes += dict.fromkeys(found)
    return graph


def _all_used(graph: Graph, source: LiveSource, states: Sequence[str]) -> None:
    """Refuse arguments that the forward takes and does not read: one of them was probably meant to be."""
    read = {i for node in graph.nodes for i in node.inputs if i is not None} | set(graph.outputs)
    used = {graph.values[i].name for i in graph.inputs if i in read}
    lengths = {graph.values[i].name for i in graph.inputs if graph.values[i].kind == "lengths"}
    if unused := [a.name for a in source.inputs if a.name not in used | lengths | set(states)]:
        raise ConvertError(f"the module's forward does not use its input {', '.join(map(repr, unused))}")


def _random(source: LiveSource) -> str:
    """The random function that a module calls, and where; empty if none is seen."""
    machine = Labelled([], 1, {}, (), 0)
    source.run(machine, [machine.constant(t.cpu().numpy()) for t in source.like])
    return source.random


def _on_example(graph: Graph, source: LiveSource, args: Args, results: Results) -> None:
    """The example, whose numbers are not made up."""
    feeds = source.feeds(graph, list(leaves(args)))
    theirs = dict(zip(source.outputs, (t.cpu().numpy() for t in results.values()), strict=True))
    names = [graph.values[o].name for o in graph.outputs]
    with np.errstate(all="ignore"):
        exact, single = (reference.run(graph, feeds, dtype=d) for d in (np.float64, np.float32))
    wanted = [theirs[n].reshape(y.shape) for n, y in zip(names, exact, strict=True)]
    for k, d in enumerate(differences(names, exact, wanted, 0.0, 0.0)):
        rounding = float(np.nan_to_num(np.max(np.abs(single[k] - exact[k]), initial=0)))
        if not d.max_abs <= CHECK_TOLERANCE * d.largest + 16 * rounding and not np.isnan(d.largest):
            raise ConvertError(
                f"on the example, {d.name} of the converted graph differs from the module's by {d.max_abs:.3g}"
            )
