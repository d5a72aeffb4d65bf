"""Normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.graph import Activation

from ..arith import activated, binary, normalized, reduced, scaled
from ..arrays import IntArray, feature_axis, numbers, picked, places_of, whole
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..functions.arguments import array_of
from ..weights import FloatArray, Weights

_LEAST = 1e-7  #: of a standard deviation that is divided by: Keras's epsilon


def _one_place(spec: LayerSpec, x: Tensor) -> int:
    places = places_of(spec.config.get("axis", -1), len(x.dims))
    if len(places) != 1:
        raise spec.error(f"option axis={spec.config['axis']!r:.60}: several axes are not supported")
    return places[0]


def _scale_roles(spec: LayerSpec) -> tuple[str, ...]:
    gamma = ("gamma",) if spec.flag("scale", True) else ()
    return (*gamma, "beta") if spec.flag("center", True) else gamma


def _over_features(
    spec: LayerSpec, x: Tensor, places: Sequence[int], arrays: dict[str, FloatArray]
) -> dict[str, NDArray[Any]]:
    """Weights of some axes, none of them time, in the shape of all features."""
    sizes = tuple(x.dims[i] for i in places)
    shape = [n if i in places else 1 for i, n in enumerate(x.dims) if i != x.time]
    for role, array in arrays.items():
        if array.shape != sizes:
            raise spec.error(f"{role} has shape {array.shape}, expected {sizes}")
    return {role: np.broadcast_to(array.reshape([n or 1 for n in shape]), x.features) for role, array in arrays.items()}


def emit_layer_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """LayerNormalization over the last axis or any others."""
    x = call.inputs[0]
    places = places_of(spec.config.get("axis", -1), len(x.dims))
    x = whole(ctx, x) if x.time in places else x
    arrays = _over_features(spec, x, places, weights.take(_scale_roles(spec), str(spec)))
    own = [feature_axis(x, i) for i in places]
    moved = np.moveaxis(numbers(x), own, range(-len(own), 0))
    return [_in_parts(ctx, spec, x, moved, math.prod(moved.shape[: moved.ndim - len(own)]), arrays)]


def _in_parts(
    ctx: Context, spec: LayerSpec, x: Tensor, moved: IntArray, parts: int, arrays: dict[str, NDArray[Any]]
) -> Tensor:
    """Each of ``parts`` equal parts of the features in the order ``moved`` with mean 0 and variance 1, then scaled."""
    order = moved.ravel()
    gamma, beta = (arrays[role].ravel()[order] if role in arrays else None for role in ("gamma", "beta"))
    value, eps = picked(ctx, x.value, moved), spec.number_option("epsilon", 1e-3)
    if parts == 1:
        value = ctx.graph.layernorm(value, gamma, beta, eps)
    else:
        value = ctx.graph.groupnorm(value, gamma, beta, eps, groups=parts)
    return replace(x, value=picked(ctx, value, np.argsort(order).astype(np.int32)))


def emit_group_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """GroupNormalization: over all axes but the batch's, a group being a part of one of them."""
    x = whole(ctx, call.inputs[0])
    place, groups = _one_place(spec, x), spec.config.get("groups", 32)
    size = x.dims[place] or 0
    groups = size if groups == -1 else groups
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or size % groups:
        raise spec.error(f"option groups is {groups!r:.60}, expected a divisor of {size}")
    arrays = _over_features(spec, x, [place], weights.take(_scale_roles(spec), str(spec)))
    return [_in_parts(ctx, spec, x, np.moveaxis(numbers(x), place, 0), groups, arrays)]


def emit_batch_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """BatchNormalization of an axis; that of the steps takes all of them at once."""
    x = call.inputs[0]
    place = _one_place(spec, x)
    x = whole(ctx, x) if x.time == place else x
    arrays = weights.take((*_scale_roles(spec), "moving_mean", "moving_variance"), str(spec))
    full = {role: a.ravel() for role, a in _over_features(spec, x, [place], arrays).items()}
    mean, variance = full["moving_mean"], full["moving_variance"]
    eps = spec.number_option("epsilon", 1e-3)
    return [replace(x, value=ctx.graph.batchnorm(x.value, mean, variance, full.get("gamma"), full.get("beta"), eps))]


def emit_unit_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """UnitNormalization: by the root of the sum of squares."""
    x = call.inputs[0]
    return [normalized(ctx, x, places_of(spec.config.get("axis", -1), len(x.dims)), 1e-12)]


def emit_rms_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """RMSNormalization: by the root of the mean of squares."""
    x = call.inputs[0]
    places = places_of(spec.config.get("axis", -1), len(x.dims))
    scale = weights.take(("scale",), str(spec))["scale"]
    mean = reduced(ctx, activated(ctx, x, Activation("square")), "mean", places, keep=True)
    root = activated(ctx, scaled(ctx, mean, 1.0, spec.number_option("epsilon", 1e-6)), Activation("sqrt"))
    return [scaled(ctx, binary(ctx, "div", x, root), _of_axes(spec, x, places, scale, "scale"), 0.0)]


def _of_axes(spec: LayerSpec, x: Tensor, places: Sequence[int], array: NDArray[Any], role: str) -> NDArray[Any]:
    """An array of some axes, or a number, with size 1 for the other axes."""
    shape = [(n or 0) if i in places else 1 for i, n in enumerate(x.dims)]
    if array.ndim and array.size != math.prod(shape):
        raise spec.error(f"{role} has shape {array.shape}, expected {tuple(x.dims[i] for i in places)}")
    return array.reshape(shape if array.ndim else [1] * len(shape))


def emit_normalization(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Normalization by the mean and variance that were given, or that adapt() found."""
    x = call.inputs[0]
    places = [] if spec.config.get("axis", -1) is None else places_of(spec.config.get("axis", -1), len(x.dims))
    mean, variance = (array_of(spec.config.get(key)) for key in ("mean", "variance"))
    if mean is None or variance is None:
        found = weights.take(("mean", "variance"), str(spec), others=("count",))
        mean, variance = (found[key].astype(np.float64) for key in ("mean", "variance"))
    mean = _of_axes(spec, x, places, mean, "mean")
    away = np.maximum(np.sqrt(_of_axes(spec, x, places, variance, "variance")), _LEAST)
    if spec.flag("invert", False):
        return [scaled(ctx, x, away, mean)]
    return [scaled(ctx, x, 1 / away, -mean / away)]


def emit_rescaling(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Rescaling: a factor, then an offset."""
    given = {key: spec.config.get(key, default) for key, default in (("scale", None), ("offset", 0.0))}
    scale, offset = (array_of(value) for value in given.values())
    if scale is None or offset is None:
        raise spec.error(f"its options are {given!r:.100}, expected numbers")
    return [scaled(ctx, call.inputs[0], scale, offset)]
