"""``.lrt`` files: graph to bytes and back. The only Python that knows the container.

The layout is specified in ``docs/format.md``; the C core (``src/lrt_model.c``) is what validates a
file before it runs. This package writes files, and reads them for inspection.
"""

from __future__ import annotations

import io
import os
import zlib
from typing import Any

from ..activations import ACT_CODES
from ..errors import FormatError, GraphError
from ..files import read_regular, write_atomically
from ..graph import Graph, SelfTest
from .panels import from_panels, padded_units, panel_widths, to_panels
from .reader import Reader
from .records import HEADER, MAGIC, OP_CODES, VERSION
from .writer import Contents, Writer

__all__ = [
    "ACT_CODES",
    "MAGIC",
    "OP_CODES",
    "VERSION",
    "Contents",
    "check",
    "check_bytes",
    "contents",
    "dumps",
    "from_panels",
    "load_graph",
    "loads_graph",
    "padded_units",
    "panel_widths",
    "read_file",
    "read_meta",
    "read_selftest",
    "save",
    "to_panels",
]


def dumps(graph: Graph, blocks_below: float | None = None) -> bytes:
    """The graph as the bytes of a ``.lrt`` file. Raises GraphError when it is not complete, or too large for one.

    Args:
        blocks_below: matrices are stored as blocks (docs/format.md, section 3.5) where the share of blocks that are not
            zero is at most this; with 0 none is. Without, those that are smaller and faster so.
    """
    blob = io.BytesIO()  # the bytes leave it without a copy
    for piece in contents(graph, blocks_below):
        blob.write(piece)
    return blob.getvalue()


def contents(graph: Graph, blocks_below: float | None = None) -> Contents:
    """The same in pieces, for a file that would fill the memory beside the graph, which must not change meanwhile."""
    graph.check()
    return Writer(graph, blocks_below).contents()


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph to ``path``, whole or not at all; see :func:`lstm_rt.files.write_atomically`."""
    from .._core import validate

    blob = dumps(graph)
    try:
        validate(blob)
    except FormatError as e:  # a graph put together by hand
        raise GraphError(f"the graph makes a file that does not open: {e}") from e
    write_atomically(path, blob)


def loads_graph(blob: bytes) -> Graph:
    """The graph in the bytes of a ``.lrt`` file, weights unpacked. Raises FormatError.

    Biases come back summed where the cell allows it, and batch normalisation folded: the graph
    computes the same as the one that was saved, but is not always equal to it.
    """
    from .._core import validate

    validate(blob)
    return Reader(blob).graph()


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """:func:`loads_graph` of a file."""
    return Reader(read_file(path)).graph()


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a ``.lrt`` file. What is none is found out by its header and tables, before it is read.

    Raises:
        FormatError: not a valid ``.lrt`` file (the checksum aside).
        OSError: it cannot be read, or is no regular file.
    """
    from .._core import load, validate

    load(path, threads=1)  # maps the file
    blob = read_regular(path)
    validate(blob)  # what is used, should the file have changed
    return blob


def read_meta(blob: Any) -> dict[str, Any]:
    """The metadata of a valid file's bytes (any buffer)."""
    return Reader(blob).meta()


def read_selftest(blob: Any) -> SelfTest | None:
    """The self-test of a valid file's bytes (any buffer), or None."""
    return Reader(blob).selftest()


def check_bytes(blob: Any) -> None:
    """Raise FormatError unless the checksum of these bytes is right."""
    view = memoryview(blob)
    if len(view) < HEADER.size:
        raise FormatError(f"{len(view)} bytes are too short for an .lrt file")
    crc = zlib.crc32(view[16:], zlib.crc32(bytes(4), zlib.crc32(view[:12])))
    stored = int.from_bytes(view[12:16], "little")
    if crc != stored:
        raise FormatError(f"checksum is {crc:08x}, the file says {stored:08x}: it is damaged")


def check(path: str | os.PathLike[str]) -> None:
    """Raise FormatError unless the file is valid and its checksum is right."""
    check_bytes(read_file(path))
