"""Attention: a score for every pair of a query's and a key's step, softmax, and means of values with these weights.

No value of a graph has two time axes, so scores stay a label (:class:`.labels.Scores`) until they weigh values. Scores
for a single query, or over features that stand for steps, are ordinary features and never come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labelled import Labelled
from ..labels import (
    Dims,
    Feat,
    Label,
    Loose,
    Mask,
    Masked,
    Penalty,
    Scores,
    Steps,
    broadcast,
    cell,
    fixed,
    is_steps,
    permuted,
)
from ..machine import Tensor
from ..masks import counting

Args = Sequence[Tensor | None]
#: Numbers below this, added to scores, leave no weight.
_NOTHING = -1e4


# -- products ---------------------------------------------------------------------------------------------


def scores_of(b: Labelled, q: Feat, keys: Feat) -> Scores | None:
    """``q (..., L, E) @ keys (..., E, S)`` as scores, if both L and S are steps."""
    if len(q.dims) < 2 or len(keys.dims) < 2 or not is_steps(q.dims[-2]) or not is_steps(keys.dims[-1]):
        return None
    swapped = permuted(keys, [*range(len(keys.dims) - 2), len(keys.dims) - 1, len(keys.dims) - 2])
    return Scores((*q.dims[:-1], swapped.dims[-2]), q, swapped, mask_whole=b.has_lengths(keys.dims[-1][0].axis))


def weighed(b: Labelled, scores: Scores, values: Feat) -> Feat:
    """``scores (..., L, S) @ values (..., S, D)``."""
    if not scores.soft:
        raise b.error("matmul", "scores of attention without softmax over the keys weigh values")
    if not is_steps(values.dims[-2]) or scores.dims[-1] != values.dims[-2]:
        raise b.wrong_roles("matmul", f"weights for {b.words(scores.dims[-1])} meet {b.words(values.dims[-2])}")
    lead = scores.q.dims[:-2]
    heads = math.prod(fixed(lead))
    parts = [_by_head(b, x, lead) for x in (scores.q, scores.k, values)]
    made, _ = b.graph.attention(
        *(b.features(p, "attention") for p in parts),
        heads=heads,
        scale=scores.scale,
        causal=scores.causal,
        mask=scores.mask,
        whole=scores.mask_whole,
    )
    dims = (*scores.dims[:-1], values.dims[-1])
    return Feat(dims, cell(made, np.arange(heads * math.prod(fixed(values.dims[-1:])))).reshape(fixed(dims)))


def _by_head(b: Labelled, x: Feat, lead: Dims) -> Feat:
    """The label with the heads of the queries before its last two dimensions."""
    own = x.dims[:-2]
    if own == lead:
        return x
    if math.prod(fixed(own)) == math.prod(fixed(lead)):  # cut into dimensions in another way
        dims = (*lead, *x.dims[-2:])
        return Feat(dims, x.cells.reshape(fixed(dims)))
    dims = b.common((*lead, (), ()), x.dims, "attention")
    return Feat(dims, np.array(broadcast(x, dims)))


# -- masks ------------------------------------------------------------------------------------------------


def limited(b: Labelled, label: Scores | Feat, mask: Mask, fill: float) -> Label:
    """Scores of which only those count whose key the mask counts; the others become ``fill``."""
    if isinstance(label, Feat):
        dims = b.common(label.dims, mask.dims, "where")
        return Masked(dims, Feat(dims, np.array(broadcast(label, dims))), mask, fill)
    if label.mask is not None or not is_steps(label.dims[-1]) or Steps(mask.axis) != label.dims[-1][0]:
        raise b.error("attention", "such a mask is not supported")
    counts = counting(b, mask)
    return replace(label, mask=counts["mask"], mask_whole=counts["whole"])


def _kept(x: Tensor, y: Tensor, mask: Mask) -> tuple[Tensor, Mask, float] | None:
    """What a choice keeps and where, if the other side is a number that leaves no weight, or is infinite."""
    for kept, other, inverted in ((x, y, mask.inverted), (y, x, not mask.inverted)):
        fill = np.unique(other.data) if other.known else np.zeros(0)
        if fill.size == 1 and (fill[0] <= _NOTHING or fill[0] == math.inf):
            return kept, replace(mask, inverted=inverted), float(fill[0])
    return None


def chosen(b: Labelled, condition: Tensor, x: Tensor, y: Tensor) -> Label | None:
    """``where`` of scores; None if it is none."""
    if isinstance(x.label, Scores) and x.label.soft and y.known and not y.data.any():
        return x.label if _is_nothing_lost(x.label, condition) else None
    if isinstance(condition.label, Mask):
        found = _kept(x, y, condition.label)
        if found is None:
            return None
        kept, mask, fill = found
        if fill > 0:
            return limited(b, kept.label, mask, fill) if isinstance(kept.label, Feat) else None
        if kept.known and not kept.data.any():
            return Penalty(b.wider(mask.dims, kept.data, "where"), mask, fill)
        return limited(b, kept.label, mask, fill) if isinstance(kept.label, Scores | Feat) else None
    scores, other, keeps = (x, y, condition.data) if isinstance(x.label, Scores) else (y, x, ~condition.data)
    if not condition.known or not isinstance(scores.label, Scores) or not other.known or np.any(other.data > _NOTHING):
        return None
    return _allowed(b, scores.label, keeps)


def _is_nothing_lost(scores: Scores, condition: Tensor) -> bool:
    """Does a choice leave out only weights that are 0?"""
    mask = condition.label
    if isinstance(mask, Mask):
        same = scores.mask == mask.value and not mask.inverted and (Steps(mask.axis),) == scores.dims[-1]
        return same and not (mask.value is None and scores.mask_whole)
    allowed = condition.data
    return condition.known and bool(allowed.all() or (scores.causal and allowed[..., _lower(allowed)].all()))


def _lower(allowed: NDArray[Any]) -> NDArray[Any]:
    return np.tril(np.ones(allowed.shape[-2:], bool))


def _allowed(b: Labelled, scores: Scores, allowed: NDArray[Any]) -> Scores:
    """Scores of pairs that numbers allow: all, or those of keys up to the query's own step."""
    if allowed.all():
        return scores
    square = allowed.reshape(-1, *allowed.shape[-2:]) if allowed.ndim > 1 else allowed[None, None]
    lower = _lower(square)
    if not np.array_equal(square, np.broadcast_to(lower, square.shape)):
        raise b.error("attention", "pairs of steps may be masked by causality alone")
    if scores.dims[-1] != scores.q.dims[-2]:
        raise b.error("attention", "causality between two sequences is not supported")
    return replace(scores, causal=True)


