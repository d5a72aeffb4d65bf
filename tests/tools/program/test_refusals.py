"""What no model can be made of is refused by name, in bounded time; what would give other numbers never passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.function_programs import I8, Program
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, ProgramError, Tensor

from lstm_rt.errors import ConvertError

X = ("b", "t", 6)
IDS = (("b", "t"), I8)
N = (("b",), I8)
RNN = {"w_ih": np.eye(6, dtype=np.float32), "w_hh": np.eye(6, dtype=np.float32) / 2}
ONE, ZERO = np.float32(1), np.float32(0)


def rnn(m: Machine, x: Tensor, *more: Tensor | None, **options: Any) -> Any:
    options = {"weights": RNN, "hidden_size": 6, "batch_first": True, **options}
    return m.apply("rnn", x, *more, **options)[0]


def named(m: Machine, word: str, *args: Any, **options: Any) -> Any:
    with m.layer("net"), m.layer("head"):
        return m.apply(word, *args, **options)


def _numbers(shape: Sequence[int]) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "unknown word": (lambda m, x: named(m, "einsum", x), {"x": X}, r"einsum \(net/head\): it is not in the vocabulary"),
    "arrays that do not fit": (
        lambda m, x: named(m, "matmul", x, m.constant(np.ones((5, 2)))),
        {"x": X},
        r"matmul \(net/head\): it does not fit arrays of the shapes \(3, 23, 6\), \(5, 2\)",
    ),
    "unknown option": (lambda m, x: named(m, "tanh", x, beta=2), {"x": X}, r"tanh \(net/head\): .*takes no beta"),
    "absurd size": (
        lambda m, x: named(m, "expand", m.apply("sum", x), sizes=(1 << 20, 1 << 20)),
        {"x": X},
        r"expand \(net/head\): its result would have \d+ elements|sum: it goes over the batch",
    ),
    "argmax of rows": (
        lambda m, x: named(m, "mul", m.apply("argmax", x, axis=0, keepdims=True), x), {"x": X},
        r"\(argmax\) of anything but features is not supported \(mul reads it\)",
    ),
    "a number that is rounded": (
        lambda m, x: named(m, "mul", m.apply("cast", x, dtype=np.dtype(np.int64)), x), {"x": X},
        r"rounded to integers are not supported \(mul reads it\)",
    ),
    "control flow by features": (
        lambda m, x: m.constant(m.number(m.apply("sum", x, axes=(1, 2)), "a branch")), {"x": X},
        r"a branch: it depends on the numbers of an input",
    ),
    "mean over the batch": (
        lambda m, x: named(m, "mean", rnn(m, x), axes=(0,)), {"x": X}, r"mean \(net/head\): it goes over the batch"
    ),
    "rows of the batch": (
        lambda m, x: named(m, "slice", rnn(m, x), axis=0, start=1, stop=None, step=1), {"x": X},
        r"slice \(net/head\): it takes some rows of the batch",
    ),
    "batch and steps mixed": (
        lambda m, x: named(m, "reshape", rnn(m, x), sizes=(9, -1, 2)), {"x": X},
        r"reshape \(net/head\): \(the batch, the steps, 6 features\) to 9 x 23 x 2 cuts through",
    ),
    "numbers per step": (
        lambda m, x: named(m, "add", rnn(m, x), m.constant(_numbers((x.shape[1], 1)) ** 3)), {"x": X},
        r"add \(net/head\): numbers that differ from step to step are not supported",
    ),
    "numbers per row": (
        lambda m, x: named(m, "add", rnn(m, x), m.constant(_numbers((x.shape[0], 1, 1)))), {"x": X},
        r"add \(net/head\): numbers that differ from row to row are not supported",
    ),
    "two sequences joined": (
        lambda m, x: named(m, "concat", rnn(m, x), rnn(m, x), axis=1), {"x": X},
        r"concat \(net/head\): sequences one after the other are not supported",
    ),
    "many other steps beside": (
        lambda m, x: named(m, "concat", m.constant(np.repeat(_numbers((1, 9, 6)), x.shape[0], 0)), rnn(m, x), axis=1),
        {"x": X},
        r"concat \(net/head\): a sequence with 9 steps of other numbers beside it",
    ),
    "two numbers of steps": (
        lambda m, x: named(m, "add", m.apply("slice", x, axis=1, stop=8), m.apply("slice", x, axis=1, step=3)),
        {"x": X},
        r"add \(net/head\): it combines the steps with the steps of another number",
    ),
    "steps backwards": (
        lambda m, x: named(m, "slice", rnn(m, x), axis=1, start=None, stop=None, step=-2), {"x": X},
        r"slice \(net/head\): of steps backwards, other than all of them",
    ),
    "steps from both ends": (
        lambda m, x: named(m, "slice", rnn(m, x), axis=1, start=-60, stop=100, step=1), {"x": X},
        r"slice \(net/head\): from a step counted from the end to one counted from the start",
    ),
    "steps by number": (
        lambda m, x: named(m, "index_select", rnn(m, x), m.constant(np.array([2, 0])), axis=1), {"x": X},
        r"index_select \(net/head\): several steps of a sequence by their numbers",
    ),
    "ids as features": (
        lambda m, ids: named(m, "tanh", m.apply("cast", ids, dtype=np.float32)), {"ids": IDS},
        r"tanh \(net/head\): it reads token ids where features are expected",
    ),
    "lengths that are computed": (
        lambda m, x, n: named(m, "rnn", x, None, m.apply("div", n, m.constant(np.int64(2))), weights=RNN, hidden_size=6,
                              batch_first=True)[0],
        {"x": X, "n": N},
        r"rnn \(net/head\): lengths that are computed|div of token ids or lengths",
    ),
    "an axis of the batch": (
        lambda m, x: named(m, "rnn", rnn(m, x), None, None, weights=RNN, hidden_size=6)[0], {"x": X},
        r"rnn \(net/head\): it reads its input as the steps, the batch, features, but that is the batch, the steps",
    ),
    "channels that are steps": (
        lambda m, x: named(m, "conv", x, m.constant(_numbers((2, 23, 3)))), {"x": ("batch", "time", 6)},
        r"conv \(net/head\): its channels are the steps",
    ),
    "transposed over the batch": (
        lambda m, x: named(m, "conv_transpose", m.apply("permute", rnn(m, x), axes=(1, 2, 0)),
                           m.constant(_numbers((6, 2, 3))), stride=(2,)),
        {"x": X},
        r"conv_transpose \(net/head\): it goes over the batch",
    ),
    "scores over the queries": (
        lambda m, x: m.apply("matmul", m.apply("softmax", m.apply(
            "matmul", rnn(m, x), m.apply("permute", x, axes=(0, 2, 1))), axis=-2), x),
        {"x": X},
        r"matmul: scores of attention without softmax over the keys weigh values",
    ),
    "no number to compare": (
        lambda m, x: m.apply("log", m.apply("neg", m.apply("exp", x))), {"x": X}, r"has no finite number"
    ),
    "an empty result": (
        lambda m, x: named(m, "slice", rnn(m, x), axis=1, start=5, stop=5, step=1), {"x": X},
        r"slice \(net/head\): its result is empty",
    ),
    "no cell": (
        lambda m, x: m.scan(lambda s, xs: ([m.apply("sin", m.apply("mul", s[0], xs[0]))],) * 2,
                            [m.constant(np.ones((x.shape[0], 6), np.float32))], [x], [1], [False])[1][0],
        {"x": X},
        r"scan: its body is no recurrent cell",
    ),
    "an output without inputs": (lambda m, x: m.constant(ONE), {"x": X}, r"output 'y0' is left out, as it depends on"),
    "no dimensions": (lambda m, x: m.apply("tanh", x), {"x": ()}, r"no reading of the inputs is possible: x \(\)"),
    "a dimension of none": (lambda m, x: m.apply("tanh", x), {"x": (0, 3)}, r"no reading of the inputs.*x \(0, 3\)"),
    "three free dimensions": (lambda m, x: x, {"x": ("a", None, "c")}, r"no reading of the inputs.*x \(a, \?, c\)"),
    "complex numbers": (lambda m, x: x, {"x": (("b", "t"), np.complex64)}, r"no reading of the inputs is possible"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refusals(name: str) -> None:
    function, inputs, message = CASES[name]
    program = Program(function, **inputs)
    with pytest.raises(ConvertError, match=message) as caught:
        to_graph(program)
    assert str(caught.value).isprintable()
    assert program.runs < 120


def test_outputs_of_one_name() -> None:
    with pytest.raises(ConvertError, match="two outputs are named 'y'"):
        to_graph(Program(lambda m, x: (x, m.apply("tanh", x)), ["y", "y"], x=X))


@pytest.mark.parametrize("limit", [15, 40, 90])
def test_limits_between_the_sizes_of_checks(limit: int) -> None:
    """A program that does something else for longer sequences is caught, if a check is that long."""

    def function(m: Machine, x: Tensor) -> Any:
        return m.apply("tanh" if x.shape[1] < limit else "sigmoid", rnn(m, x))

    if limit < 90:
        with pytest.raises(ConvertError, match="differs from the file's by"):
            to_graph(Program(function, x=X))
    else:
        assert "of 51 steps" in to_graph(Program(function, x=X)).meta["checked"]


def test_other_lengths_at_a_batch_of_one() -> None:
    """Turning a sequence around is not turning a row around: the one row of a check is not of full length."""

    def function(m: Machine, x: Tensor, n: Tensor) -> Any:
        return rnn(m, m.apply("flip", x, axis=1), None, n)

    with pytest.raises(ConvertError, match="differs from the file's by"):
        to_graph(Program(function, x=(1, "t", 6), n=((1,), I8)))


@pytest.mark.parametrize("fixed", [False, True])
def test_a_search_ends(fixed: bool) -> None:
    """Hundreds of operations on six inputs, wrong at the end whatever these are read as."""

    def function(m: Machine, *xs: Tensor) -> Any:
        ys = []
        for x in xs:
            for _ in range(50):
                x = m.apply("tanh", x)
            ys.append(x)
        return m.constant(m.number(m.apply("concat", *ys, axis=1), "a branch"))

    shapes = {f"x{i}": (1, 7 + i, 6) if fixed else (None, None, 6) for i in range(6)}
    program = Program(function, **shapes)  # type: ignore[arg-type]
    with pytest.raises(ConvertError):
        to_graph(program)
    assert program.runs <= 50


def test_a_loop_without_end() -> None:
    def function(m: Machine, x: Tensor) -> Any:
        def turn(i: Tensor, states: Sequence[Tensor]) -> Any:
            return m.constant(True), [m.apply("tanh", states[0])], []

        return m.loop(turn, None, True, [x])[0][0]

    with pytest.raises(ProgramError, match="tanh: the program makes more than 8192 operations of a graph"):
        to_graph(Program(function, x=(1, 1)))


def test_products_that_grow() -> None:
    """What a step does is written out as sums of products, but not without end."""

    def function(m: Machine, x: Tensor) -> Any:
        def body(states: Sequence[Tensor], xs: Sequence[Tensor]) -> Any:
            h = states[0]
            for _ in range(30):
                h = m.apply("add", m.apply("mul", h, h), m.apply("add", h, xs[0]))
            return [h], [h]

        return m.scan(body, [m.constant(np.zeros((x.shape[0], 6), np.float32))], [x], [1], [False])[1][0]

    with pytest.raises(ConvertError, match="scan: its body is no recurrent cell"):
        to_graph(Program(function, x=X))
