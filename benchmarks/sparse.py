"""Where sparse weights break even: a recurrent layer with blocks beside the same layer with its zeros.

``python benchmarks/sparse.py``; see README.md in this folder. ``BREAK_EVEN`` and ``LEAST_BYTES`` in
``lstm_rt/format/blocks.py`` are what it measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from lstm_rt_tools.integers.matrices import quantised

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.format.blocks import strips
from lstm_rt.graph import GATES, Graph

WEIGHTS = {"float32": 1, "int16": 2, "int8": 4}  #: and the inputs of a block
WORK = 2e7  #: multiply-adds of a call, about: so many that calling costs little


def layer(op: str, hidden: int, share: float, weights: str, activations: int) -> Graph:
    """One of as many inputs as units, 16 units of a gate having weights for this share of the blocks of inputs."""
    rng = np.random.default_rng(1)
    g, gates, per_word = Graph(), GATES[op], WEIGHTS[weights]
    w: dict[str, Any] = {}
    for name in ("w_ih", "w_hh"):
        dense = rng.uniform(-1, 1, (gates * hidden, hidden)).astype(np.float32) / np.float32(hidden**0.5)
        words = -(-hidden // per_word)
        for strip in strips(dense, gates):
            gone = rng.permutation(words)[: words - round(share * words)]
            strip[:, np.repeat(np.isin(np.arange(words), gone), per_word)[:hidden]] = 0
        w[name] = dense if weights == "float32" else quantised(dense, 8 if weights == "int8" else 16, activations)
        w[name.replace("w", "b", 1)] = np.zeros(gates * hidden, np.float32)
    g.output(g.recurrent(op, g.input("x", "seq", hidden), w, hidden_size=hidden)[0], "y")
    return g


def in_turns(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each, one after the other, as a computer is not always alike."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(rounds):
        for call, mine in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            mine.append(time.perf_counter() - start)
    return [median(t) for t in times]


def measure(op: str, hidden: int, batch: int, share: float, weights: str, activations: int, rounds: int) -> float:
    """How many times as fast blocks are; the bits of both have to be the same."""
    graph = layer(op, hidden, share, weights, activations)
    steps = max(10, int(WORK / (2 * GATES[op] * hidden * hidden * batch)))
    x = np.random.default_rng(2).standard_normal((batch, steps, hidden)).astype(np.float32)
    blocks, whole = (lstm_rt.Model(dumps(graph, below), threads=1) for below in (1.0, 0))
    if blocks(x).tobytes() != whole(x).tobytes():
        raise SystemExit(f"{op} {hidden}, {weights}: blocks give other bits")
    fast, slow = in_turns([lambda: blocks(x), lambda: whole(x)], rounds)
    return slow / fast


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--op", choices=list(GATES), default="lstm")
    parser.add_argument("--hidden", type=numbers, default=[64, 128, 256, 512], metavar="H,...")
    parser.add_argument("--batch", type=numbers, default=[1, 32], metavar="N,...")
    parser.add_argument("--shares", type=numbers, default=[0.05, 0.1, 0.2, 0.3, 0.5, 0.7], metavar="S,...")
    parser.add_argument("--weights", choices=list(WEIGHTS), nargs="+", default=list(WEIGHTS))
    parser.add_argument("--activations", type=int, choices=(8, 16), default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    rows = []
    if not args.json:
        kernels = lstm_rt.Model(dumps(layer(args.op, 16, 1, "float32", 16))).kernels
        print(f"{args.op}, kernels {kernels}: how many times as fast blocks are, by the share that is not zero")
        print(f"{'':24}" + "".join(f"{share:>8g}" for share in args.shares))
    for weights in args.weights:
        for batch in map(int, args.batch):
            for hidden in map(int, args.hidden):
                found = [
                    measure(args.op, hidden, batch, share, weights, args.activations, args.rounds)
                    for share in args.shares
                ]
                row = {"weights": weights, "batch": batch, "hidden": hidden, "shares": args.shares, "gain": found}
                rows.append(row)
                if not args.json:
                    gains = "".join(f"{gain:8.2f}" for gain in found)
                    print(f"{weights:8} B{batch:<4} H{hidden:<8}{gains}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
