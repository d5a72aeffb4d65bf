"""Real models from file to answer: convert, run, compare with the framework, show.

    python examples/demo.py                     digits, sunspots and romaji, in text alone
    python examples/demo.py forecast amp        by the names of their folders; pictures and sound go to demo-output
    python examples/demo.py all -o somewhere    all of them

Needs lstm_rt and its converter, NumPy, and h5py for Keras models; matplotlib for pictures; no framework.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from common import SCREEN

import lstm_rt

NAMES = sorted(path.parent.name for path in Path(__file__).resolve().parent.glob("*/run.py"))
IN_TEXT = ["digits", "sunspots", "romaji"]


def run(name: str, out: Path) -> bool:
    """One example, with its pictures and sound in ``out``; False if a result is not what the framework computed."""
    example = importlib.import_module(f"{name}.run")
    SCREEN.title(example.__doc__.splitlines()[0].rstrip("."))
    # A loaded model keeps its file mapped, and Windows does not delete such files.
    with tempfile.TemporaryDirectory(prefix="lstm-rt-demo-", ignore_cleanup_errors=True) as work:
        return bool(example.run(Path(work), out))


def main() -> int:
    """Returns 1 if a result is not what the framework computed."""
    parser = argparse.ArgumentParser(description="Runs the examples.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of {', '.join(NAMES)}")
    parser.add_argument("-o", dest="out", type=Path, default=Path("demo-output"), help="where pictures and sound go")
    options = parser.parse_args()
    names = NAMES if options.names == ["all"] else options.names or IN_TEXT
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"there is no example {unknown[0]!r}; there are {', '.join(NAMES)}")
    if any(name not in IN_TEXT for name in names):
        options.out.mkdir(parents=True, exist_ok=True)

    kernels = ", ".join(str(k) for k in lstm_rt.kernels())
    print(f"lstm-rt {lstm_rt.__version__}, kernels on this CPU: {kernels}")
    results = [run(name, options.out) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
