"""Products with weights, normalisations and recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labelled import Labelled
from ..labels import (
    Counted,
    Dim,
    Dims,
    Feat,
    Label,
    Lengths,
    N,
    Scores,
    Steps,
    Sums,
    apart,
    cell,
    fixed,
    free,
    indexed,
    is_fixed,
    joined_atoms,
    merged_cells,
    permuted,
    positions,
)
from ..machine import Tensor
from ..recognised.written import write_out
from .attention import added, of_sums, scores_of, weighed
from .reductions import reduced

Args = Sequence[Tensor | None]
_MOST_EACH = 64  #: layers that one over rows and something else becomes
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


# -- recurrent layers -----------------------------------------------------------------------------------


def _recurrent(
    word: str, b: Labelled, args: Args, options: Mapping[str, Any], out: tuple[Any, ...]
) -> tuple[Label, ...]:
    args = [*args, *[None] * 4]
    x, states = args[0], list(args[1 : 3 if word == "lstm" else 2])
    lengths = args[3 if word == "lstm" else 2]
    assert x is not None
    options = dict(options)
    batch_first = options.pop("batch_first", False)
    order = (1, 0, 2) if batch_first else (0, 1, 2)
    if x.known:
        states = [s if s is None or s.known else Tensor(s.data, _joined_rows(b.feat(s, word))) for s in states]
        label = _numbers_read(b, word, x, states, order)
    else:
        label = b.feat(x, word)
    if label.dims[order[0]] == () and lengths is None:
        found = _one_step(word, b, label, states, options, order)
        if found is not None:
            return found
    if [type(a) for a in label.dims[order[0]]] == [Steps, int]:
        label = _one_by_one(b, label, order[0])
    if is_fixed(label.dims[order[0]]) and not any(isinstance(a, Steps) for a in free(label.dims)):
        label = b.unflattened(label, order[0])
    time, rows, features = (label.dims[k] for k in order)
    if lengths is None and len(rows) == 2 and sum(isinstance(a, int) for a in rows) == 1 and rows != b.batch:
        return _for_each(word, b, Tensor(x.data, label), states, options | {"batch_first": batch_first}, out, order[1])
    if lengths is None and is_fixed(time) and is_fixed(features) and len(rows) == 2 and not fixed((rows,)):
        return _within_steps(word, b, label, states, options, order)
    if len(time) != 1 or not isinstance(time[0], Steps) or rows != b.batch or not is_fixed(features):
        wanted = "the batch, the steps" if batch_first else "the steps, the batch"
        raise b.wrong_roles(
            word, f"it reads its input as {wanted}, features, but that is {b.dims_in_words(label.dims)}"
        )
    if lengths is not None and isinstance(lengths.label, Counted):
        options |= {"mask": b.padding(lengths.label.mask), "zero_masked": True}
    elif lengths is not None:
        _read_lengths(b, word, lengths, time[0], x.shape[order[0]])
    d = 2 if options.get("direction") == "bidirectional" else 1
    for name, state in zip(("h0", "c0"), states, strict=False):
        options[name] = None if state is None else _state(b, word, state)
    value, weights = _in_place(b, label, options.pop("weights"), word)
    seq, *finals = b.graph.recurrent(word, value, weights, **options)
    size = b.graph.values[seq].size
    dims = [time, rows, (size,) if size > 1 else ()]
    y = Feat(tuple(dims[k] for k in order), cell(seq, np.arange(size)).reshape(fixed(dims)))
    return (y, *(_final(b, v, d) for v in finals if v is not None))


def _joined_rows(state: Feat) -> Feat:
    """A state, what stands beside its rows as one."""
    dims = tuple(joined_atoms(d) for d in state.dims)
    return Feat(dims, state.cells.reshape(fixed(dims)))


def _numbers_read(b: Labelled, word: str, x: Tensor, states: Sequence[Tensor | None], order: Sequence[int]) -> Feat:
    """What a layer reads that is known, such as positions: its rows are those of its states, which are not."""
    found = next((s.label for s in states if s is not None and not s.known), None)
    if found is None:
        raise b.error(word, "it reads a constant, of rows that it is not told")
    count = x.shape[order[0]]
    axis = next((a for a, n in b.steps.items() if n == count > 1 and b.is_free(Steps(a))), None)
    dims: list[Dim] = [(), (), (x.shape[order[2]],) if x.shape[order[2]] > 1 else ()]
    dims[order[0]] = (count,) if axis is None and count > 1 else () if axis is None else (Steps(axis),)
    dims[order[1]] = found.dims[1]
    made = tuple(dims)
    return Feat(made, b.number_cells(b.against(made, x.data, word)))


def _within_steps(
    word: str, b: Labelled, x: Feat, states: Sequence[Tensor | None], options: Mapping[str, Any], order: Sequence[int]
) -> tuple[Label, ...]:
    """A layer within each step of a sequence, such as over the characters of each word: its cells written out."""
    if any(s is not None and (not s.known or np.any(s.data)) for s in states):
        raise b.error(word, "initial states of a layer within each step of a sequence are not supported")
    steps = b.steps_of(x.dims, word)
    assert steps is not None
    arranged = permuted(x, order)
    count, size = math.prod(fixed(arranged.dims[:1])), options["hidden_size"]
    moments = arranged.cells.reshape(count, -1)
    values = [b.at_every_step(b.value(m, steps, word), steps) for m in moments]
    direction = options.get("direction", "forward")
    ways = ["forward", "reverse"] if direction == "bidirectional" else [direction]
    if count * len(ways) > _MOST_EACH:
        raise b.error(word, f"within each step of a sequence it has {count} of its own, which is too many")
    plain = {k: v for k, v in options.items() if k not in ("direction", "weights")}
    columns, finals = [], []
    for way in ways:
        suffix = "_reverse" if way != direction and way == "reverse" else ""
        given = {k.removesuffix("_reverse"): w for k, w in options["weights"].items()
                 if w is not None and k.endswith("_reverse") == bool(suffix)}  # fmt: skip
        made: list[int | None] = [None] * len(states)
        hidden: list[int] = []
        for value in values if way == "forward" else values[::-1]:
            after = write_out(b.graph, word, value, given, made, plain)
            if after is None:
                raise b.error(word, "such a layer within each step of a sequence is not supported")
            made, hidden = list(after), [*hidden, after[0]]
        columns.append(hidden if way == "forward" else hidden[::-1])
        finals.append(made)
    cells = np.stack([[cell(h, np.arange(size)) for h in moment] for moment in zip(*columns, strict=True)])
    lead, rows = arranged.dims[0], arranged.dims[1]
    dims = [lead, rows, (len(ways) * size,) if len(ways) * size > 1 else ()]
    y = Feat(tuple(dims[k] for k in order), cells.reshape(fixed(tuple(dims[k] for k in order))))
    last: Dims = ((len(ways),) if len(ways) > 1 else (), rows, (size,) if size > 1 else ())
    ends = zip(*finals, strict=True)
    return (y, *(Feat(last, np.stack([cell(h, np.arange(size)) for h in end]).reshape(fixed(last))) for end in ends))


def _one_by_one(b: Labelled, label: Feat, i: int) -> Feat:
    """Several features of each step become so many steps, along dimension ``i``, which holds both."""
    (steps, _), (count,) = label.dims[i], fixed(label.dims[i : i + 1])
    assert isinstance(steps, Steps)
    moved = np.moveaxis(label.cells, len(fixed(label.dims[:i])), 0).reshape(count, -1)
    made = b.graph.unflatten(b.at_every_step(b.value(moved, steps, "reshape"), steps), len(moved))
    dims = (*label.dims[:i], (b.new_axis_of(made),), *label.dims[i + 1 :])
    return Feat(dims, cell(made, np.arange(moved.shape[1])).reshape(fixed(dims)))


def _for_each(
    word: str,
    b: Labelled,
    x: Tensor,
    states: Sequence[Tensor | None],
    options: Mapping[str, Any],
    out: tuple[Any, ...],
    at: int,
) -> tuple[Label, ...]:
    """A layer whose batch is rows times something fixed, such as frequencies: one with the same weights for each."""
    (count,) = fixed(x.label.dims[at : at + 1])
    if count > _MOST_EACH:
        raise b.error(word, f"its batch holds {count} features of each row, for each of which it would be a layer")
    axes = [at, *[1] * (len(out) - 1)]

    def one(t: Tensor | None, axis: int, k: int) -> Tensor | None:
        """Of rows times so many, one; numbers only where they are known."""
        if t is None or t.known:
            return None if t is None or not np.any(t.data) else t
        label = t.label
        place = next(iter(positions(label.dims, axis)), None)
        if place is None or fixed(label.dims[axis : axis + 1]) != (count,):
            raise b.wrong_roles(word, "its states are not of the batch that its input has")
        dim, dims = label.dims[axis], list(label.dims)
        dims[axis] = tuple(a for a in dim if not isinstance(a, int))
        apart = t.data.reshape(*t.shape[:axis], *map(b.size_of, dim), *t.shape[axis + 1 :])
        data = np.take(apart, k, axis + dim.index(count))
        return Tensor(data, Feat(tuple(dims), np.take(label.cells, k, place)))

    made = [_recurrent(word, b, [one(x, at, k), *(one(s, 1, k) for s in states)], options, out) for k in range(count)]
    labels = []
    for axis, column in zip(axes, zip(*made, strict=True), strict=True):
        dims = list(column[0].dims)
        dims[axis] = x.label.dims[at]
        labels.append(Feat(tuple(dims), np.stack([c.cells for c in column], len(fixed(dims[:axis])))))
    return tuple(labels)


def _one_step(
    word: str, b: Labelled, x: Feat, states: Sequence[Tensor | None], options: Mapping[str, Any], order: Sequence[int]
) -> tuple[Label, ...] | None:
    """A layer over a single step, as cells are, of a loop: written out, as others are, until all steps are there."""
    options = dict(options)
    if (
        b.steps_of(x.dims, word) is not None
        or x.dims[order[1]] != b.batch
        or options.pop("direction", "") == "bidirectional"
    ):
        return None
    where = np.argsort(x.cells.ravel(), kind="stable")
    weights = {
        k: w[:, where] if k.startswith("w_ih") else w for k, w in options.pop("weights").items() if w is not None
    }
    values = [None if s is None else _state(b, word, s) for s in states]
    value = b.value(x.cells.ravel()[where], None, word)
    if b.loop_of_step is None and not b.unrolled.depends(value):
        return None
    made = write_out(b.graph, word, value, weights, values, options)
    if made is None:
        return None
    size = b.graph.values[made[0]].size
    dims = [(), b.batch, (size,) if size > 1 else ()]
    y = Feat(tuple(dims[k] for k in order), cell(made[0], np.arange(size)).reshape(fixed(dims)))
    return (y, *(_final(b, v, 1) for v in made))


def _in_place(b: Labelled, x: Feat, weights: Mapping[str, Any], word: str) -> tuple[int, dict[str, Any]]:
    """A layer's input in the order of the value behind, and the weights for it: so nothing has to be moved."""
    order = np.argsort(x.cells.ravel(), kind="stable")
    sorted_cells = x.cells.ravel()[order]
    still = bool((np.diff(order) == 1).all())  # then large weights need no copy
    given = {name: w for name, w in weights.items() if w is not None}
    moved = {name: w[:, order] if name.startswith("w_ih") and not still else w for name, w in given.items()}
    steps = b.steps_of(x.dims, word)
    assert steps is not None
    return b.at_every_step(b.value(sorted_cells, steps, word), steps), moved


