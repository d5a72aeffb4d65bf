"""Hostile files end in one line, soon, and without taking memory, running anything or leaving anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import archives, keras_models, onnx_models, pickles, programs, texts  # noqa: F401 - they fill the list

from .build import (  # isort: skip
    ATTACKS, DENSE, MB, SIX, WEIGHT, Attack, entry, npy, pickled_tensor, safetensors, table, torch_zip, zipped,
)  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")

HERE = Path(__file__).parent
DESCRIBED = (".json", ".h5", ".keras", ".onnx")  #: of files that need no architecture file
ROOT = HERE.parent.parent
#: What the limits are: README.md. The time is generous, as machines are slow and shared.
MEMORY_PER_BYTE, MEMORY = 16, 64 * MB
SECONDS = 15 if "LSTM_RT_SANITIZE" not in os.environ else 60
GUARD = 6 << 30


@dataclass(frozen=True)
class Run:
    """How a command ended."""

    exit: int
    peak: int
    seconds: float
    out: str
    err: str


def convert(folder: Path, file: str, arch: str = "") -> Run:
    """``lstm-rt convert`` of a file, in its folder, with limits."""
    result = folder.parent / f"{folder.name}.json"
    command = [sys.executable, "-m", "lstm_rt_tools", "convert", file, "-o", "out.lrt"]
    if arch:
        (folder / "arch.toml").write_text(arch)
        command += ["--arch", "arch.toml"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    limited = [sys.executable, str(HERE / "limited.py"), str(result), str(GUARD), str(4 * SECONDS)]
    done = subprocess.run([*limited, *command], cwd=folder, env=environment, capture_output=True, check=True)
    return Run(**json.loads(result.read_text()), out=done.stdout.decode(), err=done.stderr.decode())


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What harmless files take, by suffix: that of the libraries that read them."""
    files = {
        ".pt": torch_zip(table(**{"w.weight": WEIGHT}), {"0": SIX}),
        ".pt2": torch_zip(table(**{"w.weight": WEIGHT}), {"0": SIX}),
        ".zip": torch_zip(table(**{"w.weight": WEIGHT}), {"0": SIX}),
        ".safetensors": safetensors({"w.weight": entry((2, 3), (0, 24))}, SIX),
        ".npz": zipped({"w.weight.npy": npy(SIX, (2, 3))}),
        ".pkl": b"\x80\x02" + table(**{"w.weight": pickled_tensor()}) + b".",
        ".json": texts.guitarml(
            {"rec.weight_ih_l0": [[0.0]] * 4, "rec.weight_hh_l0": [[0.0]] * 4, "rec.bias_ih_l0": [0.0] * 4,
             "rec.bias_hh_l0": [0.0] * 4, "lin.weight": [[0.0]], "lin.bias": [0.0]}
        ),
    }  # fmt: skip
    files[".onnx"] = onnx_models.LSTM
    if keras_models.h5py:
        relu = keras_models.layer("Activation", "a", activation="relu")
        config = keras_models.sequential(keras_models.inputs(), relu)
        files[".h5"] = keras_models.h5_bytes(config)
        files[".keras"] = keras_models.keras_bytes(config)
    runs = {}
    for suffix, data in files.items():
        folder = tmp_path_factory.mktemp("idle")
        (folder / f"m{suffix}").write_bytes(data)
        runs[suffix] = convert(folder, f"m{suffix}", "" if suffix in DESCRIBED else DENSE)
        assert runs[suffix].exit == 0, runs[suffix].err
    return runs


def check(attack: Attack, folder: Path, idle: Run) -> None:
    """Write the file, convert it, and see what it did."""
    attack.write(folder)
    if attack.arch:
        (folder / "arch.toml").write_text(attack.arch)
    size, before = (folder / attack.file).stat().st_size, sorted(os.listdir(folder))
    run = convert(folder, attack.file, attack.arch)
    after = sorted(os.listdir(folder))
    assert run.exit in attack.exits, f"exit {run.exit}: {run.err[-2000:]}"
    assert [f for f in after if f != "out.lrt" or run.exit] == before, "it left something behind"
    peak = run.peak - idle.peak
    assert peak <= MEMORY_PER_BYTE * size + MEMORY, f"{peak / MB:.0f} MB for a file of {size / MB:.2f} MB"
    if size < MB:
        assert run.seconds - idle.seconds <= SECONDS, f"{run.seconds:.1f} s for a file of {size} bytes"
    check_messages(run)


def check_messages(run: Run) -> None:
    """One line that says what is wrong, fit for a terminal."""
    if run.exit == 0:
        assert run.err == ""
        return
    lines = run.err.splitlines()
    assert len(lines) == 1, run.err[-2000:]
    assert lines[0].startswith("lstm-rt: error: ")
    assert lines[0].isprintable()
    assert "(unexpected; " not in lines[0]
    assert len(lines[0]) <= 1000


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, tmp_path: Path, idle: dict[str, Run]) -> None:
    attack = ATTACKS[name]
    suffix = Path(attack.file).suffix
    if suffix not in idle:
        pytest.skip("needs h5py")
    folder = tmp_path / "here"
    folder.mkdir()
    check(attack, folder, idle[suffix])


def test_limits_would_notice(tmp_path: Path) -> None:
    """A command that takes memory and time is found to, or stopped."""
    code = "x = bytearray(200 << 20); x[::4096] = b'1' * len(x[::4096]); sum(range(3 * 10**7))"
    result = tmp_path / "result.json"
    limited = [sys.executable, str(HERE / "limited.py"), str(result), str(GUARD), "30"]
    subprocess.run([*limited, sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    found = json.loads(result.read_text())
    assert found["peak"] > 200 * MB
    assert found["seconds"] > 0.1
    code = "x = bytearray(8 << 30)"
    subprocess.run([*limited, sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(result.read_text())["exit"] == 1
