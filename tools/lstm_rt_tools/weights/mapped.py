"""Large files of weights, of which no more is in memory than what is being looked at."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from lstm_rt.files import open_regular
from lstm_rt.graph import Graph

_SMALL = 8 << 20  #: bytes; so much is read at once
_CHUNK = 1 << 20


class MappedFile:
    """The bytes of a regular file: those of a large one are mapped, and may be forgotten until they are read again.

    Raises:
        OSError: as of :func:`lstm_rt.files.open_regular`.

    Attributes:
        data: the bytes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._map: mmap.mmap | None = None
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size >= _SMALL:
                try:
                    self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                except (OSError, ValueError):  # a file system that maps none
                    self._map = None
            self.data = memoryview(file.read(size) if self._map is None else self._map)

    def forget(self) -> None:
        """Let the memory go, where the system can be told; what is read later comes from the file again."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def holds(self, array: NDArray[Any]) -> bool:
        """Is an array a part of the mapped file?"""
        return self._map is not None and owner(array) is self._map


def feed(digest: Any, path: str | os.PathLike[str]) -> None:
    """All bytes of a regular file into a digest; errors as of :func:`lstm_rt.files.open_regular`."""
    with open_regular(path) as file:
        while block := file.read(_CHUNK):
            digest.update(block)


def copy_out(graph: Graph, files: Iterable[MappedFile]) -> None:
    """Give a graph weights of its own, which whatever becomes of the files leaves alone."""
    files = list(files)
    copies: dict[int, NDArray[Any]] = {}
    for node in graph.nodes:
        for name, array in node.weights.items():
            if id(array) not in copies and any(f.holds(array) for f in files):
                copies[id(array)] = array.copy()
                for file in files:
                    file.forget()
            node.weights[name] = copies.get(id(array), array)


def owner(array: NDArray[Any]) -> Any:
    """What owns the memory of an array."""
    root: Any = array
    while (base := getattr(root, "base", None)) is not None:  # of arrays, and of what stands for them in NumPy
        root = base
    return root.obj if isinstance(root, memoryview) else root
