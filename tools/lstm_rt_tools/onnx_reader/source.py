"""An ONNX file as a source of the interpreter: it runs its own graph, an operator after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from ..program.machine import Argument, Exhausted, Machine, Source, Tensor
from . import ops as _  # noqa: F401 - fills the table
from . import proto
from .call import OPERATORS, Call, Value
from .model import OnnxModel, Plan, versions_of
from .tensors import NARROWED, as_machine_dtype, kind_of

_MAX_DEPTH = 40  #: of functions and graphs in each other
_NODE = 60  #: microseconds of a node beside its operations, about
_LARGE = 4 << 20  #: bytes of numbers that are not left in memory once they are used
_MAX_PORTS, _MAX_DIMS = 256, 16
_NOT_TENSORS = {"sequence": "a sequence", "map": "a map", "sparse": "a sparse tensor", "optional": "an optional value"}


class OnnxSource(Source):
    """The graph of a file.

    Attributes:
        inputs: what the graph is given, in order; initializers are none of it.
        outputs: names of what it gives, in order.
        notes: what the user of the model should know; complete after a run.
        hints: numbers of rows or steps that the graph may be made for.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        plan = model.plan(model.graph)
        if plan.free:
            raise ConvertError(f"{model.what}: nothing gives the values {listed(sorted(plan.free), 5)}")
        if len(model.graph.input) - len(plan.initializers) > _MAX_PORTS or len(model.graph.output) > _MAX_PORTS:
            raise ConvertError(f"{model.what}: more than {_MAX_PORTS} inputs or outputs")
        self._given = [v for v in model.graph.input if v.name not in plan.initializers]
        self._notes: dict[str, None] = {}
        self.inputs: Sequence[Argument] = [self._argument(v) for v in self._given]
        self.outputs: Sequence[str] = [v.name for v in model.graph.output]
        self.hints: list[int] = []
        self._work = Work(model)

    @property
    def notes(self) -> list[str]:
        narrowed = sorted(self._model.tensors.narrowed)
        told = [f"numbers of type {listed(narrowed)} are float32 here"] if narrowed else []
        return [*told, *self._notes]

    @property
    def about(self) -> dict[str, str]:
        """Where the model comes from."""
        model = self._model
        facts = {"framework": "onnx", "version": f"opset {model.versions.get('', 0)}", "file": shown(model.what)}
        return {**facts, "sha256": model.digest, **({"producer": model.producer} if model.producer else {})}

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs, both in order.

        Raises:
            ConvertError: the graph has what cannot be converted, or is damaged.
        """
        self._work.begin()
        machine.most = min(machine.most, self._work.most)
        run = Run(machine, self._model, self._notes, self.hints, self._work)
        found = run.graph(self._model.graph, list(inputs), None)
        outputs: list[Tensor] = []
        for name, value in zip(self.outputs, found, strict=True):
            if not isinstance(value, Tensor):
                raise ConvertError(f"output {shown(name)} is no tensor")
            outputs.append(value)
        return outputs

    def _argument(self, info: proto.ValueInfo) -> Argument:
        what = f"{self._model.what}: input {shown(info.name)}"
        given = info.type
        if given is None or given.tensor is None:
            found = [words for k, words in _NOT_TENSORS.items() if given is not None and getattr(given, k) is not None]
            raise ConvertError(f"{what} is {found[0] if found else 'of unknown type'}, expected a tensor")
        kind = kind_of(given.tensor.elem_type, what)
        if given.tensor.shape is None:
            raise ConvertError(f"{what} has no shape; export the model with the shapes of its inputs")
        if kind.name in NARROWED:
            self._model.tensors.narrowed.add(kind.name)
        if len(given.tensor.shape.dim) > _MAX_DIMS:
            raise ConvertError(f"{what} has {len(given.tensor.shape.dim)} dimensions, expected at most {_MAX_DIMS}")
        dims = tuple(d.param or None if d.value is None or d.value < 1 else d.value for d in given.tensor.shape.dim)
        size = 1
        for dim in dims:
            size *= dim if isinstance(dim, int) else 1
        self._model.budget.memory(_INPUT_COPIES * size, f"{what} of shape ({', '.join(map(_told, dims))})")
        dtype, plan = as_machine_dtype(kind), self._model.plan(self._model.graph)
        if dtype.kind == "f" and _is_cast(plan.nodes, plan.graph.output, info.name):
            dtype = np.dtype(np.int32)
            told = "holds whole numbers as floats in the file; the converted model takes integers"
            self._notes[f"{shown(info.name)} {told}"] = None
        return Argument(info.name, dtype, dims)


_INPUT_COPIES = 4
_MOVING = frozenset({"Reshape", "Identity", "Squeeze", "Unsqueeze", "Transpose", "Flatten"})
_WHOLE = frozenset({6, 7})  #: int32 and int64, as ONNX counts types


def _is_cast(nodes: Sequence[proto.Node], outputs: Sequence[proto.ValueInfo], name: str) -> bool:
    """Is all that a graph does with a value to make whole numbers of it?"""
    names, casts = {name}, 0
    for node in nodes:
        if any(a.g is not None for a in node.attribute):
            return False  # a graph inside sees all names
        if node.op_type == "Shape" or not names.intersection(node.input):
            continue
        whole = any(a.name == "to" and a.i in _WHOLE for a in node.attribute)
        if node.op_type == "Cast" and whole:
            casts += 1
        elif node.op_type in _MOVING and node.input[0] in names:
            names.update(node.output[:1])
        else:
            return False
    return casts > 0 and not any(v.name in names for v in outputs)


def _told(dim: int | str | None) -> str:
    return "?" if dim is None else shown(dim)


@dataclass(eq=False)
class Frame:
    """The names of one graph that is being run, inside that of another one if it has one."""

    plan: Plan
    versions: dict[str, int]
    attributes: dict[str, proto.Attribute]
    parent: Frame | None
    depth: int
    values: dict[str, Value] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)  #: names of values that a node of this graph has given

    def resolved(self, attribute: proto.Attribute) -> proto.Attribute | None:
        """An attribute, or what the caller of the function around it gave for it, if that gave any."""
        return self.attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute


class Work:
    """What all runs of a model together may take, and what the values of one may, by the size of its file."""

    def __init__(self, model: OnnxModel) -> None:
        self._what = model.what
        self._steps = _STEPS + max(model.budget.size, min(_STEPS_PER_BYTE * model.budget.size, _MOST_STEPS))
        self._all_bytes = self._bytes = _BYTES + _BYTES_PER_BYTE * model.budget.size
        self.most = self._bytes // _RESULTS

    def begin(self) -> None:
        """A run begins: there are no values yet."""
        self._bytes = self._all_bytes

    def steps(self, n: int) -> None:
        """Charge about ``n`` microseconds.

        Raises:
            Exhausted: nothing is left.
        """
        self._steps -= n
        if self._steps < 0:
            raise Exhausted(
                f"{self._what}: running its graph takes far longer than one of its size should; "
                "the file is damaged or hostile"
            )

    def values(self, nbytes: int) -> None:
        """Charge the memory of values; what is below 0 is given back."""
        self._bytes -= nbytes
        if self._bytes < 0:
            raise Exhausted(
                f"{self._what}: the values of its graph take far more memory than those of a file of its size should; "
                "the file is damaged or hostile"
            )


#: Of all runs together, in microseconds; of values, in bytes and for each byte of the file.
_STEPS, _BYTES, _BYTES_PER_BYTE = 1 << 22, 40 << 20, 12
_STEPS_PER_BYTE, _MOST_STEPS = 64, 1 << 24  #: a node takes about 100 bytes, and in a loop runs once for each step
_RESULTS = 16  #: results that all values are at least, by numbers of four bytes each


@dataclass(eq=False)
class Run:
    """One run of a model."""

    machine: Machine
    model: OnnxModel
    notes: dict[str, None]
    hints: list[int]
    work: Work
    dividends: dict[int, int] = field(default_factory=dict)  #: of known numbers, by their quotients

    def graph(
        self,
        graph: proto.Graph,
        inputs: Sequence[Value],
        parent: Frame | None,
        versions: dict[str, int] | None = None,
        attributes: dict[str, proto.Attribute] | None = None,
    ) -> list[Value]:
        """The outputs of a graph; it sees the names of ``parent``, if it is given."""
        plan = self.model.plan(graph)
        names = [v.name for v in graph.input if parent is not None or v.name not in plan.initializers]
        if len(inputs) > len(names):
            raise ConvertError(f"graph {shown(graph.name)}: {len(inputs)} inputs given, expected {len(names)}")
        frame = Frame(
            plan,
            versions or (parent.versions if parent else self.model.versions),
            attributes or (parent.attributes if parent else {}),
            parent,
            parent.depth + 1 if parent else 0,
            dict(zip(names, [*inputs, *[None] * (len(names) - len(inputs))], strict=True)),
        )
        return self._execute(frame)

    def _execute(self, frame: Frame) -> list[Value]:
        if frame.depth > _MAX_DEPTH:
            raise ConvertError(f"{self.model.what}: its functions and graphs are nested too deeply")
        for node, done in zip(frame.plan.nodes, frame.plan.last, strict=True):
            self.work.steps(_NODE)
            with self.machine.layer(_layer(node)):
                self._node(frame, node)
            self.work.values(sum(_nbytes(frame.values.get(name)) for name in node.output))
            for name in done:
                self.work.values(-_nbytes(frame.values.pop(name, None)) if name in frame.made else 0)
        self.work.values(-sum(_nbytes(v) for name, v in frame.values.items() if name in frame.made))
        return [self._value(frame, v.name) for v in frame.plan.graph.output]

    def _node(self, frame: Frame, node: proto.Node) -> None:
        domain = "" if node.domain in ("", "ai.onnx") else node.domain
        inputs = [self._value(frame, name) if name else None for name in node.input]
        operator = OPERATORS.get((domain, node.op_type))
        function = self.model.functions.get((domain, node.op_type, node.overload))
        if function is not None:
            results: tuple[Value, ...] = tuple(self._function(frame, node, function, inputs))
        elif operator is not None:
            call = Call(self, frame, node, frame.versions.get(domain, 1), inputs)
            found = operator.run(call)
            call.check_all_asked(operator.ignores)
            if any(isinstance(v, Tensor) and v.known and v.data.nbytes > _LARGE for v in inputs):
                self.model.tensors.forget()
            results = found if isinstance(found, tuple) else (found,)
        else:
            where = f" of domain {shown(domain)}" if domain else ""
            raise self.machine.error(shown(node.op_type), f"the operator{where} is not supported")
        for i, name in enumerate(node.output):
            if name and (i >= len(results) or results[i] is None):
                raise self.machine.error(shown(node.op_type), f"its output {i} is not supported")
            if name:
                frame.values[name] = results[i]
                frame.made.add(name)

    def _function(
        self, frame: Frame, node: proto.Node, function: proto.Function, inputs: Sequence[Value]
    ) -> list[Value]:
        """A function of the file, run where it is called; it does not see the names around the call."""
        given = {a.name: a for a in function.attribute_proto}
        given |= {a.name: found for a in node.attribute if (found := frame.resolved(a)) is not None}
        body = self.model.body(function)
        plan = self.model.plan(body)
        if plan.free:
            raise self.machine.error(shown(node.op_type), f"nothing gives the values {listed(sorted(plan.free), 5)}")
        if len(inputs) > len(function.input):
            raise self.machine.error(
                shown(node.op_type), f"{len(inputs)} inputs given, the function has {len(function.input)}"
            )
        values: dict[str, Value] = dict.fromkeys(function.input)
        values.update(zip(function.input, inputs, strict=False))
        inner = Frame(plan, versions_of(self.model, function), given, None, frame.depth + 1, values)
        return self._execute(inner)

    def _value(self, frame: Frame, name: str) -> Value:
        found: Frame | None = frame
        while found is not None:
            if name in found.values:
                return found.values[name]
            if name in found.plan.initializers:
                return self._initializer(found.plan.initializers[name], name)
            found = found.parent
        raise ConvertError(f"{self.model.what}: nothing gives the value {shown(name)}")

    def _initializer(self, tensor: proto.Tensor | proto.SparseTensor, name: str) -> Tensor:
        tensors, what = self.model.tensors, f"initializer {shown(name)}"
        if isinstance(tensor, proto.SparseTensor):
            return self.machine.constant(tensors.sparse(tensor, what))
        return self.machine.constant(tensors.array(tensor, what))


def _nbytes(value: Value) -> int:
    """Bytes of a value of its own; a view takes none."""
    if isinstance(value, list):
        return sum(map(_nbytes, value))
    return value.data.nbytes if value is not None and value.data.base is None else 0


def _layer(node: proto.Node) -> str:
    name = node.name or next(filter(None, node.output), node.op_type)
    return shown(name.lstrip("/"))
