"""What the examples share: the converter's command, the comparison with the framework, pictures and sound."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5


class Screen:
    """Colours only on a terminal that wants them; block characters only where they can be printed."""

    def __init__(self) -> None:
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        blocks = " ░▒▓█"
        try:
            blocks.encode(sys.stdout.encoding or "ascii")
            self.shades, self.full, self.empty, self.dot = blocks, "█", "░", "●"
        except UnicodeEncodeError:
            self.shades, self.full, self.empty, self.dot = " .:*#", "#", ".", "o"

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def text(self, text: str) -> str:
        """With a question mark for what cannot be printed."""
        encoding = sys.stdout.encoding or "ascii"
        return text.encode(encoding, "replace").decode(encoding)

    def title(self, text: str) -> None:
        print("\n" + self.paint(text, "1"))

    def bar(self, share: float, width: int) -> str:
        filled = round(min(max(share, 0.0), 1.0) * width)
        return self.full * filled + self.empty * (width - filled)


SCREEN = Screen()


def convert(source: Path, folder: Path, *options: str, name: str = "") -> Path:
    """Run the command line tool, as a user would; returns the .lrt file, which is in ``folder``."""
    target = folder / f"{name or source.stem}.lrt"
    shown = " ".join([source.relative_to(HERE).as_posix(), *(Path(o).name if "." in o else o for o in options)])
    print(f"$ lstm-rt convert {shown} -o {target.name}")
    command = [sys.executable, "-m", "lstm_rt_tools", "convert", str(source), *options, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"the converter stopped with code {done.returncode}")
    print(f"  {source.stat().st_size:,} bytes -> {target.stat().st_size:,} bytes")
    return target


def picture(path: Path, size: tuple[float, float], plot: Callable[[Any], None]) -> None:
    """Let ``plot`` draw on a figure of matplotlib, and write that; without matplotlib, say so."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("  no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=size, layout="constrained")
    plot(figure)
    figure.savefig(path, dpi=80)
    print(f"  wrote {path}")


def sound(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write a WAV file; samples from -1 to 1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    print(f"  wrote {path}")


def microseconds(call: Callable[[], Any], calls: int = 300) -> float:
    """Median time of a call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


def compare(name: str, got: np.ndarray, want: np.ndarray) -> bool:
    """Print how far we are from what the framework computed when the model was trained."""
    error = float(np.max(np.abs(got - want)))
    ok = error <= TOLERANCE * max(1.0, float(np.max(np.abs(want))))
    verdict = SCREEN.paint("ok", "32") if ok else SCREEN.paint("MISMATCH", "31")
    print(f"  max abs difference to {name}: {error:.1e}  {verdict}")
    return ok
