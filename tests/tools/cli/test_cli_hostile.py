"""Hostile and broken input to the commands: one plain line on standard error, whatever it is."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import programs
from helpers.command_line import ARCH, DIGITS, fails, json_of, lstm_graph, saved
from helpers.programs import lstm_rt, python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lstm_rt_tools import from_torch
from lstm_rt_tools.arch import guess as arch_guess
from lstm_rt_tools.cli.parser import main

from lstm_rt import format as lrt_format
from lstm_rt.errors import ConvertError
from lstm_rt.graph import Graph, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOSTILE = 'x"\\\x1b]0;owned\x07\n\n[[layer]]\x9b\u202e\U000e0001'


def safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    header: dict[str, Any] = {}
    at = 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


def layers(prefix: str = "rec", head: str = "fc") -> dict[str, tuple[int, ...]]:
    """Weights of an LSTM 3 -> 2 and a dense layer."""
    return {
        f"{prefix}.weight_ih_l0": (8, 3),
        f"{prefix}.weight_hh_l0": (8, 2),
        f"{head}.weight": (1, 2),
        f"{head}.bias": (1,),
    }


def is_plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


# -- drafts -----------------------------------------------------------------------------------------


def draft_of(capsys: pytest.CaptureFixture[str], source: Path) -> str:
    assert main(["convert", str(source), "-o", str(source.with_suffix(".lrt"))]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 1000
    assert is_plain(captured.err)
    assert is_plain(captured.out)
    return captured.out


def test_a_draft_says_that_it_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = safetensors(tmp_path / "m.safetensors", layers())
    arch = tmp_path / "a.toml"
    arch.write_text(draft_of(capsys, source))
    command = ["convert", str(source), "--arch", str(arch), "-o", str(tmp_path / "m.lrt")]
    assert main(command) == 0
    assert "note: a.toml is a draft (draft = true): how the layers are connected is a guess" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "m.lrt")]) == 0
    assert "note: a.toml is a draft" in capsys.readouterr().out
    assert "a guess" in str(json_of(capsys, "info", tmp_path / "m.lrt", "--json")["meta"]["notes"])

    lines = arch.read_text().splitlines()
    arch.write_text("\n".join(line for line in lines if not line.startswith("draft = true")))
    assert main(command) == 0
    assert "note:" not in capsys.readouterr().out
    arch.write_text("draft = 1\n" + arch.read_text())
    assert "draft is 1, expected a bool" in fails(capsys, *command)


def test_a_draft_of_hostile_names_is_harmless_and_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = safetensors(tmp_path / "m.safetensors", layers(HOSTILE, f"{HOSTILE}.fc"))
    arch = tmp_path / "a.toml"
    arch.write_text(draft_of(capsys, source))
    tree = tomllib.loads(arch.read_text())
    assert [layer["weights"] for layer in tree["layer"]] == [HOSTILE, f"{HOSTILE}.fc"]
    assert main(["convert", str(source), "--arch", str(arch), "-o", str(tmp_path / "m.lrt")]) == 0


@pytest.mark.parametrize("prefix", ["half \ud800 of a pair", "long " + "x" * 1_000_000])
def test_names_that_a_draft_cannot_hold(prefix: str) -> None:
    with pytest.raises(ConvertError) as caught:
        from_torch({name: np.zeros(shape, np.float32) for name, shape in layers(prefix).items()})
    draft = caught.value.draft
    assert is_plain(draft)
    assert [layer["weights"] for layer in tomllib.loads(draft)["layer"]] == ["fc"]
    assert "# half \\ud800" in draft or "# long x" in draft
    assert len(draft) < 2000


def test_a_draft_of_thousands_of_tensors_stays_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = {f"blocks.{k}.weight_{part}": (3, 3) for k in range(200) for part in range(20)}
    draft = draft_of(capsys, safetensors(tmp_path / "m.safetensors", shapes))
    tomllib.loads(draft)
    assert len(draft) < 50_000
    assert "# and blocks.100, " in draft
    assert "and 90 more\n" in draft


def test_a_draft_of_absurd_shapes() -> None:
    """A pickle may hold whole numbers of any length, which Python does not even print."""

    class Huge:
        shape, dtype = (10**5000, 3), "float32"

    draft = arch_guess.guess_arch({"rec.weight_ih_l0": Huge(), "rec.weight_hh_l0": Huge(), "odd": Huge()})  # type: ignore[dict-item]
    tomllib.loads(draft)
    assert len(draft) < 2000


def test_only_a_draft_goes_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty line inside a name must not pass for the beginning of a draft."""
    arch = tmp_path / "a.toml"
    arch.write_text('[[layer]]\nop = "lstm\\n\\n[[layer]]\\nop = 1"\nweights = "rec"\n')
    source = safetensors(tmp_path / "m.safetensors", layers())
    assert "unknown op" in fails(capsys, "convert", source, "--arch", arch, "-o", tmp_path / "m.lrt")


