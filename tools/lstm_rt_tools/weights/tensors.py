"""Tensors as they lie in a file: shape and type known, numbers read when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from .budget import Budget

#: Bytes per element of every type a tensor file may name.
ITEM_SIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
}
FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
WHOLE = frozenset({"int64", "int32", "int16", "int8", "uint8", "bool"})
_MAX_DIMS = 16
#: What has been read of weights that are not finite, with how many numbers are not.
_not_finite: ContextVar[dict[str, int] | None] = ContextVar("not_finite", default=None)


@contextmanager
def noting_not_finite(notes: list[str]) -> Iterator[None]:
    """Adds to ``notes`` which of the weights that are read inside hold NaN or infinity, if any do."""
    found: dict[str, int] = {}
    token = _not_finite.set(found)
    try:
        yield
    finally:
        _not_finite.reset(token)
    if found:
        names = listed([f"{what} ({n} number{'s' * (n != 1)})" for what, n in found.items()])
        notes.append(f"NaN or infinity in the weights: {names}; outputs that depend on them may not be finite")


def as_float32(values: NDArray[Any], what: str) -> NDArray[np.float32]:
    """Floats as C-contiguous float32, copied only if needed: every weight that is read comes through here.

    NaN and infinity are the model's own and pass, for :func:`noting_not_finite` to tell.

    Raises:
        ConvertError: a finite number is beyond float32: the model that it made would be another one.
    """
    with np.errstate(over="ignore"):
        array = np.asarray(values, dtype=np.float32, order="C")
    if values.dtype.itemsize > array.itemsize and not _all_finite(array):
        beyond = np.isinf(array) & np.isfinite(values)
        if beyond.any():
            raise ConvertError(
                f"{what}: holds {values[beyond][0]:g}, which is beyond float32 (at most {np.finfo(np.float32).max:.3g})"
            )
    return _noted(array, what)


def _noted(array: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    found = _not_finite.get()
    if found is not None and (n := count_not_finite(array)):
        found[what] = n
    return array


def count_not_finite(array: NDArray[np.float32]) -> int:
    """How many numbers of an array are NaN or infinite."""
    array = np.asarray(array)  # what integer weights stand for, too
    return 0 if _all_finite(array) else int(np.count_nonzero(~np.isfinite(array)))


def _all_finite(array: NDArray[np.float32]) -> bool:
    """Without an array of as many truths: weights may fill the memory."""
    return not array.size or bool(np.isfinite(array.max()) and np.isfinite(array.min()))


class Tensor(Protocol):
    """What a weight is to the readers: a shape, a type, and the numbers on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def array(self, what: str) -> NDArray[np.float32]: ...


