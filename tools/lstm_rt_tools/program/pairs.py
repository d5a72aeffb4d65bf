"""Which pairs of a step and another count: masks of attention, of the last two dimensions of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .labels import Dim, Dims, Mask, Pairs, Penalty, Scores, Steps, is_steps
from .masks import joined

if TYPE_CHECKING:
    from .labelled import Labelled

Paired: TypeAlias = "Pairs | Penalty | Scores"


def of_mask(b: Labelled, mask: Mask, op: str) -> Pairs:
    """A mask of steps as one of pairs: its steps are the last dimension, or the one before."""
    at = next((i for i, d in enumerate(mask.dims) if d == (Steps(mask.axis),)), None)
    behind = None if at is None else len(mask.dims) - 1 - at
    if behind not in (0, 1):
        raise b.error(op, "a mask of steps that are neither those of the queries nor those of the keys")
    return Pairs(mask.dims, mask if behind else None, None if behind else mask)


def of_numbers(allowed: NDArray[Any]) -> int | None:
    """Numbers as pairs: 0 if all of them count, 1 if those do whose second is not after the first, -1 the other way."""
    square = allowed.reshape(-1, *allowed.shape[-2:]) if allowed.ndim > 1 else allowed[None, None]
    if square.all():
        return 0
    ones = np.ones(square.shape[-2:], bool)
    return next((sign for sign, half in ((1, np.tril(ones)), (-1, np.triu(ones))) if (square == half).all()), None)


def spread(b: Labelled, op: str, *shapes: Dims) -> Dims:
    """Dimensions that broadcast to each other, in which the steps of one axis may occur twice."""
    rank = max(map(len, shapes))
    made: list[Dim] = []
    for column in zip(*(((),) * (rank - len(s)) + s for s in shapes), strict=True):
        found = list(dict.fromkeys(d for d in column if d))
        if len(found) > 1:
            raise b.wrong_roles(op, f"it combines {b.words(found[0])} with {b.words(found[1])}")
        made.append(found[0] if found else ())
    return tuple(made)


def both(b: Labelled, op: str, x: Pairs, y: Pairs) -> Pairs:
    """The pairs that count in both."""
    if x.inverted or y.inverted or x.causal * y.causal < 0:
        raise b.error(op, "such masks of pairs of steps together are not supported")
    first, second = _joined(b, x.first, y.first), _joined(b, x.second, y.second)
    return Pairs(spread(b, op, x.dims, y.dims), first, second, x.causal or y.causal)


def _joined(b: Labelled, x: Mask | None, y: Mask | None) -> Mask | None:
    if x is None or y is None:
        return y if x is None else x
    same = (x.value, x.axis, x.inverted) == (y.value, y.axis, y.inverted)
    return x if same else joined(b, "logical_and", replace(x, dims=()), replace(y, dims=()))


def same(x: Pairs, y: Pairs) -> bool:
    """Do the same pairs count?"""

    def facts(p: Pairs) -> tuple[Any, ...]:
        p = resolved(p)
        return *((m and (m.value, m.axis, m.inverted)) for m in (p.first, p.second)), p.causal, p.inverted

    return facts(x) == facts(y)


def resolved(pairs: Pairs) -> Pairs:
    """The same, not inverted where they are of one mask: that may be."""
    masks = [m for m in (pairs.first, pairs.second) if m is not None]
    if not pairs.inverted or len(masks) != 1 or pairs.causal:
        return pairs
    one = replace(masks[0], inverted=not masks[0].inverted)
    return Pairs(pairs.dims, pairs.first and one, pairs.second and one)


def inverted(pairs: Pairs) -> Pairs:
    """The other pairs."""
    return resolved(replace(pairs, inverted=not pairs.inverted))


def anded(b: Labelled, word: str, x: Any, y: Any, data: NDArray[Any] | None) -> Pairs | None:
    """Two masks of different dimensions, or one and numbers that allow pairs (``data``); None of anything else."""
    if word != "logical_and":
        return None
    if data is not None:
        causal = of_numbers(data.astype(bool)) if data.ndim > 1 and not isinstance(x, Penalty) else None
        if causal is None or (not causal and isinstance(x, Mask)):
            return None
        dims = b.wider(x.dims, data[..., :1, :1], word)
        made = x if isinstance(x, Pairs) else of_mask(b, x, word)
        steps = made.second or made.first
        if causal and steps is not None:
            dims = spread(b, word, dims, ((Steps(steps.axis),), (Steps(steps.axis),)))
        return both(b, word, replace(made, dims=dims), Pairs(dims, None, None, causal))
    if isinstance(x, Mask) and isinstance(y, Mask) and _place(x) == _place(y):
        return None
    return both(b, word, *(p if isinstance(p, Pairs) else of_mask(b, p, word) for p in (x, y)))


def _place(mask: Mask) -> int | None:
    """How far from the end its steps are."""
    return next((i for i, d in enumerate(mask.dims[::-1]) if d == (Steps(mask.axis),)), None)


def _turned(pairs: Pairs) -> Pairs:
    return replace(pairs, first=pairs.second, second=pairs.first, causal=-pairs.causal)


def exchanged(label: Paired) -> Paired:
    """The label with the first steps of its pairs second."""
    if isinstance(label, Pairs):
        return _turned(label)
    if isinstance(label, Penalty):
        return replace(label, mask=_turned(label.mask)) if isinstance(label.mask, Pairs) else label
    soft = {"first": "second", "second": "first"}.get(label.soft, "")
    pairs, only = (p and _turned(p) for p in (label.pairs, label.only))
    return replace(label, q=label.k, k=label.q, soft=soft, pairs=pairs, only=only)


def permuted(label: Paired, axes: Sequence[int]) -> Paired:
    """The dimensions in another order, which may exchange the two of steps."""
    steps = [i for i, d in enumerate(label.dims) if is_steps(d)]
    moved = [axes.index(i) for i in steps]
    made = exchanged(label) if len(moved) == 2 and moved[0] > moved[1] else label
    dims = tuple(label.dims[a] for a in axes)
    return replace(made, dims=dims)
