"""Files in and out: what is never opened, and what a written file keeps."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from lstm_rt_tools import from_keras, from_torch
from lstm_rt_tools.arch.file import read_arch

import lstm_rt
from lstm_rt import FormatError
from lstm_rt import format as lrt_format
from lstm_rt.files import open_regular, read_regular, record_reads, write_atomically
from lstm_rt.text import shown

READERS = (
    lstm_rt.load,
    lrt_format.check,
    lrt_format.load_graph,
    from_torch,
    from_keras,
    read_arch,
    read_regular,
)
unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")


# -- reading ----------------------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_only_regular_files_are_read(read: object, kind: str, tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to waits for ever; /dev/zero has no end."""
    path = tmp_path / "pipe" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(OSError, match="regular file") as caught:
        read(path)  # type: ignore[operator]
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("read", READERS)
def test_missing_files_are_one_class(read: object, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")  # type: ignore[operator]


def sparse(path: Path, head: bytes, size: int = 10 << 30) -> Path:
    with path.open("wb") as f:
        f.write(head)
        f.truncate(size)
    return path


@pytest.mark.parametrize("read", [lstm_rt.load, lrt_format.check, lrt_format.load_graph])
@pytest.mark.parametrize("head", [b"", lrt_format.MAGIC, "whole"])
def test_a_large_file_is_refused_by_its_header(read: object, head: bytes | str, tmp_path: Path) -> None:
    """10 GB that are not read: reading them would take more memory and time than the test has."""
    if head == "whole":  # right in all but its size
        graph = lrt_format.Graph()
        graph.output(graph.activation(graph.input("x", "seq", 1), "relu"), "y")
        head = lrt_format.dumps(graph)
    assert isinstance(head, bytes)
    with pytest.raises(FormatError, match=str(10 << 30)):
        read(sparse(tmp_path / "large.lrt", head))  # type: ignore[operator]


@pytest.mark.parametrize(("read", "name"), [(from_torch, "m.pt"), (from_torch, "m.json"), (from_keras, "m.keras")])
def test_a_large_model_is_refused_by_its_magic(read: object, name: str, tmp_path: Path) -> None:
    with pytest.raises(lstm_rt.ConvertError, match=r"unknown format|not a Keras model"):
        read(sparse(tmp_path / name, b"no model"))  # type: ignore[operator]


def test_reads_are_recorded(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    with record_reads() as reads:
        for name in ("a", "link", "b", "a"):
            open_regular(tmp_path / name).close()
    assert [r.name for r in reads] == [str(tmp_path / "a"), str(tmp_path / "b")]
    open_regular(tmp_path / "a").close()
    assert len(reads) == 2


# -- writing ----------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@unix
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "m.lrt", tmp_path / "link"
    link.symlink_to(Path("there") / "m.lrt")
    for data in (b"new", b"again"):  # the first time the link leads to nothing
        write_atomically(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data
    assert os.listdir(tmp_path / "there") == ["m.lrt"]
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="circle"):
        write_atomically(tmp_path / "circle", b"")


@unix
def test_modes(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", b"")
        assert mode(tmp_path / "new") == 0o640
        for bits in (0o600, 0o664, 0o755):
            (tmp_path / "old").write_bytes(b"old")
            (tmp_path / "old").chmod(bits)
            write_atomically(tmp_path / "old", b"new")
            assert mode(tmp_path / "old") == bits
    finally:
        os.umask(old)
    assert (tmp_path / "old").read_bytes() == b"new"


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives files away")
def test_owners(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    write_atomically(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode(path)) == (12345, 23456, 0o640)


@unix
def test_what_cannot_be_kept_is_not_given_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the group cannot be kept, ours does not get its rights."""

    def chown(*_: object) -> None:
        raise PermissionError

    path = tmp_path / "theirs"
    path.write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(path, -1, 23456)
    path.chmod(0o664)
    monkeypatch.setattr(os, "chown", chown)
    write_atomically(path, b"new")
    assert mode(path) == (0o604 if os.geteuid() == 0 else 0o664)


@unix
def test_other_hard_links_keep_what_they_had(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "b").read_bytes() == b"old"


@unix
def test_special_files_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically("/dev/null", b"away")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"x" * 200_000)
    reader.join()
    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with socket.socket(socket.AF_UNIX) as s:
        monkeypatch.chdir(tmp_path)  # the address has room for short names only
        s.bind("socket")
        with pytest.raises(OSError, match="is a socket"):
            write_atomically("socket", b"")
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"")


@unix
def test_open_descriptors_can_be_named(tmp_path: Path) -> None:
    """A pipe behind /dev/fd/N has no folder to put a temporary file into."""
    out, into = os.pipe()
    write_atomically(f"/dev/fd/{into}", b"through")
    os.close(into)
    with os.fdopen(out, "rb") as f:
        assert f.read() == b"through"


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)  # 254 bytes
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def test_graphs_and_models_are_saved_through_links(tmp_path: Path) -> None:
    graph = lrt_format.Graph()
    graph.output(graph.activation(graph.input("x", "seq", 1), "relu"), "y")
    target, link = tmp_path / "m.lrt", tmp_path / "link.lrt"
    target.write_bytes(b"")
    target.chmod(0o600)
    link.symlink_to(target)
    graph.save(str(link))
    lstm_rt.load(link).save(link)
    assert link.is_symlink()
    assert mode(target) == 0o600
    assert lstm_rt.load(target)(np.ones((1, 1, 1), np.float32)).item() == 1


# -- text -------------------------------------------------------------------------------------------


def test_text_is_fit_to_be_shown() -> None:
    assert shown("encoder.lstm_ü") == "encoder.lstm_ü"
    assert shown("a\x1b[31m\nb\x9b\u202e\ud800") == "a\\x1b[31m\\nb\\x9b\\u202e\\ud800"
    assert shown("x" * 300, 60) == "x" * 35 + " ... " + "x" * 20
    assert len(shown("\ud800" * 1_000_000)) <= 80
    assert shown(3) == "3"


def test_a_hostile_name_does_not_reach_the_terminal_by_a_repr() -> None:
    graph = lrt_format.Graph()
    graph.output(graph.activation(graph.input("x\x1b]0;owned\x07" + "y" * 1000, "seq", 1), "relu"), "\n")
    text = repr(lstm_rt.Model(lrt_format.dumps(graph)))
    assert text.isprintable()
    assert len(text) < 250


def test_half_a_surrogate_pair_is_no_name() -> None:
    graph = lrt_format.Graph()
    with pytest.raises(lstm_rt.GraphError, match=r"'x\\ud800' is not valid Unicode"):
        graph.input("x\ud800", "seq", 1)
