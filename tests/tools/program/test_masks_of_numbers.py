"""Masks that a program makes of numbers: steps that hold another number than that of padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import F4, Program
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

import lstm_rt
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

X = ("b", "t", 3)


def number(m: Machine, value: float) -> Tensor:
    return m.constant(np.float32(value))


def any_differs(m: Machine, x: Tensor) -> Tensor:
    differs = m.apply("cast", m.apply("ne", x, number(m, -1.0)), dtype=F4)
    return m.apply("max", differs, axes=(-1,), keepdims=True)


def not_all_equal(m: Machine, x: Tensor) -> Tensor:
    return m.apply("logical_not", m.apply("min", m.apply("eq", x, number(m, -1.0)), axes=(2,), keepdims=True))


def of_one_feature(m: Machine, x: Tensor) -> Tensor:
    return m.apply("ne", m.apply("slice", x, axis=2, start=1, stop=2, step=1), number(m, -1.0))


def zeroed(m: Machine, x: Tensor, mask: Tensor) -> Tensor:
    mask = m.apply("cast", mask, dtype=np.dtype(bool))
    return m.apply("where", mask, m.apply("add", x, number(m, 2.0)), number(m, 0.0))


@pytest.mark.parametrize("mask", [any_differs, not_all_equal, of_one_feature])
def test_steps_that_hold_another_number(mask: Callable[..., Tensor]) -> None:
    program = Program(lambda m, x: zeroed(m, x, mask(m, x)), 1, x=X)
    graph = to_graph(program)
    assert "mask_values" in [n.op for n in graph.nodes]
    x = np.random.default_rng(0).standard_normal((4, 9, 3)).astype(F4)
    x[np.random.default_rng(1).random((4, 9)) < 0.4] = -1
    x[0, 0, 0] = x[1, 1, :2] = -1  # not the whole step
    np.testing.assert_allclose(lstm_rt.Model(dumps(graph))(x), program.numbers([x])["y0"], atol=1e-6)


@pytest.mark.parametrize(
    "mask",
    [
        lambda m, x: m.apply("min", m.apply("ne", x, number(m, -1.0)), axes=(2,), keepdims=True),
        lambda m, x: m.apply("max", m.apply("ne", x, number(m, -1.0)), axes=(1,), keepdims=True),
        lambda m, x: m.apply("ne", x, number(m, -1.0)),
    ],
    ids=["all_differ", "over_steps", "each_number"],
)
def test_other_comparisons_are_numbers(mask: Callable[..., Tensor]) -> None:
    program = Program(lambda m, x: zeroed(m, x, mask(m, x)), 1, x=X)
    x = np.random.default_rng(0).standard_normal((4, 9, 3)).astype(F4)
    x[np.random.default_rng(1).random((4, 9, 3)) < 0.4] = -1
    x[1, :, 2] = -1
    np.testing.assert_allclose(lstm_rt.Model(dumps(to_graph(program)))(x), program.numbers([x])["y0"], atol=1e-6)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ConvertError, match="no finite number"):
        to_graph(Program(lambda m, x: zeroed(m, x, m.apply("ne", x, number(m, np.nan))), 1, x=X))


def test_what_follows_no_mask_is_found_out() -> None:
    """Masked steps are among those that are compared: in these the program gives something else than the rules say."""
    gone = Program(lambda m, x: zeroed(m, x, any_differs(m, x)), 1, x=X)
    calls: list[int] = []

    def function(m: Machine, x: Tensor) -> Any:
        calls.append(1)
        y = gone.run(m, [x])[0]
        unlabelled = type(m) is Machine and np.any(np.all(x.data == -1, -1))
        return m.apply("add", y, number(m, 1.0)) if unlabelled else y

    with pytest.raises(ConvertError, match="differs from the file's by 1"):
        to_graph(Program(function, 1, x=X))
