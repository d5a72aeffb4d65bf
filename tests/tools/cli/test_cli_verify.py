"""``lstm-rt verify``: the self-test, the source, known outputs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import ARCH, DIGITS, SUNSPOTS, fails, json_of, lstm_graph, saved, two_by_two
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.judges import reference, testdata
from lstm_rt_tools.row import Rerun

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph, SelfTest


@pytest.fixture
def model(tmp_path: Path) -> str:
    return saved(tmp_path / "m.lrt", lstm_graph())


def test_verify_selftest(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json_of(capsys, "verify", model, "--json")
    assert facts["ok"] is True
    assert facts["max_abs_err"] < 1e-5
    graph = lstm_graph()
    graph.selftest = SelfTest([np.ones((1, 2, 3), dtype=np.float32)], [np.ones((1, 2, 5), dtype=np.float32)])
    wrong = saved(tmp_path / "wrong.lrt", graph, selftest=False)
    assert main(["verify", wrong]) == 1
    assert "MISMATCH" in capsys.readouterr().out
    assert json_of(capsys, "verify", wrong, "--json", code=1)["ok"] is False
    assert "--against" in fails(capsys, "verify", model, "--arch", ARCH)


def test_verify_against_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from lstm_rt_tools import from_torch

    graph = from_torch(DIGITS, arch=ARCH)
    path = saved(tmp_path / "d.lrt", graph)
    against = ["--against", DIGITS, "--arch", ARCH]
    facts = json_of(capsys, "verify", path, *against, "--json")
    assert facts["ok"] is True
    assert "torch.nn" in facts["compared"]
    assert [o["name"] for o in facts["outputs"]] == ["logits"]

    changed_bias = graph.nodes[-1].weights["bias"].copy()  # the reader's arrays may be read-only
    changed_bias[3] += 0.01
    graph.nodes[-1].weights["bias"] = changed_bias
    changed = saved(tmp_path / "changed.lrt", graph)
    assert main([str(a) for a in ["verify", changed, *against]]) == 1
    assert "MISMATCH: logits: max abs difference 1.00e-02" in capsys.readouterr().out
    assert main([str(a) for a in ["verify", changed, *against, "--atol", "0.02"]]) == 0
    other = saved(tmp_path / "other.lrt", lstm_graph())
    fails(capsys, "verify", other, *against)


def test_verify_against_keras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("keras")
    out = tmp_path / "s.lrt"
    assert main(["convert", str(SUNSPOTS), "-o", str(out)]) == 0
    facts = json_of(capsys, "verify", out, "--against", SUNSPOTS, "--json")
    assert facts["ok"] is True
    assert "run live by Keras" in facts["compared"]
    broken = tmp_path / "broken.keras"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "cannot load" in fails(capsys, "verify", out, "--against", broken)


def everything_torch_can() -> Graph:
    rng = np.random.default_rng(2)

    def weights(gates: int, inputs: int, hidden: int, *suffixes: str, proj: int = 0) -> dict[str, Any]:
        rows = gates * hidden
        shapes = {"w_ih": (rows, inputs), "w_hh": (rows, proj or hidden), "b_ih": (rows,), "b_hh": (rows,)}
        if proj:
            shapes["w_hr"] = (proj, hidden)
        return {k + s: rng.normal(size=n) for s in suffixes or ("",) for k, n in shapes.items()}

    g = Graph()
    ids = g.input("ids", "ids")
    g.input("n", "lengths", axis=0)
    x = g.embedding(ids, rng.normal(size=(11, 4)))
    both = weights(4, 4, 5, "", "_reverse", proj=3)
    x, h, c = g.recurrent("lstm", x, both, hidden_size=5, direction="bidirectional")
    assert c is not None
    x = g.layernorm(x, rng.normal(size=6), rng.normal(size=6), 1e-5)
    x, h, _ = g.recurrent("gru", x, weights(3, 6, 6), hidden_size=6, h0=h)
    back, _, _ = g.recurrent("rnn", g.reverse(x), weights(1, 6, 6), hidden_size=6, direction="reverse")
    x = g.binary("average", g.binary("mul", x, back), g.binary("add", x, back))
    x = g.batchnorm(x, rng.normal(size=6), rng.random(6), rng.normal(size=6), None, 1e-3)
    g.output(g.dense(g.slice(x, 1, 4), rng.normal(size=(2, 4)), rng.normal(size=2), "gelu"), "seq")
    ends = g.concat(g.select(x, -1), g.select(x, 0), g.activation(c, "softsign"), h)
    g.output(g.dense(ends, rng.normal(size=(3, 28)), None, "softmax"), "odds")
    return g


def test_torch_replay_agrees_with_the_reference() -> None:
    pytest.importorskip("torch")
    from lstm_rt_tools.judges.torch_replay import replay

    graph = everything_torch_can()
    inputs = testdata.make_inputs(graph, 4, 7, seed=3, full_lengths=False)
    assert len(set(inputs[1].tolist())) > 1
    for got, want in zip(replay(graph, inputs), reference.run(graph, inputs), strict=True):
        mine = got
        if got.ndim == 3:  # beyond a row's length, dense and batchnorm turn the zeros into something else
            mine = np.where(np.arange(7)[None, :, None] < inputs[1][:, None, None], got, want)
        np.testing.assert_allclose(mine, want, atol=1e-12, rtol=0)


def test_torch_replay_refuses_what_torch_lacks() -> None:
    pytest.importorskip("torch")
    from lstm_rt_tools.judges.torch_replay import replay

    g = Graph()
    x = g.input("x", "seq", 1)
    weights = {"w_ih": np.ones((4, 1)), "w_hh": np.ones((4, 1)), "peephole": np.ones((3, 1))}
    g.output(g.recurrent("lstm", x, weights, hidden_size=1)[0], "y")
    with pytest.raises(ConvertError, match="no peepholes"):
        replay(g, testdata.make_inputs(g))


# -- what a self-test proves ------------------------------------------------------------------------


def test_verify_says_what_its_self_test_proves(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", model]) == 0
    text = capsys.readouterr().out
    assert "not that the conversion is right" in text
    assert "--expect" in text


def test_without_a_self_test_the_checksum_is_what_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "m.lrt", lstm_graph(), selftest=False)
    assert main(["verify", path]) == 0
    assert "no numbers were compared" in capsys.readouterr().out
    facts = json_of(capsys, "verify", path, "--json")
    assert (facts["ok"], facts["compared"], facts["max_abs_err"]) == (True, None, None)
    data = bytearray(Path(path).read_bytes())
    data[-200] ^= 1
    Path(path).write_bytes(data)
    assert main(["verify", path]) == 1
    assert json_of(capsys, "verify", path, "--json", code=1)["ok"] is False


def test_verify_repeats_the_notes_of_the_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = lstm_graph()
    graph.meta["notes"] = ["its wiring is a guess\x1b[2J"]
    path = saved(tmp_path / "m.lrt", graph)
    assert main(["verify", path]) == 0
    assert "note: its wiring is a guess\\x1b[2J\n" in capsys.readouterr().out
    assert json_of(capsys, "verify", path, "--json")["notes"] == ["its wiring is a guess\\x1b[2J"]


# -- known outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "npz", "csv"])
def test_verify_with_known_outputs(kind: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(4).normal(size=(1, 6, 3)).astype(np.float32)
    (want,) = reference.run(lstm_graph(), [x])

    def file(name: str, array: Any) -> Path:
        path = tmp_path / f"{name}.{kind}"
        if kind == "npy":
            np.save(path, array)
        elif kind == "npz":
            np.savez(path, array)
        else:
            np.savetxt(path, array[0], delimiter=",")
        return path

    command = ["verify", model, "--inputs", file("x", x), "--expect"]
    facts = json_of(capsys, *command, file("y", want), "--json")
    assert (facts["ok"], facts["outputs"][0]["name"]) == (True, "y")
    changed = want.copy()
    changed[0, 3, 2] += 0.01
    assert main([str(a) for a in [*command, file("z", changed)]]) == 1
    assert "MISMATCH: y: max abs difference 1.00e-02" in capsys.readouterr().out
    assert main([str(a) for a in [*command, file("z", changed), "--atol", "0.02"]]) == 0
    assert "shape" in fails(capsys, *command, file("less", want[:, :5]))


def test_known_outputs_of_several_inputs_and_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = two_by_two()
    path = saved(tmp_path / "m.lrt", graph)
    ids, v = np.array([[1, 2, 0], [6, 5, 4]], np.int32), np.ones((2, 2), dtype=np.float32)
    joined, seq = reference.run(graph, [ids, v])
    np.savez(tmp_path / "in.npz", v=v, ids=ids)
    np.savez(tmp_path / "out.npz", seq=seq, joined=joined)
    np.savez(tmp_path / "swapped.npz", seq, joined)
    np.save(tmp_path / "joined.npy", joined)
    np.save(tmp_path / "seq.npy", seq)
    command = ["verify", path, "--inputs", tmp_path / "in.npz", "--expect"]
    for files in (["out.npz"], ["joined.npy", "seq.npy"]):
        facts = json_of(capsys, *command, *(tmp_path / f for f in files), "--json")
        assert [(o["name"], o["ok"]) for o in facts["outputs"]] == [("joined", True), ("seq", True)]
    assert "shape" in fails(capsys, *command, tmp_path / "swapped.npz")
    assert "expected 2: joined, seq" in fails(capsys, *command, tmp_path / "seq.npy")


def test_known_outputs_with_lengths(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What frameworks put beyond a row's length differs, and does not count."""
    x = np.random.default_rng(4).normal(size=(3, 6, 3)).astype(np.float32)
    (want,) = reference.run(lstm_graph(), [x], lengths=[2, 6, 4])
    for row, n in enumerate([2, 6, 4]):
        want[row, n:] = want[row, n - 1]  # as Keras repeats the last step
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", want)
    command = ["verify", model, "--inputs", tmp_path / "x.npy", "--expect", tmp_path / "y.npy"]
    assert json_of(capsys, *command, "--lengths", "2,6,4", "--json")["ok"] is True
    assert json_of(capsys, *command, "--lengths", "3,6,4", "--json", code=1)["ok"] is False
    assert main([str(a) for a in command]) == 1


