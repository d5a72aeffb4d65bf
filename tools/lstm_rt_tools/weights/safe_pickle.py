"""A pickle reader that cannot run code: it interprets the opcodes itself.

Python's own ``Unpickler`` calls what the file names. This one knows a closed list of harmless
constructors (:data:`_CALLS` and those its caller adds); every other call, like every object of an
unknown class, becomes an :class:`Inert` record that holds the name and the arguments, nothing else.
So whatever a checkpoint holds beside its weights is looked at without importing or running anything,
and a whole pickled ``torch.nn.Module`` can be. What is made is charged to the file's
:class:`~.budget.Budget` before it is made.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, BinaryIO

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget

_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle refers to, such as ``torch.FloatStorage``; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        # Cut where it is longer than any that we know: a file can name one of a megabyte in every byte.
        return f"{self.module[:_LONGEST_NAME]}.{self.name[:_LONGEST_NAME]}"


@dataclass(eq=False, slots=True)
class Inert:
    """What we do not make: its class or function, arguments, attributes, and what was put into it.

    ``state`` is what it was given to restore itself from, where that are no attributes (arrays).
    """

    cls: Global
    args: tuple[Any, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    state: Any = None

    def __str__(self) -> str:
        return str(self.cls)


class OpaqueKey:
    """A dictionary key that is equal to nothing but itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return type(self.value).__name__


class _Mark:
    """The pickle machine's stack marker."""


_MARK = _Mark()

# What objects take, in bytes and generously, where sys.getsizeof does not tell beforehand.
_SLOT = 10  #: a reference in a list or tuple, with the room that lists grow by
_ITEM = 100  #: an item of a dictionary
_FIRST_ITEM = 170  #: the first one brings room for several
_CONTAINER = 64
_OBJECT = 320  #: an Inert with its containers, a tensor with its storage
_COST = {"EMPTY_LIST": _CONTAINER, "EMPTY_SET": _CONTAINER, "EMPTY_DICT": _CONTAINER, "TUPLE1": _CONTAINER,
         "TUPLE2": 72, "TUPLE3": 80, "LIST": _CONTAINER, "TUPLE": _CONTAINER, "FROZENSET": _CONTAINER,
         "DICT": _CONTAINER, "GLOBAL": 2 * _CONTAINER, "STACK_GLOBAL": _CONTAINER,
         **dict.fromkeys(("REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BINPERSID", "PERSID"), _OBJECT)}  # fmt: skip


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    # Protocol 2 spells bytes as a call of _codecs.encode.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError("bytes in an unexpected encoding")
    return text.encode(encoding)


