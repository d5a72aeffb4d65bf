"""Reads one HDF5 file for another process, which asks: libhdf5 believes what a file says, so it runs here.

It may go round in a damaged table for ever, take memory without end, or crash. Here that ends this process, by
the limits it sets itself, and the one that asks says so (``hdf5_files.py``).

What HDF5 itself would do for a hostile file besides: open other files that a link or a dataset names, make an
array of gigabytes of a dataset that was never written, inflate a chunk for as long as its data lasts. So links
are looked at before they are followed, and sizes are known before anything is read.
"""

from __future__ import annotations

import importlib
import io
import itertools
import json
import math
import os
import sys
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import shown
from .budget import Budget
from .tensors import from_bfloat16

#: What is asked: what, of which group (by its number), the path or name, what to call it; what is answered:
#: a header that JSON can hold, and bytes.
Question = tuple[str, int, str, str]
Answer = tuple[dict[str, Any], NDArray[np.uint8]]

#: How a file begins.
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NEEDS_H5PY = "reading Keras files needs h5py: pip install 'lstm-rt[convert]'"
_VISIT_STEPS = 250  #: opening an object, in steps of the budget
_NAME = 250  #: bytes of an entry of a group, or of a text in a list
_CHUNK_STEPS = 20
_CHUNK_BYTES_PER_STEP = 250
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_ALLOCATOR = 8 << 20  #: taken in advance, by the allocators of C and Python


def h5py() -> Any:
    """h5py, which comes without types."""
    try:
        return importlib.import_module("h5py")
    except ImportError as e:
        raise ConvertError(NEEDS_H5PY) from e


class Reader:
    """Answers questions about the file. Groups have numbers, in the order in which they were asked for."""

    def __init__(self, file: BinaryIO, name: str, budget: Budget) -> None:
        self._file = file
        self._name = name
        self._budget = budget
        self._groups: list[Any] = []

    def answer(self, question: Question) -> Answer:
        """The answer; whatever h5py stumbles over becomes its ``error``."""
        what, number, name, label = question
        try:
            if what == "open":
                return self._open()
            group = self._groups[number]
            if what == "names":
                return self._names(group)
            if what == "group":
                return self._group(group, name)
            if what == "array":
                return self._array(group, name, label)
            return self._attribute(group, name)
        except ConvertError as e:
            return _error(str(e))
        except MemoryError:
            return _error(f"{self._name}: the HDF5 file is damaged, or larger than its budget: reading it takes far "
                          f"more memory than a file of {self._budget.size:,} bytes should need")  # fmt: skip
        # h5py turns errors of the C library into any of these
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as e:
            return _error(f"{self._name}: the HDF5 file is damaged ({shown(str(e))}); expected a complete Keras file")

    def _open(self) -> Answer:
        root = h5py().File(self._file, "r")
        if root.id.get_create_plist().get_sizes() != (8, 8):
            raise ConvertError(f"{self._name}: offsets in this HDF5 file do not have the usual 8 bytes")
        self._groups.append(root)
        return _answer()

    def _names(self, group: Any) -> Answer:
        self._budget.memory(_NAME * len(group), "the names in it")
        return _texts(list(group))

    def _group(self, group: Any, path: str) -> Answer:
        found = self._find(group, path)
        if not isinstance(found, h5py().Group):
            return _answer(number=None)
        self._groups.append(found)
        return _answer(number=len(self._groups) - 1)

    def _array(self, group: Any, path: str, label: str) -> Answer:
        who = f"weight {shown(label)}"
        dataset = self._find(group, path)
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
        self._budget.array(nbytes, f"{who} of shape {shown(str(dataset.shape))}")
        if dataset.chunks is not None:
            self._check_chunks(dataset, who)
        array: NDArray[Any] = np.asarray(dataset[()])
        if self._attribute_texts(dataset, "dtype") == [b"bfloat16"]:
            array = _two_bytes(array)
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return {"shape": array.shape, "dtype": array.dtype.str, "nbytes": raw.nbytes}, raw

    def _find(self, here: Any, path: str) -> Any:
        """h5py's object at ``path``, None if there is none; links are not followed."""
        for part in path.split("/"):
            self._budget.steps(_VISIT_STEPS)
            key = part.encode("utf-8", "surrogateescape")
            if not isinstance(here, h5py().Group) or not part or not here.id.links.exists(key):
                return None
            # They could lead to other files, or round in circles; Keras writes none.
            if here.id.links.get_info(key).type != h5py().h5l.TYPE_HARD:
                raise ConvertError(f"{self._name}: {shown(path)} is a link, expected the object itself")
            here = here[part]
        return here

    def _check_chunks(self, dataset: Any, who: str) -> None:
        """Make sure that no chunk is larger, or inflates to more, than the dataset says."""
        size, budget = math.prod(dataset.chunks) * dataset.dtype.itemsize, self._budget
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

    def _attribute(self, owner: Any, name: str) -> Answer:
        texts = self._attribute_texts(owner, name)
        return _answer(sizes=None) if texts is None else _texts(texts)

    def _attribute_texts(self, owner: Any, name: str) -> list[Any] | None:
        """The texts of an attribute of a group or dataset, None if there is none."""
        if name not in owner.attrs:
            return None
        stored = owner.attrs.get_id(name)
        if stored.shape is None or (0 not in stored.shape and stored.dtype.kind not in "SO"):  # [] is of floats
            raise ConvertError(f"{self._name}: attribute {name} holds {shown(str(stored.dtype))}, expected texts")
        size = stored.dtype.itemsize if stored.dtype.kind == "S" else 0
        self._budget.memory(math.prod(stored.shape) * (_NAME + 4 * size), f"attribute {name}")
        texts = np.atleast_1d(owner.attrs[name]).tolist()
        for text in texts:
            if not isinstance(text, str | bytes):
                raise ConvertError(f"{self._name}: attribute {name}: expected a text, found {type(text).__name__}")
        if not size:  # how long the others are is not known before
            self._budget.memory(4 * sum(map(len, texts)), f"attribute {name}")
        return [_bytes(text) for text in texts]


