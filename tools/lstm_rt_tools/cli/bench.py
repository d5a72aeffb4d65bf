"""``lstm-rt bench``: how long calls of a model take on this computer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_WARM_UP_SECONDS = 0.05
_MIN_CALLS, _MAX_CALLS = 20, 20000


@dataclass(frozen=True)
class Timing:
    """Microseconds per call, and per time step of it."""

    mode: str
    threads: str
    calls: int
    median_us: float
    p10_us: float
    p90_us: float
    median_us_per_step: float


def time_calls(call: Callable[[], Any], seconds: float) -> list[float]:
    """Microseconds of each of many calls, after a warm-up."""
    end = time.perf_counter() + _WARM_UP_SECONDS
    call()
    while time.perf_counter() < end:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _MIN_CALLS or (time.perf_counter() < end and len(times) < _MAX_CALLS):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1000)
    return times


def _timing(mode: str, threads: str, times: list[float], steps: int) -> Timing:
    p10, median, p90 = (float(v) for v in np.percentile(times, (10, 50, 90)))
    return Timing(mode, threads, len(times), median, p10, p90, median / max(steps, 1))


def bench_calls(
    load: Callable[[int | str], Any], inputs: Sequence[Any], steps: int, threads: Sequence[int | str], seconds: float
) -> Iterator[Timing]:
    """One :class:`Timing` of whole-sequence calls per number of threads, for which ``load`` gives the model."""
    for n in threads:
        model = load(n)
        times = time_calls(lambda model=model: model(*inputs), seconds)  # type: ignore[misc]
        yield _timing("call", str(n), times, steps)


def bench_stream(model: Any, batch: int, step: Any, seconds: float) -> Timing:
    """Time ``stream.step`` of one frame."""
    stream = model.stream(batch=batch)
    return _timing("stream.step", "1", time_calls(lambda: stream.step(step), seconds), 1)
