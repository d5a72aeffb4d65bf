"""How long calls take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_WARM_UP_SECONDS = 0.05
_MIN_CALLS, _MAX_CALLS = 20, 20000


def time_calls(call: Callable[[], Any], seconds: float, least: int = _MIN_CALLS) -> list[float]:
    """Microseconds of each of many calls, at least so many, after a warm-up."""
    end = time.perf_counter() + _WARM_UP_SECONDS
    call()
    while time.perf_counter() < end:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < _MAX_CALLS):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1000)
    return times
