"""What this machine can do at most: ``python benchmarks/roofline.py``.

Builds and runs roofline.c: the peak of float32 multiply-adds, and the rate of reading as a function of the
working set, for each instruction set and number of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from worker import choose_cpus

SOURCE = Path(__file__).with_name("roofline.c")
CFLAGS = ["-std=c11", "-O3", "-ffp-contract=fast", "-pthread"]
SMALLEST, LARGEST = 8 << 10, 256 << 20  #: bytes of the working sets


class RooflineError(Exception):
    """The machine cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Roofline:
    """The limits for one instruction set and number of threads; rates are those of all threads together."""

    isa: str
    threads: int
    peak: float  #: GFLOP/s of float32, a multiply-add counts two
    sizes: tuple[int, ...]  #: working sets in bytes, ascending
    rates: tuple[float, ...]  #: GB/s, reading each of them over and over

    def bandwidth(self, size: float) -> float:
        """GB/s for a working set of ``size`` bytes, between the sizes measured along their logarithms.

        A smaller set is never slower to read than a larger one: where a measurement says so, it was disturbed.
        """
        rates = np.maximum.accumulate(self.rates[::-1])[::-1]
        return float(np.interp(np.log(size), np.log(self.sizes), rates))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Roofline:
        """From what :func:`dataclasses.asdict` gave."""
        return cls(data["isa"], data["threads"], data["peak"], tuple(data["sizes"]), tuple(data["rates"]))


def higher(a: Roofline, b: Roofline) -> Roofline:
    """The larger of each figure: what disturbs a measurement only makes the machine look slower."""
    rates = tuple(max(pair) for pair in zip(a.rates, b.rates, strict=True))
    return Roofline(a.isa, a.threads, max(a.peak, b.peak), a.sizes, rates)


def compiler() -> list[str]:
    """``$CC``, or the first of cc, gcc and clang that is there.

    Raises:
        RooflineError: there is none.
    """
    given = shlex.split(os.environ.get("CC", ""))
    for command in [given] if given else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return command
    raise RooflineError(f"no C compiler: {given[0] if given else 'cc, gcc or clang'} not found")


def parse(text: str, threads: int) -> dict[str, Roofline]:
    """The best repetition of each line that the program printed, by instruction set, the best of them first."""
    peaks: dict[str, float] = {}
    reads: dict[str, dict[int, float]] = defaultdict(dict)
    for line in text.splitlines():
        kind, isa, *numbers = line.split()
        if kind == "peak":
            peaks[isa] = max(map(float, numbers))
        else:
            reads[isa][int(numbers[0])] = max(map(float, numbers[1:]))
    return {
        isa: Roofline(isa, threads, peak, tuple(reads[isa]), tuple(reads[isa].values())) for isa, peak in peaks.items()
    }


class Meter:
    """The program, built for as long as the context is open; a measurement takes about a second."""

    def __init__(self, quick: bool = False) -> None:
        self._step, self._repeats, self._microseconds = (2.0, 3, 200) if quick else (2**0.5, 7, 500)

    def __enter__(self) -> Meter:
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / "roofline"
        try:
            self._run([*compiler(), *CFLAGS, str(SOURCE), "-o", str(self._program)])
        except RooflineError:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    def measure(self, threads: int, isas: Iterable[str] = ()) -> dict[str, Roofline]:
        """By instruction set, the best first: ``isas``, or all that this CPU has. Pinned as engines are.

        Raises:
            RooflineError: the program failed.
            ValueError: this process may not use so many cores.
        """
        numbers = (threads, self._repeats, self._microseconds, SMALLEST, LARGEST, self._step)
        return parse(self._run([str(self._program), *map(str, numbers), *isas], choose_cpus(threads)), threads)

    @staticmethod
    def _run(command: list[str], cpus: set[int] | None = None) -> str:
        pin = None if cpus is None else lambda: os.sched_setaffinity(0, cpus)
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=pin).stdout
        except subprocess.CalledProcessError as e:
            reason = (e.stderr.strip().splitlines() or [f"exit code {e.returncode}"])[0]
            raise RooflineError(f"{Path(command[0]).name} failed: {reason}") from None


def as_text(rooflines: Iterable[Roofline]) -> str:
    """For the terminal: a block of lines for each."""
    lines = []
    for r in rooflines:
        lines.append(f"{r.isa}, {r.threads} thread{'s' * (r.threads > 1)}: {r.peak:.1f} GFLOP/s")
        lines += [f"  {size / 1024:9.0f} KiB {rate:8.1f} GB/s" for size, rate in zip(r.sizes, r.rates, strict=True)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    p = argparse.ArgumentParser(description="Measures this machine's float32 peak and read bandwidth.")
    p.add_argument("--threads", default="1", help="numbers of threads, comma-separated; default 1")
    p.add_argument("--quick", action="store_true", help="few sizes and repetitions")
    p.add_argument("--json", action="store_true", help="print JSON")
    options = p.parse_args(argv)
    try:
        with Meter(options.quick) as meter:
            found = [r for n in options.threads.split(",") for r in meter.measure(int(n)).values()]
    except (RooflineError, ValueError) as e:
        print(f"roofline.py: {e}", file=sys.stderr)
        return 1
    print(json.dumps([asdict(r) for r in found], indent=1) if options.json else as_text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
