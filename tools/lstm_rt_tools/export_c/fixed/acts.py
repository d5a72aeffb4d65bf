"""Activations in integers: the curves that gates go through, and what makes int16 of sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstm_rt.errors import GraphError
from lstm_rt.graph import Activation

from .curve import Z_UNIT, Ints, curve, half_of, hard_curve


@dataclass(frozen=True)
class Shape:
    """A curve that gates go through: smooth or hard, and what makes of a gate's sum the curve's argument."""

    hard: bool
    factor: float  #: of the curve's argument for each 1 of the sum
    offset: float = 0.0  #: of the argument

    def __call__(self, z: Ints) -> Ints:
        return hard_curve(z) if self.hard else curve(z)


_HARD_UNIT = 1 << 21  #: z of 1 of a hard curve


def gate_shape(op: str, act: Activation) -> Shape:
    """Of what is within 0 and 1."""
    if act.name == "sigmoid":
        return Shape(False, Z_UNIT)
    alpha, beta = act.alpha or 0.0, act.beta or 0.0
    if act.name == "hard_sigmoid":  # (1 + t) / 2 with t = 2 alpha x + 2 beta - 1
        return Shape(True, 2 * alpha * _HARD_UNIT, (2 * beta - 1) * _HARD_UNIT)
    raise GraphError(f"{op}: the gate activation {act.name} is not there in integers; known: sigmoid, hard_sigmoid")


def signed_shape(op: str, act: Activation) -> Shape:
    """Of what is within -1 and 1."""
    if act.name == "tanh":
        return Shape(False, 2 * Z_UNIT)
    if act.name == "clip" and (act.alpha, act.beta) == (-1, 1):
        return Shape(True, _HARD_UNIT)
    raise GraphError(f"{op}: the activation {act.name} is not there in integers; known: tanh, clip(-1, 1)")


@dataclass(frozen=True)
class Bounded:
    """An activation whose result is int16: through a curve, or the sum itself between two limits."""

    shape: Shape | None  #: of a curve
    half: bool  #: (1 + t) / 2 of it
    least: int
    most: int
    bits: int  #: of fraction, of the result
    factor: float  #: z for each 1 of the sum
    offset: float  #: what z has beside

    def __call__(self, z: Ints) -> Ints:
        if self.shape is None:
            return np.clip(z, self.least, self.most)
        t = self.shape(z)
        result: Ints = ((half_of(t) if self.half else t) + (1 << 15)) >> 16
        return result


def bounded(op: str, act: Activation, bits: int) -> Bounded:
    """Of an activation by name; ``bits``: of fraction, where it has no range of its own."""
    low, high_ = -(1 << 15), (1 << 15) - 1
    if act.name in ("sigmoid", "hard_sigmoid"):
        shape = gate_shape(op, act)
        return Bounded(shape, True, low, high_, 15, shape.factor, shape.offset)
    if act.name == "tanh":
        shape = signed_shape(op, act)
        return Bounded(shape, False, low, high_, 15, shape.factor, shape.offset)
    if act.name == "relu":
        low = 0
    elif act.name == "clip":
        low, high_ = (int(np.clip(np.rint(a * 2.0**bits), low, high_)) for a in (act.alpha or 0.0, act.beta or 0.0))
    elif act.name != "linear":
        known = "linear, sigmoid, tanh, relu, hard_sigmoid, clip"
        raise GraphError(f"{op}: the activation {act.name} is not there in integers; known: {known}")
    return Bounded(None, False, low, high_, bits, 2.0**bits, 0.5)
