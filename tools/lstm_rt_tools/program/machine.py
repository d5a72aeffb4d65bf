"""The machine that front ends drive: it runs each operation, and notes what depends on the inputs.

A front end executes its own graph by calling :meth:`Machine.apply`. Control flow and shapes are decided by numbers that
are *known*, that is, that do not depend on the numbers of any input. :class:`Machine` only runs the program;
:class:`.labelled.Labelled` builds a graph beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_rt.errors import ConvertError

from .sizes import MOST_ELEMENTS, check_size
from .vocabulary import FUNCTIONS


class ProgramError(ConvertError):
    """A program cannot be run or converted; the message names the operation, ``op`` is its word.

    ``sizes`` are those that the program has of what may be rows or steps, where others were given.
    """

    def __init__(self, message: str, op: str = "") -> None:
        super().__init__(message)
        self.op = op
        self.sizes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Tensor:
    """An array of a running program, and what it stands for: ``None`` if it depends on no input."""

    data: NDArray[Any]
    label: Any = None

    @property
    def known(self) -> bool:
        """Do its numbers depend on no input's?"""
        return self.label is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype


@dataclass(frozen=True)
class Argument:
    """An input of a program: ``dims`` are sizes, names of free ones, or None for free ones without a name."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str | None, ...]


class Source(Protocol):
    """A program that can be run again and again.

    Attributes:
        inputs: what it takes, in order.
        outputs: names of what it gives, in order.
        called: what messages call it.
        live: whether it is no file but something that runs by itself, and that no file says more about.
        hints: numbers of rows or steps that it may be made for.
        also: numbers of rows and steps to compare at, besides the usual ones.
    """

    inputs: Sequence[Argument]
    outputs: Sequence[str]
    called: str = "the file"
    live: bool = False
    hints: Sequence[int] = ()
    also: Sequence[tuple[int, int]] = ()

    def run(self, machine: Machine, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for the inputs, both in order.

        Raises:
            ConvertError: the program holds what the vocabulary cannot say, or is damaged.
        """
        ...


#: What the body of a scan does in one step: from states and slices to new states and what is stacked.
Body: TypeAlias = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor]]]
#: What the body of a loop does: from its number, and states, to whether to go on, new states and what is stacked.
LoopBody: TypeAlias = Callable[[Tensor, Sequence[Tensor]], tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]]

_DEPENDS = "depends on the inputs"
_MOST_TURNS = 1 << 16  #: of a loop


class Misfit(ProgramError):
    """An operation does not take arrays of these shapes; with others it may.

    ``reads``: how many numbers a product is given for each sum, and how many it takes.
    """

    reads: tuple[int, int] | None = None


class Exhausted(ConvertError):
    """A program takes more work than one of its size should; no other reading of it is tried."""


class UnknownLoop(Exhausted):
    """What a program does at each of the steps is no recurrent cell that a graph has.

    Attributes:
        input: the name of the input whose steps these are, ``dim``: its dimension.
        place: of the loop, as ``loops`` has it.
    """

    def __init__(self, input: str, dim: int, place: tuple[str, int] | None = None) -> None:
        super().__init__(
            "what a loop does at each of the steps is no recurrent cell of a known kind (one with a normalisation, a "
            "convolution or another layer within its step is none), and of any number of steps it cannot be written out"
        )
        self.input, self.dim, self.place = input, dim, place


