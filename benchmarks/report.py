"""Statistics over rounds, and tables of them for the terminal and for Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from workloads import Workload, bound

OURS = "lstm_rt"
PACKAGES = ("numpy", "torch", "onnxruntime", "openvino", "onnx")


@dataclass(frozen=True)
class Spread:
    """A median between the 10th and the 90th percentile."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        p10, median, p90 = (float(v) for v in np.percentile(values, (10, 50, 90)))
        return cls(median, p10, p90)


@dataclass
class Entry:
    """One engine on one workload: times in nanoseconds, call by call, in rounds; or why there are none."""

    engine: str
    version: str = ""
    settings: str = ""
    max_abs_diff: float | None = None
    missing: str = ""
    failed: str = ""
    calls: int = 0  #: per round
    rounds: list[list[int]] = field(default_factory=list)

    @property
    def us_per_call(self) -> Spread | None:
        """Microseconds, over all calls of all rounds."""
        return Spread.of([t / 1e3 for r in self.rounds for t in r]) if self.rounds else None

    @property
    def round_medians_us(self) -> list[float]:
        return [float(np.median(r)) / 1e3 for r in self.rounds]

    def is_ours(self) -> bool:
        return self.engine.partition(":")[0] == OURS


@dataclass
class Result:
    """All engines on one workload with one number of threads."""

    workload: Workload
    threads: int
    entries: list[Entry]

    def timed(self) -> list[Entry]:
        return [e for e in self.entries if e.rounds]

    def ours(self) -> Entry | None:
        """lstm_rt with its best kernels, or else its first other table."""
        mine = sorted((e for e in self.timed() if e.is_ours()), key=lambda e: e.engine != OURS)
        return mine[0] if mine else None

    def best_rival(self) -> Entry | None:
        """The rival with the smallest median."""
        rivals = [(e.us_per_call.median, e) for e in self.timed() if not e.is_ours() and e.us_per_call]
        return min(rivals, key=lambda pair: pair[0])[1] if rivals else None


def ratio(entry: Entry | None, ours: Entry | None) -> Spread | None:
    """How many times longer ``entry`` takes than ``ours``: over rounds, each compared with itself."""
    if not (entry and ours and entry.rounds and ours.rounds):
        return None
    pairs = zip(entry.round_medians_us, ours.round_medians_us, strict=True)
    return Spread.of([theirs / mine for theirs, mine in pairs])


# -- environment ----------------------------------------------------------------------------------


def cpu_model() -> str:
    """The CPU's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def cache_sizes() -> dict[str, str]:
    """Sizes of the first CPU's data caches where Linux tells, such as ``{"L2": "1024K"}``."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def package_versions() -> dict[str, str]:
    """Versions of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Machine and versions, with the load before the run: above zero, others were at work."""
    import lstm_rt

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "caches": cache_sizes(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": package_versions(),
        "lstm_rt": lstm_rt.build_info(),
        "load_before": load,
    }


# -- tables ---------------------------------------------------------------------------------------

Table = tuple[list[str], list[list[str]]]

TIMES = ["workload", "threads", "engine", "us per call", "p10..p90", "/ ours", "GFLOP/s", "max diff"]
RATIOS = ["workload", "shape", "threads", "MB", "MFLOP", "ours us", "best rival", "us", "rival / ours", "p10..p90"]


def number(value: float | None, digits: int = 3) -> str:
    """At least three significant digits, without an exponent."""
    if value is None:
        return "-"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(digits - whole, 0)}f}"


def _between(spread: Spread | None) -> str:
    return f"{number(spread.p10)}..{number(spread.p90)}" if spread else "-"


def _median(spread: Spread | None) -> str:
    return number(spread.median) if spread else "-"


