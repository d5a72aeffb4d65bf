"""``lstm-rt quantize``, and ``convert`` with integer weights: what they write, say and refuse."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import DIGITS, fails, saved
from helpers.graphs import recurrent_graph
from lstm_rt_tools import quantize as quantize_graph
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.cli.quantize import _gain
from lstm_rt_tools.integers import prune
from lstm_rt_tools.integers import quantize as whole
from lstm_rt_tools.judges import testdata

import lstm_rt
from lstm_rt.format import blocks, load_graph
from lstm_rt.quantised import Quantised, has_integers


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 64)
    g.selftest = testdata.make_selftest(g)
    return Path(saved(tmp_path / "m.lrt", g))


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def test_it_writes_what_it_says(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "quantize", model, "-o", "s.lrt")
    graph, size = load_graph("s.lrt"), Path("s.lrt").stat().st_size
    assert size < 0.4 * model.stat().st_size
    assert has_integers(graph)
    assert {w.stored for w in graph.nodes[0].weights.values() if hasattr(w, "stored")} == {np.dtype(np.int8)}
    assert "s.lrt: " in text
    assert "weights: int8, activations of 16 bits" in text
    assert "compared with float32 on made-up data (4x100x20):" in text
    assert "output y: max abs error " in text
    assert "node 0 (lstm) alone: 86,016 to 22,528 bytes of matrices" in text
    assert "times as fast" in text
    assert "self-test: this model's own outputs" in text
    assert "int8 w_ih w_hh" in said(capsys, "info", "s.lrt")
    assert said(capsys, "verify", "s.lrt").startswith("ok: checksum good, self-test max abs difference")


def test_int16_is_nearer(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = []
    for option in (["--int8", "--activations", "8"], ["--int8"], ["--int16"]):
        facts: dict[str, Any] = json.loads(said(capsys, "quantize", model, "-o", "s.lrt", "--json", *option))
        errors.append(facts["outputs"][0]["max_abs"])
        assert facts["bytes"]["after"] == Path("s.lrt").stat().st_size
        assert facts["layers"][0]["max_abs"] == facts["outputs"][0]["max_abs"]  # there is but one
        assert facts["selftest"] is True
        assert min(facts["microseconds"].values()) > 0
    assert errors[0] > errors[1] > 10 * errors[2] > 0


def test_data_to_compare_on(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(1).normal(size=(2, 7, 20)).astype(np.float32)
    np.save("x.npy", x)
    facts = json.loads(said(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", "x.npy", "--json"))
    assert facts["compared_on"] == "the calibration data (2x7x20)"
    gap = np.abs(lstm_rt.load("s.lrt")(x)[0] - lstm_rt.load(model)(x)[0])
    assert facts["outputs"][0]["max_abs"] == pytest.approx(float(gap.max()))
    assert facts["outputs"][0]["mean_abs"] == pytest.approx(float(gap.mean()))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 7, 19), "expected"), ((20,), "expected"), ((2, 0, 20), "no steps or rows"), ((0, 3, 20), "the batch is 0")],
)
def test_data_that_do_not_fit(
    model: Path, shape: tuple[int, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.zeros(shape, np.float32))
    assert message in fails(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", "x.npy")
    assert not Path("s.lrt").exists()


def test_what_it_refuses(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "quantize", model, "-o", "s.lrt")
    before = Path("s.lrt").read_bytes()
    assert "has integer weights already" in fails(capsys, "quantize", "s.lrt", "-o", "t.lrt")
    assert "would be overwritten" in fails(capsys, "quantize", model, "-o", model)
    small = saved(Path("small.lrt"), recurrent_graph(np.random.default_rng(0), "gru", 2, 3))
    line = fails(capsys, "quantize", small, "-o", "t.lrt")
    assert "no weights of this model become integers: w_hh: it has 3 inputs, w_ih: it has 2 inputs" in line
    pytest.importorskip("onnx")
    assert "has integer weights, which is not exported" in fails(capsys, "export-onnx", "s.lrt", "-o", "s.onnx")
    assert Path("s.lrt").read_bytes() == before


def test_an_error_that_is_too_large(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(said(capsys, "quantize", model, "-o", "s.lrt", "--json"))
    worst = max(e["max_abs"] for e in facts["outputs"])
    said(capsys, "quantize", model, "-o", "t.lrt", "--max-error", worst)
    assert main(["quantize", str(model), "-o", "u.lrt", "--max-error", str(worst / 2)]) == 1
    line = f"the largest error is {worst:.2e}, more than --max-error {worst / 2:g}; nothing was written"
    assert line in capsys.readouterr().err
    assert not Path("u.lrt").exists()
    said(capsys, "quantize", model, "-o", "u.lrt", "--int16", "--max-error", worst / 2)


def test_data_to_round_the_weights_for(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    np.save("x.npy", (np.cumsum(rng.normal(size=(4, 60, 3)), axis=1) @ rng.normal(size=(3, 20)) / 5).astype(np.float32))
    facts = json.loads(said(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", "x.npy", "--json"))
    (with_data,), (nearest,) = facts["outputs"][:1], facts["rounded_to_nearest"][:1]
    assert nearest["mean_abs"] > 1.5 * with_data["mean_abs"]
    text = said(capsys, "quantize", model, "-o", "s.lrt", "--calibrate", "x.npy")
    assert "output y with weights rounded to the nearest instead: max abs error" in text
    assert "rounded to the nearest" not in said(capsys, "quantize", model, "-o", "s.lrt")


def test_bits_of_each_matrix(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "speed_against", lambda graph, inputs: lambda other: 2.0)
    sizes = []
    for bound in (1, 1e-3, 1e-6):
        argv = ("quantize", model, "-o", "s.lrt", "--auto", "--max-error", bound, "--json")
        if bound == 1e-6:
            line = fails(capsys, *argv)
            assert "no weights of this model become integers: w_hh: too far from float32 as int8 (alone " in line
            continue
        facts = json.loads(said(capsys, *argv))
        assert max(e["max_abs"] for e in facts["outputs"]) <= bound
        sizes.append(facts["bytes"]["after"])
        bits = {m["bits"] for m in facts["layers"][0]["integers"].values()}
        assert bits == ({8} if bound == 1 else {8, 16} if 8 in bits else {16})
    assert sizes[0] < sizes[1] < model.stat().st_size
    assert "is int16: too far from float32 as int8" in said(capsys, *argv[:5], "--max-error", 1e-3)
    monkeypatch.setattr(whole, "speed_against", lambda graph, inputs: lambda other: 0.5)
    assert "w_ih: slower here as int8 (0.50 times as fast) and as int16" in fails(capsys, *argv[:5])


def test_convert_with_integers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arch = DIGITS.parent / "arch.toml"
    said(capsys, "convert", DIGITS, "--arch", arch, "-o", "f.lrt")
    text = said(capsys, "convert", DIGITS, "--arch", arch, "-o", "q.lrt", "--int16")
    assert "weights: int16, activations of 16 bits" in text
    assert "compared with float32 on made-up data" in text
    assert "self-test: the outputs of the model with integer weights" in text
    assert has_integers(load_graph("q.lrt"))
    assert not has_integers(load_graph("f.lrt"))
    assert said(capsys, "verify", "q.lrt").startswith("ok:")
    made = load_graph("q.lrt").meta["quantised"]
    assert made["from"] == {"checksum": checksum("f.lrt")}
    said(capsys, "quantize", "f.lrt", "-o", "same.lrt", "--int16")
    same = load_graph("same.lrt")
    for a, b in zip(load_graph("q.lrt").nodes, same.nodes, strict=True):
        for name, w in a.weights.items():
            assert w.same(b.weights[name]) if isinstance(w, Quantised) else np.array_equal(w, b.weights[name])


def test_convert_takes_all_that_quantize_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(whole, "speed_against", lambda graph, inputs: lambda other: 2.0)
    source = ("convert", DIGITS, "--arch", DIGITS.parent / "arch.toml", "-o", "q.lrt")
    said(capsys, *source)
    x = np.random.default_rng(0).uniform(0, 1, (3, 8, lstm_rt.load("q.lrt").inputs[0].shape[-1])).astype(np.float32)
    np.save("x.npy", x)
    text = said(capsys, *source, "--auto", "--activations", "8", "--calibrate", "x.npy", "--max-error", "0.5")
    shape = "x".join(map(str, x.shape))
    assert f"compared with float32 on the calibration data ({shape})" in text
    assert "with weights rounded to the nearest instead" in text
    assert load_graph("q.lrt").meta["quantised"] | {"from": 0, "tool": 0} == {
        "from": 0, "tool": 0, "weights": "auto", "activations": 8, "max_error": 0.5, "calibration": [shape],
    }  # fmt: skip
    text = said(capsys, *source, "--auto", "--max-error", "1e-9")
    assert "weights: float32, as no weights of this model become integers: " in text
    assert "quantised" not in load_graph("q.lrt").meta
    Path("q.lrt").unlink()
    assert main([str(a) for a in (*source, "--int8", "--max-error", "1e-9")]) == 1
    assert "more than --max-error 1e-09; nothing was written" in capsys.readouterr().err
    assert not Path("q.lrt").exists()
    for option in (["--activations", "8"], ["--calibrate", "x.npy"], ["--max-error", "1"]):
        line = fails(capsys, *source, *option)
        assert f"{option[0]} is about integer weights: give --int8, --int16 or --auto with it" in line
    line = fails(capsys, *source[:4], "-o", "x.npy", "--int8", "--calibrate", "x.npy")
    assert "would be overwritten" in line


def checksum(path: Path | str) -> str:
    data = Path(path).read_bytes()
    return f"{zlib.crc32(data[:12] + bytes(4) + data[16:]):08x}"


def test_what_it_was_made_from(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.random.default_rng(1).normal(size=(2, 7, 20)).astype(np.float32))
    said(capsys, "quantize", model, "-o", "s.lrt", "--int16", "--calibrate", "x.npy", "--max-error", "1")
    assert load_graph("s.lrt").meta["quantised"] == {
        "from": {"file": "m.lrt", "checksum": checksum(model)},
        "tool": f"lstm-rt {lstm_rt.__version__}",
        "weights": 16,
        "activations": 16,
        "max_error": 1.0,
        "calibration": ["2x7x20"],
    }
    text = said(capsys, "info", "s.lrt")
    assert "  quantised\n    activations: 16\n    calibration: ['2x7x20']\n    from\n" in text
    assert f"      checksum: {checksum(model)}\n      file: m.lrt\n" in text
    line = fails(capsys, "quantize", "s.lrt", "-o", "t.lrt")
    advice = f"quantize the float32 model that it was made from (file m.lrt, checksum {checksum(model)})"
    assert f"s.lrt: has integer weights already; {advice}" in line


def test_time_of_each_layer(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(said(capsys, "quantize", model, "-o", "s.lrt", "--json"))
    (layer,) = facts["layers"]
    assert 0 < layer["microseconds"]["before"] < 20 * facts["microseconds"]["before"]
    assert layer["integers"] == {name: {"bits": 8, "why": "", "rows_lost": 0} for name in ("w_ih", "w_hh")}
    assert layer["float32"] == {}
    assert facts["from"] == {"file": "m.lrt", "checksum": checksum(model)}


def test_a_huge_weight_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 32)
    g.nodes[0].weights["w_ih"][[3, 7], 5] = 1e6
    path, out = saved(tmp_path / "h.lrt", g), tmp_path / "s.lrt"
    text = said(capsys, "quantize", path, "-o", out)
    assert "w_ih has 2 rows of which most weights became 0, as beside a huge one" in text
    facts = json.loads(said(capsys, "quantize", path, "-o", out, "--json", "--int16"))
    assert [facts["layers"][0]["integers"][name]["rows_lost"] for name in ("w_ih", "w_hh")] == [2, 0]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 192)
    g.selftest = testdata.make_selftest(g)
    return Path(saved(tmp_path / "large.lrt", g))


def test_pruned_floats(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "quantize", large, "-o", "s.lrt", "--prune", "0.9")
    graph = load_graph("s.lrt")
    assert not has_integers(graph)
    assert graph.nodes[0].blocks["w_hh"] == pytest.approx(0.1, abs=0.01)
    assert Path("s.lrt").stat().st_size < 0.2 * large.stat().st_size
    assert "weights: float32, 90 % of the blocks made 0" in text
    assert "w_hh is stored as blocks, of which 10 % are not zero" in text
    assert "w_hh 10 % of its blocks" in said(capsys, "info", "s.lrt")
    facts = json.loads(said(capsys, "info", "s.lrt", "--json"))
    assert facts["nodes"][0]["blocks"] == graph.nodes[0].blocks
    assert said(capsys, "verify", "s.lrt").startswith("ok: checksum good, self-test max abs difference")


def test_pruned_integers(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(said(capsys, "quantize", large, "-o", "s.lrt", "--prune", "0.9", "--int16", "--json"))
    layer = facts["layers"][0]
    assert (facts["weights"], facts["pruned"]) == (16, 0.9)
    assert layer["integers"]["w_hh"]["bits"] == 16
    assert layer["blocks"]["w_hh"] == load_graph("s.lrt").nodes[0].blocks["w_hh"]
    assert layer["bytes"]["after"] < 0.11 * layer["bytes"]["before"]
    assert "so small" in layer["pruned"]["w_ih"]["why"]
    text = said(capsys, "quantize", large, "-o", "s.lrt", "--prune", "0.3", "--int16")
    assert "w_ih is not pruned: it is so small (30,720 bytes) that blocks are not faster" in text
    assert "w_hh is stored whole: with 70 % of its blocks, their products would not be faster" in text


def test_convert_finds_what_was_pruned(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(20, 192)
    with torch.no_grad():
        module.weight_hh_l0.reshape(4, 12, 16, 192)[:, :, :, ::8].zero_()
        module.weight_hh_l0.reshape(4, 12, 16, 192)[:, :, :, 1::2].zero_()
    torch.save(module, "m.pt")
    text = said(capsys, "convert", "m.pt")
    assert "sparse: 1 matrix is stored as blocks, of which 38 % are not zero" in text
    assert load_graph("m.lrt").nodes[0].blocks == {"w_hh": 0.375}
    text = said(capsys, "convert", "m.pt", "--prune", "0.9", "-o", "p.lrt")
    assert "sparse: 2 matrices are stored as blocks, of which 10 % are not zero" in text
    assert load_graph("p.lrt").nodes[0].blocks["w_hh"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("value", ["0", "1", "1.5", "-0.2", "nan", "x"])
def test_shares_that_are_none(large: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    line = fails(capsys, "quantize", large, "-o", "s.lrt", f"--prune={value}")
    assert "is not a number above 0 and below 1" in line
    assert not Path("s.lrt").exists()


def test_models_of_which_nothing_is_pruned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floats would be the same file once more; of integers the file and the report say so."""
    monkeypatch.chdir(tmp_path)
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 32)
    g.selftest = testdata.make_selftest(g)
    model = saved(tmp_path / "m.lrt", g)
    line = fails(capsys, "quantize", model, "-o", "s.lrt", "--prune", "0.9")
    assert "no matrix of this model is pruned: " in line
    assert "w_hh: it is so small (" in line
    assert not Path("s.lrt").exists()
    text = said(capsys, "quantize", model, "-o", "s.lrt", "--prune", "0.9", "--int8")
    assert "activations of 16 bits, none of the blocks made 0" in text
    assert "pruned" not in load_graph("s.lrt").meta["quantised"]
    assert load_graph("s.lrt").meta["selftest"] == "the outputs of this model with integer weights, for random inputs"


