"""``lstm-rt bench``: how long calls of a model take on this computer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import lstm_rt
from lstm_rt.errors import InputError
from lstm_rt.graph import Graph
from lstm_rt.text import shown

from ..judges import testdata
from ..timing import time_calls
from . import bench_nodes, describe
from .common import OK, ModelFile, as_json

_MAX_INPUT = 1 << 28  #: numbers in an input that is made up: 1 GiB


def bench(args: argparse.Namespace) -> int:
    """``lstm-rt bench``"""
    graph = ModelFile(args.model).graph
    most = max((graph.values[i].size for i in graph.inputs), default=1)
    if args.batch * args.steps * max(most, 1) > _MAX_INPUT:
        raise InputError(f"an input of {args.batch} x {args.steps} x {most} numbers is too large; choose fewer")

    def load(threads: Any) -> Any:
        return lstm_rt.load(str(args.model), threads=threads)

    inputs = testdata.make_inputs(graph, args.batch, args.steps)
    rows = list(bench_calls(load, inputs, args.steps, args.threads, args.seconds))
    model = load("auto")
    memory = model.session_nbytes(args.batch, args.steps)
    if args.stream:
        rows.append(bench_stream(model, args.batch, _one_step(graph, inputs), args.seconds))
    nodes = bench_nodes.bench_nodes(graph, inputs, args.seconds) if args.nodes else None
    if args.json:
        facts = {"file": str(args.model), "batch": args.batch, "steps": args.steps, "kernels": model.kernels,
                 "session_bytes": memory}  # fmt: skip
        by_node = {} if nodes is None else {"nodes": [asdict(t) for t in nodes]}
        print(as_json({**facts, "timings": [asdict(r) for r in rows], **by_node}))
        return OK
    name = shown(args.model, 200)
    print(f"{name}, {args.batch} x {args.steps} steps, {model.kernels} kernels, microseconds\n")
    head = ["mode", "threads", "median", "p10..p90", "per step", "calls"]
    cells = [
        [
            r.mode,
            r.threads,
            f"{r.median_us:.1f}",
            f"{r.p10_us:.1f}..{r.p90_us:.1f}",
            f"{r.median_us_per_step:.2f}",
            str(r.calls),
        ]
        for r in rows
    ]
    print(describe.table(head, cells, right=(1, 2, 3, 4, 5)))
    print(f"\nworking memory of a call on one thread: {describe.bytes_text(memory)}")
    if nodes is not None:
        print(f"\nby node, on one thread\n\n{bench_nodes.as_text(nodes)}")
    return OK


def _one_step(graph: Graph, inputs: Sequence[Any]) -> Any:
    if len(inputs) != 1 or graph.values[graph.inputs[0]].kind not in ("seq", "ids"):
        raise InputError("--stream needs a model with one sequence as its input")
    return np.ascontiguousarray(graph.values[graph.inputs[0]].to_batch_first(inputs[0])[:, 0])


# -- measuring --------------------------------------------------------------------------------------


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
