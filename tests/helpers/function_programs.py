"""Programs that are Python functions on a machine, and how a model that is made of one is held to its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Argument, Machine, Source, Tensor
from numpy.typing import DTypeLike, NDArray

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

F4, I8 = np.dtype(np.float32), np.dtype(np.int64)


class Program(Source):
    """A source over ``function(machine, *tensors)``.

    Args:
        inputs: dims by name; a pair of dims and a dtype for what is not float32.
        outputs: their number, or their names.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        outputs: int | Sequence[str] = 1,
        **inputs: Sequence[int | str | None] | tuple[Sequence[int | str | None], DTypeLike],
    ) -> None:
        self.inputs = []
        for name, given in inputs.items():
            dims, dtype = given if len(given) == 2 and isinstance(given[0], tuple) else (given, F4)
            self.inputs.append(Argument(name, np.dtype(dtype), tuple(dims)))  # type: ignore[arg-type]
        self.outputs = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else list(outputs)
        self._function = function
        self.runs = 0

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        self.runs += 1
        found = self._function(machine, *inputs)
        return list(found) if isinstance(found, tuple | list) else [found]

    def numbers(self, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The program's own outputs by name."""
        machine = Machine()
        found = self.run(machine, [machine.input(a) for a in arrays])
        return {name: t.data for name, t in zip(self.outputs, found, strict=True)}


def agrees(
    program: Program,
    graph: Graph,
    sizes: Sequence[Mapping[str, int]] = ({"b": 1, "t": 9}, {"b": 5, "t": 30}, {"b": 2, "t": 70}),
) -> None:
    """The graph in the runtime gives the program's numbers, in the program's shapes, at several sizes.

    Args:
        sizes: of the free dims of the program's inputs by name.
    """
    model = lstm_rt.Model(dumps(graph))
    names = [graph.values[v].name for v in graph.inputs]
    for k, size in enumerate(sizes):
        rng = np.random.default_rng(k)
        arrays = {a.name: _array(rng, a, size) for a in program.inputs}
        wanted = program.numbers(list(arrays.values()))
        feeds = [arrays[n].astype(np.int32 if arrays[n].dtype.kind in "iu" else np.float32) for n in names]
        got = model(*feeds)
        got = got if isinstance(got, tuple) else (got,)
        for v, y in zip(graph.outputs, got, strict=True):
            want = wanted[graph.values[v].name]
            assert y.shape == want.shape, (size, y.shape, want.shape)
            np.testing.assert_allclose(y, want, rtol=2e-4, atol=2e-5, err_msg=str(size))


def _array(rng: np.random.Generator, a: Argument, size: Mapping[str, int]) -> NDArray[Any]:
    shape = [d if isinstance(d, int) else size[str(d)] for d in a.dims]
    if a.dtype.kind in "iu":
        most = size["t"] if len(shape) == 1 else 4
        ids = rng.integers(1 if len(shape) == 1 else 0, most + 1, shape)
        if len(shape) == 1:
            ids[0] = most
        return ids.astype(a.dtype)
    return rng.standard_normal(shape).astype(a.dtype)


def converted(program: Program, *sizes: Mapping[str, int]) -> Graph:
    """The graph of a program, compared in the runtime; free dims are named b and t."""
    graph = to_graph(program)
    agrees(program, graph, *((sizes,) if sizes else ()))
    return graph
