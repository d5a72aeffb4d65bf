"""HDF5 files read without trusting them: no links, no other files, nothing larger than the budget.

What HDF5 itself would do for a hostile file: open other files that a link or a dataset names, make an
array of gigabytes of a dataset that was never written, inflate a chunk for as long as its data lasts.
So links are looked at before they are followed, and sizes are known before anything is read.
"""

from __future__ import annotations

import importlib
import itertools
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from .budget import Budget
from .names import shown

_VISIT_STEPS = 250  #: opening an object, in steps of the budget
_NAME = 250  #: bytes of an entry of a group, or of a text in a list
_CHUNK_STEPS = 20
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_GLOBAL_HEAP = b"GCOL"  #: before each collection of the texts of variable length


def h5py() -> Any:
    """h5py, which comes without types."""
    try:
        return importlib.import_module("h5py")
    except ImportError as e:
        raise ConvertError("reading Keras files needs h5py: pip install 'lstm-rt[convert]'") from e


class Hdf5File:
    """An open HDF5 file, with the budget to which reading from it is charged.

    ``root`` is its root group. Groups are h5py's; they are read through the methods here.
    """

    def __init__(self, root: Any, file: BinaryIO, name: str, budget: Budget) -> None:
        self.root = root
        self.name = name
        self._file = file
        self._budget = budget
        self._longest: int | None = None

    # -- objects --------------------------------------------------------------------------------

    def find(self, parent: Any, path: str) -> Any:
        """The group or dataset at ``path`` below the group ``parent``; None if there is none.

        Raises:
            ConvertError: there is a link on the way: it could lead to another file, or round in a circle.
        """
        here = parent
        for part in path.split("/"):
            self._budget.steps(_VISIT_STEPS)
            key = part.encode("utf-8", "surrogateescape")
            if not isinstance(here, h5py().Group) or not part or not here.id.links.exists(key):
                return None
            if here.id.links.get_info(key).type != h5py().h5l.TYPE_HARD:
                raise ConvertError(f"{self.name}: HDF5 object {shown(path)} is a link, expected the object itself")
            here = here[part]
        return here

    def group(self, parent: Any, path: str) -> Any:
        """The group at ``path`` below ``parent``; None if there is none."""
        found = self.find(parent, path)
        return found if isinstance(found, h5py().Group) else None

    def names(self, group: Any) -> list[str]:
        """What the group holds."""
        self._budget.memory(_NAME * len(group), "the names in it")
        return list(group)

    # -- attributes -----------------------------------------------------------------------------

    def text(self, owner: Any, attribute: str) -> str | None:
        """A text; None if ``owner`` has no such attribute."""
        found = self.texts(owner, attribute)
        if found is not None and len(found) != 1:
            raise ConvertError(f"{self.name}: attribute {attribute} holds {len(found)} texts, expected one")
        return None if found is None else found[0]

    def texts(self, owner: Any, attribute: str) -> list[str] | None:
        """A list of texts; None if ``owner`` has no such attribute."""
        if attribute not in owner.attrs:
            return None
        stored = owner.attrs.get_id(attribute)
        if stored.shape is None or stored.dtype.kind not in "SO":
            raise ConvertError(f"{self.name}: attribute {attribute} holds {stored.dtype}, expected texts")
        count, size = math.prod(stored.shape), stored.dtype.itemsize
        if stored.dtype.kind == "O":  # each may be the longest of all
            size = self._longest_text()
        self._budget.memory(count * (_NAME + 3 * size), f"attribute {attribute}")
        return [self._decoded(v, attribute) for v in np.atleast_1d(owner.attrs[attribute]).ravel()]

    def _decoded(self, value: Any, attribute: str) -> str:
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else value
            if isinstance(text, str):
                text.encode()  # h5py keeps what is not UTF-8 as surrogates
        except UnicodeError as e:
            raise ConvertError(f"{self.name}: attribute {attribute} is not UTF-8") from e
        if not isinstance(text, str):
            raise ConvertError(f"{self.name}: attribute {attribute} holds {type(value).__name__}, expected texts")
        return str(text)

    def _longest_text(self) -> int:
        """Bytes of the largest collection of texts of variable length in the file, at most all of it."""
        if self._longest is None:
            self._file.seek(0)
            data = self._file.read()
            self._longest = max((_collection_size(data, at) for at in _occurrences(data, _GLOBAL_HEAP)), default=0)
        return self._longest

    # -- datasets -------------------------------------------------------------------------------

    def array(self, parent: Any, path: str, label: str) -> NDArray[Any]:
        """The numbers of the dataset at ``path`` below ``parent``.

        Raises:
            ConvertError: no dataset of numbers is there, it lies in other files, is compressed in a way
                that is not read, or is larger than the budget allows. ``label`` names it.
        """
        dataset = self.find(parent, path)
        if dataset is None:
            raise ConvertError(f"weight {shown(label)} is missing from the file")
        if not isinstance(dataset, h5py().Dataset):
            raise ConvertError(f"weight {shown(label)}: expected a dataset")
        if dataset.is_virtual or dataset.external:  # asking for its shape might open the other files
            raise ConvertError(f"weight {shown(label)} is stored in another file, expected it in this one")
        kind = dataset.dtype
        if dataset.shape is None or kind.fields or kind.subdtype or (kind.kind not in "fiub" and kind.itemsize != 2):
            raise ConvertError(f"weight {shown(label)}: holds {shown(str(kind))}, expected numbers")
        count = math.prod(dataset.shape)
        self._budget.array(count * max(kind.itemsize, 4), f"weight {shown(label)} of shape {dataset.shape}")
        if dataset.chunks is not None:
            self._check_chunks(dataset, label)
        array: NDArray[Any] = np.asarray(dataset[()])
        brain = "dtype" in dataset.attrs and self.text(dataset, "dtype") == "bfloat16"
        return _from_bfloat16(array) if brain else array

    def _check_chunks(self, dataset: Any, label: str) -> None:
        """Make sure that no chunk is larger, or inflates to more, than the dataset says."""
        who, size = f"weight {shown(label)}", math.prod(dataset.chunks) * dataset.dtype.itemsize
        self._budget.memory(3 * size, f"a chunk of {who}")
        settings = dataset.id.get_create_plist()
        filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        if not {*filters} <= {_DEFLATE, _SHUFFLE, _FLETCHER32} or filters.count(_DEFLATE) > 1:
            raise ConvertError(f"{who} is compressed by HDF5 filters {filters}, only gzip with shuffle is read")
        grid = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
        self._budget.steps(_CHUNK_STEPS * math.prod(map(len, grid)))
        for corner in itertools.product(*grid):
            stored = dataset.id.get_chunk_info_by_coord(corner).size or 0
            if stored > size + size // 100 + 1024:  # deflate does not lengthen by more
                raise ConvertError(f"{who}: a chunk of {size} bytes claims {stored} in the file")
            self._budget.steps((size + stored) // _CHUNK_BYTES_PER_STEP)
            if stored and _DEFLATE in filters:
                skipped, raw = dataset.id.read_direct_chunk(corner)
                if not skipped >> filters.index(_DEFLATE) & 1:
                    _check_inflated(raw, size, who)


_CHUNK_BYTES_PER_STEP = 250


def _check_inflated(raw: bytes, size: int, who: str) -> None:
    """HDF5 inflates a chunk to whatever it holds; this stops where it should end."""
    checksum = 4  # of fletcher32, where it comes before
    if len(zlib.decompressobj().decompress(raw, size + checksum + 1)) > size + checksum:
        raise ConvertError(f"{who}: a chunk inflates to more than its {size} bytes")


def _collection_size(data: bytes, at: int) -> int:
    """Bytes of the global heap collection at ``at``; its header is magic, version, size."""
    return min(int.from_bytes(data[at + 8 : at + 16], "little"), len(data) - at)


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
def open_hdf5(file: BinaryIO, name: str, budget: Budget) -> Iterator[Hdf5File]:
    """Open HDF5 bytes; whatever h5py stumbles over becomes a ConvertError."""
    library = h5py()
    try:
        with library.File(file, "r") as root:
            if root.id.get_create_plist().get_sizes() != (8, 8):
                raise ConvertError(f"{name}: an HDF5 file whose offsets do not have 8 bytes, which none has by default")
            yield Hdf5File(root, file, name, budget)
    # h5py turns errors of the C library into any of these
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, MemoryError) as e:
        if isinstance(e, ConvertError):
            raise
        raise ConvertError(
            f"{name}: the HDF5 file is damaged ({shown(str(e))}); expected a complete Keras file"
        ) from e
