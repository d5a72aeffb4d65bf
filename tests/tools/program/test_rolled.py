"""Cells written out in straight lines: of one step, and of every step of a loop that is unrolled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

import lstm_rt
from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph

STEPS, FEATURES, HIDDEN = 9, 6, 5
SIZES = ({"b": 1}, {"b": 5})


def numbers(seed: int, *shape: int) -> Any:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.4).astype(np.float32)


def product(m: Machine, x: Tensor, weight: Any, bias: Any = None) -> Tensor:
    y: Tensor = m.apply("matmul", x, m.constant(weight))
    if bias is not None:
        y = m.apply("add", y, m.constant(bias))
    return y


def parts(m: Machine, x: Tensor, n: int) -> list[Tensor]:
    return [m.apply("slice", x, axis=1, start=k * HIDDEN, stop=(k + 1) * HIDDEN, step=1) for k in range(n)]


def lstm(m: Machine, x: Tensor, state: Sequence[Tensor], seed: int = 0) -> list[Tensor]:
    """As Keras has it: gates i, f, c, o in one sum of two products."""
    h, c = state
    total = m.apply(
        "add",
        product(m, x, numbers(seed, x.shape[1], 4 * HIDDEN)),
        product(m, h, numbers(seed + 1, HIDDEN, 4 * HIDDEN)),
    )
    i, f, g, o = parts(m, m.apply("add", total, m.constant(numbers(seed + 2, 4 * HIDDEN))), 4)
    kept = m.apply("mul", m.apply("sigmoid", f), c)
    new = m.apply("add", kept, m.apply("mul", m.apply("sigmoid", i), m.apply("tanh", g)))
    return [m.apply("mul", m.apply("sigmoid", o), m.apply("tanh", new)), new]


def gru(m: Machine, x: Tensor, state: Sequence[Tensor], seed: int = 10) -> list[Tensor]:
    """As PyTorch has it: the reset gate acts after the product."""
    (h,) = state
    a = parts(m, product(m, x, numbers(seed, x.shape[1], 3 * HIDDEN), numbers(seed + 2, 3 * HIDDEN)), 3)
    u = parts(m, product(m, h, numbers(seed + 1, HIDDEN, 3 * HIDDEN), numbers(seed + 3, 3 * HIDDEN)), 3)
    r, z = (m.apply("sigmoid", m.apply("add", a[k], u[k])) for k in (0, 1))
    n = m.apply("tanh", m.apply("add", a[2], m.apply("mul", r, u[2])))
    left = m.apply("sub", m.constant(np.float32(1)), z)
    return [m.apply("add", m.apply("mul", left, n), m.apply("mul", z, h))]


CELLS: dict[str, tuple[Callable[..., list[Tensor]], int]] = {"lstm": (lstm, 2), "gru": (gru, 1)}


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


def zeros(m: Machine, x: Tensor, n: int) -> list[Tensor]:
    return [m.constant(np.zeros((x.shape[0], HIDDEN), np.float32)) for _ in range(n)]


@pytest.mark.parametrize("name", CELLS)
def test_a_step_with_its_states(name: str) -> None:
    cell, n = CELLS[name]
    program = Program(
        lambda m, x, *s: cell(m, x, s), n, x=("b", FEATURES), **dict.fromkeys(["h", "c"][:n], ("b", HIDDEN))
    )
    graph = to_graph(program)
    assert sorted(set(ops(graph))) == sorted({name, "unflatten", "activation"})
    assert any("recognised" in line for line in graph.meta["folded"])
    agrees(program, graph, SIZES)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("features", [False, True])
def test_all_steps(name: str, backwards: bool, given: bool, features: bool) -> None:
    """States given or zero, which a program simplifies away; layers before and after the cell of each step."""
    cell, n = CELLS[name]

    def function(m: Machine, x: Tensor, *states: Tensor) -> Any:
        state = list(states) if given else zeros(m, x, n)
        outs = []
        for t in range(STEPS - 1, -1, -1) if backwards else range(STEPS):
            xt = m.take(x, t, 1)
            if features:
                xt = m.apply("relu", product(m, xt, numbers(20, FEATURES, 7), numbers(21, 7)))
            state = cell(m, xt, state)
            y = state[0]
            if features:
                y = m.apply("softmax", product(m, y, numbers(22, HIDDEN, 3)), axis=-1)
            outs.append(y)
        return m.stack(outs[::-1] if backwards else outs, 1), *state

    states = dict.fromkeys(["h", "c"][:n], ("b", HIDDEN)) if given else {}
    program = Program(function, 1 + n, x=("b", STEPS, FEATURES), **states)
    graph = to_graph(program)
    assert ops(graph).count(name) == 1
    assert len(graph.nodes) < 12
    agrees(program, graph, SIZES)


def test_two_layers() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        low, high = zeros(m, x, 2), zeros(m, x, 1)
        for t in range(STEPS):
            low = lstm(m, m.take(x, t, 1), low)
            high = gru(m, low[0], high)
        return high[0]

    program = Program(function, 1, x=("b", STEPS, FEATURES))
    graph = to_graph(program)
    assert ops(graph)[:2] == ["lstm", "gru"]
    assert len(graph.nodes) < 5
    agrees(program, graph, SIZES)


def test_the_only_step_of_sequences() -> None:
    """What is made for one step, with states, goes over any number of them."""

    def function(m: Machine, x: Tensor, h: Tensor, c: Tensor) -> Any:
        y = m.apply("conv", m.apply("permute", x, axes=(0, 2, 1)), m.constant(numbers(30, HIDDEN, FEATURES, 1)))
        state = lstm(m, m.apply("squeeze", y, axes=(2,)), (h, c))
        mask = m.apply("sigmoid", product(m, state[0], numbers(31, HIDDEN, HIDDEN)))
        return m.apply("mul", y, m.apply("unsqueeze", mask, axes=(2,))), *state

    program = Program(function, 3, x=(1, 1, FEATURES), h=(1, HIDDEN), c=(1, HIDDEN))
    graph = to_graph(program)
    assert "lstm" in ops(graph)
    assert "unflatten" not in ops(graph)
    model = lstm_rt.Model(graph)
    x = numbers(32, 1, 7, FEATURES)
    state = [numbers(33, 1, HIDDEN), numbers(34, 1, HIDDEN)]
    y, *ends = model(x, *state)
    for t in range(x.shape[1]):
        want, *state = program.numbers([x[:, t : t + 1], *state]).values()
        np.testing.assert_allclose(y[..., t : t + 1], want, rtol=1e-4, atol=1e-5)
    for end, want in zip(ends, state, strict=True):
        np.testing.assert_allclose(end, want, rtol=1e-4, atol=1e-5)


def test_what_is_no_cell_stays() -> None:
    """A gate that reads something else than the state is no gate of a cell."""

    def other(m: Machine, x: Tensor, h: Tensor, c: Tensor) -> Any:
        gate = m.apply("sigmoid", product(m, m.apply("mul", h, h), numbers(40, HIDDEN, HIDDEN)))
        new = m.apply("add", m.apply("mul", gate, c), product(m, x, numbers(41, FEATURES, HIDDEN)))
        return m.apply("mul", gate, m.apply("tanh", new))

    program = Program(other, 1, x=("b", FEATURES), h=("b", HIDDEN), c=("b", HIDDEN))
    graph = to_graph(program)
    assert "lstm" not in ops(graph)
    agrees(program, graph, SIZES)


def test_weights_that_differ_at_a_step() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        state = zeros(m, x, 2)
        for t in range(STEPS):
            state = lstm(m, m.take(x, t, 1), state, 50 if t == 4 else 0)
        return state[0]

    program = Program(function, 1, x=("b", STEPS, FEATURES))
    graph = to_graph(program)
    assert ops(graph).count("lstm") != 1
    agrees(program, graph, SIZES)


def test_a_first_step_that_is_another_is_no_layer() -> None:
    """The state after the first step is not what the cell makes of zeros."""

    def function(m: Machine, x: Tensor) -> Any:
        first = product(m, m.take(x, 0, 1), numbers(60, FEATURES, HIDDEN))
        state = [m.apply("tanh", first), first]
        for t in range(1, STEPS):
            state = lstm(m, m.take(x, t, 1), state)
        return state[0]

    program = Program(function, 1, x=("b", STEPS, FEATURES))
    graph = to_graph(program)
    agrees(program, graph, SIZES)


def rnn(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
    total = m.apply(
        "add", product(m, x, numbers(70, x.shape[1], HIDDEN)), product(m, state[0], numbers(71, HIDDEN, HIDDEN))
    )
    return [m.apply("tanh", total)]


def independent(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
    """Of each unit its own last result alone (Li et al. 2018)."""
    own = m.apply("mul", m.constant(numbers(72, HIDDEN)), state[0])
    return [m.apply("relu", m.apply("add", product(m, x, numbers(73, x.shape[1], HIDDEN)), own))]


def minimal(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
    """Gates that read the input alone (Feng et al. 2024)."""
    z = m.apply("sigmoid", product(m, x, numbers(74, x.shape[1], HIDDEN), numbers(75, HIDDEN)))
    left = m.apply("sub", m.constant(np.float32(1)), z)
    new = product(m, x, numbers(76, x.shape[1], HIDDEN))
    return [m.apply("add", m.apply("mul", left, state[0]), m.apply("mul", z, new))]


def smooth(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
    """A filter: a part of the last result, and the input's."""
    new = product(m, x, numbers(77, x.shape[1], HIDDEN))
    return [m.apply("add", m.apply("mul", state[0], m.constant(np.float32(0.9))), new)]


