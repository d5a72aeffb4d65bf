"""Operators that move numbers and compute no new ones."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op

_OPEN = (1 << 31) - 1  #: what exporters write for the end of an axis, or more


@op("Reshape")
def _reshape(c: Call) -> Value:
    x, sizes = c.tensor(0), c.known_ints(1, "shape") or []
    if not c.integer("allowzero", 0):
        if any(n == 0 and i >= x.ndim for i, n in enumerate(sizes)):
            raise c.error(f"a size of the shape {tuple(sizes)} is that of an axis which the input does not have")
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    if sizes.count(-1) == 1:
        others = math.prod(n for n in sizes if n != -1)
        if others and x.data.size % others == 0:
            sizes[sizes.index(-1)] = x.data.size // others
    if min(sizes, default=0) < 0 or math.prod(sizes) != x.data.size:
        error = c.error(f"an input of the shape {x.shape} does not fit into {tuple(sizes)}, which the file has fixed")
        error.sizes = tuple(dict.fromkeys(n for n in _meant(c, x, sizes) if n > 1))
        raise error
    return c.reshape(x, sizes)


def _meant(c: Call, x: Tensor, sizes: Sequence[int]) -> Iterator[int]:
    """Numbers of rows or steps with which ``x`` might fit into these sizes, likelier ones first."""
    yield from sizes
    there = math.prod(n for n in sizes if n > 0)
    for n in sizes:  # of what was a quotient by the steps: those that make it what it should be
        should, rest = divmod(x.data.size * n, there or 1)
        if (whole := c.dividend(n)) and should and not rest:
            yield whole // should
    for behind in itertools.accumulate(reversed(x.shape[1:]), operator.mul):  # steps joined with what follows them
        if behind and there % behind == 0:
            yield there // behind
    features = x.shape[-1] if x.ndim else 1
    yield from (n // features for n in sizes if features > 1 and n % features == 0)


@op("Flatten")
def _flatten(c: Call) -> Value:
    x = c.tensor(0)
    axis = c.integer("axis", 1)
    axis = axis if axis == x.ndim else c.axis(axis, x.ndim)
    return c.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@op("Squeeze")
def _squeeze(c: Call) -> Value:
    x = c.tensor(0)
    given = c.ints("axes") if c.version < 13 else c.known_ints(1, "axes")
    axes = [i for i, n in enumerate(x.shape) if n == 1] if given is None else c.axes(given, x.ndim)
    for axis in axes:
        if x.shape[axis] != 1:
            raise c.error(f"axis {axis} of an input of the shape {x.shape} is not of size 1")
    return c.one("squeeze", x, axes=tuple(axes)) if axes else x


@op("Unsqueeze")
def _unsqueeze(c: Call) -> Value:
    x = c.tensor(0)
    given = c.ints("axes") if c.version < 13 else c.known_ints(1, "axes")
    return unsqueeze(c, x, given or [])


def unsqueeze(c: Call, x: Tensor, axes: Sequence[int]) -> Tensor:
    """``x`` with axes of size 1 where the result has them."""
    ndim = x.ndim + len(axes)
    new = set(c.axes(axes, ndim))
    if len(new) != len(axes):
        raise c.error(f"an axis is named twice in {list(axes)}")
    return c.one("unsqueeze", x, axes=tuple(sorted(new))) if new else x


@op("Transpose")
def _transpose(c: Call) -> Value:
    x = c.tensor(0)
    order = c.ints("perm")
    return permute(c, x, range(x.ndim - 1, -1, -1) if order is None else c.axes(order, x.ndim))


def permute(c: Call, x: Tensor, order: Sequence[int]) -> Tensor:
    """``x`` with its axes in another order."""
    if sorted(order) != list(range(x.ndim)):
        raise c.error(f"{list(order)} is no order of the axes of an input of the shape {x.shape}")
    return x if list(order) == list(range(x.ndim)) else c.one("permute", x, axes=tuple(order))


@op("Expand")
def _expand(c: Call) -> Value:
    x, sizes = c.tensor(0), c.known_ints(1, "shape") or []
    try:
        wide = np.broadcast_shapes(x.shape, tuple(sizes))
    except ValueError:
        raise c.error(f"an input of the shape {x.shape} does not spread to {tuple(sizes)}") from None
    return expand(c, x, wide)


def expand(c: Call, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """``x`` repeated to a shape; itself, if it has it."""
    return x if tuple(sizes) == x.shape else c.one("expand", x, sizes=list(sizes))


@op("Tile")
def _tile(c: Call) -> Value:
    x, repeats = c.tensor(0), c.known_ints(1, "repeats") or []
    if len(repeats) != x.ndim or min(repeats, default=0) < 0:
        raise c.error(f"repeats {repeats} for an input of the shape {x.shape}")
    return x if set(repeats) <= {1} else c.one("tile", x, repeats=repeats)


@op("Concat")
def _concat(c: Call) -> Value:
    parts = c.tensors()
    return concat(c, parts, c.axis(c.integer("axis", 1 if c.version < 4 else None), parts[0].ndim if parts else 0))


def concat(c: Call, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors behind each other; what is empty is left out."""
    full = [p for p in parts if p.ndim <= axis or p.shape[axis]] or list(parts[:1])
    return full[0] if len(full) == 1 else c.one("concat", *full, axis=axis)


