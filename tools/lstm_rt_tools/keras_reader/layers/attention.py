"""Attention: Attention, AdditiveAttention, MultiHeadAttention, GroupQueryAttention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstm_rt.graph import Activation

from ..arith import reduced, scaled
from ..arrays import element, joined, on_one_axis, repeated, reshaped, squeezed, timed
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from ..weights import FloatArray, Weights
from .basic import dense

_CALL = ("use_causal_mask", "return_attention_scores")
_MOST_QUERIES = 64  #: for each of which there is a node where scores are an output


@dataclass(frozen=True)
class _Fit:
    """How well keys fit queries; see :meth:`lstm_rt.graph.Graph.attention`."""

    kind: str = "dot"
    scale: float = 1.0
    weight: FloatArray | None = None
    heads: int = 1
    kv_heads: int = 0


def _flag(spec: LayerSpec, call: Call, key: str) -> bool:
    value = call.options.get(key, False)
    if not isinstance(value, bool):
        raise spec.error(f"{key} of its call is {value!r:.60}, expected true or false")
    return value


def _sequences(ctx: Context, spec: LayerSpec, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Inputs as sequences, values and keys on one time axis."""
    for t in inputs:
        if len(t.dims) != 2:
            raise spec.error(f"its input has shape {('batch', *t.dims)}, expected (batch, steps, features)")
    query, *others = (timed(ctx, t) for t in inputs)
    return [query, *on_one_axis(ctx, others)]


def _attended(
    ctx: Context, spec: LayerSpec, call: Call, q: Tensor, k: Tensor, v: Tensor, fit: _Fit, masks: Sequence[Mask | None]
) -> tuple[Tensor, list[Tensor]]:
    """The means of v, and, where the call asks for them, the weights of its steps."""
    causal, scores = (_flag(spec, call, key) for key in _CALL)
    causal = causal or spec.flag("causal", False)
    present = [m for m in dict.fromkeys(masks) if m is not None]
    if len(present) > 1:
        raise spec.error("values and keys with different masks are not supported")
    if present and not ctx.share_axis((v.value, present[0].source)):
        raise spec.error("the mask of its values counts other steps than they have, which is not supported")
    mask = ctx.mask(present[0], spec) if present else None
    if scores and causal:
        raise spec.error("attention scores as an output are not supported together with a causal mask")

    def attend(query: int) -> tuple[int, int | None]:
        return ctx.graph.attention(
            query, k.value, v.value, heads=fit.heads, kv_heads=fit.kv_heads, kind=fit.kind, scale=fit.scale,
            causal=causal, mask=mask, weight=fit.weight,
        )  # fmt: skip

    if not scores:
        out, _ = attend(q.value)
        return Tensor(out, (q.steps, ctx.graph.values[out].size), 0), []
    if q.steps is None or q.steps > _MOST_QUERIES:
        raise spec.error(f"attention scores as an output are supported for queries of 1 to {_MOST_QUERIES} fixed steps")
    found = [attend(element(ctx, q, 0, i).value) for i in range(q.steps)]
    outs = [Tensor(out, (1, ctx.graph.values[out].size)) for out, _ in found]
    weights = [Tensor(w, (fit.heads, 1, v.steps), 2) for _, w in found if w is not None]
    return joined(ctx, outs, 0), [joined(ctx, weights, 1)]


def _query_masked(ctx: Context, spec: LayerSpec, out: Tensor, mask: Mask | None) -> Tensor:
    """0 at the masked steps of the query."""
    if mask is None:
        return out
    out = timed(ctx, out)
    if not ctx.share_axis((out.value, mask.source)):
        raise spec.error("the mask of its query counts other steps than that has, which is not supported")
    return replace(out, value=ctx.graph.apply_mask(out.value, ctx.mask(mask, spec)), mask=mask)


