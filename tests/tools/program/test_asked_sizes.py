"""Programs that say that steps are free, and have a product over those of all of a certain number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

from lstm_rt.errors import ConvertError

W = np.random.default_rng(0).standard_normal((27, 2)).astype(np.float32)


def flattened(m: Machine, x: Tensor) -> Any:
    """The features of 9 steps side by side."""
    flat = m.apply("reshape", m.apply("tanh", x), sizes=(x.shape[0], x.shape[1] * x.shape[2]))
    return m.apply("matmul", flat, m.constant(W))


def test_a_product_asks_for_steps() -> None:
    program = Program(flattened, 1, x=("b", "t", 3))
    graph = to_graph(program)
    assert [n.op for n in graph.nodes] == ["activation", "flatten", "dense"]
    assert graph.meta["notes"] == ["the model takes 9 steps only, as the file does"]
    agrees(program, graph, ({"b": 1, "t": 9}, {"b": 5, "t": 9}))


def test_a_product_that_no_number_of_steps_fits() -> None:
    with pytest.raises(ConvertError, match=r"matmul: it does not fit arrays of the shapes \(3, 115\), \(27, 2\)"):
        to_graph(Program(flattened, 1, x=("b", "t", 5)))


def test_steps_of_which_only_one_is_taken() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        if x.shape[1] != 1:
            raise m.error("split", f"parts of the sizes [1] of {x.shape[1]}")
        return m.apply("tanh", m.apply("matmul", x, m.constant(W[:3])))

    graph = to_graph(Program(function, 1, x=("b", "t", 3)))
    assert any("leaves dimension 1 of x free, and runs with 1 there alone" in note for note in graph.meta["notes"])
