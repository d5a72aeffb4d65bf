"""``lstm-rt export-onnx``: what it writes, checks, says and refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import SUNSPOTS, fails, lstm_graph, saved, two_by_two
from lstm_rt_tools.cli import export_onnx
from lstm_rt_tools.cli.parser import main

from lstm_rt.graph import Graph

onnx = pytest.importorskip("onnx")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(saved(tmp_path / "m.lrt", lstm_graph()))


def said(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["export-onnx", *map(str, argv)]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_it_writes_what_it_says(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, model, "-o", "o.onnx")
    assert "o.onnx: " in text
    assert "opset 18\n" in text
    assert "operators: LSTM, Squeeze, Transpose\n" in text
    loaded = onnx.load("o.onnx")
    onnx.checker.check_model(loaded, full_check=True)
    assert (loaded.producer_name, [i.name for i in loaded.graph.input]) == ("lstm-rt", ["x"])


def test_onnxruntime_checks_it(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert "checked: onnxruntime " in said(capsys, model, "-o", "o.onnx")
    assert main(["convert", str(SUNSPOTS), "-o", "s.lrt"]) == 0
    assert "gives the same at 2 sizes" in said(capsys, "s.lrt", "-o", "s.onnx", "--states")


def test_models_without_a_batch_are_checked_with_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    g = Graph()
    x = g.input("x", "seq", 3, order="unbatched")
    g.output(g.recurrent("rnn", x, {"w_ih": np.ones((2, 3)), "w_hh": np.ones((2, 2))}, hidden_size=2)[0], "y",
             order="unbatched")  # fmt: skip
    saved(tmp_path / "u.lrt", g)
    assert "gives the same" in said(capsys, tmp_path / "u.lrt", "-o", tmp_path / "u.onnx", "--states")


def test_windows_longer_than_the_usual_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """onnxruntime refuses a sequence that is shorter than a window of it."""
    pytest.importorskip("onnxruntime")
    g = Graph()
    weight = np.linspace(-1, 1, 800, dtype=np.float32).reshape(2, 1, 400, 1, 1)
    g.output(g.conv(g.input("x", "seq", 1), weight, stride=(160, 1, 1), whole=True), "y")
    saved(tmp_path / "w.lrt", g)
    assert "gives the same" in said(capsys, tmp_path / "w.lrt", "-o", tmp_path / "w.onnx")


def test_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "m.lrt", two_by_two())
    said(capsys, tmp_path / "m.lrt", "-o", tmp_path / "o.onnx", "--states")
    graph = onnx.load(tmp_path / "o.onnx").graph
    assert [i.name for i in graph.input] == ["ids", "v", "gru_2_h0"]
    assert [o.name for o in graph.output] == ["joined", "seq", "gru_2_hn"]


def test_it_is_named_after_the_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "m.onnx: " in said(capsys, model)
    first = Path("m.onnx").read_bytes()
    assert ", as it was" in said(capsys, model)
    Path("m.onnx").write_bytes(b"mine")
    assert "m.onnx: exists and is another file; to replace it give -o m.onnx or --force" in fails(
        capsys, "export-onnx", model
    )
    assert Path("m.onnx").read_bytes() == b"mine"
    said(capsys, model, "--force")
    assert Path("m.onnx").read_bytes() == first


def test_notes_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    g.output(g.activation(g.input("x", "vec", 2), "relu"), "x")
    saved(tmp_path / "m.lrt", g)
    assert "note: output 'x' is called 'x_1'" in said(capsys, tmp_path / "m.lrt", "-o", tmp_path / "o.onnx")


def test_a_damaged_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(model.read_bytes())
    data[-100] ^= 1
    model.write_bytes(data)
    assert "checksum is" in fails(capsys, "export-onnx", model, "-o", "o.onnx")
    assert not Path("o.onnx").exists()


def test_other_numbers_are_not_written(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(data: bytes, inputs: dict[str, Any]) -> Any:
        rows, steps, _ = inputs["x"].shape
        return "something", [np.ones((rows, steps, 5), np.float32)]

    monkeypatch.setattr(export_onnx, "run_onnx", wrong)
    line = said(capsys, model, "-o", "o.onnx", code=1)
    assert "something gives other numbers: output y differs by " in line
    assert "nothing was written" in line
    assert not Path("o.onnx").exists()


def test_without_onnxruntime(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "checked: valid by onnx.checker; not run, because onnxruntime is not installed" in said(
        capsys, model, "-o", "o.onnx"
    )


def test_without_onnx(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = fails(capsys, "export-onnx", model, "-o", "o.onnx")
    assert "this needs onnx, which is not installed (pip install onnx)" in line
    assert not Path("o.onnx").exists()


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.lrt").write_bytes(b"nothing")
    assert "m.lrt" in fails(capsys, "export-onnx", tmp_path / "m.lrt", "-o", tmp_path / "o.onnx")


def test_the_input_is_not_overwritten(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "would be overwritten" in fails(capsys, "export-onnx", model, "-o", model)