def _time_row(result: Result, entry: Entry) -> list[str]:
    us = entry.us_per_call
    head = [result.workload.name, str(result.threads), entry.engine]
    diff = "-" if entry.max_abs_diff is None else f"{entry.max_abs_diff:.1e}"
    if us is None:
        return [*head, "missing" if entry.missing else "FAILED", "-", "-", "-", diff]
    gflops = bound(result.workload).flop / us.median / 1e3
    return [*head, number(us.median), _between(us), _median(ratio(entry, result.ours())), number(gflops), diff]


def times_table(results: Sequence[Result]) -> Table:
    """A row for each engine on each workload."""
    return TIMES, [_time_row(r, e) for r in results for e in r.entries]


def ratios_table(results: Sequence[Result]) -> Table:
    """A row for each workload: lstm_rt beside the fastest of the others."""
    rows = []
    for r in results:
        ours, rival, least = r.ours(), r.best_rival(), bound(r.workload)
        times = ratio(rival, ours)
        rows.append([
            r.workload.name, r.workload.describe(), str(r.threads),
            number(least.weight_bytes / 1e6), number(least.flop / 1e6),
            _median(ours.us_per_call if ours else None),
            rival.engine if rival else "-", _median(rival.us_per_call if rival else None),
            _median(times), _between(times),
        ])  # fmt: skip
    return RATIOS, rows


def as_text(table: Table) -> str:
    """Columns side by side, for a terminal."""
    head, rows = table
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(line).rstrip() for line in lines)


def as_markdown(table: Table) -> str:
    """A Markdown table."""
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def notes(results: Sequence[Result]) -> list[str]:
    """Versions and settings of each engine, and what is missing or failed."""
    out: dict[str, None] = {}
    for r in results:
        for e in r.entries:
            if e.version:
                out.setdefault(f"{e.engine} {e.version}: {e.settings}")
            if e.missing:
                out.setdefault(f"{e.engine} is missing: {e.missing}")
            if e.failed:
                out.setdefault(f"{e.engine} FAILED on {r.workload.name}, {r.threads} threads: {e.failed}")
    return list(out)


def machine_line(env: dict[str, Any]) -> str:
    """The environment in one line."""
    caches = ", ".join(f"{k} {v}" for k, v in env["caches"].items())
    packages = ", ".join(f"{k} {v}" for k, v in env["packages"].items())
    load = "?" if env["load_before"] is None else f"{env['load_before']:.2f}"
    machine = f"{env['cpu']} ({env['cpus']} CPUs; {caches}), {env['system']}"
    return f"{machine}, Python {env['python']}, {packages}; load before the run {load}"


def markdown(env: dict[str, Any], results: Sequence[Result]) -> str:
    """The whole report."""
    parts = [
        "# lstm_rt beside other engines",
        machine_line(env),
        as_markdown(ratios_table(results)),
        as_markdown(times_table(results)),
        "\n".join(f"- {note}" for note in notes(results)),
    ]
    return "\n\n".join(parts) + "\n"


# -- JSON -----------------------------------------------------------------------------------------


def _spread_json(spread: Spread | None) -> dict[str, float] | None:
    return vars(spread).copy() if spread else None


def _entry_json(result: Result, entry: Entry) -> dict[str, Any]:
    return {
        "engine": entry.engine,
        "version": entry.version,
        "settings": entry.settings,
        "missing": entry.missing,
        "failed": entry.failed,
        "max_abs_diff": entry.max_abs_diff,
        "us_per_call": _spread_json(entry.us_per_call),
        "ratio_to_ours": _spread_json(ratio(entry, result.ours())),
        "calls_per_round": entry.calls,
        "round_medians_us": entry.round_medians_us,
    }


def as_json(env: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """Everything but the single calls, which are too many to keep."""
    out = []
    for r in results:
        rival = r.best_rival()
        out.append(
            {
                "workload": r.workload.name,
                "shape": r.workload.describe(),
                "threads": r.threads,
                "bound": vars(bound(r.workload)).copy(),
                "best_rival": rival.engine if rival else None,
                "engines": [_entry_json(r, e) for e in r.entries],
            }
        )
    return {"environment": env, "results": out}
