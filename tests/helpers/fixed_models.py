"""Models for the integers of export-c: layers of drawn weights, and folders of C of them, built and run here."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lstm_rt_tools.export_c.export import files_of
from lstm_rt_tools.export_c.fixed import emit
from lstm_rt_tools.export_c.fixed.network import Network, make_network
from lstm_rt_tools.export_c.fixed.observed import observe
from lstm_rt_tools.export_c.plan import Plan, Test
from numpy.typing import NDArray

from lstm_rt.graph import Graph

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
#: As C for devices without a product of 64 bits, whose every undefined operation is an error.
NARROW = ("-DLRT_FIXED_NARROW", "-fsanitize=undefined", "-fno-sanitize-recover=all")


def recurrent(
    op: str, inputs: int, hidden: int, seed: int = 0, scale: float = 1.0, direction: str = "forward", **options: Any
) -> Graph:
    """One layer of uniform random weights, ``scale / sqrt(hidden)`` at the most, with all h as its output."""
    rng = np.random.default_rng(seed)
    bound = scale / np.sqrt(hidden)
    rows = GATES[op] * hidden
    weights = {}
    for suffix in ("", "_reverse") if direction == "bidirectional" else ("",):
        shapes = {"w_ih": (rows, inputs), "w_hh": (rows, hidden), "b_ih": (rows,), "b_hh": (rows,)}
        weights |= {n + suffix: rng.uniform(-bound, bound, s).astype(np.float32) for n, s in shapes.items()}
    graph = Graph()
    x = graph.input("x", "seq", inputs)
    y, _, _ = graph.recurrent(op, x, weights, hidden_size=hidden, direction=direction, **options)
    graph.output(y, "y")
    return graph


def noise(graph: Graph, steps: int, seed: int = 1) -> list[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((2, steps, graph.values[i].size)).astype(np.float32) for i in graph.inputs]


def network_of(graph: Graph, bits: int, data: Sequence[NDArray[Any]], compensate: bool = False) -> Network:
    return make_network(graph, bits, observe(graph, data), compensate)


def written(network: Network, inputs: Sequence[NDArray[np.int64]], folder: Path, steps: int | None = None) -> Plan:
    """The folder of a network, whose self-test expects the network's integers for inputs ``(1, T, ...)``."""
    graph = network.graph
    plan = emit.make_plan(network, steps)
    types = [np.int32 if graph.values[i].kind == "ids" else np.int16 for i in graph.inputs]
    given = [x[0].reshape(-1, max(graph.values[i].size, 1)).astype(t)
             for x, i, t in zip(inputs, graph.inputs, types, strict=True)]  # fmt: skip
    outputs = network.run(inputs)
    assert all(np.abs(y).max(initial=0) <= 1 << 15 for y in outputs)
    expected = [y[0].reshape(-1, graph.values[i].size).astype(np.int16)
                for y, i in zip(outputs, graph.outputs, strict=True)]  # fmt: skip
    plan.test = Test(given, expected, 0.0, 0.0)
    for name, text in files_of("model", plan).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return plan


def computes(
    network: Network,
    inputs: Sequence[NDArray[np.int64]],
    folder: Path,
    steps: int | None = None,
    flags: Sequence[str] = (),
) -> str:
    """'' where the C gives the network's integers for inputs ``(1, T, ...)``, else what went wrong."""
    written(network, inputs, folder, steps)
    program = folder / "selftest"
    sources = [folder / "src" / "model.c", folder / "selftest.c"]
    built = subprocess.run(["gcc", *STRICT, *flags, f"-I{folder / 'src'}", *map(str, sources), "-o", str(program)],
                           capture_output=True, text=True, check=False)  # fmt: skip
    if built.returncode:
        return built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr + f"exit code {done.returncode}"
