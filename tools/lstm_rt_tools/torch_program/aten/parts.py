"""Operations of ATen's that join tensors, pick parts of them by number, and repeat or pad them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...program import resized
from ...program.machine import Tensor
from ..agree import SizesDiffer
from ..run import Run
from ..tensors import Permutation, Var
from .table import op
from .views import span

_MODES = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}

# -- joining ---------------------------------------------------------------------------------------------


@op("cat", "concat", "concatenate")
def cat(run: Run, tensors: Any, dim: Any = 0) -> Any:
    given = run.alike(*tensors)
    filled = [t for t in given if t.shape != (0,)] or given[:1]  # an empty one joins anything
    if len(filled) == 1:
        return filled[0]
    return run.apply("concat", *filled, axis=run.axis(dim, filled[0].ndim))


@op("stack")
def stack(run: Run, tensors: Any, dim: Any = 0) -> Any:
    given = run.alike(*tensors)
    axis = run.axis(dim, given[0].ndim + 1)
    wide = [run.widened(t, axis) for t in given]
    return wide[0] if len(wide) == 1 else run.apply("concat", *wide, axis=axis)


@op("hstack", "vstack")
def hstack(run: Run, tensors: Any) -> Any:
    given = run.alike(*tensors)
    if run.op == "vstack":
        return run.apply("concat", *(run.widened(t, 0) if t.ndim < 2 else t for t in given), axis=0)
    return run.apply("concat", *given, axis=0 if given[0].ndim == 1 else 1)


# -- picking by number -----------------------------------------------------------------------------------


@op("index_select", tags=(Permutation,), orders=True)
def index_select(run: Run, self: Any, dim: Any, index: Any) -> Any:
    if isinstance(index.tag, Permutation):
        return sorted_rows(run, self, index.tag)
    x, numbers = run.tensor(self), run.tensor(index)
    axis = run.axis(dim, x.ndim)
    flat = numbers if numbers.ndim == 1 else run.reshaped(numbers, [numbers.data.size])
    made = Var(run.apply("index_select", x, _from_front(run, flat, x.shape[axis]), axis=axis))
    made.order = self.order or index.order
    return made


def sorted_rows(run: Run, x: Any, tag: Permutation) -> Var:
    """``x`` with its rows in the order that sorts a batch, or back from it."""
    if x.order is not (tag.key if tag.inverse else None):
        raise run.error("the rows of a batch are sorted twice, or put back that were not sorted")
    made = Var(x.read(run))
    made.tag = x.tag
    made.order = None if tag.inverse else tag.key
    return made


def _from_front(run: Run, index: Tensor, size: int) -> Tensor:
    """Negative indices, where they are known, counted from the front."""
    if index.known and index.data.size and index.data.min() < 0:
        return run.constant(np.where(index.data < 0, index.data + size, index.data))
    return index


@op("gather")
def gather(run: Run, self: Any, dim: Any, index: Any, sparse_grad: bool = False) -> Any:
    x, numbers = run.tensor(self), run.tensor(index)
    axis = run.axis(dim, x.ndim)
    for i, n in enumerate(numbers.shape):
        if i != axis and n < x.shape[i]:
            x = run.cut(x, i, 0, n)
        elif i != axis and n > x.shape[i]:
            raise _differ(run, n, x.shape[i])
    return run.apply("gather_elements", x, numbers, axis=axis)


@op("take_along_dim")
def take_along_dim(run: Run, self: Any, indices: Any, dim: Any = None) -> Any:
    x, numbers = run.tensor(self), run.tensor(indices)
    axis = run.axis(dim, x.ndim)
    sizes = [n if i == axis else max(n, m) for i, (n, m) in enumerate(zip(numbers.shape, x.shape, strict=True))]
    return run.apply("gather_elements", x, run.expanded(numbers, sizes), axis=axis)


@op("index", "_unsafe_index", tags=(Permutation,), orders=True)
def index(run: Run, self: Any, indices: Any) -> Any:
    given = [(i, v) for i, v in enumerate(indices) if v is not None]
    if len(given) == 1 and isinstance(given[0][1].tag, Permutation):
        return sorted_rows(run, self, given[0][1].tag)
    orders = {v.order for _, v in given} | {self.order}
    made = Var(_indexed(run, run.tensor(self), [(i, run.tensor(v)) for i, v in given]))
    if len(orders - {None}) > 1:
        raise run.error("it joins rows of a sorted batch with rows in another order")
    made.order = next(iter(orders - {None}), None)
    return made


def _indexed(run: Run, x: Tensor, given: list[tuple[int, Tensor]]) -> Tensor:
    if not given:
        return x
    if any(t.dtype in (bool, np.uint8) for _, t in given):
        if len(given) > 1:
            raise run.error("several indices of which one is a mask")
        return _masked(run, x, *given[0])
    if len(given) == 1:
        axis, numbers = given[0]
        found: Tensor = run.apply("index_select", x, _from_front(run, numbers, x.shape[axis]), axis=axis)
        return found
    if len(given) == 2 and given[0][1].ndim == given[1][1].ndim == 1 and not given[1][1].known:
        count, many = given[0][1].shape[0], given[1][1].shape[0]
        if many not in (count, 1):
            raise _differ(run, many, count)
    if _is_each_row(x, given):
        return _one_per_row(run, x, given[0][0], given[1][1])
    return _several(run, x, given)


def _differ(run: Run, found: int, wanted: int) -> SizesDiffer:
    return SizesDiffer(str(run.error(f"an index of {found} rows, expected {wanted}")), run.op, (found, wanted))


def _masked(run: Run, x: Tensor, first: int, mask: Tensor) -> Tensor:
    truth = run.array(mask, "a mask that picks elements")
    dims = truth.ndim
    if x.shape[first : first + dims] != truth.shape:
        raise run.error(f"a mask of shape {truth.shape} picks from shape {x.shape}")
    flat = run.reshaped(x, [*x.shape[:first], truth.size, *x.shape[first + dims :]])
    picked: Tensor = run.apply("index_select", flat, run.constant(np.flatnonzero(truth)), axis=first)
    return picked


def _is_each_row(x: Tensor, given: list[tuple[int, Tensor]]) -> bool:
    """``x[arange(n), index]``: one step of each row."""
    (first, rows), (second, numbers) = given[:2]
    return (
        len(given) == 2
        and second == first + 1
        and rows.known
        and rows.data.ndim == 1
        and numbers.shape in (rows.shape, (), (1,))
        and np.array_equal(rows.data, np.arange(x.shape[first]))
    )


def _one_per_row(run: Run, x: Tensor, axis: int, numbers: Tensor) -> Tensor:
    n = x.shape[axis]
    numbers = _from_front(run, numbers, x.shape[axis + 1])
    if numbers.shape != (n,):
        if numbers.known:
            at = int(numbers.data.reshape(()))
            return run.dropped(run.cut(x, axis + 1, at, at + 1), axis + 1)
        numbers = run.expanded(run.reshaped(numbers, [1]), [n])
    sizes = [*x.shape[: axis + 1], 1, *x.shape[axis + 2 :]]
    wide = run.reshaped(numbers, [1] * axis + [n] + [1] * (x.ndim - axis - 1))
    picked: Tensor = run.apply("gather_elements", x, run.expanded(wide, sizes), axis=axis + 1)
    return run.dropped(picked, axis + 1)


def _several(run: Run, x: Tensor, given: list[tuple[int, Tensor]]) -> Tensor:
    """Several indices, all of them known: as one index of the joined dimensions."""
    axes = [axis for axis, _ in given]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise run.error("indices of dimensions that are not neighbours")
    numbers = np.broadcast_arrays(*(run.array(t, "an index") for _, t in given))
    sizes = [x.shape[a] for a in axes]
    joined = np.ravel_multi_index([np.where(v < 0, v + n, v) for v, n in zip(numbers, sizes, strict=True)], sizes)
    flat = run.reshaped(x, [*x.shape[: axes[0]], math.prod(sizes), *x.shape[axes[-1] + 1 :]])
    picked: Tensor = run.apply("index_select", flat, run.constant(joined), axis=axes[0])
    return picked


@op("index_put", "_unsafe_index_put", "_index_put_impl")
def index_put(run: Run, self: Any, indices: Any, values: Any, accumulate: bool = False, unsafe: bool = False) -> Any:
    x, new = run.tensor(self), run.tensor(values)
    new = run.cast(new, x.dtype)
    given = [(i, run.tensor(v)) for i, v in enumerate(indices) if v is not None]
    if accumulate or len(given) != 1:
        raise run.error("several indices, or sums: not supported")
    axis, numbers = given[0]
    if numbers.dtype in (bool, np.uint8):
        if new.data.size != 1:
            raise run.error("a mask that many numbers are put through")
        mask = run.reshaped(numbers, [*[1] * axis, *numbers.shape, *[1] * (x.ndim - axis - numbers.ndim)])
        return run.apply("where", run.cast(mask, np.dtype(bool)), run.reshaped(new, []), x)
    places = run.array(numbers, "an index").reshape(-1)
    sizes = [*x.shape[:axis], len(places), *x.shape[axis + 1 :]]
    made = Var(x)
    wide = Var(run.expanded(new, sizes))
    for k, at in enumerate(places.tolist()):
        part = span(run, made, axis, at % x.shape[axis], at % x.shape[axis] + 1, whole=True)
        part.write(run, span(run, wide, axis, k, k + 1, whole=True).read(run))
    return made


@op("index_fill")
def index_fill(run: Run, self: Any, dim: Any, index: Any, value: Any) -> Any:
    axis = run.axis(dim, len(self.shape(run)))
    return index_put(run, self, [*[None] * axis, index], value)


@op("index_copy")
def index_copy(run: Run, self: Any, dim: Any, index: Any, source: Any) -> Any:
    axis = run.axis(dim, len(self.shape(run)))
    return index_put(run, self, [*[None] * axis, index], source)


@op("scatter", tags=(Permutation,))
def scatter(run: Run, self: Any, dim: Any, index: Any, src: Any) -> Any:
    if isinstance(index.tag, Permutation):
        return _inverse(run, index, src)
    x = np.array(run.array(self, "a tensor that is scattered into"))
    numbers = run.array(index, "an index")
    axis = run.axis(dim, x.ndim)
    values = np.broadcast_to(run.array(src, "numbers that are scattered"), numbers.shape)
    np.put_along_axis(x, numbers, values, axis)
    return run.constant(x)


def _inverse(run: Run, index: Var, src: Any) -> Var:
    """``out[permutation] = arange``: the inverse of a permutation."""
    n = index.shape(run)[0]
    if not np.array_equal(run.array(src, "numbers that are scattered"), np.arange(n)):
        raise run.error("numbers are scattered in the order of a sorted batch")
    made = Var(run.constant(np.arange(n)))
    made.tag = Permutation(index.tag.key, not index.tag.inverse)
    return made


@op("masked_select")
def masked_select(run: Run, self: Any, mask: Any) -> Any:
    return _masked(run, run.tensor(self), 0, run.tensor(mask))


@op("nonzero")
def nonzero(run: Run, self: Any) -> Any:
    return run.constant(np.stack(np.nonzero(run.array(self, "a mask that picks elements")), -1), np.int64)


@op("embedding")
def embedding(
    run: Run, weight: Any, indices: Any, padding_idx: Any = -1, scale_grad_by_freq: Any = False, sparse: Any = False
) -> Any:
    return run.apply("index_select", weight, indices, axis=0)


@op("one_hot")
def one_hot(run: Run, self: Any, num_classes: Any = -1) -> Any:
    ids, depth = run.tensor(self), run.whole(num_classes, "the number of classes")
    if depth < 1:
        raise run.error("the number of classes depends on the input")
    return run.apply("one_hot", ids, depth=depth, on=1.0, off=0.0)


# -- repeating, padding, turning ---------------------------------------------------------------------------


@op("repeat")
def repeat(run: Run, self: Any, repeats: Any) -> Any:
    x, times = run.tensor(self), run.wholes(repeats)
    x = run.reshaped(x, [*[1] * (len(times) - x.ndim), *x.shape])
    if all(t == 1 or n == 1 for t, n in zip(times, x.shape, strict=True)):
        return run.expanded(x, run.sizes([t * n for t, n in zip(times, x.shape, strict=True)]))
    return run.apply("tile", x, repeats=times)


@op("tile")
def tile(run: Run, self: Any, dims: Any) -> Any:
    n = len(self.shape(run))
    return repeat(run, self, [*[1] * (n - len(dims)), *dims])


@op("repeat_interleave")
def repeat_interleave(run: Run, self: Any, repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    x = run.tensor(self)
    axis = 0 if dim is None else run.axis(dim, x.ndim)
    x = run.reshaped(x, [x.data.size]) if dim is None else x
    times = run.array(repeats, "how often steps are repeated")
    if times.size == 1:
        return run.apply("repeat_interleave", x, times=int(times.reshape(())), axis=axis)
    picked = np.repeat(np.arange(x.shape[axis]), times)
    return run.apply("index_select", x, run.constant(picked), axis=axis)


@op("flip")
def flip(run: Run, self: Any, dims: Any) -> Any:
    x = run.tensor(self)
    for axis in run.axes(dims, x.ndim) if dims != [] else ():
        x = run.apply("flip", x, axis=axis)
    return x


@op("roll")
def roll(run: Run, self: Any, shifts: Any, dims: Any = ()) -> Any:
    x = run.tensor(self)
    if not dims:
        raise run.error("over all dimensions at once")
    for by, dim in zip(run.wholes(shifts), run.wholes(dims), strict=True):
        axis = run.axis(dim, x.ndim)
        at = -by % max(x.shape[axis], 1)
        if at:
            x = run.apply("concat", run.cut(x, axis, at, x.shape[axis]), run.cut(x, axis, 0, at), axis=axis)
    return x


def padded(run: Run, x: Tensor, pad: list[int], mode: str, value: Any) -> Tensor:
    """PyTorch's list of paddings: before and after, from the last dimension to the first."""
    if len(pad) % 2 or len(pad) > 2 * x.ndim or mode not in _MODES:
        raise run.error(f"padding {pad[:16]}, mode {mode!r}")
    pairs = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        pairs[-1 - i] = (pad[2 * i], pad[2 * i + 1])
    run.sizes([n + max(b, 0) + max(a, 0) for n, (b, a) in zip(x.shape, pairs, strict=True)])
    for axis, (before, after) in enumerate(pairs):  # negative paddings cut
        if before < 0 or after < 0:
            x = run.cut(x, axis, max(-before, 0), x.shape[axis] - max(-after, 0))
            pairs[axis] = (max(before, 0), max(after, 0))
    if not any(map(any, pairs)):
        return x
    options = {"value": float(value or 0)} if mode == "constant" else {}
    made: Tensor = run.apply("pad", x, pads=tuple(pairs), mode=_MODES[mode], **options)
    return made


