"""The machine, and tables of results for the terminal and for Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from bounds import flop, weight_bytes
from results import OURS, Entry, Report, Result, Spread, ratio, times_longer
from roofline import Roofline
from workloads import EngineName

PACKAGES = ("numpy", "torch", "onnxruntime", "openvino", "ai-edge-litert", "onnx")


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

TIMES = [
    "workload", "dtype", "threads", "engine", "us per call", "p10..p90", "/ ours", "of bound", "GFLOP/s", "max diff",
    "max error", "rms error",
]  # fmt: skip
RATIOS = [
    "workload", "shape", "dtype", "threads", "MB", "MFLOP", "bound us", "ours us", "of bound",
    "best rival", "us", "rival / ours", "p10..p90",
]  # fmt: skip
INTEGER = [
    "workload", "shape", "threads", "engine", "KB", "us", "lstm_rt / it", "p10..p90", "max error", "rms error",
    "best int8 rival", "its KB", "its us", "rival / it", "p10..p90 of that",
    "max error / rival's", "rms error / rival's",
]  # fmt: skip
THREADS = [
    "workload", "dtype", "threads", "ours us", "speed-up", "best rival", "its threads", "us", "rival / ours",
]  # fmt: skip
LIMITS = {"32 KiB": 32 << 10, "512 KiB": 512 << 10, "8 MiB": 8 << 20, "64 MiB": 64 << 20}


def number(value: float | None, digits: int = 3) -> str:
    """At least three significant digits, without an exponent."""
    if value is None:
        return "-"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(digits - whole, 0)}f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def _between(spread: Spread | None) -> str:
    return f"{number(spread.p10)}..{number(spread.p90)}" if spread else "-"


def _median(spread: Spread | None) -> str:
    return number(spread.median) if spread else "-"


def _us(entry: Entry | None) -> str:
    return number(entry.us if entry else None)


def small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _row_head(result: Result, dtype: str = "float32") -> list[str]:
    return [result.workload.name, dtype, str(result.threads)]


def _time_row(result: Result, entry: Entry) -> list[str]:
    head = [*_row_head(result, entry.name.dtype), entry.engine]
    far = [small(entry.max_abs_diff), small(entry.max_error), small(entry.rms_error)]
    if not entry.timing:
        return [*head, "missing" if entry.missing else "FAILED", "-", "-", "-", "-", *far]
    us = entry.timing.us_per_call
    gflops = flop(result.workload) / us.median / 1e3
    times = _median(ratio(entry, result.ours()))
    return [*head, number(us.median), _between(us), times, percent(result.share(entry)), number(gflops), *far]


def times_table(report: Report) -> Table:
    """A row for each engine on each workload."""
    return TIMES, [_time_row(r, e) for r in report.results for e in r.entries]


def _ratio_row(result: Result, engine: str) -> list[str]:
    w, ours, rival = result.workload, result.entry(engine), result.best_rival()
    times = ratio(rival, ours)
    return [
        w.name, w.describe(), w.dtype, str(result.threads), number(weight_bytes(w) / 1e6), number(flop(w) / 1e6),
        number(result.bound_us(engine)), _us(ours), percent(result.share(ours)),
        rival.engine if rival else "-", _us(rival), _median(times), _between(times),
    ]  # fmt: skip


def ratios_table(report: Report, engine: str) -> Table:
    """A row for each workload: one of our engines beside the bound and the fastest of the others."""
    return RATIOS, [_ratio_row(r, engine) for r in report.results]


def _kilobytes(entry: Entry | None) -> str:
    return number(entry.nbytes / 1e3) if entry and entry.nbytes else "-"


def _integer_row(result: Result, entry: Entry) -> list[str]:
    w, rival = result.workload, result.best_rival(integers=True)
    times, faster = ratio(result.entry(OURS), entry), ratio(rival, entry)
    largest, usual = [
        theirs and ours and ours / theirs
        for ours, theirs in (
            (entry.max_error, rival.max_error if rival else None),
            (entry.rms_error, rival.rms_error if rival else None),
        )
    ]
    return [
        w.name, w.describe(), str(result.threads), entry.engine, _kilobytes(entry), _us(entry),
        _median(times), _between(times), small(entry.max_error), small(entry.rms_error),
        rival.engine if rival else "-", _kilobytes(rival), _us(rival), _median(faster), _between(faster),
        number(largest), number(usual),
    ]  # fmt: skip


def integers_table(report: Report) -> Table:
    """A row for each workload and kind of our integers: beside our float32 and the fastest of the others' integers."""
    found = [(r, e) for r in report.results for e in r.entries if e.is_ours() and e.name.has_integers and e.timing]
    return INTEGER, [_integer_row(r, e) for r, e in found]