def _error(message: str) -> Answer:
    return _answer(error=message)


def _answer(**header: Any) -> Answer:
    return {**header, "nbytes": 0}, np.empty(0, np.uint8)


def _texts(texts: Iterable[str | bytes]) -> Answer:
    parts = [_bytes(text) for text in texts]
    raw = np.frombuffer(b"".join(parts), np.uint8)
    return {"sizes": [len(part) for part in parts], "nbytes": raw.nbytes}, raw


def _bytes(text: str | bytes) -> bytes:
    """As it stands in the file."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _check_inflated(raw: bytes, size: int, who: str) -> None:
    """HDF5 inflates a chunk to whatever it holds; this stops where it should end."""
    checksum = 4  # of fletcher32, where it comes before
    try:
        inflated = zlib.decompressobj().decompress(raw, size + checksum + 1)
    except zlib.error as e:
        raise ConvertError(f"{who}: a chunk is damaged ({e})") from None
    if len(inflated) > size + checksum:
        raise ConvertError(f"{who}: a chunk inflates to more than its {size} bytes")


def _two_bytes(array: NDArray[Any]) -> NDArray[np.float32]:
    """Keras stores bfloat16 as two opaque bytes."""
    if array.dtype.itemsize != 2:
        raise ConvertError(f"a bfloat16 weight is stored as {array.dtype}, expected two bytes each")
    return from_bfloat16(np.ascontiguousarray(array).view(np.uint16))


# -- the process -------------------------------------------------------------------------------------


def main() -> None:
    """Read the file from the standard input, then questions; answer each on the standard output."""
    source, out = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    start = json.loads(source.readline())
    budget = Budget(start["budget"], start["what"])
    with suppress(ConvertError):  # the first answer says it
        h5py()
    _limit_time(start["seconds"])
    memory = _memory_in_use() + start["nbytes"] + _ALLOCATOR
    file = io.BytesIO(bytes(start["nbytes"]))
    with file.getbuffer() as view:
        source.readinto(view)
    reader = Reader(file, start["name"], budget)
    for line in source:
        *left, question = json.loads(line)
        budget.settle(*left)
        _limit_memory(memory + budget.memory_left)
        header, body = reader.answer(question)
        out.write(json.dumps({**header, "left": budget.left}).encode() + b"\n")
        out.write(body.data)
        out.flush()


def _limit_time(seconds: int) -> None:
    """End this process after so much more time of the processor; leave no dump of it."""
    if sys.platform != "win32":
        import resource

        end = math.ceil(time.process_time() + seconds)
        _lower(resource.RLIMIT_CPU, end)
        _lower(resource.RLIMIT_CORE, 0)


def _limit_memory(nbytes: int) -> None:
    """Let allocations fail beyond so much; only Linux counts what C code takes."""
    if sys.platform == "linux":
        import resource

        _lower(resource.RLIMIT_DATA, nbytes)


def _lower(which: int, limit: int) -> None:
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(which)
        limits = [n for n in (limit, soft, hard) if n != resource.RLIM_INFINITY]
        resource.setrlimit(which, (min(limits), hard))


def _memory_in_use() -> int:
    """What RLIMIT_DATA limits: the private memory of the process that can be written."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/status", encoding="ascii") as f:
        sizes = [line.split()[1] for line in f if line.startswith("VmData:")]
    return 1024 * int(sizes[0])
