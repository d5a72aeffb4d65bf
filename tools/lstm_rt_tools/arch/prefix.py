"""Prefixes of weights in an architecture file that are not quite those of the weight file.

Users write the names of their network (``lstm``); the file may have them below the attribute in
which a wrapper keeps the network (``model.lstm``), or the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lstm_rt.errors import ConvertError, did_you_mean
from lstm_rt.graph import GATES

from ..names import listed, shown
from ..weights.state_dict import Weights, join


@dataclass(frozen=True)
class Shift:
    """How prefixes in the arch file become those of the weight file: ``drop`` goes, ``add`` comes."""

    drop: str = ""
    add: str = ""

    def __call__(self, name: str) -> str:
        if self.drop:
            name = name.removeprefix(self.drop).removeprefix(".")
        return join(self.add, name) if name and self.add else name or self.add

    def note(self) -> str:
        """What was done, for the user."""
        if self.add:
            return f"the weights of every layer were found below {shown(self.add)!r}, which the arch file does not name"
        return f"the arch file puts {shown(self.drop)!r} before every prefix; the names of the weights are without it"


def find_shift(layers: Sequence[tuple[str, str, str]], weights: Weights) -> Shift:
    """The one shift that makes every prefix the start of some weight's name.

    Args:
        layers: a title for messages, the op and the prefix of every layer with weights.

    Raises:
        ConvertError: some prefix has no weights, and no single shift mends them all; the nearest
            prefixes that exist are named.
    """
    owners = _owners(weights)
    wrong = [(title, op, p) for title, op, p in layers if p not in owners]
    if not wrong:
        return Shift()
    prefixes = [p for _, _, p in layers]
    shifts = [s for s in _shifts(prefixes, owners) if all(s(p) in owners for p in prefixes)]
    if len(shifts) == 1:
        return shifts[0]
    title, op, prefix = wrong[0]
    fitting = [o for o in owners if o and _fits(op, o, weights)] or [o for o in owners if o]
    none = f"starts with {prefix + '.'!r}" if prefix else "has a name without a dot, as weights = \"\" says"
    raise ConvertError(
        f"{title}: no weight in {weights.what} {none}; layers that do exist: "
        f"{listed(fitting) or 'none'}{did_you_mean(prefix, fitting)}{weights.where_else(prefix)}"
    )


def _owners(weights: Weights) -> dict[str, None]:
    """Every prefix that some weight has, in the order of the file; "" if a name has no dot."""
    names = [*weights.tensors, *weights.unknown]
    owners: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for k in range(1 if len(parts) > 1 else 0, min(len(parts), 32)):
            owners[".".join(parts[:k])] = None
    return owners


def _shifts(prefixes: Sequence[str], owners: Iterable[str]) -> list[Shift]:
    adds = [Shift(add=o) for o in owners if o]
    first = prefixes[0].split(".")
    drops = [Shift(drop=".".join(first[:k])) for k in range(1, len(first) + 1)]
    return adds + [d for d in drops if all(_starts(p, d.drop) for p in prefixes)]


def _starts(prefix: str, start: str) -> bool:
    return prefix == start or prefix.startswith(start + ".")


def _fits(op: str, owner: str, weights: Weights) -> bool:
    """Whether the weights right at ``owner`` may be those of ``op``."""
    leaves = ("weight_ih_l0", "weight_ih") if op in GATES else ("weight", "running_mean")
    return any(weights.has(join(owner, leaf)) for leaf in leaves)
