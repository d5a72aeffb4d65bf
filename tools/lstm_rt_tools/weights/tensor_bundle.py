"""TensorFlow's checkpoints: an index, which is a table of names, and files of numbers beside it.

``variables.index`` is a table in LevelDB's format, and not compressed: blocks of sorted names, each with what it has
in common with the one before it left out. ``variables.data-00000-of-00001`` has the numbers as they are in memory.
"""

# ruff: noqa: RUF009 - what describes a field is called where the field stands
from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular, read_regular

from ..names import shown
from .budget import Budget
from .crc32c import crc32c, masked
from .mapped import feed
from .protobuf import Reader, many, one, varint
from .tensors import from_bfloat16

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5  #: of a block: how it is compressed, and a checksum
_NAME = 300  #: bytes that the record of a tensor takes, beside its name
#: TensorFlow's numbers of types, of those that NumPy has.
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2",
           22: "<u4", 23: "<u8"}  # fmt: skip
_STRING, _BFLOAT16 = 7, 14
_MOST_AXES = 32


@dataclass(slots=True)
class _Dim:
    size: int = one(1, "int", 0)


@dataclass(slots=True)
class _Shape:
    dim: list[_Dim] = many(2, "message")


@dataclass(slots=True)
class _Header:
    num_shards: int = one(1, "int", 0)
    endianness: int = one(2, "int", 0)


@dataclass(slots=True)
class _Entry:
    dtype: int = one(1, "int", 0)
    shape: _Shape | None = one(2, "message")
    shard_id: int = one(3, "int", 0)
    offset: int = one(4, "int", 0)
    size: int = one(5, "int", 0)
    crc: int = one(6, "fixed32", 0)
    slices: list[memoryview] = many(7, "bytes")


_KINDS: dict[tuple[str, str], type] = {("_Entry", "shape"): _Shape, ("_Shape", "dim"): _Dim}


