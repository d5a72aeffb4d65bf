"""A pickle reader that cannot run code: it interprets the opcodes itself.

Python's own ``Unpickler`` calls what the file names. This one knows a closed list of harmless
constructors (:data:`SafePickle.calls`); every other call is refused by name. Objects of unknown
classes become :class:`Inert` records that hold their class name and attributes, nothing else, so a
whole pickled ``torch.nn.Module`` can be looked at without importing its code. All memory is
bounded by the size of the file: nothing is allocated from a number that the file merely states.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lstm_rt.errors import ConvertError


@dataclass(frozen=True)
class Global:
    """A name that a pickle refers to, such as ``torch.FloatStorage``; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Inert:
    """An object of a class we do not load: its class, constructor arguments and attributes.

    ``state`` is what it was given to restore itself from, where that are no attributes (arrays).
    """

    cls: Global
    args: tuple[Any, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    state: Any = None


class _Mark:
    """The pickle machine's stack marker."""


_MARK = _Mark()


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    # Protocol 2 spells bytes as a call of _codecs.encode.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError("bytes in an unexpected encoding")
    return text.encode(encoding)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, list | tuple):
        raise ValueError("an OrderedDict built from something that is not a list")
    out: dict[Any, Any] = {}
    for key, value in pairs:
        out[_key(key)] = value
    return out


def _key(key: Any) -> Any:
    # Hashing nested tuples recurses without bounds; nothing we read needs them as keys.
    if isinstance(key, str | int | float | bool | bytes | type(None) | Global):
        return key
    if isinstance(key, tuple) and all(isinstance(k, str | int | float) for k in key):
        return key
    raise ValueError(f"a dictionary key of type {type(key).__name__}")


def _defaultdict(*_: Any) -> dict[Any, Any]:
    return {}


def _to_tuple(value: Any = ()) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("a tuple built from something that is not a list")
    return tuple(value)


def _to_list(value: Any = ()) -> list[Any]:
    return list(_to_tuple(value))


def _path(*parts: Any) -> str:
    return "/".join(str(p) for p in parts if isinstance(p, str))


def _text(*parts: Any) -> str:
    return ":".join(str(p) for p in parts if isinstance(p, str | int))


def _inert_first(cls: Any, *_: Any) -> Inert:
    if not isinstance(cls, Global):
        raise ValueError("an object without a class")
    return Inert(cls)


def _opaque(name: str) -> Callable[..., Inert]:
    module, _, attr = name.rpartition(".")
    return lambda *args: Inert(Global(module, attr), args)


def _complex(re: Any = 0.0, im: Any = 0.0) -> complex:
    return complex(float(re), float(im))


#: What a pickle may call besides the tensor constructors of the caller. All of them only build data.
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _defaultdict,
    "collections.Counter": _ordered_dict,
    "builtins.set": _to_list,
    "__builtin__.set": _to_list,
    "builtins.frozenset": _to_tuple,
    "builtins.list": _to_list,
    "builtins.tuple": _to_tuple,
    "builtins.dict": _ordered_dict,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _inert_first,
    "copy_reg._reconstructor": _inert_first,
    "torch.Size": _to_tuple,
    "torch.device": _text,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "pathlib.PurePosixPath": _path,
    "pathlib._local.PosixPath": _path,
    "pathlib._local.WindowsPath": _path,
    "numpy.dtype": _opaque("numpy.dtype"),
    "numpy.core.multiarray.scalar": _opaque("numpy.scalar"),
    "numpy._core.multiarray.scalar": _opaque("numpy.scalar"),
    "numpy.core.multiarray._reconstruct": _opaque("numpy.ndarray"),
    "numpy._core.multiarray._reconstruct": _opaque("numpy.ndarray"),
    "datetime.datetime": _opaque("datetime.datetime"),
    "datetime.timedelta": _opaque("datetime.timedelta"),
}

_LITERALS = frozenset(
    [
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
        "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
        "BINUNICODE", "BINUNICODE8",
    ]
)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})
#: Elements that all calls of one pickle may copy together: a file can name one long list many times.
_COPY_BUDGET = 1 << 24


