"""Operations of ATen's that make tensors of nothing, copy them, or tell their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import CODES, code_of
from ..run import Run, kind_of
from ..tensors import BatchSizes, Packed, Permutation, Var
from .table import op

_ANY = (Packed, BatchSizes, Permutation)


def _full(run: Run, sizes: Any, value: Any, dtype: Any, default: Any = np.float32) -> Any:
    kind = run.dtype(dtype) or np.dtype(default)
    if isinstance(value, Var):
        return run.expanded(run.cast(run.tensor(value), kind), run.sizes(sizes))
    return run.constant(np.full(run.sizes(sizes), value), kind)


def _default(value: Any) -> Any:
    if isinstance(value, Var):
        return np.float32
    return np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32


@op("zeros", "empty")
def zeros(run: Run, size: Any, dtype: Any = None) -> Any:
    return _full(run, size, 0, dtype)


@op("ones")
def ones(run: Run, size: Any, dtype: Any = None) -> Any:
    return _full(run, size, 1, dtype)


@op("full")
def full(run: Run, size: Any, fill_value: Any, dtype: Any = None) -> Any:
    return _full(run, size, fill_value, dtype, _default(fill_value))


@op("empty_strided")
def empty_strided(run: Run, size: Any, stride: Any, dtype: Any = None) -> Any:
    return _full(run, size, 0, dtype)


def _like(run: Run, x: Any, value: Any, dtype: Any, sizes: Any = None) -> Any:
    return _full(run, list(x.shape(run)) if sizes is None else sizes, value, dtype, x.read(run).dtype)


@op("zeros_like", "empty_like", tags=(Permutation,))
def zeros_like(run: Run, self: Any, dtype: Any = None) -> Any:
    return _like(run, self, 0, dtype)


@op("ones_like")
def ones_like(run: Run, self: Any, dtype: Any = None) -> Any:
    return _like(run, self, 1, dtype)


@op("full_like")
def full_like(run: Run, self: Any, fill_value: Any, dtype: Any = None) -> Any:
    return _like(run, self, fill_value, dtype)


@op("new_zeros", "new_empty", tags=(Packed,))
def new_zeros(run: Run, self: Any, size: Any, dtype: Any = None) -> Any:
    return Var(_like(run, self, 0, dtype, size))


@op("new_empty_strided")
def new_empty_strided(run: Run, self: Any, size: Any, stride: Any, dtype: Any = None) -> Any:
    return Var(_like(run, self, 0, dtype, size))


@op("new_ones")
def new_ones(run: Run, self: Any, size: Any, dtype: Any = None) -> Any:
    return Var(_like(run, self, 1, dtype, size))


@op("new_full")
def new_full(run: Run, self: Any, size: Any, fill_value: Any, dtype: Any = None) -> Any:
    return Var(_like(run, self, fill_value, dtype, size))


@op("fill")
def fill(run: Run, self: Any, value: Any) -> Any:
    return _like(run, self, value, None)


@op("copy")
def copy(run: Run, self: Any, src: Any, non_blocking: bool = False) -> Any:
    new = run.cast(run.tensor(src), self.read(run).dtype)
    return run.expanded(new, self.shape(run))


@op("arange", "range")
def arange(run: Run, start: Any, end: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    ends = (0, start) if end is None else (start, end)
    first, last, by = (run.array(v, "an end of a range").item() for v in (*ends, step))
    if not by or not np.isfinite([first, last, by]).all():
        raise run.error(f"from {first} to {last} by {by}")
    run.sizes([max(0, int((last - first) / by))])
    whole = all(isinstance(v, int) for v in (first, last, by))
    values = np.arange(first, last + (1 if run.op == "range" else 0), by)
    return run.constant(values, run.dtype(dtype) or (np.int64 if whole else np.float32))


@op("linspace")
def linspace(run: Run, start: Any, end: Any, steps: Any, dtype: Any = None) -> Any:
    n = run.sizes([steps])[0]
    first, last = (float(run.array(v, "an end of a range").item()) for v in (start, end))
    return run.constant(np.linspace(first, last, n), run.dtype(dtype) or np.float32)


@op("eye")
def eye(run: Run, n: Any, m: Any = None, dtype: Any = None) -> Any:
    rows, columns = run.sizes([n, n if m is None else m])
    return run.constant(np.eye(rows, columns), run.dtype(dtype) or np.float32)


@op("tril", "triu")
def tril(run: Run, self: Any, diagonal: Any = 0) -> Any:
    x = run.tensor(self)
    function = np.tril if run.op.startswith("tril") else np.triu
    keep = function(np.ones(x.shape[-2:], bool), run.whole(diagonal))
    if x.known:
        return run.constant(np.where(keep, x.data, x.dtype.type(0)))
    return run.apply("where", run.constant(keep), x, run.constant(0, x.dtype))


@op("hann_window", "hamming_window")
def window(run: Run, window_length: Any, periodic: Any = True, alpha: Any = None, beta: Any = None,
           dtype: Any = None) -> Any:  # fmt: skip
    n = run.sizes([window_length])[0]
    a, b = (0.54, 0.46) if run.op == "hamming_window" else (0.5, 0.5)
    a, b = (a if alpha is None else alpha), (b if beta is None else beta)
    k = np.arange(n) * (2 * np.pi / max(n if periodic else n - 1, 1))
    return run.constant(a - b * np.cos(k), np.float32)


def _random(name: str) -> None:
    @op(name)
    def function(run: Run, *args: Any, **kwargs: Any) -> Any:
        raise run.error("numbers drawn at random: a converted model gives the same for the same inputs")


for _name in ("rand", "randn", "rand_like", "randn_like", "randint", "normal", "bernoulli", "uniform", "multinomial",
              "randperm"):  # fmt: skip
    _random(_name)


# -- copies ----------------------------------------------------------------------------------------------


@op("clone", "lift_fresh_copy", "alias_copy", "detach_copy", tags=_ANY)
def clone(run: Run, self: Any, memory_format: Any = None) -> Any:
    if self.tag is not None:
        return self
    return self.copy(run)


@op("to", "_to_copy", "type_as", "_autocast_to_reduced_precision", "_autocast_to_full_precision", "type", tags=_ANY)
def to(run: Run, self: Any, *args: Any, dtype: Any = None, other: Any = None, copy: Any = None) -> Any:
    kind: Any = None
    for arg in (*args, other):
        if isinstance(arg, Var):
            kind = arg.read(run).dtype
        elif isinstance(arg, int) and not isinstance(arg, bool) and kind is None and dtype is None and args[0] is arg:
            dtype = arg
    if len(args) > 1 and isinstance(args[1], int) and not isinstance(args[1], bool) and dtype is None:
        dtype = args[1]  # to(device, dtype)
    kind = kind or run.dtype(dtype)
    return as_dtype(run, self, kind)


def as_dtype(run: Run, x: Any, kind: Any) -> Any:
    """In another type: where it is the same, the tensor itself."""
    if not isinstance(x, Var):
        return run.cast(run.tensor(x), kind)
    if kind is None or x.tag is not None or x.read(run).dtype == kind:
        return x
    return run.cast(x.read(run), kind)


def _typed(name: str, *kinds: str) -> None:
    @op(name, *kinds, plain=True, tags=_ANY)
    def function(run: Run, self: Any) -> Any:
        return as_dtype(run, self, run.dtype(CODES[kinds[0] if kinds else name]))


_typed("float", "float32")
_typed("double", "float64")
_typed("half", "float16")
_typed("long", "int64")
_typed("int", "int32")
_typed("short", "int16")
_typed("byte", "uint8")


@op("tensor", "as_tensor", "_tensor", "scalar_tensor", "from_numpy")
def tensor(run: Run, data: Any, dtype: Any = None) -> Any:
    if isinstance(data, Var):
        return as_dtype(run, data, run.dtype(dtype))
    flat = _numbers(run, data)
    kind = run.dtype(dtype)
    if kind is None:
        kind = np.dtype(np.int64 if flat and all(type(v) is int for v in flat) else
                        np.bool_ if flat and all(type(v) is bool for v in flat) else np.float32)  # fmt: skip
    return run.constant(np.array(_plain(run, data)), kind)


def _numbers(run: Run, data: Any) -> list[Any]:
    if isinstance(data, list | tuple):
        return [n for d in data for n in _numbers(run, d)]
    return [_plain(run, data)]


def _plain(run: Run, data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_plain(run, d) for d in data]
    if isinstance(data, Var):
        return run.array(data, "a number in a list").item()
    if not isinstance(data, bool | int | float):
        raise run.error(f"a {kind_of(data)} among numbers")
    return data


# -- sizes -----------------------------------------------------------------------------------------------


@op("size", "sym_size", tags=_ANY)
def size(run: Run, self: Any, dim: Any = None) -> Any:
    if isinstance(self.tag, Packed):
        return _packed_size(run, self, dim)
    shape = self.shape(run)
    return list(shape) if dim is None else shape[run.axis(dim, len(shape))]


def _packed_size(run: Run, x: Var, dim: Any) -> int:
    rest = x.shape(run)[2:]
    axis = 0 if dim is None else run.axis(dim, len(rest) + 1)
    if not axis:
        raise run.error("how many steps are in a packed sequence depends on the lengths")
    return rest[axis - 1]


@op("dim", "ndimension", tags=_ANY)
def dim(run: Run, self: Any) -> Any:
    return len(self.shape(run)) - isinstance(self.tag, Packed)


@op("len")
def len_(run: Run, self: Any) -> Any:
    return self.shape(run)[0]


@op("numel", "sym_numel", tags=(Permutation,))
def numel(run: Run, self: Any) -> Any:
    return int(np.prod(self.shape(run), dtype=np.int64))


@op("shape", "_shape_as_tensor")
def shape(run: Run, self: Any) -> Any:
    return run.constant(self.shape(run), np.int64)


@op("stride", "sym_stride")
def stride(run: Run, self: Any, dim: Any = None) -> Any:
    raise run.error("how numbers lie in memory (stride) is not known here")


@op("is_floating_point", tags=(Packed,))
def is_floating_point(run: Run, self: Any) -> Any:
    return self.read(run).dtype.kind == "f"


@op("is_complex", "is_sparse", "is_quantized", "is_conj", "is_neg", "is_inference", tags=_ANY)
def never(run: Run, self: Any) -> Any:
    return False


@op("is_contiguous", tags=_ANY)
def is_contiguous(run: Run, self: Any, memory_format: Any = 0) -> Any:
    return True


@op("is_same_size")
def is_same_size(run: Run, self: Any, other: Any) -> Any:
    return self.shape(run) == other.shape(run)


@op("dtype", tags=_ANY)
def dtype(run: Run, self: Any) -> Any:
    return code_of(self.read(run).dtype)


@op("item", "_local_scalar_dense", "IntImplicit", "FloatImplicit", "ScalarImplicit")
def item(run: Run, self: Any) -> Any:
    """The number of a known tensor; one that depends on an input stays a tensor and acts as a number in arithmetic."""
    t = run.tensor(self)
    if t.data.size != 1:
        raise run.error(f"of a tensor of shape {t.shape}, expected a single number")
    return t.data.reshape(()).item() if t.known else run.reshaped(t, [])


@op("is_nonzero")
def is_nonzero(run: Run, self: Any) -> Any:
    return bool(run.array(self, "a condition").reshape(()))


@op("equal")
def equal(run: Run, self: Any, other: Any) -> Any:
    return bool(np.array_equal(run.array(self, "a condition"), run.array(other, "a condition")))


@op("allclose")
def allclose(run: Run, self: Any, other: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False) -> Any:
    return bool(np.allclose(run.array(self, "a condition"), run.array(other, "a condition"), rtol, atol, equal_nan))
