"""Draws the results of compare.py: ``python benchmarks/plot.py results.json -o docs/benchmarks.svg``.

Speed relative to lstm_rt, for each engine and workload with one number of threads; with ``--errors`` how far each
is from the exact results beside its size and its speed, for runs with weights of integers. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import number
from results import OURS, Entry, Report, Result, from_json
from workloads import EngineName

#: Okabe and Ito's colours, which people with any colour vision can tell apart; ours are the blues.
COLOURS = {
    OURS: "#0072B2", OURS + ":avx2": "#56B4E9", "onnxruntime": "#E69F00", "openvino": "#009E73",
    "torch": "#D55E00", "litert": "#CC79A7",
    OURS + "@int16": "#56B4E9", OURS + "@int8": "#0072B2", OURS + "@int8/8": "#003A5C",
    "onnxruntime@int8": "#E69F00", "torch@int8": "#D55E00", "litert@int8": "#CC79A7",
}  # fmt: skip
OTHER_COLOUR = "#999999"
BAR = 0.13  #: inches of a bar's height
GAP = 0.16  #: between two workloads
TIMES_WIDTH = 42  #: points, for the times before the bars


def drawn(report: Report, threads: int) -> list[Result]:
    """Those that can be drawn: with so many threads, and with a time of ours."""
    return [r for r in report.results if r.threads == threads and r.entry(OURS)]


def engines(results: Sequence[Result]) -> list[str]:
    """All that have a time, those with a colour first."""
    found = {e.engine: None for r in results for e in r.entries if e.timing}
    return [e for e in COLOURS if e in found] + [e for e in found if e not in COLOURS]


def label(result: Result) -> str:
    """Name and shape of a workload, in two lines."""
    return f"{result.workload.name}\n{result.workload.describe()}"


def speed(result: Result, us: float | None) -> float:
    """How many times as fast as ours a call of so many microseconds is."""
    return (result.entry(OURS).us or 0) / us if us else 0.0  # type: ignore[union-attr]


def time(us: float | None) -> str:
    """In microseconds or milliseconds."""
    us = us or 0
    return f"{number(us / 1e3)} ms" if us >= 1e3 else f"{number(us)} µs"


def draw_group(axes: Any, result: Result, names: Sequence[str], top: float) -> float:
    """One workload's bars from ``top`` downwards and its bound across them; returns where they end."""
    present = [e for name in names if (e := result.entry(name))]
    for i, entry in enumerate(present):
        draw_bar(axes, entry, speed(result, entry.us), top - (i + 0.5) * BAR)
    bottom = top - len(present) * BAR
    least = result.bound_us(OURS)
    if least:
        for colour, width in (("white", 3.6), ("black", 1.8)):  # white around it: it may cross dark bars
            axes.plot([speed(result, least)] * 2, [top, bottom], color=colour, linewidth=width, solid_capstyle="butt")
    return bottom


def draw_bar(axes: Any, entry: Entry, length: float, middle: float) -> None:
    """A bar, with its time before it."""
    axes.barh(middle, length, height=BAR * 0.9, color=COLOURS.get(entry.engine, OTHER_COLOUR))
    axes.annotate(
        time(entry.us), (0, middle), xytext=(-3, 0), textcoords="offset points", ha="right", va="center_baseline",
        fontsize=6.5, color="black" if entry.engine == OURS else "#555555",
    )  # fmt: skip


