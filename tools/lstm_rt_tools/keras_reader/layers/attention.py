"""Attention: Attention, AdditiveAttention, MultiHeadAttention, GroupQueryAttention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstm_rt.graph import Activation

from ..arith import binary, limited, reduced, scaled
from ..arrays import (
    check_size,
    cut,
    element,
    expanded,
    joined,
    on_one_axis,
    permuted,
    repeated,
    reshaped,
    squeezed,
    timed,
    together,
)
from ..build import Call, Context, Mask, Tensor
from ..config import LayerSpec
from ..functions.arguments import array_of
from ..masks import as_mask, as_truth, combined, on_steps_of
from ..weights import FloatArray, Weights
from .basic import ZEROS_SINCE, dense

_MASKS = ("query_mask", "value_mask", "key_mask")
_FAR = 1e30  #: what pairs that do not count fit less well
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


@dataclass(frozen=True)
class _Masks:
    """Which steps of the query count, which of the values (all masks say so), and which pairs, as numbers.

    ``zeros``: a step of the query gives zeros where nothing counts for it; else the mean of all values.
    """

    query: Mask | None
    values: Sequence[Mask]
    pair: Tensor | None = None
    zeros: bool = False


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
    ctx: Context, spec: LayerSpec, call: Call, q: Tensor, k: Tensor, v: Tensor, fit: _Fit, masks: _Masks
) -> tuple[Tensor, list[Tensor]]:
    """The means of v, and, where the call asks for them, the weights of its steps."""
    causal, scores = (_flag(spec, call, key) for key in _CALL)
    causal = causal or spec.flag("causal", False)
    mask, any_counts = None, None
    if masks.pair is not None:
        pair = _pairs_that_count(ctx, spec, q, k, fit, masks, causal)
        q, k = _with_pairs(ctx, q, k, fit, pair)
        causal = False
        any_counts = reduced(ctx, pair, "max", [2], keep=True) if masks.zeros else None
    else:
        mask = _of_steps(ctx, spec, masks.values, v)

    def cleared(y: Tensor) -> Tensor:
        """Of queries (steps, heads, features) those with zeros that nothing counts for."""
        if any_counts is not None:
            return binary(ctx, "mul", y, permuted(ctx, any_counts, [1, 0, 2]))
        if not masks.zeros or masks.query is None:
            return y
        return replace(_query_masked(ctx, spec, y, masks.query), mask=None)

    def attend(query: int, values: Tensor) -> tuple[int, int | None]:
        return ctx.graph.attention(
            query, k.value, values.value, heads=fit.heads, kv_heads=fit.kv_heads, kind=fit.kind, scale=fit.scale,
            causal=causal, mask=None if mask is None else ctx.mask(mask, spec), weight=fit.weight,
        )  # fmt: skip

    if not scores or v.steps is not None:
        out, _ = attend(q.value, v)
        size = ctx.graph.values[out].size
        y = cleared(Tensor(out, (q.steps, fit.heads, size // fit.heads), 0))
        y = replace(y, dims=(q.steps, size))
        if mask is not None and mask != masks.query and not masks.zeros:
            y = _even_where_none(ctx, spec, y, mask, v, fit, causal)
        if not scores or v.steps is None:
            return y, []
        # The weights are the means of the rows of the identity.
        weights, _ = attend(q.value, _identity(ctx, k, fit))
        return y, [permuted(ctx, cleared(Tensor(weights, (q.steps, fit.heads, v.steps), 0)), [1, 0, 2])]
    if causal or q.steps is None or q.steps > _MOST_QUERIES or (masks.zeros and masks.query is not None):
        raise spec.error(
            "attention scores as an output need a fixed number of steps of the values, or of the query one of 1 to "
            f"{_MOST_QUERIES} and no mask"
        )
    found = [attend(element(ctx, q, 0, i).value, v) for i in range(q.steps)]
    outs = [Tensor(out, (1, ctx.graph.values[out].size)) for out, _ in found]
    parts = [Tensor(w, (fit.heads, 1, v.steps), 2) for _, w in found if w is not None]
    return joined(ctx, outs, 0), [joined(ctx, parts, 1)]


def _of_steps(ctx: Context, spec: LayerSpec, masks: Sequence[Mask], v: Tensor) -> Mask | None:
    """The one mask that says which steps of the values count."""
    if not masks:
        return None
    mask = on_steps_of(ctx, combined(ctx, spec, masks, "mul"), v)
    if mask is None:
        raise spec.error("the mask of its values counts other steps than they have, which is not supported")
    return mask


def _even_where_none(
    ctx: Context, spec: LayerSpec, out: Tensor, mask: Mask, v: Tensor, fit: _Fit, causal: bool
) -> Tensor:
    """Where no step counts for a query, nothing fits better than anything else: the mean of all values."""
    counts: Tensor = as_truth(ctx, spec, mask)
    if causal:
        counts = limited(ctx, replace(counts, value=ctx.graph.cumsum(counts.value)), None, 1.0)
    else:
        counts = reduced(ctx, counts, "max", [0], keep=True)
    if counts.time is not None and not ctx.share_axis((counts.value, out.value)):
        raise spec.error("a causal mask together with one of values that are not the query's is not supported")
    counts = expanded(replace(counts, dims=(out.steps if causal else 1,)), 1)
    return binary(ctx, "add", out, binary(ctx, "mul", scaled(ctx, counts, -1.0, 1.0), _mean(ctx, v, fit)))


def _mean(ctx: Context, v: Tensor, fit: _Fit) -> Tensor:
    """The mean of all values for each head, as an array with an axis of one step."""
    parts = fit.kv_heads or fit.heads
    mean = reduced(ctx, reshaped(ctx, v, (v.steps, parts, (v.dims[1] or 0) // parts)), "mean", [0])
    return reshaped(ctx, repeated(ctx, mean, 0, fit.heads // parts), [1, fit.heads * ((v.dims[1] or 0) // parts)])


def _identity(ctx: Context, k: Tensor, fit: _Fit) -> Tensor:
    """At each step of the keys, for each of their parts, a row that is 1 at its own place."""
    steps, parts = k.steps or 0, fit.kv_heads or fit.heads
    check_size((steps, steps, parts))
    ctx.budget.memory(4 * steps * steps * parts, "an identity")
    rows = np.repeat(np.eye(steps, dtype=np.float32)[:, None], parts, axis=1)
    one = timed(ctx, Tensor(ctx.graph.constant(rows.ravel()), (steps, parts * steps)))
    return replace(one, value=ctx.graph.align(one.value, ctx.graph.values[k.value].axis))


def _pairs_that_count(
    ctx: Context, spec: LayerSpec, q: Tensor, k: Tensor, fit: _Fit, masks: _Masks, causal: bool
) -> Tensor:
    """1 for each pair that all masks count, else 0: an array of heads, or 1, steps of the query and of the keys."""
    assert masks.pair is not None
    if k.steps is None or fit.kind != "dot":
        raise spec.error("a mask of pairs of steps needs a fixed number of steps of the values, and scores by products")
    pair = masks.pair if len(masks.pair.dims) == 3 else expanded(masks.pair, 0)
    allowed = ((1, fit.heads), (1, None, q.steps), (1, k.steps))
    if any(n not in sizes for n, sizes in zip(pair.dims, allowed, strict=True)):
        shape = ("batch", *pair.dims)
        raise spec.error(f"its attention_mask has shape {shape}, expected (batch, {q.steps}, {k.steps})")
    for mask in masks.values:
        keys: Tensor = as_truth(ctx, spec, mask)
        pair = binary(ctx, "mul", pair, expanded(expanded(keys, 0), 0))
    if masks.query is not None:
        own: Tensor = as_truth(ctx, spec, masks.query)
        pair = binary(ctx, "mul", pair, expanded(expanded(own, 1), 0))
    if not causal:
        return pair
    if q.steps is None:
        raise spec.error("a causal mask together with one of pairs of steps needs a fixed number of steps")
    return scaled(ctx, pair, np.tril(np.ones((1, q.steps, k.steps), np.float32)), 0.0)


def _with_pairs(ctx: Context, q: Tensor, k: Tensor, fit: _Fit, pair: Tensor) -> tuple[Tensor, Tensor]:
    """Query and keys whose sums of products are far below 0 for pairs that do not count.

    The query has as many more features as there are keys, which are that for such a pair and else 0, and each key has
    one of them that is 1.
    """
    parts, far = fit.kv_heads or fit.heads, _FAR / abs(fit.scale)
    pair = permuted(ctx, scaled(ctx, pair, far, -far), [1, 0, 2])
    heads = reshaped(ctx, q, (q.steps, fit.heads, (q.dims[1] or 0) // fit.heads))
    nothing = limited(ctx, cut(ctx, heads, 2, 0, 1, 1), 0.0, 0.0)
    heads, pair = together(ctx, [heads, binary(ctx, "add", nothing, pair)])
    query = reshaped(ctx, joined(ctx, [heads, pair], 2), (q.steps, -1))
    ones = reshaped(ctx, _identity(ctx, k, fit), (k.steps, parts, k.steps))
    key = joined(ctx, [reshaped(ctx, k, (k.steps, parts, (k.dims[1] or 0) // parts)), ones], 2)
    return timed(ctx, query), reshaped(ctx, key, (k.steps, -1))


def _query_masked(ctx: Context, spec: LayerSpec, out: Tensor, mask: Mask | None) -> Tensor:
    """0 at the masked steps of the query."""
    if mask is None:
        return out
    out = timed(ctx, out)
    steps = on_steps_of(ctx, mask, out)
    if steps is None:
        raise spec.error("the mask of its query counts other steps than that has, which is not supported")
    return replace(out, value=ctx.graph.apply_mask(out.value, ctx.mask(steps, spec)), mask=steps)


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
    if fit.kind == "additive" and fit.weight is None:
        fit = replace(fit, weight=np.ones(q.features[0], np.float32))
    # Masks that are given are all there are, even if one is none.
    explicit, own = "query_mask" in call.options, [t.mask for t in call.inputs[:2]]
    given = [call.options.get(key) for key in _MASKS[:2]] if explicit else own
    q_mask, v_mask = (None if m is None else as_mask(ctx, spec, m) for m in given)
    out, scores = _attended(ctx, spec, call, q, k, v, fit, _Masks(q_mask, [v_mask] if v_mask else []))
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
    masks, values = _given_masks(ctx, spec, call), value(ctx, v)
    out, scores = _attended(ctx, spec, call, query(ctx, q), key(ctx, k), values, fit, masks)
    out = output(ctx, out)
    if masks.query is not None and masks.pair is None and not masks.zeros:
        if scores:
            raise spec.error("attention scores as an output under a mask of the query are not supported")
        out = _even_where_masked(ctx, spec, out, masks.query, output(ctx, _mean(ctx, values, fit)))
    return [replace(out, mask=call.inputs[0].mask), *scores]


def _given_masks(ctx: Context, spec: LayerSpec, call: Call) -> _Masks:
    """The masks of the call, and of its inputs where it has none."""
    # Before 2.10 Keras's masks came to nothing here.
    own = [t.mask if spec.keras.number >= (2, 10) else None for t in call.inputs]
    own = [*own, None][:3]
    given = [call.options.get(key) for key in _MASKS]
    if given[0] is not None:  # versions of Keras differ in whether it counts
        raise spec.error("argument query_mask of its call is not supported")
    query, *values = (m if g is None else as_mask(ctx, spec, g) for m, g in zip(own, given, strict=True))
    pair = _pair(ctx, spec, call.options.get("attention_mask"))
    if pair is not None and pair.dims[-2] == 1 and pair.dims[:-2] in ((), (1,)):  # the same for each query
        keys = reshaped(ctx, pair, pair.dims[-1:])
        values, pair = [*values, as_mask(ctx, spec, keys)], None
    # Unless attention is one function of the backend, it is a Softmax layer.
    zeros = spec.keras.number >= ZEROS_SINCE and (_flag(spec, call, _CALL[1]) or spec.config.get("dropout", 0.0) != 0)
    return _Masks(query, [m for m in values if m is not None], pair, zeros)


def _pair(ctx: Context, spec: LayerSpec, value: Any) -> Tensor | None:
    """1 for each pair of a step of the query and one of the values that counts, else 0, maybe for each head."""
    if value is None:
        return None
    array = None if isinstance(value, Tensor | Mask) else array_of(value)
    if array is not None:
        array = array[0] if array.ndim > 2 and len(array) == 1 else array
        pair: Tensor = Tensor(ctx.graph.constant((array != 0).astype(np.float32).ravel()), array.shape)
    elif isinstance(value, Tensor | Mask):
        pair = as_truth(ctx, spec, value)
    else:
        raise spec.error(f"its attention_mask is {value!r:.60}, expected an array")
    if len(pair.dims) not in (2, 3):
        raise spec.error(f"its attention_mask has shape {['batch', *pair.dims]}, expected (batch, steps, steps)")
    return pair


def _even_where_masked(ctx: Context, spec: LayerSpec, out: Tensor, mask: Mask, mean: Tensor) -> Tensor:
    """At the masked steps of the query nothing fits better than anything else: the mean of all values."""
    kept = _query_masked(ctx, spec, out, mask)
    one = ctx.graph.activation(ctx.graph.slice(out.value, 0, 1), Activation("clip", alpha=1.0, beta=1.0))
    counts = ctx.graph.apply_mask(one, ctx.mask(mask, spec))
    hidden = ctx.graph.activation(counts, Activation("affine", alpha=-1.0, beta=1.0))
    return replace(out, value=ctx.graph.binary("add", kept.value, ctx.graph.binary("mul", hidden, mean.value)))
