"""TorchScript archives: the code, the weights and the constants in them, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from ..weights.budget import Budget
from ..weights.safe_pickle import Inert
from ..weights.tensors import FileTensor
from ..weights.torch_files import TorchZip, is_script
from ..weights.zip_archive import ZipArchive
from .script_run import Interpreter
from .script_text import parse
from .script_tree import Class, Def
from .script_values import ClassRef, Obj
from .tensors import Var

_MOST_NESTED = 60  #: lists in lists


class ScriptArchive:
    """What is in a TorchScript archive; the :class:`~.script_run.Library` of its code.

    Args:
        data: the whole file.
        what: its name, for messages.
        budget: of the file.

    Raises:
        ConvertError: damaged, or no archive of TorchScript's.
    """

    def __init__(self, data: bytes, what: str, budget: Budget) -> None:
        self.what, self.budget = what, budget
        archive = ZipArchive(data, what, budget)
        roots = [n.removesuffix("constants.pkl") for n in archive.names if n.rpartition("/")[2] == "constants.pkl"]
        if len(roots) != 1:
            raise ConvertError(f"{what}: not a TorchScript archive: it has {len(roots)} constants.pkl, expected one")
        self.zip = TorchZip(archive, roots[0], what, budget)
        self.root = self.zip.load("data")
        if not is_script(self.root):
            raise ConvertError(f"{what}: the TorchScript archive holds no module")
        self.notes: list[str] = []
        self._constants: Any = None
        self._files: dict[str, dict[str, Def | Class]] = {}
        self._arrays: dict[int, NDArray[Any]] = {}
        self._kept: list[FileTensor] = []  # so that the ids above stay theirs
        self.version = self._version()

    def _version(self) -> int:
        text = bytes(self.zip.read("version")[:20]).strip() if "version" in self.zip else b""
        return int(text) if text.isdigit() else 1

    def inputs_of_trace(self) -> list[FileTensor]:
        """The tensors, without numbers, that the module was traced with; empty if the file does not tell."""
        if "traced_inputs.pkl" not in self.zip:
            return []
        tree = self.zip.load("traced_inputs", numbers=False)
        found = tree.get("forward") if isinstance(tree, dict) else None
        return list(_tensors_in(found))

    # -- what code refers to --------------------------------------------------------------------------

    def find(self, name: str) -> Def | Class:
        """A function or class by its full name, ``__torch__.a.b.C``."""
        place, _, short = name.rpartition(".")
        path = f"code/{place.replace('.', '/')}.py"
        if path not in self._files:
            if path not in self.zip:
                raise ConvertError(f"{self.what}: the code of {shown(name)} is not in the file")
            text = bytes(self.zip.read(path)).decode("utf-8", "replace")
            self._files[path] = parse(text, f"{self.what}/{path}", self.budget)
        found = self._files[path].get(short)
        if found is None:
            raise ConvertError(f"{self.what}: {path} has no {shown(short)}")
        return found

    def constant(self, index: str) -> Any:
        """``CONSTANTS.c0`` and so on."""
        if self._constants is None:
            self._constants = self.zip.load("constants")
        known = self._constants if isinstance(self._constants, list | tuple) else ()
        number = index.removeprefix("c")
        if not number.isdigit() or len(number) > 9 or int(number) >= len(known):
            raise ConvertError(f"{self.what}: the constant {shown(index)} is not in the file")
        return known[int(number)]

    def class_of(self, obj: Inert) -> ClassRef:
        """The class of an object in the file."""
        name = str(obj.cls)
        tree = self.find(name)
        if not isinstance(tree, Class):
            raise ConvertError(f"{self.what}: {shown(name)} is a function, expected a class")
        return ClassRef(name, tree)

    def value(self, stored: Any, interpreter: Interpreter, path: str, deep: int = 0) -> Any:
        """What something in the file is in a run."""
        if deep > _MOST_NESTED:
            raise ConvertError(f"{self.what}: {shown(path)} holds lists in lists, too deeply")
        self.budget.steps()
        if isinstance(stored, FileTensor):
            made = Var(interpreter.run.machine.constant(self.array(stored, path)))
            interpreter.stored.append((path, made))
            return made
        if is_script(stored):
            return self._object(stored, path)
        if isinstance(stored, list):
            return [self.value(v, interpreter, path, deep + 1) for v in stored]
        if isinstance(stored, tuple):
            return tuple(self.value(v, interpreter, path, deep + 1) for v in stored)
        if isinstance(stored, dict):
            return {k: self.value(v, interpreter, path, deep + 1) for k, v in stored.items()}
        if stored is None or isinstance(stored, bool | int | float | str):
            return stored
        raise ConvertError(f"{self.what}: {shown(path)} is a {shown(str(stored))}, which is not supported")

    def _object(self, stored: Inert, path: str) -> Any:
        if str(stored.cls).startswith("__torch__.torch.classes."):
            raise ConvertError(f"{self.what}: {shown(path)} holds a {shown(str(stored.cls))}: {_quantised(stored)}")
        return Obj(self.class_of(stored), stored.attrs, path)

    def array(self, tensor: FileTensor, path: str) -> NDArray[Any]:
        """The numbers of a tensor, read once for all runs; floats of any size as float32."""
        found = self._arrays.get(id(tensor))
        if found is None:
            if tensor.shape and tensor.dtype in ("float16", "bfloat16", "float64"):
                note = f"{tensor.dtype} weights are converted in float32"
                self.notes += [] if note in self.notes else [note]
            found = tensor.numbers(shown(path or "a constant"))
            self._arrays[id(tensor)] = found
            self._kept.append(tensor)
        return found

    def root_object(self) -> Obj:
        """The module that was saved, for one run."""
        return Obj(self.class_of(self.root), self.root.attrs, "")


def _tensors_in(tree: Any, deep: int = 0) -> Iterator[FileTensor]:
    """The tensors in tuples, lists and dictionaries, in order."""
    if isinstance(tree, FileTensor):
        yield tree
    elif isinstance(tree, list | tuple | dict) and deep < _MOST_NESTED:
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors_in(value, deep + 1)


def _quantised(stored: Inert) -> str:
    name = str(stored.cls)
    return (
        "the model is quantised; convert the float model that it was made from"
        if "quant" in name or name.endswith("torch.classes.rnn.CellParamsBase")  # weights of its recurrent layers
        else ("a class of its own, whose code is not in the file")
    )
