"""Cycles of the inner product loops on ARM's CPUs by llvm-mca, a model of pipelines: `python benchmarks/edge/mca.py`.

Compiles the core's products for AArch64 with the flags of src/cflags.txt, takes the loops over the inputs of a layer
out of the assembly and prints multiply-accumulates a cycle, as llvm-mca gives them. These are not measurements: the
weights are in the first-level cache, and the models are within about 30 % on Cortex-A72 and a factor of 2 on A53.

Needs aarch64-linux-gnu-gcc and llvm-mca of LLVM 15 or later (--llvm-mca names it). --json prints the rows as JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
GCC = "aarch64-linux-gnu-gcc"

#: Products of one instruction.
PRODUCTS = [(r"\bfml[as]\s+v\d+\.4s", 4), (r"\bsmlal2?\s+v\d+\.4s", 4), (r"\bsdot\s+v\d+\.4s", 16)]

FLOATS, INTEGERS, DOTS = "kernels/lrt_kernels_neon.c", "kernels/lrt_kernels_neon.c", "integers/lrt_integers_neondot.c"


@dataclass(frozen=True)
class Loop:
    """Which loop: that of a function with so many products, a panel of 16 units or several in flight."""

    what: str
    source: str
    function: str
    products: int
    parts: int = 1  # of a multiply-accumulate: with 16 bits the low byte and the high one


#: Sums of one row are bound by loads of weights, those of several rows are not.
LOOPS = [
    Loop("float32, one row, 16 units of 4 gates", FLOATS, "row_product_4", 64),
    Loop("float32, 6 rows", FLOATS, "tile_rows_6", 96),
    Loop("int16 x int16, one row", INTEGERS, "pairs_16_1", 64),
    Loop("int8 x int16, one row", INTEGERS, "bytes_16_1", 128),
    Loop("int8 x int8 by dot products, one row", DOTS, "bytes_8_1", 512),
    Loop("int8 x int8 by dot products, 6 rows", DOTS, "bytes_8_6", 768),
    Loop("int8 x int16 by dot products, one row", DOTS, "bytes_16_1", 1024, 2),
    Loop("int8 x int16 by dot products, 3 rows", DOTS, "bytes_16_3", 768, 2),
]

#: What llvm-mca calls the CPU; A76 is the core of Neoverse N1. Those without dot products run the other loops.
CPUS = [("A53", "cortex-a53", False), ("A72", "cortex-a72", False), ("A76", "neoverse-n1", True)]


@dataclass(frozen=True)
class Row:
    loop: str
    cpu: str
    macs: int
    instructions: int
    cycles: float

    @property
    def macs_per_cycle(self) -> float:
        return self.macs / self.cycles


def assembly(source: str) -> list[str]:
    flags = (SRC / "cflags.txt").read_text().split()
    command = [GCC, *flags, f"-I{SRC}", "-S", str(SRC / source), "-o", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def products_of(body: list[str]) -> int:
    return sum(n for line in body for pattern, n in PRODUCTS if re.search(pattern, line))


def innermost_loops(lines: list[str], function: str) -> list[list[str]]:
    """The instructions from a label to a branch to it, with no other label between them, of one function."""
    name, label, begin, loops = "", "", 0, []
    for i, line in enumerate(lines):
        if m := re.match(r"([A-Za-z_]\w*)(\.\w+)*:", line):
            name = m[1]
        elif m := re.match(r"(\.L\w+):", line):
            label, begin = m[1], i + 1
        elif (m := re.match(r"\s+(?:b|cb|tb)[a-z.]*\s.*?(\.L\w+)$", line)) and m[1] == label and name == function:
            body = [text for text in lines[begin : i + 1] if re.match(r"\s+[a-z]", text)]
            loops.append(body)
    return loops


def find(loop: Loop, lines: list[str]) -> list[str]:
    """Of the function's loops with so many products that with the fewest instructions; a label for llvm-mca's sake."""
    found = [body for body in innermost_loops(lines, loop.function) if products_of(body) == loop.products]
    if not found:
        there = sorted({products_of(body) for body in innermost_loops(lines, loop.function)})
        wanted = f"{loop.products} products in {loop.function} of {loop.source}"
        raise SystemExit(f"mca.py: no loop of {wanted}, but {there}")
    return min(found, key=len)


def cycles(body: list[str], mca: str, cpu: str) -> float:
    """Of one iteration, in the steady state."""
    text = "\n".join(["loop:", *body[:-1], re.sub(r"\.L\w+$", "loop", body[-1])])
    command = [mca, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", "-mattr=+dotprod", "-iterations=1000"]
    out = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    total = re.search(r"Total Cycles:\s+(\d+)", out)
    assert total, out
    return int(total[1]) / 1000


def measure(mca: str) -> list[Row]:
    texts = {source: assembly(source) for source in {loop.source for loop in LOOPS}}
    rows = []
    for loop in LOOPS:
        body = find(loop, texts[loop.source])
        for name, cpu, dots in CPUS:
            if dots or loop.source != DOTS:
                macs = loop.products // loop.parts
                rows.append(Row(loop.what, name, macs, len(body), cycles(body, mca, cpu)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llvm-mca", default="llvm-mca", metavar="PROGRAM")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.llvm_mca)
    if options.json:
        print(json.dumps([{**asdict(row), "macs_per_cycle": round(row.macs_per_cycle, 2)} for row in rows], indent=1))
        return
    print("| loop | CPU | MAC a pass | instructions | cycles | MAC/cycle |\n|---|---|---|---|---|---|")
    for row in rows:
        numbers = f"{row.macs} | {row.instructions} | {row.cycles:.1f} | {row.macs_per_cycle:.2f}"
        print(f"| {row.loop} | {row.cpu} | {numbers} |")


if __name__ == "__main__":
    main()
