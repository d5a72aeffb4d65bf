"""A TorchScript archive as a program: its inputs and outputs, and how to run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

from ..names import shown
from ..program.machine import Argument, Machine, Source, Tensor
from ..program.settings import sizes_in
from .dtypes import numpy_dtype
from .meter import Meter
from .run import Run, kept_note, kind_of
from .script_archive import ScriptArchive
from .script_run import Interpreter
from .script_tree import Attr, Const, Expr, Index, Name, Param, Seq
from .script_values import Record
from .tensors import Var

_COUNTER = "num_batches_tracked"  #: of batch normalisation, which counts in training
_DEEP = "its code is nested too deeply"


@dataclass(frozen=True)
class _Slot:
    """Where an argument's tensors go: a tensor, a tuple or list of slots, or a value that is given."""

    kind: str  #: tensor, tuple, list or value
    name: str = ""
    parts: tuple[_Slot, ...] = ()
    value: Any = None

    def tensors(self) -> Iterator[str]:
        """The names of the tensors in it, in order."""
        if self.kind == "tensor":
            yield self.name
        for part in self.parts:
            yield from part.tensors()

    def fill(self, tensors: Iterator[Tensor]) -> Any:
        """The argument, of the tensors of a run."""
        if self.kind == "tensor":
            return Var(next(tensors))
        if self.kind == "value":
            return self.value
        made = [p.fill(tensors) for p in self.parts]
        return made if self.kind == "list" else tuple(made)


