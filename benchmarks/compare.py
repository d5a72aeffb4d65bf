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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bounds import roofline_for
from engines import DEFAULT_ENGINES, INTEGER_ENGINES, exact_results
from report import environment, markdown, text
from results import OURS, Entry, Limits, Report, Result, Timing, as_json
from roofline import Meter, RooflineError
from worker import Worker, WorkerError, choose_cpus
from workloads import WORKLOADS, AnyWorkload, Array, Workload

#: Largest difference between two engines' outputs, which are on unit scale, by the type of the weights.
TOLERANCES = {"float32": 1e-4, "int16": 2e-3, "int8": 5e-2, "int8/8": 5e-2}
_MAX_CALLS = 20000
_REST_SECONDS = 0.01  # between engines with several threads: until thread pools have stopped spinning


@dataclass
class Live:
    """An engine in the run, and the nanoseconds of its calls in each round."""

    entry: Entry
    worker: Worker
    rounds: list[list[int]] = field(default_factory=list)


def say(text: str) -> None:
    """Progress, beside the report."""
    print(text, file=sys.stderr, flush=True)


# -- one workload ---------------------------------------------------------------------------------


def start(live: Live) -> bool:
    """Wait for a worker; its entry learns what runs there. Is it ready?"""
    entry, worker = live.entry, live.worker
    try:
        worker.wait_ready()
    except WorkerError as e:
        entry.failed = str(e)
    entry.missing = worker.missing
    entry.version = worker.facts.get("version", "")
    entry.settings = worker.facts.get("settings", "")
    entry.nbytes = worker.facts.get("nbytes", 0)
    return not entry.failed and not entry.missing


def differences(result: Array, reference: Array) -> tuple[float, float]:
    """Of two results the largest absolute difference, and the root of the mean of their squares.

    Raises:
        WorkerError: the shapes differ.
    """
    if result.shape != reference.shape:
        raise WorkerError(f"output has shape {result.shape}, expected {reference.shape}")
    apart = np.abs(result - reference)
    return float(apart.max()), float(np.sqrt(np.mean(np.square(apart))))


def check_all(ready: Sequence[Live], exact: Array | None) -> list[Live]:
    """Those whose outputs agree with the first one's; the entries of the others say by how much they differ.

    How far each is from the exact results, where these are known, its entry tells too.
    """
    reference: Array | None = None
    agreeing = []
    for live in ready:
        entry = live.entry
        try:
            result = live.worker.check()
            reference = result if reference is None else reference
            entry.max_abs_diff = differences(result, reference)[0]
            if exact is not None:
                entry.max_error, entry.rms_error = differences(result, exact)
        except WorkerError as e:
            entry.failed = str(e)
            continue
        tolerance = TOLERANCES[entry.name.dtype]
        if entry.max_abs_diff <= tolerance:
            agreeing.append(live)
        else:  # also if it is not a number
            entry.failed = f"outputs differ by {entry.max_abs_diff:.1e}, expected at most {tolerance:.0e}"
    return agreeing


def calibrate(worker: Worker, round_seconds: float) -> int:
    """Calls that fill a round; warms the engine up on the way."""
    target, calls = round_seconds * 1e9, 1
    while True:
        times = worker.run(1, calls)
        if sum(times) >= target / 2 or calls >= _MAX_CALLS:
            return int(np.clip(round(target / float(np.median(times))), 1, _MAX_CALLS))
        calls *= 2


