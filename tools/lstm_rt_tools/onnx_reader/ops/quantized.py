"""Quantized models: weights become floats again, and what quantizes values at run time is left out or done in floats.

A quantized value is a float here that holds a whole number. Where its scale is only known when the model runs
(``DynamicQuantizeLinear``), the value stays as it was, with scale 1 and zero point 0: the exact numbers that the
source rounds.
"""

from __future__ import annotations

import numpy as np

from ...program.machine import Tensor
from ..call import MICROSOFT, Call, Value, op
from . import linear, recurrent
from .elementwise import cast
from .shapes import permute

_FLOAT = np.dtype(np.float32)
_RANGES = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767), 21: (0, 15), 22: (-8, 7)}
_DYNAMIC = (
    "values that the source rounds to whole numbers when it runs (dynamic quantization) stay floats here: results "
    "differ from the source's own by its rounding, often by 0.001 to 0.02, and are nearer to those of the model before "
    "it was quantized"
)


def dequantized(c: Call, x: Tensor, scale: Tensor | None, zero: Tensor | None, axis: int = 1, block: int = 0) -> Tensor:
    """``(x - zero) * scale`` in floats."""
    x = cast(c, x, _FLOAT)
    if zero is not None and not (zero.known and not zero.data.any()):
        x = c.one("sub", x, _along(c, cast(c, zero, _FLOAT), x, axis, block))
    if scale is None or (scale.known and (scale.data == 1).all()):
        return x
    return c.one("mul", x, _along(c, cast(c, scale, _FLOAT), x, axis, block))