def legend(figure: Any, axes: Any, names: Sequence[str], with_bound: bool) -> None:
    """The engines' colours and the bound's line, above the bars."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=COLOURS.get(name, OTHER_COLOUR), label=name) for name in names]
    if with_bound:
        handles.append(Line2D([], [], color="black", linewidth=1.8, label="bound of this machine"))
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8,
        borderaxespad=0.4, columnspacing=1.4, handlelength=1.4,
    )  # fmt: skip


def draw(report: Report, threads: int) -> Any:
    """The figure.

    Raises:
        ValueError: there is nothing to draw with this number of threads.
    """
    from matplotlib.figure import Figure

    results = drawn(report, threads)
    if not results:
        raise ValueError(f"no results of {OURS} with {threads} threads, expected one of {report.thread_counts()}")
    names = engines(results)
    middles, at = [], 0.0
    inches = sum(sum(1 for n in names if r.entry(n)) * BAR + GAP for r in results)
    figure = Figure(figsize=(8, inches + 1.3), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for result in results:
        end = draw_group(axes, result, names, at)
        middles.append((at + end) / 2)
        at = end - GAP
    axes.set_yticks(middles, [label(r) for r in results], fontsize=7.5)
    axes.tick_params(axis="y", length=0, pad=TIMES_WIDTH)
    axes.set_ylim(at + GAP / 2, GAP / 2)
    axes.set_xlim(left=0)
    plural = "s" * (threads > 1)
    axes.set_xlabel(f"speed relative to lstm_rt, {threads} thread{plural}; longer is faster", fontsize=8)
    axes.axvline(1, color="#888888", linewidth=0.6, zorder=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    legend(figure, axes, names, any(r.bound_us(OURS) for r in results))
    return figure


def draw_errors(report: Report, threads: int) -> Any:
    """The figure of errors: root mean squares, beside sizes and beside speeds, both relative to lstm_rt in float32.

    Raises:
        ValueError: there is nothing to draw with this number of threads.
    """
    from matplotlib.figure import Figure

    results = drawn(report, threads)
    names = [name for name in engines(results) if EngineName.of(name).has_integers]
    if not names:
        raise ValueError(f"no integers with {threads} threads beside {OURS}: compare.py --integers measures them")
    figure = Figure(figsize=(8, 4), facecolor="white", layout="constrained")
    size, fast = figure.subplots(1, 2, sharey=True)
    for name in names:
        points = [
            (e.nbytes / float32.nbytes, speed(r, e.us), e.rms_error)
            for r in results
            if (e := r.entry(name)) and (float32 := r.entry(OURS)) and float32.nbytes and e.rms_error
        ]
        colour, marker = COLOURS.get(name, OTHER_COLOUR), "o" if name.startswith(OURS) else "x"
        for axes, at in ((size, 0), (fast, 1)):
            axes.scatter([p[at] for p in points], [p[2] for p in points], s=22, color=colour, marker=marker, label=name)
    size.set_ylabel("error (root mean square) of outputs on unit scale", fontsize=8)
    size.set_xlabel("bytes of the model, of float32's", fontsize=8)
    fast.set_xlabel(f"speed relative to lstm_rt with float32, {threads} thread{'s' * (threads > 1)}", fontsize=8)
    fast.axvline(1, color="#888888", linewidth=0.6, zorder=0)
    for axes in (size, fast):
        axes.set_yscale("log")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.3)
    fast.set_xscale("log")
    ticks = [0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5]
    fast.set_xticks(ticks, [str(t) for t in ticks])
    fast.minorticks_off()
    size.set_xlim(left=0)
    figure.legend(*size.get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    return figure


def save(figure: Any, path: Path) -> None:
    """The same bytes for the same results: no date, no random names."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "lstm_rt", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, draw, write."""
    p = argparse.ArgumentParser(description="Draws what compare.py --json wrote.")
    p.add_argument("results", type=Path, metavar="RESULTS.json")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a picture, such as chart.svg")
    p.add_argument("--threads", type=int, default=1, help="the results with this number of threads; default 1")
    p.add_argument("--errors", action="store_true", help="errors beside size and speed, of a run with --integers")
    options = p.parse_args(argv)
    chart = draw_errors if options.errors else draw
    try:
        save(chart(from_json(json.loads(options.results.read_text())), options.threads), options.output)
    except (ImportError, ValueError) as e:
        p.exit(1, f"plot.py: {e}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
