"""Runs of a program whose inputs have no sizes yet, on arrays that are made up."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ...program.machine import Machine, Source, Tensor

_ALIKE = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})  #: which take numbers of dimensions alike

Sizes: TypeAlias = list[list[int]]
Dims: TypeAlias = list[list[int | str | None]]

LENGTHS = re.compile(r"len", re.IGNORECASE)
_MOST_RUNS = 400  #: of one program while its sizes are sought
_MOST_ELEMENTS = 1 << 19  #: of an input
_MOST_FREE = 2  #: free dimensions of an input: rows and steps


class TooLarge(ConvertError):
    """The sizes that inputs would have are larger than those of any example should be."""


class Unsized(Source, Protocol):
    """A program whose inputs have no dimensions yet.

    Attributes:
        examples: shapes at which it runs, if any are known.
        sizes: of inputs, by their names and dimensions, which are given.
        notes: what the user should know.
    """

    what: str
    sizes: Mapping[str, Mapping[int, int]]
    notes: list[str]

    @property
    def examples(self) -> Sequence[Sequence[int]] | None: ...


class _Tracer(Machine):
    """Notes beside every tensor which inputs it depends on, and which sizes are probably meant to be others."""

    def __init__(self) -> None:
        super().__init__()
        self.doubts: list[tuple[int, int]] = []
        self.widens = False

    def doubt(self, size: int, meant: int) -> None:
        self.doubts.append((size, meant))

    def labels(self, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        ranks = {a.ndim for a in args if a is not None and a.label is not None and a.ndim > 1}
        self.widens |= op in _ALIKE and len(ranks) > 1
        label = frozenset[int]().union(*(a.label for a in args if a is not None and a.label is not None))
        return (label,) * len(out) if isinstance(out, tuple) else label


class Runs:
    """A program that is run on arrays of any sizes, which are made up.

    Attributes:
        given: sizes that are said, by inputs and dimensions.
        most: numbers that an input may have.
        doubts: sizes of the last run that are probably meant to be others.
        widens: combines the last run, if it has ended, what inputs make of several numbers of dimensions?
    """

    def __init__(self, source: Unsized) -> None:
        self.source = source
        self.dtypes = [a.dtype for a in source.inputs]
        self.names = [a.name for a in source.inputs]
        given = max((math.prod(e) for e in source.examples or ()), default=0)
        self.most = max(_MOST_ELEMENTS, 8 * given)  # as large as an example, and what is tried around it, may be
        self.given = {(self.names.index(n), k): size for n, own in source.sizes.items() for k, size in own.items()}
        self.doubts: list[tuple[int, int]] = []
        self.widens = False
        self.runs = 0
        self.lengths = True  #: are whole numbers, one for each row, taken for lengths?

    def arrays(self, sizes: Sizes) -> list[NDArray[Any]]:
        """Inputs of these sizes.

        Raises:
            TooLarge: they are.
        """
        if any(math.prod(s) > self.most for s in sizes):
            raise TooLarge(f"{self.source.what}: no small inputs are found at which it runs")
        rng = np.random.default_rng(0)
        return [
            np.asarray(rng.standard_normal(s), d) if d.kind == "f" else np.full(s, self._whole(name, s, sizes), d)
            for name, s, d in zip(self.names, sizes, self.dtypes, strict=True)
        ]

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs; which inputs a tensor depends on stands beside it.

        Raises:
            ConvertError: as of the program, or it has run too often.
        """
        self.runs += 1
        if self.runs > _MOST_RUNS:
            raise ConvertError(f"{self.source.what}: the sizes of its inputs are not found in {_MOST_RUNS} runs")
        machine = _Tracer()
        self.doubts, self.widens = machine.doubts, False
        outputs = self.source.run(machine, [Tensor(a, frozenset([i])) for i, a in enumerate(arrays)])
        self.widens = machine.widens
        return [o.data for o in outputs]

    def _whole(self, name: str, own: Sequence[int], sizes: Sizes) -> int:
        """A number for an input of whole numbers: of lengths all steps that there are, otherwise 1."""
        lengths = len(own) == 1 and self.lengths and (LENGTHS.search(name) or self.source.examples is not None)
        return min((n for s in sizes if len(s) > 1 for n in s[:2] if n != own[0]), default=1) if lengths else 1

    @property
    def ended(self) -> bool:
        """Has it run as often as it may?"""
        return self.runs > _MOST_RUNS

    def can_grow(self, examples: Sizes, places: list[tuple[int, int]], more: int) -> bool:
        """Does it run with more there, and does what is more matter, or that there is more?"""
        sizes = [list(e) for e in examples]
        for i, k in places:
            sizes[i][k] += more
        arrays = self.arrays(sizes)
        try:
            first = self.run(arrays)
            for i, k in places:
                if arrays[i].dtype.kind == "f":
                    behind = [slice(None)] * k + [slice(examples[i][k], None)]
                    arrays[i][tuple(behind)] += 1
            if all(arrays[i].dtype.kind != "f" for i, _ in places):
                return True
            if differ(first, self.run(arrays)):
                return True
            fewer = self.run(self.arrays(examples))
        except ConvertError:
            return self.ended
        return [y.shape for y in first] != [y.shape for y in fewer]


def differ(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> bool:
    """Have two runs given different outputs?"""
    both = zip(first, second, strict=True)
    return any(a.shape != b.shape or not np.array_equal(a, b, equal_nan=True) for a, b in both)


def may_be_free(dims: Sequence[int | str | None]) -> bool:
    """Can an input have one more free dimension?"""
    return sum(not isinstance(d, int) for d in dims) < _MOST_FREE
