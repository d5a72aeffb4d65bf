"""Do more threads ever hurt? ``python benchmarks/threads.py``.

Times calls with ``threads="auto"`` beside one thread over many shapes, back to back and with pauses in which
threads fall asleep; the processor time that idle threads burn after a call; a meeting of two lanes; and calls
that alternate with PyTorch's in one process. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import Spread, as_text, environment, machine_line
from roofline import RooflineError, compiler
from worker import choose_cpus
from workloads import GATES, WORKLOADS, Array, Workload

import lstm_rt

ROOT = Path(__file__).parent.parent
PAUSE = 0.002  #: seconds between calls in which other threads fall asleep
IDLE = 0.2  #: seconds in which idle threads are watched

SHAPES = [
    *(Workload(f"h{h}", "lstm", h, h, steps=t) for h in (32, 64, 128, 256, 512) for t in (1, 4, 20, 100)),
    *(Workload(f"bi h{h}", "lstm", h, h, steps=t, bidirectional=True) for h in (16, 64, 256) for t in (2, 10, 50)),
    *(Workload(f"b{b} h{h}", "lstm", h, h, steps=t, batch=b) for h in (16, 64, 256) for b in (2, 4, 8) for t in (1, 9)),
    *(Workload(f"gru h{h}", "gru", h, h, steps=t) for h in (64, 192, 512) for t in (1, 20)),
    *WORKLOADS.values(),
]


def model_of(w: Workload) -> lstm_rt.Model:
    """The workload's model, which may use every CPU."""
    given = w.weights()
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    lists = [[given[f"{kind}_l{at}{s}"] for at, s in w.parts()] for kind in kinds]
    return (lstm_rt.LSTM if w.cell == "lstm" else lstm_rt.GRU)(*lists, bidirectional=w.bidirectional)


def calls_of(w: Workload) -> dict[str, Callable[[], object]]:
    """The same call on one thread and on as many as the runtime chooses."""
    model, x = model_of(w), w.calls()[0]
    out = np.empty((w.batch, w.steps, w.outputs), np.float32)

    def call(threads: int | str) -> Callable[[], object]:
        return lambda: model(x, out=out, threads=threads)

    return {"one": call(1), "auto": call("auto")}


def microseconds(call: Callable[[], object], seconds: float, pause: float) -> float:
    """Median of the calls that fit into so many seconds, at least three."""
    clock, times = time.perf_counter, []
    end = clock() + seconds
    while clock() < end or len(times) < 3:
        if pause:
            time.sleep(pause)
        start = clock()
        call()
        times.append(clock() - start)
    return float(np.median(times)) * 1e6


def compare(w: Workload, rounds: int, seconds: float, pause: float) -> dict[str, Any]:
    """Both in turns; the ratio of a round compares neighbours, whatever the machine does meanwhile."""
    calls = calls_of(w)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in sorted(calls, reverse=bool(i % 2)):
            times[name].append(microseconds(calls[name], seconds, pause))
    ratios = Spread.of([a / b for a, b in zip(times["auto"], times["one"], strict=True)])
    return {
        "name": w.name,
        "shape": w.describe(),
        "pause_ms": pause * 1e3,
        "multiply_adds": GATES[w.cell] * w.hidden * w.hidden * w.layers * w.directions * w.batch * w.steps,
        "one_us": float(np.median(times["one"])),
        "auto_us": float(np.median(times["auto"])),
        "auto_over_one": vars(ratios),
    }


# -- idle threads -----------------------------------------------------------------------------------


def idle_ms(call: Callable[[], object], tries: int = 9) -> float:
    """Milliseconds of processor time that the process uses in a pause after a call, the median of several."""
    used = []
    for _ in range(tries):
        call()
        before = time.process_time()
        time.sleep(IDLE)
        used.append(time.process_time() - before)
    return float(np.median(used)) * 1e3


# -- a meeting of lanes -------------------------------------------------------------------------------

