"""Products with weights, and normalisations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labelled import Labelled
from ..labels import (
    Dim,
    Feat,
    Label,
    N,
    Scores,
    Sums,
    apart,
    cell,
    fixed,
    indexed,
    is_fixed,
    merged_cells,
    permuted,
)
from ..machine import Tensor
from .attention import added, of_sums, scores_of, weighed
from .reductions import reduced

Args = Sequence[Tensor | None]
_MOST_PRODUCTS = 1 << 16  #: of two values that depend on the inputs, each a feature for a moment


# -- products -------------------------------------------------------------------------------------------


def dense_over(b: Labelled, x: Feat, i: int, weight: NDArray[Any], op: str) -> Feat:
    """``sum_k x[..k..] weight[k, o]`` over dimension ``i``, which is fixed: ``weight (K, O)``."""
    if not is_fixed(x.dims[i]):
        mixed = ", which puts numbers of different rows of the batch together" if N in x.dims[i][1:] else ""
        raise b.wrong_roles(op, f"weights for {b.words(x.dims[i])}{mixed}")
    x = merged_cells(x, i)
    k, o = weight.shape
    rest = [d for d in range(len(x.dims)) if d != i]
    arranged = permuted(x, [*rest, i])
    cells = arranged.cells.reshape(-1, k)
    steps = b.steps_of(x.dims, op)
    weight = np.asarray(weight, np.float32)
    if len(cells) == 1:  # the features of each value in its order, so that nothing has to be moved
        values, features = apart(cells[0])
        _, first, at = np.unique(values, return_index=True, return_inverse=True)
        order = np.lexsort((features, first[at]))
        made = b.graph.dense(b.value(cells[0][order], steps, op), weight[order].T)
    else:
        rows = np.ascontiguousarray(weight.T).reshape(o, k, 1, 1, 1)
        made = b.graph.conv(b.value(cells, steps, op), rows, size=(len(cells), 1))
    last: Dim = (o,) if o > 1 else ()
    dims = (*arranged.dims[:-1], last)
    out = Feat(dims, cell(made, np.arange(len(cells) * o)).reshape(fixed(dims)))
    back = [0] * len(dims)
    for place, d in enumerate([*rest, i]):
        back[d] = place
    return permuted(out, back)


def _matmul(b: Labelled, args: Args, options: Mapping[str, Any], out: NDArray[Any]) -> Label:
    x, y = args
    assert x is not None
    assert y is not None
    if isinstance(x.label, Sums) and y.known and y.data.size == y.shape[0]:
        weighted = added(b, "mul", x, b.constant(y.data.ravel()))
        if isinstance(weighted, Sums):
            return of_sums(weighted, (-1,), keepdims=y.ndim > 1)
    if y.known:
        return _times_weight(b, b.feat(x, "matmul"), y.data)
    if x.known:
        label = b.feat(y, "matmul")
        if y.ndim == 1:
            return _times_weight(b, label, np.swapaxes(x.data, -1, -2) if x.ndim > 1 else x.data)
        swapped = _swapped(label)
        if x.ndim == 1:
            return _times_weight(b, swapped, x.data)
        return _swapped(_times_weight(b, swapped, np.swapaxes(x.data, -1, -2)))
    return _of_two(b, x, y)


def _swapped(label: Feat) -> Feat:
    return permuted(label, [*range(len(label.dims) - 2), len(label.dims) - 1, len(label.dims) - 2])


def _times_weight(b: Labelled, x: Feat, weight: NDArray[Any]) -> Feat:
    while weight.ndim > 2 and (weight == weight[:1]).all():  # also one made wide for each row or step
        weight = weight[0]
    last = len(x.dims) - 1
    if weight.ndim == 1:
        found = dense_over(b, x, last, weight[:, None], "matmul")
        return Feat(found.dims[:-1], found.cells)
    if weight.ndim > 2:
        return _weight_each(b, x, weight)
    return dense_over(b, x, last, weight, "matmul")


def _weight_each(b: Labelled, x: Feat, weight: NDArray[Any]) -> Feat:
    """A weight of its own for each of the features that stand where the batch of the product does."""
    lead = weight.shape[:-2]
    rank = max(len(x.dims), weight.ndim)
    if len(x.dims) < rank:
        x = Feat(((),) * (rank - len(x.dims)) + x.dims, x.cells)
    parts: list[Feat] = []
    (place,) = (
        [rank - 2 - len(lead) + k for k, n in enumerate(lead) if n > 1] if sum(n > 1 for n in lead) == 1 else [-1]
    )
    if place < 0:
        raise b.error("matmul", f"with weights of {weight.ndim} dimensions is not supported")
    flat = weight.reshape(-1, *weight.shape[-2:])
    if not is_fixed(x.dims[place]):
        raise b.wrong_roles("matmul", f"it has weights for each of {b.words(x.dims[place])}")
    for k, w in enumerate(flat):
        own = x if not x.dims[place] else indexed(x, place, lambda cells, axis, k=k: np.take(cells, [k], axis))  # type: ignore[misc]
        parts.append(dense_over(b, own, rank - 1, w, "matmul"))
    axis = len(fixed(parts[0].dims[:place]))
    dims = (*parts[0].dims[:place], (len(parts),), *parts[0].dims[place + 1 :])
    return Feat(dims, np.stack([p.cells for p in parts], axis))


def _of_two(b: Labelled, x: Tensor, y: Tensor) -> Label:
    """A product of two values that depend on the inputs: all products, and their sum."""
    if isinstance(x.label, Scores):
        return weighed(b, x.label, b.feat(y, "matmul"))
    p, q = b.feat(x, "matmul"), b.feat(y, "matmul")
    if (scores := scores_of(p, q)) is not None:
        return scores
    p_dims = p.dims if x.ndim > 1 else ((), *p.dims)
    q_dims = q.dims if y.ndim > 1 else (*q.dims, ())
    wide_p = Feat((*p_dims, ()), p.cells)
    wide_q = Feat((*q_dims[:-2], (), *q_dims[-2:]), q.cells)
    dims = b.common(wide_p.dims, wide_q.dims, "matmul")
    if math.prod(fixed(dims)) > _MOST_PRODUCTS:
        raise b.error("matmul", f"of two values with {math.prod(fixed(dims))} products in a step is not supported")
    products = b.pairs(wide_p, wide_q, "matmul", lambda u, v: b.graph.binary("mul", u, v))
    total = reduced(b, products, "sum", (-2,), False)
    made = [d for k, d in enumerate(total.dims) if not (k == len(total.dims) - 1 and y.ndim == 1)]
    if x.ndim == 1:
        del made[len(made) - 1 - (y.ndim > 1)]
    return Feat(tuple(made), total.cells)


# -- normalisations -------------------------------------------------------------------------------------


def _known(b: Labelled, args: Args, at: int, what: str) -> NDArray[Any] | None:
    t = args[at] if len(args) > at else None
    return None if t is None else np.asarray(b.number(t, what), np.float32)


def _batch_norm(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    assert args[0] is not None
    x = b.feat(args[0], "batch_norm")
    mean, var, gamma, beta = (_known(b, args, k, "the statistics of a batch_norm") for k in range(1, 5))
    assert mean is not None
    assert var is not None
    shape = [1] * len(x.dims)
    shape[options.get("axis", 1)] = -1
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    eps = float(options.get("eps", 1e-5))
    arrays = [a.reshape(shape) for a in (mean, var, gamma, beta)]

    def make(value: int, m: NDArray[Any], v: NDArray[Any], g: NDArray[Any], s: NDArray[Any]) -> int:
        return b.graph.batchnorm(value, m, v, g, s, eps)

    return b.with_numbers(x, arrays, "batch_norm", make)


def _layer_norm(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    assert args[0] is not None
    x, gamma, beta = b.feat(args[0], "layer_norm"), _known(b, args, 1, "gamma"), _known(b, args, 2, "beta")
    dims = range(len(x.dims) - options.get("dims", 1), len(x.dims))
    eps = float(options.get("eps", 1e-5))
    if not all(is_fixed(x.dims[d]) for d in dims):
        raise b.wrong_roles("layer_norm", "it goes over the batch or the steps")
    numbers = [None if a is None else b.against(x.dims, a, "layer_norm") for a in (gamma, beta)]
    groups = x.cells.size // math.prod(fixed([x.dims[d] for d in dims]))
    columns = [None if n is None else np.broadcast_to(n, x.cells.shape).ravel() for n in numbers]
    value = b.features(x, "layer_norm")
    if groups == 1:
        made = b.graph.layernorm(value, columns[0], columns[1], eps)
    else:
        made = b.graph.groupnorm(value, columns[0], columns[1], eps, groups)
    return Feat(x.dims, cell(made, np.arange(x.cells.size)).reshape(x.cells.shape))


def _group_norm(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    assert args[0] is not None
    x, gamma, beta = b.feat(args[0], "group_norm"), _known(b, args, 1, "gamma"), _known(b, args, 2, "beta")
    groups, eps = options.get("groups", 1), float(options.get("eps", 1e-5))
    shape = (1, -1, *[1] * (len(x.dims) - 2))
    if any(not is_fixed(d) for d in x.dims[1:]):
        return _group_norm_over_steps(b, x, gamma, beta, eps, groups)
    columns = []
    for a in (gamma, beta):
        if a is not None:
            a = np.broadcast_to(b.against(x.dims, a.reshape(shape), "group_norm"), x.cells.shape).ravel()
        columns.append(a)
    made = b.graph.groupnorm(b.features(x, "group_norm"), columns[0], columns[1], eps, groups)
    return Feat(x.dims, cell(made, np.arange(x.cells.size)).reshape(x.cells.shape))


def _group_norm_over_steps(
    b: Labelled, x: Feat, gamma: NDArray[Any] | None, beta: NDArray[Any] | None, eps: float, groups: int
) -> Feat:
    """Statistics over time as well, put together of means."""
    if not is_fixed(x.dims[1]):
        raise b.wrong_roles("group_norm", f"its channels are {b.words(x.dims[1])}")
    from .arithmetic import activation, scaled

    channels = fixed(x.dims[1:2])[0] if x.dims[1] else 1
    split: list[Dim] = [x.dims[0], (groups,) if groups > 1 else (), (channels // groups,) if channels > groups else ()]
    parts = Feat((*split, *x.dims[2:]), x.cells.reshape(fixed((*split, *x.dims[2:]))))
    over = range(2, len(parts.dims))
    mean = reduced(b, parts, "mean", over, True)
    centred = b.pairs(parts, mean, "group_norm", lambda p, q: b.graph.binary("sub", p, q))
    var = reduced(b, activation(b, centred, "group_norm", "square"), "mean", over, True)
    spread = activation(b, scaled(b, var, "group_norm", 1, eps), "group_norm", "sqrt")
    y = b.pairs(centred, spread, "group_norm", lambda p, q: b.graph.binary("div", p, q))
    joined = Feat(x.dims, y.cells.reshape(x.cells.shape))
    shape = (1, -1, *[1] * (len(x.dims) - 2))
    factor = np.float32(1) if gamma is None else gamma.reshape(shape)
    shift = np.float32(0) if beta is None else beta.reshape(shape)
    return scaled(b, joined, "group_norm", factor, shift)


def _l2_normalize(b: Labelled, args: Args, options: Mapping[str, Any], out: Any) -> Label:
    assert args[0] is not None
    x = b.feat(args[0], "l2_normalize")
    i = options.get("axis", -1) % len(x.dims)
    if not is_fixed(x.dims[i]):
        raise b.wrong_roles("l2_normalize", f"it goes over {b.words(x.dims[i])}")
    order = [*(d for d in range(len(x.dims)) if d != i), i]
    arranged = permuted(x, order)
    size = math.prod(fixed(x.dims[i : i + 1]))
    value = b.features(arranged, "l2_normalize")
    made = b.graph.l2norm(value, float(options.get("eps", 1e-12)), groups=arranged.cells.size // size)
    y = Feat(arranged.dims, cell(made, np.arange(arranged.cells.size)).reshape(arranged.cells.shape))
    return permuted(y, [order.index(d) for d in range(len(order))])


RULES: dict[str, Callable[..., Any]] = {
    "matmul": _matmul,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "l2_normalize": _l2_normalize,
}
