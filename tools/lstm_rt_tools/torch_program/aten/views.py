"""Operations of ATen's whose result shares its numbers with the argument, and writing through them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

from ...program.machine import Misfit, Tensor
from ..agree import ShapesDiffer, SizesDiffer
from ..run import Run
from ..tensors import BatchSizes, Packed, Permutation, Span, Var
from .table import op

_ANY = (Packed, BatchSizes, Permutation)


@op("detach", "alias", "view_as_real_copy", "requires_grad_", "positive", "lift_fresh", "lift", "pin_memory",
    "resolve_conj", "resolve_neg", "cpu", "cuda", "data", "values", plain=True, tags=_ANY)  # fmt: skip
def detach(run: Run, self: Any, *rest: Any) -> Any:
    return self


@op("contiguous", tags=_ANY)
def contiguous(run: Run, self: Any, memory_format: Any = 0) -> Any:
    return self if self.tag is not None else Var.perhaps(self.read(run), self)


# -- parts of an axis ------------------------------------------------------------------------------------


def span(
    run: Run, x: Var, axis: int, start: int, stop: int, whole: bool, less: int = 0, behind: bool = False
) -> Var:
    """The view ``start:stop`` of an axis, or with ``whole`` False its one index without the axis.

    ``less``: so many before the end the program says that it stops, where it says so; ``behind``: it says both so.
    """
    shape = x.shape(run)

    def get(t: Tensor) -> Tensor:
        size = t.shape[axis]
        part = run.cut(t, axis, start - size if behind else start, -less if less and size - less == stop else stop)
        return part if whole else run.dropped(part, axis)

    def put(t: Tensor, new: Tensor) -> Tensor:
        new = new if whole else run.widened(new, axis)
        parts = [run.cut(t, axis, 0, start), new, run.cut(t, axis, stop, t.shape[axis])]
        parts = [p for p in parts if p.shape[axis]]
        joined: Tensor = parts[0] if len(parts) == 1 else run.apply("concat", *parts, axis=axis)
        return joined

    sizes = list(shape)
    sizes[axis : axis + 1] = [stop - start] if whole else []
    return Var.view(x, get, put, Span(axis, start, stop, whole), tuple(sizes))


@op("select", tags=(BatchSizes,))
def select(run: Run, self: Any, dim: Any, index: Any) -> Any:
    shape = self.shape(run)
    axis = run.axis(dim, len(shape))
    if isinstance(index, Var) and not index.read(run).known:
        return _picked(run, self, axis, index)
    at = run.whole(index, "an index")
    if not shape or not -shape[axis] <= at < shape[axis]:
        raise run.error(f"index {at} of a dimension of size {shape[axis] if shape else 0}")
    behind, at = at < -1, at % shape[axis]
    if isinstance(self.tag, BatchSizes):
        if at:
            raise run.error("of the batch sizes of a packed sequence only the first is known")
        return run.constant(self.tag.pack.rows, np.int64)
    return span(run, self, axis, at, at + 1, False, shape[axis] - at - 1 if behind else 0, behind)


def _picked(run: Run, x: Var, axis: int, index: Var) -> Tensor:
    """At an index that depends on an input."""
    picked = run.apply("index_select", x, run.reshaped(index.read(run), [1]), axis=axis)
    return run.dropped(picked, axis)


@op("slice")
def slice_(run: Run, self: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    shape = self.shape(run)
    axis = run.axis(dim, len(shape))
    size, step = shape[axis], run.whole(step, "a step")
    if step < 1:
        raise run.error(f"step {step}, expected 1 or more")
    first = _end(run, start, 0, size)
    last = max(first, _end(run, end, size, size))
    if step == 1:
        less = -end if type(end) is int and -size < end < 0 else 0
        return self if (first, last) == (0, size) else span(run, self, axis, first, last, whole=True, less=less)
    return _strided(run, self, axis, first, last, step)


def _end(run: Run, value: Any, default: int, size: int) -> int:
    if value is None:
        return default
    n = run.whole(value, "an end of a slice")
    return min(max(n + size if n < 0 else n, 0), size)


def _strided(run: Run, x: Var, axis: int, first: int, last: int, step: int) -> Var:
    def get(t: Tensor) -> Tensor:
        part: Tensor = run.apply("slice", t, axis=axis, start=first, stop=last, step=step)
        return part

    def put(t: Tensor, new: Tensor) -> Tensor:
        index = np.arange(t.shape[axis])
        index[first:last:step] = t.shape[axis] + np.arange(new.shape[axis])
        both = run.apply("concat", t, new, axis=axis)
        woven: Tensor = run.apply("index_select", both, run.constant(index), axis=axis)
        return woven

    return Var.view(x, get, put)


@op("narrow")
def narrow(run: Run, self: Any, dim: Any, start: Any, length: Any) -> Any:
    shape = self.shape(run)
    axis, first, n = run.axis(dim, len(shape)), run.whole(start), run.whole(length)
    first += shape[axis] if first < 0 else 0
    if not (0 <= first <= first + n <= shape[axis]):
        raise run.error(f"steps {first} to {first + n} of a dimension of size {shape[axis]}")
    return span(run, self, axis, first, first + n, whole=True)


@op("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "split_with_sizes_copy", "split_copy")
def split(run: Run, self: Any, split_size: Any, dim: Any = 0) -> Any:
    shape = self.shape(run)
    axis = run.axis(dim, len(shape))
    if isinstance(split_size, list | tuple):
        sizes = run.wholes(split_size)
    else:
        n = max(run.whole(split_size, "the size of a part"), 1)
        sizes = [min(n, shape[axis] - at) for at in range(0, shape[axis], n)] or [0]
    if sum(sizes) != shape[axis] or min(sizes, default=0) < 0:
        raise run.error(f"parts {sizes[:16]} of a dimension of size {shape[axis]}")
    ends = np.cumsum(sizes).tolist()
    return [span(run, self, axis, e - n, e, whole=True) for e, n in zip(ends, sizes, strict=True)]


@op("chunk", "unsafe_chunk")
def chunk(run: Run, self: Any, chunks: Any, dim: Any = 0) -> Any:
    shape = self.shape(run)
    size, n = shape[run.axis(dim, len(shape))], run.whole(chunks, "the number of parts")
    if n < 1:
        raise run.error(f"{n} parts")
    return split(run, self, max(-(-size // n), 1), dim)


@op("tensor_split")
def tensor_split(run: Run, self: Any, indices_or_sections: Any, dim: Any = 0) -> Any:
    shape = self.shape(run)
    size = shape[run.axis(dim, len(shape))]
    if isinstance(indices_or_sections, list | tuple):
        ends = [_end(run, i, 0, size) for i in indices_or_sections]
        sizes = np.diff([0, *ends, size]).tolist()
    else:
        n = max(run.whole(indices_or_sections), 1)
        sizes = [size // n + (i < size % n) for i in range(n)]
    return split(run, self, sizes, dim)


@op("unbind")
def unbind(run: Run, self: Any, dim: Any = 0) -> Any:
    shape = self.shape(run)
    axis = run.axis(dim, len(shape))
    return [span(run, self, axis, i, i + 1, whole=False) for i in range(shape[axis])]


@op("unfold")
def unfold(run: Run, self: Any, dimension: Any, size: Any, step: Any) -> Any:
    x = self.read(run)
    axis, n, by = run.axis(dimension, x.ndim), run.whole(size), run.whole(step)
    count = (x.shape[axis] - n) // by + 1
    if n < 1 or by < 1 or count < 1:
        raise Misfit(str(run.error(f"windows of {n} with step {by} of a dimension of size {x.shape[axis]}")), run.op)
    index = np.arange(count)[:, None] * by + np.arange(n)
    apart = run.apply("index_select", x, run.constant(index), axis=axis)
    return run.permuted(apart, [*(i for i in range(x.ndim + 1) if i != axis + 1), axis + 1])


# -- the order and number of axes ------------------------------------------------------------------------


def permuted(run: Run, x: Var, order: list[int]) -> Var:
    """A view with the axes in another order."""
    back = np.argsort(order).tolist()
    return Var.view(x, lambda t: run.permuted(t, order), lambda t, new: run.permuted(new, back))


def _swap(run: Run, x: Var, a: int, b: int) -> Var:
    order = list(range(len(x.shape(run))))
    if order:
        order[a], order[b] = order[b], order[a]
    return permuted(run, x, order)


@op("transpose", "swapaxes", "swapdims", "transpose_copy")
def transpose(run: Run, self: Any, dim0: Any, dim1: Any) -> Any:
    n = len(self.shape(run))
    return _swap(run, self, run.axis(dim0, n), run.axis(dim1, n))


@op("t", "numpy_T", "t_copy")
def t(run: Run, self: Any) -> Any:
    n = len(self.shape(run))
    if n > 2:
        raise run.error(f"of a tensor with {n} dimensions")
    return _swap(run, self, 0, 1) if n == 2 else self


@op("mT", "matrix_H", "adjoint", "mH")
def mt(run: Run, self: Any) -> Any:
    return _swap(run, self, -2, -1)


@op("permute", "permute_copy")
def permute(run: Run, self: Any, dims: Any) -> Any:
    n = len(self.shape(run))
    order = [run.axis(d, n) for d in dims]
    if sorted(order) != list(range(n)):
        raise run.error(f"order {order[:16]} of {n} dimensions")
    return permuted(run, self, order)


@op("movedim", "moveaxis")
def movedim(run: Run, self: Any, source: Any, destination: Any) -> Any:
    n = len(self.shape(run))
    sources, targets = ([run.axis(d, n) for d in run.wholes(v)] for v in (source, destination))
    order = [i for i in range(n) if i not in sources]
    for target, dim in sorted(zip(targets, sources, strict=True)):
        order.insert(target, dim)
    return permuted(run, self, order)


def shaped(run: Run, x: Var, sizes: list[int], shares: bool = True) -> Var:
    """A view in another shape; without ``shares`` it may as well be a copy."""
    own = x.shape(run)
    if not shares:
        return Var.perhaps(run.reshaped(x.read(run), sizes), x)
    return Var.view(x, lambda t: run.reshaped(t, sizes), lambda t, new: run.reshaped(new, own))


@op("unsqueeze", "unsqueeze_copy", tags=(BatchSizes,))
def unsqueeze(run: Run, self: Any, dim: Any) -> Any:
    axis = run.axis(dim, len(self.shape(run)) + 1)
    return Var.view(self, lambda t: run.widened(t, axis), lambda t, new: run.dropped(new, axis))


@op("squeeze", "squeeze_copy")
def squeeze(run: Run, self: Any, dim: Any = None) -> Any:
    sizes = self.shape(run)
    dims = run.axes(dim, len(sizes)) if dim != [] else ()
    gone = tuple(i for i, n in enumerate(sizes) if i in dims and n == 1)
    for i in dims if dim is not None else ():
        if sizes[i] != 1:
            run.machine.doubt(sizes[i], 1)  # it drops nothing, where it is meant to
    if not gone:
        return self
    return Var.view(
        self,
        lambda t: run.apply("squeeze", t, axes=gone),
        lambda t, new: run.apply("unsqueeze", new, axes=gone),
    )


def _full_sizes(run: Run, shape: tuple[int, ...], size: Any) -> list[int]:
    sizes = run.wholes(size)
    total = int(np.prod(shape, dtype=object))
    if sizes.count(-1) == 1:
        rest = int(-np.prod(sizes, dtype=object))
        if rest <= 0 or total % rest:
            raise _other_size(run, shape, sizes, total, rest * (total // rest + 1) if rest > 0 else 0)
        sizes[sizes.index(-1)] = total // rest
    wanted = int(np.prod(sizes, dtype=object))
    if wanted != total or min(sizes, default=0) < 0:
        raise _other_size(run, shape, sizes, total, wanted)
    return sizes


def _other_size(run: Run, shape: tuple[int, ...], sizes: Sequence[int], total: int, wanted: int) -> ConvertError:
    """The error of a shape that does not hold as many numbers; it tells which size would, where it is one."""
    error = run.error(f"shape {shape} as {list(sizes[:16])}")
    common = math.gcd(total, wanted)
    if wanted <= 0 or total // common not in shape:
        return _last_sizes(shape, sizes, str(error), run.op)
    return SizesDiffer(str(error), run.op, (total // common, wanted // common))


def _last_sizes(shape: tuple[int, ...], sizes: Sequence[int], message: str, op: str) -> ConvertError:
    """The error of a shape whose last sizes are probably meant to be those of the new one: rows of images."""
    last = list(itertools.takewhile(lambda n: n > 1, reversed(sizes)))
    pairs = zip(reversed(shape[1:]), last, strict=False)
    differ = next(((m, n) for m, n in pairs if m != n), None)
    if differ is None or len(last) < 2 or -1 not in sizes:
        return ShapesDiffer(message, op)
    return SizesDiffer(message, op, differ)


@op("view", "view_copy")
def view(run: Run, self: Any, size: Any, dtype: Any = None) -> Any:
    if isinstance(size, int):
        raise run.error("the bytes of a tensor seen as another type")
    return shaped(run, self, _full_sizes(run, self.shape(run), size))


@op("reshape", "_unsafe_view", "_reshape_alias", "_reshape_copy")
def reshape(run: Run, self: Any, shape: Any, stride: Any = None) -> Any:
    return shaped(run, self, _full_sizes(run, self.shape(run), shape), shares=False)


@op("view_as", "reshape_as")
def view_as(run: Run, self: Any, other: Any) -> Any:
    return shaped(run, self, _full_sizes(run, self.shape(run), list(other.shape(run))), shares=False)


@op("flatten", "ravel")
def flatten(run: Run, self: Any, start_dim: Any = 0, end_dim: Any = -1) -> Any:
    shape = self.shape(run)
    a, b = run.axis(start_dim, len(shape)), run.axis(end_dim, len(shape))
    sizes = [*shape[:a], int(np.prod(shape[a : b + 1])), *shape[b + 1 :]]
    return shaped(run, self, sizes, shares=False)


@op("unflatten")
def unflatten(run: Run, self: Any, dim: Any, sizes: Any, names: Any = None) -> Any:
    shape = self.shape(run)
    axis = run.axis(dim, len(shape))
    inner = _full_sizes(run, (shape[axis],), sizes)
    return shaped(run, self, [*shape[:axis], *inner, *shape[axis + 1 :]])


@op("expand", "expand_copy", "broadcast_to", tags=(BatchSizes,))
def expand(run: Run, self: Any, size: Any, implicit: bool = False) -> Any:
    shape = self.shape(run)
    sizes = run.wholes(size)
    new = len(sizes) - len(shape)
    sizes = [shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(sizes)]
    if new < 0 or any(own not in (1, n) for own, n in zip(shape, sizes[new:], strict=True)):
        raise run.error(f"shape {shape} as {sizes[:16]}")
    sizes = run.sizes(sizes)
    if list(shape) == sizes:
        return self
    return Var.view(self, lambda t: run.expanded(t, sizes), None)


@op("expand_as")
def expand_as(run: Run, self: Any, other: Any) -> Any:
    return expand(run, self, list(other.shape(run)))


@op("broadcast_tensors")
def broadcast_tensors(run: Run, tensors: Any) -> Any:
    sizes = list(np.broadcast_shapes(*(x.shape(run) for x in tensors)))
    return [expand(run, x, sizes) for x in tensors]


@op("diagonal")
def diagonal(run: Run, self: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Any:
    x = run.array(self, "a matrix whose diagonal is taken")
    return run.constant(np.diagonal(x, run.whole(offset), run.whole(dim1), run.whole(dim2)))


# -- writing ---------------------------------------------------------------------------------------------


@op("copy_")
def copy_(run: Run, self: Any, src: Any, non_blocking: bool = False) -> Any:
    new = run.cast(run.tensor(src), _dtype(run, self))
    self.write(run, run.expanded(new, self.shape(run)))
    if isinstance(src, Var) and src.order is not None:
        self.order = self.base.order = src.order
    return self


def _dtype(run: Run, x: Var) -> np.dtype[Any]:
    """Without reading a view that is only written to."""
    base = x.base
    return base._value.dtype if base._value is not None else base.read(run).dtype


@op("fill_", "zero_")
def fill_(run: Run, self: Any, value: Any = 0) -> Any:
    new = run.cast(run.tensor(value), _dtype(run, self))
    self.write(run, run.expanded(new, self.shape(run)))
    return self


@op("set_data", "set_")
def set_data(run: Run, self: Any, source: Any) -> Any:
    self.write(run, source.read(run))
    return self


def _reshaping(name: str, function: Any) -> None:
    @op(name)
    def in_place(run: Run, self: Any, *args: Any) -> Any:
        self.become(run, function(run, self.behind(), *args))
        return self


for _name, _function in (
    ("unsqueeze_", unsqueeze),
    ("squeeze_", squeeze),
    ("transpose_", transpose),
    ("swapaxes_", transpose),
    ("t_", t),
):
    _reshaping(_name, _function)


@op("select_scatter")
def select_scatter(run: Run, self: Any, src: Any, dim: Any, index: Any) -> Any:
    made = self.copy(run)
    copy_(run, select(run, made, dim, index), src)
    return made


@op("slice_scatter")
def slice_scatter(
    run: Run, self: Any, src: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Any:
    made = self.copy(run)
    part = slice_(run, made, dim, start, end, step)
    copy_(run, part, src)
    return made


@op("as_strided")
def as_strided(run: Run, self: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    raise run.error("how numbers lie in memory (as_strided) is not known here")
