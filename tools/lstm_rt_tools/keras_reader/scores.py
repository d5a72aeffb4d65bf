"""Attention written by hand: ``Dot`` of two sequences, softmax, ``Dot`` with a third, as one node.

The numbers between, of each step with each, are only made where something else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .arith import product, scaled, softmax
from .arrays import on_one_axis, permuted, timed
from .build import Call, Context, Scores, Tensor
from .config import LayerSpec
from .functions.arguments import array_of


def multiplied(ctx: Context, a: Tensor, b: Tensor, axes: tuple[int, int]) -> Tensor:
    """The sum of products along an axis of each; of sequences along their features, the scores."""
    if isinstance(a, Scores) and a.soft and axes == (1, 0) and len(b.dims) == 2:
        return _attended(ctx, a, b)
    a, b = settled(ctx, a), settled(ctx, b)
    free = [len(t.dims) == 2 and t.time == 1 - axis for t, axis in zip((a, b), axes, strict=True)]
    if not all(free):
        return product(ctx, a, b, axes)
    query, key = (t if axis == 1 else permuted(ctx, t, [1, 0]) for t, axis in zip((a, b), axes, strict=True))
    if query.dims[1] != key.dims[1]:
        return product(ctx, a, b, axes)  # says what is wrong
    return Scores(-1, (query.dims[0], key.dims[0]), None, None, query, key)


def settled(ctx: Context, t: Tensor) -> Tensor:
    """The numbers of scores; other tensors as they are."""
    if not isinstance(t, Scores):
        return t
    assert t.query is not None
    assert t.key is not None
    made = product(ctx, t.query, t.key, (1, 1))
    made = made if t.scale == 1.0 else scaled(ctx, made, t.scale, 0.0)
    return softmax(ctx, made, [1]) if t.soft else made


def _attended(ctx: Context, scores: Scores, values: Tensor) -> Tensor:
    assert scores.query is not None
    assert scores.key is not None
    key, value = on_one_axis(ctx, [scores.key, timed(ctx, values)])
    out, _ = ctx.graph.attention(scores.query.value, key.value, value.value, scale=scores.scale)
    return Tensor(out, (scores.dims[0], values.dims[1]), 0)


def of_layer(spec: LayerSpec, call: Call) -> Scores | None:
    """What a layer makes of scores, if it is a part of attention."""
    x = call.inputs[0]
    if len(call.inputs) != 1 or not isinstance(x, Scores):
        return None
    if spec.class_name == "Dropout":
        return x
    if x.soft:
        return None
    named = spec.class_name == "Activation" and spec.config.get("activation") == "softmax"
    last = spec.class_name == "Softmax" and spec.config.get("axis", -1) in (-1, 2, [-1], [2])
    return replace(x, soft=True) if named or last else None


def of_function(name: str, args: Sequence[Any], options: Mapping[str, Any]) -> Scores | None:
    """What a function makes of scores, if it is a part of attention."""
    x, *others = args or [None]
    if not isinstance(x, Scores) or x.soft:
        return None
    if name == "Softmax" and options.get("axis", -1) in (-1, 2):
        return replace(x, soft=True)
    number = array_of(others[0]) if others and not isinstance(others[0], Tensor) else None
    if number is None or number.size != 1 or (name != "Multiply" and not number.all()):
        return None
    factor = float(number.ravel()[0])
    if name == "Multiply":
        return replace(x, scale=x.scale * factor)
    return replace(x, scale=x.scale / factor) if name in ("TrueDivide", "Divide") else None
