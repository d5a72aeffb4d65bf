"""A live module as a program of the interpreter: it runs the module itself.

Where a graph is built, the module's operations are repeated on the machine; where only numbers are asked for, they are
the module's own. So the interpreter's checks compare a graph with the module, at sizes that the example did not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError, GraphError
from lstm_rt.graph import Graph

from ..judges import reference
from ..judges.compare import CHECK_TOLERANCE, differences
from ..names import listed
from ..program.convert import to_graph
from ..program.labelled import Labelled
from ..program.machine import Argument, Exhausted, Machine, Tensor
from ..torch_program.dtypes import numpy_dtype
from ..torch_program.fit import fit
from .example import Args, leaves, named_tensors, replace
from .modules import RECURRENT, RESULTS, class_name
from .operations import Operations, watched
from .run import Results, Runner, brief, tensors_of

_MOST_OPERATIONS = 20_000  #: of a module, in all readings of its inputs


class LiveSource:
    """A module and its arguments.

    Args:
        args: tensors, and plain values that stay as they are.
        names: of the arguments.
        results: the module's for ``args``.
    """

    called = what = "the module"
    also = ((1, 1), (2, 40), (1, 128), (12, 2))  #: rows and steps to compare at, too: branches on sizes show there

    def __init__(self, runner: Runner, args: Args, names: Sequence[str], results: Results) -> None:
        self._runner, self._args, self._like = runner, args, list(leaves(args))
        self._paths = list(results)
        self._count = 0
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
        operations = Operations(self._runner.torch, machine, self._runner.names, self.notes)
        for tensor, x in zip(tensors, inputs, strict=True):
            operations.bind(tensor, x)
        try:
            watch = watched(self._runner.torch, operations)
            result = self._runner.run(replace(self._args, iter(tensors)), watch=watch)
        finally:
            self._count += operations.count
        return [operations.tensor(t) for t in self._found(tensors_of(result))]

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
    found = _calls(runner, args, results)
    fit(source)
    graph = to_graph(source)
    _on_example(graph, source, args, results)
    graph.meta["source"] = {}
    notes += dict.fromkeys([*source.notes, *graph.meta.pop("notes", []), *found])
    return graph


def _calls(runner: Runner, args: Args, results: Results) -> list[str]:
    """Notes on what a module carries from one call to the next; refuse what its outputs depend on."""
    runner.results(args)
    second = runner.results(args, again=True)
    counters = runner.snapshot.counters()
    changed = runner.restore()
    if _furthest(runner.results(args), results) > CHECK_TOLERANCE:
        raise ConvertError("two runs of the module in eval mode on the same input differ: random numbers?")
    if _furthest(second, results) > CHECK_TOLERANCE:
        by = f"its forward changes {listed(changed, 5)}" if changed else "what its forward changes cannot be seen"
        raise ConvertError(f"the module's outputs depend on its earlier calls ({by}); a graph cannot hold that")
    if not counters:
        return []
    return [
        f"the module's forward changes {listed(counters, 5)}; the converted model gives in every call what "
        "the module gives in its first two, so if later ones depend on that, they differ"
    ]


def _furthest(one: Results, other: Results) -> float:
    """The largest difference, relative to the largest number of its output."""
    far = 0.0
    for path, a in one.items():
        b = other.get(path)
        if b is None or a.shape != b.shape:
            return float("inf")
        a, b = a.double().nan_to_num(), b.double().nan_to_num()
        if a.numel():
            far = max(far, float((a - b).abs().max()) / max(float(b.abs().max()), 1e-30))
    return far


def _on_example(graph: Graph, source: LiveSource, args: Args, results: Results) -> None:
    """The example, whose numbers are not made up."""
    given = {a.name: t.cpu().numpy() for a, t in zip(source.inputs, leaves(args), strict=True)}
    feeds = [given[graph.values[i].name] for i in graph.inputs]
    feeds = [x.astype(np.float32 if x.dtype.kind == "f" else np.int32) for x in feeds]
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