def _along(c: Call, p: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Parameters of quantization as they broadcast with the tensor: one, or one for each index or block of an axis."""
    if p.data.size == 1:
        return c.reshape(p, ())
    axis = c.axis(axis, x.ndim)
    if block:
        wide = c.one("repeat_interleave", p, times=block, axis=axis)
        return c.one("slice", wide, axis=axis, start=0, stop=x.shape[axis], step=1)
    if p.shape != (x.shape[axis],):
        raise c.error(f"scales of the shape {p.shape} for axis {axis} of a tensor of the shape {x.shape}")
    return c.reshape(p, [-1 if i == axis else 1 for i in range(x.ndim)] if axis < x.ndim - 1 else p.shape)


def quantized(
    c: Call, x: Tensor, scale: Tensor, zero: Tensor | None, code: int, axis: int = 1, block: int = 0
) -> Tensor:
    """The whole numbers that stand for ``x``, as floats."""
    if code not in _RANGES:
        raise c.error(f"quantized numbers of type {code} are not supported")
    y = c.one("div", x, _along(c, scale, x, axis, block))
    y = c.one("round", y)
    if zero is not None and not (zero.known and not zero.data.any()):
        y = c.one("add", y, _along(c, cast(c, zero, _FLOAT), x, axis, block))
    low, high = _RANGES[code]
    return c.one("clip", y, low=low, high=high)


def _code(c: Call, zero: Tensor | None) -> int:
    """The type of quantized numbers: by their zero point, which must be known to be of that type, else uint8."""
    if zero is None:
        return c.integer("output_dtype", 0) or 2
    codes = {"uint8": 2, "int8": 3, "uint16": 4, "int16": 5}
    return c.integer("output_dtype", 0) or codes.get(zero.dtype.name, 0)


@op("DequantizeLinear", ignores=("output_dtype",))
@op("DequantizeLinear", domain=MICROSOFT, ignores=("output_dtype",))
def _dequantize(c: Call) -> Value:
    if c.tensor(0).known:
        c.note("quantized weights are floats here")
    return dequantized(c, c.tensor(0), c.tensor(1), c.optional(2), c.integer("axis", 1), c.integer("block_size", 0))


@op("QuantizeLinear", ignores=("saturate", "precision"))
@op("QuantizeLinear", domain=MICROSOFT, ignores=("saturate", "precision"))
def _quantize(c: Call) -> Value:
    x, scale, zero = c.tensor(0), c.tensor(1), c.optional(2)
    return quantized(c, x, scale, zero, _code(c, zero), c.integer("axis", 1), c.integer("block_size", 0))


@op("DynamicQuantizeLinear")
def _dynamic(c: Call) -> Value | tuple[Value, ...]:
    c.note(_DYNAMIC)
    return c.tensor(0), c.constant(np.float32(1)), c.constant(np.uint8(0))


@op("MatMulInteger")
def _matmul_integer(c: Call) -> Value:
    a = dequantized(c, c.tensor(0), None, c.optional(2), axis=-2)
    return c.one("matmul", a, dequantized(c, c.tensor(1), None, c.optional(3), axis=-1))


@op("ConvInteger", ignores=("kernel_shape",))
def _conv_integer(c: Call) -> Value:
    x = dequantized(c, c.tensor(0), None, c.optional(2))
    return linear.convolution(c, x, dequantized(c, c.tensor(1), None, c.optional(3), axis=0), None)


@op("QLinearMatMul")
def _qlinear_matmul(c: Call) -> Value:
    a = dequantized(c, c.tensor(0), c.tensor(1), c.tensor(2), axis=-2)
    b = dequantized(c, c.tensor(3), c.tensor(4), c.tensor(5), axis=-1)
    zero = c.tensor(7)
    return quantized(c, c.one("matmul", a, b), c.tensor(6), zero, _code(c, zero))


@op("QLinearConv", ignores=("kernel_shape",))
def _qlinear_conv(c: Call) -> Value:
    x = dequantized(c, c.tensor(0), c.tensor(1), c.tensor(2))
    w = dequantized(c, c.tensor(3), c.tensor(4), c.tensor(5), axis=0)
    bias = c.optional(8)
    if bias is not None:
        bias = c.one("mul", cast(c, bias, _FLOAT), c.one("mul", c.tensor(1), c.tensor(4)))
    zero = c.tensor(7)
    return quantized(c, linear.convolution(c, x, w, bias), c.tensor(6), zero, _code(c, zero))


_LINEAR = {"QLinearAdd": "add", "QLinearMul": "mul", "QLinearSigmoid": "sigmoid"}


@op(*_LINEAR, domain=MICROSOFT)
def _qlinear(c: Call) -> Value:
    """Each operand with its scale and zero point, then those of the result."""
    count = 1 if c.name == "QLinearSigmoid" else 2
    parts = [dequantized(c, c.tensor(3 * k), c.tensor(3 * k + 1), c.optional(3 * k + 2)) for k in range(count)]
    zero = c.optional(3 * count + 1)
    return quantized(c, c.one(_LINEAR[c.name], *parts), c.tensor(3 * count), zero, _code(c, zero))


@op("QGemm", domain=MICROSOFT)
def _qgemm(c: Call) -> Value:
    a = dequantized(c, c.tensor(0), c.tensor(1), c.optional(2))
    b = dequantized(c, c.tensor(3), c.tensor(4), c.optional(5), axis=0 if c.integer("transB", 0) else 1)
    a = permute(c, a, (1, 0)) if c.integer("transA", 0) else a
    b = permute(c, b, (1, 0)) if c.integer("transB", 0) else b
    y = linear.scaled(c, c.one("matmul", a, b), c.number("alpha", 1.0))
    if c.optional(6) is not None:
        y = c.one("add", y, c.one("mul", cast(c, c.tensor(6), _FLOAT), c.one("mul", c.tensor(1), c.tensor(4))))
    zero = c.optional(8)
    return y if c.optional(7) is None else quantized(c, y, c.tensor(7), zero, _code(c, zero))


@op("MatMulIntegerToFloat", domain=MICROSOFT)
def _matmul_to_float(c: Call) -> Value:
    a = dequantized(c, c.tensor(0), c.tensor(2), c.optional(4), axis=-2)
    y = c.one("matmul", a, dequantized(c, c.tensor(1), c.tensor(3), c.optional(5), axis=-1))
    return y if c.optional(6) is None else c.one("add", y, c.tensor(6))


@op("DynamicQuantizeMatMul", domain=MICROSOFT)
def _dynamic_matmul(c: Call) -> Value:
    c.note(_DYNAMIC)
    y = c.one("matmul", c.tensor(0), dequantized(c, c.tensor(1), c.tensor(2), c.optional(3), axis=-1))
    return y if c.optional(4) is None else c.one("add", y, c.tensor(4))


@op("DynamicQuantizeLSTM", domain=MICROSOFT)
def _dynamic_lstm(c: Call) -> Value | tuple[Value, ...]:
    c.note(_DYNAMIC)
    w, r = (_lstm_weight(c, i, scale) for i, scale in ((1, 8), (2, 10)))
    layer = recurrent.Layer(c.tensor(0), w, r, None if c.optional(3) is None else c.known(3, "B"))
    layer.lengths, layer.h0, layer.c0 = c.optional(4), c.optional(5), c.optional(6)
    layer.p = None if c.optional(7) is None else c.known(7, "P")
    return recurrent.run(c, recurrent.CELLS["LSTM"], layer)


def _lstm_weight(c: Call, i: int, scale_at: int) -> np.ndarray:
    """A weight (D, I, 4H) of whole numbers, with a scale for each direction, or for each of its columns."""
    w = c.known(i, "a weight").astype(np.float32)
    scale, zero = c.known(scale_at, "a scale"), c.known(scale_at + 1, "a zero point").astype(np.float32)
    for p in (scale, zero):
        if w.ndim != 3 or p.size not in (1, w.shape[0], w.shape[0] * w.shape[2]):
            raise c.error(f"a scale of the shape {p.shape} for a weight of the shape {w.shape}")
    shape = (w.shape[0], 1, -1)
    found = (w - zero.reshape(shape)) * scale.reshape(shape).astype(np.float32)
    return np.ascontiguousarray(np.swapaxes(found, 1, 2))
