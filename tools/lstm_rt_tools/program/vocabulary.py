"""The closed vocabulary of tensor operations, each as a NumPy function.

Front ends (ONNX, ``.pt2``, TorchScript, live modules) translate their words into these; the machine
(:mod:`.machine`) runs them, and :mod:`.rules` says what their results stand for. Names are Core ATen's where they
fit. Tensors are positional, options are keywords; axes may be negative. A function takes and gives NumPy arrays and
keeps the dtype of its first argument, float32 where that is short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from ..judges.reference_activations import activate
from .recurrent import gru, lstm, rnn
from .windows import conv, conv_transpose, pool

A: TypeAlias = NDArray[Any]
Function: TypeAlias = Callable[..., Any]


def _act(name: str, *defaults: float, names: tuple[str, str] = ("alpha", "beta")) -> Function:
    """An activation of the runtime: its one definition is the reference interpreter's."""

    def function(x: A, **options: float) -> A:
        values = [options.pop(n, d) for n, d in zip(names, defaults, strict=False)]
        if options:
            raise TypeError(f"{name} takes no {next(iter(options))}")
        return activate(x, Activation(name, *values))

    return function


def _gelu(x: A, tanh: bool = False) -> A:
    return activate(x, Activation("gelu_tanh" if tanh else "gelu"))


def _erf(x: A) -> A:
    return np.array([math.erf(v) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)


def _div(a: A, b: A) -> A:
    """Of integers as C divides them: towards zero."""
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        return np.asarray(np.trunc(a / b)).astype(np.result_type(a, b))
    return np.asarray(np.divide(a, b))


def _over(function: Callable[..., Any]) -> Function:
    def reduction(x: A, axes: Sequence[int] | None = None, keepdims: bool = False) -> A:
        over = None if axes is None else tuple(axes)
        return np.asarray(function(x, axis=over, keepdims=keepdims)).astype(x.dtype, copy=False)

    return reduction


def _l2(x: A, axis: Any, keepdims: bool) -> A:
    return np.asarray(np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)))


def _logsumexp(x: A, axis: Any, keepdims: bool) -> A:
    top = np.max(x, axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return np.asarray(total if keepdims else np.squeeze(total, axis))


def _argmax(x: A, axis: int, keepdims: bool = False) -> A:
    return np.asarray(np.argmax(x, axis=axis, keepdims=keepdims))


def _cumsum(x: A, axis: int) -> A:
    return np.asarray(np.cumsum(x, axis=axis, dtype=x.dtype))


def _log_softmax(x: A, axis: int = -1) -> A:
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)))


def _softmax(x: A, axis: int = -1) -> A:
    return np.asarray(np.exp(_log_softmax(x, axis)))


def _slice(x: A, axis: int, start: int | None = None, stop: int | None = None, step: int = 1) -> A:
    index: list[slice] = [slice(None)] * x.ndim
    index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _index_select(x: A, index: A, axis: int) -> A:
    return np.asarray(np.take(x, index.astype(np.int64), axis=axis))


def _gather_elements(x: A, index: A, axis: int) -> A:
    return np.asarray(np.take_along_axis(x, index.astype(np.int64), axis))


def _concat(*xs: A, axis: int) -> A:
    return np.concatenate(xs, axis)


def _reverse_sequence(x: A, lengths: A, time_axis: int = 0, batch_axis: int = 1) -> A:
    y = np.array(x)
    for row, n in enumerate(lengths.astype(int)):
        place: list[Any] = [slice(None)] * x.ndim
        place[batch_axis], place[time_axis] = row, slice(0, n)
        # an axis that an integer index drops moves those after it
        axis = time_axis % x.ndim - (batch_axis % x.ndim < time_axis % x.ndim)
        y[tuple(place)] = np.flip(x[tuple(place)], axis)
    return y


def _pad(x: A, pads: Sequence[Sequence[int]], mode: str = "constant", value: float = 0.0) -> A:
    index = tuple(slice(max(0, -b), x.shape[i] - max(0, -a)) for i, (b, a) in enumerate(pads))
    x, grow = x[index], [(max(0, b), max(0, a)) for b, a in pads]
    return np.pad(x, grow, constant_values=value) if mode == "constant" else np.pad(x, grow, mode)  # type: ignore[call-overload]


def _one_hot(ids: A, depth: int, on: float = 1.0, off: float = 0.0, axis: int = -1) -> A:
    ids = np.where(ids < 0, ids + depth, ids)
    hot = np.asarray(ids[..., None] == np.arange(depth))
    return np.moveaxis(np.where(hot, np.float32(on), np.float32(off)), -1, axis)


def _batch_norm(
    x: A, mean: A, var: A, gamma: A | None = None, beta: A | None = None, eps: float = 1e-5, axis: int = 1
) -> A:
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    y = np.asarray((x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + x.dtype.type(eps)))
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def _normalised(x: A, axes: tuple[int, ...], eps: float) -> A:
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(var + x.dtype.type(eps)))


def _layer_norm(x: A, gamma: A | None = None, beta: A | None = None, eps: float = 1e-5, dims: int = 1) -> A:
    y = _normalised(x, tuple(range(-dims, 0)), eps)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def _group_norm(x: A, gamma: A | None = None, beta: A | None = None, eps: float = 1e-5, groups: int = 1) -> A:
    parts = x.reshape(x.shape[0], groups, -1)
    y = _normalised(parts, (2,), eps).reshape(x.shape)
    shape = (1, -1, *[1] * (x.ndim - 2))
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def _l2_normalize(x: A, axis: int = -1, eps: float = 1e-12) -> A:
    return np.asarray(x / np.maximum(_l2(x, axis, True), x.dtype.type(eps)))