# -- what is printed of a model -----------------------------------------------------------------------


def hostile_model(path: Path) -> str:
    graph = lstm_graph(name=HOSTILE + "y" * 100_000)
    graph.meta = {
        HOSTILE: HOSTILE * 1000,
        "half": "\ud800",
        "notes": [HOSTILE, 3, None],
        "large": "INFINITY",
        "deep": json.loads("[" * 200 + "]" * 200),
        "nested": json.loads('{"a":' * 100 + "1" + "}" * 100),
        "many": {f"key {k}": k for k in range(10_000)},
    }
    graph.values[0] = Value(HOSTILE, "seq", 3, 0)
    blob = lrt_format.dumps(graph).replace(b'"INFINITY"', b"  Infinity")  # which the writer refuses to write
    path.write_bytes(with_checksum(blob))
    return str(path)


def with_checksum(blob: bytes) -> bytes:
    return blob[:12] + struct.pack("<I", zlib.crc32(blob[:12] + bytes(4) + blob[16:])) + blob[16:]


@pytest.mark.parametrize("command", [["info"], ["verify"], ["bench", "--seconds", "0.001"]])
def test_names_and_metadata_are_escaped(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hostile_model(tmp_path / "m.lrt")
    assert main([*command, path]) == 0
    text = capsys.readouterr().out
    assert is_plain(text)
    assert len(text) < 30_000
    facts = json_of(capsys, *command, path, "--json")
    assert isinstance(facts, dict)


def test_outputs_of_run_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hostile_model(tmp_path / "m.lrt")
    np.save(tmp_path / "x.npy", np.ones((1, 2, 3), np.int16))
    assert main(["run", path, str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy")]) == 0
    captured = capsys.readouterr()
    assert is_plain(captured.out)
    assert is_plain(captured.err)
    assert "int16 converted to float32" in captured.err


def test_json_has_no_numbers_that_json_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", hostile_model(tmp_path / "m.lrt"), "--json"]) == 0
    text = capsys.readouterr().out
    assert text.isascii()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["meta"]["large"] is None


@pytest.mark.parametrize("command", [["info", "--json"], ["info"], ["verify"]])
def test_metadata_nested_beyond_reason(command: list[str], tmp_path: Path) -> None:
    """In a process of its own, as recursion may end one."""
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    graph = Graph()
    graph.output(graph.activation(graph.input("x", "seq", 1), "relu"), "y")
    graph.meta = {"a": "x" * (len(text) - 8)}
    blob = lrt_format.dumps(graph)
    changed = blob.replace(json.dumps(graph.meta, separators=(",", ":")).encode()[:-1], text[:-1])
    assert changed != blob
    (tmp_path / "m.lrt").write_bytes(with_checksum(changed))
    done = lstm_rt(command[0], tmp_path / "m.lrt", *command[1:])
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


# -- terminals and pipes ----------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


@pytest.mark.parametrize("environment", [{}, ASCII, {"PYTHONIOENCODING": "ascii"}])
def test_any_name_on_any_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    path = saved(tmp_path / "m.lrt", lstm_graph(name="Größe \N{SNOWMAN}"))
    done = lstm_rt("info", path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Größe" in done.stdout or "Gr\\xf6\\xdfe" in done.stdout
    for name in (b"\xff.pt", "Größe.pt".encode(), b"a\nb\x1b[2J"):
        done = lstm_rt("convert", tmp_path / os.fsdecode(name), env=environment)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith(": No such file or directory\n")


@pytest.mark.parametrize("command", [["convert", str(DIGITS), "-o", "never.lrt"], ["info", "m.lrt"], ["--help"]])
def test_a_reader_that_has_seen_enough(command: list[str], tmp_path: Path) -> None:
    """``lstm-rt ... | head``"""
    saved(tmp_path / "m.lrt", lstm_graph())
    out, into = os.pipe()
    os.close(out)
    done = lstm_rt(*command, cwd=tmp_path, stdout=into)
    os.close(into)
    assert done.returncode == (2 if command[0] == "convert" else 0)
    assert done.stderr.count("\n") == (1 if command[0] == "convert" else 0), done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    "command", [["info", "m.lrt"], ["convert", str(DIGITS)], ["run", "m.lrt", "x.npy", "-o", "-"], ["--help"]]
)
def test_a_full_disk(command: list[str], tmp_path: Path) -> None:
    saved(tmp_path / "m.lrt", lstm_graph())
    np.save(tmp_path / "x.npy", np.ones((1, 2, 3), np.float32))
    with open("/dev/full", "wb") as full:
        done = lstm_rt(*command, cwd=tmp_path, stdout=full)
    if command != ["--help"]:  # argparse does not mind
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith("No space left on device\n") or command[0] == "convert"
    assert "Exception" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.lrt", lstm_graph())
    np.save(tmp_path / "x.npy", np.ones((1, 2, 3), np.int16))

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        shell = f'exec "$@" {closed}'
        program = ["sh", "-c", shell, "sh", sys.executable, "-m", "lstm_rt_tools", *command]
        return subprocess.run(program, capture_output=True, text=True, check=False, env=programs.environment())

    for command in ("info", "verify"):  # what they print is all that they do
        assert run(command, path).returncode == (2 if closed.startswith(">") else 0)
    if closed == ">&-":
        assert run("info", path).stderr == "lstm-rt: error: standard output: is closed\n"
    assert run("info", "missing").returncode == 2
    done = run("run", path, str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"))
    assert done.returncode == 0
    assert "converted" not in done.stdout
    done = run("run", path, str(tmp_path / "x.npy"), "-o", "-")
    assert done.returncode == (2 if closed.startswith(">") else 0)
    assert "computed" not in done.stdout
    assert "Traceback" not in done.stderr


# -- numbers, memory --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["bench", "m.lrt", "--threads", "1e400"],
        ["bench", "m.lrt", "--threads", "9" * 400],
        ["bench", "m.lrt", "--threads", "9" * 5000],
        ["bench", "m.lrt", "--threads", "65"],
        ["bench", "m.lrt", "--seconds", "9" * 300],
        ["bench", "m.lrt", "9" * 400],
        ["convert", "m.pt", "--from", "9" * 400],
        ["run", "m.lrt", "x." + "9" * 400, "-o", "y.npy"],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "9" * 400 + "=1", "--lengths", "9" * 400 + "=1"],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "9" * 400, "--lengths", "1"],
        ["bench", "m.lrt", "--threads", "\u0663"],
        ["bench", "m.lrt", "--batch", "9" * 18],
        ["bench", "m.lrt", "--batch", "1000000", "--steps", "1000000"],
        ["bench", "m.lrt", "--seconds", "1e400"],
        ["bench", "m.lrt", "--seconds", "9" * 5000],
        ["verify", "m.lrt", "--atol", "nan"],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--threads", "9" * 400],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "9" * 400],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "-1"],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "1," + "9" * 5000],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", ""],
        ["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "\ud800=1"],
        ["run", "m.lrt", "x.npy", "-o", ""],
        ["run", "m.lrt", "x.npy", "-o", "x" * 5000 + ".npy"],
        ["run", "m.lrt", "", "-o", "y.npy"],
        ["info", "x" * 5000],
        ["info", "m.lrt/m.lrt"],
        ["convert", "m.lrt/m.pt"],
        ["convert", "loop"],
        ["convert", "\udcff\x1b[31m"],
        ["no\x1b[31msuch\ncommand" + "x" * 5000],
    ],
)
def test_absurd_arguments(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "m.lrt", lstm_graph())
    np.save("x.npy", np.ones((1, 2, 3), np.float32))
    os.symlink("loop", "loop")
    line = fails(capsys, *options)
    assert "unexpected" not in line
    assert is_plain(line)
    assert len(line) < 1000
    assert not re.search("[0-9]{50}", line)


