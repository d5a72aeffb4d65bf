"""Inputs that are single whole numbers are set when a program is converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.function_programs import I8, Program, agrees
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor
from lstm_rt_tools.program.settings import Set

from lstm_rt.errors import ConvertError

X = ("b", "t", 3)


def two_networks(m: Machine, x: Tensor, rate: Tensor) -> Any:
    """Twice as much at a rate of 16000, three times at 8000."""
    for value, factor in ((16000, 2), (8000, 3)):
        asked = m.apply("eq", m.apply("cast", rate, dtype=np.dtype(np.int64)), m.constant(np.int64(value)))
        if bool(m.number(asked, "the rate")):
            return m.apply("mul", x, m.constant(np.float32(factor)))
    raise m.error("if", "no such rate")


def program(function: Any = two_networks) -> Program:
    return Program(function, 1, x=X, rate=((), I8))


@pytest.mark.parametrize(("rate", "factor"), [(16000, 2.0), (8000, 3.0)])
def test_a_setting_chooses(rate: int, factor: float) -> None:
    graph = to_graph(program(), {"rate": rate})
    assert [graph.values[v].name for v in graph.inputs] == ["x"]
    assert graph.nodes[-1].attrs["activation"].alpha == factor
    assert graph.meta["settings"] == {"rate": rate}
    assert "notes" not in graph.meta
    whole = Set(program(), {"rate": rate})
    fixed = Program(lambda m, x: whole.run(m, [x]), 1, x=X)
    agrees(fixed, graph)


def test_without_it_what_the_program_asks_for_is_chosen_and_told() -> None:
    graph = to_graph(program())
    assert graph.meta["settings"] == {"rate": 16000}
    assert any("rate is 16000" in note and "--set rate=" in note for note in graph.meta["notes"])


def test_a_setting_that_plays_no_part() -> None:
    graph = to_graph(program(lambda m, x, rate: m.apply("tanh", x)))
    assert [n.op for n in graph.nodes] == ["activation"]


def test_what_nothing_tells_must_be_given() -> None:
    def function(m: Machine, x: Tensor, rate: Tensor) -> Any:
        return m.apply("mul", x, m.constant(np.float32(int(m.number(rate, "the rate")))))

    with pytest.raises(ConvertError, match=r"'rate' is a single whole number.*--set rate="):
        to_graph(program(function))
    assert to_graph(program(function), {"rate": 5}).nodes[-1].attrs["activation"].alpha == 5


def test_what_is_no_setting_is_named() -> None:
    with pytest.raises(ConvertError, match=r"'speed' is no setting of the model.*: rate"):
        to_graph(program(), {"speed": 1})


def test_a_value_that_the_program_does_not_know() -> None:
    with pytest.raises(ConvertError, match="no such rate"):
        to_graph(program(), {"rate": 44100})


def test_a_source_with_settings_says_what_it_is_as_before() -> None:
    """Its name in messages, the sizes that it asks for, though it learns them as it runs, and those to compare at."""
    asking = program()
    asking.called, asking.live, asking.also = "the module", True, ((1, 1),)

    def function(m: Machine, x: Tensor, rate: Tensor) -> Any:
        asking.hints = (17,)
        raise ConvertError("it does not run")

    asking._function = function
    whole = Set(asking, {"rate": 16000})
    with pytest.raises(ConvertError, match="does not run"):
        whole.run(Machine(), [Tensor(np.zeros((2, 5, 3), np.float32))])
    assert (whole.called, whole.live, whole.also, whole.hints) == ("the module", True, ((1, 1),), (17,))


@pytest.mark.parametrize("size", [4, 6])
def test_the_size_of_an_input_is_set(size: int) -> None:
    def function(m: Machine, x: Tensor) -> Any:
        return m.apply("tanh", x)

    source = Program(function, 1, x=("b", "t", "f"))
    with pytest.raises(ConvertError, match=r"x has 3 sizes that are free.*--set x\.2="):
        to_graph(source)
    graph = to_graph(source, {"x.2": size})
    assert graph.values[graph.inputs[0]].shape("N", "T") == ("N", "T", size)
    agrees(Program(function, 1, x=("b", "t", size)), graph)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"x.3": 5}, "'x' has 3 dimensions, none 3"),
        ({"x.2": 5}, "dimension 2 of the input 'x' is 3, not 5"),
        ({"x.1": 0}, "a size is 1 or more"),
        ({"y.1": 5}, "'y.1' is no setting"),
    ],
)
def test_a_size_that_cannot_be(settings: dict[str, int], why: str) -> None:
    with pytest.raises(ConvertError, match=why):
        to_graph(Program(lambda m, x: m.apply("tanh", x), 1, x=X), settings)
