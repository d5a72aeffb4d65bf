"""Files that are not valid models: each is refused, with the one error code that says why."""

from __future__ import annotations

import json
from pathlib import Path

import make_bad_blobs
import numpy as np
import pytest
from helpers.paths import TESTS

import lstm_rt
from lstm_rt import format as lrt_format
from lstm_rt.errors import FormatError, InputError
from lstm_rt.graph import Graph

BLOBS = TESTS / "blobs"
FILES = sorted(BLOBS.glob("*.lrt"))
OPENING = [p for p in FILES if not p.name.startswith("checksum__")]
DAMAGED = [p for p in FILES if p.name.startswith("checksum__")]

MESSAGES = {
    1: "shorter than the header of an .lrt file",
    2: "not an .lrt file: it does not begin with the magic number",
    3: f"this runtime reads versions 1 to {lrt_format.VERSION}",
    4: "truncated or padded: its size is not the one in its header",
    7: "a count in the header is zero where it must not be, or over its limit",
    8: "its tables do not fit in it, or a reserved field is not zero",
    9: "a tensor is outside the file, misaligned, or of a size that does not fit its shape",
    10: "a value has an unknown kind, or a size or time axis that does not fit its kind",
    11: "it uses an op that this runtime does not know",
    12: "a node reads a value that is not there yet, or is of the wrong kind or size",
    13: "a node writes a value out of order, or of the wrong kind or size",
    14: "an attribute of a node is out of range",
    15: "a weight of a node is missing, unexpected or of the wrong shape",
    16: "its lists of inputs and outputs are wrong",
    17: "a name lies outside its table of names",
    18: "its self-test record is wrong",
    21: "the rule of a time axis is out of range",
}


def code_of(path: Path) -> int:
    return make_bad_blobs.CODES[path.name.split("__")[0]]


def open_bytes(blob: bytes) -> lstm_rt.Model:
    return lstm_rt.Model(blob, threads=1)


def run_if_valid(blob: bytes) -> bool:
    """Opens and runs bytes that may be anything; whether they were a valid model."""
    try:
        model = open_bytes(blob)
    except FormatError:
        return False
    try:
        model(*[arbitrary_input(p) for p in model.inputs])
    except InputError:  # an id or a length that this model does not take
        pass
    return True


def arbitrary_input(port: lstm_rt.Port) -> np.ndarray:
    shape = [2 if n == "N" else 3 if isinstance(n, str) else n for n in port.shape]
    return np.ones(shape, port.dtype)


# -- the committed files ----------------------------------------------------------------------------


def test_committed_files_are_those_of_the_script() -> None:
    assert {p.stem: p.read_bytes() for p in FILES} == make_bad_blobs.all_files()


def test_every_code_has_files() -> None:
    assert {code_of(p) for p in FILES} == set(make_bad_blobs.CODES.values()) == {*MESSAGES, 19}


@pytest.mark.parametrize("name", list(make_bad_blobs.valid_files()))
def test_the_files_they_are_made_of_are_valid(name: str, tmp_path: Path) -> None:
    blob = make_bad_blobs.valid_files()[name]
    assert run_if_valid(blob)
    (tmp_path / "m.lrt").write_bytes(blob)
    lrt_format.check(tmp_path / "m.lrt")


@pytest.mark.parametrize("path", OPENING, ids=lambda p: p.stem)
def test_bytes_are_refused_with_their_code(path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        open_bytes(path.read_bytes())
    assert caught.value.code == code_of(path)
    assert MESSAGES[code_of(path)] in str(caught.value)


@pytest.mark.parametrize("path", [p for p in OPENING if p.stat().st_size], ids=lambda p: p.stem)
def test_load_refuses_and_names_the_file(path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        lstm_rt.load(path)
    assert caught.value.code == code_of(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("path", [p for p in OPENING if p.stat().st_size], ids=lambda p: p.stem)
def test_the_checks_of_files_refuse_them_too(path: Path) -> None:
    with pytest.raises(FormatError):
        lrt_format.check(path)
    with pytest.raises(FormatError):
        lrt_format.load_graph(path)


@pytest.mark.parametrize("path", DAMAGED, ids=lambda p: p.stem)
def test_damage_is_found_by_the_checksum_only(path: Path) -> None:
    assert run_if_valid(path.read_bytes())
    with pytest.raises(FormatError, match="checksum"):
        lrt_format.check(path)
    with pytest.raises(FormatError, match="checksum"):
        lstm_rt.load(path, verify=True)


# -- any damage at all ------------------------------------------------------------------------------

WHOLE = {name: make_bad_blobs.valid_files()[name] for name in ("words", "tested")}


@pytest.mark.parametrize("name", WHOLE)
def test_truncated_anywhere(name: str) -> None:
    blob = WHOLE[name]
    for n in range(len(blob)):
        with pytest.raises(FormatError) as caught:
            open_bytes(blob[:n])
        assert caught.value.code == (1 if n < 128 else 4)


@pytest.mark.parametrize("name", WHOLE)
def test_every_flipped_bit_is_refused_or_runs_and_fails_the_checksum(name: str) -> None:
    blob = bytearray(WHOLE[name])
    valid = 0
    for bit in range(8 * len(blob)):
        blob[bit // 8] ^= 1 << bit % 8
        flipped = bytes(blob)
        valid += run_if_valid(flipped)
        with pytest.raises(FormatError, match="checksum"):
            lrt_format.check_bytes(flipped)
        blob[bit // 8] ^= 1 << bit % 8
    assert valid > 0  # weights, names and metadata are free


@pytest.mark.parametrize("name", WHOLE)
def test_flipped_bits_never_crash_the_reader_of_graphs(name: str) -> None:
    """Whatever the core accepts, the Python reader reads or refuses."""
    blob = bytearray(WHOLE[name])
    for bit in range(0, 8 * len(blob), 3):
        blob[bit // 8] ^= 1 << bit % 8
        try:
            lrt_format.loads_graph(bytes(blob))
        except FormatError:
            pass
        blob[bit // 8] ^= 1 << bit % 8


# -- not a file of this kind at all -----------------------------------------------------------------


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.lrt"
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="the file is empty"):
        lstm_rt.load(path)
    with pytest.raises(FormatError):
        lrt_format.check(path)


def test_directory_and_missing_file(tmp_path: Path) -> None:
    for read in (lstm_rt.load, lrt_format.check, lrt_format.load_graph):
        with pytest.raises(IsADirectoryError):
            read(tmp_path)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.lrt")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x7fELF", b"\x89HDF\r\n\x1a\n", b"{}", b"\0" * 8])
def test_file_of_another_type(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.lrt"
    path.write_bytes(start.ljust(1000, b"x"))
    with pytest.raises(FormatError) as caught:
        lstm_rt.load(path)
    assert caught.value.code == 2


@pytest.mark.parametrize("n", [1, 63, 64, 4096])
def test_appended_bytes(n: int) -> None:
    with pytest.raises(FormatError) as caught:
        open_bytes(WHOLE["words"] + bytes(n))
    assert caught.value.code == 4


def test_metadata_nested_beyond_reason():
    """The core does not look into the metadata; the inspector must refuse it in its own words."""
    graph = Graph()
    graph.output(graph.activation(graph.input("x", "seq", 1), "relu"), "y")
    graph.meta = {"a": "x" * 200_000}
    blob = lrt_format.dumps(graph)
    text = json.dumps({**graph.meta, "parameters": [0]}, separators=(",", ":")).encode()
    assert blob.count(text) == 1
    with pytest.raises(FormatError, match="metadata is not JSON"):
        lrt_format.loads_graph(blob.replace(text, b"[" * len(text)))
