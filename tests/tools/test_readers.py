"""The table of readers: every row recognises its files, reads them, and says what it cannot."""

from __future__ import annotations

import inspect
import json
import struct
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest
from helpers.command_line import ARCH, DIGITS, SUNSPOTS, fails, lstm_graph, saved
from lstm_rt_tools import readers
from lstm_rt_tools.cli.parser import main
from lstm_rt_tools.row import Options, Row

from lstm_rt.errors import ConvertError

LENGTH = struct.pack("<Q", 2)
#: What files of each row begin with, whatever they are called.
BYTES = {
    "Keras": [b"\x89HDF\r\n\x1a\n", b' {"class_name": "Sequential", "config": {'],
    "PyTorch": [b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."],
    "safetensors": [LENGTH + b"{}", struct.pack("<Q", 1 << 40) + b'{"a":'],
    "ONNX": [b"\x08\x08\x12\x07pytorch", b"\x08\x04:\x10"],
    "pickle": [b"\x80\x02}q\0.", b"\x80\x04\x95\x01\0\0\0\0\0\0\0}."],
    "RTNeural": [b'{"in_shape": [null, null, 1], "layers": [', b'{"layers": [{"type": "lstm", "weights": ['],
    "Neural Amp Modeler": [b'{"version": "0.5.4", "metadata": {}, "architecture": "LSTM", "config": {'],
    "ICU word segmenter": [b'{"model": "Lao_codepoints_model4", "dic": {"a": 0}, "mat1": {"v": 1, "dim": ['],
    "GuitarML": [b'{"model_data": {"unit_type": "LSTM"}', b'{\n "state_dict": {'],
}
ENTRIES = {
    "Keras": ["config.json"],
    "PyTorch": ["m/data.pkl", "policy.pth", "m/archive_format"],
    "NumPy": ["lstm.weight_ih_l0.npy"],
}


@pytest.mark.parametrize("row", readers.READERS, ids=lambda row: row.name)
def test_a_row_is_complete(row: Row) -> None:
    module = row.module()
    assert list(inspect.signature(module.read).parameters) == ["path", "options"]
    assert list(inspect.signature(module.rerun).parameters) == ["path", "graph", "options"]
    assert row.options <= {f.name for f in fields(Options)}
    assert all(s.startswith(".") and s == s.lower() for s in row.suffixes)


def test_no_two_rows_are_named_alike() -> None:
    rows = readers.READERS
    assert len({row.name for row in rows}) == len(rows)
    suffixes = [s for row in rows for s in row.suffixes]
    assert len(set(suffixes)) == len(suffixes)


#: What are folders, not files.
FOLDERS = ("TensorFlow",)


def test_folders_are_told_apart(tmp_path: Path) -> None:
    """Keras 2 describes its models in their SavedModels, others hold TensorFlow's graph alone."""
    path = tmp_path / "saved_model.pb"
    for content, name in ((b"", "TensorFlow"), (b"\x08_tf_keras_sequential", "Keras")):
        path.write_bytes(content)
        for given in (path, tmp_path):
            assert readers.find(given).name == name
            assert readers.recognised(given) is readers.find(given)
            assert readers.find(given, "tensorflow").name == "TensorFlow"
            assert readers.find(given, "keras").name == "Keras"


@pytest.mark.parametrize("name", [row.name for row in readers.READERS if row.name not in FOLDERS])
def test_content_tells_whatever_the_name(name: str, tmp_path: Path) -> None:
    """One row knows it, and none of the others: of a name that says another kind, too."""
    for suffix in [s for row in readers.READERS for s in row.suffixes] + [".lrt", ".onnx", ""]:
        path = tmp_path / f"m{suffix}"
        assert BYTES.get(name) or ENTRIES.get(name)
        for content in BYTES.get(name, []):
            path.write_bytes(content)
            assert readers.find(path).name == name
            assert readers.recognised(path) is readers.find(path)
        for entry in ENTRIES.get(name, []):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(entry, "x")
            assert readers.find(path).name == name


def test_names_count_where_content_does_not_tell(tmp_path: Path) -> None:
    for row in readers.READERS:
        for suffix in row.suffixes:
            path = tmp_path / f"m{suffix.upper()}"
            path.write_bytes(b"nothing known")
            assert readers.find(path) is row
            assert readers.recognised(path) is None


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"\x89LRT\r\n\x1a\n", "m.pt", "a converted model already"),
        (b"\x1c\0\0\0TFL3", "m.keras", "a TensorFlow Lite file"),
        (b"\x08\x01\x12\x07", "graph.pb", "a frozen graph of TensorFlow's"),
        (b"?", "m.tflite", "a TensorFlow Lite file"),
        (b"\x1f\x8b\x08\0", "m.onnx", "a compressed file, to be unpacked first,"),
        (b"?", "m.tar.gz", "a compressed file, to be unpacked first,"),
        (b"m.onnx".ljust(257, b"\0") + b"ustar\0", "m", "a tar archive, to be unpacked first,"),
        (b"", "m.pt", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "m.onnx", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<title>404</title>", "m.h5", "a page of HTML, in place of the file"),
        (b"?", "m", "a file of unknown type"),
    ],
)
def test_kinds_that_are_not_read(content: bytes, name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConvertError, match=f"{what}.* cannot be converted; known are Keras") as error:
        readers.find(tmp_path / name)
    for row in readers.READERS:
        assert f"{row.name} ({', '.join(row.suffixes)})".removesuffix(" ()") in str(error.value)
    assert "--from keras or --from torch" in str(error.value)
    for framework in readers.FRAMEWORKS:  # the user knows better
        assert readers.find(tmp_path / name, framework).framework == framework


def test_a_framework_keeps_to_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(BYTES["GuitarML"][0])
    assert readers.find(path, "torch").name == "GuitarML"
    assert readers.find(path, "keras").name == "Keras"


def test_an_option_that_a_row_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("toy", "toys", (".toy",), lambda seen: seen.head.startswith(b"TOY"), readers.READERS[0].module)
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, row))
    (tmp_path / "m").write_bytes(b"TOY")
    with pytest.raises(ConvertError, match="m: toy files take no --arch"):
        readers.read(tmp_path / "m", Options(arch=ARCH))
    with pytest.raises(ConvertError, match="m: toy files take no --arch"):
        readers.rerun(tmp_path / "m", lstm_graph(), Options(arch=ARCH))


@pytest.mark.parametrize("verb", [["verify"], ["bench"], ["run", "x.npy", "-o", "y.npy"]])
def test_a_source_where_a_model_is_expected(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for source, kind in ((DIGITS, "PyTorch"), (SUNSPOTS, "Keras")):
        line = fails(capsys, verb[0], source, *verb[1:])
        assert f"this is a {kind} file: lstm-rt convert {source} makes an .lrt file of it" in line
    line = fails(capsys, verb[0], ARCH, *verb[1:])
    assert "convert" not in line


def test_a_damaged_model_is_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(saved(tmp_path / "m.lrt", lstm_graph()))
    path.write_bytes(path.read_bytes()[:100])
    assert "convert" not in fails(capsys, "info", path)
    broken = tmp_path / "b.pt"
    broken.write_bytes(b"PK\x03\x04 broken")
    assert "convert" not in fails(capsys, "info", broken)


def test_json_of_no_kind_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"some": "thing"}))
    assert main(["convert", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.lrt")]) == 2
    assert "a.json: no weights found: it holds no arrays" in capsys.readouterr().err