class ArrayTensor:
    """A :class:`Tensor` around an array or a live torch tensor."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.shape: tuple[int, ...] = tuple(int(n) for n in value.shape)
        self.dtype = str(value.dtype).removeprefix("torch.")

    def array(self, what: str) -> NDArray[np.float32]:
        """The numbers as C-contiguous float32; :class:`ConvertError` if they are not floats."""
        value = self._value
        if hasattr(value, "detach"):
            if not value.is_floating_point():
                raise ConvertError(f"{what}: has type {self.dtype}, expected a float tensor")
            value = value.detach().resolve_neg().cpu()
            value = (value if value.element_size() > 4 else value.float()).numpy()
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise ConvertError(f"{what}: has type {self.dtype}, expected a float array")
        made = as_float32(array, what)
        return made.copy() if np.may_share_memory(made, array) else made  # the caller's may be trained on


@dataclass(eq=False)
class Computed:
    """A :class:`Tensor` that is made from others when it is asked for."""

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[str], NDArray[np.float32]]

    def array(self, what: str) -> NDArray[np.float32]:
        """The numbers; :class:`ConvertError` if those that it is made from are not floats."""
        return _noted(self.make(what), what)


@dataclass(eq=False, slots=True)
class Storage:
    """A run of ``numel`` numbers of one type; ``data`` is filled in once the bytes are found.

    ``budget`` is that of the file, to which the arrays made from it are charged.
    """

    key: str
    dtype: str
    numel: int
    data: memoryview | bytes | bytearray | None = None
    big_endian: bool = False
    budget: Budget | None = None
    #: What was made, by offset, shape, stride and sign: tied weights are two tensors of one storage.
    arrays: dict[tuple[Any, ...], NDArray[np.float32]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int | None:
        """Bytes of the numbers; None for a type of which we do not know the size."""
        size = ITEM_SIZE.get(self.dtype)
        return None if size is None else size * self.numel

    def fill(self, data: memoryview, big_endian: bool, what: str) -> None:
        """Take the bytes; :class:`ConvertError` where they are not as many as the numbers need."""
        if self.nbytes not in (None, len(data)):
            raise ConvertError(
                f"{what}: storage {shown(self.key)} has {len(data)} bytes, expected {self.nbytes} "
                f"({self.numel} {self.dtype})"
            )
        self.data, self.big_endian = data, big_endian


@dataclass(eq=False, slots=True)
class FileTensor:
    """A strided view of a storage; offset and strides count elements.

    ``negative``: the numbers are those of the storage with their signs turned (torch's negative bit).
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    negative: bool = False

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    def check(self, what: str) -> None:
        """Raise :class:`ConvertError` unless every element lies inside the storage."""
        if len(self.shape) != len(self.stride) or len(self.shape) > _MAX_DIMS:
            raise ConvertError(
                f"{what}: {len(self.shape)} dimensions and {len(self.stride)} strides, expected as many of both, "
                f"and at most {_MAX_DIMS}"
            )
        if min((self.offset, *self.shape, *self.stride)) < 0:
            raise ConvertError(f"{what}: negative size, stride or offset")
        if 0 in self.shape:
            return
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if last >= self.storage.numel:
            raise ConvertError(
                f"{what}: needs element {last} of a storage that holds {self.storage.numel} numbers"
            )

    def _advice(self) -> str:
        quantized = "; the float model that it was made from converts"
        return quantized if self.dtype in ("quantized", "qint8", "quint8", "qint32") else ""

    def array(self, what: str) -> NDArray[np.float32]:
        """The numbers as a C-contiguous float32 array.

        Raises:
            ConvertError: not a float tensor, outside its storage, the storage has no bytes, or the array
                would be larger than the file's budget allows.
        """
        if self.dtype not in FLOATS:
            raise ConvertError(f"{what}: has type {self.dtype}, expected a float tensor{self._advice()}")
        self.check(what)
        if self.storage.data is None:
            raise ConvertError(f"{what}: its storage {shown(self.storage.key)} is not in the file")
        nbytes = 4 * math.prod(self.shape)
        if nbytes == 0:
            return self._empty(what)
        view, budget = (self.offset, self.shape, self.stride, self.negative), self.storage.budget
        if view not in self.storage.arrays:
            if budget is not None:  # stride 0 repeats elements, so a tiny file can name an array of any size
                budget.array(nbytes, what)
            self.storage.arrays[view] = self._made(what)
        elif budget is not None:
            budget.use(nbytes)
        return self.storage.arrays[view]

    def numbers(self, what: str) -> NDArray[Any]:
        """The numbers as :meth:`array` gives them, whole numbers and truths in a type of their own.

        Raises:
            ConvertError: as :meth:`array`; also of types that are neither.
        """
        if self.dtype in FLOATS:
            return self.array(what)
        if self.dtype not in WHOLE:
            raise ConvertError(f"{what}: has type {self.dtype}, expected floats, whole numbers or truths")
        self.check(what)
        if self.storage.data is None:
            raise ConvertError(f"{what}: its storage {shown(self.storage.key)} is not in the file")
        size = ITEM_SIZE[self.dtype]
        if self.storage.budget is not None:
            self.storage.budget.array(size * math.prod(self.shape), what)
        kind = np.dtype(self.dtype).newbyteorder(">" if self.storage.big_endian else "<")
        flat = np.frombuffer(self.storage.data, kind)
        strides = [s * size for s in self.stride]
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False)
        return np.array(view, np.dtype(self.dtype))

    def _empty(self, what: str) -> NDArray[np.float32]:
        try:
            return np.zeros(self.shape, np.float32)
        except ValueError:  # NumPy has a limit also for what has no elements
            raise ConvertError(f"{what}: shape {self.shape} is larger than an array can be") from None

    def _made(self, what: str) -> NDArray[np.float32]:
        assert self.storage.data is not None
        flat = _decode(self.storage.data, self.dtype, self.storage.big_endian)
        step = flat.itemsize
        view = np.lib.stride_tricks.as_strided(
            flat[self.offset :], self.shape, [s * step for s in self.stride], writeable=False
        )
        numbers = from_bfloat16(view) if self.dtype == "bfloat16" else view
        array = np.ascontiguousarray(as_float32(numbers, what))
        return np.negative(array) if self.negative else array


