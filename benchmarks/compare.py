"""Times lstm_rt beside other engines on the same weights and inputs: ``python benchmarks/compare.py``.

See README.md in this folder for what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from engines import DEFAULT_ENGINES
from report import (
    OURS,
    Entry,
    Result,
    as_json,
    as_text,
    environment,
    machine_line,
    markdown,
    notes,
    ratios_table,
    times_table,
)
from worker import Worker, WorkerError, choose_cpus
from workloads import WORKLOADS, Array, Workload

Live = tuple[Entry, Worker]  # an engine in the run

TOLERANCE = 1e-4  #: largest difference between two engines' outputs, which are on unit scale
_MAX_CALLS = 20000
_REST_SECONDS = 0.01  # between engines with several threads: until thread pools have stopped spinning


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


# -- one workload ---------------------------------------------------------------------------------


def start(entry: Entry, worker: Worker) -> bool:
    """Wait for a worker; its entry learns what runs there. Is it ready?"""
    try:
        worker.wait_ready()
    except WorkerError as e:
        entry.failed = str(e)
    entry.missing = worker.missing
    entry.version = worker.facts.get("version", "")
    entry.settings = worker.facts.get("settings", "")
    return not entry.failed and not entry.missing


def difference(result: Array, reference: Array) -> float:
    """Largest absolute difference of two engines' results.

    Raises:
        WorkerError: the shapes differ.
    """
    if result.shape != reference.shape:
        raise WorkerError(f"output has shape {result.shape}, expected {reference.shape}")
    return float(np.abs(result - reference).max())


def check_all(live: Sequence[Live]) -> list[Live]:
    """Those whose outputs agree with the first one's; the entries of the others say by how much they differ."""
    reference: Array | None = None
    agreeing = []
    for entry, worker in live:
        try:
            result = worker.check()
            reference = result if reference is None else reference
            entry.max_abs_diff = difference(result, reference)
        except WorkerError as e:
            entry.failed = str(e)
            continue
        if entry.max_abs_diff <= TOLERANCE:
            agreeing.append((entry, worker))
        else:  # also if it is not a number
            entry.failed = f"outputs differ by {entry.max_abs_diff:.1e}, expected at most {TOLERANCE:.0e}"
    return agreeing


def calibrate(worker: Worker, round_seconds: float) -> int:
    """Calls that fill a round; warms the engine up on the way."""
    target, calls = round_seconds * 1e9, 1
    while True:
        times = worker.run(1, calls)
        if sum(times) >= target / 2 or calls >= _MAX_CALLS:
            return int(np.clip(round(target / float(np.median(times))), 1, _MAX_CALLS))
        calls *= 2


def take_turn(entry: Entry, worker: Worker, round_seconds: float) -> None:
    """One engine's part of a round; before its first one it finds out how many calls that is."""
    try:
        entry.calls = entry.calls or calibrate(worker, round_seconds)
        entry.rounds.append(worker.run(max(1, entry.calls // 10), entry.calls))
    except WorkerError as e:
        entry.failed = str(e)
        entry.rounds.clear()


def run_rounds(live: Sequence[Live], rounds: int, round_seconds: float, rest: float) -> None:
    """Rounds in which the engines take turns; each round starts with another one."""
    for i in range(rounds):
        first = i % max(len(live), 1)
        for entry, worker in [*live[first:], *live[:first]]:
            if not entry.failed:
                time.sleep(rest)
                take_turn(entry, worker, round_seconds)


def compare(w: Workload, threads: int, engines: Sequence[str], rounds: int, round_seconds: float) -> Result:
    """All engines on one workload, each in a process of its own; all live until the last round."""
    entries = [Entry(name) for name in engines]
    cpus = choose_cpus(threads)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(e.engine, w, threads, cpus)) for e in entries]
        ready = [(e, k) for e, k in zip(entries, workers, strict=True) if start(e, k)]
        live = check_all(sorted(ready, key=lambda pair: pair[0].engine != OURS))
        run_rounds(live, rounds, round_seconds, _REST_SECONDS if threads > 1 else 0.0)
    return Result(w, threads, entries)


# -- command line ---------------------------------------------------------------------------------


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _workloads(text: str) -> list[Workload]:
    unknown = [name for name in _names(text) if name not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no workload {unknown[0]!r}; known: {', '.join(WORKLOADS)}")
    return [WORKLOADS[name] for name in _names(text)]


def _threads(text: str) -> list[int]:
    counts = [int(n) for n in _names(text)]
    if any(n < 1 for n in counts):
        raise argparse.ArgumentTypeError("expected numbers from 1, such as 1,2")
    return counts


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("expected a number from 1")
    return int(text)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    p = argparse.ArgumentParser(description="Times lstm_rt beside other engines on the same weights and inputs.")
    p.add_argument("--workloads", type=_workloads, default=list(WORKLOADS.values()), help="names, comma-separated")
    p.add_argument("--engines", type=_names, default=list(DEFAULT_ENGINES), help="names, comma-separated")
    p.add_argument("--threads", type=_threads, default=[1], help="numbers of threads, comma-separated; default 1")
    p.add_argument("--rounds", type=_positive, help="rounds in which engines take turns; default 15")
    p.add_argument("--round-ms", type=_positive, help="length of an engine's turn; default 30")
    p.add_argument("--quick", action="store_true", help="5 rounds of 10 ms: to see that all is well, not to quote")
    p.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the report")
    options = p.parse_args(argv)
    options.rounds = options.rounds or (5 if options.quick else 15)
    options.round_ms = options.round_ms or (10 if options.quick else 30)
    options.engines = list(dict.fromkeys(options.engines))
    return options


def measure(options: argparse.Namespace) -> list[Result]:
    """Every workload with every number of threads that this machine has cores for."""
    results = []
    for threads in options.threads:
        for w in options.workloads:
            say(f"{w.name} ({w.describe()}), {threads} thread{'s' * (threads > 1)}")
            try:
                results.append(compare(w, threads, options.engines, options.rounds, options.round_ms / 1e3))
            except ValueError as e:
                say(f"left out: {e}")
                break
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print and write; 1 if an engine failed or gave other results."""
    options = parse(argv)
    env = environment()
    results = measure(options)
    env["rounds"], env["round_ms"] = options.rounds, options.round_ms
    print(machine_line(env), as_text(times_table(results)), as_text(ratios_table(results)), sep="\n\n", end="\n\n")
    print("\n".join(notes(results)))
    if options.json:
        options.json.write_text(json.dumps(as_json(env, results), indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(env, results))
    return int(any(e.failed for r in results for e in r.entries))


if __name__ == "__main__":
    sys.exit(main())
