"""Products, convolutions, pooling and attention."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...program.machine import Tensor
from ..call import Call, Value, op
from .shapes import expand, permute


@op("MatMul")
def _matmul(c: Call) -> Value:
    return c.one("matmul", c.tensor(0), c.tensor(1))


@op("Gemm")
def _gemm(c: Call) -> Value:
    a, b = c.tensor(0), c.tensor(1)
    if a.ndim != 2 or b.ndim != 2:
        raise c.error(f"inputs of the shapes {a.shape} and {b.shape}, expected two dimensions")
    a = permute(c, a, (1, 0)) if c.integer("transA", 0) else a
    b = permute(c, b, (1, 0)) if c.integer("transB", 0) else b
    y = scaled(c, c.one("matmul", a, b), c.number("alpha", 1.0))
    bias, beta = c.optional(2), c.number("beta", 1.0)
    return y if bias is None else c.one("add", y, scaled(c, bias, beta))


def scaled(c: Call, x: Tensor, factor: float) -> Tensor:
    """``x`` times a number."""
    return x if factor == 1.0 else c.one("mul", x, c.constant(x.dtype.type(factor)))


@op("Einsum")
def _einsum(c: Call) -> Value:
    parts, equation = c.tensors(), c.text("equation").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    names = terms.split(",")
    if "..." in equation and arrow and len(names) == len(parts):
        names, result = _without_dots(names, result, [p.ndim for p in parts])
    if "." in "".join((*names, result)) or len(names) != len(parts) or not 1 <= len(parts) <= 2:
        raise c.error(f"the equation {equation} is not supported")
    for name, part in zip(names, parts, strict=True):
        if len(name) != part.ndim or len(set(name)) != len(name):
            raise c.error(f"the equation {equation} does not fit an input of the shape {part.shape}")
    if not arrow:
        result = "".join(sorted(n for n in set("".join(names)) if "".join(names).count(n) == 1))
    lone = [_summed(c, parts[k], names[k], result, names[:k] + names[k + 1 :]) for k in range(len(parts))]
    if len(lone) == 1:
        x, name = lone[0]
        return permute(c, x, [name.index(n) for n in result])
    return _product(c, *lone[0], *lone[1], result)


def _without_dots(names: Sequence[str], result: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """An equation with letters of their own for the dimensions that dots stand for."""
    counts = [rank - len(n.replace("...", "")) if "..." in n else 0 for n, rank in zip(names, ranks, strict=True)]
    unused = [x for x in string.ascii_letters if not any(x in n for n in names)]
    letters = "".join(unused[: max(0, *counts)])
    filled = [n.replace("...", letters[len(letters) - max(0, k) :]) for n, k in zip(names, counts, strict=True)]
    return filled, result.replace("...", letters)


def _summed(c: Call, x: Tensor, name: str, result: str, others: Sequence[str]) -> tuple[Tensor, str]:
    """An operand without the axes that nothing else has."""
    lone = [i for i, n in enumerate(name) if n not in result and not any(n in o for o in others)]
    if lone:
        x = c.one("sum", x, axes=tuple(lone), keepdims=False)
    return x, "".join(n for i, n in enumerate(name) if i not in lone)


def _product(c: Call, a: Tensor, a_name: str, b: Tensor, b_name: str, result: str) -> Tensor:
    """Two operands as a matrix product: axes of both that stay, axes of one, axes that are summed."""
    both = [n for n in a_name if n in b_name and n in result]
    inner = [n for n in a_name if n in b_name and n not in result]
    left, right = [n for n in a_name if n not in b_name], [n for n in b_name if n not in a_name]
    sizes = dict(zip(b_name, b.shape, strict=True)) | dict(zip(a_name, a.shape, strict=True))
    if not inner:
        order = both + left + right
        wide = [_spread(c, x, name, order) for x, name in ((a, a_name), (b, b_name))]
        y = c.one("mul", *wide)
    else:
        flat = math.prod(sizes[n] for n in inner)
        a = permute(c, a, [a_name.index(n) for n in (*both, *left, *inner)])
        b = permute(c, b, [b_name.index(n) for n in (*both, *inner, *right)])
        batch = [sizes[n] for n in both]
        a = c.reshape(a, (*batch, *_joined(both, left, sizes), flat))
        b = c.reshape(b, (*batch, flat, math.prod(sizes[n] for n in right)))
        y = c.one("matmul", a, b)
        y = c.reshape(y, [sizes[n] for n in (*both, *left, *right)])
        order = both + left + right
    return permute(c, y, [order.index(n) for n in result])


def _joined(both: Sequence[str], left: Sequence[str], sizes: dict[str, int]) -> list[int]:
    """Sizes of the axes of the left operand alone: one axis, where a matrix product needs that."""
    alone = [sizes[n] for n in left]
    return [math.prod(alone)] if both or not alone else alone


def _spread(c: Call, x: Tensor, name: str, order: Sequence[str]) -> Tensor:
    x = permute(c, x, sorted(range(x.ndim), key=lambda i: order.index(name[i])))
    sizes = iter(x.shape)
    return c.reshape(x, [next(sizes) if n in name else 1 for n in order])


# -- windows -------------------------------------------------------------------------------------


class Windows:
    """How the windows of a convolution or a pooling lie."""

    def __init__(self, c: Call, x: Tensor, kernel: Sequence[int]) -> None:
        n = len(kernel)
        if x.ndim != n + 2 or min(kernel, default=0) < 1:
            raise c.error(f"a kernel of the shape {tuple(kernel)} for an input of the shape {x.shape}")
        self.kernel = list(kernel)
        self.stride = c.ints("strides") or [1] * n
        self.dilation = c.ints("dilations") or [1] * n
        given = c.ints("pads") or [0] * 2 * n
        counts = [len(self.stride), len(self.dilation), len(given)]
        if counts != [n, n, 2 * n] or min(self.stride + self.dilation) < 1:
            raise c.error(
                f"strides {self.stride}, dilations {self.dilation} and pads {given} for a kernel of {n} dimensions"
            )
        auto = c.text("auto_pad", "NOTSET")
        self.same = {"SAME_UPPER": "upper", "SAME_LOWER": "lower"}.get(auto, "")
        self.pads = list(zip(given[:n], given[n:], strict=True))
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            self.pads = [self._same(x.shape[2 + i], i, auto == "SAME_LOWER") for i in range(n)]
        elif auto == "VALID":
            self.pads = [(0, 0)] * n
        elif auto != "NOTSET":
            raise c.error(f"auto_pad {auto} is not supported")
        if any(before < 0 or behind < 0 for before, behind in self.pads):
            raise c.error(f"pads {given} are negative")

    def _same(self, size: int, i: int, lower: bool) -> tuple[int, int]:
        stride = self.stride[i]
        steps = -(-size // stride)
        total = max(0, (steps - 1) * stride + (self.kernel[i] - 1) * self.dilation[i] + 1 - size)
        return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "pads": self.pads, "dilation": self.dilation}

    @property
    def with_same(self) -> dict[str, Any]:
        """The options of an operation that may be told of padding by its number of windows."""
        return {**self.options, **({"same": self.same} if self.same else {})}


def convolution(c: Call, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """What Conv does."""
    windows = Windows(c, x, w.shape[2:])
    groups = c.integer("group", 1)
    if groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise c.error(f"a weight of the shape {w.shape} and {groups} groups for an input of the shape {x.shape}")
    return c.one("conv", x, w, bias, groups=groups, **windows.with_same)


@op("Conv", ignores=("kernel_shape",))
def _conv(c: Call) -> Value:
    return convolution(c, c.tensor(0), c.tensor(1), c.optional(2))


@op("ConvTranspose", ignores=("kernel_shape",))
def _conv_transpose(c: Call) -> Value:
    x, w = c.tensor(0), c.tensor(1)
    auto, groups = c.text("auto_pad", "NOTSET"), c.integer("group", 1)
    if auto != "NOTSET" or c.has("output_shape"):
        raise c.error("auto_pad and output_shape are not supported, pads are")
    windows = Windows(c, x, w.shape[2:])
    if groups < 1 or x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise c.error(f"a weight of the shape {w.shape} and {groups} groups for an input of the shape {x.shape}")
    extra = c.ints("output_padding") or [0] * (x.ndim - 2)
    return c.one("conv_transpose", x, w, c.optional(2), groups=groups, output_padding=extra, **windows.options)


@op("MaxPool", "AveragePool", "LpPool", ignores=("storage_order",))
def _pool(c: Call) -> Value:
    x = c.tensor(0)
    windows = Windows(c, x, c.ints("kernel_shape") or [])
    kind = {"MaxPool": "max", "AveragePool": "avg", "LpPool": "l2"}[c.name]
    if kind == "avg" and c.integer("count_include_pad", 0):
        kind = "avg_pad"
    if kind == "l2" and c.integer("p", 2) != 2:
        raise c.error(f"p = {c.integer('p')} is not supported, only 2")
    if windows.kernel == windows.options["stride"]:  # a pool over all, of as many as there were at the export
        c.hint(max(windows.kernel))
    return c.one("pool", x, kind=kind, kernel=windows.kernel, ceil=bool(c.integer("ceil_mode", 0)),
                 **windows.with_same)  # fmt: skip


@op("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(c: Call) -> Value:
    x = c.tensor(0)
    word = {"GlobalAveragePool": "mean", "GlobalMaxPool": "max", "GlobalLpPool": "l2"}[c.name]
    if word == "l2" and c.integer("p", 2) != 2:
        raise c.error(f"p = {c.integer('p')} is not supported, only 2")
    return c.one(word, x, axes=tuple(range(2, x.ndim)), keepdims=True)


# -- attention -----------------------------------------------------------------------------------


@op("Attention", ignores=("softmax_precision", "qk_matmul_output_mode"))
def _attention(c: Call) -> Value | tuple[Value, ...]:
    q, k, v = (
        _heads(c, i, c.integer(name, 0)) for i, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    if c.number("softcap", 0.0):
        raise c.error("softcap is not supported")
    k, v = _same_heads(c, k, q.shape[1]), _same_heads(c, v, q.shape[1])
    scale = c.number("scale", 1 / math.sqrt(q.shape[-1]))
    y = c.one("attention", q, k, v, c.optional(3), causal=bool(c.integer("is_causal", 0)), scale=scale)
    if c.tensor(0).ndim == 4:
        return y
    n, heads, steps, size = y.shape
    return c.reshape(permute(c, y, (0, 2, 1, 3)), (n, steps, heads * size))


def _heads(c: Call, i: int, heads: int) -> Tensor:
    """Input ``i`` as (N, heads, T, E)."""
    x = c.tensor(i)
    if x.ndim == 4:
        return x
    if x.ndim != 3 or heads < 1 or x.shape[2] % heads:
        raise c.error(f"{heads} heads of an input of the shape {x.shape}")
    n, steps, size = x.shape
    return permute(c, c.reshape(x, (n, steps, heads, size // heads)), (0, 2, 1, 3))


def _same_heads(c: Call, x: Tensor, heads: int) -> Tensor:
    if x.shape[1] == heads:
        return x
    if heads % x.shape[1]:
        raise c.error(f"{heads} heads of queries and {x.shape[1]} of keys")
    return c.one("repeat_interleave", x, times=heads // x.shape[1], axis=1)


def broadcast(c: Call, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """``x`` in the shape of what it is multiplied with, where that is known to fit."""
    return expand(c, x, np.broadcast_shapes(x.shape, tuple(sizes)))
