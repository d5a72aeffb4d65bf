"""The numbers of an ONNX file: tensors in every field and type, sparse ones, and those in files beside the model."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from ..weights.budget import Budget
from ..weights.mapped import MappedFile
from ..weights.protobuf import Data, varints
from ..weights.tensors import as_float32, from_bfloat16
from . import proto

Array = NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """A type of numbers: its name, that of the numbers on disk, and the field that has them if ``raw_data`` does not.

    ``bits`` is below 8 where several numbers share a byte.
    """

    name: str
    disk: str
    field: str
    bits: int = 0


#: By the codes of ``TensorProto.DataType``.
KINDS = {
    1: Kind("float", "<f4", "float_data"),
    2: Kind("uint8", "u1", "int32_data"),
    3: Kind("int8", "i1", "int32_data"),
    4: Kind("uint16", "<u2", "int32_data"),
    5: Kind("int16", "<i2", "int32_data"),
    6: Kind("int32", "<i4", "int32_data"),
    7: Kind("int64", "<i8", "int64_data"),
    9: Kind("bool", "?", "int32_data"),
    10: Kind("float16", "<f2", "int32_data"),
    11: Kind("double", "<f8", "double_data"),
    12: Kind("uint32", "<u4", "uint64_data"),
    13: Kind("uint64", "<u8", "uint64_data"),
    16: Kind("bfloat16", "<u2", "int32_data"),
    21: Kind("uint4", "u1", "int32_data", 4),
    22: Kind("int4", "i1", "int32_data", 4),
}
_OTHER = {
    8: "string",
    14: "complex64",
    15: "complex128",
    17: "float8e4m3fn",
    18: "float8e4m3fnuz",
    19: "float8e5m2",
    20: "float8e5m2fnuz",
    23: "float4e2m1",
    24: "float8e8m0",
    25: "uint2",
    26: "int2",
}
#: Types of floats that are computed in float32 here.
NARROWED = frozenset({"float16", "double", "bfloat16"})
_MAX_DIMS = 32  # as NumPy has it
_EXTERNAL = 1  #: of ``TensorProto.DataLocation``


def kind_of(code: int, what: str) -> Kind:
    """The type with a code.

    Raises:
        ConvertError: there is none, or it is not one of numbers that can be read.
    """
    if kind := KINDS.get(code):
        return kind
    raise ConvertError(f"{what}: numbers of type {_OTHER.get(code, code)} are not supported")


def as_machine_dtype(kind: Kind) -> np.dtype[Any]:
    """The dtype that numbers of a kind have when the program runs: floats are float32."""
    return np.dtype(np.float32) if kind.name in NARROWED else np.dtype(kind.disk).newbyteorder("=")


@dataclass
class Tensors:
    """Reads the tensors of one file, each once.

    Args:
        budget: of the file and those beside it.
        folder: where files beside it may lie; None where there can be none.
        narrowed: types of floats that became float32.
        files: that hold numbers, by their place; the model itself has none.
    """

    budget: Budget
    folder: Path | None = None
    narrowed: set[str] = field(default_factory=set)
    files: dict[str, MappedFile] = field(default_factory=dict)
    _made: dict[int, Array] = field(default_factory=dict)

    def forget(self) -> None:
        """Let the memory of large files go until their numbers are read again."""
        for file in self.files.values():
            file.forget()

    def array(self, tensor: proto.Tensor, what: str) -> Array:
        """The numbers of a tensor; they must not be changed.

        Raises:
            ConvertError: their type is not supported, or they are not as many as the shape says, or not to be found.
        """
        made = self._made.get(id(tensor))
        if made is None:
            made = self._made[id(tensor)] = self._read(tensor, what)
            made.flags.writeable = False
        return made

    def sparse(self, tensor: proto.SparseTensor, what: str) -> Array:
        """The numbers of a sparse tensor, zeros included."""
        made = self._made.get(id(tensor))
        if made is None:
            made = self._made[id(tensor)] = self._dense(tensor, what)
            made.flags.writeable = False
        return made

    def _dense(self, tensor: proto.SparseTensor, what: str) -> Array:
        if tensor.values is None or tensor.indices is None:
            raise ConvertError(f"{what}: a sparse tensor without values or indices")
        shape = self._shape(tensor.dims, what)
        values = self.array(tensor.values, what)
        at = self.array(tensor.indices, f"{what} (indices)")
        self.budget.array(values.itemsize * math.prod(shape), what)
        out = np.zeros(math.prod(shape), values.dtype)
        if at.ndim == 2 and at.shape[1] == len(shape):
            if ((at < 0) | (at >= np.array(shape, np.int64))).any():
                raise ConvertError(f"{what}: an index lies outside the shape {shape}")
            at = np.ravel_multi_index(tuple(at.T), shape) if len(at) else at[:, 0]
        if at.dtype.kind not in "iu" or at.shape != values.shape or ((at < 0) | (at >= out.size)).any():
            raise ConvertError(f"{what}: indices of shape {at.shape} do not fit {values.shape} values in {shape}")
        out[at] = values
        return out.reshape(shape)

    def _shape(self, dims: Data, what: str) -> tuple[int, ...]:
        if len(dims) > 10 * _MAX_DIMS:
            raise ConvertError(f"{what}: more than {_MAX_DIMS} dimensions")
        shape = tuple(int(n) for n in varints(dims, self.budget))
        if len(shape) > _MAX_DIMS or min(shape, default=0) < 0 or math.prod(max(1, n) for n in shape) > 1 << 60:
            raise ConvertError(f"{what}: {listed(map(str, shape), 8)} is no shape that an array can have")
        return shape

    def _read(self, tensor: proto.Tensor, what: str) -> Array:
        kind, shape = kind_of(tensor.data_type, what), self._shape(tensor.dims, what)
        count = math.prod(shape)
        disk = np.dtype(kind.disk)
        packed_size = (count * kind.bits + 7) // 8 if kind.bits else count * disk.itemsize
        charged = count * disk.itemsize if kind.bits else packed_size
        if tensor.data_location == _EXTERNAL:
            numbers = np.frombuffer(self._external(tensor.external_data, packed_size, what), disk)
        elif tensor.raw_data is not None:
            if len(tensor.raw_data) != packed_size:
                raise self._count(what, shape, kind, f"{len(tensor.raw_data)} bytes, expected {packed_size}")
            numbers = np.frombuffer(tensor.raw_data, disk)
        else:
            numbers = self._typed(tensor, kind, what)
        if kind.bits and numbers.nbytes == packed_size:
            self.budget.array(charged, what)
            numbers = _nibbles(numbers, count)
        if numbers.size != count:
            raise self._count(what, shape, kind, f"{numbers.size} numbers, expected {count}")
        self.budget.array(4 * count if kind.name in NARROWED or kind.name == "float" else charged, what)
        return self._native(numbers.reshape(shape), kind, what)

    def _count(self, what: str, shape: tuple[int, ...], kind: Kind, got: str) -> ConvertError:
        return ConvertError(f"{what}: its {kind.name} tensor of shape {shape} has {got}")

    def _typed(self, tensor: proto.Tensor, kind: Kind, what: str) -> Array:
        data: Data = getattr(tensor, kind.field)
        if kind.field in ("float_data", "double_data"):
            if len(data) % np.dtype(kind.disk).itemsize:
                raise ConvertError(f"{what}: its numbers are damaged")
            return np.frombuffer(data, np.dtype(kind.disk))
        if kind.name == "float16":  # as their bits
            return np.asarray(varints(data, self.budget, np.dtype("<u2")).view("<f2"))
        self.budget.memory(np.dtype(kind.disk).itemsize * len(data), what)
        return varints(data, self.budget, np.dtype(kind.disk))

    def _native(self, numbers: Array, kind: Kind, what: str) -> Array:
        if kind.name in NARROWED:
            self.narrowed.add(kind.name)
        if kind.name == "bfloat16":
            return as_float32(from_bfloat16(numbers), what)
        if numbers.dtype.kind == "f":
            return as_float32(numbers, what)[...]
        if numbers.dtype.kind == "b":
            return np.asarray(numbers.view(np.uint8) != 0)
        return np.asarray(numbers, numbers.dtype.newbyteorder("="))[...]

    def _external(self, entries: Iterable[proto.Entry], size: int, what: str) -> memoryview:
        path, offset, length = self.place(entries, what)
        if length is not None and length != size:
            raise ConvertError(f"{what}: {length:,} bytes in {shown(path.name)}, expected {size:,}")
        try:
            if str(path) not in self.files:
                self.files[str(path)] = MappedFile(path)
        except OSError as e:
            raise ConvertError(f"{what}: its numbers are in {shown(path.name)} beside the model: {e.strerror}") from e
        data = self.files[str(path)].data
        if offset + size > len(data):
            raise ConvertError(
                f"{what}: {size:,} bytes from {offset:,} on in {shown(path.name)}, which has {len(data):,}"
            )
        return data[offset : offset + size]

    def place(self, entries: Iterable[proto.Entry], what: str) -> tuple[Path, int, int | None]:
        """Where numbers lie beside the model: file, offset and length.

        Raises:
            ConvertError: outside the folder of the model, or what the file says of it is damaged.
        """
        said = {e.key: e.value for e in entries}
        location = said.get("location", "")
        if self.folder is None:
            raise ConvertError(f"{what}: its numbers are in a file beside the model ({shown(location)})")
        folder = os.path.realpath(self.folder)
        if not location or "\0" in location:
            raise ConvertError(f"{what}: its numbers are in a file without a name")
        path = os.path.realpath(os.path.join(folder, location))
        if os.path.isabs(location) or os.path.commonpath([folder, path]) != folder:
            raise ConvertError(
                f"{what}: its numbers are in {shown(location)}, outside the folder of the model; that is not read"
            )
        numbers = {key: _natural(said.get(key), key, what) for key in ("offset", "length")}
        return Path(self.folder, location), numbers["offset"] or 0, numbers["length"]


def _natural(text: str | None, key: str, what: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ConvertError(f"{what}: {key} {shown(text)} of its numbers in a file beside the model, expected a number")
    return int(text)


def _nibbles(octets: Array, count: int) -> Array:
    """Numbers of four bits, two in a byte, the lower ones first; int4 with its sign."""
    both = np.stack([octets & 15, (octets >> 4) & 15], -1).reshape(-1)[:count]
    return (both ^ 8) - 8 if octets.dtype.kind == "i" else both


def external_files(graph: proto.Graph) -> Iterator[proto.Tensor]:
    """The initializers whose numbers lie beside the model."""
    for tensor in graph.initializer:
        if tensor.data_location == _EXTERNAL:
            yield tensor
