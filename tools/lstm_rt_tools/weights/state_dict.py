"""A PyTorch state dict in use: which weights layers have taken, and which are left over."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError, did_you_mean
from lstm_rt.graph import Array

from ..names import listed, shown
from .budget import Budget
from .find import place
from .tensors import FLOATS, Tensor

#: Names that scripts give to learned initial states.
INITIAL = re.compile(r"init|hidden|state|^[hc]_?[0x]$", re.IGNORECASE)

_FEW = 4  #: patterns that a message shows


def _is_counter(name: str, tensor: Tensor) -> bool:
    """Does training keep it and inference not need it: one whole number, such as of the batches seen?"""
    return name.rpartition(".")[2] == "num_batches_tracked" or (not tensor.shape and tensor.dtype not in FLOATS)


class Weights:
    """A state dict that remembers which of its weights have been used.

    Args:
        tensors: the state dict.
        what: name of the file, for messages.
        budget: of the file, for what is made of the weights.
        beside: arrays outside of the state dict, by dotted path; they may be initial states.
        elsewhere: weights in other places of the file, with the ``checkpoint`` key there.
        stored: names in the file whose weights went into those of ``tensors``; nothing is left of them.
        unknown: weights whose stored form cannot be undone, and why.
        numbers: what else the file holds at a dotted path, if that is a number or a list of numbers.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        what: str,
        budget: Budget | None = None,
        *,
        beside: Mapping[str, Tensor] | None = None,
        elsewhere: Mapping[str, str] | None = None,
        stored: Sequence[str] = (),
        unknown: Mapping[str, str] | None = None,
        numbers: Callable[[str], Array | None] | None = None,
    ) -> None:
        self.tensors = dict(tensors)
        self.what = what
        self.budget = budget or Budget(0, what)
        self.beside = dict(beside or {})
        self.elsewhere = dict(elsewhere or {})
        self.stored = stored
        self.unknown = dict(unknown or {})
        self.numbers = numbers or (lambda name: None)
        self.notes: list[str] = []
        self._used: dict[str, None] = {}  #: in the order in which they were

    def has(self, name: str) -> bool:
        return name in self.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a weight; :class:`ConvertError` if there is none of that name."""
        if name in self.unknown:
            raise ConvertError(f"{self.what}: weight '{shown(name)}': {self.unknown[name]}")
        if name not in self.tensors:
            owner = name.rpartition(".")[0]
            there = [n for n in self.tensors if n.rpartition(".")[0] == owner] or sorted(self.tensors)
            raise ConvertError(
                f"{self.what}: there is no weight '{shown(name)}'; there is {listed(there)}"
                f"{did_you_mean(name, self.tensors)}{self.where_else(name)}"
            )
        return self.tensors[name].shape

    def where_else(self, prefix: str) -> str:
        """Advice for messages, if what is missing lies in another place of the file."""
        key = next((k for n, k in self.elsewhere.items() if n == prefix or n.startswith(prefix + ".")), None)
        if key is None:
            return ""
        return (
            f'; it is in the file at checkpoint = "{shown(key)}": a list of such places takes their weights together'
        )

    def take(self, name: str) -> Array:
        """A weight as float32, marked as used."""
        self.shape(name)
        self._used[name] = None
        return self.tensors[name].array(f"{self.what}: weight {shown(name)}")

    def maybe(self, name: str) -> Array | None:
        """Like :meth:`take`, or ``None`` if there is no such weight."""
        return self.take(name) if name in self.tensors or name in self.unknown else None

    def take_beside(self, name: str) -> Array | None:
        """An array or a list of numbers beside the state dict as float32, marked as used; None if there is none."""
        if name not in self.beside:
            return self.numbers(name)
        self._used[name] = None
        return self.beside[name].array(f"{self.what}: {shown(name)}").reshape(self.beside[name].shape)

    def check_all_used(self, ignore: Sequence[str] = (), below: str = "") -> None:
        """Raise :class:`ConvertError` listing the weights that no layer took, and note arrays beside them.

        Args:
            ignore: names or shell patterns (``decoder.*``) of weights that may be left.
            below: a prefix that the patterns may leave out.
        """
        left = [n for n, t in self.tensors.items() if n not in self._used and not _is_counter(n, t)]
        left += [n for n, t in self.beside.items() if n not in self._used and self._initial(n, t)]
        known = [*self.tensors, *self.beside, *self.stored]
        for pattern in ignore:
            patterns = (pattern, join(below, pattern))
            if not any(fnmatchcase(n, p) for n in known for p in patterns):
                near = did_you_mean(pattern, known)
                raise ConvertError(f"{self.what}: ignore pattern {pattern!r} matches no weight{near}")
            left = [n for n in left if not any(fnmatchcase(n, p) for p in patterns)]
        twins = self._twins(left)
        if twins:
            pairs = listed([f"{name} is {twin}" for name, twin in twins.items()])
            self.notes.append(f"one weight under two names: {pairs}")
        left = [n for n in left if n not in twins]
        if left:
            raise ConvertError(f"{self.what}: {self._unused(left)}")
        self._note_beside(ignore)

    def _unused(self, left: list[str]) -> str:
        shapes = {n: (self.tensors.get(n) or self.beside[n]) for n in left}
        names = listed([f"{n} {t.shape}" for n, t in shapes.items()])
        count = "1 weight is" if len(left) == 1 else f"{len(left)} weights are"
        text = f"{count} not used by any layer: {names}"
        state = next((n for n, t in shapes.items() if self._initial(n, t)), None)
        if state is None:
            return f'{text}; if the model runs without, ignore = [{_patterns(left)}] in the arch file leaves them out'
        return (
            f'{text}; {shown(state)} seems to be an initial state: h0 = "{shown(state)}" in the layer takes it, or '
            f'ignore = ["{shown(state)}"] leaves it out, to give it as state= at run time'
        )

    @cached_property
    def _hidden_sizes(self) -> set[int]:
        return {t.shape[1] for n, t in self.tensors.items() if "weight_hh" in n and len(t.shape) == 2}

    def _initial(self, name: str, tensor: Tensor) -> bool:
        """Whether an array may be a learned initial state: by its name, and a shape without a batch."""
        shape = tensor.shape
        fits = 0 < len(shape) < 4 and shape[-1] in self._hidden_sizes and all(n == 1 for n in shape[1:-1])
        return fits and tensor.dtype in FLOATS and bool(INITIAL.search(name.rpartition(".")[2]))

    def _twins(self, left: list[str]) -> dict[str, str]:
        """Of weights that were not used: which are used ones, saved under a second name (tied weights)."""
        left = [n for n in left if n in self.tensors]
        shapes = {self.tensors[n].shape for n in left}
        used = [n for n in self._used if n in self.tensors and self.tensors[n].shape in shapes]
        known = {key: n for n in reversed(used) for key in self._fingerprints(n)}
        return {n: known[key] for n in left for key in self._fingerprints(n) if key in known}

    def _fingerprints(self, name: str) -> list[Any]:
        """What tells a weight from others: its place in the file, and the numbers of a trained matrix."""
        tensor = self.tensors[name]
        if tensor.dtype not in FLOATS:
            return []
        keys: list[Any] = [place(tensor)]
        if len(tensor.shape) > 1:
            numbers = tensor.array(f"{self.what}: weight {shown(name)}")
            if numbers.size and np.any(numbers != numbers.flat[0]):  # constants are what was never trained
                keys.append((tensor.shape, hashlib.sha256(numbers.data).digest()))
        return keys

    def _note_beside(self, ignore: Sequence[str]) -> None:
        left = [
            f"{n} {t.shape}"
            for n, t in self.beside.items()
            if n not in self._used and t.dtype in FLOATS and t.shape and not any(fnmatchcase(n, p) for p in ignore)
        ]
        if left:
            self.notes.append(f"arrays beside the weights are not used: {listed(left)}")


def _patterns(names: list[str]) -> str:
    """What to write for ``ignore``: a pattern for the names of each module, a name where it is alone."""
    modules = Counter(name.partition(".")[0] for name in names)
    firsts = {name.partition(".")[0]: name for name in reversed(names)}
    patterns = [f'"{shown(f"{m}.*" if n > 1 else firsts[m])}"' for m, n in modules.items()]
    return ", ".join(patterns[:_FEW]) + (", ..." if len(patterns) > _FEW else "")


def join(prefix: str, name: str) -> str:
    """A weight's full name."""
    return f"{prefix}.{name}" if prefix else name
