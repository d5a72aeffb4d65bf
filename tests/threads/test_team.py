"""The threads of a call: they compute in the caller's mode, wait without work, and come to an end."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.graphs import recurrent_graph
from helpers.models import LARGE, both_ways, uniform
from helpers.threads import AFFINITY, OPENMP, forced, on_lanes, pinned, two_cpus

from lstm_rt import Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps

# -- floating-point mode ------------------------------------------------------------------------------


@contextlib.contextmanager
def rounding_upward() -> Iterator[None]:
    upward = {"x86_64": 0x800, "amd64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}.get(platform.machine().lower())
    name = ctypes.util.find_library("m")
    if upward is None or name is None:
        pytest.skip("the C library's number for rounding upward is not known here")
    libm = ctypes.CDLL(name)
    before = libm.fegetround()
    assert libm.fesetround(upward) == 0
    try:
        yield
    finally:
        libm.fesetround(before)


@OPENMP
def test_all_threads_round_as_the_caller_does() -> None:
    """Denormals: tests/runtime/test_silence.py."""
    model, x = both_ways(64), uniform(1, 30, 4)
    want = model(x, threads=1)
    with forced(2):
        np.testing.assert_equal(model(x, threads=2), want)
        with rounding_upward():
            one = model(x, threads=1)
            two = model(x, threads=2)
            lanes = last_lanes()
        after = model(x, threads=2)
    assert lanes == 2
    first = [np.ravel(a[0]) if isinstance(a, tuple) else np.ravel(a) for a in (want, one)]
    half = first[0].size // 2
    assert not np.array_equal(first[0][:half], first[1][:half])  # the mode matters
    np.testing.assert_equal(two, one)
    np.testing.assert_equal(after, want)  # and the threads have their own again


def backwards_rnn(steps: int) -> tuple[Model, np.ndarray]:
    """A layer that no two lanes can share, and that looks at all steps in one pass."""
    graph = recurrent_graph(np.random.default_rng(0), "rnn", 4, 8, direction="reverse")
    return Model(dumps(graph)), uniform(1, steps, 4)


@OPENMP
def test_a_lane_that_waits_for_long_sleeps() -> None:
    model, x = backwards_rnn(1_000_000)
    model(x[:, :10].copy())
    process, thread = time.process_time(), time.thread_time()
    on_lanes(2, lambda: model(x, threads=2))
    process, thread = time.process_time() - process, time.thread_time() - thread
    assert thread > 0.02
    assert process - thread < thread / 4  # what the other lane used


@OPENMP
@AFFINITY
def test_more_lanes_than_processors_still_come_to_an_end() -> None:
    """Eight lanes on one processor, that meet at every step: a lane that waits makes room."""
    graph = recurrent_graph(np.random.default_rng(0), "lstm", 4, 400)
    model, x = Model(dumps(graph)), uniform(1, 200, 4)
    want = model(x, threads=1)
    cpus = two_cpus()
    with forced(8), pinned({min(cpus)}):
        begun = time.monotonic()
        np.testing.assert_equal(model(x, threads=8), want)
        assert last_lanes() == 8
        assert time.monotonic() - begun < 20


@OPENMP
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_threads_of_a_thread_end_with_it() -> None:
    model, x = both_ways(300, threads=2), uniform(*LARGE)

    def tasks() -> int:
        return len(os.listdir("/proc/self/task"))

    lanes = []

    def call() -> None:
        model(x)
        lanes.append(last_lanes())

    with forced(2):
        call()
        before = tasks()
        for _ in range(10):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
    assert lanes == [2] * 11
    end = time.monotonic() + 10
    while tasks() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert tasks() <= before
