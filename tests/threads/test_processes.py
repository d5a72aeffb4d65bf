"""Models, streams and groups in processes that are forked and spawned."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.models import both_ways, stream_graph
from helpers.processes import in_process
from helpers.threads import OPENMP, TIMEOUT, forced, on_lanes

from lstm_rt import InputError, Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def large_calls() -> tuple[Model, np.ndarray, Any]:
    """A model that has run on a team of two, an input and the outputs for it."""
    model, stream = both_ways(300, threads=2), Model(dumps(stream_graph(300)), threads=2).stream()
    x = np.random.default_rng(1).uniform(-1, 1, (2, 40, 4)).astype(np.float32)
    return model, x, (on_lanes(2, lambda: model(x)), on_lanes(2, lambda: stream.feed(x[0])))


@FORKS
@OPENMP
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiprocessing_fork() -> None:
    model, x, want = large_calls()
    got, lanes = in_process(multiprocessing.get_context("fork"), model, x)
    np.testing.assert_equal(got, want)
    assert lanes == [1, 1]  # a team does not outlive a fork
    np.testing.assert_equal(on_lanes(2, lambda: model(x)), want[0])  # the parent goes on with its own


@FORKS
@OPENMP
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_of_a_process_that_computes() -> None:
    """Fork while other threads are inside calls; the child's stream goes on from the parent's state."""
    model, x, want = large_calls()
    stream = Model(dumps(stream_graph(300)), threads=2).stream()
    stream.feed(x[0][:10])
    stop = threading.Event()

    lanes: set[int] = set()

    def busy() -> None:
        while not stop.is_set():
            model(x)
            lanes.add(last_lanes())

    workers = [threading.Thread(target=busy) for _ in range(2)]
    with forced(2):
        for w in workers:
            w.start()
        try:
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    good = all(map(np.array_equal, model(x), want[0]))
                    good = good and np.array_equal(stream.feed(x[0][10:]), want[1][10:])
                    os._exit(0 if good else 1)
                assert wait_for(child) == 0
        finally:
            stop.set()
            for w in workers:
                w.join()
    assert lanes == {2}


def in_use(operation: Callable[[], Any]) -> bool:
    try:
        operation()
    except InputError as e:
        return "in use" in str(e)
    return False


def fork_during(long: Callable[[], Any], short: Callable[[], Any], check: Callable[[], bool]) -> None:
    """Fork while another thread is in the long operation of what the short one uses too; check in the child."""
    worker = threading.Thread(target=long)
    worker.start()
    while not in_use(short):
        assert worker.is_alive()
    child = os.fork()
    if child == 0:
        good = False
        with contextlib.suppress(BaseException):
            good = check()
        os._exit(0 if good else 1)
    inside = in_use(short)
    worker.join()
    assert inside  # it was still there when the process was forked
    assert wait_for(child) == 0


def refuses(use: Callable[[], Any]) -> bool:
    """With an error that says what has happened, and then what to do."""
    with pytest.raises(InputError, match="half-written"):
        use()
    return True


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["reset", "state"])
def test_fork_during_a_feed(how: str) -> None:
    """Nobody in the child will end the feed: its half-written state is replaced, or the stream is of no use."""
    model = Model(dumps(stream_graph(300)), threads=1)
    stream, x = model.stream(), np.ones((30_000, 4), np.float32)
    short = x[:20].copy()
    want = model(short)
    saved = model.stream().state

    def check() -> bool:
        for _ in range(2):
            refuses(lambda: stream.step(short[0]))
            refuses(lambda: stream.feed(short))
            refuses(lambda: stream.state)
        if how == "reset":
            stream.reset()
        else:
            stream.state = saved
        return np.array_equal(stream.feed(short), want)

    fork_during(lambda: stream.feed(x), lambda: stream.state, check)
    stream.reset()
    np.testing.assert_equal(stream.feed(short), want)  # the parent's stream is as it was


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_during_a_step_of_a_group() -> None:
    """The streams that were taking the step have to be set anew; the others, and new ones, have not."""
    model, rows = Model(dumps(stream_graph(200)), threads=1), 20_000
    group = model.streams(rows + 2)
    keys = [group.join() for _ in range(rows)]
    other = group.join()
    x = np.ones((rows, 4), np.float32)
    group.step(x[:1], keys=[other])
    want = model.stream().feed(x[:2]), model.stream().step(x[0])

    def check() -> bool:
        good = np.array_equal(group.step(x[:1], keys=[other])[0], want[0][1])
        refuses(lambda: group.step(x[:2], keys=[other, keys[7]]))
        refuses(lambda: group.state(keys[0]))
        refuses(lambda: group.feed(x[None, :2].copy(), keys=[keys[0]]))
        group.reset(keys[0])
        group.set_state(keys[1], model.stream().state)
        group.leave(keys[2])
        mended = [keys[0], keys[1], group.join()]
        return good and all(np.array_equal(y, want[1]) for y in group.step(x[:3], keys=mended))

    fork_during(lambda: [group.step(x, keys=keys) for _ in range(3)], lambda: group.state(other), check)


def wait_for(child: int) -> int:
    """The exit code of a process; it is killed if it takes too long."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@OPENMP
def test_multiprocessing_spawn() -> None:
    model, x, want = large_calls()
    got, lanes = in_process(multiprocessing.get_context("spawn"), model, x)
    np.testing.assert_equal(got, want)
    assert lanes == [2, 2]
