"""Calls in and on several threads, and the proof that they ran there: a build without OpenMP runs alone."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

import lstm_rt
from lstm_rt._core import force_lanes, last_lanes

#: Of every test that claims threads: what runs alone must not pass for it.
OPENMP = pytest.mark.skipif(not lstm_rt.build_info()["openmp"], reason="the build has no OpenMP")
AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")

TIMEOUT = 60  #: seconds after which a thread or a process hangs

T = TypeVar("T")


@contextlib.contextmanager
def forced(lanes: int) -> Iterator[None]:
    """Every call that may use so many threads runs on exactly so many, however little work it is; 0: as usual."""
    force_lanes(lanes)
    try:
        yield
    finally:
        force_lanes(0)


def on_lanes(lanes: int, call: Callable[[], T]) -> T:
    """The call on so many threads: it has to have run on them."""
    with forced(lanes):
        result = call()
    assert last_lanes() == lanes
    return result


@contextlib.contextmanager
def pinned(cpus: set[int]) -> Iterator[None]:
    """The calling thread on these processors; the runtime looks every 10 ms."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    time.sleep(0.02)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        time.sleep(0.02)


def two_cpus() -> set[int]:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two processors")
    return set(cpus[:2])


def run_in_threads(jobs: list[Callable[[], Any]], threads: int = 8) -> list[Any]:
    """Results of the jobs, all threads starting at the same moment."""
    barrier = threading.Barrier(threads)

    def work(mine: list[Callable[[], Any]]) -> list[Any]:
        barrier.wait(TIMEOUT)
        return [job() for job in mine]

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, [jobs[i::threads] for i in range(threads)], timeout=TIMEOUT))
    results: list[Any] = [None] * len(jobs)
    for i, part in enumerate(parts):
        results[i::threads] = part
    return results
