"""The C core without Python: ``python benchmarks/c_path.py``.

Builds c_path.c with the core and times LSTMs as guitar pedals use them: one input, a dense head of one output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from report import as_text
from roofline import RooflineError, compiler
from worker import choose_cpus
from workloads import Workload

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

ROOT = Path(__file__).parent.parent
STEPS = 512
SIZES = (8, 16, 32, 40, 64)


def model(hidden: int) -> bytes:
    """LSTM(1, hidden) and a dense layer of one unit, seeded."""
    w, g = Workload(f"h{hidden}", "lstm", 1, hidden), Graph()
    names = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
    weights = {names[k]: a for k, a in w.weights().items()}
    y, _, _ = g.recurrent("lstm", g.input("x", "seq", 1), weights, hidden_size=hidden)
    head = np.random.default_rng(0).uniform(-1, 1, (1, hidden)).astype(np.float32) / hidden
    g.output(g.dense(y, head, np.zeros(1, np.float32)), "y")
    return dumps(g)


def build(folder: Path, program: str = "c_path") -> Path:
    """The program of that name, with the core compiled as the release is.

    Raises:
        RooflineError: there is no C compiler.
    """
    cc = compiler()
    subprocess.run(["make", "-C", str(ROOT / "tests/c"), f"BUILD={folder}", f"CC={cc[0]}", "core"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    objects = sorted(str(p) for p in folder.glob("plain-*/*.o"))
    source = str(Path(__file__).with_name(f"{program}.c"))
    subprocess.run([*cc, "-std=c11", "-O2", f"-I{ROOT / 'src'}", source, *objects, "-lm", "-o", str(folder / program)],
                   check=True)  # fmt: skip
    return folder / program


def main() -> int:
    """Build, run, print."""
    cpus = choose_cpus(1)
    if cpus:
        os.sched_setaffinity(0, cpus)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            program = build(folder)
        except RooflineError as e:
            print(e, file=sys.stderr)
            return 1
        for hidden in SIZES:
            path = folder / "model.lrt"
            path.write_bytes(model(hidden))
            for table in [k for k in lstm_rt.kernels() if k not in ("nofma", "portable")] or ["portable"]:
                run = [str(program), table, str(STEPS), str(path)]
                median, p10, p90 = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
                rows.append([f"lstm 1/{hidden} + dense 1", table, median, f"{p10}..{p90}"])
    print(as_text((["model", "kernels", "ns per step", "p10..p90"], rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