def take_turn(live: Live, round_seconds: float) -> None:
    """One engine's part of a round; before its first one it finds out how many calls that is."""
    entry, worker = live.entry, live.worker
    try:
        entry.calls = entry.calls or calibrate(worker, round_seconds)
        live.rounds.append(worker.run(max(1, entry.calls // 10), entry.calls))
    except WorkerError as e:
        entry.failed = str(e)


def run_rounds(engines: Sequence[Live], rounds: int, round_seconds: float, rest: float) -> None:
    """Rounds in which the engines take turns; each round starts with another one."""
    for i in range(rounds):
        first = i % max(len(engines), 1)
        for live in [*engines[first:], *engines[:first]]:
            if not live.entry.failed:
                time.sleep(rest)
                take_turn(live, round_seconds)
    for live in engines:
        if not live.entry.failed:
            live.entry.timing = Timing.of(live.rounds)


def compare(w: AnyWorkload, threads: int, engines: Sequence[str], rounds: int, round_seconds: float) -> Result:
    """All engines on one workload, each in a process of its own; all live until the last round."""
    entries = [Entry(name) for name in engines]
    cpus = choose_cpus(threads)
    exact = exact_results(w) if isinstance(w, Workload) else None
    with ExitStack() as stack:
        started = [Live(e, stack.enter_context(Worker(e.engine, w, threads, cpus))) for e in entries]
        ready = [live for live in started if start(live)]
        ready.sort(key=lambda live: live.entry.engine != OURS)
        run_rounds(check_all(ready, exact), rounds, round_seconds, _REST_SECONDS if threads > 1 else 0.0)
    return Result(w, threads, entries)


# -- the machine's limits -------------------------------------------------------------------------


class Ruler:
    """Measures the machine beside the workloads; without a compiler nothing, and ``why_not`` has the reason."""

    def __init__(self, stack: ExitStack, quick: bool) -> None:
        self.why_not = ""
        self._meter: Meter | None = None
        self._isas: list[str] = []  # all, until it is known which of them engines are held against
        try:
            self._meter = stack.enter_context(Meter(quick))
        except RooflineError as e:
            self.why_not = str(e)

    def limits(self, threads: int, engines: Sequence[str]) -> list[Limits]:
        """One measurement of the instruction sets that the engines are held against, or none at all.

        Raises:
            ValueError: this process may not use so many cores.
        """
        if not self._meter:
            return []
        try:
            found = self._meter.measure(threads, self._isas)
        except RooflineError as e:
            self.why_not = str(e)
            return []
        used = {r.isa for e in engines if (r := roofline_for(e, found))}
        self._isas = [isa for isa in found if isa in used]
        return [{isa: found[isa] for isa in self._isas}]


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
    p.add_argument(
        "--integers", dest="engines", action="store_const", const=list(INTEGER_ENGINES),
        help="the engines with weights of integers, beside lstm_rt with those of float32",
    )  # fmt: skip
    return parse_common(p, DEFAULT_ENGINES, argv)


def parse_common(p: argparse.ArgumentParser, engines: Sequence[str], argv: Sequence[str] | None) -> argparse.Namespace:
    """The options that every comparison has, and those that ``p`` has already."""
    p.add_argument("--engines", type=_names, default=list(engines), help="names, comma-separated; ENGINE@DTYPE:TABLE")
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


def measure_workloads(options: argparse.Namespace, threads: int, ruler: Ruler) -> list[Result]:
    """Every workload with so many threads; the machine's limits before and after each.

    Raises:
        ValueError: this process may not use so many cores.
    """
    results = []
    before = ruler.limits(threads, options.engines)
    for w in options.workloads:
        say(f"{w.name} ({w.describe()}), {threads} thread{'s' * (threads > 1)}")
        result = compare(w, threads, options.engines, options.rounds, options.round_ms / 1e3)
        after = ruler.limits(threads, options.engines)
        result.limits, before = before + after, after
        results.append(result)
    return results


def measure(options: argparse.Namespace, env: dict[str, Any]) -> Report:
    """Every workload with every number of threads that this machine has cores for."""
    results: list[Result] = []
    with ExitStack() as stack:
        ruler = Ruler(stack, options.quick)
        for threads in options.threads:
            try:
                results += measure_workloads(options, threads, ruler)
            except ValueError as e:
                say(f"left out: {e}")
        env["no_bounds"] = ruler.why_not
    return Report(env, results)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print and write; 1 if an engine failed or gave other results."""
    return run(parse(argv))


def run(options: argparse.Namespace) -> int:
    """The same, of options."""
    env = environment() | {"rounds": options.rounds, "round_ms": options.round_ms}
    report = measure(options, env)
    print(text(report))
    if options.json:
        options.json.write_text(json.dumps(as_json(report), indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(report))
    return int(any(e.failed for r in report.results for e in r.entries))


if __name__ == "__main__":
    sys.exit(main())
