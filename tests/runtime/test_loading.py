"""Kernels, loading and saving: what is wrong is named, and nothing is left behind."""

from __future__ import annotations

import errno
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.graphs import recurrent_graph
from helpers.models import zeros
from helpers.programs import python
from helpers.small_graphs import X, build, mixed, plain, two_layers

import lstm_rt
from lstm_rt import FormatError, GraphError, InputError, Model
from lstm_rt.format import check, dumps, load_graph, write_atomically
from lstm_rt.graph import Graph

# -- numbers that are not finite ---------------------------------------------------------------------


def test_nan_in_inputs_propagates_to_its_row_only() -> None:
    model, x = build(plain), X.copy()
    x[1, 3, 0] = np.nan
    y, clean = model(x), model(X)
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[1, :3], clean[1, :3])
    assert np.isnan(y[1, 3:]).all()
    np.testing.assert_array_equal(model(X), clean)
    x[1, 3, 0] = np.inf
    assert not np.isnan(model(x)[0]).any()


def test_nan_in_weights_is_reported() -> None:
    g = recurrent_graph(np.random.default_rng(0), "gru", 3, 5)
    g.nodes[0].weights["w_ih"][2, 1] = np.nan
    g.nodes[0].weights["w_hh"][0, :2] = np.inf
    model = Model(dumps(g))
    assert model.info["not_finite"] == 3
    assert np.isnan(model(zeros(1, 2, 3))[0]).any()
    assert build(plain).info["not_finite"] == 0


