"""Which sizes the inputs of a TorchScript program have: its code does not say.

A traced module remembers the shapes that it was traced with; running it at other sizes shows which of these are free.
Of a scripted module nothing is known. It runs on arrays whose sizes are different primes: where an operation, or the
code itself, says that 13 should be 8, the size that was 13 has to be 8; where it says so of two of them, they are one.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from ..program.machine import Argument, Exhausted, Machine, Misfit, Source, Tensor
from .agree import DimsDiffer, SizesDiffer, WantsType
from .script_prims import Raised

_LENGTHS = re.compile(r"len", re.IGNORECASE)
#: Where the sizes of one pool are by chance those of layers, the next one is taken.
_POOLS = (
    (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109),
    (9, 14, 22, 26, 34, 38, 46, 58, 62, 74, 82, 86, 94, 106, 118, 122, 134, 142, 146, 158, 166, 178, 194, 202, 206),
    (6, 10, 40, 44, 50, 52, 54, 56, 60, 63, 65, 66, 68, 70, 74, 75, 76, 78, 80, 81, 85, 88, 90, 92, 98),
    (37, 39, 51, 57, 69, 77, 87, 91, 93, 95, 99, 111, 117, 119, 121, 123, 129, 133, 141, 143, 145, 147, 153, 155, 159),
)
#: The same by the number of dimensions of an input, where sizes of images are among them: these have to be small.
_IMAGES = {
    4: ((5, 7, 11, 13), (6, 9, 37, 43), (10, 14, 46, 58)),
    5: ((5, 7, 11, 13, 17), (6, 9, 10, 14, 15), (4, 6, 9, 37, 43)),
}
_LARGE = tuple(range(1009, 1109, 2))
_RANKS = (3, 2, 4, 5, 1)
_MOST_RUNS = 400  #: of one program while its sizes are sought
_MOST_ELEMENTS = 1 << 19  #: of an input
_MOST_LESSONS = 40
_MOVE = 16  #: steps more, to see what depends on them
_MOST_PICKS = 4096  #: of dimensions that may be one
_MOST_FREE = 2  #: free dimensions of an input: rows and steps
_MOST_SIDE = 512  #: pixels along the side of an image

Sizes = list[list[int]]


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

    def doubt(self, size: int, meant: int) -> None:
        self.doubts.append((size, meant))

    def labels(self, op: str, args: Sequence[Tensor | None], options: dict[str, Any], out: Any) -> Any:
        label = frozenset[int]().union(*(a.label for a in args if a is not None and a.label is not None))
        return (label,) * len(out) if isinstance(out, tuple) else label


_Made = TypeVar("_Made")


def fitted(source: Unsized, convert: Callable[[], _Made]) -> _Made:
    """What ``convert`` makes of the source once its inputs have their dimensions.

    Where sizes are free by the frame alone, and nothing is made of that, they may be meant to be what they are.

    Raises:
        ConvertError: as of :func:`fit`, and of ``convert``.
    """
    framed = fit(source)
    try:
        return convert()
    except Exhausted:
        raise
    except ConvertError:
        if not framed:
            raise
    fit(source, frames=False)
    return convert()


def fit(source: Unsized, frames: bool = True) -> bool:
    """Give ``source.inputs`` their dimensions.

    Args:
        frames: may sizes be free that can only be made twice as large, and three times, and so on?

    Returns:
        Are there such sizes?

    Raises:
        ConvertError: no sizes are found at which the program runs; the message has what the likeliest ran into.
    """
    search = _Search(source, frames)
    examples = source.examples
    dims = search.unknown() if examples is None else search.around([list(e) for e in examples])
    source.inputs = [
        Argument(a.name, dtype, tuple(d)) for a, dtype, d in zip(source.inputs, search.dtypes, dims, strict=True)
    ]
    return search.framed


class _Search:
    def __init__(self, source: Unsized, frames: bool) -> None:
        self.source = source
        self.frames = frames
        self.framed = False
        self.dtypes = [a.dtype for a in source.inputs]
        self.names = [a.name for a in source.inputs]
        given = max((math.prod(e) for e in source.examples or ()), default=0)
        self.most = max(_MOST_ELEMENTS, 8 * given)  # as large as an example, and what is tried around it, may be
        self.given = {(self.names.index(n), k): size for n, own in source.sizes.items() for k, size in own.items()}
        self.doubts: list[tuple[int, int]] = []  #: of the last run
        self.seen: dict[str, list[tuple[int, int]] | None] = {}  #: what runs at sizes complained of
        self.runs = 0
        self.learnt = 0
        self.lengths = True  #: are whole numbers, one for each row, taken for lengths?

    def arrays(self, sizes: Sizes) -> list[NDArray[Any]]:
        if any(math.prod(s) > self.most for s in sizes):
            raise ConvertError(f"{self.source.what}: no small inputs are found at which it runs")
        rng = np.random.default_rng(0)
        return [
            np.asarray(rng.standard_normal(s), d) if d.kind == "f" else np.full(s, self._whole(name, s, sizes), d)
            for name, s, d in zip(self.names, sizes, self.dtypes, strict=True)
        ]

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        self.runs += 1
        if self.runs > _MOST_RUNS:
            raise ConvertError(f"{self.source.what}: the sizes of its inputs are not found in {_MOST_RUNS} runs")
        machine = _Tracer()
        self.doubts = machine.doubts
        outputs = self.source.run(machine, [Tensor(a, frozenset([i])) for i, a in enumerate(arrays)])
        return [o.data for o in outputs]

    def _whole(self, name: str, own: Sequence[int], sizes: Sizes) -> int:
        """A number for an input of whole numbers: of lengths all steps that there are, otherwise 1."""
        lengths = len(own) == 1 and self.lengths and (_LENGTHS.search(name) or self.source.examples is not None)
        return min((n for s in sizes if len(s) > 1 for n in s[:2] if n != own[0]), default=1) if lengths else 1

    # -- sizes that are known ---------------------------------------------------------------------------

    def around(self, examples: Sizes) -> list[list[int | str | None]]:
        """The dimensions of a module that runs at ``examples``."""
        for (i, k), size in self.given.items():
            if k >= len(examples[i]):
                raise ConvertError(f"the input {shown(self.names[i])} has {len(examples[i])} dimensions, none {k}")
            examples[i][k] = size
        try:
            self.run(self.arrays(examples))
        except ConvertError:
            self.lengths = False  # they may be ids, of a table that has fewer rows
            self.run(self.arrays(examples))
        dims: list[list[int | str | None]] = [list(e) for e in examples]
        for size in dict.fromkeys(n for column in itertools.zip_longest(*examples) for n in column if n is not None):
            while (found := self._free(examples, dims, size)) is not None:
                name = f"{self.names[found[0][0]]}.{found[0][1]}" if len(found) > 1 else None
                for i, k in found:
                    dims[i][k] = name
        return dims

    def _free(self, examples: Sizes, dims: list[list[int | str | None]], size: int) -> list[tuple[int, int]] | None:
        """Dimensions of one size that can be another one, together."""
        choices: list[list[int | None]] = [
            [*(k for k, d in enumerate(own) if d == size and _is_open(own) and (i, k) not in self.given), None]
            for i, own in enumerate(dims)
        ]
        picks = itertools.islice(itertools.product(*choices), _MOST_PICKS)  # those of most dimensions come first
        sets = [[(i, k) for i, k in enumerate(pick) if k is not None] for pick in picks]
        for places in sorted((s for s in sets if s), key=lambda s: -len(s))[:64]:
            # by any number, or if there is more than one, by as many again: it may take steps by the frame
            if all(self._can_grow(examples, places, n) for n in (4, size + 5)):
                return places
            if self.frames and size > 1 and all(self._can_grow(examples, places, n) for n in (size, 2 * size)):
                self.framed = True
                return places
        return None

    def _can_grow(self, examples: Sizes, places: list[tuple[int, int]], more: int) -> bool:
        """Does it run with more there, and does what is more matter?"""
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
            second = self.run(arrays)
        except ConvertError:
            return self.runs > _MOST_RUNS
        return _differ(first, second)

    # -- sizes that are not known -------------------------------------------------------------------------

    def unknown(self) -> list[list[int | str | None]]:
        """The dimensions of a module of which nothing is known."""
        best: tuple[int, ConvertError] | None = None
        doubtful: tuple[list[list[int | str | None]], list[str], list[np.dtype[Any]]] | None = None
        for long, ranks in itertools.product((False, True), self._ranks()):
            for pool in _pools(max(ranks, default=0)):
                try:
                    dims = self._flat(ranks, self._with_ranks(ranks, pool, long), long)
                    if not self.doubts:
                        self.source.notes += self._squares_told()
                        return dims
                    doubtful = doubtful or (dims, self._squares_told(), list(self.dtypes))
                    break
                except ConvertError as e:
                    if best is None or self.learnt > best[0]:
                        best = self.learnt, e
                    sizes = isinstance(e, Misfit | SizesDiffer | Raised) and not isinstance(e, DimsDiffer)
                if not (self.learnt or sizes) or self.runs > _MOST_RUNS:
                    break  # sizes that are by chance those of layers are not why
            if self.runs > _MOST_RUNS:
                break
        if doubtful is not None:
            dims, told, self.dtypes = doubtful
            self.source.notes += told
            return dims
        if best is None:
            raise ConvertError(f"no input has as many dimensions as the sizes that are set say, at most {max(_RANKS)}")
        if not isinstance(best[1], SizesDiffer | WantsType | Raised | Misfit):
            raise best[1]
        names = ", ".join(map(shown, self.names)) or "none"
        raise ConvertError(
            f"{best[1]}; a scripted module does not say which shapes its inputs ({names}) have, and none were found: "
            f"say sizes (--set {shown(self.names[0])}.2=... for that of dimension 2), trace it with an example "
            "(torch.jit.trace), or export it (torch.export)"
        )

    def _flat(
        self, ranks: Sequence[int], dims: list[list[int | str | None]], long: bool
    ) -> list[list[int | str | None]]:
        """Where a sequence of single numbers is found to be ``(T, 1)``, but may be ``(T,)`` as well, it is that."""
        if list(ranks) != [2] or dims != [[None, 1]] or self.given:
            return dims
        try:
            found = self._with_ranks((1,), _POOLS[0], long)
        except ConvertError:
            return dims
        return found if found == [[None]] else dims

    def _ranks(self) -> Iterator[tuple[int, ...]]:
        least = {i: max(k for j, k in self.given if j == i) for i, _ in self.given}
        choices = [
            [r for r in ((1,) if _LENGTHS.search(n) else _RANKS) if r > least.get(i, -1)]
            for i, n in enumerate(self.names)
        ]
        orders = itertools.product(*(range(len(c)) for c in choices))
        for pick in sorted(itertools.islice(orders, 1024), key=sum):
            yield tuple(c[k] for c, k in zip(choices, pick, strict=True))

    def _with_ranks(self, ranks: Sequence[int], pool: Sequence[int], long: bool) -> list[list[int | str | None]]:
        """The dimensions, for inputs of so many; ``long``: the last size of each is large, as of samples of sound."""
        self.learnt, self.squares = 0, dict[int, tuple[int, int]]()  # inputs that are images: dimension and side
        supply, large = (iter([n for n in p if n not in self.given.values()]) for p in (pool, _LARGE))
        sizes: Sizes = [
            [self.given.get((i, k)) or next(large if long and k == r - 1 else supply) for k in range(r)]
            for i, r in enumerate(ranks)
        ]
        if any(_LENGTHS.search(n) for n in self.names):
            self.dtypes = [
                np.dtype(np.int64) if _LENGTHS.search(n) else d for n, d in zip(self.names, self.dtypes, strict=True)
            ]
        free = {n for own in sizes for n in own}.difference(self.given.values())
        for _ in range(_MOST_LESSONS):
            lesson = self._lesson(sizes)
            if lesson is None:
                return self._confirmed(sizes, free)
            pairs, error = lesson
            learnt = any(_learn(sizes, free, pair) for pair in pairs)
            if not learnt and not any(self._solve(sizes, free, pair) for pair in pairs):
                raise error
            self.learnt += 1
        raise ConvertError(f"{self.source.what}: the sizes of its inputs contradict each other")

    def _lesson(self, sizes: Sizes) -> tuple[list[tuple[int, int]], ConvertError] | None:
        """What a run says of sizes: pairs that have to be the same; None if it ends well."""
        try:
            self.run(self.arrays(sizes))
        except WantsType as e:
            if not self._to_type(e.tensor, e.dtype):
                raise
            return self._lesson(sizes)
        except DimsDiffer as e:
            if not self.doubts:
                raise
            return self.doubts, e
        except SizesDiffer as e:
            return [e.both], e
        except Raised as e:
            return [*_differences(e.compared), *self.doubts], e
        return None

    def _solve(self, sizes: Sizes, free: set[int], pair: tuple[int, int]) -> bool:
        """A size that is made of a free one, as by convolutions: find the one that makes it what it has to be."""
        got, wanted = pair
        if self._square(sizes, free, pair):
            return True
        for n in sorted(free):
            moved = self._got(_replaced(sizes, n, n + _MOVE), wanted)
            if moved is None or moved == got:
                continue
            guess = round(n + (wanted - got) * _MOVE / (moved - got))
            for size in (guess - 1, guess, guess + 1):
                if size > 0 and size not in free and self._fits(_replaced(sizes, n, size), wanted):
                    least = self._least(_replaced(sizes, n, size), size, wanted)
                    return _learn(sizes, free, (n, size if least in free else least))
        return False

    def _least(self, sizes: Sizes, size: int, wanted: int) -> int:
        """The smallest size that does as well as ``size``, where some are rounded down."""
        for n in range(size - 1, max(0, size - _MOVE), -1):
            if not self._fits(_replaced(sizes, size, n), wanted):
                return n + 1
        return size

    def _square(self, sizes: Sizes, free: set[int], pair: tuple[int, int]) -> bool:
        """Two sizes of images that a size is made of: both are taken to be the same."""
        got, wanted = pair
        for i, own in enumerate(sizes):
            a, b = own[-2:] if len(own) in _IMAGES else (0, 0)
            if a == b or not {a, b} <= free:
                continue
            moved = [self._got(_replaced(sizes, n, n + _MOVE), wanted) for n in (a, b)]
            if any(m in (None, 0, got) for m in moved):
                continue
            side = self._side(_replaced(sizes, b, a), a, wanted)
            if side > 1 and side not in free and self._fits(_replaced(_replaced(sizes, b, a), a, side), wanted):
                self.squares[i] = len(own) - 2, side
                _learn(sizes, free, (b, a))
                return _learn(sizes, free, (a, side))
        return False

    def _side(self, sizes: Sizes, side: int, wanted: int) -> int:
        """The smallest size in the place of ``side``, of two dimensions, at which a run has at least ``wanted``."""
        low, high = 0, 1
        while high < _MOST_SIDE and self._falls_short(_replaced(sizes, side, high), wanted):
            low, high = high, 2 * high
        while high - low > 1:
            n = (low + high) // 2
            low, high = (n, high) if self._falls_short(_replaced(sizes, side, n), wanted) else (low, n)
        return high

    def _falls_short(self, sizes: Sizes, wanted: int) -> bool:
        got = self._got(sizes, wanted)
        return got is not None and got < wanted

    def _fits(self, sizes: Sizes, wanted: int) -> bool:
        return self._got(sizes, wanted) in (None, wanted)

    def _got(self, sizes: Sizes, wanted: int) -> int | None:
        """The size that a run has where there must be ``wanted``; None if it has no such complaint."""
        key = repr((sizes, [d.kind for d in self.dtypes]))
        if key not in self.seen:
            self.seen[key] = self._pairs(sizes)
        pairs = self.seen[key]
        if pairs is None:
            return wanted
        return next((a for a, b in pairs if b in (wanted, -1)), None)

    def _pairs(self, sizes: Sizes) -> list[tuple[int, int]] | None:
        """What a run complains of, as :meth:`_lesson` has it; 0 for whatever there must be where it is too small."""
        try:
            lesson = self._lesson(sizes)
        except Misfit:
            return [(0, -1)]  # too small for a window
        except ConvertError:
            return []
        return None if lesson is None else lesson[0]

    def _confirmed(self, sizes: Sizes, free: set[int]) -> list[list[int | str | None]]:
        """The dimensions, if it runs at other sizes of what is free, too."""
        larger = self._larger(sizes, free)
        self.run(self.arrays(larger))
        for i, own in enumerate(sizes):
            if len(free.intersection(own)) > _MOST_FREE:
                continue  # some of them have to be set, or else nothing comes of it
            for k, n in enumerate(own):
                if n in free and sum(s.count(n) for s in sizes) == 1 and self.dtypes[i].kind == "f":
                    read = self._read(sizes, i, k)
                    own[k] = read if read < n and read == self._read(larger, i, k) else n
        return self._named(sizes, free)

    def _squares_told(self) -> list[str]:
        """What the user should know of images whose size was found."""
        return [
            f"the images of {shown(self.names[i])} are taken to be square, {side} x {side}; "
            f"--set {shown(self.names[i])}.{k}=... says otherwise"
            for i, (k, side) in self.squares.items()
        ]

    def _larger(self, sizes: Sizes, free: set[int]) -> Sizes:
        """Other sizes in the place of those that are free, by less where arrays would become too large."""
        for by in (_MOVE, 2):
            others = {n: n + by + 2 * i for i, n in enumerate(sorted(free))}
            larger = [[others.get(n, n) for n in own] for own in sizes]
            if all(math.prod(own) <= self.most for own in larger):
                break
        return larger

    def _read(self, sizes: Sizes, i: int, k: int) -> int:
        """How many of a dimension count: of states that are picked one by one it takes as many as it is asked for."""
        arrays = self.arrays(sizes)
        first = self.run(arrays)
        for n in range(sizes[i][k] - 1, -1, -1):
            arrays[i][tuple([slice(None)] * k + [slice(n, None)])] += 1
            if _differ(first, self.run(arrays)):
                return n + 1
        return sizes[i][k]

    def _to_type(self, tensor: Tensor, dtype: np.dtype[Any]) -> bool:
        """Let the inputs that a tensor comes from be of another type than floats."""
        changed = False
        for i in tensor.label or ():
            changed = changed or self.dtypes[i].kind == "f"
            self.dtypes[i] = dtype
        return changed

    def _named(self, sizes: Sizes, free: set[int]) -> list[list[int | str | None]]:
        count = {n: sum(own.count(n) for own in sizes) for n in free}
        first = {n: f"{self.names[i]}.{own.index(n)}" for i, own in reversed(list(enumerate(sizes))) for n in own}
        return [[n if n not in free else first[n] if count[n] > 1 else None for n in own] for own in sizes]


def _pools(rank: int) -> Iterator[Sequence[int]]:
    """Sizes to begin with, for inputs of at most so many dimensions."""
    if rank not in _IMAGES:
        yield from _POOLS
    for pool in _IMAGES.get(rank, ()):
        yield (*pool, *(n for n in _POOLS[0] if n not in pool))


def _differ(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> bool:
    """Have two runs given different outputs?"""
    both = zip(first, second, strict=True)
    return any(a.shape != b.shape or not np.array_equal(a, b, equal_nan=True) for a, b in both)


def _is_open(dims: Sequence[int | str | None]) -> bool:
    """Can an input have one more free dimension?"""
    return sum(not isinstance(d, int) for d in dims) < _MOST_FREE


def _learn(sizes: Sizes, free: set[int], pair: tuple[int, int]) -> bool:
    """Put the one of two sizes in place of the other, where that is free."""
    a, b = pair
    if a not in free and b in free:
        a, b = b, a
    if a not in free or a == b or b < 1:
        return False
    for own in sizes:
        own[:] = [b if n == a else n for n in own]
    free.discard(a)
    return True


def _replaced(sizes: Sizes, old: int, new: int) -> Sizes:
    return [[new if n == old else n for n in own] for own in sizes]


def _differences(compared: Any) -> Iterator[tuple[int, int]]:
    """Pairs of whole numbers that differ in what code has compared before it complained."""
    if compared is None:
        return
    a, b = compared
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            yield from _differences((x, y))
    elif type(a) is int and type(b) is int and a != b:
        yield a, b
        yield b, a
