"""The C of integers on emulated devices: the bits of NumPy, and what it takes of instructions, bytes and stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edge.run import run
from helpers.edge import EMULATED, built, ran
from helpers.fixed_models import network_of, noise, recurrent, written
from lstm_rt_tools.export_c.fixed.curve import Ints
from lstm_rt_tools.export_c.fixed.network import Network
from lstm_rt_tools.export_c.plan import Plan

STEPS = 12
#: Each with what makes its code another: cells, forms, bits of weights, runs and streams, activations.
ALIKE = ("cortex-m7", "cortex-m33")  #: code as that of cortex-m4
MODELS = ("lstm8", "lstm16", "gru8", "gru16 before", "rnn8 run", "bidirectional16 run")


def model(name: str) -> tuple[Network, list[Ints], int | None]:
    bits = 8 if "8" in name else 16
    kind = name.split()[0].rstrip("0123456789")
    op, direction = ("lstm", kind) if kind == "bidirectional" else (kind, "forward")
    options = {"reset_after": "before" not in name} if op == "gru" else {}
    graph = recurrent(op, 5, 11, 3, 2.0, direction, **options)
    (y,) = graph.outputs
    graph.outputs.clear()
    w = np.random.default_rng(1).standard_normal((3, graph.values[y].size)).astype(np.float32)
    for act in ("relu", "sigmoid"):
        graph.output(graph.node("dense", y, weight=w, bias=w[:, 0], activation=act), act)
    data = noise(graph, 60)
    network = network_of(graph, bits, data)
    x = network.quantised_input(graph.inputs[0], data[0][:1, :STEPS])
    x[0, 4:8] = [-32768, 32767, 1, 0, -1]
    return network, [x], STEPS if "run" in name else None


@pytest.mark.parametrize(
    ("name", "device"), [(m, d) for d in EMULATED for m in (MODELS[:2] if d in ALIKE else MODELS)]
)
def test_devices_give_the_bits_of_numpy(name: str, device: str, tmp_path: Path) -> None:
    network, x, steps = model(name)
    written(network, x, tmp_path, steps)
    result = ran(device, [tmp_path / "src", tmp_path / "selftest.c"], tmp_path)
    assert (result.code, result.fault) == (0, ""), result.output


def streaming(inputs: int, hidden: int, dense: bool, bits: int, folder: Path) -> Plan:
    graph = recurrent("lstm", inputs, hidden)
    if dense:
        (y,) = graph.outputs
        graph.outputs.clear()
        w = np.random.default_rng(1).uniform(-0.2, 0.2, (1, hidden)).astype(np.float32)
        graph.output(graph.node("dense", y, weight=w, bias=w[:, 0], activation="linear"), "y")
    data = noise(graph, 30)
    network = network_of(graph, bits, data)
    return written(network, [network.quantised_input(graph.inputs[0], data[0][:1, :STEPS])], folder)


#: Executed instructions for each multiply-accumulate of a whole step, at the most, of int8 and int16 weights.
COSTS = {
    ("lstm 16/32", "cortex-m4"): (1.4, 1.25),
    ("lstm 16/32", "cortex-m7"): (1.4, 1.25),
    ("lstm 16/32", "cortex-m33"): (1.4, 1.25),
    ("lstm 16/32", "cortex-m55"): (0.5, 0.51),
    ("lstm 16/32", "cortex-m3"): (3.0, 3.0),
    ("lstm 1/20 + dense", "cortex-m4"): (1.9, 1.7),
    ("lstm 1/20 + dense", "cortex-m7"): (1.91, 1.7),
    ("lstm 1/20 + dense", "cortex-m55"): (0.85, 0.85),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("what", "device"), COSTS)
def test_instructions_of_a_step(what: str, device: str, bits: int, tmp_path: Path) -> None:
    small = "dense" in what
    streaming(*((1, 20) if small else (16, 32)), small, bits, tmp_path)
    result = ran(device, [tmp_path / "src", tmp_path / "selftest.c"], tmp_path, count=True)
    assert result.code == 0
    assert result.counts is not None
    own = sum(n for f, n in result.counts.items() if f in ("compute", "model_step") or f.startswith("fixed_"))
    products = 4 * 20 * 21 + 20 if small else 4 * 32 * 48
    assert own / STEPS / products <= COSTS[what, device][bits == 16]


@pytest.mark.parametrize("device", ["cortex-m4", "cortex-m55"])
def test_flash_beside_the_weights_ram_beside_the_states_and_stack(device: str, tmp_path: Path) -> None:
    """An LSTM and a dense layer."""
    plan = streaming(1, 20, True, 8, tmp_path)
    assert plan.arena_bytes - plan.state_bytes <= 4 * (2 * (1 + 20) + 20)
    (tmp_path / "selftest.c").write_text(STACK, encoding="utf-8")
    program = built(device, [tmp_path / "src", tmp_path / "selftest.c"], tmp_path)
    model = [p for p in program.pieces() if "model" in Path(p.object).name and "model_w" not in p.section]
    assert 500 < sum(p.flash for p in model) <= 1700
    assert sum(p.ram for p in model) == 0
    result = run(program)
    assert result.code == 0
    assert 40 < int(result.output) <= 320


STACK = """\
#include <stdio.h>
#include <rig.h>
#include "model.h"
static uint32_t arena[(MODEL_ARENA_BYTES + 3) / 4];
static int16_t x[MODEL_X_SIZE], y[MODEL_Y_SIZE];
static void step(void *unused)
{
    (void)unused;
    model_step(arena, x, y);
}
int main(void)
{
    model_init(arena, sizeof arena);
    printf("%u\\n", (unsigned)rig_stack_of(step, NULL));
    return 0;
}
"""
