"""HDF5 files read without trusting them: no links, no other files, nothing larger than the budget.

What HDF5 itself would do for a hostile file: open other files that a link or a dataset names, make an
array of gigabytes of a dataset that was never written, inflate a chunk for as long as its data lasts.
So links are looked at before they are followed, and sizes are known before anything is read. HDF5 also
believes its own tables: those that would make it go round for ever are looked for first, and for the
rest the memory of the process is limited while a file is open.
"""

from __future__ import annotations

import importlib
import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .budget import Budget, memory_limited
from .names import shown

_VISIT_STEPS = 250  #: opening an object, in steps of the budget
_NAME = 250  #: bytes of an entry of a group, or of a text in a list
_CHUNK_STEPS = 20
_CHUNK_BYTES_PER_STEP = 250
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_GLOBAL_HEAP = b"GCOL\1\0\0\0"  #: before each collection of the texts of variable length
_LOCAL_HEAP = b"HEAP\0\0\0\0"  #: before what tells where the names of a group lie
_LAST_FREE = 1  #: in place of a next one


def h5py() -> Any:
    """h5py, which comes without types."""
    try:
        return importlib.import_module("h5py")
    except ImportError as e:
        raise ConvertError("reading Keras files needs h5py: pip install 'lstm-rt[convert]'") from e


@dataclass(frozen=True)
class _Source:
    """The open file: its name for messages, the budget that reading from it is charged to."""

    name: str
    budget: Budget
    longest_text: int  #: bytes of the largest collection of texts of variable length, more than any text in it