def _decode(data: memoryview | bytes | bytearray, dtype: str, big_endian: bool) -> NDArray[Any]:
    kind = "u2" if dtype == "bfloat16" else f"f{ITEM_SIZE[dtype]}"
    return np.frombuffer(data, np.dtype((">" if big_endian else "<") + kind))


def from_bfloat16(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers of bfloat16, each the upper half of a float32, in an array of any order."""
    upper: NDArray[np.uint32] = halves.astype(np.uint32) << np.uint32(16)
    return upper.view(np.float32)


def unread(kind: str, shape: tuple[int, ...] = (), stride: tuple[int, ...] = ()) -> FileTensor:
    """A tensor that we cannot read, of the type ``kind``: it stops who asks for its numbers, and nobody else."""
    return FileTensor(Storage("unread", shown(kind), 0), 0, shape, stride)


def contiguous(storage: Storage, shape: tuple[int, ...]) -> FileTensor:
    """The whole of ``storage`` in C order as ``shape``."""
    stride, below = [], 1
    for size in reversed(shape):
        stride.append(below)
        below *= size
    return FileTensor(storage, 0, shape, tuple(reversed(stride)))


def numpy_tensor(state: Any, budget: Budget | None = None) -> FileTensor | None:
    """A pickled NumPy array by the state that it was pickled with; None if that is none of numbers.

    Floats of a type that is not read, such as long doubles, are :func:`unread`, as a layer may have them.

    Args:
        state: (version, shape, dtype, whether in Fortran order, bytes).
        budget: of the file.
    """
    if not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, dtype, fortran, data = state
    name, order = _numpy_dtype(dtype)
    if name is not None and name not in ITEM_SIZE:
        return unread(name)
    if name is None or not isinstance(data, bytes | bytearray) or not isinstance(shape, tuple):
        return None
    if len(shape) > _MAX_DIMS or any(type(n) is not int or not 0 <= n <= len(data) for n in shape):
        return None
    if math.prod(shape) * ITEM_SIZE[name] != len(data):
        return None
    storage = Storage("array", name, math.prod(shape), data, order == ">", budget)
    tensor = contiguous(storage, shape[::-1] if fortran else shape)
    return FileTensor(storage, 0, shape, tensor.stride[::-1]) if fortran else tensor


def numpy_number(args: Any) -> float | None:
    """A pickled NumPy scalar by the arguments (dtype, bytes) that make it; None if it is no float or integer."""
    if not isinstance(args, tuple) or len(args) != 2 or not isinstance(args[1], bytes):
        return None
    name, order = _numpy_dtype(args[0])
    if name not in ITEM_SIZE or name == "bool" or ITEM_SIZE[name] != len(args[1]):
        return None
    (number,) = np.frombuffer(args[1], np.dtype(name))
    return float(number.byteswap() if order == ">" else number)


_NUMPY_KINDS = {"f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "b1": "bool"}


def _numpy_dtype(dtype: Any) -> tuple[str | None, str]:
    """Name and byte order of a pickled ``numpy.dtype``."""
    args, state = getattr(dtype, "args", ()), getattr(dtype, "state", None)
    code = args[0] if args and isinstance(args[0], str) else ""
    name = _NUMPY_KINDS.get(code, f"numpy {code}" if code.startswith("f") else None)
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
    return name, order
