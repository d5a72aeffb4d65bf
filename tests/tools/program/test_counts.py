"""Numbers that programs make of how many steps there are, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

from lstm_rt.errors import ConvertError


def total(m: Machine, x: Tensor) -> Tensor:
    result: Tensor = m.apply("sum", m.apply("tanh", x), axes=(1,))
    return result


def by(m: Machine, word: str, x: Tensor, number: float) -> Any:
    return m.apply(word, x, m.constant(np.float32(number)))


def places(m: Machine, x: Tensor, first: float = 0.0) -> np.ndarray:
    """The numbers of the steps, ``(1, T, 1)``."""
    return (np.arange(x.shape[1], dtype=np.float32) + np.float32(first))[None, :, None]


def joined(m: Machine, x: Tensor, numbers: np.ndarray) -> Any:
    wide = np.broadcast_to(numbers, (x.shape[0], *numbers.shape[1:]))
    return m.apply("concat", x, m.constant(wide), axis=2)


PROGRAMS: dict[str, Callable[[Machine, Tensor], Any]] = {
    "mean": lambda m, x: by(m, "div", total(m, x), x.shape[1]),
    "root": lambda m, x: by(m, "div", total(m, x), x.shape[1] ** 0.5),
    "without one": lambda m, x: by(m, "div", total(m, x), x.shape[1] - 1),
    "inverse": lambda m, x: by(m, "mul", total(m, x), 1 / x.shape[1]),
    "times": lambda m, x: m.apply("mul", m.constant(np.float32(x.shape[1])), total(m, x)),
    "numbers of steps": lambda m, x: m.apply("mul", x, m.constant(places(m, x))),
    "parts of all steps": lambda m, x: m.apply("mul", m.constant(places(m, x) / np.float32(x.shape[1])), x),
    "middles of steps": lambda m, x: joined(m, x, (places(m, x, 0.5) / np.float32(x.shape[1])).astype(np.float32)),
    "from 0 to 1": lambda m, x: joined(m, x, np.linspace(0, 1, x.shape[1], dtype=np.float32)[None, :, None]),
    "added": lambda m, x: m.apply("add", x, m.constant(places(m, x) * np.float32(-0.1))),
    "each step": lambda m, x: by(m, "div", m.apply("tanh", x), x.shape[1]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_made_of_the_number_of_steps(name: str) -> None:
    program = Program(PROGRAMS[name], 1, x=("b", "t", 3))
    agrees(program, to_graph(program))


def test_the_number_of_steps_that_are_left() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        y = m.apply("slice", x, axis=1, start=2, stop=None, step=1)
        return by(m, "div", total(m, y), y.shape[1])

    program = Program(function, 1, x=("b", "t", 3))
    agrees(program, to_graph(program))


def test_a_number_that_is_by_chance_that_of_a_run() -> None:
    program = Program(lambda m, x: by(m, "div", total(m, x), 23), 1, x=("b", "t", 3))
    agrees(program, to_graph(program))


def test_other_numbers_of_steps_are_refused() -> None:
    program = Program(lambda m, x: m.apply("mul", x, m.constant(places(m, x) ** 2)), 1, x=("b", "t", 3))
    with pytest.raises(ConvertError, match="numbers that differ from step to step"):
        to_graph(program)


def test_a_fixed_number_of_steps_is_a_number() -> None:
    program = Program(PROGRAMS["mean"], 1, x=("b", 12, 3))
    assert "div" not in [n.op for n in to_graph(program).nodes]


@pytest.mark.parametrize("index", [-1, -2, -5])
@pytest.mark.parametrize("how", ["take", "slice", "index_select"])
def test_a_step_counted_from_the_end(how: str, index: int) -> None:
    def function(m: Machine, x: Tensor) -> Any:
        y = m.apply("tanh", x)
        if how == "take":
            return m.take(y, index, 1)
        if how == "slice":
            return m.apply("slice", y, axis=1, start=index, stop=index + 1 or None, step=1)
        return m.apply("index_select", y, m.constant(np.int64(index)), axis=1)

    program = Program(function, 1, x=("b", "t", 3))
    agrees(program, to_graph(program))


def test_unbiased_variance_over_steps() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        away = m.apply("square", m.apply("sub", x, m.apply("mean", x, axes=(1,), keepdims=True)))
        return by(m, "mul", m.apply("mean", away, axes=(1,)), x.shape[1] / (x.shape[1] - 1))

    program = Program(function, 1, x=("b", "t", 3))
    agrees(program, to_graph(program))
