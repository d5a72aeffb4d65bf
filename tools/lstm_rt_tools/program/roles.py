"""What the dimensions of a program's inputs may be taken for: rows, steps, or features."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstm_rt._shapes import JOINED

from .labels import N
from .machine import Argument

_BATCH = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)
_TIME = re.compile(r"seq|time|len|step|frame|^(t|l|s)$", re.IGNORECASE)
_STATE = re.compile(r"state|hidden|cell|^[hc][_0-9n]*$|[_.][hc][0-9]*$|^[hc]_?(in|0)", re.IGNORECASE)
_MOST = 256  #: readings of the inputs that are tried


@dataclass(frozen=True)
class Role:
    """An input as the graph is to have it: each of ``dims`` is ``N``, the name of a time axis, or a size."""

    name: str
    kind: str  #: seq, vec, ids or lengths
    dtype: np.dtype[Any]
    dims: tuple[str | int, ...]
    declared: tuple[int | str | None, ...]  #: as the program has them

    def order(self) -> dict[str, Any]:
        """The order of the port: options of :meth:`lstm_rt.graph.Graph.input`."""
        return order_of(self.kind, self.dims)

    def shape(self, rows: int, steps: dict[str, int]) -> tuple[int, ...]:
        """The shape of an array of so many rows and steps."""
        return tuple(d if isinstance(d, int) else rows if d == N else steps[d] for d in self.dims)

    @property
    def declared_rows(self) -> int | None:
        """The rows that the program fixes."""
        found = (d for d, dim in zip(self.declared, self.dims, strict=True) if dim == N)
        return next((d for d in found if isinstance(d, int)), None)

    def with_steps(self, steps: dict[str, int]) -> Role:
        """The input, its steps fixed."""
        pairs = zip(self.declared, self.dims, strict=True)
        fixed = tuple(steps[self.axis] if self.axis is not None and d == self.axis else dim for dim, d in pairs)
        return replace(self, declared=fixed)

    @property
    def axis(self) -> str | None:
        """The name of its time axis."""
        return next((d for d in self.dims if isinstance(d, str) and d != N), None)


def order_of(kind: str, dims: Sequence[str | int]) -> dict[str, Any]:
    """Order, and dimensions where no other order says them, of a port."""
    plain = tuple("T" if isinstance(d, str) and d not in (N, JOINED) else d for d in dims)
    if JOINED in plain:
        return {"order": "shaped", "dims": plain}
    symbols = tuple(d for d in plain if isinstance(d, str))
    last = plain[len(symbols) :]
    features = 1 if kind in ("seq", "vec") or (kind == "ids" and last not in ((), (1,))) else 0
    if plain[: len(symbols)] == symbols and len(last) == features:
        natural = (N, "T") if "T" in symbols else (N,)
        if symbols == natural:
            return {}
        if symbols == ("T", N):
            return {"order": "time_first"}
        if symbols == tuple(s for s in natural if s != N):
            return {"order": "unbatched"}
    if kind == "vec" and len(plain) == 3 and plain[1] == N and isinstance(plain[0], int):
        return {"order": "groups_first", "groups": plain[0]}
    return {"order": "shaped", "dims": plain}


def readings(arguments: Sequence[Argument], unlikely: bool = False) -> Iterator[list[Role]]:
    """Ways to read the inputs, the likeliest first; ``unlikely``: those that come after these."""
    patterns: dict[Any, list[int]] = {}
    for i, a in enumerate(arguments):
        patterns.setdefault(_pattern(a), []).append(i)
    choices = [list(_candidates(arguments[group[0]])) for group in patterns.values()]
    groups = list(patterns.values())
    ranked = sorted(
        itertools.islice(itertools.product(*(range(len(c)) for c in choices)), 1 << 14), key=lambda pick: sum(pick)
    )
    for pick in ranked[_MOST:] if unlikely else ranked[:_MOST]:
        roles: list[Role | None] = [None] * len(arguments)
        for group, options, k in zip(groups, choices, pick, strict=True):
            kind, places = options[k]
            for i in group:
                roles[i] = _role(arguments[i], kind, places)
        made = [r for r in roles if r is not None]
        if _agree(made):
            yield made


def _pattern(a: Argument) -> Any:
    """Inputs of one pattern are read in the same way."""
    sizes = tuple("1" if d == 1 else "n" if isinstance(d, int) else d for d in a.dims)
    return a.dtype.kind, bool(_STATE.search(a.name)), sizes


def _agree(roles: Sequence[Role]) -> bool:
    """Either all inputs have rows, or none; a dimension of one name is the same everywhere."""
    with_rows = [N in r.dims for r in roles]
    names: dict[str, str | int] = {}
    for r in roles:
        for declared, dim in zip(r.declared, r.dims, strict=True):
            if isinstance(declared, str) and names.setdefault(declared, dim) != dim:
                return False
    fixed = {d for r in roles for d, dim in zip(r.declared, r.dims, strict=True) if dim == N and isinstance(d, int)}
    return (all(with_rows) or not any(with_rows)) and len(fixed) < 2


def _role(a: Argument, kind: str, places: tuple[int | None, int | None]) -> Role:
    rows, steps = places
    dims: list[str | int] = []
    for i, d in enumerate(a.dims):
        if i == rows:
            dims.append(N)
        elif i == steps:
            dims.append(d if isinstance(d, str) and d != N else f"steps of {a.name}" if d is None else f"{d} steps")
        else:
            dims.append(d if isinstance(d, int) else 1)
    return Role(a.name, kind, a.dtype, tuple(dims), a.dims)


def _candidates(a: Argument) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Kinds, and places of rows and steps."""
    rank = len(a.dims)
    if not rank or 0 in a.dims or a.dtype.kind not in "fiub":
        return
    integers = a.dtype.kind in "iu"
    if integers and rank == 1:
        yield "lengths", (0, None)
    found: list[tuple[int, str, tuple[int | None, int | None]]] = []
    for rows, steps in itertools.product([*range(rank), None], [*range(rank), None]):
        if rows is not None and rows == steps:
            continue
        cost = _cost(a, rows, steps)
        others = [d for i, d in enumerate(a.dims) if i not in (rows, steps)]
        if cost is not None:
            cost += integers and (steps is None or any(d != 1 for d in others))  # one id at each step is likelier
            kind = "ids" if integers else "vec" if steps is None else "seq"
            found.append((cost, kind, (rows, steps)))
    yield from ((kind, places) for _, kind, places in sorted(found, key=lambda f: f[0]))


