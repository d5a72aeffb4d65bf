"""Streams of one model: wrong arguments, ids, states, outputs in part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.models import zeros
from helpers.small_graphs import IDS, both_ways, build, mixed, own_lengths, plain, read_only, tokens, two_axes

import lstm_rt
from lstm_rt import InputError
from lstm_rt.graph import Graph

# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [both_ways, own_lengths, two_axes])
def test_models_that_cannot_stream(make: Callable[[Graph], None]) -> None:
    model = build(make)
    assert not model.can_stream
    with pytest.raises(InputError, match="cannot stream"):
        model.stream()


@pytest.mark.parametrize("batch", [0, -1, 1.0, "2", None, True, 1 << 25])
def test_stream_batch(batch: Any) -> None:
    with pytest.raises(InputError, match=r"batch is .*expected an integer from 1 to"):
        build(plain).stream(batch)


def test_stream_threads() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        build(plain).stream(threads=0)
    with pytest.raises(TypeError):
        lstm_rt.Stream(None)


@pytest.mark.parametrize(
    ("batch", "method", "x", "out", "message"),
    [
        (2, "step", zeros(3, 4), None, r"input 'x': got float32 \(3, 4\).*\(2, 4\)"),
        (2, "step", zeros(4), None, r"got float32 \(4,\).*\(2, 4\)"),
        (2, "step", zeros(2, 5), None, r"\(2, 5\).*\(2, 4\)"),
        (2, "step", np.zeros((2, 4)), None, "got float64.*astype"),
        (2, "step", [[1.0], [2.0, 3.0]], None, "got a list"),
        (2, "step", [1.0] * 4, None, r"got float32 \(4,\).*\(2, 4\)"),
        (1, "step", zeros(3), None, r"got float32 \(3,\).*\(4,\)"),
        (1, "step", None, None, "got a NoneType"),
        (2, "step", zeros(2, 4), zeros(2, 3), r"out for 'y': got float32 \(2, 3\).*\(2, 4\)"),
        (2, "step", zeros(2, 4), read_only(zeros(2, 4)), "read-only"),
        (1, "step", zeros(4), zeros(1, 4), "out for 'y'"),
        (2, "step", zeros(2, 4), "y", "got a str"),
        (2, "feed", zeros(3, 5, 4), None, "the stream has a batch of 2, the input 3"),
        (2, "feed", zeros(5, 4), None, "the stream has a batch of 2, the input 1"),
        (2, "feed", zeros(2, 5, 3), None, r"\(N, T, 4\)"),
        (2, "feed", zeros(2, 5, 4), zeros(2, 4, 4), r"out for 'y'.*\(2, 5, 4\)"),
        (2, "feed", zeros(2, 5, 4), [zeros(2, 5, 4)] * 2, "out holds 2 arrays"),
    ],
)
def test_stream_calls(batch: int, method: str, x: Any, out: Any, message: str) -> None:
    stream = build(plain).stream(batch)
    good = np.ones((batch, 4), np.float32)
    stream.step(good)
    state = stream.state
    with pytest.raises(InputError, match=message):
        getattr(stream, method)(x, out=out)
    np.testing.assert_equal(stream.state, state)


def test_stream_ids() -> None:
    stream = build(tokens).stream(2)
    for wrong, message in (
        ([1], "input 'ids'"),
        ([[1, 2]], "input 'ids'"),
        ([1.0, 2.0], "got a list"),
        ([1, 9], r"id 9 at \[1, 0\], expected 0 to 6"),
        ([1, -1], r"id -1 at \[1, 0\]"),
        ([1, 1 << 40], "does not fit into int32"),
    ):
        with pytest.raises(InputError, match=message):
            stream.step(wrong)
    with pytest.raises(InputError, match=r"id 7 at \[0, 2\]"):
        stream.feed([[1, 2, 7], [1, 2, 3]])
    with pytest.raises(TypeError, match="2 inputs given, this model takes 1"):
        stream.step([1, 2], [1, 2])
    np.testing.assert_equal(stream.step([1, 2]), build(tokens).stream(2).step(np.array([1, 2])))


def test_stream_state() -> None:
    stream = build(mixed).stream(2)
    stream.step(zeros(2, 4) + 1)
    state = stream.state
    for wrong in (None, (), (zeros(1, 2, 4), zeros(1, 2, 3)), ((zeros(1, 2, 4),) * 2, zeros(1, 1, 3))):
        with pytest.raises(InputError, match="state"):
            stream.state = wrong
    np.testing.assert_equal(stream.state, state)


def test_stream_out_in_part() -> None:
    """None in out asks for a new array."""
    model, out = build(tokens), zeros(1, 3, 4)
    y, z = model(IDS[:1], out=(out, None))
    assert y is out
    stream = model.stream()
    a, b = stream.feed(IDS[:1], out=(out, None))
    assert a is out
    np.testing.assert_equal((a, b), (y, z))
    stream.reset()
    one = zeros(4)
    a, b = stream.step(1, out=(one, None))
    assert a is one
    np.testing.assert_equal((a, b), (y[0, 0], z[0, 0]))
