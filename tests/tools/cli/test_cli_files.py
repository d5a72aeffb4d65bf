"""What the commands do to the user's files: no input is harmed, links, modes and devices stay."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import ARCH, DIGITS, fails, lstm_graph, saved
from helpers.programs import environment, lstm_rt
from lstm_rt_tools.cli import arrays_io
from lstm_rt_tools.cli.parser import main

from lstm_rt.format import loads_graph

unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkpoint, its architecture, a model and its input."""
    shutil.copy(DIGITS, tmp_path / "d.pt")
    shutil.copy(ARCH, tmp_path / "a.toml")
    saved(tmp_path / "m.lrt", lstm_graph())
    np.savetxt(tmp_path / "x.csv", np.ones((4, 3)), delimiter=",")
    np.save(tmp_path / "x.npy", np.ones((2, 4, 3), np.float32))
    np.save(tmp_path / "n.npy", np.array([4, 2]))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


# -- an output is no input --------------------------------------------------------------------------

CONVERT = ["convert", "d.pt", "--arch", "a.toml", "-o"]
RUN = ["run", "m.lrt", "x.npy", "--lengths", "n.npy", "-o"]


@pytest.mark.parametrize(
    ("command", "reads"),
    [(CONVERT, ["d.pt", "a.toml"]), (RUN, ["m.lrt", "x.npy", "n.npy"]), (["run", "m.lrt", "x.csv", "-o"], ["x.csv"])],
)
def test_an_output_is_never_an_input(
    command: list[str],
    reads: list[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    for read in reads:
        os.symlink(read, "link")
        os.link(read, "hard")
        (folder / "sub").mkdir()
        spellings = [read, f"./{read}", f"sub/../{read}", str(folder / read), "link", "hard"]
        if Path(read.upper()).exists():  # a file system that does not tell cases apart
            spellings.append(read.upper())
        for name in spellings:
            line = fails(capsys, *command, name, *(["--format", "npy"] if command[0] == "run" else []))
            assert "is an input of this command" in line
        os.unlink("link")
        os.unlink("hard")
        (folder / "sub").rmdir()
    assert contents(folder) == before


def test_the_model_behind_a_link_is_no_output_either(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is named by a link, as in the caches of model hubs."""
    monkeypatch.chdir(folder)
    os.symlink("d.pt", "current.pt")
    assert "(current.pt)" in fails(capsys, "convert", "current.pt", "--arch", "a.toml", "-o", "d.pt")


def test_files_that_only_a_reader_knows_are_no_outputs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model in several files names but one of them on the command line."""
    from lstm_rt.files import open_regular

    def read_source(*_: object) -> object:
        open_regular(folder / "part.bin").close()
        return lstm_graph()

    (folder / "part.bin").write_bytes(b"weights")
    monkeypatch.setattr("lstm_rt_tools.readers.read", read_source)
    assert "is an input" in fails(capsys, *CONVERT[:2], "-o", folder / "part.bin")
    assert (folder / "part.bin").read_bytes() == b"weights"
    assert main(["convert", "d.pt", "-o", str(folder / "other.lrt")]) == 0
    assert f"read: {folder / 'part.bin'}\n" in capsys.readouterr().out


# -- links, modes, devices --------------------------------------------------------------------------


@unix
def test_links_and_modes_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("there").mkdir()
    Path("there/y.npy").write_bytes(b"old")
    os.chmod("there/y.npy", 0o640)
    os.symlink("there/y.npy", "y.npy")
    os.symlink("there/d.lrt", "d.lrt")  # leads to nothing yet
    assert main([*RUN, "y.npy"]) == 0
    assert main([*CONVERT, "d.lrt"]) == 0
    assert os.path.islink("y.npy")
    assert os.path.islink("d.lrt")
    assert stat.S_IMODE(os.stat("there/y.npy").st_mode) == 0o640
    assert sorted(os.listdir("there")) == ["d.lrt", "y.npy"]
    assert np.load("there/y.npy").shape == (2, 4, 5)


@unix
@pytest.mark.parametrize("command", [CONVERT, RUN])
def test_devices_stay_devices(command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    null = folder / "null"
    null.symlink_to("/dev/null")
    form = ["--format", "npy"] if command is RUN else []
    for name in ("/dev/null", "null"):
        assert main([*command, name, *form]) == 0
        assert null.is_symlink()
        assert stat.S_ISCHR(os.stat(null).st_mode)


@unix
def test_a_pipe_gets_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    assert main([*CONVERT, "pipe"]) == 0
    reader.join()
    assert loads_graph(read[0]).meta["source"]["file"] == "d.pt"
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


@unix
def test_a_pipe_that_nobody_reads_is_waited_for_in_words(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    program = [sys.executable, "-m", "lstm_rt_tools", "run", "m.lrt", "x.npy", "--format", "npy", "-o", "pipe"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(program, cwd=folder, env=environment(), **pipes) as run:
        too_long = threading.Timer(60, run.kill)
        too_long.start()
        try:
            assert run.stderr is not None
            assert run.stderr.readline() == b"lstm-rt: note: waiting for somebody to read from pipe\n"
            assert np.load(io.BytesIO((folder / "pipe").read_bytes())).shape == (2, 4, 5)
            assert run.wait(60) == 0
            assert run.stderr.read() == b""
        finally:
            too_long.cancel()
            run.kill()


@pytest.mark.parametrize("name", ["new/", "new/.", "new/..", "here/"])
@pytest.mark.parametrize("command", [CONVERT, RUN])
def test_a_folder_is_no_output(
    command: list[str],
    name: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    os.mkdir("here")
    before = contents(folder)
    assert "folder" in fails(capsys, *command, name, *(["--format", "npy"] if command is RUN else []))
    assert contents(folder) == before


@pytest.mark.parametrize(
    "command", [[*CONVERT, ""], [*RUN, ""], ["convert", ""], ["info", ""], ["run", "m.lrt", "", "-o", "y.npy"]]
)
def test_an_empty_name_is_called_so(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "the name of the file is empty" in fails(capsys, *command)


@unix
def test_read_only_files_are_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    (folder / "d.lrt").write_bytes(b"mine")
    (folder / "d.lrt").chmod(0o444)
    assert "Permission denied" in fails(
        capsys, "convert", folder / "d.pt", "--arch", folder / "a.toml", "-o", folder / "d.lrt"
    )


@unix
@pytest.mark.parametrize(
    "command",
    [
        ["convert", "PIPE", "-o", "out.lrt"],
        ["convert", "PIPE", "--from", "torch", "-o", "out.lrt"],
        ["convert", "PIPE", "--from", "keras", "-o", "out.lrt"],
        ["convert", "d.pt", "--arch", "PIPE", "-o", "out.lrt"],
        ["info", "PIPE"],
        ["verify", "PIPE"],
        ["verify", "m.lrt", "--against", "PIPE"],
        ["verify", "m.lrt", "--against", "PIPE", "--from", "keras"],
        ["verify", "m.lrt", "--against", "d.pt", "--arch", "PIPE"],
        ["verify", "m.lrt", "--inputs", "PIPE.npy", "--expect", "x.npy"],
        ["bench", "PIPE"],
        ["run", "PIPE", "x.npy", "-o", "y.npy"],
        ["run", "m.lrt", "PIPE.npy", "-o", "y.npy"],
        ["run", "m.lrt", "PIPE.npz", "-o", "y.npy"],
        ["run", "m.lrt", "PIPE.csv", "-o", "y.npy"],
        ["run", "m.lrt", "x.npy", "--lengths", "PIPE.npy", "-o", "y.npy"],
    ],
)
def test_pipes_and_devices_are_not_waited_for(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for suffix in ("", ".npy", ".npz", ".csv"):
        os.mkfifo(f"pipe{suffix}")
        os.symlink("/dev/zero", f"zero{suffix}")
    for name in ("pipe", "zero"):
        assert "regular file" in fails(capsys, *(a.replace("PIPE", name) for a in command))


# -- standard output --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_models_and_arrays_go_to_standard_output(name: str, folder: Path) -> None:
    if name != "-" and not os.path.exists(name):
        pytest.skip("no /dev/stdout")
    for target in ("pipe", "file"):
        out = (folder / "out").open("w+b") if target == "file" else None
        results = []
        for command in ([*CONVERT, name], [*RUN, name, "--format", "npz"], ["run", "m.lrt", "x.csv", "-o", name]):
            done = lstm_rt(*command, cwd=folder, stdout=out or subprocess.PIPE, text=False, check=True)
            data = done.stdout
            if out is not None:
                data = (folder / "out").read_bytes()
                out.seek(0)
                out.truncate()
            results.append((data, done.stderr.decode()))
        if out is not None:
            out.close()
        assert loads_graph(results[0][0]).meta["source"]["file"] == "d.pt"
        assert "standard output: " in results[0][1]
        with np.load(io.BytesIO(results[1][0])) as archive:
            assert archive["y"].shape == (2, 4, 5)
        (folder / "y.csv").write_bytes(results[2][0])
        assert arrays_io.read_csv(folder / "y.csv").shape == (4, 5)


def test_what_has_no_table_says_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fails(capsys, "run", folder / "m.lrt", folder / "x.npy", "-o", "-")
    assert "no table" in line
    assert "--format npy" in line


@unix
def test_a_terminal_gets_no_model(folder: Path) -> None:
    import pty

    main_end, terminal = pty.openpty()
    try:
        done = lstm_rt(*CONVERT, "-", cwd=folder, stdout=terminal)
    finally:
        os.close(terminal)
    assert done.returncode == 2
    assert "standard output is a terminal" in done.stderr
    os.close(main_end)


def test_standard_output_appended_to_an_input(folder: Path) -> None:
    before = (folder / "d.pt").read_bytes()
    with (folder / "d.pt").open("ab") as out:
        done = lstm_rt(*CONVERT, "-", cwd=folder, stdout=out)
    assert done.returncode == 2
    assert "is an input of this command" in done.stderr
    assert (folder / "d.pt").read_bytes() == before


# -- the name of the output -------------------------------------------------------------------------


def test_convert_names_its_output_after_the_source(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the current folder, like a compiler; another file of that name is not overwritten."""
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    command = ["convert", "../d.pt", "--arch", "../a.toml"]
    assert main(command) == 0
    assert os.listdir() == ["d.lrt"]
    first = Path("d.lrt").read_bytes()
    capsys.readouterr()
    assert main(command) == 0  # the same again
    text = capsys.readouterr().out
    assert "as it was" in text
    assert "read: ../d.pt, ../a.toml\n" in text
    Path("d.lrt").write_bytes(b"mine")
    line = fails(capsys, *command)
    assert "d.lrt: exists and is another file" in line
    assert "-o d.lrt" in line
    assert Path("d.lrt").read_bytes() == b"mine"
    assert main([*command, "-o", "d.lrt"]) == 0
    assert Path("d.lrt").read_bytes() == first


@pytest.mark.parametrize(
    ("source", "output"),
    [("m.pt", "m.lrt"), ("a/b/m.v1.keras", "m.v1.lrt"), ("epoch=3.25", "epoch=3.25.lrt"), ("M.H5", "M.lrt")],
)
def test_names(source: str, output: str) -> None:
    from lstm_rt_tools.cli.convert import _default_output

    assert _default_output(Path(source)) == Path(output)


def test_convert_says_what_it_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main([*CONVERT, "o.lrt"]) == 0
    assert "read: d.pt, a.toml\n" in capsys.readouterr().out
