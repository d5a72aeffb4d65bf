"""Reads safetensors files: an 8-byte length, a JSON header, raw numbers."""

from __future__ import annotations

import json
import math
from typing import Any

from lstm_rt.errors import ConvertError

from .tensors import ITEM_SIZE, FileTensor, Storage, contiguous

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


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (at least 9 bytes) may be safetensors."""
    return len(head) >= 9 and head[8:9] == b"{" and head[6:8] == b"\0\0"


def read_safetensors(data: bytes, what: str) -> dict[str, FileTensor]:
    """Tensors by name; names that the metadata tells to be tied are there too.

    Raises:
        ConvertError: truncated, a damaged header, or a tensor outside the file's data.
    """
    header, start = _header(data, what)
    body = memoryview(data)[start:]
    metadata = header.pop("__metadata__", {})
    out = {name: _tensor(name, entry, body, what) for name, entry in header.items()}
    _check_layout(header, len(body), what)
    if not isinstance(metadata, dict):
        raise ConvertError(f"{what}: the safetensors metadata is not a table")
    for alias, kept in metadata.items():
        # Savers of tied weights keep one name and note `removed name -> kept name`.
        if isinstance(kept, str) and kept in out and alias not in out:
            out[alias] = out[kept]
    return out


def _header(data: bytes, what: str) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        raise ConvertError(f"{what}: truncated: {len(data)} bytes, a safetensors file has at least 8")
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise ConvertError(f"{what}: truncated: the header needs {size} bytes, {len(data) - 8} are left")
    try:
        header = json.loads(data[8 : 8 + size].decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise ConvertError(f"{what}: the safetensors header is damaged ({e})") from None
    if not isinstance(header, dict):
        raise ConvertError(f"{what}: the safetensors header is not a table")
    return header, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name occurs twice")
    return out


def _sizes(value: Any) -> tuple[int, ...] | None:
    ok = isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
    return tuple(value) if ok else None


def _tensor(name: str, entry: Any, body: memoryview, what: str) -> FileTensor:
    if not isinstance(entry, dict):
        raise ConvertError(f"{what}: tensor {name!r} is not described by a table")
    dtype = _DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise ConvertError(
            f"{what}: tensor {name!r} has type {entry.get('dtype')!r}; known: {', '.join(_DTYPES)}"
        )
    shape, offsets = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise ConvertError(f"{what}: tensor {name!r} lacks a proper shape or data_offsets")
    begin, end = offsets
    if not begin <= end <= len(body):
        raise ConvertError(f"{what}: tensor {name!r} spans bytes {begin} to {end} of {len(body)}: truncated?")
    numel = math.prod(shape)
    if end - begin != numel * ITEM_SIZE[dtype]:
        raise ConvertError(
            f"{what}: tensor {name!r} has {end - begin} bytes, "
            f"expected {numel * ITEM_SIZE[dtype]} for {shape} {dtype}"
        )
    return contiguous(Storage(name, dtype, numel, body[begin:end]), shape)


def _check_layout(header: dict[str, Any], size: int, what: str) -> None:
    """The format demands that tensors fill the data without gaps or overlaps."""
    at = 0
    for begin, end in sorted(tuple(e["data_offsets"]) for e in header.values()):
        if begin != at:
            raise ConvertError(f"{what}: the tensors overlap or leave a gap at byte {min(begin, at)}")
        at = end
    if at != size:
        raise ConvertError(f"{what}: {size} bytes of data, the tensors cover {at}")
