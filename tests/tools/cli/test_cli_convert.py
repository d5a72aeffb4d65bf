"""``lstm-rt convert`` and ``info`` as people meet them: archives, names of outputs, what is told, sources looked at."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import ARCH, DIGITS, SUNSPOTS, fails, json_of, lstm_graph, saved
from helpers.programs import python
from helpers.state_dicts import rec
from lstm_rt_tools.cli import progress
from lstm_rt_tools.cli.parser import main

from lstm_rt import load
from lstm_rt.format import load_graph


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def archive(name: str, entries: dict[str, bytes | Path], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(name, "w", method) as z:
        for entry, content in entries.items():
            z.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())


# -- archives ---------------------------------------------------------------------------------------


def test_an_archive_with_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    archive("m.zip", {"a/": b"", "a/model.keras": SUNSPOTS, "README.txt": b"hello", "__MACOSX/._x.keras": b"x"})
    text = said(capsys, "convert", "m.zip")
    assert text.startswith("m.lrt: ")
    assert "read: m.zip (a/model.keras)\n" in text
    assert said(capsys, "convert", SUNSPOTS, "-o", "plain.lrt")
    assert [n.name for n in load_graph("m.lrt").nodes] == [n.name for n in load_graph("plain.lrt").nodes]
    x = np.ones((1, 3, 1), np.float32)
    np.testing.assert_array_equal(load("m.lrt")(x), load("plain.lrt")(x))


def test_nothing_of_it_stays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    (here / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(here / "tmp"))
    archive("m.zip", {"model.keras": SUNSPOTS})
    said(capsys, "convert", "m.zip")
    archive("bad.zip", {"model.keras": b"broken"})
    fails(capsys, "convert", "bad.zip")
    assert os.listdir("tmp") == []


def test_an_archive_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    archive("m.zip", {"digits.pt": DIGITS})
    said(capsys, "convert", "m.zip", "--arch", ARCH)
    assert "compared with torch" in said(capsys, "verify", "m.lrt", "--against", "m.zip", "--arch", ARCH)
    assert "PyTorch file m.zip" in said(capsys, "info", "m.zip", "--arch", ARCH)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a.keras": SUNSPOTS, "b/c.keras": SUNSPOTS}, "holds 2 models or parts of one: a.keras, b/c.keras; unpack it"),
        ({"README.txt": b"hello"}, "an archive without a model that can be converted; it holds README.txt"),
        ({"a/": b""}, "without a model that can be converted; it holds nothing"),
        ({"../a.keras": SUNSPOTS}, "'../a.keras' in the archive leads out of its folder; nothing is unpacked"),
        ({"/etc/a.keras": SUNSPOTS}, "'/etc/a.keras' in the archive leads out"),
        ({"a\\b.keras": SUNSPOTS}, "leads out of its folder"),
        ({"C:/b.keras": SUNSPOTS}, "leads out of its folder"),
        ({"a" * 300: b"x"}, "is no name for a file"),
        ({"a\nb.keras": SUNSPOTS}, r"'a\nb.keras' in the archive is no name for a file"),
        ({"a.h5": b"hello"}, "a.h5 is not a Keras model"),
        ({"zeros": bytes(100_000_000)}, "would take far more memory than a file of"),
    ],
)
def test_archives_that_are_refused(
    entries: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    archive("m.zip", entries)
    before = sorted(p for p in here.rglob("*"))
    assert message in fails(capsys, "convert", "m.zip")
    assert sorted(p for p in here.rglob("*")) == before


def test_a_damaged_archive(capsys: pytest.CaptureFixture[str]) -> None:
    archive("m.zip", {"model.keras": SUNSPOTS})
    data = Path("m.zip").read_bytes()
    Path("m.zip").write_bytes(data[: len(data) // 2])
    assert "archive" in fails(capsys, "convert", "m.zip")


# -- names of outputs -------------------------------------------------------------------------------


def test_the_last_conversion_of_the_same_source_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    """As after more training; but not one that came from elsewhere."""
    for seed in (0, 1):
        np.savez("m.npz", **state(seed))
        said(capsys, "convert", "m.npz", "--arch", "a.toml")
    Path("other").mkdir()
    Path("other/m.safetensors").write_bytes(b"x")
    kept = Path("m.lrt").read_bytes()
    Path("b.json").write_text(json.dumps({k: v.tolist() for k, v in state(2).items()}))
    os.rename("b.json", "m.json")
    assert "exists and is another file" in fails(capsys, "convert", "m.json", "--arch", "a.toml")
    assert Path("m.lrt").read_bytes() == kept
    said(capsys, "convert", "m.json", "--arch", "a.toml", "--force")
    assert Path("m.lrt").read_bytes() != kept


def state(seed: int) -> dict[str, Any]:
    Path("a.toml").write_text('[[layer]]\nop = "gru"\nweights = "rnn"\n')
    rng = np.random.default_rng(seed)
    return {f"rnn.weight_{n}_l0": rng.standard_normal((9, 3), np.float32) for n in ("ih", "hh")}


def test_a_model_without_a_source_is_not_replaced(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    saved(here / "sunspots.lrt", lstm_graph())
    assert "exists and is another file" in fails(capsys, "convert", SUNSPOTS)


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "convert", SUNSPOTS, "--dry-run")
    assert re.match(r"sunspots.lrt: 9\.\d KiB, not written \(--dry-run\), 2 nodes, 1,969 parameters\n", text)
    assert "found: Keras: gru 1 -> 24, dense 24 -> 1\n" in text
    assert os.listdir() == []
    Path("sunspots.lrt").write_bytes(b"mine")
    assert "exists and is another file" in fails(capsys, "convert", SUNSPOTS, "--dry-run")
    for more in (["--force"], ["-o", "sunspots.lrt"]):
        said(capsys, "convert", SUNSPOTS, "--dry-run", *more)
    assert Path("sunspots.lrt").read_bytes() == b"mine"
    Path("bad.keras").write_bytes(b"bad")
    fails(capsys, "convert", "bad.keras", "--dry-run")


# -- what is told -----------------------------------------------------------------------------------


def test_what_was_found_folded_and_checked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_rt_tools import readers

    graph = lstm_graph()
    graph.meta |= {"folded": ["a into b", "c into d"], "checked": "at 3 sizes", "notes": ["beware"]}
    monkeypatch.setattr(readers, "read", lambda *a: graph)
    Path("m.pt").write_bytes(b"x")
    lines = said(capsys, "convert", "m.pt", "-o", "m.lrt").splitlines()
    assert lines[2:5] == ["found: lstm 3 -> 5", "folded: a into b", "folded: c into d"]
    assert lines[5] == "checked: at 3 sizes"
    assert lines[7] == "note: beware"


def test_layers_in_one_line() -> None:
    from lstm_rt_tools.cli.describe import in_short

    g = lstm_graph()
    h = g.recurrent("gru", g.outputs[0], {"w_ih": np.ones((15, 5)), "w_hh": np.ones((15, 5))}, hidden_size=5)[0]
    for k in range(30):
        h = g.dense(h, np.ones((5 + k % 2, 5 + (k + 1) % 2 if k else 5)))
    h = g.activation(h, "relu")
    assert in_short(g).startswith("lstm 3 -> 5, gru 5 -> 5, dense 5, dense 5 -> 6")
    assert in_short(g).endswith(", and 20 more, 1 node without weights")


def test_large_files_are_not_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    for size, told in ((progress._LARGE, "reading m.pt ...\nwriting m.lrt ...\n"), (progress._LARGE - 1, "")):
        with progress.Progress(size) as p:
            for step in ("reading m.pt", "writing m.lrt"):
                p.step(step)
                p._done.wait(0.2)
        assert capsys.readouterr().err == told


MEMORY = """
import resource, sys
from lstm_rt_tools.cli.parser import main
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = main(sys.argv[1:])
print("took", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base, "KiB", code)
"""


def test_memory_is_a_small_multiple_of_the_file(here: Path) -> None:
    """Of 100 MB of weights, as read, a part of them packed, and another in the self-test's float64."""
    rng, hidden = np.random.default_rng(0), 1152
    weights = {f"rnn.weight_{n}_l{k}": rng.standard_normal((4 * hidden, hidden), np.float32) / 99
               for n in ("ih", "hh") for k in range(2)}  # fmt: skip
    for k in range(2):
        weights |= {f"rnn.bias_{n}_l{k}": np.zeros(4 * hidden, np.float32) for n in ("ih", "hh")}
    (here / "a.toml").write_text('[[layer]]\nop = "lstm"\nweights = "rnn"\n')
    np.savez(here / "m.npz", **weights)
    size = (here / "m.npz").stat().st_size / 1024
    done = python("-c", MEMORY, "convert", "m.npz", "--arch", "a.toml", "-o", "m.lrt", cwd=here)
    (took,) = re.findall(r"took (\d+) KiB 0", done.stdout)
    assert int(took) < 1.7 * size, done.stderr