class TensorBundle:
    """The tensors of a checkpoint, by their names; numbers are read when they are asked for.

    Args:
        index: the path of the file of names, which ends in ``.index``.
        budget: of the checkpoint.

    Raises:
        ConvertError: the index is damaged, or of another kind.
        OSError: a file is missing or cannot be read.
    """

    def __init__(self, index: Path, budget: Budget) -> None:
        self._budget = budget
        self._stem = index.with_suffix("")
        data = read_regular(index)
        self._digest = hashlib.sha256(data)
        self._what = f"{index.parent.name}/{index.name}"
        messages = Reader(budget, "index of a TensorFlow checkpoint", _KINDS)
        entries = dict(self._table(memoryview(data)))
        header = messages.message(_Header, entries.pop(b"", memoryview(b"")))
        if header.endianness or not 1 <= header.num_shards <= 1 << 16:
            raise self._damaged(f"it is of {header.num_shards} files of numbers, byte order {header.endianness}")
        self._shards = header.num_shards
        self._entries = {
            name.decode("utf-8", "replace"): messages.message(_Entry, entry) for name, entry in entries.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def array(self, name: str) -> NDArray[Any]:
        """The numbers of a tensor.

        Raises:
            ConvertError: there is no such tensor, it is not of numbers, or the file has others than its checksum is of.
        """
        entry = self._entry(name)
        dtype = np.dtype("<u2" if entry.dtype == _BFLOAT16 else _DTYPES.get(entry.dtype, "V0"))
        shape = tuple(d.size for d in entry.shape.dim) if entry.shape else ()
        if not dtype.itemsize:
            raise ConvertError(f"{self._what}: {shown(name)} is of TensorFlow's type {entry.dtype}, expected numbers")
        if len(shape) > _MOST_AXES or any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != entry.size:
            raise self._damaged(f"{shown(name)} has shape {shape!s:.60} and {entry.size} bytes")
        self._budget.array(entry.size, f"the weight {shown(name)}")
        data = self._bytes(entry, name)
        self._check(data, entry.crc, shown(name))
        found = np.frombuffer(data, dtype)
        if entry.dtype == _BFLOAT16:
            found = from_bfloat16(found)
        if not found.size:
            raise ConvertError(f"{self._what}: {shown(name)} has shape {shape!s:.60}, expected numbers")
        return found.reshape(shape)

    def text(self, name: str) -> bytes:
        """The bytes of a tensor that is a single text; errors as of :meth:`array`."""
        entry = self._entry(name)
        if entry.dtype != _STRING or (entry.shape and entry.shape.dim):
            raise ConvertError(f"{self._what}: {shown(name)} is no text")
        self._budget.memory(entry.size, shown(name))
        data = self._bytes(entry, name)
        size, at = varint(data, 0)
        if size is None or at + 4 + size != len(data):  # 4: the checksum of the lengths
            raise self._damaged(f"the text {shown(name)} does not end")
        lengths = size.to_bytes(4, "little") + data[at : at + 4]
        self._check(lengths + data[at + 4 :], entry.crc, shown(name))
        return data[at + 4 :]

    def digest(self) -> str:
        """A hash of the index and of all files of numbers."""
        for i in range(self._shards):
            feed(self._digest, self._shard_path(i))
        return self._digest.hexdigest()

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise ConvertError(f"{self._what}: there is no tensor {shown(name)}")
        entry = self._entries[name]
        if entry.slices:
            raise ConvertError(f"{self._what}: {shown(name)} is there in slices, which are not read")
        if not 0 <= entry.shard_id < self._shards or entry.offset < 0 or entry.size < 0:
            raise self._damaged(f"{shown(name)} lies in file {entry.shard_id} of {self._shards}")
        return entry

    def _shard(self, i: int) -> BinaryIO:
        return open_regular(self._shard_path(i))

    def _shard_path(self, i: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}.data-{i:05d}-of-{self._shards:05d}")

    def _bytes(self, entry: _Entry, name: str) -> bytes:
        where = self._shard_path(entry.shard_id).name
        with self._shard(entry.shard_id) as file:
            if entry.offset + entry.size > os.fstat(file.fileno()).st_size:
                raise self._damaged(f"{shown(name)} reaches beyond the end of {where}: it is truncated")
            file.seek(entry.offset)
            return file.read(entry.size)

    def _check(self, data: bytes | memoryview, crc: int, what: str) -> None:
        self._budget.use(len(data))
        if masked(crc32c(data)) != crc:
            raise self._damaged(f"the checksum of {what} is wrong")

    # -- the table ------------------------------------------------------------------------------

    def _table(self, data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """The entries of a table, through the block that lists the others."""
        footer = data[-_FOOTER:]
        if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
            raise self._damaged("it has no end of a table, the file may be truncated")
        at = 0
        for _ in range(2):  # where the block of statistics is; then the list of blocks
            offset, at = self._number(footer, at)
            size, at = self._number(footer, at)
        for _, handle in self._block(data, offset, size):
            start, at = self._number(handle, 0)
            length, _ = self._number(handle, at)
            yield from self._block(data, start, length)

    def _block(self, data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
        if offset + size + _TRAILER > len(data) or size < 4:
            raise self._damaged("a block lies beyond its end, the file may be truncated")
        if data[offset + size]:
            raise self._damaged("it is compressed, which TensorFlow's are not")
        block = data[offset : offset + size]
        stored = struct.unpack("<I", data[offset + size + 1 : offset + size + _TRAILER])[0]
        self._check(data[offset : offset + size + 1], stored, "a block")
        end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
        at, key = 0, b""
        while at < end:
            shared, at = self._number(block, at)
            own, at = self._number(block, at)
            length, at = self._number(block, at)
            if shared > len(key) or at + own + length > end:
                raise self._damaged("a name reaches beyond its block")
            self._budget.memory(_NAME + 4 * (shared + own), "its names")
            self._budget.steps(10)
            key = key[:shared] + bytes(block[at : at + own])
            yield key, block[at + own : at + own + length]
            at += own + length

    def _number(self, data: memoryview, at: int) -> tuple[int, int]:
        value, at = varint(data, at)
        if value is None:
            raise self._damaged("a number does not end")
        return value, at

    def _damaged(self, why: str) -> ConvertError:
        return ConvertError(f"{self._what}: no index of a TensorFlow checkpoint, or a damaged one: {why}")