def emit_attention(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Attention and AdditiveAttention of [query, value] or [query, value, key]."""
    if len(call.inputs) not in (2, 3):
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected query, value and maybe key")
    q, v, k = _sequences(ctx, spec, [*call.inputs, call.inputs[1]][:3])
    if spec.class_name == "AdditiveAttention":
        fit = _additive(spec, weights)
    else:
        fit, inner = _luong(spec, weights)
        q, k = (t if inner == 1.0 else scaled(ctx, t, inner, 0.0) for t in (q, k))
    if q.dims[1] != k.dims[1]:
        raise spec.error(f"its query has {q.dims[1]} features, its key {k.dims[1]}")
    q_mask, v_mask = (t.mask for t in call.inputs[:2])
    if fit.kind == "additive" and fit.weight is None:
        fit = replace(fit, weight=np.ones(q.features[0], np.float32))
    out, scores = _attended(ctx, spec, call, q, k, v, fit, [v_mask])
    return [_query_masked(ctx, spec, out, q_mask), *(squeezed(ctx, s, 0) for s in scores)]


def _luong(spec: LayerSpec, weights: Weights) -> tuple[_Fit, float]:
    """How keys fit, and what queries and keys are multiplied with before."""
    mode = spec.choice("score_mode", ("dot", "concat"), "dot")
    roles = ("scale",) if spec.flag("use_scale", False) else ()
    arrays = weights.take((*roles, *(("concat_score_weight",) if mode == "concat" else ())), str(spec))
    scale = float(arrays["scale"]) if roles else 1.0
    if mode == "dot":
        return _Fit(scale=scale), 1.0
    return _Fit("additive", scale=float(arrays["concat_score_weight"])), scale


def _additive(spec: LayerSpec, weights: Weights) -> _Fit:
    if not spec.flag("use_scale", True):
        return _Fit("additive")
    return _Fit("additive", weight=weights.take(("scale",), str(spec))["scale"])


# -- several heads ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Projection:
    """A dense layer of a multi-head layer: ``(outputs, inputs)``, and the parts that its side of heads has."""

    weight: FloatArray
    bias: FloatArray | None
    sizes: tuple[int, ...]  #: of the axes of the kernel but those of inputs

    def __call__(self, ctx: Context, x: Tensor) -> Tensor:
        return dense(ctx, x, self.weight, self.bias, Activation("linear"))


def _projection(spec: LayerSpec, weights: Weights, name: str, inputs: int) -> _Projection:
    """``inputs``: how many axes of the kernel, the first ones, are summed over."""
    keys = {"output": "attention_output"}
    part = weights.child(f"{name}_dense", (keys.get(name, name),))
    roles = ("kernel", "bias") if spec.flag("use_bias", True) else ("kernel",)
    arrays = part.take(roles, f"{spec}: {name}")
    kernel, bias = arrays["kernel"], arrays.get("bias")
    sizes = kernel.shape[inputs:]
    if bias is not None and bias.shape != sizes:
        raise spec.error(f"the bias of its {name} has shape {bias.shape}, expected {sizes}")
    matrix = kernel.reshape(math.prod(kernel.shape[:inputs]), math.prod(sizes)).T
    return _Projection(np.ascontiguousarray(matrix), None if bias is None else bias.ravel(), sizes)


def emit_multi_head_attention(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """MultiHeadAttention and GroupQueryAttention: dense layers around attention of several heads."""
    if len(call.inputs) not in (2, 3):
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected query, value and maybe key")
    if spec.config.get("attention_axes") not in (None, 1, [1]):
        raise spec.error(f"option attention_axes={spec.config['attention_axes']!r:.60}: only the steps are supported")
    grouped = spec.class_name != "MultiHeadAttention"
    heads = spec.size("num_query_heads" if grouped else "num_heads")
    kv_heads = spec.size("num_key_value_heads") if grouped else heads
    query, key, value, output = (
        _projection(spec, weights, name, 2 if name == "output" else 1) for name in ("query", "key", "value", "output")
    )
    if [p.sizes[0] for p in (query, key, value)] != [heads, kv_heads, kv_heads] or len(output.sizes) != 1:
        raise spec.error(f"its kernels are of {[p.sizes for p in (query, key, value, output)]}, expected {heads} heads")
    q, v, k = _sequences(ctx, spec, [*call.inputs, call.inputs[1]][:3])
    fit = _Fit(scale=1 / math.sqrt(query.sizes[1]), heads=heads, kv_heads=kv_heads)
    # Before 2.10 Keras's masks came to nothing here.
    q_mask, *masks = (t.mask if spec.keras.number >= (2, 10) else None for t in call.inputs)
    values = value(ctx, v)
    out, scores = _attended(ctx, spec, call, query(ctx, q), key(ctx, k), values, fit, masks)
    out = output(ctx, out)
    if q_mask is not None:
        mean = reduced(ctx, reshaped(ctx, values, (v.steps, kv_heads, value.sizes[1])), "mean", [0])
        every = reshaped(ctx, repeated(ctx, mean, 0, heads // kv_heads), [heads * value.sizes[1]])
        out = _even_where_masked(ctx, spec, out, q_mask, output(ctx, every))
    return [replace(out, mask=call.inputs[0].mask), *scores]


def _even_where_masked(ctx: Context, spec: LayerSpec, out: Tensor, mask: Mask, mean: Tensor) -> Tensor:
    """At the masked steps of the query nothing fits better than anything else: the mean of all values."""
    kept = _query_masked(ctx, spec, out, mask)
    one = ctx.graph.activation(ctx.graph.slice(out.value, 0, 1), Activation("clip", alpha=1.0, beta=1.0))
    counts = ctx.graph.apply_mask(one, ctx.mask(mask, spec))
    hidden = ctx.graph.activation(counts, Activation("affine", alpha=-1.0, beta=1.0))
    return replace(out, value=ctx.graph.binary("add", kept.value, ctx.graph.binary("mul", hidden, mean.value)))
