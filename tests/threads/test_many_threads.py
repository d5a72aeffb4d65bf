"""One model, stream or group in many threads of a program, and calls with threads of their own."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.graphs import recurrent_graph
from helpers.models import arrays, both_ways, stream_graph
from helpers.programs import python
from helpers.threads import OPENMP, TIMEOUT, forced, run_in_threads

from lstm_rt import InputError, Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps

# -- threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=OPENMP)])
def test_one_model_in_many_threads(threads: int) -> None:
    model, xs = both_ways(threads=threads), arrays(64)
    want = [model(x, threads=1, return_state=True) for x in xs]
    with forced(threads):  # every thread of the program has a team of its own
        got = run_in_threads([lambda x=x: (model(x, return_state=True), last_lanes()) for x in xs])
    np.testing.assert_equal([result for result, _ in got], want)
    assert {lanes for _, lanes in got} == {threads}


def test_errors_in_some_threads_do_not_disturb_the_others() -> None:
    model, xs = both_ways(), arrays(40)
    want = [model(x) for x in xs]

    def wrong() -> None:
        with pytest.raises(InputError):
            model(xs[0], lengths=[-1] * len(xs[0]))

    got = run_in_threads([job for x in xs for job in (lambda x=x: model(x), wrong)])
    np.testing.assert_equal(got[::2], want)


def test_streams_of_one_model_in_many_threads() -> None:
    model = Model(dumps(stream_graph()))
    xs = [np.random.default_rng(i).uniform(-1, 1, (60, 4)).astype(np.float32) for i in range(16)]

    def steps(x: np.ndarray) -> np.ndarray:
        stream = model.stream()
        return np.stack([stream.step(row) for row in x])

    np.testing.assert_equal(run_in_threads([lambda x=x: steps(x) for x in xs]), [model(x) for x in xs])


def test_one_stream_in_two_threads_is_an_error() -> None:
    stream = Model(dumps(stream_graph(200)), threads=1).stream()
    x, refused = np.zeros((20000, 4), np.float32), set()
    uses = {"step": lambda: stream.step(x[0]), "reset": stream.reset, "state": lambda: stream.state}
    worker = threading.Thread(target=stream.feed, args=(x,))
    worker.start()
    while worker.is_alive():
        for name, use in uses.items():
            with contextlib.suppress(InputError):
                use()
                continue
            refused.add(name)
    worker.join()
    assert refused == set(uses)
    stream.reset()
    assert stream.step(x[0]).shape == (8,)


def test_the_gil_is_released() -> None:
    model = both_ways(160, threads=1)
    x = np.zeros((4, 2000, 4), np.float32)
    count, done = 0, threading.Event()

    def call() -> None:
        try:
            model(x)
        finally:
            done.set()

    old = sys.getswitchinterval()
    sys.setswitchinterval(5.0)  # nobody takes the GIL from a thread by force
    try:
        worker = threading.Thread(target=call)
        worker.start()
        while not done.is_set():
            count += 1
            time.sleep(0)
        worker.join()
    finally:
        sys.setswitchinterval(old)
    assert count > 20


@OPENMP
@pytest.mark.parametrize("own", [1, 2, "auto"])
@pytest.mark.parametrize("per_call", [None, 1, 2, "auto"])
def test_threads_of_model_and_call(own: Any, per_call: Any) -> None:
    """What a call may have at most is what it has when as many as can be are asked for."""
    model, x = both_ways(threads=own), arrays(1)[0]
    assert model.threads == own
    stream = Model(dumps(stream_graph()), threads=own).stream(threads=per_call)
    most = own if per_call is None else per_call
    lanes = min(os.cpu_count() or 1, 64) if most == "auto" else most
    with forced(64):
        for call in (lambda: model(x, threads=per_call), lambda: stream.feed(x[0])) * 2:
            call()
            assert last_lanes() == lanes
        np.testing.assert_equal(model(x, threads=per_call), both_ways(threads=1)(x))
        stream.reset()
        np.testing.assert_equal(stream.feed(x[0]), Model(dumps(stream_graph()), threads=1)(x[0]))


# What is written here while a call runs must not become an index.
WRITER = r"""
import sys, threading
import numpy as np
from helpers.graphs import cell_weights, weights
from lstm_rt import InputError, Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

