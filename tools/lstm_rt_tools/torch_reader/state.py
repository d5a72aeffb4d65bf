"""What a module's forward may change: kept before it runs, put back after.

A forward is the user's code. It may keep ``self.hidden``, count its calls, fill a cache, write into a
buffer. Whatever of this can be reached from the module is copied here, and put back as it was. Globals and
closures are not: they are everybody's, and following them would lead through the whole program.
"""

from __future__ import annotations

import functools
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

#: Datasets and trainers may hang on a module. Of what belongs to other objects than modules, so many bytes
#: of tensors and arrays are kept, and as many again as the module's own for each state of an optimizer; and so
#: many containers and objects are followed.
_FOREIGN_BYTES = 256 << 20
_OPTIMIZER_STATES = 4
_MOST_OBJECTS = 200_000
_MISSING = object()
#: Libraries whose objects are no place for a forward to keep things; following them would lead far.
_NOT_FOLLOWED = (sys.stdlib_module_names | {"numpy"}) - {"types", "argparse", "functools"}
_ATOMS = frozenset({int, float, complex, bool, str, bytes, range, type(None)})
_INERT = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, property, staticmethod, classmethod)


class Snapshot:
    """The state of a module: its attributes and those of its children, containers, tensors, generators.

    Args:
        module: walked through modules (also those in plain lists and dicts), containers and the attributes
            of other objects. Class attributes of the user's module classes are kept, too.

    Raises:
        ConvertError: more hangs on the module than can be kept (named).
    """

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self._kept: list[_Kept] = []
        self._seen: dict[int, str] = {}
        self._alive: list[Any] = []  # an id stays an object's own only while the object lives
        self._room = _FOREIGN_BYTES
        #: Every module found, with its name.
        self.modules: list[tuple[str, Any]] = []
        self._own: list[tuple[str, Any]] = [("", module)]
        self._foreign: list[tuple[str, Any]] = []
        while self._own or self._foreign:
            own = bool(self._own)
            path, obj = (self._own if own else self._foreign).pop()
            self._visit(path, obj, own)

    def restore(self) -> list[str]:
        """Put everything back; returns the names of what had changed."""
        return list(dict.fromkeys(name for kept in self._kept for name in kept.put_back()))

    def counters(self) -> list[str]:
        """The names of single numbers, texts and collections that have changed: a forward may count its calls.

        Other tensors, which a forward keeps to be looked at or to go on from, are no counters; neither is the
        training mode, which is ours.
        """
        names = dict.fromkeys(name for kept in self._kept for name in kept.counters())
        return [n for n in names if n.rpartition(".")[2] != "training"]

    def name_of(self, tensor: Any) -> str | None:
        """The name of the tensor of the module whose memory ``tensor`` shows."""
        if tensor.numel():
            for kept in self._kept:
                if isinstance(kept, _Tensor) and kept.shares(tensor):
                    return kept.path
        return None

    # -- the walk -------------------------------------------------------------------------------

    def _visit(self, path: str, obj: Any, own: bool) -> None:
        if type(obj) in _ATOMS or isinstance(obj, _INERT) or id(obj) in self._seen:
            return
        children = self._keep(path, obj, own)
        if children is None:
            return
        self._seen[id(obj)] = path
        self._alive.append(obj)
        if len(self._seen) > _MOST_OBJECTS:
            raise _too_much(path)
        followed = self._own if own and not _is_foreign(self._torch, obj) else self._foreign
        followed.extend(children)

    def _keep(self, path: str, obj: Any, own: bool) -> list[tuple[str, Any]] | None:
        """Keep what ``obj`` itself is; returns what it holds, None if there is nothing to keep."""
        if isinstance(obj, self._torch.Tensor):
            self._kept.append(self._tensor(path, obj, own))
            return []
        if isinstance(obj, np.ndarray):
            if obj.flags.writeable:
                self._charge(path, obj.nbytes, own)
                self._kept.append(_Array(path, obj))
            return []
        if isinstance(obj, dict):
            self._kept.append(_Dict(obj, lambda key: _item(path, key)))
            return [(_item(path, k), v) for k, v in obj.items()]
        if isinstance(obj, list | deque):
            self._kept.append(_List(path, obj))
        elif isinstance(obj, set):
            self._kept.append(_Set(path, obj))
        if isinstance(obj, list | deque | tuple | set):
            return [(f"{path}[{i}]", v) for i, v in enumerate(obj)]
        state = _generator_state(self._torch, obj)
        if state is not None:
            self._kept.append(_Generator(*state))
            return []
        return self._object(path, obj)

    def _object(self, path: str, obj: Any) -> list[tuple[str, Any]] | None:
        if isinstance(obj, types.MethodType):
            return [(path, obj.__self__)]
        if isinstance(obj, functools.partial):
            return [(path, obj.args), (path, obj.keywords)]
        is_module = isinstance(obj, self._torch.nn.Module)
        if not is_module and type(obj).__module__.partition(".")[0] in _NOT_FOLLOWED:
            return None
        held: list[tuple[str, Any]] = []
        attributes = getattr(obj, "__dict__", None)
        if isinstance(attributes, dict):
            self._kept.append(_Dict(attributes, lambda key: _join(path, str(key))))
            held += [(_join(path, str(k)), v) for k, v in attributes.items()]
        slots = _slots(obj)
        if slots:
            kept = _Attributes(path, obj, lambda: {k: getattr(obj, k) for k in slots if hasattr(obj, k)})
            self._kept.append(kept)
            held += [(_join(path, k), v) for k, v in kept.was.items()]
        if is_module:
            self.modules.append((path, obj))
            held += self._classes(obj)
        return held

    def _classes(self, module: Any) -> list[tuple[str, Any]]:
        """The class attributes of the user's classes behind a module."""
        held: list[tuple[str, Any]] = []
        for cls in type(module).__mro__:
            if cls.__module__.partition(".")[0] in {"torch", *_NOT_FOLLOWED} or id(cls) in self._seen:
                continue
            self._seen[id(cls)] = cls.__name__
            kept = _Attributes(cls.__name__, cls, functools.partial(_class_attributes, cls))
            self._kept.append(kept)
            held += [(f"{cls.__name__}.{k}", v) for k, v in kept.was.items()]
        return held

    # -- tensors --------------------------------------------------------------------------------

    def _tensor(self, path: str, tensor: Any, own: bool) -> _Kept:
        plain = tensor.layout == self._torch.strided and not (
            tensor.is_meta or tensor.is_quantized or tensor.is_nested or self._torch._is_functional_tensor(tensor)
        )
        if not plain:
            return _Watched(path, tensor)
        self._charge(path, tensor.numel() * tensor.element_size(), own)
        return _Tensor(self._torch, path, tensor)

    def _charge(self, path: str, size: int, own: bool) -> None:
        self._room += _OPTIMIZER_STATES * size if own else -size
        if self._room < 0:
            raise _too_much(path)