class ScriptSource(Source):
    """The ``forward`` of a TorchScript archive.

    Attributes:
        inputs: what it takes; :mod:`.fit` says which sizes they have.
        outputs: names of what it gives; known after the first run.
        notes: what the user should know.
        sizes: of inputs that are set, by their names and dimensions.
    """

    torch_version: str | None = None  #: archives do not tell

    def __init__(self, archive: ScriptArchive, settings: Mapping[str, int] | None = None) -> None:
        self.archive = archive
        self.settings = dict(settings or {})
        self._unused = set(self.settings)
        self._meter = Meter(archive.budget)
        self.notes = archive.notes
        self.what = archive.what
        self.outputs: Sequence[str] = []
        known = archive.class_of(archive.root).tree.methods
        forward = known.get("forward", known.get("forward__0"))  # of layers that take packed sequences, too
        if forward is None:
            methods = ", ".join(map(shown, list(known)[:5]))
            raise ConvertError(f"{self.what}: the module has no forward; it has {methods or 'no methods'}")
        self._forward = forward
        self._slots = [self._slot(p) for p in forward.params[1:]]
        names = [n for s in self._slots for n in s.tensors()]
        self.sizes: Mapping[str, Mapping[int, int]] = sizes_in(self.settings, names)
        self._unused -= {f"{name}.{k}" for name, own in self.sizes.items() for k in own}
        if self._unused:
            unused = shown(min(self._unused))
            raise ConvertError(
                f"{self.what}: forward takes no whole number {unused} that could be set; the size of dimension 2 of an "
                f"input is {shown((names or ['x'])[0])}.2"
            )
        examples = archive.inputs_of_trace()
        self.traced = len(examples) == len(names) > 0
        self.examples = [tuple(e.shape) for e in examples] if self.traced else None
        kinds = [self._kind(e.dtype) for e in examples] if self.traced else [np.dtype(np.float32)] * len(names)
        self.inputs: Sequence[Argument] = [Argument(n, k, ()) for n, k in zip(names, kinds, strict=True)]

    def _kind(self, dtype: str) -> np.dtype[Any]:
        """The type of an input that the module was traced with."""
        found = numpy_dtype(dtype)
        if found is None:
            raise ConvertError(f"{self.what}: an input of type {shown(dtype)} is not supported")
        if dtype in ("float16", "bfloat16", "float64"):
            self.notes.append(f"{dtype} inputs are float32 in the converted model")
        return found

    # -- arguments ------------------------------------------------------------------------------------

    def _slot(self, param: Param) -> _Slot:
        if param.name in self.settings and isinstance(param.type, Name) and param.type.id == "int":
            self._unused.discard(param.name)
            return _Slot("value", param.name, value=self.settings[param.name])
        if param.default is not None:
            interpreter = Interpreter(Run(Machine(), [], self._meter), self.archive)
            value = interpreter.value(param.default, {})
            if not isinstance(value, Var):
                shown_value = repr(value)[:40]
                if value is not None or _is_optional(param.type):
                    self.notes.append(f"the argument {shown(param.name)} is left at its default, {shown_value}")
                    return _Slot("value", param.name, value=value)
        return self._typed(param.type, param.name)

    def _typed(self, kind: Expr | None, name: str) -> _Slot:
        if kind is None or (isinstance(kind, Name) and kind.id == "Tensor"):
            return _Slot("tensor", name)
        if isinstance(kind, Index) and isinstance(kind.of, Name):
            inner = kind.index.items if isinstance(kind.index, Seq) else (kind.index,)
            if kind.of.id == "Tuple":
                return _Slot("tuple", name, tuple(self._typed(k, f"{name}_{i}") for i, k in enumerate(inner)))
            if kind.of.id == "Optional":
                self.notes.append(f"the optional argument {shown(name)} is left out (None)")
                return _Slot("value", name)
        if isinstance(kind, Name) and kind.id == "int":
            raise ConvertError(
                f"{self.what}: forward takes {shown(name)}, a whole number, which a model cannot take; set it: "
                f"--set {shown(name)}=..."
            )
        raise ConvertError(
            f"{self.what}: forward takes {shown(name)}, a {_spelt(kind)}; only tensors and tuples of them become inputs"
        )

    # -- running ----------------------------------------------------------------------------------------

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs.

        Raises:
            ConvertError: the code holds what cannot be converted, or complains itself.
        """
        tensors, kept = self.call(machine, inputs)
        for path in (path for path, value in kept.items() if next(tensors_in(value), None) is not None):
            note = kept_note(path)
            self.notes += [] if note in self.notes else [note]
        return tensors

    def call(
        self, machine: Machine, inputs: Sequence[Tensor], kept: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[list[Tensor], dict[str, Any]]:
        """The outputs, and what the modules keep afterwards: attributes by their paths, their tensors as those of the
        machine.

        Args:
            kept: by an earlier call.

        Raises:
            ConvertError: as for :meth:`run`.
        """
        run = Run(machine, self.notes, self._meter, self.archive.version)
        interpreter = Interpreter(run, self.archive, {path: _as_vars(value) for path, value in kept.items()})
        tensors = iter(inputs)
        args = [slot.fill(tensors) for slot in self._slots]
        try:
            result = interpreter.method(self.archive.root_object(), self._forward.name, args)
        except RecursionError:
            raise ConvertError(f"{self.what}: {_DEEP}") from None
        left = {**interpreter.kept, **{path: var for path, var in interpreter.stored if path and var.changed}}
        left = {path: _as_tensors(run, v) for path, v in left.items() if not path.endswith(_COUNTER)}
        found = list(outputs_of(run, result))
        names = [name for name, _ in found]
        if len(found) == 1:
            names = ["output"]
        if not self.outputs:
            self.outputs = names
        if names != self.outputs:
            raise ConvertError(f"{self.what}: forward gives other outputs for inputs of other sizes")
        return [tensor for _, tensor in found], left


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a module keeps, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from tensors_in(v)


def _as_vars(value: Any) -> Any:
    if isinstance(value, list | tuple) and not isinstance(value, Record):
        return type(value)(map(_as_vars, value))
    return Var(value) if isinstance(value, Tensor) else value


def _as_tensors(run: Run, value: Any) -> Any:
    if isinstance(value, list | tuple) and not isinstance(value, Record):
        return type(value)(_as_tensors(run, v) for v in value)
    return run.tensor(value) if isinstance(value, Var) else value


def outputs_of(run: Run, result: Any, name: str = "output") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a result of PyTorch's, with names by where they lie."""
    if isinstance(result, Var):
        yield name, run.output(result, name)
    elif isinstance(result, Record):
        for field, value in zip(result.cls.tree.fields, result, strict=True):
            yield from outputs_of(run, value, field if name == "output" else f"{name}_{field}")
    elif isinstance(result, list | tuple):
        for i, value in enumerate(result):
            yield from outputs_of(run, value, f"{name}_{i}")
    elif isinstance(result, dict):
        for key, value in result.items():
            yield from outputs_of(run, value, str(key) if name == "output" else f"{name}_{key}")
    elif result is not None and not isinstance(result, bool | int | float | str):
        raise run.error(f"a {kind_of(result)} is returned", name)


def _is_optional(kind: Expr | None) -> bool:
    return isinstance(kind, Index) and isinstance(kind.of, Name) and kind.of.id == "Optional"


def _spelt(kind: Expr | None) -> str:
    """A type as the code has it, roughly."""
    if isinstance(kind, Name):
        return shown(kind.id)
    if isinstance(kind, Attr):
        return shown(kind.name)
    if isinstance(kind, Index):
        inner = kind.index.items if isinstance(kind.index, Seq) else (kind.index,)
        return f"{_spelt(kind.of)}[{', '.join(map(_spelt, inner[:3]))}]"
    return "None" if isinstance(kind, Const) else "type that is not known"
