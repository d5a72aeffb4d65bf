"""Operators that act on each number alone, on one tensor or several."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op

# -- one tensor ----------------------------------------------------------------------------------

_UNARY = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Neg": "neg",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}
#: Those with numbers: the word, and names and defaults of the numbers.
_WITH_NUMBERS: dict[str, tuple[str, dict[str, float]]] = {
    "Celu": ("celu", {"alpha": 1.0}),
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
}
#: Of known numbers alone, such as those of shapes.
_KNOWN: dict[str, Callable[..., Any]] = {
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseNot": np.bitwise_not,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "Cosh": np.cosh,
    "Sinh": np.sinh,
    "Tan": np.tan,
}


def known_only(c: Call, function: Callable[..., Any]) -> Tensor:
    """An operator that the vocabulary has no word for: its result, if that depends on no input."""
    arrays = [c.m.number(x, f"input {i} of {c.name}") for i, x in enumerate(c.tensors())]
    with np.errstate(all="ignore"):
        return c.constant(np.asarray(function(*arrays)))


@op(*_UNARY)
def _unary(c: Call) -> Value:
    return c.one(_UNARY[c.name], c.tensor(0))


@op(*_WITH_NUMBERS)
def _with_numbers(c: Call) -> Value:
    word, defaults = _WITH_NUMBERS[c.name]
    return c.one(word, c.tensor(0), **{name: c.number(name, default) for name, default in defaults.items()})


@op(*_KNOWN)
def _known(c: Call) -> Value:
    return known_only(c, _KNOWN[c.name])


_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


@op("Selu")
def _selu(c: Call) -> Value:
    alpha, gamma = c.number("alpha", _SELU[0]), c.number("gamma", _SELU[1])
    if math.isclose(alpha, _SELU[0], rel_tol=1e-6) and math.isclose(gamma, _SELU[1], rel_tol=1e-6):
        return c.one("selu", c.tensor(0))
    return c.one("mul", c.one("elu", c.tensor(0), alpha=alpha), c.constant(np.float32(gamma)))


@op("Gelu")
def _gelu(c: Call) -> Value:
    return c.one("gelu", c.tensor(0), tanh=c.text("approximate", "none") == "tanh")


@op("Erfc")
def _erfc(c: Call) -> Value:
    """No operator of ONNX's: what tf2onnx leaves of TensorFlow's."""
    return c.one("sub", c.constant(np.float32(1)), c.one("erf", c.tensor(0)))


@op("Swish")
def _swish(c: Call) -> Value:
    return swish(c, c.tensor(0), c.number("alpha", 1.0))


def swish(c: Call, x: Tensor, alpha: float) -> Tensor:
    """``x sigmoid(alpha x)``."""
    if alpha == 1.0:
        return c.one("silu", x)
    return c.one("mul", x, c.one("sigmoid", c.one("mul", x, c.constant(np.float32(alpha)))))


@op("Shrink")
def _shrink(c: Call) -> Value:
    x, lambd, bias = c.tensor(0), c.number("lambd", 0.5), c.constant(c.tensor(0).dtype.type(c.number("bias", 0.0)))
    zero, high, low = (c.constant(x.dtype.type(v)) for v in (0, lambd, -lambd))
    above = c.one("where", c.one("gt", x, high), c.one("sub", x, bias), zero)
    return c.one("where", c.one("lt", x, low), c.one("add", x, bias), above)


@op("IsInf")
def _is_inf(c: Call) -> Value:
    high, low = (math.inf if c.integer(f"detect_{sign}", 1) else math.nan for sign in ("positive", "negative"))
    return known_only(c, lambda x: (x == high) | (x == -low))


@op("IsNaN")
def _is_nan(c: Call) -> Value:
    return c.one("ne", c.tensor(0), c.tensor(0))


@op("Identity", "Optional", "OptionalGetElement", ignores=("type",))
def _identity(c: Call) -> Value:
    return next(iter(c.values()), None)


@op("OptionalHasElement")
def _has_element(c: Call) -> Value:
    return c.constant(np.array(any(v is not None for v in c.values())))


@op("Dropout", ignores=("ratio", "seed"))
def _dropout(c: Call) -> Value | tuple[Value, ...]:
    ratio, training = c.optional(1), c.optional(2)
    if training is not None and c.known(2, "training_mode").any() and (ratio is None or c.known(1, "ratio").any()):
        raise c.error("it is in training mode; export the model in evaluation mode")
    return c.tensor(0), c.constant(np.ones(c.tensor(0).shape, np.bool_)) if c.wants(1) else None


@op("Cast", "CastLike", ignores=("saturate", "round_mode"))
def _cast(c: Call) -> Value:
    x = c.tensor(0)
    return cast(c, x, c.dtype(c.integer("to")) if c.name == "Cast" else c.tensor(1).dtype)


def cast(c: Call, x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """``x`` in another type; itself, if it has it."""
    return x if x.dtype == dtype else c.one("cast", x, dtype=dtype)


@op("Clip")
def _clip(c: Call) -> Value:
    x = c.tensor(0)
    if c.version < 11:
        low, high = c.number("min", -math.inf), c.number("max", math.inf)
        return clip(c, x, low, high)
    ends = [c.optional(1), c.optional(2)]
    if all(e is None or e.known for e in ends):
        return clip(c, x, c.known_number(1, "min", -math.inf), c.known_number(2, "max", math.inf))
    for word, end in zip(("maximum", "minimum"), ends, strict=True):
        x = x if end is None else c.one(word, x, end)
    return x


def clip(c: Call, x: Tensor, low: float, high: float) -> Tensor:
    """``x`` between two numbers."""
    if low <= -_MOST and high >= _MOST:
        return x
    if x.dtype.kind == "f":
        return c.one("relu", x) if low == 0 and high >= _MOST else c.one("clip", x, low=low, high=high)
    x = x if math.isinf(low) else c.one("maximum", x, c.constant(x.dtype.type(low)))
    return x if math.isinf(high) else c.one("minimum", x, c.constant(x.dtype.type(high)))


_MOST = float(np.finfo(np.float32).max)  # what exporters write for no limit

# -- several -------------------------------------------------------------------------------------

_BINARY = {
    "Add": "add",
    "And": "logical_and",
    "Div": "div",
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Mul": "mul",
    "Or": "logical_or",
    "PRelu": "prelu",
    "Sub": "sub",
    "Xor": "ne",
}
_VARIADIC = {"Max": "maximum", "Min": "minimum", "Sum": "add", "Mean": "add"}


@op(*_BINARY)
def _binary(c: Call) -> Value:
    x, y = c.tensor(0), c.tensor(1)
    found = c.one(_BINARY[c.name], x, y)
    if c.name == "Div" and found.known and found.dtype.kind == "i" and found.data.size == 1:
        c.divided(int(x.data.item()), int(found.data.item()))
    return found


@op("Pow")
def _pow(c: Call) -> Value:
    x, y = c.tensor(0), c.tensor(1)
    if x.dtype.kind == "f":
        return c.one("pow", x, cast(c, y, x.dtype))
    wide = c.one("pow", cast(c, x, np.dtype(np.float64)), cast(c, y, np.dtype(np.float64)))
    return cast(c, wide, x.dtype)


@op(*_VARIADIC)
def _variadic(c: Call) -> Value:
    parts = c.tensors()
    if not parts:
        raise c.error("it has no inputs")
    total = reduce(lambda a, b: c.one(_VARIADIC[c.name], a, b), parts)
    if c.name == "Mean" and len(parts) > 1:
        return c.one("div", total, c.constant(np.float32(len(parts))))
    return total


@op("Mod")
def _mod(c: Call) -> Value:
    return known_only(c, np.fmod if c.integer("fmod", 0) else np.mod)


@op("BitShift")
def _bit_shift(c: Call) -> Value:
    return known_only(c, np.left_shift if c.text("direction") == "LEFT" else np.right_shift)


@op("Where")
def _where(c: Call) -> Value:
    return c.one("where", c.tensor(0), c.tensor(1), c.tensor(2))