def test_known_outputs_of_a_model_with_lengths_as_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    x, _ = g.input("x", "seq", 1), g.input("lengths", "lengths", axis=0)
    g.output(g.dense(x, np.ones((2, 1))), "y")
    path = saved(tmp_path / "m.lrt", g)
    x = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    y = np.repeat(x, 2, axis=2)
    y[0, 1:] = 99
    np.savez(tmp_path / "in.npz", x=x, lengths=[1, 3])
    np.save(tmp_path / "y.npy", y)
    command = ["verify", path, "--inputs", tmp_path / "in.npz", "--expect", tmp_path / "y.npy"]
    assert json_of(capsys, *command, "--json")["ok"] is True
    y[1, 1] = 99
    np.save(tmp_path / "y.npy", y)
    assert json_of(capsys, *command, "--json", code=1)["ok"] is False


def test_axes_of_size_one_may_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    g.output(g.dense(g.select(g.input("x", "seq", 1)), np.ones((1, 1))), "y")
    path = saved(tmp_path / "m.lrt", g)
    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.float32).reshape(2, 3, 1))
    np.save(tmp_path / "y.npy", np.array([2.0, 5.0]))  # (N,) where the model gives (N, 1)
    assert main(["verify", path, "--inputs", str(tmp_path / "x.npy"), "--expect", str(tmp_path / "y.npy")]) == 0
    np.save(tmp_path / "y.npy", np.array([2.0, np.nan]))
    facts = json_of(
        capsys, "verify", path, "--inputs", tmp_path / "x.npy", "--expect", tmp_path / "y.npy", "--json", code=1
    )
    assert facts["outputs"][0]["max_abs"] is None  # JSON has no NaN
    np.save(tmp_path / "y.npy", np.array([2j, 5]))
    assert "expected float64" in fails(
        capsys, "verify", path, "--inputs", tmp_path / "x.npy", "--expect", tmp_path / "y.npy"
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--inputs", "x.npy"],
        ["--expect", "y.npy"],
        ["--lengths", "1"],
        ["--inputs", "x.npy", "--expect", "y.npy", "--against", "m.pt"],
        ["--inputs", "x.npy", "--expect", "y.npy", "--arch", "a.toml"],
    ],
)
def test_options_that_do_not_go_together(options: list[str], model: str, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, "verify", model, *options)


