"""The activations of the reference interpreter, as their definitions say them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

FloatArray: TypeAlias = NDArray[Any]

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def _sigmoid(x: FloatArray) -> FloatArray:
    # exp of a number <= 0 only, so that nothing overflows
    e = np.exp(-np.abs(x))
    result: FloatArray = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    return result


def _erf(x: FloatArray) -> FloatArray:
    values = [math.erf(v) for v in x.ravel().tolist()]
    return np.array(values, dtype=x.dtype).reshape(x.shape)


def _log_softmax(x: FloatArray) -> FloatArray:
    shifted = x - x.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _swish(x: FloatArray) -> FloatArray:
    result: FloatArray = np.where(x == -np.inf, 0, x * _sigmoid(x))  # its limit, where the product is NaN
    return result


def _elu(x: FloatArray, alpha: float) -> FloatArray:
    result: FloatArray = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return result


def _gelu_tanh(x: FloatArray) -> FloatArray:
    result: FloatArray = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return result


#: name -> f(x, alpha, beta)
_FUNCTIONS: dict[str, Callable[[FloatArray, float, float], FloatArray]] = {
    "linear": lambda x, a, b: x,
    "sigmoid": lambda x, a, b: _sigmoid(x),
    "tanh": lambda x, a, b: np.tanh(x),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "leaky_relu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "elu": lambda x, a, b: _elu(x, a),
    "selu": lambda x, a, b: _SELU_SCALE * _elu(x, _SELU_ALPHA),
    "softplus": lambda x, a, b: np.logaddexp(0, x),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "swish": lambda x, a, b: _swish(x),
    "gelu": lambda x, a, b: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x, a, b: _gelu_tanh(x),
    "softmax": lambda x, a, b: np.exp(_log_softmax(x)),
    "log_softmax": lambda x, a, b: _log_softmax(x),
    "exp": lambda x, a, b: np.exp(x),
    "log": lambda x, a, b: np.log(x),
    "sqrt": lambda x, a, b: np.sqrt(x),
    "abs": lambda x, a, b: np.abs(x),
    "square": lambda x, a, b: x * x,
    "reciprocal": lambda x, a, b: 1 / x,
    "clip": lambda x, a, b: np.minimum(np.maximum(x, a), b),
    "hard_swish": lambda x, a, b: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x, a, b: x * np.tanh(np.logaddexp(0, x)),
    "erf": lambda x, a, b: _erf(x),
    "sin": lambda x, a, b: np.sin(x),
    "cos": lambda x, a, b: np.cos(x),
    "sign": lambda x, a, b: np.sign(x),
    "floor": lambda x, a, b: np.floor(x),
    "affine": lambda x, a, b: a * x + b,
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "thresholded_relu": lambda x, a, b: np.where(x <= a, 0, x),
    "celu": lambda x, a, b: a * _elu(x / a, 1.0),
    "power": lambda x, a, b: x**a,
}


def activate(x: FloatArray, activation: Activation) -> FloatArray:
    """Apply an activation function; softmax and log_softmax act over the last axis."""
    assert activation.alpha is not None
    assert activation.beta is not None
    return _FUNCTIONS[activation.name](x, activation.alpha, activation.beta)
