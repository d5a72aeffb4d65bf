"""What runs in a process of ``multiprocessing``: it is found there by the name of this module."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_rt import Model
from lstm_rt._core import last_lanes
from lstm_rt.format import dumps

from .models import stream_graph
from .threads import TIMEOUT, forced


def call_in_child(model: Model, x: np.ndarray, queue: Any) -> None:
    stream, results, lanes = Model(dumps(stream_graph(300)), threads=2).stream(), [], []
    with forced(2):
        for call in (lambda: model(x, threads=2), lambda: stream.feed(x[0])):
            results.append(call())
            lanes.append(last_lanes())
    queue.put((tuple(results), lanes))


def in_process(context: Any, model: Model, x: np.ndarray) -> tuple[Any, list[int]]:
    """What the model and a stream of ``stream_graph(300)`` give for ``x`` in a child, and on how many lanes."""
    queue = context.Queue()
    child = context.Process(target=call_in_child, args=(model, x, queue))
    child.start()
    try:
        result = queue.get(timeout=TIMEOUT)
        child.join(TIMEOUT)
        assert child.exitcode == 0
    finally:
        child.kill()
    return result
