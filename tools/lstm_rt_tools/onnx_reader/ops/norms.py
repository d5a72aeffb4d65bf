"""Normalizations."""

from __future__ import annotations

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op
from .reduce import mean


@op("BatchNormalization", ignores=("momentum",))
def _batch_norm(c: Call) -> Value:
    if c.integer("training_mode", 0) or any(c.wants(i) for i in range(1, 5)):
        raise c.error("it is in training mode; export the model in evaluation mode")
    if not c.integer("spatial", 1):
        raise c.error("spatial = 0 is not supported")
    x, gamma, beta, center, var = (c.tensor(i) for i in range(5))
    if x.ndim < 2 or any(p.shape != (x.shape[1],) for p in (gamma, beta, center, var)):
        raise c.error(f"its parameters do not fit an input of the shape {x.shape}")
    eps = c.number("epsilon", 1e-5)
    if center.known and var.known:
        return c.one("batch_norm", x, center, var, gamma, beta, eps=eps, axis=1)
    shape = (1, -1, *[1] * (x.ndim - 2))  # of the input's own statistics
    center, var, gamma, beta = (c.one("reshape", p, sizes=shape) for p in (center, var, gamma, beta))
    spread = c.one("sqrt", c.one("add", var, c.constant(np.float32(eps))))
    y = c.one("mul", c.one("div", c.one("sub", x, center), spread), gamma)
    return c.one("add", y, beta)


@op("InstanceNormalization")
def _instance_norm(c: Call) -> Value:
    x = c.tensor(0)
    groups = x.shape[1] if x.ndim > 1 else 1
    return c.one("group_norm", x, c.tensor(1), c.tensor(2), eps=c.number("epsilon", 1e-5), groups=groups)


@op("GroupNormalization", ignores=("stash_type",))
def _group_norm(c: Call) -> Value:
    x, gamma, beta = c.tensor(0), c.tensor(1), c.tensor(2)
    groups = c.integer("num_groups")
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise c.error(f"{groups} groups of an input of the shape {x.shape}")
    if c.version < 21:  # a number for each group
        gamma, beta = (c.one("repeat_interleave", p, times=x.shape[1] // groups, axis=0) for p in (gamma, beta))
    return c.one("group_norm", x, gamma, beta, eps=c.number("epsilon", 1e-5), groups=groups)


@op("LayerNormalization", ignores=("stash_type",))
def _layer_norm(c: Call) -> Value | tuple[Value, ...]:
    x, eps = c.tensor(0), c.number("epsilon", 1e-5)
    axis = c.axis(c.integer("axis", -1), x.ndim)
    y = affine_norm(c, x, c.optional(1), c.optional(2), eps, x.ndim - axis)
    if not c.wants(1) and not c.wants(2):
        return y
    over = range(axis, x.ndim)
    center = mean(c, x, over)
    var = mean(c, c.one("square", c.one("sub", x, center)), over)
    return y, center, _inverse_root(c, var, eps)


def affine_norm(c: Call, x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float, dims: int) -> Tensor:
    """A layer norm over the last dimensions."""
    last = x.shape[x.ndim - dims :]
    if all(p is None or p.shape == last for p in (gamma, beta)):
        return c.one("layer_norm", x, gamma, beta, eps=eps, dims=dims)
    y = c.one("layer_norm", x, None, None, eps=eps, dims=dims)
    y = y if gamma is None else c.one("mul", y, gamma)
    return y if beta is None else c.one("add", y, beta)


def _inverse_root(c: Call, x: Tensor, eps: float) -> Tensor:
    return c.one("reciprocal", c.one("sqrt", c.one("add", x, c.constant(x.dtype.type(eps)))))


@op("RMSNormalization", ignores=("stash_type",))
def _rms_norm(c: Call) -> Value:
    x = c.tensor(0)
    return rms_norm(c, x, c.tensor(1), c.number("epsilon", 1e-5), c.axis(c.integer("axis", -1), x.ndim))


def rms_norm(c: Call, x: Tensor, gamma: Tensor, eps: float, axis: int) -> Tensor:
    """``x`` over the root of its mean square, over the dimensions from ``axis`` on."""
    power = mean(c, c.one("square", x), range(axis, x.ndim))
    return c.one("mul", c.one("mul", x, _inverse_root(c, power, eps)), gamma)


@op("LpNormalization")
def _lp_norm(c: Call) -> Value:
    x, p = c.tensor(0), c.integer("p", 2)
    axis = c.axis(c.integer("axis", -1), x.ndim)
    if p == 2:
        return c.one("l2_normalize", x, axis=axis, eps=float(np.finfo(np.float32).tiny))
    if p != 1:
        raise c.error(f"p = {p} is not supported, only 1 and 2")
    total = c.one("sum", c.one("abs", x), axes=(axis,), keepdims=True)
    return c.one("div", x, c.one("maximum", total, c.constant(np.finfo(np.float32).tiny)))


@op("MeanVarianceNormalization")
def _mean_variance(c: Call) -> Value:
    x = c.tensor(0)
    axes = c.axes(c.ints("axes") or [0, 2, 3], x.ndim)
    centered = c.one("sub", x, mean(c, x, axes))
    deviation = c.one("sqrt", mean(c, c.one("square", centered), axes))
    return c.one("div", centered, c.one("add", deviation, c.constant(np.float32(1e-9))))