class SafePickle:
    """Reads one pickle at a time from ``stream``.

    Args:
        what: name of the file, for messages.
        stream: binary stream; left just behind the pickle's last byte.
        calls: further constructors by dotted name, called with the arguments in the file.
        persistent: resolves a persistent id (storages in torch files).
    """

    def __init__(
        self,
        what: str,
        stream: BinaryIO,
        calls: dict[str, Callable[..., Any]] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.what = what
        self.stream = stream
        self.calls = {**_CALLS, **(calls or {})}
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.budget = _COPY_BUDGET

    def load(self) -> Any:
        """The next object in the stream.

        Raises:
            ConvertError: the pickle is truncated or malformed, or wants to call something that is
                not on the list (named in the message).
        """
        self.stack, self.memo = [], {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about escapes in text that damage has made odd
                return self._run()
        except ConvertError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as e:
            raise ConvertError(f"{self.what}: the pickled part is damaged or truncated ({e})") from None

    def _run(self) -> Any:
        for op, arg, _ in pickletools.genops(self.stream):
            if op.name == "STOP":
                return self._pop()
            self._step(op.name, arg)
        raise ValueError("it ends without a STOP")

    # -- the machine ----------------------------------------------------------------------------

    def _step(self, op: str, arg: Any) -> None:
        if op in _LITERALS:
            self.stack.append(arg)
        elif op in _CONSTANTS:
            self.stack.append(_CONSTANTS[op])
        elif op not in _IGNORED:
            handler = getattr(self, "_op_" + op.lower(), None)
            if handler is None:
                raise ConvertError(f"{self.what}: pickle operation {op} is not used by torch.save; refused")
            handler(arg)

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("unexpected mark")
        return value

    def _pop_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise ValueError("no mark on the stack")

    def _op_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _op_pop(self, _: Any) -> None:
        self.stack.pop()

    def _op_pop_mark(self, _: Any) -> None:
        self._pop_mark()

    def _op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _op_empty_list(self, _: Any) -> None:
        self.stack.append([])

    _op_empty_set = _op_empty_list

    def _op_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _op_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _op_list(self, _: Any) -> None:
        self.stack.append(self._pop_mark())

    def _op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._pop_mark()))

    _op_frozenset = _op_tuple

    def _op_tuple1(self, _: Any) -> None:
        self.stack.append((self._pop(),))

    def _op_tuple2(self, _: Any) -> None:
        b, a = self._pop(), self._pop()
        self.stack.append((a, b))

    def _op_tuple3(self, _: Any) -> None:
        c, b, a = self._pop(), self._pop(), self._pop()
        self.stack.append((a, b, c))

    def _op_dict(self, _: Any) -> None:
        items = self._pop_mark()
        self.stack.append({})
        self._set_items(items)

    def _op_append(self, _: Any) -> None:
        value = self._pop()
        self._extend([value])

    def _op_appends(self, _: Any) -> None:
        self._extend(self._pop_mark())

    _op_additems = _op_appends

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target = target.items
        if not isinstance(target, list):
            raise ValueError("append to something that is not a list")
        target.extend(values)

    def _op_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _op_setitems(self, _: Any) -> None:
        self._set_items(self._pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items.extend(items)
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items set on something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _op_get(self, arg: Any) -> None:
        self.stack.append(self.memo[arg])

    _op_binget = _op_long_binget = _op_get

    def _op_put(self, arg: Any) -> None:
        self.memo[arg] = self.stack[-1]

    _op_binput = _op_long_binput = _op_put

    def _op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _op_global(self, arg: Any) -> None:
        module, _, name = arg.partition(" ")
        self.stack.append(Global(module, name))

    def _op_stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a global whose name is not text")
        self.stack.append(Global(module, name))

    def _op_reduce(self, _: Any) -> None:
        args, function = self._pop(), self._pop()
        self.stack.append(self._call(function, args))

    def _op_inst(self, arg: Any) -> None:
        module, _, name = arg.partition(" ")
        args = tuple(self._pop_mark())
        self.stack.append(self._call(Global(module, name), args))

    def _op_obj(self, _: Any) -> None:
        function, *args = self._pop_mark()
        self.stack.append(self._call(function, tuple(args)))

    def _op_newobj(self, _: Any) -> None:
        args, cls = self._pop(), self._pop()
        self.stack.append(self._new(cls, args))

    def _op_newobj_ex(self, _: Any) -> None:
        self._pop()  # keyword arguments: not needed to look at an object
        self._op_newobj(None)

    def _op_build(self, _: Any) -> None:
        state = self._pop()
        target = self.stack[-1]
        if isinstance(state, tuple) and len(state) == 2 and isinstance(target, Inert):
            self._update(target, state[0])
            state = state[1]
        if isinstance(target, Inert):
            self._update(target, state)
        elif not isinstance(target, dict):
            # An OrderedDict of a state dict carries `_metadata`; tensors carry attributes. Not needed.
            raise ValueError(f"state set on a {type(target).__name__}")

    @staticmethod
    def _update(target: Inert, state: Any) -> None:
        if isinstance(state, dict):
            target.attrs.update({k: v for k, v in state.items() if isinstance(k, str)})
        elif state is not None:
            target.state = state

    def _op_binpersid(self, _: Any) -> None:
        self._persist(self._pop())

    def _op_persid(self, arg: Any) -> None:
        self._persist(arg)

    def _persist(self, pid: Any) -> None:
        if self.persistent is None:
            raise ConvertError(f"{self.what}: a persistent id in a pickle that should have none")
        self.stack.append(self.persistent(pid))

    # -- what may be built ----------------------------------------------------------------------

    def _call(self, function: Any, args: Any) -> Any:
        name = str(function) if isinstance(function, Global) else type(function).__name__
        known = self.calls.get(name) if isinstance(function, Global) else None
        if known is None:
            raise ConvertError(
                f"{self.what}: the file wants to call {name}, which is refused: files are read, never run. "
                "Save a plain state dict (torch.save(model.state_dict(), ...)) and convert that"
            )
        if not isinstance(args, tuple):
            raise ValueError(f"arguments of {name} are not a tuple")
        self.budget -= sum(len(a) for a in args if isinstance(a, list | tuple | dict | str | bytes))
        if self.budget < 0:
            raise ValueError("it copies far more data than it holds")
        return known(*args)

    def _new(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise ValueError("an object without a class")
        known = self.calls.get(str(cls))
        return known(*args) if known is not None else Inert(cls, args)