how, rng, g = sys.argv[1], np.random.default_rng(0), Graph()
ids = g.input("ids", "ids")
x = g.embedding(ids, weights(rng, 5, 4))
seq, h, _ = g.recurrent("lstm", x, cell_weights(rng, "lstm", 4, 8), hidden_size=8)
g.output(g.select(seq, -1), "last")
g.output(g.embedding(ids, weights(rng, 5, 2)), "later")
model = Model(dumps(g), threads=1)
ids, lengths, wide = np.ones((64, 500), np.int32), np.full(64, 500, np.int32), np.ones(20_000, np.int32)
group = model.streams(len(wide))
for _ in wide:
    group.join()
written, wrong = {"ids": (ids, 0x7fffff00), "lengths": (lengths, 1), "step": (wide, 0x7fffff00)}[how]

def call():
    if how == "step":
        group.reset(0)
        return group.step(wide)[0][0]
    return (model(ids, lengths=lengths) if how == "lengths" else model(ids))[0]

good, right, done = written.copy(), [call()], threading.Event()
if how == "lengths":
    written.fill(wrong)
    right.append(call())

def write():
    while not done.is_set():
        written.fill(wrong)
        written[...] = good

threading.Thread(target=write, daemon=True).start()
for _ in range(50):
    try:
        y = call()
    except InputError:
        continue
    assert any(np.array_equal(y, r) for r in right), "other numbers than those of what was checked"
done.set()
print("ok")
"""


@pytest.mark.parametrize("how", ["ids", "lengths", "step"])
def test_writing_to_inputs_during_a_call(how: str) -> None:
    """The ids and lengths that are used are those that have been checked."""
    done = python("-c", WRITER, how, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-2000:]


class Calls:
    """An array that runs code when it is looked at, as another thread may at any moment."""

    def __init__(self, a: np.ndarray, call: Callable[[], Any]) -> None:
        self.a, self.call = a, call

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.call()
        return self.a


def test_a_stream_is_held_by_whatever_uses_it() -> None:
    model = Model(dumps(recurrent_graph(np.random.default_rng(0), "gru", 4, 8)))
    stream, x = model.stream(), np.ones((3, 4), np.float32)
    stream.feed(x)
    state = stream.state
    inner: dict[str, Callable[[], Any]] = {
        "step": lambda: stream.step(x[0]),
        "feed": lambda: stream.feed(x),
        "reset": stream.reset,
        "state": lambda: stream.state,
        "set": lambda: setattr(stream, "state", state),
        "copy": lambda: copy.copy(stream),
        "pickle": lambda: pickle.dumps(stream),
    }
    for call in inner.values():
        for use in (
            lambda call=call: stream.step(Calls(x[0], call)),
            lambda call=call: stream.feed(Calls(x, call)),
            lambda call=call: setattr(stream, "state", Calls(state, call)),
        ):
            with pytest.raises(InputError, match="this Stream is in use"):
                use()
            np.testing.assert_equal(stream.state, state)


def test_a_group_is_held_by_whatever_uses_it() -> None:
    model = Model(dumps(recurrent_graph(np.random.default_rng(0), "gru", 4, 8)))
    group, x = model.streams(4), np.ones((2, 4), np.float32)
    a, b = group.join(), group.join()
    group.step(x)
    state = group.state(a)

    class Key(int):
        def __int__(self) -> int:
            call()
            return int.__int__(self)

    inner: dict[str, Callable[[], Any]] = {
        "join": group.join,
        "leave": lambda: group.leave(b),
        "step": lambda: group.step(x),
        "feed": lambda: group.feed(np.ones((2, 3, 4), np.float32)),
        "reset": lambda: group.reset(a),
        "state": lambda: group.state(a),
        "set_state": lambda: group.set_state(a, state),
        "copy": lambda: copy.copy(group),
    }
    outer: dict[str, Callable[[], Any]] = {
        "join": lambda: group.join(Calls(state, call)),
        "leave": lambda: group.leave(Key(a)),
        "step": lambda: group.step(Calls(x, call)),
        "keys": lambda: group.step(x, keys=[a, Key(b)]),
        "feed": lambda: group.feed(Calls(np.ones((2, 3, 4), np.float32), call)),
        "reset": lambda: group.reset(Key(a)),
        "state": lambda: group.state(Key(a)),
        "set_state": lambda: group.set_state(a, Calls(state, call)),
    }
    for call in inner.values():  # noqa: B007
        for use in outer.values():
            with pytest.raises(InputError, match="this StreamGroup is in use"):
                use()
            assert group.keys == [a, b]
            np.testing.assert_equal(group.state(a), state)
    assert group.join() == 2