def _threads_row(report: Report, result: Result) -> list[str]:
    ours = result.ours()
    rival, threads = report.best_rival(result) or (None, 0)
    speed_up = "-" if result.threads == 1 else number(report.speed_up(result))
    return [
        *_row_head(result), _us(ours), speed_up,
        rival.engine if rival else "-", str(threads) if rival else "-", _us(rival), number(times_longer(rival, ours)),
    ]  # fmt: skip


def threads_table(report: Report) -> Table:
    """A row for each workload and number of threads: ours beside the best rival with whichever number."""
    order = sorted(report.results, key=lambda r: (report.results.index(report.same_workload(r)[0]), r.threads))
    return THREADS, [_threads_row(report, r) for r in order]


def _limits_row(rooflines: Sequence[Roofline]) -> list[str]:
    def spread(figure: Callable[[Roofline], float]) -> str:
        values = [figure(r) for r in rooflines]
        return f"{number(float(np.median(values)))} ({number(min(values))}..{number(max(values))})"

    reads = [spread(lambda r, size=size: r.bandwidth(size)) for size in LIMITS.values()]  # type: ignore[misc]
    return [str(rooflines[0].threads), rooflines[0].isa, spread(lambda r: r.peak), *reads]


def limits_table(report: Report) -> Table:
    """A row for each number of threads and instruction set: median, least and most of all measurements."""
    found: dict[tuple[int, str], dict[Roofline, None]] = {}  # one may stand after a result and before the next
    for result in report.results:
        for measured in result.limits:
            for isa, r in measured.items():
                found.setdefault((result.threads, isa), {})[r] = None
    head = ["threads", "instruction set", "float32 GFLOP/s", *(f"GB/s from {size}" for size in LIMITS)]
    return head, [_limits_row(list(rs)) for rs in found.values()]


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


def tables(report: Report) -> dict[str, Table]:
    """All tables by their titles, those left out that have nothing to tell."""
    out = {}
    for engine in report.our_engines():
        _, dtype, forced = EngineName.of(engine)
        if dtype != "float32":
            continue
        title = f"{OURS}, forced to its {forced} kernels" if forced else OURS
        out[f"{title}, beside the fastest of the others"] = ratios_table(report, engine)
    integers = integers_table(report)
    if integers[1]:
        out["Weights of integers, beside float32 and the fastest of the others' integers"] = integers
    if len(report.thread_counts()) > 1:
        out["Beside the fastest of the others with whichever number of threads"] = threads_table(report)
    out["All times"] = times_table(report)
    if any(r.limits for r in report.results):
        out["What the machine can do: median (least..most) of all measurements"] = limits_table(report)
    return out


def notes(report: Report) -> list[str]:
    """Versions and settings of each engine, and what is missing or failed."""
    out: dict[str, None] = {}
    if report.environment.get("no_bounds"):
        out.setdefault(f"bounds are not known: {report.environment['no_bounds']}")
    for r in report.results:
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
    rounds = f"{env['rounds']} rounds of {env['round_ms']} ms"
    return f"{machine}, Python {env['python']}, {packages}; load before the run {load}; {rounds}"


def text(report: Report) -> str:
    """The report for the terminal."""
    blocks = [f"{title}\n\n{as_text(table)}" for title, table in tables(report).items()]
    return "\n\n".join([machine_line(report.environment), *blocks, "\n".join(notes(report))])


HOW_TO_READ = """\
Made by `benchmarks/compare.py`; `benchmarks/README.md` says how and defines everything in the tables. Times are
medians; above 1, `rival / ours` means that lstm_rt is faster. `bound` is the least time in which this machine can
read the weights and do the multiply-adds that a call cannot avoid, measured in the same run; `of bound` is how much
of a call's time that is."""


def markdown(report: Report, chart: str = "") -> str:
    """The whole report; ``chart`` is a link to its picture."""
    parts = ["# lstm_rt beside other engines", machine_line(report.environment), HOW_TO_READ]
    if chart:
        parts.append(f"![Speed of each engine relative to lstm_rt]({chart})")
    for title, table in tables(report).items():
        parts += [f"## {title}", as_markdown(table)]
    parts += ["## Versions and settings", "\n".join(f"- {note}" for note in notes(report))]
    return "\n\n".join(parts) + "\n"
