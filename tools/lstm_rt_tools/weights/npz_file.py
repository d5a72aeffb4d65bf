"""Reads ``.npz`` archives of arrays that are named as in a state dict. Nothing in them is unpickled."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget
from .tensors import ITEM_SIZE, FileTensor, Storage, contiguous, unread
from .zip_archive import ZipArchive

_NPY = ".npy"
_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u1": "uint8", "b1": "bool",
}  # fmt: skip
_MAGIC = b"\x93NUMPY"
_LENGTH = {1: 2, 2: 4, 3: 4}  #: bytes of the header's length, by the version of the format
_MOST_HEADER = 10_000  #: bytes; NumPy reads no longer ones either
#: The header of an array of one type.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=])([a-zA-Z])(\d{0,9})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}(?:, ?|(?=\)))){0,64})\),? ?\}\s*"
)
_ENTRY = 2000  #: bytes that an array takes beside its numbers
_ENTRY_STEPS = 30


def is_npz(entries: Sequence[str]) -> bool:
    """Whether a zip archive with these entries is one that ``numpy.savez`` writes."""
    return bool(entries) and all(name.endswith(_NPY) for name in entries)


def read_npz(archive: ZipArchive, what: str, budget: Budget) -> dict[str, FileTensor]:
    """The arrays by name. Those of other types than numbers stop who asks for them, and nobody else.

    Raises:
        ConvertError: damaged, or more is asked for than the budget allows.
    """
    return {name.removesuffix(_NPY): _array(archive, name, what, budget) for name in archive.names}


def _array(archive: ZipArchive, name: str, what: str, budget: Budget) -> FileTensor:
    budget.memory(_ENTRY)
    budget.steps(_ENTRY_STEPS)
    data = archive.read(name)
    header, numbers = _cut(data, f"{what}: {shown(name)}")
    found = _HEADER.fullmatch(header)
    if found is None:
        return unread("another than of numbers")
    order, kind, size, fortran, dims = found.groups()
    shape = tuple(int(n) for n in dims.split(b",") if n.strip())
    dtype = _DTYPES.get((kind + size).decode())
    if dtype is None:
        return unread(f"numpy {(kind + size).decode()}", shape)
    if len(numbers) != math.prod(shape) * ITEM_SIZE[dtype]:
        raise ConvertError(f"{what}: {shown(name)} has {len(numbers)} bytes of numbers, its shape {shape} needs others")
    storage = Storage(name, dtype, math.prod(shape), numbers, order == b">", budget)
    if fortran == b"False":
        return contiguous(storage, shape)
    return FileTensor(storage, 0, shape, contiguous(storage, shape[::-1]).stride[::-1])


def _cut(data: memoryview, what: str) -> tuple[bytes, memoryview]:
    """The header and the numbers of an array."""
    version = data[6] if len(data) > 7 and data[:6] == _MAGIC else 0
    start = 8 + _LENGTH.get(version, 0)
    length = int.from_bytes(data[8:start], "little")
    if version not in _LENGTH or length > min(len(data) - start, _MOST_HEADER):
        raise ConvertError(f"{what} is no array as NumPy writes it")
    return bytes(data[start : start + length]), data[start + length :]
