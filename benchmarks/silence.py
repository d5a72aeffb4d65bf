"""What silence costs: ``python benchmarks/silence.py``.

Blocks of numbers that fade out, down to denormal ones, and of silence after a loud block, beside a loud block; through
each cell and each kind of op, on each kernel table, in C alone and from Python. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from c_path import build
from lstm_rt_tools.integers.matrices import quantised
from numpy.typing import NDArray
from roofline import RooflineError
from worker import choose_cpus

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import ACTIVATIONS, GATES, Activation, Graph
from lstm_rt.ops import REDUCTIONS

STEPS, SIZE, SIDE, HIDDEN = 64, 32, 16, 40
#: A loud block times two to minus these: also the numbers whose squares, cubes and products are denormal.
QUIET = (20, 32, 40, 44, 48, 52, 56, 60, 62, 64, 66, 68, 70, 72, 74, 78, 85, 100, 110, 118, 122, 124, 126, 132, 140)
TAIL = 48  #: blocks of silence, as many as silence.c has

Array = NDArray[np.float32]
Build = Callable[[Graph, int, np.random.Generator], int]


def _uniform(rng: np.random.Generator, *shape: int) -> Array:
    scale = np.sqrt(3.0 / np.prod(shape[1:])) if len(shape) > 1 else 0.5
    return rng.uniform(-scale, scale, shape).astype(np.float32)


def _cell(op: str, bias: bool = True, inputs: int = SIZE, bits: int = 0, proj: int = 0, peephole: bool = False,
          direction: str = "forward", **options: object) -> Build:  # fmt: skip
    def built(g: Graph, x: int, rng: np.random.Generator) -> int:
        rows, weights = GATES[op] * HIDDEN, {}
        for end in ("", "_reverse") if direction == "bidirectional" else ("",):
            weights["w_ih" + end] = _uniform(rng, rows, inputs)
            weights["w_hh" + end] = _uniform(rng, rows, proj or HIDDEN)
            if bias:
                weights["b_ih" + end] = _uniform(rng, rows)
            if proj:
                weights["w_hr" + end] = _uniform(rng, proj, HIDDEN)
            if peephole:
                weights["peephole" + end] = _uniform(rng, 3, HIDDEN)
        if bits:
            weights = {n: quantised(w, bits, 16) if w.ndim == 2 else w for n, w in weights.items()}
        x = g.slice(x, 0, inputs) if inputs < SIZE else x
        return g.recurrent(op, x, weights, hidden_size=HIDDEN, direction=direction, **options)[0]  # type: ignore[arg-type]

    return built


def _layer(op: str) -> Build:
    return lambda g, x, rng: g.node(op, x)


def _conv(out: int, kernel: tuple[int, int, int], pad: Sequence[tuple[int, int]], groups: int = 1, channels: int = SIZE,
          size: tuple[int, int] = (1, 1)) -> Build:  # fmt: skip
    def built(g: Graph, x: int, rng: np.random.Generator) -> int:
        w = _uniform(rng, out, channels // groups, *kernel)
        return g.conv(x, w, None, pad=tuple(pad), groups=groups, size=size)  # type: ignore[arg-type]

    return built


def _convlstm(g: Graph, x: int, rng: np.random.Generator) -> int:
    w_ih, w_hh = _uniform(rng, 32, 2, 3, 3), _uniform(rng, 32, 8, 3, 3)
    return g.convlstm(x, w_ih, w_hh, None, size=(4, 4), pad=((1, 1), (1, 1)))[0]


def _attention(kind: str) -> Build:
    return lambda g, x, rng: g.attention(x, x, x, heads=2, kind=kind)[0]


def _binary(op: str) -> Build:
    def built(g: Graph, x: int, rng: np.random.Generator) -> int:
        a, b = g.slice(x, 0, SIDE), g.slice(x, SIDE, SIDE)
        return g.binary(op, g.activation(a, "abs") if op == "pow" else a, b)

    return built


def _ones(value: float = 1.0) -> Array:
    return np.full(SIZE, value, np.float32)


def models() -> dict[str, Build]:
    """Every cell, every op that computes, and every activation."""
    made: dict[str, Build] = {
        "lstm": _cell("lstm"),
        "lstm, no bias": _cell("lstm", bias=False),
        "lstm 1 input, no bias": _cell("lstm", bias=False, inputs=1),
        "lstm, projection, no bias": _cell("lstm", bias=False, proj=20),
        "lstm, peepholes, no bias": _cell("lstm", bias=False, peephole=True),
        "lstm, clip, no bias": _cell("lstm", bias=False, clip=3.0),
        "lstm, both directions, no bias": _cell("lstm", bias=False, direction="bidirectional"),
        "lstm, int8": _cell("lstm", bits=8),
        "lstm, int8, no bias": _cell("lstm", bias=False, bits=8),
        "lstm, int16, no bias": _cell("lstm", bias=False, bits=16),
        "gru": _cell("gru"),
        "gru, no bias": _cell("gru", bias=False),
        "gru, reset before, no bias": _cell("gru", bias=False, reset_after=False),
        "gru, int8, no bias": _cell("gru", bias=False, bits=8),
        "rnn, no bias": _cell("rnn", bias=False),
        "rnn, relu, no bias": _cell("rnn", bias=False, activations=["relu"]),
        "dense": lambda g, x, rng: g.dense(x, _uniform(rng, SIZE, SIZE), _uniform(rng, SIZE), "tanh"),
        "dense, no bias": lambda g, x, rng: g.dense(x, _uniform(rng, SIZE, SIZE), None),
        "dense, int8, no bias": lambda g, x, rng: g.dense(x, quantised(_uniform(rng, SIZE, SIZE), 8, 16), None),
        "two dense, no bias": lambda g, x, rng: g.dense(g.dense(x, _uniform(rng, SIZE, SIZE)), _uniform(rng, 1, SIZE)),
        "conv over time": _conv(SIZE, (3, 1, 1), ((2, 0), (0, 0), (0, 0))),
        "conv, each channel by itself": _conv(SIZE, (5, 1, 1), ((4, 0), (0, 0), (0, 0)), groups=SIZE),
        "conv over images": _conv(8, (1, 3, 3), ((0, 0), (1, 1), (1, 1)), channels=2, size=(4, 4)),
        "conv of 16 channels, 3 x 3": _conv(16, (3, 3, 1), ((1, 1), (1, 1), (0, 0)), channels=16, size=(2, 1)),
        "convlstm": _convlstm,
        "pool, mean": lambda g, x, rng: g.pool(x, "avg", (4, 1, 1), pad=((3, 0), (0, 0), (0, 0))),
        "pool, max": lambda g, x, rng: g.pool(x, "max", (4, 1, 1), pad=((3, 0), (0, 0), (0, 0))),
        "layernorm": lambda g, x, rng: g.layernorm(x, _ones(), _ones(0.1), 1e-5),
        "layernorm, eps 0": lambda g, x, rng: g.layernorm(x, None, None, 0.0),
        "batchnorm": lambda g, x, rng: g.batchnorm(x, _ones(0), _ones(2), _ones(), _ones(0), 1e-3),
        "groupnorm": lambda g, x, rng: g.groupnorm(x, _ones(), _ones(0), 1e-5, 4),
        "l2norm": lambda g, x, rng: g.l2norm(x, 1e-12),
        "prelu": lambda g, x, rng: g.prelu(x, _ones(0.1)),
        "cumsum": _layer("cumsum"),
        "softmax over steps": _layer("softmax_steps"),
        "attention": _attention("dot"),
        "attention, additive": _attention("additive"),
    }
    made |= {f"{op} of two": _binary(op) for op in ("add", "sub", "mul", "div", "average", "maximum", "minimum", "pow")}
    made |= {f"reduce, {k}": lambda g, x, rng, k=k: g.reduce(x, k) for k in REDUCTIONS}  # type: ignore[misc]
    made |= {f"reduce features, {k}": lambda g, x, rng, k=k: g.reduce_features(x, k, 4) for k in REDUCTIONS}  # type: ignore[misc]
    parameters = {"clip": (-1, 1), "hard_sigmoid": (0.2, 0.5), "affine": (0.3, 0.0), "power": (2.0, 0)}
    for name in ACTIVATIONS:
        act = Activation(name, *parameters.get(name, (0.3, 0.5)))
        made[f"activation, {name}"] = lambda g, x, rng, act=act: g.activation(x, act)  # type: ignore[misc]
    return made


def blob_of(made: Build) -> bytes:
    """The model around it."""
    g = Graph()
    x = g.input("x", "seq", SIZE)
    g.output(made(g, x, np.random.default_rng(0)), "y")
    return dumps(g)


Blocks = dict[str, float]  #: nanoseconds, by what is in the block


def in_c(program: Path, folder: Path, blob: bytes, table: str, rounds: int) -> Blocks:
    """Of ``silence.c``."""
    path = folder / "model.lrt"
    path.write_bytes(blob)
    run = [str(program), table, str(STEPS), str(path), str(rounds), *map(str, QUIET)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: float(time) for name, time in (line.rsplit(" ", 1) for line in lines)}


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def in_python(blob: bytes, table: str, rounds: int) -> Blocks:
    """The same blocks, by calls of a model and of a stream."""
    model = lstm_rt.Model(blob, kernels=table, threads=1)
    loud = np.random.default_rng(1).uniform(-1, 1, (1, STEPS, SIZE)).astype(np.float32)
    blocks = {"loud": loud} | {f"quiet {e}": loud * np.float32(2.0**-e) for e in QUIET}
    stream, silence = model.stream() if model.info["streams"] else None, np.zeros((STEPS, SIZE), np.float32)
    times: dict[str, list[int]] = {}
    for _ in range(rounds + 1):  # the first warms up
        for name, x in blocks.items():
            times.setdefault(name, []).append(_timed(lambda x=x: model(x)))  # type: ignore[misc]
        if stream is not None:
            stream.reset()
            stream.feed(loud[0])
            for i in range(TAIL):
                times.setdefault(f"tail {i}", []).append(_timed(lambda: stream.feed(silence)))
    return {name: float(np.median(of[1:])) for name, of in times.items()}


def worst(blocks: Blocks) -> tuple[float, str]:
    """How many times longer than a loud block the worst one takes, and which it is."""
    name = max(blocks, key=lambda name: blocks[name])
    return blocks[name] / blocks["loud"], name


def rows(wanted: Iterable[str], tables: Sequence[str], program: Path | None, folder: Path,
         rounds: int) -> Iterable[tuple[str, str, str, Blocks]]:  # fmt: skip
    """(model, table, from where, blocks)."""
    for name in wanted:
        blob = blob_of(models()[name])
        for table in tables:
            if program is not None:
                yield name, table, "C", in_c(program, folder, blob, table, rounds)
            yield name, table, "Python", in_python(blob, table, rounds)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print, the worst first."""
    p = argparse.ArgumentParser(description="What blocks of silence cost beside loud ones.")
    p.add_argument("--models", metavar="TEXT", default="", help="only models whose names contain this")
    p.add_argument("--tables", metavar="A,B", help="kernel tables; default: all that are on this CPU")
    p.add_argument("--rounds", type=int, default=31, help="of which the medians are; default 31")
    options = p.parse_args(argv)
    cpus = choose_cpus(1)
    if cpus:
        os.sched_setaffinity(0, cpus)
    tables = options.tables.split(",") if options.tables else lstm_rt.kernels()
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            program = build(folder, "silence")
        except RooflineError as e:
            print(e, file=sys.stderr)
            program = None
        for row in rows([m for m in models() if options.models in m], tables, program, folder, options.rounds):
            found.append((*worst(row[3]), *row))
    found.sort(key=lambda row: -row[0])
    print(f"{'model':<32}{'kernels':<12}{'from':<8}{'loud us':>9}{'worst / loud':>14}  worst block")
    for ratio, block, model, table, place, blocks in found:
        print(f"{model:<32}{table:<12}{place:<8}{blocks['loud'] / 1e3:>9.2f}{ratio:>14.2f}  {block}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
