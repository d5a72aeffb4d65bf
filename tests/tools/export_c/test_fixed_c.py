"""The C of integers against their definition in NumPy, bit by bit, on drawn models and inputs, the largest included."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fixed_models import NARROW, computes, network_of, noise, recurrent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lstm_rt_tools.export_c.fixed.curve import Ints

from lstm_rt.graph import Graph

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def any_inputs(graph: Graph, steps: int, rng: np.random.Generator) -> list[Ints]:
    """int16 of all sizes, and long stretches of the largest ones."""
    found = []
    for i in graph.inputs:
        shape = (1, steps, graph.values[i].size)
        x = rng.integers(-(1 << 15), 1 << 15, shape) >> rng.integers(0, 15, shape)
        ends = rng.choice([-(1 << 15), (1 << 15) - 1], (1, 1, shape[2]))
        found.append(np.where(np.arange(steps)[None, :, None] % 16 < 6, ends, x))
    return found


@FEW
@given(
    st.sampled_from(["lstm", "gru", "gru before", "rnn"]),
    st.integers(1, 19),
    st.integers(1, 19),
    st.sampled_from([8, 16]),
    st.sampled_from([0.1, 1.0, 8.0, 60.0]),
    st.sampled_from(["sigmoid", "hard_sigmoid"]),
    st.integers(0, 1 << 30),
    st.booleans(),
)
def test_streams_of_cells(
    tmp_path: Path, op: str, inputs: int, hidden: int, bits: int, scale: float, gate: str, seed: int, narrow: bool
) -> None:
    options: dict[str, Any] = {"reset_after": op == "gru"} if op.startswith("gru") else {}
    if op != "rnn":
        options["activations"] = (gate, "tanh", "tanh") if op == "lstm" else (gate, "tanh")
    graph = recurrent(op.split()[0], inputs, hidden, seed, scale, **options)
    network = network_of(graph, bits, noise(graph, 30))
    rng = np.random.default_rng(seed)
    folder = tmp_path / str(seed)
    assert computes(network, any_inputs(graph, 50, rng), folder, flags=NARROW if narrow else ()) == ""


@FEW
@given(
    st.sampled_from(["lstm", "gru", "rnn"]),
    st.sampled_from(["forward", "reverse", "bidirectional"]),
    st.integers(1, 9),
    st.integers(1, 13),
    st.integers(1, 9),
    st.sampled_from(["linear", "sigmoid", "tanh", "relu", "hard_sigmoid"]),
    st.sampled_from([8, 16]),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_runs_of_layers_and_dense(
    tmp_path: Path,
    op: str,
    direction: str,
    inputs: int,
    hidden: int,
    outputs: int,
    act: str,
    bits: int,
    last: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    graph = recurrent(op, inputs, hidden, seed, 3.0, direction)
    (y,) = graph.outputs
    graph.outputs.clear()
    final = graph.nodes[0].outputs[1]
    assert final is not None
    w = rng.standard_normal((outputs, graph.values[y].size)).astype(np.float32)
    z = graph.node("dense", final if last else y, weight=w, bias=w[:, 0], activation=act)
    graph.output(graph.node("activation", z, activation="tanh"), "z")
    if not last:
        graph.output(graph.node("concat", graph.node("slice", y, start=0, size=1), z), "both")
    network = network_of(graph, bits, noise(graph, 30))
    assert computes(network, any_inputs(graph, 23, rng), tmp_path / str(seed), steps=23, flags=NARROW) == ""


@FEW
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.sampled_from([8, 16]), st.booleans(),
    st.integers(0, 1 << 30),
)  # fmt: skip
def test_convolutions(
    tmp_path: Path, inputs: int, taps: int, dilation: int, outputs: int, bits: int, streams: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    graph = Graph()
    x = graph.input("x", "seq", inputs)
    span = (taps - 1) * dilation
    before = span if streams else span // 2
    weight = rng.standard_normal((outputs, inputs, taps, 1, 1)).astype(np.float32)
    y = graph.node("conv", x, weight=weight, bias=weight[:, 0, 0, 0, 0], dilation_t=dilation, before_t=before,
                   after_t=span - before)  # fmt: skip
    w = rng.standard_normal((outputs, inputs)).astype(np.float32)
    graph.output(graph.node("add", y, graph.node("dense", x, weight=w, activation="relu")), "y")
    network = network_of(graph, bits, noise(graph, 30))
    steps = None if streams else 20
    assert computes(network, any_inputs(graph, 20, rng), tmp_path / str(seed), steps, NARROW) == ""


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("steps", [None, 12])
def test_embeddings_and_stacks(tmp_path: Path, bits: int, steps: int | None) -> None:
    rng = np.random.default_rng(3)
    graph = Graph()
    ids = graph.input("ids", "ids")
    y = graph.node("embedding", ids, table=rng.standard_normal((17, 5)).astype(np.float32))
    for op, size in (("lstm", 5), ("gru", 7)):
        layer = recurrent(op, size, 7).nodes[0]
        y, _, _ = graph.recurrent(op, y, layer.weights, hidden_size=7)
    graph.output(y, "y")
    x = rng.integers(0, 17, (1, 12))
    network = network_of(graph, bits, [x.astype(np.int32)])
    assert computes(network, [x], tmp_path, steps, NARROW) == ""


def test_a_test_notices_another_bit(tmp_path: Path) -> None:
    graph = recurrent("lstm", 2, 3)
    network = network_of(graph, 8, noise(graph, 20))
    x = any_inputs(graph, 10, np.random.default_rng(0))
    assert computes(network, x, tmp_path / "right") == ""
    network.layers[0].directions[0].rows.weights[4, 1] += 1
    right = (tmp_path / "right" / "src" / "model_weights.h").read_text()
    assert computes(network, x, tmp_path / "wrong", flags=["-DLRT_FIXED_PLAIN"]) == ""
    (tmp_path / "wrong" / "src" / "model_weights.h").write_text(right)
    where = tmp_path / "wrong"
    subprocess.run(["gcc", f"-I{where / 'src'}", where / "src" / "model.c", where / "selftest.c", "-o", where / "t"],
                   check=True)  # fmt: skip
    assert subprocess.run([where / "t"], capture_output=True, check=False).returncode == 1