class Hdf5Group:
    """A group of an HDF5 file: its groups by their names, its attributes, its datasets as arrays."""

    def __init__(self, group: Any, source: _Source) -> None:
        self._group = group
        self._source = source
        self.attrs = Hdf5Attributes(group, source)

    @property
    def name(self) -> str:
        """Its path in the file."""
        return str(self._group.name)

    def __iter__(self) -> Iterator[str]:
        self._source.budget.memory(_NAME * len(self._group), "the names in it")
        return iter(list(self._group))

    def group(self, path: str) -> Hdf5Group | None:
        """The group at ``path`` below this one; None if there is none."""
        found = self._find(path)
        return Hdf5Group(found, self._source) if isinstance(found, h5py().Group) else None

    def array(self, path: str, label: str) -> NDArray[Any]:
        """The numbers of the dataset at ``path`` below this group.

        Raises:
            ConvertError: no dataset of numbers is there, it lies in other files, is compressed in a way
                that is not read, or is larger than the budget allows. ``label`` names it.
        """
        who = f"weight {shown(label)}"
        dataset = self._find(path)
        if dataset is None:
            raise ConvertError(f"{who} is missing from the file")
        if not isinstance(dataset, h5py().Dataset):
            raise ConvertError(f"{who}: expected a dataset")
        if dataset.is_virtual or dataset.external:  # asking for its shape might open the other files
            raise ConvertError(f"{who} is stored in another file, expected it in this one")
        kind = dataset.dtype
        plain = kind.kind in "fiub" or (kind.kind == "V" and kind.itemsize == 2)
        if dataset.shape is None or kind.fields or kind.subdtype or not plain:
            raise ConvertError(f"{who}: expected numbers in it, found {shown(str(kind))}")
        nbytes = math.prod(dataset.shape) * max(kind.itemsize, 4)
        self._source.budget.array(nbytes, f"{who} of shape {shown(str(dataset.shape))}")
        if dataset.chunks is not None:
            self._check_chunks(dataset, who)
        array: NDArray[Any] = np.asarray(dataset[()])
        brain = Hdf5Attributes(dataset, self._source).get("dtype") == "bfloat16"
        return _from_bfloat16(array) if brain else array

    def _find(self, path: str) -> Any:
        """h5py's object at ``path``, None if there is none; links are not followed."""
        here = self._group
        for part in path.split("/"):
            self._source.budget.steps(_VISIT_STEPS)
            key = part.encode("utf-8", "surrogateescape")
            if not isinstance(here, h5py().Group) or not part or not here.id.links.exists(key):
                return None
            # They could lead to other files, or round in circles; Keras writes none.
            if here.id.links.get_info(key).type != h5py().h5l.TYPE_HARD:
                raise ConvertError(f"{self._source.name}: {shown(path)} is a link, expected the object itself")
            here = here[part]
        return here

    def _check_chunks(self, dataset: Any, who: str) -> None:
        """Make sure that no chunk is larger, or inflates to more, than the dataset says."""
        size, budget = math.prod(dataset.chunks) * dataset.dtype.itemsize, self._source.budget
        budget.memory(3 * size, f"a chunk of {who}")
        settings = dataset.id.get_create_plist()
        filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        if not {*filters} <= {_DEFLATE, _SHUFFLE, _FLETCHER32} or filters.count(_DEFLATE) > 1:
            raise ConvertError(f"{who} is compressed by HDF5 filters {filters[:9]}, only gzip with shuffle is read")
        grid = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
        budget.steps(_CHUNK_STEPS * math.prod(map(len, grid)))
        for corner in itertools.product(*grid):
            stored = dataset.id.get_chunk_info_by_coord(corner).size or 0
            if stored > size + size // 100 + 1024:  # deflate does not lengthen by more
                raise ConvertError(f"{who}: a chunk of {size} bytes claims {stored} in the file")
            budget.steps((size + stored) // _CHUNK_BYTES_PER_STEP)
            if stored and _DEFLATE in filters:
                skipped, raw = dataset.id.read_direct_chunk(corner)
                if not skipped >> filters.index(_DEFLATE) & 1:
                    _check_inflated(raw, size, who)


class Hdf5Attributes:
    """The attributes of a group or dataset: texts, and lists of texts."""

    def __init__(self, owner: Any, source: _Source) -> None:
        self._attrs = owner.attrs
        self._source = source

    def __contains__(self, name: str) -> bool:
        return name in self._attrs

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute, or ``default`` if there is none."""
        return self[name] if name in self._attrs else default

    def __getitem__(self, name: str) -> Any:
        """A text as str or bytes, several as an array."""
        source = self._source
        stored = self._attrs.get_id(name)
        if stored.shape is None or (0 not in stored.shape and stored.dtype.kind not in "SO"):  # [] is of floats
            raise ConvertError(f"{source.name}: attribute {name} holds {shown(str(stored.dtype))}, expected texts")
        # Those of variable length may all be the longest.
        size = stored.dtype.itemsize if stored.dtype.kind != "O" else source.longest_text
        source.budget.memory(math.prod(stored.shape) * (_NAME + 4 * size), f"attribute {name}")
        return self._attrs[name]


def _check_inflated(raw: bytes, size: int, who: str) -> None:
    """HDF5 inflates a chunk to whatever it holds; this stops where it should end."""
    checksum = 4  # of fletcher32, where it comes before
    try:
        inflated = zlib.decompressobj().decompress(raw, size + checksum + 1)
    except zlib.error as e:
        raise ConvertError(f"{who}: a chunk is damaged ({e})") from None
    if len(inflated) > size + checksum:
        raise ConvertError(f"{who}: a chunk inflates to more than its {size} bytes")


def _check_tables(data: bytes, name: str) -> int:
    """Look for tables that HDF5 would never come to the end of; the size of the largest collection of texts."""
    largest = 0
    for at in _occurrences(data, _LOCAL_HEAP):
        if not _free_list_ends(data, at):
            raise ConvertError(f"{name}: the HDF5 file is damaged (a list of free places that has no end)")
    for at in _occurrences(data, _GLOBAL_HEAP):
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        largest = max(largest, min(size, len(data) - at))
        if size <= len(data) - at and not _objects_end(data, at + 16, at + size):
            raise ConvertError(f"{name}: the HDF5 file is damaged (a collection of texts that has no end)")
    return largest


def _free_list_ends(data: bytes, at: int) -> bool:
    """Of the local heap at ``at``: magic, size, first free place, where it lies; a free place names the next."""
    if at + 32 > len(data):
        return True
    size, free, start = struct.unpack_from("<QQQ", data, at + 8)
    for _ in range(size // 16 + 1):
        if free >= size or start + free + 16 > len(data):
            return True  # no place, which HDF5 says itself
        if free == _LAST_FREE:
            return True
        (free,) = struct.unpack_from("<Q", data, start + free)
    return False


def _objects_end(data: bytes, at: int, end: int) -> bool:
    """Of a global heap: objects of index, count of references, size. Index 0 is the free rest, with its header."""
    while at + 16 <= end:
        index, size = struct.unpack_from("<H6xQ", data, at)
        if index == 0 and size == 0:
            return False
        at += size if index == 0 else 16 + (size + 7) // 8 * 8
    return True


def _occurrences(data: bytes, what: bytes) -> Iterator[int]:
    at = data.find(what)
    while at >= 0:
        yield at
        at = data.find(what, at + 1)


def _from_bfloat16(array: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 is stored as two opaque bytes, the upper half of a float32."""
    if array.dtype.itemsize != 2:
        raise ConvertError(f"a bfloat16 weight is stored as {array.dtype}, expected two bytes each")
    halves = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
    return halves.view(np.float32)


@contextmanager
def open_hdf5(file: BinaryIO, name: str, budget: Budget) -> Iterator[Hdf5Group]:
    """The root of an HDF5 file; whatever h5py stumbles over becomes a ConvertError."""
    library = h5py()
    longest_text = _check_tables(file.read(), name)
    file.seek(0)
    try:
        with memory_limited(budget.memory_left), library.File(file, "r") as root:
            if root.id.get_create_plist().get_sizes() != (8, 8):
                raise ConvertError(f"{name}: offsets in this HDF5 file do not have the usual 8 bytes")
            yield Hdf5Group(root, _Source(name, budget, longest_text))
    # h5py turns errors of the C library into any of these
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, MemoryError) as e:
        if isinstance(e, ConvertError):
            raise
        raise ConvertError(
            f"{name}: the HDF5 file is damaged ({shown(str(e))}); expected a complete Keras file"
        ) from e
