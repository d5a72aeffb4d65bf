"""Models in C on emulated devices: their self-tests, wrong arenas, and what the smallest take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge.run import HERE
from helpers.edge import DEVICES, EMULATED, built, ran
from helpers.graphs import cell_weights, weights
from helpers.integers import integer_graph
from lstm_rt_tools.cli import main

from lstm_rt.graph import Graph

#: CPUs that multiply and add with one rounding: there the bits are those of the runtime.
FUSED = {"cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "riscv64"}
SIZES = [(16, 32, 0), (1, 20, 1)]  #: inputs, units, outputs of a dense layer


def many_ops() -> Graph:
    """Each cell and each kind of op."""
    rng, g = np.random.default_rng(5), Graph()
    ids, x = g.input("ids", "ids"), g.input("x", "seq", 5, axis=0)
    x = g.concat(x, g.embedding(ids, weights(rng, 6, 4)))
    weight, bias = weights(rng, 8, 9, 3, 1, 1), weights(rng, 8)
    x = g.node("conv", x, weight=weight, bias=bias, before_t=4, dilation_t=2)
    cells: list[tuple[str, int, dict[str, Any]]] = [
        ("lstm", 7, {}),
        ("gru", 9, {}),
        ("gru", 6, {"reset_after": False}),
        ("rnn", 18, {}),
        ("lstm", 8, {"clip": 0.9}),
    ]
    for op, hidden, options in cells:
        w = cell_weights(rng, op, g.values[x].size, hidden, peephole="clip" in options)
        x, _, _ = g.recurrent(op, x, w, hidden_size=hidden, **options)
    x = g.node("layernorm", x, gamma=weights(rng, 8), beta=weights(rng, 8), eps=1e-5)
    x = g.node("dense", x, weight=weights(rng, 21, 8), bias=weights(rng, 21), activation="gelu")
    x = g.node("dense", g.l2norm(x, 1e-6, 3), weight=weights(rng, 5, 21), activation="softmax")
    g.output(x, "softmax")
    return g


def exported(graph: Graph, folder: Path, *options: str, name: str = "net") -> Path:
    graph.save(str(folder / f"{name}.lrt"))
    assert main(["export-c", str(folder / f"{name}.lrt"), "-o", str(folder / name), *options]) == 0
    return folder / name


def flags_of(device: str) -> list[str]:
    return ["-DLSTM_RT_EXACT"] if device in FUSED else []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bits", [0, 8, 16])
def test_selftests(bits: int, device: str, tmp_path: Path) -> None:
    graph = integer_graph(many_ops(), bits, 16) if bits else many_ops()
    folder = exported(graph, tmp_path)
    result = ran(device, [folder / "src", folder / "selftest.c"], tmp_path / "build", flags=flags_of(device))
    assert result.code == 0, result.output + result.errors + result.fault


@pytest.mark.parametrize("device", ["cortex-m0", "cortex-m4", "cortex-m55", "riscv32"])
def test_runs(device: str, tmp_path: Path) -> None:
    rng, g = np.random.default_rng(1), Graph()
    x = g.input("x", "seq", 3)
    w = cell_weights(rng, "lstm", 3, 5, "bidirectional")
    y, _, _ = g.recurrent("lstm", x, w, hidden_size=5, direction="bidirectional")
    g.output(y, "y")
    folder = exported(g, tmp_path, "--steps", "9")
    result = ran(device, [folder / "src", folder / "selftest.c"], tmp_path / "build", flags=flags_of(device))
    assert result.code == 0, result.output + result.errors + result.fault


_WRONG = """
#include "net.h"
static uint32_t arena[NET_ARENA_BYTES / 4 + 1];
static float x[NET_X_SIZE], y[NET_Y_SIZE];
int main(void)
{
    char *const at = (char *)arena;
    int i;
    if (net_init(arena, NET_ARENA_BYTES - 1) != NET_E_SIZE || net_init(0, sizeof arena) != NET_E_NULL)
        return 1;
    for (i = 1; i < 4; i++)
        if (net_init(at + i, NET_ARENA_BYTES) != NET_E_ALIGNMENT || net_step(at + i, x, y) != NET_E_ALIGNMENT ||
            net_reset(at + i) != NET_E_ALIGNMENT)
            return 2;
    if (net_step(0, x, y) != NET_E_NULL || net_step(arena, 0, y) != NET_E_NULL || net_step(arena, x, 0) != NET_E_NULL)
        return 3;
    return net_init(arena, NET_ARENA_BYTES) || net_step(arena, x, y) ? 4 : 0;
}
"""


def layer(inputs: int, hidden: int, outputs: int) -> Graph:
    rng, g = np.random.default_rng(0), Graph()
    y, _, _ = g.recurrent(
        "lstm", g.input("x", "seq", inputs), cell_weights(rng, "lstm", inputs, hidden), hidden_size=hidden
    )
    if outputs:
        y = g.node("dense", y, weight=weights(rng, outputs, hidden), bias=weights(rng, outputs), activation="linear")
    g.output(y, "y")
    return g


@pytest.mark.parametrize("device", DEVICES)
def test_wrong_arenas(device: str, tmp_path: Path) -> None:
    folder = exported(layer(3, 5, 1), tmp_path)
    (tmp_path / "wrong.c").write_text(_WRONG)
    assert ran(device, [folder / "src", tmp_path / "wrong.c"], tmp_path / "build").code == 0


# -- what an LSTM takes ---------------------------------------------------------------------------------------------

_COUNTED = HERE / "counted_step.c"  #: prints stack, arena and state
#: Instructions of a step for each multiply-accumulate, at the most: of both sizes.
MOST = {"cortex-m4": (1.9, 2.6), "cortex-m7": (1.9, 2.6), "cortex-m33": (1.9, 2.6), "cortex-m55": (0.9, 1.3)}


@pytest.mark.parametrize("device", MOST)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_instructions_stack_and_flash(size: tuple[int, int, int], device: str, tmp_path: Path) -> None:
    inputs, hidden, outputs = size
    folder = exported(layer(*size), tmp_path)
    paths = [folder / "src", _COUNTED]
    result = ran(device, paths, tmp_path / "build", count=True)
    assert result.code == 0
    macs = 4 * hidden * (inputs + hidden) + hidden * outputs
    assert result.counts is not None
    assert sum(result.counts.values()) / macs <= MOST[device][SIZES.index(size)]
    assert int(result.output.split()[0]) <= 320
    program = built(device, paths, tmp_path / "again")
    code = [p for p in program.pieces() if "net" in p.object and not p.section.startswith(".rodata.net")]
    assert sum(p.flash for p in code) <= 1331
    scratch = 4 * (2 * (inputs + hidden) + hidden)
    plan_text = (folder / "src" / "net.h").read_text()
    arena, state = (int(plan_text.split(f"NET_{what}_BYTES ")[1].split()[0]) for what in ("ARENA", "STATE"))
    assert arena - state + 4 * inputs <= scratch


def test_c_alone(tmp_path: Path) -> None:
    folder = exported(layer(16, 32, 0), tmp_path)
    result = ran(
        "cortex-m4",
        [folder / "src", _COUNTED],
        tmp_path / "build",
        count=True,
        flags=["-DLRT_MICRO_PORTABLE"],
    )
    assert result.counts is not None
    assert sum(result.counts.values()) / 6144 <= 3.0


assert set(MOST) <= set(EMULATED)