def _final(b: Labelled, value: int, d: int) -> Feat:
    size = b.graph.values[value].size
    dims: tuple[Dim, ...] = ((d,) if d > 1 else (), b.batch, (size // d,) if size > d else ())
    return Feat(dims, cell(value, np.arange(size)).reshape(fixed(dims)))


def _state(b: Labelled, word: str, state: Tensor) -> int | None:
    """An initial state ``(D, N, H)`` as a vec; None if it is zero."""
    if state.known:
        if np.all(state.data == 0):
            return None
        if not np.array_equal(state.data, np.broadcast_to(state.data[:, :1], state.shape)):
            raise b.error(word, "an initial state that differs from row to row is not supported")
        return b.constant_vec(np.asarray(state.data[:, 0], np.float32).ravel())
    label = b.with_rows_at(b.feat(state, word), 1)
    if label.dims[1] != b.batch or not is_fixed(label.dims[0]) or not is_fixed(label.dims[2]):
        raise b.wrong_roles(
            word, f"its initial state is {b.dims_in_words(label.dims)}, expected layers, the batch, units"
        )
    return b.features(label, word)


def _read_lengths(b: Labelled, word: str, lengths: Tensor, steps: Steps, size: int) -> None:
    if lengths.known:
        if not np.all(lengths.data == size):
            raise b.error(word, "lengths that the program fixes are not supported")
    elif isinstance(lengths.label, Lengths):
        b.use_lengths(lengths.label, steps.axis)
    else:
        raise b.error(word, "lengths that are computed are not supported")


RULES: dict[str, Callable[..., Any]] = {
    "matmul": _matmul,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "l2_normalize": _l2_normalize,
    **{word: partial(_recurrent, word) for word in ("lstm", "gru", "rnn")},
}
