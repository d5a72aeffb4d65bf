"""A node that is being run, as its operator's function sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..names import listed, shown
from ..program.machine import Machine, ProgramError, Tensor
from ..weights.protobuf import varints
from . import proto
from .tensors import as_machine_dtype, kind_of

if TYPE_CHECKING:
    from .source import Frame, Run

#: What a name of a graph stands for: a tensor, a sequence of tensors, or nothing (an optional input left out).
Value: TypeAlias = "Tensor | list[Tensor] | None"
#: An operator: from a call to its output, or a tuple of its outputs.
Handler: TypeAlias = "Callable[[Call], Value | tuple[Value, ...]]"


class Operator(NamedTuple):
    """What an operator does, and its attributes that change nothing of it."""

    run: Handler
    ignores: frozenset[str]


#: By domain and name: what :func:`op` has registered.
OPERATORS: dict[tuple[str, str], Operator] = {}
MICROSOFT = "com.microsoft"
_APPLY = 100  #: microseconds of an operation of the vocabulary, about


def op(*names: str, domain: str = "", ignores: Iterable[str] = ()) -> Callable[[Handler], Handler]:
    """Register a function as what operators of these names do; other attributes than ``ignores`` it must ask for."""

    def add(function: Handler) -> Handler:
        for name in names:
            assert (domain, name) not in OPERATORS, name
            OPERATORS[domain, name] = Operator(function, frozenset(ignores))
        return function

    return add


class Call:
    """A node with its inputs.

    Attributes:
        node: the node.
        name: of the operator.
        m: the machine.
        version: of the operators of its domain.
    """

    def __init__(self, run: Run, frame: Frame, node: proto.Node, version: int, inputs: Sequence[Value]) -> None:
        self.node = node
        self.name = node.op_type
        self.m: Machine = run.machine
        self.version = version
        self._inputs = inputs
        self._run = run
        self._frame = frame
        self._attributes = {a.name: found for a in node.attribute if (found := frame.resolved(a)) is not None}
        self._asked: set[str | int] = set()

    # -- inputs -------------------------------------------------------------------------------------

    def tensor(self, i: int) -> Tensor:
        """An input that must be there.

        Raises:
            ConvertError: it is left out, or a sequence.
        """
        value = self.optional(i)
        if value is None:
            raise self.error(f"its input {i} is left out")
        return value

    def optional(self, i: int) -> Tensor | None:
        """An input that may be left out, at the end or by an empty name."""
        self._asked.add(i)
        value = self._inputs[i] if i < len(self._inputs) else None
        if isinstance(value, list):
            raise self.error(f"its input {i} is a sequence, expected a tensor")
        return value

    def sequence(self, i: int) -> list[Tensor]:
        """An input that is a sequence."""
        self._asked.add(i)
        value = self._inputs[i] if i < len(self._inputs) else None
        if not isinstance(value, list):
            raise self.error(f"its input {i} is no sequence")
        return value

    def tensors(self) -> list[Tensor]:
        """All inputs, none left out."""
        return [self.tensor(i) for i in range(len(self._inputs))]

    def values(self) -> list[Value]:
        """All inputs, whatever they are."""
        self._asked.update(range(len(self._inputs)))
        return list(self._inputs)

    def known(self, i: int, what: str) -> NDArray[Any]:
        """The numbers of an input, which must not depend on those of the model's inputs."""
        return self.m.number(self.tensor(i), f"{what} of {self.name}")

    def known_ints(self, i: int, what: str) -> list[int] | None:
        """Known whole numbers; None if the input is left out."""
        return None if self.optional(i) is None else [int(n) for n in self.known(i, what).reshape(-1)]

    def known_number(self, i: int, what: str, default: float) -> float:
        """One known number."""
        if self.optional(i) is None:
            return default
        values = self.known(i, what)
        if values.size != 1:
            raise self.error(f"{what} has {values.size} numbers, expected one")
        return float(values.reshape(())) if values.dtype.kind == "f" else int(values.reshape(()))

    # -- attributes ---------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Is an attribute given?"""
        return self._attribute(name) is not None

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        found = self._attribute(name)
        return self._needed(name, default) if found is None else found.i

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        found = self._attribute(name)
        return self._needed(name, default) if found is None else found.f

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        found = self._attribute(name)
        return self._needed(name, default) if found is None else self._text(found.s)

    def ints(self, name: str) -> list[int] | None:
        """Whole numbers; None if they are not given."""
        found = self._attribute(name)
        return None if found is None else [int(n) for n in varints(found.ints, self._run.model.budget)]

    def floats(self, name: str) -> list[float]:
        """Numbers; none if they are not given."""
        found = self._attribute(name)
        if found is None:
            return []
        if len(found.floats) % 4:
            raise self.error(f"its attribute {name} is damaged")
        return [float(v) for v in np.frombuffer(found.floats, "<f4")]

    def texts(self, name: str) -> list[str] | None:
        """Texts; None if they are not given."""
        found = self._attribute(name)
        return None if found is None else [self._text(s) for s in found.strings]

    def array(self, name: str) -> NDArray[Any] | None:
        """The numbers of a tensor, dense or sparse; None if it is not given."""
        found = self._attribute(name)
        what = f"{name} of {self._called()}"
        if found is not None and found.sparse_tensor is not None:
            return self._run.model.tensors.sparse(found.sparse_tensor, what)
        return None if found is None or found.t is None else self._run.model.tensors.array(found.t, what)

    def graph(self, name: str) -> proto.Graph:
        """A graph inside the node."""
        found = self._attribute(name)
        if found is None or found.g is None:
            raise self.error(f"its graph {name} is missing")
        return found.g

    def dtype(self, code: int) -> np.dtype[Any]:
        """What numbers of a type are when the program runs; noted where floats are narrowed."""
        kind = kind_of(code, self._called())
        if kind.name in ("float16", "double", "bfloat16"):
            self._run.model.tensors.narrowed.add(kind.name)
        return as_machine_dtype(kind)

    def _attribute(self, name: str) -> proto.Attribute | None:
        self._asked.add(name)
        return self._attributes.get(name)

    def _needed(self, name: str, default: Any) -> Any:
        if default is None:
            raise self.error(f"its attribute {name} is missing")
        return default

    @staticmethod
    def _text(data: memoryview) -> str:
        return str(data, "utf-8", "backslashreplace")

    # -- what follows -------------------------------------------------------------------------------

    def apply(self, op: str, *args: Tensor | None, **options: Any) -> Any:
        """An operation of the vocabulary."""
        self._run.work.steps(_APPLY)
        return self.m.apply(op, *args, **options)

    def one(self, op: str, *args: Tensor | None, **options: Any) -> Tensor:
        """An operation that gives one tensor."""
        result: Tensor = self.apply(op, *args, **options)
        return result

    def constant(self, array: ArrayLike) -> Tensor:
        """Numbers as a tensor."""
        return self.m.constant(array)

    def reshape(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """``x`` in another shape; itself, if it has it."""
        return x if tuple(sizes) == x.shape else self.one("reshape", x, sizes=list(sizes))

    def axis(self, axis: int, ndim: int) -> int:
        """An axis counted from the front."""
        if not -ndim <= axis < ndim:
            raise self.error(f"axis {axis} of {ndim} dimensions")
        return axis % ndim

    def axes(self, axes: Sequence[int], ndim: int) -> list[int]:
        """Axes counted from the front."""
        return [self.axis(a, ndim) for a in axes]

    def run_graph(self, graph: proto.Graph, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a graph inside the node, which sees what is around it."""
        return self._run.graph(graph, inputs, self._frame)

    def run_some(self, graph: proto.Graph, places: Sequence[int], inputs: Sequence[Value]) -> list[Value]:
        """Some outputs of such a graph; nothing is run that they do not need."""
        return self.run_graph(self._run.model.some(graph, tuple(places)), inputs)

    def wants(self, i: int) -> bool:
        """Is output ``i`` used?"""
        return i < len(self.node.output) and bool(self.node.output[i])

    def note(self, text: str) -> None:
        """Tell the user of the model something, once."""
        self._run.notes[text] = None

    def hint(self, size: int) -> None:
        """So many rows or steps there may have been when the file was written."""
        if size not in self._run.hints:
            self._run.hints.append(size)

    def divided(self, whole: int, quotient: int) -> None:
        """A known number has been divided, perhaps one that the exporter has computed by one of rows or steps."""
        self._run.dividends[quotient] = whole

    def dividend(self, quotient: int) -> int | None:
        """The number whose quotient this has last been in the run."""
        return self._run.dividends.get(quotient)

    def error(self, why: str) -> ProgramError:
        """An error about this node."""
        return self.m.error(self.name, why)

    def check_all_asked(self, ignores: frozenset[str]) -> None:
        """Raise :class:`~lstm_rt.errors.ConvertError` where its function did not ask for an attribute or input."""
        extra = [name for name in self._attributes if name not in self._asked and name not in ignores]
        extra += [f"input {i}" for i, v in enumerate(self._inputs) if v is not None and i not in self._asked]
        if extra:
            raise self.error(f"{listed(extra, 3)} of it {'is' if len(extra) == 1 else 'are'} not supported")

    def _called(self) -> str:
        return f"{self.name} {shown(self.node.name or next(iter(self.node.output), ''))}"
