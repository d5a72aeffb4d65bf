"""Attention of ATen's, and the layers of PyTorch that are one operation in eval mode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..run import Run
from ..tensors import Var
from .layers import IN_TRAINING, linear
from .table import op


@op("scaled_dot_product_attention")
def attention(
    run: Run, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: Any = 0.0, is_causal: Any = False,
    scale: Any = None, enable_gqa: Any = False,
) -> Any:  # fmt: skip
    q, k, v = run.alike(query, key, value)
    if enable_gqa:
        times = q.shape[-3] // k.shape[-3]
        k, v = (run.apply("repeat_interleave", t, times=times, axis=t.ndim - 3) for t in (k, v))
    options = {} if scale is None else {"scale": float(scale)}
    if dropout_p:
        run.note(IN_TRAINING)
    args = (q, k, v) if attn_mask is None else (q, k, v, run.tensor(attn_mask))
    return run.apply("attention", *args, causal=bool(is_causal), **options)


@op("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    run: Run, query: Any, key: Any, value: Any, dropout_p: Any = 0.0, is_causal: Any = False, attn_mask: Any = None,
    scale: Any = None,
) -> Any:  # fmt: skip
    return attention(run, query, key, value, attn_mask, dropout_p, is_causal, scale), None


@op("_scaled_dot_product_attention_math", "_scaled_dot_product_efficient_attention")
def math_attention(
    run: Run, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: Any = 0.0, is_causal: Any = False,
    dropout_mask: Any = None, scale: Any = None, enable_gqa: Any = False,
) -> Any:  # fmt: skip
    return attention(run, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa), None


@op("_native_multi_head_attention")
def multi_head_attention(
    run: Run, query: Any, key: Any, value: Any, embed_dim: Any, num_head: Any, qkv_weight: Any, qkv_bias: Any,
    proj_weight: Any, proj_bias: Any, mask: Any = None, need_weights: Any = True, average_attn_weights: Any = True,
    mask_type: Any = None,
) -> Any:  # fmt: skip
    """The short way of ``nn.MultiheadAttention`` in eval mode: one product for q, k and v, heads, one product."""
    e, heads = run.whole(embed_dim), run.whole(num_head)
    w, b = run.tensor(qkv_weight), run.tensor(qkv_bias)
    parts = []
    for i, x in enumerate((query, key, value)):
        y = linear(run, x, run.cut(w, 0, i * e, (i + 1) * e), run.cut(b, 0, i * e, (i + 1) * e))
        n, steps, _ = y.shape
        parts.append(run.swapped(run.reshaped(y, [n, steps, heads, e // heads]), 1, 2))
    q, k, v = parts
    added = None if mask is None else _added_mask(run, run.tensor(mask), mask_type)
    joined = run.swapped(run.apply("attention", q, k, v, added), 1, 2)
    y = linear(run, run.reshaped(joined, [*joined.shape[:2], e]), proj_weight, proj_bias)
    return y, Var(later=lambda: _weights(run, q, k, added, bool(average_attn_weights)))


_KEYS = 1  #: the type of a mask (N, S): which keys are padding


def _added_mask(run: Run, mask: Tensor, mask_type: Any) -> Tensor:
    """What is added to scores (N, heads, L, S), for a mask that is true, or not 0, where a pair does not count."""
    if mask_type is not None and run.whole(mask_type) == _KEYS:
        mask = run.apply("unsqueeze", mask, axes=(1, 2))
    if mask.dtype.kind == "f":
        return mask
    nothing, all_of_it = (run.constant(n, np.float32) for n in (-math.inf, 0.0))
    made: Tensor = run.apply("where", mask, nothing, all_of_it)
    return made


def _weights(run: Run, q: Tensor, k: Tensor, added: Tensor | None, average: bool) -> Tensor:
    scale = run.constant(q.shape[-1] ** -0.5, np.float32)
    scores = run.apply("mul", run.apply("matmul", q, run.swapped(k, -1, -2)), scale)
    if added is not None:
        scores = run.apply("add", scores, added)
    weights: Tensor = run.apply("softmax", scores, axis=-1)
    return run.apply("mean", weights, axes=(1,), keepdims=False) if average else weights


@op("_transformer_encoder_layer_fwd")
def encoder_layer(
    run: Run, src: Any, embed_dim: Any, num_heads: Any, qkv_weight: Any, qkv_bias: Any, proj_weight: Any,
    proj_bias: Any, use_gelu: Any, norm_first: Any, eps: Any, norm_weight_1: Any, norm_bias_1: Any,
    norm_weight_2: Any, norm_bias_2: Any, ffn_weight_1: Any, ffn_bias_1: Any, ffn_weight_2: Any, ffn_bias_2: Any,
    mask: Any = None, mask_type: Any = None,
) -> Any:  # fmt: skip
    """The short way of ``nn.TransformerEncoderLayer`` in eval mode."""

    def norm(x: Tensor, weight: Any, bias: Any) -> Tensor:
        made: Tensor = run.apply("layer_norm", x, run.tensor(weight), run.tensor(bias), eps=float(eps), dims=1)
        return made

    def attend(x: Tensor) -> Tensor:
        made: Tensor = multi_head_attention(
            run, x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True,
            mask_type,
        )[0]  # fmt: skip
        return made

    def feed(x: Tensor) -> Tensor:
        inner = run.apply("gelu" if use_gelu else "relu", linear(run, x, ffn_weight_1, ffn_bias_1))
        made: Tensor = linear(run, inner, ffn_weight_2, ffn_bias_2)
        return made

    x = run.tensor(src)
    if norm_first:
        x = run.apply("add", x, attend(norm(x, norm_weight_1, norm_bias_1)))
        return run.apply("add", x, feed(norm(x, norm_weight_2, norm_bias_2)))
    x = norm(run.apply("add", x, attend(x)), norm_weight_1, norm_bias_1)
    return norm(run.apply("add", x, feed(x)), norm_weight_2, norm_bias_2)
