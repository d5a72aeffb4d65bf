"""Loops written out step by step become layers again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

from lstm_rt.graph import Graph

STEPS, FEATURES, HIDDEN = 12, 6, 5


def weights(seed: int, inputs: int, gates: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {
        "w_ih": (gates * HIDDEN, inputs),
        "w_hh": (gates * HIDDEN, HIDDEN),
        "b_ih": gates * HIDDEN,
        "b_hh": gates * HIDDEN,
    }
    return {name: (rng.standard_normal(shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}


LSTM, GRU = weights(0, FEATURES, 4), weights(1, HIDDEN, 3)


def zeros(m: Machine, x: Tensor, n: int) -> list[Tensor]:
    return [m.constant(np.zeros((x.shape[0], HIDDEN), np.float32)) for _ in range(n)]


def cell(m: Machine, op: str, x: Tensor, state: Sequence[Tensor], w: dict[str, Any]) -> list[Tensor]:
    """As front ends have cells: a layer over one step."""
    wide = [m.apply("unsqueeze", t, axes=(0,)) for t in (x, *state)]
    _, *new = m.apply(op, *wide, weights=w, hidden_size=HIDDEN)
    return [m.apply("squeeze", t, axes=(0,)) for t in new]


def run(m: Machine, x: Tensor, order: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    state, outs = zeros(m, x, 2), []
    for t in order:
        state = cell(m, "lstm", m.take(x, t, 1), state, LSTM)
        outs.append(state[0])
    return state, outs


def converted(function: Any, outputs: int = 1) -> tuple[Program, Graph]:
    program = Program(function, outputs, x=("b", STEPS, FEATURES))
    return program, to_graph(program)


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


SIZES = ({"b": 1}, {"b": 5})


def test_a_loop_of_cells_is_a_layer() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        state, outs = run(m, x, range(STEPS))
        return m.stack(outs, 1), *state

    program, graph = converted(function, 3)
    assert ops(graph).count("lstm") == 1
    assert graph.values[graph.outputs[0]].kind == "seq"
    assert any("put together" in line for line in graph.meta["folded"])
    assert any("made for 12 steps" in note for note in graph.meta["notes"])
    agrees(program, graph, SIZES)


def test_a_loop_backwards_is_a_reverse_layer() -> None:
    program, graph = converted(lambda m, x: m.stack(run(m, x, range(STEPS - 1, -1, -1))[1][::-1], 1))
    assert ops(graph) == ["lstm"]
    assert graph.nodes[0].attrs["direction"] == "reverse"
    agrees(program, graph, SIZES)


def test_two_cells_in_one_loop() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        low, high = zeros(m, x, 2), zeros(m, x, 1)
        for t in range(STEPS):
            low = cell(m, "lstm", m.take(x, t, 1), low, LSTM)
            high = cell(m, "gru", low[0], high, GRU)
        return high[0]

    program, graph = converted(function)
    assert ops(graph)[:2] == ["lstm", "gru"]
    agrees(program, graph, SIZES)


def test_other_weights_at_one_step_are_no_layer() -> None:
    other = {**LSTM, "w_ih": LSTM["w_ih"] + 1}

    def function(m: Machine, x: Tensor) -> Any:
        state = zeros(m, x, 2)
        for t in range(STEPS):
            state = cell(m, "lstm", m.take(x, t, 1), state, other if t == 7 else LSTM)
        return state[0]

    program, graph = converted(function)
    assert ops(graph).count("lstm") > 1
    agrees(program, graph, SIZES)


def test_steps_by_themselves() -> None:
    program, graph = converted(lambda m, x: m.apply("sub", m.take(x, 3, 1), m.take(x, STEPS - 1, 1)))
    agrees(program, graph, SIZES)


@pytest.mark.parametrize("last", [5, 9])
def test_the_cell_state_within_a_loop(last: int) -> None:
    """No layer gives it: the model is then one cell after another."""
    program, graph = converted(lambda m, x: run(m, x, range(last))[0][1])
    assert ops(graph).count("lstm") == last
    agrees(program, graph, SIZES)
