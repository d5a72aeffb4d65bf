"""Benchmarks of calls and kernels, to compare one commit with the next: ``pytest benchmarks/test_bench.py``.

Every kernel table of this CPU, one thread or as the test's name says; see README.md in this folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from engines import build, lstm_rt_model
from workloads import WORKLOADS, Array, Workload

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import ACTIVATIONS, Graph

TABLES = lstm_rt.kernels()
SEQUENCES = ["amp", "sensor", "gru"]
STEPS = ["vad_step", "decoder_step"]
LARGE = {
    w.name: w
    for w in (
        WORKLOADS["tagger"],  # two directions, which two threads can share
        WORKLOADS["server_b32"],  # rows to share
        Workload("lm_layer", "lstm", 1024, 1024, steps=35),  # nothing but hidden units to share, each step anew
    )
}
THREADS = {"1": 1, "auto": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
ROWS, FEATURES = 64, 256


def rand(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kernel table in turn, set for every model that the test makes."""
    monkeypatch.setenv("LSTM_RT_KERNELS", request.param)
    return str(request.param)


@pytest.fixture
def quick_table(table: str) -> str:
    """Without the tables that take too long for a large model."""
    if table in ("portable", "nofma"):
        pytest.skip("takes too long per call")
    return table


@pytest.mark.parametrize("name", SEQUENCES)
def test_call(benchmark: Callable[..., object], table: str, name: str) -> None:
    """A whole sequence, with out=."""
    runner = build(f"lstm_rt:{table}", WORKLOADS[name], threads=1)
    runner.x[...] = WORKLOADS[name].calls()[0]
    benchmark(runner.call)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", LARGE)
def test_large_call(benchmark: Callable[..., object], quick_table: str, name: str, threads: str) -> None:
    """A whole sequence of a model that is worth more than one thread, with out=."""
    runner = build(f"lstm_rt:{quick_table}", LARGE[name], THREADS[threads])
    runner.x[...] = LARGE[name].calls()[0]
    benchmark(runner.call)


@pytest.mark.parametrize("threads", THREADS)
def test_ragged_call(benchmark: Callable[..., object], quick_table: str, threads: str) -> None:
    """A batch of sequences of different lengths, uniform from one step to all, with out=."""
    w = WORKLOADS["server_b32"]
    model = lstm_rt_model(w, THREADS[threads])
    x, out = w.calls()[0], np.empty((w.batch, w.steps, w.outputs), np.float32)
    lengths = np.random.default_rng(0).integers(1, w.steps, w.batch, endpoint=True)
    benchmark(lambda: model(x, lengths=lengths, out=out))


@pytest.mark.parametrize("name", STEPS)
def test_step(benchmark: Callable[..., object], table: str, name: str) -> None:
    """One step of a stream, with out=."""
    runner = build(f"lstm_rt:{table}", WORKLOADS[name], threads=1)
    runner.x[...] = WORKLOADS[name].calls()[0][:, 0]
    benchmark(runner.call)


@pytest.mark.parametrize("hidden", [8, 40])
def test_small_step(benchmark: Callable[..., object], table: str, hidden: int) -> None:
    """One step of a model so small that the call itself counts."""
    model = lstm_rt.LSTM(rand(4 * hidden, 1), rand(4 * hidden, hidden) / hidden, threads=1)
    stream, x, out = model.stream(), rand(1), rand(hidden)
    benchmark(lambda: stream.step(x, out=out))


def test_amp_without_out(benchmark: Callable[..., object], table: str) -> None:
    """The same call, with a new array for the result each time."""
    model = lstm_rt.LSTM(rand(160, 1), rand(160, 40) / 10, threads=1)
    x = rand(1, 512, 1)
    benchmark(lambda: model(x))


def graph_call(graph: Graph, value: int) -> Callable[[], object]:
    """A call of the graph with output ``value`` on rows of features, with out=."""
    graph.output(value, "y")
    model = lstm_rt.Model(dumps(graph), 1)
    x, out = rand(1, ROWS, FEATURES), np.empty((1, ROWS, graph.values[value].size), np.float32)
    return lambda: model(x, out=out)


@pytest.mark.parametrize("activation", ["linear", "relu", "softmax"])
def test_dense(benchmark: Callable[..., object], table: str, activation: str) -> None:
    """64 rows times a matrix of 256 x 256."""
    graph = Graph()
    x = graph.input("x", "seq", FEATURES)
    benchmark(graph_call(graph, graph.dense(x, rand(FEATURES, FEATURES) / 16, rand(FEATURES), activation)))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation(benchmark: Callable[..., object], table: str, name: str) -> None:
    """64 rows of 256 features."""
    graph = Graph()
    x = graph.input("x", "seq", FEATURES)
    benchmark(graph_call(graph, graph.activation(x, name)))
