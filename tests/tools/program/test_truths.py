"""Comparisons, choices by them and places of the largest, which depend on the numbers of inputs, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import F4, I8, Program
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

import lstm_rt
from lstm_rt.errors import ConvertError
from lstm_rt.format import dumps

BOOL = np.dtype(bool)
TABLE = np.random.default_rng(3).standard_normal((5, 4)).astype(F4)
PER_FEATURE = np.array([-0.5, 0.0, 0.5, 1.0, 2.0], F4)


def number(m: Machine, value: float) -> Tensor:
    return m.constant(np.float32(value))


def floats(m: Machine, truth: Tensor) -> Tensor:
    return m.apply("cast", truth, dtype=F4)


def looked_up(m: Machine, x: Tensor) -> Tensor:
    return m.apply("index_select", m.constant(TABLE), m.apply("argmax", x, axis=-1), axis=0)


def elu(m: Machine, x: Tensor) -> Tensor:
    far = m.apply("sub", m.apply("exp", m.apply("mul", x, number(m, 100.0))), number(m, 1.0))  # overflows above 0
    return m.apply("where", m.apply("gt", x, number(m, 0.0)), x, far)


PROGRAMS: dict[str, Callable[[Machine, Tensor], Tensor]] = {
    **{
        word: lambda m, x, word=word: floats(m, m.apply(word, x, m.constant(PER_FEATURE)))
        for word in ("gt", "ge", "lt", "le", "eq", "ne")
    },
    "number first": lambda m, x: floats(m, m.apply("lt", number(m, 0.5), x)),
    "two features": lambda m, x: floats(m, m.apply("ge", x, m.apply("flip", x, axis=2))),
    "as booleans": lambda m, x: m.apply("gt", x, number(m, 0.5)),
    "not": lambda m, x: floats(m, m.apply("logical_not", m.apply("gt", x, number(m, 0.5)))),
    "and": lambda m, x: floats(
        m, m.apply("logical_and", m.apply("gt", x, number(m, -0.5)), m.apply("lt", x, number(m, 0.5)))
    ),
    "or": lambda m, x: floats(
        m, m.apply("logical_or", m.apply("lt", x, number(m, -0.5)), m.apply("gt", x, number(m, 0.5)))
    ),
    "how many": lambda m, x: floats(
        m, m.apply("sum", m.apply("cast", m.apply("gt", x, number(m, 0.0)), dtype=I8), axes=(1,), keepdims=False)
    ),
    "elu": elu,
    "choice of numbers": lambda m, x: m.apply(
        "where", m.apply("gt", x, number(m, 0.0)), m.constant(PER_FEATURE), number(m, -np.inf)
    ),
    "all differ": lambda m, x: floats(m, m.apply("min", m.apply("ne", x, number(m, 0.5)), axes=(2,), keepdims=False)),
    "where it differs": lambda m, x: m.apply("mul", floats(m, m.apply("ne", x, number(m, 0.5))), x),
    "differs and more": lambda m, x: floats(
        m, m.apply("logical_and", m.apply("ne", x, number(m, 0.5)), m.apply("gt", x, number(m, 0.0)))
    ),
    "argmax": lambda m, x: floats(m, m.apply("argmax", x, axis=2, keepdims=True)),
    "argmax of whole numbers": lambda m, x: m.apply("argmax", x, axis=2),
    "looked up": looked_up,
    "one hot": lambda m, x: m.apply("one_hot", m.apply("argmax", x, axis=2), depth=6, on=2.0, off=-1.0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_numbers_that_are_asked(name: str) -> None:
    program = Program(lambda m, x: PROGRAMS[name](m, x), 1, x=("b", "t", 5))
    graph = to_graph(program)
    told = {"as booleans": "1 for true and 0 for false", "argmax of whole numbers": "whole numbers"}.get(name)
    assert graph.meta.get("notes", []) == ([f"output 'y0' holds {told}, as float32"] if told else [])
    model = lstm_rt.Model(dumps(graph))
    x = np.round(2 * np.random.default_rng(0).standard_normal((4, 9, 5)).astype(F4)) / 2  # many are equal
    want = np.asarray(program.numbers([x])["y0"], F4)
    np.testing.assert_array_equal(model(x), np.clip(want, np.finfo(F4).min, None))


def test_ids_compared_with_all_that_there_are() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        wide = m.apply("unsqueeze", x, axes=(2,))
        truth = m.apply("cast", m.apply("eq", wide, m.constant(np.arange(5))), dtype=I8)
        return m.apply("matmul", floats(m, truth), m.constant(TABLE))

    program = Program(function, 1, x=(("b", "t"), I8))
    ids = np.array([[0, 4, 2], [3, 3, 1]])
    np.testing.assert_array_equal(lstm_rt.Model(dumps(to_graph(program)))(ids.astype(np.int32)), TABLE[ids])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: floats(m, m.apply("gt", x, number(m, np.inf))), "gt: of features with what is no finite number"),
        (
            lambda m, x: m.apply("where", m.apply("gt", x, number(m, 0.0)), x, number(m, np.nan)),
            "where: a choice of what is not a number",
        ),
        (
            lambda m, x: floats(m, m.apply("div", m.apply("argmax", x, axis=2, keepdims=True), m.constant(2))),
            "div: of whole numbers or truths",
        ),
        (lambda m, x: floats(m, m.apply("argmax", x, axis=1)), "argmax.* of anything but features"),
    ],
)
def test_what_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        to_graph(Program(function, 1, x=("b", "t", 5)))
