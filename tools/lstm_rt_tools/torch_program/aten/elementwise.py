"""Arithmetic, comparisons and activations of ATen's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..agree import WantsType
from ..run import Run
from ..tensors import Var
from .table import op

#: Above this softplus is x in float32.
_SOFTPLUS_IS_LINEAR = 20
_GELU = {"none": False, "tanh": True}

# -- arithmetic ------------------------------------------------------------------------------------------


def _binary(word: str, *names: str, as_float: bool = False) -> None:
    @op(*names, plain=True)
    def function(run: Run, self: Any, other: Any) -> Any:
        return run.apply(word, *run.alike(self, other, as_float=as_float))


_binary("mul", "mul", "multiply")
_binary("maximum", "maximum", "fmax")
_binary("minimum", "minimum", "fmin")
for _name, _long in (
    ("eq", ()),
    ("ne", ("not_equal",)),
    ("lt", ("less",)),
    ("le", ("less_equal",)),
    ("gt", ("greater",)),
    ("ge", ("greater_equal",)),
):
    _binary(_name, _name, *_long)


def _scaled(run: Run, x: Any, alpha: Any) -> Any:
    return x if alpha == 1 else run.apply("mul", *run.alike(x, alpha))


@op("add", plain=True)
def add(run: Run, self: Any, other: Any, alpha: Any = 1) -> Any:
    return run.apply("add", *run.alike(self, _scaled(run, other, alpha)))


@op("sub", "subtract", plain=True)
def sub(run: Run, self: Any, other: Any, alpha: Any = 1) -> Any:
    return run.apply("sub", *run.alike(self, _scaled(run, other, alpha)))


@op("rsub", plain=True)
def rsub(run: Run, self: Any, other: Any, alpha: Any = 1) -> Any:
    return run.apply("sub", *run.alike(other, _scaled(run, self, alpha)))


@op("div", "divide", "true_divide", plain=True)
def div(run: Run, self: Any, other: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        whole = run.version < 4 and all(t.dtype.kind in "iub" for t in run.alike(self, other))
        if not whole:  # operators before version 4 divided whole numbers as C does
            return run.apply("div", *run.alike(self, other, as_float=True))
        rounding_mode = "trunc"
    if rounding_mode not in ("trunc", "floor"):
        raise run.error(f"rounding_mode {rounding_mode!r}")
    a, b = run.alike(self, other)
    if a.dtype.kind != "f":
        if not (a.known and b.known):
            raise run.error("a division of whole numbers that depend on an input")
        both = run.array(a, "a dividend"), run.array(b, "a divisor")
        return run.constant((np.floor_divide(*both) if rounding_mode == "floor" else np.trunc(both[0] / both[1])),
                            a.dtype)  # fmt: skip
    quotient = run.apply("div", a, b)
    if rounding_mode == "floor":
        return run.apply("floor", quotient)
    return run.apply("mul", run.apply("sign", quotient), run.apply("floor", run.apply("abs", quotient)))


@op("floor_divide", plain=True)
def floor_divide(run: Run, self: Any, other: Any) -> Any:
    return div(run, self, other, "floor")


@op("remainder", "fmod", plain=True)
def remainder(run: Run, self: Any, other: Any) -> Any:
    a, b = run.alike(self, other)
    function = np.fmod if run.op == "fmod" else np.remainder
    return run.constant(function(run.array(a, "a dividend"), run.array(b, "a divisor")), a.dtype)


@op("pow", plain=True)
def power(run: Run, self: Any, exponent: Any) -> Any:
    if isinstance(exponent, int | float):
        x = run.tensor(self)
        if x.dtype.kind == "f" or isinstance(exponent, float):
            x = run.floats(x)
            word = {2: "square", 0.5: "sqrt", -1: "reciprocal"}.get(exponent)
            if word:
                return run.apply(word, x)
    return run.apply("pow", *run.alike(self, exponent))


@op("addcmul", plain=True)
def addcmul(run: Run, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(run, self, run.apply("mul", *run.alike(tensor1, tensor2)), value)


@op("addcdiv", plain=True)
def addcdiv(run: Run, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return add(run, self, run.apply("div", *run.alike(tensor1, tensor2, as_float=True)), value)


@op("lerp", plain=True)
def lerp(run: Run, self: Any, end: Any, weight: Any) -> Any:
    return add(run, self, run.apply("mul", *run.alike(weight, sub(run, end, self))))


def _truth(run: Run, value: Any) -> Tensor:
    """As booleans: what conditions, masks and operations on bits take is never of floats."""
    x = run.tensor(value)
    if x.dtype.kind == "f" and not x.known and not run.op.startswith("logical"):
        raise WantsType(str(run.error("it takes floats, expected booleans")), run.op, x, np.bool_)
    return run.cast(x, np.dtype(bool))


def _logical(word: str, *names: str) -> None:
    @op(*names, plain=True)
    def function(run: Run, self: Any, other: Any) -> Any:
        return run.apply(word, _truth(run, self), _truth(run, other))


_logical("logical_and", "logical_and", "__and__", "bitwise_and")
_logical("logical_or", "logical_or", "__or__", "bitwise_or")
_logical("ne", "logical_xor", "__xor__", "bitwise_xor")


@op("logical_not", "bitwise_not", "__not__", plain=True)
def logical_not(run: Run, self: Any) -> Any:
    return run.apply("logical_not", _truth(run, self))


@op("where")
def where(run: Run, condition: Any, self: Any = None, other: Any = None) -> Any:
    if self is None or other is None:
        return run.constant(np.stack(np.nonzero(run.array(condition, "a condition")), -1), np.int64)
    a, b = run.alike(self, other)
    return run.apply("where", _truth(run, condition), a, b)


@op("masked_fill")
def masked_fill(run: Run, self: Any, mask: Any, value: Any) -> Any:
    x = run.tensor(self)
    filled, truth = run.cast(run.tensor(value), x.dtype), _truth(run, mask)
    if truth.ndim > x.ndim:
        run.machine.doubt(truth.shape[0], 1)  # a mask is hardly meant to repeat what it masks
    return run.apply("where", truth, filled, x)


@op("isnan", "isinf", "isfinite", plain=True)
def isnan(run: Run, self: Any) -> Any:
    function = {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}[run.op]
    return run.constant(function(run.array(self, "a number that is asked about")))


# -- functions of one number -----------------------------------------------------------------------------


def _unary(word: str, *names: str, as_float: bool = True) -> None:
    @op(*names, plain=True)
    def function(run: Run, self: Any) -> Any:
        return run.apply(word, run.floats(self) if as_float else run.tensor(self))


for _word in ("exp", "log", "sqrt", "reciprocal", "erf", "sin", "cos", "sigmoid", "tanh", "selu", "mish"):
    _unary(_word, _word)
for _word in ("abs", "neg", "sign", "floor", "ceil", "round", "relu", "square"):
    _unary(_word, _word, as_float=False)
_unary("abs", "absolute", as_float=False)
_unary("neg", "negative", "_neg_view", as_float=False)
_unary("sign", "sgn", as_float=False)
_unary("sigmoid", "special_expit")
_unary("erf", "special_erf")
_unary("silu", "silu", "swish")
_unary("hard_swish", "hardswish")
_unary("softsign", "softsign")


def _composed(name: str, compose: Callable[[Run, Tensor], Any]) -> None:
    @op(name, plain=True)
    def function(run: Run, self: Any) -> Any:
        return compose(run, run.floats(self))


_composed("rsqrt", lambda run, x: run.apply("reciprocal", run.apply("sqrt", x)))
_composed("expm1", lambda run, x: sub(run, run.apply("exp", x), 1))
_composed("log1p", lambda run, x: run.apply("log", add(run, x, 1)))
_composed("log2", lambda run, x: run.apply("mul", run.apply("log", x), run.constant(1 / math.log(2), np.float32)))
_composed("log10", lambda run, x: run.apply("mul", run.apply("log", x), run.constant(1 / math.log(10), np.float32)))
_composed("exp2", lambda run, x: run.apply("exp", run.apply("mul", x, run.constant(math.log(2), np.float32))))
_composed("hardsigmoid", lambda run, x: run.apply("hard_sigmoid", x, alpha=1 / 6, beta=0.5))
_composed("relu6", lambda run, x: run.apply("clip", x, low=0.0, high=6.0))
_composed("log_sigmoid", lambda run, x: run.apply("neg", run.apply("softplus", run.apply("neg", x))))
_composed("tanhshrink", lambda run, x: run.apply("sub", x, run.apply("tanh", x)))


@op("trunc", "fix", plain=True)
def trunc(run: Run, self: Any) -> Any:
    x = run.floats(self)
    return run.apply("mul", run.apply("sign", x), run.apply("floor", run.apply("abs", x)))


@op("log_sigmoid_forward", plain=True)
def log_sigmoid_forward(run: Run, self: Any) -> Any:
    y = run.apply("neg", run.apply("softplus", run.apply("neg", run.floats(self))))
    return y, y


@op("leaky_relu", plain=True)
def leaky_relu(run: Run, self: Any, negative_slope: Any = 0.01) -> Any:
    return run.apply("leaky_relu", run.floats(self), alpha=float(negative_slope))


@op("rrelu", plain=True)
def rrelu(run: Run, self: Any, lower: Any = 1 / 8, upper: Any = 1 / 3, training: Any = False) -> Any:
    return run.apply("leaky_relu", run.floats(self), alpha=(float(lower) + float(upper)) / 2)


@op("rrelu_with_noise", "rrelu_with_noise_functional", plain=True)
def rrelu_with_noise(
    run: Run, self: Any, noise: Any, lower: Any = 1 / 8, upper: Any = 1 / 3, training: Any = False
) -> Any:
    y = rrelu(run, self, lower, upper)
    return (y, noise) if run.op.endswith("functional") else y


@op("elu", plain=True)
def elu(run: Run, self: Any, alpha: Any = 1.0, scale: Any = 1.0, input_scale: Any = 1.0) -> Any:
    if input_scale != 1:
        raise run.error(f"with input_scale {input_scale}, expected 1")
    return _scaled(run, run.apply("elu", run.floats(self), alpha=float(alpha)), scale)


@op("celu", plain=True)
def celu(run: Run, self: Any, alpha: Any = 1.0) -> Any:
    return run.apply("celu", run.floats(self), alpha=float(alpha))


@op("gelu", plain=True)
def gelu(run: Run, self: Any, approximate: str = "none") -> Any:
    if approximate not in _GELU:
        raise run.error(f"approximate={approximate!r} is not supported")
    return run.apply("gelu", run.floats(self), tanh=_GELU[approximate])


@op("softplus", plain=True)
def softplus(run: Run, self: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    if threshold < _SOFTPLUS_IS_LINEAR:
        raise run.error(f"threshold={threshold} is not supported, only {_SOFTPLUS_IS_LINEAR} or more")
    x = run.floats(self)
    if beta == 1:
        return run.apply("softplus", x)
    scale = run.constant(beta, np.float32)
    return run.apply("div", run.apply("softplus", run.apply("mul", x, scale)), scale)


@op("hardtanh", plain=True)
def hardtanh(run: Run, self: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    return clamp(run, self, min_val, max_val)


@op("clamp", "clip", plain=True)
def clamp(run: Run, self: Any, min: Any = None, max: Any = None) -> Any:
    x = run.tensor(self)
    if isinstance(min, Var) or isinstance(max, Var) or x.dtype.kind != "f":
        for word, bound in (("maximum", min), ("minimum", max)):
            if bound is not None:
                x = run.apply(word, *run.alike(x, bound))
        return x
    low, high = (-math.inf if min is None else float(min)), (math.inf if max is None else float(max))
    return run.apply("clip", x, low=low, high=high)


@op("clamp_min", plain=True)
def clamp_min(run: Run, self: Any, min: Any) -> Any:
    return clamp(run, self, min, None)


@op("clamp_max", plain=True)
def clamp_max(run: Run, self: Any, max: Any) -> Any:
    return clamp(run, self, None, max)


@op("threshold", plain=True)
def threshold(run: Run, self: Any, threshold: Any, value: Any) -> Any:
    x = run.tensor(self)
    if value == 0 and x.dtype.kind == "f":
        return run.apply("thresholded_relu", x, alpha=float(threshold))
    above = run.apply("gt", *run.alike(x, threshold))
    return run.apply("where", above, x, run.constant(value, x.dtype))


@op("hardshrink", plain=True)
def hardshrink(run: Run, self: Any, lambd: Any = 0.5) -> Any:
    x = run.floats(self)
    far = run.apply("gt", run.apply("abs", x), run.constant(lambd, np.float32))
    return run.apply("where", far, x, run.constant(0, np.float32))


@op("softshrink", plain=True)
def softshrink(run: Run, self: Any, lambd: Any = 0.5) -> Any:
    x = run.floats(self)
    return run.apply("sub", x, run.apply("clip", x, low=-float(lambd), high=float(lambd)))


@op("glu")
def glu(run: Run, self: Any, dim: Any = -1) -> Any:
    x = run.floats(self)
    axis = run.axis(dim, x.ndim)
    half = x.shape[axis] // 2
    if 2 * half != x.shape[axis]:
        raise run.error(f"dimension {axis} of shape {x.shape} cannot be halved")
    return run.apply("mul", run.cut(x, axis, 0, half), run.apply("sigmoid", run.cut(x, axis, half, 2 * half)))


@op("prelu", "_prelu_kernel")
def prelu(run: Run, self: Any, weight: Any) -> Any:
    x, slope = run.floats(self), run.floats(weight)
    if run.op == "prelu" and slope.ndim == 1 and x.ndim > 2 and slope.shape[0] > 1:
        slope = run.reshaped(slope, [slope.shape[0], *[1] * (x.ndim - 2)])
    elif slope.shape != () and all(n == 1 for n in slope.shape):
        slope = run.reshaped(slope, [1])
    return run.apply("prelu", x, slope)


@op("softmax", "_softmax", "special_softmax")
def softmax(run: Run, self: Any, dim: Any, dtype: Any = None, half_to_float: bool = False) -> Any:
    x = run.floats(self)
    return run.apply("softmax", x, axis=run.axis(dim, x.ndim))


@op("log_softmax", "_log_softmax", "special_log_softmax")
def log_softmax(run: Run, self: Any, dim: Any, dtype: Any = None, half_to_float: bool = False) -> Any:
    x = run.floats(self)
    return run.apply("log_softmax", x, axis=run.axis(dim, x.ndim))


@op("softmin")
def softmin(run: Run, self: Any, dim: Any, dtype: Any = None) -> Any:
    x = run.floats(self)
    return run.apply("softmax", run.apply("neg", x), axis=run.axis(dim, x.ndim))