@op("pad", "constant_pad_nd")
def pad(run: Run, self: Any, pad: Any, mode: Any = "constant", value: Any = None) -> Any:
    if isinstance(mode, int | float):  # constant_pad_nd(self, pad, value)
        mode, value = "constant", mode
    return padded(run, run.tensor(self), run.wholes(pad), mode, value)


@op("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def reflection_pad(run: Run, self: Any, padding: Any) -> Any:
    mode = "reflect" if run.op.startswith("reflection") else "replicate"
    return padded(run, run.tensor(self), run.wholes(padding), mode, 0)


def _resized(run: Run, x: Tensor, output_size: Any, scales: Any, factors: Any, make: Callable[..., Tensor]) -> Tensor:
    """Another size of each dimension of space: ``make(x, axis, size, scale)``; it is said, or by what it is multiplied.

    ``scales`` are those that are given beside sizes, one by one, or a list of them instead of sizes.
    """
    space = x.shape[2:]
    given = next((s for s in (*scales, factors) if isinstance(s, list | tuple)), None)
    if output_size is not None:
        sizes = run.wholes(output_size)
        beside = list(scales) if given is None and len(scales) == len(space) else [None] * len(space)
        by = [s or m / max(n, 1) for n, m, s in zip(space, sizes, beside, strict=True)]
    elif given is not None:
        by, sizes = list(given), [int(n * f) for n, f in zip(space, given, strict=True)]
    else:
        raise run.error("neither a size nor a factor")
    for axis, (m, scale) in enumerate(zip(sizes, by, strict=True), start=2):
        if m < 1 or x.shape[axis] < 1 or not scale > 0:
            raise run.error(f"{x.shape[axis]} steps to {m}")
        run.sizes([*x.shape[:axis], m, *x.shape[axis + 1 :]])
        if m != x.shape[axis]:
            x = make(x, axis, m, float(scale))
    return x


@op("upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d")
def upsample_nearest(run: Run, self: Any, output_size: Any = None, *scales: Any, scale_factors: Any = None) -> Any:
    how = "tf_half_pixel_for_nn" if run.op.startswith("_") else "asymmetric"

    def make(x: Tensor, axis: int, size: int, scale: float) -> Tensor:
        old = x.shape[axis]
        at = np.floor(resized.PLACES[how](old, size, np.float32(scale)).astype(np.float32))
        return resized.nearest(run.machine, x, axis, np.minimum(at, old - 1).astype(np.int64))

    return _resized(run, run.tensor(self), output_size, scales, scale_factors, make)


@op("upsample_linear1d", "upsample_bilinear2d")
def upsample_linear(
    run: Run, self: Any, output_size: Any, align_corners: Any, *scales: Any, scale_factors: Any = None
) -> Any:
    how = "align_corners" if align_corners else "half_pixel"

    def make(x: Tensor, axis: int, size: int, scale: float) -> Tensor:
        old = x.shape[axis]
        return resized.between(run.machine, x, axis, resized.PLACES[how](old, size, scale))

    return _resized(run, run.floats(self), output_size, scales, scale_factors, make)


@op("pixel_shuffle")
def pixel_shuffle(run: Run, self: Any, upscale_factor: Any) -> Any:
    x, r = run.tensor(self), run.whole(upscale_factor)
    *outer, c, h, w = x.shape
    n = len(outer)
    apart = run.reshaped(x, [*outer, c // (r * r), r, r, h, w])
    moved = run.permuted(apart, [*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return run.reshaped(moved, [*outer, c // (r * r), h * r, w * r])
