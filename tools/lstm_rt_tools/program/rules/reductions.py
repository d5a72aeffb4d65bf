"""Sums, means and the like over features or steps, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..labelled import Labelled
from ..labels import (
    TWO_AXES,
    Counted,
    Differs,
    Dims,
    Extreme,
    Feat,
    Label,
    Loose,
    Mask,
    Masked,
    N,
    PerPair,
    Scores,
    Steps,
    Sums,
    Times,
    cell,
    fixed,
    is_fixed,
    is_steps,
    permuted,
    positions,
)
from ..machine import Tensor
from ..masks import counting
from ..truths import place_of_largest
from .arithmetic import activation, differing_steps
from .attention import of_sums, softmax_of

Args = Sequence[Tensor | None]
_NOTHING = {"max": -math.inf, "min": math.inf}  #: is neither the largest nor the smallest of anything
_KINDS = ("sum", "mean", "max", "min", "prod", "l2")


def _reduce(kind: str, b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    if isinstance(x.label, Scores):  # such as a mean over heads, for the user to look at
        return PerPair(f"weights of attention between two sequences have {TWO_AXES}", x.label.dims)
    if isinstance(x.label, Mask) and kind == "sum":
        counted = _counted(x.label, options.get("axes"), options.get("keepdims", False))
        if counted is not None:
            return counted
    if isinstance(x.label, Masked) and x.label.fill == _NOTHING.get(kind):
        return _extreme(b, x, kind, options.get("axes"), options.get("keepdims", False))
    if isinstance(x.label, Sums) and kind == "sum":
        return of_sums(x.label, options.get("axes"), options.get("keepdims", False))
    if isinstance(x.label, Differs | Mask) and (found := _of_steps(b, x.label, kind, options)) is not None:
        return found
    return reduced(b, b.feat(x, kind), kind, options.get("axes"), options.get("keepdims", False))


def _of_steps(b: Labelled, label: Differs | Mask, kind: str, options: Mapping[str, Any]) -> Label | None:
    """Steps of which any feature differs from a number, or all equal it, or how many differ; None of anything else."""
    over, dims = _without(label.dims, options.get("axes"), options.get("keepdims", False))
    if any(not is_fixed(label.dims[i]) for i in over):
        return None
    if isinstance(label, Mask):  # one number a step, the same for all features
        several = math.prod(fixed([label.dims[i] for i in over]))
        if kind == "sum" and several > 1:
            return Times(dims, replace(label, dims=dims), float(several))
        return replace(label, dims=dims) if kind in ("sum", "max", "min", "mean", "prod") else None
    if fixed(dims) or label.counted or label.dims != label.feat.dims:
        return None
    if kind == "sum" and not label.equal:
        return replace(label, dims=dims, counted=True)
    return differing_steps(b, label, dims) if kind == ("min" if label.equal else "max") else None


def _counted(mask: Mask, axes: Sequence[int] | None, keepdims: bool) -> Label | None:
    """The sum of a mask over its steps; None of any other sum."""
    over, dims = _without(mask.dims, axes, keepdims)
    if [mask.dims[i] for i in over if mask.dims[i]] != [(Steps(mask.axis),)]:
        return None
    return Counted(dims, mask)


def _without(dims: Dims, axes: Sequence[int] | None, keepdims: bool) -> tuple[set[int], Dims]:
    """The dimensions that a reduction goes over, and those of what it gives."""
    over = {a % len(dims) for a in (range(len(dims)) if axes is None else axes)}
    return over, tuple(() if i in over else d for i, d in enumerate(dims) if keepdims or i not in over)


def _extreme(b: Labelled, x: Tensor, kind: str, axes: Sequence[int] | None, keepdims: bool) -> Label:
    label: Masked = x.label
    steps, counts = Steps(label.mask.axis), counting(b, label.mask)
    exact = reduced(b, b.feat(x, kind), kind, axes, keepdims)
    over, dims = _without(label.dims, axes, keepdims)
    if [label.dims[i] for i in over] != [(steps,)]:
        return exact
    found = b.each(label.feat, kind, lambda v: b.graph.reduce(b.at_every_step(v, steps), kind, **counts))
    return Extreme(dims, label.mask, Feat(dims, found.cells), exact)


def reduced(b: Labelled, label: Feat, kind: str, axes: Sequence[int] | None, keepdims: bool) -> Feat:
    """``kind`` of the numbers along dimensions; all of them for None."""
    rank = len(label.dims)
    over = sorted({a % rank for a in (range(rank) if axes is None else axes)})
    for i in over:
        if N in label.dims[i]:
            raise b.wrong_roles(kind, "it goes over the batch")
        if not is_fixed(label.dims[i]) and len(label.dims[i]) > 1:
            raise b.error(kind, f"over {b.words(label.dims[i])} it is not supported")
    label = _over_features(b, label, kind, [i for i in over if is_fixed(label.dims[i])])
    for i in over:
        if label.dims[i]:
            label = _over_steps(b, label, kind, i)
    kept = tuple(d for i, d in enumerate(label.dims) if keepdims or i not in over)
    return Feat(kept, label.cells)


def _over_features(b: Labelled, label: Feat, kind: str, over: Sequence[int]) -> Feat:
    """The dimensions become of size 1."""
    gone = [p for i in over for p in positions(label.dims, i)]
    count = math.prod(label.cells.shape[p] for p in gone)
    dims = tuple(() if i in over else d for i, d in enumerate(label.dims))
    if count == 1:
        cells = label.cells.reshape(fixed(dims))
        return activation(b, Feat(dims, cells), kind, "abs") if kind == "l2" else Feat(dims, cells)
    kept = [p for p in range(label.cells.ndim) if p not in gone]
    groups = label.cells.transpose([*kept, *gone]).reshape(-1, count)
    value = b.value(groups, b.steps_of(label.dims, kind), kind)
    made = b.graph.reduce_features(value, kind, groups=len(groups))
    return Feat(dims, cell(made, np.arange(len(groups)).reshape(fixed(dims))))


def _over_steps(b: Labelled, label: Feat, kind: str, i: int) -> Feat:
    steps: Any = label.dims[i][0]
    dims = (*label.dims[:i], (), *label.dims[i + 1 :])
    whole = b.has_lengths(steps.axis)
    found = b.each(label, kind, lambda v: b.graph.reduce(b.at_every_step(v, steps), kind, whole=whole))
    return Feat(dims, found.cells)


def _softmax(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    if isinstance(x.label, Scores) or (isinstance(x.label, Masked) and x.label.fill == -math.inf):
        return softmax_of(b, x.label, options.get("axis", -1))
    return softmax(b, b.feat(x, "softmax"), options.get("axis", -1))


def softmax(b: Labelled, label: Feat, axis: int) -> Feat:
    """Along one dimension."""
    i = axis % len(label.dims)
    if is_steps(label.dims[i]):
        steps: Any = label.dims[i][0]
        whole = b.has_lengths(steps.axis)
        return b.each(label, "softmax", lambda v: b.graph.softmax_steps(b.at_every_step(v, steps), whole=whole))
    if not is_fixed(label.dims[i]):
        raise b.wrong_roles("softmax", f"it goes over {b.words(label.dims[i])}")
    if math.prod(fixed(label.dims)) == math.prod(fixed(label.dims[i : i + 1])):
        return _along_features(b, label, "softmax")
    top = reduced(b, label, "max", (i,), True)
    shifted = b.pairs(label, top, "softmax", lambda p, q: b.graph.binary("sub", p, q))
    exps = activation(b, shifted, "softmax", "exp")
    total = reduced(b, exps, "sum", (i,), True)
    return b.pairs(exps, total, "softmax", lambda p, q: b.graph.binary("div", p, q))


def _logsumexp(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    label, axes = b.feat(x, "logsumexp"), options.get("axes")
    rank = len(label.dims)
    top = reduced(b, label, "max", axes, True)
    exps = activation(b, b.pairs(label, top, "logsumexp", partial(b.graph.binary, "sub")), "logsumexp", "exp")
    logs = activation(b, reduced(b, exps, "sum", axes, True), "logsumexp", "log")
    total = b.pairs(logs, top, "logsumexp", partial(b.graph.binary, "add"))
    gone = {a % rank for a in (range(rank) if axes is None else axes)}
    kept = tuple(d for i, d in enumerate(total.dims) if options.get("keepdims", False) or i not in gone)
    return Feat(kept, total.cells)


def _along_features(b: Labelled, label: Feat, act: str) -> Feat:
    """An activation that mixes all features of the label."""
    value = b.features(label, act)
    made = b.graph.activation(value, act)
    return Feat(label.dims, cell(made, np.arange(label.cells.size)).reshape(label.cells.shape))


def _log_softmax(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    label = b.feat(x, "log_softmax")
    i = options.get("axis", -1) % len(label.dims)
    if is_fixed(label.dims[i]) and label.cells.size == math.prod(fixed(label.dims[i : i + 1])):
        return _along_features(b, label, "log_softmax")
    return activation(b, softmax(b, label, i), "log_softmax", "log")


def _argmax(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    i = options["axis"] % len(x.label.dims)
    dims: Dims = tuple(
        () if k == i else d for k, d in enumerate(x.label.dims) if k != i or options.get("keepdims", False)
    )
    if not isinstance(x.label, Feat) or not is_fixed(x.label.dims[i]):
        return Loose("the number of the largest (argmax) of anything but features is not supported", dims)
    return Feat(dims, place_of_largest(b, x.label, i).cells)


def _cumsum(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    x = args[0]
    assert x is not None
    label = b.feat(x, "cumsum")
    i = options["axis"] % len(label.dims)
    if is_steps(label.dims[i]):
        steps: Any = label.dims[i][0]
        return b.each(label, "cumsum", lambda v: b.graph.cumsum(b.at_every_step(v, steps)))
    if not is_fixed(label.dims[i]):
        raise b.wrong_roles("cumsum", f"it goes over {b.words(label.dims[i])}")
    from .layers import dense_over

    n = math.prod(fixed(label.dims[i : i + 1]))
    return dense_over(b, permuted(label, range(len(label.dims))), i, np.triu(np.ones((n, n), np.float32)), "cumsum")


RULES: dict[str, Callable[..., Any]] = {
    **{kind: partial(_reduce, kind) for kind in _KINDS},
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "argmax": _argmax,
    "cumsum": _cumsum,
}
