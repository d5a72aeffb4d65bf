"""What lstm_rt costs besides arithmetic: time to the first result, memory, disk, and calls of a tiny model.

``python benchmarks/footprint.py``; see README.md in this folder for what is measured and how.

This process starts the measured ones and must stay smaller than they are, because Linux counts the
memory of the process before ``exec`` towards the peak of the one after it. So it imports nothing
but the standard library; models are prepared in a process of their own (``--prepare``).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from statistics import median

#: What each process does: load the input, load a model of the workload "amp", give the first result.
FIRST_RESULT = {
    "numpy": "import numpy as np; x = np.load('x.npy')",
    "lstm_rt": """
import numpy as np; x = np.load('x.npy')
import lstm_rt
y = lstm_rt.load('amp.lrt')(x)
assert y.shape == (1, 512, 40)
""",
    "onnxruntime": """
import numpy as np; x = np.load('x.npy').transpose(1, 0, 2)
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession('amp.onnx', options, providers=['CPUExecutionProvider'])
y, = session.run(None, {'x': np.ascontiguousarray(x)})
assert y.shape == (512, 1, 1, 40)
""",
    "torch": """
import numpy as np; x = np.load('x.npy')
import torch
torch.set_num_threads(1)
model = torch.nn.LSTM(1, 40, batch_first=True)
model.load_state_dict({k: torch.from_numpy(v) for k, v in np.load('amp.npz').items()})
with torch.inference_mode():
    y = model(torch.from_numpy(x))[0].numpy()
