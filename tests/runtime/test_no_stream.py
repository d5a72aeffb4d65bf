"""Models that cannot stream say which node is in the way, or that it is their time axes."""

import numpy as np
import pytest
from helpers.graphs import weights
from helpers.small_graphs import build, lstm

from lstm_rt import InputError
from lstm_rt.graph import Axis


def reverse(g):
    g.output(g.reverse(g.input("x", "seq", 4)), "y")


def backwards(g):
    y, _, _ = lstm(g, g.input("x", "seq", 4))
    with g.layer("encoder.rnn"):
        g.output(lstm(g, y, direction="reverse", op="gru")[0], "y")


def both_ways(g):
    g.output(lstm(g, g.input("x", "seq", 4), direction="bidirectional")[0], "y")


def first_step(g):
    g.output(g.select(g.cumsum(g.input("x", "seq", 4)), 0), "y")


def given_state(g):
    x, h0 = g.input("x", "seq", 4), g.input("h0", "vec", 4)
    g.output(lstm(g, x, h0=h0)[0], "y")


def computed_state(g):
    x = g.input("x", "seq", 4)
    g.output(lstm(g, x, c0=g.reduce(x, "mean"))[0], "y")


def softmax(g):
    g.output(g.softmax_steps(g.input("x", "seq", 4)), "y")


def attention(g):
    x = g.input("x", "seq", 4)
    y, h, _ = lstm(g, x)
    with g.layer("attention"):
        g.output(g.attention(h, y, y)[0], "y")


def causal_attention(g):
    x = g.input("x", "seq", 4)
    g.output(g.attention(x, x, x, causal=True)[0], "y")


def drops_steps(g):
    g.output(g.take(g.input("x", "seq", 4), drop=2), "y")


def computed_vector(g):
    x = g.input("x", "seq", 4)
    g.output(g.repeat_vector(g.reduce(x, "max"), 0), "y")


def every_second(g):
    g.output(g.take(g.input("x", "seq", 4), 0, 2), "y")


def two_axes(g):
    g.output(g.concat(*(g.reduce(g.input(name, "seq", 4), "sum") for name in "ab")), "y")


def no_axes(g):
    g.output(g.dense(g.input("x", "vec", 4), weights(np.random.default_rng(0), 2, 4)), "y")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (reverse, "node 0 (reverse) needs the whole sequence"),
        (backwards, "node 1 (gru, encoder.rnn) needs the whole sequence"),
        (both_ways, "node 0 (lstm) needs the whole sequence"),
        (first_step, "node 1 (select) takes the first step"),
        (given_state, "node 0 (lstm) begins each call with states that it is given"),
        (computed_state, "node 1 (lstm) begins each call with states that it is given"),
        (softmax, "node 0 (softmax_steps) needs the whole sequence"),
        (attention, "node 1 (attention, attention) needs the whole sequence"),
        (causal_attention, "node 0 (attention) needs the whole sequence"),
        (drops_steps, "node 0 (take) needs the whole sequence"),
        (computed_vector, "node 1 (repeat) needs the whole sequence"),
        (every_second, "node 0 (take) gives another number of steps, which depends on all before"),
        (two_axes, "its inputs are on 2 time axes"),
        (no_axes, "its inputs are on no time axes"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_why_a_model_cannot_stream(make, why):
    model = build(make)
    assert not model.can_stream
    for start in (model.stream, lambda: model.streams(2)):
        with pytest.raises(InputError) as e:
            start()
        assert str(e.value) == f"this model cannot stream: {why}"


def test_what_streams():
    def fixed(g):
        x, v = g.input("x", "seq", 4), g.input("v", "vec", 4)
        g.output(g.repeat_vector(v, g.new_axis(Axis(0, 3))), "y")
        g.output(g.reduce(x, "mean"), "mean")

    assert build(fixed).can_stream