WRONG_SIZE = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["convert", str(DIGITS), "--arch", "empty"], "expected at most 1,048,576: an architecture file is small"),
        (["convert", "m.h5", "--from", "keras", "--arch", "empty"], "an architecture file is small"),
        (["verify", "m.lrt", "--against", "m.h5", "--from", "keras", "--arch", "brace"], "architecture file is small"),
        (["run", "m.lrt", "empty.csv", "-o", "y.npy"], "not a text file"),
        (["run", "m.lrt", "long.csv", "-o", "y.npy"], "long.csv: has 10,737,418,240 bytes, expected at most 1,073,"),
        (["run", "m.lrt", "x.npy", "-o", "y.npy", "--lengths", "empty.csv"], "not a text file"),
        (["verify", "m.lrt", "--inputs", "x.npy", "--expect", "empty.csv"], "not a text file"),
        (["convert", "s.safetensors"], "bytes of data, the tensors cover 8"),
        (["convert", "h.safetensors"], "a safetensors header of 5,000,000,000 bytes, expected at most 100,000,000"),
        (["convert", "brace.json"], "unknown format"),
        (["convert", str(DIGITS), "--arch", "a.toml"], "digits.lrt: exists and is another file"),
    ],
)
def test_gigabytes_are_not_read_to_be_refused(command: list[str], message: str, tmp_path: Path) -> None:
    """Sparse files of 10 GB and a process that has no room for one."""
    saved(tmp_path / "m.lrt", lstm_graph())
    np.save(tmp_path / "x.npy", np.ones((1, 2, 3), np.float32))
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "a.toml").write_bytes(ARCH.read_bytes())
    large = {
        "empty": b"",
        "brace": b"{",
        "empty.csv": b"",
        "long.csv": b"1,2,3\n" * 20000,
        "brace.json": b"{",
        "s.safetensors": struct.pack("<Q", len(WRONG_SIZE)) + WRONG_SIZE,
        "h.safetensors": struct.pack("<Q", 5_000_000_000) + b"{",
        "digits.lrt": b"",
    }
    for name, head in large.items():
        with (tmp_path / name).open("wb") as f:
            f.write(head)
            f.truncate(10 << 30)
    code = (
        "import resource, sys; from lstm_rt_tools.cli.parser import main; "
        f"resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); sys.exit(main({command!r}))"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.endswith(" ...")]  # others tell what is being done
    assert len(errors) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