def _dict(items: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(items)
    out: dict[Any, Any] = {}
    for pair in items if isinstance(items, list | tuple) else ():
        if isinstance(pair, list | tuple) and len(pair) == 2:
            out[_key(pair[0])] = pair[1]
    return out


def _key(key: Any) -> Any:
    """A key for our dictionaries.

    Only what readers look for stays itself. Others become :class:`OpaqueKey`: lists have no hash, that
    of nested tuples recurses without bounds, and numbers can be chosen so that all their hashes are the
    same, which makes a dictionary of them take hours.
    """
    if isinstance(key, str | bool | bytes | type(None) | float | Global | Inert):
        return key
    if type(key) is int and -(1 << 60) < key < 1 << 60:
        return key
    return OpaqueKey(key)


def _defaultdict(_factory: Any = None, items: Any = (), *_: Any) -> dict[Any, Any]:
    return _dict(items)


def _to_tuple(value: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


def _to_list(value: Any = (), *_: Any) -> list[Any]:
    return list(_to_tuple(value))


def _reconstructor(cls: Any = None, base: Any = None, state: Any = None, *_: Any) -> Inert:
    # How protocol 2 makes objects; subclasses of built-in types bring the base's value.
    if not isinstance(cls, Global):
        raise ValueError("an object without a class")
    return Inert(cls, () if state is None else (state,))


def _made_class(made: Inert) -> Global:
    """The name of a class that the file makes by a call, as cloudpickle and dill write those of scripts."""
    name = next((a for a in made.args if isinstance(a, str)), "")
    return Global(f"{made}()", name[:_LONGEST_NAME])  # the name of no class that we know


#: What a pickle may call besides the tensor constructors of the caller. All of them only build data.
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _defaultdict,
    "collections.Counter": _dict,
    "builtins.set": _to_list,
    "__builtin__.set": _to_list,
    "builtins.frozenset": _to_tuple,
    "__builtin__.frozenset": _to_tuple,
    "builtins.list": _to_list,
    "builtins.tuple": _to_tuple,
    "builtins.dict": _dict,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructor,
    "copy_reg._reconstructor": _reconstructor,
    "torch.Size": _to_tuple,
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


class SafePickle:
    """Reads one pickle at a time from ``stream``.

    Args:
        what: name of the file, for messages.
        stream: binary stream; left just behind the pickle's last byte.
        budget: of the file; without one, what a file of no bytes may take.
        calls: further constructors by dotted name, called with the arguments in the file.
        persistent: resolves a persistent id (storages in torch files).
    """

    def __init__(
        self,
        what: str,
        stream: BinaryIO,
        budget: Budget | None = None,
        calls: dict[str, Callable[..., Any]] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.what = what
        self.stream = stream
        self.budget = budget or Budget(0, what)
        self.calls = {**_CALLS, **(calls or {})}
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: list[Any] = []  #: picklers number what they remember in order,
        self.far_memo: dict[int, Any] = {}  #: and this holds the numbers of those that do not

    def load(self) -> Any:
        """The next object in the stream.

        Raises:
            ConvertError: the pickle is truncated or malformed, or asks for more than its budget.
        """
        self.stack, self.memo, self.far_memo = [], [], {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about escapes in text that damage has made odd
                return self._run()
        except ConvertError:
            raise
        except UnicodeDecodeError as e:
            if e.encoding != "ascii":
                raise ConvertError(f"{self.what}: the pickled part is damaged ({shown(str(e))})") from None
            raise ConvertError(
                f"{self.what}: a text pickle of Python 2 with bytes in its texts, which is not read; write it again: "
                "pickle.dump(pickle.load(f, encoding='latin1'), g, 2)"
            ) from None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as e:
            raise ConvertError(
                f"{self.what}: the pickled part is damaged or truncated ({shown(str(e))})"
            ) from None

    def _run(self) -> Any:
        for op, arg, _ in pickletools.genops(self.stream):
            if op.name == "STOP":
                return self._pop()
            self.budget.memory(_SLOT + _COST.get(op.name, 0))
            self._step(op.name, arg)
        raise ValueError("it ends without a STOP")

    # -- the machine ----------------------------------------------------------------------------

    def _step(self, op: str, arg: Any) -> None:
        if op in _LITERALS:
            self.budget.memory(getsizeof(arg))
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
        items = self._pop_mark()
        self.budget.memory(_SLOT * len(items))
        self.stack.append(items)

    def _op_tuple(self, _: Any) -> None:
        self._op_list(None)
        self.stack[-1] = tuple(self.stack[-1])

    _op_frozenset = _op_tuple

    def _charge_items(self, target: dict[Any, Any], n: int) -> None:
        self.budget.memory(n * _ITEM + (0 if target or not n else _FIRST_ITEM))

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
        self.budget.memory(_SLOT * len(values))
        target.extend(values)

    def _op_setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _op_setitems(self, _: Any) -> None:
        self._set_items(self._pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            self._extend(items)
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items set on something that is not a dictionary")
        self._charge_items(target, len(items) // 2)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _op_get(self, arg: Any) -> None:
        self.stack.append(self.memo[arg] if 0 <= arg < len(self.memo) else self.far_memo[arg])

    _op_binget = _op_long_binget = _op_get

    def _op_put(self, arg: Any) -> None:
        value = self.stack[-1]
        if 0 <= arg < len(self.memo):
            self.memo[arg] = value
        elif arg == len(self.memo):
            self.memo.append(value)
        else:
            self._charge_items(self.far_memo, 1)
            self.far_memo[arg] = value

    _op_binput = _op_long_binput = _op_put

    def _op_memoize(self, _: Any) -> None:
        self._op_put(len(self.memo) + len(self.far_memo))

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
        if not isinstance(target, Inert):
            return  # an OrderedDict carries `_metadata`, tensors carry attributes: not needed
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            self._update(target, state[0])  # of a class with __slots__: (dictionary or None, slots)
            state = state[1]
        self._update(target, state)

    def _update(self, target: Inert, state: Any) -> None:
        if isinstance(state, dict):
            self._charge_items(target.attrs, len(state))
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
        if not isinstance(function, Global):  # the result of another call, say of getattr
            function = Global("builtins", type(function).__name__)
        return self._new(function, args)

    def _new(self, cls: Any, args: Any) -> Any:
        if isinstance(cls, Inert):
            self.budget.memory(3 * _LONGEST_NAME)
            cls = _made_class(cls)
        if not isinstance(cls, Global) or not isinstance(args, tuple):
            raise ValueError("an object without a class, or whose arguments are not a tuple")
        known = self.calls.get(str(cls))
        if known is None:
            return Inert(cls, args)
        # What is known may copy its arguments, and a file can name one long list many times.
        self.budget.memory(_ITEM * sum(len(a) for a in args if isinstance(a, list | tuple | dict | str | bytes)))
        return known(*args)
