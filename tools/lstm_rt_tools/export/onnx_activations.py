"""Activations in ONNX's terms: as operators, and as what the recurrent operators have them as."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lstm_rt.graph import Activation

from .onnx_build import Builder

#: Names of operators, and of their attributes for alpha and beta.
_OPERATORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "relu": ("Relu", ()),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
    "selu": ("Selu", ()),
    "softplus": ("Softplus", ()),
    "softsign": ("Softsign", ()),
    "exp": ("Exp", ()),
    "log": ("Log", ()),
    "sqrt": ("Sqrt", ()),
    "abs": ("Abs", ()),
    "reciprocal": ("Reciprocal", ()),
    "hard_swish": ("HardSwish", ()),
    "mish": ("Mish", ()),
    "erf": ("Erf", ()),
    "sin": ("Sin", ()),
    "cos": ("Cos", ()),
    "sign": ("Sign", ()),
    "floor": ("Floor", ()),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
    "celu": ("Celu", ("alpha",)),
}
#: What LSTM, GRU and RNN have, with the parameters that they take from their lists.
_IN_CELLS: dict[str, tuple[str, int]] = {
    "linear": ("Affine", 2),
    "sigmoid": ("Sigmoid", 0),
    "tanh": ("Tanh", 0),
    "relu": ("Relu", 0),
    "hard_sigmoid": ("HardSigmoid", 2),
    "leaky_relu": ("LeakyRelu", 1),
    "elu": ("Elu", 1),
    "softplus": ("Softplus", 0),
    "softsign": ("Softsign", 0),
    "affine": ("Affine", 2),
    "scaled_tanh": ("ScaledTanh", 2),
    "thresholded_relu": ("ThresholdedRelu", 1),
}


def activate(b: Builder, x: str, activation: Activation) -> str:
    """An activation over features, which are the last dimension."""
    name = activation.name
    if name in _OPERATORS:
        op, attrs = _OPERATORS[name]
        return b.add(op, x, **{a: getattr(activation, a) for a in attrs})
    return _WRITTEN_OUT[name](b, x, activation)


def _gelu(b: Builder, x: str, a: Activation) -> str:
    erf = b.add("Erf", b.add("Div", x, b.number(math.sqrt(2))))
    return b.add("Mul", b.add("Mul", x, b.add("Add", erf, b.number(1))), b.number(0.5))


def _gelu_tanh(b: Builder, x: str, a: Activation) -> str:
    half = b.add("Mul", x, b.number(0.5))
    cubic = b.add("Mul", b.add("Pow", x, b.number(3)), b.number(0.044715))
    inner = b.add("Mul", b.add("Add", x, cubic), b.number(math.sqrt(2 / math.pi)))
    return b.add("Mul", half, b.add("Add", b.add("Tanh", inner), b.number(1)))


def _affine(b: Builder, x: str, a: Activation) -> str:
    return b.add("Add", b.add("Mul", x, b.number(a.alpha)), b.number(a.beta))


def _scaled_tanh(b: Builder, x: str, a: Activation) -> str:
    return b.add("Mul", b.add("Tanh", b.add("Mul", x, b.number(a.beta))), b.number(a.alpha))


_WRITTEN_OUT: dict[str, Callable[[Builder, str, Activation], str]] = {
    "linear": lambda b, x, a: x,
    "swish": lambda b, x, a: b.add("Mul", x, b.add("Sigmoid", x)),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "softmax": lambda b, x, a: b.add("Softmax", x, axis=-1),
    "square": lambda b, x, a: b.add("Mul", x, x),
    "clip": lambda b, x, a: b.add("Clip", x, b.number(a.alpha), b.number(a.beta)),
    "affine": _affine,
    "scaled_tanh": _scaled_tanh,
    "power": lambda b, x, a: b.add("Pow", x, b.number(a.alpha)),
    "log_softmax": lambda b, x, a: b.add("LogSoftmax", x, axis=-1),
}


def cell_attributes(activations: Sequence[Activation], directions: int) -> dict[str, Any] | None:
    """The attributes of a recurrent operator with these activations; None where it has no such."""
    if any(a.name not in _IN_CELLS for a in activations):
        return None
    names = [_IN_CELLS[a.name][0] for a in activations]
    alphas: list[float] = []
    betas: list[float] = []
    for a in activations:
        alpha, beta = (1.0, 0.0) if a.name == "linear" else (a.alpha or 0.0, a.beta or 0.0)
        count = _IN_CELLS[a.name][1]
        alphas += [alpha] * (count >= 1)
        betas += [beta] * (count >= 2)
    attrs: dict[str, Any] = {"activations": names * directions}
    if alphas:
        attrs["activation_alpha"] = alphas * directions
    if betas:
        attrs["activation_beta"] = betas * directions
    return attrs