@pytest.mark.parametrize(
    "command", [["run", "m.lrt", "x.npy", "-o", "y.npy"], ["bench", "m.lrt", "--steps", "80000000"]]
)
def test_exhausted_memory_is_one_plain_line(command: list[str], tmp_path: Path) -> None:
    saved(tmp_path / "m.lrt", lstm_graph())
    with (tmp_path / "x.npy").open("wb") as f:  # 1.2 GB of nothing
        np.lib.format.write_array_header_1_0(f, {"descr": "<f4", "fortran_order": False, "shape": (1, 100_000_000, 3)})
        f.truncate(f.tell() + 1_200_000_000)
    code = (
        "import resource, sys; from lstm_rt_tools.cli.parser import main; "
        f"resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); sys.exit(main({command!r}))"
    )
    done = python("-c", code, cwd=tmp_path, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "unexpected" not in done.stderr
    assert "memory" in done.stderr or "allocate" in done.stderr


# -- whatever a file holds --------------------------------------------------------------------------


def _npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _npz(array: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, x=array)
    return content.getvalue()


def _guitar() -> bytes:
    rows = {"rec.weight_ih_l0": [[0.1]] * 8, "rec.weight_hh_l0": [[0.1, 0.2]] * 8, "rec.bias_ih_l0": [0.1] * 8}
    rows |= {"rec.bias_hh_l0": [0.1] * 8, "lin.weight": [[0.1, 0.2]], "lin.bias": [0.1]}  # type: ignore[dict-item]
    data = {"input_size": 1, "output_size": 1, "hidden_size": 2, "num_layers": 1, "unit_type": "LSTM", "skip": 1}
    return json.dumps({"model_data": data, "state_dict": rows}).encode()


ONES = np.ones((2, 4, 3), np.float32)
ARCH_TEXT = b'checkpoint = "a"\n[[input]]\nname = "x"\n[[layer]]\nop = "lstm"\nweights = "lstm"\n'
FILES: dict[str, Callable[[], bytes]] = {
    "d.pt": DIGITS.read_bytes,
    "a.toml": lambda: ARCH_TEXT,
    "g.json": _guitar,
    "m.lrt": lambda: lrt_format.dumps(lstm_graph()),
    "x.npy": lambda: _npy(ONES),
    "x.npz": lambda: _npz(ONES),
    "x.csv": lambda: b"a,b,c\n1,2,3\n4,5,6\n",
}
COMMANDS = [
    ["convert", "d.pt", "-o", "o.lrt"],
    ["convert", "d.pt", "--arch", "a.toml", "-o", "o.lrt"],
    ["convert", "g.json", "-o", "o.lrt"],
    ["info", "m.lrt"],
    ["info", "m.lrt", "--json"],
    ["verify", "m.lrt"],
    ["verify", "m.lrt", "--inputs", "x.csv", "--expect", "x.npy"],
    ["run", "m.lrt", "x.npy", "-o", "y.npz"],
    ["run", "m.lrt", "x.npz", "-o", "y.npz"],
    ["run", "m.lrt", "x.csv", "-o", "y.csv"],
    ["run", "m.lrt", "x.npy", "--lengths", "x.csv", "-o", "y.npy"],
]
PIECES = [b"9" * 400, b"9" * 5000, b"[" * 3000, b"\x1b[31m", b"\xed\xa0\x80", b"\\ud800", b"-1", b"1e400", b"NaN"]
PIECES += [b'"', b"\n\n", b"\xe9", b";", b"\\u0000", b"{}", b"..", b"\0", b"\xff" * 8, b"null", b"\x80"]
edits = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(PIECES) | st.binary(max_size=8), st.integers(0, 12)),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Each change puts a piece in the place of a few bytes."""
    for where, piece, n in changes:
        at = int(where * len(content))
        content = content[:at] + piece + content[at + n :]
    return content


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(COMMANDS), st.integers(0, 2), edits, st.none() | st.floats(0, 1))
def test_no_file_gives_more_than_a_line(
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    which: int,
    changes: list[tuple[float, bytes, int]],
    cut: float | None,
) -> None:
    """Small files, edited or cut off: a result, a mismatch or one plain line, and no warning."""
    names = [name for name in command if name in FILES]
    victim = names[which % len(names)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            content = FILES[name]()
            if name == victim:
                content = edited(content, changes)
                content = content if cut is None else content[: int(cut * len(content))]
            Path(folder, name).write_bytes(content)
        outputs = ("o.lrt", "y.npy", "y.npz", "y.csv")
        capsys.readouterr()
        code = main([str(Path(folder, a)) if a in FILES or a in outputs else a for a in command])
        captured = capsys.readouterr()
        written = [name for name in os.listdir(folder) if name not in names]
    errors = [line for line in captured.err.splitlines() if not line.startswith("lstm-rt: note: ")]
    assert code in (0, 1, 2)
    assert len(errors) == (code == 2), captured.err
    assert all(line.startswith("lstm-rt: error: ") and len(line) < 1000 for line in errors)
    assert "(unexpected; " not in captured.err
    assert is_plain(captured.out + captured.err)
    assert code == 0 or not written


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.json").write_bytes(_guitar().replace(b"[0.1, 0.2]", b"[1e300, 0.2]", 1))
    assert "not finite" in fails(capsys, "convert", tmp_path / "g.json", "-o", tmp_path / "g.lrt")


def test_conversion_errors_keep_their_draft() -> None:
    error = ConvertError("m.pt: no architecture:", draft="a = 1\n")
    assert (str(error), error.draft) == ("m.pt: no architecture:\n\na = 1\n", "a = 1\n")
    assert ConvertError("other").draft == ""