@pytest.mark.parametrize(("name", "wrong"), [("batch", w) for w in (0, -1, 1.0, "2", None, 1 << 40)] + [("steps", -1)])
def test_session_nbytes(name: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is .*, expected an integer from"):
        build(plain).session_nbytes(**{name: wrong})


# -- kernels, loading and saving ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sse9", "", "AVX2", 3, "\udc80"])
def test_unknown_kernels(name: Any) -> None:
    g = Graph()
    plain(g)
    with pytest.raises(InputError, match=r"kernels .* are not available here; available: .*portable"):
        Model(dumps(g), kernels=name)


def test_unknown_kernels_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "m.lrt"
    build(plain).save(path)
    code = "import sys, lstm_rt; print(lstm_rt.load(sys.argv[1]).kernels)"

    def run(kernels: str) -> subprocess.CompletedProcess[str]:
        return python("-c", code, path, env={"LSTM_RT_KERNELS": kernels})

    assert run("portable").stdout.strip() == "portable"
    assert run("").stdout.strip() == lstm_rt.kernels()[0]
    assert "InputError: kernels 'quantum' are not available here; available: " in run("quantum").stderr.splitlines()[-1]


def test_load(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.lrt"):
        lstm_rt.load(tmp_path / "none.lrt")
    with pytest.raises(OSError, match=tmp_path.name):
        lstm_rt.load(tmp_path)
    path = tmp_path / "m.lrt"
    for content, message in ((b"", "is empty"), (b"hello\n", r"\(6 bytes\)"), (b"x" * 5000, r"\(5000 bytes\)")):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=rf"m\.lrt: .*{message}"):
            lstm_rt.load(path)
    build(plain).save(path)
    assert lstm_rt.load(str(path), verify=True)(X).shape == (2, 6, 4)
    with pytest.raises(InputError, match="threads"):
        lstm_rt.load(path, threads=0)
    with pytest.raises(InputError, match="kernels"):
        lstm_rt.load(path, kernels="none")
    damaged = bytearray(path.read_bytes())
    damaged[-100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match=r"checksum"):
        lstm_rt.load(path, verify=True)


@pytest.mark.parametrize("copied", [False, True])
def test_load_takes_file_names(tmp_path: Path, copied: bool) -> None:
    build(plain).save(tmp_path / "m.lrt")
    blob = (tmp_path / "m.lrt").read_bytes()
    with open(tmp_path / "m.lrt", "rb") as file:
        for wrong in (blob, bytearray(blob), memoryview(blob), io.BytesIO(blob), file, 3, None, np.zeros(3), plain):
            with pytest.raises(TypeError, match=r"load takes a file name, got .*; for the bytes .* lstm_rt\.Model"):
                lstm_rt.load(wrong, copy=copied)
    assert lstm_rt.load(os.fsencode(tmp_path / "m.lrt"), copy=copied)(X).shape == (2, 6, 4)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_load_takes_regular_files(tmp_path: Path, copied: bool) -> None:
    """Not what may never end, or never begin."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match=rf"expected a regular file.*{path.name}"):
            lstm_rt.load(path, copy=copied)


def test_load_looks_at_the_beginning_first(tmp_path: Path) -> None:
    """However large a file is that is something else."""
    path = tmp_path / "large"
    for head, message in ((b"nothing like it", "magic number"), (b"\x89LRT\r\n\x1a\n\x09\0\0\0", "format version 9")):
        path.write_bytes(head)
        os.truncate(path, 1 << 36)
        for copied in (False, True):
            with pytest.raises(FormatError, match=rf"large: .*\(68719476736 bytes\): .*{message}"):
                lstm_rt.load(path, verify=True, copy=copied)


def test_load_looks_at_the_size_first(tmp_path: Path) -> None:
    """A good file with gigabytes behind it is refused by its header, which says how long it is."""
    path = tmp_path / "longer.lrt"
    build(plain).save(path)
    os.truncate(path, 1 << 36)
    for copied in (False, True):
        with pytest.raises(FormatError, match="its size is not the one in its header"):
            lstm_rt.load(path, copy=copied)


def test_load_copy(tmp_path: Path) -> None:
    """What has been read into memory stays, whatever becomes of the file."""
    path, model = tmp_path / "m.lrt", build(plain)
    model.save(path)
    loaded = lstm_rt.load(path, copy=True)
    with path.open("r+b") as f:
        f.write(bytes(path.stat().st_size))
    np.testing.assert_array_equal(loaded(X), model(X))
    os.truncate(path, 0)
    np.testing.assert_array_equal(loaded(X), model(X))
    assert loaded.info == model.info
    for content in (b"", b"hello\n", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"m\.lrt: "):
            lstm_rt.load(path, copy=True)


@pytest.mark.parametrize("copied", [False, True])
def test_saving_over_the_own_file(tmp_path: Path, copied: bool) -> None:
    """Files are replaced, never written in place, so that those who have them mapped keep what they have."""
    path = tmp_path / "m.lrt"
    build(plain).save(path)
    model, blob = lstm_rt.load(path, copy=copied), path.read_bytes()
    before = model(X)
    model.save(path)
    assert path.read_bytes() == blob
    build(two_layers).save(path)
    g = Graph()
    mixed(g)
    g.save(path)
    np.testing.assert_array_equal(model(X), before)
    model.save(path)
    assert path.read_bytes() == blob


def test_model_of_a_graph() -> None:
    g = Graph()
    plain(g)
    model = Model(g, threads=2, kernels="portable")
    np.testing.assert_array_equal(model(X), Model(dumps(g), kernels="portable")(X))
    assert (model.threads, model.kernels) == (2, "portable")
    with pytest.raises(GraphError, match="no input"):
        Model(Graph())


def test_model_of_something_else() -> None:
    for wrong in (3, None, "m.lrt", Path("m.lrt"), X[:, :, 0], Graph, [1, 2]):
        with pytest.raises(TypeError, match=r"Model takes the bytes of an \.lrt file or a Graph, got"):
            Model(wrong)
    for wrong in ("m.lrt", Path("m.lrt")):
        with pytest.raises(TypeError, match=r"lstm_rt\.load takes a file name"):
            Model(wrong)
    with pytest.raises(FormatError):
        Model(b"")


@pytest.mark.parametrize("name", ["m.lrt", "m.pt", "m.safetensors", "m.json", "m.keras", "m.h5", "m"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    """The same class everywhere, which is the one of open()."""
    from lstm_rt_tools import from_keras, from_torch

    readers = (lstm_rt.load, load_graph, check, from_torch, from_keras, lambda p: lstm_rt.load(p, copy=True))
    (tmp_path / "folder").mkdir()
    for read in readers:
        for path in (tmp_path / name, str(tmp_path / "nowhere" / name)):
            with pytest.raises(FileNotFoundError, match=name):
                read(path)
        with pytest.raises((IsADirectoryError, PermissionError, lstm_rt.ConvertError), match="folder"):
            read(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match=r"a\.toml"):
        from_torch({"w": X}, arch=tmp_path / "a.toml")


def test_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = build(plain), tmp_path / "m.lrt"
    with pytest.raises(FileNotFoundError, match=r"nowhere/m\.lrt"):
        model.save(tmp_path / "nowhere" / "m.lrt")
    path.write_bytes(b"before")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*m\.lrt"):
        model.save(path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["m.lrt"]
    assert path.read_bytes() == b"before"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        model.save(tmp_path / "folder")
    model.save(path)
    model.save(os.fsencode(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "m.lrt"]
    monkeypatch.chdir(tmp_path)
    model.save("n.lrt")
    write_atomically("x" * 250, b"long name")
    assert sorted(p.name[:5] for p in tmp_path.iterdir()) == ["folde", "m.lrt", "n.lrt", "xxxxx"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_save_into_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"m\.lrt"):
        build(plain).save(tmp_path / "m.lrt")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_saved_files_have_the_usual_permissions(tmp_path: Path) -> None:
    build(plain).save(tmp_path / "a.lrt")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a.lrt").stat().st_mode == (tmp_path / "b").stat().st_mode


# -- graphs ------------------------------------------------------------------------------------------
