"""Numbers that programs make of how many steps there are, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor


def total(m: Machine, x: Tensor) -> Tensor:
    result: Tensor = m.apply("sum", m.apply("tanh", x), axes=(1,))
    return result


def by(m: Machine, word: str, x: Tensor, number: float) -> Any:
    return m.apply(word, x, m.constant(np.float32(number)))


PROGRAMS: dict[str, Callable[[Machine, Tensor], Any]] = {
    "mean": lambda m, x: by(m, "div", total(m, x), x.shape[1]),
    "root": lambda m, x: by(m, "div", total(m, x), x.shape[1] ** 0.5),
    "without one": lambda m, x: by(m, "div", total(m, x), x.shape[1] - 1),
    "inverse": lambda m, x: by(m, "mul", total(m, x), 1 / x.shape[1]),
    "times": lambda m, x: m.apply("mul", m.constant(np.float32(x.shape[1])), total(m, x)),
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


def test_a_fixed_number_of_steps_is_a_number() -> None:
    program = Program(PROGRAMS["mean"], 1, x=("b", 12, 3))
    assert "div" not in [n.op for n in to_graph(program).nodes]