assert y.shape == (1, 512, 40)
""",
}
#: Files that a program needs before it can be measured, in the prepared folder.
NEEDS = {"numpy": "x.npy", "lstm_rt": "amp.lrt", "onnxruntime": "amp.onnx", "torch": "amp.npz"}
DEFAULT_ENGINES = ("numpy", "lstm_rt", "onnxruntime", "torch")

STEP = """
import json, sys, timeit
import numpy as np, lstm_rt
rng = np.random.default_rng(0)
w_ih, w_hh = (rng.uniform(-0.5, 0.5, (32, n)).astype(np.float32) for n in (1, 8))
stream = lstm_rt.LSTM(w_ih, w_hh, threads=1).stream()
step, x, out = stream.step, np.ones(1, np.float32), np.empty(8, np.float32)
calls = 20000
times = timeit.repeat(lambda: step(x, out=out), number=calls, repeat=int(sys.argv[1]))
print(json.dumps([1e6 * t / calls for t in times]))
"""
#: Sources in the package's folder, which are not installed with it.
_NOT_INSTALLED = {".pyx", ".pxd", ".c", ".h", ".pyc", ".html"}


@dataclass(frozen=True)
class Usage:
    """What one process used."""

    wall_ms: float
    cpu_ms: float
    peak_mib: float


# -- processes ------------------------------------------------------------------------------------


def run(program: str, folder: Path) -> Usage:
    """Run a Python program to its end in ``folder``.

    Raises:
        RuntimeError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    if status:
        raise RuntimeError(f"a measured program failed with exit code {process.returncode}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(1e3 * wall, 1e3 * (used.ru_utime + used.ru_stime), peak / 2**20)


def medians(usages: Sequence[Usage]) -> Usage:
    """The median of each figure."""
    return Usage(*(median(asdict(u)[k] for u in usages) for k in ("wall_ms", "cpu_ms", "peak_mib")))


def measure(engines: Sequence[str], folder: Path, repeat: int) -> dict[str, Usage]:
    """Medians per engine. Engines take turns; the first turn fills caches and does not count."""
    usages: dict[str, list[Usage]] = {name: [] for name in engines}
    for turn in range(repeat + 1):
        for name in engines:
            usage = run(FIRST_RESULT[name], folder)
            if turn:
                usages[name].append(usage)
    return {name: medians(u) for name, u in usages.items()}


def step_us(repeat: int) -> list[float]:
    """Microseconds per stream.step of a model with 1 input and 8 units, loops of many calls each."""
    command = [sys.executable, "-c", STEP, str(repeat)]
    found: list[float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


# -- preparation ----------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Write the input and the model in each engine's form; without onnx there is no ONNX model."""
    import numpy as np
    from workloads import WORKLOADS

    import lstm_rt

    w = WORKLOADS["amp"]
    weights = w.weights()
    np.save(folder / "x.npy", w.calls()[0])
    np.savez(folder / "amp.npz", **weights)  # type: ignore[arg-type]
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    lstm_rt.LSTM(*(weights[n] for n in names)).save(folder / "amp.lrt")
    if importlib.util.find_spec("onnx"):
        import onnx_models

        (folder / "amp.onnx").write_bytes(onnx_models.build(w))


def available(engine: str, folder: Path) -> bool:
    """Is the engine installed, and its model prepared?"""
    return importlib.util.find_spec(engine) is not None and (folder / NEEDS[engine]).exists()


# -- disk -----------------------------------------------------------------------------------------


def folder_bytes(package: str) -> int:
    """Bytes of a package's own files as they would be installed: no sources of the extension, no caches."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return 0
    paths = Path(spec.submodule_search_locations[0]).rglob("*")
    return sum(p.stat().st_size for p in paths if p.is_file() and p.suffix not in _NOT_INSTALLED)


def distribution_bytes(name: str) -> int | None:
    """Bytes of an installed distribution's files, compiled caches aside; None if there is none."""
    try:
        listed = files(name) or []
    except PackageNotFoundError:
        return None
    paths = [Path(str(f.locate())) for f in listed if f.suffix != ".pyc"]
    return sum(p.stat().st_size for p in paths if p.is_file())


def installed_bytes(engine: str) -> int | None:
    """Bytes on disk without dependencies; lstm_rt is both of its packages."""
    if engine == "lstm_rt":
        return folder_bytes("lstm_rt") + folder_bytes("lstm_rt_tools")
    return distribution_bytes(engine)


# -- report ---------------------------------------------------------------------------------------


def table(report: dict[str, dict[str, float | None]]) -> str:
    """A row per engine."""
    line = "{:<12}  {:>11}  {:>10}  {:>9}  {:>12}"
    rows = [line.format("", "wall ms", "cpu ms", "peak MiB", "installed MB")]
    for name, r in report.items():
        size = "-" if r["installed_bytes"] is None else f"{r['installed_bytes'] / 1e6:.2f}"
        rows.append(line.format(name, *(f"{r[k]:.1f}" for k in ("wall_ms", "cpu_ms", "peak_mib")), size))
    return "\n".join(rows)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    p = argparse.ArgumentParser(description="Time to the first result, memory, disk, and calls of a tiny model.")
    p.add_argument("--engines", default=",".join(DEFAULT_ENGINES), help="names, comma-separated; default all")
    p.add_argument("--repeat", type=int, default=15, help="processes per engine; default 15")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    p.add_argument("--prepare", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    unknown = [name for name in options.engines.split(",") if name not in FIRST_RESULT]
    if unknown or options.repeat < 1:
        p.error(f"no engine {unknown[0]!r}; known: {', '.join(FIRST_RESULT)}" if unknown else "--repeat must be from 1")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare, measure and report."""
    options = parse(argv)
    if options.prepare:
        prepare(options.prepare)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, "--prepare", name], check=True)
        wanted = options.engines.split(",")
        engines = [e for e in wanted if available(e, folder)]
        for engine in sorted(set(wanted) - set(engines)):
            print(f"{engine} is missing", file=sys.stderr)
        usages = measure(engines, folder, options.repeat)
    report = {e: {**asdict(u), "installed_bytes": installed_bytes(e)} for e, u in usages.items()}
    steps = step_us(options.repeat)
    print(table(report))
    print(f"\nlstm_rt stream.step(x, out=out), 1 input, 8 units: {median(steps):.3f} us per call")
    if options.json:
        document = {"first_result": report, "step_us": {"median": median(steps), "loops": steps}}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
