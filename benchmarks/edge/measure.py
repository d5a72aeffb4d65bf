"""What exported models take on microcontrollers: `python benchmarks/edge/measure.py` writes docs/edge.md.

Exports LSTMs of four sizes (`lstm-rt export-c`), builds each for the devices of tests/edge/devices.toml, runs it
emulated and counts what is executed. Nothing is timed: an emulator's time says nothing about a device's. Needs the
compilers and emulators that tests/edge/Makefile names; --llvm-mca names LLVM's, for the table of cycles.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests")]

from edge.run import BuildError, build, devices, run  # noqa: E402

from lstm_rt.graph import Graph  # noqa: E402

#: Inputs, hidden units, outputs of a dense layer behind (0: none).
SIZES = ((1, 20, 1), (16, 32, 0), (32, 64, 0), (64, 128, 0))
DEVICES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "riscv32", "riscv64")
#: Ways to export: what they are called, and the options of the command.
WAYS: tuple[tuple[str, tuple[str, ...]], ...] = (("float32", ()),)
#: Functions shown of a step, those that execute most.
SHOWN = 4

PROGRAM = ROOT / "tests/edge/counted_step.c"


@dataclass(frozen=True)
class Row:
    device: str
    way: str
    macs: int
    code: int  # bytes of flash without the model's constants
    constants: int
    arena: int
    state: int
    stack: int
    counts: dict[str, int]

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())


def model(inputs: int, hidden: int, outputs: int) -> Graph:
    rng = np.random.default_rng(inputs + hidden)

    def weights(*shape: int) -> np.ndarray:
        return rng.uniform(-(hidden**-0.5), hidden**-0.5, shape).astype(np.float32)

    g = Graph()
    given = {"w_ih": weights(4 * hidden, inputs), "w_hh": weights(4 * hidden, hidden)}
    given |= {"b_ih": weights(4 * hidden), "b_hh": weights(4 * hidden)}
    y = g.recurrent("lstm", g.input("x", "seq", inputs), given, hidden_size=hidden)[0]
    if outputs:
        y = g.dense(y, weights(outputs, hidden), weights(outputs))
    g.output(y, "y")
    return g


def export(graph: Graph, options: Sequence[str], folder: Path) -> Path:
    graph.save(folder / "net.lrt")
    command = ["export-c", folder / "net.lrt", "-o", folder / "net", "--name", "net", *options]
    code = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from lstm_rt_tools.cli import main; sys.exit(main())"
    path = f"{ROOT}:{ROOT / 'tools'}"
    subprocess.run([sys.executable, "-c", code, path, *map(str, command)], check=True, capture_output=True)
    return folder / "net" / "src"


def measure(device: str, way: str, source: Path, macs: int, folder: Path) -> Row | None:
    """None where the model does not fit the device."""
    try:
        program = build(devices()[device], [source, PROGRAM], folder / device)
    except BuildError as e:
        if "will not fit" in str(e) or "overflowed by" in str(e):
            return None
        raise
    result = run(program, count=True, timeout=120)
    if result.code or result.counts is None:
        raise SystemExit(f"{device}, {way}: {result.fault or result.code}: {result.output}{result.errors}")
    stack, arena, state = map(int, result.output.split())
    own = [p for p in program.pieces() if p.object in program.own and PROGRAM.stem not in p.object]
    constants = sum(p.flash for p in own if p.section.startswith(".rodata.net"))
    code = sum(p.flash for p in own) - constants
    return Row(device, way, macs, code, constants, arena, state, stack, dict(result.counts.most_common()))


def size_name(inputs: int, hidden: int, outputs: int) -> str:
    return f"{inputs} -> {hidden}{f' + dense {outputs}' if outputs else ''}"


def table(rows: list[Row | None], names: Sequence[str]) -> list[str]:
    lines = [
        "| device | weights | flash: code | constants | RAM | of it state | stack | instructions a step | a MAC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, name in zip(rows, names, strict=True):
        if row is None:
            lines.append(f"| {name} | does not fit | | | | | | | |")
            continue
        lines.append(
            f"| {row.device} | {row.way} | {row.code} | {row.constants} | {row.arena} | {row.state} | {row.stack} "
            f"| {row.instructions} | {row.instructions / row.macs:.2f} |"
        )
    return lines


def by_function(rows: list[Row | None]) -> list[str]:
    lines = ["| device | weights | instructions of a step, by function |", "|---|---|---|"]
    for row in rows:
        if row is not None:
            parts = [f"`{f}` {n}" for f, n in list(row.counts.items())[:SHOWN]]
            rest = row.instructions - sum(list(row.counts.values())[:SHOWN])
            lines.append(f"| {row.device} | {row.way} | {', '.join(parts)}{f', others {rest}' if rest else ''} |")
    return lines


def cycles(mca: str) -> list[str]:
    """The core's loops on larger CPUs, by mca.py beside this."""
    script = Path(__file__).with_name("mca.py")
    done = subprocess.run([sys.executable, script, "--llvm-mca", mca], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


HEAD = """# On the edge

Made by `python benchmarks/edge/measure.py`. One step of an LSTM exported by `lstm-rt export-c`, compiled with gcc
{gcc} and `-O2`. What is counted is executed by an emulated device, exactly and repeatably; it is no time, and
instructions take different numbers of cycles. Where there is no FPU nearly all of them are those of the compiler's
library of floats, whose code is not in the numbers. A MAC is a multiply-accumulate of the matrix products. Sizes
are in bytes. Flash is the code and the constants, which are the model; RAM is the arena, with the state; the stack
is that of a call of the step.
"""

#: LSTM 16 -> 32: instructions a MAC on Cortex-M4F and M55, bytes of code on both, of RAM, largest error.
OTHERS = (
    ("CMSIS-NN s8", "4.90", "1.95", "3820 / 3176", "728", "1.1e-2"),
    ("CMSIS-NN s16", "5.81", "3.51", "3980 / 3728", "768", "7.9e-3"),
    ("CMSIS-NN f32", "6.83", "5.24", "3792 / 4556", "256", "3.7e-5"),
    ("keras2c", "9.87", "8.56", "3052 / 3196", "1.8 K", "1e-7"),
    ("onnx2c", "5.54", "5.35", "2348 / 2636", "924", "2e-7"),
    ("RTNeural, Eigen", "4.40", "3.75", "5208 / 5408", "27 K", "1e-7"),
    ("NNoM q7", "7.33", "7.44", "3108 / 3052", "1.5 K", "2.1e-2"),
)


def others() -> list[str]:
    lines = [
        "## Other implementations",
        "",
        "An LSTM 16 -> 32 each, whole step, gcc 12. These were counted once, in the same way, and are not built again.",
        "",
        "| | instructions a MAC, M4F | M55 | flash: code, M4F / M55 | RAM | error against float64 |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [f"| {' | '.join(row)} |" for row in OTHERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "edge.md")
    parser.add_argument("--llvm-mca", metavar="PROGRAM", help="adds the table of modelled cycles")
    options = parser.parse_args()
    gcc = subprocess.run(
        ["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    text = [HEAD.format(gcc=gcc)]
    for size in SIZES:
        inputs, hidden, outputs = size
        macs = 4 * hidden * (inputs + hidden) + hidden * outputs
        rows: list[Row | None] = []
        names = []
        for way, flags in WAYS:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                source = export(model(*size), flags, folder)
                for device in DEVICES:
                    rows.append(measure(device, way, source, macs, folder))
                    names.append(device)
        text += [f"## LSTM {size_name(*size)}: {macs} MAC a step", "", *table(rows, names), "", *by_function(rows), ""]
        print(f"LSTM {size_name(*size)}: done", file=sys.stderr)
    text += [*others(), ""]
    if options.llvm_mca:
        text += ["## Modelled cycles of the core's loops", "", "By llvm-mca, weights in the first-level cache.", ""]
        text += [*cycles(options.llvm_mca), ""]
    options.output.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
