"""Bits of each matrix: the fewest that keep to a bound, and none that make the model slower."""

import numpy as np
import pytest
from helpers.graphs import cell_weights, recurrent_graph, weights
from lstm_rt_tools.integers import measure
from lstm_rt_tools.integers.calibrate import key_of
from lstm_rt_tools.integers.choose import choose
from lstm_rt_tools.integers.graphs import quantize_with_report

from lstm_rt.graph import Graph
from lstm_rt.quantised import Quantised


@pytest.fixture
def graph():
    rng, g = np.random.default_rng(0), Graph()
    h, _, _ = g.recurrent("gru", g.input("x", "seq", 12), cell_weights(rng, "gru", 12, 20), hidden_size=20)
    g.output(g.dense(h, weights(rng, 6, 20)), "y")
    return g


def chosen(g, **options):
    """(bits of each matrix by name, the largest error)."""
    inputs = measure.made_up(g)
    exact = measure.outputs_of(g, inputs)
    plan = choose(g, inputs, exact, 16, **options)
    made, changes = quantize_with_report(g, plan, 16)
    for c in changes:
        w = made.nodes[c.node].weights[c.weight]
        assert c.bits == (w.stored.itemsize * 8 if isinstance(w, Quantised) else 0)
    bits = {c.weight: c.bits for c in changes}
    return bits, {c.weight: c.why for c in changes}, max(e.max_abs for e in measure.errors(made, exact, inputs))


def test_the_fewest_bits_that_are_right(graph):
    seen = []
    for bound in (1.0, 1e-2, 2e-3, 5e-4, 1e-4, 1e-9):
        bits, why, error = chosen(graph, max_error=bound)
        assert error <= bound
        assert all(why[name] == "" for name, n in bits.items() if n == 8)
        assert all("too far from float32 as int8 (alone " in why[name] for name, n in bits.items() if n != 8)
        seen.append(sum(n or 32 for n in bits.values()))
    assert seen == sorted(seen)
    assert seen[0] == 24
    assert seen[-1] == 96
    assert len(set(seen)) > 3


def test_without_a_bound_it_is_a_share_of_the_output(graph):
    _, _, error = chosen(graph)
    (y,) = measure.outputs_of(graph, measure.made_up(graph))
    assert 0 < error <= 1e-3 * np.abs(y).max()


def test_what_is_slower_is_declined(graph):
    """Each alone: w_hh as int8 is, w_ih is either way."""

    def speed(other):
        w = {**other.nodes[0].weights}
        if isinstance(w["w_ih"], Quantised):
            return 0.9
        return 0.8 if isinstance(w["w_hh"], Quantised) and w["w_hh"].stored == np.int8 else 1.2

    bits, why, _ = chosen(graph, max_error=1.0, speed=speed)
    assert bits == {"w_ih": 0, "w_hh": 16, "weight": 8}
    assert why["w_ih"] == "slower here as int8 (0.90 times as fast) and as int16 (0.90 times as fast)"
    assert why["w_hh"] == "slower here as int8 (0.80 times as fast)"


def test_equal_matrices_get_the_same_bits():
    rng, g = np.random.default_rng(0), Graph()
    table = weights(rng, 16, 8)
    g.output(g.dense(g.embedding(g.input("ids", "ids"), table), table), "y")
    for bound in (1.0, 1e-3, 1e-9):
        bits, _, _ = chosen(g, max_error=bound)
        assert bits["table"] == bits["weight"]


def test_what_can_be_no_integers_is_left_out():
    g = recurrent_graph(np.random.default_rng(0), "lstm", 3, 9)
    inputs = measure.made_up(g)
    plan = choose(g, inputs, measure.outputs_of(g, inputs), 16, 1.0)
    assert plan == {key_of(g.nodes[0].weights["w_hh"]): (8, "")}
