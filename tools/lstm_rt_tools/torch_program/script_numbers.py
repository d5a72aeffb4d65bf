"""TorchScript's operations on Python's own values: numbers, strings, lists, dictionaries."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from ..names import shown
from .run import Run
from .tensors import Var

_LONGEST = 1 << 16  #: list or string that code may make
_PLAIN = (bool, int, float, str, type(None))


def _floordiv(a: Any, b: Any) -> Any:
    return a // b


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda a, b: function(a, b)


def _sized(value: Any) -> Any:
    if isinstance(value, list | str | tuple) and len(value) > _LONGEST:
        raise ValueError(f"it makes {len(value)} entries of a list")
    return value


def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    return _sized(a + (b if alpha == 1 else b * alpha))


def _mul(a: Any, b: Any) -> Any:
    for x, y in ((a, b), (b, a)):
        if isinstance(x, list | str | tuple) and len(x) * int(y) > _LONGEST:
            raise ValueError("it makes a list that is too long")
    return a * b


def _pow(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and (abs(a) > 1 << 31 or abs(b) > 64):
        raise ValueError("a power of whole numbers beyond 64 bits")
    return a**b


def _shift(a: int, b: int) -> int:
    if not 0 <= b < 64:
        raise ValueError("a shift beyond 64 bits")
    return a << b


def _slice(x: Any, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    return x[slice(start, end, step)]


def _getitem(x: Any, i: Any) -> Any:
    return x[i]


def _setitem(x: Any, i: Any, value: Any) -> Any:
    x[i] = value
    return x


def _delitem(x: Any, i: Any) -> None:
    del x[i]


def _append(x: list[Any], value: Any) -> list[Any]:
    x.append(value)
    _sized(x)
    return x


def _extend(x: list[Any], more: Any) -> None:
    x.extend(more)
    _sized(x)


def _pop(x: Any, i: Any = -1, *default: Any) -> Any:
    return x.pop(i, *default)


def _insert(x: list[Any], i: int, value: Any) -> None:
    x.insert(i, value)


def _format(text: str, *args: Any) -> str:
    for arg in args:
        text = text.replace("{}", str(arg) if isinstance(arg, (*_PLAIN, list, tuple)) else type(arg).__name__, 1)
    return text[:1000]


def _percent(text: str, *args: Any) -> str:
    return f"{text[:500]} {args!s:.500}"


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: function(*values)


def _derive_index(i: int, start: int, step: int) -> int:
    return start + i * step


def _range_length(low: int, high: int, step: int) -> int:
    return len(range(low, high, step))


def _sum(values: list[Any]) -> Any:
    return sum(values)


def _is(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, _PLAIN) and type(a) is type(b) and a == b)


def _sort(x: list[Any], reverse: bool = False) -> None:
    x.sort(reverse=reverse)


def _index(x: list[Any], value: Any) -> int:
    return x.index(value)


def _update(x: dict[Any, Any], more: dict[Any, Any]) -> None:
    x.update(more)


def _round(x: float) -> float:
    return float(round(x))


#: By the name of the operation. None of them takes a tensor but as an entry of a list or dictionary.
PLAIN: dict[str, Callable[..., Any]] = {
    "add": _add,
    "add_": _add,
    "sub": _binary(operator.sub),
    "mul": _mul,
    "div": _binary(operator.truediv),
    "floordiv": _floordiv,
    "floor_divide": _floordiv,
    "remainder": _binary(operator.mod),
    "fmod": math.fmod,
    "pow": _pow,
    "neg": operator.neg,
    "abs": abs,
    "eq": _binary(operator.eq),
    "ne": _binary(operator.ne),
    "lt": _binary(operator.lt),
    "le": _binary(operator.le),
    "gt": _binary(operator.gt),
    "ge": _binary(operator.ge),
    "__is__": _is,
    "__isnot__": lambda a, b: not _is(a, b),
    "__not__": operator.not_,
    "__and__": _binary(operator.and_),
    "__or__": _binary(operator.or_),
    "__xor__": _binary(operator.xor),
    "__lshift__": _shift,
    "__rshift__": lambda a, b: a >> b if 0 <= b < 64 else 0,
    "__contains__": lambda x, value: value in x,
    "__getitem__": _getitem,
    "__derive_index": _derive_index,
    "__range_length": _range_length,
    "len": len,
    "slice": _slice,
    "append": _append,
    "extend": _extend,
    "pop": _pop,
    "insert": _insert,
    "clear": lambda x: x.clear(),
    "reverse": lambda x: x.reverse(),
    "copy": lambda x: x.copy(),
    "list": list,
    "sort": _sort,
    "index": _index,
    "count": lambda x, value: x.count(value),
    "_set_item": _setitem,
    "Delete": _delitem,
    "keys": lambda x: list(x.keys()),
    "values": lambda x: list(x.values()),
    "items": lambda x: list(x.items()),
    "get": lambda x, key, default=None: x.get(key, default),
    "setdefault": lambda x, key, default: x.setdefault(key, default),
    "update": _update,
    "dict": dict,
    "format": _format,
    "percentFormat": _percent,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": _round,
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": _sum,
    "all": all,
    "any": any,
    "Int": int,
    "Float": float,
    "Bool": bool,
    "str": str,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "split": lambda x, *rest: x.split(*[r for r in rest if r is not None]),
    "join": lambda sep, parts: _sized(sep.join(parts)),
    "replace": lambda x, a, b, n=-1: _sized(x[:_LONGEST].replace(a[:_LONGEST], b[:100], n)),
    "isfinite": math.isfinite,
    "isinf": math.isinf,
    "isnan": math.isnan,
}
#: Of these a tensor may be the container's entry that is put, or what is compared by identity.
_WITH_TENSORS = frozenset(
    ["__is__", "__isnot__", "append", "extend", "insert", "_set_item", "setdefault", "update", "get", "len", "list",
     "slice", "__getitem__", "pop", "add", "mul", "values", "items", "keys", "__contains__", "copy", "reverse",
     "clear", "format", "dict", "add_", "Delete"]
)  # fmt: skip
_ERRORS = (TypeError, ValueError, IndexError, KeyError, ZeroDivisionError, OverflowError, AttributeError,
           RecursionError)  # fmt: skip


def applies(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation is one on Python's values: by its name and its arguments."""
    if name not in PLAIN:
        return False
    if name in ("__is__", "__isnot__"):
        return True
    if any(isinstance(a, Var) for a in args):
        return isinstance(args[0], list | tuple | dict) and name in _WITH_TENSORS
    return name in _WITH_TENSORS or not any(_has_tensor(a) for a in args)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Var) or (isinstance(value, list | tuple) and any(isinstance(v, Var) for v in value))


def apply(run: Run, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The value of an operation on Python's values.

    Raises:
        ConvertError: it raises in PyTorch, too, or makes something absurd.
    """
    try:
        made = PLAIN[name](*args, **kwargs)
    except _ERRORS as e:
        raise run.error(f"on {_kinds(args)}: {shown(str(e))}", name) from None
    if isinstance(made, int) and not isinstance(made, bool) and abs(made) >= 1 << 64:
        raise run.error("a whole number beyond 64 bits", name)
    return made


def _kinds(args: tuple[Any, ...]) -> str:
    return ", ".join(type(a).__name__ for a in args[:5]) or "nothing"