def _too_much(path: str) -> ConvertError:
    top = path.split(".")[0].split("[")[0]
    return ConvertError(
        f"module.{top} holds more than can be put back if the forward changes it; nothing was run. "
        f"Detach it before the conversion (module.{top} = None)"
    )


def _join(path: str, name: str) -> str:
    if name in ("_parameters", "_buffers", "_modules"):  # where torch keeps what reads as an attribute
        return f"{path}."
    return f"{path}.{name}" if path else name


def _item(path: str, key: Any) -> str:
    return f"{path}{key}".lstrip(".") if path.endswith(".") else f"{path}[{key!r}]"


def _is_foreign(torch: Any, obj: Any) -> bool:
    return not isinstance(obj, torch.nn.Module | dict | list | tuple | set | deque | types.MethodType)


def _slots(obj: Any) -> list[str]:
    found: list[str] = []
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else [s for s in slots if isinstance(s, str)]
    return [s for s in found if s not in ("__dict__", "__weakref__") and not s.startswith("__")]


def _class_attributes(cls: type) -> dict[str, Any]:
    return {k: v for k, v in vars(cls).items() if not k.startswith(("__", "_abc_"))}


def _generator_state(torch: Any, obj: Any) -> tuple[Any, Callable[[Any], None]] | None:
    """The state of a random generator and how to set it; None for anything else."""
    if isinstance(obj, torch.Generator):
        return obj.get_state(), obj.set_state
    if isinstance(obj, random.Random):
        return obj.getstate(), obj.setstate
    if isinstance(obj, np.random.RandomState):
        return obj.get_state(legacy=False), obj.set_state
    if isinstance(obj, np.random.Generator):
        bits = obj.bit_generator
        return bits.state, lambda state: setattr(bits, "state", state)
    return None


# -- what is kept of one object -----------------------------------------------------------------------


class _Kept:
    """The state of one object; ``put_back`` gives the names of what had changed in it."""

    def put_back(self) -> list[str]:
        raise NotImplementedError

    def counters(self) -> list[str]:
        """The names of what may count calls, and has changed."""
        return []


class _Dict(_Kept):
    def __init__(self, target: dict[Any, Any], name: Callable[[Any], str]) -> None:
        self.target, self.name, self.was = target, name, dict(target)

    def put_back(self) -> list[str]:
        now = self.target
        keys = _changed_keys(self.was, now)
        if keys or [id(k) for k in now] != [id(k) for k in self.was]:
            now.clear()
            for key, value in self.was.items():
                now[key] = value
        return [self.name(k) for k in keys]

    def counters(self) -> list[str]:
        return [self.name(k) for k in _changed_keys(self.was, self.target) if _may_count(self.target.get(k))]


class _List(_Kept):
    def __init__(self, path: str, target: Any) -> None:
        self.path, self.target, self.was = path, target, list(target)

    def counters(self) -> list[str]:
        return [self.path] if len(self.target) != len(self.was) else []

    def put_back(self) -> list[str]:
        if [id(v) for v in self.target] == [id(v) for v in self.was]:
            return []
        self.target.clear()
        self.target.extend(self.was)
        return [self.path]


