"""Checks of what a recurrent node is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from numpy.typing import ArrayLike

from ._checks import Array, weight
from .activations import NOT_ELEMENTWISE, Activation, as_activation
from .errors import GraphError
from .ops import GATES, cell_of


def cell_activations(op: str, given: Sequence[str | Activation] | None) -> tuple[Activation, ...]:
    defaults = cell_of(op).activations
    if isinstance(given, (str, Activation)) or not (given is None or isinstance(given, Iterable)):
        raise GraphError(f"{op}: activations is {given!r}, expected a list of {len(defaults)}")
    acts = tuple(as_activation(a) for a in (defaults if given is None else given))
    if len(acts) != len(defaults):
        raise GraphError(f"{op}: {len(acts)} activations given, expected {len(defaults)}")
    for a in acts:
        if a.name in NOT_ELEMENTWISE:
            raise GraphError(f"{op}: {a.name} cannot be a gate activation, it mixes features")
    return acts


def recurrent_weights(
    op: str, given: Mapping[str, ArrayLike | None], suffixes: tuple[str, ...], hidden: int, inputs: int
) -> tuple[dict[str, Array], int]:
    """Check all weights of a recurrent layer; returns them and the size of ``h``."""
    names = cell_of(op).weights
    known = {name + s for name in names for s in suffixes}
    unknown = sorted(k for k, w in given.items() if w is not None and k not in known)
    if unknown:
        raise GraphError(f"{op}: unexpected weights {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
    rows = GATES[op] * hidden
    w_hr = given.get("w_hr")
    r = hidden if w_hr is None else weight(op, "w_hr", w_hr, (None, hidden), True).shape[0]
    shapes: dict[str, tuple[int | None, ...]] = {
        "w_ih": (rows, inputs),
        "w_hh": (rows, r),
        "b_ih": (rows,),
        "b_hh": (rows,),
        "w_hr": (r, hidden),
        "peephole": (3, hidden),
    }
    out: dict[str, Array] = {}
    for s in suffixes:
        for name in names:
            array = given.get(name + s)
            if array is not None:
                out[name + s] = weight(op, name + s, array, shapes[name], name in ("w_ih", "w_hh", "w_hr"))
            elif name in ("w_ih", "w_hh"):
                raise GraphError(f"{op}: weight {name + s} is missing")
    for name in names:
        if len({name + s in out for s in suffixes}) > 1:
            raise GraphError(f"{op}: {name} is given for one direction only")
    return out, r
