"""How a signal ends a call, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers.graphs import cell_weights
from helpers.models import LARGE, both_ways, last_state, uniform
from helpers.threads import OPENMP, forced, two_cpus

from lstm_rt import InputError, Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

# -- signals ---------------------------------------------------------------------------------------------

STEPS = 1_000_000  #: of calls that would take many seconds
SOON = 5.0  #: seconds: long after the signal on a busy machine, long before the end of the call


class Interrupted(Exception):
    """What a handler raises."""


@contextlib.contextmanager
def alarm(seconds: float, handler: Callable[[], None]) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        pytest.skip("needs timers and the main thread")
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt(call: Callable[[], Any], soon: float = SOON) -> None:
    """The call, ended by a signal that comes soon after it has begun."""

    def handler() -> None:
        raise Interrupted

    begun = time.monotonic()
    with alarm(0.2, handler), pytest.raises(Interrupted):
        call()
    assert time.monotonic() - begun < soon


def wide_dense() -> Model:
    """Nearly all of its time is one product, on the table that is slow: on x86 it rounds in software."""
    rng, g = np.random.default_rng(0), Graph()
    v = g.input("x", "seq", 4)
    back = g.recurrent("rnn", v, cell_weights(rng, "rnn", 4, 8), hidden_size=8, direction="reverse")[0]
    wide = g.dense(back, uniform(500, 8), uniform(500))
    g.output(g.select(g.dense(wide, uniform(500, 500), uniform(500), "softmax"), -1), "y")
    return Model(dumps(g), kernels="portable")


@pytest.mark.parametrize("lanes", [1, pytest.param(2, marks=OPENMP)])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: last_state(300), (1, STEPS, 4)),  # in passes; shared by panels
        (lambda: last_state(100, layers=3), (1, 4 * STEPS, 4)),  # layers side by side
        (lambda: last_state(300, "bidirectional"), (1, STEPS, 4)),  # all steps in one pass; by directions
        (lambda: last_state(300, "bidirectional"), (8, STEPS // 8, 4)),  # by rows
        (lambda: last_state(300, "reverse"), (1, STEPS, 4)),
        (wide_dense, (1, STEPS // 50, 4)),
    ],
    ids=["passes", "layers", "directions", "rows", "reverse", "dense"],
)
def test_a_signal_ends_a_long_call(make: Callable[[], Model], shape: tuple[int, ...], lanes: int) -> None:
    model, x = make(), np.ones(shape, np.float32)
    short = x[:10, :50].copy()
    want = model(short, threads=1)
    with forced(lanes if lanes > 1 else 0):
        interrupt(lambda: model(x, threads=lanes))
        assert last_lanes() == lanes
        np.testing.assert_equal(model(short, threads=lanes), want)  # the session of that call is as good as new


def test_a_signal_ends_a_long_step() -> None:
    """Of many rows, on the table that is slow: half a minute."""
    model, x = last_state(300, kernels="portable"), np.ones((20_000, 2, 4), np.float32)
    interrupt(lambda: model(x, threads=1), soon=4 * SOON)


@OPENMP
def test_a_handler_that_calls_a_model_takes_no_threads_away() -> None:
    """The call inside the call keeps out of the books of the outer one."""
    large, small = both_ways(64), both_ways(8)
    x, y = uniform(*LARGE), uniform(1, 3, 4)
    use_two_lanes = lambda: [large(x) for _ in range(20)] and last_lanes() == 2  # noqa: E731
    two_cpus()
    assert any(use_two_lanes() for _ in range(50))
    with alarm(0.05, lambda: small(y)):
        large(uniform(1, 60_000, 4))
    assert any(use_two_lanes() for _ in range(50))


def test_control_c_ends_a_long_call() -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            model(x)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < SOON


def test_a_handler_that_returns_ends_nothing() -> None:
    model = both_ways(64, threads=1)
    x = uniform(1, 60_000, 4)
    want, came = model(x), []
    begun = time.monotonic()
    with alarm(0.05, lambda: came.append(time.monotonic())):
        got = model(x)
        ended = time.monotonic()
    np.testing.assert_equal(got, want)
    if ended - begun > 0.5:
        assert came
        assert came[0] < ended


@pytest.mark.parametrize("how", ["reset", "state"])
def test_a_stream_that_was_interrupted_says_so_until_it_has_a_state(how: str) -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    short = x[:, :20].copy()
    stream, other = model.stream(), model.stream()
    want = [other.feed(short), other.feed(short)]
    stream.feed(short)
    saved = stream.state
    interrupt(lambda: stream.feed(x))
    uses: list[Callable[[], Any]] = [
        lambda: stream.step(x[0, 0]),
        lambda: stream.feed(short),
        lambda: stream.state,
    ]
    for use in uses:
        with pytest.raises(InputError, match="half-written"):
            use()
    if how == "reset":
        stream.reset()
        np.testing.assert_equal(stream.feed(short), want[0])
    else:
        stream.state = saved
    np.testing.assert_equal(stream.feed(short), want[1])


def test_a_group_whose_feed_was_interrupted_is_where_it_was() -> None:
    model, x = last_state(300), np.ones((1, STEPS, 4), np.float32)
    group, other = model.streams(3), model.streams(3)
    for g in (group, other):
        g.join()
        g.step(x[:1, 0].copy())
        g.join()
    interrupt(lambda: group.feed(x, keys=[0]))
    np.testing.assert_equal(group.step(np.ones((2, 4), np.float32)), other.step(np.ones((2, 4), np.float32)))


def test_the_calls_of_other_threads_go_on() -> None:
    """Only the main thread runs handlers; its signal does not end what another thread computes."""
    model = last_state(300)
    x = np.ones((1, STEPS // 100, 4), np.float32)
    want, got = model(x), []
    thread = threading.Thread(target=lambda: got.append(model(x)))
    thread.start()
    interrupt(lambda: model(np.ones((1, STEPS, 4), np.float32)))
    thread.join()
    np.testing.assert_equal(got[0], want)
