"""One engine, workload and number of threads in a process of its own, driven over a pipe."""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from workloads import AnyWorkload, Array

_REPLY_SECONDS = 300.0


# -- CPUs -----------------------------------------------------------------------------------------


def _siblings(cpu: int) -> str:
    """Names the physical core of a CPU: the list of hardware threads that share it."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    with suppress(OSError):
        return path.read_text()
    return str(cpu)


def choose_cpus(threads: int) -> set[int] | None:
    """CPUs on ``threads`` different cores, the last ones first (the first ones serve interrupts).

    None where processes cannot be pinned.

    Raises:
        ValueError: this process may not use so many cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = {_siblings(cpu): cpu for cpu in sorted(os.sched_getaffinity(0), reverse=True)}
    if threads > len(cores):
        raise ValueError(f"{threads} threads need as many cores, there are {len(cores)}")
    return set(list(cores.values())[:threads])


# -- the child ------------------------------------------------------------------------------------


def time_calls(call: Callable[[], object], warm_up: int, calls: int) -> list[int]:
    """Nanoseconds of each of ``calls`` calls, after some that do not count."""
    clock = time.perf_counter_ns
    times = [0] * calls
    for _ in range(warm_up):
        call()
    gc.disable()
    for i in range(calls):
        start = clock()
        call()
        times[i] = clock() - start
    gc.enable()
    return times


def serve(pipe: Connection, engine: str, workload: AnyWorkload, threads: int, cpus: set[int] | None) -> None:
    """Answer requests until told to stop: ``("check",)`` and ``("run", warm_up, calls)``."""
    try:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)  # before the engine counts CPUs or starts threads
        from engines import Unavailable, build

        try:
            runner = build(engine, workload, threads)
        except (ImportError, Unavailable) as e:
            pipe.send(("missing", str(e)))
            return
        pipe.send(("ready", {"version": runner.version, "settings": runner.settings, "nbytes": runner.nbytes}))
        calls = workload.calls()
        while (request := pipe.recv())[0] != "stop":
            is_check = request[0] == "check"
            pipe.send(("done", runner.results(calls) if is_check else time_calls(runner.call, *request[1:])))
    except EOFError:
        pass  # the parent is gone
    except Exception:
        pipe.send(("failed", traceback.format_exc(limit=-1).strip().splitlines()[-1]))


# -- the parent's side ----------------------------------------------------------------------------


class WorkerError(Exception):
    """A worker could not do what it was asked."""


class Worker:
    """A child process; ``facts`` has its version and settings, ``missing`` why there is no engine."""

    def __init__(self, engine: str, workload: AnyWorkload, threads: int, cpus: set[int] | None) -> None:
        context = mp.get_context("spawn")
        self.engine = engine
        self.facts: dict[str, Any] = {}
        self.missing = ""
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, engine, workload, threads, cpus), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self._pipe.send(("stop",))
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()

    def wait_ready(self) -> None:
        """Until the model is built, or is known to be missing."""
        kind, value = self._receive()
        if kind == "missing":
            self.missing = value
        else:
            self.facts = value

    def check(self) -> Array:
        """Results of the workload's calls from zero state, ``(N, T, F)``."""
        result: Array = self._ask("check")
        return result

    def run(self, warm_up: int, calls: int) -> list[int]:
        """Nanoseconds of each call."""
        times: list[int] = self._ask("run", warm_up, calls)
        return times

    def _ask(self, *request: object) -> Any:
        with suppress(ConnectionError):  # then there is no answer either
            self._pipe.send(request)
        return self._receive()[1]

    def _receive(self) -> tuple[str, Any]:
        if not self._pipe.poll(_REPLY_SECONDS):
            raise WorkerError(f"no answer within {_REPLY_SECONDS:.0f} s")
        try:
            kind, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(timeout=10)
            raise WorkerError(f"the process died, exit code {self._process.exitcode}") from None
        if kind == "failed":
            raise WorkerError(value)
        return kind, value