def peephole(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
    h, c = state
    weight = numbers(78, x.shape[1], 4 * HIDDEN), numbers(79, HIDDEN, 4 * HIDDEN)
    i, f, g, o = parts(m, m.apply("add", product(m, x, weight[0]), product(m, h, weight[1])), 4)

    def seen(gate: Tensor, cell: Tensor, seed: int) -> Tensor:
        by: Tensor = m.apply("add", gate, m.apply("mul", m.constant(numbers(seed, HIDDEN)), cell))
        made: Tensor = m.apply("sigmoid", by)
        return made

    new = m.apply("mul", seen(i, c, 80), m.apply("tanh", g))
    new = m.apply("add", m.apply("mul", seen(f, c, 81), c), new)
    return [m.apply("mul", seen(o, new, 82), m.apply("tanh", new)), new]


def word(op: str, gates: int, **options: Any) -> Callable[..., list[Tensor]]:
    """A cell as front ends have PyTorch's: a layer over one step."""

    def cell(m: Machine, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        shapes = {"w_ih": (gates * HIDDEN, x.shape[1]), "w_hh": (gates * HIDDEN, HIDDEN)}
        shapes |= {"b_ih": (gates * HIDDEN,), "b_hh": (gates * HIDDEN,)}
        weights = {name: numbers(83 + k, *shape) for k, (name, shape) in enumerate(shapes.items())}
        wide = [m.apply("unsqueeze", t, axes=(0,)) for t in (x, *state)]
        _, *new = m.apply(op, *wide, weights=weights, hidden_size=HIDDEN, **options)
        return [m.apply("squeeze", t, axes=(0,)) for t in new]

    return cell


LOOPS: dict[str, tuple[Callable[..., list[Tensor]], int, str]] = {
    "lstm": (lstm, 2, "lstm"),
    "gru": (gru, 1, "gru"),
    "rnn": (rnn, 1, "rnn"),
    "independent": (independent, 1, "rnn"),
    "minimal": (minimal, 1, "lstm"),
    "smooth": (smooth, 1, "rnn"),
    "peephole": (peephole, 2, "lstm"),
    "lstm of torch": (word("lstm", 4), 2, "lstm"),
    "gru of torch": (word("gru", 3), 1, "gru"),
    "gru of Keras": (word("gru", 3, reset_after=False), 1, "gru"),
    "rnn of torch": (word("rnn", 1), 1, "rnn"),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("backwards", [False, True])
def test_any_number_of_steps(name: str, backwards: bool) -> None:
    """A loop over as many steps as there are, with layers in a step: its results put together, and its ends."""
    cell, n, op = LOOPS[name]

    def function(m: Machine, x: Tensor) -> Any:
        state, outs = zeros(m, x, n), []
        for t in range(x.shape[1])[:: -1 if backwards else 1]:
            xt = m.apply("relu", product(m, m.take(x, t, 1), numbers(20, FEATURES, 7), numbers(21, 7)))
            state = cell(m, xt, state)
            outs.append(product(m, state[0], numbers(22, HIDDEN, 3)))
        return m.stack(outs[:: -1 if backwards else 1], 1), *state

    program = Program(function, 1 + n, x=("b", "t", FEATURES))
    graph = to_graph(program)
    assert ops(graph).count(op) == 1
    assert "flatten" not in ops(graph)
    agrees(program, graph, ({"b": 1, "t": 9}, {"b": 5, "t": 30}))


def test_both_directions_at_once() -> None:
    """Steps of two loops side by side."""

    def function(m: Machine, x: Tensor) -> Any:
        steps, outs = x.shape[1], []
        for order in (range(steps), range(steps - 1, -1, -1)):
            state, made = zeros(m, x, 1), {}
            for t in order:
                state = gru(m, m.take(x, t, 1), state)
                made[t] = state[0]
            outs.append(made)
        return m.stack([m.apply("concat", *(made[t] for made in outs), axis=1) for t in range(steps)], 1)

    program = Program(function, 1, x=("b", "t", FEATURES))
    graph = to_graph(program)
    assert ops(graph).count("gru") == 2
    agrees(program, graph, ({"b": 1, "t": 9}, {"b": 5, "t": 30}))


def test_a_loop_of_no_known_cell_is_refused() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        (h,), outs = zeros(m, x, 1), []
        for t in range(x.shape[1]):
            h = m.apply("sin", m.apply("mul", h, product(m, m.take(x, t, 1), numbers(90, FEATURES, HIDDEN))))
            outs.append(h)
        return m.stack(outs, 1)

    with pytest.raises(ConvertError, match="no recurrent cell of a known kind"):
        to_graph(Program(function, 1, x=("b", "t", FEATURES)))


def test_what_is_multiplied_ahead_of_a_loop() -> None:
    """As Core ATen has layers: one product for all steps, then a cell that reads its parts."""

    def function(m: Machine, x: Tensor) -> Any:
        ahead = product(m, x, numbers(91, FEATURES, 4 * HIDDEN), numbers(92, 4 * HIDDEN))
        (h, c), outs = zeros(m, x, 2), []
        for t in range(STEPS):
            total = m.apply("add", m.take(ahead, t, 1), product(m, h, numbers(93, HIDDEN, 4 * HIDDEN)))
            i, f, g, o = parts(m, total, 4)
            new = m.apply("mul", m.apply("sigmoid", i), m.apply("tanh", g))
            c = m.apply("add", m.apply("mul", m.apply("sigmoid", f), c), new)
            h = m.apply("mul", m.apply("sigmoid", o), m.apply("tanh", c))
            outs.append(h)
        return m.stack(outs, 1)

    program = Program(function, 1, x=("b", STEPS, FEATURES))
    graph = to_graph(program)
    assert ops(graph) == ["lstm"]
    agrees(program, graph, SIZES)


def test_a_layer_over_parts_of_each_row() -> None:
    """A batch of rows times frequencies, as dual-path networks have it: a layer for each, with the same weights."""

    def function(m: Machine, x: Tensor) -> Any:
        rows, steps, bands, size = x.shape
        folded = m.apply("reshape", m.apply("permute", x, axes=(1, 0, 2, 3)), sizes=(steps, rows * bands, size))
        shapes = {"w_ih": (3 * HIDDEN, size), "w_hh": (3 * HIDDEN, HIDDEN)}
        weights = {name: numbers(95, *shape) for name, shape in shapes.items()}
        y, last = m.apply("gru", folded, weights=weights, hidden_size=HIDDEN)
        apart = m.apply("reshape", y, sizes=(steps, rows, bands, HIDDEN))
        ends = m.apply("reshape", last, sizes=(rows, bands * HIDDEN))
        return m.apply("permute", apart, axes=(1, 0, 2, 3)), ends

    program = Program(function, 2, x=("b", "t", 4, 3))
    graph = to_graph(program)
    assert ops(graph).count("gru") == 4
    agrees(program, graph, ({"b": 1, "t": 9}, {"b": 5, "t": 30}))


def test_a_layer_over_several_steps_of_each() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        rows, steps, _ = x.shape
        cut = m.apply("permute", m.apply("reshape", x, sizes=(rows, steps, 2, 3)), axes=(1, 2, 0, 3))
        shapes = {"w_ih": (3 * HIDDEN, 3), "w_hh": (3 * HIDDEN, HIDDEN)}
        weights = {name: numbers(96, *shape) for name, shape in shapes.items()}
        joined = m.apply("reshape", cut, sizes=(2 * steps, rows, 3))
        return m.apply("permute", m.apply("gru", joined, weights=weights, hidden_size=HIDDEN)[0], axes=(1, 0, 2))

    program = Program(function, 1, x=("b", "t", FEATURES))
    graph = to_graph(program)
    assert ops(graph) == ["unflatten", "gru"]
    agrees(program, graph, ({"b": 1, "t": 9}, {"b": 5, "t": 30}))
