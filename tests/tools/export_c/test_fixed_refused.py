"""What integers do not have is refused by name, and the command says what it did."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lstm_rt_tools
import numpy as np
import pytest
from helpers.exported_c import COMPILER
from helpers.fixed_models import GATES, network_of, noise, recurrent
from lstm_rt_tools.cli import main
from lstm_rt_tools.export_c.fixed import emit
from lstm_rt_tools.export_c.fixed.rows import Format, Rows, check_sums, quantised
from lstm_rt_tools.export_c.plan import ExportError

import lstm_rt
from lstm_rt.errors import GraphError
from lstm_rt.graph import Graph

W = np.ones((2, 4), np.float32)


def layer(op: str = "lstm", change: Callable[[Any], None] = lambda w: None, **options: Any) -> Graph:
    g = Graph()
    x = g.input("x", "seq", 4)
    rows = GATES[op] * 3
    w: dict[str, Any] = {"w_ih": np.ones((rows, 4), np.float32), "w_hh": np.ones((rows, 3), np.float32)}
    change(w)
    y, _, _ = g.recurrent(op, x, w, hidden_size=3, **options)
    g.output(y, "y")
    return g


def with_c() -> Graph:
    g = layer()
    c = g.nodes[0].outputs[2]
    assert c is not None
    g.output(c, "c")
    return g


def masked() -> Graph:
    g = Graph()
    x = g.input("x", "seq", 4)
    w = {"w_ih": np.ones((12, 4), np.float32), "w_hh": np.ones((12, 3), np.float32)}
    y, _, _ = g.recurrent("lstm", x, w, hidden_size=3, mask=g.node("mask_values", x, value=0.0))
    g.output(y, "y")
    return g


def row(op: str, **options: Any) -> Graph:
    g = Graph()
    g.output(g.node(op, g.input("x", "seq", 4), **options), "y")
    return g


def infinite() -> Graph:
    return row("dense", weight=np.full((2, 4), np.inf, np.float32), activation="linear")


def image() -> Graph:
    return row("conv", weight=np.ones((1, 1, 1, 2, 2), np.float32), height=2, width=2)


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "clip": (lambda: layer(clip=1.0), "lstm cannot be exported to C: a clip is not there in integers"),
    "peephole": (
        lambda: layer(change=lambda w: w.update(peephole=np.ones((3, 3), np.float32))),
        "peephole is not there in integers",
    ),
    "projection": (
        lambda: layer(change=lambda w: w.update(w_hr=np.ones((2, 3), np.float32), w_hh=np.ones((12, 2), np.float32))),
        "w_hr is not there in integers",
    ),
    "relu gates": (
        lambda: layer(activations=("sigmoid", "relu", "tanh")),
        "the activation relu is not there in integers; known: tanh, clip(-1, 1)",
    ),
    "gates": (
        lambda: layer("gru", activations=("tanh", "tanh")),
        "the gate activation tanh is not there in integers; known: sigmoid, hard_sigmoid",
    ),
    "softmax": (
        lambda: row("dense", weight=W, activation="softmax"),
        "the activation softmax is not there in integers; known: linear, sigmoid, tanh, relu, hard_sigmoid, clip",
    ),
    "c": (with_c, "its cell state as an output is not there in integers"),
    "mask": (masked, "mask_values cannot be exported to C: it is not there in integers"),
    "op": (lambda: row("layernorm", eps=1e-5), "layernorm cannot be exported to C: it is not there in integers"),
    "not finite": (infinite, "weight has numbers that are not finite"),
    "image": (image, "only convolutions over time, without groups, are there in integers"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_integers_do_not_have(what: str) -> None:
    make, message = REFUSED[what]
    graph = make()
    with np.errstate(all="ignore"), pytest.raises(ExportError, match=re.escape(message)):
        network_of(graph, 8, [np.ones((1, 5, 4), np.float32)])


def test_integer_weights_are_not_made_integers_again() -> None:
    graph = lstm_rt_tools.quantize(recurrent("lstm", 8, 16), bits=8)
    with pytest.raises(ExportError, match="its weights are integers already; export the float32 model"):
        network_of(graph, 8, noise(graph, 5))


def test_what_does_not_stream() -> None:
    graph = recurrent("lstm", 3, 4, direction="reverse")
    network = network_of(graph, 8, noise(graph, 9))
    with pytest.raises(ExportError, match="a reverse direction does not stream"):
        emit.make_plan(network, None)
    graph = row("conv", weight=np.ones((2, 4, 3, 1, 1), np.float32), before_t=1, after_t=1)
    network = network_of(graph, 8, noise(graph, 9))
    with pytest.raises(ExportError, match="windows have to end with the step that they are of"):
        emit.make_plan(network, None)


def test_more_inputs_than_sums_have_room_for() -> None:
    k = 1 << 17
    with pytest.raises(GraphError, match="131072 inputs are too many for sums of integers"):
        quantised(np.ones((1, k)), np.zeros(1), [Format(15, 1 << 15, 0.0)], [k], np.ones(1), 8)


def test_sums_are_checked_as_they_are_written() -> None:
    one = np.ones(1, np.int64)
    rows = Rows(np.full((1, 300), 127), 0 * one, one, 0, 8)
    with pytest.raises(GraphError, match="sums reach 9753600, expected less than 8388608"):
        check_sums(rows, np.full(300, 256))
    with pytest.raises(GraphError, match="a weight of 200 does not fit 8 bits"):
        check_sums(Rows(200 * np.ones((1, 1), np.int64), 0 * one, one, 0, 8), one)


# -- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: Any) -> int:
    return main(["export-c", *map(str, arguments)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.lrt"
    recurrent("gru", 2, 6).save(str(path))
    return path


def test_the_command_tells_errors_and_ranges(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "-o", tmp_path / "out", "--integer") == 0
    text = capsys.readouterr().out
    found = re.search(r"error of y on noise of unit scale: at most (\S+), (\S+) in the mean, of numbers up to", text)
    assert found is not None
    assert 0 < float(found[2]) < float(found[1]) < 0.02
    assert "ranges are those of noise of unit scale: give --calibrate" in text
    header = (tmp_path / "out" / "src" / "m.h").read_text()
    assert "#define M_Y_BITS 15" in header
    assert "#define M_X_BITS" in header
    assert "int m_step(void *arena, const int16_t *x, int16_t *y);" in header
    sources = "".join(p.read_text() for p in (tmp_path / "out" / "src").iterdir())
    assert not re.search(r"\b(float|double)\b", re.sub(r"/\*.*?\*/", "", sources, flags=re.S))


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
@pytest.mark.parametrize("bits", [8, 16])
def test_calibrated_folders_prove_themselves(model: Path, tmp_path: Path, bits: int) -> None:
    """The model's own outputs, on data of a range that noise does not have, are near the runtime's."""
    x = (100 * np.sin(np.arange(400) / 9).reshape(1, 200, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "out"
    assert run(model, "-o", out, "--integer", "--bits", bits, "--calibrate", tmp_path / "x.npy") == 0
    program = out / "selftest"
    files = [str(out / "src" / "m.c"), str(out / "selftest.c")]
    subprocess.run([COMPILER, "-std=c99", f"-I{out / 'src'}", *files, "-o", str(program)], check=True)
    assert subprocess.run([str(program)], capture_output=True, check=False).returncode == 0
    text = (out / "selftest.c").read_text()
    given, expected = (
        np.array(re.findall(r"-?\d+", re.search(rf"{name}\[\] = {{(.*?)}}", text, re.S)[1]), int)  # type: ignore[index]
        for name in ("given_x", "expected_y")
    )
    scale = int(re.search(r"M_X_BITS (-?\d+)", (out / "src" / "m.h").read_text())[1])  # type: ignore[index]
    assert 200 < 32768 / 2.0**scale <= 400
    assert np.abs(given.reshape(-1, 2) / 2.0**scale - x[0, : len(given) // 2]).max() <= 2.0**-scale
    y = lstm_rt.load(str(model))(x[:, : len(given) // 2])
    assert np.abs(expected.reshape(-1, 6) / 2.0**15 - y[0]).max() < (0.05 if bits == 8 else 0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bits", "16"], "--bits is of --integer"),
        (["--calibrate", "x.npy"], "--calibrate is of --integer"),
        (["--integer", "--lanes", "8"], "--lanes 8 does not go with --integer"),
        (["--integer", "--calibrate", "none.npy"], "none.npy"),
        (["--integer", "--calibrate", "wide.npy"], "input 'x' has shape (1, 5, 3), expected (N, T, 2)"),
        (["--integer", "--calibrate", "nan.npy"], "have a number that is not finite"),
        (["--integer", "--calibrate", "no.npy"], "the calibration data have no steps or rows"),
    ],
)
def test_wrong_options(
    options: list[str], message: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((1, 5, 2), np.float32))
    np.save("wide.npy", np.ones((1, 5, 3), np.float32))
    np.save("nan.npy", np.full((1, 5, 2), np.nan, np.float32))
    np.save("no.npy", np.ones((0, 5, 2), np.float32))
    assert run(model, "-o", "out", *options) != 0
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_other_bits_are_no_option(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(model, "-o", "out", "--integer", "--bits", "12")
    assert "--bits" in capsys.readouterr().err
