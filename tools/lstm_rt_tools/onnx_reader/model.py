"""An ONNX file, opened: what it holds, and in which order its nodes run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from ..weights.budget import Budget
from ..weights.mapped import MappedFile, feed
from . import proto
from .tensors import Tensors, external_files

#: Versions of the operators that are known, of the standard's own domain.
OLDEST, NEWEST = 7, 28
_STANDARD = ("", "ai.onnx")


@dataclass(eq=False)
class Plan:
    """The nodes of a graph that its outputs need, in an order in which they can run.

    Attributes:
        graph: the graph, or the body of a function.
        nodes: the nodes.
        free: names of values that the graph takes from around it.
        last: for each node, the names that no later node needs.
        initializers: the graph's own numbers, by name.
    """

    graph: proto.Graph
    nodes: list[proto.Node]
    free: frozenset[str]
    last: list[list[str]]
    initializers: dict[str, proto.Tensor | proto.SparseTensor]


@dataclass(eq=False)
class OnnxModel:
    """A file that has been read.

    Attributes:
        what: name of the file, for messages.
        graph: its graph.
        versions: of the operators of each domain.
        functions: that the file defines, by domain, name and overload.
        tensors: reads its numbers.
        producer: who wrote it.
        digest: SHA-256 of the file, without numbers beside it.
    """

    what: str
    graph: proto.Graph
    versions: dict[str, int]
    functions: dict[tuple[str, str, str], proto.Function]
    tensors: Tensors
    producer: str
    digest: str
    _plans: dict[int, Plan] = field(default_factory=dict)
    _bodies: dict[int, proto.Graph] = field(default_factory=dict)
    _parts: dict[tuple[int, tuple[int, ...]], proto.Graph] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        return self.tensors.budget

    def plan(self, graph: proto.Graph) -> Plan:
        """In which order the nodes of a graph run.

        Raises:
            ConvertError: the graph has no such order, or uses a name twice.
        """
        found = self._plans.get(id(graph))
        if found is None:
            found = self._plans[id(graph)] = _Planner(self, graph).plan()
        return found

    def body(self, function: proto.Function) -> proto.Graph:
        """A function as a graph."""
        found = self._bodies.get(id(function))
        if found is None:
            inputs, outputs = ([proto.ValueInfo(name=n) for n in names] for names in (function.input, function.output))
            found = proto.Graph(node=function.node, name=function.name, input=inputs, output=outputs)
            self._bodies[id(function)] = found
        return found

    def some(self, graph: proto.Graph, places: tuple[int, ...]) -> proto.Graph:
        """A graph with these of its outputs alone, and the nodes that they need."""
        found = self._parts.get((id(graph), places))
        if found is None:
            found = replace(graph, output=[graph.output[i] for i in places])
            self._parts[id(graph), places] = found
        return found


def open_model(path: str | os.PathLike[str]) -> OnnxModel:
    """Read a file.

    Raises:
        ConvertError: it is no ONNX file, damaged, or of a version that is not supported.
        OSError: it is missing, cannot be read or is no regular file.
    """
    path = Path(path)
    file, what = MappedFile(path), path.name
    data = file.data
    model = proto.parse(data, Budget(len(data), what))
    if model.graph is None or not model.opset_import:
        raise ConvertError(f"{what}: no ONNX file, or a damaged one: it has no {'opset' if model.graph else 'graph'}")
    versions = _versions(model.opset_import, what)
    folder = path.parent
    tensors = Tensors(Budget(len(data), what), folder)
    tensors.files[""] = file
    beside = {str(tensors.place(t.external_data, shown(t.name))[0]) for t in external_files(model.graph)}
    tensors.budget = Budget(len(data) + sum(_size(name) for name in beside), what)
    functions = {(_domain(f.domain), f.name, f.overload): f for f in model.functions}
    producer = shown(f"{model.producer_name} {model.producer_version}".strip())
    digest = hashlib.sha256()
    feed(digest, path)
    return OnnxModel(what, model.graph, versions, functions, tensors, producer, digest.hexdigest())


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size
    except OSError:
        return 0  # told where its numbers are needed


def _domain(domain: str) -> str:
    return "" if domain in _STANDARD else domain


def _versions(sets: Iterable[proto.OperatorSet], what: str) -> dict[str, int]:
    versions = {_domain(s.domain): s.version for s in sets}
    standard = versions.get("", NEWEST)
    if not OLDEST <= standard <= NEWEST:
        raise ConvertError(
            f"{what}: version {standard} of ONNX's operators, expected {OLDEST} to {NEWEST}"
            + ("; onnx.version_converter makes a newer file of it" if standard < OLDEST else "")
        )
    return versions


def versions_of(model: OnnxModel, function: proto.Function) -> dict[str, int]:
    """Versions of the operators that a function uses: its own, or those of the model."""
    return {**model.versions, **_versions(function.opset_import, f"function {shown(function.name)}")}


class _Planner:
    """Finds the order of one graph."""

    def __init__(self, model: OnnxModel, graph: proto.Graph) -> None:
        self._model = model
        self._graph = graph
        self._initializers: dict[str, proto.Tensor | proto.SparseTensor] = {t.name: t for t in graph.initializer}
        for sparse in graph.sparse_initializer:
            if sparse.values is not None:
                self._initializers[sparse.values.name] = sparse
        self._makers: dict[str, int] = {}
        self._needs: dict[int, list[str]] = {}
        self._free: dict[str, None] = {}

    def plan(self) -> Plan:
        given = {v.name for v in self._graph.input} | self._initializers.keys()
        for i, node in enumerate(self._graph.node):
            for name in filter(None, node.output):
                if name in given or name in self._makers:
                    raise self._error(f"two values are called {shown(name)}")
                self._makers[name] = i
        outputs = [v.name for v in self._graph.output]
        order = self._order(outputs, given)
        if self._sorted(order):
            order = sorted(order)
        return Plan(
            self._graph,
            [self._graph.node[i] for i in order],
            frozenset(self._free),
            self._last(order, frozenset(outputs)),
            self._initializers,
        )

    def _order(self, outputs: list[str], given: set[str]) -> list[int]:
        """Depth first, from the outputs back."""
        order: list[int] = []
        state: dict[int, bool] = {}  # False while what a node needs is being ordered
        for output in outputs:
            stack: list[tuple[int, Iterator[str]]] = []
            self._visit(output, stack, state, given)
            while stack:
                i, names = stack[-1]
                name = next(names, None)
                if name is not None:
                    self._visit(name, stack, state, given)
                    continue
                state[i] = True
                order.append(i)
                stack.pop()
        return order

    def _visit(
        self, name: str, stack: list[tuple[int, Iterator[str]]], state: dict[int, bool], given: set[str]
    ) -> None:
        i = self._makers.get(name)
        self._model.budget.steps()
        if i is None:
            if name not in given:
                self._free[name] = None
        elif i not in state:
            state[i] = False
            self._needs[i] = self._uses(self._graph.node[i])
            stack.append((i, iter(self._needs[i])))
        elif not state[i]:
            raise self._error(f"its nodes go round in a circle through {shown(name)}")

    def _uses(self, node: proto.Node) -> list[str]:
        """Names of the values that a node, or a graph in it, needs."""
        names = dict.fromkeys(filter(None, node.input))
        for attribute in node.attribute:
            if attribute.g is not None:
                names.update(dict.fromkeys(self._model.plan(attribute.g).free))
        return list(names)

    def _sorted(self, order: list[int]) -> bool:
        """Can the nodes run in the order of the file?"""
        return all(self._makers.get(name, -1) < i for i in order for name in self._needs[i])

    def _last(self, order: list[int], outputs: frozenset[str]) -> list[list[str]]:
        last: list[list[str]] = [[] for _ in order]
        seen = set(outputs)
        for k in range(len(order) - 1, -1, -1):
            names = [*self._needs[order[k]], *filter(None, self._graph.node[order[k]].output)]
            for name in names:
                if name not in seen:
                    seen.add(name)
                    last[k].append(name)
        return last

    def _error(self, why: str) -> ConvertError:
        where = f" (graph {shown(self._graph.name)})" if self._graph.name else ""
        return ConvertError(f"{self._model.what}{where}: {why}")


def missing(names: Iterable[str]) -> str:
    """Names of values that nothing makes, for messages."""
    return listed(names, 5)