# -- what compares nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_where_nothing_is_compared_nothing_is_ok(
    options: list[str], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    command = ["verify", model, "--inputs", x, "--expect", y, *options]
    np.save(x, np.ones((2, 3, 3), np.float32))
    np.save(y, np.zeros((2, 3, 5), np.float32))
    assert "nothing was compared" in fails(capsys, *command, "--lengths", "0,0")
    for value in (np.nan, np.inf):
        np.save(y, np.full((2, 3, 5), value))
        assert "none of the expected numbers of output 'y' is finite" in fails(capsys, *command)
    np.save(x, np.ones((2, 0, 3), np.float32))
    np.save(y, np.ones((2, 0, 5), np.float32))
    assert "has no numbers" in fails(capsys, *command)


def test_a_source_that_gives_no_numbers_proves_nothing(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rerun(source: Path, graph: Graph, *_: object) -> Rerun:
        return Rerun("a source", testdata.make_inputs(graph, 1, 2), [np.full((1, 2, 5), np.nan)])

    monkeypatch.setattr("lstm_rt_tools.readers.rerun", rerun)
    assert "nothing was compared" in fails(capsys, "verify", model, "--against", DIGITS)


def test_expected_arrays_that_are_no_outputs(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.ones((2, 3, 3), np.float32)
    (y,) = reference.run(lstm_graph(), [x])
    np.savez(tmp_path / "in.npz", x=x, xx=x)
    np.savez(tmp_path / "out.npz", y=y, yy=y + 1)
    np.savez(tmp_path / "good.npz", y=y)
    command = ["verify", model, "--inputs", tmp_path / "in.npz", "--expect"]
    assert main([str(a) for a in [*command, tmp_path / "good.npz"]]) == 0
    assert "in.npz: holds 'xx', no input of the model (x); did you mean 'x'?" in capsys.readouterr().err
    assert main([str(a) for a in [*command, tmp_path / "out.npz"]]) == 2
    assert "out.npz: holds 'yy', no output of the model (y); did you mean 'y'?" in capsys.readouterr().err


def test_notes_without_end_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = lstm_graph()
    graph.meta["notes"] = [f"note {k}" for k in range(2001)]
    path = saved(tmp_path / "m.lrt", graph)
    assert main(["verify", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 60
    assert lines[-1] == "note: ... and 1,951 more (info --json shows all)"
    assert len(json_of(capsys, "verify", path, "--json")["notes"]) == 2001


def test_shaped_ports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told, run and compared in the dims that the source has; the batch may be left out."""
    g = Graph()
    x = g.input("x", "seq", 6, order="shaped", dims=("N", 2, "T", 3))
    w = {"w_ih": np.eye(6), "w_hh": np.zeros((6, 6))}
    seq = g.recurrent("rnn", x, w, hidden_size=6, activations=["linear"])[0]
    g.output(seq, "y", order="shaped", dims=(6, "T", "N"))
    path = saved(tmp_path / "m.lrt", g)
    facts = json_of(capsys, "info", path, "--json")
    assert (facts["inputs"][0]["shape"], facts["outputs"][0]["shape"]) == (["N", 2, "T", 3], [6, "T", "N"])
    assert json_of(capsys, "verify", path, "--json")["ok"] is True

    array = np.random.default_rng(0).uniform(-1, 1, (2, 2, 5, 3)).astype(np.float32)
    want = array.transpose(1, 3, 2, 0).reshape(6, 5, 2)
    for inputs, expected in ((array, want), (array[0], want[..., 0])):
        np.save(tmp_path / "x.npy", inputs)
        assert main(["run", path, str(tmp_path / "x.npy"), "-o", str(tmp_path / "got.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "got.npy"), expected)
        wrong = expected.copy()
        wrong[:, 3:] = 7
        np.save(tmp_path / "want.npy", wrong)
        command = ["verify", path, "--inputs", tmp_path / "x.npy", "--expect", tmp_path / "want.npy", "--json"]
        rows = "3" if inputs.ndim == 3 else "3,3"
        capsys.readouterr()
        assert json_of(capsys, *command, "--lengths", rows)["ok"] is True
        assert json_of(capsys, *command, code=1)["ok"] is False
