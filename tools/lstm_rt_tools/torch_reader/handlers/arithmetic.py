"""Functions that compute: sums, products, layers called as functions, activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_rt.graph import Activation, Array

from ..builder import Builder
from ..modules import gelu, softmax, softplus
from ..symbols import Dims, Feat, Index, Lengths, Sym, unsupported
from .call import Call, short_name


def cat(rec: Builder, call: Call) -> Sym:
    tensors = call.arg(0, "tensors")
    dim = call.arg(1, "dim", call.kwargs.get("axis", 0))
    syms = [rec.maybe_sym(t) for t in tensors]
    if any(s is None for s in syms):
        raise unsupported(call.name, "with a constant tensor")
    feats = [rec.feat(s, call.name) for s in syms if s is not None]
    if any(f.dims != feats[0].dims for f in feats) or feats[0].dims[dim] != "F":
        shapes = ", ".join(" ".join(f.dims) for f in feats)
        raise unsupported(call.name, f"only features can be joined; the parts are {shapes}")
    return rec.join([rec.part(f) for f in feats], feats[0].dims)


def binary(rec: Builder, call: Call) -> Sym:
    op = short_name(call.name)
    swapped = op in ("rsub", "radd", "rmul")
    op = (
        op.removeprefix("r")
        if swapped
        else {"subtract": "sub", "multiply": "mul", "divide": "div"}.get(op, op)
    )
    a, b = call.args[0], call.arg(1, "other")
    if call.kwargs.get("alpha", 1) != 1 or call.kwargs.get("rounding_mode") is not None:
        raise unsupported(call.name, "with alpha or rounding_mode")
    if swapped:
        a, b = b, a
    sa, sb = rec.maybe_sym(a), rec.maybe_sym(b)
    if isinstance(sa, Lengths | Index) or isinstance(sb, Lengths | Index):
        return _index_arithmetic(op, sa, b)
    if sa is not None and sb is not None:
        return _two(rec, call, op, rec.feat(sa, call.name), rec.feat(sb, call.name))
    if sa is not None:
        return _affine(rec, call, op, rec.feat(sa, call.name), b)
    if op == "div" or sb is None:
        raise unsupported(call.name, "a constant divided by data")
    feat = rec.feat(sb, call.name)
    if op == "sub":
        feat, op = rec.scale(feat, -1.0, 0.0), "add"
    return _affine(rec, call, op, feat, a)


def _index_arithmetic(op: str, a: Sym | None, b: Any) -> Sym:
    if op == "sub" and isinstance(a, Lengths) and isinstance(b, int) and b == 1:
        return Index(last=a.input)
    return Index()


def _two(rec: Builder, call: Call, op: str, a: Feat, b: Feat) -> Feat:
    if op == "div" or a.dims != b.dims:
        raise unsupported(call.name, f"on ({' '.join(a.dims)}) and ({' '.join(b.dims)})")
    if op == "sub":
        b, op = rec.scale(b, -1.0, 0.0), "add"
    va, vb = rec.value(a), rec.value(b)
    sa, sb = rec.size(a), rec.size(b)
    if sa != sb and 1 in (sa, sb):  # torch repeats the single feature; a product with ones does, too
        ones = np.ones((max(sa, sb), 1), np.float32)
        va, vb = (rec.graph.dense(va, ones), vb) if sa == 1 else (va, rec.graph.dense(vb, ones))
    return Feat(rec.graph.binary(op, va, vb), a.dims)


def _affine(rec: Builder, call: Call, op: str, feat: Feat, constant: Any) -> Feat:
    """``x op constant`` with a number, or one number per feature."""
    c = rec.constant(constant, call.name)
    size = rec.size(feat)
    if c.size not in (1, size) or (c.size > 1 and (feat.dims[-1] != "F" or c.shape[-1] != size)):
        raise unsupported(call.name, f"with a constant of shape {c.shape}")
    c = c.reshape(-1)
    if op == "add":
        return rec.scale(feat, 1.0, c)
    if op == "sub":
        return rec.scale(feat, 1.0, -c)
    if op == "mul":
        return rec.scale(feat, c, 0.0)
    if op == "div" and np.all(c != 0):
        return rec.scale(feat, 1.0 / c, 0.0)
    raise unsupported(call.name)


def neg(rec: Builder, call: Call) -> Sym:
    return rec.scale(rec.feat(rec.sym(call.args[0]), call.name), -1.0, 0.0)


def linear(rec: Builder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    bias = call.arg(2, "bias")
    weight = rec.constant(call.arg(1, "weight"), call.name)
    return rec.dense(feat, weight, None if bias is None else rec.constant(bias, call.name), call.name)


def matmul(rec: Builder, call: Call) -> Sym:
    if rec.maybe_sym(call.args[0]) is None:
        raise unsupported(call.name, "a constant times data")
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    weight = rec.constant(call.arg(1, "other", call.kwargs.get("mat2")), call.name)
    if weight.ndim != 2:
        raise unsupported(call.name, f"with a constant of shape {weight.shape}")
    return rec.dense(feat, weight.T, None, call.name)


def embedding(rec: Builder, call: Call) -> Sym:
    if call.arg(3, "max_norm") is not None:
        raise unsupported(call.name, "with max_norm")
    return rec.embed(call.args[0], rec.constant(call.arg(1, "weight"), call.name), call.name)


def bare_recurrent(rec: Builder, call: Call) -> Sym:
    raise unsupported(call.name, "a recurrent layer is followed where it is a torch.nn layer that the module holds")


def layer_norm(rec: Builder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    if len(call.arg(1, "normalized_shape")) != 1 or feat.dims[-1] != "F":
        raise unsupported(call.name, "over more than the features")
    params: list[Array | None] = []
    for i, name in ((2, "weight"), (3, "bias")):
        given = call.arg(i, name)
        params.append(None if given is None else rec.constant(given, call.name))
    value = rec.graph.layernorm(rec.value(feat), params[0], params[1], float(call.arg(4, "eps", 1e-5)))
    return Feat(value, feat.dims)


#: By torch's name of a function, those without options.
PLAIN_ACTIVATIONS = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "expit": "sigmoid",
    "tanh": "tanh",
    "hardsigmoid": "hard_sigmoid",
    "selu": "selu",
    "softsign": "softsign",
    "silu": "swish",
}


def activation(rec: Builder, call: Call) -> Sym:
    feat = rec.feat(rec.sym(call.args[0]), call.name)
    return rec.activate(feat, _activation_of(call, len(feat.dims), feat.dims), call.name)


def _activation_of(call: Call, ndim: int, dims: Dims) -> Activation:
    name = short_name(call.name)
    if name in PLAIN_ACTIVATIONS:
        return Activation(PLAIN_ACTIVATIONS[name])
    if name == "leaky_relu":
        return Activation(name, call.arg(1, "negative_slope", 0.01))
    if name == "elu":
        if call.arg(2, "scale", 1) != 1 or call.arg(3, "input_scale", 1) != 1:
            raise unsupported(call.name, "with scale")
        return Activation(name, call.arg(1, "alpha", 1.0))
    if name == "gelu":
        return gelu(call.arg(1, "approximate", "none"), call.name)
    if name == "softplus":
        return softplus(call.arg(1, "beta", 1), call.arg(2, "threshold", 20), call.name)
    dim = call.arg(1, "dim")
    if dim is not None and dims[dim] == "F":
        dim = ndim - 1
    return Activation(softmax(name, dim, ndim, call.name))
