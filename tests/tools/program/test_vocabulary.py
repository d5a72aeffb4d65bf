"""Words of the vocabulary beside PyTorch, over shapes and options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lstm_rt_tools.program.vocabulary import FUNCTIONS, REDUCTIONS

torch = pytest.importorskip("torch")
F = torch.nn.functional
MANY = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 1 << 30)


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(got: Any, want: Any) -> None:
    assert got.shape == tuple(want.shape)
    np.testing.assert_allclose(got, want.numpy(), rtol=2e-4, atol=2e-5)


def run(word: str, *args: Any, **options: Any) -> Any:
    return FUNCTIONS[word](*args, **options)


def of(*arrays: Any) -> list[Any]:
    return [None if a is None else torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]


@MANY
@given(st.data(), SEEDS, st.integers(1, 3))
def test_convolutions(data: st.DataObject, seed: int, n: int) -> None:
    def each(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    groups, kernel, stride, dilation, pad = data.draw(st.integers(1, 2)), each(1, 3), each(1, 3), each(1, 2), each(0, 2)
    x, w, b = (
        numbers(seed, 2, 2 * groups, *[7] * n),
        numbers(seed + 1, 3 * groups, 2, *kernel),
        numbers(seed, 3 * groups),
    )
    convolve = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    got = run("conv", x, w, b, stride=stride, pads=[(p, p) for p in pad], dilation=dilation, groups=groups)
    close(got, convolve(*of(x, w, b), stride, pad, dilation, groups))


@MANY
@given(st.data(), SEEDS, st.integers(1, 2))
def test_transposed_convolutions(data: st.DataObject, seed: int, n: int) -> None:
    def each(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    groups, kernel, stride, dilation, pad = data.draw(st.integers(1, 2)), each(1, 4), each(1, 3), each(1, 2), each(0, 3)
    extra = [data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    x, w = numbers(seed, 2, 2 * groups, *[5] * n), numbers(seed + 1, 2 * groups, 3, *kernel)
    transpose = (F.conv_transpose1d, F.conv_transpose2d)[n - 1]
    assume(
        all(
            4 * s - 2 * p + d * (k - 1) + e >= 0
            for s, p, d, k, e in zip(stride, pad, dilation, kernel, extra, strict=True)
        )
    )
    pads = [(p, p) for p in pad]
    got = run(
        "conv_transpose", x, w, None, stride=stride, pads=pads, dilation=dilation, groups=groups, output_padding=extra
    )
    close(got, transpose(*of(x, w), None, stride, pad, extra, groups, dilation))


@MANY
@given(st.data(), SEEDS, st.sampled_from(["max", "avg", "avg_pad"]), st.booleans())
def test_pools(data: st.DataObject, seed: int, kind: str, ceil: bool) -> None:
    kernel, stride = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    pad = data.draw(st.integers(0, kernel // 2))
    dilation = data.draw(st.integers(1, 2)) if kind == "max" else 1
    x = numbers(seed, 2, 3, data.draw(st.integers(8, 13)))
    options = {"kernel": [kernel], "stride": [stride], "pads": [(pad, pad)], "dilation": [dilation], "ceil": ceil}
    (t,) = of(x)
    if kind == "max":
        want = F.max_pool1d(t, kernel, stride, pad, dilation, ceil)
    else:
        want = F.avg_pool1d(t, kernel, stride, pad, ceil, count_include_pad=kind == "avg_pad")
    close(run("pool", x, kind=kind, **options), want)


@MANY
@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.integers(0, 3))
def test_norms(seed: int, groups: int, each: int, space: int) -> None:
    c = groups * each
    x, mean, gamma, beta = numbers(seed, 3, c, *[4] * space), numbers(1, c), numbers(2, c), numbers(3, c)
    var = np.abs(numbers(4, c)) + np.float32(0.1)
    tx, tm, tv, tg, tb = of(x, mean, var, gamma, beta)
    close(run("batch_norm", x, mean, var, gamma, beta, eps=1e-3), F.batch_norm(tx, tm, tv, tg, tb, False, 0, 1e-3))
    if each > 1 or space:
        close(run("group_norm", x, gamma, beta, groups=groups), F.group_norm(tx, groups, tg, tb))
    close(run("l2_normalize", x, axis=1, eps=1e-6), F.normalize(tx, dim=1, eps=1e-6))
    dims = min(2, x.ndim - 1)
    close(run("layer_norm", x, dims=dims, eps=1e-4), F.layer_norm(tx, x.shape[-dims:], eps=1e-4))


ALONG = ["softmax", "log_softmax", "cumsum", "logcumsumexp"]


@MANY
@given(st.data(), SEEDS, st.sampled_from([*REDUCTIONS, *ALONG, "argmax"]), st.booleans())
def test_reductions(data: st.DataObject, seed: int, word: str, keep: bool) -> None:
    x = numbers(seed, *data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    (t,) = of(x)
    if word in ALONG:
        close(run(word, x, axis=axis), getattr(torch, word)(t, axis))
    elif word == "argmax":
        close(run(word, x, axis=axis, keepdims=keep), torch.argmax(t, axis, keep))
    else:
        named = {
            "max": torch.amax,
            "min": torch.amin,
            "l2": lambda t, d, keepdim: torch.linalg.vector_norm(t, 2, d, keepdim),
        }
        close(
            run(word, x, axes=(axis,), keepdims=keep),
            named.get(word, getattr(torch, word, None))(t, axis, keepdim=keep),
        )


@MANY
@given(SEEDS, st.booleans(), st.sampled_from([None, "numbers", "booleans"]), st.integers(1, 5), st.integers(2, 5))
def test_attention(seed: int, causal: bool, masked: str | None, queries: int, keys: int) -> None:
    q, k, v = numbers(seed, 2, 3, queries, 4), numbers(seed + 1, 2, 3, keys, 4), numbers(seed + 2, 2, 3, keys, 5)
    mask = None if masked is None or causal else numbers(3, 2, 1, queries, keys)
    if mask is not None and masked == "booleans":
        mask = mask > 0
        mask[..., 0] = True
    want = F.scaled_dot_product_attention(*of(q, k, v), attn_mask=of(mask)[0], is_causal=causal, scale=0.3)
    close(run("attention", q, k, v, mask, causal=causal, scale=0.3), want)


@MANY
@given(st.data(), SEEDS, st.sampled_from(["constant", "edge", "reflect"]))
def test_pads(data: st.DataObject, seed: int, mode: str) -> None:
    x = numbers(seed, 2, 3, 6)
    low = -2 if mode == "constant" else 0
    before, after = (data.draw(st.integers(low, 4)) for _ in range(2))
    named = {"edge": "replicate"}.get(mode, mode)
    options = {"value": 1.5} if mode == "constant" else {}
    close(
        run("pad", x, pads=[(0, 0), (0, 0), (before, after)], mode=mode, **options),
        F.pad(*of(x), (before, after), named, **options),
    )


@MANY
@given(SEEDS, st.integers(1, 5), st.booleans())
def test_reversed_by_lengths(seed: int, rows: int, time_first: bool) -> None:
    lengths = np.random.default_rng(seed).integers(0, 7, rows)
    x = numbers(seed, rows, 6, 2)
    want = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(x, lengths, strict=True)])
    if time_first:
        got = run("reverse_sequence", x.swapaxes(0, 1), lengths, time_axis=0, batch_axis=1).swapaxes(0, 1)
    else:
        got = run("reverse_sequence", x, lengths, time_axis=1, batch_axis=0)
    np.testing.assert_array_equal(got, want)


def test_one_hot() -> None:
    ids = np.array([[0, 2], [-1, 1]])
    np.testing.assert_array_equal(run("one_hot", ids, depth=3), np.eye(3)[ids])
    assert run("one_hot", ids, depth=3, axis=1).shape == (2, 3, 2)


NAMED = {
    "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "square": torch.square, "reciprocal": torch.reciprocal,
    "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "erf": torch.erf,
    "sin": torch.sin, "cos": torch.cos, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
    "leaky_relu": F.leaky_relu, "elu": F.elu, "selu": F.selu, "softplus": F.softplus, "softsign": F.softsign,
    "hard_sigmoid": F.hardsigmoid, "silu": F.silu, "gelu": F.gelu, "hard_swish": F.hardswish, "mish": F.mish,
    "celu": F.celu,
}  # fmt: skip


@pytest.mark.parametrize("word", NAMED)
def test_activations(word: str) -> None:
    x = numbers(0, 4, 50) * 3
    close(run(word, x), NAMED[word](*of(x)))