class _Set(_Kept):
    def __init__(self, path: str, target: set[Any]) -> None:
        self.path, self.target, self.was = path, target, set(target)

    def counters(self) -> list[str]:
        return [self.path] if self.target != self.was else []

    def put_back(self) -> list[str]:
        if self.target == self.was:
            return []
        self.target.clear()
        self.target.update(self.was)
        return [self.path]


class _Attributes(_Kept):
    """Attributes that lie in no dictionary of their own: those of classes, and slots."""

    def __init__(self, path: str, target: Any, read: Callable[[], dict[str, Any]]) -> None:
        self.path, self.target, self.read, self.was = path, target, read, read()

    def put_back(self) -> list[str]:
        keys = _changed_keys(self.was, self.read())
        write, delete = (
            (setattr, delattr) if isinstance(self.target, type) else (object.__setattr__, object.__delattr__)
        )
        for key in keys:
            if key in self.was:
                write(self.target, key, self.was[key])
            else:
                delete(self.target, key)
        return [f"{self.path}.{key}" for key in keys]

    def counters(self) -> list[str]:
        now = self.read()
        return [f"{self.path}.{key}" for key in _changed_keys(self.was, now) if _may_count(now.get(key))]


class _Array(_Kept):
    def __init__(self, path: str, target: Any) -> None:
        self.path, self.target, self.was = path, target, np.array(target)

    def put_back(self) -> list[str]:
        if self.target.tobytes() == self.was.tobytes():
            return []
        self.target[...] = self.was
        return [self.path]


class _Generator(_Kept):
    def __init__(self, state: Any, set_state: Callable[[Any], None]) -> None:
        self.was, self.set_state = state, set_state

    def put_back(self) -> list[str]:
        self.set_state(self.was)
        return []


def _changed_keys(was: dict[Any, Any], now: dict[Any, Any]) -> list[Any]:
    return [k for k in {**was, **now} if was.get(k, _MISSING) is not now.get(k, _MISSING)]


def _may_count(value: Any) -> bool:
    return value is not None and (type(value) in _ATOMS or getattr(value, "shape", None) in ((), (1,)))


class _Tensor(_Kept):
    """A tensor: its numbers, its memory (``t.data = ...`` gives it another), requires_grad and grad."""

    def __init__(self, torch: Any, path: str, target: Any) -> None:
        self.torch, self.path, self.target = torch, path, target
        self.memory = target.detach()
        self.was = self.memory.clone()
        self.requires_grad, self.grad = target.requires_grad, target.grad if target.is_leaf else None

    def shares(self, other: Any) -> bool:
        return bool(self.memory.untyped_storage().data_ptr() == other.untyped_storage().data_ptr())

    def counters(self) -> list[str]:
        changed = self.memory.numel() == 1 and not _same_bits(self.torch, self.memory, self.was)
        return [self.path] if changed else []

    def put_back(self) -> list[str]:
        t, changed = self.target, False
        if t.data_ptr() != self.memory.data_ptr() or t.shape != self.memory.shape or t.dtype != self.memory.dtype:
            t.data = self.memory
            changed = True
        if not _same_bits(self.torch, self.memory, self.was):
            with self.torch.inference_mode(self.memory.is_inference()):
                self.memory.copy_(self.was)
            changed = True
        if t.is_leaf:
            if t.requires_grad != self.requires_grad:
                t.requires_grad_(self.requires_grad)
            if t.grad is not self.grad:
                t.grad = self.grad
        return [self.path] if changed else []


class _Watched(_Kept):
    """A tensor of a kind that cannot be copied back, such as a sparse one: a change is found out."""

    def __init__(self, path: str, target: Any) -> None:
        self.path, self.target, self.version = path, target, self._version(target)

    @staticmethod
    def _version(tensor: Any) -> int:
        return 0 if tensor.is_inference() else int(tensor._version)

    def put_back(self) -> list[str]:
        if self._version(self.target) != self.version:
            raise ConvertError(f"the module's forward changes {self.path} in place, which cannot be put back")
        return []


def _same_bits(torch: Any, a: Any, b: Any) -> bool:
    if torch.equal(a, b):
        return True
    return bool(((a == b) | ((a != a) & (b != b))).all())  # NaN is as it was, too


# -- the process --------------------------------------------------------------------------------------


@contextmanager
def undisturbed(torch: Any) -> Iterator[None]:
    """Runs forwards in eager mode, without gradients or autocast; puts the process back as it was.

    Put back are the random generators (Python, NumPy, torch and its CUDA devices), the default dtype and
    the grad mode, whatever the forward does with them.
    """
    cuda = torch.cuda.is_initialized()
    was = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    cuda_rng = torch.cuda.get_rng_state_all() if cuda else []
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.autocast("cpu", enabled=False))
            if cuda:
                stack.enter_context(torch.autocast("cuda", enabled=False))
            if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(torch.no_grad())
            yield
    finally:
        random.setstate(was[0])
        np.random.set_state(was[1])
        torch.set_rng_state(was[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda_rng)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
