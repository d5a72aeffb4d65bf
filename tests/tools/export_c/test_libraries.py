"""Folders as libraries of the Arduino IDE and of PlatformIO: what their documents ask for.

https://arduino.github.io/arduino-cli/latest/library-specification and
https://docs.platformio.org/en/latest/manifests/library-json
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.graphs import cell_weights
from lstm_rt_tools.cli import main

from lstm_rt.graph import Graph

_STUB = """
#include <stdint.h>
struct Printer { void begin(long); template <class T> void print(T); template <class T> void println(T); };
extern Printer Serial;
unsigned long micros();
void delay(unsigned long);
"""


@pytest.fixture(params=[None, 12], ids=["stream", "run"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    g = Graph()
    ids = g.embedding(g.input("ids", "ids"), np.zeros((4, 3), np.float32))
    y, h, _ = g.recurrent("gru", ids, cell_weights(np.random.default_rng(0), "gru", 3, 4), hidden_size=4)
    g.output(y, "y")
    g.output(h, "h")
    g.save(str(tmp_path / "gru.lrt"))
    steps = [] if request.param is None else ["--steps", str(request.param)]
    assert main(["export-c", str(tmp_path / "gru.lrt"), "-o", str(tmp_path / "gru"), *steps]) == 0
    return tmp_path / "gru"


def test_arduino(folder: Path) -> None:
    lines = (folder / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    needed = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert needed <= fields.keys()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] == "Data Processing"
    assert (folder / "src" / fields["includes"]).is_file()
    assert {f.suffix for f in (folder / "src").iterdir()} == {".c", ".h"}
    for sketch in (folder / "examples").iterdir():
        assert [f.name for f in sketch.iterdir()] == [f"{sketch.name}.ino"]


def test_platformio(folder: Path) -> None:
    fields = json.loads((folder / "library.json").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["name"]
    assert fields["frameworks"] == fields["platforms"] == "*"
    assert (folder / "src" / fields["headers"]).is_file()


def test_the_example_is_a_sketch(folder: Path, tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    (sketch,) = (folder / "examples").rglob("*.ino")
    source = tmp_path / "sketch.cpp"
    source.write_text(_STUB + sketch.read_text())
    command = [compiler, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{folder}/src", str(source)]
    assert subprocess.run(command, check=False).returncode == 0
