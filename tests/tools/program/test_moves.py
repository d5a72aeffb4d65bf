"""Chains of moving operations on a labelled input give a model with the numbers that NumPy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.function_programs import Program, agrees, converted
from hypothesis import given, settings
from hypothesis import strategies as st
from lstm_rt_tools.program.convert import to_graph
from lstm_rt_tools.program.machine import Machine, Tensor

from lstm_rt.errors import ConvertError

_LETTERS = ("b", "t")


def _moved(data: st.DataObject, m: Machine, x: Tensor, names: list[str]) -> tuple[Any, list[str]]:
    """One operation as a function of the machine and the tensor, and the names of the dimensions after it."""
    free = [i for i, n in enumerate(names) if n == "f"]
    steps = names.index("t")
    word = data.draw(
        st.sampled_from(["permute", "split", "join", "slice", "flip", "concat", "repeat", "one", "steps", "pad"])
    )
    if word == "permute":
        axes = data.draw(st.permutations(range(len(names))))
        return (lambda m, x: m.apply("permute", x, axes=axes)), [names[a] for a in axes]
    if word == "steps":
        start = data.draw(st.integers(0, 2))
        return (lambda m, x: m.apply("slice", x, axis=steps, start=start, stop=None, step=1)), names
    if word == "one":
        at = data.draw(st.integers(0, len(names)))
        return (lambda m, x: m.apply("reshape", x, sizes=[*x.shape[:at], 1, *x.shape[at:]])), [
            *names[:at],
            "f",
            *names[at:],
        ]
    if not free:
        return (lambda m, x: x), names
    i = data.draw(st.sampled_from(free))
    n = x.shape[i]
    if word == "split" and n % 2 == 0:
        by = data.draw(st.sampled_from([2, n // 2]))
        return (lambda m, x: m.apply("reshape", x, sizes=[*x.shape[:i], n // by, by, *x.shape[i + 1 :]])), [
            *names[:i],
            "f",
            "f",
            *names[i + 1 :],
        ]
    if word == "join" and i + 1 in free:
        return (lambda m, x: m.apply("reshape", x, sizes=[*x.shape[:i], n * x.shape[i + 1], *x.shape[i + 2 :]])), [
            *names[:i],
            "f",
            *names[i + 2 :],
        ]
    if word == "slice":
        start, step = data.draw(st.integers(0, n - 1)), data.draw(st.sampled_from([1, 2]))
        return (lambda m, x: m.apply("slice", x, axis=i, start=start, stop=None, step=step)), names
    if word == "flip":
        return (lambda m, x: m.apply("flip", x, axis=i)), names
    if word == "concat":
        other = data.draw(st.booleans())
        return (lambda m, x: m.apply("concat", x, m.apply("flip", x, axis=i) if other else x, axis=i)), names
    if word == "repeat":
        return (lambda m, x: m.apply("repeat_interleave", x, times=2, axis=i)), names
    if word == "pad":
        mode = data.draw(st.sampled_from(["constant", "edge"]))
        pads = [(1, 2) if k == i else (0, 0) for k in range(len(names))]
        options = {"value": 0.5} if mode == "constant" else {}
        return (lambda m, x: m.apply("pad", x, pads=pads, mode=mode, **options)), names
    return (lambda m, x: x), names


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_chains(data: st.DataObject, length: int) -> None:
    m = Machine()
    x: Tensor = m.input(np.zeros((3, 23, 2, 6), np.float32))
    names, moves = ["b", "t", "f", "f"], []
    for _ in range(length):
        move, names = _moved(data, m, x, names)
        moved = move(m, x)
        if moved.data.size <= 1 << 14:
            moves.append(move)
            x = moved

    def function(m: Machine, x: Tensor) -> Tensor:
        for move in moves:
            x = move(m, x)
        return m.apply("tanh", x)  # type: ignore[no-any-return]

    converted(Program(function, x=("b", "t", 2, 6)), {"b": 1, "t": 7}, {"b": 4, "t": 30})


@pytest.mark.parametrize("sizes", [[3, 2], [2, 3], [6], [3, 2, 1], [1, 3, 2], [2, 1, 3]])
def test_features_split_another_way(sizes: list[int]) -> None:
    """What was put together of 2 and 3 features is split into 3 and 2."""

    def function(m: Machine, x: Tensor) -> Tensor:
        joined = m.apply("reshape", m.apply("tanh", x), sizes=[*x.shape[:2], 6])
        return m.apply("reshape", joined, sizes=[*x.shape[:2], *sizes])  # type: ignore[no-any-return]

    converted(Program(function, x=("b", "t", 2, 3)), {"b": 1, "t": 7}, {"b": 4, "t": 30})


LOWEST = -(2**31) + 1
BOUNDS = [None, 0, 1, 5, 22, 25, 60, 100, -1, -4, -60, 2**31 - 1, 2**63 - 1]


@pytest.mark.parametrize("start", [LOWEST, *(b for b in BOUNDS if b is None or abs(b) < 1000)])
@pytest.mark.parametrize("stop", BOUNDS)
def test_steps_of_a_slice(start: int | None, stop: int | None) -> None:
    """Bounds beyond the steps of the run that made the model hold for longer sequences; or it is refused."""
    program = Program(lambda m, x: m.apply("slice", x, axis=1, start=start, stop=stop, step=1), x=("b", "t", 3))
    try:
        graph = to_graph(program)
    except ConvertError:
        assert stop is not None
        first = None if start == LOWEST else start
        assert first is None or (first < 0 <= stop) or (first >= stop and (first < 0) == (stop < 0)) or stop == 0
        return
    least = max(abs(b) for b in (0, start or 0, stop or 0) if abs(b) < 1000)
    agrees(program, graph, [{"b": 2, "t": least + 8}, {"b": 1, "t": 3 * least + 70}])


@pytest.mark.parametrize("cut", [(0, 1), (1, 0), (5, 0), (2, 2)])
def test_slices_by_shape(cut: tuple[int, int]) -> None:
    before, after = cut

    def function(m: Machine, x: Tensor) -> Any:
        start = x.shape[1] - before if before > 2 else before
        return m.apply("tanh", m.apply("slice", x, axis=1, start=start, stop=x.shape[1] - after, step=1))

    converted(Program(function, x=("b", "t", 3)))
