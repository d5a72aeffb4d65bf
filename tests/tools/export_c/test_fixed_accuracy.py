"""How far models in integers are from float64, and that their sums and states cannot overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.fixed_models import network_of, noise, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.export_c.fixed import cells
from lstm_rt_tools.export_c.fixed.rows import LARGEST, SUM_END, Format, quantised
from lstm_rt_tools.judges import reference

from lstm_rt.graph import Graph

#: Of layers 16/32 over 300 steps of noise: the largest distance from float64 and the root mean square, int8 and int16.
BOUNDS = {"lstm": (4e-3, 7e-4, 2e-4, 4e-5), "gru": (6e-3, 1.2e-3, 2e-4, 4e-5), "rnn": (1.3e-2, 2.7e-3, 4e-4, 1e-4)}


def distance(graph: Graph, bits: int, data: list[Any], compensate: bool = False) -> np.ndarray:
    """Of the outputs, from those of float64 for the numbers that the integers of the inputs stand for."""
    network = network_of(graph, bits, data, compensate)
    given_ = [network.quantised_input(i, x) for i, x in zip(graph.inputs, data, strict=True)]
    floats = [q / 2.0 ** network.formats[i].bits for i, q in zip(graph.inputs, given_, strict=True)]
    (got,) = network.as_floats(network.run(given_))
    return got - reference.run(graph, floats)[0]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_layers_are_near_float64(op: str, bits: int) -> None:
    graph = recurrent(op, 16, 32)
    away = distance(graph, bits, noise(graph, 300))
    largest, rms = BOUNDS[op][:2] if bits == 8 else BOUNDS[op][2:]
    assert np.abs(away).max() < largest
    assert np.sqrt(np.mean(away**2)) < rms


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("gru", {"reset_after": False}),
        ("lstm", {"activations": ("hard_sigmoid", "tanh", "tanh")}),
        ("gru", {"activations": ("hard_sigmoid", "tanh")}),
        ("rnn", {"activations": ("relu",), "scale": 0.5}),
        ("lstm", {"direction": "bidirectional"}),
        ("gru", {"direction": "reverse"}),
    ],
)
def test_forms_are_near_float64(op: str, options: dict[str, Any]) -> None:
    graph = recurrent(op, 6, 20, **options)
    assert np.abs(distance(graph, 16, noise(graph, 100))).max() < 4e-4


def test_256_units() -> None:
    graph = recurrent("lstm", 16, 256)
    away = distance(graph, 16, noise(graph, 150))
    assert np.abs(away).max() < 5e-4
    assert np.sqrt(np.mean(away**2)) < 6e-5


def test_long_memories() -> None:
    graph = recurrent("lstm", 4, 16)
    graph.nodes[0].weights["b_ih"][16:32] += 6  # forget gates of 0.998
    away = distance(graph, 16, noise(graph, 1500))
    assert np.abs(away).max() < 6e-3  # where a cell state of tens goes through 0
    assert np.sqrt(np.mean(away**2)) < 1e-4


def test_rounding_for_the_data_helps_where_inputs_go_together() -> None:
    graph = recurrent("lstm", 8, 24)
    rng = np.random.default_rng(5)
    causes = np.cumsum(rng.standard_normal((2, 400, 2)), axis=1) / 8
    data = [(causes @ rng.standard_normal((2, 8))).astype(np.float32)]
    plain, rounded = (np.mean(distance(graph, 8, data, c) ** 2) for c in (False, True))
    assert rounded < plain / 2


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 300),
    st.sampled_from([8, 16]),
    st.floats(-6, 3),
    st.integers(0, 15),
    st.integers(0, 9),
)
def test_sums_stay_in_their_room(rows: int, k: int, bits: int, size: float, fraction: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, k)) * 10.0**size * rng.choice([1, 1e-3, 30], (rows, 1))
    form = Format(fraction, 1 << 9, 0.0)
    q = quantised(w, rng.standard_normal(rows), [form], [k], np.full(rows, 2.0**10 / max(1, 10.0**size)), bits)
    assert np.abs(q.weights).max() <= LARGEST[bits]
    assert (np.abs(q.start) + np.abs(q.weights).sum(axis=1) * form.most).max() < SUM_END[bits]
    assert 0 < q.mult.min() <= q.mult.max() < 1 << 30
    worst = np.sign(q.weights) * form.most
    z = np.stack([q.z(v) for v in (worst, -worst)])
    assert np.abs(z).max() < 1 << 29
    assert np.abs(q.start + worst @ q.weights.T).max() < SUM_END[bits]
    # What the integers stand for is the matrix: at most half a step off for each weight, in the unit of z.
    step = q.mult * 2.0**q.shift / 2.0 ** (24 if bits == 8 else 32)
    unit = 2.0**10 / max(1, 10.0**size)
    assert (np.abs(q.weights * step[:, None] / 2.0**-fraction - w * unit) <= 0.51 * step[:, None] * 2.0**fraction).all()


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_a_cell_state_that_never_forgets_stays_within_32_bits(gate: str) -> None:
    graph = recurrent("lstm", 1, 4, activations=(gate, "tanh", "tanh"))
    graph.nodes[0].weights["b_ih"] = np.full(16, 60, np.float32)
    network = network_of(graph, 16, noise(graph, 20))
    cell = network.layers[0].directions[0]
    assert isinstance(cell, cells.Lstm)
    assert cell.c_bits == 16
    h, c = np.zeros((1, 4), np.int64), np.full((1, 4), (1 << 31) - 70000)
    for _ in range(2000):
        h, c = cell.step(np.array([[32767]]), (h, c))
        assert c.max() < 1 << 31
    assert c.min() > 2.1e9  # it is at its bound


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.floats(0.01, 40), st.sampled_from([8, 16]))
def test_states_of_any_lstm_stay_within_32_bits(seed: int, scale: float, bits: int) -> None:
    graph = recurrent("lstm", 2, 3, seed=seed, scale=scale)
    cell = network_of(graph, bits, noise(graph, 20)).layers[0].directions[0]
    rng = np.random.default_rng(seed)
    state = (np.zeros((8, 3), np.int64), np.zeros((8, 3), np.int64))
    x = rng.choice([-32768, 32767], (8, 2))
    for t in range(300):
        state = cell.step(x if t < 200 else rng.integers(-32768, 32768, (8, 2)), state)
        assert np.abs(state[1]).max() < 1 << 31
        assert np.abs(state[0]).max() <= 32767
