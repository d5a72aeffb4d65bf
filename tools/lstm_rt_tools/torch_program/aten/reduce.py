"""Sums, means, extremes and norms of ATen's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..run import Run
from ..tensors import Var
from .table import op


def _reduced(run: Run, word: str, x: Tensor, dim: Any, keepdim: bool) -> Any:
    return run.apply(word, x, axes=run.axes(dim, x.ndim), keepdims=bool(keepdim)) if x.ndim else x


@op("sum")
def sum_(run: Run, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    x = run.tensor(self)
    kind = run.dtype(dtype) or (x.dtype if x.dtype.kind == "f" else np.dtype(np.int64))
    return _reduced(run, "sum", run.cast(x, kind), dim, keepdim)


@op("mean")
def mean(run: Run, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return _reduced(run, "mean", run.floats(self), dim, keepdim)


@op("prod")
def prod(run: Run, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return _reduced(run, "prod", run.tensor(self), dim, keepdim)


@op("amax")
def amax(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _reduced(run, "max", run.tensor(self), dim, keepdim)


@op("amin")
def amin(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _reduced(run, "min", run.tensor(self), dim, keepdim)


@op("aminmax")
def aminmax(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return amin(run, self, dim, keepdim), amax(run, self, dim, keepdim)


def _extreme(name: str, word: str, pair: str) -> None:
    @op(name)
    def function(run: Run, self: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if isinstance(dim, Var) or other is not None:
            return run.apply(pair, *run.alike(self, dim if other is None else other))
        x = run.tensor(self)
        if word == "max" and x.ndim == 1 and x.dtype.kind in "iu" and not x.known and dim in (None, 0, -1):
            longest = run.machine.longest(x)
            return longest if dim is None else (run.reshaped(longest, [1]) if keepdim else longest, Var(longest))
        if dim is None:
            return _reduced(run, word, x, None, False)
        values = _reduced(run, word, x, dim, keepdim)
        return values, Var(later=lambda: _place(run, x, word, dim, keepdim))


_extreme("max", "max", "maximum")
_extreme("min", "min", "minimum")


def _place(run: Run, x: Tensor, word: str, dim: Any, keepdim: bool) -> Tensor:
    """Where the extreme is: made only if it is used."""
    x = run.apply("neg", x) if word == "min" else x
    found: Tensor = run.apply("argmax", x, axis=run.axis(dim, x.ndim), keepdims=bool(keepdim))
    return found


@op("argmax", "argmin")
def argmax(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    x = run.tensor(self)
    if dim is None:
        x, dim = run.reshaped(x, [x.data.size]), 0
    return _place(run, x, "max" if run.op == "argmax" else "min", dim, keepdim)


@op("any", "all")
def any_(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    x = run.tensor(self)
    truth = run.apply("ne", x, run.constant(0, x.dtype)) if x.dtype != bool else x
    if truth.known:
        function = np.any if run.op == "any" else np.all
        return run.constant(function(truth.data, axis=run.axes(dim, x.ndim), keepdims=bool(keepdim)))
    counts = run.cast(truth, np.dtype(np.float32))
    found = _reduced(run, "max" if run.op == "any" else "min", counts, dim, keepdim)
    return run.apply("ne", found, run.constant(0, np.float32))


@op("count_nonzero")
def count_nonzero(run: Run, self: Any, dim: Any = None) -> Any:
    x = run.tensor(self)
    truth = run.apply("ne", x, run.constant(0, x.dtype))
    return _reduced(run, "sum", run.cast(truth, np.dtype(np.int64)), dim, False)


@op("logsumexp")
def logsumexp(run: Run, self: Any, dim: Any, keepdim: bool = False) -> Any:
    return _reduced(run, "logsumexp", run.floats(self), dim, keepdim)


@op("logcumsumexp", "_logcumsumexp")
def logcumsumexp(run: Run, self: Any, dim: Any) -> Any:
    x = run.floats(self)
    return run.apply("logcumsumexp", x, axis=run.axis(dim, x.ndim)) if x.ndim else x


@op("cumsum")
def cumsum(run: Run, self: Any, dim: Any, dtype: Any = None) -> Any:
    x = run.tensor(self)
    kind = run.dtype(dtype) or (x.dtype if x.dtype.kind == "f" else np.dtype(np.int64))
    return run.apply("cumsum", run.cast(x, kind), axis=run.axis(dim, x.ndim))


# -- norms -----------------------------------------------------------------------------------------------


@op("norm")
def norm(run: Run, self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return _norm(run, self, 2 if p in (None, "fro") else p, dim, keepdim)


@op("linalg_vector_norm", "linalg_norm")
def vector_norm(run: Run, self: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    if run.op == "linalg_norm" and (isinstance(ord, str) or (ord not in (None, 2) and _several(dim))):
        raise run.error("a norm of matrices")
    return _norm(run, self, 2 if ord is None else ord, dim, keepdim)


def _several(dim: Any) -> bool:
    return dim is None or (isinstance(dim, list | tuple) and len(dim) > 1)


@op("frobenius_norm")
def frobenius_norm(run: Run, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _norm(run, self, 2, dim, keepdim)


@op("pairwise_distance")
def pairwise_distance(run: Run, x1: Any, x2: Any, p: Any = 2, eps: Any = 1e-6, keepdim: bool = False) -> Any:
    apart = run.apply("sub", *run.alike(x1, x2, as_float=True))
    return _norm(run, Var(run.apply("add", apart, run.constant(eps, np.float32))), p, -1, keepdim)


def _norm(run: Run, self: Any, order: Any, dim: Any, keepdim: bool) -> Any:
    x = run.floats(self)
    if order == 2:
        return _reduced(run, "l2", x, dim, keepdim)
    if order == 1:
        return _reduced(run, "sum", run.apply("abs", x), dim, keepdim)
    if isinstance(order, float) and math.isinf(order):
        return _reduced(run, "max" if order > 0 else "min", run.apply("abs", x), dim, keepdim)
    raise run.error(f"of order {order}; known are 1, 2 and inf")


def _variance(run: Run, x: Tensor, dim: Any, keepdim: bool, correction: float) -> tuple[Any, Any]:
    axes = run.axes(dim, x.ndim)
    count = math.prod(x.shape[a] for a in axes)
    average = run.apply("mean", x, axes=axes, keepdims=True)
    square = run.apply("square", run.apply("sub", x, average))
    spread = run.apply("mean", square, axes=axes, keepdims=bool(keepdim))
    if correction:
        if count <= correction:
            raise run.error(f"of {count} numbers with correction {correction}")
        spread = run.apply("mul", spread, run.constant(count / (count - correction), np.float32))
    return spread, average if keepdim else run.apply("mean", x, axes=axes, keepdims=False)


def _correction(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    if isinstance(dim, bool):  # var(self, unbiased)
        dim, unbiased = None, dim
    return dim, float(correction) if correction is not None else float(bool(unbiased))


@op("var", "std", "var_mean", "std_mean")
def var(
    run: Run, self: Any, dim: Any = None, unbiased: Any = True, keepdim: bool = False, correction: Any = None
) -> Any:
    dim, correction = _correction(dim, unbiased, correction)
    spread, average = _variance(run, run.floats(self), dim, keepdim, correction)
    if run.op.startswith("std"):
        spread = run.apply("sqrt", spread)
    return (spread, average) if run.op.endswith("mean") else spread
