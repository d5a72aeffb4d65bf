"""Tensors as PyTorch's programs see them: views share numbers, and writing to one shows in all.

The vocabulary knows values alone. So a :class:`Var` keeps how a view is made of another tensor and how that one is made
anew from what is written to the view. A tensor that is filled part by part along an axis, as outputs are step by step,
keeps the parts, and becomes one ``concat`` when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..program.machine import Tensor

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True)
class Span:
    """The part ``start:stop`` of an axis that a view is; ``whole`` keeps the axis, otherwise it is dropped."""

    axis: int
    start: int
    stop: int
    whole: bool


@dataclass(eq=False)
class Pack:
    """What packing has noted: the length of each row."""

    lengths: Tensor
    rows: int
    steps: int


@dataclass(frozen=True, eq=False)
class Packed:
    """The tag of ``PackedSequence.data``: the tensor beneath is ``(T, N, ...)``; ``clean``: 0 beyond each length."""

    pack: Pack
    clean: bool


@dataclass(frozen=True, eq=False)
class BatchSizes:
    """The tag of ``PackedSequence.batch_sizes``: the tensor beneath has as many entries, not their numbers."""

    pack: Pack


@dataclass(frozen=True, eq=False)
class Permutation:
    """The tag of the order that sorts the rows of a batch, or of its inverse; the tensor beneath is 0, 1, 2, ...

    Rows do not see each other, so what is computed of rows in another order is what is computed of them in this one.
    ``key`` is what was sorted: its order is undone by the inverse of its own permutation alone.
    """

    key: object
    inverse: bool


@dataclass(frozen=True, eq=False)
class Complex:
    """The tag of complex numbers: the tensor beneath is their real part."""

    real: Tensor
    imag: Tensor


@dataclass
class _Parts:
    """Pieces along an axis, in order: each with its stop, and None where the tensor beneath still shows."""

    axis: int
    beneath: Tensor
    pieces: list[tuple[int, int, Tensor | None]] = field(default_factory=list)


class Var:
    """A tensor, or a view of one.

    Attributes:
        tag: what it is where it is none of real numbers: packed sequences, sorted batches and complex numbers.
        order: the permutation that its rows are in; None for the order of the inputs.
    """

    __slots__ = ("_get", "_later", "_lost", "_of", "_parts", "_put", "_shape", "_shares", "_span", "_value", "_version",
                 "_viewed", "order", "tag")  # fmt: skip

    def __init__(self, value: Tensor | None = None, later: Callable[[], Tensor] | None = None) -> None:
        self._value, self._later = value, later
        self._version = 0
        self._of: Var | None = None
        self._get: Callable[[Tensor], Tensor] | None = None
        self._put: Callable[[Tensor, Tensor], Tensor] | None = None
        self._span: Span | None = None
        self._shape: tuple[int, ...] | None = None
        self._parts: _Parts | None = None
        self._shares: Var | None = None
        self._lost = ""
        self._viewed = False
        self.tag: Any = None
        self.order: object = None

    @classmethod
    def view(
        cls,
        of: Var,
        get: Callable[[Tensor], Tensor],
        put: Callable[[Tensor, Tensor], Tensor] | None,
        span: Span | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Var:
        """A view: ``get`` makes it of the tensor that it is of, ``put`` that one anew with what is written here."""
        made = cls()
        made._of, made._get, made._put, made._span, made._shape = of, get, put, span, shape
        made._version = -1
        made.order = of.order
        of._viewed = True
        return made

    @classmethod
    def perhaps(cls, value: Tensor, of: Var) -> Var:
        """A tensor that shares its numbers with another or does not, by how they lie in memory."""
        made = cls(value)
        made._shares, made.order = of, of.order
        return made

    @property
    def changed(self) -> bool:
        """Has anything been written to it, itself or through a view?"""
        return self.base._version > 0

    @property
    def base(self) -> Var:
        """The tensor that this is a view of; itself if it is none."""
        found = self
        while found._of is not None:
            found = found._of
        return found

    # -- reading --------------------------------------------------------------------------------------

    def shape(self, run: Run) -> tuple[int, ...]:
        """Its sizes, without making the numbers where these are not needed."""
        if self._shape is None:
            self._shape = self.read(run).shape
        return self._shape

    def read(self, run: Run) -> Tensor:
        """The numbers as they are now.

        Raises:
            ConvertError: whether a write elsewhere has changed them is not known.
        """
        base = self.base
        if base._lost:
            raise run.error(base._lost)
        if self._of is not None and self._version != base._version:
            self._value, self._version = self._again(run, base), base._version
        if self._value is None and self._parts is not None:
            self._value = _joined(run, self._parts)
        if self._value is None and self._later is not None:
            self._value, self._later = self._later(), None
        assert self._value is not None
        return self._value

    def _again(self, run: Run, base: Var) -> Tensor:
        assert self._of is not None
        assert self._get is not None
        if self._span is not None and self._of is base and base._parts is not None:
            found = _within(run, base._parts, self._span)
            if found is not None:
                return found
        return self._get(self._of.read(run))

    # -- writing --------------------------------------------------------------------------------------

    def write(self, run: Run, new: Tensor) -> None:
        """Put other numbers of the same shape in their place.

        Raises:
            ConvertError: this is a view through which nothing can be written.
        """
        if self._shares is not None:
            self._shares.base._lost = (
                "a tensor is written to that may share its numbers with another one that is read later; "
                "which it is depends on how they lie in memory"
            )
            self._shares = None
        if self._of is None:
            self._value, self._parts, self._later = new, None, None
            self._version += 1
        elif self._put is None:
            raise run.error("a view is written to whose elements are several times the same one (expand)")
        elif self._span is not None and self._of._of is None:
            self._of.write_span(run, self._span, new)
        else:
            self._of.write(run, self._put(self._of.read(run), new))

    def write_span(self, run: Run, span: Span, new: Tensor) -> None:
        """Put ``new`` into a part of an axis of this tensor, which is no view."""
        shape = self.shape(run)
        if not span.whole:
            sizes = list(shape)
            sizes[span.axis] = 1
            new = run.apply("reshape", new, sizes=sizes)
        if self._parts is None or self._parts.axis != span.axis:
            beneath = self.read(run)
            self._parts = _Parts(span.axis, beneath, [(0, shape[span.axis], None)])
        self._parts.pieces = _replaced(run, self._parts, span, new)
        self._value = None
        self._version += 1

    def copy(self, run: Run) -> Var:
        """Another tensor with the same numbers, filled part by part like this one."""
        made = Var()
        base = self if self._of is None else None
        if base is not None and base._parts is not None and not base._lost:
            made._parts = _Parts(base._parts.axis, base._parts.beneath, list(base._parts.pieces))
            made._shape = base._shape
        else:
            made._value = self.read(run)
        made.order = self.order
        return made

    def become(self, run: Run, other: Var) -> None:
        """Stand for ``other`` from now on: ``x.unsqueeze_(0)`` changes what the name x means.

        Raises:
            ConvertError: there are views of what it stood for.
        """
        if self._viewed:
            raise run.error("the shape of a tensor is changed in place of which there are views")
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def behind(self) -> Var:
        """This tensor under a name of its own, for :meth:`become`."""
        made = Var()
        for name in self.__slots__:
            setattr(made, name, getattr(self, name))
        return made


def _piece(run: Run, parts: _Parts, piece: tuple[int, int, Tensor | None]) -> Tensor:
    start, stop, tensor = piece
    if tensor is not None:
        return tensor
    return run.cut(parts.beneath, parts.axis, start, stop)


def _joined(run: Run, parts: _Parts) -> Tensor:
    pieces = [_piece(run, parts, p) for p in parts.pieces]
    joined: Tensor = pieces[0] if len(pieces) == 1 else run.apply("concat", *pieces, axis=parts.axis)
    return joined


def _within(run: Run, parts: _Parts, span: Span) -> Tensor | None:
    """A part of an axis, if it lies within one piece."""
    if parts.axis != span.axis:
        return None
    for start, stop, tensor in parts.pieces:
        if start <= span.start and span.stop <= stop:
            if tensor is None:
                found = run.cut(parts.beneath, parts.axis, span.start, span.stop)
            else:
                found = run.cut(tensor, parts.axis, span.start - start, span.stop - start)
            return found if span.whole else run.dropped(found, span.axis)
    return None


def _replaced(run: Run, parts: _Parts, span: Span, new: Tensor) -> list[tuple[int, int, Tensor | None]]:
    out: list[tuple[int, int, Tensor | None]] = []
    for start, stop, tensor in parts.pieces:
        if stop <= span.start or span.stop <= start:
            out.append((start, stop, tensor))
            continue
        if start < span.start:
            out.append((start, span.start, _cut_piece(run, parts, (start, stop, tensor), start, span.start)))
        if start <= span.start:
            out.append((span.start, span.stop, new))
        if span.stop < stop:
            out.append((span.stop, stop, _cut_piece(run, parts, (start, stop, tensor), span.stop, stop)))
    return out


def _cut_piece(run: Run, parts: _Parts, piece: tuple[int, int, Tensor | None], start: int, stop: int) -> Tensor | None:
    if piece[2] is None:
        return None
    return run.cut(piece[2], parts.axis, start - piece[0], stop - piece[0])
