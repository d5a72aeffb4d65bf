"""The process that reads HDF5 files: what it reads arrives, and however it ends, one line says so."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from attacks import keras_models
from helpers.programs import python
from lstm_rt_tools.weights import hdf5_files
from lstm_rt_tools.weights.budget import Budget
from lstm_rt_tools.weights.hdf5_files import open_hdf5

from lstm_rt.errors import ConvertError

h5py = pytest.importorskip("h5py")

MB = 1 << 20
ARRAYS = {
    "scalar": np.float32(3),
    "empty": np.zeros((0, 3), np.float64),
    "big endian": np.arange(6, dtype=">f4").reshape(2, 3),
    "half": np.arange(6, dtype=np.float16),
    "bool": np.array([True, False]),
    "integers": np.arange(-3, 3, dtype=np.int8).reshape(1, 6, 1),
}


@pytest.fixture(params=["child", "here"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """In the child, and as where no process can be started."""
    if request.param == "here":
        monkeypatch.setattr(sys, "executable", "")
    return str(request.param)


def hdf5(**arrays: object) -> io.BytesIO:
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        for name, value in arrays.items():
            f[f"group/{name}"] = value
        f.attrs["text"] = "größe"
        f.attrs["texts"] = np.array([b"a", b"", b"\xff"])
        f.attrs["words"] = np.array(["word", "", "größe"], dtype=h5py.string_dtype())
        f.attrs["none"] = []
        f.attrs["number"] = 3
    return out


def test_everything_arrives(where: str) -> None:
    file = hdf5(**ARRAYS)
    with open_hdf5(file, "m.h5", Budget(MB, "m.h5")) as root:
        assert list(root) == ["group"]
        group = root.group("group")
        assert group is not None
        assert group.name == "/group"
        assert set(group) == set(ARRAYS)
        for name, expected in ARRAYS.items():
            found = group.array(name, name)
            np.testing.assert_array_equal(found, expected, strict=True)
            assert found.flags.writeable
        assert root.array("group/half", "half").dtype == np.float16
        assert root.group("other") is None
        assert root.group("group/half") is None
        assert root.attribute("text") == ["größe".encode()]
        assert root.attribute("texts") == [b"a", b"", b"\xff"]
        assert root.attribute("words") == [b"word", b"", "größe".encode()]
        assert root.attribute("none") == []
        assert root.attribute("missing") is None
        with pytest.raises(ConvertError, match="attribute number holds int64, expected texts"):
            root.attribute("number")
        with pytest.raises(ConvertError, match="weight w is missing"):
            root.array("group/w", "w")


def test_one_budget_is_charged_on_both_sides(where: str) -> None:
    budget = Budget(MB, "m.h5")
    memory, steps = budget.left
    with open_hdf5(hdf5(w=np.zeros((100, 100), np.float32)), "m.h5", budget) as root:
        root.array("group/w", "w")
        assert budget.left[0] == memory - 4 * 40_000
        assert budget.left[1] < steps
        budget.memory(budget.memory_left - 100_000)
        with pytest.raises(ConvertError, match=r"weight w of shape .* would take far more memory"):
            root.array("group/w", "w")


def test_the_child_ends_with_the_reading() -> None:
    with open_hdf5(hdf5(), "m.h5", Budget()) as root:
        process = root._reader._process
        assert process.poll() is None
    assert process.poll() is not None


def test_h5py_is_not_loaded_here(tmp_path: Path) -> None:
    relu = keras_models.layer("Activation", "a", activation="relu")
    (tmp_path / "m.h5").write_bytes(keras_models.h5_bytes(keras_models.sequential(keras_models.inputs(), relu)))
    code = "import sys, lstm_rt_tools as t; t.from_keras(sys.argv[1]); print('h5py' in sys.modules)"
    done = python("-c", code, tmp_path / "m.h5", check=True)
    assert done.stdout.strip() == "False"


# -- how it may end ----------------------------------------------------------------------------------


def broken_h5py(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """An h5py for the child whose File does this."""
    (folder / "h5py.py").write_text(f"import os, time\ndef File(file, mode):\n    {body}\n")
    monkeypatch.syspath_prepend(folder)


def refuse(match: str, size: int = 0) -> None:
    with (
        pytest.raises(ConvertError, match=f"m.h5: the HDF5 file is damaged, or larger than its budget: {match}"),
        open_hdf5(io.BytesIO(b"x" * size), "m.h5", Budget(1000, "m.h5")),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_loop_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_files, "_BASE_SECONDS", 1)
    broken_h5py(tmp_path, monkeypatch, "while True: pass")
    refuse("reading it takes far longer than a file of 1,000 bytes")


def test_waiting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock: it takes no time of the processor."""
    monkeypatch.setattr(hdf5_files, "_CLOCK", 0.5)
    broken_h5py(tmp_path, monkeypatch, "time.sleep(1000)")
    start = time.monotonic()
    refuse("reading it takes far longer than a file of 1,000 bytes")
    assert time.monotonic() - start < 60


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("body", ["bytearray(200 << 20)", "x = [bytes(1 << 20) for i in range(1 << 20)]"])
def test_memory_ends(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_h5py(tmp_path, monkeypatch, body)
    refuse("reading it takes far more memory than a file of 1,000 bytes")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT", "SIGKILL"])
@pytest.mark.parametrize("size", [0, 4 * MB])
def test_a_crash_is_reported(signal: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_h5py(tmp_path, monkeypatch, f"import signal; os.kill(os.getpid(), signal.{signal})")
    refuse(f"the HDF5 library ended with {signal} when it read it", size)


def test_an_end_while_the_file_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h5py.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(tmp_path)
    refuse("the HDF5 library ended with status 7 when it read it", 4 * MB)


def test_a_child_that_says_nothing_in_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library prints does not mix with the answers."""
    broken_h5py(tmp_path, monkeypatch, "print('hello', flush=True); os.write(1, b'{}'); raise OSError('bad magic')")
    with (
        pytest.raises(ConvertError, match=r"m\.h5: the HDF5 file is damaged \(bad magic\)"),
        open_hdf5(io.BytesIO(), "m.h5", Budget(1000, "m.h5")),
    ):
        pass


def test_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", os.devnull)
    with (
        pytest.raises(ConvertError, match="reading HDF5 files needs a process of its own, which does not start"),
        open_hdf5(hdf5(), "m.h5", Budget()),
    ):
        pass