def _cost(a: Argument, rows: int | None, steps: int | None) -> int | None:
    """How unlikely a reading is; None if it is impossible."""
    left = [d for i, d in enumerate(a.dims) if i not in (rows, steps)]
    if any(not isinstance(d, int) for d in left):
        return None  # a free dimension must be rows or steps
    cost = 0
    if rows is None:
        cost += 8
    else:
        d = a.dims[rows]
        cost += 3 * rows
        cost += 5 if isinstance(d, int) and d != 1 else 0  # a batch that is fixed to several rows
        cost += 2 if d == 1 and any(not isinstance(e, int) for e in a.dims) and rows > 0 else 0
        cost += -2 if isinstance(d, str) and _BATCH.search(d) else 4 if isinstance(d, str) and _TIME.search(d) else 0
    if steps is None:
        cost += 3
    else:
        d = a.dims[steps]
        cost += -2 if isinstance(d, str) and _TIME.search(d) else 4 if isinstance(d, str) and _BATCH.search(d) else 0
        cost += 2 if isinstance(d, int) else 0
        cost += 3 if d == 1 and (a.dims[:steps].count(1) != steps or steps != len(a.dims) - 2) else 0
        cost += 0 if steps in (0, 1) else 1
        cost += 6 if _STATE.search(a.name) else 0
    return cost
