"""What a node costs in a step beside its work: ``python benchmarks/overhead.py``.

See README.md in this folder for what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import lstm_rt
from lstm_rt.graph import Graph

_SIZE = 8  #: features
_FEW, _MANY = 8, 136  #: nodes
_CALLS = 2000

Chain = Callable[[Graph, int], int]

#: Nodes as small as they come: one vector of work each.
CHAINS: dict[str, Chain] = {
    "activation (relu)": lambda g, v: g.activation(v, "relu"),
    "add": lambda g, v: g.binary("add", v, 0),
    "slice": lambda g, v: g.slice(v, 0, _SIZE),
    "dense 8 x 8": lambda g, v: g.dense(v, np.eye(_SIZE, dtype=np.float32)),
    "batchnorm": lambda g, v: g.batchnorm(v, *np.eye(4, _SIZE, dtype=np.float32), 1e-3),
}


def step_of(chain: Chain, nodes: int) -> Callable[[], object]:
    """A step of a stream through so many nodes."""
    g = Graph()
    v = g.input("x", "seq", _SIZE)
    for _ in range(nodes):
        v = chain(g, v)
    g.output(v, "y")
    stream = lstm_rt.Model(g, threads=1).stream()
    x = np.full(_SIZE, 0.5, np.float32)
    out = stream.step(x)
    return lambda: stream.step(x, out=out)


def microseconds(call: Callable[[], object]) -> float:
    """Of one call, in a loop."""
    begin = time.perf_counter_ns()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter_ns() - begin) / 1e3 / _CALLS


def per_node(chain: Chain, rounds: int) -> list[float]:
    """Nanoseconds of a node, of each round: long and short chains take turns."""
    few, many = step_of(chain, _FEW), step_of(chain, _MANY)
    microseconds(few), microseconds(many)
    return [1e3 * (microseconds(many) - microseconds(few)) / (_MANY - _FEW) for _ in range(rounds)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    p = argparse.ArgumentParser(description="What a node costs in a step of a stream.")
    p.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    p.add_argument("--rounds", type=int, default=31, help="in which long and short chains take turns; default 31")
    options = p.parse_args(argv)
    found = {}
    print(f"{'node':<20}{'ns':>8}{'p10..p90':>16}")
    for name, chain in CHAINS.items():
        p10, median, p90 = (float(n) for n in np.percentile(per_node(chain, options.rounds), (10, 50, 90)))
        found[name] = {"ns": median, "p10": p10, "p90": p90}
        print(f"{name:<20}{median:>8.1f}{f'{p10:.1f}..{p90:.1f}':>16}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