class Machine:
    """Runs programs in NumPy.

    Attributes:
        most: numbers that the result of an operation may have; sources of small files lower it.
        doubted: what is taken for the same with any number of steps, and may be another.
        loops: where a front end has last seen a loop of so many turns: in what, and which line of that.
    """

    def __init__(self) -> None:
        self.most = MOST_ELEMENTS
        self.doubted: list[str] = []
        self.loops: dict[int, tuple[str, int]] = {}
        self._layers: list[str] = []
        self.applied = 0  #: operations that have been run

    # -- what front ends call -----------------------------------------------------------------------

    def input(self, array: NDArray[Any]) -> Tensor:
        """An input of the program."""
        return Tensor(array, _DEPENDS)

    def constant(self, array: ArrayLike) -> Tensor:
        """Numbers that depend on no input."""
        return Tensor(np.asarray(array))

    def apply(self, op: str, *args: Tensor | None, **options: Any) -> Any:
        """Run one operation of the vocabulary: a tensor, or a tuple of them where the operation gives several.

        Raises:
            ProgramError: there is no such word, or the arguments do not fit it.
        """
        function = FUNCTIONS.get(op)
        if function is None:
            raise self.error(op, "it is not in the vocabulary")
        arrays = [None if a is None else a.data for a in args]
        self.applied += 1
        try:
            check_size(op, arrays, options, self.most)
            with np.errstate(all="ignore"):
                out = function(*arrays, **options)
        except ConvertError as e:
            raise self.error(op, str(e)) from None
        except (ValueError, IndexError, TypeError, KeyError, AssertionError, OverflowError) as e:
            shapes = ", ".join(str(a.shape) for a in arrays if a is not None)
            misfit = Misfit(str(self.error(op, f"it does not fit arrays of the shapes {shapes} ({e})")), op)
            if op == "matmul" and len(arrays) == 2 and all(a is not None and a.ndim > 1 for a in arrays):
                misfit.reads = arrays[0].shape[-1], arrays[1].shape[-2]  # type: ignore[union-attr]
            raise misfit from None
        if all(a is None or a.known for a in args):
            return tuple(map(Tensor, out)) if isinstance(out, tuple) else Tensor(out)
        labels = self.labels(op, args, options, out)
        if isinstance(out, tuple):
            return tuple(map(Tensor, out, labels))
        return Tensor(out, labels)

    def number(self, tensor: Tensor, what: str) -> NDArray[Any]:
        """The numbers of a known tensor.

        Raises:
            ProgramError: they depend on an input; ``what`` says what they are.
        """
        if not tensor.known:
            raise self.error(what, "it depends on the numbers of an input, which are not known before the model runs")
        return tensor.data

    def scan(
        self, body: Body, states: Sequence[Tensor], xs: Sequence[Tensor], axes: Sequence[int], backward: Sequence[bool]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """``body`` for each step of ``xs`` along their ``axes``: the last states, and the results stacked (axis 0)."""
        steps = {x.shape[a] for x, a in zip(xs, axes, strict=True)}
        if len(steps) != 1:
            raise self.error("scan", f"its inputs have {', '.join(map(str, sorted(steps)))} steps")
        stacked: list[list[Tensor]] = []
        for t in range(steps.pop()):
            at = [x.shape[a] - 1 - t if b else t for x, a, b in zip(xs, axes, backward, strict=True)]
            slices = [self.take(x, i, a) for x, i, a in zip(xs, at, axes, strict=True)]
            states, outs = body(states, slices)
            stacked.append(list(outs))
        return list(states), [self.stack(column) for column in zip(*stacked, strict=True)]

    def loop(
        self, body: LoopBody, trips: int | None, condition: bool, states: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """``body`` while its condition holds, at most ``trips`` times; results as of :meth:`scan`."""
        stacked: list[list[Tensor]] = []
        turn = 0
        while condition and (trips is None or turn < trips):
            if turn == _MOST_TURNS:
                raise self.error("loop", f"it has not ended after {_MOST_TURNS} turns")
            go_on, states, outs = body(self.constant(np.int64(turn)), states)
            condition = bool(self.number(go_on, "the condition of a loop"))
            stacked.append(list(outs))
            turn += 1
        return list(states), [self.stack(column) for column in zip(*stacked, strict=True)]

    def take(self, x: Tensor, index: int, axis: int) -> Tensor:
        """``x`` at one index of an axis, without the axis."""
        size = x.shape[axis]
        last = index == -1 and size == 1  # of the only one, whether the first or the last is meant
        from_end = last or -size <= index < -1  # which is meant of any size
        index = index % size if -size <= index < size and not from_end else index
        part: Tensor = self.apply("slice", x, axis=axis, start=index, stop=None if last else index + 1, step=1)
        result: Tensor = self.apply("squeeze", part, axes=(axis % x.ndim,))
        return result

    def stack(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        """Tensors of one shape along a new axis."""
        wide = [self.apply("unsqueeze", p, axes=(axis % (p.ndim + 1),)) for p in parts]
        result: Tensor = self.apply("concat", *wide, axis=axis)
        return result

    def longest(self, lengths: Tensor) -> Tensor:
        """The largest of the lengths of rows, which decides how many steps there are."""
        return Tensor(lengths.data.max())

    def doubt(self, size: int, meant: int) -> None:
        """A program has a size that it is probably not meant to have; who looks for the sizes of inputs notes it."""

    # -- names of the source's layers -----------------------------------------------------------------

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """What is applied within belongs to the source's layer of this name."""
        self._layers.append(name)
        try:
            yield
        finally:
            self._layers.pop()

    @property
    def where(self) -> str:
        """The layer at work; empty if it has no name."""
        return "/".join(filter(None, self._layers))

    def error(self, op: str, why: str) -> ProgramError:
        """An error about an operation, with the layer at work."""
        where = f" ({self.where})" if self.where else ""
        return ProgramError(f"{op}{where}: {why}", op)

    # -- what stands for what -------------------------------------------------------------------------

    def labels(self, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        """What the results of an operation stand for that depends on an input: one label, or a tuple of them."""
        return (_DEPENDS,) * len(out) if isinstance(out, tuple) else _DEPENDS
