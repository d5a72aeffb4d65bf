"""The table of ATen's operations: by its name each one's function, which calls the vocabulary.

A function takes the :class:`~.run.Run` and the arguments of the operation, under the names and with the defaults of
ATen's schema; overloads are told apart by what the arguments are. It gives tensors of the vocabulary, or a
:class:`~.tensors.Var` where the result is a view. Nothing here knows files.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from lstm_rt.errors import ConvertError

from ...program.machine import Tensor
from ..run import Run
from ..tensors import BatchSizes, Complex, Packed, Permutation, Var

_F = TypeVar("_F", bound=Callable[..., Any])
#: Arguments that say where and how a tensor lies in memory, not what is in it.
STORED = ("layout", "device", "pin_memory", "memory_format", "non_blocking", "requires_grad", "names", "generator")
_WRONG = (TypeError, ValueError, AttributeError, IndexError, KeyError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class Row:
    """One operation.

    Attributes:
        function: what it is in the vocabulary.
        plain: it does the same for every row of a table, along the last axis at most: so it goes for packed data.
        tags: what it takes that is none of numbers.
        orders: it knows of the order of rows itself.
    """

    function: Callable[..., Any]
    signature: inspect.Signature
    plain: bool
    tags: tuple[type, ...]
    orders: bool


TABLE: dict[str, Row] = {}
#: What operations of the table do in its place where an argument is complex (:mod:`.complexes`).
COMPLEX: dict[str, Callable[..., Any]] = {}


def op(*names: str, plain: bool = False, tags: tuple[type, ...] = (), orders: bool = False) -> Callable[[_F], _F]:
    """Put a function into the table."""

    def put(function: _F) -> _F:
        for name in names:
            assert name not in TABLE, name
            TABLE[name] = Row(function, inspect.signature(function), plain, tags, orders)
        return function

    return put


def known(name: str) -> bool:
    """Whether the table has an operation, or the one that it is the in-place form of."""
    return name in TABLE or _plain_name(name) in TABLE


def unknown(run: Run, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Var:
    """The result of an operation that the table does not have: an error to whoever reads it.

    Programs compute what they do not use, such as the phase beside the size of a spectrum.

    Raises:
        ConvertError: at once, where it changes an argument, or gives something that may be no tensor.
    """
    error = run.error("this operation of PyTorch is not supported", name)
    if _plain_name(name) or "out" in kwargs or not any(isinstance(a, Var) for a in args):
        raise error

    def read() -> Tensor:
        raise error

    return Var(later=read)


def call(run: Run, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation of ATen's: ``name`` is without namespace and overload.

    Raises:
        ConvertError: it is not in the table, or the arguments do not fit it.
    """
    outer, run.op = run.op, name
    try:
        return _call(run, name, args, kwargs)
    except ConvertError:
        raise
    except _WRONG as e:
        raise run.error(f"its arguments do not fit it ({e})") from e
    finally:
        run.op = outer


def _plain_name(name: str) -> str:
    return name[:-1] if name.endswith("_") and not name.endswith("__") else ""


def _call(run: Run, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    row = TABLE.get(name)
    if row is not None:
        return _applied(run, row, args, kwargs)
    row = TABLE.get(_plain_name(name))
    if row is None:
        raise run.error("this operation of PyTorch is not supported")
    target = args[0] if args else kwargs.get("self")
    if not isinstance(target, Var):
        raise run.error("an operation in place, but not on a tensor")
    run.op = _plain_name(name)  # what several names share asks for its own
    if isinstance(target.tag, Complex):
        raise run.error("complex numbers are written to in place, which is not supported")
    made = _applied(run, row, args, kwargs)
    new = run.cast(run.tensor(made), target.read(run).dtype)
    target.write(run, run.expanded(new, target.shape(run)))
    target.order, target.tag = made.order, made.tag
    return target


def _applied(run: Run, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    kwargs = {k: v for k, v in kwargs.items() if k not in STORED or k in row.signature.parameters}
    out = kwargs.pop("out", None)
    try:
        row.signature.bind(run, *args, **kwargs)
    except TypeError as e:
        raise run.error(f"its arguments are not those of a known overload ({e})") from None
    given = list(_vars((*args, *kwargs.values())))
    if out is None and any(isinstance(v.tag, Complex) for v in given) and run.op in COMPLEX:
        return _wrapped(COMPLEX[run.op](run, *args, **kwargs))
    pack = _check_tags(run, row, given)
    order = None if row.orders else _order(run, given)
    made = _wrapped(row.function(run, *args, **kwargs))
    for var in _vars((made,)):
        if order is not None and var.order is None:
            var.order = order
        if pack is not None and var.tag is None:
            var.tag = pack
    if out is not None:
        out.write(run, run.tensor(made))
        return out
    return made


def _vars(values: Any) -> Iterator[Var]:
    for value in values:
        if isinstance(value, Var):
            yield value
        elif isinstance(value, list | tuple):
            yield from _vars(value)


def _wrapped(made: Any) -> Any:
    if isinstance(made, Tensor):
        return Var(made)
    if isinstance(made, tuple | list):
        return type(made)(_wrapped(m) for m in made)
    return made


_WHAT = {
    Complex: "complex numbers",
    Packed: "the data of a packed sequence",
    BatchSizes: "the batch sizes of a packed sequence",
    Permutation: "the order of a sorted batch",
}


def _check_tags(run: Run, row: Row, given: list[Var]) -> Packed | None:
    """What is none of numbers goes to operations that know it; the tag of the result, where that is packed."""
    pack = None
    for var in given:
        if var.tag is None or isinstance(var.tag, row.tags):
            continue
        if not (row.plain and isinstance(var.tag, Packed)):
            raise run.error(f"it is applied to {_WHAT[type(var.tag)]}, which is not supported")
        if pack is not None and pack.pack is not var.tag.pack:
            raise run.error("it joins two packed sequences")
        pack = Packed(var.tag.pack, clean=False)
    return pack


def _order(run: Run, given: list[Var]) -> object:
    """The order of rows that all arguments share, those aside that depend on no input."""
    orders = {v.order for v in given if v.order is not None}
    if not orders:
        return None
    if len(orders) > 1 or any(v.order is None and not v.read(run).known for v in given):
        raise run.error("it joins rows of a sorted batch with rows in another order")
    return orders.pop()
