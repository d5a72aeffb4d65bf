"""The core as a library for C and C++: what it gives, where it is found, and the streaming example."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import DOCS, EXAMPLES, ROOT
from helpers.programs import lstm_rt

HEADER = ROOT / "src" / "lstm_rt.h"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler called gcc")


def declared() -> set[str]:
    """The functions of the header: what is there, but for types, constants and comments."""
    text = re.sub(r"/\*.*?\*/|^#.*?$|typedef\b[^;{]*;", "", HEADER.read_text(encoding="utf-8"), flags=re.S | re.M)
    return set(re.findall(r"\b(lrt_\w+)\(", text))


def test_the_reference_is_the_header() -> None:
    """Each function has its line in the table of docs/c.md, and nothing else is named there."""
    text = (DOCS / "c.md").read_text(encoding="utf-8")
    table = text.split("## Functions", 1)[1].split("\n## ", 1)[0]
    listed = [name for row in re.findall(r"^\| (.*?) \|", table, re.M) for name in re.findall(r"`(lrt_\w+)`", row)]
    assert len(listed) == len(set(listed))
    assert set(listed) == declared()
    types = set(re.findall(r"\b(lrt_\w+)\b", HEADER.read_text(encoding="utf-8")))
    assert set(re.findall(r"`(lrt_\w+)`", text)) - types == set(), "docs/c.md names what the header does not have"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built with warnings as errors and installed with PREFIX: not optimised, and so at once."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("needs a C compiler called gcc")
    folder = tmp_path_factory.mktemp("library")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "CFLAGS", "LDFLAGS")}
    made = subprocess.run(
        ["make", "-C", ROOT, "-j2", "install", f"PREFIX={folder / 'prefix'}", f"BUILD={folder / 'build'}", "CC=gcc"],
        env={**environment, "CFLAGS": " ".join(["-O0", "-DLRT_PORTABLE_ONLY", *STRICT])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return folder / "prefix"


def tool(name: str) -> str:
    if path := shutil.which(name):
        return path
    pytest.skip(f"needs {name}")


def test_what_the_shared_library_gives(installed: Path) -> None:
    library = installed / "lib" / "liblstm_rt.so"
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    assert {line.split()[2] for line in listed.splitlines()} == declared()
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    assert re.search(r"SONAME.*\[liblstm_rt\.so\.0\]", dynamic)
    assert (installed / "lib" / "liblstm_rt.so.0").resolve() == library.resolve()


PROGRAM = """#include <lstm_rt.h>
#include <string.h>
int main(void)
{
    return strcmp(lrt_error_text(LRT_E_MAGIC), "") != 0 && lrt_kernels_best() != NULL ? 0 : 1;
}
"""


CPP = ["g++", "-x", "c++"]


@pytest.mark.parametrize("compiler", [["gcc", "-std=c99"], [*CPP, "-std=c++11"], [*CPP, "-std=c++17"]])
@pytest.mark.parametrize("library", ["shared", "static"])
def test_c_and_cpp_use_it(compiler: list[str], library: str, installed: Path, tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text(PROGRAM, encoding="utf-8")
    tool(compiler[0])
    environment = {**os.environ, "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig")}
    flags = subprocess.run(
        [tool("pkg-config"), "--cflags", "--libs", *(["--static"] if library == "static" else []), "lstm_rt"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if library == "static":
        flags = ["-l:liblstm_rt.a" if f == "-llstm_rt" else f for f in flags]
    command = [*compiler, *STRICT, str(source), "-x", "none", *flags, f"-Wl,-rpath,{installed / 'lib'}"]
    subprocess.run([*command, "-o", tmp_path / "main"], check=True)
    subprocess.run([tmp_path / "main"], check=True)


def test_cmake_finds_it(installed: Path, tmp_path: Path) -> None:
    cmake = tool("cmake")
    (tmp_path / "main.c").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(lstm_rt 0.1 REQUIRED)\n"
        "add_executable(shared main.c)\ntarget_link_libraries(shared PRIVATE lstm_rt::lstm_rt)\n"
        "add_executable(static main.c)\ntarget_link_libraries(static PRIVATE lstm_rt::static)\n",
        encoding="utf-8",
    )
    build = tmp_path / "build"
    options = [f"-DCMAKE_PREFIX_PATH={installed}"]
    subprocess.run([cmake, "-S", tmp_path, "-B", build, *options], check=True, capture_output=True)
    subprocess.run([cmake, "--build", build], check=True, capture_output=True)
    for program in ("shared", "static"):
        subprocess.run([build / program], check=True)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(lstm_rt 999 REQUIRED)\n", encoding="utf-8"
    )
    refused = subprocess.run(
        [cmake, "-S", tmp_path, "-B", tmp_path / "again", *options], check=False, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "999" in refused.stderr


# -- the streaming example --------------------------------------------------------------------------

HIDDEN = 8


def amplifier(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"rec.weight_ih_l0": (4 * HIDDEN, 1), "rec.weight_hh_l0": (4 * HIDDEN, HIDDEN), "lin.weight": (1, HIDDEN)}
    shapes |= {"rec.bias_ih_l0": (4 * HIDDEN,), "rec.bias_hh_l0": (4 * HIDDEN,), "lin.bias": (1,)}
    return {k: rng.uniform(-0.6, 0.6, s).astype(np.float32) for k, s in shapes.items()}


def played(w: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The model in float64, written out."""
    h, c, out = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for sample in x:
        z = w["rec.weight_ih_l0"][:, 0] * sample + w["rec.bias_ih_l0"] + w["rec.weight_hh_l0"] @ h + w["rec.bias_hh_l0"]
        i, f, g, o = np.split(z.astype(np.float64), 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        out.append((w["lin.weight"] @ h + w["lin.bias"])[0] + sample)
    return np.array(out)


@pytest.fixture(scope="module")
def example(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the line of its README after `make lib`, beside a model that our tool has converted."""
    folder = tmp_path_factory.mktemp("stream")
    for name in ("src", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build").mkdir()
    (folder / "build" / "lib").symlink_to(installed.parent / "build")
    weights = amplifier(np.random.default_rng(5))
    data = {"model": "SimpleRNN", "input_size": 1, "output_size": 1, "hidden_size": HIDDEN, "unit_type": "LSTM"}
    data |= {"num_layers": 1, "bias_fl": True, "skip": 1}
    text = json.dumps({"model_data": data, "state_dict": {k: v.tolist() for k, v in weights.items()}})
    (folder / "amp.json").write_text(text, encoding="utf-8")
    lines = re.findall(r"^\$ (.*)$", (EXAMPLES / "c" / "README.md").read_text(encoding="utf-8"), re.M)
    convert, make, build, _ = lines
    assert make == "make lib"
    done = lstm_rt(*convert.split()[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
    built = subprocess.run(build, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    return folder


def test_sound_goes_through_the_streaming_example(example: Path) -> None:
    rng = np.random.default_rng(1)
    sound = (rng.uniform(-0.9, 0.9, 1000) * 32768).astype("<i2")  # no multiple of a block
    with wave.open(str(example / "in.wav"), "wb") as f:
        f.setparams((1, 2, 44100, 0, "NONE", ""))
        f.writeframes(sound.tobytes())
    run = re.findall(r"^\$ (.*)$", (EXAMPLES / "c" / "README.md").read_text(encoding="utf-8"), re.M)[3]
    done = subprocess.run(run, shell=True, cwd=example, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with wave.open(str(example / "out.wav"), "rb") as f:
        assert (f.getnchannels(), f.getsampwidth(), f.getframerate(), f.getnframes()) == (1, 2, 44100, 1000)
        got = np.frombuffer(f.readframes(1000), "<i2").astype(np.int64)
    weights = {k: v.astype(np.float64) for k, v in amplifier(np.random.default_rng(5)).items()}
    want = np.clip(np.round(played(weights, sound / 32768) * 32768), -32768, 32767)
    assert np.abs(got - want).max() <= 1
    assert len(set(want)) > 500


@pytest.mark.parametrize(
    ("arguments", "given", "error"),
    [
        ([], b"", "usage: stream model.lrt <in.wav >out.wav"),
        (["none.lrt"], b"", "stream: none.lrt: cannot read it"),
        (["amp.json"], b"", "stream: amp.json: not an .lrt file"),
        (["amp.lrt"], b"", "stream: input: it ends too early"),
        (["amp.lrt"], b"RIFX" + 8 * b"a", "stream: input: not a WAV file"),
        (["amp.lrt"], b"RIFF1234WAVEdata" + 4 * b"\0", "stream: input: not one channel of 16 bits"),
        (["amp.lrt"], b"RIFF1234WAVEfmt \x08\0\0\0", "stream: input: its format is not described as WAV files do"),
    ],
)
def test_what_the_streaming_example_cannot_play(example: Path, arguments: list[str], given: bytes, error: str) -> None:
    done = subprocess.run(["./stream", *arguments], cwd=example, input=given, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(error)
    assert done.stderr.count(b"\n") == 1


@needs_gcc
def test_the_example_is_strict_c99(tmp_path: Path) -> None:
    source = EXAMPLES / "c" / "stream.c"
    command = ["gcc", "-std=c99", *STRICT, f"-I{HEADER.parent}", "-c", source, "-o", tmp_path / "stream.o"]
    subprocess.run(command, check=True)