def _attention(q: A, k: A, v: A, mask: A | None = None, causal: bool = False, scale: float | None = None) -> A:
    """``softmax(q k^T scale + mask) v`` (Vaswani et al. 2017); a mask of booleans is true where a key counts."""
    scores = (q @ np.swapaxes(k, -1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return np.asarray((_softmax(scores) @ v).astype(q.dtype))


def _argsort(x: A, axis: int = 0, descending: bool = False) -> A:
    """Places in the order of the numbers, equal ones as they stand."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis))


def _hard_swish(x: A) -> A:
    return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1))


def _celu(x: A, alpha: float = 1.0) -> A:
    return np.asarray(np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))).astype(x.dtype)


def _numbers(function: Callable[..., Any]) -> Function:
    """An elementwise NumPy function as it is, its result an array."""
    return lambda *xs: np.asarray(function(*xs))


BINARY: dict[str, Function] = {
    "add": _numbers(np.add),
    "sub": _numbers(np.subtract),
    "mul": _numbers(np.multiply),
    "div": _div,
    "maximum": _numbers(np.maximum),
    "minimum": _numbers(np.minimum),
    "pow": _numbers(np.power),
    "eq": _numbers(np.equal),
    "ne": _numbers(np.not_equal),
    "lt": _numbers(np.less),
    "le": _numbers(np.less_equal),
    "gt": _numbers(np.greater),
    "ge": _numbers(np.greater_equal),
    "logical_and": _numbers(np.logical_and),
    "logical_or": _numbers(np.logical_or),
}

UNARY: dict[str, Function] = {
    "neg": _numbers(np.negative),
    "abs": _numbers(np.abs),
    "exp": _numbers(np.exp),
    "log": _numbers(np.log),
    "sqrt": _numbers(np.sqrt),
    "square": _numbers(np.square),
    "reciprocal": _numbers(np.reciprocal),
    "sign": _numbers(np.sign),
    "floor": _numbers(np.floor),
    "ceil": _numbers(np.ceil),
    "round": _numbers(np.round),
    "erf": _erf,
    "sin": _numbers(np.sin),
    "cos": _numbers(np.cos),
    "sigmoid": _act("sigmoid"),
    "tanh": _act("tanh"),
    "relu": _act("relu"),
    "leaky_relu": _act("leaky_relu", 0.01),
    "elu": _act("elu", 1.0),
    "selu": _act("selu"),
    "softplus": _act("softplus"),
    "softsign": _act("softsign"),
    "hard_sigmoid": _act("hard_sigmoid", 1 / 6, 0.5),
    "silu": _act("swish"),
    "gelu": _gelu,
    "hard_swish": _hard_swish,
    "mish": lambda x: np.asarray(x * np.tanh(np.logaddexp(0, x))).astype(x.dtype),
    "celu": _celu,
    "clip": lambda x, low=-math.inf, high=math.inf: np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high)),
    "scaled_tanh": lambda x, alpha=1.0, beta=1.0: np.asarray(alpha * np.tanh(beta * x)).astype(x.dtype),
    "thresholded_relu": lambda x, alpha=1.0: np.where(x > alpha, x, x.dtype.type(0)),
    "logical_not": _numbers(np.logical_not),
    "cast": lambda x, dtype: x.astype(dtype),
}

REDUCTIONS: dict[str, Function] = {
    "sum": _over(np.sum),
    "mean": _over(np.mean),
    "max": _over(np.max),
    "min": _over(np.min),
    "prod": _over(np.prod),
    "l2": _over(_l2),
    "logsumexp": _over(_logsumexp),
}

SHAPES: dict[str, Function] = {
    "reshape": lambda x, sizes: x.reshape(tuple(int(n) for n in sizes)),
    "squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "permute": lambda x, axes: np.transpose(x, tuple(axes)),
    "expand": lambda x, sizes: np.broadcast_to(x, tuple(int(n) for n in sizes)),
    "slice": _slice,
    "index_select": _index_select,
    "gather_elements": _gather_elements,
    "concat": _concat,
    "flip": lambda x, axis: np.flip(x, axis),
    "reverse_sequence": _reverse_sequence,
    "pad": _pad,
    "repeat_interleave": lambda x, times, axis: np.repeat(x, times, axis),
    "tile": lambda x, repeats: np.tile(x, tuple(repeats)),
    "one_hot": _one_hot,
}

LAYERS: dict[str, Function] = {
    "matmul": _numbers(np.matmul),
    "where": lambda cond, a, b: np.where(cond, a, b),
    "prelu": lambda x, slope: np.where(x >= 0, x, x * slope),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "argmax": _argmax,
    "argsort": _argsort,
    "cumsum": _cumsum,
    "logcumsumexp": lambda x, axis: np.logaddexp.accumulate(x, axis=axis, dtype=x.dtype),
    "conv": conv,
    "conv_transpose": conv_transpose,
    "pool": pool,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "l2_normalize": _l2_normalize,
    "attention": _attention,
    "lstm": lstm,
    "gru": gru,
    "rnn": rnn,
}

#: Every word, and what it computes.
FUNCTIONS: dict[str, Function] = {**BINARY, **UNARY, **REDUCTIONS, **SHAPES, **LAYERS}
