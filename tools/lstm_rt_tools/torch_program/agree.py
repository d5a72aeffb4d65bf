"""Sizes that must agree in an operation: what tells a clear error, and which sizes an input must have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..program.machine import ProgramError, Tensor
from ..program.vocabulary import BINARY

#: A size that is there, the one that there has to be, and what it is of.
Pair: TypeAlias = tuple[int, int, str]


class SizesDiffer(ProgramError):
    """Two sizes differ that must agree.

    Attributes:
        both: the two, that of the input's side first where that is known.
    """

    def __init__(self, message: str, op: str, sizes: tuple[int, int]) -> None:
        super().__init__(message, op)
        self.both = sizes


class ShapesDiffer(ProgramError):
    """An array has more or fewer numbers than the shape that it is to have."""


class DimsDiffer(SizesDiffer):
    """An input has more or fewer dimensions than it must have."""


class WantsType(ProgramError):
    """Floats are used as something else: the input that ``tensor`` comes from must be of another type, ``dtype``."""

    def __init__(self, message: str, op: str, tensor: Tensor, dtype: type[np.generic]) -> None:
        super().__init__(message, op)
        self.tensor, self.dtype = tensor, np.dtype(dtype)


def pairs(op: str, args: Sequence[Tensor | None], options: Mapping[str, Any]) -> Iterator[Pair]:
    """The sizes that an operation of the vocabulary needs to be the same."""
    rule = _RULES.get(op)
    given = [a for a in args if a is not None]
    if rule is not None and given:
        yield from rule(list(args), options)


def _matmul(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    a, b = args
    if a.ndim and b.ndim:
        yield a.shape[-1], b.shape[-2 if b.ndim > 1 else 0], "features"
        for m, n in zip(reversed(a.shape[:-2]), reversed(b.shape[:-2]), strict=False):
            if 1 not in (m, n):
                yield m, n, "a dimension"


def _recurrent(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    x, *states = args
    weights = options["weights"]
    if x.ndim != 3:
        yield x.ndim, 3, "dimensions of the input"
        return
    yield x.shape[2], weights["w_ih"].shape[1], "features of the input"
    directions = 2 if options.get("direction") == "bidirectional" else 1
    units = (weights["w_hh"].shape[1], int(options["hidden_size"]))
    for state, size in zip(states, units, strict=False):
        if state is not None and state.ndim == 3:
            yield state.shape[0], directions, "directions of the initial state"
            yield state.shape[1], x.shape[1], "rows of the initial state"
            yield state.shape[2], size, "units of the initial state"


def _conv(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    x, w = args[:2]
    yield x.ndim, w.ndim, "dimensions of the input"
    yield x.shape[1], w.shape[1] * int(options.get("groups", 1)), "channels of the input"


def _batch_norm(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    x, mean = args[:2]
    axis = int(options.get("axis", 1))
    if axis < x.ndim:
        yield x.shape[axis], mean.data.size, "channels of the input"


def _layer_norm(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    x, gamma = args[0], args[1] if len(args) > 1 else None
    if gamma is not None and gamma.ndim <= x.ndim:
        for got, wanted in zip(x.shape[x.ndim - gamma.ndim :], gamma.shape, strict=True):
            yield got, wanted, "features"


def _group_norm(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    x, gamma = args[0], args[1] if len(args) > 1 else None
    if gamma is not None and x.ndim > 1:
        yield x.shape[1], gamma.data.size, "channels of the input"


def _broadcast(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    first = args[0]
    for other in args[1:]:
        if other is None:
            continue
        for m, n in zip(reversed(first.shape), reversed(other.shape), strict=False):
            if 1 not in (m, n):
                yield (n, m, "a dimension") if first.known else (m, n, "a dimension")


def _concat(args: list[Any], options: Mapping[str, Any]) -> Iterator[Pair]:
    first, *others = args
    axis = options["axis"] % max(first.ndim, 1)
    for other in others:
        if other.ndim == first.ndim:
            for i, (m, n) in enumerate(zip(first.shape, other.shape, strict=True)):
                if i != axis:
                    yield (n, m, "a dimension") if first.known else (m, n, "a dimension")


_RULES: dict[str, Callable[[list[Any], Mapping[str, Any]], Iterator[Pair]]] = {
    **dict.fromkeys(BINARY, _broadcast),
    "where": _broadcast,
    "matmul": _matmul,
    **dict.fromkeys(("lstm", "gru", "rnn"), _recurrent),
    "conv": _conv,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "concat": _concat,
}


def check(op: str, args: Sequence[Tensor | None], options: Mapping[str, Any], where: str) -> None:
    """Raise where sizes differ that must agree.

    Raises:
        SizesDiffer: the message names both sizes.
        WantsType: a table is looked up by floats.
    """
    for got, wanted, what in pairs(op, args, options):
        if got != wanted:
            kind = DimsDiffer if what.startswith("dimensions") else SizesDiffer
            raise kind(f"{op}{where}: {got} {what}, expected {wanted}", op, (got, wanted))
    if op in ("index_select", "gather_elements", "one_hot"):
        index = args[0 if op == "one_hot" else 1]
        if index is not None and index.dtype.kind == "f":
            raise WantsType(f"{op}{where}: it is asked for by floats, expected whole numbers", op, index, np.int64)
