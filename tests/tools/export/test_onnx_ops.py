"""Ops and activations in ONNX's terms: onnxruntime gives what their equations give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.graphs import inputs_for, weights
from helpers.onnx_models import same_as_reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lstm_rt_tools import to_onnx

from lstm_rt import ConvertError, GraphError
from lstm_rt.graph import ACTIVATIONS, NOT_ELEMENTWISE, Activation, Graph

onnx = pytest.importorskip("onnx")
ELEMENTWISE = [a for a in ACTIVATIONS if a not in NOT_ELEMENTWISE]
#: Steps that count: lengths, a mask, and whether steps beyond the lengths do, too.
COUNTED = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1)]
KINDS = ["sum", "mean", "max", "min", "prod", "l2"]


class Ports:
    """A graph with a sequence, and lengths and a mask if asked for."""

    def __init__(self, size: int, lengths: bool = False, masked: bool = False, steps_of: str = "x") -> None:
        self.rng = np.random.default_rng(0)
        self.g = Graph()
        self.x = self.g.input("x", "seq", size)
        if lengths:
            self.g.input("n", "lengths", axis=0)
        self.mask = self.g.mask_values(self.x) if masked else None

    def check(self, *outputs: int, sizes: Any = ((3, 7), (1, 4)), least: int = 0) -> None:
        for k, value in enumerate(outputs):
            self.g.output(value, f"y{k}")
        model = to_onnx(self.g)
        for batch, steps in sizes:
            inputs = inputs_for(self.rng, self.g, batch, steps, self.rng.integers(least, steps + 1, batch))
            same_as_reference(self.g, inputs, model)


# -- activations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    """With parameters of their own."""
    g = Graph()
    x = g.input("x", "vec", 400)  # without numbers at which functions jump
    own = Activation(name, 0.3, 0.7) if any(ACTIVATIONS[name]) else Activation(name)
    g.output(g.activation(x, own), "y")
    with np.errstate(all="ignore"):
        same_as_reference(g, [np.linspace(-4, 4, 400, dtype=np.float32)[None]])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "swish", "gelu", "gelu_tanh", "mish", "softmax"])
def test_activations_far_from_zero(name: str) -> None:
    g = Graph()
    g.output(g.activation(g.input("x", "vec", 401), name), "y")
    same_as_reference(g, [np.linspace(-20, 20, 401, dtype=np.float32)[None]])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_side_by_side(name: str) -> None:
    """onnxruntime joins operators to one; those of a neighbour must not be taken for a part."""
    g = Graph()
    x = g.input("x", "vec", 9)
    g.output(g.binary("add", g.activation(x, name), g.activation(x, "gelu_tanh")), "y")
    same_as_reference(g, [np.linspace(0.1, 3, 9, dtype=np.float32)[None]])


# -- features ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["add", "mul", "sub", "div", "maximum", "minimum", "pow"])
def test_binaries_broadcast(op: str) -> None:
    p = Ports(5)
    v, one, s = p.g.input("v", "vec", 5), p.g.input("one", "vec", 1), p.g.slice(p.x, 1, 1)
    p.mask = None
    positive = [p.g.activation(i, "exp") for i in (p.x, v, one, s)]
    x, v, one, s = positive
    p.check(*[p.g.binary(op, a, b) for a, b in ((x, x), (x, v), (v, x), (x, one), (s, v), (one, v), (x, s))])


@pytest.mark.parametrize("kind", ["seq", "vec"])
@pytest.mark.parametrize("groups", [1, 3])
def test_rows_of_features(kind: str, groups: int) -> None:
    p = Ports(6)
    x = p.x if kind == "seq" else p.g.input("v", "vec", 6)
    g, rng = p.g, p.rng
    out = [g.gather(x, np.array([5, 0, 0, 2])), g.prelu(x, weights(rng, 6)), g.l2norm(x, 1e-3, groups)]
    out += [g.l2norm(g.activation(x, Activation("affine", 0.0, 0.0)), 1e-3, groups)]
    out += [g.groupnorm(x, weights(rng, 6), weights(rng, 6), 1e-3, groups), g.groupnorm(x, None, None, 1e-3, groups)]
    out += [g.reduce_features(x, k, groups) for k in KINDS]
    p.check(*out)


# -- along time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lengths", "masked", "whole"), [*COUNTED, (1, 0, 1)])
def test_reduce(kind: str, lengths: int, masked: int, whole: int) -> None:
    p = Ports(3, bool(lengths), bool(masked))
    p.check(p.g.reduce(p.x, kind, p.mask, bool(whole)))


@pytest.mark.parametrize(("lengths", "masked", "whole"), COUNTED)
def test_softmax_steps(lengths: int, masked: int, whole: int) -> None:
    p = Ports(3, bool(lengths), bool(masked))
    p.check(p.g.softmax_steps(p.x, p.mask, bool(whole)))


@pytest.mark.parametrize("lengths", [False, True])
def test_steps_summed_and_regrouped(lengths: bool) -> None:
    p = Ports(6, lengths)
    wide, v = p.g.unflatten(p.x, 3), p.g.input("v", "vec", 6)
    p.check(p.g.cumsum(p.x), wide, p.g.cumsum(wide), p.g.unflatten(v, 2), p.g.select(wide, -1))


def test_flatten() -> None:
    p = Ports(3, True)
    p.check(p.g.flatten(p.x, 4), sizes=((3, 4), (1, 4)))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize(("before", "after"), [(2, 3), (0, 2), (3, 0)])
def test_pad(mode: str, before: int, after: int, lengths: bool) -> None:
    p = Ports(3, lengths)
    value = 0.7 if mode == "constant" else 0.0
    padded = p.g.pad_steps(p.x, before, after, value, mode)
    p.check(padded, p.g.select(padded, -1))


def test_reflections_of_few_steps() -> None:
    """Rows are shorter than the padding: the mirror image goes on and on."""
    p = Ports(2, True)
    p.check(p.g.pad_steps(p.x, 5, 6, mode="reflect"), sizes=((9, 4), (2, 1)))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", ["dot", "additive"])
@pytest.mark.parametrize(("lengths", "masked", "whole"), COUNTED)
def test_attention(kind: str, flat: bool, lengths: int, masked: int, whole: int) -> None:
    p = Ports(6, bool(lengths), bool(masked))
    options: dict[str, Any] = {"kind": kind, "mask": p.mask, "whole": bool(whole), "scale": 0.7}
    q = p.g.input("v", "vec", 12) if flat else p.g.concat(p.x, p.x)
    out = []
    for heads, kv_heads, causal in ((4, 2, False), (2, 0, not flat)):
        k = p.g.slice(p.x, 0, 6) if heads == 4 else p.g.concat(p.x, p.x)
        w = weights(p.rng, 12) if kind == "additive" and heads == 4 else None
        y, side = p.g.attention(q, k, p.x, heads=heads, kv_heads=kv_heads, causal=causal, weight=w, **options)
        out += [y] if side is None else [y, side]
    p.check(*out)


def test_attention_over_other_steps() -> None:
    p = Ports(4)
    q = p.g.input("q", "seq", 4, axis=p.g.new_axis())
    y, _ = p.g.attention(q, p.x, p.x)
    p.g.output(y, "y")
    rng = p.rng
    same_as_reference(p.g, inputs_for(rng, p.g, 2, {0: 5, 1: 3}))


# -- windows ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2), st.just(1)),
    pad=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 2))] * 3),
    size=st.sampled_from([(1, 1), (3, 1), (1, 4), (4, 3)]),
    groups=st.sampled_from([1, 2]), kind=st.sampled_from(["conv", "max", "avg", "avg_pad"]),
    flags=st.tuples(*[st.booleans()] * 4),
)  # fmt: skip
def test_windows(
    kernel: Any, stride: Any, dilation: Any, pad: Any, size: Any, groups: int, kind: str, flags: tuple[bool, ...]
) -> None:
    lengths, whole, bias, flat = flags
    h, w = size
    p = Ports(h * w * 2, lengths)
    if flat:
        p.x = p.g.input("v", "vec", h * w * 2)
        kernel, stride, dilation = (1, *kernel[1:]), (1, *stride[1:]), (1, *dilation[1:])
        pad = ((0, 0), *pad[1:])
    try:
        if kind == "conv":
            weight = weights(p.rng, 4, 2 // groups, *kernel)
            y = p.g.conv(p.x, weight, weights(p.rng, 4) if bias else None, size=size, stride=stride,
                         dilation=dilation, pad=pad, groups=groups, whole=whole)  # fmt: skip
        else:
            y = p.g.pool(p.x, kind, kernel, size=size, stride=stride, pad=pad, dilation_t=dilation[0], whole=whole)
    except GraphError:  # no window fits
        assume(False)
    v = p.g.values[y]
    assume(v.axis < 0 or p.g.axes[v.axis].steps(4) > 0)
    p.check(y, sizes=((3, 7), (1, 4)))


def test_pooling_that_streams() -> None:
    """The first windows see fewer steps, some of a long padding none."""
    for dilation in (1, 3):
        p = Ports(2)
        before = ((2 * dilation, 0), (0, 0), (0, 0))
        p.check(*[p.g.pool(p.x, k, (3, 1, 1), pad=before, dilation_t=dilation) for k in ("max", "avg", "avg_pad")])
    p = Ports(2)
    p.check(*[p.g.pool(p.x, k, (2, 1, 1), pad=((4, 5), (0, 0), (0, 0))) for k in ("max", "avg", "avg_pad")])


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("given_state", [False, True])
def test_convlstm(lengths: bool, given_state: bool) -> None:
    p = Ports(4 * 3 * 2, lengths)
    states = {}
    if given_state:
        states = {"h0": p.g.input("h0", "vec", 4 * 2 * 3), "c0": p.g.input("c0", "vec", 4 * 2 * 3)}
    rng = p.rng
    w_ih, w_hh = weights(rng, 12, 2, 3, 2, scale=0.3), weights(rng, 12, 3, 2, 3, scale=0.3)
    outputs = p.g.convlstm(p.x, w_ih, w_hh, weights(rng, 12), size=(4, 3), pad=((1, 1), (0, 0)),
                           activations=("hard_sigmoid", "tanh", "softsign"), **states)  # fmt: skip
    p.check(*outputs)
    g = Graph()
    x = g.input("x", "seq", 24)
    g.output(g.convlstm(x, w_ih[:, :, :, :1], w_hh, size=(4, 3), stride=(2, 1), dilation=(2, 1),
                        pad=((1, 0), (0, 0)))[0], "y")  # fmt: skip
    same_as_reference(g, inputs_for(rng, g, 2, 5))


# -- shaped ports -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dims", [("N", 2, "T", 3), ("T", 6, "N"), (2, 3, "N", "T"), ("T", 2, 3), (1, "T", 6), (6, "T")]
)
def test_shaped_sequences(dims: tuple[Any, ...]) -> None:
    g = Graph()
    x = g.input("x", "seq", 6, order="shaped", dims=dims)
    g.output(g.activation(x, "tanh"), "y", order="shaped", dims=dims[::-1])
    model = to_onnx(g)
    found = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert found == list(dims)
    same_as_reference(g, inputs_for(np.random.default_rng(0), g, 3 if "N" in dims else 1, 5), model)


def test_shaped_vectors_ids_and_lengths() -> None:
    g, rng = Graph(), np.random.default_rng(0)
    ids = g.input("ids", "ids", order="shaped", dims=("T", 1, "N"))
    g.input("n", "lengths", axis=0, order="shaped", dims=("N", 1))
    v = g.input("v", "vec", 6, order="shaped", dims=(3, "N", 2))
    last = g.select(g.embedding(ids, weights(rng, 11, 6)), -1)
    g.output(g.binary("add", last, v), "y", order="shaped", dims=("N", 1, 2, 3))
    same_as_reference(g, inputs_for(rng, g, 3, 5, [5, 0, 2]))


# -- states -----------------------------------------------------------------------------------------


def test_states_of_other_ops_are_refused_by_name() -> None:
    def makes(add: Any) -> Graph:
        p = Ports(2)
        with p.g.layer("pooling"):
            p.g.output(add(p.g, p.x), "y")
        return p.g

    weight = np.ones((2, 2, 3, 1, 1), np.float32)
    square = np.ones((4, 2, 1, 1), np.float32), np.ones((4, 1, 1, 1), np.float32)
    for op, add in {
        "reduce": lambda g, x: g.reduce(x, "sum"),
        "cumsum": lambda g, x: g.cumsum(x),
        "conv": lambda g, x: g.conv(x, weight, pad=((2, 0), (0, 0), (0, 0))),
        "pool": lambda g, x: g.pool(x, "max", (3, 1, 1), pad=((2, 0), (0, 0), (0, 0))),
        "convlstm": lambda g, x: g.convlstm(x, *square, size=(1, 1))[0],
    }.items():
        to_onnx(makes(add))
        with pytest.raises(ConvertError, match=rf"^node 0 \({op}, pooling\) keeps a state"):
            to_onnx(makes(add), states=True)
    centred = makes(lambda g, x: g.conv(x, weight, pad=((1, 1), (0, 0), (0, 0))))
    assert len(to_onnx(centred, states=True).graph.input) == 1  # sees later steps: it cannot stream
