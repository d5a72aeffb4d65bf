"""Activation functions: their names, codes and parameters. What they compute: docs/format.md, section 4.1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._checks import number
from .errors import GraphError, did_you_mean

_LARGEST = 3.4028234663852886e38  # of float32

#: Activations in the order of their codes in files, and the defaults of their parameters (alpha, beta); 0 where they
#: have none. ``hard_sigmoid`` is ``clip(alpha * x + beta, 0, 1)``; ``gelu`` is the exact (erf) form; ``clip`` bounds
#: x by ``alpha`` and ``beta``; ``affine`` is ``alpha * x + beta``, ``scaled_tanh`` ``alpha * tanh(beta * x)`` and
#: ``power`` ``x ** alpha``.
ACTIVATIONS: dict[str, tuple[float, float]] = {
    "linear": (0.0, 0.0),
    "sigmoid": (0.0, 0.0),
    "tanh": (0.0, 0.0),
    "relu": (0.0, 0.0),
    "hard_sigmoid": (1.0 / 6.0, 0.5),
    "leaky_relu": (0.01, 0.0),
    "elu": (1.0, 0.0),
    "selu": (0.0, 0.0),
    "softplus": (0.0, 0.0),
    "softsign": (0.0, 0.0),
    "swish": (0.0, 0.0),
    "gelu": (0.0, 0.0),
    "gelu_tanh": (0.0, 0.0),
    "softmax": (0.0, 0.0),
    "log_softmax": (0.0, 0.0),
    "exp": (0.0, 0.0),
    "log": (0.0, 0.0),
    "sqrt": (0.0, 0.0),
    "abs": (0.0, 0.0),
    "square": (0.0, 0.0),
    "reciprocal": (0.0, 0.0),
    "clip": (-_LARGEST, _LARGEST),
    "hard_swish": (0.0, 0.0),
    "mish": (0.0, 0.0),
    "erf": (0.0, 0.0),
    "sin": (0.0, 0.0),
    "cos": (0.0, 0.0),
    "sign": (0.0, 0.0),
    "floor": (0.0, 0.0),
    "affine": (1.0, 0.0),
    "scaled_tanh": (1.0, 1.0),
    "thresholded_relu": (1.0, 0.0),
    "celu": (1.0, 0.0),
    "power": (1.0, 0.0),
}
ACT_CODES: dict[str, int] = {name: code for code, name in enumerate(ACTIVATIONS)}
#: The first version of the format that has an activation.
ACT_SINCE: dict[str, int] = {name: 1 if code < ACT_CODES["exp"] else 4 for name, code in ACT_CODES.items()}
#: Activations that mix features, so they cannot act inside a gate.
NOT_ELEMENTWISE = frozenset({"softmax", "log_softmax"})


@dataclass(frozen=True)
class Activation:
    """An activation function by name, with its parameters.

    Raises:
        GraphError: the name is not in :data:`ACTIVATIONS`, a parameter is not finite, or the alpha of celu is not
            positive.
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ACTIVATIONS:
            near = did_you_mean(self.name, ACTIVATIONS)
            raise GraphError(f"unknown activation {self.name!r}; known: {', '.join(ACTIVATIONS)}{near}")
        for attr, default in zip(("alpha", "beta"), ACTIVATIONS[self.name], strict=True):
            value = getattr(self, attr)
            value = default if value is None else number(f"activation {self.name}", attr, value)
            object.__setattr__(self, attr, value)
        if self.name == "celu" and not np.float32(self.alpha) > 0:
            raise GraphError(f"activation celu: alpha is {self.alpha}, expected a positive number")

    def __str__(self) -> str:
        if self.name == "hard_sigmoid":
            return f"hard_sigmoid({self.alpha:.4g}x+{self.beta:.4g})"
        if self.name == "affine":
            return f"affine({self.alpha:.4g}x+{self.beta:.4g})"
        if self.name in ("clip", "scaled_tanh"):
            return f"{self.name}({self.alpha:.4g}, {self.beta:.4g})"
        if self.name in ("leaky_relu", "elu", "thresholded_relu", "celu", "power"):
            return f"{self.name}({self.alpha:.4g})"
        return self.name


def as_activation(value: str | Activation | None) -> Activation:
    """``None`` -> linear, a name -> that activation with default parameters."""
    if isinstance(value, Activation):
        return value
    return Activation("linear" if value is None else value)
