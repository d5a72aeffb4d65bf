"""Reads safetensors files: an 8-byte length, a JSON header, raw numbers."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget
from .json_text import load_json
from .tensors import FileTensor, Storage, contiguous

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_MAX_DIMS = 16
_TENSOR = 600  #: bytes of the objects of one tensor
_MAX_HEADER = 100_000_000  #: as in the reference implementation


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (at least 9 bytes) may be safetensors."""
    return len(head) >= 9 and head[8:9] == b"{" and head[6:8] == b"\0\0"


def check_layout(file: BinaryIO, what: str) -> None:
    """Compare what the header of a file tells with the file's size, before gigabytes are read for nothing.

    Raises:
        ConvertError: as :func:`read_safetensors`, as far as the header and the size tell.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = file.read(8)
    data = length + file.read(min(int.from_bytes(length, "little"), _MAX_HEADER))
    header, start = _header(data, size, what, Budget(size, what))
    header.pop("__metadata__", None)
    for name, entry in header.items():
        _described(name, entry, size - start, what)
    _check_layout(header, size - start, what)


def read_safetensors(data: bytes, what: str, budget: Budget | None = None) -> dict[str, FileTensor]:
    """Tensors by name; names that the metadata tells to be tied are there too.

    Args:
        data: the whole file.
        what: its name, for messages.
        budget: what reading it may cost; by default what its size allows.

    Raises:
        ConvertError: truncated, a damaged header, a tensor outside the file's data, or more asked for
            than the budget allows.
    """
    budget = budget or Budget(len(data), what)
    header, start = _header(data, len(data), what, budget)
    body = memoryview(data)[start:]
    metadata = header.pop("__metadata__", {})
    budget.memory(_TENSOR * len(header))
    out = {name: _tensor(name, entry, body, what, budget) for name, entry in header.items()}
    _check_layout(header, len(body), what)
    if not isinstance(metadata, dict):
        raise ConvertError(f"{what}: the safetensors metadata is not a table")
    for alias, kept in metadata.items():
        # Savers of tied weights keep one name and note `removed name -> kept name`.
        if isinstance(kept, str) and kept in out and alias not in out:
            out[alias] = out[kept]
    return out


def _header(data: bytes, file_size: int, what: str, budget: Budget) -> tuple[dict[str, Any], int]:
    """The header, and where the data begins, of a file of that size which begins with ``data``."""
    if file_size < 8:
        raise ConvertError(f"{what}: truncated: {file_size} bytes, a safetensors file has at least 8")
    size = int.from_bytes(data[:8], "little")
    if size > file_size - 8:
        raise ConvertError(f"{what}: truncated: the header needs {size} bytes, {file_size - 8} are left")
    if size > _MAX_HEADER:
        raise ConvertError(f"{what}: a safetensors header of {size:,} bytes, expected at most {_MAX_HEADER:,}")
    header = load_json(data[8 : 8 + size], f"{what}: the safetensors header", budget, _unique)
    if not isinstance(header, dict):
        raise ConvertError(f"{what}: the safetensors header is not a table")
    return header, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name occurs twice")
    return out


def _sizes(value: Any) -> tuple[int, ...] | None:
    ok = isinstance(value, list) and len(value) <= _MAX_DIMS and all(type(v) is int and v >= 0 for v in value)
    return tuple(value) if ok else None


def _described(name: str, entry: Any, size: int, what: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The dtype, shape and data_offsets of a tensor in ``size`` bytes of data."""
    who = f"{what}: tensor {shown(name)}"
    if not isinstance(entry, dict):
        raise ConvertError(f"{who} is not described by a table")
    kind = entry.get("dtype")
    if not isinstance(kind, str):
        raise ConvertError(f"{who} has no dtype, expected one such as F32")
    shape, offsets = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise ConvertError(
            f"{who} lacks a proper shape (at most {_MAX_DIMS} sizes) or data_offsets (where it begins and ends)"
        )
    begin, end = offsets
    if not begin <= end <= size:
        raise ConvertError(f"{who} spans bytes {begin} to {end} of {size}: truncated?")
    return kind, shape, offsets


def _tensor(name: str, entry: Any, body: memoryview, what: str, budget: Budget) -> FileTensor:
    who = f"{what}: tensor {shown(name)}"
    kind, shape, (begin, end) = _described(name, entry, len(body), what)
    # A type that we do not know may belong to something beside the weights: it stops who asks for it.
    dtype = _DTYPES.get(kind, shown(kind))
    storage = Storage(name, dtype, math.prod(shape), body[begin:end], budget=budget)
    if storage.nbytes not in (None, end - begin):
        raise ConvertError(f"{who} has {end - begin} bytes, expected {storage.nbytes} for {shape} {dtype}")
    return contiguous(storage, shape)


def _check_layout(header: dict[str, Any], size: int, what: str) -> None:
    """The format demands that tensors fill the data without gaps or overlaps."""
    at = 0
    for begin, end in sorted(tuple(e["data_offsets"]) for e in header.values()):
        if begin != at:
            raise ConvertError(f"{what}: the tensors overlap or leave a gap at byte {min(begin, at)}")
        at = end
    if at != size:
        raise ConvertError(f"{what}: {size} bytes of data, the tensors cover {at}")
