"""Inputs that are single whole numbers and decide what a program does, such as the rate of a model for two of them.

A graph has no place for them: they are set when a file is converted. So are sizes of inputs that a file does not tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .machine import Argument, Machine, Source, Tensor
from .roles import readings

Settings = Mapping[str, int]

_PLACES = frozenset(map(str, range(16)))  #: of dimensions
_MOST = 8  #: ways to set them that are tried
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "sub", "add"})
_KEPT = frozenset({"cast", "reshape", "squeeze", "unsqueeze", "expand"})
_ROWS, _STEPS = 1, 640  #: of the runs that look for what settings do
_SOME = (1, 0, 2, 8000, 16000)  #: values that a setting that plays no part may have


def is_setting(a: Argument) -> bool:
    """Is an input a single whole number?"""
    return not a.dims and a.dtype.kind in "iub"


def sizes_in(given: Settings, names: Collection[str]) -> dict[str, dict[int, int]]:
    """The sizes of inputs among settings: ``x.2`` is that of dimension 2 of the input ``x``.

    Raises:
        ConvertError: a size below 1.
    """
    found: dict[str, dict[int, int]] = {}
    for key, size in given.items():
        name, _, place = key.rpartition(".")
        if key in names or name not in names or place not in _PLACES:
            continue
        if size < 1:
            raise ConvertError(f"--set {key}={size}: a size is 1 or more")
        found.setdefault(name, {})[int(place)] = size
    return found


def with_sizes(source: Source, given: Settings) -> Settings:
    """Fix the sizes of a source's inputs that are among settings; returns the other settings.

    Raises:
        ConvertError: an input has no such dimension, or one of another size.
    """
    sizes = sizes_in(given, {a.name for a in source.inputs})
    named: dict[str, int] = {}
    for a in source.inputs:
        for k, size in sizes.get(a.name, {}).items():
            if k >= len(a.dims):
                raise ConvertError(f"the input {a.name!r} has {len(a.dims)} dimensions, none {k}")
            dim = a.dims[k]
            if (named.setdefault(dim, size) if isinstance(dim, str) else dim) not in (None, size):
                raise ConvertError(f"dimension {k} of the input {a.name!r} is {dim}, not {size}")
    source.inputs = [
        replace(a, dims=tuple(sizes.get(a.name, {}).get(k, named.get(d, d) if isinstance(d, str) else d)
                              for k, d in enumerate(a.dims)))
        for a in source.inputs
    ]  # fmt: skip
    taken = {f"{name}.{k}" for name, own in sizes.items() for k in own}
    return {key: value for key, value in given.items() if key not in taken}


@dataclass
class Set(Source):
    """A source with some inputs set.

    Attributes:
        inputs: those that are left.
    """

    source: Source
    settings: Settings

    def __post_init__(self) -> None:
        self.inputs: Sequence[Argument] = [a for a in self.source.inputs if a.name not in self.settings]
        self.outputs: Sequence[str] = self.source.outputs
        self.called, self.live, self.also = self.source.called, self.source.live, self.source.also

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """As of :class:`.machine.Source`."""
        given = iter(inputs)
        whole = [
            machine.constant(np.asarray(self.settings[a.name], a.dtype)) if a.name in self.settings else next(given)
            for a in self.source.inputs
        ]
        try:
            return self.source.run(machine, whole)
        finally:
            self.hints = self.source.hints


@dataclass(frozen=True)
class _Asked:
    """What depends on one input alone."""

    name: str


class _Probe(Machine):
    """Notes what inputs are compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[int, None]] = {}

    def apply(self, op: str, *args: Tensor | None, **options: Any) -> Any:
        asked = next((a.label for a in args if a is not None and isinstance(a.label, _Asked)), None)
        if asked is not None and op in _COMPARISONS:
            for a in args:
                if a is not None and a.known and a.data.size == 1 and a.dtype.kind in "iub":
                    self.found.setdefault(asked.name, {})[int(a.data.reshape(())[()])] = None
        return super().apply(op, *args, **options)

    def labels(self, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        first = args[0].label if args and args[0] is not None else None
        return first if op in _KEPT and isinstance(first, _Asked) else super().labels(op, args, options, out)


def settled(source: Source, given: Settings) -> Iterator[tuple[Source, Settings, bool]]:
    """Ways to set the inputs that are settings, as given or as the program compares them: the source, what was set,
    and whether that was chosen here.

    Raises:
        ConvertError: what is given is no setting of the program, or nothing shows what one may be.
    """
    asked = [a for a in source.inputs if is_setting(a)]
    if unknown := [name for name in given if name not in {a.name for a in asked}]:
        known = ", ".join(a.name for a in asked) or "none"
        raise ConvertError(f"{unknown[0]!r} is no setting of the model; its inputs of a single whole number: {known}")
    if not asked:
        yield source, {}, False
        return
    left = [a for a in asked if a.name not in given]
    choices = [list(values) for values in _compared(source, left).values()] if left else []
    for a, choice in zip(left, choices, strict=True):
        if not choice and _plays_no_part(source, asked, a):
            choice.append(1)
    if any(not c for c in choices):
        name = left[[not c for c in choices].index(True)].name
        raise ConvertError(
            f"the input {name!r} is a single whole number, which a model cannot take; set it: --set {name}=..."
        )
    for values in itertools.islice(itertools.product(*choices), _MOST):
        chosen = {a.name: v for a, v in zip(left, values, strict=True)}
        settings = {**given, **chosen}
        yield Set(source, settings), settings, bool(chosen)


def _compared(source: Source, left: Sequence[Argument]) -> dict[str, list[int]]:
    """What the program compares each setting with, in the order of a run."""
    probe, names = _Probe(), {a.name for a in left}
    made = next(_made(source), {})
    tensors = [
        Tensor(np.ones((), a.dtype), _Asked(a.name)) if a.name in names else probe.input(made.get(a.name, np.ones(())))
        for a in source.inputs
    ]
    try:
        source.run(probe, tensors)
    except ConvertError:
        pass  # it goes no further without knowing the setting; what was asked until then is noted
    return {a.name: list(probe.found.get(a.name, {})) for a in left}


def _plays_no_part(source: Source, asked: Sequence[Argument], a: Argument) -> bool:
    """Are the program's outputs the same whatever the setting is?"""
    for made in itertools.islice(_made(source), _MOST):
        found = []
        for value in _SOME:
            program, machine = Set(source, {b.name: value if b is a else 1 for b in asked}), Machine()
            try:
                found.append(program.run(machine, [machine.input(made[b.name]) for b in program.inputs]))
            except ConvertError:
                break
        if len(found) == len(_SOME):
            return all(_same(found[0], other) for other in found[1:])
    return False


def _same(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(
        x.shape == y.shape and np.array_equal(x.data, y.data, equal_nan=True) for x, y in zip(ones, others, strict=True)
    )


def _made(source: Source) -> Iterator[dict[str, NDArray[Any]]]:
    """Arrays for the other inputs, as readings of them have it."""
    for roles in readings([a for a in source.inputs if not is_setting(a)]):
        shapes = {r.name: r.shape(_ROWS, dict.fromkeys(r.dims, _STEPS)) for r in roles}  # type: ignore[arg-type]
        fixed = {
            r.name: tuple(d if isinstance(d, int) else n for d, n in zip(r.declared, shapes[r.name], strict=True))
            for r in roles
        }
        yield {r.name: np.ones(fixed[r.name], r.dtype) for r in roles}


def told(settings: Settings) -> str:
    """Settings that were chosen here, in words."""
    text = ", ".join(f"{name} is {value}" for name, value in settings.items())
    example = next(iter(settings))
    return f"inputs of a single number are set for good: {text}; --set {example}=... converts for another"
