"""The folders: what is written and what is refused, and that they build and prove themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exported_c import COMPILER, FUSED, NATIVE, WARNINGS, Exported
from helpers.graphs import cell_weights, weights
from lstm_rt_tools.cli import main
from lstm_rt_tools.export_c import folder as folders
from lstm_rt_tools.export_c.names import KEYWORDS, check_prefix, port_names, prefix_of

from lstm_rt.errors import InputError
from lstm_rt.graph import Graph

needs_compiler = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")


def small(path: Path, op: str = "lstm", **options: Any) -> Path:
    rng, g = np.random.default_rng(0), Graph()
    x = g.input("x", "seq", 3)
    y, _, _ = g.recurrent(
        op, x, cell_weights(rng, op, 3, 5, options.get("direction", "forward")), hidden_size=5, **options
    )
    g.output(g.node("dense", y, weight=weights(rng, 2, g.values[y].size), activation="tanh"), "y")
    g.save(str(path))
    return path


def export(*arguments: Any) -> int:
    return main(["export-c", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def run_selftest(folder: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    (source,) = (folder / "src").glob("*.c")
    command = [
        COMPILER,
        "-std=c99",
        *WARNINGS,
        *flags,
        f"-I{folder}/src",
        str(source),
        f"{folder}/selftest.c",
        "-o",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return subprocess.run([str(out)], capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.parametrize("flags", [["-O0"], ["-O2"], ["-Os"], ["-O3"], ["-O2", "-ffp-contract=fast"]], ids=" ".join)
def test_the_selftest_passes(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(small(tmp_path / "m.lrt"), "-o", tmp_path / "out") == 0
    assert "float32" in capsys.readouterr().out
    done = run_selftest(tmp_path / "out", tmp_path / "test", *flags)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("m: passed")
    if FUSED:
        done = run_selftest(tmp_path / "out", tmp_path / "test", *flags, *NATIVE, "-DLSTM_RT_EXACT")
        assert (done.returncode, done.stdout) == (0, "m: passed, largest difference 0\n")


@needs_compiler
def test_the_selftest_can_fail(tmp_path: Path) -> None:
    assert export(small(tmp_path / "m.lrt"), "-o", tmp_path / "out") == 0
    file = tmp_path / "out" / "src" / "m_weights.h"
    text = file.read_text()
    at = text.index("{") + 1
    file.write_text(text[:at] + " 0.5f," + text[at:].split(",", 1)[1])
    assert run_selftest(tmp_path / "out", tmp_path / "test").returncode == 1


@needs_compiler
def test_the_selftest_of_runs(tmp_path: Path) -> None:
    model = small(tmp_path / "m.lrt", "gru", direction="bidirectional")
    assert export(model, "-o", tmp_path / "out", "--name", "both", "--steps", 20) == 0
    done = run_selftest(tmp_path / "out", tmp_path / "test")
    assert done.returncode == 0, done.stdout


@needs_compiler
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 compiler for 32 bits")
def test_32_bits(tmp_path: Path) -> None:
    empty = "#include <stdio.h>\nint main(void) { return 0; }\n"
    command = [COMPILER, "-m32", "-x", "c", "-", "-o", str(tmp_path / "probe")]
    if subprocess.run(command, input=empty, text=True, capture_output=True, check=False).returncode:
        pytest.skip("needs a compiler for 32 bits")
    assert export(small(tmp_path / "m.lrt"), "-o", tmp_path / "out") == 0
    assert run_selftest(tmp_path / "out", tmp_path / "test", "-m32", "-msse2", "-mfpmath=sse").returncode == 0


@needs_compiler
def test_two_models_in_one_program(tmp_path: Path) -> None:
    """And from C++, whose compiler may be missing."""
    for name, op in (("one", "lstm"), ("two", "gru")):
        assert export(small(tmp_path / f"{name}.lrt", op), "-o", tmp_path / name) == 0
    main_c = tmp_path / "main.c"
    main_c.write_text(
        '#include "one.h"\n#include "two.h"\n'
        "static uint32_t a[ONE_ARENA_BYTES / 4], b[TWO_ARENA_BYTES / 4];\n"
        "int main(void)\n{\n    static const float x[3] = {1, 2, 3};\n    float y[2], z[2];\n"
        "    if (one_init(a, sizeof a) || two_init(b, sizeof b))\n        return 1;\n"
        "    if (one_step(a, x, y) || two_step(b, x, z))\n        return 1;\n"
        "    return y[0] == z[0];\n}\n"
    )
    sources = [f"{tmp_path}/{name}/src/{name}.c" for name in ("one", "two")]
    folders_in = [f"-I{tmp_path}/{name}/src" for name in ("one", "two")]
    command = [COMPILER, "-std=c99", *WARNINGS, *folders_in, str(main_c), *sources, "-o", str(tmp_path / "both")]
    subprocess.run(command, check=True)
    assert subprocess.run([str(tmp_path / "both")], check=False).returncode == 0
    cpp = shutil.which("g++") or shutil.which("c++")
    if cpp:
        subprocess.run([cpp, "-x", "c++", "-Wall", "-Werror", "-fsyntax-only", *folders_in, str(main_c)], check=True)


@needs_compiler
def test_no_call_of_a_library(tmp_path: Path) -> None:
    """Neither malloc, nor stdio, nor libm; copying is what compilers make calls of by themselves."""
    assert export(small(tmp_path / "m.lrt", "gru", reset_after=False), "-o", tmp_path / "out") == 0
    object_file = tmp_path / "m.o"
    subprocess.run([COMPILER, "-std=c99", "-O2", "-c", f"{tmp_path}/out/src/m.c", "-o", str(object_file)], check=True)
    names = subprocess.run(["nm", "-u", str(object_file)], capture_output=True, text=True, check=True).stdout.split()
    assert set(names) <= {"U", "memcpy", "memset", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


@needs_compiler
def test_wrong_arenas(tmp_path: Path) -> None:
    rng, g = np.random.default_rng(0), Graph()
    y, _, _ = g.recurrent(
        "rnn", g.input("x", "seq", 3), cell_weights(rng, "rnn", 3, 5), hidden_size=5, direction="reverse"
    )
    g.output(y, "y")
    c = Exported(tmp_path, g, steps=4)
    x = rng.normal(0, 1, (5, 3))
    assert c.init(size=c.plan.arena_bytes - 1) == 3
    assert c.init(offset=1) == 2
    for offset in (1, 2, 3):
        code, (y,) = c.call(x, steps=2, offset=offset)
        assert code == 2
        assert (y == 77).all()
    assert c.call(x, steps=0)[0] == 4
    assert c.call(x, steps=5)[0] == 4
    assert c.init() == 0
    assert c.call(x, steps=4)[0] == 0
    assert c.reset() == 0


# -- what is refused, in one line ----------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert export(*arguments) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.count("\n") == 1
    return out.err


@pytest.mark.parametrize(
    "name",
    ["", "1st", "a-b", "a b", "_a", "a__b", "ä", "x" * 65, "a\n", "int", "while", "class", "nullptr", "restrict"],
)
def test_no_identifier(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small(tmp_path / "m.lrt")
    assert "--name" in refused(capsys, model, "-o", tmp_path / "out", "--name", name)
    assert not (tmp_path / "out").exists()


def test_a_name_of_the_file(tmp_path: Path) -> None:
    assert [prefix_of(s) for s in ("My model-2", "int", "3d", "--", "é")] == [
        "my_model_2",
        "int_model",
        "m_3d",
        "model",
        "model",
    ]
    for stem in (*KEYWORDS, "a__b", "x" * 99, "_", "9"):
        assert check_prefix(prefix_of(stem)) == prefix_of(stem)
    names = port_names(["x", "x", "X", "a.b", "int", "7", "steps", "e", ""])
    assert names == ["x", "x_", "X__", "a_b", "int_", "p_7", "steps_", "e_", "port"]


def test_an_existing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = small(tmp_path / "m.lrt"), tmp_path / "out"
    assert export(model, "-o", out) == 0
    capsys.readouterr()
    before = contents(out)
    assert "--force" in refused(capsys, model, "-o", out, "--name", "other")
    assert contents(out) == before
    assert export(model, "-o", out, "--name", "other", "--force") == 0
    assert (out / "src" / "other.c").exists()
    assert not (out / "src" / "m.c").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.lrt", "out"]


def test_a_folder_with_other_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = small(tmp_path / "m.lrt"), tmp_path / "out"
    assert export(model, "-o", out) == 0
    capsys.readouterr()
    (out / "src" / "mine.c").write_text("int mine;\n")
    before = contents(out)
    assert "src/mine.c" in refused(capsys, model, "-o", out, "--force")
    assert contents(out) == before
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(out)
    for target in (tmp_path / "file", tmp_path / "link"):
        assert "no folder" in refused(capsys, model, "-o", target, "--force")
    assert "does not exist" in refused(capsys, model, "-o", tmp_path / "no" / "out")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("fails", [1, 2])
def test_never_half_written(fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step of replacing the folder fails, the old one is there, whole."""
    out, calls, rename = tmp_path / "out", [], os.rename
    folders.write_folder(out, {"a.txt": f"{folders.MARK} old\n"}, force=False)

    def failing(a: Any, b: Any) -> None:
        calls.append(a)
        if len(calls) == fails:
            raise OSError("no")
        rename(a, b)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no"):
        folders.write_folder(out, {"b.txt": f"{folders.MARK} new\n"}, force=True)
    assert contents(out) == {"a.txt": f"{folders.MARK} old\n".encode()}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        folders.write_folder(tmp_path / "out", {"a": "b"}, force=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no name"):
        folders.check_target(Path("/"), force=True)


def test_ops_that_have_no_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g = Graph()
    g.output(g.node("cumsum", g.input("x", "seq", 3)), "y")
    g.save(str(tmp_path / "sum.lrt"))
    assert "cumsum cannot be exported to C" in refused(capsys, tmp_path / "sum.lrt", "-o", tmp_path / "out")
    model = small(tmp_path / "m.lrt", direction="bidirectional")
    assert "--steps" in refused(capsys, model, "-o", tmp_path / "out")
    g = Graph()
    x = g.input("x", "seq", 3)
    y, _, _ = g.recurrent("rnn", x, cell_weights(np.random.default_rng(0), "rnn", 3, 4), hidden_size=4,
                          mask=g.mask_ids(g.input("ids", "ids", axis=0)))  # fmt: skip
    g.output(y, "y")
    g.save(str(tmp_path / "masked.lrt"))
    assert "mask_ids" in refused(capsys, tmp_path / "masked.lrt", "-o", tmp_path / "out")
    g = Graph()
    x = g.input("x", "seq", 3)
    g.input("n", "lengths", axis=0)
    g.output(g.node("activation", x, activation="relu"), "y")
    g.save(str(tmp_path / "lengths.lrt"))
    assert "lengths" in refused(capsys, tmp_path / "lengths.lrt", "-o", tmp_path / "out", "--steps", 4)
    g = Graph()
    g.output(g.node("take", g.input("x", "seq", 3), start=0, stride=2), "y")
    g.save(str(tmp_path / "take.lrt"))
    assert "take" in refused(capsys, tmp_path / "take.lrt", "-o", tmp_path / "out", "--steps", 4)
    assert not (tmp_path / "out").exists()


def test_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small(tmp_path / "m.lrt")
    model.write_bytes(model.read_bytes()[:-70] + b"\x01" + model.read_bytes()[-69:])
    refused(capsys, model, "-o", tmp_path / "out")
    refused(capsys, tmp_path / "none.lrt", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
