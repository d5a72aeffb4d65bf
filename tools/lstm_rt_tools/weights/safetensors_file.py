"""Reads safetensors files by the library of that name, which checks them, and needs neither torch nor NumPy.

What is done here is what it does not do: say what reading costs before it is read, keep the order of the file, refuse
a name that is there twice, and tell the names that were left out of the file because their weight has another one.
"""

from __future__ import annotations

import importlib
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
_TENSOR = 600  #: bytes of the objects of one tensor
_MAX_HEADER = 100_000_000  #: as in the library
_METADATA = "__metadata__"


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (at least 9 bytes) may be safetensors."""
    return len(head) >= 9 and head[8:9] == b"{" and head[6:8] == b"\0\0"


def check_size(file: BinaryIO, what: str) -> None:
    """Compare what the header of a file tells with the file's size, before gigabytes are read for nothing.

    Raises:
        ConvertError: as :func:`read_safetensors`, as far as the header and the size tell.
    """
    _library()
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = file.read(8)
    head = length + file.read(min(int.from_bytes(length, "little"), _MAX_HEADER))
    header, start = _header(head, size, what, Budget(size, what))
    end = max((_end(entry) for entry in header.values()), default=0)
    if start + end != size:
        raise ConvertError(f"{what}: truncated or damaged: {size - start} bytes of data, the tensors cover {end}")


def _end(entry: Any) -> int:
    """Where a tensor ends in the data; 0 if that is not told, which the library refuses."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return offsets[-1] if isinstance(offsets, list) and offsets and type(offsets[-1]) is int else 0


def read_safetensors(data: bytes, what: str, budget: Budget) -> dict[str, FileTensor]:
    """Tensors by name, in the order of the file; names that the metadata tells to be tied come last.

    Args:
        data: the whole file.
        what: its name, for messages.
        budget: what reading it may cost.

    Raises:
        ConvertError: truncated, damaged, more is asked for than the budget allows, or the library is missing.
    """
    library = _library()
    header, _ = _header(data, len(data), what, budget)
    metadata = header.pop(_METADATA, None) or {}
    budget.memory(len(data) + _TENSOR * len(header), "the copies of its tensors")
    try:
        found = dict(library.deserialize(data))
    except library.SafetensorError as e:
        raise ConvertError(f"{what}: the safetensors file is damaged ({shown(str(e), 200)})") from None
    out = {name: _tensor(name, found[name], budget) for name in header}
    for alias, kept in metadata.items():
        # Savers of tied weights keep one name and note `removed name -> kept name`.
        if kept in out and alias not in out:
            out[alias] = out[kept]
    return out


def _library() -> Any:
    try:
        return importlib.import_module("safetensors")
    except ImportError as e:
        raise ConvertError("reading safetensors files needs safetensors: pip install 'lstm-rt[convert]'") from e


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


def _tensor(name: str, found: dict[str, Any], budget: Budget) -> FileTensor:
    # A type that we do not know may belong to something beside the weights: it stops who asks for it.
    dtype = _DTYPES.get(found["dtype"], shown(found["dtype"]))
    shape = tuple(found["shape"])
    return contiguous(Storage(name, dtype, math.prod(shape), found["data"], budget=budget), shape)
