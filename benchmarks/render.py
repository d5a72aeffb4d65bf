"""Writes the results of compare.py as Markdown: ``python benchmarks/render.py results.json -o docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from report import markdown
from results import from_json


def main(argv: Sequence[str] | None = None) -> int:
    """Read, write."""
    p = argparse.ArgumentParser(description="Writes what compare.py --json wrote as Markdown.")
    p.add_argument("results", type=Path, metavar="RESULTS.json")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md")
    p.add_argument("--chart", type=Path, metavar="FILE.svg", help="the picture that plot.py made, to be linked")
    options = p.parse_args(argv)
    chart = Path(os.path.relpath(options.chart, options.output.parent)).as_posix() if options.chart else ""
    options.output.write_text(markdown(from_json(json.loads(options.results.read_text())), chart))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
