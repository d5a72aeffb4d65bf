"""Checkpoints of TensorFlow, written as a test needs them; the checksums are made bit by bit."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FLOAT, INT32, BFLOAT16, STRING, VARIANT = 1, 3, 14, 7, 21


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(n: int) -> bytes:
    out = b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


@dataclass
class Stored:
    """A tensor; what is None follows from the others."""

    data: bytes
    shape: tuple[int, ...] = ()
    dtype: int = FLOAT
    size: int | None = None
    offset: int | None = None
    crc: bytes | None = None
    more: bytes = b""

    def entry(self, offset: int) -> bytes:
        shape = b"".join(field(2, field(1, n)) for n in self.shape)
        crc = masked(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        where = field(4, offset if self.offset is None else self.offset) + field(5, size)
        return field(1, self.dtype) + field(2, shape) + where + varint(6 << 3 | 5) + crc + self.more


def block(entries: Mapping[bytes, bytes]) -> bytes:
    """Each name shares with the one before it what they have in common."""
    body, before = b"", b""
    for name, value in entries.items():
        differ = (i for i, (a, b) in enumerate(zip(name, before, strict=False)) if a != b)
        shared = next(differ, min(len(name), len(before)))
        body += varint(shared) + varint(len(name) - shared) + varint(len(value)) + name[shared:] + value
        before = name
    return body + struct.pack("<II", 0, 1)


def sealed(content: bytes, compressed: int = 0) -> bytes:
    return content + bytes([compressed]) + masked(content + bytes([compressed]))


def index(entries: Mapping[bytes, bytes], header: bytes = field(1, 1), compressed: int = 0) -> bytes:
    """The file of names."""
    content = block({b"": header, **dict(sorted(entries.items()))})
    first = sealed(content, compressed)
    at_meta = varint(len(first)) + varint(8)
    rest = sealed(block({}))
    handles = block({b"~": varint(0) + varint(len(content))})
    at_list = varint(len(first) + len(rest)) + varint(len(handles))
    footer = (at_meta + at_list).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return first + rest + sealed(handles) + footer


def write(folder: Path, tensors: Mapping[str, Stored], header: bytes = field(1, 1), compressed: int = 0) -> Path:
    """A checkpoint; returns the path of its index."""
    entries, data = {}, b""
    for name, tensor in tensors.items():
        entries[name.encode()] = tensor.entry(len(data))
        data += tensor.data
    (folder / "variables.data-00000-of-00001").write_bytes(data)
    (folder / "variables.index").write_bytes(index(entries, header, compressed))
    return folder / "variables.index"