def test_pruned_floats_know_nothing_of_integers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "m.lrt", recurrent_graph(np.random.default_rng(0), "lstm", 2, 192))
    assert "stays float32" not in said(capsys, "quantize", path, "-o", "s.lrt", "--prune", "0.9")
    assert set(load_graph("s.lrt").meta["quantised"]) == {"from", "tool", "weights", "pruned"}
    monkeypatch.setattr(prune, "LEAST_BYTES", 1)
    source = ("convert", DIGITS, "--arch", DIGITS.parent / "arch.toml", "-o", "q.lrt", "--prune", "0.5")
    assert "self-test: the outputs of the pruned model" in said(capsys, *source)
    assert "self-test: the outputs of the model with integer weights" in said(capsys, *source, "--int8")


def test_convert_with_outputs_that_prove_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(whole, "selftest", lambda graph: None)
    text = said(capsys, "convert", DIGITS, "--arch", DIGITS.parent / "arch.toml", "-o", "q.lrt", "--int8")
    assert "self-test: left out, because outputs for random inputs would prove nothing" in text
    assert "selftest" not in load_graph("q.lrt").meta


def test_blocks_that_integers_do_not_keep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of one input for float32, of four for int8."""
    g = recurrent_graph(np.random.default_rng(0), "lstm", 20, 192)
    path = saved(tmp_path / "m.lrt", prune.pruned(g, 0.8)[0])
    text = said(capsys, "quantize", path, "-o", tmp_path / "s.lrt")
    share = blocks.share(quantize_graph(load_graph(path)).nodes[0].weights["w_hh"], 4)
    assert f"w_hh was stored as blocks, and is whole now: of blocks of int8 {100 * share:.2g} % are not zero" in text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (4.0, 2.0, "4.0 us before, 2.0 us after (2.00 times as fast)"),
        (0.0, 0.9, "0.0 us before, 0.9 us after"),
        (0.9, 0.0, "0.9 us before, 0.0 us after"),
        (0.04, 0.9, "0.0 us before, 0.9 us after"),
    ],
)
def test_no_ratio_of_times_that_are_too_short_to_tell(before: float, after: float, text: str) -> None:
    assert _gain({"microseconds": {"before": before, "after": after}}) == text


def test_verify_says_why_integers_are_off(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.random.default_rng(1).normal(size=(2, 7, 20)).astype(np.float32))
    said(capsys, "run", model, "x.npy", "-o", "y.npz")
    said(capsys, "quantize", model, "-o", "s.lrt")
    check = ["--inputs", "x.npy", "--expect", "y.npz"]
    assert main(["verify", "s.lrt", *check]) == 1
    assert "note: the model has integer weights, which give other numbers; --atol says" in capsys.readouterr().out
    assert "integer weights" not in said(capsys, "verify", "s.lrt", *check, "--atol", "0.05")
    assert main(["verify", str(model), *check, "--atol", "0", "--rtol", "0"]) == 0