def combined(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """Sums and products of scores, masks and what masks become; None if the operation is about none of these."""
    first = x.label if isinstance(x.label, Scores | Penalty | Mask) else y.label
    other = y if first is x.label else x
    if isinstance(first, Mask):
        return _mask_number(word, first, x, y) if other.known else None
    made: Label
    if isinstance(first, Penalty):
        fill = first.fill * float(other.data.flat[0]) if other.known and other.data.size == 1 else 0.0
        if word == "mul" and fill <= _NOTHING:
            return replace(first, fill=fill)
        if word != "add" or not isinstance(other.label, Scores | Feat):
            return None
        return limited(b, other.label, replace(first.mask, dims=first.dims), first.fill)
    if not isinstance(first, Scores) or first.soft:
        return None
    if isinstance(other.label, Penalty) and word == "add":
        return limited(b, first, other.label.mask, other.label.fill)
    if not other.known:
        return None
    numbers = np.asarray(other.data, np.float64)
    if word in ("mul", "div") and numbers.size and (numbers == numbers.flat[0]).all() and first is x.label:
        factor = float(numbers.flat[0])
        made = replace(first, scale=first.scale * factor if word == "mul" else first.scale / factor)
        return made
    if word == "mul" and numbers.size == 1:
        made = replace(first, scale=first.scale * float(numbers.flat[0]))
        return made
    if word == "add" and np.all((numbers == 0) | (numbers <= _NOTHING)):
        return _allowed(b, first, numbers == 0)
    return None


def _mask_number(word: str, mask: Mask, x: Tensor, y: Tensor) -> Label | None:
    """A mask as numbers: inverted (``1 - mask``), or large where it is true (``mask * -1e9``)."""
    number = np.asarray(y.data if x.label is mask else x.data, np.float64)
    if not number.size or not (number == number.flat[0]).all():
        return None
    value = float(number.flat[0])
    if word == "sub" and y.label is mask and value == 1:
        return Mask(mask.value, mask.axis, mask.dims, not mask.inverted)
    if word == "mul" and value <= _NOTHING:
        return Penalty(mask.dims, replace(mask, inverted=not mask.inverted), value)
    if word == "mul" and value == 1:
        return mask
    return None


# -- softmax, and the operation as one ----------------------------------------------------------------------


def softmax_of(b: Labelled, label: Scores | Masked, axis: int) -> Label:
    """Softmax over the keys, or over steps that a mask leaves."""
    if isinstance(label, Masked):
        dim = label.feat.dims[axis]
        if not is_steps(dim) or dim[0] != Steps(label.mask.axis):
            raise b.error("softmax", "a mask of steps, but softmax over something else")
        steps, counts = Steps(label.mask.axis), counting(b, label.mask)
        return b.each(label.feat, "softmax", lambda v: b.graph.softmax_steps(b.at_every_step(v, steps), **counts))
    if axis % len(label.dims) != len(label.dims) - 1 or not is_steps(label.dims[-1]):
        return Loose("softmax of scores over the queries is not supported", label.dims)
    return replace(label, soft=True)


def _attention(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    q, k, v, mask = [*args, None][:4]
    assert q is not None
    assert k is not None
    assert v is not None
    queries, keys, values = (b.feat(x, "attention") for x in (q, k, v))
    scale = options.get("scale")
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if not is_steps(keys.dims[-2]) or not is_steps(queries.dims[-2]):
        return _put_together(b, q, k, v, mask, options, scale)
    whole = b.has_lengths(keys.dims[-2][0].axis)
    scores = Scores((*queries.dims[:-1], keys.dims[-2]), queries, keys, scale=scale, mask_whole=whole)
    if options.get("causal"):
        scores = _allowed(b, scores, np.tril(np.ones((q.shape[-2], k.shape[-2]), bool)))
    if mask is not None and mask.known:
        scores = _allowed(b, scores, mask.data if mask.data.dtype == bool else mask.data == 0)
    elif mask is not None:
        found = limited(b, scores, mask.label, -math.inf) if isinstance(mask.label, Mask) else None
        if isinstance(mask.label, Penalty):
            found = limited(b, scores, mask.label.mask, mask.label.fill)
        if not isinstance(found, Scores):
            raise b.error("attention", "such a mask is not supported")
        scores = found
    return weighed(b, replace(scores, soft=True), values)


def _put_together(
    b: Labelled, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: Mapping[str, Any], scale: float
) -> Label:
    """Of a single query, or where queries or keys are features: by the operations that it stands for."""
    if options.get("causal") and q.shape[-2] > 1:
        raise b.error("attention", "causal attention where steps are features is not supported")
    axes = [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
    scores = b.apply("mul", b.apply("matmul", q, b.apply("permute", k, axes=axes)), b.constant(np.float32(scale)))
    if mask is not None:
        nothing = b.constant(np.float32(-1e30))
        boolean = mask.dtype == bool
        scores = b.apply("where", mask, scores, nothing) if boolean else b.apply("add", scores, mask)
    label: Label = b.apply("matmul", b.apply("softmax", scores, axis=-1), v).label
    return label


RULES: dict[str, Callable[..., Any]] = {"attention": _attention}
