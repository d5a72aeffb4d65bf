"""Operators of ONNX Runtime, as its optimizer writes them into files."""

from __future__ import annotations

from ...program.machine import Tensor
from ..call import MICROSOFT, Call, Value, op
from .elementwise import swish
from .linear import scaled
from .norms import affine_norm, rms_norm
from .shapes import permute


@op("Gelu", "BiasGelu", domain=MICROSOFT)
def _gelu(c: Call) -> Value:
    return c.one("gelu", _biased(c), tanh=False)


@op("FastGelu", domain=MICROSOFT)
def _fast_gelu(c: Call) -> Value:
    return c.one("gelu", _biased(c), tanh=True)


def _biased(c: Call) -> Tensor:
    return c.tensor(0) if c.optional(1) is None else c.one("add", c.tensor(0), c.tensor(1))


@op("QuickGelu", domain=MICROSOFT)
def _quick_gelu(c: Call) -> Value:
    return swish(c, c.tensor(0), c.number("alpha", 1.702))


@op("FusedMatMul", domain=MICROSOFT)
def _fused_matmul(c: Call) -> Value:
    if c.integer("transBatchA", 0) or c.integer("transBatchB", 0):
        raise c.error("transBatchA and transBatchB are not supported")
    a, b = (_turned(c, c.tensor(i), c.integer(name, 0)) for i, name in enumerate(("transA", "transB")))
    return scaled(c, c.one("matmul", a, b), c.number("alpha", 1.0))


def _turned(c: Call, x: Tensor, turn: int) -> Tensor:
    return permute(c, x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]) if turn and x.ndim > 1 else x


@op("SimplifiedLayerNormalization", ignores=("stash_type",))
@op("SimplifiedLayerNormalization", domain=MICROSOFT, ignores=("stash_type",))
def _simplified(c: Call) -> Value:
    x = c.tensor(0)
    return rms_norm(c, x, c.tensor(1), c.number("epsilon", 1e-5), c.axis(c.integer("axis", -1), x.ndim))


@op("SkipLayerNormalization", domain=MICROSOFT)
def _skip_norm(c: Call) -> Value | tuple[Value, ...]:
    total = c.one("add", c.tensor(0), c.tensor(1))
    total = total if c.optional(4) is None else c.one("add", total, c.tensor(4))
    y = affine_norm(c, total, c.tensor(2), c.optional(3), c.number("epsilon", 1e-12), 1)
    return y, None, None, total
