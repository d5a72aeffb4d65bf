"""Protocol buffers, as far as model files need them: messages as dataclasses, read without a library.

The bytes of large fields stay where they are, in the file's own bytes, and everything that is made is charged to
the file's budget first: a message of two bytes may not become an object of hundreds of bytes without end.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .budget import Budget

M = TypeVar("M")
Data = memoryview | bytes | bytearray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: Of the wire type that a single value of a kind has.
_WIRE = {"int": _VARINT, "float": _FIXED32, "fixed32": _FIXED32, "text": _BYTES, "bytes": _BYTES, "message": _BYTES}
_OBJECT, _VALUE = 400, 80  #: bytes that a message, and a value in it, take at most beside their text
_MAX_DEPTH = 60
_BLOCK = 1 << 16  #: bytes of packed varints that are decoded at once


class _Spec(NamedTuple):
    name: str
    kind: str
    repeated: bool


def one(number: int, kind: str, default: Any = None) -> Any:
    """A field that holds one value: the last one, if the file has several."""
    return dataclasses.field(default=default, metadata={"spec": (number, kind, False)})


def many(number: int, kind: str) -> Any:
    """A field that holds a list."""
    return dataclasses.field(default_factory=list, metadata={"spec": (number, kind, True)})


def packed(number: int) -> Any:
    """A field that holds numbers as their bytes on the wire, for :func:`varints` and ``numpy.frombuffer``."""
    return dataclasses.field(default=b"", metadata={"spec": (number, "packed", True)})


class Reader:
    """Reads messages out of the bytes of a file.

    Args:
        budget: of the file.
        what: what the file should be, for messages.
        kinds: the dataclasses of the fields that hold messages, by the name of the dataclass and of the field.
    """

    def __init__(self, budget: Budget, what: str, kinds: dict[tuple[str, str], type]) -> None:
        self._budget = budget
        self._what = what
        self._kinds = kinds

    def message(self, kind: type[M], data: memoryview, depth: int = 0) -> M:
        """One message.

        Raises:
            ConvertError: the bytes are no such message, or ask for more than the budget has left.
        """
        self._budget.memory(_OBJECT)
        if depth > _MAX_DEPTH:
            raise self._damaged("its messages are nested too deeply")
        out: M = kind()
        specs = _specs(kind)  # type: ignore[arg-type]
        for number, wire, value in self._fields(data):
            spec = specs.get(number)
            if spec is not None:
                self._put(out, spec, wire, value, depth)
        return out

    def _put(self, out: Any, spec: _Spec, wire: int, value: memoryview, depth: int) -> None:
        if spec.kind == "packed":
            before = getattr(out, spec.name)
            setattr(out, spec.name, bytearray(before) + value if before else value)
            if before:
                self._budget.steps(len(before) // 4096)
            return
        if wire != _WIRE[spec.kind]:
            raise self._damaged(f"{type(out).__name__.lower()} {spec.name} is of wire type {wire}")
        made = self._value(out, spec, value, depth)
        if spec.repeated:
            getattr(out, spec.name).append(made)
        else:
            setattr(out, spec.name, made)

    def _value(self, out: Any, spec: _Spec, value: memoryview, depth: int) -> Any:
        if spec.kind == "message":
            return self.message(self._kinds[type(out).__name__, spec.name], value, depth + 1)
        self._budget.memory(_VALUE + (4 * len(value) if spec.kind == "text" else 0))
        if spec.kind == "int":
            return int(varints(value, self._budget)[0])
        if spec.kind == "float":
            return float(struct.unpack("<f", value)[0])
        if spec.kind == "fixed32":
            return int.from_bytes(value, "little")
        if spec.kind == "bytes":
            return value
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise self._damaged(f"{type(out).__name__.lower()} {spec.name} is no text") from None

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Number, wire type and bytes of each field."""
        at, end = 0, len(data)
        while at < end:
            self._budget.steps(2)
            key, at = self._varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                start, (_, at) = at, self._varint(data, at)
            elif wire == _BYTES:
                size, start = self._varint(data, at)
                at = start + size
            elif wire in (_FIXED64, _FIXED32):
                start, at = at, at + (8 if wire == _FIXED64 else 4)
            else:
                raise self._damaged(f"a field of wire type {wire}")
            if at > end or not number:
                raise self._damaged("a field reaches beyond its end, the file may be truncated")
            yield number, wire, data[start:at]

    def _varint(self, data: memoryview, at: int) -> tuple[int, int]:
        value, at = varint(data, at)
        if value is None:
            raise self._damaged("a number does not end, the file may be truncated")
        return value, at

    def _damaged(self, why: str) -> ConvertError:
        return ConvertError(f"{self._budget.what}: no {self._what}, or a damaged one: {why}")


@cache
def _specs(kind: Any) -> dict[int, _Spec]:
    found: dict[int, _Spec] = {}
    for f in dataclasses.fields(kind):
        number, what, repeated = f.metadata["spec"]
        found[number] = _Spec(f.name, what, repeated)
    return found


def varint(data: Data, at: int) -> tuple[int | None, int]:
    """The number that begins at ``at``, and where it ends; None if it does not within ten bytes."""
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return None, at


def varints(data: Data, budget: Budget, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """The numbers of packed varints: int64, or what is left of them in ``dtype``.

    Raises:
        ConvertError: a number does not end, or is longer than ten bytes.
    """
    octets = np.frombuffer(data, np.uint8)
    parts, at = [], 0
    while at < len(octets):
        block = octets[at : at + _BLOCK]
        ends = np.flatnonzero(block < 0x80)
        if not len(ends):
            raise ConvertError(f"{budget.what}: a list of numbers is damaged")
        parts.append(_decoded(block, ends, budget).astype(dtype or np.int64, copy=False))
        at += int(ends[-1]) + 1
    return np.concatenate(parts) if parts else np.zeros(0, dtype or np.int64)


def _decoded(block: NDArray[np.uint8], ends: NDArray[np.intp], budget: Budget) -> NDArray[np.int64]:
    starts = np.concatenate([[0], ends[:-1] + 1])
    longest = int((ends - starts).max())
    if longest >= 10:
        raise ConvertError(f"{budget.what}: a list of numbers is damaged")
    out = np.zeros(len(ends), np.uint64)
    for k in range(longest + 1):
        more = starts + k <= ends
        out[more] |= (block[starts[more] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
    return out.view(np.int64)