MEETING = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include "team.h"
int main(void)
{
    enum { ROUNDS = 1000000 };
    lrt_team team;
    struct timespec a, b;
    lrt_team_init(&team);
    timespec_get(&a, TIME_UTC);
#pragma omp parallel num_threads(2)
    {
        lrt_member me;
        me.team = &team;
        me.lanes = omp_get_num_threads();
        for (int i = 0; i < ROUNDS; i++)
            lrt_team_wait(&me);
    }
    timespec_get(&b, TIME_UTC);
    printf("%f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / ROUNDS);
    return 0;
}
"""


def meeting_ns() -> float:
    """Nanoseconds of one meeting of two lanes, in a C program around the runtime's own code.

    Raises:
        RooflineError: there is no C compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "meeting.c", Path(folder) / "meeting"
        source.write_text(MEETING)
        sources = sorted(str(p) for p in (ROOT / "src").rglob("*.c"))
        include = [f"-I{ROOT / name}" for name in ("src", "lstm_rt/_runtime")]
        options = ["-std=gnu11", "-O1", "-DLRT_INSTRUMENTED", "-DLRT_PORTABLE_ONLY", "-fopenmp"]
        command = [*compiler(), *options, *include, str(source), *sources]
        if subprocess.run([*command, "-lm", "-o", str(program)]).returncode:
            raise RooflineError("the C compiler knows no OpenMP")
        return float(subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout)


# -- with PyTorch in one process -----------------------------------------------------------------------

ALTERNATE = """
import json, sys, time
import numpy as np
first = sys.argv[1]
if first == "torch":
    import torch
import lstm_rt
import torch
rng = np.random.default_rng(0)
torch.set_num_threads(2)
h, t = (int(n) for n in sys.argv[2:4])
w = lambda *s: (rng.uniform(-1, 1, s) / np.sqrt(h)).astype(np.float32)
model = lstm_rt.LSTM(w(4 * h, h), w(4 * h, h))
x = w(1, t, h)
out = np.empty((1, t, h), np.float32)
a, b = torch.rand(64, 512), torch.rand(512, 512)
def ours(): model(x, out=out)
def theirs(): torch.relu_(torch.mm(a, b))
def median(*calls):
    times = [[] for _ in calls]
    end = time.perf_counter() + 1
    with torch.inference_mode():
        while time.perf_counter() < end:
            for call, spent in zip(calls, times):
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
    return [1e6 * float(np.median(s)) for s in times]
median(ours, theirs)
alone = median(ours) + median(theirs)
print(json.dumps({"ours_alone": alone[0], "torch_alone": alone[1], "alternating": median(ours, theirs)}))
"""


def alternate(first: str, hidden: int, steps: int) -> dict[str, Any] | None:
    """Microseconds of our call and one of torch's, alone and in turns; None without torch."""
    command = [sys.executable, "-c", ALTERNATE, first, str(hidden), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if "No module named 'torch'" in done.stderr:
        return None
    if done.returncode:
        print(f"PyTorch beside us failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found = json.loads(done.stdout)
    ours, theirs = found["alternating"]
    found["slowdown"] = [ours / found["ours_alone"], theirs / found["torch_alone"]]
    return {"imported_first": first, "hidden": hidden, "steps": steps, **found}


# -- command line ---------------------------------------------------------------------------------------


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The shapes, those where "auto" does worst first."""
    head = ["shape", "pause ms", "one us", "auto us", "auto / one", "p10..p90"]
    rows = sorted(rows, key=lambda r: -float(r["auto_over_one"]["median"]))
    cells = []
    for r in rows:
        ratio = Spread(**r["auto_over_one"])
        times = [f"{r['one_us']:.1f}", f"{r['auto_us']:.1f}", f"{ratio.median:.2f}"]
        cells.append([r["shape"], f"{r['pause_ms']:g}", *times, f"{ratio.p10:.2f}..{ratio.p90:.2f}"])
    return as_text((head, cells))


def sweep(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every shape, back to back and with pauses."""
    shapes = [w for w in SHAPES if not options.shapes or options.shapes in w.describe()]
    rows = []
    for w in shapes:
        for pause in (0.0, PAUSE):
            print(f"{w.describe()}, pause {pause * 1e3:g} ms", file=sys.stderr, flush=True)
            rows.append(compare(w, options.rounds, options.round_ms / 1e3, pause))
    return rows


def others() -> dict[str, Any]:
    """What idle threads use, a meeting, and PyTorch beside us."""
    tagger: Array = WORKLOADS["tagger"].calls()[0]
    model = model_of(WORKLOADS["tagger"])
    found: dict[str, Any] = {
        "idle_ms": idle_ms(lambda: model(tagger)),
        "idle_ms_of_one": idle_ms(lambda: model(tagger, threads=1)),
        "meeting_ns": None,
    }
    try:
        found["meeting_ns"] = meeting_ns()
    except RooflineError as e:
        print(e, file=sys.stderr)
    tries = [(first, h, t) for first in ("lstm_rt", "torch") for h, t in ((64, 20), (256, 20), (512, 50))]
    found["alternate"] = [a for a in (alternate(*given) for given in tries) if a]
    return found


def describe(found: dict[str, Any]) -> str:
    """The figures beside the table, as text."""
    lines = [
        f"processor time in {IDLE * 1e3:g} ms after a call on several threads: {found['idle_ms']:.2f} ms, "
        f"on one: {found['idle_ms_of_one']:.2f} ms"
    ]
    if found["meeting_ns"] is not None:
        lines.append(f"a meeting of two lanes: {found['meeting_ns']:.0f} ns")
    for a in found["alternate"]:
        ours, theirs = a["slowdown"]
        lines.append(
            f"{a['imported_first']} imported first, lstm {a['hidden']}/{a['hidden']}, {a['steps']} steps "
            f"({a['ours_alone']:.0f} us) and torch.mm ({a['torch_alone']:.0f} us) in turns: "
            f"ours {ours:.2f} x, torch {theirs:.2f} x the time alone"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    p.add_argument("--shapes", metavar="TEXT", help="only shapes whose description contains this")
    p.add_argument("--rounds", type=int, default=7, help="rounds in which the two take turns; default 7")
    p.add_argument("--round-ms", type=int, default=40, help="length of a turn; default 40")
    p.add_argument("--no-others", action="store_true", help="the shapes only")
    p.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    options = p.parse_args(argv)
    env = environment() | {"rounds": options.rounds, "round_ms": options.round_ms}
    try:
        cpus = choose_cpus(2)
    except ValueError as e:
        p.error(str(e))
    if cpus:
        os.sched_setaffinity(0, cpus)
    rows, found = sweep(options), {} if options.no_others else others()
    print(machine_line(env), table(rows), sep="\n\n", end="\n\n")
    if found:
        print(describe(found))
    if options.json:
        options.json.write_text(json.dumps({"environment": env, "shapes": rows, **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
