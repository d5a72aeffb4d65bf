"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..labelled import Labelled
from ..labels import (
    Counted,
    Dim,
    Feat,
    Label,
    Lengths,
    Steps,
    cell,
    fixed,
    free,
    is_fixed,
    joined_atoms,
    positions,
)
from ..machine import Tensor
from ..recognised.written import write_out
from ..within import within_steps

Args = Sequence[Tensor | None]
_MOST_EACH = 256  #: layers that one over rows and something else becomes


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
        return within_steps(b, word, label, states, options, order)
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
    x = Tensor(x.data, _next_to_each_other(b, word, x.label, at))

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


def _next_to_each_other(b: Labelled, word: str, x: Feat, at: int) -> Feat:
    """The label; the features of each part that its batch has of a row, where scattered, as neighbours of one value."""
    (place,) = positions(x.dims, at)
    moved = np.moveaxis(x.cells, place, 0)
    if (np.diff(np.sort(moved.reshape(len(moved), -1))) == 1).all():
        return x
    steps = b.steps_of(x.dims, word)
    value = b.value(moved, steps, word)
    made = cell(value, np.arange(moved.size)).reshape(moved.shape)
    return Feat(x.dims, np.moveaxis(made, 0, place))


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


RULES: dict[str, Callable[..., Any]] = {word: partial(_recurrent, word) for word in ("lstm", "gru", "rnn")}
