"""The ``lstm-rt`` command: every subcommand, its errors and its exit codes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import ARCH, DIGITS, SUNSPOTS, fails, json_of, lstm_graph, saved, two_by_two
from helpers.paths import EXAMPLES
from helpers.programs import python
from lstm_rt_tools import cli, readers
from lstm_rt_tools.cli import arrays_io, parser
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.judges import reference, testdata

import lstm_rt
from lstm_rt.errors import ConvertError, InputError
from lstm_rt.graph import Graph


@pytest.fixture
def model(tmp_path: Path) -> str:
    return saved(tmp_path / "m.lrt", lstm_graph())


# -- the command itself -----------------------------------------------------------------------------


def test_module_entry_point() -> None:
    done = python("-m", "lstm_rt_tools", "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "lstm-rt"), done.stderr


class Interrupted:
    """A finder of modules that Ctrl-C comes upon."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "lstm_rt_tools.cli.parser":
            raise KeyboardInterrupt


def test_an_interrupt_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a command runs, and before: it may come while the package is imported."""

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(parser, "info", interrupted)
    assert cli.main(["info", "m.lrt"]) == 130
    monkeypatch.delitem(sys.modules, "lstm_rt_tools.cli.parser")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert cli.main(["info", "m.lrt"]) == 130


def test_import_needs_no_framework() -> None:
    heavy = ["torch", "keras", "tensorflow", "h5py", "onnx", "rich", "matplotlib"]
    code = f"import sys, lstm_rt_tools.cli.parser; print([m for m in {heavy} if m in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


def test_readers_keep_their_names() -> None:
    """Importing the submodule must not hide the function of the same name."""
    code = "import lstm_rt_tools.torch_reader.from_torch, lstm_rt_tools as t; print(callable(t.from_torch))"
    done = python("-c", code)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["no-such-command"],
        ["info"],
        ["convert", "x"],
        ["bench", "m.lrt", "--batch", "0"],
        ["bench", "m.lrt", "--threads", "1,x"],
        ["verify", "m.lrt", "--atol", "-1"],
        ["convert", "x", "-o", "y", "--from", "caffe"],
        ["bench", "m.lrt", "--seconds", "inf"],
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    fails(capsys, *argv)


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "missing.lrt", "--traceback"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("lstm-rt: error: ")


# -- convert ----------------------------------------------------------------------------------------


def test_convert_a_state_dict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "digits.lrt"
    assert main(["convert", str(DIGITS), "--arch", str(ARCH), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "5,706 parameters" in text
    assert "float64" in text
    assert main(["verify", str(out)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["digits.lrt"]  # nothing temporary is left

    rows = np.load(EXAMPLES / "digits" / "reference.npz")
    np.save(tmp_path / "x.npy", rows["x"])
    assert main(["run", str(out), str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), rows["y"], atol=1e-5, rtol=0)


def test_a_state_dict_alone_gives_a_draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error stays one line on stderr; the draft is on stdout, ready for ``> arch.toml``."""
    assert main(["convert", str(DIGITS), "-o", str(tmp_path / "d.lrt")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "--arch" in captured.err
    assert '[[layer]]\nop = "lstm"' in captured.out
    assert list(tmp_path.iterdir()) == []


def test_convert_prints_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    graph = lstm_graph()
    graph.meta["notes"] = ["memory: was stateful"]
    monkeypatch.setattr("lstm_rt_tools.readers.read", lambda *_: graph)
    assert main(["convert", "any", "-o", str(tmp_path / "m.lrt")]) == 0
    assert "note: memory: was stateful" in capsys.readouterr().out


def test_convert_keras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("h5py")
    out = tmp_path / "s.lrt"
    assert main(["convert", str(SUNSPOTS), "-o", str(out)]) == 0
    facts = json_of(capsys, "info", out, "--json")
    assert [n["op"] for n in facts["nodes"]] == ["gru", "dense"]
    assert "arch" in fails(capsys, "convert", SUNSPOTS, "--arch", ARCH, "-o", out)


def test_convert_without_selftest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "d.lrt"
    assert main(["convert", str(DIGITS), "--arch", str(ARCH), "-o", str(out), "--no-selftest"]) == 0
    assert json_of(capsys, "info", out, "--json")["has_selftest"] is False
    assert main(["verify", str(out)]) == 0
    assert "ok: checksum good; the file holds no self-test" in capsys.readouterr().out


def test_convert_errors_leave_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "m.lrt"
    out.parent.mkdir()
    for name, content in [
        ("a.tflite", b"\x1c\0\0\0TFL3"),
        ("b", b"hello"),
        ("c.pt", b"PK\x03\x04 broken"),
        ("d.h5", b""),
    ]:
        source = tmp_path / name
        source.write_bytes(content)
        fails(capsys, "convert", source, "-o", out)
    line = fails(capsys, "convert", tmp_path / "a.tflite", "-o", out)
    assert "TensorFlow Lite" in line
    assert "Keras (.keras" in line
    assert "PyTorch (.pt" in line
    assert "No such file" in fails(capsys, "convert", tmp_path / "missing.pt", "-o", out)
    assert "folder" in fails(capsys, "convert", tmp_path, "-o", out)
    assert "no/such" in fails(capsys, "convert", DIGITS, "--arch", ARCH, "-o", tmp_path / "no" / "such" / "m.lrt")
    assert "is a folder" in fails(capsys, "convert", DIGITS, "--arch", ARCH, "-o", tmp_path)
    assert list(out.parent.iterdir()) == []


def test_detect(tmp_path: Path) -> None:
    def zipped(name: str, *members: str) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as z:
            for m in members:
                z.writestr(m, "x")
        return tmp_path / name

    def raw(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    # by content, whatever the name
    assert readers.find(zipped("a.bin", "config.json", "model.weights.h5")).framework == "keras"
    assert readers.find(zipped("b.keras", "archive/data.pkl")).framework == "torch"
    assert readers.find(raw("c", b"\x89HDF\r\n\x1a\n")).framework == "keras"
    assert readers.find(raw("d", b"\x80\x02\x8a\x0a\x6c\xfc")).framework == "torch"
    assert readers.find(raw("e", b"\x02\0\0\0\0\0\0\0{}")).framework == "torch"
    functional = b'{"class_name": "Functional", "config": {"name": "m"}, "keras_version": "2.4.0"}'
    assert readers.find(raw("model.json", functional)).framework == "keras"
    sequential = b'\n{"build_config": {"input_shape": [1]},\n"class_name" : "Sequential", "config" : {}}'
    assert readers.find(raw("model2.json", sequential)).framework == "keras"
    assert readers.find(raw("amp2.json", b'{"model_data": {"config": {}}, "state_dict": {}}')).framework == "torch"
    # by name
    assert readers.find(raw("amp.json", b"{}")).framework == "torch"
    with pytest.raises(ConvertError, match="converted model already"):
        readers.find(raw("f.lrt", b"LRT"))
    with pytest.raises(ConvertError, match="zip archive is damaged"):
        readers.find(raw("f.pt", b"PK\x03\x04"))
    with pytest.raises(ConvertError, match="unknown type"):
        readers.find(zipped("g.zip", "readme.txt"))


# -- info -------------------------------------------------------------------------------------------


def test_info(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", model]) == 0
    text = capsys.readouterr().out
    for part in ("lstm", "3 -> 5", "(N, T, 3)", "180", "all finite", "checksum     ok", "self-test    yes"):
        assert part in text, text
    facts = json_of(capsys, "info", model, "--json")
    shape = {"shape": ["N", "T", 3], "order": "batch_first", "dtype": "float32"}
    assert facts["inputs"] == [{"name": "x", "kind": "seq", **shape}]
    assert facts["parameters"] == 20 * 3 + 20 * 5 + 20
    assert facts["state_bytes_per_row"] == 40
    assert facts["call_bytes"] == lstm_rt.load(model).session_nbytes(1, 100)
    assert "of working memory, of 1 row and 100 steps" in text
    assert facts["nodes"][0]["weights"]["w_ih"] == [20, 3]


def test_info_names_every_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    ids = g.input("ids", "ids")
    x, m = g.embedding(ids, np.ones((9, 2))), g.mask_ids(ids)
    ones = {k + s: np.ones(n) for s in ("", "_reverse") for k, n in [("w_ih", (16, 2)), ("w_hh", (16, 3))]}
    ones |= {k + s: np.ones(n) for s in ("", "_reverse") for k, n in [("w_hr", (3, 4)), ("peephole", (3, 4))]}
    act = ["hard_sigmoid", "tanh", "tanh"]
    options: dict[str, Any] = {"direction": "bidirectional", "activations": act, "clip": 3.0, "mask": m}
    seq, h, _ = g.recurrent("lstm", x, ones, hidden_size=4, **options)
    gru = {"w_ih": np.ones((18, 6)), "w_hh": np.ones((18, 6))}
    seq, _, _ = g.recurrent("gru", seq, gru, hidden_size=6, reset_after=False, h0=h)
    g.output(g.dense(g.select(seq), np.ones((1, 6)), None, "sigmoid"), "y")
    assert main(["info", saved(tmp_path / "m.lrt", g)]) == 0
    text = capsys.readouterr().out
    for part in (
        "bidirectional",
        "projection 3",
        "hard_sigmoid(0.1667x+0.5)",
        "clip 3",
        "peephole",
        "masked",
    ):
        assert part in text, text
    for part in ("reset before", "h0 from the graph", "9 x 2", "sigmoid", "no bias", "index -1"):
        assert part in text, text


def test_info_of_ops_along_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words and flags as such, what is as usual not at all; state is that of running sums, too."""
    g = Graph()
    x, q = g.input("x", "seq", 6), g.input("q", "vec", 6)
    mask = g.mask_values(x)
    g.output(g.reduce(g.cumsum(x), "mean", mask, whole=True), "mean")
    g.output(g.softmax_steps(x), "softmax")
    y, w = g.attention(q, x, x, heads=2, kind="additive", weight=np.ones(6), mask=mask)
    g.output(y, "context")
    g.output(g.attention(x, x, x, scale=0.5, causal=True)[0], "self")
    path = saved(tmp_path / "m.lrt", g)
    assert main(["info", path]) == 0
    text = capsys.readouterr().out
    facts = json_of(capsys, "info", path, "--json")
    options = {n["op"]: n["options"] for n in facts["nodes"][:-1]}
    assert options["reduce"] == "kind mean, whole, masked"
    assert options["attention"] == "heads 2, kind additive, masked"
    assert options["cumsum"] == options["softmax_steps"] == ""
    assert facts["nodes"][-1]["options"] == "scale 0.5, causal"
    assert facts["nodes"][-2]["outputs"] == ["context", f"%{w}"]
    assert facts["nodes"][-2]["sizes"] == "6 + 6 + 6 -> 6"
    assert facts["state_bytes_per_row"] == 4 * (2 * 6 + 2 * 6 + 2)
    assert "kind mean, whole, masked" in text


def test_info_reports_bad_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = lstm_graph()
    graph.nodes[0].weights["w_ih"][2, 1] = np.nan
    graph.nodes[0].weights["w_ih"][3, 1] = np.inf
    assert testdata.make_selftest(graph) is None
    path = saved(tmp_path / "m.lrt", graph, selftest=False)
    assert json_of(capsys, "info", path, "--json")["nonfinite_weights"] == ["node 0 (lstm) w_ih: 2 of 60"]
    assert main(["info", path]) == 0
    assert "NOT FINITE: node 0 (lstm) w_ih: 2 of 60" in capsys.readouterr().out


def test_broken_files(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.lrt"
    bad.write_bytes(b"this is not a model")
    for command in (["info"], ["verify"], ["bench"]):
        fails(capsys, *command, bad)
        assert "No such file" in fails(capsys, *command, tmp_path / "missing.lrt")
    whole = Path(model).read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    fails(capsys, "info", bad)


def test_a_changed_weight_fails_the_check(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(Path(model).read_bytes())
    weight = np.float32(lstm_graph().nodes[0].weights["b_ih"][7]).tobytes()
    at = data.find(weight)
    assert at > 0
    data[at] ^= 1
    (tmp_path / "bad.lrt").write_bytes(data)
    assert main(["verify", str(tmp_path / "bad.lrt")]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert json_of(capsys, "info", tmp_path / "bad.lrt", "--json", code=1)["checksum"].startswith("FAILED")


# -- run --------------------------------------------------------------------------------------------


def test_run_in_every_file_type(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(4).normal(size=(1, 6, 3)).astype(np.float32)
    (want,) = reference.run(lstm_graph(), [x])
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "named.npz", x=x, other=x)
    np.savez(tmp_path / "ordered.npz", x.astype(np.float64))
    np.savetxt(tmp_path / "x.csv", x[0], delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    for source in ("x.npy", "named.npz", "ordered.npz", "x.csv"):
        for target in ("y.npy", "y.npz", "y.csv"):
            out = tmp_path / target
            assert main(["run", model, str(tmp_path / source), "-o", str(out)]) == 0, capsys.readouterr().err
            got = arrays_io.read_array(out)
            np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-5, rtol=0)
    facts = json_of(capsys, "run", model, tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--json")
    assert facts["outputs"] == [{"name": "y", "shape": [1, 6, 5], "dtype": "float32", "finite": True}]


def test_run_with_several_inputs_and_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = two_by_two()
    path = saved(tmp_path / "m.lrt", graph)
    ids, v = np.array([[1, 2, 0], [6, 5, 4]]), np.ones((2, 2), dtype=np.float32)
    np.savez(tmp_path / "in.npz", v=v, ids=ids)
    np.save(tmp_path / "ids.npy", ids)
    np.save(tmp_path / "v.npy", v)
    want = reference.run(graph, [ids, v])
    for sources in (["in.npz"], ["ids.npy", "v.npy"]):
        files = [tmp_path / s for s in sources]
        assert main([str(a) for a in ["run", path, *files, "-o", tmp_path / "out.npz", "--threads", "2"]]) == 0
        with np.load(tmp_path / "out.npz") as out:
            assert set(out.files) == {"joined", "seq"}
            for name, w in zip(("joined", "seq"), want, strict=True):
                np.testing.assert_allclose(out[name], w, atol=1e-5, rtol=0)
    assert "note: ids: int64 converted to int32" in capsys.readouterr().err
    assert "2 outputs" in fails_after_note(capsys, "run", path, *files, "-o", tmp_path / "y.npy")


def fails_after_note(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(a) for a in argv]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_run_with_lengths(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(4).normal(size=(3, 6, 3)).astype(np.float32)
    (want,) = reference.run(lstm_graph(), [x], lengths=[2, 6, 0])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "n.npy", np.array([2, 6, 0]))
    for lengths in ("2,6,0", tmp_path / "n.npy"):
        out = tmp_path / "y.npy"
        assert main([str(a) for a in ["run", model, tmp_path / "x.npy", "-o", out, "--lengths", lengths]]) == 0
        np.testing.assert_allclose(np.load(out), want, atol=1e-5, rtol=0)
    fails(capsys, "run", model, tmp_path / "x.npy", "-o", out, "--lengths", "2,7,0")


def test_run_with_lengths_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    a, b = g.input("a", "seq", 1), g.input("b", "seq", 1)
    g.output(g.concat(g.select(a), g.select(b)), "last")
    path = saved(tmp_path / "m.lrt", g)
    np.savez(tmp_path / "in.npz", a=np.arange(6.0).reshape(2, 3, 1), b=np.arange(8.0).reshape(2, 4, 1))
    command = ["run", path, str(tmp_path / "in.npz"), "-o", str(tmp_path / "y.npy")]
    assert main([*command, "--lengths", "b=1,2"]) == 0
    assert np.load(tmp_path / "y.npy").tolist() == [[2, 0], [5, 5]]
    assert main([*command, "--lengths", "b=1,2", "--lengths", "a=2,1"]) == 0
    assert np.load(tmp_path / "y.npy").tolist() == [[1, 0], [3, 5]]
    assert "several time axes" in fails(capsys, *command, "--lengths", "1,2")
    assert "'c'" in fails(capsys, *command, "--lengths", "c=1,2")
    assert "twice" in fails(capsys, *command, "--lengths", "a=1,2", "--lengths", "a=1,2")


def test_run_tells_what_it_rounds_and_does_not_read(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, out = np.full((1, 2, 3), 0.5), str(tmp_path / "y.npy")
    x[0, 1, 2] = 0.1

    def notes(name: str) -> str:
        assert main(["run", model, str(tmp_path / name), "-o", out]) == 0
        return capsys.readouterr().err

    np.save(tmp_path / "x.npy", x)
    assert notes("x.npy") == "lstm-rt: note: x: float64 converted to float32, which rounds 1 of 6 numbers\n"
    np.savez(tmp_path / "x.npz", x=x, length=[2])
    first, second = notes("x.npz").splitlines()
    assert first.startswith("lstm-rt: note: not read: ")
    assert first.endswith("x.npz: holds 'length', no input of the model (x)")
    assert "rounds 1 of 6" in second
    np.savetxt(tmp_path / "x.csv", x[0], delimiter=",")
    assert notes("x.csv") == ""
    x[0, 1] = [np.nan, np.inf, 0.25]
    np.save(tmp_path / "x.npy", x)
    assert notes("x.npy") == ""


def test_values_that_do_not_fit_name_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(tmp_path / "m.lrt", lstm_graph())
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n4,1e39,6\n")
    line = fails(capsys, "run", model, tmp_path / "x.csv", "-o", tmp_path / "y.npy")
    assert "x.csv: x: " in line
    assert "float32 does not hold: 1e+39 at [1, 1]" in line
    ids = saved(tmp_path / "ids.lrt", two_by_two())
    np.save(tmp_path / "ids.npy", [[1, 3.5]])
    np.save(tmp_path / "v.npy", np.ones((1, 2), np.float32))
    line = fails(capsys, "run", ids, tmp_path / "ids.npy", tmp_path / "v.npy", "-o", tmp_path / "y.npz")
    assert "ids.npy: ids: " in line
    assert "3.5 at [0, 1]" in line


def test_run_errors_leave_no_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def file(name: str, array: Any) -> Path:
        np.save(tmp_path / name, np.asarray(array))
        return tmp_path / name

    good = file("good.npy", np.zeros((2, 3, 3), dtype=np.float32))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "y.npy"
    (tmp_path / "text.csv").write_text("a,b,c\n1,2,x\n")
    (tmp_path / "empty.csv").write_text("\n")
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")
    (tmp_path / "x.txt").write_text("1")
    file("object.npy", 0)
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    np.savez(tmp_path / "wrong.npz", a=good)
    for name in [
        "text.csv",
        "empty.csv",
        "bad.npy",
        "bad.npz",
        "x.txt",
        "object.npy",
        "wrong.npz",
        "missing.npy",
    ]:
        assert name in fails(capsys, "run", model, tmp_path / name, "-o", out)
    assert "expected 1" in fails(capsys, "run", model, good, good, "-o", out)
    for wrong in (np.zeros((2, 3, 4), "f4"), np.zeros((2, 3, 3), "c8"), np.array(["a"])):
        fails(capsys, "run", model, file("wrong.npy", wrong), "-o", out)
    assert "known: .npy" in fails(capsys, "run", model, good, "-o", out.with_suffix(".mat"))
    assert "no table" in fails(capsys, "run", model, good, "-o", out.with_suffix(".csv"))
    assert list(out.parent.iterdir()) == []


def test_fractions_are_no_ids() -> None:
    with pytest.raises(InputError, match="int32 does not hold"):
        arrays_io.as_dtype(np.array([1.5]), np.dtype(np.int32), "ids")
    with pytest.raises(InputError, match="int32 does not hold"):
        arrays_io.as_dtype(np.array([1 << 40]), np.dtype(np.int32), "ids")
    array, note = arrays_io.as_dtype(np.array([3.0]), np.dtype(np.int32), "ids")
    assert array.dtype == np.int32
    assert note


# -- bench ------------------------------------------------------------------------------------------


def test_bench(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seconds", "0.01", "--steps", "5", "--batch", "2"]
    facts = json_of(capsys, "bench", model, *options, "--threads", "1,2", "--stream", "--json")
    assert [(t["mode"], t["threads"]) for t in facts["timings"]] == [
        ("call", "1"),
        ("call", "2"),
        ("stream.step", "1"),
    ]
    first = facts["timings"][0]
    assert 0 < first["p10_us"] <= first["median_us"] <= first["p90_us"]
    assert first["median_us_per_step"] == pytest.approx(first["median_us"] / 5)
    assert facts["kernels"]
    assert main(["bench", model, *options]) == 0
    text = capsys.readouterr().out
    assert "p10..p90" in text
    assert facts["session_bytes"] == lstm_rt.load(model).session_nbytes(2, 5)
    assert "working memory of a call on one thread" in text


def test_bench_with_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "m.lrt", two_by_two())
    assert json_of(capsys, "bench", path, "--seconds", "0.01", "--json")["timings"]
    assert "--stream" in fails(capsys, "bench", path, "--seconds", "0.01", "--stream")


# -- progress ---------------------------------------------------------------------------------------


def shown_on_a_terminal(seconds: float, before: str = "") -> str:
    """What a terminal gets of a step that takes so long."""
    import os
    import pty

    code = f"""
import sys, time
{before}
from lstm_rt_tools.cli.progress import Progress
with Progress() as progress:
    progress.step("reading m\\x1b.pt")
    time.sleep({seconds})
"""
    main_end, terminal = pty.openpty()
    done = python("-c", code, stderr=terminal, env={"TERM": "xterm"})
    os.close(terminal)
    text = b""
    try:
        while piece := os.read(main_end, 4096):
            text += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(main_end)
    assert done.returncode == 0
    assert done.stdout == ""
    return text.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_long_steps_are_shown_on_a_terminal() -> None:
    pytest.importorskip("tqdm")
    text = shown_on_a_terminal(4)
    assert "reading m\\x1b.pt ... 00:01" in text
    *_, last, rest = text.split("\r")  # each of them goes over the one before
    assert (last.strip(), rest) == ("", "")  # nothing of it stays
    assert len(last) >= len("reading m\\x1b.pt ... 00:01")
    assert "\n" not in text
    assert shown_on_a_terminal(0) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_no_progress_without_the_library() -> None:
    assert shown_on_a_terminal(1.2, "sys.modules['tqdm'] = None") == ""


def test_progress_is_for_terminals_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(DIGITS), "--arch", str(ARCH), "-o", str(tmp_path / "d.lrt")]) == 0
    assert capsys.readouterr().err == ""
