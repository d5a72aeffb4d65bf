"""Checkpoints of TensorFlow: numbers come out, whatever is damaged is named."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import tensor_bundles
from helpers.tensor_bundles import BFLOAT16, INT32, STRING, VARIANT, Stored, field, masked, varint, write
from hypothesis import given
from hypothesis import strategies as st
from lstm_rt_tools.weights import crc32c
from lstm_rt_tools.weights.budget import Budget
from lstm_rt_tools.weights.tensor_bundle import TensorBundle

from lstm_rt.errors import ConvertError

NUMBERS = np.arange(6, dtype="<f4").reshape(2, 3)
GOOD = {"layer/kernel": Stored(NUMBERS.tobytes(), (2, 3)), "layer/bias": Stored(np.int32(7).tobytes(), (), INT32)}


def opened(index: Path) -> TensorBundle:
    size = sum(f.stat().st_size for f in index.parent.iterdir())
    return TensorBundle(index, Budget(size, "the model"))


def test_known_checksums() -> None:
    """Of RFC 3720."""
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    assert crc32c.crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c.crc32c(bytes(range(32))) == 0x46DD794E


@given(st.integers(0, 2000), st.integers(0, 255))
def test_checksums_of_any_length(n: int, first: int) -> None:
    """Lanes and blocks that are so short that a few hundred bytes have several."""
    data = bytes((first + 7 * i * i) & 0xFF for i in range(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crc32c, "_LANES", 16)
        patch.setattr(crc32c, "_BLOCK", 500)
        assert crc32c.crc32c(data) == tensor_bundles.crc32c(data)


def test_numbers(tmp_path: Path) -> None:
    half = (NUMBERS.view("<u4") >> 16).astype("<u2")
    text = b"graph"
    length = bytes([len(text)]) + masked(struct.pack("<I", len(text)))
    crc = masked(struct.pack("<I", len(text)) + length[1:] + text)
    bundle = opened(write(tmp_path, GOOD | {
        "layer/half": Stored(half.tobytes(), (3, 2), BFLOAT16), "text": Stored(length + text, (), STRING, crc=crc),
    }))  # fmt: skip
    np.testing.assert_array_equal(bundle.array("layer/kernel"), NUMBERS)
    np.testing.assert_array_equal(bundle.array("layer/half"), NUMBERS.reshape(3, 2))
    assert bundle.array("layer/bias") == 7
    assert bundle.text("text") == text
    assert "layer/bias" in bundle
    assert "layer" not in bundle


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Stored(NUMBERS.tobytes(), (2, 4)), "has shape .* and 24 bytes"),
        (Stored(NUMBERS.tobytes(), (1 << 40, 1 << 40)), "has shape"),
        (Stored(NUMBERS.tobytes(), (1,) * 70 + (6,)), "has shape"),
        (Stored(NUMBERS.tobytes(), (1 << 50,), size=4 << 50), "far more memory"),
        (Stored(NUMBERS.tobytes(), (2, 3), offset=4), "end of variables.data-00000-of-00001: it is truncated"),
        (Stored(NUMBERS.tobytes(), (2, 3), offset=(1 << 64) - 8), "lies in file"),
        (Stored(NUMBERS.tobytes(), (2, 3), crc=b"\0\0\0\0"), "the checksum of layer/kernel is wrong"),
        (Stored(NUMBERS.tobytes(), (2, 3), VARIANT), "TensorFlow's type 21, expected numbers"),
        (Stored(NUMBERS.tobytes(), (2, 3), more=field(3, 1)), "lies in file 1 of 1"),
        (Stored(NUMBERS.tobytes(), (2, 3), more=field(7, b"")), "in slices"),
        (Stored(b"", (0, 5)), "expected numbers"),
    ],
)
def test_tensors_that_cannot_be(tensor: Stored, message: str, tmp_path: Path) -> None:
    bundle = opened(write(tmp_path, {"layer/kernel": tensor}))
    with pytest.raises(ConvertError, match=message):
        bundle.array("layer/kernel")


def test_what_is_not_there(tmp_path: Path) -> None:
    bundle = opened(write(tmp_path, GOOD))
    with pytest.raises(ConvertError, match="there is no tensor x"):
        bundle.array("x")
    with pytest.raises(ConvertError, match="layer/bias is no text"):
        bundle.text("layer/bias")
    (tmp_path / "variables.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError):
        bundle.array("layer/bias")


@pytest.mark.parametrize(
    ("header", "compressed", "message"),
    [
        (field(1, 1) + field(2, 1), 0, "byte order 1"),
        (field(1, 0), 0, "of 0 files of numbers"),
        (field(1, 1 << 40), 0, "files of numbers"),
        (field(1, 1), 1, "compressed"),
    ],
)
def test_indexes_that_are_not_read(header: bytes, compressed: int, message: str, tmp_path: Path) -> None:
    index = write(tmp_path, GOOD, header, compressed)
    with pytest.raises(ConvertError, match=message):
        opened(index)


def test_names_of_much_out_of_little(tmp_path: Path) -> None:
    """Each name repeats the long one before it."""
    long = b"x" * 20000
    entries = {long + f"{i:06}".encode(): b"" for i in range(3000)}
    (tmp_path / "variables.index").write_bytes(tensor_bundles.index(entries))
    with pytest.raises(ConvertError, match="its names would take far more memory"):
        opened(tmp_path / "variables.index")


def test_damaged_indexes(tmp_path: Path) -> None:
    index = write(tmp_path, GOOD)
    data = index.read_bytes()
    for n in (0, 10, 47, 48, len(data) // 2, len(data) - 1):
        index.write_bytes(data[:n])
        with pytest.raises(ConvertError, match="damaged one"):
            opened(index)
    rng = np.random.default_rng(5)
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            broken[at] ^= 1 << int(rng.integers(0, 8))
        index.write_bytes(bytes(broken))
        with contextlib.suppress(ConvertError):
            opened(index).array("layer/kernel")


def test_an_index_that_ends_in_a_number(tmp_path: Path) -> None:
    index = write(tmp_path, GOOD)
    data = bytearray(index.read_bytes())
    data[-48:-8] = b"\xff" * 40
    index.write_bytes(bytes(data))
    with pytest.raises(ConvertError, match="a number does not end"):
        opened(index)
    data[-48:-8] = (varint(0) + varint(8) + varint(1 << 50) + varint(100)).ljust(40, b"\0")
    index.write_bytes(bytes(data))
    with pytest.raises(ConvertError, match="a block lies beyond its end"):
        opened(index)


