"""Weights and data that nobody wants: each gives a model that runs, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import fails, saved
from helpers.graphs import FORMS, cell_id, recurrent_graph, weights
from lstm_rt_tools import quantize
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.integers import measure
from lstm_rt_tools.integers import quantize as whole
from lstm_rt_tools.judges import reference, testdata

from lstm_rt import GraphError, Model
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

RNG = np.random.default_rng


def filled(op: str, options: dict[str, Any], fill: float) -> Graph:
    """A cell with matrices of one number, and what comes of it."""
    g = recurrent_graph(RNG(0), op, 7, 9, **options)
    for name, w in g.nodes[0].weights.items():
        if name in ("w_ih", "w_hh", "w_hr"):
            w[:] = fill
    g.output(g.dense(g.outputs[0], np.full((3, g.values[g.outputs[0]].size), fill, np.float32)), "z")
    return g


@pytest.mark.parametrize("form", FORMS, ids=cell_id)
@pytest.mark.parametrize("with_data", [False, True])
@pytest.mark.parametrize("fill", [0.0, 0.25, -1.0, 1e-40, 1e-45])
def test_constant_weights(form: tuple[str, dict[str, Any]], with_data: bool, fill: float) -> None:
    """Zeros and denormals too; errors are those of the rows that are rounded."""
    g, x = filled(*form, fill), RNG(1).standard_normal((3, 8, 7)).astype(np.float32)
    g.selftest = testdata.make_selftest(g)
    for bits, activations, bound in ((8, 16, 5e-3), (16, 16, 5e-3), (8, 8, 0.2)):
        q = quantize(g, bits, activations, calibrate=[x] if with_data else None)
        for y, want in zip(Model(dumps(q))(x), reference.run(g, [x]), strict=True):
            assert np.abs(y - want).max() <= bound * max(1, np.abs(want).max())
        assert Model(dumps(q)).verify()["ok"]


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_next_to_the_largest_float(bits: int) -> None:
    """They have scales; what float32 cannot hold is as far off as it is."""
    g = filled("lstm", {}, 3e38)
    made = whole.make(g, whole.Options(bits))
    assert all(c.bits == bits for c in made.changes)
    Model(dumps(made.graph))(made.inputs[0])
    assert all(np.isfinite(w.scale).all() for w in made.graph.nodes[0].weights.values() if hasattr(w, "scale"))


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(fill: float) -> None:
    """Those matrices stay as they are; the others become integers, and NaN in both counts as equal."""
    g = recurrent_graph(RNG(0), "gru", 7, 9)
    g.output(g.dense(g.outputs[0], np.full((3, 9), fill, np.float32)), "z")
    q = quantize(g)
    assert q.nodes[1].weights["weight"].tobytes() == g.nodes[1].weights["weight"].tobytes()
    x = RNG(1).standard_normal((2, 5, 7)).astype(np.float32)
    y = measure.errors(q, measure.outputs_of(g, [x]), [x])
    assert np.isfinite(y[0].max_abs)
    g.nodes[0].weights["w_ih"][:] = g.nodes[0].weights["w_hh"][:] = fill
    with pytest.raises(
        GraphError, match="integers: w_hh: it is not finite, w_ih: it is not finite, weight: it is"
    ):
        quantize(g)


@pytest.mark.parametrize("huge", [1e6, 1e30])
def test_data_with_one_huge_number(huge: float) -> None:
    """Its row loses what is small beside it; weights that are rounded for it are no worse than others elsewhere."""
    g = recurrent_graph(RNG(0), "lstm", 16, 24)
    data = RNG(1).standard_normal((4, 30, 16)).astype(np.float32)
    x = RNG(2).standard_normal((4, 30, 16)).astype(np.float32)
    exact = measure.outputs_of(g, [x])
    plain = measure.errors(quantize(g), exact, [x])[0]
    data[0, 0, 3] = huge
    rounded = measure.errors(quantize(g, calibrate=[data]), exact, [x])[0]
    assert rounded.max_abs < 2 * plain.max_abs


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    g = Graph()
    e = g.embedding(g.input("ids", "ids"), weights(RNG(0), 11, 8))
    g.output(g.dense(g.concat(e, g.input("x", "seq", 8, axis=0)), weights(RNG(1), 5, 16)), "y")
    return Path(saved(tmp_path / "m.lrt", g))


@pytest.mark.parametrize(
    ("ids", "x", "message"),
    [
        (np.zeros((1, 3), np.int32), np.full((1, 3, 8), np.nan, np.float32), "'x' have a number that is not finite"),
        (np.zeros((1, 3), np.int32), np.full((1, 3, 8), 1e39), "with values that float32 does not hold"),
        (np.zeros((1, 3), np.int32), np.zeros((1, 3, 7), np.float32), "input 'x': got float32 (1, 3, 7), expected"),
        (np.zeros((1, 3), np.int32), np.zeros((1, 4, 8), np.float32), "'x'"),
        (np.zeros((1, 3), np.int32), np.zeros((1, 3, 8), "U1"), "expected"),
        (np.full((1, 3), 0.5), np.zeros((1, 3, 8), np.float32), "with values that int32 does not hold"),
        (np.full((1, 3), 11, np.int32), np.zeros((1, 3, 8), np.float32), "11"),
        (np.full((1, 3), -1, np.int32), np.zeros((1, 3, 8), np.float32), "-1"),
        (np.zeros((1, 0), np.int32), np.zeros((1, 0, 8), np.float32), "no steps or rows"),
        (np.zeros((0, 3), np.int32), np.zeros((0, 3, 8), np.float32), "the batch is 0"),
    ],
)
def test_data_of_files(
    model: Path, ids: Any, x: Any, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("ids.npy", ids)
    np.save("x.npy", x)
    assert message in fails(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", "ids.npy", "x.npy")
    assert not Path("s.lrt").exists()


def test_files_that_are_no_data(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.npy").write_bytes(b"")
    np.save("ids.npy", np.zeros((1, 3), np.int32))
    for files, message in (
        (["ids.npy"], "input"),
        (["ids.npy", "empty.npy"], "empty.npy"),
        (["ids.npy", "none.npy"], "none.npy: No such file"),
    ):
        assert message in fails(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", *files)
    assert not Path("s.lrt").exists()
    np.savez("all.npz", ids=np.ones((1, 3), np.int64), x=np.ones((1, 3, 8)))
    assert main(["quantize", str(model), "-o", "s.lrt", "--calibrate", "all.npz"]) == 0


def test_a_sequence_of_a_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which cannot have a batch: as for `run`."""
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "m.lrt", recurrent_graph(RNG(0), "lstm", 16, 20))
    x = RNG(1).standard_normal((30, 16)).astype(np.float32)
    np.savetxt("x.csv", x, delimiter=",")
    np.save("x.npy", x[None])
    for name in ("x.csv", "x.npy"):
        assert main(["quantize", str(path), "-o", f"{name}.lrt", "--calibrate", name]) == 0
    assert Path("x.csv.lrt").read_bytes() == Path("x.npy.lrt").read_bytes()
