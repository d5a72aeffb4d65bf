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

from lstm_rt.graph import Activation

from ..labelled import Labelled
from ..labels import (
    TWO_AXES,
    Dims,
    Feat,
    Label,
    Loose,
    Mask,
    Masked,
    N,
    Pairs,
    Penalty,
    PerPair,
    Scores,
    Steps,
    Sums,
    broadcast,
    cell,
    fixed,
    is_steps,
    permuted,
)
from ..machine import Tensor
from ..masks import counting, there
from ..pairs import both, inverted, of_mask, of_numbers, resolved, same, spread

Args = Sequence[Tensor | None]
#: Numbers below this, added to scores, leave no weight.
_NOTHING = -1e4
_ALIKE = -1e8  #: what is added to this is nothing beside it, in float32


# -- products ---------------------------------------------------------------------------------------------


def scores_of(q: Feat, keys: Feat) -> Scores | None:
    """``q (..., L, E) @ keys (..., E, S)`` as scores, if both L and S are steps."""
    if len(q.dims) < 2 or len(keys.dims) < 2 or not is_steps(q.dims[-2]) or not is_steps(keys.dims[-1]):
        return None
    swapped = permuted(keys, [*range(len(keys.dims) - 2), len(keys.dims) - 1, len(keys.dims) - 2])
    return Scores((*q.dims[:-1], swapped.dims[-2]), q, swapped)


def weighed(b: Labelled, scores: Scores, values: Feat) -> Feat:
    """``scores (..., L, S) @ values (..., S, D)``."""
    if scores.soft != "second":
        raise b.error("matmul", "scores of attention without softmax over the keys weigh values")
    if not is_steps(values.dims[-2]) or scores.dims[-1] != values.dims[-2]:
        raise b.wrong_roles("matmul", f"weights for {b.words(scores.dims[-1])} meet {b.words(values.dims[-2])}")
    lead = scores.q.dims[:-2]
    heads = math.prod(fixed(lead))
    parts = [b.features(_by_head(b, x, lead), "attention") for x in (scores.q, scores.k, values)]
    pairs = scores.pairs or Pairs(scores.dims, None, None)
    options: dict[str, Any] = {} if scores.added is None else {"kind": "additive", "weight": scores.added.weight}
    if pairs.second is not None:
        options |= counting(b, pairs.second)
    else:
        options["whole"] = b.has_lengths(scores.dims[-1][0].axis)
    made, _ = b.graph.attention(*parts, heads=heads, scale=scores.scale, causal=bool(pairs.causal), **options)
    made = _filled(b, scores, pairs, made, parts[2])
    dims = (*scores.dims[:-1], values.dims[-1])
    return Feat(dims, cell(made, np.arange(heads * math.prod(fixed(values.dims[-1:])))).reshape(fixed(dims)))