# -- sources looked at ------------------------------------------------------------------------------


def test_info_on_a_source_with_its_graph(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", SUNSPOTS)
    assert text.startswith("Keras file sunspots.keras, as it would be converted\n")
    assert re.search(r"0  gru +sunspots", text)
    assert "memory" in text
    facts = json_of(capsys, "info", SUNSPOTS, "--json")
    assert (facts["kind"], facts["file"], facts["parameters"]) == ("Keras", "sunspots.keras", 1969)
    assert os.listdir() == []


def test_info_on_weights(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", DIGITS)
    assert text.startswith("PyTorch file digits.pt\n\nweight ")
    assert re.search(r"rnn.weight_ih_l0  \(128, 8\) +float32", text)
    assert "to convert it: digits.pt: holds weights only" in text
    assert "[[layer]]" in text
    facts = json_of(capsys, "info", DIGITS, "--json")
    assert facts["weights"][0] == {"name": "rnn.weight_ih_l0", "shape": [128, 8], "dtype": "float32"}
    assert "[[layer]]" in facts["draft"]
    assert said(capsys, "info", DIGITS, "--arch", ARCH).startswith("PyTorch file digits.pt, as it would be converted")


def test_info_on_several_sets_of_weights(capsys: pytest.CaptureFixture[str]) -> None:
    copies = {name: {f"rnn.{k}": v.tolist() for k, v in rec("", 2, 3).items()} for name in ("raw", "ema")}
    Path("w.json").write_text(json.dumps(copies))
    facts = json_of(capsys, "info", "w.json", "--json")
    names = [w["name"] for w in facts["weights"]]
    assert names == [f"{set_}.rnn.weight_{way}_l0" for set_ in ("raw", "ema") for way in ("ih", "hh")]
    assert facts["problem"].startswith("w.json: several copies of the same weights (raw, ema)")
    assert 'checkpoint = "raw"' in facts["draft"]


def test_info_on_what_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.keras").write_bytes(b"hello")
    assert "m.keras" in fails(capsys, "info", "m.keras")
    Path("m.pt").write_bytes(b"hello")
    assert "m.pt: unknown format" in fails(capsys, "info", "m.pt")
    Path("empty.pt").write_bytes(b"")
    assert "empty.pt" in fails(capsys, "info", "empty.pt")
    assert "No such file" in fails(capsys, "info", "missing.pt")
    assert "folder" in fails(capsys, "info", ".").lower() or "directory" in fails(capsys, "info", ".").lower()


def test_info_on_a_model_takes_no_options_of_sources(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    saved(here / "m.lrt", lstm_graph())
    assert "are for files that are not converted yet" in fails(capsys, "info", "m.lrt", "--arch", ARCH)


def test_flat_json_and_npz_are_weights(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("m.npz", **state(0))
    Path("m.json").write_text(json.dumps({k: v.tolist() for k, v in state(0).items()}))
    for name in ("m.npz", "m.json"):
        assert "rnn.weight_ih_l0  (9, 3)" in said(capsys, "info", name)
    said(capsys, "convert", "m.npz", "--arch", "a.toml", "-o", "a.lrt")
    said(capsys, "convert", "m.json", "--arch", "a.toml", "-o", "b.lrt")
    x = np.ones((1, 4, 3), np.float32)
    np.testing.assert_array_equal(load("a.lrt")(x), load("b.lrt")(x))


def test_archives_of_bytes_in_memory_are_not_needed() -> None:
    """The archive itself is what was asked for: .npz, .pt and .keras are archives, too, and are read as such."""
    buffer = io.BytesIO()
    np.savez(buffer, **state(0))
    Path("m.zip").write_bytes(buffer.getvalue())
    assert main(["convert", "m.zip", "--arch", "a.toml"]) == 0
