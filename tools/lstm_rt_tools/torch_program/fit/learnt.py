"""Which sizes the inputs of a scripted module have: nothing is known of them.

The module runs on arrays whose sizes are different primes: where an operation, or the code itself, says that 13 should
be 8, the size that was 13 has to be 8; where it says so of two of them, they are one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

from ...names import shown
from ...program.machine import Misfit, Tensor
from ..agree import DimsDiffer, ShapesDiffer, SizesDiffer, WantsType
from ..script_prims import Raised
from .runs import LENGTHS, Dims, Runs, Sizes, TooLarge, Unsized, differ, may_be_free

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
_MOST_LESSONS = 40
_MOVE = 16  #: steps more, to see what depends on them
_MOST_FREE = 3  #: free dimensions of an input of which it is looked whether all of it counts
_MOST_SIDE = 512  #: pixels along the side of an image


@dataclass(frozen=True)
class Found:
    """What inputs may be; ``framed``: a size of them is free that can only be made so many times as large."""

    dims: Dims
    dtypes: list[np.dtype[Any]]
    notes: list[str]
    framed: bool = False


class Learnt(Runs):
    """Learns sizes from what a program complains of.

    Attributes:
        sizes: at which it has run in the end.
        shapes: of the outputs there, with 0 for what depends on sizes that are free.
        picked: dimensions of which only so many count; ``spared``: of inputs that have too many free ones otherwise.
        solved: sizes that others are made of, as by convolutions.
        unsure: why sizes that it runs at are arbitrary, if they are: another one depends on them.
    """

    def __init__(self, source: Unsized) -> None:
        super().__init__(source)
        self.seen: dict[str, list[tuple[int, int]] | None] = {}  #: what runs at sizes complained of
        self.learnt = 0
        self.sizes: Sizes = []
        self.shapes: list[tuple[int, ...]] = []
        self.picked: set[tuple[int, int]] = set()
        self.spared: set[tuple[int, int]] = set()
        self.solved: set[int] = set()
        self.unsure: ConvertError | None = None

    def found(self) -> Iterator[Found]:
        """What the inputs may be, likelier forms first: none but where something is known that fits.

        Raises:
            ConvertError: no sizes are found at which the program runs; the message has what the likeliest ran into.
        """
        best: tuple[tuple[bool, int, bool], ConvertError, Sequence[int]] | None = None
        told: list[Dims] = []
        later: list[Found] = []
        for long, ranks in itertools.product((False, True), self._ranks()):
            for pool in _pools(max(ranks, default=0)):
                try:
                    forms, doubtful = self._forms(ranks, pool, long)
                except ConvertError as e:
                    worth = (not isinstance(e, TooLarge), self.learnt, not isinstance(e, DimsDiffer))
                    if best is None or worth > best[0]:
                        best = worth, e, ranks
                    sizes = isinstance(e, Misfit | SizesDiffer | Raised) and not isinstance(e, DimsDiffer)
                    if not (self.learnt or sizes) or self.ended:
                        break  # sizes that are by chance those of layers are not why
                    continue
                new = [form for form in forms if form.dims not in told]
                told += [form.dims for form in new]
                later += new if doubtful else []
                yield from () if doubtful else new
                break
            if self.ended:
                break
        yield from later
        if not told:
            raise self._not_found(*(best[1:] if best else (None, ())))

    def _forms(self, ranks: Sequence[int], pool: Sequence[int], long: bool) -> tuple[list[Found], bool]:
        """What inputs of so many dimensions may be, at sizes of one pool, and whether the program has its doubts."""
        dims = self._flat(ranks, self._with_ranks(ranks, pool, long), long)
        doubtful, unsure = bool(self.doubts) or self.widens, self.unsure
        plain = Found(dims, list(self.dtypes), [*self._squares_told(), *self._spans_told(dims), *self._spared_told()])
        others = [*self._freer(plain), *self._as_outputs(plain, ranks, pool, long)]
        if unsure is not None and not others:
            raise unsure
        return [*others, *([plain] if unsure is None else [])], doubtful

    def _not_found(self, error: ConvertError | None, ranks: Sequence[int]) -> ConvertError:
        if error is None:
            return ConvertError(f"no input has as many dimensions as the sizes that are set say, at most {max(_RANKS)}")
        if not isinstance(error, SizesDiffer | ShapesDiffer | WantsType | Raised | Misfit):
            return error
        names = ", ".join(map(shown, self.names)) or "none"
        rank, i = max((r, i) for i, r in enumerate(ranks))
        return ConvertError(
            f"{error}; a scripted module does not say which shapes its inputs ({names}) have, and none were found: "
            f"say sizes (--set {shown(self.names[i])}.{rank - 1}=... for that of dimension {rank - 1}, and others), "
            "trace it with an example (torch.jit.trace), or export it (torch.export)"
        )

    def _freer(self, plain: Found) -> Iterator[Found]:
        """A fixed size that may be others: 1, which may be as many as there are of what it stands beside, or one that
        may be twice as large, and three times, as that of samples that frames are cut from.
        """
        for i, own in enumerate(plain.dims):
            for k, n in enumerate(own):
                if not isinstance(n, int) or (i, k) in self.given or self.dtypes[i].kind != "f" or not may_be_free(own):
                    continue
                if all(self.can_grow(self.sizes, [(i, k)], more) for more in ((4, 9) if n == 1 else (n, 2 * n))):
                    dims = [list(d) for d in plain.dims]
                    dims[i][k] = None
                    yield replace(plain, dims=dims, framed=n > 1)

    def _as_outputs(self, plain: Found, ranks: Sequence[int], pool: Sequence[int], long: bool) -> Iterator[Found]:
        """A size that was found to do may be that of the output in its place, where this does as well: so it is of
        states.
        """
        if len(self.shapes) != len(ranks):
            return
        shapes = self.shapes
        learnt = [(i, k, n) for i, own in enumerate(plain.dims) for k, n in enumerate(own) if isinstance(n, int)]
        learnt = [(i, k, n) for i, k, n in learnt if (i, k) not in self.given and (i, k) not in self.picked]
        for i, k, n in reversed(learnt):
            m = shapes[i][k] if len(shapes[i]) == ranks[i] else 0
            if m > 1 and m != n and (dims := self._with(i, k, m, ranks, pool, long)) is not None:
                name = f"{shown(self.names[i])}.{k}"
                note = f"{name} is taken to be {m}, as in the outputs; --set {name}=... says otherwise"
                yield Found(dims, list(self.dtypes), [*self._squares_told(), note])
                return

    def _with(self, i: int, k: int, n: int, ranks: Sequence[int], pool: Sequence[int], long: bool) -> Dims | None:
        """The dimensions where one of them is of this size."""
        self.given[i, k] = n
        try:
            return self._with_ranks(ranks, pool, long)
        except ConvertError:
            return None
        finally:
            del self.given[i, k]

    def _flat(self, ranks: Sequence[int], dims: Dims, long: bool) -> Dims:
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
            [r for r in ((1,) if LENGTHS.search(n) else _RANKS) if r > least.get(i, -1)]
            for i, n in enumerate(self.names)
        ]
        orders = itertools.product(*(range(len(c)) for c in choices))
        for pick in sorted(itertools.islice(orders, 1024), key=sum):
            yield tuple(c[k] for c, k in zip(choices, pick, strict=True))

    def _with_ranks(self, ranks: Sequence[int], pool: Sequence[int], long: bool) -> Dims:
        """The dimensions, for inputs of so many; ``long``: the last size of each is large, as of samples of sound."""
        self.solved.clear()
        self.learnt, self.squares = 0, dict[int, tuple[int, int]]()  # inputs that are images: dimension and side
        supply, large = (iter([n for n in p if n not in self.given.values()]) for p in (pool, _LARGE))
        sizes: Sizes = [
            [self.given.get((i, k)) or next(large if long and k == r - 1 else supply) for k in range(r)]
            for i, r in enumerate(ranks)
        ]
        if any(LENGTHS.search(n) for n in self.names):
            self.dtypes = [
                np.dtype(np.int64) if LENGTHS.search(n) else d for n, d in zip(self.names, self.dtypes, strict=True)
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
                    size = size if least in free else least
                    self.solved.add(size)
                    return _learn(sizes, free, (n, size))
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

    def _confirmed(self, sizes: Sizes, free: set[int]) -> Dims:
        """The dimensions, if it runs at other sizes of what is free, too."""
        free = self._surely_free(sizes, free)
        larger = self._larger(sizes, free)
        both = [self.run(self.arrays(s)) for s in (sizes, larger)]
        shapes = [[y.shape for y in ys] for ys in both]
        self.shapes = [tuple(n * (n == m) for n, m in zip(a, b, strict=False)) for a, b in zip(*shapes, strict=True)]
        self.picked = set()
        self.spared = set()
        for i, own in enumerate(sizes):
            count = len(free.intersection(own))
            if count > _MOST_FREE:
                continue  # some of them have to be set, or else nothing comes of it
            for k, n in enumerate(own):
                if n in free and sum(s.count(n) for s in sizes) == 1 and self.dtypes[i].kind == "f":
                    read = self._read(sizes, i, k)
                    own[k] = read if read < n and read == self._read(larger, i, k) else n
                    self.picked |= {(i, k)} - ({(i, k)} if own[k] == n else set())
                    self.spared |= {(i, k)} if own[k] != n and count == _MOST_FREE else set()
        self.sizes = sizes
        return self._named(sizes, free)

    def _surely_free(self, sizes: Sizes, free: set[int]) -> set[int]:
        """Sizes that can be others: not those that another one has been made to fit to."""
        self.unsure = None
        try:
            self.run(self.arrays(self._larger(sizes, free)))
        except ConvertError as e:
            fixed = {n for n in free if not self._takes(_replaced(sizes, n, n + _MOVE))}
            if not fixed or len(fixed) == len(free):
                raise
            for n in sorted(fixed):
                least = self._last_that_does(n, -1, partial(_replaced, sizes, n))
                if least < n or self._takes(_replaced(sizes, n, n + 1)):  # one of some that do alike
                    _learn(sizes, free, (n, n if least in free else least))
                    self.solved.add(n if least in free else least)
                else:
                    self.unsure = e
            return free - fixed
        return free

    def _takes(self, sizes: Sizes) -> bool:
        try:
            self.run(self.arrays(sizes))
        except ConvertError:
            return False
        return True

    def _squares_told(self) -> list[str]:
        """What the user should know of images whose size was found."""
        return [
            f"the images of {shown(self.names[i])} are taken to be square, {side} x {side}; "
            f"--set {shown(self.names[i])}.{k}=... says otherwise"
            for i, (k, side) in self.squares.items()
        ]

    def _spans_told(self, dims: Dims) -> list[str]:
        """What the user should know of sizes that are the smallest of some that do alike."""
        found = []
        for i, own in enumerate(dims):
            for k, n in enumerate(own):
                if not isinstance(n, int) or n not in self.solved or self.sizes[i].count(n) > 1:
                    continue
                least, most = (self._last_that_does(n, by, partial(self._with_size, i, k)) for by in (-1, 1))
                if most > least:
                    name = f"{shown(self.names[i])}.{k}"
                    told = f"{name} is taken to be {n}: {least} to {most} do alike, and --set {name}=... says which"
                    found.append(told)
        return found

    def _spared_told(self) -> list[str]:
        """What the user should know of sizes of which no more is read."""
        names = {f"{shown(self.names[i])}.{k}": self.sizes[i][k] for i, k in sorted(self.spared)}
        return [f"{d} is taken to be {n}, as no more is read; --set {d}=... says otherwise" for d, n in names.items()]

    def _with_size(self, i: int, k: int, n: int) -> Sizes:
        sizes = [list(own) for own in self.sizes]
        sizes[i][k] = n
        return sizes

    def _last_that_does(self, n: int, by: int, sizes: Callable[[int], Sizes]) -> int:
        """The last of the numbers up from ``n``, or down, at whose sizes the program runs; ``n`` if there is no end."""
        for m in range(n, n + 2 * by * _MOVE, by):
            if m + by < 1 or not self._takes(sizes(m + by)):
                return m
        return n

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
        first = self.run(self.arrays(sizes))
        low, high = 0, sizes[i][k]  # changing what is behind ``low`` matters, behind ``high`` it does not
        while high > low:
            n = (low + high) // 2
            arrays = self.arrays(sizes)
            arrays[i][tuple([slice(None)] * k + [slice(n, None)])] += 1
            low, high = (n + 1, high) if differ(first, self.run(arrays)) else (low, n)
        return low or sizes[i][k]

    def _to_type(self, tensor: Tensor, dtype: np.dtype[Any]) -> bool:
        """Let the inputs that a tensor comes from be of another type than floats."""
        changed = False
        for i in tensor.label or ():
            changed = changed or self.dtypes[i].kind == "f"
            self.dtypes[i] = dtype
        return changed

    def _named(self, sizes: Sizes, free: set[int]) -> Dims:
        count = {n: sum(own.count(n) for own in sizes) for n in free}
        first = {n: f"{self.names[i]}.{own.index(n)}" for i, own in reversed(list(enumerate(sizes))) for n in own}
        return [[n if n not in free else first[n] if count[n] > 1 else None for n in own] for own in sizes]


def _pools(rank: int) -> Iterator[Sequence[int]]:
    """Sizes to begin with, for inputs of at most so many dimensions."""
    if rank not in _IMAGES:
        yield from _POOLS
    for pool in _IMAGES.get(rank, ()):
        yield (*pool, *(n for n in _POOLS[0] if n not in pool))


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