def added(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """A sum for each pair of a step and another, or such sums times weights; None of anything else."""
    if isinstance(x.label, Sums) or isinstance(y.label, Sums):
        sums, other = (x, y) if isinstance(x.label, Sums) else (y, x)
        label, size = sums.label, sums.shape[-1]
        if word != "mul" or not label.tanh or label.weight is not None or not other.known or other.data.size != size:
            return None
        return Sums(label.why, label.dims, label.q, label.k, True, np.asarray(other.data, np.float32).reshape(size))
    if word != "add" or not isinstance(x.label, Feat) or not isinstance(y.label, Feat):
        return None
    for q, k in ((x.label, y.label), (y.label, x.label)):
        rank = max(len(q.dims), len(k.dims))
        first, second = (((),) * (rank - len(f.dims)) + f.dims for f in (q, k))
        apart = rank > 2 and is_steps(first[-3]) and is_steps(second[-2]) and not first[-2] and not second[-3]
        if not apart or first[-1] != second[-1] or fixed((*first[:-1], *second[:-1])) or not first[-1]:
            continue
        dims = spread(b, word, first, second)
        left, right = (*dims[:-3], first[-3], first[-1]), (*dims[:-3], second[-2], second[-1])
        why = f"its result has {TWO_AXES}"
        return Sums(why, dims, Feat(left, q.cells.reshape(fixed(left))), Feat(right, k.cells.reshape(fixed(right))))
    return None


def of_sums(sums: Sums, axes: Sequence[int] | None, keepdims: bool) -> Label:
    """The sum over the features, which gives scores."""
    rank = len(sums.dims)
    if axes is None or [a % rank for a in axes] != [rank - 1] or not sums.tanh:
        return PerPair(sums.why, tuple(() if keepdims else d for d in sums.dims[:-1]))
    dims = (*sums.dims[:-1], ()) if keepdims else sums.dims[:-1]
    return Scores(dims, sums.q, sums.k, added=sums)


def _filled(b: Labelled, scores: Scores, pairs: Pairs, made: int, values: int) -> int:
    """Queries without any key that counts see all alike, as what they are filled with is the same for all keys."""
    lost: list[int] = []  # seqs of one feature: 1 where a query has no key
    steps = scores.dims[-2][0]
    if pairs.causal and pairs.second is not None and math.isfinite(scores.fill):
        sofar = b.graph.cumsum(there(b, pairs.second))
        lost.append(b.graph.activation(b.graph.activation(sofar, Activation("affine", -1.0, 1.0)), "relu"))
    if pairs.first is not None:
        first = pairs.first if pairs.first.dims else replace(pairs.first, dims=((N,), (steps,)))
        own = there(b, first)
        made = b.graph.binary("mul", made, own)
        lost = [b.graph.binary("mul", one, own) for one in lost]
        lost.append(b.graph.activation(own, Activation("affine", -1.0, 1.0)))
    if not lost:
        return made
    if scores.fill > _ALIKE or not math.isfinite(scores.fill):
        raise b.error("attention", "a mask of queries, or of keys before them, that leaves out no or all weight")
    alike = b.graph.reduce(values, "mean", whole=True)
    for one in lost:
        made = b.graph.binary("add", made, b.graph.binary("mul", one, alike))
    return made


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


def limited(b: Labelled, label: Scores | Feat, mask: Mask | Pairs, fill: float) -> Label | None:
    """Scores of which only those count that the mask counts; the others become ``fill``."""
    if isinstance(label, Feat):
        if isinstance(mask, Pairs):
            return None
        dims = b.common(label.dims, mask.dims, "where")
        return Masked(dims, Feat(dims, np.array(broadcast(label, dims))), mask, fill)
    if not all(map(is_steps, label.dims[-2:])):
        raise b.error("attention", "such a mask is not supported")
    wanted = mask if isinstance(mask, Pairs) else of_mask(b, mask, "attention")
    wanted = resolved(wanted)
    for kept, dim in ((wanted.first, label.dims[-2]), (wanted.second, label.dims[-1])):
        if kept is not None and dim != (Steps(kept.axis),):
            raise b.error("attention", "such a mask is not supported")
    if wanted.causal and label.dims[-1] != label.dims[-2]:
        raise b.error("attention", "causality between two sequences is not supported")
    pairs = wanted if label.pairs is None else both(b, "attention", label.pairs, wanted)
    if pairs.inverted:
        raise b.error("attention", "such a mask is not supported")
    return replace(label, pairs=pairs, fill=fill if label.pairs is None else max(fill, label.fill), only=None)


def _kept(x: Tensor, y: Tensor, mask: Mask | Pairs) -> tuple[Tensor, Mask | Pairs, float] | None:
    """What a choice keeps and where, if the other side is a number that leaves no weight, or is infinite."""
    for kept, other, turned in ((x, y, mask.inverted), (y, x, not mask.inverted)):
        fill = np.unique(other.data) if other.known else np.zeros(0)
        if fill.size == 1 and (fill[0] <= _NOTHING or fill[0] == math.inf):
            return kept, replace(mask, inverted=turned), float(fill[0])
    return None


def chosen(b: Labelled, condition: Tensor, x: Tensor, y: Tensor) -> Label | None:
    """``where`` of scores; None if it is none."""
    if isinstance(x.label, Scores) and x.label.soft and y.known and not y.data.any():
        return x.label if _is_nothing_lost(b, x.label, condition) else None
    if isinstance(condition.label, Mask | Pairs):
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
    return _allowed(b, scores.label, keeps, float(other.data.max(initial=-math.inf)))


def _is_nothing_lost(b: Labelled, scores: Scores, condition: Tensor) -> bool:
    """Does a choice leave out only weights that are 0, or of queries without any key that counts?"""
    pairs, wanted = scores.pairs, condition.label
    if pairs is None or scores.soft != "second" or scores.fill != -math.inf:
        return False
    if isinstance(wanted, Mask):
        wanted = of_mask(b, wanted, "attention")
    if isinstance(wanted, Pairs):
        return any(same(wanted, replace(pairs, causal=c)) for c in {0, pairs.causal})
    causal = of_numbers(condition.data) if condition.known else None
    return causal is not None and causal in (0, pairs.causal)


def _allowed(b: Labelled, scores: Scores, allowed: NDArray[Any], fill: float) -> Label | None:
    """Scores of pairs that numbers allow: all, or those of keys up to the query's own step."""
    causal = of_numbers(allowed)
    if causal is None:
        raise b.error("attention", "pairs of steps may be masked by causality alone")
    return scores if causal == 0 else limited(b, scores, Pairs(scores.dims, None, None, causal), fill)


def combined(b: Labelled, word: str, x: Tensor, y: Tensor) -> Label | None:
    """Sums and products of scores, masks and what masks become; None if the operation is about none of these."""
    rules: tuple[tuple[Any, Callable[..., Label | None]], ...] = (
        (Scores, _with_scores),
        (Penalty, _with_penalty),
        (Mask | Pairs, _mask_number),
    )
    for kinds, rule in rules:
        for own, other in ((x, y), (y, x)):
            if isinstance(own.label, kinds):
                return rule(b, word, own, other, own is x)
    return None


def _with_scores(b: Labelled, word: str, own: Tensor, other: Tensor, first: bool) -> Label | None:
    scores: Scores = own.label
    if scores.soft:
        return None
    if isinstance(other.label, Scores):
        return _chosen_of(b, scores, other.label) if word == "add" else None
    if isinstance(other.label, Penalty) and (word == "add" or (word == "sub" and first)):
        fill = other.label.fill if word == "add" else -other.label.fill
        return _penalised(b, scores, other.label.mask, fill) if fill < 0 else None
    if isinstance(other.label, Mask | Pairs) and word == "mul" and scores.only is None:
        mask = other.label
        return replace(scores, only=mask if isinstance(mask, Pairs) else of_mask(b, mask, word))
    return _with_numbers(b, word, scores, np.asarray(other.data, np.float64), first) if other.known else None


def _with_numbers(b: Labelled, word: str, scores: Scores, numbers: NDArray[np.float64], first: bool) -> Label | None:
    alike = bool(numbers.size) and bool((numbers == numbers.flat[0]).all())
    value = float(numbers.flat[0]) if numbers.size else 0.0
    made: Label
    if alike and scores.pairs is None and (word == "mul" or (word == "div" and first)):
        factor = value if word == "mul" else 1 / value
        made = replace(scores, scale=scores.scale * factor, shift=scores.shift * factor)
        return made
    if alike and value and scores.only is None and (word == "add" or (word == "sub" and first)):
        by = value if word == "add" else -value
        if by <= _ALIKE and scores.pairs is None:  # what leaves no weight where other scores stand
            made = replace(scores, shift=scores.shift + by)
            return made
    causal = of_numbers(numbers == (word == "mul")) if scores.only is None or word == "add" else None
    if word == "mul" and causal and np.isin(numbers, (0, 1)).all():
        made = replace(scores, only=Pairs(scores.dims, None, None, causal))
        return made
    if word == "add" and np.all((numbers == 0) | (numbers <= _NOTHING)):
        if scores.only is None:
            return _allowed(b, scores, numbers == 0, float(numbers.min(initial=0)))
        mask = Pairs(scores.dims, None, None, causal or 0)
        return _penalised(b, scores, mask, float(numbers.min(initial=0))) if causal is not None else None
    return None


def _penalised(b: Labelled, scores: Scores, mask: Mask | Pairs, fill: float) -> Label | None:
    """A large number is added to the scores that do not count, or stands in their place, where they are 0."""
    pairs = mask if isinstance(mask, Pairs) else of_mask(b, mask, "attention")
    if scores.only is not None and not same(scores.only, pairs):
        return None
    return limited(b, scores, pairs, fill)


def _chosen_of(b: Labelled, x: Scores, y: Scores) -> Label | None:
    """Scores where they count, and the same ones less a large number elsewhere."""
    kept, lost = (x, y) if not x.shift else (y, x)
    if kept.only is None or lost.only is None or kept.shift or not lost.shift <= _ALIKE or kept.pairs or lost.pairs:
        return None
    alike = kept.q is lost.q and kept.k is lost.k and kept.scale == lost.scale
    if not alike or not same(kept.only, inverted(lost.only)):
        return None
    return limited(b, kept, kept.only, lost.shift)


def _with_penalty(b: Labelled, word: str, own: Tensor, other: Tensor, first: bool) -> Label | None:
    penalty: Penalty = own.label
    fill = penalty.fill * float(other.data.flat[0]) if other.known and other.data.size == 1 else 0.0
    if word == "mul" and fill <= _NOTHING:
        return replace(penalty, fill=fill)
    fill = penalty.fill if word == "add" else -penalty.fill
    if word not in ("add", "sub") or (word == "sub" and first) or fill >= 0 or not isinstance(other.label, Feat):
        return None
    mask = penalty.mask
    return limited(b, other.label, replace(mask, dims=penalty.dims), fill) if isinstance(mask, Mask) else None


def _mask_number(b: Labelled, word: str, own: Tensor, other: Tensor, first: bool) -> Label | None:
    """A mask as numbers: inverted (``1 - mask``), or large where it is true (``mask * -1e9``)."""
    mask: Mask | Pairs = own.label
    number = np.asarray(other.data, np.float64)
    if not other.known or not number.size or not (number == number.flat[0]).all():
        return None
    value = float(number.flat[0])
    turned: Mask | Pairs = replace(mask, inverted=not mask.inverted)
    if word == "sub" and not first and value == 1:
        return turned
    if word == "mul" and abs(value) >= -_NOTHING:
        return Penalty(mask.dims, turned, value)
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
    steps_at = [i for i, d in enumerate(label.dims) if is_steps(d)]
    if label.only is not None or label.shift or len(steps_at) != 2 or axis % len(label.dims) not in steps_at:
        return Loose("softmax of such scores is not supported", label.dims)
    soft = "second" if axis % len(label.dims) == steps_at[1] else "first"
    if label.pairs is not None and label.pairs.causal == (-1 if soft == "second" else 1):
        return Loose("attention to the steps behind alone is not supported", label.dims)
    return replace(label, soft=soft)


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
    scores = Scores((*queries.dims[:-1], keys.dims[-2]), queries, keys, scale=scale)
    if options.get("causal"):
        scores = _scores(b, _allowed(b, scores, np.tril(np.ones((q.shape[-2], k.shape[-2]), bool)), -math.inf))
    if mask is not None and mask.known:
        allowed = mask.data if mask.data.dtype == bool else mask.data == 0
        scores = _scores(b, _allowed(b, scores, allowed, -math.inf))
    elif mask is not None:
        found = limited(b, scores, mask.label, -math.inf) if isinstance(mask.label, Mask | Pairs) else None
        if isinstance(mask.label, Penalty):
            found = limited(b, scores, mask.label.mask, mask.label.fill)
        scores = _scores(b, found)
    return weighed(b, replace(scores, soft="second"), values)


def _scores(b: Labelled, found: Label | None) -> Scores:
    if not isinstance(found, Scores):
        raise b.error("attention", "such a mask is not supported")
    return found


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