@op("Split")
def _split(c: Call) -> Value | tuple[Value, ...]:
    x = c.tensor(0)
    axis = c.axis(c.integer("axis", 0), x.ndim)
    sizes = c.ints("split") if c.version < 13 else c.known_ints(1, "split")
    count = c.integer("num_outputs", 0) or len(c.node.output)
    return tuple(split(c, x, axis, even(x.shape[axis], count) if sizes is None else sizes))


def even(size: int, count: int) -> list[int]:
    """As many parts, all of one size but the last, which may be smaller."""
    part = -(-size // count)
    return [max(0, min(part, size - k * part)) for k in range(count)]


def split(c: Call, x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    """The parts of ``x`` along an axis."""
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        error = c.error(f"parts of the sizes {list(sizes)} of an axis of size {x.shape[axis]}")
        error.sizes = (sum(sizes),)
        raise error
    parts, at = [], 0
    for size in sizes:
        if not size:  # which nothing reads, or it is refused there
            parts.append(c.constant(np.zeros([0 if i == axis else n for i, n in enumerate(x.shape)], x.dtype)))
            continue
        parts.append(x if size == x.shape[axis] else c.one("slice", x, axis=axis, start=at, stop=at + size, step=1))
        at += size
    return parts


@op("Slice")
def _slice(c: Call) -> Value:
    x = c.tensor(0)
    if c.version < 10:
        starts, ends, axes, steps = c.ints("starts") or [], c.ints("ends") or [], c.ints("axes"), None
    else:
        starts, ends = c.known_ints(1, "starts") or [], c.known_ints(2, "ends") or []
        axes, steps = c.known_ints(3, "axes"), c.known_ints(4, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise c.error(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps")
    for start, end, axis, step in zip(starts, ends, c.axes(axes, x.ndim), steps, strict=True):
        x = sliced(c, x, axis, start, end, step)
    return x


def sliced(c: Call, x: Tensor, axis: int, start: int, end: int, step: int = 1) -> Tensor:
    """``x`` from ``start`` to ``end``, which count from the end where they are negative."""
    size = x.shape[axis]
    if step == 0:
        raise c.error("a step of 0")
    if step > 0:
        stop = None if end >= _OPEN else end
        begin = 0 if start <= -_OPEN else start
        if step == 1 and begin == 0 and (stop is None or stop == size):
            return x
        return c.one("slice", x, axis=axis, start=begin, stop=stop, step=step)
    found = range(*slice(start, end, step).indices(size))
    if not found:
        return c.one("slice", x, axis=axis, start=0, stop=0, step=1)
    part = sliced(c, x, axis, found[-1], found[0] + 1, -step)
    return c.one("flip", part, axis=axis)


def at(c: Call, x: Tensor, index: int, axis: int) -> Tensor:
    """``x`` at one index of an axis, without the axis; a negative index counts from the end."""
    if not -x.shape[axis] <= index < x.shape[axis]:
        raise c.error(f"index {index} of an axis of size {x.shape[axis]}")
    part = c.one("slice", x, axis=axis, start=index, stop=index + 1 if index != -1 else _OPEN, step=1)
    return c.one("squeeze", part, axes=(axis,))


@op("Gather")
def _gather(c: Call) -> Value:
    x, index = c.tensor(0), c.tensor(1)
    axis = c.axis(c.integer("axis", 0), x.ndim)
    if not index.known:
        return c.one("index_select", x, index, axis=axis)
    if index.ndim == 0:
        return at(c, x, int(index.data), axis)
    size = x.shape[axis]
    numbers = index.data.reshape(-1).astype(np.int64)
    if ((numbers < -size) | (numbers >= size)).any():
        raise c.error(f"an index lies outside an axis of size {size}")
    if numbers.size == 1:
        return c.reshape(at(c, x, int(numbers[0]), axis), (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
    flat = c.one("index_select", x, c.constant(numbers % size), axis=axis)
    return c.reshape(flat, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


@op("GatherElements")
def _gather_elements(c: Call) -> Value:
    return c.one("gather_elements", c.tensor(0), c.tensor(1), axis=c.axis(c.integer("axis", 0), c.tensor(0).ndim))


@op("GatherND")
def _gather_nd(c: Call) -> Value:
    x = c.tensor(0)
    if c.integer("batch_dims", 0):
        raise c.error("batch_dims is not supported")
    if not c.tensor(1).known:
        return _gather_rows(c, x, c.tensor(1))
    index = c.known(1, "indices").astype(np.int64)
    depth = index.shape[-1] if index.ndim else 0
    sizes = np.array(x.shape[:depth], np.int64)
    if not 1 <= depth <= x.ndim or ((index < -sizes) | (index >= sizes)).any():
        raise c.error(f"indices of shape {index.shape} do not fit an input of the shape {x.shape}")
    flat = np.ravel_multi_index(tuple(np.moveaxis(index % sizes, -1, 0).reshape(depth, -1)), tuple(x.shape[:depth]))
    rows = c.reshape(x, (math.prod(x.shape[:depth]), *x.shape[depth:]))
    found = c.one("index_select", rows, c.constant(np.asarray(flat, np.int64)), axis=0)
    return c.reshape(found, (*index.shape[:-1], *x.shape[depth:]))


def _gather_rows(c: Call, x: Tensor, index: Tensor) -> Value:
    """By numbers that depend on the inputs: places among all of what the first dimensions have."""
    depth = index.shape[-1] if index.ndim else 0
    if not 1 <= depth <= x.ndim:
        raise c.error(f"indices of shape {index.shape} do not fit an input of the shape {x.shape}")
    flat: Tensor | None = None
    for k in range(depth):
        column = c.one("slice", index, axis=-1, start=k, stop=k + 1, step=1)
        column = c.one("squeeze", column, axes=(index.ndim - 1,))
        column = c.one("mul", column, c.constant(np.int64(math.prod(x.shape[k + 1 : depth]))))
        flat = column if flat is None else c.one("add", column, flat)
    assert flat is not None
    rows = c.reshape(x, (math.prod(x.shape[:depth]), *x.shape[depth:]))
    return c.one("index_select", rows, flat, axis=0)


@op("ReverseSequence")
def _reverse_sequence(c: Call) -> Value:
    time, batch = c.integer("time_axis", 0), c.integer("batch_axis", 1)
    return c.one("reverse_sequence", c.tensor(0), c.tensor(1), time_axis=time, batch_axis=batch)


@op("Pad")
def _pad(c: Call) -> Value:
    x, mode = c.tensor(0), c.text("mode", "constant")
    if c.version < 11:
        given, value, axes = c.ints("pads") or [], c.number("value", 0.0), None
    else:
        given, axes = c.known_ints(1, "pads") or [], c.known_ints(3, "axes")
        value = c.known_number(2, "constant_value", 0.0)
    where = list(range(x.ndim)) if axes is None else c.axes(axes, x.ndim)
    if len(given) != 2 * len(where) or mode not in ("constant", "edge", "reflect"):
        raise c.error(f"mode {mode}, {len(given)} pads for {len(where)} axes")
    pads = [(0, 0)] * x.ndim
    for k, axis in enumerate(where):
        pads[axis] = (given[k], given[k + len(where)])
    for axis, (before, behind) in enumerate(pads):
        if before < 0 or behind < 0:
            x = sliced(c, x, axis, max(0, -before), x.shape[axis] + min(0, behind))
    grow = [(max(0, before), max(0, behind)) for before, behind in pads]
    return x if not any(map(any, grow)) else c.one("pad", x, pads=grow, mode=mode, value=value)


@op("DepthToSpace")
def _depth_to_space(c: Call) -> Value:
    x, block = c.tensor(0), c.integer("blocksize")
    n, channels, *space = x.shape
    if block < 1 or channels % block ** len(space):
        raise c.error(f"blocksize {block} for an input of the shape {x.shape}")
    part, k = channels // block ** len(space), len(space)
    blocks, deep = [block] * k, list(range(1, k + 1))
    if c.text("mode", "DCR") == "DCR":
        x = c.reshape(x, (n, *blocks, part, *space))
        order = [0, k + 1]
    else:
        x = c.reshape(x, (n, part, *blocks, *space))
        order, deep = [0, 1], [d + 1 for d in deep]
    order += [axis for i in range(k) for axis in (k + 2 + i, deep[i])]
    return c.reshape(permute(c, x, order), (n, part, *(s * block for s in space)))


@op("SpaceToDepth")
def _space_to_depth(c: Call) -> Value:
    x, block = c.tensor(0), c.integer("blocksize")
    n, channels, *space = x.shape
    if block < 1 or any(s % block for s in space):
        raise c.error(f"blocksize {block} for an input of the shape {x.shape}")
    k = len(space)
    x = c.reshape(x, (n, channels, *(size for s in space for size in (s // block, block))))
    blocks, places = [3 + 2 * i for i in range(k)], [2 + 2 * i for i in range(k)]
    order = [0, *blocks, 1, *places] if c.text("mode", "DCR") == "DCR" else [0, 1, *blocks, *places]
    return c.reshape(permute(c, x, order), (n, channels * block**k, *(s // block for s in space)))


@op("Trilu")
def _trilu(c: Call) -> Value:
    x, k, upper = c.tensor(0), int(c.known_number(1, "k", 0)), bool(c.integer("upper", 1))
    rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
    keep = columns - rows >= k if upper else columns - rows <= k
    return c.one("where", c.constant(keep), x, c.constant(x.dtype.type(0)))


@op("Compress")
def _compress(c: Call) -> Value:
    x, keep = c.tensor(0), np.flatnonzero(c.known(1, "condition"))
    if not c.has("axis"):
        return c.one("index_select", c.reshape(x, (x.data.size,)), c.constant(keep), axis=0)
    return c.one("index_select", x, c.constant(keep), axis=c.axis(c.integer("axis"), x.ndim))


@op("ScatterND")
def _scatter_nd(c: Call) -> Value:
    x, updates = c.tensor(0), c.tensor(2)
    index = c.known(1, "indices").astype(np.int64)
    if c.text("reduction", "none") != "none":
        raise c.error(f"reduction {c.text('reduction')} is not supported")
    if x.known and updates.known:
        out = np.array(x.data)
        out[tuple(np.moveaxis(index, -1, 0))] = updates.data
        return c.constant(out)
    return _written(c, x, index, updates)


def _written(c: Call, x: Tensor, index: np.ndarray, updates: Tensor) -> Tensor:
    """``x`` with a block of it replaced, as an assignment to a slice is exported: one range of one axis, else all."""
    depth = index.shape[-1]
    sizes = np.array(x.shape[:depth], np.int64)
    if not 1 <= depth <= x.ndim or index.ndim < 2 or ((index < -sizes) | (index >= sizes)).any():
        raise c.error(f"indices of shape {index.shape} do not fit an input of the shape {x.shape}")
    places = (index % sizes).reshape(-1, depth)
    low, high = places.min(0), places.max(0) + 1
    block = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    part = [axis for axis in range(depth) if (low[axis], high[axis]) != (0, sizes[axis])]
    if len(part) > 1 or not np.array_equal(block.reshape(-1, depth), places):
        raise c.error("it writes to places that are no range of one axis")
    new = c.reshape(updates, (*(int(n) for n in high - low), *x.shape[depth:]))
    if not part:
        return new
    axis = part[0]
    before = c.one("slice", x, axis=axis, start=0, stop=int(low[axis]), step=1)
    behind = c.one("slice", x, axis=axis, start=int(high[axis]), stop=x.shape[axis], step=1)
    return concat(c, [before, new, behind], axis)


def _inverse(c: Call) -> Tensor | None:
    """Scattering 0, 1, 2, ... to the places of an order gives the way back from it; None if it is another."""
    order, numbers = c.tensor(1), c.tensor(2)
    if order.known or order.ndim != 1 or not numbers.known or c.tensor(0).shape != order.shape:
        return None
    if not np.array_equal(numbers.data, np.arange(order.shape[0])) or c.axis(c.integer("axis", 0), 1):
        return None
    return c.one("argsort", order, axis=0)


@op("ScatterElements", "Scatter")
def _scatter_elements(c: Call) -> Value:
    if (way_back := _inverse(c)) is not None:
        return way_back
    x, index, updates = (c.known(i, name) for i, name in enumerate(("data", "indices", "updates")))
    if c.text("reduction", "none") != "none":
        raise c.error(f"reduction {c.text('reduction')} is not supported")
    out = np.array(x)
    np.put_along_axis(out, index.astype(np.int64), updates, c.axis(c.integer("axis", 0), x.ndim))
    return c.constant(out)
