"""The programs of the documents do what they say: C compiled by the line that stands there, Python block by block."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paths import DOCS, ROOT

import lstm_rt
from lstm_rt.format import dumps
from lstm_rt.graph import Graph

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document that are of this language."""
    parts = re.split(r"^```(\w*)$\n?", path.read_text(encoding="utf-8"), flags=re.M)
    return [text for kind, text in zip(parts[1::4], parts[2::4], strict=True) if kind == language]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-0.5, 0.5, shape).astype(np.float32)


# -- C ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler called gcc")
def test_the_program_of_the_c_api(tmp_path: Path) -> None:
    """Built by the documented line without a word, it prints what is shown there, with the numbers of Python."""
    (program,) = (b for b in blocks(DOCS / "c.md", "c") if "int main(" in b)
    (shown,) = (b for b in blocks(DOCS / "c.md", "") if "$ gcc" in b)
    build, run, *lines = shown.splitlines()
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "example.c").write_text(program, encoding="utf-8")
    model = lstm_rt.LSTM(weights(80, 1), weights(80, 20), weights(80), weights(80))
    model.save(tmp_path / "model.lrt")
    for command in (build, run):
        assert command.startswith("$ ")
        done = subprocess.run(command[2:], shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    printed = done.stdout.splitlines()
    assert [NUMBER.sub("0.0", line) for line in printed] == [NUMBER.sub("0.0", line) for line in lines]
    best = lstm_rt.load(tmp_path / "model.lrt", kernels=lstm_rt.kernels()[0])  # as lrt_kernels_best()
    y = best((np.float32(0.1) * np.arange(4, dtype=np.float32))[:, None])
    numbers = [np.float32(n) for line in printed for n in NUMBER.findall(line)]
    np.testing.assert_array_equal(numbers, y[:, 0])
    for wrong in ([], ["none.lrt"]):
        done = subprocess.run(["./example", *wrong], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "usage: ./example model.lrt\n")


# -- Python -----------------------------------------------------------------------------------------


def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    g = Graph()
    w = {"w_ih": weights(20, 3), "w_hh": weights(20, 5)}
    g.output(g.recurrent("lstm", g.input("x", "seq", 3), w, hidden_size=5)[0], "y")
    Path("model.lrt").write_bytes(dumps(g))
    given: dict[str, Any] = {
        "x": weights(2, 4, 3),
        "n": np.array([4, 2]),
        "state": None,
        "x_t": weights(1, 3),
        "y_t": None,
        **{"w_ih": weights(20, 3), "w_hh": weights(20, 5), "b_ih": weights(20), "b_hh": weights(20)},
    }
    (block,) = blocks(ROOT / "README.md", "python")
    exec(compile(block, "README.md", "exec"), given)
    assert given["y"].shape == (2, 4, 5)
    assert given["y_t"].shape == (1, 5)


def run_block(block: str, names: dict[str, Any]) -> list[tuple[Any, str]]:
    """Run the statements; the values of those that are expressions, each with the comment behind it."""
    values = []
    for statement in ast.parse(block).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), "python.md", "exec"), names)
            continue
        value = eval(compile(ast.Expression(statement.value), "python.md", "eval"), names)
        line = block.splitlines()[(statement.end_lineno or 0) - 1]
        values.append((value, line[statement.end_col_offset :].strip().removeprefix("#").strip()))
    return values


def is_said(value: Any, comment: str) -> bool:
    """Its examples follow one another; a block ends in the error that its comment shows, or has the values shown."""
    try:
        said = ast.literal_eval(comment)
    except (SyntaxError, ValueError):
        said = ...
    if "..." in comment or said is ...:
        return not comment.startswith(("<", "(<")) or repr(value).replace(lstm_rt.kernels()[0], "avx512") == comment
    return said in (value.shape if isinstance(value, np.ndarray) else value, value)


def test_the_python_of_the_python_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its examples follow one another; a block ends in the error that its comment shows, or its values are as shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LSTM_RT_KERNELS", raising=False)
    names: dict[str, Any] = {}
    errors = shown = 0
    for block in blocks(DOCS / "python.md", "python"):
        if error := re.search(r"^# (\w+): (.*(?:\n#.*)*)", block, re.M):
            text = " ".join(error[2].replace("#", " ").split())
            with pytest.raises(getattr(lstm_rt, error[1]), match=re.escape(text)):
                run_block(block, names)
            errors += 1
            continue
        for value, comment in run_block(block, names):
            assert is_said(value, comment), (value, comment)
            shown += comment.startswith(("(", "<"))
        if "return_state" in block and "lengths" in block:
            y, h = names["y"], names["h"]
            assert not y[1, 10:].any()
            np.testing.assert_array_equal(h[0, 1], y[1, 9])
    assert errors >= 1
    assert shown >= 5
    np.testing.assert_array_equal(np.concatenate([names["first"], names["rest"]], axis=1), names["model"](names["x"]))
    np.testing.assert_array_equal(names["trace"].y, names["model"](names["signal"], lengths=[100, 60]))
    whole = names["model"].trace(names["signal"])["lstm"]
    np.testing.assert_array_equal(names["most"], whole.f.max(axis=(0, 1)))
