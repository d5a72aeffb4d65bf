"""The C core beside RTNeural, at sizes that are compiled into the latter: ``python benchmarks/rtneural.py PATH``.

PATH is a checkout of RTNeural. See README.md in this folder for what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from c_path import STEPS, build
from lstm_rt_tools import readers
from lstm_rt_tools.row import Options
from report import as_text
from roofline import RooflineError
from worker import choose_cpus

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import GATES

#: Cell, inputs, hidden units.
SIZES = [("lstm", 1, 16), ("lstm", 1, 20), ("lstm", 1, 32), ("lstm", 1, 40), ("lstm", 16, 64), ("gru", 1, 8),
         ("gru", 1, 32)]  # fmt: skip
CALLS = 1001
#: As RTNeural's users build it.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-DNDEBUG", "-w")
_CELLS = {"lstm": "LSTMLayerT", "gru": "GRULayerT"}
_CLOSE = 1e-3  #: its sigmoid and tanh are approximations


def description(cell: str, inputs: int, hidden: int) -> dict[str, object]:
    """RTNeural's JSON of a model, which both read: seeded weights, on unit scale."""
    rng, gates = np.random.default_rng(0), GATES[cell] * hidden

    def w(*shape: int) -> object:
        scale = np.sqrt(3.0 / shape[0]) if len(shape) > 1 else 0.5
        return rng.uniform(-scale, scale, shape).astype(np.float32).tolist()

    bias = w(gates) if cell == "lstm" else [w(gates), w(gates)]
    recurrent, head = [w(inputs, gates), w(hidden, gates), bias], [w(hidden, 1), w(1)]
    layers = [(cell, "tanh", hidden, recurrent), ("dense", "", 1, head)]
    return {
        "in_shape": [None, None, inputs],
        "layers": [{"type": t, "activation": a, "shape": [None, None, n], "weights": ws} for t, a, n, ws in layers],
    }


def compiled(source: Path, folder: Path, cell: str, inputs: int, hidden: int) -> Path:
    """RTNeural's program for one model, made by ``$CXX``, or c++."""
    program = folder / f"{cell}{inputs}_{hidden}"
    include = [f"-I{source}", f"-I{source / 'modules/Eigen'}", f"-I{source / 'modules/json'}"]
    sizes = [f"-DCELL={_CELLS[cell]}", f"-DINPUTS={inputs}", f"-DHIDDEN={hidden}"]
    files = [str(Path(__file__).with_name("rtneural.cpp")), str(source / "RTNeural/RTNeural.cpp")]
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    subprocess.run([*compiler, *FLAGS, *include, *sizes, *files, "-o", str(program)], check=True)
    return program


def figures(command: Sequence[object]) -> list[float]:
    """Median, p10 and p90."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    return [float(n) for n in done.stdout.split()]


class DifferError(Exception):
    """The two do not compute the same."""


def measured(model: tuple[str, int, int], theirs: Path, ours: Path, tables: Sequence[str], folder: Path,
             rounds: int) -> list[list[str]]:  # fmt: skip
    """A row for each kernel table, both programs having taken turns.

    Raises:
        DifferError: their outputs are too far apart.
    """
    cell, inputs, hidden = model
    described, x_file, y_file, lrt = (folder / name for name in ("m.json", "x.f32", "y.f32", "m.lrt"))
    described.write_text(json.dumps(description(*model)))
    x = np.random.default_rng(1).uniform(-1, 1, (1, STEPS, inputs)).astype(np.float32)
    x.tofile(x_file)
    graph = readers.read(described, Options())
    lrt.write_bytes(dumps(graph))
    of_them, of_us = [], {table: [] for table in tables}  # type: ignore[var-annotated]
    for _ in range(rounds):
        of_them.append(figures([theirs, described, x_file, y_file, CALLS]))
        for table in tables:
            of_us[table].append(figures([ours, table, STEPS, lrt]))
    apart = np.abs(np.fromfile(y_file, np.float32) - np.ravel(lstm_rt.Model(graph)(x))).max()
    if not apart < _CLOSE:
        raise DifferError(f"{cell} {inputs}/{hidden}: outputs are {apart:.2g} apart")
    them = np.median(of_them, axis=0)
    rows = []
    for table in tables:
        us = np.median(of_us[table], axis=0)
        ratio = np.median([a[0] / b[0] for a, b in zip(of_them, of_us[table], strict=True)])
        rows.append([f"{cell} {inputs}/{hidden}", table, f"{them[0]:.1f}", f"{them[1]:.1f}..{them[2]:.1f}",
                     f"{us[0]:.1f}", f"{us[1]:.1f}..{us[2]:.1f}", f"{ratio:.2f}", f"{apart:.1e}"])  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Build, compare, measure, print."""
    p = argparse.ArgumentParser(description="The C core beside RTNeural.")
    p.add_argument("path", type=Path, help="a checkout of RTNeural, whose Eigen and JSON are in its folder modules")
    p.add_argument("--tables", metavar="A,B", help="kernel tables; default: the best of this CPU, and avx2")
    p.add_argument("--rounds", type=int, default=5, help="in which they take turns; default 5")
    options = p.parse_args(argv)
    source, usable = options.path.resolve(), lstm_rt.kernels()
    if not (source / "RTNeural/RTNeural.h").is_file():
        print(f"{source}: no RTNeural/RTNeural.h in it, expected a checkout of RTNeural", file=sys.stderr)
        return 1
    tables = options.tables.split(",") if options.tables else [usable[0], *[t for t in usable[1:] if t == "avx2"]]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            ours = build(folder)
            programs = [compiled(source, folder, *model) for model in SIZES]
            if cpus := choose_cpus(1):
                os.sched_setaffinity(0, cpus)
            for model, theirs in zip(SIZES, programs, strict=True):
                rows += measured(model, theirs, ours, tables, folder, options.rounds)
        except (RooflineError, DifferError) as e:
            print(e, file=sys.stderr)
            return 1
    head = ["model + dense 1", "kernels", "RTNeural ns", "p10..p90", "ours ns", "p10..p90", "times faster", "apart"]
    print(as_text((head, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
