"""Activation functions: their names, codes and parameters. What they compute: docs/format.md, section 4.1."""

from __future__ import annotations

from dataclasses import dataclass

from ._checks import number
from .errors import GraphError, did_you_mean

#: Activations in the order of their codes in files, and the defaults of their parameters (alpha, beta); 0 where they
#: have none. ``hard_sigmoid`` is ``clip(alpha * x + beta, 0, 1)``; ``gelu`` is the exact (erf) form.
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
}
ACT_CODES: dict[str, int] = {name: code for code, name in enumerate(ACTIVATIONS)}
#: Activations that mix features, so they cannot act inside a gate.
NOT_ELEMENTWISE = frozenset({"softmax", "log_softmax"})


@dataclass(frozen=True)
class Activation:
    """An activation function by name, with its parameters.

    Raises:
        GraphError: the name is not in :data:`ACTIVATIONS`, or a parameter is not finite.
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

    def __str__(self) -> str:
        if self.name == "hard_sigmoid":
            return f"hard_sigmoid({self.alpha:.4g}x+{self.beta:.4g})"
        if self.name in ("leaky_relu", "elu"):
            return f"{self.name}({self.alpha:.4g})"
        return self.name


def as_activation(value: str | Activation | None) -> Activation:
    """``None`` -> linear, a name -> that activation with default parameters."""
    if isinstance(value, Activation):
        return value
    return Activation("linear" if value is None else value)
